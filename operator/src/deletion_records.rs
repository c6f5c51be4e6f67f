//! Records who deleted an object, and ends what a deleted plan leaves in the record.
//!
//! The watch of an object shows its deletion, and a note of the webhook shows who asked for it. They arrive in any order, and either can be
//! missing: the webhook may be down, and no watch shows what was deleted while no operator ran. Of plans, the record shows that, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use enact_domain::deletion::{self, Deletion};
use enact_domain::names::{DEFAULT_TENANT, LABEL_DELETION};
use enact_domain::record::{Event, Kind, Record, Subject, UNKNOWN_ACTOR};
use enact_domain::time::Millis;
use futures::StreamExt as _;
use futures::channel::mpsc::UnboundedReceiver;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, watcher};
use kube::{Resource, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, lookup};
use crate::deleted::Deleted;
use crate::error::Error;
use crate::watch::restarting;
use crate::{documents, plan};

/// Seconds that a deletion waits for its note.
const WAIT_SECONDS: u32 = 5;
/// Seconds that a note waits for the deletion of an object that stays: something else may have refused it.
const STAY_SECONDS: u32 = 60;
/// Delay of the next look at what is pending.
const RETRY: Duration = Duration::from_secs(5);
/// Most events that are handled together.
const BATCH: usize = 1024;

/// Records deletions until `shutdown`.
pub async fn follow(
    deleted: UnboundedReceiver<Deleted>,
    documents: Arc<documents::Context>,
    plans: Arc<plan::Context>,
    shutdown: CancellationToken,
) {
    shutdown.run_until_cancelled(record_all(deleted, &documents, &plans)).await;
}

async fn record_all(deleted: UnboundedReceiver<Deleted>, documents: &documents::Context, plans: &plan::Context) {
    let ctx = &documents.common;
    // Before that, an object that no cache holds may exist.
    ctx.synced().await;
    let api = Api::<ConfigMap>::namespaced(ctx.client.clone(), &ctx.config.namespace);
    let stream = watcher(api, watcher::Config::default().labels(LABEL_DELETION));
    let mut notes = Box::pin(restarting(stream, "ConfigMap", ctx.clone()).ready_chunks(BATCH));
    let mut deleted = deleted.ready_chunks(BATCH);
    let (mut pending, mut searched) = (Pending::default(), false);
    loop {
        if !searched {
            match add_missed(ctx, &mut pending).await {
                Ok(()) => searched = true,
                Err(error) => tracing::warn!(%error, "cannot look for plans that were deleted meanwhile; trying again"),
            }
        }
        if let Err(error) = record_ready(ctx, &mut pending).await {
            tracing::warn!(%error, "cannot record deletions; trying again");
        }
        let is_idle = searched && pending.is_empty();
        tokio::select! {
            Some(objects) = deleted.next() => {
                for object in objects {
                    handle(documents, plans, &object).await;
                    pending.add(object, ctx.now());
                }
            }
            Some(events) = notes.next() => {
                for event in events {
                    if let watcher::Event::Apply(map) | watcher::Event::InitApply(map) = event {
                        pending.add_note(&map, ctx.now());
                    }
                }
            }
            () = tokio::time::sleep(RETRY), if !is_idle => {}
            else => return,
        }
    }
}

/// Does everything about a deletion but its record.
async fn handle(documents: &documents::Context, plans: &plan::Context, object: &Deleted) {
    documents::deletions::handle(documents, object);
    if object.subject.kind == Kind::Plan {
        plan::deletion::forget(plans, object).await;
    }
}

/// Adds the plans that the record has and the cluster has not: they were deleted while no operator ran.
///
/// # Errors
/// When the record cannot be read.
async fn add_missed(ctx: &Context, pending: &mut Pending) -> Result<(), Error> {
    let mut tenants: Vec<String> = ctx.caches.tenants.state_filter(|_| true).iter().map(|t| t.name_any()).collect();
    // The default tenant need not have a Tenant.
    if !tenants.iter().any(|tenant| tenant == DEFAULT_TENANT) {
        tenants.push(DEFAULT_TENANT.to_owned());
    }
    for tenant in tenants {
        let mut after = String::new();
        loop {
            let page = ctx.record_store.recorded_plans(&tenant, &after).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.uid);
            // The cache is read after the record: a plan is in the cache before it is in the record.
            for plan in page.into_iter().filter(|plan| presence(ctx, plan) == Presence::Gone) {
                pending.add(Deleted::missed_plan(&tenant, plan), ctx.now());
            }
        }
    }
    Ok(())
}

/// Whether an object exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Gone,
    /// It is being deleted.
    Leaving,
    Stays,
}

impl Presence {
    fn of<K: Resource>(found: Option<Arc<K>>, uid: &str) -> Self {
        match found.filter(|object| object.meta().uid.as_deref() == Some(uid)) {
            None => Self::Gone,
            Some(object) if object.meta().deletion_timestamp.is_some() => Self::Leaving,
            Some(_) => Self::Stays,
        }
    }
}

/// Returns whether an object exists, as the caches show it.
fn presence(ctx: &Context, subject: &Subject) -> Presence {
    let Subject { kind, namespace, name, uid } = subject;
    let caches = &ctx.caches;
    match kind {
        Kind::Tenant => Presence::of(caches.tenants.get(&ObjectRef::new(name)), uid),
        Kind::Constitution => Presence::of(lookup(&caches.constitutions, namespace, name), uid),
        Kind::Specification => Presence::of(lookup(&caches.specifications, namespace, name), uid),
        Kind::Plan => Presence::of(lookup(&caches.plans, namespace, name), uid),
        Kind::ModelProvider => Presence::of(lookup(&caches.providers, namespace, name), uid),
        Kind::Agent => Presence::of(lookup(&caches.agents, namespace, name), uid),
        Kind::Approval => Presence::of(lookup(&caches.approvals, namespace, name), uid),
        // The webhook leaves no note about it.
        Kind::Task => Presence::Gone,
    }
}

/// Records what is ready, and removes it and its notes.
///
/// # Errors
/// When the record cannot be written. Nothing is lost then.
async fn record_ready(ctx: &Context, pending: &mut Pending) -> Result<(), Error> {
    let ready = pending.ready(ctx.now(), |subject| presence(ctx, subject));
    if ready.is_empty() {
        return Ok(());
    }
    ctx.record(ready.iter().filter_map(|ready| record(ctx, ready)).collect()).await?;
    let api = Api::<ConfigMap>::namespaced(ctx.client.clone(), &ctx.config.namespace);
    for Ready { subject, .. } in ready {
        // After the record: a note that is found again after a crash is recorded again, without effect.
        for name in pending.remove(&subject.uid) {
            ctx.metrics.wrote("delete", "ConfigMap");
            match api.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::warn!(%error, name, "cannot delete the note about a deletion; the next start repeats it");
                }
                Ok(_) => {}
            }
        }
    }
    Ok(())
}

/// Returns the record of a deletion; none if the object stays, or belongs to no tenant, as an Agent that the installation shares.
fn record(ctx: &Context, Ready { subject, tenant, since, outcome }: &Ready) -> Option<Record> {
    let known = Some(tenant.clone()).filter(|tenant| !tenant.is_empty());
    let tenant = known.or_else(|| Some(ctx.tenant_of(&subject.namespace)?.tenant))?;
    let (actor, at, note) = match outcome {
        Outcome::Stays => return None,
        Outcome::DeletedBy { user, at } => (user.clone(), *at, ""),
        Outcome::Deleted => {
            let namespace = ctx.caches.namespaces.get("", &subject.namespace);
            let is_ending = namespace.is_none_or(|namespace| namespace.terminating);
            let note = if is_ending && !subject.namespace.is_empty() {
                "its namespace was deleted"
            } else {
                "the webhook did not see the deletion"
            };
            (UNKNOWN_ACTOR.to_owned(), since.unwrap_or_else(|| ctx.now()), note)
        }
    };
    Some(Record { tenant, subject: subject.clone(), at, actor, event: Event::Deleted { note: note.to_owned() } })
}

/// Deletions and notes that wait for each other, by the UID of the object.
#[derive(Debug, Default)]
struct Pending {
    deleted: HashMap<String, Waiting<Deleted>>,
    notes: HashMap<String, Vec<Waiting<Deletion>>>,
}

#[derive(Debug)]
struct Waiting<T> {
    value: T,
    until: Millis,
}

/// What became of an object.
#[derive(Debug, PartialEq, Eq)]
struct Ready {
    subject: Subject,
    /// Empty if neither the object nor a note has it.
    tenant: String,
    since: Option<Millis>,
    outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    DeletedBy {
        user: String,
        at: Millis,
    },
    /// Nobody knows by whom.
    Deleted,
    /// It was not deleted.
    Stays,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.notes.is_empty()
    }

    /// Adds an object that a watch, or the record, shows to be deleted.
    fn add(&mut self, object: Deleted, now: Millis) {
        let until = now.plus_seconds(WAIT_SECONDS);
        self.deleted.entry(object.subject.uid.clone()).or_insert(Waiting { value: object, until });
    }

    /// Adds a note of the webhook.
    fn add_note(&mut self, map: &ConfigMap, now: Millis) {
        let text = map.data.as_ref().and_then(|data| data.get(deletion::KEY));
        let Some(note) = text.and_then(|text| serde_json::from_str::<Deletion>(text).ok()) else {
            let name = map.name_any();
            tracing::warn!(name, "a ConfigMap has the label of a note about a deletion, and is none; remove its label");
            return;
        };
        let notes = self.notes.entry(note.subject.uid.clone()).or_default();
        if notes.iter().all(|known| known.value.by != note.by) {
            notes.push(Waiting { value: note, until: now.plus_seconds(STAY_SECONDS) });
        }
    }

    /// Returns the objects about which everything is known that will be.
    fn ready(&self, now: Millis, presence: impl Fn(&Subject) -> Presence) -> Vec<Ready> {
        let of_watch = self.deleted.iter().filter_map(|(uid, Waiting { value, until })| {
            let Deleted { subject, tenant, since, .. } = value;
            let note = self.author_of(uid, *since);
            let is_ready = note.is_some() || now >= *until;
            let tenant = if tenant.is_empty() { note.map_or("", |note| note.tenant.as_str()) } else { tenant.as_str() };
            let outcome = note.map_or(Outcome::Deleted, deleted_by);
            let (subject, tenant) = (subject.clone(), tenant.to_owned());
            is_ready.then_some(Ready { subject, tenant, since: *since, outcome })
        });
        // No watch has shown these: they were deleted before this process began, or still exist.
        let of_notes =
            self.notes.iter().filter(|(uid, _)| !self.deleted.contains_key(*uid)).filter_map(|(uid, notes)| {
                let note = self.author_of(uid, None)?;
                let outcome = match presence(&note.subject) {
                    Presence::Gone => deleted_by(note),
                    Presence::Stays if notes.iter().all(|note| now >= note.until) => Outcome::Stays,
                    Presence::Stays | Presence::Leaving => return None,
                };
                Some(Ready { subject: note.subject.clone(), tenant: note.tenant.clone(), since: None, outcome })
            });
        of_watch.chain(of_notes).collect()
    }

    /// Returns the note of who deleted an object: the last one before `since`, as a later request had no effect.
    fn author_of(&self, uid: &str, since: Option<Millis>) -> Option<&Deletion> {
        let all = self.notes.get(uid)?.iter().map(|note| &note.value);
        // `since` has no parts of a second.
        let is_in_time = |note: &&Deletion| since.is_none_or(|since| note.at < since.plus_seconds(1));
        let in_time = all.clone().filter(is_in_time).max_by_key(|note| note.at);
        in_time.or_else(|| all.min_by_key(|note| note.at))
    }

    /// Removes everything about an object, and returns the names of its notes.
    fn remove(&mut self, uid: &str) -> Vec<String> {
        self.deleted.remove(uid);
        self.notes.remove(uid).into_iter().flatten().map(|note| note.value.name()).collect()
    }
}

fn deleted_by(note: &Deletion) -> Outcome {
    Outcome::DeletedBy { user: note.by.clone(), at: note.at }
}

#[cfg(test)]
mod tests;
