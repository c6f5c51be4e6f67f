//! What the webhook writes into objects: who decided, who is the author, whose tenant it is. Nothing else.

use enact_crds::approval::Person;
use enact_domain::names::{ANNOTATION_AUTHOR, LABEL_TENANT};
use json_patch::Patch;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use kube::core::admission::Operation;
use serde_json::json;

use crate::denial::Denial;
use crate::request::{Kind, Request};
use crate::world::World;

/// The patch that stamps the object of `request`; empty when there is nothing to stamp.
///
/// # Errors
/// When the namespace's tenant cannot be looked up. An object in no tenant's namespace is left as it is: the validating side refuses it.
pub async fn stamp<W: World>(request: &Request, world: &W) -> Result<Patch, Denial> {
    let (Some(kind), Some(object)) = (request.kind(), request.object()) else {
        return Ok(Patch::default());
    };
    let writes = matches!(request.operation(), Operation::Create | Operation::Update);
    if !writes || matches!(kind, Kind::Namespace | Kind::Tenant) || request.subresource().is_some() {
        return Ok(Patch::default());
    }
    let mut stamped = object.clone();
    if keeps_tenant_label(request) {
        if let Some(tenant) = world.tenant_of(request.namespace()).await? {
            stamped.labels_mut().insert(LABEL_TENANT.into(), tenant);
        }
    }
    if kind.has_author() {
        match request.due_author() {
            Some(author) => stamped.annotations_mut().insert(ANNOTATION_AUTHOR.into(), author.to_owned()),
            None => stamped.metadata.annotations.as_mut().and_then(|a| a.remove(ANNOTATION_AUTHOR)),
        };
    }
    if kind == Kind::Approval && request.operation() == &Operation::Create {
        sign(&mut stamped, request);
    }
    Ok(diff(object, &stamped))
}

/// Whether the label is the webhook's to set: the client has left it alone. One that a client chose is the validator's to refuse.
fn keeps_tenant_label(request: &Request) -> bool {
    request.tenant_label().is_none_or(|label| request.old_tenant_label() == Some(label))
}

/// Writes who asks into `spec.by`. A spec that is no object is left to the schema to refuse.
fn sign(approval: &mut DynamicObject, request: &Request) {
    if let Some(spec) = approval.data.get_mut("spec").and_then(serde_json::Value::as_object_mut) {
        let by = Person { user: request.user().to_owned(), groups: request.groups().to_vec() };
        spec.insert("by".into(), json!(by));
    }
}

fn diff(from: &DynamicObject, to: &DynamicObject) -> Patch {
    json_patch::diff(&json!(from), &json!(to))
}

#[cfg(test)]
mod tests;
