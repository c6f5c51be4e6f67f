//! What proposals decide differently, and the votes of their planners.

use std::collections::{BTreeMap, BTreeSet};

use enact_crds::compile;
use enact_crds::plan::{PlanStatus, Proposal, ProposalState, UnreadTasks};
use enact_domain::decisions::{self, Conflict, Decision};
use enact_domain::planning;

use super::Planning;
use crate::documents::findings::len;
use crate::error::Error;

impl Planning<'_> {
    /// Returns the number of questions that the proposals of the planners decide differently, and sets the votes of these proposals. There is
    /// none before all planners have ended. While the proposals in the status are the same, its number and votes stay: the record is not read,
    /// and an Agent that changes changes no votes.
    pub(super) async fn conflicts(
        &self,
        proposals: &mut [Proposal],
        status: &PlanStatus,
    ) -> Result<Option<u32>, Error> {
        if proposals.iter().any(|proposal| proposal.state == ProposalState::Planning) {
            return Ok(None);
        }
        let with_votes = |proposals: &[Proposal]| -> Vec<(String, Option<String>)> {
            let voted = proposals.iter().filter(|proposal| proposal.votes.is_some());
            voted.map(|proposal| (proposal.agent.clone(), proposal.digest.clone())).collect()
        };
        let is_counted = proposals.iter().all(|p| p.state != ProposalState::Proposed || p.votes.is_some());
        if is_counted && status.conflicts.is_some() && with_votes(proposals) == with_votes(&status.proposals) {
            return Ok(status.conflicts);
        }
        let texts = self.texts(proposals).await?;
        let found = conflicts(&texts);
        let weights = if found.is_empty() { BTreeMap::new() } else { self.weights(&texts) };
        let votes = decisions::votes(&found, |planner| weights.get(planner).copied().unwrap_or_default());
        for proposal in proposals.iter_mut().filter(|proposal| proposal.state == ProposalState::Proposed) {
            proposal.votes = Some(votes.get(proposal.agent.as_str()).copied().unwrap_or_default());
        }
        Ok(Some(len(found.len())))
    }

    /// Returns the weight of each planner's votes, by what the tasks of all proposals need.
    fn weights(&self, texts: &BTreeMap<String, String>) -> BTreeMap<String, u32> {
        let needs = texts.values().flat_map(|text| {
            let parsed = compile::parse(text.as_bytes(), UnreadTasks::Refuse);
            compile::open_tasks(&parsed).iter().flat_map(|task| compile::needs(task).names).collect::<BTreeSet<_>>()
        });
        let needs: BTreeSet<String> = needs.collect();
        let weight = |planner: &String| {
            let agent = self.ctx.agent(&self.subject.namespace, &self.member.tenant, planner);
            let declared = agent.iter().flat_map(|agent| &agent.spec.capabilities);
            let declared = declared.map(|capability| (capability.name.clone(), capability.proficiency)).collect();
            (planner.clone(), planning::voting_weight(&needs, &declared))
        };
        texts.keys().map(weight).collect()
    }
}

/// Returns what proposals decide differently. `texts` are their texts by their planners.
pub(super) fn conflicts(texts: &BTreeMap<String, String>) -> Vec<Conflict> {
    let read = texts.iter().map(|(planner, text)| (planner.as_str(), decisions::read(text.as_bytes())));
    let read: Vec<(&str, Vec<Decision>)> = read.collect();
    let proposals: Vec<(&str, &[Decision])> =
        read.iter().map(|(planner, decisions)| (*planner, decisions.as_slice())).collect();
    decisions::conflicts(&proposals)
}
