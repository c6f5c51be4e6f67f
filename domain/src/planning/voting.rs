//! Votes: planners decide conflicts between their proposals with the proficiency that their Agents declare.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Candidate;

/// The weight in a capability that an Agent does not declare: the lowest proficiency that one can declare.
const UNDECLARED: u32 = 1;

/// Returns the weight of a planner's votes, from 1 to 100: its mean proficiency in the capabilities that the proposals need. Without any
/// need, all planners have the same weight.
pub fn voting_weight(needs: &BTreeSet<String>, capabilities: &BTreeMap<String, u8>) -> u32 {
    let proficiency =
        |need: &String| capabilities.get(need).map_or(UNDECLARED, |declared| u32::from(*declared).min(100));
    let sum: u32 = needs.iter().map(proficiency).sum();
    let count = u32::try_from(needs.len()).unwrap_or(u32::MAX);
    sum.checked_div(count).unwrap_or_default().max(UNDECLARED)
}

/// Returns the index of the proposal with the most votes, and among equals of the best one by its score. Each candidate has its votes.
pub fn elected(candidates: &[(Candidate, u32)]) -> Option<usize> {
    (0..candidates.len()).min_by_key(|index| {
        let (candidate, votes) = &candidates[*index];
        (Reverse(*votes), candidate.rank())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_is_the_mean_proficiency_in_what_the_proposals_need() {
        let needs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let declared = BTreeMap::from([("rust".to_owned(), 90), ("docs".to_owned(), 30)]);
        assert_eq!(voting_weight(&needs(&["rust"]), &declared), 90);
        assert_eq!(voting_weight(&needs(&["rust", "docs"]), &declared), 60);
        assert_eq!(voting_weight(&needs(&["rust", "go"]), &declared), 45, "one that it does not declare counts 1");
        assert_eq!(voting_weight(&needs(&["go"]), &BTreeMap::new()), 1);
        assert_eq!(voting_weight(&needs(&[]), &declared), 1, "all planners have the same weight");
    }

    #[test]
    fn the_most_votes_win_and_ties_are_decided_by_the_score() {
        let candidate = |agent, score| Candidate { agent, score, tasks: 3 };
        let (a, b) = (candidate("a", 900), candidate("b", 700));
        assert_eq!(elected(&[]), None);
        assert_eq!(elected(&[(a, 60), (b, 90)]), Some(1));
        assert_eq!(elected(&[(b, 60), (a, 60)]), Some(1));
        assert_eq!(elected(&[(b, 0), (a, 0)]), Some(1), "without conflicts, the score decides");
    }
}
