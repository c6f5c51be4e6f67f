//! Reads the documents of a Spec Kit project: text in, model and diagnostics out.
//!
//! Every parser takes bytes, never fails and never panics: invalid input becomes a [`Diagnostic`] with a line and a remedy, and the parser
//! reads the rest of the document. Each item of a model has its line and its byte [`Span`] in the `source` of the document, so that other
//! code can edit a document without rewriting it.
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
pub(crate) mod words;

pub use diagnostic::{
    DELTA_DOCUMENT, Diagnostic, MISSING_SECTION, MISSING_TITLE, MISSING_VERSION, NEEDS_CLARIFICATION, OPEN_QUESTION,
    Parsed, Severity, SpecPart, TEMPLATE_NOT_FILLED, UNCLEAR_MENTION, UNFILLED_TEMPLATE, WRONG_DOCUMENT,
};
pub use ids::{StoryKey, TaskId};
pub use markdown::{Item, MAX_DOCUMENT_BYTES, Span};
