//! Judges: document jobs whose agents compare the proposals of planners.

use std::collections::BTreeMap;

use enact_crds::plan::{Judgement, JudgementState, Proposal, ProposalState};
use enact_crds::specification::DraftStatus;
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::drafting::PreviousAttempt;
use enact_domain::planning::{self, Candidate, Comparison, JudgeInput};
use enact_domain::record::{ACTOR, Event, Record};
use enact_domain::time::Millis;
use serde_json::json;

use super::choice::FAILED;
use super::{Planning, STARTED_WITHOUT, new_record, suspended};
use crate::error::Error;
use crate::sourcing::agent_job::{self, Advanced, AgentJob, Step};

/// The reason while judges work.
const JUDGING: &str = "Judging";

/// The comparisons after a reconcile.
pub(super) struct Judged {
    pub(super) judgements: Vec<Judgement>,
    /// New verdicts.
    pub(super) records: Vec<Record>,
    /// The reason why not all comparisons have ended.
    pub(super) pending: Option<Readiness>,
    pub(super) requeue_at: Option<Millis>,
}

/// Returns the comparisons of a plan that has started: those that have not ended will not.
pub fn ended(mut judgements: Vec<Judgement>) -> Vec<Judgement> {
    for judgement in judgements.iter_mut().filter(|judgement| judgement.state == JudgementState::Judging) {
        judgement.state = JudgementState::Dropped;
        judgement.verdict.problem = Some(STARTED_WITHOUT.to_owned());
        judgement.verdict.retry_at = None;
    }
    judgements
}

impl Planning<'_> {
    /// Returns the comparisons of these proposals, with the state that `known` has of them. There are none before all planners have ended.
    pub(super) fn judgements(&self, proposals: &[Proposal], known: &[Judgement]) -> Result<Vec<Judgement>, Error> {
        let Some(usable) = self.to_judge(proposals) else { return Ok(Vec::new()) };
        let candidates: Vec<Candidate> = usable
            .iter()
            .map(|proposal| Candidate {
                agent: &proposal.agent,
                score: proposal.score_of_document(),
                tasks: proposal.tasks.unwrap_or_default(),
            })
            .collect();
        let mut judgements = Vec::new();
        for judge in &self.generate.judges {
            for (first, second) in planning::pairs(&candidates) {
                let (first, second) = (usable[first], usable[second]);
                // With the planners: of two equal texts, each order is a comparison with a pod of its own.
                let inputs = json!({
                    "judge": judge.name, "first": [first.agent, first.digest], "second": [second.agent, second.digest],
                    "rubric": self.generate.rubric, "specification": self.assignment.specification.digest,
                });
                let request =
                    Digest::of_json(&inputs).map_err(|source| Error::Json { what: "a comparison", source })?;
                let request = request.to_string();
                let mut judgement =
                    known.iter().find(|known| known.verdict.request == request).cloned().unwrap_or_else(|| Judgement {
                        judge: judge.name.clone(),
                        first: first.agent.clone(),
                        second: second.agent.clone(),
                        verdict: DraftStatus { request, ..DraftStatus::default() },
                        ..Judgement::default()
                    });
                if judgement.state == JudgementState::Judging {
                    judgement.verdict = agent_job::adopt(&self.ctx.sourcing, self.subject, judgement.verdict);
                }
                judgements.push(judgement);
            }
        }
        Ok(judgements)
    }

    /// Returns the proposals that judges compare, if there are judges, more than one proposal, and no planner that still works.
    fn to_judge<'p>(&self, proposals: &'p [Proposal]) -> Option<Vec<&'p Proposal>> {
        let works = |proposal: &Proposal| proposal.state == ProposalState::Planning;
        if self.generate.judges.is_empty() || proposals.iter().any(works) {
            return None;
        }
        let usable: Vec<_> = proposals.iter().filter(|proposal| proposal.state == ProposalState::Proposed).collect();
        (usable.len() > 1).then_some(usable)
    }

    /// Returns the UIDs of the pods of comparisons that have not ended.
    pub(super) fn judges_pods(&self, judgements: &[Judgement]) -> Vec<String> {
        let open = judgements.iter().filter(|judgement| judgement.state == JudgementState::Judging);
        open.filter_map(|judgement| agent_job::pod_uid(&self.ctx.sourcing, self.subject, &judgement.verdict)).collect()
    }

    /// Reconciles the comparisons, and sets the points of the proposals when all have ended.
    pub(super) async fn judge(
        &self,
        proposals: &mut [Proposal],
        mut judgements: Vec<Judgement>,
    ) -> Result<Judged, Error> {
        let is_open = |judgement: &Judgement| judgement.state == JudgementState::Judging;
        let (mut records, mut blocked, mut waits, mut requeue_at) = (Vec::new(), None, None, None);
        let is_suspended = self.assignment.observed.plan.spec.suspend;
        if judgements.iter().any(is_open) && !is_suspended {
            let texts = self.texts(proposals).await?;
            for judgement in judgements.iter_mut().filter(|judgement| is_open(judgement)) {
                let Advanced { draft, step, requeue_at: at } = self.compare(judgement, &texts).await?;
                requeue_at = [requeue_at, at].into_iter().flatten().min();
                judgement.verdict = draft;
                match step {
                    Step::Delivered(document) => records.extend(self.decided(judgement, &document)),
                    Step::Failed => judgement.state = JudgementState::Dropped,
                    Step::Blocked(missing) => blocked = blocked.or(Some(missing)),
                    Step::Waiting(why) => {
                        waits = waits.or_else(|| Some(format!("; Agent {} waits: {why}", judgement.judge)));
                    }
                    Step::Running(_) | Step::Retrying => {}
                }
            }
        }
        let open = judgements.iter().filter(|judgement| is_open(judgement)).count();
        let mut pending = None;
        // The last planner has ended in this reconcile, so that there are no comparisons yet.
        if judgements.is_empty() && self.to_judge(proposals).is_some() {
            pending = Some(Readiness::reconciling(JUDGING, "judges compare the proposals"));
            requeue_at = Some(self.assignment.observed.now);
        } else if open > 0 {
            let (ended, all, waits) = (judgements.len() - open, judgements.len(), waits.unwrap_or_default());
            let message = format!("judges have ended {ended} of {all} comparisons{waits}");
            let working =
                if is_suspended { suspended(&self.assignment) } else { Readiness::reconciling(JUDGING, message) };
            pending = blocked.or(Some(working));
        }
        if pending.is_none() {
            set_points(proposals, &judgements);
        }
        Ok(Judged { judgements, records, pending, requeue_at })
    }

    /// Returns the texts of the proposals by their planners.
    pub(super) async fn texts(&self, proposals: &[Proposal]) -> Result<BTreeMap<String, String>, Error> {
        let mut texts = BTreeMap::new();
        for proposal in proposals {
            let Some(digest) = proposal.digest.clone().map(Digest::from) else { continue };
            // One that the record has lost is planned again when it is chosen.
            if let Some(content) = self.ctx.record_store.content(&self.member.tenant, &digest).await? {
                texts.insert(proposal.agent.clone(), String::from_utf8_lossy(&content).into_owned());
            }
        }
        Ok(texts)
    }

    /// Reconciles one comparison.
    async fn compare(&self, judgement: &Judgement, texts: &BTreeMap<String, String>) -> Result<Advanced, Error> {
        let field = self.generate.judges.iter().position(|judge| judge.name == judgement.judge);
        let field = format!("spec.generate.judges[{}]", field.unwrap_or_default());
        let known = judgement.verdict.clone();
        if let Some(refused) = self.refused(&field, &judgement.judge) {
            return Ok(Advanced { draft: known, step: Step::Blocked(refused), requeue_at: None });
        }
        let text = |planner: &str| texts.get(planner).map(String::as_str).unwrap_or_default();
        let prompt = |previous: Option<PreviousAttempt<'_>>| {
            planning::judge_prompt(&JudgeInput {
                specification: &self.assignment.specification.parsed.model.source,
                first: text(&judgement.first),
                second: text(&judgement.second),
                rubric: self.generate.rubric.as_deref(),
                previous,
            })
        };
        let check = |document: &[u8]| planning::preference(document).map(drop);
        let job = AgentJob {
            ctx: &self.ctx.sourcing,
            subject: self.subject,
            member: self.member,
            now: self.assignment.observed.now,
            agent: &judgement.judge,
            field,
            max_attempts: self.generate.max_attempts,
            timeout_seconds: self.generate.timeout_seconds,
            workspace: None,
            known: Some(&known),
            hold: self.used_up.as_ref(),
            failed: FAILED,
            prompt: &prompt,
            check: &check,
        };
        job.advance(known.clone()).await
    }

    /// Sets the verdict of a comparison, and returns its record.
    fn decided(&self, judgement: &mut Judgement, document: &[u8]) -> Option<Record> {
        // The job has checked it in the same way.
        let preference = planning::preference(document).ok()?;
        judgement.state = JudgementState::Judged;
        judgement.preference = Some(preference.into());
        let digest = Digest::from(judgement.verdict.digest.clone()?);
        let request = Digest::from(judgement.verdict.request.clone());
        let event = Event::Judgement {
            // With the digest: a person can return to an earlier rubric, and the judge may then write something else.
            key: format!("{}/{}", request.short(), digest.short()),
            judge: judgement.judge.clone(),
            first: judgement.first.clone(),
            second: judgement.second.clone(),
            preference,
            digest,
        };
        Some(new_record(self.assignment.observed, self.member, ACTOR, event))
    }
}

/// Sets the points that judges give. Without any verdict, no proposal has them.
fn set_points(proposals: &mut [Proposal], judgements: &[Judgement]) {
    let comparisons: Vec<Comparison> = judgements
        .iter()
        .filter_map(|judgement| {
            let preference = judgement.preference?.into();
            Some(Comparison { first: &judgement.first, second: &judgement.second, preference })
        })
        .collect();
    for proposal in proposals.iter_mut().filter(|proposal| proposal.state == ProposalState::Proposed) {
        let component = (!comparisons.is_empty()).then(|| planning::judged(&proposal.agent, &comparisons));
        proposal.set_judged(component.as_ref());
    }
}
