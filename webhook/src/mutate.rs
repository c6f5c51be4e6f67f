//! The fields that the webhook writes into objects: tenant, authors, approver, the UID of what was decided on, who changed a control, and
//! author and date of an answer, of an accepted finding, of a chosen proposal and of a message. It writes no others.

use enact_crds::approval::{Person, Subject};
use enact_domain::agents::message;
use enact_domain::names::{
    ANNOTATION_AUTHOR, ANNOTATION_CHANGES, ANNOTATION_CO_AUTHORS, ANNOTATION_MESSAGES, LABEL_TENANT,
};
use enact_domain::record::Kind;
use enact_domain::stamps::{Change, Changes};
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation};
use k8s_openapi::jiff::Timestamp;
use kube::core::admission::Operation;
use serde_json::{Value, json};

use crate::denial::Denial;
use crate::lookup::Lookup;
use crate::request::{Request, annotation, has_author, has_policy, part};
use crate::stamps::{self, StampedList};

/// Returns the patch that stamps the object of `request`, received at the time `now`; empty when there is nothing to stamp. An object
/// outside every tenant's namespaces is left as it is, because the validating webhook refuses it.
///
/// # Errors
/// When the namespace's tenant cannot be looked up.
pub async fn stamp<L: Lookup>(request: &Request, lookup: &L, now: Timestamp) -> Result<Patch, Denial> {
    let (Some(kind), Some(object)) = (request.kind(), request.object()) else {
        return Ok(Patch::default());
    };
    let writes = matches!(request.operation(), Operation::Create | Operation::Update);
    if !writes || request.subresource().is_some() {
        return Ok(Patch::default());
    }
    // The patch is built directly, not as a diff of two copies, because documents are large.
    let mut patch = Vec::new();
    // A Tenant is cluster-scoped and has no tenant label.
    if kind != Kind::Tenant
        && labels(request)
        && let Some(tenant) = lookup.tenant_of(request.namespace()).await?
        && request.tenant_label() != Some(&tenant)
    {
        // A JSON patch cannot add a key to a map that does not exist.
        if object.metadata.labels.is_none() {
            patch.push(add(["metadata", "labels"], json!({})));
        }
        patch.push(add(["metadata", "labels", LABEL_TENANT], json!(tenant)));
    }
    let mut annotations = Vec::new();
    if has_author(kind) {
        annotations.extend(annotate(request, ANNOTATION_AUTHOR, request.due_author().map(str::to_owned)));
    }
    if has_policy(kind) {
        annotations.extend(annotate(request, ANNOTATION_CO_AUTHORS, request.due_co_authors()));
    }
    annotations.extend(changes(request, now));
    annotations.extend(stamps::lists(kind).iter().filter_map(|list| stamps_of(list, request, now)));
    if object.metadata.annotations.is_none() && !annotations.is_empty() {
        patch.push(add(["metadata", "annotations"], json!({})));
    }
    patch.extend(annotations);
    if kind == Kind::Task {
        patch.extend(messages(request, now));
    }
    if kind == Kind::Approval && request.operation() == &Operation::Create {
        patch.extend(sign(request));
        patch.extend(identify(request, lookup).await?);
    }
    Ok(Patch(patch))
}

/// Returns whether to set the tenant label. It leaves a label that a client chose, because the validating webhook refuses it. It also skips
/// changes of other metadata, so that finalizers and owners can be removed even if the tenant cannot be looked up.
fn labels(request: &Request) -> bool {
    let (new, old) = (request.tenant_label(), request.old_tenant_label());
    if new == old { request.changes_spec() } else { new.is_none() }
}

/// Writes the requesting user into `spec.by`. The schema refuses a spec that is not an object.
fn sign(request: &Request) -> Option<PatchOperation> {
    let spec = request.object()?.data.get("spec")?.as_object()?;
    let by = json!(Person { user: request.user().to_owned(), groups: request.groups().to_vec() });
    (spec.get("by") != Some(&by)).then(|| add(["spec", "by"], by))
}

/// Writes the UID of the subject into an Approval without one. The validating webhook refuses a wrong UID.
async fn identify<L: Lookup>(request: &Request, lookup: &L) -> Result<Option<PatchOperation>, Denial> {
    let spec = part(request.object(), "spec").and_then(Value::as_object);
    let Some(spec) = spec.filter(|spec| spec.get("subjectUid").is_none_or(Value::is_null)) else { return Ok(None) };
    // The schema refuses what is not a subject.
    let subject = spec.get("subject").and_then(|subject| serde_json::from_value::<Subject>(subject.clone()).ok());
    let Some(subject) = subject else { return Ok(None) };
    let uid = lookup.uid(subject.kind.into(), request.namespace(), &subject.name).await?;
    Ok(uid.map(|uid| add(["spec", "subjectUid"], json!(uid))))
}

/// Writes author and time into each new message of a Task, and the stored ones into any other. The validating webhook refuses what is not a
/// list of messages.
fn messages(request: &Request, now: Timestamp) -> Option<PatchOperation> {
    let text = |object| annotation(object, ANNOTATION_MESSAGES);
    let new = text(request.object()).filter(|new| text(request.old()) != Some(*new))?;
    let old = text(request.old()).and_then(|old| message::parse(old).ok()).unwrap_or_default();
    let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let stamped = message::format(&message::stamped(&message::parse(new).ok()?, &old, request.user(), &at));
    (stamped != new).then(|| add(["metadata", "annotations", ANNOTATION_MESSAGES], json!(stamped)))
}

/// Writes who changes each control, and when, into an annotation. Of controls without a change, it writes what is stored.
fn changes(request: &Request, now: Timestamp) -> Option<PatchOperation> {
    let stored = annotation(request.old(), ANNOTATION_CHANGES);
    let due = match request.changed_controls().as_slice() {
        [] => stored.map(str::to_owned),
        controls => {
            let change = Change { by: request.user().to_owned(), at: now.to_string() };
            Some(Changes::parse(stored).after(controls, &change).format())
        }
    };
    annotate(request, ANNOTATION_CHANGES, due)
}

/// Writes author and date (UTC) of each entry of a list into an annotation: the requesting user and today for a new entry, the stored values
/// for any other.
fn stamps_of(list: &StampedList, request: &Request, now: Timestamp) -> Option<PatchOperation> {
    annotate(request, list.annotation, list.due(request, &now.strftime("%Y-%m-%d").to_string()))
}

/// Gives an annotation the value that is due, or removes it.
fn annotate(request: &Request, name: &str, due: Option<String>) -> Option<PatchOperation> {
    let path = ["metadata", "annotations", name];
    let has = annotation(request.object(), name);
    (has != due.as_deref()).then(|| due.map_or_else(|| remove(path), |due| add(path, json!(due))))
}

/// Sets a field, whether it exists or not.
fn add<const N: usize>(path: [&str; N], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path), value })
}

fn remove<const N: usize>(path: [&str; N]) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path: PointerBuf::from_tokens(path) })
}

#[cfg(test)]
mod tests;
