//! The quality score of a document, with its parts.

use std::collections::HashSet;

use serde::Serialize;

use super::finding::{Category, Finding, Severity};
use super::kinds::{
    EMPTY_STATEMENT, INCOMPLETE_SCENARIO, NO_INDEPENDENT_TEST, NO_OBLIGATION, NO_SCENARIO, UNMEASURABLE_CRITERION,
    UNTESTABLE_CRITERION,
};
use super::statements::Statements;
use super::structure;
use crate::speckit::constitution::Constitution;
use crate::speckit::spec::Spec;

/// Quality of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Quality {
    /// Score from 0 to 100: the weighted mean of the parts, rounded down.
    pub score: u8,
    pub parts: Vec<QualityPart>,
}

/// One part of the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QualityPart {
    /// Name: `Completeness`, `Clarity`, `Testability`, `Consistency`, `Coverage`.
    pub name: &'static str,
    /// Score from 0 to 100.
    pub score: u8,
    /// Weight in percent; the weights of all parts add up to 100.
    pub weight: u8,
    /// Figures from which the score is computed, in words.
    pub explanation: String,
}

impl Quality {
    fn new(parts: Vec<QualityPart>) -> Self {
        let sum: u32 = parts.iter().map(|p| u32::from(p.score) * u32::from(p.weight)).sum();
        Self { score: u8::try_from(sum / 100).unwrap_or(100), parts }
    }
}

/// Returns a share in percent, rounded down; 0 when the whole is 0.
fn percent(part: usize, whole: usize) -> u8 {
    u8::try_from((part.min(whole) * 100).checked_div(whole).unwrap_or_default()).unwrap_or(100)
}

/// Returns the quality of a specification. Weights: completeness 25, clarity 25, testability 25, consistency 15, coverage 10.
pub(super) fn specification(spec: &Spec, statements: &Statements<'_>, findings: &[Finding]) -> Quality {
    let binding = spec.requirements.len() + spec.success_criteria.len();
    Quality::new(vec![
        completeness(spec, findings),
        clarity(binding, "requirements and criteria", findings),
        testability(spec, findings),
        consistency(binding + spec.stories.len(), "requirements, criteria and stories", findings),
        covered(spec, statements),
    ])
}

fn completeness(spec: &Spec, findings: &[Finding]) -> QualityPart {
    let has = [
        ("title", spec.title.is_some()),
        ("user stories", !spec.stories.is_empty()),
        ("acceptance scenarios", spec.stories.iter().any(|s| !s.scenarios.is_empty())),
        ("requirements", !spec.requirements.is_empty()),
        ("success criteria", !spec.success_criteria.is_empty()),
        ("edge cases", !spec.edge_cases.is_empty()),
        ("no open question", !spec.source.is_empty() && spec.open_questions.is_empty()),
        ("no template text", !spec.source.is_empty() && findings.iter().all(|f| f.code != "UnfilledTemplate")),
    ];
    listed("Completeness", 25, &has)
}

fn listed(name: &'static str, weight: u8, has: &[(&str, bool)]) -> QualityPart {
    let missing: Vec<&str> = has.iter().filter(|(_, there)| !there).map(|(what, _)| *what).collect();
    let there = has.len() - missing.len();
    let rest = if missing.is_empty() { String::new() } else { format!("; missing: {}", missing.join(", ")) };
    QualityPart {
        name,
        score: percent(there, has.len()),
        weight,
        explanation: format!("{there} of {}{rest}", has.len()),
    }
}

/// Returns the share of clear statements: without an ambiguity of medium or higher severity, not empty, with an obligation.
fn clarity(statements: usize, what: &str, findings: &[Finding]) -> QualityPart {
    let mute = [EMPTY_STATEMENT.code, NO_OBLIGATION.code];
    let ambiguous = |f: &Finding| f.category == Category::Ambiguity && f.severity <= Severity::Medium;
    let unclear = places(findings, |f| ambiguous(f) || mute.contains(&f.code));
    let clear = statements.saturating_sub(unclear);
    let explanation = format!("{clear} of {statements} {what} state clearly what they require");
    QualityPart { name: "Clarity", score: percent(clear, statements), weight: 25, explanation }
}

/// Returns the number of locations with a finding that satisfies `such`.
fn places(findings: &[Finding], such: impl Fn(&Finding) -> bool) -> usize {
    findings.iter().filter(|f| such(f)).map(|f| (f.line, f.location.as_str())).collect::<HashSet<_>>().len()
}

/// Returns the share of passed checks: two for each story (scenarios, independent test), one for each scenario and criterion.
fn testability(spec: &Spec, findings: &[Finding]) -> QualityPart {
    let scenarios: usize = spec.stories.iter().map(|s| s.scenarios.len()).sum();
    let all = spec.stories.len() * 2 + scenarios + spec.success_criteria.len();
    let codes = [
        NO_SCENARIO.code,
        NO_INDEPENDENT_TEST.code,
        INCOMPLETE_SCENARIO.code,
        UNMEASURABLE_CRITERION.code,
        UNTESTABLE_CRITERION.code,
    ];
    let untestable = findings.iter().filter(|f| codes.contains(&f.code)).count();
    let testable = all.saturating_sub(untestable);
    let explanation = format!("{testable} of {all} checks of stories, scenarios and criteria pass");
    QualityPart { name: "Testability", score: percent(testable, all), weight: 25, explanation }
}

/// Returns the share of statements that neither repeat nor contradict another one.
fn consistency(statements: usize, what: &str, findings: &[Finding]) -> QualityPart {
    let odd = places(findings, |f| matches!(f.category, Category::Duplication | Category::Inconsistency));
    let sound = statements.saturating_sub(odd);
    let explanation = format!("{sound} of {statements} {what} without a repetition or contradiction");
    QualityPart { name: "Consistency", score: percent(sound, statements), weight: 15, explanation }
}

/// Returns the share of requirements that a story, scenario, edge case or criterion covers. A requirement that cannot be judged counts as
/// covered.
fn covered(spec: &Spec, statements: &Statements<'_>) -> QualityPart {
    let all = spec.requirements.len();
    let uncovered = structure::coverage(spec, statements).iter().filter(|(_, covered)| !covered).count();
    let covered = if spec.stories.is_empty() { 0 } else { all - uncovered };
    let explanation = format!("{covered} of {all} requirements appear in a story, scenario, edge case or criterion");
    QualityPart { name: "Coverage", score: percent(covered, all), weight: 10, explanation }
}

/// Returns the quality of a constitution. Weights: completeness 40, clarity 40, consistency 20.
pub(super) fn constitution(constitution: &Constitution, findings: &[Finding]) -> Quality {
    let principles = constitution.principles.len();
    let has = [
        ("title", constitution.title.is_some()),
        ("principles", principles > 0),
        ("version", constitution.version.is_some()),
        ("date of ratification", constitution.ratified.is_some()),
        ("date of last amendment", constitution.last_amended.is_some()),
        ("no template text", principles > 0 && findings.iter().all(|f| f.code != "UnfilledTemplate")),
    ];
    let unclear = places(findings, |f| {
        matches!(f.category, Category::Ambiguity | Category::Underspecification) && f.severity <= Severity::Medium
    });
    let clear = principles.saturating_sub(unclear);
    let clarity = QualityPart {
        name: "Clarity",
        score: percent(clear, principles),
        weight: 40,
        explanation: format!("{clear} of {principles} principles state what they require"),
    };
    let consistency = QualityPart { weight: 20, ..consistency(principles, "principles", findings) };
    Quality::new(vec![listed("Completeness", 40, &has), clarity, consistency])
}
