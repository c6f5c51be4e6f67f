//! Task: only the operator creates and changes Tasks; people may only ask for a rerun.

use enact_crds::TaskSpec;
use enact_domain::agents::message;
use enact_domain::names::{ANNOTATION_MESSAGES, GROUP, LABEL_TENANT};
use enact_domain::record::Kind;
use kube::ResourceExt;
use kube::core::DynamicObject;
use kube::core::admission::Operation;

use super::validator::{Validate, Validator};
use crate::denial::{Denial, Outcome};
use crate::lookup::Lookup;
use crate::request::{Request, annotation};

/// User names of the garbage collector, which changes owner references and finalizers. The name depends on the authentication of the controller manager.
const GARBAGE_COLLECTORS: [&str; 2] =
    ["system:serviceaccount:kube-system:generic-garbage-collector", "system:kube-controller-manager"];

impl<L: Lookup> Validate<TaskSpec> for Validator<L> {
    async fn validate(&self, request: &Request, spec: TaskSpec) -> Outcome {
        if request.operation() == &Operation::Create {
            let message = format!(
                "only the operator creates Tasks; write the task into spec.tasks of Plan {}",
                spec.plan_ref.name
            );
            return Err(Denial::forbidden("metadata.name", message));
        }
        if request.changes_spec() {
            let message = "a Task is immutable; change its Plan, or run `kubectl enact retry` for another attempt";
            return Err(Denial::invalid("spec", message));
        }
        let (new, old) = (request.object(), request.old());
        if our_labels(new) != our_labels(old) {
            let message =
                "the labels enact.dev/… tie the Task to its Plan and only the operator sets them; undo the change";
            return Err(Denial::forbidden("metadata.labels", message));
        }
        if !keeps_owners(request) {
            let message = "the owner ties the Task to its Plan and only the operator sets it; undo the change";
            return Err(Denial::forbidden("metadata.ownerReferences", message));
        }
        if adds_finalizer(request) {
            let message = "a finalizer keeps the Task and its pods after the deletion of its Plan; leave it out";
            return Err(Denial::forbidden("metadata.finalizers", message));
        }
        Ok(Vec::new())
    }
}

/// Refuses messages that are malformed, without their author, or changed after they were sent.
pub(super) fn messages(request: &Request) -> Result<(), Denial> {
    let text = |object| annotation(object, ANNOTATION_MESSAGES);
    let (new, old) = (text(request.object()), text(request.old()));
    if request.kind() != Some(Kind::Task) || request.operation() == &Operation::Delete || new == old {
        return Ok(());
    }
    let refuse = |problem: String| {
        let message = format!("{problem}; use `kubectl enact message`");
        Err(Denial::invalid(format!("metadata.annotations[{ANNOTATION_MESSAGES}]"), message))
    };
    let new = match message::parse(new.unwrap_or_default()) {
        Ok(new) => new,
        Err(problem) => return refuse(problem),
    };
    // A stored annotation that cannot be read is older than this rule.
    let old = old.and_then(|old| message::parse(old).ok()).unwrap_or_default();
    if let Err(problem) = message::check_change(&new, &old) {
        return refuse(problem);
    }
    if new.iter().any(|message| message.by.is_none()) {
        return refuse("a message has no author, although the mutating webhook sets it".to_owned());
    }
    Ok(())
}

/// Returns whether an update leaves the labels and owners of a Task unchanged and adds no finalizer, or comes from the garbage collector.
pub(super) fn keeps_ties(request: &Request) -> bool {
    our_labels(request.object()) == our_labels(request.old()) && keeps_owners(request) && !adds_finalizer(request)
}

/// Returns whether an update adds a finalizer. Everybody may remove one.
fn adds_finalizer(request: &Request) -> bool {
    let finalizers = |object: Option<&DynamicObject>| object.map(ResourceExt::finalizers).unwrap_or_default().to_vec();
    let old = finalizers(request.old());
    finalizers(request.object()).iter().any(|name| !old.contains(name)) && !is_garbage_collector(request)
}

fn keeps_owners(request: &Request) -> bool {
    owners(request.object()) == owners(request.old()) || is_garbage_collector(request)
}

pub(super) fn is_garbage_collector(request: &Request) -> bool {
    GARBAGE_COLLECTORS.contains(&request.user())
}

fn our_labels(object: Option<&DynamicObject>) -> Vec<(&String, &String)> {
    // The tenant label is checked for every kind in `tenancy`.
    let ours = |(name, _): &(&String, &String)| {
        *name != LABEL_TENANT && name.split_once('/').is_some_and(|(prefix, _)| prefix == GROUP)
    };
    object.into_iter().flat_map(ResourceExt::labels).filter(ours).collect()
}

pub(super) fn owners(
    object: Option<&DynamicObject>,
) -> &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference] {
    object.map(ResourceExt::owner_references).unwrap_or_default()
}
