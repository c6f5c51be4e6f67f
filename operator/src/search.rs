//! The search index: adds the items of documents to it, and reads which specifications are similar.
//!
//! No reconcile waits for it. A reconcile offers a document after it is recorded, and a queue of bounded length brings it to Postgres and,
//! where there is an embedding model, to the model. A document that finds the queue full, or whose indexing fails, is offered again by the
//! next reconcile of its object. Sweeps remove what was deleted without an event that removes it: while no operator ran, or while the queue
//! was full.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use enact_crds::plan::PlanDecision;
use enact_crds::specification::Related;
use enact_crds::task::TaskTemplate;
use enact_domain::names::DEFAULT_TENANT;
use enact_domain::record::{Kind, Subject};
use enact_embed::Embedder;
use enact_store::{Embedding, Item, ItemKind, Store};
use futures::future::BoxFuture;
use kube::ResourceExt as _;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::change_detection::ChangeDetector;
use crate::context::{Context, RESYNC, lookup};
use crate::metadata_cache::ObjectKey;

/// Length of the queue.
const MAX_QUEUED: usize = 1024;
/// Highest number of related specifications in a status.
const MAX_RELATED: u32 = 5;
/// Lowest similarity of a related specification, in percent.
const MIN_SIMILARITY: u8 = 10;
/// Number of texts in one request to the embedding model.
const BATCH: u32 = 64;

/// A document to index under these items, which replace its earlier ones. No items remove it from the index.
#[derive(Debug)]
pub struct IndexJob {
    pub tenant: String,
    pub subject: Subject,
    pub items: Vec<Item>,
}

/// A specification that is similar to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Similar {
    pub uid: String,
    /// Its entry in the status of the other.
    pub related: Related,
}

/// A failure of the index.
pub type IndexError = Box<dyn std::error::Error + Send + Sync>;

/// The search index, which tests replace.
pub trait SearchIndex: Send + Sync {
    /// Replaces the items of a document.
    fn put<'a>(
        &'a self,
        tenant: &'a str,
        subject: &'a Subject,
        items: Vec<Item>,
    ) -> BoxFuture<'a, Result<(), IndexError>>;
    /// Returns the documents of a tenant that have items.
    fn subjects<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<Vec<Subject>, IndexError>>;
    /// Returns similar documents, the most similar first.
    fn related<'a>(&'a self, tenant: &'a str, uid: &'a str) -> BoxFuture<'a, Result<Vec<Similar>, IndexError>>;
}

/// The search index in Postgres.
pub struct PostgresIndex {
    pub store: Store,
    /// Computes embeddings, if a model is configured.
    pub embedder: Embedder,
}

impl SearchIndex for PostgresIndex {
    fn put<'a>(
        &'a self,
        tenant: &'a str,
        subject: &'a Subject,
        items: Vec<Item>,
    ) -> BoxFuture<'a, Result<(), IndexError>> {
        Box::pin(async move {
            self.store.index_items(tenant, subject, items).await?;
            let Some(model) = self.embedder.model() else { return Ok(()) };
            loop {
                let pending = self.store.pending(tenant, Some(&subject.uid), model, BATCH).await?;
                if pending.is_empty() {
                    return Ok(());
                }
                let vectors = self.embedder.embed(pending.iter().map(|p| p.text.clone()).collect()).await?;
                let embedding = |(p, values): (enact_store::PendingText, Vec<f32>)| {
                    (p.digest, Embedding { model: model.to_owned(), values })
                };
                let found: Vec<_> = pending.into_iter().zip(vectors).map(embedding).collect();
                self.store.put_embeddings(tenant, &found).await?;
            }
        })
    }

    fn subjects<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<Vec<Subject>, IndexError>> {
        Box::pin(async move { Ok(self.store.indexed_subjects(tenant).await?) })
    }

    fn related<'a>(&'a self, tenant: &'a str, uid: &'a str) -> BoxFuture<'a, Result<Vec<Similar>, IndexError>> {
        Box::pin(async move {
            let found = self.store.related(tenant, uid, self.embedder.model(), MAX_RELATED).await?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
            let percent = |score: f64| (score.clamp(0.0, 1.0) * 100.0).round() as u8;
            let similar = |r: enact_store::Related| Similar {
                uid: r.uid,
                related: Related { namespace: r.namespace, name: r.name, similarity: percent(r.score) },
            };
            Ok(found.into_iter().map(similar).collect())
        })
    }
}

/// The queue to the index, and the results of it that statuses show.
pub struct Search {
    queue: mpsc::Sender<IndexJob>,
    /// Digest of the content that was last offered, by UID.
    offered: ChangeDetector,
    /// Related specifications by UID.
    related: Mutex<HashMap<String, Vec<Related>>>,
}

impl Search {
    /// Returns the sending end of the queue, and its receiving end for [`run`].
    pub fn new() -> (Self, mpsc::Receiver<IndexJob>) {
        let (queue, jobs) = mpsc::channel(MAX_QUEUED);
        (Self { queue, offered: ChangeDetector::default(), related: Mutex::default() }, jobs)
    }

    /// Queues a document, if its content (`digest`) differs from the last one that was offered.
    pub fn offer(&self, tenant: &str, subject: Subject, digest: &str, items: impl FnOnce() -> Vec<Item>) {
        if !self.offered.changed(&subject.uid, digest) {
            return;
        }
        let uid = subject.uid.clone();
        if self.queue.try_send(IndexJob { tenant: tenant.to_owned(), subject, items: items() }).is_err() {
            // The queue is full. A reconcile must not wait for the index, so the next one offers the document again.
            self.offered.forget(&uid);
        }
    }

    /// Returns the related specifications of the one with this UID; none when it was not indexed yet.
    pub fn related(&self, uid: &str) -> Option<Vec<Related>> {
        self.related.lock().get(uid).cloned()
    }

    /// Stores the related specifications of one, and returns whether they differ from the previous ones. A change of similarity that keeps
    /// their order does not count.
    fn set_related(&self, uid: &str, related: Vec<Related>) -> bool {
        let mut known = self.related.lock();
        let names = |all: &[Related]| all.iter().map(|r| (r.namespace.clone(), r.name.clone())).collect::<Vec<_>>();
        let changed = known.get(uid).is_none_or(|before| names(before) != names(&related));
        if changed {
            known.insert(uid.to_owned(), related);
        }
        changed
    }
}

/// Indexes queued documents, one after the other, and sweeps the index, until `shutdown`.
pub async fn run(
    ctx: Arc<Context>,
    search: Arc<Search>,
    index: Box<dyn SearchIndex>,
    mut jobs: mpsc::Receiver<IndexJob>,
    shutdown: CancellationToken,
) {
    let work = async {
        // Before that, an object that is not cached may exist.
        ctx.synced().await;
        let mut sweeps = interval(RESYNC);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => work_on(&ctx, &search, index.as_ref(), job).await,
                    None => return,
                },
                _ = sweeps.tick() => {
                    if let Err(error) = sweep(&ctx, &search, index.as_ref()).await {
                        tracing::warn!(%error, "cannot remove deleted documents from the search index; the next sweep retries");
                    }
                }
            }
        }
    };
    shutdown.run_until_cancelled(work).await;
}

/// Indexes a queued document, unless it was deleted or left its tenant while it was queued.
async fn work_on(ctx: &Context, search: &Search, index: &dyn SearchIndex, job: IndexJob) {
    let uid = job.subject.uid.clone();
    if !job.items.is_empty() && !exists(ctx, &job.tenant, &job.subject) {
        search.offered.forget(&uid);
        return;
    }
    if let Err(error) = index_document(ctx, search, index, job).await {
        tracing::warn!(uid, %error, "cannot index a document; the next reconcile of its object retries");
        search.offered.forget(&uid);
    }
}

/// Removes the documents from the index that do not exist any more, or that left their tenant. Those that exist and are not indexed are
/// offered again by the next reconcile of their objects.
///
/// # Errors
/// When the index fails.
pub async fn sweep(ctx: &Context, search: &Search, index: &dyn SearchIndex) -> Result<(), IndexError> {
    let mut tenants: BTreeSet<String> = ctx.caches.tenants.state().iter().map(|tenant| tenant.name_any()).collect();
    tenants.insert(DEFAULT_TENANT.to_owned());
    let mut indexed = HashSet::new();
    for tenant in tenants {
        for subject in index.subjects(&tenant).await? {
            if exists(ctx, &tenant, &subject) {
                indexed.insert(subject.uid);
            } else {
                index_document(ctx, search, index, IndexJob { tenant: tenant.clone(), subject, items: Vec::new() })
                    .await?;
            }
        }
    }
    let caches = &ctx.caches;
    let uids = caches.constitutions.state().into_iter().filter_map(|object| object.uid());
    let uids = uids.chain(caches.specifications.state().into_iter().filter_map(|object| object.uid()));
    let uids = uids.chain(caches.plans.state().into_iter().filter_map(|object| object.uid()));
    uids.filter(|uid| !indexed.contains(uid)).for_each(|uid| search.offered.forget(&uid));
    Ok(())
}

/// Returns whether the object of a document exists, and its namespace belongs to `tenant`.
fn exists(ctx: &Context, tenant: &str, subject: &Subject) -> bool {
    let Subject { kind, namespace, name, uid } = subject;
    let found = match kind {
        Kind::Constitution => lookup(&ctx.caches.constitutions, namespace, name).and_then(|object| object.uid()),
        Kind::Specification => lookup(&ctx.caches.specifications, namespace, name).and_then(|object| object.uid()),
        Kind::Plan => lookup(&ctx.caches.plans, namespace, name).and_then(|object| object.uid()),
        // They have no documents.
        Kind::Tenant | Kind::Task | Kind::ModelProvider | Kind::Agent | Kind::Approval => None,
    };
    found.as_ref() == Some(uid) && ctx.tenant_of(namespace).is_some_and(|member| member.tenant == tenant)
}

/// Indexes one document, and updates the related specifications of it and of those similar to it.
///
/// # Errors
/// When the index fails.
pub async fn index_document(
    ctx: &Context,
    search: &Search,
    index: &dyn SearchIndex,
    job: IndexJob,
) -> Result<(), IndexError> {
    let IndexJob { tenant, subject, items } = job;
    let removed = items.is_empty();
    index.put(&tenant, &subject, items).await?;
    if subject.kind != Kind::Specification {
        return Ok(());
    }
    if removed {
        search.related.lock().remove(&subject.uid);
        return Ok(());
    }
    let key = (subject.namespace, subject.name);
    // Similarity is mutual: a document that was added or changed can enter or leave the lists of the others.
    for other in update_related(ctx, search, index, &tenant, &subject.uid, &key).await? {
        let Related { namespace, name, .. } = other.related;
        update_related(ctx, search, index, &tenant, &other.uid, &(namespace, name)).await?;
    }
    Ok(())
}

/// Queries the index for the specifications similar to one, and requeues that one when they have changed.
async fn update_related(
    ctx: &Context,
    search: &Search,
    index: &dyn SearchIndex,
    tenant: &str,
    uid: &str,
    key: &ObjectKey,
) -> Result<Vec<Similar>, IndexError> {
    let mut found = index.related(tenant, uid).await?;
    found.retain(|other| other.related.similarity >= MIN_SIMILARITY);
    if search.set_related(uid, found.iter().map(|other| other.related.clone()).collect()) {
        ctx.references.specifications.requeue_key(key);
    }
    Ok(found)
}

pub fn item(kind: ItemKind, key: &str, line: u32, text: impl Into<String>) -> Item {
    Item { kind, key: key.to_owned(), line, text: text.into() }
}

pub fn of_plan(decisions: &[PlanDecision], tasks: &[TaskTemplate]) -> Vec<Item> {
    let decision = |d: &PlanDecision| {
        let text = [d.title.as_str(), &d.decision, &d.rationale, &d.alternatives.join("\n")].join("\n");
        item(ItemKind::Decision, &d.title, 0, text)
    };
    let task = |t: &TaskTemplate| {
        let prompt = t.prompt.as_deref().unwrap_or_default();
        item(ItemKind::Task, &t.id, 0, format!("{}\n{prompt}", t.title))
    };
    decisions.iter().map(decision).chain(tasks.iter().map(task)).collect()
}

#[cfg(test)]
mod tests;
