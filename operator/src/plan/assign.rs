//! Assigns work to pods: builds the assignment of an attempt, and its pod.
#![allow(
    clippy::result_large_err,
    reason = "a report is made at most once an attempt, and goes into the record as it is"
)]

use std::collections::BTreeMap;

use enact_crds::AgentSpec;
use enact_crds::common::OnNoChange;
use enact_crds::plan::Workspace;
use enact_crds::task::ContestantStatus;
use enact_crds::{convert, prompt};
use enact_domain::assignment::{
    Adapter, Assignment, GitWork, IntegrationWork, PreviousFailure, Reason, Report, TaskWork, VerifiedCommit, Work,
};
use enact_domain::drafting::EffectiveConstitution;
use enact_domain::graph::NodeId;
use enact_domain::names;
use enact_domain::rules::Program;
use k8s_openapi::api::core::v1::Pod;

use super::context::Context;
use super::decide::Decided;
use super::nodes::series_of;
use crate::task::build;
use crate::task::pod::{self, NO_RESOURCES};

/// The role label of a task's pod, and the argument of its runner.
const TASK: &str = "task";

/// Builds the pod of an attempt.
///
/// # Errors
/// A report when the work cannot be put into a pod.
pub fn pod(ctx: &Context, decided: &Decided, node: NodeId, attempt: u32, name: String) -> Result<Pod, Report> {
    match node {
        NodeId::Task(i) => task_pod(ctx, decided, i, attempt, name),
        NodeId::Integration => integration_pod(ctx, decided, attempt, name),
    }
}

fn task_pod(ctx: &Context, decided: &Decided, task: usize, attempt: u32, name: String) -> Result<Pod, Report> {
    let (observed, compiled) = (decided.observed, &decided.valid.content.compiled);
    let (node, template, task_name) = (NodeId::Task(task), &compiled.tasks[task], &compiled.names[task]);
    let spec = &observed.plan.spec;
    let entry = decided.task_entry(node).ok_or_else(|| invalid("the Task was deleted"))?;
    let agent_name = decided.agent(node, attempt);
    let agent = observed.agents.get(agent_name).ok_or_else(|| invalid("the Agent was deleted"))?;
    // A plan that waits for another image starts no attempt, but one that was recorded before has no pod yet.
    if let Some(error) = observed.image_problem(agent) {
        return Err(invalid(&format!("Agent {agent_name}: {error}")));
    }
    let agent = &agent.spec;
    let timeout_seconds = template.timeout_seconds.unwrap_or(spec.execution.timeout_seconds);
    let gateway_url = ctx.config.gateway_url.as_deref();
    let adapter = pod::adapter(agent_name, agent, template.script.as_deref(), gateway_url, timeout_seconds);
    let mut adapter = adapter.map_err(|why| invalid(&why))?;
    if let Adapter::Agent(run) = &mut adapter
        && run.gateway_url.is_none()
    {
        // No gateway enforces the budget of the attempt. The agent does, if it can, and the runner by what the agent reports.
        let budget = spec.execution.attempt_budget.as_ref().map(convert::limit).unwrap_or_default();
        (run.max_tokens, run.max_cost_micro_usd) = (budget.tokens, budget.cost_micro_usd);
    }
    let inputs = inputs(decided, node);
    let work = TaskWork {
        id: template.id.clone(),
        title: template.title.clone(),
        prompt: task_prompt(decided, task, agent, &inputs),
        adapter,
        agent: agent_name.to_owned(),
        inputs,
        gates: convert::gates(&template.gates),
        measurements: template.attempts.as_ref().map(convert::measurements).unwrap_or_default(),
        previous: previous_failure(decided, node, attempt),
        messages: entry.messages.clone(),
        retry_from: convert::retry_from(template.retry.as_ref(), &spec.execution.retry),
        fail_unchanged: template.on_no_change.unwrap_or(spec.execution.on_no_change) == OnNoChange::Fail,
    };
    let workspace = spec.workspace.as_ref();
    let git = workspace.map(|w| git(ctx, w, merges(decided, node), decided.branch(task, attempt)));
    // The pod belongs to the Task, so that Kubernetes deletes it with the Task.
    let mut owner = build::controlled_by(observed.plan.as_ref());
    owner.kind = "Task".into();
    owner.name.clone_from(task_name);
    owner.uid.clone_from(&entry.uid);
    let uses_gateway = pod::uses_gateway(&ctx.config, agent);
    let frame = pod::Frame {
        config: &ctx.config,
        member: &decided.valid.member,
        name,
        namespace: observed.namespace.clone(),
        labels: labels(decided, task_name, TASK, attempt),
        agent: (uses_gateway || decided.counted_agent(node, attempt).is_some()).then(|| agent_name.to_owned()),
        models: observed.approved_models(agent_name).filter(|_| uses_gateway).map(ToString::to_string),
        uses_gateway,
        repository: workspace.and_then(|workspace| repository(ctx, workspace)),
        owner,
        assignment: pod::assignment_json(&assignment(ctx, decided, &entry.uid, attempt, git, Work::Task(work)))?,
        timeout_seconds,
        resources: [template.resources.as_ref().unwrap_or(&NO_RESOURCES), &agent.resources, &spec.execution.resources],
        default_resources: pod::DefaultResources::of(agent.adapter),
    };
    Ok(pod::for_agent(&frame, TASK, agent, workspace.and_then(|w| w.credentials_secret_ref.as_ref())))
}

/// Returns the prompt of a task. A coding agent gets the documents too; a script gets the text of the task.
fn task_prompt(
    decided: &Decided,
    task: usize,
    agent: &AgentSpec,
    inputs: &BTreeMap<String, BTreeMap<String, String>>,
) -> String {
    let template = &decided.valid.content.compiled.tasks[task];
    let documents = decided.loaded.documents.for_prompts.as_ref();
    let Some(documents) = documents.filter(|_| agent.adapter.is_coding_agent()) else {
        return template.prompt.clone().unwrap_or_else(|| template.title.clone());
    };
    let constitutions: Vec<_> = documents.constitution.texts.iter().map(|text| &text.parsed.model).collect();
    let rules: Vec<_> = documents.constitution.programs.iter().map(Program::rule).collect();
    prompt::render(&prompt::Sources {
        plan: &decided.observed.plan.spec,
        task: template,
        specification: documents.specification.as_ref().map(|text| &text.parsed.model),
        effective: EffectiveConstitution { constitutions: &constitutions, rules: &rules },
        inputs: Some(inputs),
    })
}

/// Returns the last attempt of the same series, if it failed.
fn previous_failure(decided: &Decided, node: NodeId, attempt: u32) -> Option<PreviousFailure> {
    if decided.nodes[node].contest.is_some() {
        let (_, contestant) = series_of(decided.valid, node, attempt);
        let ContestantStatus { attempt, reason, message, .. } =
            decided.task_entry(node)?.contestant(contestant)?.clone();
        return Some(PreviousFailure { attempt, reason: reason?, message: message.unwrap_or_default() });
    }
    if let Some((attempt, report)) = decided.ended(node) {
        let (reason, message) = (report.reason.as_str().to_owned(), report.message.clone());
        return Some(PreviousFailure { attempt, reason, message });
    }
    let (reason, message) = decided.task_entry(node)?.failure.clone()?;
    Some(PreviousFailure { attempt: decided.nodes[node].attempts, reason, message })
}

fn integration_pod(ctx: &Context, decided: &Decided, attempt: u32, name: String) -> Result<Pod, Report> {
    let observed = decided.observed;
    let spec = &observed.plan.spec;
    let workspace = spec.workspace.as_ref().ok_or_else(|| invalid("a plan without workspace has no integration"))?;
    let work = IntegrationWork { target: observed.target_branch(workspace), gates: convert::gates(&spec.gates) };
    let branch = names::candidate_branch(&observed.name(), &observed.uid, attempt);
    let git = git(ctx, workspace, merges(decided, NodeId::Integration), branch);
    let work = Work::Integration(work);
    let frame = pod::Frame {
        config: &ctx.config,
        member: &decided.valid.member,
        name,
        namespace: observed.namespace.clone(),
        labels: labels(decided, names::INTEGRATION, names::INTEGRATION, attempt),
        agent: None,
        models: None,
        uses_gateway: false,
        repository: repository(ctx, workspace),
        owner: build::controlled_by(observed.plan.as_ref()),
        assignment: pod::assignment_json(&assignment(ctx, decided, &observed.uid, attempt, Some(git), work))?,
        timeout_seconds: spec.execution.timeout_seconds,
        resources: [&NO_RESOURCES, &NO_RESOURCES, &spec.execution.resources],
        default_resources: pod::DefaultResources::SCRIPT,
    };
    let integration = workspace.integration.credentials_secret_ref.as_ref();
    Ok(pod::for_integration(&frame, workspace.credentials_secret_ref.as_ref(), integration))
}

fn labels(decided: &Decided, task: &str, role: &str, attempt: u32) -> Vec<(&'static str, String)> {
    vec![
        (names::LABEL_PLAN, decided.observed.name()),
        (names::LABEL_PLAN_UID, decided.observed.uid.clone()),
        (names::LABEL_TASK, task.to_owned()),
        (names::LABEL_ATTEMPT, attempt.to_string()),
        (names::LABEL_ROLE, role.to_owned()),
    ]
}

fn assignment(
    ctx: &Context,
    decided: &Decided,
    subject_uid: &str,
    attempt: u32,
    git: Option<GitWork>,
    work: Work,
) -> Assignment {
    Assignment {
        tenant: decided.valid.member.tenant.clone(),
        namespace: decided.observed.namespace.clone(),
        plan: decided.observed.name(),
        plan_uid: decided.observed.uid.clone(),
        subject_uid: subject_uid.to_owned(),
        attempt,
        server_url: ctx.config.server_url.clone(),
        spec_digest: decided.valid.specification_digest.clone(),
        git,
        work,
    }
}

fn git(ctx: &Context, workspace: &Workspace, merge: Vec<VerifiedCommit>, branch: String) -> GitWork {
    let Workspace { url, revision, .. } = workspace;
    GitWork { url: url.clone(), revision: revision.clone(), merge, branch, cache_url: ctx.config.cache_url.clone() }
}

/// Returns the name of the repository in the clone cache, as the tasks' credential reads it.
fn repository(ctx: &Context, workspace: &Workspace) -> Option<String> {
    pod::cached_repository(&ctx.config, &workspace.url, workspace.credentials_secret_ref.as_ref())
}

fn invalid(why: &str) -> Report {
    Report::new(Reason::InvalidAssignment, why)
}

/// Returns the work that is merged before a node starts. The list is as short as possible, because it must fit in a pod.
fn merges(decided: &Decided, node: NodeId) -> Vec<VerifiedCommit> {
    let tasks = decided.valid.graph.merged_into(node, |task| work_of(decided, task).is_some());
    tasks.into_iter().filter_map(|task| work_of(decided, task)).collect()
}

/// Returns the work of a task that has succeeded, in this reconcile or before.
fn work_of(decided: &Decided, task: usize) -> Option<VerifiedCommit> {
    // The status of a task that succeeds by this decision does not show its commit yet.
    if let Some((attempt, report)) = succeeded_now(decided, task) {
        return report.commit.clone().map(|commit| VerifiedCommit { branch: decided.branch(task, attempt), commit });
    }
    if let Some(won) = won_now(decided, task) {
        return Some(VerifiedCommit { branch: won.branch.clone()?, commit: won.commit.clone()? });
    }
    decided.task_entry(NodeId::Task(task))?.work.clone()
}

/// Returns the contestant that wins the contest of a task by this decision.
fn won_now<'a>(decided: &'a Decided, task: usize) -> Option<&'a ContestantStatus> {
    let node = NodeId::Task(task);
    let winner = decided.verdict(node)?.winner.as_ref()?.attempt;
    let (_, contestant) = series_of(decided.valid, node, winner);
    decided.task_entry(node)?.contestant(contestant)
}

/// Returns the attempt of a task that succeeds by this decision.
fn succeeded_now<'a>(decided: &'a Decided, task: usize) -> Option<(u32, &'a Report)> {
    decided.ended(NodeId::Task(task)).filter(|(_, report)| report.reason == Reason::Succeeded)
}

/// Returns the outputs of the tasks that a node depends on, by their ids.
fn inputs(decided: &Decided, node: NodeId) -> BTreeMap<String, BTreeMap<String, String>> {
    let outputs = |&task: &usize| {
        let outputs = match (succeeded_now(decided, task), won_now(decided, task)) {
            (Some((_, report)), _) => report.outputs.clone(),
            (None, Some(won)) => won.outputs.clone(),
            (None, None) => decided.task_entry(NodeId::Task(task))?.outputs.clone(),
        };
        (!outputs.is_empty()).then(|| (decided.valid.content.compiled.tasks[task].id.clone(), outputs))
    };
    decided.valid.graph.dependencies(node).iter().filter_map(outputs).collect()
}
