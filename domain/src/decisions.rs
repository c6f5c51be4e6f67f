//! Decisions that proposals for plans make, as in Spec Kit's research.md, and whether they contradict recorded ones.
//!
//! Two decisions are about the same question if its words are the same. They agree if the choices have the same words. Between the proposals
//! for one plan, similar questions count as the same, too.

mod conflicts;
pub mod recommendations;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::speckit::{Item, research};
use crate::text::{self, one_line};
use crate::time::Millis;

pub use conflicts::{Conflict, Position, conflicts, votes};

/// Maximum number of decisions of one proposal that are read.
pub const MAX_DECISIONS: usize = 100;
/// Maximum number of alternatives of one decision that are read.
pub const MAX_ALTERNATIVES: usize = 20;
/// Maximum length of a question, in bytes.
pub const MAX_QUESTION_BYTES: usize = 256;
/// Maximum length of every other text, in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;
/// Maximum length of a choice in a message, in bytes.
const MAX_QUOTED_BYTES: usize = 80;
/// Maximum number of sources of one decision that are read.
const MAX_SOURCES: usize = 16;
/// Maximum length of the name of a source, in bytes: that of the name of an object.
const MAX_SOURCE_BYTES: usize = 253;

/// A decision of a proposal. Each text is one line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Question or topic: the title of the decision.
    pub question: String,
    /// Chosen option.
    pub choice: String,
    /// Reason for the choice; empty if the proposal gives none.
    pub rationale: String,
    /// What follows from it; empty if the proposal does not say it.
    pub consequences: String,
    /// Options that were rejected.
    pub alternatives: Vec<String>,
    /// Line in the proposal, counted from 1.
    pub line: u32,
}

/// A decision of a synthesis, and the proposals that it names as its sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Citation {
    #[serde(flatten)]
    pub decision: Decision,
    /// Names after `**Taken from**`.
    pub taken_from: Vec<String>,
}

/// Whether a recorded decision still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It is the newest decision about its question in the namespace.
    InForce,
    /// A later decision about the same question replaces it.
    Superseded,
    /// Its proposal does not count any more: the plan chose again, or was deleted before it started.
    Withdrawn,
}

/// A decision in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedDecision {
    /// Number of the decision, unique in the record.
    pub id: i64,
    pub state: State,
    pub question: String,
    pub choice: String,
    pub rationale: String,
    pub consequences: String,
    pub alternatives: Vec<String>,
    pub namespace: String,
    /// Name of the Plan.
    pub plan: String,
    pub plan_uid: String,
    /// Name of the Specification.
    pub specification: String,
    pub specification_digest: String,
    /// Digest of the proposal.
    pub proposal: String,
    /// Name of the Agent that proposed it.
    pub agent: String,
    /// User who chose the proposal; none if no person did.
    pub chosen_by: Option<String>,
    /// Time of the choice.
    pub at: Millis,
    /// The decision about the same question that this one replaces.
    pub supersedes: Option<i64>,
    /// The decision about the same question that replaces this one.
    pub superseded_by: Option<i64>,
}

/// What became of the plan of a decision so far, as the record has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanOutcome {
    /// Last phase of the Plan; none if it has not started.
    pub state: Option<String>,
    pub succeeded_tasks: u64,
    pub failed_tasks: u64,
    /// Number of tasks that ran again after they had passed: their work was stale, or a person requested it.
    pub repeated_tasks: u64,
    /// Number of attempts at tasks.
    pub attempts: u64,
    /// Number of attempts that failed because of their work, and not because of the infrastructure.
    pub failed_attempts: u64,
    /// Number of attempts, those of the integration included, whose work is not a part of the result.
    pub discarded_attempts: u64,
    pub tokens: u64,
    /// The known part of the cost.
    pub cost_micro_usd: u64,
    /// The part of the tokens whose price is unknown.
    pub unpriced_tokens: u64,
    /// The part of the cost that belongs to the discarded attempts.
    pub discarded_cost_micro_usd: u64,
}

/// A decision in the record, with what became of its plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionOutcome {
    #[serde(flatten)]
    pub decision: RecordedDecision,
    /// None for a withdrawn decision: the plan was not carried out with it.
    pub outcome: Option<PlanOutcome>,
}

impl DecisionOutcome {
    /// Adds to decisions what became of their plans, by the UID of the plan.
    pub fn join(decisions: Vec<RecordedDecision>, outcomes: &BTreeMap<String, PlanOutcome>) -> Vec<Self> {
        let add = |decision: RecordedDecision| {
            let outcome = outcomes.get(&decision.plan_uid).filter(|_| decision.state != State::Withdrawn).cloned();
            Self { decision, outcome }
        };
        decisions.into_iter().map(add).collect()
    }
}

/// Reads the decisions of a proposal in the order of the document. One without a choice is left out. Repeated questions get a number, since
/// a heading with several decisions does not say what each of them is about.
pub fn read(document: &[u8]) -> Vec<Decision> {
    citations(document).into_iter().map(|citation| citation.decision).collect()
}

/// Reads the decisions of a proposal like [`read`], with their sources.
pub fn citations(document: &[u8]) -> Vec<Citation> {
    let mut seen: HashMap<String, u32> = HashMap::new();
    let citation = |found: &research::Decision| {
        let choice = found.decision.as_ref().map(text_of).filter(|choice| !choice.is_empty())?;
        let title = text::message(one_line(&found.title), MAX_QUESTION_BYTES - NUMBER_BYTES);
        let question = if title.is_empty() { choice.clone() } else { title };
        let question = text::message(question, MAX_QUESTION_BYTES - NUMBER_BYTES);
        let count = seen.entry(question_key(&question)).and_modify(|count| *count += 1).or_insert(1);
        let decision = Decision {
            question: if *count > 1 { format!("{question} ({count})") } else { question },
            choice,
            rationale: found.rationale.as_ref().map(text_of).unwrap_or_default(),
            consequences: found.consequences.as_ref().map(text_of).unwrap_or_default(),
            alternatives: found.alternatives.iter().map(text_of).take(MAX_ALTERNATIVES).collect(),
            line: found.line,
        };
        Some(Citation { decision, taken_from: found.taken_from.as_ref().map(sources).unwrap_or_default() })
    };
    research::parse(document).model.decisions.iter().filter_map(citation).take(MAX_DECISIONS).collect()
}

/// Returns the names in a list: `claude`, `claude, codex`, `claude and codex`.
fn sources(item: &Item) -> Vec<String> {
    let text = text_of(item);
    let is_around = |c: char| c.is_whitespace() || matches!(c, '*' | '_' | '`' | '"' | '.');
    let names = text.split([',', ';']).flat_map(|part| part.split(" and ")).map(|name| name.trim_matches(is_around));
    let names = names.filter(|name| !name.is_empty()).take(MAX_SOURCES);
    names.map(|name| text::truncated(name, MAX_SOURCE_BYTES).to_owned()).collect()
}

/// Room for the number of a repeated question, in bytes.
const NUMBER_BYTES: usize = 16;

fn text_of(item: &Item) -> String {
    text::message(one_line(&item.text), MAX_TEXT_BYTES)
}

/// Returns what identifies a question: its words in lower case, without punctuation.
pub fn question_key(question: &str) -> String {
    let lower = question.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    // A question of symbols only.
    if words.is_empty() { one_line(&lower) } else { words.join(" ") }
}

/// Returns the words of a choice, without emphasis and the punctuation around them: `C++` differs from `C`.
fn choice_key(choice: &str) -> String {
    let is_around =
        |c: char| matches!(c, '*' | '_' | '`' | '"' | '\'' | '“' | '”' | '(' | ')' | '.' | ',' | ';' | ':' | '!');
    let lower = choice.to_lowercase();
    lower
        .split_whitespace()
        .map(|word| word.trim_matches(is_around))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A proposed decision with another choice than the decision in force about the same question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction<'a> {
    pub proposed: &'a Decision,
    pub in_force: &'a RecordedDecision,
}

impl Contradiction<'_> {
    /// Returns a sentence that names both decisions.
    pub fn message(&self) -> String {
        let Self { proposed, in_force } = self;
        format!(
            "decision {:?}: the proposal chooses {}, and decision {} of Plan {}, which is in force, {}",
            text::truncated(&proposed.question, MAX_QUOTED_BYTES),
            quoted(&proposed.choice),
            in_force.id,
            in_force.plan,
            quoted(&in_force.choice)
        )
    }

    /// Returns what a person can do about it.
    pub fn remedy(&self) -> String {
        let plan = &self.in_force.plan;
        format!(
            "read it with `kubectl enact decisions {plan}`; choose another proposal to keep it, or approve this one to replace it"
        )
    }
}

/// Returns a text in quotation marks, shortened.
fn quoted(text: &str) -> String {
    let shown = text::truncated(text, MAX_QUOTED_BYTES);
    if shown.len() < text.len() { format!("{shown:?}…") } else { format!("{shown:?}") }
}

/// Returns the proposed decisions that contradict one in force, in the order of the proposal.
pub fn contradictions<'a>(proposed: &'a [Decision], recorded: &'a [RecordedDecision]) -> Vec<Contradiction<'a>> {
    let in_force = recorded.iter().filter(|decision| decision.state == State::InForce);
    let by_question: HashMap<String, &RecordedDecision> =
        in_force.map(|decision| (question_key(&decision.question), decision)).collect();
    let contradiction = |proposed: &'a Decision| {
        let in_force = *by_question.get(&question_key(&proposed.question))?;
        let differs = choice_key(&proposed.choice) != choice_key(&in_force.choice);
        differs.then_some(Contradiction { proposed, in_force })
    };
    proposed.iter().filter_map(contradiction).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROPOSAL: &str = "# Tasks: Cart

## Decisions

### Storage of carts

**Decision**: Postgres

**Rationale**: The team
runs it already.

**Consequences**: Carts need a migration.

**Alternatives considered**:

- Redis: loses carts
- A file

## Phase 1: Setup

- [ ] T001 Create the table in `cart.sql`
";

    fn recorded(question: &str, choice: &str) -> RecordedDecision {
        RecordedDecision {
            id: 7,
            state: State::InForce,
            question: question.into(),
            choice: choice.into(),
            rationale: String::new(),
            consequences: String::new(),
            alternatives: Vec::new(),
            namespace: "shop".into(),
            plan: "basket".into(),
            plan_uid: "uid-basket".into(),
            specification: "basket".into(),
            specification_digest: "sha256:1".into(),
            proposal: "sha256:2".into(),
            agent: "claude".into(),
            chosen_by: None,
            at: Millis(0),
            supersedes: None,
            superseded_by: None,
        }
    }

    #[test]
    fn reads_the_decisions_of_a_proposal() {
        let found = read(PROPOSAL.as_bytes());
        let expected = Decision {
            question: "Storage of carts".into(),
            choice: "Postgres".into(),
            rationale: "The team runs it already.".into(),
            consequences: "Carts need a migration.".into(),
            alternatives: vec!["Redis: loses carts".into(), "A file".into()],
            line: 7,
        };
        assert_eq!(found, [expected]);
        assert_eq!(read(b"# Tasks: Cart\n\n## Phase 1: Setup\n\n- [ ] T001 Cart in `a.rs`\n"), []);
    }

    #[test]
    fn reads_the_sources_of_a_decision() {
        let of = |label: &str| {
            let text = PROPOSAL.replace("**Alternatives", &format!("{label}\n\n**Alternatives"));
            citations(text.as_bytes()).remove(0)
        };
        let found = of("**Taken from**: claude");
        assert_eq!(
            (found.taken_from, found.decision.consequences.as_str()),
            (vec!["claude".into()], "Carts need a migration.")
        );
        assert_eq!(of("**Taken from:** `claude`, codex-2 and `gemini`.").taken_from, ["claude", "codex-2", "gemini"]);
        assert_eq!(of(&format!("**Taken from**: {}", "a,".repeat(1000))).taken_from.len(), MAX_SOURCES);
        assert_eq!(citations(PROPOSAL.as_bytes())[0].taken_from, [""; 0]);
    }

    #[test]
    fn a_section_of_decisions_is_no_task() {
        let parsed = crate::speckit::tasks::parse(PROPOSAL.as_bytes());
        assert_eq!((parsed.model.tasks.len(), parsed.diagnostics), (1, vec![]));
    }

    #[test]
    fn texts_are_bounded() {
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        let one = format!("### {long}\n\n**Decision**: {long}\n\n**Rationale**: a\u{1b}[2J{long}\n\n");
        let short = "### Wood\n\n**Decision**: oak\n\n".repeat(MAX_DECISIONS);
        let found = read((one + &short).as_bytes());
        assert_eq!(found.len(), MAX_DECISIONS);
        for decision in &found {
            assert!(decision.question.len() <= MAX_QUESTION_BYTES && decision.choice.len() <= MAX_TEXT_BYTES);
            assert!(decision.rationale.len() <= MAX_TEXT_BYTES && !decision.rationale.contains('\u{1b}'));
        }
    }

    #[test]
    fn repeated_questions_are_told_apart() {
        let text = "## Wood\n\n**Decision**: oak\n**Rationale**: strong\n\n**Decision**: pine\n**Rationale**: cheap\n";
        let found: Vec<(String, String)> =
            read(text.as_bytes()).into_iter().map(|found| (found.question, found.choice)).collect();
        assert_eq!(found, [("Wood".into(), "oak".into()), ("Wood (2)".into(), "pine".into())]);
    }

    #[test]
    fn another_choice_contradicts_the_decision_in_force() {
        let proposed = read(PROPOSAL.as_bytes());
        let of = |question: &str, choice: &str| contradictions(&proposed, &[recorded(question, choice)]).len();
        assert_eq!(of("storage of carts?", "**Postgres**."), 0, "the same choice");
        assert_eq!(of("Storage of baskets", "Redis"), 0, "another question");
        assert_eq!(of("Storage  of Carts:", "Redis"), 1);
        let superseded = RecordedDecision { state: State::Superseded, ..recorded("Storage of carts", "Redis") };
        assert_eq!(contradictions(&proposed, &[superseded]), []);
    }

    #[test]
    fn a_contradiction_names_both_decisions_and_the_command() {
        let (proposed, in_force) = (read(PROPOSAL.as_bytes()), recorded("Storage of carts", &"Redis ".repeat(30)));
        let found = contradictions(&proposed, std::slice::from_ref(&in_force))[0];
        let message = found.message();
        for part in ["\"Storage of carts\"", "chooses \"Postgres\"", "decision 7 of Plan basket", "\"Redis Redis"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(message.ends_with('…') && message.len() < 400, "{message}");
        assert!(found.remedy().contains("`kubectl enact decisions basket`"), "{}", found.remedy());
    }

    #[test]
    fn symbols_of_a_choice_count() {
        assert_ne!(choice_key("C++"), choice_key("C"));
        assert_eq!(choice_key("Use `C`."), choice_key("use C"));
        assert_eq!((question_key("What?!"), question_key("??")), ("what".into(), "??".into()));
    }
}
