//! The Markdown tree, reduced to what the parsers need: content lines, headings, list items and table rows.

mod document;
mod model;
mod reader;
mod text;

pub(crate) use document::{Markdown, read};
pub use model::{Item, MAX_DOCUMENT_BYTES, Span};
pub(crate) use model::{LineKind, Row, Section};
pub(crate) use reader::front_matter;
pub(crate) use text::label;
pub(super) use text::{bold, fields, is_rule, joined, strip_marker};
