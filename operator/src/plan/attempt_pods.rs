//! The pods of attempts. A pod works on an attempt if the operator created it for the attempt, or assigned it: the record has its UID.
//! Whoever may create pods in a tenant's namespace can copy owner, labels and name of such a pod, but not its UID.

use std::collections::HashMap;

use enact_domain::graph::NodeId;
use enact_domain::names;
use enact_domain::record::{ACTOR, Event, Record, Subject};

use super::context::Context;
use super::observed::Observed;
use super::validate::Valid;
use crate::error::Error;
use crate::index::PodEntry;

/// Returns the plan's pods by UID.
pub fn by_uid(observed: &Observed) -> HashMap<&str, &PodEntry> {
    observed.children.pods.values().map(|pod| (pod.uid.as_str(), pod.as_ref())).collect()
}

/// Returns the name of an attempt's own pod. The name is deterministic, so that a repeated creation fails with a conflict.
pub fn own_name(observed: &Observed, valid: &Valid, node: NodeId, attempt: u32) -> String {
    match node {
        NodeId::Task(i) => names::pod_name(&valid.content.compiled.names[i], attempt),
        NodeId::Integration => names::integration_pod_name(&observed.name(), attempt),
    }
}

/// Records the pod of an attempt at `subject`, by its name and its UID. From then on, the server accepts what this pod delivers.
///
/// # Errors
/// When the record cannot be written.
pub async fn record_pod(
    ctx: &Context,
    observed: &Observed,
    tenant: &str,
    subject: Subject,
    attempt: u32,
    (name, uid): (&str, &str),
) -> Result<(), Error> {
    let event = Event::AttemptPod {
        plan_uid: observed.uid.clone(),
        number: attempt,
        pod: name.to_owned(),
        pod_uid: uid.to_owned(),
    };
    let record = Record { tenant: tenant.to_owned(), subject, at: observed.now, actor: ACTOR.into(), event };
    ctx.record(vec![record]).await
}

#[cfg(test)]
mod tests;
