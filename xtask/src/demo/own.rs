//! Ownership of objects: in a cluster that others use too, the demonstration changes and deletes only its own objects.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::cmd::CommandExt;
use crate::install::{NAMESPACE, RELEASE};
use crate::kube::Kube;

/// The namespace of the Git server.
pub(super) const GIT_NAMESPACE: &str = "enact-demo";
/// The namespace and the plan of the example.
pub(super) const SHOP: &str = "shop";
/// The example's tenant.
pub(super) const TENANT: &str = "acme";

/// The label of the demonstration's objects, and its value.
const LABEL: (&str, &str) = ("enact.dev/demo", "true");

/// The annotation that allows a Tenant to own a namespace that it finds.
const ALLOW_TENANT: &str = "enact.dev/allow-tenant";

/// The custom resource definition of tenants. Without it, kubectl cannot list them.
const TENANTS: &str = "tenants.enact.dev";

/// The namespaces of the demonstration.
const NAMESPACES: [&str; 3] = [NAMESPACE, SHOP, GIT_NAMESPACE];

/// The owner of an object, if the object exists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ownership {
    Absent,
    Ours,
    Foreign,
}

/// Creates the namespaces of the demonstration. Returns an error if objects of others have the same names.
pub(super) fn claim(kube: &Kube) -> Result<()> {
    let namespaces: Vec<_> =
        NAMESPACES.iter().map(|name| Ok((*name, namespace(kube, name)?))).collect::<Result<_>>()?;
    if !kube.is_own() {
        let foreign = namespaces.iter().filter(|(_, ownership)| *ownership == Ownership::Foreign);
        let mut foreign: Vec<String> = foreign.map(|(name, _)| format!("namespace/{name}")).collect();
        if tenant(kube)? == Ownership::Foreign {
            foreign.push(format!("tenant/{TENANT}"));
        }
        // The check precedes every change, so that a refused demonstration leaves nothing in the cluster.
        refuse(kube, &foreign.join(" "))?;
    }
    if !namespaces.contains(&(SHOP, Ownership::Absent)) {
        // A person may have created it, and added the demonstration's label.
        let allow = format!("{ALLOW_TENANT}={TENANT}");
        kube.kubectl(["annotate", "namespace", SHOP, allow.as_str(), "--overwrite"]).read()?;
    }
    for (name, _) in namespaces.iter().filter(|(_, ownership)| *ownership == Ownership::Absent) {
        let mut metadata = json!({ "name": name, "labels": { LABEL.0: LABEL.1 } });
        if *name == SHOP {
            metadata["annotations"] = json!({ ALLOW_TENANT: TENANT });
        }
        let manifest = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
        // `apply` would take over a namespace that another user has just created, and `create` fails then.
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
        "the cluster has {foreign}, which the demonstration did not create. The demonstration would change their content, and delete it \
         with `--down`. Use another cluster or, if the content may be lost, run: {kubectl} label {foreign} {}={}",
        LABEL.0,
        LABEL.1
    )
}

/// Adds the demonstration's label to a manifest.
pub(super) fn labelled(kube: &Kube, manifest: &str) -> Result<String> {
    let label = format!("{}={}", LABEL.0, LABEL.1);
    kube.kubectl(["label", "--local", "--filename", "-", &label, "--output=json"]).read_with(manifest)
}

/// Deletes the demonstration's objects, even if they are incomplete or their operator does not run any more.
pub(super) fn delete(kube: &Kube) -> Result<()> {
    let ownership = NAMESPACES.iter().map(|name| Ok((*name, namespace(kube, name)?)));
    let ownership: Vec<(&str, Ownership)> = ownership.collect::<Result<_>>()?;
    let is_ours = |name: &str| ownership.contains(&(name, Ownership::Ours));
    let (installed, tenant_ours) = (is_ours(NAMESPACE), tenant(kube)? == Ownership::Ours);
    // The operator must still run, because it removes the tenant's finalizer. If it does not, `force_tenant` removes the finalizer below.
    if tenant_ours && let Err(error) = delete_tenant(kube, is_ours(SHOP)) {
        eprintln!("the tenant {TENANT} cannot be deleted gracefully: {error:#}");
    }
    if installed {
        let uninstall =
            ["uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait", "--timeout=3m"];
        kube.helm(uninstall).read()?;
    }
    if tenant_ours {
        force_tenant(kube)?;
    }
    // The namespaces come last: their labels identify the owner of the rest, which a second try needs.
    if installed {
        definitions(kube)?;
    }
    for (name, ownership) in ownership {
        match ownership {
            Ownership::Ours => gone(kube, "namespace", name)?,
            Ownership::Foreign => println!("kept the namespace {name}, which the demonstration did not create"),
            Ownership::Absent => {}
        }
    }
    Ok(())
}

/// Deletes the plan and its documents, agents and approvals.
pub(super) fn clear_shop(kube: &Kube) -> Result<()> {
    let all = "plans,specifications,constitutions,agents,approvals";
    let delete = ["delete", all, "--all", "--namespace", SHOP, "--ignore-not-found", "--timeout=60s"];
    kube.kubectl(delete).read().map(drop)
}

/// Deletes the tenant while the operator and the webhook run.
fn delete_tenant(kube: &Kube, with_work: bool) -> Result<()> {
    if with_work {
        clear_shop(kube)?;
    }
    gone(kube, "tenant", TENANT)
}

/// Deletes the tenant after the operator, by removing its finalizer.
fn force_tenant(kube: &Kube) -> Result<()> {
    if tenant(kube)? == Ownership::Absent {
        return Ok(());
    }
    let patch = r#"--patch={"metadata":{"finalizers":null}}"#;
    kube.kubectl(["delete", "tenant", TENANT, "--ignore-not-found", "--wait=false"]).read()?;
    let freed = kube.kubectl(["patch", "tenant", TENANT, "--type=merge", patch]).read();
    // The tenant may have been deleted just before the patch.
    if tenant(kube)? != Ownership::Absent {
        freed?;
        gone(kube, "tenant", TENANT)?;
    }
    Ok(())
}

/// Deletes the definitions of Enact's kinds, and with them all objects, unless tenants of others exist.
fn definitions(kube: &Kube) -> Result<()> {
    let selector = "--selector=app.kubernetes.io/part-of=enact";
    let found = kube.kubectl(["get", "crd", selector, "--output=json"]).read()?;
    let ours = definitions_of_the_release(&serde_json::from_str(&found)?);
    // An earlier try may have deleted the definition of tenants.
    let others = match ownership(kube, "crd", TENANTS)? {
        Ownership::Absent => String::new(),
        Ownership::Ours | Ownership::Foreign => kube.kubectl(["get", "tenants", "--output=name"]).read()?,
    };
    if !others.is_empty() {
        println!("kept the definitions of Enact's kinds, because these tenants exist: {}", others.replace('\n', ", "));
        return Ok(());
    }
    ours.iter().try_for_each(|name| gone(kube, "crd", name))
}

/// Returns the names of the definitions in a list that our release installed.
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

fn namespace(kube: &Kube, name: &str) -> Result<Ownership> {
    ownership(kube, "namespace", name)
}

fn tenant(kube: &Kube) -> Result<Ownership> {
    match ownership(kube, "crd", TENANTS)? {
        Ownership::Absent => Ok(Ownership::Absent),
        Ownership::Ours | Ownership::Foreign => ownership(kube, "tenant", TENANT),
    }
}

fn ownership(kube: &Kube, kind: &str, name: &str) -> Result<Ownership> {
    let found = kube.kubectl(["get", kind, name, "--ignore-not-found", "--output=json"]).read()?;
    if found.is_empty() {
        return Ok(Ownership::Absent);
    }
    let object: Value = serde_json::from_str(&found)?;
    let ours = object["metadata"]["labels"][LABEL.0] == LABEL.1;
    Ok(if ours { Ownership::Ours } else { Ownership::Foreign })
}

#[cfg(test)]
mod tests;
