//! The quality score of a document, with its parts.

use std::collections::HashSet;

use serde::Serialize;

use super::finding::{Category, Finding, Severity};
use super::kinds::{
    EMPTY_STATEMENT, INCOMPLETE_SCENARIO, NO_INDEPENDENT_TEST, NO_SCENARIO, OPEN_MARKER, UNTESTABLE_CRITERION,
};
use super::statements::{StatementKind, Statements};
use super::structure;
use super::text::{Language, words};
use crate::speckit::constitution::Constitution;
use crate::speckit::spec::Spec;
use crate::speckit::{TEMPLATE_NOT_FILLED, UNFILLED_TEMPLATE};

/// Quality of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Quality {
    /// Score from 0 to 100: the weighted mean of the evaluated parts, rounded down.
    pub score: u8,
    pub parts: Vec<QualityPart>,
}

/// One part of the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QualityPart {
    /// Name: `Completeness`, `Clarity`, `Testability`, `Consistency`, `Coverage`.
    pub name: &'static str,
    /// Score from 0 to 100; none if the document has nothing to evaluate.
    pub score: Option<u8>,
    /// Weight in percent; the weights of all parts add up to 100.
    pub weight: u8,
    /// Figures from which the score is computed, in words; without a score, the reason.
    pub explanation: String,
}

impl Quality {
    fn new(parts: Vec<QualityPart>) -> Self {
        let evaluated = || parts.iter().filter_map(|p| Some((u32::from(p.score?), u32::from(p.weight))));
        let sum: u32 = evaluated().map(|(score, weight)| score * weight).sum();
        let weights: u32 = evaluated().map(|(_, weight)| weight).sum();
        Self { score: u8::try_from(sum.checked_div(weights).unwrap_or_default()).unwrap_or(100), parts }
    }
}

impl QualityPart {
    /// Returns a part with the share of `part` in `whole`, or without a score and with the reason `missing` if the whole is 0.
    fn share(name: &'static str, weight: u8, (part, whole): (usize, usize), what: &str, missing: &str) -> Self {
        let score = percent(part, whole);
        let explanation = match score {
            Some(_) => format!("{part} of {whole} {what}"),
            None => format!("not evaluated: {missing}"),
        };
        Self { name, score, weight, explanation }
    }
}

/// Returns a share in percent, rounded down; none when the whole is 0.
fn percent(part: usize, whole: usize) -> Option<u8> {
    let share = (part.min(whole) * 100).checked_div(whole)?;
    Some(u8::try_from(share).unwrap_or(100))
}

/// Returns the quality of a specification. Weights: completeness 25, clarity 25, testability 25, consistency 15, coverage 10.
pub(super) fn specification(spec: &Spec, statements: &Statements<'_>, findings: &[Finding]) -> Quality {
    let binding = spec.requirements.len() + spec.success_criteria.len();
    Quality::new(vec![
        completeness(spec, findings),
        clarity(statements, findings),
        testability(spec, statements, findings),
        consistency(binding + spec.stories.len(), "requirements, criteria and stories", findings),
        covered(spec, statements),
    ])
}

fn completeness(spec: &Spec, findings: &[Finding]) -> QualityPart {
    let lacks = |code: &str| !spec.source.is_empty() && findings.iter().all(|f| f.code != code);
    let has = [
        ("title", spec.title.is_some()),
        ("user stories", !spec.stories.is_empty()),
        ("acceptance scenarios", spec.stories.iter().any(|s| !s.scenarios.is_empty())),
        ("requirements", !spec.requirements.is_empty()),
        ("success criteria", !spec.success_criteria.is_empty()),
        ("edge cases", !spec.edge_cases.is_empty()),
        ("no open question", lacks(OPEN_MARKER.code)),
        ("no template text", lacks(UNFILLED_TEMPLATE)),
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

/// Returns the share of clear requirements and criteria: without an ambiguity of medium or higher severity, and not empty. Those in
/// languages whose words are not known count only if they have a finding.
fn clarity(statements: &Statements<'_>, findings: &[Finding]) -> QualityPart {
    let poor = |f: &&Finding| is_ambiguous(f) || f.code == EMPTY_STATEMENT.code;
    let unclear: HashSet<&str> = findings.iter().filter(poor).map(|f| f.location.as_str()).collect();
    let (mut clear, mut all) = (0, 0);
    for statement in statements.all.iter().filter(|s| s.binds()) {
        let found = unclear.contains(statement.location.as_str());
        all += usize::from(statement.english || found);
        clear += usize::from(statement.english && !found);
    }
    let what = "requirements and criteria state clearly what they require";
    QualityPart::share("Clarity", 25, (clear, all), what, "no requirement or criterion in English")
}

fn is_ambiguous(finding: &Finding) -> bool {
    finding.category == Category::Ambiguity && finding.severity <= Severity::Medium
}

/// Returns the number of locations with a finding that satisfies `such`.
fn places(findings: &[Finding], such: impl Fn(&Finding) -> bool) -> usize {
    findings.iter().filter(|f| such(f)).map(|f| (f.line, f.location.as_str())).collect::<HashSet<_>>().len()
}

/// Returns the share of passed checks: one for the scenarios of each story and one for its independent test if any story has one, one for
/// each scenario, and one for each criterion. Without a story, nothing says how the result is tested.
fn testability(spec: &Spec, statements: &Statements<'_>, findings: &[Finding]) -> QualityPart {
    let missing = "no user story was found";
    let tests = spec.stories.iter().any(|s| s.independent_test.is_some());
    let scenarios: usize = spec.stories.iter().map(|s| s.scenarios.len()).sum();
    let criteria = statements.of_kind(StatementKind::Criterion).filter(|s| s.english).count();
    let all = match spec.stories.len() {
        0 => 0,
        stories => stories * (1 + usize::from(tests)) + scenarios + criteria,
    };
    let codes = [NO_SCENARIO.code, NO_INDEPENDENT_TEST.code, INCOMPLETE_SCENARIO.code, UNTESTABLE_CRITERION.code];
    let names: HashSet<&str> = statements.of_kind(StatementKind::Criterion).map(|s| s.location.as_str()).collect();
    let vague = places(findings, |f| is_ambiguous(f) && names.contains(f.location.as_str()));
    let untestable = findings.iter().filter(|f| codes.contains(&f.code)).count() + vague;
    let what = "checks of stories, scenarios and criteria pass";
    QualityPart::share("Testability", 25, (all.saturating_sub(untestable), all), what, missing)
}

/// Returns the share of statements that neither repeat nor contradict another one.
fn consistency(statements: usize, what: &str, findings: &[Finding]) -> QualityPart {
    let odd = places(findings, |f| matches!(f.category, Category::Duplication | Category::Inconsistency));
    let without = format!("{what} without a repetition or contradiction");
    let missing = format!("no {}", what.replace(" and ", " or "));
    QualityPart::share("Consistency", 15, (statements.saturating_sub(odd), statements), &without, &missing)
}

/// Returns the share of requirements that the rest of the document covers, if it names most of them.
fn covered(spec: &Spec, statements: &Statements<'_>) -> QualityPart {
    let judged = structure::coverage(spec, statements);
    let covered = judged.iter().filter(|(_, covered)| *covered).count();
    let what = "requirements appear in a story, scenario, edge case or criterion";
    let missing = "the stories, scenarios and criteria do not name the requirements";
    QualityPart::share("Coverage", 10, (covered, judged.len()), what, missing)
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
        (
            "no template text",
            principles > 0 && findings.iter().all(|f| f.code != UNFILLED_TEMPLATE && f.code != TEMPLATE_NOT_FILLED),
        ),
    ];
    let gap = |f: &&Finding| {
        matches!(f.category, Category::Ambiguity | Category::Underspecification) && f.severity <= Severity::Medium
    };
    let unclear: HashSet<&str> = findings.iter().filter(gap).map(|f| f.location.as_str()).collect();
    let (mut clear, mut all) = (0, 0);
    for principle in &constitution.principles {
        let found = unclear.contains(principle.name.as_str());
        let english = || Language::new(&words(principle.body.text(&constitution.source))).is_english();
        let judged = found || english();
        all += usize::from(judged);
        clear += usize::from(judged && !found);
    }
    let what = "principles state clearly what they require";
    let clarity = QualityPart::share("Clarity", 40, (clear, all), what, "no principle in English");
    let consistency = QualityPart { weight: 20, ..consistency(principles, "principles", findings) };
    Quality::new(vec![listed("Completeness", 40, &has), clarity, consistency])
}
