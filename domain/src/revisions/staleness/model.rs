//! The items that differ between two revisions, and the tasks that they make stale.

use std::fmt;

use serde::Serialize;

/// Kind of the change of an item of a specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ItemKind {
    /// The item was added.
    Added,
    /// The item was removed.
    Removed,
    /// The text changed under the same identifier.
    Changed,
    /// The same text has another identifier.
    Renamed {
        /// The old identifier.
        from: String,
    },
}

/// One item that differs between two revisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemChange {
    /// Identifier: `FR-001`, `SC-001`, `US1`, `US1/AC2`, the name of an entity, or the question of a clarification. For a renumbered
    /// item, the new identifier.
    pub id: String,
    pub kind: ItemKind,
    /// Line in the new document, or in the old one for a removed item.
    pub line: u32,
}

/// All items that differ between two revisions, each list in the order of the new document with removed items at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Changes {
    pub requirements: Vec<ItemChange>,
    /// User stories: title, independent test and prose, but neither their priority nor items with identifiers of their own.
    pub stories: Vec<ItemChange>,
    /// Acceptance scenarios of stories that both revisions have.
    pub scenarios: Vec<ItemChange>,
    pub criteria: Vec<ItemChange>,
    pub entities: Vec<ItemChange>,
    pub clarifications: Vec<ItemChange>,
}

/// A task that was made for the old revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedTask<'a> {
    pub id: &'a str,
    /// Key of its story (`US1`), if it has one.
    pub story: Option<&'a str>,
    /// Its title and details.
    pub text: &'a str,
    /// Identifiers that the task covers in addition to those in its text.
    pub requirements: &'a [String],
}

/// Relation of an item to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Relation {
    /// The task names it.
    Named,
    /// It is the task's story, or a scenario of it.
    Story,
    /// The task names no item, and other tasks of its story name this one.
    StoryRequirement,
    /// The task names neither an item nor a story, and no item of the old specification is unchanged.
    Everything,
}

/// An item that concerns a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StaleReason {
    /// The changed item.
    pub item: ItemChange,
    /// Relation of the item to the task.
    pub link: Relation,
}

/// A task that a person must review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StaleTask {
    pub id: String,
    /// Reasons, at most [`MAX_REASONS`].
    pub reasons: Vec<StaleReason>,
    /// Number of further reasons.
    pub more: usize,
}

/// A task that cites an old identifier of an item. Its work is still valid, but its text is misleading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Renumbered {
    pub task: String,
    /// Identifier that the task cites.
    pub from: String,
    /// New identifier of the item.
    pub to: String,
}

/// Effects of a new revision on the tasks of the old one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Staleness {
    /// Stale tasks, in the order given.
    pub tasks: Vec<StaleTask>,
    /// Added requirements and stories that no task serves, in the order of the new document.
    pub uncovered: Vec<ItemChange>,
    /// Citations that are out of date.
    pub renumbered: Vec<Renumbered>,
}

/// Maximum number of reasons of a stale task.
pub const MAX_REASONS: usize = 20;

impl fmt::Display for ItemChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, kind, line } = self;
        match kind {
            ItemKind::Added => write!(f, "{id} is new (line {line})"),
            ItemKind::Removed => write!(f, "{id} is removed (line {line} of the old revision)"),
            ItemKind::Changed => write!(f, "{id} has changed (line {line})"),
            ItemKind::Renamed { from } => write!(f, "{from} is now {id} (line {line})"),
        }
    }
}
