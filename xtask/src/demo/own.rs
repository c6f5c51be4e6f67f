//! What of a cluster is the demonstration's own: on one that others use too, it takes over and deletes nothing else.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::cmd::CommandExt;
use crate::install::{NAMESPACE, RELEASE};
use crate::kube::Kube;

/// The namespace of the Git server.
pub(super) const GIT_NAMESPACE: &str = "enact-demo";
/// The namespace of the example's tenant, and the name of its plan.
pub(super) const SHOP: &str = "shop";
/// The example's tenant.
pub(super) const TENANT: &str = "acme";

/// The label of what the demonstration makes, and its value.
const LABEL: (&str, &str) = ("enact.dev/demo", "true");

/// The definition of tenants, without which kubectl knows no such kind.
const TENANTS: &str = "tenants.enact.dev";

/// The namespaces that it makes.
const NAMESPACES: [&str; 3] = [NAMESPACE, SHOP, GIT_NAMESPACE];

/// How an object stands to the demonstration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Absent,
    Ours,
    Foreign,
}

/// Makes the namespaces that the demonstration needs, and refuses to go on where somebody else's things have their names.
pub(super) fn claim(kube: &Kube) -> Result<()> {
    let namespaces: Vec<_> =
        NAMESPACES.iter().map(|name| Ok((*name, namespace(kube, name)?))).collect::<Result<_>>()?;
    if !kube.is_own() {
        let foreign = namespaces.iter().filter(|(_, standing)| *standing == Standing::Foreign);
        let mut foreign: Vec<String> = foreign.map(|(name, _)| format!("namespace/{name}")).collect();
        if tenant(kube)? == Standing::Foreign {
            foreign.push(format!("tenant/{TENANT}"));
        }
        refuse(kube, &foreign.join(" "))?;
    }
    for (name, _) in namespaces.iter().filter(|(_, standing)| *standing == Standing::Absent) {
        let labels = json!({ LABEL.0: LABEL.1 });
        let manifest =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        // Not applied: what somebody else has made meanwhile is not taken over.
        kube.kubectl(["create", "--filename", "-"]).read_with(&manifest.to_string())?;
    }
    Ok(())
}

fn refuse(kube: &Kube, foreign: &str) -> Result<()> {
    if foreign.is_empty() {
        return Ok(());
    }
    let kubectl = kube.kubectl_in_words();
    bail!(
        "the cluster has {foreign} already, and not from a demonstration, which would change what is in there, and delete it with \
         `--down`. Use another cluster, or, if all of it may be lost, say so: {kubectl} label {foreign} {}={}",
        LABEL.0,
        LABEL.1
    )
}

/// Gives one manifest the label of what is the demonstration's own.
pub(super) fn labelled(kube: &Kube, manifest: &str) -> Result<String> {
    let label = format!("{}={}", LABEL.0, LABEL.1);
    kube.kubectl(["label", "--local", "--filename", "-", &label, "--output=json"]).read_with(manifest)
}

/// Deletes what is the demonstration's own, also where it is half there, or nobody is left who could end it well.
pub(super) fn delete(kube: &Kube) -> Result<()> {
    let standing = NAMESPACES.iter().map(|name| Ok((*name, namespace(kube, name)?)));
    let standing: Vec<(&str, Standing)> = standing.collect::<Result<_>>()?;
    let is_ours = |name: &str| standing.contains(&(name, Standing::Ours));
    let (installed, tenant_ours) = (is_ours(NAMESPACE), tenant(kube)? == Standing::Ours);
    if tenant_ours && let Err(error) = say_goodbye(kube, is_ours(SHOP)) {
        eprintln!("the tenant {TENANT} does not go by itself: {error:#}");
    }
    if installed {
        let uninstall =
            ["uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait", "--timeout=3m"];
        kube.helm(uninstall).read()?;
    }
    if tenant_ours {
        force_tenant(kube)?;
    }
    // The namespaces come last: they are what says, to a second try too, whose the rest is.
    if installed {
        definitions(kube)?;
    }
    for (name, standing) in standing {
        match standing {
            Standing::Ours => gone(kube, "namespace", name)?,
            Standing::Foreign => println!("the namespace {name} is not the demonstration's own, and stays"),
            Standing::Absent => {}
        }
    }
    Ok(())
}

/// Deletes the plan, and all that it was made from.
pub(super) fn clear_shop(kube: &Kube) -> Result<()> {
    let all = "plans,specifications,constitutions,agents,approvals";
    let delete = ["delete", all, "--all", "--namespace", SHOP, "--ignore-not-found", "--timeout=60s"];
    kube.kubectl(delete).read().map(drop)
}

/// Deletes the tenant as a person would, who has an operator and a webhook.
fn say_goodbye(kube: &Kube, with_work: bool) -> Result<()> {
    if with_work {
        clear_shop(kube)?;
    }
    gone(kube, "tenant", TENANT)
}

/// Deletes the tenant when the operator is gone that it waits for.
fn force_tenant(kube: &Kube) -> Result<()> {
    if tenant(kube)? == Standing::Absent {
        return Ok(());
    }
    let patch = r#"--patch={"metadata":{"finalizers":null}}"#;
    kube.kubectl(["delete", "tenant", TENANT, "--ignore-not-found", "--wait=false"]).read()?;
    let freed = kube.kubectl(["patch", "tenant", TENANT, "--type=merge", patch]).read();
    // It may have gone by itself in the very moment.
    if tenant(kube)? != Standing::Absent {
        freed?;
        gone(kube, "tenant", TENANT)?;
    }
    Ok(())
}

/// Deletes the definitions of Enact's kinds, and with them all objects, unless somebody else works with them.
fn definitions(kube: &Kube) -> Result<()> {
    let selector = "--selector=app.kubernetes.io/part-of=enact";
    let found = kube.kubectl(["get", "crd", selector, "--output=json"]).read()?;
    let ours = definitions_of_the_release(&serde_json::from_str(&found)?);
    // An earlier try may have deleted some of them.
    let others = match standing(kube, "crd", TENANTS)? {
        Standing::Absent => String::new(),
        Standing::Ours | Standing::Foreign => kube.kubectl(["get", "tenants", "--output=name"]).read()?,
    };
    if !others.is_empty() {
        println!("the definitions of Enact's kinds stay, for there are {}", others.replace('\n', ", "));
        return Ok(());
    }
    ours.iter().try_for_each(|name| gone(kube, "crd", name))
}

/// Names of those definitions in a list that our release brought.
fn definitions_of_the_release(list: &Value) -> Vec<String> {
    let ours = |metadata: &&Value| {
        let annotations = &metadata["annotations"];
        annotations["meta.helm.sh/release-name"] == RELEASE
            && annotations["meta.helm.sh/release-namespace"] == NAMESPACE
    };
    let all = list["items"].as_array().into_iter().flatten().map(|item| &item["metadata"]);
    all.filter(ours).filter_map(|metadata| metadata["name"].as_str().map(str::to_owned)).collect()
}

fn gone(kube: &Kube, kind: &str, name: &str) -> Result<()> {
    kube.kubectl(["delete", kind, name, "--ignore-not-found", "--timeout=120s"]).read().map(drop)
}

fn namespace(kube: &Kube, name: &str) -> Result<Standing> {
    standing(kube, "namespace", name)
}

fn tenant(kube: &Kube) -> Result<Standing> {
    match standing(kube, "crd", TENANTS)? {
        Standing::Absent => Ok(Standing::Absent),
        Standing::Ours | Standing::Foreign => standing(kube, "tenant", TENANT),
    }
}

fn standing(kube: &Kube, kind: &str, name: &str) -> Result<Standing> {
    let found = kube.kubectl(["get", kind, name, "--ignore-not-found", "--output=json"]).read()?;
    if found.is_empty() {
        return Ok(Standing::Absent);
    }
    let object: Value = serde_json::from_str(&found)?;
    let ours = object["metadata"]["labels"][LABEL.0] == LABEL.1;
    Ok(if ours { Standing::Ours } else { Standing::Foreign })
}

#[cfg(test)]
mod tests;
