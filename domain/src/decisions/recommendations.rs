//! Choices that worked in earlier plans of a tenant, for a question or for a specification.
//!
//! A choice worked in a plan if all tasks of the plan succeeded. It is recommended only while it is in force somewhere: a choice that was
//! replaced everywhere is not.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::conflicts::{MAX_TERMS, are_similar};
use super::{DecisionOutcome, PlanOutcome, State, choice_key, question_key};
use crate::analysis::significant_terms;
use crate::text::{one_line, truncated};
use crate::time::Millis;

/// Maximum number of recommendations for one question.
pub const MAX_FOR_QUESTION: usize = 20;
/// Maximum number of recommendations for one specification.
pub const MAX_FOR_SPECIFICATION: usize = 8;
/// Maximum number of sources of one recommendation.
pub const MAX_SOURCES: usize = 10;
/// Maximum number of significant words of a specification that are compared.
const MAX_SPECIFICATION_TERMS: usize = 4096;
/// A choice is recommended for a specification if the specification has this many of its significant words …
const LEAST_SHARED: usize = 2;
/// … or if it worked in this many plans.
const LEAST_PLANS: usize = 2;
/// Phase of a plan whose tasks have all succeeded.
const SUCCEEDED: &str = "Succeeded";
/// Maximum length of each text about one recommendation in a prompt, in bytes.
const MAX_SHOWN: usize = 240;

/// A choice that worked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recommendation {
    /// The question in the words of the newest source.
    pub question: String,
    pub choice: String,
    /// Reason of the newest source; empty if it has none.
    pub rationale: String,
    /// Number of plans in which it worked.
    pub plans: usize,
    /// Number of attempts at tasks of these plans.
    pub attempts: u64,
    /// Number of these attempts that failed because of their work.
    pub failed_attempts: u64,
    /// The decisions that it comes from, the newest first; at most 10.
    pub sources: Vec<RecommendationSource>,
}

/// A decision that a recommendation comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecommendationSource {
    /// Number of the decision in the record.
    pub decision: i64,
    pub namespace: String,
    /// Name of the Plan.
    pub plan: String,
    /// Name of the Specification.
    pub specification: String,
    /// Name of the Agent that proposed it.
    pub agent: String,
    /// Time of the choice.
    pub at: Millis,
}

/// Decisions for the same choice about the same question.
struct Group<'a> {
    key: String,
    choice: String,
    terms: HashSet<String>,
    /// Number of significant words that question and choice share with what is asked for.
    shared: usize,
    is_in_force: bool,
    /// Decisions whose plans succeeded, the newest first.
    worked: Vec<(&'a DecisionOutcome, &'a PlanOutcome)>,
}

/// Returns what worked for a question, the best first. `decisions` are those of the tenant, the newest first.
pub fn for_question(question: &str, decisions: &[DecisionOutcome]) -> Vec<Recommendation> {
    let asked = significant_terms(question, MAX_TERMS);
    let mut groups = ranked(&asked, decisions);
    groups.retain(|group| group.shared > 0);
    groups.iter().take(MAX_FOR_QUESTION).filter_map(Group::recommendation).collect()
}

/// Returns what worked and may help to plan a specification, the best first. `decisions` are those of the tenant, the newest first.
pub fn for_specification(specification: &str, decisions: &[DecisionOutcome]) -> Vec<Recommendation> {
    let asked = significant_terms(specification, MAX_SPECIFICATION_TERMS);
    let mut groups = ranked(&asked, decisions);
    groups.retain(|group| group.shared >= LEAST_SHARED || group.plans() >= LEAST_PLANS);
    groups.iter().take(MAX_FOR_SPECIFICATION).filter_map(Group::recommendation).collect()
}

/// Returns the choices that worked: those that share most words first, then those of most plans, then those with fewest failures.
fn ranked<'a>(asked: &HashSet<String>, decisions: &'a [DecisionOutcome]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for found in decisions.iter().filter(|found| found.decision.state != State::Withdrawn) {
        let (key, choice) = (question_key(&found.decision.question), choice_key(&found.decision.choice));
        let terms = significant_terms(&found.decision.question, MAX_TERMS);
        let of_choice = significant_terms(&found.decision.choice, MAX_TERMS);
        let shared = terms.union(&of_choice).filter(|term| asked.contains(*term)).count();
        let is_same = |group: &Group| group.choice == choice && (group.key == key || are_similar(&group.terms, &terms));
        let index = groups.iter().position(is_same).unwrap_or_else(|| {
            groups.push(Group { key, choice, terms, shared: 0, is_in_force: false, worked: Vec::new() });
            groups.len() - 1
        });
        let group = &mut groups[index];
        group.shared = group.shared.max(shared);
        group.is_in_force |= found.decision.state == State::InForce;
        group.worked.extend(found.outcome.as_ref().filter(|outcome| worked(outcome)).map(|outcome| (found, outcome)));
    }
    groups.retain(|group| group.is_in_force && !group.worked.is_empty());
    // The sort is stable, so that the newest decision is first among equals.
    groups.sort_by_cached_key(|group| (Reverse(group.shared), Reverse(group.plans()), group.failures_per_mille()));
    groups
}

fn worked(outcome: &PlanOutcome) -> bool {
    outcome.state.as_deref() == Some(SUCCEEDED) && outcome.failed_tasks == 0
}

impl Group<'_> {
    /// Returns each plan once, though it can have decided similar questions.
    fn outcomes(&self) -> Vec<&PlanOutcome> {
        let mut seen = BTreeSet::new();
        let first = self.worked.iter().filter(|(found, _)| seen.insert(&found.decision.plan_uid));
        first.map(|(_, outcome)| *outcome).collect()
    }

    fn plans(&self) -> usize {
        self.outcomes().len()
    }

    fn attempts(&self) -> (u64, u64) {
        let outcomes = self.outcomes();
        let sum = |of: fn(&PlanOutcome) -> u64| outcomes.iter().fold(0_u64, |sum, o| sum.saturating_add(of(o)));
        (sum(|outcome| outcome.attempts), sum(|outcome| outcome.failed_attempts))
    }

    fn failures_per_mille(&self) -> u64 {
        let (attempts, failed) = self.attempts();
        failed.saturating_mul(1000) / attempts.max(1)
    }

    fn recommendation(&self) -> Option<Recommendation> {
        let (newest, _) = self.worked.first()?;
        let (attempts, failed_attempts) = self.attempts();
        let source = |(found, _): &(&DecisionOutcome, &PlanOutcome)| {
            let decision = &found.decision;
            RecommendationSource {
                decision: decision.id,
                namespace: decision.namespace.clone(),
                plan: decision.plan.clone(),
                specification: decision.specification.clone(),
                agent: decision.agent.clone(),
                at: decision.at,
            }
        };
        Some(Recommendation {
            question: newest.decision.question.clone(),
            choice: newest.decision.choice.clone(),
            rationale: newest.decision.rationale.clone(),
            plans: self.plans(),
            attempts,
            failed_attempts,
            sources: self.worked.iter().take(MAX_SOURCES).map(source).collect(),
        })
    }
}

impl Recommendation {
    /// Returns the recommendation with its newest source as lines of a prompt. Each text of an agent stays on one line.
    pub(crate) fn describe(&self) -> String {
        let shown = |text: &str| truncated(&one_line(text), MAX_SHOWN).to_owned();
        let mut text = format!("{}: {}\n", shown(&self.question), shown(&self.choice));
        if !self.rationale.trim().is_empty() {
            let _ = writeln!(text, "  Reason: {}", shown(&self.rationale));
        }
        if let Some(RecommendationSource { decision, namespace, plan, .. }) = self.sources.first() {
            let _ = writeln!(
                text,
                "  Source: decision {decision} of Plan {namespace}/{plan}; plans that succeeded with it: {}; failed attempts: {} of {}",
                self.plans, self.failed_attempts, self.attempts
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::RecordedDecision;

    /// Returns a decision of a plan that succeeded with 10 attempts, of which `failed` failed.
    fn decided(id: i64, plan: &str, question: &str, choice: &str, failed: u64) -> DecisionOutcome {
        let decision = RecordedDecision {
            id,
            state: State::InForce,
            question: question.into(),
            choice: choice.into(),
            rationale: format!("reason of {plan}"),
            consequences: String::new(),
            alternatives: Vec::new(),
            namespace: "shop".into(),
            plan: plan.into(),
            plan_uid: format!("uid-{plan}"),
            specification: "shop".into(),
            specification_digest: "sha256:1".into(),
            proposal: "sha256:2".into(),
            agent: "claude".into(),
            chosen_by: None,
            at: Millis(id),
            supersedes: None,
            superseded_by: None,
        };
        let outcome = PlanOutcome {
            state: Some(SUCCEEDED.into()),
            attempts: 10,
            failed_attempts: failed,
            ..PlanOutcome::default()
        };
        DecisionOutcome { decision, outcome: Some(outcome) }
    }

    fn in_state(state: State, found: DecisionOutcome) -> DecisionOutcome {
        DecisionOutcome { decision: RecordedDecision { state, ..found.decision }, ..found }
    }

    fn choices(found: &[Recommendation]) -> Vec<&str> {
        found.iter().map(|found| found.choice.as_str()).collect()
    }

    #[test]
    fn only_choices_of_plans_that_succeeded_are_recommended() {
        let question = "Where are carts stored?";
        let mut failed = decided(3, "failed", question, "Files", 0);
        failed.outcome.as_mut().unwrap().failed_tasks = 1;
        let mut running = decided(2, "running", question, "Redis", 0);
        running.outcome.as_mut().unwrap().state = Some("Running".into());
        let mut not_started = decided(4, "later", question, "Tape", 0);
        not_started.outcome = None;
        let decisions = [not_started, failed, running, decided(1, "cart", question, "Postgres", 0)];
        assert_eq!(choices(&for_question("storage of carts", &decisions)), ["Postgres"]);
        assert_eq!(for_question("authentication of users", &decisions), []);
    }

    #[test]
    fn a_choice_that_was_replaced_everywhere_is_not_recommended() {
        let question = "Where are carts stored?";
        let superseded = |id, plan, choice| in_state(State::Superseded, decided(id, plan, question, choice, 0));
        let decisions = [
            decided(9, "new", question, "Postgres", 0),
            superseded(8, "middle", "Postgres"),
            superseded(7, "old", "Redis"),
            in_state(State::Withdrawn, decided(6, "gone", question, "Tape", 0)),
        ];
        let found = for_question("Where are the carts stored", &decisions);
        assert_eq!(choices(&found), ["Postgres"]);
        let ids: Vec<i64> = found[0].sources.iter().map(|source| source.decision).collect();
        assert_eq!((found[0].plans, ids), (2, vec![9, 8]), "an earlier decision for the same choice is a source");
    }

    #[test]
    fn similar_questions_support_the_same_choice() {
        let decisions = [
            decided(3, "cart", "Where do we store the carts?", "Postgres", 1),
            decided(2, "basket", "Where are carts stored?", "**Postgres**.", 2),
            decided(1, "orders", "Storage of orders", "Postgres", 0),
        ];
        let found = for_question("Where are carts stored?", &decisions);
        assert_eq!((found[0].plans, found[0].attempts, found[0].failed_attempts), (2, 20, 3));
        assert_eq!(
            (found[0].question.as_str(), found[0].rationale.as_str()),
            ("Where do we store the carts?", "reason of cart")
        );
    }

    #[test]
    fn fewer_failures_are_better() {
        let decisions =
            [decided(2, "a", "Storage of carts", "Redis", 5), decided(1, "b", "Storage of carts", "Postgres", 1)];
        assert_eq!(choices(&for_question("storage of carts", &decisions)), ["Postgres", "Redis"]);
    }

    #[test]
    fn a_specification_gets_what_it_is_about_and_what_is_common() {
        let decisions = [
            decided(5, "a", "Test framework", "pytest", 0),
            decided(4, "b", "Test framework", "pytest", 0),
            decided(3, "c", "Colour of the banner", "red", 0),
            decided(2, "d", "Storage of carts", "Postgres", 0),
        ];
        let found = for_specification("A cart MUST be kept in storage for 30 days. Carts hold articles.", &decisions);
        assert_eq!(choices(&found), ["Postgres", "pytest"]);
        let many: Vec<_> =
            (0..50).map(|id| decided(id, &format!("p{id}"), "Storage of carts", &format!("store {id}"), 0)).collect();
        assert_eq!(for_specification("storage of carts", &many).len(), MAX_FOR_SPECIFICATION);
        assert_eq!(for_question("storage of carts", &many).len(), MAX_FOR_QUESTION);
    }

    #[test]
    fn the_description_names_the_source_and_stays_bounded() {
        let long = format!("store\n# {}", "x".repeat(10_000));
        let found = for_question("storage of carts", &[decided(7, "cart", "Storage of carts", &long, 2)]);
        let text = found[0].describe();
        assert!(
            text.ends_with(
                "Source: decision 7 of Plan shop/cart; plans that succeeded with it: 1; failed attempts: 2 of 10\n"
            ),
            "{text}"
        );
        assert!(text.len() < 1000 && text.lines().count() == 3, "{text}");
    }
}
