//! `retry`, `redo`, `keep`, `suspend`, `resume` and `cancel`: commands that control a plan, and `suspend` and `resume` of an agent.

use anyhow::{Result, bail};
use enact_crds::plan::{PausedAfter, Stale};
use enact_crds::task::Phase;
use enact_crds::{Agent, Plan, Task};
use enact_domain::names::{
    self, ANNOTATION_KEEP, ANNOTATION_REDO, ANNOTATION_RERUN, ANNOTATION_RESUMED_AFTER, rerun_number,
};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::args::{ConfirmedPlan, Kind, PlanOrAgent, kind_and_name};
use crate::cluster::{Cluster, api_error};
use crate::status::phase_of;
use crate::terminal;
use crate::text::one_line;

/// Most attempts to increment an annotation while others change the object.
const TRIES: u32 = 5;

/// The target of a command: a task, or an object by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `PLAN/TASKID`.
    TaskOfPlan(String, String),
    /// The name of a Plan or a Task.
    Name(String),
}

impl Target {
    /// Parses `PLAN/TASKID` or a name, each with or without a kind as kubectl prints it: `plan/PLAN/TASKID`, `plan/NAME`, `task/NAME`.
    pub fn parse(text: &str) -> Self {
        let text = match kind_and_name(text) {
            (Some(Kind::Task), name) => return Self::Name(name.to_owned()),
            (Some(Kind::Plan), name) => name,
            _ => text,
        };
        match text.split_once('/') {
            Some((plan, id)) => Self::TaskOfPlan(plan.to_owned(), id.to_owned()),
            None => Self::Name(text.to_owned()),
        }
    }
}

/// Reads the Task with this ID in a plan.
pub async fn task_of(cluster: &Cluster, plan: &str, id: &str) -> Result<Task> {
    let fields = format!("spec.planRef.name={plan},spec.id={id}");
    let mut found = tasks(cluster).list(&ListParams::default().fields(&fields)).await.map_err(api_error)?.items;
    match found.pop() {
        Some(task) => Ok(task),
        None => bail!(
            "Plan {plan} in namespace {} has no Task for {id}; `kubectl enact status {plan}` shows the tasks of the plan",
            cluster.namespace
        ),
    }
}

/// Requests another attempt for one task, for the integration, or for everything that failed in a plan.
pub async fn retry(cluster: &Cluster, target: &str) -> Result<()> {
    match Target::parse(target) {
        Target::TaskOfPlan(plan, id) => {
            // Checked here because the operator ignores the annotation of a cancelled plan and the person would wait for nothing.
            refuse_if_cancelled(cluster, &plan).await?;
            if id == names::INTEGRATION {
                rerun_plan(cluster, &plan).await?;
            } else {
                rerun_task(cluster, &task_of(cluster, &plan, &id).await?).await?;
            }
        }
        Target::Name(name) => {
            if let Some(plan) = plans(cluster).get_opt(&name).await.map_err(api_error)? {
                retry_all(cluster, &plan).await?;
            } else if let Some(task) = tasks(cluster).get_opt(&name).await.map_err(api_error)? {
                refuse_if_cancelled(cluster, &task.spec.plan_ref.name).await?;
                rerun_task(cluster, &task).await?;
            } else {
                bail!("there is neither a Plan nor a Task {name} in namespace {}", cluster.namespace);
            }
        }
    }
    Ok(())
}

async fn refuse_if_cancelled(cluster: &Cluster, plan: &str) -> Result<()> {
    plans(cluster).get_opt(plan).await.map_err(api_error)?.map_or(Ok(()), |plan| check_not_cancelled(&plan))
}

/// Refuses a cancelled plan: the operator starts no more attempts for it and would ignore the request.
fn check_not_cancelled(plan: &Plan) -> Result<()> {
    if plan.spec.cancel {
        bail!("Plan {} is cancelled, which is permanent; create another Plan", plan.name_any());
    }
    Ok(())
}

async fn retry_all(cluster: &Cluster, plan: &Plan) -> Result<()> {
    check_not_cancelled(plan)?;
    let name = plan.name_any();
    let of_plan = ListParams::default().fields(&format!("spec.planRef.name={name}"));
    let failed: Vec<Task> = tasks(cluster)
        .list(&of_plan)
        .await
        .map_err(api_error)?
        .items
        .into_iter()
        .filter(|task| is_failed(phase_of(task)))
        .collect();
    for task in &failed {
        rerun_task(cluster, task).await?;
    }
    let integration = plan.status.as_ref().and_then(|status| status.integration.as_ref());
    if integration.is_some_and(|integration| is_failed(integration.phase)) {
        rerun_plan(cluster, &name).await?;
    } else if failed.is_empty() {
        bail!("nothing in Plan {name} has failed, so there is nothing to retry");
    }
    Ok(())
}

fn is_failed(phase: Phase) -> bool {
    matches!(phase, Phase::Failed | Phase::Unknown | Phase::Cancelled)
}

async fn rerun_task(cluster: &Cluster, task: &Task) -> Result<()> {
    let (name, phase) = (task.name_any(), phase_of(task));
    if !is_failed(phase) {
        bail!("Task {name} is {phase:?}; only a Task that is Failed, Cancelled or Unknown can be retried");
    }
    let handled = |task: &Task| task.status.as_ref()?.observed_rerun.clone();
    count_up(&tasks(cluster), &name, handled).await?;
    terminal::print_line(&format!(
        "{} of Plan {}: another attempt is requested",
        task.spec.work.id, task.spec.plan_ref.name
    ))
}

async fn rerun_plan(cluster: &Cluster, plan: &str) -> Result<()> {
    let handled = |plan: &Plan| plan.status.as_ref()?.integration.as_ref()?.observed_rerun.clone();
    count_up(&plans(cluster), plan, handled).await?;
    terminal::print_line(&format!("integration of Plan {plan}: another attempt is requested"))
}

/// Increments the annotation that requests another attempt; `handled` returns the request that the operator handled last. The
/// resourceVersion in the patch makes sure that two people who do this at the same time write different numbers.
async fn count_up<K>(api: &Api<K>, name: &str, handled: impl Fn(&K) -> Option<String>) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    for _ in 0..TRIES {
        let object = api.get(name).await.map_err(api_error)?;
        let present = object.annotations().get(ANNOTATION_RERUN).map(String::as_str);
        let patch = json!({ "metadata": {
            "resourceVersion": object.resource_version(),
            "annotations": { ANNOTATION_RERUN: next(present, handled(&object).as_deref()) },
        }});
        // A conflict means that the number may be taken: read it again.
        match api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(api_error(error)),
        }
    }
    bail!("{} {name} was changed {TRIES} times in the meantime; try again", K::kind(&()))
}

/// Returns the value of the annotation that requests another attempt: a larger number than the present value and the one that was handled
/// last, which the operator ignores.
fn next(present: Option<&str>, handled: Option<&str>) -> String {
    let last = [present, handled].into_iter().flatten().filter_map(rerun_number).max();
    last.map_or(1, |last| last + 1).to_string()
}

/// Decides about the stale tasks of a plan by one of the annotations `redo` and `keep`.
pub async fn decide_stale(cluster: &Cluster, options: &ConfirmedPlan, annotation: &str) -> Result<()> {
    let name = options.plan.as_str();
    let plan: Plan = cluster.get(name).await?;
    check_not_cancelled(&plan)?;
    let Some(stale) = plan.status.as_ref().and_then(|status| status.stale.as_ref()) else {
        bail!(
            "nothing in Plan {name} is stale: its tasks are up to date with the approved revision of its specification"
        );
    };
    let redo = annotation == ANNOTATION_REDO;
    summary(stale, redo).lines().try_for_each(terminal::print_line)?;
    let question = if redo { "Repeat these tasks?" } else { "Keep these tasks as they are and continue?" };
    if !options.yes && !terminal::confirm(question)? {
        bail!("the decision was not confirmed; nothing was changed");
    }
    // The annotation names the revision that the person saw, so that the operator ignores it after a newer one.
    let other = if redo { ANNOTATION_KEEP } else { ANNOTATION_REDO };
    let digest = &stale.specification_digest;
    patch(cluster, name, &json!({ "metadata": { "annotations": { annotation: digest, other: null } } })).await?;
    terminal::print_line(&format!(
        "Plan {name} {}",
        if redo { "repeats its stale tasks" } else { "keeps its stale tasks" }
    ))
}

/// Describes the stale tasks and the effect of the decision.
fn summary(stale: &Stale, redo: bool) -> String {
    let list = |title: &str, all: &[String]| match all {
        [] => String::new(),
        all => format!("\n{title}: {}", all.join(", ")),
    };
    let outcome = if redo { "repeated" } else { "kept" };
    format!(
        "the approved revision of the specification is {}; {} tasks are stale{}{}{}",
        stale.specification_digest,
        stale.tasks,
        list("changed", &stale.changes),
        list(&format!("finished tasks that will be {outcome}"), &stale.redo),
        list("requirements without a task, which need another Plan", &stale.uncovered),
    )
}

/// Suspends a plan or an agent.
pub async fn suspend(cluster: &Cluster, target: &PlanOrAgent) -> Result<()> {
    let change = json!({ "spec": { "suspend": true } });
    let (suspended, effect) = match target {
        PlanOrAgent::Plan(plan) => (format!("Plan {plan}"), ended(&patch(cluster, plan, &change).await?)),
        PlanOrAgent::Agent(agent) => {
            patch_agent(cluster, agent, &change).await?;
            (format!("Agent {agent}"), None)
        }
    };
    let effect = effect.unwrap_or_else(|| "running attempts may finish".into());
    terminal::print_line(&format!("{suspended} is suspended; {effect}"))
}

/// Resumes an agent that is suspended, or a plan that is suspended or has paused after a phase.
pub async fn resume(cluster: &Cluster, target: &PlanOrAgent) -> Result<()> {
    match target {
        PlanOrAgent::Plan(plan) => resume_plan(cluster, plan).await,
        PlanOrAgent::Agent(agent) => {
            patch_agent(cluster, agent, &json!({ "spec": { "suspend": false } })).await?;
            terminal::print_line(&format!("Agent {agent} is resumed"))
        }
    }
}

async fn resume_plan(cluster: &Cluster, name: &str) -> Result<()> {
    let plan: Plan = cluster.get(name).await?;
    let paused = plan.status.as_ref().and_then(|status| status.paused_after.as_ref());
    if paused.is_none() && !plan.spec.suspend {
        return terminal::print_line(&format!(
            "Plan {name} is neither suspended nor paused; nothing was changed. `kubectl enact status {name}` shows what it waits for"
        ));
    }
    let mut change = json!({ "spec": { "suspend": false } });
    let mut effect = "is resumed".to_owned();
    if let Some(PausedAfter { number, phase }) = paused {
        // The number of the phase that the person knows: a second request does not skip the next pause.
        change["metadata"] = json!({ "annotations": { ANNOTATION_RESUMED_AFTER: number.to_string() } });
        effect = match phase.as_str() {
            "" => format!("continues after phase {number}"),
            phase => format!("continues after phase {number} ({})", one_line(phase)),
        };
    }
    patch(cluster, name, &change).await?;
    terminal::print_line(&format!("Plan {name} {effect}"))
}

/// Cancels a plan permanently.
pub async fn cancel(cluster: &Cluster, options: &ConfirmedPlan) -> Result<()> {
    let plan = &options.plan;
    let question = format!("Cancel Plan {plan} in namespace {}? This is permanent.", cluster.namespace);
    if !options.yes && !terminal::confirm(&question)? {
        bail!("the cancellation was not confirmed; nothing was changed");
    }
    let changed = patch(cluster, plan, &json!({ "spec": { "cancel": true } })).await?;
    let effect =
        ended(&changed).map_or_else(|| "is being cancelled".into(), |ended| format!("cannot run again; {ended}"));
    terminal::print_line(&format!("Plan {plan} {effect}"))
}

/// Returns that a plan had ended before a command; none if it had not.
fn ended(plan: &Plan) -> Option<String> {
    let phase = plan.status.as_ref().map(|status| status.phase).filter(|phase| phase.is_finished())?;
    Some(format!("it had ended before: {phase:?}"))
}

async fn patch(cluster: &Cluster, plan: &str, patch: &Value) -> Result<Plan> {
    plans(cluster).patch(plan, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(api_error)
}

async fn patch_agent(cluster: &Cluster, agent: &str, patch: &Value) -> Result<Agent> {
    let agents: Api<Agent> = cluster.api();
    agents.patch(agent, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(api_error)
}

fn plans(cluster: &Cluster) -> Api<Plan> {
    cluster.api()
}

fn tasks(cluster: &Cluster) -> Api<Task> {
    cluster.api()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_another_attempt_always_has_another_value() {
        assert_eq!([None, Some("1"), Some("soon")].map(|present| next(present, None)), ["1", "2", "1"]);
        assert_eq!(next(None, Some("3")), "4", "somebody removed the annotation");
        assert_eq!(next(Some("18446744073709551615"), None), "1", "the number does not overflow");
    }

    #[test]
    fn targets_may_have_a_kind() {
        let task = Target::TaskOfPlan("shop".into(), "T001".into());
        assert_eq!(
            ["shop/T001", "plan/shop/T001", "plans/shop/T001"].map(Target::parse),
            [task.clone(), task.clone(), task]
        );
        let name = Target::Name("shop".into());
        assert_eq!(["shop", "plan/shop", "task/shop"].map(Target::parse), [name.clone(), name.clone(), name]);
    }

    #[test]
    fn summary_lists_changes_and_tasks() {
        let stale = Stale {
            specification_digest: "sha256:1".into(),
            changes: vec!["FR-001 Changed".into(), "FR-003 Added".into()],
            tasks: 2,
            redo: vec!["T001".into()],
            uncovered: vec!["FR-003".into()],
        };
        let shown = "the approved revision of the specification is sha256:1; 2 tasks are stale\n\
                     changed: FR-001 Changed, FR-003 Added\nfinished tasks that will be repeated: T001\n\
                     requirements without a task, which need another Plan: FR-003";
        assert_eq!(summary(&stale, true), shown);
        assert!(summary(&stale, false).contains("finished tasks that will be kept: T001"));
    }
}
