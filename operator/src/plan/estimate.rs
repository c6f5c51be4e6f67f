//! Estimate: the expected use of models and duration of a plan that has not started.

use std::borrow::Cow;

use enact_crds::AgentSpec;
use enact_crds::compile::Compiled;
use enact_crds::plan::PlanEstimate;
use enact_crds::task::TaskTemplate;
use enact_domain::agents::needs::Needs;
use enact_domain::graph::Graph;
use enact_domain::usage::{self, Sample, Work, Worker};

use super::observed::{Content, Observed};

/// Returns an agent as the estimate distinguishes it; `key` is `<namespace>/<name>`.
pub fn worker(key: String, agent: &AgentSpec) -> Worker {
    // The first model is the usual one. The others are used when its provider fails.
    let model = agent.models.first().map_or_else(String::new, |model| format!("/{}", model.model));
    Worker { agent: key, model: format!("{}{model}", agent.adapter.as_str()), metered: agent.uses_models() }
}

/// Returns the estimate of the tasks of a plan that run, rounded so that it changes only when it matters. None if an agent
/// does not exist, and if no task uses models.
pub fn estimate(observed: &Observed, content: &Content, history: &[Sample]) -> Option<PlanEstimate> {
    let compiled = &content.compiled;
    let of_tenant = observed.member.as_ref().map_or(u32::MAX, |member| member.parallelism);
    let of_contestant = |task: &TaskTemplate, needs: &Needs, contestant: usize| {
        let of_contest = task.attempts.as_ref().and_then(|attempts| attempts.agent(contestant));
        let name = of_contest.or_else(|| observed.named_agent(task)).or_else(|| pool_member(observed, needs))?;
        Some(worker(format!("{}/{name}", observed.namespace), &observed.agents.get(name)?.spec))
    };
    let tasks = || compiled.tasks.iter().zip(&compiled.needs).filter(|(task, _)| !compiled.kept.contains_key(&task.id));
    let workers: Vec<Worker> = tasks().map(|(task, needs)| of_contestant(task, needs, 0)).collect::<Option<_>>()?;
    let further = tasks().flat_map(|(task, needs)| {
        let contestants = task.attempts.as_ref().map_or(1, |attempts| attempts.best_of as usize);
        (1..contestants).map(move |contestant| of_contestant(task, needs, contestant))
    });
    let contestants: Vec<Worker> = further.collect::<Option<_>>()?;
    // The plan's own agent may have no task.
    if !workers.iter().chain(&contestants).any(|worker| worker.metered) {
        return None;
    }
    let graph = remaining(compiled)?;
    let work = Work {
        graph: &graph,
        workers,
        contestants,
        priorities: tasks().map(|(task, _)| task.priority).collect(),
        parallelism: observed.plan.spec.execution.parallelism.min(of_tenant),
    };
    Some((&usage::estimate(history, &work).rounded()).into())
}

/// Returns the graph of the tasks that run: not of those whose work is kept.
fn remaining(compiled: &Compiled) -> Option<Cow<'_, Graph>> {
    if compiled.kept.is_empty() {
        return Some(Cow::Borrowed(&compiled.graph));
    }
    let runs = |id: &str| !compiled.kept.contains_key(id);
    let tasks = compiled.tasks.iter().filter(|task| runs(&task.id));
    let edges =
        tasks.map(|task| (task.id.as_str(), task.depends_on.iter().map(String::as_str).filter(move |id| runs(id))));
    Graph::build(edges).ok().map(Cow::Owned)
}

/// Returns the first agent of the pool that declares what a task needs, or else its first one: which one is selected depends on the load.
fn pool_member<'a>(observed: &'a Observed, needs: &Needs) -> Option<&'a str> {
    let members = || observed.plan.spec.agents.iter().map(|member| member.name.as_str());
    let declares = |name: &str, need: &String| {
        observed.agents.get(name).is_some_and(|agent| agent.spec.capabilities.iter().any(|c| c.name == *need))
    };
    members().find(|name| needs.names.iter().all(|need| declares(name, need))).or_else(|| members().next())
}

#[cfg(test)]
mod tests;
