//! The synthesizer: a document job whose agent combines the best proposals into one of its own.

use std::collections::BTreeMap;

use enact_crds::plan::{Judgement, JudgementState, Proposal, ProposalState, ScoreComponent};
use enact_domain::condition::Readiness;
use enact_domain::decisions::Conflict;
use enact_domain::digest::Digest;
use enact_domain::drafting::{EffectiveConstitution, PreviousAttempt};
use enact_domain::planning::{self, Reasons, SynthesisInput, SynthesisSource};
use enact_domain::record::Record;
use enact_domain::rules::Program;
use enact_domain::time::Millis;
use serde_json::json;

use super::choice::{FAILED, sources, synthesizer};
use super::conflicts::conflicts;
use super::judging::Judged;
use super::{Planning, draft_of, note, set_draft, suspended};
use crate::error::Error;
use crate::sourcing::agent_job::{self, Advanced, AgentJob, Step};

/// The reason while the synthesizer works.
const SYNTHESIZING: &str = "Synthesizing";

/// The synthesis after a reconcile.
#[derive(Default)]
pub(super) struct Synthesized {
    /// The state of the synthesizer; none before it starts.
    pub(super) proposal: Option<Proposal>,
    /// The new proposal.
    pub(super) records: Vec<Record>,
    /// The reason why the synthesizer has not ended.
    pub(super) pending: Option<Readiness>,
    pub(super) requeue_at: Option<Millis>,
}

/// What a synthesizer combines.
struct Material {
    sources: Vec<Proposal>,
    /// Texts of the sources by their planners.
    texts: BTreeMap<String, String>,
    /// The components of the score of each source, one line each, in the order of the sources.
    components: Vec<String>,
    conflicts: Vec<Conflict>,
    /// Judgements on the sources, with the reasons.
    reasons: Vec<(Judgement, String)>,
}

impl Planning<'_> {
    /// Returns whether the proposals of the planners can be combined: all planners have ended, and there is more than one proposal.
    fn can_combine(&self, proposals: &[Proposal]) -> bool {
        let works = |proposal: &Proposal| proposal.state == ProposalState::Planning;
        synthesizer(self.generate).is_some()
            && !proposals.iter().any(works)
            && sources(self.generate, proposals).len() > 1
    }

    /// Returns the synthesis of these proposals, with the state that `known` has of it. There is none before all planners and judges have
    /// ended.
    pub(super) fn synthesis(
        &self,
        proposals: &[Proposal],
        judgements: &[Judgement],
        known: &[Proposal],
    ) -> Result<Option<Proposal>, Error> {
        let judges_work = judgements.iter().any(|judgement| judgement.state == JudgementState::Judging);
        let Some(synthesizer) = synthesizer(self.generate).filter(|_| !judges_work && self.can_combine(proposals))
        else {
            return Ok(None);
        };
        let sources = sources(self.generate, proposals);
        let sources: Vec<_> = sources.iter().map(|source| (&source.agent, &source.digest)).collect();
        let verdicts: Vec<_> = judgements.iter().filter_map(|judgement| judgement.verdict.digest.as_ref()).collect();
        let workspace = self.assignment.observed.plan.spec.workspace.as_ref();
        let mut inputs = json!({
            "specification": self.assignment.specification.digest, "guidance": self.generate.guidance,
            "agent": synthesizer, "sources": sources, "verdicts": verdicts,
            "repository": workspace.map(|workspace| (&workspace.url, &workspace.revision)),
        });
        if let Some(replaced) = &self.assignment.observed.plan.spec.replaces {
            inputs["replaces"] = json!(replaced);
        }
        let inputs =
            Digest::of_json(&inputs).map_err(|source| Error::Json { what: "a synthesis", source })?.to_string();
        let known = known.iter().find(|known| known.agent == synthesizer && known.inputs == inputs).cloned();
        let mut proposal =
            known.unwrap_or_else(|| Proposal { agent: synthesizer.to_owned(), inputs, ..Proposal::default() });
        if proposal.state == ProposalState::Planning {
            let draft = agent_job::adopt(&self.ctx.sourcing, self.subject, draft_of(&proposal));
            set_draft(&mut proposal, draft);
        }
        Ok(Some(proposal))
    }

    /// Returns the UID of the pod of a synthesis that has not ended.
    pub(super) fn synthesis_pod(&self, synthesis: Option<&Proposal>) -> Option<String> {
        let open = synthesis.filter(|proposal| proposal.state == ProposalState::Planning)?;
        agent_job::pod_uid(&self.ctx.sourcing, self.subject, &draft_of(open))
    }

    /// Reconciles the synthesizer after planners and judges. `proposals` are those of the planners.
    pub(super) async fn synthesize(
        &self,
        proposals: &[Proposal],
        judged: &Judged,
        known: Option<Proposal>,
    ) -> Result<Synthesized, Error> {
        if judged.pending.is_some() || !self.can_combine(proposals) {
            return Ok(Synthesized::default());
        }
        let Some(mut proposal) = known else {
            // The last planner or judge has ended in this reconcile: the status gets their proposals and points first.
            let pending = Some(Readiness::reconciling(SYNTHESIZING, "the synthesizer combines the proposals"));
            let requeue_at = Some(self.assignment.observed.now);
            return Ok(Synthesized { pending, requeue_at, ..Synthesized::default() });
        };
        let is_dropped = proposal.state == ProposalState::Dropped && proposal.attempts >= self.generate.max_attempts;
        if proposal.state == ProposalState::Proposed || is_dropped {
            return Ok(Synthesized { proposal: Some(proposal), ..Synthesized::default() });
        }
        let field = "spec.generate.synthesizer";
        let refused = self.refused(field, &proposal.agent);
        let suspended = self.assignment.observed.plan.spec.suspend.then(|| suspended(&self.assignment));
        if let Some(pending) = suspended.or(refused) {
            return Ok(Synthesized { proposal: Some(proposal), pending: Some(pending), ..Synthesized::default() });
        }
        let material = self.material(proposals, &judged.judgements).await?;
        let Advanced { draft, step, requeue_at } = self.combine(&proposal, field, &material).await?;
        set_draft(&mut proposal, draft);
        let is_failed = matches!(step, Step::Failed);
        proposal.state = if is_failed { ProposalState::Dropped } else { ProposalState::Planning };
        let (mut records, mut pending) = (Vec::new(), None);
        match step {
            Step::Delivered(document) => records.extend(self.delivered(&mut proposal, &document).await?),
            Step::Failed => {}
            Step::Blocked(missing) => pending = Some(missing),
            step => {
                let note = note(&proposal, self.generate.max_attempts, step);
                pending = Some(Readiness::reconciling(SYNTHESIZING, note));
            }
        }
        Ok(Synthesized { proposal: Some(proposal), records, pending, requeue_at })
    }

    /// Reads what the synthesizer combines.
    async fn material(&self, proposals: &[Proposal], judgements: &[Judgement]) -> Result<Material, Error> {
        let sources: Vec<Proposal> = sources(self.generate, proposals).into_iter().cloned().collect();
        let texts = self.texts(&sources).await?;
        let components = sources
            .iter()
            .map(|source| source.components.iter().map(ScoreComponent::describe).collect::<Vec<_>>().join("\n"));
        let components = components.collect();
        let mut reasons = Vec::new();
        let is_source = |planner: &str| texts.contains_key(planner);
        for judgement in
            judgements.iter().filter(|judgement| is_source(&judgement.first) && is_source(&judgement.second))
        {
            let Some(digest) = judgement.verdict.digest.clone().map(Digest::from) else { continue };
            if let Some(content) = self.ctx.record_store.content(&self.member.tenant, &digest).await? {
                reasons.push((judgement.clone(), String::from_utf8_lossy(&content).into_owned()));
            }
        }
        let conflicts = conflicts(&texts);
        Ok(Material { sources, texts, components, conflicts, reasons })
    }

    /// Reconciles the job of the synthesizer.
    async fn combine(&self, proposal: &Proposal, field: &str, material: &Material) -> Result<Advanced, Error> {
        let effective = self.assignment.constitution;
        let constitutions: Vec<_> = effective.texts.iter().map(|text| &text.parsed.model).collect();
        let rules: Vec<_> = effective.programs.iter().map(Program::rule).collect();
        let source = material.sources.iter().zip(&material.components).filter_map(|(source, components)| {
            let document = material.texts.get(&source.agent)?;
            Some(SynthesisSource {
                agent: &source.agent,
                document,
                score: source.score.unwrap_or_default(),
                components,
            })
        });
        let sources: Vec<SynthesisSource<'_>> = source.collect();
        let reasons: Vec<Reasons<'_>> = material
            .reasons
            .iter()
            .map(|(judgement, text)| Reasons {
                judge: &judgement.judge,
                first: &judgement.first,
                second: &judgement.second,
                text,
            })
            .collect();
        let prompt = |previous: Option<PreviousAttempt<'_>>| {
            planning::synthesis_prompt(&SynthesisInput {
                specification: &self.assignment.specification.parsed.model.source,
                effective: EffectiveConstitution { constitutions: &constitutions, rules: &rules },
                guidance: self.generate.guidance.as_deref(),
                has_repository: self.assignment.observed.plan.spec.workspace.is_some(),
                sources: &sources,
                conflicts: &material.conflicts,
                reasons: &reasons,
                replaced: self.replaced(),
                previous,
            })
        };
        let planners: Vec<&str> = sources.iter().map(|source| source.agent).collect();
        let check = |document: &[u8]| {
            self.assignment.examine(document)?;
            planning::check_citations(document, &planners, material.conflicts.len())
        };
        let known = draft_of(proposal);
        let job = AgentJob {
            ctx: &self.ctx.sourcing,
            subject: self.subject,
            member: self.member,
            now: self.assignment.observed.now,
            agent: &proposal.agent,
            field: field.to_owned(),
            max_attempts: self.generate.max_attempts,
            timeout_seconds: self.generate.timeout_seconds,
            workspace: self.assignment.observed.plan.spec.workspace.as_ref(),
            known: Some(&known),
            hold: self.used_up.as_ref(),
            failed: FAILED,
            prompt: &prompt,
            check: &check,
        };
        job.advance(known.clone()).await
    }
}
