//! The parts of a Markdown document: spans, items, lines, list items, table rows and sections.

use std::ops::Range;

use serde::Serialize;

/// Maximum size of a document that is read, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// A range of bytes in a document's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// Returns the text under this span, empty when `source` is another document.
    pub fn text<'a>(&self, source: &'a str) -> &'a str {
        source.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn contains(&self, offset: usize) -> bool {
        self.start <= offset && offset < self.end
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// A piece of prose with its position.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Item {
    /// The text, with wrapped lines joined by one space.
    pub text: String,
    /// First line, counted from 1.
    pub line: u32,
    /// Span of the whole piece in the source.
    pub span: Span,
}

/// Kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// Nothing but white space outside of comments.
    Blank,
    /// A heading of this level.
    Heading(u8),
    /// Part of a fenced code block or of front matter.
    Verbatim,
    /// Part of a code block that is one by its indentation, often by accident.
    Indented,
    /// Part of a table.
    Table,
    /// Anything else.
    Text,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// Number from 1.
    pub(crate) number: u32,
    /// Span without the line break.
    pub(crate) span: Span,
    pub(crate) kind: LineKind,
}

/// A list item: the whole, and its own text before any nested list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListItem {
    pub(crate) span: Span,
    pub(crate) own: Span,
    pub(crate) depth: usize,
}

/// A table row that is not a header, by its cells.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) line: u32,
    pub(crate) span: Span,
    pub(crate) cells: Vec<String>,
    /// Index of its table in the headers of the document.
    pub(crate) table: usize,
}

/// A heading and the lines under it, as indices into the lines of the document.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) level: u8,
    pub(crate) title: String,
    /// Line of the heading.
    pub(crate) heading: usize,
    /// One past the last line before any other heading.
    pub(crate) own_end: usize,
    /// One past the last line before a heading of the same or a higher level.
    pub(crate) end: usize,
    /// The section that contains this one.
    pub(crate) parent: Option<usize>,
}

impl Section {
    /// Returns whether another section lies within this one.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        self.heading < other.heading && other.heading < self.end
    }
}

pub(super) fn line_number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
