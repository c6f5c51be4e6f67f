//! The parsed texts of documents, with what their analysis found.

use enact_domain::analysis::{self, Question, Report};
use enact_domain::digest::Digest;
use enact_domain::rules::Rule;
use enact_domain::speckit::constitution::Constitution;
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::{self, Parsed};

use super::{answers, appendix};

/// The text of a specification.
#[derive(Debug)]
pub struct SpecificationText {
    /// Digest of the bytes.
    pub digest: Digest,
    pub parsed: Parsed<Spec>,
    /// Findings of the analysis of this text alone.
    pub report: Report,
    /// Open questions, the most urgent first.
    pub questions: Vec<Question>,
}

impl SpecificationText {
    /// Parses and analyses a specification.
    pub fn read(bytes: &[u8]) -> Self {
        let parsed = speckit::spec::parse(bytes);
        let report = analysis::specification(&parsed);
        let questions = answers::open_questions(&parsed, &report);
        Self { digest: Digest::of_bytes(bytes), parsed, report, questions }
    }
}

/// The text of a constitution, with the rules that are appended to it.
#[derive(Debug)]
pub struct ConstitutionText {
    /// Digest of the bytes.
    pub digest: Digest,
    pub parsed: Parsed<Constitution>,
    /// Findings of the analysis of this text alone.
    pub report: Report,
    /// The constitution's own rules, without inherited ones.
    pub rules: Vec<Rule>,
}

impl ConstitutionText {
    /// Parses and analyses a constitution.
    pub fn read(bytes: &[u8]) -> Self {
        let parsed = speckit::constitution::parse(bytes);
        let report = analysis::constitution(&parsed);
        Self { digest: Digest::of_bytes(bytes), rules: appendix::rules(bytes), parsed, report }
    }
}
