//! The choice among the proposals: by a person, by score, by votes, or of a synthesis.

use std::collections::BTreeSet;

use enact_crds::plan::{Generate, GeneratedPlan, Judgement, Proposal, ProposalSelection, ProposalState};
use enact_domain::condition::Readiness;
use enact_domain::planning::{self, Candidate, MAX_COMPARED};
use enact_domain::reason::Reason;
use enact_domain::stamps::Stamps;
use enact_domain::text;

/// The reason when no planner has a usable proposal.
pub(super) const FAILED: &str = "PlanningFailed";
/// Maximum length of the message about a choice, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024;

/// Which proposal becomes the tasks.md.
#[derive(Debug, PartialEq)]
pub(super) enum Choice {
    /// Planners still work.
    None,
    /// A person has to do something.
    Waits(Readiness),
    Made(GeneratedPlan),
}

/// Returns a proposal as a candidate for the choice.
fn candidate(proposal: &Proposal) -> Candidate<'_> {
    let (score, tasks) = (proposal.score.unwrap_or_default(), proposal.tasks.unwrap_or_default());
    Candidate { agent: &proposal.agent, score, tasks }
}

/// Chooses among the proposals. The choice of a person counts at once; the selection counts when all planners, judges and the synthesizer have
/// ended, which `has_ended` says of the last two. `stamps` say who made the choice.
pub(super) fn choose(
    plan: &str,
    generate: &Generate,
    stamps: &Stamps,
    proposals: &[Proposal],
    has_ended: bool,
) -> Choice {
    let is_usable = |proposal: &&Proposal| proposal.state == ProposalState::Proposed;
    if let Some(chosen) = &generate.chosen
        && proposals
            .iter()
            .filter(is_usable)
            .any(|p| p.agent == chosen.agent && p.digest.as_ref() == Some(&chosen.digest))
    {
        let (agent, digest) = (chosen.agent.clone(), chosen.digest.clone());
        let by = chosen.by(stamps).map(str::to_owned);
        return Choice::Made(GeneratedPlan { agent, digest, by, ..GeneratedPlan::default() });
    }
    if !has_ended || proposals.iter().any(|proposal| proposal.state == ProposalState::Planning) {
        return Choice::None;
    }
    let merger = synthesizer(generate);
    let (combined, planned): (Vec<&Proposal>, Vec<&Proposal>) =
        proposals.iter().partition(|proposal| merger == Some(proposal.agent.as_str()));
    let usable: Vec<&Proposal> = planned.into_iter().filter(is_usable).collect();
    let candidates: Vec<Candidate> = usable.iter().map(|proposal| candidate(proposal)).collect();
    let Some(best) = planning::best(&candidates).and_then(|index| usable.get(index)) else {
        return Choice::Waits(failed(proposals));
    };
    let (chosen, message) = match generate.selection {
        ProposalSelection::Person => {
            let message = format!(
                "{} proposals wait for the choice of a person; compare them with `kubectl enact explain plan/{plan}`, and choose with \
                 `kubectl enact choose {plan} --agent {}`",
                usable.len(),
                best.agent
            );
            return Choice::Waits(Readiness::stalled("WaitingForChoice", message));
        }
        ProposalSelection::BestScore => (*best, None),
        ProposalSelection::Votes => voted(&usable, &candidates).unwrap_or((*best, None)),
        ProposalSelection::Synthesis => synthesized(best, combined.first().copied()),
    };
    Choice::Made(GeneratedPlan {
        agent: chosen.agent.clone(),
        digest: chosen.digest.clone().unwrap_or_default(),
        message: message.map(|message| text::message(message, MAX_MESSAGE_BYTES)),
        ..GeneratedPlan::default()
    })
}

/// Returns the proposal with the most votes for its choices, and why it is chosen: its votes, if there are any.
fn voted<'p>(usable: &[&'p Proposal], candidates: &[Candidate]) -> Option<(&'p Proposal, Option<String>)> {
    let votes = |proposal: &Proposal| proposal.votes.unwrap_or_default();
    let with_votes: Vec<(Candidate, u32)> =
        candidates.iter().copied().zip(usable.iter().map(|proposal| votes(proposal))).collect();
    let chosen = *usable.get(planning::elected(&with_votes)?)?;
    let others = usable.iter().filter(|proposal| proposal.agent != chosen.agent);
    let others: Vec<String> = others.map(|other| format!("that of {} has {}", other.agent, votes(other))).collect();
    let message =
        format!("it has {} weighted votes where proposals decide differently; {}", votes(chosen), others.join(", "));
    let message = (votes(chosen) > 0 && !others.is_empty()).then_some(message);
    Some((chosen, message))
}

/// Returns the name of the synthesizer, if the plan has one.
pub(super) fn synthesizer(generate: &Generate) -> Option<&str> {
    let named = generate.synthesizer.as_ref().filter(|_| generate.selection == ProposalSelection::Synthesis);
    named.map(|agent| agent.name.as_str())
}

/// Returns the proposals that a synthesis combines, the best one first. The synthesis itself is none of them.
pub(super) fn sources<'p>(generate: &Generate, proposals: &'p [Proposal]) -> Vec<&'p Proposal> {
    let is_source = |proposal: &&Proposal| {
        proposal.state == ProposalState::Proposed && synthesizer(generate) != Some(proposal.agent.as_str())
    };
    let usable: Vec<&Proposal> = proposals.iter().filter(is_source).collect();
    let candidates: Vec<_> = usable.iter().map(|proposal| candidate(proposal)).collect();
    planning::best_of(&candidates, MAX_COMPARED).into_iter().map(|index| usable[index]).collect()
}

/// Returns the proposal that is chosen, and why: the synthesis if it is usable and has at least the score of the best proposal, both without the
/// points of judges, who have not seen the synthesis; else the best proposal.
fn synthesized<'p>(best: &'p Proposal, synthesis: Option<&'p Proposal>) -> (&'p Proposal, Option<String>) {
    let Some(synthesis) = synthesis else {
        return (best, Some("there is no other proposal to combine it with".to_owned()));
    };
    let agent = &synthesis.agent;
    if synthesis.state != ProposalState::Proposed {
        let problem = synthesis.problem.as_deref().unwrap_or("it delivered nothing");
        return (best, Some(format!("it is the best one, and Agent {agent} has no usable synthesis: {problem}")));
    }
    let (points, most) = (synthesis.score_of_document(), best.score_of_document());
    if points < most {
        let message = format!(
            "it has {most} points without those of judges, and the synthesis of Agent {agent} has only {points}"
        );
        return (best, Some(message));
    }
    let message = format!(
        "it combines the best proposals, and has {points} points; that of Agent {} has {most} without those of judges",
        best.agent
    );
    (synthesis, Some(message))
}

/// Returns who wrote the agents on which a choice depends: the planner of the proposal, the judges, whose points count, the planners of what a
/// synthesis combines, and the planners that voted.
pub(super) fn authors(
    generate: &Generate,
    made: &GeneratedPlan,
    proposals: &[Proposal],
    judgements: &[Judgement],
) -> Vec<String> {
    let wrote = proposals.iter().filter(|p| p.agent == made.agent && p.digest.as_ref() == Some(&made.digest));
    let combined =
        if synthesizer(generate) == Some(made.agent.as_str()) { sources(generate, proposals) } else { Vec::new() };
    let has_voted = |proposal: &&Proposal| {
        generate.selection == ProposalSelection::Votes && made.by.is_none() && proposal.state == ProposalState::Proposed
    };
    let planners = wrote.chain(combined).chain(proposals.iter().filter(has_voted));
    let judges = judgements.iter().flat_map(|judgement| &judgement.verdict.authors);
    let all: BTreeSet<&String> = planners.flat_map(|planner| &planner.authors).chain(judges).collect();
    all.into_iter().cloned().collect()
}

/// Returns the reason when no planner has a usable proposal.
fn failed(proposals: &[Proposal]) -> Readiness {
    let problem = |proposal: &Proposal| {
        let problem = proposal.problem.as_deref().unwrap_or("the pod was deleted before the operator read its result");
        format!("Agent {}: {problem}", proposal.agent)
    };
    let problems: Vec<String> = proposals.iter().map(problem).collect();
    let budget = Reason::BudgetExceeded.as_str();
    // As the pod of an attempt reports it.
    let is_budget = |proposal: &Proposal| {
        proposal.problem.as_ref().is_some_and(|problem| problem.starts_with(&format!("{budget}: ")))
    };
    let (reason, remedy) = if proposals.iter().any(is_budget) {
        (budget, "raise the budget that the problems name, and spec.generate.maxAttempts")
    } else {
        (FAILED, "change spec.generate (guidance, agents), raise spec.generate.maxAttempts")
    };
    let message = format!(
        "no planner has delivered a usable proposal; {remedy}, or write the tasks into spec.source. The last problems: {}",
        problems.join("; ")
    );
    Readiness::stalled(reason, message)
}
