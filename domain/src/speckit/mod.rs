//! Reads the documents of a Spec Kit project: text in, model and diagnostics out.
//!
//! Every parser takes bytes, never fails and never panics: what cannot be understood is a [`Diagnostic`] with a line and a
//! remedy, and the rest of the document is still read. Each item of a model knows its line and its byte [`Span`] in the
//! document's `source`, so that nothing is lost and other programs can change a document without rewriting it.
//!
//! The work is linear in the size of the document, which is at most [`MAX_DOCUMENT_BYTES`].

pub mod checklist;
pub mod constitution;
pub mod data_model;
pub mod edit;
pub mod plan;
pub mod research;
pub mod spec;
pub mod tasks;

mod diagnostic;
mod ids;
pub(crate) mod markdown;

pub use diagnostic::{Diagnostic, Parsed, Severity};
pub use ids::{StoryKey, TaskId};
pub use markdown::{Item, MAX_DOCUMENT_BYTES, Span};
