//! Analysis of specifications and constitutions: Spec Kit's `analyze` and the questions of `clarify`, as functions of the text alone.
//!
//! The passes know English words. In a text in another language, they check only what does not depend on words: identifiers, equal
//! statements, and the structure that the parser has recognised. The time is nearly linear in the size of the document.
//!
//! `docs/reference/analysis.md` lists every code and gives the formula of the score.

mod ambiguity;
mod conflict;
mod coverage;
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

pub use conflict::constitution_conflicts;
pub use coverage::{Coverage, CoveredItem, Evidence, TaskLink, TaskText, coverage};
pub use finding::{Category, Finding, Severity, SeverityCounts};
pub use kinds::{FINDING_KINDS, FindingKind};
pub use overlap::{SharedItem, SharedItemKind, Sketch, overlap, overlap_findings};
pub use quality::{Quality, QualityPart};
pub use questions::{MAX_QUESTIONS, Question, QuestionOrigin, questions};
pub use report::{MAX_FINDINGS, Report};

use crate::speckit::Parsed;
use crate::speckit::constitution::Constitution;
use crate::speckit::spec::Spec;
use findings::Findings;
use statements::Statements;

/// Analyses a specification.
pub fn specification(parsed: &Parsed<Spec>) -> Report {
    let spec = &parsed.model;
    let mut findings = Findings::default();
    let statements = Statements::new(spec);
    findings.format(&parsed.diagnostics, &spec.source, |offset| statements.location(offset));
    ambiguity::find(spec, &statements, &mut findings);
    duplication::find(spec, &statements, &mut findings);
    structure::find(spec, &statements, &mut findings);
    references::find(spec, &statements, &mut findings);
    let findings = findings.finish();
    let quality = quality::specification(spec, &statements, &findings);
    Report::new(findings, quality)
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
    let findings = findings.finish();
    let quality = quality::constitution(constitution, &findings);
    Report::new(findings, quality)
}
