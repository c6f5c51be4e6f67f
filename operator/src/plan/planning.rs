//! Planning: agents write proposals for a plan with `spec.generate`, and one of them becomes its tasks.md.
//!
//! Each planner is a document job with attempts of its own, and so are judges and the synthesizer. The status has the state of all of them, the
//! record the text of each proposal.

mod choice;
mod conflicts;
mod judging;
mod recommended;
mod spending;
mod synthesis;

use enact_crds::plan::{Generate, GeneratedPlan, Judgement, PlanStatus, PlanUsage, Planner, Proposal, ProposalState};
use enact_crds::specification::DraftStatus;
use enact_domain::condition::Readiness;
use enact_domain::decisions::{self, Decision};
use enact_domain::digest::Digest;
use enact_domain::drafting::{EffectiveConstitution, PreviousAttempt};
use enact_domain::names;
use enact_domain::planning::{self, PromptInput, ReplacedPlan};
use enact_domain::record::{ACTOR, Event, Record};
use enact_domain::rules::Program;
use enact_domain::stamps::Stamps;
use enact_domain::time::Millis;
use kube::ResourceExt as _;
use serde_json::json;

use super::context::Context;
use super::contradictions;
use super::observed::{Documents, Observed};
use super::proposal::Assignment;
use super::validate::{check_specification, is_current, not_in_tenant};
use crate::context::Membership;
use crate::error::Error;
use crate::sourcing::agent_job::{self, Advanced, AgentJob, Step};
use crate::sourcing::{self, Subject};
use choice::{Choice, FAILED, authors, choose};
pub use judging::ended as ended_judgements;
use spending::Spending;

/// The problem of planners and judges that had not ended when the plan started.
const STARTED_WITHOUT: &str = "the plan has started without it";
/// The reason while planners work.
const PLANNING: &str = "Planning";

/// The state of a plan with planners.
pub struct Planned {
    /// The chosen proposal, or the reason why there is none.
    pub document: Result<Vec<u8>, Readiness>,
    pub proposals: Vec<Proposal>,
    pub judgements: Vec<Judgement>,
    pub conflicts: Option<u32>,
    pub generated: Option<GeneratedPlan>,
    /// What the plan has spent so far; none if that is not known.
    pub usage: Option<PlanUsage>,
    /// Time of the next reconcile if no event arrives earlier.
    pub requeue_at: Option<Millis>,
}

/// Starts planners, reads what they deliver, and chooses a proposal.
///
/// # Errors
/// When the API server or the record fails.
pub async fn advance(
    ctx: &Context,
    observed: &Observed,
    generate: &Generate,
    documents: &Documents,
) -> Result<Planned, Error> {
    let status = observed.status();
    let subject = Subject::of(observed.plan.as_ref(), status.observed_generation);
    let (member, assignment) = match assignment(observed, documents) {
        Ok(found) => found,
        Err(missing) => {
            // The controller of the Specification has not seen its last change yet, which may be harmless: the planners continue, and what
            // those have written that have ended is still read.
            let is_behind = observed.specification.as_ref().is_some_and(|specification| !is_current(specification));
            if observed.plan.spec.cancel || !is_behind {
                // What they plan is not approved any more, or not wanted.
                sourcing::delete_others(&ctx.sourcing, &subject, &[]).await?;
            }
            let PlanStatus { proposals, judgements, conflicts, generated, .. } = status;
            let document = Err(missing);
            return Ok(Planned {
                document,
                proposals,
                judgements,
                conflicts,
                generated,
                usage: None,
                requeue_at: None,
            });
        }
    };
    let proposals = generate.agents.iter().map(|planner| remembered(&assignment, generate, planner));
    let proposals = proposals.collect::<Result<Vec<_>, _>>()?;
    let Spending { usage, used_up } = spending::read(ctx, observed, &member.tenant).await?;
    let planning = Planning { ctx, generate, subject: &subject, member, assignment, used_up };
    // Judges start when the status has the proposals of all planners, and the synthesizer when it has all verdicts, too.
    let judgements = planning.judgements(&proposals, &status.judgements)?;
    let synthesis = planning.synthesis(&proposals, &judgements, &status.proposals)?;
    let pods = planning.judges_pods(&judgements).into_iter().chain(planning.synthesis_pod(synthesis.as_ref()));
    let Round { mut proposals, mut records, mut pending, requeue_at } =
        planning.advance(proposals, pods.collect()).await?;
    let judged = planning.judge(&mut proposals, judgements).await?;
    let conflicts = planning.conflicts(&mut proposals, &status).await?;
    let synthesized = planning.synthesize(&proposals, &judged, synthesis).await?;
    records.extend(judged.records.into_iter().chain(synthesized.records));
    proposals.extend(synthesized.proposal);
    let has_ended = judged.pending.is_none() && synthesized.pending.is_none();
    pending = judged.pending.or(synthesized.pending).unwrap_or(pending);
    let requeue_at = [requeue_at, judged.requeue_at, synthesized.requeue_at].into_iter().flatten().min();
    let judgements = judged.judgements;
    let chosen = planning.choose(&mut proposals, &judgements, has_ended).await?;
    records.extend(chosen.record);
    let requeue_at = [requeue_at, chosen.requeue_at].into_iter().flatten().min();
    if !records.is_empty() {
        ctx.record(records).await?;
    }
    let document = chosen.document.unwrap_or(Err(pending));
    Ok(Planned { document, proposals, judgements, conflicts, generated: chosen.generated, usage, requeue_at })
}

/// Returns the planners of a plan that has started: those that have not ended will not.
pub fn ended(mut proposals: Vec<Proposal>) -> Vec<Proposal> {
    for proposal in proposals.iter_mut().filter(|proposal| proposal.state == ProposalState::Planning) {
        proposal.state = ProposalState::Dropped;
        proposal.problem = Some(STARTED_WITHOUT.to_owned());
        proposal.retry_at = None;
    }
    proposals
}

/// Returns what the planners plan, and for which tenant.
///
/// # Errors
/// The reason why there is nothing to plan.
fn assignment<'a>(
    observed: &'a Observed,
    documents: &'a Documents,
) -> Result<(&'a Membership, Assignment<'a>), Readiness> {
    let member = observed.member.as_ref().ok_or_else(|| not_in_tenant(observed))?;
    if observed.plan.spec.cancel {
        return Err(Readiness::stalled("Cancelled", "the plan was cancelled before it had tasks; delete it"));
    }
    if check_specification(observed)?.is_none() {
        let message = "spec.generate requires spec.specificationRef; name the Specification that the planners plan";
        return Err(Readiness::stalled("InvalidPlan", message));
    }
    let (Some(specification), Some(constitution)) = (documents.specification.as_deref(), &documents.constitution)
    else {
        let message = "the document of the specification is not recorded yet";
        return Err(Readiness::reconciling("WaitingForSpecification", message));
    };
    let constitution = constitution.as_ref().map_err(Clone::clone)?;
    documents.predecessor()?;
    Ok((member, Assignment { observed, documents, specification, constitution }))
}

/// Returns the state of a planner in the status, if it has the same inputs.
fn remembered(assignment: &Assignment, generate: &Generate, planner: &Planner) -> Result<Proposal, Error> {
    let workspace = assignment.observed.plan.spec.workspace.as_ref();
    let mut inputs = json!({
        "specification": assignment.specification.digest, "guidance": generate.guidance, "agent": planner.name,
        "repository": workspace.map(|workspace| (&workspace.url, &workspace.revision)),
    });
    if let Some(replaced) = &assignment.observed.plan.spec.replaces {
        inputs["replaces"] = json!(replaced);
    }
    let inputs =
        Digest::of_json(&inputs).map_err(|source| Error::Json { what: "a plan to write", source })?.to_string();
    let mut known = assignment.observed.plan.status.iter().flat_map(|status| &status.proposals);
    let known = known.find(|proposal| proposal.agent == planner.name && proposal.inputs == inputs).cloned();
    Ok(known.unwrap_or_else(|| Proposal { agent: planner.name.clone(), inputs, ..Proposal::default() }))
}

/// Returns the state of a planner that begins again.
fn restarted(proposal: &Proposal) -> Proposal {
    Proposal { agent: proposal.agent.clone(), inputs: proposal.inputs.clone(), ..Proposal::default() }
}

/// The planners and judges of one plan.
struct Planning<'a> {
    ctx: &'a Context,
    generate: &'a Generate,
    subject: &'a Subject,
    member: &'a Membership,
    assignment: Assignment<'a>,
    /// The reason why no planner, judge or synthesizer that uses models may start, if the budget of the plan is used up.
    used_up: Option<Readiness>,
}

/// The result of one reconcile of the planners.
struct Round {
    proposals: Vec<Proposal>,
    /// New proposals.
    records: Vec<Record>,
    /// The reason why there is no proposal to choose yet.
    pending: Readiness,
    requeue_at: Option<Millis>,
}

/// The choice among the proposals.
#[derive(Default)]
struct Chosen {
    /// The chosen proposal, or the reason why a person has to do something; none while planners, judges or the synthesizer work.
    document: Option<Result<Vec<u8>, Readiness>>,
    generated: Option<GeneratedPlan>,
    /// A new choice.
    record: Option<Record>,
    requeue_at: Option<Millis>,
}

impl Planning<'_> {
    /// Reconciles all planners without a proposal. `others` are the UIDs of the pods of judges and of the synthesizer.
    async fn advance(&self, mut proposals: Vec<Proposal>, others: Vec<String>) -> Result<Round, Error> {
        if self.assignment.observed.plan.spec.suspend {
            return Ok(Round {
                proposals,
                records: Vec::new(),
                pending: suspended(&self.assignment),
                requeue_at: None,
            });
        }
        let effective = self.assignment.constitution;
        let constitutions: Vec<_> = effective.texts.iter().map(|text| &text.parsed.model).collect();
        let rules: Vec<_> = effective.programs.iter().map(Program::rule).collect();
        let may_start =
            |proposal: &Proposal| proposal.digest.is_none() && proposal.attempts < self.generate.max_attempts;
        let recommendations = if proposals.iter().any(may_start) { self.recommendations().await? } else { Vec::new() };
        let prompt = |previous: Option<PreviousAttempt<'_>>| {
            planning::prompt(&PromptInput {
                specification: &self.assignment.specification.parsed.model.source,
                effective: EffectiveConstitution { constitutions: &constitutions, rules: &rules },
                guidance: self.generate.guidance.as_deref(),
                has_repository: self.assignment.observed.plan.spec.workspace.is_some(),
                recommendations: &recommendations,
                replaced: self.replaced(),
                previous,
            })
        };
        let check = |document: &[u8]| self.assignment.examine(document).map(drop);
        let known: Vec<DraftStatus> = proposals.iter().map(draft_of).collect();
        let jobs: Vec<AgentJob> =
            known.iter().enumerate().map(|(index, known)| self.job(index, known, &prompt, &check)).collect();
        let ctx = &self.ctx.sourcing;
        let drafts: Vec<Option<DraftStatus>> = known
            .iter()
            .map(|known| known.digest.is_none().then(|| agent_job::adopt(ctx, self.subject, known.clone())))
            .collect();
        let planners = drafts.iter().filter_map(|draft| agent_job::pod_uid(ctx, self.subject, draft.as_ref()?));
        let kept: Vec<String> = planners.chain(others).collect();
        // The pods of agents that are not wanted any more, of proposals that the status has, and of somebody else.
        sourcing::delete_others(ctx, self.subject, &kept).await?;
        let (mut records, mut notes, mut blocked, mut next) = (Vec::new(), Vec::new(), None, None);
        for ((job, draft), proposal) in jobs.iter().zip(drafts).zip(&mut proposals) {
            let Some(draft) = draft else { continue };
            if let Some(refused) = self.refused(&job.field, job.agent) {
                blocked = blocked.or(Some(refused));
                continue;
            }
            let Advanced { draft, step, requeue_at } = job.advance(draft).await?;
            next = [next, requeue_at].into_iter().flatten().min();
            set_draft(proposal, draft);
            proposal.state =
                if matches!(step, Step::Failed) { ProposalState::Dropped } else { ProposalState::Planning };
            match step {
                Step::Delivered(document) => records.extend(self.delivered(proposal, &document).await?),
                Step::Blocked(missing) => blocked = blocked.or(Some(missing)),
                Step::Failed => {}
                step => notes.push(note(proposal, job.max_attempts, step)),
            }
        }
        let pending = blocked.unwrap_or_else(|| Readiness::reconciling(PLANNING, notes.join("; ")));
        Ok(Round { proposals, records, pending, requeue_at: next })
    }

    fn job<'j>(
        &'j self,
        index: usize,
        known: &'j DraftStatus,
        prompt: &'j (dyn Fn(Option<PreviousAttempt<'_>>) -> String + Sync),
        check: &'j (dyn Fn(&[u8]) -> Result<(), String> + Sync),
    ) -> AgentJob<'j> {
        AgentJob {
            ctx: &self.ctx.sourcing,
            subject: self.subject,
            member: self.member,
            now: self.assignment.observed.now,
            agent: &self.generate.agents[index].name,
            field: format!("spec.generate.agents[{index}]"),
            max_attempts: self.generate.max_attempts,
            timeout_seconds: self.generate.timeout_seconds,
            workspace: self.assignment.observed.plan.spec.workspace.as_ref(),
            known: Some(known),
            hold: self.used_up.as_ref(),
            failed: FAILED,
            prompt,
            check,
        }
    }

    /// Returns what prompts say about the plan that the plan replaces, if it replaces one.
    fn replaced(&self) -> Option<ReplacedPlan<'_>> {
        let Assignment { observed, documents, .. } = &self.assignment;
        let remark = observed.plan.spec.replaces.as_ref().and_then(|replaced| replaced.because.as_deref());
        Some(documents.predecessor().ok().flatten()?.for_prompt(remark))
    }

    /// Returns the reason why the agent that `field` names may not run: it could push to the target branch.
    fn refused(&self, field: &str, name: &str) -> Option<Readiness> {
        let agent = self.ctx.agent(&self.subject.namespace, &self.member.tenant, name)?;
        let secret = self.assignment.observed.integration_secret_field(&agent)?;
        let message = format!(
            "{field}: {secret} of Agent {name} is the Secret of spec.workspace.integration, which only the integration pod may use; \
             name another Secret in one of them"
        );
        Some(Readiness::stalled("InvalidWorkspace", message))
    }

    /// Sets tasks, score and findings of a proposal that was delivered, and returns its record.
    async fn delivered(&self, proposal: &mut Proposal, document: &[u8]) -> Result<Option<Record>, Error> {
        let Some(record) = self.proposed(proposal, document) else { return Ok(None) };
        let decisions = decisions::read(document);
        proposal.findings = contradictions::find(self.ctx, self.assignment.observed, self.member, &decisions).await?;
        Ok(Some(record))
    }

    /// Sets tasks and score of a proposal that was delivered, and returns its record.
    fn proposed(&self, proposal: &mut Proposal, document: &[u8]) -> Option<Record> {
        let Ok(usable) = self.assignment.examine(document) else {
            // The job has checked it in the same way.
            *proposal = restarted(proposal);
            return None;
        };
        proposal.state = ProposalState::Proposed;
        proposal.tasks = Some(usable.tasks);
        proposal.set_score(&usable.score);
        let event = Event::Proposal {
            agent: proposal.agent.clone(),
            digest: proposal.digest.clone()?.into(),
            score: usable.score.total(),
            tasks: usable.tasks,
        };
        Some(new_record(self.assignment.observed, self.member, ACTOR, event))
    }

    /// Chooses a proposal if it is time, and reads it. `has_ended` says whether judges and synthesizer have ended.
    async fn choose(
        &self,
        proposals: &mut [Proposal],
        judgements: &[Judgement],
        has_ended: bool,
    ) -> Result<Chosen, Error> {
        let Self { ctx, member, assignment, generate, .. } = self;
        let observed = assignment.observed;
        let stamps = Stamps::of(observed.plan.annotations(), names::ANNOTATION_CHOSEN);
        let mut made = match choose(&observed.name(), generate, &stamps, proposals, has_ended) {
            Choice::None => return Ok(Chosen::default()),
            Choice::Waits(waits) => return Ok(Chosen { document: Some(Err(waits)), ..Chosen::default() }),
            Choice::Made(made) => made,
        };
        made.authors = authors(generate, &made, proposals, judgements);
        let digest = Digest::from(made.digest.clone());
        let Some(content) = ctx.record_store.content(&member.tenant, &digest).await? else {
            // The record lost the proposal: its agent writes another one.
            let lost = proposals.iter_mut().filter(|proposal| proposal.digest.as_deref() == Some(digest.as_str()));
            lost.for_each(|proposal| *proposal = restarted(proposal));
            let document = Err(Readiness::reconciling(PLANNING, "the record does not hold the chosen proposal"));
            return Ok(Chosen { document: Some(document), requeue_at: Some(observed.now), ..Chosen::default() });
        };
        let mut record = None;
        if observed.status().generated.as_ref() != Some(&made) {
            let decisions = decisions::read(&content);
            // Another plan may have decided since the proposal was delivered.
            let findings = contradictions::find(ctx, observed, member, &decisions).await?;
            let is_chosen = |proposal: &&mut Proposal| proposal.agent == made.agent;
            proposals.iter_mut().filter(is_chosen).for_each(|proposal| proposal.findings.clone_from(&findings));
            record = Some(chosen(assignment, member, &made, decisions));
        }
        Ok(Chosen { document: Some(Ok(content)), generated: Some(made), record, requeue_at: None })
    }
}

fn suspended(assignment: &Assignment) -> Readiness {
    let name = assignment.observed.name();
    let message =
        format!("suspended before its planners and judges ended; continue with `kubectl enact resume {name}`");
    Readiness::stalled("Suspended", message)
}

fn draft_of(proposal: &Proposal) -> DraftStatus {
    DraftStatus {
        request: proposal.inputs.clone(),
        attempts: proposal.attempts,
        pod_uid: proposal.pod_uid.clone(),
        digest: proposal.digest.clone(),
        problem: proposal.problem.clone(),
        retry_at: proposal.retry_at.clone(),
        authors: proposal.authors.clone(),
    }
}

fn set_draft(proposal: &mut Proposal, draft: DraftStatus) {
    let DraftStatus { request, attempts, pod_uid, digest, problem, retry_at, authors } = draft;
    proposal.inputs = request;
    proposal.attempts = attempts;
    proposal.pod_uid = pod_uid;
    proposal.digest = digest;
    proposal.problem = problem;
    proposal.retry_at = retry_at;
    proposal.authors = authors;
}

/// Returns what a planner does, for a person.
fn note(proposal: &Proposal, max_attempts: u32, step: Step) -> String {
    let (agent, attempt) = (&proposal.agent, proposal.attempts);
    match step {
        Step::Running(wait) => {
            let message = format!("Agent {agent} plans (attempt {attempt} of {max_attempts})");
            sourcing::at_work(PLANNING, &message, wait).message
        }
        Step::Waiting(why) => format!("Agent {agent} waits: {why}"),
        _ => {
            let problem = proposal.problem.as_deref().unwrap_or_default();
            format!(
                "attempt {attempt} of {max_attempts} of Agent {agent} delivered no usable proposal, and another one follows: {problem}"
            )
        }
    }
}

fn chosen(assignment: &Assignment, member: &Membership, made: &GeneratedPlan, decisions: Vec<Decision>) -> Record {
    let plan = &assignment.observed.plan;
    let digest = Digest::from(made.digest.clone());
    let event = Event::ProposalChosen {
        key: format!("{}/{}", plan.metadata.generation.unwrap_or_default(), digest.short()),
        agent: made.agent.clone(),
        digest,
        specification: plan.spec.specification_ref.as_ref().map(|named| named.name.clone()).unwrap_or_default(),
        specification_digest: assignment.specification.digest.clone(),
        decisions,
    };
    new_record(assignment.observed, member, made.by.as_deref().unwrap_or(ACTOR), event)
}

fn new_record(observed: &Observed, member: &Membership, actor: &str, event: Event) -> Record {
    Record {
        tenant: member.tenant.clone(),
        subject: observed.subject(),
        at: observed.now,
        actor: actor.to_owned(),
        event,
    }
}

#[cfg(test)]
mod tests;
