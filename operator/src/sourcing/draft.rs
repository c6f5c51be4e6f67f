//! A specification that an agent drafts from a request: attempt by attempt, until one gives a document that work can go on with.
//!
//! An attempt counts from the moment that its pod is there; the pod of the last one stays until the next begins, which is shown what was
//! wrong with it.

use enact_crds::convert;
use enact_crds::specification::DraftStatus;
use enact_domain::assignment::Report;
use enact_domain::digest::Digest;
use enact_domain::document_job::{DocumentJob, DocumentWork, DraftWork};
use enact_domain::drafting::{self, PreviousAttempt};
use enact_domain::names;
use enact_domain::rules::Program;
use enact_domain::time::Millis;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::errands::{self, Entry, NONE, Role, Stand, Started};
use super::{Drafter, Missing, Sourced, Subject, member, server};
use crate::context::{Context, Membership, lookup};
use crate::documents::law::{self, Law};
use crate::documents::obstacle::Obstacle;
use crate::documents::specification::bound_by;
use crate::error::Error;
use crate::task::pod::{self, Frame};

/// Seconds after which a pod under way, or a tenant without room, is looked at though nothing was heard of it.
const WATCH_SECONDS: u32 = 60;
const ROOM_SECONDS: u32 = 10;
/// Seconds before the second attempt; doubled each time.
const BACKOFF_SECONDS: u32 = 10;
/// Longest wait between two attempts, in seconds.
const MAX_BACKOFF_SECONDS: u32 = 300;
/// Why there is no document yet.
const DRAFTING: &str = "Drafting";
/// Why there will be none.
const FAILED: &str = "DraftFailed";

/// One reconcile's view of a drafting.
struct Desk<'a> {
    ctx: &'a Context,
    subject: &'a Subject,
    drafter: &'a Drafter<'a>,
    member: Membership,
    now: Millis,
    /// What the document must keep.
    law: Law,
}

/// The document that was drafted, and a pod that drafts it as long as there is none.
///
/// # Errors
/// When the API server or the record fails.
pub async fn content(ctx: &Context, subject: &Subject, drafter: &Drafter<'_>) -> Result<Sourced, Error> {
    let known = drafter.known.cloned();
    let stays = |missing| Sourced { bytes: Err(missing), status: None, draft: known.clone(), wake: None };
    let member = match member(ctx, subject) {
        Ok(member) => member,
        Err(missing) => return Ok(stays(missing)),
    };
    let told = json!({ "request": drafter.request, "agent": drafter.drafting.agent_ref.name });
    let key = Digest::of_json(&told).map_err(|source| Error::Json { what: "a request", source })?.to_string();
    let mut draft = known.clone().filter(|draft| draft.request == key).unwrap_or_default();
    draft.request = key;
    if let Some(digest) = draft.digest.clone() {
        errands::dismiss(ctx, subject, &[]).await?;
        if let Some(content) = ctx.memory.content(&member.tenant, &digest.into()).await? {
            return Ok(Sourced { bytes: Ok(content), draft: Some(draft), ..stays(Missing::Unnamed) });
        }
        // The record lost it.
        draft = DraftStatus { request: draft.request, ..DraftStatus::default() };
    }
    match law::of(ctx, &bound_by(ctx, &subject.namespace, drafter.constitution)).await? {
        Ok(law) => Desk { ctx, subject, drafter, member, now: ctx.now(), law }.go_on(draft).await,
        Err(Obstacle { reason, message, .. }) => Ok(stays(Missing::waiting(reason, message))),
    }
}

impl Desk<'_> {
    fn most(&self) -> u32 {
        self.drafter.drafting.max_attempts
    }

    fn pod_name(&self, draft: &DraftStatus, attempt: u32) -> String {
        let told = format!("{}/{}/{attempt}", self.subject.uid, draft.request);
        names::document_pod_name(&self.subject.name, names::ROLE_DRAFT, &Digest::of_bytes(told.as_bytes()))
    }

    fn entry(&self, draft: &DraftStatus, attempt: u32) -> Option<Entry> {
        self.ctx.errands.get(self.subject, &self.pod_name(draft, attempt))
    }

    async fn go_on(&self, mut draft: DraftStatus) -> Result<Sourced, Error> {
        // A pod that the status does not tell of yet was started all the same.
        while self.entry(&draft, draft.attempts + 1).is_some() {
            draft.attempts += 1;
            draft.retry_at = None;
        }
        let attempt = draft.attempts;
        errands::dismiss(self.ctx, self.subject, &[&self.pod_name(&draft, attempt)]).await?;
        match self.entry(&draft, attempt) {
            Some(entry) => match entry.stand(self.now) {
                Stand::Running(why) => Ok(self.running(draft, why)),
                Stand::Over(outcome) => self.over(draft, &entry, *outcome).await,
            },
            None if attempt == 0 => self.start(draft, None).await,
            None if attempt >= self.most() => Ok(Self::failed(draft)),
            None => match self.waits(&draft) {
                Some(until) => Ok(self.waiting(draft, until)),
                None => self.start(draft, None).await,
            },
        }
    }

    /// Takes in the end of the last attempt.
    async fn over(
        &self,
        mut draft: DraftStatus,
        entry: &Entry,
        outcome: Result<Report, String>,
    ) -> Result<Sourced, Error> {
        let (document, problem) = match self.judge(outcome).await? {
            Ok((digest, content)) => {
                draft = DraftStatus { digest: Some(digest), problem: None, retry_at: None, ..draft };
                return Ok(Sourced { bytes: Ok(content), status: None, draft: Some(draft), wake: None });
            }
            Err(why) => why,
        };
        let last = draft.attempts >= self.most();
        let wait = BACKOFF_SECONDS.saturating_mul(1 << (draft.attempts - 1).min(16)).min(MAX_BACKOFF_SECONDS);
        let retry_at = convert::time_not_before(entry.ended_at(self.now).plus_seconds(wait));
        let told = self.drafter.known.is_some_and(|known| {
            known.request == draft.request
                && known.attempts == draft.attempts
                && known.problem.as_ref() == Some(&problem)
        });
        draft.problem = Some(problem);
        // Somebody may have asked for more attempts since.
        draft.retry_at = if last { None } else { draft.retry_at.filter(|_| told).or(Some(retry_at)) };
        match self.waits(&draft) {
            _ if last => {
                if told {
                    errands::dismiss(self.ctx, self.subject, &[]).await?;
                }
                Ok(Self::failed(draft))
            }
            Some(until) => Ok(self.waiting(draft, until)),
            None if told => self.start(draft, document.as_deref()).await,
            // First the status says what was wrong.
            None => {
                let now = self.now;
                Ok(self.waiting(draft, now))
            }
        }
    }

    /// The document of an attempt, if work can go on with it; else what there is of it, and what is wrong.
    async fn judge(
        &self,
        outcome: Result<Report, String>,
    ) -> Result<Result<(String, Vec<u8>), (Option<String>, String)>, Error> {
        let report = match outcome {
            Ok(report) => report,
            Err(why) => return Ok(Err((None, why))),
        };
        let Some(digest) = report.document else { return Ok(Err((None, "the pod brought no document".into()))) };
        let Some(content) = self.ctx.memory.content(&self.member.tenant, &digest).await? else {
            return Ok(Err((None, "the record does not hold what the pod brought".into())));
        };
        Ok(match drafting::validate(&content) {
            Ok(()) => Ok((digest.to_string(), content)),
            Err(why) => Err((String::from_utf8(content).ok(), why)),
        })
    }

    /// Until when the next attempt waits.
    fn waits(&self, draft: &DraftStatus) -> Option<Millis> {
        draft.retry_at.as_ref().map(convert::millis).filter(|at| self.now < *at)
    }

    /// Starts the next attempt, which is shown what the last one wrote.
    async fn start(&self, mut draft: DraftStatus, document: Option<&str>) -> Result<Sourced, Error> {
        let attempt = draft.attempts + 1;
        let pod = match self.pod(&draft, attempt, document) {
            Ok(pod) => pod,
            Err(missing) => return Ok(Sourced { bytes: Err(missing), status: None, draft: Some(draft), wake: None }),
        };
        let waits = |why: String, seconds: u32, draft: DraftStatus| Sourced {
            bytes: Err(Missing::waiting(DRAFTING, why)),
            status: None,
            draft: Some(draft),
            wake: Some(self.now.plus_seconds(seconds)),
        };
        match errands::start(self.ctx, &self.member, Role::Draft, &pod).await? {
            Started::Yes => {
                draft.attempts = attempt;
                draft.retry_at = None;
                Ok(self.running(draft, None))
            }
            Started::NoRoom => Ok(waits("the tenant has enough drafts under way".into(), ROOM_SECONDS, draft)),
            Started::Refused(why) => Ok(waits(why, WATCH_SECONDS, draft)),
        }
    }

    fn pod(&self, draft: &DraftStatus, attempt: u32, document: Option<&str>) -> Result<Pod, Missing> {
        let drafting = self.drafter.drafting;
        let name = &drafting.agent_ref.name;
        let Some(agent) = lookup(&self.ctx.caches.agents, &self.subject.namespace, name) else {
            let why = format!("spec.drafting.agentRef: there is no Agent {name} in this namespace; create it");
            return Err(Missing::waiting("AgentNotFound", why));
        };
        let failed = |why: String| Missing::failed(FAILED, why);
        let mut errand = DocumentJob {
            subject_uid: self.subject.uid.clone(),
            server_url: server(self.ctx).map_err(failed)?,
            work: DocumentWork::Draft(DraftWork {
                name: self.subject.name.clone(),
                attempt,
                prompt: self.prompt(draft, document),
                adapter: pod::adapter(name, &agent.spec, None).map_err(failed)?,
                agent: name.clone(),
            }),
        };
        let mut assignment = pod::told_errand(&errand);
        if let (Err(_), DocumentWork::Draft(work)) = (&assignment, &mut errand.work) {
            work.prompt = self.prompt(draft, None);
            assignment = pod::told_errand(&errand);
        }
        let frame = Frame {
            config: &self.ctx.config,
            member: &self.member,
            name: self.pod_name(draft, attempt),
            namespace: self.subject.namespace.clone(),
            labels: vec![
                (names::LABEL_ROLE, Role::Draft.as_str().to_owned()),
                (names::LABEL_ATTEMPT, attempt.to_string()),
            ],
            owner: self.subject.owner.clone(),
            assignment: assignment.map_err(|report| failed(report.message))?,
            timeout_seconds: drafting.timeout_seconds,
            resources: [&NONE, &agent.spec.resources, &NONE],
        };
        Ok(pod::for_agent(&frame, Role::Draft.as_str(), &agent.spec, None))
    }

    fn prompt(&self, draft: &DraftStatus, document: Option<&str>) -> String {
        let previous = draft.problem.as_deref().map(|problem| PreviousAttempt { problem, document });
        let constitutions: Vec<_> = self.law.texts.iter().map(|text| &text.parsed.model).collect();
        let rules: Vec<_> = self.law.programs.iter().map(Program::rule).collect();
        let law = drafting::EffectiveConstitution { constitutions: &constitutions, rules: &rules };
        drafting::prompt(self.drafter.request, law, previous)
    }

    fn running(&self, draft: DraftStatus, why: Option<String>) -> Sourced {
        let more = why.map_or_else(String::new, |why| format!(": {why}"));
        let agent = &self.drafter.drafting.agent_ref.name;
        let message = format!("Agent {agent} drafts the document, attempt {} of {}{more}", draft.attempts, self.most());
        let wake = self.now.plus_seconds(WATCH_SECONDS);
        Sourced { bytes: Err(Missing::waiting(DRAFTING, message)), status: None, draft: Some(draft), wake: Some(wake) }
    }

    fn waiting(&self, draft: DraftStatus, until: Millis) -> Sourced {
        let problem = draft.problem.as_deref().unwrap_or_default();
        let message = format!(
            "attempt {} of {} gave no usable document, another follows: {problem}",
            draft.attempts,
            self.most()
        );
        Sourced { bytes: Err(Missing::waiting(DRAFTING, message)), status: None, draft: Some(draft), wake: Some(until) }
    }

    fn failed(draft: DraftStatus) -> Sourced {
        let problem = draft.problem.as_deref().unwrap_or("the pod vanished before its end was seen");
        let message = format!(
            "{} attempts gave no usable document; change spec.request, raise spec.drafting.maxAttempts, or set spec.source. \
             The last one: {problem}",
            draft.attempts
        );
        Sourced { bytes: Err(Missing::failed(FAILED, message)), status: None, draft: Some(draft), wake: None }
    }
}
