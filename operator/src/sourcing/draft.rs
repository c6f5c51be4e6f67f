//! A specification that an agent drafts from a request.

use enact_crds::specification::DraftStatus;
use enact_domain::condition::{Progress, Readiness};
use enact_domain::digest::Digest;
use enact_domain::drafting::{self, PreviousAttempt};
use enact_domain::rules::Program;
use enact_domain::waiting::Waiting;
use serde_json::json;

use super::agent_job::{self, Advanced, AgentJob, Step};
use super::context::Context;
use super::job_pods;
use super::sourced::{Drafter, Sourced, Subject, at_work, member};
use crate::context::Membership;
use crate::documents::constitution_chain::chain_of_reference;
use crate::documents::effective_constitution::{self, EffectiveConstitution};
use crate::error::Error;

/// The reason while attempts continue.
const DRAFTING: &str = "Drafting";
/// The reason after the last attempt.
const FAILED: &str = "DraftFailed";

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
        Ok(constitution) => resume(ctx, subject, drafter, (&member, &constitution), draft).await,
        // The draft waits for its constitution, even if that one waits for a person.
        Err(blocked) => Ok(unchanged(Readiness { progress: Progress::Reconciling, ..blocked })),
    }
}

async fn resume(
    ctx: &Context,
    subject: &Subject,
    drafter: &Drafter<'_>,
    (member, constitution): (&Membership, &EffectiveConstitution),
    draft: DraftStatus,
) -> Result<Sourced, Error> {
    let constitutions: Vec<_> = constitution.texts.iter().map(|text| &text.parsed.model).collect();
    let rules: Vec<_> = constitution.programs.iter().map(Program::rule).collect();
    let prompt = |previous: Option<PreviousAttempt<'_>>| {
        let effective = drafting::EffectiveConstitution { constitutions: &constitutions, rules: &rules };
        drafting::prompt(drafter.request, effective, previous)
    };
    let job = AgentJob {
        ctx,
        subject,
        member,
        now: ctx.now(),
        agent: &drafter.drafting.agent_ref.name,
        field: "spec.drafting.agentRef".to_owned(),
        max_attempts: drafter.drafting.max_attempts,
        timeout_seconds: drafter.drafting.timeout_seconds,
        workspace: None,
        known: drafter.known,
        hold: None,
        failed: FAILED,
        prompt: &prompt,
        check: &drafting::validate,
    };
    let draft = agent_job::adopt(ctx, subject, draft);
    job_pods::delete_others(ctx, subject, agent_job::pod_uid(ctx, subject, &draft).as_slice()).await?;
    let Advanced { draft, step, requeue_at } = job.advance(draft).await?;
    let bytes = match step {
        Step::Delivered(content) => Ok(content),
        Step::Running(wait) => Err(running(drafter, &draft, wait)),
        Step::Retrying => Err(retrying(drafter, &draft)),
        Step::Waiting(why) => Err(Readiness::reconciling(DRAFTING, why)),
        Step::Failed => Err(failed(&draft)),
        Step::Blocked(missing) => Err(missing),
    };
    Ok(Sourced { bytes, status: None, draft: Some(draft), requeue_at })
}

fn running(drafter: &Drafter, draft: &DraftStatus, wait: Option<Waiting>) -> Readiness {
    let agent = &drafter.drafting.agent_ref.name;
    let (attempt, all) = (draft.attempts, drafter.drafting.max_attempts);
    at_work(DRAFTING, &format!("Agent {agent} drafts the document (attempt {attempt} of {all})"), wait)
}

fn retrying(drafter: &Drafter, draft: &DraftStatus) -> Readiness {
    let problem = draft.problem.as_deref().unwrap_or_default();
    let (attempt, all) = (draft.attempts, drafter.drafting.max_attempts);
    let message =
        format!("attempt {attempt} of {all} delivered no usable document; another attempt follows: {problem}");
    Readiness::reconciling(DRAFTING, message)
}

fn failed(draft: &DraftStatus) -> Readiness {
    let problem = draft.problem.as_deref().unwrap_or("the pod was deleted before the operator read its result");
    let message = format!(
        "{} attempts delivered no usable document; change spec.request, raise spec.drafting.maxAttempts, or set spec.source. \
         The last problem: {problem}",
        draft.attempts
    );
    Readiness::stalled(FAILED, message)
}
