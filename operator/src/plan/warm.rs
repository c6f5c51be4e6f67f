//! Attempts that get a waiting pod of their agent's warm pool instead of a pod of their own.

use std::collections::HashMap;
use std::sync::Arc;

use enact_crds::{Agent, agent_content, convert};
use enact_domain::assignment::Report;
use enact_domain::digest::Digest;
use enact_domain::graph::NodeId;
use enact_domain::names;
use enact_domain::time::Millis;
use enact_domain::warm_pool::{Found, MAX_TIMEOUT_SECONDS, Step, deadline_seconds, next_step};
use enact_store::StartedPod;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::assign;
use super::context::Context;
use super::decide::Decided;
use crate::error::Error;
use crate::metadata_cache::{ObjectKey, version};
use crate::patch::FIELD_MANAGER;
use crate::pods::{self, AttemptPod};
use crate::task::{pod, template};
use crate::warm_pool::{Taken, WaitingPod};

/// Most conflicts with other writers of a waiting pod, such as its kubelet, before the reconcile is retried.
const MAX_CONFLICTS: usize = 5;

/// The result of [`assign`].
pub enum Assignment {
    /// The attempt has the pod.
    Done,
    /// The pod can no longer be assigned to this attempt, whoever tries.
    Lost,
    /// The work cannot be put into any pod.
    Refused(Report),
}

/// Takes a waiting pod for each attempt that starts for the first time, where there is one that fits.
pub fn take(ctx: &Context, decided: &Decided) -> HashMap<(NodeId, u32), Taken> {
    let new = decided.starts().filter(|(node, attempt)| *attempt > decided.nodes[*node].series_of(*attempt).attempts);
    new.filter_map(|(node, attempt)| Some(((node, attempt), take_for(ctx, decided, node, attempt)?))).collect()
}

fn take_for(ctx: &Context, decided: &Decided, node: NodeId, attempt: u32) -> Option<Taken> {
    let agent = pooled_agent(ctx, decided, node, attempt)?;
    let (namespace, uid) = (&decided.observed.namespace, agent.uid().unwrap_or_default());
    let template = || {
        // Work that does not fit into a pod ends the attempt later.
        let pod = assign::pod(ctx, decided, node, attempt, String::new()).ok()?;
        // A token of a waiting pod may end before a longer attempt does.
        (time_limit(&pod) <= MAX_TIMEOUT_SECONDS).then(|| template_of(decided, &pod))?.ok()
    };
    // Without free pods, no prompt is rendered for nothing.
    let template = if ctx.warm_pods.has_free(namespace, &uid) { template() } else { None };
    let taken = template.and_then(|template| ctx.warm_pods.take(namespace, &uid, &template, decided.observed.now));
    if taken.is_none() {
        ctx.metrics.warm_pool_attempts.with_label_values(&["none"]).inc();
    }
    taken
}

/// Returns the agent of a task, if it has a warm pool in the namespace of the plan that may serve the plan.
fn pooled_agent<'a>(ctx: &Context, decided: &'a Decided, node: NodeId, attempt: u32) -> Option<&'a Arc<Agent>> {
    node.task()?;
    // Waiting pods get their work from the server.
    ctx.config.server_url.as_ref()?;
    let agent = decided.observed.agents.get(decided.agent(node, attempt))?;
    let has_pool = agent.spec.warm_pool.as_ref().is_some_and(|pool| pool.size > 0);
    // The kubelet updates the volume of a running pod up to minutes after the ConfigMap: somebody could change it, restore what was approved, and
    // a waiting pod would still have what was not. A new pod begins with what the ConfigMap has then.
    if decided.observed.policy.requires_people() && agent_content::config_maps(&agent.spec).next().is_some() {
        return None;
    }
    (has_pool && agent.namespace().as_deref() == Some(&*decided.observed.namespace)).then_some(agent)
}

fn time_limit(pod: &Pod) -> u32 {
    let seconds = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(u32::MAX)
}

fn template_of(decided: &Decided, pod: &Pod) -> Result<Digest, Error> {
    let workspace = decided.observed.plan.spec.workspace.as_ref();
    template::digest(pod, workspace.map(|workspace| workspace.url.as_str()))
}

/// Returns the recorded starts of the attempts that start again, or in whose start a warm pool may be involved.
///
/// The first record of a start counts. It may be of another process, which led before: this one must not give the attempt another pod.
///
/// # Errors
/// When the record cannot be read.
pub async fn recorded_starts(
    ctx: &Context,
    decided: &Decided<'_>,
) -> Result<HashMap<(NodeId, u32), StartedPod>, Error> {
    // The pool of a start that was recorded earlier may have been removed from the Agent since.
    let is_repeated = |node: NodeId, attempt: u32| attempt <= decided.nodes[node].series_of(attempt).attempts;
    let starts = decided.starts().filter(|(node, attempt)| {
        is_repeated(*node, *attempt) || pooled_agent(ctx, decided, *node, *attempt).is_some()
    });
    let starts: Vec<(NodeId, u32, String)> =
        starts.filter_map(|(node, attempt)| Some((node, attempt, decided.subject(node)?.uid))).collect();
    if starts.is_empty() {
        return Ok(HashMap::new());
    }
    let subjects: Vec<String> = starts.iter().map(|(.., uid)| uid.clone()).collect();
    let recorded = ctx.record_store.started_pods(&decided.valid.member.tenant, &subjects).await?;
    let start = |uid: &str, number: u32| {
        let same = |start: &&StartedPod| start.subject_uid == uid && start.number == number;
        recorded.iter().find(same).cloned()
    };
    Ok(starts.into_iter().filter_map(|(node, attempt, uid)| Some(((node, attempt), start(&uid, attempt)?))).collect())
}

/// Assigns the waiting pod that the record names to an attempt. A repetition has no further effect.
///
/// # Errors
/// When the API server fails, or the pod keeps changing.
pub async fn assign(
    ctx: &Context,
    decided: &Decided<'_>,
    node: NodeId,
    attempt: u32,
    recorded: &StartedPod,
) -> Result<Assignment, Error> {
    let name = recorded.pod.as_str();
    let wanted = match assign::pod(ctx, decided, node, attempt, name.to_owned()) {
        Ok(wanted) => wanted,
        Err(report) => return Ok(Assignment::Refused(report)),
    };
    let template = template_of(decided, &wanted)?;
    let mut wanted = Wanted { template, pod: wanted, uid: recorded.pod_uid.as_deref(), refused: false };
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &decided.observed.namespace);
    let mut conflicts = 0;
    loop {
        let existing = api.get_opt(name).await.map_err(Error::kube(format!("read Pod {name}")))?;
        match (next_step(wanted.find(existing.as_ref(), ctx.now())), existing) {
            (Step::Done, Some(existing)) => {
                wanted.begin(ctx, decided, (node, attempt), &existing)?;
                return Ok(Assignment::Done);
            }
            (Step::Discard, Some(existing)) => {
                let entry = AttemptPod::of(&existing)?;
                let uid = existing.uid().unwrap_or_default();
                pods::delete_unchanged(ctx, &decided.observed.namespace, name, &uid, version(&entry)).await?;
            }
            (Step::Assign, Some(existing)) => {
                ctx.metrics.wrote("patch", "Pod");
                let patch = Patch::Merge(wanted.patch(&existing, ctx.now()));
                match api.patch(name, &PatchParams::apply(FIELD_MANAGER), &patch).await {
                    Ok(assigned) => {
                        // Before the Agent is requeued, whose status counts it.
                        ctx.warm_pods.count(&agent_key(decided, node, attempt));
                        wanted.begin(ctx, decided, (node, attempt), &assigned)?;
                        observe(ctx, decided);
                        return Ok(Assignment::Done);
                    }
                    // The kubelet changed its status, or another process assigned it or deleted it: the next read shows which.
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) && conflicts < MAX_CONFLICTS => {
                        conflicts += 1;
                    }
                    // An admission webhook or a limit of the API server: this pod cannot be assigned, but another can be created.
                    Err(kube::Error::Api(status))
                        if matches!(status.code, 400 | 403 | 413 | 422) && !wanted.refused =>
                    {
                        tracing::warn!(pod = name, why = status.message, "a waiting pod cannot be assigned");
                        wanted.refused = true;
                    }
                    Err(error) => return Err(Error::kube(format!("assign Pod {name}"))(error)),
                }
            }
            (Step::Create, _) | (_, None) => {
                ctx.metrics.warm_pool_attempts.with_label_values(&["lost"]).inc();
                return Ok(Assignment::Lost);
            }
        }
    }
}

/// Returns the Agent of an attempt, whose pool is in the namespace of the plan.
fn agent_key(decided: &Decided, node: NodeId, attempt: u32) -> ObjectKey {
    (decided.observed.namespace.clone(), decided.agent(node, attempt).to_owned())
}

/// Counts an assignment, and the time that it took.
fn observe(ctx: &Context, decided: &Decided) {
    let milliseconds = u32::try_from(ctx.now().since(decided.observed.now)).unwrap_or(u32::MAX);
    ctx.metrics.warm_pool_assignment.observe(f64::from(milliseconds) / 1000.0);
    ctx.metrics.warm_pool_attempts.with_label_values(&["assigned"]).inc();
}

/// The pod that an attempt needs.
struct Wanted<'a> {
    /// The pod that the operator would create.
    pod: Pod,
    template: Digest,
    /// UID of the recorded pod. Another pod may have its name.
    uid: Option<&'a str>,
    /// Whether the API server refused to assign the recorded pod.
    refused: bool,
}

impl Wanted<'_> {
    /// Returns what the recorded pod is for the attempt.
    fn find(&self, pod: Option<&Pod>, now: Millis) -> Found {
        let Some(pod) = pod.filter(|pod| pod.metadata.uid.as_deref() == self.uid) else { return Found::Missing };
        let label = |pod: &Pod, key: &str| pod.labels().get(key).cloned();
        if label(pod, names::LABEL_ROLE).as_deref() == Some(names::ROLE_WAITING) {
            if pod.metadata.deletion_timestamp.is_some() {
                return Found::Missing;
            }
            let waiting = AttemptPod::of(pod).ok().and_then(|pod| WaitingPod::of(&pod));
            let is_usable = waiting.is_some_and(|waiting| waiting.pod.is_usable(&self.template, now));
            return Found::Waiting { usable: is_usable && !self.refused };
        }
        let owner = |pod: &Pod| pod.owner_references().first().map(|owner| owner.uid.clone());
        let same = |key: &str| label(pod, key) == label(&self.pod, key);
        if owner(pod) == owner(&self.pod) && same(names::LABEL_TASK) && same(names::LABEL_ATTEMPT) {
            Found::Assigned
        } else {
            Found::Other
        }
    }

    /// Returns the patch that makes a waiting pod the pod of the attempt, if it still has the version of `existing`. From then on its
    /// runner gets the assignment from the server.
    fn patch(&self, existing: &Pod, now: Millis) -> Value {
        let mut annotations = self.pod.metadata.annotations.clone().unwrap_or_default();
        let assignment = pod::assignment_of(&self.pod).unwrap_or_default();
        annotations.insert(names::ANNOTATION_ASSIGNMENT.to_owned(), assignment);
        annotations.insert(names::ANNOTATION_ASSIGNED_AT.to_owned(), now.0.to_string());
        let started = existing.status.as_ref().and_then(|status| status.start_time.as_ref()).map(convert::millis);
        json!({
            "metadata": {
                "uid": existing.metadata.uid,
                "resourceVersion": existing.metadata.resource_version,
                "labels": self.pod.metadata.labels,
                "annotations": annotations,
                "ownerReferences": self.pod.metadata.owner_references,
            },
            "spec": { "activeDeadlineSeconds": deadline_seconds(time_limit(&self.pod), started, now) },
        })
    }

    /// Puts the assigned pod into the caches, and moves the slot of the attempt to its name.
    fn begin(
        &self,
        ctx: &Context,
        decided: &Decided,
        (node, attempt): (NodeId, u32),
        assigned: &Pod,
    ) -> Result<(), Error> {
        let entry = AttemptPod::of(assigned)?;
        // The next reconcile must see the pod even if the watch delivers it late: otherwise the attempt would seem to be lost.
        ctx.index.put_pod(&entry);
        ctx.warm_pods.remove(&entry);
        // The pool needs another pod.
        ctx.references.agents.requeue_key(&agent_key(decided, node, attempt));
        let (tenant, namespace) = (&decided.valid.member.tenant, &decided.observed.namespace);
        let agent = self.pod.annotations().get(names::ANNOTATION_AGENT).map(String::as_str);
        // In this order, so that nobody sees a free slot in between. Of a pod that ended before, no event frees the slot.
        if !entry.has_ended() {
            ctx.limiter.occupy(tenant, namespace, &assigned.name_any(), None, agent);
        }
        ctx.limiter.release(namespace, &decided.pod_name(node, attempt));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
