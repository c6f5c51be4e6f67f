//! `enact retry`, `redo`, `keep`, `suspend`, `resume` and `cancel`: what a person asks of a plan that is under way.

use std::process::ExitCode;

use anyhow::{Result, bail};
use enact_crds::plan::Stale;
use enact_crds::task::Phase;
use enact_crds::{Plan, Task};
use enact_domain::names::{self, ANNOTATION_KEEP, ANNOTATION_REDO, ANNOTATION_RERUN};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::args::{Cancel, Outdated};
use crate::cluster::{Cluster, told};
use crate::status::phase_of;
use crate::terminal;

/// Tries to count up an annotation that others change at the same time.
const TRIES: u32 = 5;

/// What a person names: a plan, or one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// `PLAN/TASKID`.
    Of(String, String),
    /// A name alone: of a plan, or of a Task.
    Name(String),
}

impl Named {
    /// Takes `PLAN/TASKID` apart; `plan/NAME` and `task/NAME`, as kubectl prints them, are names alone.
    pub fn parse(text: &str) -> Self {
        match text.split_once('/') {
            Some(("plan" | "plan.enact.dev" | "task" | "task.enact.dev", name)) => Self::Name(name.to_owned()),
            Some((plan, id)) => Self::Of(plan.to_owned(), id.to_owned()),
            None => Self::Name(text.to_owned()),
        }
    }
}

/// The Task with this id in a plan.
pub async fn task_of(cluster: &Cluster, plan: &str, id: &str) -> Result<Task> {
    let fields = format!("spec.planRef.name={plan},spec.id={id}");
    let mut found = tasks(cluster).list(&ListParams::default().fields(&fields)).await.map_err(told)?.items;
    match found.pop() {
        Some(task) => Ok(task),
        None => bail!(
            "Plan {plan} in namespace {} has no task {id} yet; `enact status {plan}` shows its tasks",
            cluster.namespace
        ),
    }
}

/// Asks for another attempt of one task, or of all that failed in a plan.
pub async fn retry(cluster: &Cluster, target: &str) -> Result<ExitCode> {
    match Named::parse(target) {
        Named::Of(plan, id) => {
            still_open(cluster, &plan).await?;
            if id == names::INTEGRATION {
                rerun_plan(cluster, &plan).await?;
            } else {
                rerun_task(cluster, &task_of(cluster, &plan, &id).await?).await?;
            }
        }
        Named::Name(name) => {
            if let Some(plan) = plans(cluster).get_opt(&name).await.map_err(told)? {
                retry_all(cluster, &plan).await?;
            } else if let Some(task) = tasks(cluster).get_opt(&name).await.map_err(told)? {
                still_open(cluster, &task.spec.plan_ref.name).await?;
                rerun_task(cluster, &task).await?;
            } else {
                bail!("there is neither a Plan nor a Task {name} in namespace {}", cluster.namespace);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn still_open(cluster: &Cluster, plan: &str) -> Result<()> {
    plans(cluster).get_opt(plan).await.map_err(told)?.map_or(Ok(()), |plan| not_cancelled(&plan))
}

/// Nothing of a cancelled plan is ever started again: whoever asks for it should know.
fn not_cancelled(plan: &Plan) -> Result<()> {
    if plan.spec.cancel {
        bail!("Plan {} was cancelled, which is for good; create another one", plan.name_any());
    }
    Ok(())
}

async fn retry_all(cluster: &Cluster, plan: &Plan) -> Result<()> {
    not_cancelled(plan)?;
    let name = plan.name_any();
    let of_plan = ListParams::default().fields(&format!("spec.planRef.name={name}"));
    let failed: Vec<Task> = tasks(cluster)
        .list(&of_plan)
        .await
        .map_err(told)?
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
        bail!("nothing of Plan {name} has failed");
    }
    Ok(())
}

fn is_failed(phase: Phase) -> bool {
    matches!(phase, Phase::Failed | Phase::Unknown | Phase::Cancelled)
}

async fn rerun_task(cluster: &Cluster, task: &Task) -> Result<()> {
    let (name, phase) = (task.name_any(), phase_of(task));
    if !is_failed(phase) {
        bail!("Task {name} is {phase:?}: only one that failed, was cancelled or is of unknown end is tried again");
    }
    count_up(&tasks(cluster), &name).await?;
    terminal::say(&format!("{} of Plan {} is tried again", task.spec.work.id, task.spec.plan_ref.name))
}

async fn rerun_plan(cluster: &Cluster, plan: &str) -> Result<()> {
    count_up(&plans(cluster), plan).await?;
    terminal::say(&format!("the integration of Plan {plan} is tried again"))
}

/// Adds one to the annotation that asks for another attempt; two people who ask at the same time get two different numbers.
async fn count_up<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    for left in (0..TRIES).rev() {
        let object = api.get_metadata(name).await.map_err(told)?;
        let number = object.annotations().get(ANNOTATION_RERUN).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let patch = json!({ "metadata": {
            "resourceVersion": object.resource_version(),
            "annotations": { ANNOTATION_RERUN: (number + 1).to_string() },
        }});
        match api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 && left > 0 => {}
            Err(error) => return Err(told(error)),
        }
    }
    bail!("{} {name} is being changed all the time; try again", K::kind(&()))
}

/// Decides, by one of two annotations, about what a newer revision of the specification makes stale of a plan.
pub async fn follow(cluster: &Cluster, options: &Outdated, annotation: &str) -> Result<ExitCode> {
    let name = options.plan.strip_prefix("plan/").unwrap_or(&options.plan);
    let Some(plan) = plans(cluster).get_opt(name).await.map_err(told)? else {
        bail!("there is no Plan {name} in namespace {}", cluster.namespace);
    };
    not_cancelled(&plan)?;
    let Some(stale) = plan.status.as_ref().and_then(|status| status.stale.as_ref()) else {
        bail!("nothing of Plan {name} is stale: it was made for the revision of its specification that is approved");
    };
    let redo = annotation == ANNOTATION_REDO;
    outdated(stale, redo).lines().try_for_each(terminal::say)?;
    let question = if redo { "Do this work again?" } else { "Go on as if it were made for this revision?" };
    if !options.yes && !terminal::confirm(question)? {
        bail!("nothing was decided");
    }
    let other = if redo { ANNOTATION_KEEP } else { ANNOTATION_REDO };
    let digest = &stale.specification_digest;
    patch(cluster, name, &json!({ "metadata": { "annotations": { annotation: digest, other: null } } })).await?;
    terminal::say(&format!("Plan {name} {}", if redo { "does it again" } else { "goes on as it is" }))?;
    Ok(ExitCode::SUCCESS)
}

/// What a person decides about.
fn outdated(stale: &Stale, redo: bool) -> String {
    let list = |title: &str, all: &[String]| match all {
        [] => String::new(),
        all => format!("\n{title}: {}", all.join(", ")),
    };
    let work = if redo { "done again" } else { "kept as it is" };
    format!(
        "the specification is approved as {}; {} tasks are stale{}{}{}",
        stale.specification_digest,
        stale.tasks,
        list("changed", &stale.changes),
        list(&format!("finished and {work}"), &stale.redo),
        list("served by no task, which takes another plan", &stale.uncovered),
    )
}

/// Holds a plan, or lets it go on.
pub async fn suspend(cluster: &Cluster, plan: &str, suspend: bool) -> Result<ExitCode> {
    patch(cluster, plan, &json!({ "spec": { "suspend": suspend } })).await?;
    let said = if suspend { "starts nothing new; what runs may end" } else { "goes on" };
    terminal::say(&format!("Plan {plan} {said}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Stops a plan for good.
pub async fn cancel(cluster: &Cluster, options: &Cancel) -> Result<ExitCode> {
    let plan = &options.plan;
    let question = format!("Stop Plan {plan} in namespace {} for good?", cluster.namespace);
    if !options.yes && !terminal::confirm(&question)? {
        bail!("nothing was stopped");
    }
    patch(cluster, plan, &json!({ "spec": { "cancel": true } })).await?;
    terminal::say(&format!("Plan {plan} is being stopped"))?;
    Ok(ExitCode::SUCCESS)
}

async fn patch(cluster: &Cluster, plan: &str, patch: &Value) -> Result<Plan> {
    plans(cluster).patch(plan, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(told)
}

fn plans(cluster: &Cluster) -> Api<Plan> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

fn tasks(cluster: &Cluster) -> Api<Task> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decided_about_is_shown_whole() {
        let stale = Stale {
            specification_digest: "sha256:1".into(),
            changes: vec!["FR-001 Changed".into(), "FR-003 Added".into()],
            tasks: 2,
            redo: vec!["T001".into()],
            uncovered: vec!["FR-003".into()],
        };
        let shown = "the specification is approved as sha256:1; 2 tasks are stale\nchanged: FR-001 Changed, FR-003 Added\n\
                     finished and done again: T001\nserved by no task, which takes another plan: FR-003";
        assert_eq!(outdated(&stale, true), shown);
        assert!(outdated(&stale, false).contains("finished and kept as it is: T001"));
    }
}
