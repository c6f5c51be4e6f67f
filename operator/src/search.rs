//! Search: the items of documents go to the index beside all decisions, and tell which specifications are about the same.
//!
//! Nothing waits for it: a document is offered when it is recorded, and a queue of bounded length brings it to Postgres and, where there is
//! a model, says what its texts mean. What finds no room, or fails, is offered again at the next look at the object.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use enact_crds::plan::PlanDecision;
use enact_crds::specification::Related;
use enact_crds::task::TaskTemplate;
use enact_domain::record::{Kind, Subject};
use enact_embed::Embedder;
use enact_store::{Embedding, Item, ItemKind, Store};
use futures::future::BoxFuture;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::documents::library::{ConstitutionText, SpecificationText};

/// Most documents that wait.
const MANY: usize = 1024;
/// Most related specifications that are shown.
const MAX_RELATED: u32 = 5;
/// From this similarity on one is shown, in percent.
const SIMILAR: u8 = 10;
/// Texts whose meaning is asked for at once.
const BATCH: u32 = 64;

/// A document to be found, by these items alone; by none when it is gone.
#[derive(Debug)]
pub struct Job {
    /// The tenant.
    pub tenant: String,
    /// The document.
    pub subject: Subject,
    /// What is searched.
    pub items: Vec<Item>,
}

/// A document that is about the same as another.
#[derive(Clone, Debug, PartialEq)]
pub struct Alike {
    /// Its UID.
    pub uid: String,
    /// What is shown of it.
    pub shown: Related,
}

/// Why the index did not take or give something.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the search needs of the world.
pub trait Index: Send + Sync {
    /// Makes the items those by which a document is found.
    fn put<'a>(&'a self, tenant: &'a str, subject: &'a Subject, items: Vec<Item>)
    -> BoxFuture<'a, Result<(), Failure>>;
    /// Documents that are about the same, the nearest first.
    fn related<'a>(&'a self, tenant: &'a str, uid: &'a str) -> BoxFuture<'a, Result<Vec<Alike>, Failure>>;
}

/// The index in Postgres.
pub struct Postgres {
    /// The index itself.
    pub store: Store,
    /// Says what texts mean, if anybody does.
    pub embedder: Embedder,
}

impl Index for Postgres {
    fn put<'a>(
        &'a self,
        tenant: &'a str,
        subject: &'a Subject,
        items: Vec<Item>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.store.index_items(tenant, subject, items).await?;
            let Some(model) = self.embedder.model() else { return Ok(()) };
            loop {
                let pending = self.store.pending(tenant, Some(&subject.uid), model, BATCH).await?;
                if pending.is_empty() {
                    return Ok(());
                }
                let vectors = self.embedder.embed(pending.iter().map(|p| p.text.clone()).collect()).await?;
                let meant = |(p, values): (enact_store::PendingText, Vec<f32>)| {
                    (p.digest, Embedding { model: model.to_owned(), values })
                };
                let found: Vec<_> = pending.into_iter().zip(vectors).map(meant).collect();
                self.store.put_embeddings(tenant, &found).await?;
            }
        })
    }

    fn related<'a>(&'a self, tenant: &'a str, uid: &'a str) -> BoxFuture<'a, Result<Vec<Alike>, Failure>> {
        Box::pin(async move {
            let found = self.store.related(tenant, uid, self.embedder.model(), MAX_RELATED).await?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
            let percent = |score: f64| (score.clamp(0.0, 1.0) * 100.0).round() as u8;
            let alike = |r: enact_store::Related| Alike {
                uid: r.uid,
                shown: Related { namespace: r.namespace, name: r.name, similarity: percent(r.score) },
            };
            Ok(found.into_iter().map(alike).collect())
        })
    }
}

/// The way to the index, and what came back from it.
pub struct Search {
    jobs: mpsc::Sender<Job>,
    related: Mutex<HashMap<String, Vec<Related>>>,
}

impl Search {
    /// The way, and its other end.
    pub fn new() -> (Self, mpsc::Receiver<Job>) {
        let (jobs, queue) = mpsc::channel(MANY);
        (Self { jobs, related: Mutex::default() }, queue)
    }

    /// Specifications that are about the same as the one with this UID; none when nobody has looked yet.
    pub fn related(&self, uid: &str) -> Option<Vec<Related>> {
        self.related.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// Keeps what is related to a specification; whether there are others than before. How similar they are may move a little without
    /// that being news.
    fn keep(&self, uid: &str, related: Vec<Related>) -> bool {
        let mut known = self.related.lock().unwrap_or_else(PoisonError::into_inner);
        let names = |all: &[Related]| all.iter().map(|r| (r.namespace.clone(), r.name.clone())).collect::<Vec<_>>();
        let news = known.get(uid).is_none_or(|before| names(before) != names(&related));
        if news {
            known.insert(uid.to_owned(), related);
        }
        news
    }

    fn forget(&self, uid: &str) {
        self.related.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

fn key(uid: &str) -> String {
    format!("{uid}/index")
}

/// Offers a document to the index, if its content (`digest`) is another than the last one that was offered.
pub fn offer(ctx: &Context, tenant: &str, subject: Subject, digest: &str, items: impl FnOnce() -> Vec<Item>) {
    let key = key(&subject.uid);
    if !ctx.news.is_news(&key, digest) {
        return;
    }
    let job = Job { tenant: tenant.to_owned(), subject, items: items() };
    if ctx.search.jobs.try_send(job).is_err() {
        ctx.news.forget(&key);
    }
}

/// Brings documents to the index, one after the other, until `shutdown`.
pub async fn run(
    ctx: Arc<Context>,
    index: Box<dyn Index>,
    mut queue: mpsc::Receiver<Job>,
    shutdown: CancellationToken,
) {
    while let Some(Some(job)) = shutdown.run_until_cancelled(queue.recv()).await {
        let uid = job.subject.uid.clone();
        if let Some(Err(error)) = shutdown.run_until_cancelled(once(&ctx, index.as_ref(), job)).await {
            tracing::warn!(uid, %error, "a document is not in the search index; it is offered again later");
            ctx.news.forget(&key(&uid));
        }
    }
}

/// Brings one document to the index; specifications that are about the same hear of each other.
///
/// # Errors
/// When the index fails.
pub async fn once(ctx: &Context, index: &dyn Index, job: Job) -> Result<(), Failure> {
    let Job { tenant, subject, items } = job;
    let gone = items.is_empty();
    index.put(&tenant, &subject, items).await?;
    if subject.kind != Kind::Specification {
        return Ok(());
    }
    if gone {
        ctx.search.forget(&subject.uid);
        return Ok(());
    }
    let around = look(ctx, index, &tenant, &subject.uid, &subject.namespace, &subject.name).await?;
    for other in around {
        let Related { namespace, name, .. } = &other.shown;
        look(ctx, index, &tenant, &other.uid, namespace, name).await?;
    }
    Ok(())
}

async fn look(
    ctx: &Context,
    index: &dyn Index,
    tenant: &str,
    uid: &str,
    namespace: &str,
    name: &str,
) -> Result<Vec<Alike>, Failure> {
    let mut found = index.related(tenant, uid).await?;
    found.retain(|other| other.shown.similarity >= SIMILAR);
    if ctx.search.keep(uid, found.iter().map(|other| other.shown.clone()).collect()) {
        ctx.references.specifications.wake_one(ObjectRef::new(name).within(namespace));
    }
    Ok(found)
}

fn item(kind: ItemKind, key: &str, line: u32, text: impl Into<String>) -> Item {
    Item { kind, key: key.to_owned(), line, text: text.into() }
}

/// What a specification is found by.
pub fn of_specification(text: &SpecificationText) -> Vec<Item> {
    let spec = &text.parsed.model;
    let requirements = spec.requirements.iter().map(|r| item(ItemKind::Requirement, &r.id, r.line, r.text.clone()));
    let criteria = spec.success_criteria.iter().map(|c| item(ItemKind::Criterion, &c.id, c.line, c.text.clone()));
    let stories = spec.stories.iter().map(|s| {
        let scenarios: Vec<&str> = s.scenarios.iter().map(|s| s.text.as_str()).collect();
        item(ItemKind::Story, s.key.as_str(), s.line, format!("{}\n{}", s.title, scenarios.join("\n")))
    });
    requirements.chain(criteria).chain(stories).collect()
}

/// What a constitution is found by.
pub fn of_constitution(text: &ConstitutionText) -> Vec<Item> {
    let constitution = &text.parsed.model;
    let principle = |p: &enact_domain::speckit::constitution::Principle| {
        let body = p.body.text(&constitution.source).trim();
        item(ItemKind::Principle, &p.name, p.line, format!("{}\n{body}", p.name))
    };
    constitution.principles.iter().map(principle).collect()
}

/// What a plan is found by.
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
