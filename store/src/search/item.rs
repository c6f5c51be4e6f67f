//! Items of documents, and which of them a query selects.

use serde::Serialize;
use strum::IntoStaticStr;

/// Maximum number of hits in one answer.
pub(super) const MAX_HITS: u32 = 50;

/// An item of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub kind: ItemKind,
    /// Id of the item in the document, such as `FR-001`. At most 128 bytes are stored.
    pub key: String,
    /// Line of the item in the document, from 1; 0 if it has none.
    pub line: u32,
    /// At most 8 KiB are stored.
    pub text: String,
}

/// The kind of an item.
#[derive(Clone, Copy, Debug, IntoStaticStr, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ItemKind {
    /// A principle of a constitution.
    Principle,
    /// A functional requirement.
    Requirement,
    /// A success criterion.
    Criterion,
    /// A user story.
    Story,
    /// A decision of a plan.
    Decision,
    /// A task of a plan.
    Task,
}

impl ItemKind {
    pub const ALL: [Self; 6] =
        [Self::Principle, Self::Requirement, Self::Criterion, Self::Story, Self::Decision, Self::Task];

    /// Returns the form that is stored and shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Filter of a query over items. A list that is `None` selects all.
pub(super) struct Filter {
    pub(super) namespaces: Option<Vec<String>>,
    pub(super) kinds: Option<Vec<String>>,
}
