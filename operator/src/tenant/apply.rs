//! Apply: namespaces, our objects in them, and the finalizer.

use std::collections::BTreeMap;

use enact_crds::Tenant;
use enact_domain::names::LABEL_TENANT;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::DynamicObject;
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};

use super::context::Context;
use super::decide::{Decision, Finalizer, Step};
use super::objects::{FINALIZER, ObjectKind, manifest, same};
use crate::caches::{NamespaceEntry, pod_security_labels};
use crate::error::Error;
use crate::patch::{FIELD_MANAGER, merge_diff};
use crate::references::Target;

/// Carries a decision out. What fails in one namespace does not keep the others.
///
/// # Errors
/// The first failure; the finalizer stays then.
pub async fn apply(object: &Tenant, ctx: &Context, decision: &Decision) -> Result<(), Error> {
    if decision.finalizer == Finalizer::Add {
        let mut all = object.finalizers().to_vec();
        all.push(FINALIZER.to_owned());
        finalizers(object, ctx, &all).await?;
    }
    let work: Vec<_> =
        decision.steps.iter().map(|(namespace, steps)| in_namespace(object, ctx, namespace, steps)).collect();
    let limit = usize::from(ctx.config.requests_in_flight);
    let results: Vec<Result<(), Error>> = stream::iter(work).buffer_unordered(limit).collect().await;
    results.into_iter().collect::<Result<(), Error>>()?;
    if decision.finalizer == Finalizer::Remove {
        let others: Vec<String> = object.finalizers().iter().filter(|f| *f != FINALIZER).cloned().collect();
        finalizers(object, ctx, &others).await?;
    }
    Ok(())
}

async fn in_namespace(object: &Tenant, ctx: &Context, namespace: &str, steps: &[Step]) -> Result<(), Error> {
    for step in steps {
        match step {
            Step::Create(labels) => label(object, ctx, "create", namespace, labels).await?,
            Step::Label(labels) => label(object, ctx, "patch", namespace, labels).await?,
            Step::Apply(kind, content) => put(ctx, &object.name_any(), namespace, *kind, content).await?,
            Step::Delete(kind, uid) => delete(ctx, namespace, *kind, uid).await?,
            Step::Unlabel => unlabel(object, ctx, namespace).await?,
        }
    }
    Ok(())
}

/// Sets the finalizers, if nobody changed the object meanwhile.
async fn finalizers(object: &Tenant, ctx: &Context, all: &[String]) -> Result<(), Error> {
    let name = object.name_any();
    let patch = json!({ "metadata": { "resourceVersion": object.resource_version(), "finalizers": all } });
    ctx.metrics.wrote("patch", "Tenant");
    let api = Api::<Tenant>::all(ctx.client.clone());
    match api.patch(&name, &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(e)) if e.code == 404 => Ok(()),
        Err(e) => Err(Error::kube(format!("set the finalizer of Tenant {name}"))(e)),
    }
}

/// Makes sure that the namespace exists and has these labels.
async fn label(
    object: &Tenant,
    ctx: &Context,
    verb: &str,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let manifest = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "labels": labels },
    });
    ctx.metrics.wrote(verb, "Namespace");
    let namespaces = Api::<Namespace>::all(ctx.client.clone());
    let written = namespaces
        .patch(namespace, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(manifest))
        .await
        .map_err(Error::kube(format!("{verb} Namespace {namespace}")))?;
    entered(object, ctx, &written);
    Ok(())
}

/// Takes our labels away, if the namespace is still this tenant's.
async fn unlabel(object: &Tenant, ctx: &Context, namespace: &str) -> Result<(), Error> {
    let Some(entry) = ctx.caches.namespaces.get("", namespace) else { return Ok(()) };
    let labels = pod_security_labels().chain([LABEL_TENANT.to_owned()]);
    let labels: BTreeMap<String, Value> = labels.map(|key| (key, Value::Null)).collect();
    // The UID makes sure that a namesake that was created meanwhile is not changed.
    let patch = json!({ "metadata": { "uid": entry.uid, "labels": labels } });
    ctx.metrics.wrote("patch", "Namespace");
    let namespaces = Api::<Namespace>::all(ctx.client.clone());
    match namespaces.patch(namespace, &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch)).await {
        Ok(written) => entered(object, ctx, &written),
        Err(kube::Error::Api(e)) if e.code == 404 => {}
        Err(e) => return Err(Error::kube(format!("take the labels from Namespace {namespace}"))(e)),
    }
    Ok(())
}

/// Notes a namespace as it is now, and has everything in it looked at again when that changes whose it is.
fn entered(object: &Tenant, ctx: &Context, namespace: &Namespace) {
    if ctx.caches.namespaces.put(namespace, NamespaceEntry::of(namespace)) {
        let target = Target::namespace(&namespace.name_any());
        ctx.references.changed_for_members(&target);
        ctx.references.tenants.requeue_other_referrers(&target, &ObjectRef::from_obj(object));
    }
}

/// Makes our object of a kind say `content`, and nothing else.
///
/// # Errors
/// When the API server refuses.
pub async fn put(ctx: &Context, tenant: &str, namespace: &str, kind: ObjectKind, content: &Value) -> Result<(), Error> {
    let resource = kind.resource();
    let api = Api::<DynamicObject>::namespaced_with(ctx.client.clone(), namespace, &resource);
    let doing = || Error::kube(format!("apply {} {namespace}/{}", kind.as_str(), kind.object_name()));
    let ours = manifest(kind, tenant, namespace, content);
    ctx.metrics.wrote("apply", kind.as_str());
    let mut written = api
        .patch(kind.object_name(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(ours))
        .await
        .map_err(doing())?;
    // Server-side apply leaves what others added: in a policy, every addition is a hole.
    let live = kind.content(&written);
    if let Some(patch) = (!same(&live, content)).then(|| merge_diff(&live, content)).flatten() {
        ctx.metrics.wrote("patch", kind.as_str());
        written = api
            .patch(kind.object_name(), &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch))
            .await
            .map_err(doing())?;
    }
    ctx.cluster.put(kind, &written);
    Ok(())
}

/// Deletes our object of a kind, if it is the one of this UID.
///
/// # Errors
/// When the API server refuses.
pub async fn delete(ctx: &Context, namespace: &str, kind: ObjectKind, uid: &str) -> Result<(), Error> {
    let resource = kind.resource();
    let api = Api::<DynamicObject>::namespaced_with(ctx.client.clone(), namespace, &resource);
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    ctx.metrics.wrote("delete", kind.as_str());
    match api.delete(kind.object_name(), &params).await {
        Ok(_) => Ok(()),
        // It is gone, or a namesake is there that we know nothing of yet.
        Err(kube::Error::Api(e)) if matches!(e.code, 404 | 409) => Ok(()),
        Err(e) => Err(Error::kube(format!("delete {} {namespace}/{}", kind.as_str(), kind.object_name()))(e)),
    }
}
