//! The parsed texts of documents, with what their analysis found.

use enact_domain::analysis::{self, Question, Report};
use enact_domain::digest::Digest;
use enact_domain::rules::{Rule, appendix};
use enact_domain::speckit::constitution::Constitution;
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::{self, Parsed};

use super::answers;
use super::findings::Acceptances;

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
    /// What the text and its appendix accept.
    pub acceptances: Acceptances,
}

impl SpecificationText {
    /// Parses and analyses a specification.
    pub fn read(bytes: &[u8]) -> Self {
        let (document, object) = analysis::read_appendix(bytes);
        let parsed = speckit::spec::parse(&document);
        let (report, used) = analysis::specification(&parsed).accepting(&object);
        let questions = answers::open_questions(&parsed, &report);
        let acceptances = Acceptances { object, used, comments: analysis::acceptances(&parsed.model.source) };
        Self { digest: Digest::of_bytes(bytes), parsed, report, questions, acceptances }
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
    /// What the text and its appendix accept.
    pub acceptances: Acceptances,
}

impl ConstitutionText {
    /// Parses and analyses a constitution.
    pub fn read(bytes: &[u8]) -> Self {
        let (document, object) = analysis::read_appendix(bytes);
        let parsed = speckit::constitution::parse(&document);
        let (report, used) = analysis::constitution(&parsed).accepting(&object);
        let acceptances = Acceptances { object, used, comments: analysis::acceptances(&parsed.model.source) };
        Self { digest: Digest::of_bytes(bytes), rules: appendix::rules(bytes), parsed, report, acceptances }
    }
}
