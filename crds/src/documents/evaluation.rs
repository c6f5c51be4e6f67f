//! Evaluation: the rules of an effective constitution against a document.

use std::sync::Arc;

use enact_domain::analysis::{self, Category};
use enact_domain::condition::{Progress, Readiness};
use enact_domain::rules::{Budget, Document, DocumentMetadata, Outcome, Program, RuleError, Scope, Strength};

use super::findings::{finding, own};
use super::texts::{ConstitutionText, SpecificationText};
use crate::document::{Finding, Severity};

/// Returns the readiness that reports all problems of rules.
pub fn invalid_rules(progress: Progress, reason: &'static str, errors: &[RuleError]) -> Readiness {
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Readiness::new(progress, reason, messages.join("; "))
}

/// The rules that a document violates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// One finding for each violated rule.
    pub findings: Vec<Finding>,
    /// The first violated rule of strength MUST.
    pub blocked: Option<Readiness>,
}

impl Evaluation {
    /// Adds the evaluation of another document.
    pub fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.blocked = self.blocked.take().or(other.blocked);
    }
}

/// Evaluates the rules for this scope against a document, which findings and messages call `name`. The documents of one object share a
/// budget: a rule that exceeds it is reported once, and not evaluated again.
pub fn evaluate(
    programs: &[Program],
    scope: Scope,
    document: &Document,
    name: &str,
    budget: &mut Budget,
) -> Evaluation {
    let mut evaluation = Evaluation::default();
    let mut violated = 0_usize;
    for program in programs.iter().filter(|p| p.rule().scope == scope) {
        if budget.refuses(program) {
            continue;
        }
        let rule = program.rule();
        let (code, message, items) = match program.evaluate_within(document, budget) {
            Outcome::Holds => continue,
            Outcome::Violated { message, items } => ("RuleBroken", message, items),
            Outcome::Failed { why } => {
                ("RuleFailed", format!("{}: the rule cannot be evaluated: {why}", rule.message), Vec::new())
            }
        };
        let must = rule.strength == Strength::Must;
        let message = rule.violation(name, &message, &items);
        let remedy = "change the document, or amend the constitution that has the rule";
        let severity = if must { Severity::Critical } else { Severity::Medium };
        let about = format!("{name}/{}/{}", rule.name, items.join(","));
        let finding = Finding {
            line: 1,
            location: items.join(", "),
            message: message.clone(),
            remedy: remedy.to_owned(),
            ..own(Category::Constitution, code, severity, &about)
        };
        evaluation.findings.push(finding);
        if must {
            violated += 1;
            evaluation
                .blocked
                .get_or_insert(Readiness::stalled("ConstitutionViolated", format!("{message}; {remedy}")));
        }
    }
    if let Some(blocked) = evaluation.blocked.as_mut().filter(|_| violated > 1) {
        blocked.message = format!("{} (and {} more rules, see status.topFindings)", blocked.message, violated - 1);
    }
    evaluation
}

/// Evaluates a specification against its effective constitution: the rules, and contradictions to principles. `texts` are those of the
/// constitution chain, the nearest first.
pub fn specification(
    programs: &[Program],
    texts: &[Arc<ConstitutionText>],
    text: &SpecificationText,
    name: &str,
) -> Evaluation {
    let spec = &text.parsed.model;
    let mut document = Document::specification(spec, &DocumentMetadata { name: name.to_owned() });
    if let Some(nearest) = texts.first() {
        document = document.with_constitution(&nearest.parsed.model);
    }
    let budget = &mut Budget::default();
    let mut evaluation = evaluate(programs, Scope::Specification, &document, "the specification", budget);
    for text in texts {
        let conflicts = analysis::constitution_conflicts(spec, &text.parsed.model);
        evaluation.findings.extend(conflicts.iter().map(finding));
    }
    evaluation
}
