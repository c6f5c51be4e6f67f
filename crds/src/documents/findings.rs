//! Findings about a document, from the analysis, rules and other documents, as statuses and records hold them.

use std::sync::Arc;

use enact_domain::analysis::{self, Acceptance, Category, FindingKey, is_about_others};
use enact_domain::digest::Digest;
use enact_domain::speckit::{self, Diagnostic};
use enact_domain::text;

use crate::document::{Finding, FindingCounts, MAX_FINDINGS, Quality, QualityPart, Severity};

/// Code of the findings about acceptances that accept nothing.
pub const UNUSED_ACCEPTANCE: &str = "UnusedAcceptance";

/// Longest text of a finding in a status, in bytes.
const MAX_TEXT: usize = 400;

/// What a document and its object accept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Acceptances {
    /// The acceptances of the object, in the order of `spec.accepted`.
    pub object: Vec<Acceptance>,
    /// Whether each of them covers a finding of the analysis.
    pub used: Vec<bool>,
    /// The acceptances in comments of the document.
    pub comments: Vec<Acceptance>,
}

/// All findings about a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The worst first, then by line and id. The analysis reports a limited number.
    pub all: Arc<Vec<Finding>>,
    /// The accepted findings, in the same order.
    pub accepted: Arc<Vec<Finding>>,
    /// All findings by severity, including those beyond that limit.
    pub counts: FindingCounts,
}

impl Findings {
    /// Combines the findings of an analysis with others, which the document or its object can accept too.
    pub fn new(
        report: &analysis::Report,
        more: impl IntoIterator<Item = Finding>,
        Acceptances { object, used, comments }: &Acceptances,
    ) -> Self {
        let analysis::SeverityCounts { critical, high, medium, low } = report.counts;
        let mut counts = FindingCounts { critical, high, medium, low, accepted: 0 };
        let mut all: Vec<Finding> = report.findings.iter().map(finding).collect();
        let mut accepted: Vec<Finding> = report.accepted.iter().map(accepted_finding).collect();
        let mut used = used.clone();
        for finding in more {
            let by_object = accepts(object, &finding);
            for at in &by_object {
                used[*at] = true;
            }
            let by_comment = accepts(comments, &finding).first().map(|at| &comments[*at]);
            match by_object.first().map(|at| &object[*at]).or(by_comment) {
                Some(acceptance) => accepted.push(Finding { accepted: Some(acceptance.reason.clone()), ..finding }),
                None => all.push(finding),
            }
        }
        all.extend(unused(object, &used));
        for finding in &all[report.findings.len()..] {
            count(&mut counts, finding.severity);
        }
        counts.accepted = len(accepted.len());
        sort(&mut all);
        sort(&mut accepted);
        Self { all: Arc::new(all), accepted: Arc::new(accepted), counts }
    }

    /// Returns the open findings, then the accepted ones, as the record stores them.
    pub fn recorded(&self) -> Vec<&Finding> {
        self.all.iter().chain(self.accepted.iter()).collect()
    }

    /// Returns the worst findings, shortened for a status.
    pub fn top(&self) -> Vec<Finding> {
        top(&self.all)
    }

    /// Returns a digest that identifies this list.
    pub fn digest(&self) -> Digest {
        let shown = |f: &&Finding| format!("{} {}", f.id, f.accepted.as_deref().unwrap_or_default());
        let ids: Vec<String> = self.recorded().iter().map(shown).collect();
        Digest::of_bytes(ids.join("\n").as_bytes())
    }
}

/// Returns the indices of the acceptances that cover a finding.
fn accepts(acceptances: &[Acceptance], finding: &Finding) -> Vec<usize> {
    let Finding { id, code, location, line, severity, .. } = finding;
    let key = FindingKey { id, code, location, line: *line, severity: (*severity).into() };
    acceptances.iter().enumerate().filter(|(_, acceptance)| acceptance.covers(&key)).map(|(at, _)| at).collect()
}

/// Returns a finding for each acceptance of an object that accepts nothing. Only a plan has findings about coverage, so that a
/// specification that accepts them is not wrong.
fn unused(object: &[Acceptance], used: &[bool]) -> Vec<Finding> {
    let unused = object.iter().zip(used).enumerate().filter(|(_, (a, used))| !**used && !is_about_others(&a.code));
    unused.map(|(n, (acceptance, _))| accepts_nothing(n, acceptance)).collect()
}

/// Returns the finding for an acceptance in `spec.accepted` that accepts nothing.
pub fn accepts_nothing(n: usize, acceptance: &Acceptance) -> Finding {
    let code = &acceptance.code;
    Finding {
        line: 1,
        location: format!("spec.accepted[{n}]"),
        message: format!("the object accepts {code}, and there is no such finding there that can be accepted"),
        remedy: "remove the acceptance, or take code and location from status.topFindings".into(),
        ..own(Category::Format, UNUSED_ACCEPTANCE, Severity::Low, &format!("{n}/{code}/{}", acceptance.reason))
    }
}

/// Returns the first of sorted findings, shortened for a status.
pub fn top(sorted: &[Finding]) -> Vec<Finding> {
    let short = |f: &Finding| Finding { message: cut(&f.message), remedy: cut(&f.remedy), ..f.clone() };
    sorted.iter().take(MAX_FINDINGS).map(short).collect()
}

/// Sorts findings: the worst first, then by line and id.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| (a.severity, a.line, &a.id).cmp(&(b.severity, b.line, &b.id)));
}

fn count(counts: &mut FindingCounts, severity: Severity) {
    *match severity {
        Severity::Critical => &mut counts.critical,
        Severity::High => &mut counts.high,
        Severity::Medium => &mut counts.medium,
        Severity::Low => &mut counts.low,
    } += 1;
}

/// Converts a finding of the analysis.
pub fn finding(found: &analysis::Finding) -> Finding {
    Finding {
        id: found.id.clone(),
        category: found.category.as_str().to_owned(),
        code: found.code.to_owned(),
        severity: found.severity.into(),
        line: found.line,
        location: found.location.clone(),
        message: found.summary.clone(),
        remedy: found.recommendation.clone(),
        accepted: None,
    }
}

/// Converts an accepted finding of the analysis.
fn accepted_finding(found: &analysis::AcceptedFinding) -> Finding {
    Finding { accepted: Some(found.reason.clone()), ..finding(&found.finding) }
}

/// Builds a finding of the operator. Its id depends only on category, code and `about`.
pub fn own(category: Category, code: &str, severity: Severity, about: &str) -> Finding {
    let letters: String = category.as_str().chars().take(3).collect::<String>().to_uppercase();
    let key = Digest::of_bytes(format!("{category}/{code}/{about}").as_bytes());
    Finding {
        id: format!("{letters}-{}", &key.short()[..8]),
        category: category.as_str().to_owned(),
        code: code.to_owned(),
        severity,
        ..Finding::default()
    }
}

/// Converts the diagnostics of a tasks.md, the worst first.
pub fn of_diagnostics(diagnostics: &[Diagnostic]) -> Vec<Finding> {
    let mut all: Vec<Finding> = diagnostics
        .iter()
        .map(|d| {
            let severity = match d.severity {
                speckit::Severity::Error => Severity::Critical,
                speckit::Severity::Warning => Severity::Medium,
                speckit::Severity::Info => Severity::Low,
            };
            let about = format!("{}/{}", d.code, d.message);
            let (message, remedy) = (d.message.clone(), d.remedy.clone());
            Finding { line: d.line, message, remedy, ..own(Category::Format, d.code, severity, &about) }
        })
        .collect();
    sort(&mut all);
    top(&all)
}

/// Converts a document's quality.
pub fn quality(quality: &analysis::Quality) -> Quality {
    let part = |p: &analysis::QualityPart| QualityPart {
        name: p.name.to_owned(),
        score: p.score,
        weight: p.weight,
        explanation: cut(&p.explanation),
    };
    Quality { score: quality.score, parts: quality.parts.iter().map(part).collect() }
}

/// Makes a text safe to show, and shortens it for a status.
pub fn cut(text: &str) -> String {
    text::message(text, MAX_TEXT)
}

/// Converts a length.
pub fn len(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_errors_before_hints() {
        let about = |line, severity| Diagnostic {
            line,
            code: "x",
            severity,
            message: "é".repeat(MAX_TEXT),
            remedy: String::new(),
            missing: None,
        };
        let mut all: Vec<Diagnostic> = (1..100).map(|line| about(line, speckit::Severity::Info)).collect();
        all.push(about(100, speckit::Severity::Error));
        let shown = of_diagnostics(&all);
        assert_eq!((shown[0].line, shown.len()), (100, MAX_FINDINGS));
        assert!(shown.iter().all(|f| f.message.len() <= MAX_TEXT), "a status stays small");
    }
}
