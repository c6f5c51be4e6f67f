//! Records who deleted an object, and ends what a deleted plan leaves in the record.
//!
//! The watch of an object shows its deletion, and a note of the webhook shows who asked for it. They arrive in any order, and either can be
//! missing: the webhook may be down, and no watch shows what was deleted while no operator ran. Then the record shows what the object was.
//!
//! A note is evidence only of who asked. It never shows that an object was deleted, which tenant it belonged to, or what it was.

mod pending;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use enact_crds::{Agent, Approval, Constitution, ModelProvider, Plan, Specification, Task, Tenant};
use enact_domain::deletion::{self, Deletion};
use enact_domain::names::{DEFAULT_TENANT, LABEL_DELETION};
use enact_domain::record::{Event, Kind, Record, Subject, UNKNOWN_ACTOR};
use enact_store::ErrorClass;
use futures::StreamExt as _;
use futures::channel::mpsc::UnboundedReceiver;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::reflector::Store;
use kube::runtime::watcher::{self, watcher};
use kube::{Resource, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use self::pending::{Pending, Presence, Ready};
use crate::context::{Context, lookup};
use crate::deleted::Deleted;
use crate::error::Error;
use crate::watch::restarting;
use crate::{documents, plan};

/// Delay until pending deletions are handled again.
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
        let present = present(ctx, &pending);
        if let Err(error) = add_noted(ctx, &mut pending, &present).await {
            tracing::warn!(%error, "cannot look for objects that notes name; trying again");
        }
        if let Err(error) = record_ready(ctx, &mut pending, &present).await {
            tracing::warn!(%error, "cannot record deletions; trying again");
        }
        let is_idle = searched && pending.is_empty();
        tokio::select! {
            Some(objects) = deleted.next() => {
                for object in objects {
                    let object = of_owner(ctx, object);
                    handle(documents, plans, &object).await;
                    pending.add(object, ctx.now());
                }
            }
            Some(events) = notes.next() => {
                for event in events {
                    if let watcher::Event::Apply(map) | watcher::Event::InitApply(map) = event
                        && let Some(note) = note_in(&map)
                    {
                        pending.add_note(note, ctx.now());
                    }
                }
            }
            () = tokio::time::sleep(RETRY), if !is_idle => {}
            else => return,
        }
    }
}

/// Returns the object with the tenant that owns its namespace now: its label can name one that the namespace has left. Without an owner, as
/// when the namespace is gone, the label says whose it was.
fn of_owner(ctx: &Context, object: Deleted) -> Deleted {
    match ctx.tenant_of(&object.subject.namespace) {
        Some(owner) => Deleted { tenant: owner.tenant, ..object },
        None => object,
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
            for plan in page.into_iter().filter(|plan| is_gone(ctx, plan)) {
                pending.add(Deleted::missed(&tenant, plan), ctx.now());
            }
        }
    }
    Ok(())
}

/// Returns the note in a ConfigMap.
fn note_in(map: &ConfigMap) -> Option<Deletion> {
    let note = map.data.as_ref().and_then(|data| data.get(deletion::KEY)).and_then(|text| Deletion::parse(text));
    if note.is_none() {
        let name = map.name_any();
        tracing::warn!(
            name,
            "a ConfigMap has the label of a note about a deletion, but no valid note; remove its label"
        );
    }
    note
}

/// Returns whether the cache of plans has no plan with this name and UID.
fn is_gone(ctx: &Context, plan: &Subject) -> bool {
    let found = lookup(&ctx.caches.plans, &plan.namespace, &plan.name);
    found.is_none_or(|found| found.metadata.uid.as_ref() != Some(&plan.uid))
}

/// Returns the objects that have notes and that a cache has, under whatever name, by their UIDs.
fn present(ctx: &Context, pending: &Pending) -> HashMap<String, Presence> {
    let (uids, caches) = (pending.unmatched(), &ctx.caches);
    let mut present = HashMap::new();
    if uids.is_empty() {
        return present;
    }
    present.extend(present_in(&caches.tenants, &uids));
    present.extend(present_in(&caches.constitutions, &uids));
    present.extend(present_in(&caches.specifications, &uids));
    present.extend(present_in(&caches.plans, &uids));
    present.extend(present_in(&caches.providers, &uids));
    present.extend(present_in(&caches.agents, &uids));
    present.extend(present_in(&caches.approvals, &uids));
    present
}

fn present_in<K>(cache: &Store<K>, uids: &HashSet<&str>) -> Vec<(String, Presence)>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let found = cache.state_filter(|object| object.meta().uid.as_deref().is_some_and(|uid| uids.contains(uid)));
    let presence = |object: &Arc<K>| match object.meta().deletion_timestamp {
        Some(_) => Presence::Leaving,
        None => Presence::Stays,
    };
    found.iter().map(|object| (object.meta().uid.clone().unwrap_or_default(), presence(object))).collect()
}

/// Adds the objects that notes name, that the record has and the cluster has not: they were deleted before this process began.
///
/// # Errors
/// When the record or the API server cannot be asked.
async fn add_noted(ctx: &Context, pending: &mut Pending, present: &HashMap<String, Presence>) -> Result<(), Error> {
    for (tenant, uids) in pending.unknown(present) {
        let found = match ctx.record_store.recorded_subjects(&tenant, &uids).await {
            Ok(found) => found,
            // No tenant can have the name that the notes claim.
            Err(error) if error.class() == ErrorClass::Permanent => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        // The webhook leaves no note about a Task.
        for subject in found.into_iter().filter(|subject| subject.kind != Kind::Task) {
            if !exists(ctx, &subject).await? {
                pending.add(of_owner(ctx, Deleted::missed(&tenant, subject)), ctx.now());
            }
        }
        for uid in &uids {
            pending.sought(uid);
        }
    }
    Ok(())
}

/// Returns whether the API server has the object: a cache can lack one that is new.
async fn exists(ctx: &Context, subject: &Subject) -> Result<bool, Error> {
    let Subject { kind, namespace, name, uid } = subject;
    let resource = match kind {
        Kind::Tenant => ApiResource::erase::<Tenant>(&()),
        Kind::Constitution => ApiResource::erase::<Constitution>(&()),
        Kind::Specification => ApiResource::erase::<Specification>(&()),
        Kind::Plan => ApiResource::erase::<Plan>(&()),
        Kind::Task => ApiResource::erase::<Task>(&()),
        Kind::ModelProvider => ApiResource::erase::<ModelProvider>(&()),
        Kind::Agent => ApiResource::erase::<Agent>(&()),
        Kind::Approval => ApiResource::erase::<Approval>(&()),
    };
    let client = ctx.client.clone();
    let api: Api<DynamicObject> = if namespace.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, namespace, &resource)
    };
    let found = api.get_opt(name).await.map_err(Error::kube(format!("reading {} {name}", resource.kind)))?;
    Ok(found.is_some_and(|object| object.metadata.uid.as_ref() == Some(uid)))
}

/// Records what is ready, and removes it and its notes.
///
/// # Errors
/// When the record cannot be written. Nothing is lost then.
async fn record_ready(ctx: &Context, pending: &mut Pending, present: &HashMap<String, Presence>) -> Result<(), Error> {
    let ready = pending.ready(ctx.now(), present);
    write(ctx, ready.iter().filter_map(|ready| record(ctx, ready)).collect()).await?;
    let mut notes = pending.take_excess();
    notes.extend(ready.iter().flat_map(|ready| pending.remove(&ready.uid)));
    let api = Api::<ConfigMap>::namespaced(ctx.client.clone(), &ctx.config.namespace);
    // After the record: a note that is found again after a crash is recorded again, without effect.
    for name in notes {
        ctx.metrics.wrote("delete", "ConfigMap");
        match api.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                tracing::warn!(%error, name, "cannot delete the note about a deletion; the next start repeats it");
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Writes records. One that the record refuses does not keep back the others: it is dropped.
///
/// # Errors
/// When the record is unavailable.
async fn write(ctx: &Context, records: Vec<Record>) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    match ctx.record(records.clone()).await {
        Err(error) if error.is_refused_record() => {}
        written => return written,
    }
    for record in records {
        let Subject { kind, namespace, name, uid } = record.subject.clone();
        match ctx.record(vec![record]).await {
            Err(error) if error.is_refused_record() => {
                tracing::error!(%error, %kind, namespace, name, uid, "the record refuses a deletion, which is not recorded");
            }
            written => written?,
        }
    }
    Ok(())
}

/// Returns the record of a deletion; none of an object that belongs to no tenant, as an Agent that the installation shares.
fn record(ctx: &Context, ready: &Ready) -> Option<Record> {
    let Deleted { subject, tenant, since, .. } = ready.deleted.as_ref()?;
    let tenant = Some(tenant.clone()).filter(|tenant| !tenant.is_empty())?;
    let (actor, at, why) = if let Some(note) = &ready.note {
        (note.by.clone(), note.at, "")
    } else {
        let namespace = ctx.caches.namespaces.get("", &subject.namespace);
        let is_ending = namespace.is_none_or(|namespace| namespace.terminating);
        let why = if is_ending && !subject.namespace.is_empty() {
            "its namespace was deleted"
        } else {
            "the webhook did not see the deletion"
        };
        (UNKNOWN_ACTOR.to_owned(), since.unwrap_or_else(|| ctx.now()), why)
    };
    Some(Record { tenant, subject: subject.clone(), at, actor, event: Event::Deleted { note: why.to_owned() } })
}

#[cfg(test)]
mod tests;
