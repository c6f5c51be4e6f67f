//! Messages: what people send to the agents of tasks is recorded, and then written to the pod of the running attempt, whose runner reads it
//! from a mounted file. An attempt that starts later gets the messages with its assignment.

use enact_domain::agents::message::{self, Message};
use enact_domain::names::ANNOTATION_MESSAGES;
use enact_domain::record::{ACTOR, Event, Kind, Record, Subject};
use enact_domain::time::Millis;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::context::Context;
use super::observed::Observed;
use super::runtime::PassedMessages;
use crate::error::Error;
use crate::index::TaskEntry;
use crate::patch::FIELD_MANAGER;

/// Records new messages and writes them to running pods. Returns what is passed now; `passed` is the result of the last call. A repetition
/// has no effect.
///
/// # Errors
/// When the record cannot be written, or the API server refuses a pod's annotation.
pub async fn pass(
    ctx: &Context,
    observed: &Observed,
    tenant: &str,
    passed: &PassedMessages,
) -> Result<PassedMessages, Error> {
    let mut now = PassedMessages::default();
    let (mut records, mut pods) = (Vec::new(), Vec::new());
    for (name, task) in observed.children.tasks.iter().filter(|(_, task)| !task.messages.is_empty()) {
        let running = running_pods(observed, name, task);
        let state = (message::last_id(&task.messages), running.clone());
        if passed.0.get(&task.uid) != Some(&state) {
            records.extend(task.messages.iter().map(|message| record(observed, tenant, name, task, message)));
            pods.extend(running.into_iter().map(|pod| (pod, message::format(&task.messages))));
        }
        now.0.insert(task.uid.clone(), state);
    }
    if !records.is_empty() {
        ctx.record(records).await?;
    }
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &observed.namespace);
    for (pod, annotation) in pods {
        ctx.metrics.wrote("patch", "Pod");
        let patch = json!({ "metadata": { "annotations": { ANNOTATION_MESSAGES: annotation } } });
        match api.patch_metadata(&pod, &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch)).await {
            Ok(_) => {}
            // The pod has ended meanwhile. The next attempt gets the messages.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(Error::kube(format!("write messages to pod {pod}"))(error)),
        }
    }
    Ok(now)
}

/// Returns the pods of the task that have not ended, by their attempts: of competing attempts all, otherwise the newest.
fn running_pods(observed: &Observed, name: &str, task: &TaskEntry) -> Vec<String> {
    let running = observed.children.pods.iter().filter(|(_, pod)| pod.task == name && pod.ended.is_none());
    let mut running: Vec<(u32, &String)> = running.map(|(name, pod)| (pod.attempt, name)).collect();
    running.sort_unstable();
    let from = if task.contest.is_some() { 0 } else { running.len().saturating_sub(1) };
    running[from..].iter().map(|(_, name)| (*name).clone()).collect()
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
