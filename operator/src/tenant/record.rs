//! Record: each state that a Tenant comes into, and each namespace that it takes or leaves.

use enact_crds::Tenant;
use enact_domain::condition::Readiness;
use enact_domain::record::{Event, Kind, Record, Subject};
use enact_domain::time::Millis;
use enact_store::Class;
use kube::ResourceExt as _;

use super::context::Context;
use super::decide::Decision;
use super::observe::Observed;
use super::status::reason_of;
use crate::context::ACTOR;
use crate::error::Error;

/// How long the deletion of a Tenant waits for Postgres. After that it goes unrecorded: an uninstalled database must not hold it for ever.
const PATIENCE_SECONDS: u32 = 600;

/// Whether the decision is another than the one that the status tells of.
pub fn is_turn(object: &Tenant, decision: &Decision) -> bool {
    reason_of(object) != Some(&*decision.readiness.reason)
}

/// What is to be remembered of a decision; nothing when nothing changed.
///
/// The keys have the version of the object that the decision was made on: a second try after a crash finds the same version.
pub fn records(object: &Tenant, seen: &Observed, decision: &Decision, now: Millis) -> Vec<Record> {
    let version = object.resource_version().unwrap_or_default();
    let record = |key: String, state: &str, reason: &str, message: String| Record {
        tenant: seen.tenant.clone(),
        subject: Subject {
            kind: Kind::Tenant,
            namespace: String::new(),
            name: seen.tenant.clone(),
            uid: object.uid().unwrap_or_default(),
        },
        at: now,
        actor: ACTOR.to_owned(),
        event: Event::Transition { key, state: state.to_owned(), reason: reason.to_owned(), message, task: None },
    };
    let uid = |name: &str| seen.places.get(name).and_then(|p| p.namespace.as_ref()).map_or("new", |n| n.uid.as_str());
    let moved = |reason: &'static str, name: &str, what: &str| {
        let key = format!("{reason}/{name}/{}/{version}", uid(name));
        record(key, "Namespaces", reason, format!("namespace {name} {what}"))
    };
    // A label that somebody took away is put back without a word.
    let taken = decision.adopted().filter(|name| seen.places.get(*name).is_none_or(|p| !p.held_by(&seen.tenant)));
    let mut records: Vec<Record> =
        taken.map(|name| moved("NamespaceAdopted", name, "belongs to the tenant from now on")).collect();
    records.extend(decision.released().map(|name| moved("NamespaceReleased", name, "belongs to the tenant no more")));
    if is_turn(object, decision) {
        let Readiness { progress, reason, message } = &decision.readiness;
        let (key, state) = (format!("{reason}/{version}"), format!("{progress:?}"));
        records.push(record(key, &state, reason, message.clone()));
    }
    records
}

/// Writes to the record what was decided.
///
/// # Errors
/// When the record cannot be written, and it is worth waiting for it.
pub async fn record(object: &Tenant, ctx: &Context, seen: &Observed, decision: &Decision) -> Result<(), Error> {
    let now = ctx.now();
    let written = async {
        if !seen.claimed {
            ctx.record_store.tenant(&seen.tenant, &object.uid().unwrap_or_default(), now).await?;
        }
        ctx.record(records(object, seen, decision, now)).await
    };
    match written.await {
        Err(Error::Store(error))
            if error.class() != Class::Permanent
                && seen.deleting.is_some_and(|since| now >= since.plus_seconds(PATIENCE_SECONDS)) =>
        {
            tracing::warn!(tenant = seen.tenant, %error, "the Tenant goes although its end cannot be recorded");
            Ok(())
        }
        result => result,
    }
}
