//! What a pod is told to do: its assignment, and the pod itself.
#![allow(
    clippy::result_large_err,
    reason = "a report is made once an attempt at most, and goes into the record as it is"
)]

use std::collections::BTreeMap;

use enact_crds::common::Resources;
use enact_crds::convert;
use enact_crds::plan::Workspace;
use enact_crds::task::TaskTemplate;
use enact_domain::assignment::{Assignment, GitWork, IntegrationWork, Reason, Report, TaskWork, VerifiedCommit, Work};
use enact_domain::names;
use enact_domain::plan::Action;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::Pass;
use super::validate::{agent_of, target_branch};
use crate::task::{build, pod};

/// The role of a task's pod, and what its runner does.
const TASK: &str = "task";
const NONE: Resources = Resources { cpu: None, memory: None, ephemeral_storage: None };

/// The pod of a node's attempt.
///
/// # Errors
/// A report when what is asked cannot be put into a pod.
pub fn pod(pass: &Pass, node: usize, attempt: u32, name: String) -> Result<Pod, Report> {
    match pass.valid.content.compiled.tasks.get(node) {
        Some(template) => task(pass, node, template, attempt, name),
        None => integration(pass, node, attempt, name),
    }
}

fn task(pass: &Pass, node: usize, template: &TaskTemplate, attempt: u32, name: String) -> Result<Pod, Report> {
    let (observed, plan) = (pass.observed, &pass.observed.plan);
    let task_name = &pass.valid.content.compiled.names[node];
    let entry = observed.children.tasks.get(task_name).ok_or_else(|| invalid("the Task is gone"))?;
    let agent_name = agent_of(observed, template);
    let agent = &observed.agents.get(agent_name).ok_or_else(|| invalid("the Agent is gone"))?.spec;
    let adapter = pod::adapter(agent_name, agent, template.script.as_deref()).map_err(|why| invalid(&why))?;
    let workspace = plan.spec.workspace.as_ref();
    let work = TaskWork {
        id: template.id.clone(),
        title: template.title.clone(),
        prompt: template.prompt.clone().unwrap_or_else(|| template.title.clone()),
        adapter,
        agent: agent_name.to_owned(),
        inputs: inputs(pass, node),
        gates: convert::gates(&template.gates),
    };
    let git = workspace.map(|w| git(w, merges(pass, node), branch(pass, node, attempt)));
    let mut owner = build::controlled_by(plan.as_ref());
    owner.kind = "Task".into();
    owner.name.clone_from(task_name);
    owner.uid.clone_from(&entry.uid);
    let frame = pod::Frame {
        config: &pass.ctx.config,
        member: &pass.valid.member,
        name,
        namespace: observed.namespace.clone(),
        labels: labels(pass, task_name, TASK, attempt),
        owner,
        assignment: pod::told(&assignment(pass, &entry.uid, attempt, git, Work::Task(work)))?,
        timeout_seconds: template.timeout_seconds.unwrap_or(plan.spec.execution.timeout_seconds),
        resources: [template.resources.as_ref().unwrap_or(&NONE), &agent.resources, &plan.spec.execution.resources],
    };
    Ok(pod::for_agent(&frame, TASK, agent, workspace.and_then(|w| w.credentials_secret_ref.as_ref())))
}

fn integration(pass: &Pass, node: usize, attempt: u32, name: String) -> Result<Pod, Report> {
    let (observed, plan) = (pass.observed, &pass.observed.plan);
    let plan_name = plan.name_any();
    let workspace =
        plan.spec.workspace.as_ref().ok_or_else(|| invalid("a plan without workspace has no integration"))?;
    let work = IntegrationWork { target: target_branch(observed, workspace), gates: convert::gates(&plan.spec.gates) };
    let git = git(workspace, merges(pass, node), names::candidate_branch(&plan_name, &observed.uid, attempt));
    let frame = pod::Frame {
        config: &pass.ctx.config,
        member: &pass.valid.member,
        name,
        namespace: observed.namespace.clone(),
        labels: labels(pass, names::INTEGRATION, names::INTEGRATION, attempt),
        owner: build::controlled_by(plan.as_ref()),
        assignment: pod::told(&assignment(pass, &observed.uid, attempt, Some(git), Work::Integration(work)))?,
        timeout_seconds: plan.spec.execution.timeout_seconds,
        resources: [&NONE, &NONE, &plan.spec.execution.resources],
    };
    let integration = workspace.integration.credentials_secret_ref.as_ref();
    Ok(pod::for_integration(&frame, workspace.credentials_secret_ref.as_ref(), integration))
}

fn labels(pass: &Pass, task: &str, role: &str, attempt: u32) -> Vec<(&'static str, String)> {
    vec![
        (names::LABEL_PLAN, pass.observed.plan.name_any()),
        (names::LABEL_PLAN_UID, pass.observed.uid.clone()),
        (names::LABEL_TASK, task.to_owned()),
        (names::LABEL_ATTEMPT, attempt.to_string()),
        (names::LABEL_ROLE, role.to_owned()),
    ]
}

fn assignment(pass: &Pass, subject_uid: &str, attempt: u32, git: Option<GitWork>, work: Work) -> Assignment {
    Assignment {
        tenant: pass.valid.member.tenant.clone(),
        namespace: pass.observed.namespace.clone(),
        plan: pass.observed.plan.name_any(),
        plan_uid: pass.observed.uid.clone(),
        subject_uid: subject_uid.to_owned(),
        attempt,
        server_url: pass.ctx.config.server_url.clone(),
        spec_digest: pass.valid.specification_digest.clone(),
        git,
        work,
    }
}

fn git(workspace: &Workspace, merge: Vec<VerifiedCommit>, branch: String) -> GitWork {
    GitWork { url: workspace.url.clone(), revision: workspace.revision.clone(), merge, branch }
}

fn invalid(why: &str) -> Report {
    Report::new(Reason::InvalidAssignment, why)
}

/// The work that a node starts from: as little as holds all, for the list must fit in a pod.
fn merges(pass: &Pass, node: usize) -> Vec<VerifiedCommit> {
    let tasks = pass.valid.graph.merged_into(node, |task| work_of(pass, task).is_some());
    tasks.into_iter().filter_map(|task| work_of(pass, task as usize)).collect()
}

/// A task's work, if it has succeeded.
fn work_of(pass: &Pass, node: usize) -> Option<VerifiedCommit> {
    if let Some((attempt, report)) = just_done(pass, node) {
        return report.commit.clone().map(|commit| VerifiedCommit { branch: branch(pass, node, attempt), commit });
    }
    let name = pass.valid.content.compiled.names.get(node)?;
    pass.observed.children.tasks.get(name)?.work.clone()
}

/// The attempt that succeeded in this very pass, and its report: the index does not have it yet.
fn just_done<'a>(pass: &'a Pass, node: usize) -> Option<(u32, &'a Report)> {
    pass.decision.actions.iter().find_map(|action| match action {
        Action::End { node: n, attempt, failure: None, report, .. } if *n == node => Some((*attempt, report)),
        _ => None,
    })
}

/// The branch of a task's attempt.
pub fn branch(pass: &Pass, node: usize, attempt: u32) -> String {
    let task = &pass.valid.content.compiled.names[node];
    names::task_branch(&pass.observed.plan.name_any(), &pass.observed.uid, task, attempt)
}

/// Outputs of the tasks that this one depends on.
fn inputs(pass: &Pass, node: usize) -> BTreeMap<String, BTreeMap<String, String>> {
    let compiled = &pass.valid.content.compiled;
    pass.valid
        .graph
        .dependencies(node)
        .iter()
        .map(|&n| n as usize)
        .filter_map(|n| {
            let kept = || pass.observed.children.tasks.get(&compiled.names[n]).map(|t| t.outputs.clone());
            let outputs =
                just_done(pass, n).map(|(_, report)| report.outputs.clone()).or_else(kept).filter(|o| !o.is_empty())?;
            Some((compiled.tasks[n].id.clone(), outputs))
        })
        .collect()
}
