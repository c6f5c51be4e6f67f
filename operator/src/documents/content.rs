//! The content of a document, as the steps of a reconcile pass it on.

use enact_crds::document::{Quality, SourceStatus};
use enact_crds::specification::DraftStatus;
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::time::Millis;

use super::findings::Findings;

/// The namespace of a document, and the tenant that owns it.
#[derive(Clone, Debug)]
pub struct Location {
    pub namespace: String,
    pub tenant: Option<String>,
}

/// A document from its source, before answers are written into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    pub bytes: Vec<u8>,
    pub origin: Origin,
}

/// The kind of source that a document comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The object itself, or a ConfigMap.
    Source,
    /// A Git repository, at this commit.
    Git(String),
    /// An agent's draft.
    Draft,
}

/// The state of a source, for the object's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// The status of a Git source.
    pub source: Option<SourceStatus>,
    /// The status of a draft.
    pub draft: Option<DraftStatus>,
    /// Time of the next poll of the source.
    pub requeue_at: Option<Millis>,
}

/// A parsed and checked document; `F` contains the fields that are specific to its kind.
#[derive(Clone, Debug)]
pub struct Content<F> {
    /// The bytes that people approve and that are recorded.
    pub bytes: Vec<u8>,
    /// Digest of `bytes`.
    pub digest: Digest,
    /// The version in the document's text.
    pub version: Option<String>,
    pub origin: Origin,
    /// Digests of the document before each answer that is written into it.
    pub steps: Vec<Digest>,
    /// The first error of the document itself.
    pub error: Option<String>,
    /// The reason why the document cannot be approved, apart from people's decisions.
    pub blocked: Option<Readiness>,
    pub findings: Findings,
    pub quality: Option<Quality>,
    /// Number of unanswered questions.
    pub open_questions: u32,
    pub facts: F,
}
