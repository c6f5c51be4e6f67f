//! The result of the demonstration: commits, the product's tests, the record, and commands for further inspection.

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::own::{GIT_NAMESPACE, SHOP, TENANT};
use crate::cmd::CommandExt;
use crate::install::{Images, NAMESPACE};
use crate::kube::Kube;

/// The script of a pod with the agent image that uses the published branch of the shop.
pub(super) const SHOP_PRODUCT: &str = r#"
git clone --quiet --branch plan/shop http://git-server:8080/shop.git /tmp/shop
cd /tmp/shop
echo "--- the commits of the branch plan/shop, without the merges"
git log --no-merges --format='%h %an: %s' 
echo "--- the last commit's message, which names the task"
git log -1 --no-merges --format=%B
echo "--- the product's tests"
python3 -m unittest discover --start-directory tests --top-level-directory . 2>&1 | tail -n 3
python3 -m unittest discover --quiet --start-directory tests --top-level-directory . 2>/dev/null
echo "--- the product"
python3 -m shop --data /tmp/data add tea 3
python3 -m shop --data /tmp/data checkout --code TEATIME
"#;

/// A query for the rows of one tenant, as row-level security shows them.
const RECORD: &str = "
begin;
select set_config('enact.tenant', 'acme', true) as tenant;
select (select count(*) from enact.revisions where tenant_id = 'acme') as revisions,
       (select count(*) from enact.approvals where tenant_id = 'acme') as approvals,
       (select count(*) from enact.attempts where tenant_id = 'acme') as attempts,
       (select count(*) from enact.attempts where tenant_id = 'acme' and failure is not null) as failed,
       (select count(*) from enact.results where tenant_id = 'acme') as results,
       (select count(*) from enact.audit where tenant_id = 'acme') as audit_entries;
select to_char(at, 'HH24:MI:SS') as at, actor, event, kind, name, key from enact.audit
where tenant_id = 'acme' order by id desc limit 12;
commit;";

/// Prints the result of the plan. The script uses its product.
pub(super) fn outcome(kube: &Kube, images: &Images, script: &str) -> Result<()> {
    println!("{}", product(kube, &images.name("agent")?, script)?);
    println!(
        "--- the record of the tenant {TENANT} in Postgres: the number of rows, and the last audit entries, newest first"
    );
    let psql = "PGPASSWORD=$POSTGRES_PASSWORD exec psql --quiet --host=127.0.0.1 --username=enact --dbname=enact";
    let args = ["exec", "--stdin", "--namespace", NAMESPACE, "statefulset/enact-postgres", "--", "sh", "-c", psql];
    println!("{}", kube.kubectl(args).read_with(RECORD).context("cannot read the record")?);
    kube.kubectl(["get", "specifications,plans,approvals", "--namespace", SHOP]).show()
}

/// Clones the published branch in a pod, runs the product's tests, and returns the output of the pod.
fn product(kube: &Kube, image: &str, script: &str) -> Result<String> {
    const POD: &str = "product";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": POD, "namespace": GIT_NAMESPACE },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 10001, "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": POD, "image": image, "command": ["/bin/sh", "-ec", script],
                "env": [{ "name": "HOME", "value": "/tmp" }],
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    });
    let delete = || kube.kubectl(["delete", "pod", POD, "--namespace", GIT_NAMESPACE, "--ignore-not-found"]).read();
    delete()?;
    kube.apply(&pod.to_string(), &[])?;
    kube.wait(GIT_NAMESPACE, "pod/product", "jsonpath={.status.containerStatuses[0].state.terminated}", 120)?;
    let said = kube.kubectl(["logs", POD, "--namespace", GIT_NAMESPACE]).read()?;
    // The pod's phase changes later than the state of its container.
    let code = "--output=jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
    if kube.kubectl(["get", "pod", POD, "--namespace", GIT_NAMESPACE, code]).read()? != "0" {
        bail!("the product's tests failed:\n{said}");
    }
    delete()?;
    Ok(said)
}

/// Returns commands for further inspection.
pub(super) fn look_further(kube: &Kube, plan: &str) -> String {
    let (flag, kubectl) = (kube.flag(), kube.kubectl_in_words());
    let (reach, or) = match kube.kubeconfig() {
        Some(path) => {
            (format!("export KUBECONFIG={}\n  ", path.display()), " # without kubectl: `cargo xtask kubectl …`")
        }
        None => Default::default(),
    };
    let note = if plan == SHOP { " # fails on purpose, and is retried" } else { "" };
    format!(
        "To inspect the result:
  {reach}export PATH=\"$PWD/dist:$PATH\"
  kubectl enact{flag} status {plan} --namespace {SHOP}{or}
  kubectl enact{flag} logs {plan}/T003 --attempt 1 --namespace {SHOP}{note}
  {kubectl} get enact --namespace {SHOP}
  {kubectl} describe plan {plan} --namespace {SHOP}
To delete the demonstration: cargo xtask demo{flag} --down"
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn commands_name_the_context() {
        let text = look_further(&Kube::pretended(PathBuf::from("/opt/kubectl"), PathBuf::from("/opt/helm")), SHOP);
        for line in
            text.lines().filter(|line| ["enact", "kubectl", "xtask demo"].iter().any(|word| line.contains(word)))
        {
            assert!(line.contains(" --context elsewhere "), "{line}");
        }
        assert!(!text.contains("KUBECONFIG") && !text.contains("xtask kubectl"), "{text}");
    }
}
