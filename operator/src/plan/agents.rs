//! The agents of a plan: what is known about each, and which of them carries out the attempts of each task.

use std::collections::{BTreeMap, BTreeSet};

use enact_crds::agent::Capability;
use enact_crds::{Agent, AgentSpec, convert, validation};
use enact_domain::agents::needs::Needs;
use enact_domain::agents::selection::Candidate;
use enact_domain::condition::READY;
use enact_domain::graph::{NodeId, PerNode};
use enact_domain::plan::{self as scheduler, Agents, CurrentAttempt, Executor, Node};

use super::context::Context;
use super::observed::Observed;
use super::runtime::OpenAttempts;
use super::validate::Valid;
use crate::agent_health::HealthSubject;
use crate::error::Error;

/// Returns the agents that the plan and its tasks name. Budgets are added later.
///
/// # Errors
/// When the record cannot be read.
pub async fn read(ctx: &Context, observed: &Observed, valid: &Valid) -> Result<Agents, Error> {
    let pool = &observed.plan.spec.agents;
    let tasks = valid.content.compiled.tasks.iter().flat_map(|task| observed.named_agents(task));
    let names: BTreeSet<&str> = tasks.chain(pool.iter().map(|member| member.name.as_str())).collect();
    let names: Vec<&str> = names.into_iter().collect();
    // Finished plans select nothing.
    let selects = !pool.is_empty() && !observed.phase().is_finished();
    let (store, tenant) = (&*ctx.record_store, &valid.member.tenant);
    if selects {
        let known = names.iter().filter_map(|name| observed.agents.get(*name));
        let subjects: Vec<HealthSubject> = known.map(|agent| HealthSubject::of(agent)).collect();
        ctx.agent_health.load(store, tenant, &observed.namespace, &subjects).await?;
    }
    let mut all: Vec<scheduler::Agent> = names
        .iter()
        .map(|name| scheduler::Agent {
            candidate: candidate(ctx, observed, valid, name),
            ..scheduler::Agent::default()
        })
        .collect();
    let index = |name: &str| names.binary_search(&name).ok();
    if selects {
        let histories = ctx.agent_histories.of(store, tenant, &observed.namespace, &names, observed.now).await?;
        for (agent, history) in all.iter_mut().zip(histories) {
            agent.candidate.history = BTreeMap::clone(&history);
        }
    }
    for member in pool {
        if let Some(agent) = index(&member.name).and_then(|index| all.get_mut(index)) {
            agent.candidate.preference = member.preference;
        }
    }
    Ok(Agents { pool: pool.iter().filter_map(|member| index(&member.name)).collect(), all })
}

/// Returns what the cluster shows of an agent.
fn candidate(ctx: &Context, observed: &Observed, valid: &Valid, name: &str) -> Candidate {
    let Some(agent) = observed.agents.get(name) else {
        let missing = format!("there is no Agent {name} in this namespace; create it");
        return Candidate { name: name.to_owned(), unusable: Some(missing), ..Candidate::default() };
    };
    let capabilities = agent.spec.capabilities.iter();
    Candidate {
        name: name.to_owned(),
        capabilities: capabilities.map(|capability| (capability.name.clone(), capability.proficiency)).collect(),
        concurrency: agent.spec.attempt_limit(),
        running: ctx.limiter.running_of(&valid.member.tenant, &observed.namespace, name),
        expected_costs: expected_costs(&agent.spec),
        unusable: unusable(observed, name, agent),
        exhausted_until: ctx.agent_health.exhausted_until(
            &(observed.namespace.clone(), name.to_owned()),
            agent.metadata.generation,
            observed.now,
        ),
        ..Candidate::default()
    }
}

/// Returns the declared costs of an attempt by capability.
fn expected_costs(spec: &AgentSpec) -> BTreeMap<String, u64> {
    let cost = |capability: &Capability| {
        Some((capability.name.clone(), convert::micro_usd(capability.expected_usd.as_deref()?)?))
    };
    spec.capabilities.iter().filter_map(cost).collect()
}

/// Returns why no attempt can use an agent of the pool, with the remedy.
fn unusable(observed: &Observed, name: &str, agent: &Agent) -> Option<String> {
    if let Some(error) = validation::agent(&agent.spec).into_iter().chain(observed.image_problem(agent)).next() {
        return Some(error.to_string());
    }
    if let Some((index, problem)) = observed.model_problems.get(name) {
        return Some(format!("spec.models[{index}]: {problem}"));
    }
    if let Some(field) = observed.integration_secret_field(agent) {
        return Some(format!(
            "its {field} is the Secret of spec.workspace.integration, which only the integration pod may use; name another Secret"
        ));
    }
    let status = agent.status.as_ref()?;
    let is_current = status.observed_generation == agent.metadata.generation;
    let ready = status.conditions.iter().find(|condition| condition.type_ == READY)?;
    // A suspended agent is excluded by its limit, as one that tasks name.
    let is_unusable = is_current && ready.status == "False" && !agent.spec.suspend;
    is_unusable.then(|| format!("{}: {}", ready.reason, ready.message))
}

/// Adds the executor to each series of attempts at a task.
pub fn add_executors(
    observed: &Observed,
    valid: &Valid,
    agents: &Agents,
    attempts: &OpenAttempts,
    nodes: &mut PerNode<Node>,
) {
    let compiled = &valid.content.compiled;
    let index = |name: &str| agents.all.iter().position(|agent| agent.candidate.name == name);
    for (i, task) in compiled.tasks.iter().enumerate() {
        let entry = observed.children.tasks.get(&compiled.names[i]);
        for (contestant, node) in (1u32..).zip(nodes.tasks[i].series_mut()) {
            let of_contestant = task.attempts.as_ref().and_then(|attempts| attempts.agent(contestant as usize - 1));
            if let Some(name) = of_contestant.or_else(|| observed.named_agent(task)) {
                node.executor = index(name).map_or(Executor::None, Executor::Named);
                continue;
            }
            let started = attempts.agents.get(&(NodeId::Task(i), contestant));
            let of_attempt = |number: u32| started.filter(|(n, _)| *n == number).map(|(_, name)| name.as_str());
            // The status of a task shows the agent of the last attempt, unless a person has reopened the task.
            let shown = entry.and_then(|entry| entry.last_agent(contestant, node.attempts, task.attempts.is_some()));
            let last = match node.current {
                CurrentAttempt::None => shown,
                _ => of_attempt(node.attempts).or(shown),
            };
            node.executor = Executor::Pool {
                needs: compiled.needs[i].clone(),
                last: last.and_then(index),
                next: of_attempt(node.next_attempt()).and_then(index),
            };
        }
    }
}

/// Returns the needs that an attempt counts for in the history of its agent: those that the agent declares. None if the agent declares no
/// capability and was not selected from a pool.
pub fn counted_needs(needs: &Needs, candidate: &Candidate, is_selected: bool) -> Option<Vec<String>> {
    if candidate.capabilities.is_empty() && !is_selected {
        return None;
    }
    Some(needs.names.iter().filter(|need| candidate.capabilities.contains_key(*need)).cloned().collect())
}

#[cfg(test)]
mod tests;
