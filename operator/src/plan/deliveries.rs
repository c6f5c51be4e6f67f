//! Results that arrive before their pods end, and what contradicts them afterwards.

use std::collections::HashSet;
use std::sync::Arc;

use enact_crds::Task;
use enact_domain::attempt::{AttemptState, PodPhase, classify};
use enact_domain::delivery::{contradiction, is_final};
use enact_domain::plan::{Action, CurrentAttempt};
use enact_domain::record::{ACTOR, Event, Record};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::EventType;
use serde_json::json;

use super::attempt_pods;
use super::context::Context;
use super::decide::Decided;
use super::observed::Observed;
use super::runtime::{DeliveredEnd, FollowUp, OpenAttempt, OpenAttempts};
use crate::error::Error;
use crate::index::PodEntry;
use crate::patch::FIELD_MANAGER;

/// Reason of the Event about a contradicted result.
const CONTRADICTED: &str = "ResultContradicted";

/// Reads the results of which the server has notified the operator, and reports what contradicts results: other deliveries, and the ends of
/// the pods whose attempts have ended before. Returns what changes about the attempts.
///
/// # Errors
/// When the record or the API server fails. A repetition reports the same again.
pub async fn follow_up(ctx: &Context, observed: &Observed, known: &OpenAttempts) -> Result<FollowUp, Error> {
    let notices = &observed.children.deliveries;
    let mut found = FollowUp::default();
    let Some(member) = observed.member.as_ref().filter(|_| !notices.is_empty() || !known.delivered.is_empty()) else {
        return Ok(found);
    };
    if !notices.is_empty() {
        let about: Vec<(String, u32)> = notices.keys().cloned().collect();
        for delivery in ctx.record_store.deliveries(&member.tenant, &about).await? {
            if let Some(text) = &delivery.contradiction {
                show(ctx, observed, &delivery.subject_uid, delivery.number, text).await?;
            }
            if let Some(report) = delivery.report {
                found.results.entry(delivery.subject_uid).or_default().push((delivery.number, report));
            }
        }
    }
    found.ended = check_pods(ctx, observed, &member.tenant, known).await?;
    // After everything that can fail, which must not lose a notice.
    ctx.index.forget_deliveries(&observed.namespace, &observed.uid, notices);
    Ok(found)
}

/// Compares the pods that have ended with the results with which their attempts ended before. Returns the UIDs of these pods, and of those
/// that are gone.
async fn check_pods(
    ctx: &Context,
    observed: &Observed,
    tenant: &str,
    known: &OpenAttempts,
) -> Result<Vec<String>, Error> {
    let mut ended = Vec::new();
    if known.delivered.is_empty() {
        return Ok(ended);
    }
    let pods = attempt_pods::by_uid(observed);
    for (uid, end) in &known.delivered {
        // A pod that is gone says nothing more.
        let Some(pod) = pods.get(uid.as_str()).copied() else {
            ended.push(uid.clone());
            continue;
        };
        let state = classify(&pod.view);
        // A pod that is deleted, for example with its finished plan, may be killed.
        let contradiction = contradiction(&end.report, &state).filter(|_| pod.view.deleting.is_none());
        let (AttemptState::Succeeded(report) | AttemptState::Failed { report, .. }) = state else { continue };
        if let Some(text) = contradiction {
            let event = Event::ResultContradicted {
                plan_uid: observed.uid.clone(),
                number: end.number,
                message: text.clone(),
                report,
            };
            let (tenant, subject, at) = (tenant.to_owned(), end.subject.clone(), observed.now);
            ctx.record(vec![Record { tenant, subject, at, actor: ACTOR.into(), event }]).await?;
            show(ctx, observed, &end.subject.uid, end.number, &text).await?;
        }
        ended.push(uid.clone());
    }
    Ok(ended)
}

/// Shows people what contradicts the result of an attempt: in an Event of the plan, and in the status of the task.
async fn show(ctx: &Context, observed: &Observed, subject_uid: &str, number: u32, text: &str) -> Result<(), Error> {
    let task = observed.children.tasks.iter().find(|(_, task)| task.uid == subject_uid);
    let shown = format!("attempt {number}: {text}");
    if task.is_some_and(|(_, task)| task.contradiction.as_ref() == Some(&shown)) {
        return Ok(());
    }
    let subject = task.map_or("the integration", |(name, _)| name.as_str());
    let note = format!("attempt {number} of {subject}: {text}; its result stays, see the audit log");
    ctx.event(observed.plan.as_ref(), EventType::Warning, CONTRADICTED, note).await;
    let Some((name, task)) = task else { return Ok(()) };
    let tasks: Api<Task> = Api::namespaced(ctx.client.clone(), &observed.namespace);
    // With the UID, the API server refuses the patch if a Task of the same name was created meanwhile.
    let patch = json!({ "metadata": { "uid": task.uid }, "status": { "contradiction": shown } });
    ctx.metrics.wrote("patch", "Task");
    match tasks.patch_status(name, &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch)).await {
        Ok(changed) => ctx.index.put_task(&changed),
        Err(kube::Error::Api(e)) if matches!(e.code, 404 | 409) => {}
        Err(e) => return Err(Error::kube(format!("patch the status of Task {name}"))(e)),
    }
    Ok(())
}

/// Frees the slots of pods whose runners have delivered a final result: they do no more work, and end by themselves.
pub fn free_slots(ctx: &Context, observed: &Observed, attempts: &OpenAttempts) {
    let is_over = |open: &&Arc<OpenAttempt>| open.delivered && open.result.as_ref().is_some_and(is_final);
    let over: HashSet<&str> =
        attempts.by_series.values().filter(is_over).filter_map(|open| open.pod_uid.as_deref()).collect();
    if over.is_empty() {
        return;
    }
    for (name, pod) in observed.children.pods.iter().filter(|(_, pod)| over.contains(pod.uid.as_str())) {
        // In this order: the watch, which counts the slots, must not count the pod again.
        if ctx.index.end_pod(&observed.namespace, &observed.uid, name, &pod.uid)
            && let Some(tenant) = ctx.limiter.release(&observed.namespace, name)
            && pod.agent.is_some()
        {
            ctx.wake_waiting_for_agents(&tenant);
        }
    }
}

/// Returns the attempts that a decision ends with a delivered result, by the UIDs of their pods.
pub fn ended(decided: &Decided) -> impl Iterator<Item = (String, Arc<DeliveredEnd>)> {
    decided.decision.actions.iter().filter_map(|action| {
        let Action::End { node, attempt, report, .. } = action else { return None };
        let CurrentAttempt::Pod { delivered: Some(delivered), .. } = &decided.nodes[*node].series_of(*attempt).current
        else {
            return None;
        };
        let (_, pod) = decided.pod(*node, *attempt).filter(|_| is_final(delivered))?;
        let subject = decided.subject(*node)?;
        let end = DeliveredEnd { subject, number: *attempt, report: report.clone() };
        Some((pod.uid.clone(), Arc::new(end)))
    })
}

/// Returns whether pods of the plan still count in the quotas of the namespace although their attempts have ended.
pub fn has_leaving_pods(decided: &Decided) -> bool {
    let leaves =
        |pod: &PodEntry| pod.ended.is_some() && matches!(pod.view.phase, PodPhase::Pending | PodPhase::Running);
    decided.observed.children.pods.values().any(|pod| leaves(pod)) || ended(decided).next().is_some()
}

#[cfg(test)]
mod tests;
