//! Conflicts between the decisions of the proposals for one plan, and how its planners vote on them.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::{Decision, choice_key, question_key};
use crate::analysis::significant_terms;

/// Two questions are similar if they have at least this many significant words in common …
const LEAST_SHARED: usize = 2;
/// … and if these are at least two thirds of the different words of both. Of two questions with five significant words, one may differ.
const SIMILAR: (usize, usize) = (2, 3);
/// Maximum number of significant words of a question that are compared, so that long questions cost little.
const MAX_TERMS: usize = 16;

/// A question on which proposals decide differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The question in the words of the first proposal.
    pub question: String,
    /// What the proposals decide that decide it, in their order.
    pub positions: Vec<Position>,
}

/// What one proposal decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Name of the planner.
    pub agent: String,
    /// The question in the words of this proposal.
    pub question: String,
    pub choice: String,
    /// Reason for the choice; empty if the proposal gives none.
    pub rationale: String,
    /// Line in the proposal, counted from 1.
    pub line: u32,
}

/// The decisions about one question.
struct Topic<'a> {
    key: String,
    terms: HashSet<String>,
    decisions: Vec<(&'a str, &'a Decision)>,
}

/// Returns the questions on which proposals decide differently, in the order of the first proposal that decides them. `proposals` are
/// planners with their decisions.
///
/// Two decisions are about the same question if it has the same words, or else if at least two thirds of its significant words are the
/// same. Of each proposal, at most one decision belongs to a question.
pub fn conflicts(proposals: &[(&str, &[Decision])]) -> Vec<Conflict> {
    let mut topics: Vec<Topic> = Vec::new();
    for &(agent, decisions) in proposals {
        // The same words first, so that a similar question does not take the place of the same one.
        let mut others = Vec::new();
        for decision in decisions {
            let key = question_key(&decision.question);
            match topics.iter_mut().find(|topic| topic.key == key && !topic.has(agent)) {
                Some(topic) => topic.decisions.push((agent, decision)),
                None => others.push((key, decision)),
            }
        }
        for (key, decision) in others {
            let terms = significant_terms(&decision.question, MAX_TERMS);
            match topics.iter_mut().find(|topic| !topic.has(agent) && are_similar(&topic.terms, &terms)) {
                Some(topic) => topic.decisions.push((agent, decision)),
                None => topics.push(Topic { key, terms, decisions: vec![(agent, decision)] }),
            }
        }
    }
    topics.iter().filter_map(Topic::conflict).collect()
}

impl Topic<'_> {
    fn has(&self, agent: &str) -> bool {
        self.decisions.iter().any(|(other, _)| *other == agent)
    }

    /// Returns the conflict, if there is more than one choice.
    fn conflict(&self) -> Option<Conflict> {
        let choices: HashSet<String> =
            self.decisions.iter().map(|(_, decision)| choice_key(&decision.choice)).collect();
        let (_, first) = self.decisions.first().filter(|_| choices.len() > 1)?;
        let position = |(agent, decision): &(&str, &Decision)| Position {
            agent: (*agent).to_owned(),
            question: decision.question.clone(),
            choice: decision.choice.clone(),
            rationale: decision.rationale.clone(),
            line: decision.line,
        };
        Some(Conflict { question: first.question.clone(), positions: self.decisions.iter().map(position).collect() })
    }
}

/// Returns whether two sets of words belong to similar questions.
fn are_similar(one: &HashSet<String>, other: &HashSet<String>) -> bool {
    let shared = one.intersection(other).count();
    let all = one.len() + other.len() - shared;
    shared >= LEAST_SHARED && shared * SIMILAR.1 >= all * SIMILAR.0
}

/// Returns the votes for the choices of each planner in conflicts. In each conflict, every planner that decides it votes for its own choice,
/// with its weight, and a planner gets all votes for the choice that it made. A planner without a decision in a conflict has no entry.
pub fn votes(conflicts: &[Conflict], weight: impl Fn(&str) -> u32) -> BTreeMap<&str, u32> {
    let mut votes: BTreeMap<&str, u32> = BTreeMap::new();
    for Conflict { positions, .. } in conflicts {
        let mut by_choice: BTreeMap<String, u32> = BTreeMap::new();
        for position in positions {
            let given = by_choice.entry(choice_key(&position.choice)).or_default();
            *given = given.saturating_add(weight(&position.agent));
        }
        for position in positions {
            let own = votes.entry(&position.agent).or_default();
            *own = own.saturating_add(by_choice[&choice_key(&position.choice)]);
        }
    }
    votes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decided(question: &str, choice: &str) -> Decision {
        Decision { question: question.into(), choice: choice.into(), line: 5, ..Decision::default() }
    }

    /// Returns the agents and choices of each conflict.
    fn found(proposals: &[(&str, &[Decision])]) -> Vec<Vec<(String, String)>> {
        let positions = |conflict: Conflict| {
            conflict.positions.into_iter().map(|position| (position.agent, position.choice)).collect()
        };
        conflicts(proposals).into_iter().map(positions).collect()
    }

    fn pair(agent: &str, choice: &str) -> (String, String) {
        (agent.to_owned(), choice.to_owned())
    }

    #[test]
    fn other_choices_about_the_same_question_are_a_conflict() {
        let a = [decided("Where are carts stored?", "Postgres"), decided("Format of exports", "CSV")];
        let b = [decided("where are carts stored", "Redis"), decided("Format of exports", "`csv`.")];
        let c = [decided("Where are carts stored?", "**Postgres**")];
        let expected = vec![vec![pair("a", "Postgres"), pair("b", "Redis"), pair("c", "**Postgres**")]];
        assert_eq!(found(&[("a", &a), ("b", &b), ("c", &c)]), expected);
        assert_eq!(found(&[("a", &a), ("c", &c)]), Vec::<Vec<_>>::new(), "they agree");
        assert_eq!(found(&[("a", &a)]), Vec::<Vec<_>>::new());
    }

    #[test]
    fn similar_questions_are_the_same_and_keep_their_words() {
        let (a, b) =
            ([decided("Where do we store the carts?", "Postgres")], [decided("Where are carts stored?", "Redis")]);
        let conflict = conflicts(&[("a", &a), ("b", &b)]).remove(0);
        assert_eq!(conflict.question, "Where do we store the carts?");
        assert_eq!(conflict.positions[1].question, "Where are carts stored?");
        for (one, other) in [
            ("Storage of carts", "Storage of orders"),
            ("Cache for pages of carts", "Cache for pages of orders"),
            ("Language", "Which language?  Version"),
        ] {
            let (a, b) = ([decided(one, "x")], [decided(other, "y")]);
            assert_eq!(found(&[("a", &a), ("b", &b)]), Vec::<Vec<_>>::new(), "{one} | {other}");
        }
    }

    #[test]
    fn the_same_words_win_over_similar_ones() {
        let a = [decided("Storage of old carts", "Disk"), decided("Storage of carts", "Postgres")];
        let b = [decided("Storage of carts", "Redis")];
        assert_eq!(found(&[("a", &a), ("b", &b)]), [[pair("a", "Postgres"), pair("b", "Redis")]]);
    }

    #[test]
    fn planners_vote_with_their_weight() {
        let (store, format) = ("Where are carts stored?", "Format of exports");
        let a = [decided(store, "Postgres"), decided(format, "CSV")];
        let b = [decided(store, "Redis"), decided(format, "JSON")];
        let c = [decided(store, "Redis")];
        let conflicts = conflicts(&[("a", &a), ("b", &b), ("c", &c)]);
        let weight = |agent: &str| if agent == "a" { 90 } else { 30 };
        assert_eq!(votes(&conflicts, weight), BTreeMap::from([("a", 180), ("b", 90), ("c", 60)]));
        assert_eq!(votes(&conflicts, |_| 1), BTreeMap::from([("a", 2), ("b", 3), ("c", 2)]));
        assert_eq!(votes(&[], weight), BTreeMap::new());
    }

    proptest! {
        #[test]
        fn every_position_is_a_decision_of_its_agent(
            choices in proptest::collection::vec((0usize..3, 0u8..4, 0u8..3), 0..30)
        ) {
            let names = ["a", "b", "c"];
            let of = |agent: usize| -> Vec<Decision> {
                let own = choices.iter().filter(|(by, _, _)| *by == agent);
                own.map(|(_, question, choice)| decided(&format!("question q{question}"), &format!("c{choice}"))).collect()
            };
            let all = [of(0), of(1), of(2)];
            let proposals: Vec<(&str, &[Decision])> = names.into_iter().zip(all.iter().map(Vec::as_slice)).collect();
            let found = conflicts(&proposals);
            for conflict in &found {
                let agents: HashSet<&str> = conflict.positions.iter().map(|position| position.agent.as_str()).collect();
                prop_assert_eq!(agents.len(), conflict.positions.len());
                prop_assert!(agents.len() > 1);
            }
            let most: u32 = found.iter().map(|conflict| u32::try_from(conflict.positions.len()).unwrap()).sum();
            prop_assert!(votes(&found, |_| 1).values().all(|own| *own < most.max(1)));
        }
    }
}
