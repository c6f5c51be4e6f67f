//! Record: each transition of a Tenant, and each namespace that it gains or loses.

use enact_crds::Tenant;
use enact_domain::condition::Readiness;
use enact_domain::names::ANNOTATION_CHANGES;
use enact_domain::record::{ACTOR, Event, Kind, Record, Subject};
use enact_domain::time::Millis;
use enact_store::ErrorClass;
use kube::ResourceExt as _;
use serde_json::json;

use super::context::Context;
use super::decide::Decision;
use super::observe::Observed;
use super::status::reason_of;
use crate::control_changes;
use crate::error::Error;

/// Seconds that the deletion of a Tenant waits for Postgres. After that it is not recorded: an uninstalled database must not block it
/// forever.
const MAX_WAIT_SECONDS: u32 = 600;

/// Returns whether the decision differs from the one in the status.
pub fn is_transition(object: &Tenant, decision: &Decision) -> bool {
    reason_of(object) != Some(&*decision.readiness.reason)
}

/// Returns the records of a decision; none when nothing changed.
///
/// The keys contain the object's resource version: a retry after a crash has the same keys.
pub fn records(object: &Tenant, seen: &Observed, decision: &Decision, now: Millis) -> Vec<Record> {
    let version = object.resource_version().unwrap_or_default();
    let uid =
        |name: &str| seen.namespaces.get(name).and_then(|p| p.namespace.as_ref()).map_or("new", |n| n.uid.as_str());
    let moved = |reason: &'static str, name: &str, what: &str| {
        let key = format!("{reason}/{name}/{}/{version}", uid(name));
        transition(object, now, key, "Namespaces", reason, format!("namespace {name} {what}"))
    };
    // Restoring a label that a person removed is not a change of the owner.
    let added = decision.adopted().filter(|name| seen.namespaces.get(*name).is_none_or(|p| !p.owned_by(&seen.tenant)));
    let mut records: Vec<Record> =
        added.map(|name| moved("NamespaceAdopted", name, "was added to the tenant")).collect();
    records.extend(decision.released().map(|name| moved("NamespaceReleased", name, "was removed from the tenant")));
    if is_transition(object, decision) {
        let Readiness { progress, reason, message } = &decision.readiness;
        let (key, state) = (format!("{reason}/{version}"), format!("{progress:?}"));
        records.push(transition(object, now, key, &state, reason, message.clone()));
    }
    records
}

/// Returns the record that a Tenant keeps the record of an earlier one.
pub fn kept_record(object: &Tenant, former: &str, now: Millis) -> Record {
    let message = format!("the record of the former Tenant with this name (UID {former}) is kept");
    transition(object, now, format!("RecordKept/{former}"), "Record", "RecordKept", message)
}

fn transition(object: &Tenant, at: Millis, key: String, state: &str, reason: &str, message: String) -> Record {
    Record {
        tenant: object.name_any(),
        subject: subject(object),
        at,
        actor: ACTOR.to_owned(),
        event: Event::Transition { key, state: state.to_owned(), reason: reason.to_owned(), message, task: None },
    }
}

/// Returns a Tenant as the subject of records.
fn subject(object: &Tenant) -> Subject {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    Subject { kind: Kind::Tenant, namespace: String::new(), name, uid }
}

/// Writes the records of a decision, and who changed the minimum of approvals.
///
/// # Errors
/// When the record store fails, unless a deletion has waited for it long enough.
pub async fn record(object: &Tenant, ctx: &Context, seen: &Observed, decision: &Decision) -> Result<(), Error> {
    let now = ctx.now();
    let written = async {
        ctx.record(records(object, seen, decision, now)).await?;
        let changes = object.annotations().get(ANNOTATION_CHANGES).map(String::as_str);
        // The only control of a Tenant.
        let value = |_: &str| json!(object.spec.minimum_approvals);
        control_changes::record(ctx, &seen.tenant, &subject(object), None, changes, value).await
    };
    match written.await {
        Err(Error::Store(error))
            if error.class() != ErrorClass::Permanent
                && seen.deleting.is_some_and(|since| now >= since.plus_seconds(MAX_WAIT_SECONDS)) =>
        {
            tracing::warn!(tenant = seen.tenant, %error, "the record store is unavailable; the Tenant is deleted without a record");
            Ok(())
        }
        result => result,
    }
}
