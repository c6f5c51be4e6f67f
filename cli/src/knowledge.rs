//! `knowledge`: a Plan whose agent proposes what later agents should know about the repository.

use anyhow::{Result, bail};
use enact_crds::common::{Gate, LocalRef};
use enact_crds::plan::{Integration, Phase, Workspace};
use enact_crds::task::TaskTemplate;
use enact_crds::{Plan, PlanSpec, Task, convert};
use enact_domain::assignment::Reason;
use enact_domain::attempt::{FailureClass, class_of};
use enact_domain::knowledge::{self, FailedAttempt, PATH};
use enact_domain::names;
use kube::ResourceExt as _;
use kube::api::{ListParams, PostParams};

use crate::args;
use crate::cluster::{Cluster, api_error};
use crate::record::Record;
use crate::terminal;

/// Id of the only task.
const TASK: &str = "T001";

/// Creates the Plan that proposes knowledge.
pub async fn propose(cluster: &Cluster, options: &args::Knowledge) -> Result<()> {
    let plan: Plan = cluster.get(&options.plan).await?;
    let workspace = workspace(&plan, options)?;
    let of_plan = ListParams::default().fields(&format!("spec.planRef.name={}", options.plan));
    let tasks = cluster.api::<Task>().list(&of_plan).await.map_err(api_error)?.items;
    let failures = failures(cluster, &options.plan, &tasks).await?;
    let gates = tasks.iter().flat_map(|task| &task.spec.work.gates).chain(&plan.spec.gates);
    let text = knowledge::proposal(&options.plan, &convert::gates(&without_repetitions(gates)), &failures);
    let spec = proposal(&plan, options.agent.as_deref(), workspace, text);
    let name = options.name.clone().unwrap_or_else(|| format!("{}-knowledge", options.plan));
    cluster.api::<Plan>().create(&PostParams::default(), &Plan::new(&name, spec)).await.map_err(api_error)?;
    terminal::print_line(&format!("Plan {name} is created; its agent proposes {PATH}"))?;
    let branch = names::integration_branch(&name);
    terminal::print_line(&format!(
        "when it has succeeded, read the branch {branch} and merge it to accept the proposal"
    ))
}

/// Returns where the proposal is written: on the commit that the plan has published, and published to a branch of its own.
fn workspace(plan: &Plan, options: &args::Knowledge) -> Result<Workspace> {
    let (name, status) = (&options.plan, plan.status.clone().unwrap_or_default());
    if status.phase != Phase::Succeeded {
        bail!("Plan {name} has not succeeded; knowledge is proposed from work that has passed");
    }
    let Some(workspace) = &plan.spec.workspace else {
        bail!("Plan {name} has no spec.workspace; knowledge belongs to a repository");
    };
    let published = status.integration.and_then(|integration| integration.commit);
    let revision = options.revision.clone().or(published).unwrap_or_else(|| workspace.revision.clone());
    let integration = Integration { branch: None, ..workspace.integration.clone() };
    Ok(Workspace { revision, integration, ..workspace.clone() })
}

/// Returns the spec of the Plan with one task.
fn proposal(plan: &Plan, agent: Option<&str>, workspace: Workspace, text: String) -> PlanSpec {
    let task = TaskTemplate {
        id: TASK.into(),
        // The runner lets only a task whose title names the file change it.
        title: format!("Propose what later agents should know in {PATH}"),
        prompt: Some(text),
        ..TaskTemplate::default()
    };
    let mut execution = plan.spec.execution.clone();
    execution.pause_after = None;
    let (agent_ref, agents) = match agent {
        Some(name) => (Some(LocalRef { name: name.to_owned() }), Vec::new()),
        None => (plan.spec.agent_ref.clone(), plan.spec.agents.clone()),
    };
    PlanSpec {
        agent_ref,
        agents,
        tasks: vec![task],
        workspace: Some(workspace),
        gates: plan.spec.gates.clone(),
        execution,
        approval: plan.spec.approval.clone(),
        ..PlanSpec::default()
    }
}

fn without_repetitions<'a>(gates: impl Iterator<Item = &'a Gate>) -> Vec<Gate> {
    let mut kept: Vec<Gate> = Vec::new();
    for gate in gates {
        if !kept.iter().any(|known| known.script == gate.script) {
            kept.push(gate.clone());
        }
    }
    kept
}

/// Reads the attempts of a plan that failed because of their work.
async fn failures(cluster: &Cluster, plan: &str, tasks: &[Task]) -> Result<Vec<FailedAttempt>> {
    let is_repeated = |task: &&Task| task.status.as_ref().is_some_and(|status| status.attempts > 1);
    let repeated: Vec<&Task> = tasks.iter().filter(is_repeated).collect();
    if repeated.is_empty() {
        return Ok(Vec::new());
    }
    let record = Record::open(cluster).await?;
    let mut failures = Vec::new();
    for task in repeated {
        for attempt in record.attempts(plan, &task.name_any()).await? {
            let Some(report) = attempt.report else { continue };
            if report.reason == Reason::Succeeded || class_of(report.reason) != FailureClass::Task {
                continue;
            }
            failures.push(FailedAttempt {
                task: task.spec.work.id.clone(),
                attempt: attempt.number,
                reason: report.reason.as_str().to_owned(),
                message: report.message,
            });
        }
    }
    Ok(failures)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn options(revision: Option<&str>) -> args::Knowledge {
        args::Knowledge { plan: "cart".into(), agent: None, revision: revision.map(str::to_owned), name: None }
    }

    fn plan(phase: &str, workspace: &Value) -> Plan {
        serde_json::from_value(json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "cart"},
            "spec": {
                "specificationRef": {"name": "cart"}, "agentRef": {"name": "coder"}, "workspace": workspace,
                "tasks": [{"id": "T001", "title": "One"}], "gates": [{"name": "all", "script": "make"}],
                "approval": {"required": 1, "groups": ["leads"]},
            },
            "status": {"phase": phase, "integration": {"phase": "Succeeded", "commit": "abc"}},
        }))
        .unwrap()
    }

    #[test]
    fn the_proposal_starts_from_what_the_plan_has_published() {
        let repository = json!({"url": "https://git.example.org/cart.git", "integration": {"branch": "main"}});
        let plan = plan("Succeeded", &repository);
        let found = workspace(&plan, &options(None)).unwrap();
        assert_eq!((found.revision.as_str(), found.integration.branch), ("abc", None), "nothing goes to main unread");
        assert_eq!(workspace(&plan, &options(Some("v2"))).unwrap().revision, "v2");
    }

    #[test]
    fn only_a_plan_that_succeeded_in_a_repository_teaches() {
        let repository = json!({"url": "https://git.example.org/cart.git"});
        for (plan, why) in
            [(plan("Failed", &repository), "not succeeded"), (plan("Succeeded", &Value::Null), "workspace")]
        {
            let refused = workspace(&plan, &options(None)).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn the_proposal_has_one_task_that_may_change_the_file() {
        let plan = plan("Succeeded", &json!({"url": "https://git.example.org/cart.git"}));
        let spec = proposal(&plan, Some("claude"), workspace(&plan, &options(None)).unwrap(), "Write it.".into());
        assert_eq!((spec.tasks.len(), spec.specification_ref.is_none(), spec.gates.len()), (1, true, 1));
        assert!(spec.tasks[0].title.contains(PATH) && spec.tasks[0].prompt.as_deref() == Some("Write it."));
        assert_eq!(spec.agent_ref.unwrap().name, "claude");
        assert_eq!(spec.approval, plan.spec.approval, "the people who approve the plan approve this one");
    }

    #[test]
    fn a_gate_of_several_tasks_counts_once() {
        let gate = |name: &str, script: &str| Gate { name: name.into(), script: script.into() };
        let gates = [gate("a", "make"), gate("b", "make"), gate("c", "make test")];
        assert_eq!(without_repetitions(gates.iter()), [gate("a", "make"), gate("c", "make test")]);
    }
}
