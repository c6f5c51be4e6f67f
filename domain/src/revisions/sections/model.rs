//! The differences of two documents by section, and the result of a merge.

use serde::Serialize;

/// Kind of the change of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum SectionKind {
    /// The section was added.
    Added,
    /// The section was removed.
    Removed,
    /// The text differs, and perhaps the position.
    Changed,
    /// The text is the same at another position.
    Moved,
}

/// Kind of a line in a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Mark {
    /// The line is in both texts.
    Kept,
    /// The line is in the old text only.
    Removed,
    /// The line is in the new text only.
    Added,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    pub text: String,
    /// Whether the piece differs from the line's counterpart. Always false in a line without a counterpart.
    pub changed: bool,
}

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffLine {
    /// The texts that contain the line.
    pub mark: Mark,
    /// Text of the line in pieces, without the line break.
    pub pieces: Vec<Piece>,
}

/// Neighbouring lines that differ, with up to two lines around them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hunk {
    /// Line in the old document of the first line that is kept or removed, counted from 1.
    pub old_line: u32,
    /// Line in the new document of the first line that is kept or added, counted from 1.
    pub new_line: u32,
    pub lines: Vec<DiffLine>,
}

/// One section that differs between two documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SectionChange {
    pub kind: SectionKind,
    /// Titles of the section's parents and its own, from the outermost; empty for the text before the first heading. For a removed
    /// section, the titles in the old document.
    pub path: Vec<String>,
    /// Path in the old document, if it is another.
    pub from: Option<Vec<String>>,
    /// Line of the heading in the new document, or in the old one for a removed section.
    pub line: u32,
    /// Differences within the section; empty for a section that only moved.
    pub hunks: Vec<Hunk>,
}

/// Format of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Lines that begin with ` `, `-` or `+`.
    #[default]
    Lines,
    /// As `Lines`; within a line that has a counterpart, the words that differ are written as `[-old-]` and `{+new+}`.
    Words,
}

/// Result of merging two edits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Merge {
    /// The merged document, with Git's conflict markers around conflicting lines.
    pub text: String,
    /// Sections with conflicts, in the order of the text.
    pub conflicts: Vec<Conflict>,
}

/// A section that both sides changed in conflicting ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// Titles of the section's parents and its own, from the outermost.
    pub path: Vec<String>,
    /// The section before both edits; none if both sides added it.
    pub base: Option<String>,
    /// Our section; none if we removed it.
    pub ours: Option<String>,
    /// Their section; none if they removed it.
    pub theirs: Option<String>,
}
