//! Plans that agents write: the prompt of a planner, the check of its proposal, the score by which proposals are compared, judges, votes, and
//! the synthesis of several proposals.
//!
//! A proposal is the text of a Spec Kit tasks.md. The same inputs always give the same prompt, problem, score and choice.

mod check;
mod judging;
mod paths;
mod prompt;
mod score;
mod synthesis;
mod voting;

pub use check::check;
pub use judging::{
    Comparison, JUDGES, JudgeInput, MAX_COMPARED, MAX_JUDGED, Preference, judge_prompt, judged, pairs, preference,
};
pub use prompt::{PromptInput, ReplacedPlan, prompt};
pub use score::{Component, Input, MAX_SCORE, Score, score};
pub use synthesis::{Reasons, SynthesisInput, SynthesisSource, check_citations, synthesis_prompt};
pub use voting::{elected, voting_weight};

use std::cmp::Reverse;

/// Maximum number of planners of one plan.
pub const MAX_PLANNERS: usize = 8;

/// A proposal that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub agent: &'a str,
    pub score: u32,
    pub tasks: u32,
}

impl<'a> Candidate<'a> {
    /// Returns the key by which the best proposal is the lowest.
    fn rank(&self) -> (Reverse<u32>, u32, &'a str) {
        (Reverse(self.score), self.tasks, self.agent)
    }
}

/// Returns the index of the best proposal: the one with the highest score, then with the fewest tasks, then of the first agent by name.
pub fn best(candidates: &[Candidate]) -> Option<usize> {
    (0..candidates.len()).min_by_key(|index| candidates[*index].rank())
}

/// Returns the indices of the best proposals, at most `most` of them, the best one first.
pub fn best_of(candidates: &[Candidate], most: usize) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..candidates.len()).collect();
    ranked.sort_by_key(|index| candidates[*index].rank());
    ranked.truncate(most);
    ranked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(agent: &str, score: u32, tasks: u32) -> Candidate<'_> {
        Candidate { agent, score, tasks }
    }

    #[test]
    fn the_best_score_wins_and_ties_have_an_order() {
        assert_eq!(best(&[]), None);
        assert_eq!(best(&[candidate("a", 700, 3), candidate("b", 701, 9)]), Some(1));
        assert_eq!(best(&[candidate("a", 700, 9), candidate("b", 700, 3)]), Some(1));
        assert_eq!(best(&[candidate("b", 700, 3), candidate("a", 700, 3)]), Some(1));
    }

    #[test]
    fn the_best_proposals_come_first() {
        let all = [candidate("a", 1, 3), candidate("b", 9, 3), candidate("c", 9, 2)];
        assert_eq!((best_of(&all, 2), best_of(&all, 9)), (vec![2, 1], vec![2, 1, 0]));
        assert!(best_of(&[], 3).is_empty());
    }

    proptest! {
        #[test]
        fn the_order_of_proposals_does_not_matter(scores in proptest::collection::vec((0u32..3, 0u32..3), 1..8)) {
            let names: Vec<String> = (0..scores.len()).map(|n| format!("agent-{n}")).collect();
            let all: Vec<Candidate> =
                names.iter().zip(&scores).map(|(name, (score, tasks))| candidate(name, *score, *tasks)).collect();
            let reversed: Vec<Candidate> = all.iter().rev().copied().collect();
            prop_assert_eq!(best(&all).map(|index| all[index]), best(&reversed).map(|index| reversed[index]));
        }
    }
}
