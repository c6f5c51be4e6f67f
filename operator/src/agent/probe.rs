//! The probe of an Agent: starts its pod, reads its end, and says what it shows.

use std::sync::Arc;
use std::time::Duration;

use enact_crds::agent::{ProbeMode, ProbeStatus};
use enact_crds::agent_run::agent_run;
use enact_crds::{Agent, AgentSpec, convert};
use enact_domain::agents::health::RETRY_SECONDS;
use enact_domain::agents::probe::{self, Known, Next, ProbeJob, TIMEOUT_SECONDS, Verdict};
use enact_domain::assignment::{Reason, Report};
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::time::Millis;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use crate::agent_health::HealthSubject;
use crate::context::Membership;
use crate::error::Error;
use crate::metadata_cache::ObjectKey;
use crate::pods::{self, AttemptPod};
use crate::task::build;
use crate::task::pod::{self, DefaultResources, Frame, NO_RESOURCES};
use crate::watch::restarting;

/// Seconds after which a probe that found all of them running, or an earlier pod of its name, is tried again.
const SLOT_SECONDS: u32 = 10;
/// Seconds after which a running probe is checked although no event arrived.
const CHECK_SECONDS: u32 = 60;

/// The probe of an Agent after a reconcile.
#[derive(Debug, Default)]
pub struct Probed {
    /// The end of the last probe of the present content.
    pub status: Option<ProbeStatus>,
    /// Time of the next decision.
    pub requeue_at: Option<Millis>,
    /// The UID of a pod whose end `status` has. It is deleted when the status is written.
    ended: Option<String>,
}

/// One reconcile of a probe.
struct ProbeReconcile<'a> {
    ctx: &'a Context,
    agent: &'a Agent,
    member: &'a Membership,
    key: ObjectKey,
    /// Digest of what the probe shows something about.
    digest: Digest,
    now: Millis,
}

/// Starts the probe of an Agent if it is needed, and reads its end. The Agent is valid, and its health is loaded.
///
/// # Errors
/// When the API server fails.
pub async fn reconcile(ctx: &Context, agent: &Agent, member: &Membership) -> Result<Probed, Error> {
    if !agent.spec.wants_probe() {
        return Ok(Probed::default());
    }
    let key = (agent.namespace().unwrap_or_default(), agent.name_any());
    let digest = digest(ctx, agent)?;
    let last = agent.status.as_ref().and_then(|status| status.probe.clone());
    let last = last.filter(|last| last.digest == digest.as_str());
    let reconcile = ProbeReconcile { ctx, agent, member, key, digest, now: ctx.now() };
    reconcile.run(last).await
}

/// Deletes the pod of a probe whose end is in the status now.
///
/// # Errors
/// When the API server fails.
pub async fn clean_up(ctx: &Context, agent: &Agent, probed: &Probed) -> Result<(), Error> {
    let Some(uid) = &probed.ended else { return Ok(()) };
    let key = (agent.namespace().unwrap_or_default(), agent.name_any());
    pods::delete(ctx, &key.0, &pod_name(agent), uid).await?;
    ctx.probes.release(&key);
    Ok(())
}

impl Probed {
    /// Returns the probe of an Agent that is not probed now.
    pub fn unchanged(agent: &Agent) -> Self {
        Self { status: agent.status.as_ref().and_then(|status| status.probe.clone()), ..Self::default() }
    }

    /// Returns the readiness of an Agent whose probe fails; none if it does not, or if an attempt could run since.
    pub fn problem(&self, ctx: &Context, agent: &Agent) -> Option<Readiness> {
        let status = self.status.as_ref().filter(|status| probe::is_failing(&known(ctx, agent, Some(*status))))?;
        let reason = reason_of(status);
        let remedy = match reason {
            Reason::CredentialRejected => "replace the key of its ModelProvider",
            Reason::ModelNotFound => "correct spec.models, or the models of the ModelProvider",
            Reason::ImagePullFailed => "correct spec.image, or let the nodes pull it",
            Reason::ContainerConfigError => "create the Secret or ConfigMap that it names",
            Reason::OutOfMemory => "raise spec.resources.memory",
            _ => "correct spec.image, or switch the probe off with `probe: Off`",
        };
        let message = format!(
            "its probe failed with {}: {}; {remedy}. It is probed again after {} minutes, and when its spec changes",
            status.reason,
            status.message,
            RETRY_SECONDS / 60
        );
        Some(Readiness::stalled(probe::condition_reason(reason), message))
    }
}

impl ProbeReconcile<'_> {
    async fn run(&self, last: Option<ProbeStatus>) -> Result<Probed, Error> {
        let next = probe::next(&known(self.ctx, self.agent, last.as_ref()), self.now);
        if !self.ctx.probes.contains(&self.key) {
            match next {
                Next::Nothing => return Ok(Probed { status: last, ..Probed::default() }),
                Next::Wait(at) => return Ok(Probed { status: last, requeue_at: Some(at), ended: None }),
                Next::Start => {}
            }
        }
        let wait = |seconds| Some(self.now.plus_seconds(seconds));
        let name = pod_name(self.agent);
        let api: Api<Pod> = Api::namespaced(self.ctx.client.clone(), &self.key.0);
        let found = api.get_opt(&name).await.map_err(Error::kube(format!("read Pod {name}")))?;
        let owned =
            |pod: &Pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == self.agent.metadata.uid.as_ref());
        match found {
            Some(pod) if !owned(&pod) => {
                self.ctx.probes.release(&self.key);
                Err(Error::Taken { kind: "Pod", name })
            }
            Some(pod) => {
                // A probe that an earlier process started is counted too.
                self.ctx.probes.reserve(&self.key, self.now);
                let pod = AttemptPod::of(&pod)?;
                let (view, uid) = (pod.view(), pod.uid().unwrap_or_default());
                let is_counted = last.as_ref().is_some_and(|last| view.created <= convert::millis(&last.finished_at));
                if is_counted || pod.labels().get(names::LABEL_PROBE).map(String::as_str) != Some(self.content()) {
                    // The process ended before it deleted the pod, or the Agent was changed since it was created.
                    pods::delete(self.ctx, &self.key.0, &name, &uid).await?;
                    self.ctx.probes.release(&self.key);
                    return Ok(Probed { status: last, requeue_at: wait(SLOT_SECONDS), ended: None });
                }
                Ok(match probe::report(&view, self.now) {
                    None => Probed { status: last, requeue_at: wait(CHECK_SECONDS), ended: None },
                    Some(report) => self.ended(&report, uid),
                })
            }
            None if next != Next::Start => {
                self.ctx.probes.release(&self.key);
                let requeue_at = if let Next::Wait(at) = next { Some(at) } else { None };
                Ok(Probed { status: last, requeue_at, ended: None })
            }
            None if !self.ctx.probes.reserve(&self.key, self.now) => {
                Ok(Probed { status: last, requeue_at: wait(SLOT_SECONDS), ended: None })
            }
            None => {
                let started = self.start(&api, &name).await;
                if !matches!(started, Ok(true)) {
                    self.ctx.probes.release(&self.key);
                }
                let seconds = if started? { CHECK_SECONDS } else { probe::DELAY_SECONDS };
                Ok(Probed { status: last, requeue_at: wait(seconds), ended: None })
            }
        }
    }

    fn ended(&self, report: &Report, uid: String) -> Probed {
        let status = ProbeStatus {
            digest: self.digest.to_string(),
            reason: report.reason.as_str().to_owned(),
            message: report.message.clone(),
            finished_at: convert::time(self.now),
        };
        // At once: the decision about the next one follows from the status.
        Probed { status: Some(status), requeue_at: Some(self.now), ended: Some(uid) }
    }

    /// Returns the value of the pod's label that says what is probed.
    fn content(&self) -> &str {
        self.digest.short()
    }

    /// Creates the pod. Returns false if the API server refuses it, for example because of a quota.
    async fn start(&self, api: &Api<Pod>, name: &str) -> Result<bool, Error> {
        let Some(pod) = self.pod(name) else { return Ok(false) };
        self.ctx.metrics.wrote("create", "Pod");
        match api.create(&PostParams::default(), &pod).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(e)) if e.code == 409 => Ok(true),
            Err(kube::Error::Api(e)) if matches!(e.code, 400 | 403 | 422) => {
                tracing::info!(agent = self.key.1, namespace = self.key.0, problem = e.message, "no probe can start");
                Ok(false)
            }
            Err(e) => Err(Error::kube(format!("create Pod {name}"))(e)),
        }
    }

    /// Returns the pod of the probe: like that of an attempt, without a repository. None if the Agent does not fit in a pod.
    fn pod(&self, name: &str) -> Option<Pod> {
        let spec = &self.agent.spec;
        let gateway_url = self.ctx.config.gateway_url.as_deref();
        let run = agent_run(spec, gateway_url, TIMEOUT_SECONDS).ok().flatten()?;
        let uses_gateway = spec.probe == ProbeMode::Model && pod::uses_gateway(&self.ctx.config, spec);
        let job = ProbeJob { agent: self.key.1.clone(), run, model: uses_gateway };
        let frame = Frame {
            config: &self.ctx.config,
            member: self.member,
            name: name.to_owned(),
            namespace: self.key.0.clone(),
            labels: vec![
                (names::LABEL_ROLE, names::ROLE_PROBE.to_owned()),
                (names::LABEL_PROBE, self.content().to_owned()),
                (names::LABEL_ATTEMPT, "1".to_owned()),
            ],
            agent: uses_gateway.then(|| self.key.1.clone()),
            models: None,
            uses_gateway,
            repository: None,
            owner: build::controlled_by(self.agent),
            assignment: pod::probe_json(&job).ok()?,
            timeout_seconds: TIMEOUT_SECONDS,
            resources: [&NO_RESOURCES, &spec.resources, &NO_RESOURCES],
            default_resources: DefaultResources::of(spec.adapter),
        };
        Some(pod::for_agent(&frame, names::ROLE_PROBE, spec, None))
    }
}

/// Returns the digest of what a probe of the Agent shows something about.
fn digest(ctx: &Context, agent: &Agent) -> Result<Digest, Error> {
    let AgentSpec { adapter, image, custom, models, env, mcp_servers, skills, probe, .. } = &agent.spec;
    let image = image.as_deref().or_else(|| ctx.config.image_of(adapter.as_str())).unwrap_or(&ctx.config.agent_image);
    let content = json!({
        "adapter": adapter, "image": image, "custom": custom, "models": models, "env": env,
        "mcpServers": mcp_servers, "skills": skills, "probe": probe,
    });
    Digest::of_json(&content).map_err(|source| Error::Json { what: "an Agent", source })
}

/// Returns the name of the pod of a probe: an Agent has at most one at a time.
fn pod_name(agent: &Agent) -> String {
    let seed = agent.uid().unwrap_or_default();
    names::document_pod_name(&agent.name_any(), names::ROLE_PROBE, &Digest::of_bytes(seed.as_bytes()))
}

fn known(ctx: &Context, agent: &Agent, last: Option<&ProbeStatus>) -> Known {
    let key = (agent.namespace().unwrap_or_default(), agent.name_any());
    let created = agent.creation_timestamp().as_ref().map(convert::millis);
    let probe = last.map(|last| (verdict(last), convert::millis(&last.finished_at)));
    Known {
        probe,
        ran_at: ctx.agent_health.ran_at(&key, agent.metadata.generation),
        started_at: ctx.agent_health.started_at(&key),
        changed: HealthSubject::of(agent).changed.max(created).unwrap_or_default(),
    }
}

fn verdict(status: &ProbeStatus) -> Verdict {
    probe::verdict(reason_of(status))
}

/// Returns the reason in a status. One of another release counts as unclear.
fn reason_of(status: &ProbeStatus) -> Reason {
    serde_json::from_value(json!(status.reason)).unwrap_or(Reason::Lost)
}

/// Requeues Agents when the pods of their probes change, until `shutdown`.
pub async fn follow(ctx: Arc<Context>, shutdown: CancellationToken) {
    let selector = format!("{}={}", names::LABEL_ROLE, names::ROLE_PROBE);
    let config = watcher::Config::default().labels(&selector).page_size(500);
    let stream = watcher(Api::<AttemptPod>::all(ctx.client.clone()), config);
    let events = restarting(stream, "Pod", ctx.common.clone()).take_until(shutdown.cancelled_owned());
    let mut events = Box::pin(events);
    while let Some(event) = events.next().await {
        let (Event::Apply(pod) | Event::InitApply(pod) | Event::Delete(pod)) = &event else { continue };
        let Some(owner) = pod.owner_references().iter().find(|owner| owner.controller == Some(true)) else { continue };
        let key = (pod.namespace().unwrap_or_default(), owner.name.clone());
        if matches!(event, Event::Delete(_)) {
            // Also when its Agent was deleted, which does not reconcile any more.
            ctx.probes.release(&key);
        }
        ctx.references.agents.requeue_key(&key);
    }
}

/// Returns the time until the next reconcile: the earliest of `times`, at most `longest`.
pub fn wait<const N: usize>(now: Millis, times: [Option<Millis>; N], longest: Duration) -> Duration {
    let earliest = times.into_iter().flatten().min();
    earliest.map_or(longest, |at| Duration::from_millis(at.since(now).max(10)).min(longest))
}

#[cfg(test)]
mod tests;
