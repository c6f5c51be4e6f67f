//! The differences of two documents by section, and the result of a merge.

use serde::Serialize;

/// What happened to a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum SectionKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its text differs, and maybe its place.
    Changed,
    /// It says the same in another place.
    Moved,
}

/// What a line is in a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Mark {
    /// In both texts.
    Kept,
    /// In the old text only.
    Removed,
    /// In the new text only.
    Added,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    pub text: String,
    /// Whether the line's counterpart has it otherwise. False throughout where a line has no counterpart.
    pub changed: bool,
}

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffLine {
    /// The texts that contain the line.
    pub mark: Mark,
    /// Its text in pieces, without the line break.
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
    /// Titles of the headings above it and its own, from the outermost; empty for the text before the first heading. In the old
    /// document for a section that was removed.
    pub path: Vec<String>,
    /// The path that it had, where that is another.
    pub from: Option<Vec<String>>,
    /// Line of its heading in the new document, in the old one for a section that was removed.
    pub line: u32,
    /// What differs in it; nothing for a section that only moved.
    pub hunks: Vec<Hunk>,
}

/// How a difference is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Lines after ` `, `-` and `+`.
    #[default]
    Lines,
    /// The same, and within a line that has a counterpart the words that differ as `[-old-]` and `{+new+}`.
    Words,
}

/// What came of merging two edits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Merge {
    /// The merged document, with Git's conflict markers where both sides have a say.
    pub text: String,
    /// Sections that a person must decide, in the order of the text.
    pub conflicts: Vec<Conflict>,
}

/// A section that both sides changed in ways that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// Titles of the headings above it and its own, from the outermost.
    pub path: Vec<String>,
    /// The section before both edits; none when both sides added it.
    pub base: Option<String>,
    /// Ours; none when we removed it.
    pub ours: Option<String>,
    /// Theirs; none when they removed it.
    pub theirs: Option<String>,
}
