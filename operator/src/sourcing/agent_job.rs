//! A document that an agent writes, with attempts until one delivers a usable document.
//!
//! An attempt counts as soon as its pod is created. The pod of the last attempt stays until the next one starts: its result goes into the
//! next prompt. Only the pod that this process created for the attempt, or whose UID the status has, delivers a result.

use std::sync::Arc;

use enact_crds::plan::Workspace;
use enact_crds::specification::DraftStatus;
use enact_crds::{Agent, convert, validation};
use enact_domain::assignment::Report;
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::document_job::{DocumentJob, DocumentWork, DraftWork};
use enact_domain::drafting::PreviousAttempt;
use enact_domain::names;
use enact_domain::time::Millis;
use enact_domain::waiting::Waiting;
use enact_domain::warm_pool::Prefetch;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::context::Context;
use super::job_pods::{self, StartResult};
use super::jobs::{JobPod, JobRole, JobState};
use super::sourced::{Subject, server_url};
use crate::context::Membership;
use crate::error::Error;
use crate::pods;
use crate::task::pod::{self, Frame, NO_RESOURCES};

/// Seconds after which a running pod is checked although no event arrived.
const WATCH_SECONDS: u32 = 60;
/// Seconds after which an attempt that found no free slot is retried.
const NO_SLOT_SECONDS: u32 = 10;
/// Seconds before the second attempt; doubled each time.
const BACKOFF_SECONDS: u32 = 10;
/// Longest wait between two attempts, in seconds.
const MAX_BACKOFF_SECONDS: u32 = 300;
/// The reason while the agent cannot be used.
const AGENT_NOT_READY: &str = "AgentNotReady";

/// One reconcile of a document that an agent writes.
pub struct AgentJob<'a> {
    pub ctx: &'a Context,
    pub subject: &'a Subject,
    pub member: &'a Membership,
    pub now: Millis,
    pub agent: &'a str,
    /// Path of the field that names the agent.
    pub field: String,
    pub max_attempts: u32,
    pub timeout_seconds: u32,
    /// The repository that the agent may read.
    pub workspace: Option<&'a Workspace>,
    /// The state in the status of the object.
    pub known: Option<&'a DraftStatus>,
    /// Why no attempt of an agent that uses models may start; those that run continue.
    pub hold: Option<&'a Readiness>,
    /// The reason of the object if the job cannot be started.
    pub failed: &'static str,
    /// Returns the prompt of an attempt after a previous one.
    pub prompt: &'a (dyn Fn(Option<PreviousAttempt<'_>>) -> String + Sync),
    /// Returns why a document is not usable.
    pub check: &'a (dyn Fn(&[u8]) -> Result<(), String> + Sync),
}

/// The state after a reconcile.
pub struct Advanced {
    pub draft: DraftStatus,
    pub step: Step,
    /// Time of the next reconcile if no event arrives earlier.
    pub requeue_at: Option<Millis>,
}

/// What happens with a document that an agent writes.
pub enum Step {
    /// The document is usable. Its pod stays until the status has the digest.
    Delivered(Vec<u8>),
    /// The pod of an attempt runs, or waits for this.
    Running(Option<Waiting>),
    /// The last attempt delivered no usable document, and another one follows.
    Retrying,
    /// The next attempt waits, for this reason.
    Waiting(String),
    /// The last attempt delivered no usable document.
    Failed,
    /// The agent cannot be used, or no attempt may start.
    Blocked(Readiness),
}

/// Returns the UID of the pod of the last attempt at a document of `subject`, if it exists.
pub fn pod_uid(ctx: &Context, subject: &Subject, draft: &DraftStatus) -> Option<String> {
    entry(ctx, subject, draft, draft.attempts).map(|entry| entry.uid)
}

fn pod_of(subject: &Subject, draft: &DraftStatus, attempt: u32) -> String {
    let seed = format!("{}/{}/{attempt}", subject.uid, draft.request);
    names::document_pod_name(&subject.name, names::ROLE_DRAFT, &Digest::of_bytes(seed.as_bytes()))
}

fn entry(ctx: &Context, subject: &Subject, draft: &DraftStatus, attempt: u32) -> Option<JobPod> {
    ctx.jobs.get(subject, &pod_of(subject, draft, attempt), draft.pod_uid.as_deref())
}

/// Counts attempts that the status does not count: a status that could not be written after the creation of a pod leaves one. After a
/// restart of the operator, such a pod is deleted, and its attempt starts again.
pub fn adopt(ctx: &Context, subject: &Subject, mut draft: DraftStatus) -> DraftStatus {
    while let Some(entry) = entry(ctx, subject, &draft, draft.attempts + 1) {
        draft.attempts += 1;
        draft.pod_uid = Some(entry.uid);
        draft.retry_at = None;
        let authors = ctx.jobs.authors(subject, &pod_of(subject, &draft, draft.attempts));
        add_authors(&mut draft, authors);
    }
    draft
}

/// Adds who had changed the Agent of an attempt, and the ModelProviders of the Agent, last when its pod was created. Those of earlier attempts
/// stay: the prompt has their document.
fn add_authors(draft: &mut DraftStatus, authors: Vec<String>) {
    for author in authors {
        if !draft.authors.contains(&author) {
            draft.authors.push(author);
        }
    }
}

impl AgentJob<'_> {
    fn pod_of(&self, draft: &DraftStatus, attempt: u32) -> String {
        pod_of(self.subject, draft, attempt)
    }

    fn entry(&self, draft: &DraftStatus, attempt: u32) -> Option<JobPod> {
        entry(self.ctx, self.subject, draft, attempt)
    }

    /// Reads the result of the last attempt, and starts the next one when it is due.
    ///
    /// # Errors
    /// When the API server or the record store fails.
    pub async fn advance(&self, draft: DraftStatus) -> Result<Advanced, Error> {
        let attempt = draft.attempts;
        match self.entry(&draft, attempt) {
            Some(entry) => {
                let (entry, read_again_at) = job_pods::with_setup_failure(self.ctx, self.subject, entry).await;
                match entry.state(self.now) {
                    JobState::Running(wait) => Ok(self.running(draft, wait, read_again_at)),
                    JobState::Finished(outcome) => self.finished(draft, &entry, *outcome).await,
                }
            }
            None if attempt == 0 => Box::pin(self.start(draft, None)).await,
            // The pod of the last attempt is gone, so its result is in the status or lost.
            None if attempt >= self.max_attempts => Ok(Self::after(draft, Step::Failed, None)),
            None => match self.retry_at(&draft) {
                Some(until) => Ok(Self::after(draft, Step::Retrying, Some(until))),
                None => Box::pin(self.start(draft, None)).await,
            },
        }
    }

    /// Handles the end of the last attempt.
    async fn finished(
        &self,
        mut draft: DraftStatus,
        entry: &JobPod,
        outcome: Result<Report, String>,
    ) -> Result<Advanced, Error> {
        let (document, problem) = match self.read(outcome).await? {
            Ok((digest, content)) => {
                // The pod stays until the status has the digest: a later reconcile deletes it.
                draft = DraftStatus { digest: Some(digest), problem: None, retry_at: None, ..draft };
                return Ok(Self::after(draft, Step::Delivered(content), None));
            }
            Err(why) => why,
        };
        let last = draft.attempts >= self.max_attempts;
        let wait = BACKOFF_SECONDS.saturating_mul(1 << (draft.attempts - 1).min(16)).min(MAX_BACKOFF_SECONDS);
        let retry_at = convert::time_not_before(entry.ended_at(self.now).plus_seconds(wait));
        // Compared with the status of the object, which may lag behind `draft` of this reconcile.
        let is_shown = self.known.is_some_and(|known| {
            known.request == draft.request
                && known.attempts == draft.attempts
                && known.problem.as_ref() == Some(&problem)
        });
        draft.problem = Some(problem);
        // `last` may become false later: a person can raise maxAttempts.
        draft.retry_at = if last { None } else { draft.retry_at.filter(|_| is_shown).or(Some(retry_at)) };
        match self.retry_at(&draft) {
            _ if last => {
                if is_shown {
                    let name = self.pod_of(&draft, draft.attempts);
                    pods::delete(self.ctx, &self.subject.namespace, &name, &entry.uid).await?;
                }
                Ok(Self::after(draft, Step::Failed, None))
            }
            Some(until) => Ok(Self::after(draft, Step::Retrying, Some(until))),
            None if is_shown => Box::pin(self.start(draft, document.as_deref())).await,
            // The status shows the problem before the next attempt starts, because the pod that reported it is deleted then.
            None => Ok(Self::after(draft, Step::Retrying, Some(self.now))),
        }
    }

    /// Returns the document of an attempt if it is usable, else the text as far as there is one, and the problem.
    async fn read(
        &self,
        outcome: Result<Report, String>,
    ) -> Result<Result<(String, Vec<u8>), (Option<String>, String)>, Error> {
        let report = match outcome {
            Ok(report) => report,
            Err(why) => return Ok(Err((None, why))),
        };
        let Some(digest) = report.document else { return Ok(Err((None, "the pod delivered no document".into()))) };
        let Some(content) = self.ctx.record_store.content(&self.member.tenant, &digest).await? else {
            return Ok(Err((None, "the record store does not hold the document that the pod delivered".into())));
        };
        Ok(match (self.check)(&content) {
            Ok(()) => Ok((digest.to_string(), content)),
            Err(why) => Err((String::from_utf8(content).ok(), why)),
        })
    }

    /// Returns when the next attempt may start, if that is in the future.
    fn retry_at(&self, draft: &DraftStatus) -> Option<Millis> {
        draft.retry_at.as_ref().map(convert::millis).filter(|at| self.now < *at)
    }

    /// Starts the next attempt; its prompt contains the document of the last one.
    async fn start(&self, mut draft: DraftStatus, document: Option<&str>) -> Result<Advanced, Error> {
        let attempt = draft.attempts + 1;
        let agent_and_pod = self.agent().and_then(|agent| {
            let pod = self.pod(&agent, &draft, attempt, document)?;
            Ok((agent, pod))
        });
        let (agent, pod) = match agent_and_pod {
            Ok(found) => found,
            Err(missing) => return Ok(Self::after(draft, Step::Blocked(missing), None)),
        };
        if let Some(hold) = self.hold.filter(|_| agent.spec.uses_models()) {
            return Ok(Self::after(draft, Step::Blocked(hold.clone()), None));
        }
        let author = agent.annotations().get(names::ANNOTATION_AUTHOR).cloned();
        // The server at the URL of a ModelProvider chooses the words of the document.
        let of_providers = self.ctx.provider_authors(&agent, &self.member.tenant);
        let authors: Vec<String> = author.into_iter().chain(of_providers).collect();
        let waiting =
            |draft, why: String, seconds| Self::after(draft, Step::Waiting(why), Some(self.now.plus_seconds(seconds)));
        if agent.spec.suspend {
            // A change of the Agent requeues the object.
            let why = format!("the Agent {} is suspended; set its spec.suspend to false to go on", self.agent);
            return Ok(waiting(draft, why, WATCH_SECONDS));
        }
        match job_pods::start(self.ctx, self.member, JobRole::Draft, &pod, &authors).await? {
            StartResult::Started(uid) => {
                draft.attempts = attempt;
                draft.pod_uid = Some(uid);
                draft.retry_at = None;
                add_authors(&mut draft, authors);
                Ok(self.running(draft, None, None))
            }
            StartResult::NoSlot => {
                let why = "the tenant runs its highest number of concurrent drafts".to_owned();
                Ok(waiting(draft, why, NO_SLOT_SECONDS))
            }
            StartResult::NameTaken => {
                let why = format!("another Pod {} exists and is being deleted", self.pod_of(&draft, attempt));
                Ok(waiting(draft, why, NO_SLOT_SECONDS))
            }
            StartResult::Refused(why) => Ok(waiting(draft, why, WATCH_SECONDS)),
        }
    }

    /// Returns the agent, if it can be used.
    fn agent(&self) -> Result<Arc<Agent>, Readiness> {
        let (name, field) = (self.agent, &self.field);
        let Some(agent) = self.ctx.agent(&self.subject.namespace, &self.member.tenant, name) else {
            let why = format!(
                "{field}: there is no Agent {name} in this namespace, and the installation shares none of this name; \
                 create it, or correct the name"
            );
            return Err(Readiness::reconciling("AgentNotFound", why));
        };
        let image_problem = self.member.image_problem(&agent, &self.subject.namespace);
        if let Some(error) = validation::agent(&agent.spec).into_iter().chain(image_problem).next() {
            return Err(Readiness::stalled(AGENT_NOT_READY, format!("{field}: Agent {name}: {error}")));
        }
        if let Some((index, problem)) = self.ctx.model_problem(&agent, &self.member.tenant) {
            let why = format!("{field}: Agent {name}: spec.models[{index}]: {problem}");
            return Err(Readiness::reconciling(AGENT_NOT_READY, why));
        }
        Ok(agent)
    }

    fn pod(&self, agent: &Agent, draft: &DraftStatus, attempt: u32, document: Option<&str>) -> Result<Pod, Readiness> {
        let failed = |why: String| Readiness::stalled(self.failed, why);
        let gateway_url = self.ctx.config.gateway_url.as_deref();
        let previous = |document| draft.problem.as_deref().map(|problem| PreviousAttempt { problem, document });
        let mut job = DocumentJob {
            subject_uid: self.subject.uid.clone(),
            server_url: server_url(self.ctx).map_err(failed)?,
            work: DocumentWork::Draft(DraftWork {
                name: self.subject.name.clone(),
                attempt,
                prompt: (self.prompt)(previous(document)),
                adapter: pod::adapter(self.agent, &agent.spec, None, gateway_url, self.timeout_seconds)
                    .map_err(failed)?,
                agent: self.agent.to_owned(),
                repository: self.workspace.map(|workspace| workspace.url.clone()),
            }),
        };
        let mut assignment = pod::document_job_json(&job);
        // An assignment has a size limit: leave the last document out when it does not fit.
        if let (Err(_), DocumentWork::Draft(work)) = (&assignment, &mut job.work) {
            work.prompt = (self.prompt)(previous(None));
            assignment = pod::document_job_json(&job);
        }
        let clone = |workspace| self.clone_assignment(workspace).map(|assignment| (workspace, assignment));
        let clone = self.workspace.map(clone).transpose().map_err(failed)?;
        let uses_gateway = pod::uses_gateway(&self.ctx.config, &agent.spec);
        let frame = Frame {
            config: &self.ctx.config,
            member: self.member,
            name: self.pod_of(draft, attempt),
            namespace: self.subject.namespace.clone(),
            labels: vec![
                (names::LABEL_ROLE, JobRole::Draft.as_str().to_owned()),
                (names::LABEL_ATTEMPT, attempt.to_string()),
            ],
            agent: uses_gateway.then(|| self.agent.to_owned()),
            models: None,
            uses_gateway,
            repository: self.workspace.and_then(|workspace| {
                let Workspace { url, credentials_secret_ref, .. } = workspace;
                pod::cached_repository(&self.ctx.config, url, credentials_secret_ref.as_ref())
            }),
            owner: self.subject.owner.clone(),
            assignment: assignment.map_err(|report| failed(report.message))?,
            timeout_seconds: self.timeout_seconds,
            resources: [&NO_RESOURCES, &agent.spec.resources, &NO_RESOURCES],
            default_resources: pod::DefaultResources::of(agent.spec.adapter),
        };
        Ok(pod::for_draft(&frame, &agent.spec, clone))
    }

    /// Returns the assignment of the container that fetches the repository.
    fn clone_assignment(&self, workspace: &Workspace) -> Result<String, String> {
        let job = DocumentJob {
            subject_uid: self.subject.uid.clone(),
            server_url: server_url(self.ctx)?,
            work: DocumentWork::Clone(Prefetch {
                url: workspace.url.clone(),
                revision: workspace.revision.clone(),
                cache_url: self.ctx.config.cache_url.clone(),
            }),
        };
        pod::document_job_json(&job).map_err(|report| report.message)
    }

    /// Returns the result while a pod works. `again_at` is the time of the next check of a pod that does not start.
    fn running(&self, draft: DraftStatus, wait: Option<Waiting>, again_at: Option<Millis>) -> Advanced {
        let requeue_at = again_at.into_iter().chain([self.now.plus_seconds(WATCH_SECONDS)]).min();
        Self::after(draft, Step::Running(wait), requeue_at)
    }

    fn after(draft: DraftStatus, step: Step, requeue_at: Option<Millis>) -> Advanced {
        Advanced { draft, step, requeue_at }
    }
}
