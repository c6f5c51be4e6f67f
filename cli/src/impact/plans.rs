//! The plans that a changed Specification would affect, by the function with which the operator decides what is stale.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, anyhow};
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::compile::{self, Compiled};
use enact_crds::documents::texts::SpecificationText;
use enact_crds::task::Phase;
use enact_crds::{Plan, Task};
use enact_domain::revisions::staleness::Effect;
use kube::ResourceExt as _;
use kube::api::ListParams;

use super::change::Change;
use super::report::{AffectedTask, PlanImpact};
use crate::cluster::{Cluster, api_error};
use crate::history;
use crate::record::Record;
use crate::status::phase_of;
use crate::text::problems;

/// Returns the plans of a Specification that the changed text would affect, once it is approved.
pub async fn affected(
    cluster: &Cluster,
    change: &Change<'_>,
    before: &SpecificationText,
    after: &SpecificationText,
) -> Result<Vec<PlanImpact>> {
    let of_specification = ListParams::default().fields(&format!("spec.specificationRef.name={}", change.subject.name));
    let plans = cluster.api::<Plan>().list(&of_specification).await.map_err(api_error)?;
    // The operator does not compare the revisions of a plan that is being cancelled.
    let open = |plan: &&Plan| !plan.spec.cancel && plan.metadata.deletion_timestamp.is_none();
    let mut found = Vec::new();
    for plan in plans.iter().filter(open) {
        found.extend(of_plan(cluster, change, plan, before, after).await?);
    }
    Ok(found)
}

async fn of_plan(
    cluster: &Cluster,
    change: &Change<'_>,
    plan: &Plan,
    before: &SpecificationText,
    after: &SpecificationText,
) -> Result<Option<PlanImpact>> {
    let (name, status) = (plan.name_any(), plan.status.clone().unwrap_or_default());
    let mut impact = PlanImpact {
        name: name.clone(),
        phase: status.phase,
        started: status.started_at.is_some(),
        ..PlanImpact::default()
    };
    if !impact.started {
        return match planned(cluster, plan).await {
            Ok(compiled) => {
                let effect = compile::effect(Some(&before.parsed.model), &after.parsed.model, &compiled);
                Ok(filled(impact, &effect, &compiled, &BTreeMap::new()))
            }
            // Its tasks can be in Git, or not written yet. The other plans are shown all the same.
            Err(problem) => {
                impact.problem = Some(format!("{problem:#}"));
                Ok(Some(impact))
            }
        };
    }
    let (Some(pinned), Some(approved)) = (status.specification_digest, status.approved_digest) else { return Ok(None) };
    if pinned == after.digest.as_str() {
        return Ok(None);
    }
    let record = Record::open(cluster).await?;
    let subject = Subject { kind: SubjectKind::Plan, name: name.clone() };
    let content = record.content(&subject, &approved).await?;
    let (compiled, _) = compile::recorded(&name, &content)
        .with_context(|| format!("the record of Plan {name} cannot be read; use the version of the server"))?;
    let is_present = pinned == change.digest;
    let older = if is_present { None } else { record.find_content(change.subject, &pinned).await? };
    let older = older.map(|bytes| SpecificationText::read(&bytes));
    let old = if is_present { Some(before) } else { older.as_ref() };
    let effect = compile::effect(old.map(|text| &text.parsed.model), &after.parsed.model, &compiled);
    impact.specification_digest = Some(pinned);
    let phases = if effect.redone.is_empty() { BTreeMap::new() } else { phases(cluster, &name).await? };
    Ok(filled(impact, &effect, &compiled, &phases))
}

/// Compiles the tasks of a plan that has not started.
async fn planned(cluster: &Cluster, plan: &Plan) -> Result<Compiled> {
    let tasks = history::tasks(cluster, plan).await?;
    compile::compile(&plan.name_any(), tasks).map_err(|errors| anyhow!("{}", problems(&errors)))
}

/// Returns the phases of a plan's Tasks, by their names.
pub async fn phases(cluster: &Cluster, plan: &str) -> Result<BTreeMap<String, Phase>> {
    let of_plan = ListParams::default().fields(&format!("spec.planRef.name={plan}"));
    let tasks = cluster.api::<Task>().list(&of_plan).await.map_err(api_error)?;
    Ok(tasks.iter().map(|task| (task.name_any(), phase_of(task))).collect())
}

/// Adds the effect of the changed text; none if it does not matter.
fn filled(
    impact: PlanImpact,
    effect: &Effect,
    compiled: &Compiled,
    phases: &BTreeMap<String, Phase>,
) -> Option<PlanImpact> {
    if !effect.matters() && effect.staleness.renumbered.is_empty() {
        return None;
    }
    let affected: BTreeSet<usize> = effect.redone.iter().filter_map(|node| node.task()).collect();
    let task = |index: usize| {
        let (template, phase) = (&compiled.tasks[index], phases.get(&compiled.names[index]).copied());
        let phase = phase.unwrap_or_default();
        let stale = effect.staleness.tasks.iter().find(|task| task.id == template.id);
        let mut reasons: Vec<String> =
            stale.into_iter().flat_map(|task| &task.reasons).map(|reason| reason.item.to_string()).collect();
        if effect.changes.is_none() {
            reasons.push("the record does not hold the revision that the plan was started for".to_owned());
        }
        AffectedTask {
            id: template.id.clone(),
            title: template.title.clone(),
            phase,
            stale: effect.tasks.contains(&index),
            // A task that has not succeeded has nothing to repeat.
            repeated: impact.started && phase == Phase::Succeeded,
            reasons,
            more: stale.map_or(0, |task| task.more),
        }
    };
    let tasks = affected.into_iter().map(task).collect();
    Some(PlanImpact {
        tasks,
        uncovered: effect.staleness.uncovered.clone(),
        renumbered: effect.staleness.renumbered.clone(),
        ..impact
    })
}

#[cfg(test)]
mod tests {
    use enact_crds::task::TaskTemplate;
    use enact_domain::speckit::spec;
    use serde_json::json;

    use super::*;

    const OLD: &str = "# Feature Specification: Keys\n\n## Requirements\n\n- **FR-001**: The list MUST show keys.\n\
        - **FR-002**: A key MUST expire.\n";

    fn compiled() -> Compiled {
        let task = |id: &str, requirement: &str, needs: &[&str]| -> TaskTemplate {
            serde_json::from_value(json!({"id": id, "title": id, "requirements": [requirement], "dependsOn": needs}))
                .unwrap()
        };
        compile::compile(
            "p",
            vec![task("T001", "FR-001", &[]), task("T002", "FR-002", &[]), task("T003", "FR-001", &["T002"])],
        )
        .unwrap()
    }

    #[test]
    fn finished_work_is_repeated_only_where_it_is_affected() {
        let compiled = compiled();
        let read = |text: &str| spec::parse(text.as_bytes()).model;
        let new = OLD.replace("expire.", "expire after a week.");
        let effect = compile::effect(Some(&read(OLD)), &read(&new), &compiled);
        let started = PlanImpact { started: true, ..PlanImpact::default() };
        let phases = BTreeMap::from([("p-t002".to_owned(), Phase::Succeeded), ("p-t003".to_owned(), Phase::Running)]);
        let impact = filled(started, &effect, &compiled, &phases).unwrap();
        let shown: Vec<_> =
            impact.tasks.iter().map(|t| (t.id.as_str(), t.stale, t.repeated, t.reasons.len())).collect();
        assert_eq!(shown, [("T002", true, true, 1), ("T003", false, false, 0)], "T001 is not affected");
        let waiting = filled(PlanImpact::default(), &effect, &compiled, &phases).unwrap();
        assert!(waiting.tasks.iter().all(|task| !task.repeated), "a plan that has not started has done nothing");
        let same = compile::effect(Some(&read(OLD)), &read(OLD), &compiled);
        assert!(filled(PlanImpact::default(), &same, &compiled, &phases).is_none());
        let unknown = filled(PlanImpact::default(), &compile::effect(None, &read(&new), &compiled), &compiled, &phases);
        assert!(unknown.unwrap().tasks.iter().all(|task| task.stale && task.reasons.len() == 1));
    }
}
