//! Names of Constitutions, Specifications and Plans in messages.

use enact_crds::approval::Subject;

/// Returns kind and name for a sentence: `Specification shop`.
pub fn title(subject: &Subject) -> String {
    format!("{:?} {}", subject.kind, subject.name)
}

/// Returns the form that commands accept: `specification/shop`.
pub fn handle(subject: &Subject) -> String {
    format!("{}/{}", format!("{:?}", subject.kind).to_ascii_lowercase(), subject.name)
}
