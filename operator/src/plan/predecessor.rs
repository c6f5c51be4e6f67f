//! The plan that another plan replaces: its tasks, and the finished work that is kept for those that stay the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use enact_crds::replan::{Kept, KeptWork, markdown};
use enact_crds::task::Phase as TaskPhase;
use enact_crds::{Plan, compile};
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::text::{one_line, truncated};
use kube::ResourceExt as _;

use super::context::Context;
use super::observed::{Content, Observed, Predecessor};
use crate::context::lookup;
use crate::documents::texts::SpecificationText;
use crate::error::Error;
use crate::index::TaskEntry;

/// The reason while the replaced plan has not ended.
const WAITING: &str = "WaitingForPredecessor";
/// Most bytes of the message of a failure that planners read.
const MAX_FAILURE: usize = 300;

/// Loads the plan that a plan replaces; none if it replaces none. `specification` is the approved revision that the plan would start for.
///
/// The inner error is the reason why there is nothing to compare with.
///
/// # Errors
/// When the record fails.
pub async fn load(
    ctx: &Context,
    observed: &Observed,
    tenant: &str,
    specification: Option<&SpecificationText>,
) -> Result<Option<Result<Predecessor, Readiness>>, Error> {
    let Some(replaced) = &observed.plan.spec.replaces else { return Ok(None) };
    let name = replaced.name.as_str();
    let found = lookup(&ctx.caches.plans, &observed.namespace, name);
    let plan = match check(observed, name, found) {
        Ok(plan) => plan,
        Err(missing) => return Ok(Some(Err(missing))),
    };
    let status = plan.status.clone().unwrap_or_default();
    let approved = Digest::from(status.approved_digest.unwrap_or_default());
    let recorded = ctx.record_store.content(tenant, &approved).await?;
    let Some(content) = recorded.and_then(|bytes| Content::recorded(name, &approved, bytes)) else {
        let message = format!(
            "the record does not hold the content of Plan {name}, which spec.replaces names; remove spec.replaces, and list the open tasks"
        );
        return Ok(Some(Err(Readiness::stalled("PredecessorNotFound", message))));
    };
    let compiled = &content.compiled;
    let pinned = status.specification_digest.map(Digest::from);
    let outdated = match (pinned, specification) {
        (Some(pinned), Some(text)) if pinned != text.digest => {
            let old = ctx.document_cache.specification_of(tenant, &pinned).await?;
            compile::effect(old.as_deref().map(|text| &text.parsed.model), &text.parsed.model, compiled).tasks
        }
        _ => BTreeSet::new(),
    };
    let children = ctx.index.children(&observed.namespace, &plan.uid().unwrap_or_default());
    let (mut finished, mut stale, mut lines) = (KeptWork::new(), BTreeSet::new(), String::new());
    for (i, (task, object)) in compiled.tasks.iter().zip(&compiled.names).enumerate() {
        let (entry, is_stale) = (children.tasks.get(object).map(AsRef::as_ref), outdated.contains(&i));
        lines.push_str(&format!("{}: {}\n", task.id, state(entry, is_stale)));
        if let Some(entry) = entry.filter(|entry| entry.phase == TaskPhase::Succeeded) {
            finished.insert(task.id.clone(), Kept { work: entry.work.clone(), outputs: entry.outputs.clone() });
            stale.extend(is_stale.then(|| task.id.clone()));
        }
    }
    let document = markdown(&compiled.tasks);
    let waits = (!status.phase.is_finished()).then(|| waiting(name));
    Ok(Some(Ok(Predecessor { tasks: content.compiled.tasks, finished, stale, document, states: lines, waits })))
}

/// Checks that a plan can be replaced.
fn check(observed: &Observed, name: &str, found: Option<Arc<Plan>>) -> Result<Arc<Plan>, Readiness> {
    let Some(plan) = found else {
        let message = format!(
            "there is no Plan {name} in this namespace, which spec.replaces names; correct the name, or remove spec.replaces"
        );
        return Err(Readiness::reconciling("PredecessorNotFound", message));
    };
    if plan.status.as_ref().is_none_or(|status| status.started_at.is_none()) {
        let message = format!("Plan {name}, which spec.replaces names, has not started; change that Plan instead");
        return Err(Readiness::stalled(WAITING, message));
    }
    let repository = |plan: &Plan| plan.spec.workspace.as_ref().map(|workspace| workspace.url.clone());
    if repository(&plan) != repository(&observed.plan) {
        let message = format!(
            "spec.workspace.url is not that of Plan {name}, whose work is kept (spec.replaces); use the same repository, or remove \
             spec.replaces"
        );
        return Err(Readiness::stalled("InvalidWorkspace", message));
    }
    Ok(plan)
}

fn waiting(name: &str) -> Readiness {
    let message = format!(
        "Plan {name}, which this plan replaces, has not ended; wait, or end it with `kubectl enact cancel {name}`, which keeps its finished \
         tasks"
    );
    Readiness::reconciling(WAITING, message)
}

/// Returns what became of a task, for a planner.
fn state(entry: Option<&TaskEntry>, is_stale: bool) -> String {
    match entry.map(|entry| (entry.phase, &entry.failure)) {
        Some((TaskPhase::Succeeded, _)) if is_stale => "finished for an older specification; it runs again".into(),
        Some((TaskPhase::Succeeded, _)) => "finished".into(),
        Some((TaskPhase::Failed | TaskPhase::Unknown, Some((reason, message)))) => {
            format!("failed ({reason}): {}", truncated(&one_line(message), MAX_FAILURE))
        }
        Some((TaskPhase::Running, _)) => "running".into(),
        _ => "open".into(),
    }
}

#[cfg(test)]
mod tests;
