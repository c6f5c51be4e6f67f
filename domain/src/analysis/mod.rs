//! Analysis of specifications and constitutions: Spec Kit's `analyze` and the questions of `clarify`, as functions of the text alone.
//!
//! The passes know English words. In a text in another language, they check only what does not depend on words: identifiers, equal
//! statements, and the structure that the parser has recognised. The time is nearly linear in the size of the document.
//!
//! `docs/reference/analysis.md` lists every code and gives the formula of the score.

mod acceptance;
mod ambiguity;
mod conflict;
mod coverage;
mod directives;
mod duplication;
mod finding;
mod findings;
mod format;
mod identifiers;
mod kinds;
mod overlap;
mod principles;
mod quality;
mod questions;
mod references;
mod report;
mod similar;
mod statements;
mod structure;
mod text;
mod vague;

pub use acceptance::{Acceptance, AcceptedFinding, FindingKey, read_appendix, with_appendix};
pub use conflict::constitution_conflicts;
pub use coverage::{Coverage, CoveredItem, Evidence, TaskLink, TaskText, coverage};
pub use directives::acceptances;
pub use finding::{Category, Finding, Severity, SeverityCounts};
pub use kinds::{FINDING_KINDS, FindingKind};
pub use overlap::{SharedItem, SharedItemKind, Sketch, overlap, overlap_findings};
pub use quality::{Quality, QualityPart};
pub use questions::{MAX_QUESTIONS, Question, QuestionOrigin, questions};
pub use report::{MAX_FINDINGS, Report, is_about_others};
pub(crate) use text::significant_terms;
pub use vague::is_vague;

use crate::speckit::constitution::Constitution;
use crate::speckit::plan::Plan;
use crate::speckit::spec::Spec;
use crate::speckit::tasks::TasksFile;
use crate::speckit::{Diagnostic, Parsed};
use findings::Findings;
use statements::Statements;

/// Analyses a specification.
pub fn specification(parsed: &Parsed<Spec>) -> Report {
    let spec = &parsed.model;
    let mut findings = Findings::default();
    let statements = Statements::new(spec);
    findings.format(&parsed.diagnostics, &spec.source, |offset| statements.location(offset));
    if !format::is_other_document(&parsed.diagnostics) {
        ambiguity::find(spec, &statements, &mut findings);
        duplication::find(spec, &statements, &mut findings);
        structure::find(spec, &statements, &mut findings);
        references::find(spec, &statements, &mut findings);
    }
    let found = findings.finish_with_hints();
    let quality = quality::specification(spec, &statements, &found.0);
    Report::new(found, quality).with_comments(&spec.source)
}

/// Analyses a constitution.
pub fn constitution(parsed: &Parsed<Constitution>) -> Report {
    let mut findings = Findings::default();
    let constitution = &parsed.model;
    let locate = |offset: usize| {
        let before = constitution.principles.partition_point(|p| p.span.start <= offset);
        let near = constitution.principles[..before].last().filter(|p| offset < p.span.end);
        near.map_or_else(|| "Document".to_owned(), |p| p.name.clone())
    };
    findings.format(&parsed.diagnostics, &constitution.source, locate);
    principles::find(constitution, &mut findings);
    let found = findings.finish_with_hints();
    let quality = quality::constitution(constitution, &found.0);
    Report::new(found, quality).with_comments(&constitution.source)
}

/// Reports what the parser says about a tasks.md, as findings.
pub fn tasks(parsed: &Parsed<TasksFile>) -> Report {
    let file = &parsed.model;
    format_report(&parsed.diagnostics, &file.source, |line| {
        // A task below another one begins after the indentation of its line.
        let text = file.source.get(line..).unwrap_or_default();
        let start = line + (text.len() - text.trim_start_matches([' ', '\t']).len());
        let task = file.tasks.iter().rfind(|t| t.span.start <= start && start < t.span.end);
        task.map(|t| t.id.as_str().to_owned())
    })
}

/// Reports what the parser says about a plan.md, as findings.
pub fn plan(parsed: &Parsed<Plan>) -> Report {
    format_report(&parsed.diagnostics, &parsed.model.source, |_| None)
}

/// Reports diagnostics as findings, without a quality score. A finding without a location by `locate` gets the heading above it.
fn format_report(diagnostics: &[Diagnostic], source: &str, locate: impl Fn(usize) -> Option<String>) -> Report {
    let headings = statements::headings(source);
    let heading = |offset: usize| {
        let above = headings.partition_point(|(start, _)| *start <= offset);
        let title = headings[..above].last().map(|(_, title)| finding::shortened(title));
        title.unwrap_or_else(|| acceptance::DOCUMENT.to_owned())
    };
    let mut findings = Findings::default();
    findings.format(diagnostics, source, |offset| locate(offset).unwrap_or_else(|| heading(offset)));
    Report::new(findings.finish_with_hints(), Quality::default()).with_comments(source)
}
