//! Observe: reads the cached data about a plan, and loads the rest with requests.

use std::collections::HashMap;
use std::sync::Arc;

use enact_crds::approval::SubjectKind;
use enact_crds::models::{ModelProblem, Resolved};
use enact_crds::subject::effective_policy;
use enact_crds::{Agent, Approval, Plan, Specification, convert};
use enact_domain::approval::Decision;
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::usage::{Limit, Sample, Worker};
use enact_store::FinishedTask;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use super::context::Context;
use super::digest_cache::ContentDigests;
use super::estimate;
use super::observed::{Content, Documents, Loaded, Observed, PromptDocuments, StartedFor};
use super::planning::{self, Planned};
use super::predecessor;
use crate::context::lookup;
use crate::documents::constitution_chain::{Chain, chain_of_specification};
use crate::documents::effective_constitution;
use crate::documents::observe::{approvals_of, decisions as decisions_on};
use crate::error::Error;
use crate::references::Target;
use crate::sourcing::{self, Subject};

/// Reads everything about `plan` that the caches hold.
pub fn observe(ctx: &Context, plan: Arc<Plan>) -> Observed {
    let namespace = plan.namespace().unwrap_or_default();
    let uid = plan.uid().unwrap_or_default();
    // The references are set before the objects are read: a change in between requeues the plan.
    ctx.references.plans.set(&plan, targets(ctx, &plan, &namespace));
    let member = ctx.tenant_of(&namespace);
    let tenant = member.as_ref().map_or("", |member| member.tenant.as_str());
    let agents = agents(ctx, &plan, &namespace, tenant);
    let digests = agent_digests(ctx, tenant, &agents);
    let policy = effective_policy(SubjectKind::Plan, &plan.spec.approval, ctx.tenant(tenant).as_deref());
    Observed {
        now: ctx.now(),
        children: ctx.index.children(&namespace, &uid),
        specification: specification(ctx, &plan, &namespace),
        model_problems: model_problems(ctx, tenant, &agents),
        agent_digests: digests.iter().map(|(name, digests)| (name.clone(), digests.content.clone())).collect(),
        model_digests: digests.into_iter().map(|(name, digests)| (name, digests.models)).collect(),
        provider_authors: agents
            .iter()
            .map(|(name, agent)| (name.clone(), ctx.provider_authors(agent, tenant)))
            .collect(),
        caps: caps(ctx, &plan, &agents),
        member,
        agents,
        decisions: decisions(ctx, &plan),
        policy,
        author: plan.annotations().get(names::ANNOTATION_AUTHOR).cloned(),
        namespace,
        uid,
        plan,
    }
}

/// Returns the objects whose changes requeue the plan. A finished plan only depends on its specification.
fn targets(ctx: &Context, plan: &Plan, namespace: &str) -> Vec<Target> {
    let specification = plan.spec.specification_ref.as_ref().map(|r| Target::new::<Specification>(namespace, &r.name));
    if plan.status.as_ref().is_some_and(|s| s.phase.is_finished()) {
        return specification.into_iter().collect();
    }
    // A name can refer to an Agent that the installation shares.
    let places = [namespace, &ctx.config.namespace];
    let agents = plan.spec.agent_names().flat_map(|name| places.map(|namespace| Target::new::<Agent>(namespace, name)));
    let mut targets: Vec<Target> = agents.collect();
    targets.push(Target::namespace(namespace));
    targets.extend(specification);
    // Constitutions are checked at the start only: a later amendment does not affect a running plan.
    if !is_started(plan) {
        targets.extend(constitution_chain(ctx, plan, namespace).targets());
        targets.extend(plan.spec.replaces.iter().map(|replaced| Target::new::<Plan>(namespace, &replaced.name)));
    }
    targets.extend(sourcing::targets(places, plan.spec.source.as_ref(), None));
    let planners = plan.spec.generate.iter().flat_map(|generate| {
        let planners = generate.agents.iter().chain(&generate.judges);
        planners.chain(&generate.synthesizer)
    });
    targets.extend(planners.flat_map(|planner| places.map(|place| Target::new::<Agent>(place, &planner.name))));
    targets
}

fn is_started(plan: &Plan) -> bool {
    plan.status.as_ref().is_some_and(|s| s.started_at.is_some())
}

fn specification(ctx: &Context, plan: &Plan, namespace: &str) -> Option<Arc<Specification>> {
    lookup(&ctx.caches.specifications, namespace, &plan.spec.specification_ref.as_ref()?.name)
}

fn constitution_chain(ctx: &Context, plan: &Plan, namespace: &str) -> Chain {
    chain_of_specification(ctx, namespace, specification(ctx, plan, namespace).as_deref())
}

fn agents(ctx: &Context, plan: &Plan, namespace: &str, tenant: &str) -> HashMap<String, Arc<Agent>> {
    let mut agents = HashMap::new();
    for name in plan.spec.agent_names() {
        if !agents.contains_key(name)
            && let Some(agent) = ctx.agent(namespace, tenant, name)
        {
            agents.insert(name.to_owned(), agent);
        }
    }
    agents
}

/// Returns the digests of agents by their names.
fn agent_digests(ctx: &Context, tenant: &str, agents: &HashMap<String, Arc<Agent>>) -> HashMap<String, ContentDigests> {
    let digests = |agent: &Agent| {
        let namespace = agent.namespace().unwrap_or_default();
        ctx.agent_digests.digests(agent, tenant, |provider| match ctx.provider(&namespace, tenant, provider) {
            Resolved::Found(provider) => Some(provider.endpoint()),
            Resolved::NotShared | Resolved::NotFound => None,
        })
    };
    agents.iter().map(|(name, agent)| (name.clone(), digests(agent))).collect()
}

/// Returns the first problem with the models of each agent. A change of a ModelProvider reconciles the Agent, which requeues the plan.
fn model_problems(
    ctx: &Context,
    tenant: &str,
    agents: &HashMap<String, Arc<Agent>>,
) -> HashMap<String, (usize, ModelProblem)> {
    agents.iter().filter_map(|(name, agent)| Some((name.clone(), ctx.model_problem(agent, tenant)?))).collect()
}

/// Returns the Approvals with a budget. They are looked up only for a plan that uses models, because that visits all Approvals.
fn caps(ctx: &Context, plan: &Plan, agents: &HashMap<String, Arc<Agent>>) -> Vec<(Decision, Limit)> {
    let finished = plan.status.as_ref().is_some_and(|s| s.phase.is_finished());
    if finished || !agents.values().any(|agent| agent.spec.uses_models()) {
        return Vec::new();
    }
    let approvals = approvals_of(ctx, SubjectKind::Plan, plan);
    let cap = |approval: &Arc<Approval>| {
        let budget = convert::limit(approval.spec.budget.as_ref()?);
        Some((convert::decision(approval)?, budget))
    };
    let mut caps: Vec<(Decision, Limit)> = approvals.iter().filter_map(cap).collect();
    // The cache has no order, and the status names the first that applies.
    caps.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    caps
}

/// Returns people's decisions on a plan that has not started. One that requires no approval can be rejected. A started plan is pinned to what
/// was approved.
fn decisions(ctx: &Context, plan: &Plan) -> Vec<Decision> {
    if is_started(plan) { Vec::new() } else { decisions_on(ctx, SubjectKind::Plan, plan) }
}

/// Requeues the constitutions that govern an unfinished plan when they do not count it and its tasks yet, or no longer do. `cached` is the
/// plan as the cache shows it.
pub fn report_to_constitutions(ctx: &Context, observed: &Observed, cached: &Plan) {
    let key = (observed.namespace.clone(), observed.name());
    // Not the status that was last written: the constitutions count what the cache shows, and would miss what it does not show yet.
    let (finished, tasks) = cached.status.as_ref().map(|s| (s.phase.is_finished(), s.tasks.total)).unwrap_or_default();
    let governing = if finished {
        std::collections::BTreeSet::new()
    } else {
        chain_of_specification(ctx, &observed.namespace, observed.specification.as_deref()).keys().collect()
    };
    // The constitutions count the plans that they govern in their status. `update` returns none when nothing changed.
    let counted = format!("{finished} {tasks}");
    for constitution in ctx.dependents.plan_constitutions.update(&key, governing, &counted) {
        ctx.references.constitutions.requeue_key(&constitution);
    }
}

/// Requeues the plans that replace a plan which has ended: they wait for that. `cached` is the plan as the cache shows it.
pub fn report_to_replacements(ctx: &Context, cached: &Plan) {
    if cached.status.as_ref().is_some_and(|status| status.phase.is_finished()) {
        ctx.references.plans.requeue_other_referrers(&Target::of(cached), &ObjectRef::from_obj(cached));
    }
}

/// Loads the data that costs requests: the documents, and the tasks.md of a plan that has not started. `cached` is the content of a
/// started plan.
///
/// A started plan uses the content that it was started with. After a restart of the operator, and after a change of the plan, that comes
/// from the record: its tasks.md may differ by now, and the spec may have been changed while the webhook was down.
///
/// # Errors
/// When the record or the API server fails.
pub async fn load(ctx: &Context, observed: &Observed, cached: Option<Arc<Content>>) -> Result<Loaded, Error> {
    let status = observed.status();
    let loaded = Loaded {
        documents: documents(ctx, observed).await?,
        source: status.source,
        proposals: status.proposals,
        judgements: status.judgements,
        conflicts: status.conflicts,
        generated: status.generated,
        content: cached,
        ..Loaded::default()
    };
    if observed.started().is_none() {
        let loaded = Loaded { history: history(ctx, observed).await, ..loaded };
        return document(ctx, observed, loaded).await;
    }
    let judgements = planning::ended_judgements(loaded.judgements);
    let loaded = Loaded { proposals: planning::ended(loaded.proposals), judgements, ..loaded };
    let loaded = recorded(ctx, observed, loaded).await?;
    let decisions = match &loaded.content {
        Some(content) => decisions_on_agents(ctx, observed, content),
        None => Vec::new(),
    };
    Ok(Loaded { decisions, ..loaded })
}

/// Loads the content of a started plan from the record, unless it is known.
async fn recorded(ctx: &Context, observed: &Observed, loaded: Loaded) -> Result<Loaded, Error> {
    let approved = observed.status().approved_digest.map(Digest::from);
    if let (None, Some(member), Some(approved)) = (&loaded.content, &observed.member, approved) {
        // Not from the spec: it may have been edited since, and the plan must run what people approved.
        let recorded = ctx.record_store.content(&member.tenant, &approved).await?;
        let Some(content) = recorded.and_then(|bytes| Content::recorded(&observed.name(), &approved, bytes)) else {
            tracing::warn!(
                plan = observed.name(),
                namespace = observed.namespace,
                "the record does not hold the content of a started plan"
            );
            return document(ctx, observed, loaded).await;
        };
        // If the spec has changed, the plan keeps its recorded content, and starts no new attempt until the spec is restored.
        let changed = !content.matches(&observed.plan);
        sourcing::delete_jobs(&ctx.sourcing, &observed.plan).await?;
        return Ok(Loaded { content: Some(Arc::new(content)), changed, ..loaded });
    }
    sourcing::delete_jobs(&ctx.sourcing, &observed.plan).await?;
    Ok(loaded)
}

/// Returns people's decisions on a started plan if its agents have changed. Most reconciles look up none, because that visits all Approvals.
fn decisions_on_agents(ctx: &Context, observed: &Observed, content: &Content) -> Vec<Decision> {
    if !observed.policy.requires_people() || content.agents_now(&observed.agent_digests) == content.agents {
        return Vec::new();
    }
    decisions_on(ctx, SubjectKind::Plan, observed.plan.as_ref())
}

/// Reads a tasks.md outside the spec, or has planners write it.
async fn document(ctx: &Context, observed: &Observed, loaded: Loaded) -> Result<Loaded, Error> {
    let plan = observed.plan.as_ref();
    if let Some(generate) = &plan.spec.generate {
        let Planned { document, proposals, judgements, conflicts, generated, usage, requeue_at } =
            planning::advance(ctx, observed, generate, &loaded.documents).await?;
        let (document, source_requeue_at) = (Some(document), requeue_at);
        let loaded = Loaded { document, proposals, judgements, conflicts, generated, ..loaded };
        return Ok(Loaded { planning_usage: usage, source: None, source_requeue_at, ..loaded });
    }
    let loaded = Loaded { proposals: Vec::new(), judgements: Vec::new(), conflicts: None, generated: None, ..loaded };
    let Some(source) = plan.spec.source.as_ref().filter(|source| source.inline.is_none()) else {
        sourcing::delete_jobs(&ctx.sourcing, plan).await?;
        return Ok(Loaded { source: None, ..loaded });
    };
    let subject = Subject::of(plan, observed.status().observed_generation);
    let sourced = sourcing::content(&ctx.sourcing, &subject, Some(source), loaded.source.as_ref(), None).await?;
    Ok(Loaded {
        document: Some(sourced.bytes),
        source: sourced.status,
        source_requeue_at: sourced.requeue_at,
        ..loaded
    })
}

/// Loads the finished tasks from which a plan that uses models is estimated.
async fn history(ctx: &Context, observed: &Observed) -> Option<Vec<Sample>> {
    let member = observed.member.as_ref().filter(|_| observed.uses_models())?;
    match ctx.history.tasks(&*ctx.record_store, &member.tenant, observed.now).await {
        Ok(tasks) => Some(tasks.iter().filter_map(|task| sample(ctx, task)).collect()),
        Err(error) => {
            // The estimate only informs people: it keeps no plan from running.
            tracing::warn!(plan = observed.name(), namespace = observed.namespace, %error, "cannot read finished tasks");
            None
        }
    }
}

/// Returns a finished task as a sample; none if its agent uses models and nothing of that is recorded.
fn sample(ctx: &Context, task: &FinishedTask) -> Option<Sample> {
    let (namespace, name) = task.agent.split_once('/')?;
    let agent = lookup(&ctx.caches.agents, namespace, name);
    let worker = match &agent {
        Some(agent) => estimate::worker(task.agent.clone(), &agent.spec),
        // Of a deleted Agent, only its tasks tell whether it used models.
        None => Worker { agent: task.agent.clone(), model: String::new(), metered: task.tokens > 0 },
    };
    (!worker.metered || task.tokens > 0).then_some(Sample {
        worker,
        tokens: task.tokens,
        cost_micro_usd: task.cost_micro_usd,
        seconds: task.seconds,
    })
}

/// Loads the documents that the plan is evaluated against.
async fn documents(ctx: &Context, observed: &Observed) -> Result<Documents, Error> {
    let mut documents = Documents::default();
    let Some(member) = &observed.member else { return Ok(documents) };
    // A running plan with an unchanged specification needs no document: most reconciles load nothing here.
    let is_new = observed.started().is_none() && !observed.plan.spec.cancel;
    let newer = observed.newer_specification();
    if let Some(digest) = if is_new { observed.approved_specification() } else { newer } {
        let digest = Digest::from(digest.to_owned());
        documents.specification = ctx.document_cache.specification_of(&member.tenant, &digest).await?;
    }
    if is_new {
        let chain = chain_of_specification(ctx, &observed.namespace, observed.specification.as_deref());
        documents.constitution = Some(effective_constitution::load(ctx, &ctx.document_cache, &chain).await?);
        let specification = documents.specification.as_deref();
        documents.predecessor = predecessor::load(ctx, observed, &member.tenant, specification).await?;
    }
    if let (Some(_), Some(pinned)) = (newer, observed.status().specification_digest) {
        let text = ctx.document_cache.specification_of(&member.tenant, &pinned.into()).await?;
        documents.started_for = text.map_or(StartedFor::Unrecorded, StartedFor::Older);
    }
    if !observed.phase().is_finished() && observed.agents.values().any(|a| a.spec.adapter.is_coding_agent()) {
        documents.for_prompts = Some(prompt_documents(ctx, observed, &member.tenant).await?);
    }
    Ok(documents)
}

/// Loads the documents for prompts. The document cache has them after the first time.
async fn prompt_documents(ctx: &Context, observed: &Observed, tenant: &str) -> Result<PromptDocuments, Error> {
    let pinned = observed.status().specification_digest;
    let digest = pinned.or_else(|| observed.approved_specification().map(str::to_owned)).map(Digest::from);
    let specification = match digest {
        Some(digest) => ctx.document_cache.specification_of(tenant, &digest).await?,
        None => None,
    };
    let chain = chain_of_specification(ctx, &observed.namespace, observed.specification.as_deref());
    // A constitution that is being amended keeps no started plan from running: prompts then do without it.
    let constitution = effective_constitution::load(ctx, &ctx.document_cache, &chain).await?.unwrap_or_default();
    Ok(PromptDocuments { specification, constitution })
}

#[cfg(test)]
mod tests;
