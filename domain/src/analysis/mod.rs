//! What can be said against a document before anybody builds from it: Spec Kit's `analyze` and the questions of `clarify`, as functions
//! of the text alone.
//!
//! The passes know English. Where a text is in another language they say only what does not depend on words: identifiers, equal
//! statements, structure that the parser has recognised. All work is near-linear in the size of the document.
//!
//! `docs/reference/analysis.md` lists every code and gives the formula of the score.

mod coverage;
mod finding;
mod overlap;
mod quality;
mod questions;
mod rules;

pub use coverage::{Coverage, Covered, Evidence, Link, TaskText};
pub use finding::{Category, Counts, Finding, MAX_FINDINGS, Report, Severity};
pub use overlap::{Shared, SharedKind};
pub use quality::{Part, Quality};
pub use questions::{MAX_QUESTIONS, Origin, Question};
pub use rules::{RULES, Rule};
