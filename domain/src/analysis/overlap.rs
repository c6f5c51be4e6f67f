//! What two specifications have in common.

use serde::{Deserialize, Serialize};

/// What is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SharedKind {
    /// A key entity of the same name.
    Entity,
    /// The same file or folder.
    Path,
    /// A requirement that says much the same.
    Requirement,
}

/// Something that two specifications both touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// What it is.
    pub kind: SharedKind,
    /// Ours: the entity's name, the path, or the requirement's identifier.
    pub ours: String,
    /// The other's, likewise.
    pub theirs: String,
    /// Line in our document, counted from 1.
    pub line: u32,
    /// How alike they are, in percent.
    pub similarity: u8,
}
