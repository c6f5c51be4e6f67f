//! Evaluation: the rules of an effective constitution against a document.

use enact_crds::document::{Finding, Severity};
use enact_domain::analysis::Category;
use enact_domain::condition::{Progress, Readiness};
use enact_domain::rules::{Budget, Document, Outcome, Program, RuleError, Scope, Strength};

use super::findings::own;

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
