//! The parsed texts of documents, with what their analysis found.

use enact_domain::analysis::{self, Question, Report};
use enact_domain::digest::Digest;
use enact_domain::names::ANNOTATION_ACCEPTED;
use enact_domain::rules::{Rule, appendix};
use enact_domain::speckit::constitution::Constitution;
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::{self, Parsed};
use enact_domain::stamps::Stamps;
use kube::ResourceExt as _;

use super::answers;
use super::findings::Acceptances;
use crate::convert;

/// Returns the content of a Specification with this source, before its answers are written into it. What the object accepts, and who did,
/// is part of the content, so that an approval covers it too.
pub fn specification_content(object: &crate::Specification, source: &[u8]) -> Vec<u8> {
    let stamps = Stamps::of(object.annotations(), ANNOTATION_ACCEPTED);
    analysis::with_appendix(source, &convert::acceptances(&object.spec.accepted, &stamps))
}

/// Returns the content of a Constitution with this source. What the object accepts, who did, and the rules are part of the content, so that
/// an approval covers them too. The rules stay at the end.
pub fn constitution_content(object: &crate::Constitution, source: &[u8]) -> Vec<u8> {
    let stamps = Stamps::of(object.annotations(), ANNOTATION_ACCEPTED);
    let document = appendix::with(source, &[]);
    let document = analysis::with_appendix(&document, &convert::acceptances(&object.spec.accepted, &stamps));
    let own: Vec<Rule> = object.spec.rules.iter().map(convert::rule).collect();
    appendix::with(&document, &own)
}

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
