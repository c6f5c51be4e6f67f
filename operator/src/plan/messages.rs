//! Messages: what people send to the agents of tasks is recorded, and then written to the pod of the running attempt, whose runner reads it
//! from a mounted file. An attempt that starts later gets the messages with its assignment.

use enact_domain::agents::message::{self, Message};
use enact_domain::names::ANNOTATION_MESSAGES;
use enact_domain::record::{ACTOR, Event, Kind, Record, Subject};
use enact_domain::time::Millis;
use enact_service::api_server;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::EventType;
use serde_json::json;

use super::context::Context;
use super::observed::Observed;
use super::runtime::{OpenAttempts, Passed, PassedMessages};
use crate::error::Error;
use crate::index::{PodEntry, TaskEntry};
use crate::patch::FIELD_MANAGER;

/// Reason of the Event about messages that a pod does not get.
const NOT_DELIVERED: &str = "MessageNotDelivered";
/// Seconds after which they are written again.
const RETRY_SECONDS: u32 = 30;

/// Records new messages and writes them to the pods of open attempts. Returns what is passed now; `passed` is the result of the last call. A
/// repetition has no effect. A pod that cannot be written prevents nothing else: an Event of the plan names it, and it is written again later.
///
/// # Errors
/// When the record cannot be written.
pub async fn pass(
    ctx: &Context,
    observed: &Observed,
    tenant: &str,
    attempts: &OpenAttempts,
    passed: &PassedMessages,
) -> Result<PassedMessages, Error> {
    let mut now = PassedMessages::default();
    let (mut records, mut writes) = (Vec::new(), Vec::new());
    for (name, task) in observed.children.tasks.iter().filter(|(_, task)| !task.messages.is_empty()) {
        let running = running_pods(observed, attempts, task);
        let newest = message::last_id(&task.messages);
        let pods: Vec<String> = running.iter().map(|(_, uid)| (*uid).to_owned()).collect();
        let known = passed.0.get(&task.uid).filter(|known| known.newest == newest && known.pods == pods);
        let retry_at = known.and_then(|known| known.retry_at).filter(|at| observed.now < *at);
        if known.is_none_or(|known| known.retry_at != retry_at) {
            records.extend(task.messages.iter().map(|message| record(observed, tenant, name, task, message)));
            writes.extend(running.into_iter().map(|pod| (task, pod)));
        }
        now.0.insert(task.uid.clone(), Passed { newest, pods, retry_at });
    }
    if !records.is_empty() {
        ctx.record(records).await?;
    }
    for (task, (pod, uid)) in writes {
        if let Err(error) = write(ctx, observed, task, pod, uid).await {
            let note = format!(
                "pod {pod} does not get its messages: {}; they are written again in {RETRY_SECONDS} seconds, and the next attempt of the \
                 task gets them in any case",
                api_server::message(&error)
            );
            ctx.event(observed.plan.as_ref(), EventType::Warning, NOT_DELIVERED, note).await;
            if let Some(passed) = now.0.get_mut(&task.uid) {
                passed.retry_at = Some(observed.now.plus_seconds(RETRY_SECONDS));
            }
        }
    }
    Ok(now)
}

/// Writes the messages to a task into the annotation of a pod.
async fn write(ctx: &Context, observed: &Observed, task: &TaskEntry, pod: &str, uid: &str) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &observed.namespace);
    ctx.metrics.wrote("patch", "Pod");
    let annotations = json!({ ANNOTATION_MESSAGES: message::format(&task.messages) });
    // With the UID, the API server refuses the patch if the pod is another one of the same name.
    let patch = json!({ "metadata": { "uid": uid, "annotations": annotations } });
    match api.patch_metadata(pod, &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        // The pod is gone. The next attempt gets the messages.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns names and UIDs of the pods of the task's open attempts that have not ended. Pods that only have its labels may be anybody's.
fn running_pods<'a>(observed: &'a Observed, attempts: &OpenAttempts, task: &TaskEntry) -> Vec<(&'a str, &'a str)> {
    let own = attempts.by_series.values().filter(|open| open.subject_uid == task.uid);
    let own: Vec<&str> = own.filter_map(|open| open.pod_uid.as_deref()).collect();
    let runs = |pod: &PodEntry| pod.ended.is_none() && own.contains(&pod.uid.as_str());
    let running = observed.children.pods.iter().filter(|(_, pod)| runs(pod));
    let mut running: Vec<_> = running.map(|(name, pod)| (name.as_str(), pod.uid.as_str())).collect();
    running.sort_unstable();
    running
}

fn record(observed: &Observed, tenant: &str, name: &str, task: &TaskEntry, message: &Message) -> Record {
    let subject = Subject {
        kind: Kind::Task,
        namespace: observed.namespace.clone(),
        name: name.to_owned(),
        uid: task.uid.clone(),
    };
    let sent = message.at.as_deref().and_then(|at| at.parse::<Timestamp>().ok()).map(|at| Millis(at.as_millisecond()));
    Record {
        tenant: tenant.to_owned(),
        subject,
        at: sent.unwrap_or(observed.now),
        // Written by the webhook; without it, the author is unknown.
        actor: message.by.clone().unwrap_or_else(|| ACTOR.into()),
        event: Event::Message { plan_uid: observed.uid.clone(), id: message.id, text: message.text.clone() },
    }
}

#[cfg(test)]
mod tests;
