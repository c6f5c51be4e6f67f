//! What is so: the plan, its children, and what it refers to.

use std::collections::HashMap;
use std::sync::Arc;

use enact_crds::approval::SubjectKind;
use enact_crds::document::SourceStatus;
use enact_crds::plan::{Cleanup, Phase};
use enact_crds::{Agent, Plan, Specification, convert};
use enact_domain::approval::Decision;
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::time::Millis;
use kube::ResourceExt as _;

use super::context::Context;
use super::documents::{self, Documents};
use super::validate::Content;
use super::{CLEANUP_RESYNC_SECONDS, Runtime, is_finished, started};
use crate::context::{Membership, lookup};
use crate::documents::constitution_chain::chain_of_specification;
use crate::error::Error;
use crate::index::Children;
use crate::references::Target;
use crate::sourcing::{self, Subject};

/// What one pass knows.
pub struct Observed {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Now.
    pub now: Millis,
    /// Its tasks and pods.
    pub children: Children,
    /// The tenant of its namespace.
    pub member: Option<Membership>,
    /// Its specification, if it names one that exists.
    pub specification: Option<Arc<Specification>>,
    /// The content that it is pinned to, when it was started.
    pub pinned: Option<Arc<Content>>,
    /// Whether the plan says something else by now.
    pub changed: bool,
    /// Its tasks.md, when that is kept elsewhere and the plan was not started; why it is missing.
    pub document: Option<Result<Vec<u8>, Readiness>>,
    /// What its status is to say of where its tasks.md comes from.
    pub source: Option<SourceStatus>,
    /// When to look there again.
    pub source_wake: Option<Millis>,
    /// Agents of its namespace that it may name.
    pub agents: HashMap<String, Arc<Agent>>,
    /// Decisions of people on it.
    pub decisions: Vec<Decision>,
    /// Who wrote it.
    pub author: Option<String>,
    /// The documents that it is held against.
    pub documents: Documents,
}

impl Observed {
    /// Whether the plan is finished, and nobody asks anything more of it. `harmless` are revisions of its specification between which nothing
    /// differs that it knows of.
    pub fn is_settled(&self, harmless: Option<&(String, String)>) -> bool {
        let Some(status) = &self.plan.status else { return false };
        let asked = self.children.tasks.values().any(|t| t.rerun.is_some() && t.rerun != t.observed_rerun);
        let rerun = self.plan.annotations().get(names::ANNOTATION_RERUN);
        let integration = status.integration.as_ref().and_then(|i| i.observed_rerun.as_ref());
        is_finished(status.phase)
            && status.observed_generation == self.plan.metadata.generation
            && !asked
            && documents::is_told(self, status, harmless)
            && (rerun.is_none() || rerun == integration || status.integration.is_none())
    }

    /// When the pods of a finished plan are to be deleted; none while it is not finished or they stay.
    fn cleanup_due(&self) -> Option<Millis> {
        let status = self.plan.status.as_ref()?;
        let execution = &self.plan.spec.execution;
        let wanted = match execution.cleanup {
            Cleanup::OnSuccess => status.phase == Phase::Succeeded,
            Cleanup::Always => is_finished(status.phase),
            Cleanup::Never => false,
        };
        let finished = status.finished_at.as_ref().map(convert::millis)?;
        (wanted && !self.children.pods.is_empty()).then(|| finished.plus_seconds(execution.pod_ttl_seconds))
    }

    /// Whether the pods of a finished plan are to be deleted now.
    pub fn cleanup_is_due(&self) -> bool {
        self.cleanup_due().is_some_and(|at| self.now >= at)
    }

    /// When to look at the pods of a finished plan again: those that were told to go may take their time.
    pub fn cleanup_at(&self) -> Option<Millis> {
        let due = self.cleanup_due()?;
        Some(if self.now < due { due } else { self.now.plus_seconds(CLEANUP_RESYNC_SECONDS) })
    }
}

/// Looks at everything that a pass over `plan` needs and that is at hand, and notes first what to watch for it.
pub fn observe(plan: &Arc<Plan>, ctx: &Context, now: Millis, runtime: &Runtime) -> Observed {
    let namespace = plan.namespace().unwrap_or_default();
    let uid = plan.uid().unwrap_or_default();
    ctx.references.plans.set(plan, targets(plan, ctx, &namespace));
    let specification =
        plan.spec.specification_ref.as_ref().and_then(|r| lookup(&ctx.caches.specifications, &namespace, &r.name));
    let mut agents = HashMap::new();
    for name in agents_of(plan) {
        if !agents.contains_key(name)
            && let Some(agent) = lookup(&ctx.caches.agents, &namespace, name)
        {
            agents.insert(name.to_owned(), agent);
        }
    }
    let pinned = runtime.pinned(plan);
    Observed {
        member: ctx.tenant_of(&namespace),
        children: ctx.index.children(&uid),
        specification,
        pinned,
        changed: false,
        document: None,
        source: plan.status.as_ref().and_then(|s| s.source.clone()),
        source_wake: None,
        agents,
        decisions: decisions(plan, ctx, &namespace),
        author: plan.annotations().get(names::ANNOTATION_AUTHOR).cloned(),
        documents: Documents::default(),
        plan: plan.clone(),
        namespace,
        uid,
        now,
    }
}

/// Adds what costs requests. Before the start that is a tasks.md that is kept elsewhere. After it, and after a restart of the process or a
/// change of the plan, it is what the plan was started with: its document may say something else by now, and the plan itself may have been
/// changed past the webhook.
///
/// # Errors
/// When the record cannot be read; when the API server cannot be asked for what the record does not hold.
pub async fn recall(ctx: &Context, observed: &mut Observed) -> Result<(), Error> {
    observed.documents = documents::load(ctx, observed).await?;
    let plan = observed.plan.clone();
    if started(&plan).is_none() {
        return document(ctx, observed).await;
    }
    let approved = plan.status.as_ref().and_then(|s| s.approved_digest.clone()).map(Digest::from);
    if let (None, Some(member), Some(approved)) = (&observed.pinned, &observed.member, approved) {
        let content = ctx.record_store.content(&member.tenant, &approved).await?;
        observed.pinned = content.and_then(|bytes| Content::recorded(&plan.name_any(), &approved, bytes)).map(Arc::new);
        let Some(pinned) = &observed.pinned else {
            tracing::warn!(plan = %plan.name_any(), namespace = %observed.namespace, "the record does not hold what the plan was started with");
            return document(ctx, observed).await;
        };
        observed.changed = !pinned.is_said_by(&plan.spec);
    }
    sourcing::delete_jobs(&ctx.sourcing, &plan).await
}

/// What a change of wakes the plan. A finished plan waits for its specification alone.
fn targets(plan: &Plan, ctx: &Context, namespace: &str) -> Vec<Target> {
    let specification = plan.spec.specification_ref.as_ref().map(|r| Target::new::<Specification>(namespace, &r.name));
    if is_finished(plan.status.as_ref().map(|s| s.phase).unwrap_or_default()) {
        return specification.into_iter().collect();
    }
    let mut targets: Vec<Target> = agents_of(plan).map(|name| Target::new::<Agent>(namespace, name)).collect();
    targets.push(Target::namespace(namespace));
    targets.extend(specification);
    if started(plan).is_none() {
        let named = plan.spec.specification_ref.as_ref();
        let found = named.and_then(|r| lookup(&ctx.caches.specifications, namespace, &r.name));
        targets.extend(chain_of_specification(ctx, namespace, found.as_deref()).targets());
    }
    targets.extend(sourcing::targets(namespace, plan.spec.source.as_ref(), None));
    targets
}

fn agents_of(plan: &Plan) -> impl Iterator<Item = &str> {
    let named = plan.spec.tasks.iter().filter_map(|t| t.agent_ref.as_ref());
    named.chain([&plan.spec.agent_ref]).map(|r| r.name.as_str())
}

/// Reads a tasks.md that is kept elsewhere.
async fn document(ctx: &Context, observed: &mut Observed) -> Result<(), Error> {
    let plan = observed.plan.clone();
    let Some(source) = plan.spec.source.as_ref().filter(|source| source.inline.is_none()) else {
        observed.source = None;
        return sourcing::delete_jobs(&ctx.sourcing, &plan).await;
    };
    let subject = Subject::of(plan.as_ref(), plan.status.as_ref().and_then(|s| s.observed_generation));
    let sourced = sourcing::content(&ctx.sourcing, &subject, Some(source), observed.source.as_ref(), None).await?;
    observed.document = Some(sourced.bytes);
    observed.source = sourced.status;
    observed.source_wake = sourced.requeue_at;
    Ok(())
}

/// Decisions are read only while one is needed: a started plan is pinned to what was approved.
fn decisions(plan: &Plan, ctx: &Context, namespace: &str) -> Vec<Decision> {
    if plan.spec.approval.required == 0 || started(plan).is_some() {
        return Vec::new();
    }
    crate::documents::observe::decisions(ctx, namespace, SubjectKind::Plan, &plan.name_any())
}
