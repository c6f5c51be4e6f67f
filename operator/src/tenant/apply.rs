//! Apply: carries out the steps in each namespace, and sets the finalizer.

use std::collections::BTreeMap;

use enact_crds::Tenant;
use enact_domain::names::{ANNOTATION_ALLOW_TENANT, LABEL_TENANT};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
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

/// Carries a decision out. A failure in one namespace does not stop the others.
///
/// # Errors
/// The first failure. The finalizer stays then.
pub async fn apply(object: &Tenant, ctx: &Context, decision: &Decision) -> Result<(), Error> {
    // Before the first step: a Tenant that is deleted in between must not leave labels and objects behind.
    if decision.finalizer == Finalizer::Add {
        let mut all = object.finalizers().to_vec();
        all.push(FINALIZER.to_owned());
        set_finalizers(object, ctx, &all).await?;
    }
    let work: Vec<_> =
        decision.steps.iter().map(|(namespace, steps)| in_namespace(object, ctx, namespace, steps)).collect();
    let limit = usize::from(ctx.config.requests_in_flight);
    let results: Vec<Result<(), Error>> = stream::iter(work).buffer_unordered(limit).collect().await;
    // All namespaces are attempted. After a failure the finalizer stays, and the next reconcile repeats the steps.
    results.into_iter().collect::<Result<(), Error>>()?;
    if decision.finalizer == Finalizer::Remove {
        let others: Vec<String> = object.finalizers().iter().filter(|f| *f != FINALIZER).cloned().collect();
        set_finalizers(object, ctx, &others).await?;
    }
    Ok(())
}

async fn in_namespace(object: &Tenant, ctx: &Context, namespace: &str, steps: &[Step]) -> Result<(), Error> {
    for step in steps {
        match step {
            Step::Create(labels) => create(object, ctx, namespace, labels).await?,
            Step::Label(labels) => set_labels(object, ctx, namespace, labels).await?,
            Step::Apply(kind, content) => put(ctx, &object.name_any(), namespace, *kind, content).await?,
            Step::Delete(kind, uid) => delete(ctx, namespace, *kind, uid).await?,
            Step::Unlabel => remove_labels(object, ctx, namespace).await?,
        }
    }
    Ok(())
}

/// Sets the finalizers, if the object did not change since it was read.
async fn set_finalizers(object: &Tenant, ctx: &Context, all: &[String]) -> Result<(), Error> {
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

/// Creates the namespace with these labels, and allows the Tenant to own it. It fails when the namespace exists by now: somebody else made it,
/// and only the next reconcile knows whether they allow the Tenant to own it.
async fn create(
    object: &Tenant,
    ctx: &Context,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let mut new = Namespace::default();
    new.metadata.name = Some(namespace.to_owned());
    new.metadata.labels = Some(labels.clone());
    new.metadata.annotations = Some([(ANNOTATION_ALLOW_TENANT.to_owned(), object.name_any())].into());
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    ctx.metrics.wrote("create", "Namespace");
    let created = Api::<Namespace>::all(ctx.client.clone()).create(&params, &new).await;
    // Now, not when the watch delivers it: the next reconcile must not repeat the step.
    enter(object, ctx, &created.map_err(Error::kube(format!("create Namespace {namespace}")))?);
    Ok(())
}

/// Sets these labels of the namespace that was observed or created.
async fn set_labels(
    object: &Tenant,
    ctx: &Context,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let Some(entry) = ctx.caches.namespaces.get("", namespace) else { return Ok(()) };
    // The UID protects a namespace with the same name that somebody else created in between.
    let manifest = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "uid": entry.uid, "labels": labels },
    });
    ctx.metrics.wrote("patch", "Namespace");
    let namespaces = Api::<Namespace>::all(ctx.client.clone());
    let written = namespaces
        .patch(namespace, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(manifest))
        .await
        .map_err(Error::kube(format!("patch Namespace {namespace}")))?;
    // Now, not when the watch delivers it: the next reconcile must not repeat the step.
    enter(object, ctx, &written);
    Ok(())
}

/// Removes the operator's labels from the namespace.
async fn remove_labels(object: &Tenant, ctx: &Context, namespace: &str) -> Result<(), Error> {
    let Some(entry) = ctx.caches.namespaces.get("", namespace) else { return Ok(()) };
    let labels = pod_security_labels().chain([LABEL_TENANT.to_owned()]);
    let labels: BTreeMap<String, Value> = labels.map(|key| (key, Value::Null)).collect();
    // The UID protects a namespace with the same name that was created in between.
    let patch = json!({ "metadata": { "uid": entry.uid, "labels": labels } });
    ctx.metrics.wrote("patch", "Namespace");
    let namespaces = Api::<Namespace>::all(ctx.client.clone());
    match namespaces.patch(namespace, &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch)).await {
        Ok(written) => enter(object, ctx, &written),
        Err(kube::Error::Api(e)) if e.code == 404 => {}
        Err(e) => return Err(Error::kube(format!("remove the labels from Namespace {namespace}"))(e)),
    }
    Ok(())
}

/// Adds a namespace to the cache, and requeues everything in it if the cached fields changed.
fn enter(object: &Tenant, ctx: &Context, namespace: &Namespace) {
    if ctx.caches.namespaces.put(namespace, NamespaceEntry::of(namespace)) {
        let target = Target::namespace(&namespace.name_any());
        ctx.references.changed_for_members(&target);
        // Another Tenant that lists the namespace may get it now. This Tenant is already being reconciled.
        ctx.references.tenants.requeue_other_referrers(&target, &ObjectRef::from_obj(object));
    }
}

/// Applies `content` to the operator's object of a kind, and removes every other field.
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
    // Server-side apply keeps fields that others added. In a policy, an added rule would weaken the isolation.
    let live = kind.content(&written);
    if let Some(patch) = (!same(&live, content)).then(|| merge_diff(&live, content)).flatten() {
        ctx.metrics.wrote("patch", kind.as_str());
        written = api
            .patch(kind.object_name(), &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch))
            .await
            .map_err(doing())?;
    }
    // Now, not when the watch delivers it: the next reconcile must not apply the object again.
    ctx.cluster.put(kind, &written);
    Ok(())
}

/// Deletes the operator's object of a kind, if it has this UID.
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
        // It was deleted already, or another object has the name by now.
        Err(kube::Error::Api(e)) if matches!(e.code, 404 | 409) => Ok(()),
        Err(e) => Err(Error::kube(format!("delete {} {namespace}/{}", kind.as_str(), kind.object_name()))(e)),
    }
}
