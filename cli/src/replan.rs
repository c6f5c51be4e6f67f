//! `replan`: a Plan that replaces another one and keeps its finished work.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use enact_crds::document::Source;
use enact_crds::plan::{Generate, Planner, ReplacedStatus, Replaces, TaskList};
use enact_crds::replan::{Kept, KeptWork};
use enact_crds::task::TaskTemplate;
use enact_crds::{Plan, PlanSpec, Task};
use enact_domain::names;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use crate::args;
use crate::cluster::{Cluster, api_error};
use crate::import::project;
use crate::terminal;
use crate::text::one_line;

/// Number of task ids that a line names.
const MAX_NAMED: usize = 10;

/// Creates the Plan that replaces another one.
pub async fn create(cluster: &Cluster, options: &args::Replan) -> Result<()> {
    let old: Plan = cluster.get(&options.plan).await?;
    let tasks = options.tasks.as_deref().map(read).transpose()?;
    let spec = successor(&old, options, tasks)?;
    let name = options.name.clone().unwrap_or_else(|| next_name(&options.plan));
    let planners = spec.generate.as_ref().map(|generate| {
        let names: Vec<&str> = generate.agents.iter().map(|planner| planner.name.as_str()).collect();
        format!("; its planners are {}", names.join(", "))
    });
    cluster.api::<Plan>().create(&PostParams::default(), &Plan::new(&name, spec)).await.map_err(api_error)?;
    let planners = planners.unwrap_or_default();
    terminal::print_line(&format!("Plan {name} is created in place of Plan {}{planners}", options.plan))?;
    if !old.status.unwrap_or_default().phase.is_finished() {
        terminal::print_line(&format!(
            "Plan {old} goes on until you end it: `kubectl enact suspend {old}` lets running attempts finish, and `kubectl enact cancel {old}` \
             ends it and keeps its finished tasks",
            old = options.plan
        ))?;
    }
    terminal::print_line(&format!("see how the tasks differ with `kubectl enact status {name}`"))
}

/// Reads a tasks.md.
fn read(path: &Path) -> Result<String> {
    let document = project::read(path)?;
    String::from_utf8(document.bytes).with_context(|| format!("{} is not text in UTF-8", path.display()))
}

/// Returns the spec of the Plan that replaces `old`.
fn successor(old: &Plan, options: &args::Replan, tasks: Option<String>) -> Result<PlanSpec> {
    let name = &options.plan;
    if old.status.as_ref().is_none_or(|status| status.started_at.is_none()) {
        bail!("Plan {name} has not started; change that Plan instead");
    }
    let mut spec = old.spec.clone();
    spec.replaces = Some(Replaces { name: name.clone(), because: Some(options.because.clone()) });
    spec.generate = if tasks.is_some() { None } else { Some(generate(old, options)?) };
    spec.source = tasks.map(|text| Source { inline: Some(text), ..Source::default() });
    spec.tasks.clear();
    // Whoever accepts a finding does so for tasks that they have read.
    spec.accepted.clear();
    (spec.suspend, spec.cancel) = (false, false);
    if let Some(workspace) = &mut spec.workspace {
        // The work goes to the same branch, whatever the name of the Plan.
        workspace.integration.branch.get_or_insert_with(|| names::integration_branch(name));
    }
    Ok(spec)
}

/// Returns the settings of the planners: those of the Plan, with other agents if the options name some.
fn generate(old: &Plan, options: &args::Replan) -> Result<Generate> {
    let name = &options.plan;
    if old.spec.specification_ref.is_none() {
        bail!("Plan {name} names no Specification, so that agents cannot plan it; give the new tasks.md with --tasks");
    }
    let planners: Vec<Planner> = options.agents.iter().map(|name| Planner { name: name.clone() }).collect();
    let generate = match &old.spec.generate {
        Some(generate) if planners.is_empty() => generate.clone(),
        Some(generate) => Generate { agents: planners, ..generate.clone() },
        None if planners.is_empty() => {
            bail!(
                "no agent wrote the tasks of Plan {name}; name some with --agents, or give the new tasks.md with --tasks"
            )
        }
        None => serde_json::from_value(json!({ "agents": planners }))?,
    };
    Ok(Generate { chosen: None, ..generate })
}

/// Returns the name with the next number at its end: `cart` is followed by `cart-2`.
fn next_name(name: &str) -> String {
    let numbered = name.rsplit_once('-').and_then(|(base, number)| Some((base, number.parse::<u32>().ok()?)));
    let (base, number) = numbered.unwrap_or((name, 1));
    format!("{base}-{}", number.saturating_add(1))
}

/// Returns how many tasks of a plan differ from those of the plan that it replaces, for a short line; none if it replaces none.
pub fn counts(spec: &PlanSpec, replaced: Option<&ReplacedStatus>) -> Option<String> {
    let name = one_line(&spec.replaces.as_ref()?.name);
    let Some(ReplacedStatus { added, changed, removed, repeated, kept }) = replaced else {
        return Some(format!("replaces Plan {name}"));
    };
    let [added, changed, removed, repeated] = [added, changed, removed, repeated].map(|tasks| tasks.count);
    let kept = kept.len();
    Some(format!(
        "replaces Plan {name}: {added} added, {changed} changed, {removed} removed, {kept} kept, {repeated} done again"
    ))
}

/// Returns how the tasks of a plan differ from those of the plan that it replaces, and why, for a sentence; none if it replaces none.
pub fn summary(spec: &PlanSpec, replaced: Option<&ReplacedStatus>) -> Option<String> {
    let Replaces { name, because } = spec.replaces.as_ref()?;
    let mut text = format!("replaces Plan {}", one_line(name));
    if let Some(because) = because {
        text.push_str(&format!(" because “{}”", one_line(because)));
    }
    let Some(ReplacedStatus { added, changed, removed, repeated, kept }) = replaced else { return Some(text) };
    let list = |TaskList { count, ids }: &TaskList| list(*count as usize, ids);
    text.push_str(&format!(
        ": {} added, {} changed, {} removed, {} kept, {} done again",
        list(added),
        list(changed),
        list(removed),
        self::list(kept.len(), kept),
        list(repeated)
    ));
    Some(text)
}

/// Returns a number of tasks with the first ids.
fn list(count: usize, ids: &[String]) -> String {
    if ids.is_empty() {
        return count.to_string();
    }
    let named: Vec<String> = ids.iter().take(MAX_NAMED).map(|id| one_line(id)).collect();
    let more = if count > named.len() { ", …" } else { "" };
    format!("{count} ({}{more})", named.join(", "))
}

/// Returns the finished work that a plan which has not started keeps, as the operator saw it.
pub async fn kept(cluster: &Cluster, plan: &Plan, tasks: &[TaskTemplate]) -> Result<KeptWork> {
    let replaced = plan.status.as_ref().and_then(|status| status.replaced.as_ref());
    let (Some(old), Some(replaced)) = (&plan.spec.replaces, replaced) else { return Ok(KeptWork::new()) };
    let ids: BTreeSet<&str> = replaced.kept.iter().map(String::as_str).collect();
    let ids: BTreeSet<&str> = tasks.iter().map(|task| task.id.as_str()).filter(|id| ids.contains(id)).collect();
    if ids.is_empty() {
        return Ok(KeptWork::new());
    }
    let of_plan = ListParams::default().fields(&format!("spec.planRef.name={}", old.name));
    let found = cluster.api::<Task>().list(&of_plan).await.map_err(api_error)?;
    let finished = found.iter().filter(|task| ids.contains(task.spec.work.id.as_str()));
    let work = finished.filter_map(|task| Some((task.spec.work.id.clone(), Kept::of(task.status.as_ref()?)?)));
    Ok(work.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn options() -> args::Replan {
        args::Replan { plan: "cart".into(), because: "It is slow.".into(), agents: Vec::new(), tasks: None, name: None }
    }

    fn plan(more: &Value) -> Plan {
        let mut spec = json!({
            "specificationRef": {"name": "cart"}, "agentRef": {"name": "coder"}, "suspend": true,
            "workspace": {"url": "https://git.example.org/cart.git"},
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "cart"}, "spec": spec,
            "status": {"startedAt": "2026-12-01T09:00:00Z"},
        }))
        .unwrap()
    }

    #[test]
    fn the_name_has_the_next_number() {
        assert_eq!([next_name("cart"), next_name("cart-2"), next_name("cart-b")], ["cart-2", "cart-3", "cart-b-2"]);
    }

    #[test]
    fn the_same_agents_plan_again() {
        let chosen = json!({"agent": "claude", "digest": "sha256:1"});
        let generate = json!({"generate": {"agents": [{"name": "claude"}], "maxAttempts": 2, "chosen": chosen}});
        let spec = successor(&plan(&generate), &options(), None).unwrap();
        let generate = spec.generate.unwrap();
        assert_eq!((generate.agents[0].name.as_str(), generate.max_attempts, generate.chosen), ("claude", 2, None));
        assert_eq!(spec.workspace.unwrap().integration.branch.as_deref(), Some("plan/cart"));
        assert_eq!(spec.replaces.unwrap().because.as_deref(), Some("It is slow."));
        assert!(!spec.suspend);
    }

    #[test]
    fn a_person_can_give_the_tasks() {
        let tasks = json!({"tasks": [{"id": "T001", "title": "One"}]});
        let refused = successor(&plan(&tasks), &options(), None).unwrap_err().to_string();
        assert!(refused.contains("--agents") && refused.contains("--tasks"), "{refused}");
        let spec = successor(&plan(&tasks), &options(), Some("# Tasks".into())).unwrap();
        assert_eq!(spec.source.unwrap().inline.as_deref(), Some("# Tasks"));
        assert!(spec.tasks.is_empty() && spec.generate.is_none());
    }

    #[test]
    fn only_a_plan_that_has_started_is_replaced() {
        let new = Plan { status: None, ..plan(&json!({})) };
        assert!(successor(&new, &options(), None).unwrap_err().to_string().contains("has not started"));
    }

    #[test]
    fn the_summary_has_numbers_and_ids() {
        let spec = PlanSpec {
            replaces: Some(Replaces { name: "cart".into(), because: Some("It is slow.".into()) }),
            ..PlanSpec::default()
        };
        let added = TaskList { count: 60, ids: (10..60).map(|n| format!("T0{n}")).collect() };
        let replaced = ReplacedStatus { added, kept: vec!["T001".into()], ..ReplacedStatus::default() };
        assert_eq!(
            summary(&spec, Some(&replaced)).unwrap(),
            "replaces Plan cart because “It is slow.”: 60 (T010, T011, T012, T013, T014, T015, T016, T017, T018, T019, …) added, \
             0 changed, 0 removed, 1 (T001) kept, 0 done again"
        );
        assert_eq!(
            counts(&spec, Some(&replaced)).unwrap(),
            "replaces Plan cart: 60 added, 0 changed, 0 removed, 1 kept, 0 done again"
        );
        assert_eq!((summary(&PlanSpec::default(), None), counts(&PlanSpec::default(), None)), (None, None));
    }
}
