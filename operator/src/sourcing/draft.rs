//! A specification that an agent drafts from a request, with attempts until one delivers a usable document.
//!
//! An attempt counts as soon as its pod is created. The pod of the last attempt stays until the next one starts: its result goes into the
//! next prompt.

use enact_crds::specification::DraftStatus;
use enact_crds::{convert, validation};
use enact_domain::assignment::Report;
use enact_domain::condition::{Progress, Readiness};
use enact_domain::digest::Digest;
use enact_domain::document_job::{DocumentJob, DocumentWork, DraftWork};
use enact_domain::drafting::{self, PreviousAttempt};
use enact_domain::names;
use enact_domain::rules::Program;
use enact_domain::time::Millis;
use enact_domain::waiting::Waiting;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::context::Context;
use super::job_pods::{self, StartResult};
use super::jobs::{JobPod, JobRole, JobState};
use super::sourced::{Drafter, Sourced, Subject, at_work, member, server_url};
use crate::context::Membership;
use crate::documents::constitution_chain::chain_of_reference;
use crate::documents::effective_constitution::{self, EffectiveConstitution};
use crate::error::Error;
use crate::task::pod::{self, Frame, NO_RESOURCES};

/// Seconds after which a running pod is checked although no event arrived.
const WATCH_SECONDS: u32 = 60;
/// Seconds after which an attempt that found no free slot is retried.
const NO_SLOT_SECONDS: u32 = 10;
/// Seconds before the second attempt; doubled each time.
const BACKOFF_SECONDS: u32 = 10;
/// Longest wait between two attempts, in seconds.
const MAX_BACKOFF_SECONDS: u32 = 300;
/// The reason while attempts continue.
const DRAFTING: &str = "Drafting";
/// The reason while the agent cannot be used.
const AGENT_NOT_READY: &str = "AgentNotReady";
/// The reason after the last attempt.
const FAILED: &str = "DraftFailed";

/// One reconcile of a draft.
struct DraftReconcile<'a> {
    ctx: &'a Context,
    subject: &'a Subject,
    drafter: &'a Drafter<'a>,
    member: Membership,
    now: Millis,
    /// The constitution that the document must comply with.
    constitution: EffectiveConstitution,
}

/// Returns the drafted document, and starts pods that draft it while there is none.
///
/// # Errors
/// When the API server or the record store fails.
pub async fn content(ctx: &Context, subject: &Subject, drafter: &Drafter<'_>) -> Result<Sourced, Error> {
    let known = drafter.known.cloned();
    let unchanged = |missing| Sourced { bytes: Err(missing), status: None, draft: known.clone(), requeue_at: None };
    let member = match member(ctx, subject) {
        Ok(member) => member,
        Err(missing) => return Ok(unchanged(missing)),
    };
    let inputs = json!({ "request": drafter.request, "agent": drafter.drafting.agent_ref.name });
    let key = Digest::of_json(&inputs).map_err(|source| Error::Json { what: "a request", source })?.to_string();
    // The state in the status belongs to the request and agent that it was made for. A change of either starts from zero.
    let mut draft = known.clone().filter(|draft| draft.request == key).unwrap_or_default();
    draft.request = key;
    if let Some(digest) = draft.digest.clone() {
        job_pods::delete_all(ctx, subject).await?;
        if let Some(content) = ctx.record_store.content(&member.tenant, &digest.into()).await? {
            return Ok(Sourced { bytes: Ok(content), draft: Some(draft), status: None, requeue_at: None });
        }
        // The record store lost the document: draft it again.
        draft = DraftStatus { request: draft.request, ..DraftStatus::default() };
    }
    let chain = chain_of_reference(ctx, &subject.namespace, drafter.constitution);
    match effective_constitution::load(ctx, &ctx.document_cache, &chain).await? {
        Ok(constitution) => {
            DraftReconcile { ctx, subject, drafter, member, now: ctx.now(), constitution }.resume(draft).await
        }
        // The draft waits for its constitution, even if that one waits for a person.
        Err(blocked) => Ok(unchanged(Readiness { progress: Progress::Reconciling, ..blocked })),
    }
}

impl DraftReconcile<'_> {
    fn max_attempts(&self) -> u32 {
        self.drafter.drafting.max_attempts
    }

    fn pod_name(&self, draft: &DraftStatus, attempt: u32) -> String {
        let seed = format!("{}/{}/{attempt}", self.subject.uid, draft.request);
        names::document_pod_name(&self.subject.name, names::ROLE_DRAFT, &Digest::of_bytes(seed.as_bytes()))
    }

    fn entry(&self, draft: &DraftStatus, attempt: u32) -> Option<JobPod> {
        self.ctx.jobs.get(self.subject, &self.pod_name(draft, attempt))
    }

    async fn resume(&self, mut draft: DraftStatus) -> Result<Sourced, Error> {
        // A crash after the creation of a pod leaves an attempt that the status does not count.
        while self.entry(&draft, draft.attempts + 1).is_some() {
            draft.attempts += 1;
            draft.retry_at = None;
        }
        let attempt = draft.attempts;
        job_pods::delete_others(self.ctx, self.subject, &self.pod_name(&draft, attempt)).await?;
        match self.entry(&draft, attempt) {
            Some(entry) => {
                let (entry, read_again_at) = job_pods::with_setup_failure(self.ctx, self.subject, entry).await;
                match entry.state(self.now) {
                    JobState::Running(wait) => Ok(self.running(draft, wait, read_again_at)),
                    JobState::Finished(outcome) => self.finished(draft, &entry, *outcome).await,
                }
            }
            None if attempt == 0 => self.start(draft, None).await,
            // The pod of the last attempt is gone, so its result is in the status or lost.
            None if attempt >= self.max_attempts() => Ok(Self::failed(draft)),
            None => match self.retry_at(&draft) {
                Some(until) => Ok(self.waiting(draft, until)),
                None => self.start(draft, None).await,
            },
        }
    }

    /// Handles the end of the last attempt.
    async fn finished(
        &self,
        mut draft: DraftStatus,
        entry: &JobPod,
        outcome: Result<Report, String>,
    ) -> Result<Sourced, Error> {
        let (document, problem) = match self.check(outcome).await? {
            Ok((digest, content)) => {
                // The pod stays until the status has the digest: a later reconcile deletes it.
                draft = DraftStatus { digest: Some(digest), problem: None, retry_at: None, ..draft };
                return Ok(Sourced { bytes: Ok(content), status: None, draft: Some(draft), requeue_at: None });
            }
            Err(why) => why,
        };
        let last = draft.attempts >= self.max_attempts();
        let wait = BACKOFF_SECONDS.saturating_mul(1 << (draft.attempts - 1).min(16)).min(MAX_BACKOFF_SECONDS);
        let retry_at = convert::time_not_before(entry.ended_at(self.now).plus_seconds(wait));
        // Compared with the status of the object, which may lag behind `draft` of this reconcile.
        let is_shown = self.drafter.known.is_some_and(|known| {
            known.request == draft.request
                && known.attempts == draft.attempts
                && known.problem.as_ref() == Some(&problem)
        });
        draft.problem = Some(problem);
        // `last` may become false later: a person can raise spec.drafting.maxAttempts.
        draft.retry_at = if last { None } else { draft.retry_at.filter(|_| is_shown).or(Some(retry_at)) };
        match self.retry_at(&draft) {
            _ if last => {
                if is_shown {
                    job_pods::delete_all(self.ctx, self.subject).await?;
                }
                Ok(Self::failed(draft))
            }
            Some(until) => Ok(self.waiting(draft, until)),
            None if is_shown => self.start(draft, document.as_deref()).await,
            // The status shows the problem before the next attempt starts, because the pod that reported it is deleted then.
            None => {
                let now = self.now;
                Ok(self.waiting(draft, now))
            }
        }
    }

    /// Returns the document of an attempt if it is usable, else the text as far as there is one, and the problem.
    async fn check(
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
        Ok(match drafting::validate(&content) {
            Ok(()) => Ok((digest.to_string(), content)),
            Err(why) => Err((String::from_utf8(content).ok(), why)),
        })
    }

    /// Returns when the next attempt may start, if that is in the future.
    fn retry_at(&self, draft: &DraftStatus) -> Option<Millis> {
        draft.retry_at.as_ref().map(convert::millis).filter(|at| self.now < *at)
    }

    /// Starts the next attempt; its prompt contains the document of the last one.
    async fn start(&self, mut draft: DraftStatus, document: Option<&str>) -> Result<Sourced, Error> {
        let attempt = draft.attempts + 1;
        let pod = match self.pod(&draft, attempt, document) {
            Ok(pod) => pod,
            Err(missing) => {
                return Ok(Sourced { bytes: Err(missing), status: None, draft: Some(draft), requeue_at: None });
            }
        };
        let waiting = |why: String, seconds: u32, draft: DraftStatus| Sourced {
            bytes: Err(Readiness::reconciling(DRAFTING, why)),
            status: None,
            draft: Some(draft),
            requeue_at: Some(self.now.plus_seconds(seconds)),
        };
        match job_pods::start(self.ctx, &self.member, JobRole::Draft, &pod).await? {
            StartResult::Started => {
                draft.attempts = attempt;
                draft.retry_at = None;
                Ok(self.running(draft, None, None))
            }
            StartResult::NoSlot => {
                Ok(waiting("the tenant runs its highest number of concurrent drafts".into(), NO_SLOT_SECONDS, draft))
            }
            StartResult::Refused(why) => Ok(waiting(why, WATCH_SECONDS, draft)),
        }
    }

    fn pod(&self, draft: &DraftStatus, attempt: u32, document: Option<&str>) -> Result<Pod, Readiness> {
        let drafting = self.drafter.drafting;
        let name = &drafting.agent_ref.name;
        let Some(agent) = self.ctx.agent(&self.subject.namespace, &self.member.tenant, name) else {
            let why = format!(
                "spec.drafting.agentRef: there is no Agent {name} in this namespace, and the installation shares none of this name; \
                 create it, or correct the name"
            );
            return Err(Readiness::reconciling("AgentNotFound", why));
        };
        let failed = |why: String| Readiness::stalled(FAILED, why);
        let image_problem = self.member.image_problem(&agent, &self.subject.namespace);
        if let Some(error) = validation::agent(&agent.spec).into_iter().chain(image_problem).next() {
            let why = format!("spec.drafting.agentRef: Agent {name}: {error}");
            return Err(Readiness::stalled(AGENT_NOT_READY, why));
        }
        if let Some((index, problem)) = self.ctx.model_problem(&agent, &self.member.tenant) {
            let why = format!("spec.drafting.agentRef: Agent {name}: spec.models[{index}]: {problem}");
            return Err(Readiness::reconciling(AGENT_NOT_READY, why));
        }
        let gateway_url = self.ctx.config.gateway_url.as_deref();
        let mut job = DocumentJob {
            subject_uid: self.subject.uid.clone(),
            server_url: server_url(self.ctx).map_err(failed)?,
            work: DocumentWork::Draft(DraftWork {
                name: self.subject.name.clone(),
                attempt,
                prompt: self.prompt(draft, document),
                adapter: pod::adapter(name, &agent.spec, None, gateway_url, drafting.timeout_seconds)
                    .map_err(failed)?,
                agent: name.clone(),
            }),
        };
        let mut assignment = pod::document_job_json(&job);
        // An assignment has a size limit: leave the last document out when it does not fit.
        if let (Err(_), DocumentWork::Draft(work)) = (&assignment, &mut job.work) {
            work.prompt = self.prompt(draft, None);
            assignment = pod::document_job_json(&job);
        }
        let frame = Frame {
            config: &self.ctx.config,
            member: &self.member,
            name: self.pod_name(draft, attempt),
            namespace: self.subject.namespace.clone(),
            labels: vec![
                (names::LABEL_ROLE, JobRole::Draft.as_str().to_owned()),
                (names::LABEL_ATTEMPT, attempt.to_string()),
            ],
            agent: pod::uses_gateway(&self.ctx.config, &agent.spec).then(|| name.clone()),
            uses_gateway: pod::uses_gateway(&self.ctx.config, &agent.spec),
            repository: None,
            owner: self.subject.owner.clone(),
            assignment: assignment.map_err(|report| failed(report.message))?,
            timeout_seconds: drafting.timeout_seconds,
            resources: [&NO_RESOURCES, &agent.spec.resources, &NO_RESOURCES],
            default_resources: pod::DefaultResources::of(agent.spec.adapter),
        };
        Ok(pod::for_agent(&frame, JobRole::Draft.as_str(), &agent.spec, None))
    }

    fn prompt(&self, draft: &DraftStatus, document: Option<&str>) -> String {
        let previous = draft.problem.as_deref().map(|problem| PreviousAttempt { problem, document });
        let constitutions: Vec<_> = self.constitution.texts.iter().map(|text| &text.parsed.model).collect();
        let rules: Vec<_> = self.constitution.programs.iter().map(Program::rule).collect();
        let effective = drafting::EffectiveConstitution { constitutions: &constitutions, rules: &rules };
        drafting::prompt(self.drafter.request, effective, previous)
    }

    /// Returns the result while a pod works. `again_at` is the time of another look at a pod that does not start.
    fn running(&self, draft: DraftStatus, wait: Option<Waiting>, again_at: Option<Millis>) -> Sourced {
        let agent = &self.drafter.drafting.agent_ref.name;
        let message =
            format!("Agent {agent} drafts the document (attempt {} of {})", draft.attempts, self.max_attempts());
        let requeue_at = again_at.into_iter().chain([self.now.plus_seconds(WATCH_SECONDS)]).min();
        let bytes = Err(at_work(DRAFTING, &message, wait));
        Sourced { bytes, status: None, draft: Some(draft), requeue_at }
    }

    fn waiting(&self, draft: DraftStatus, until: Millis) -> Sourced {
        let problem = draft.problem.as_deref().unwrap_or_default();
        let message = format!(
            "attempt {} of {} delivered no usable document; another attempt follows: {problem}",
            draft.attempts,
            self.max_attempts()
        );
        Sourced {
            bytes: Err(Readiness::reconciling(DRAFTING, message)),
            status: None,
            draft: Some(draft),
            requeue_at: Some(until),
        }
    }

    fn failed(draft: DraftStatus) -> Sourced {
        let problem = draft.problem.as_deref().unwrap_or("the pod was deleted before the operator read its result");
        let message = format!(
            "{} attempts delivered no usable document; change spec.request, raise spec.drafting.maxAttempts, or set spec.source. \
             The last problem: {problem}",
            draft.attempts
        );
        Sourced { bytes: Err(Readiness::stalled(FAILED, message)), status: None, draft: Some(draft), requeue_at: None }
    }
}
