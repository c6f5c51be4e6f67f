//! The items that differ between two revisions, and the tasks that they make stale.

use std::fmt;

use serde::Serialize;

/// What happened to an item of a specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ItemKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It says something else under the same identifier.
    Changed,
    /// It says the same under another identifier.
    Renamed {
        /// The identifier that it had.
        from: String,
    },
}

/// One item that differs between two revisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemChange {
    /// Identifier: `FR-001`, `SC-001`, `US1`, `US1/AC2`, the name of an entity, or the question of a clarification. The new one where
    /// there are two.
    pub id: String,
    pub kind: ItemKind,
    /// Line in the new document, in the old one for what was removed.
    pub line: u32,
}

/// All items that differ between two revisions, each list in the order of the new document with what was removed at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Changes {
    pub requirements: Vec<ItemChange>,
    /// User stories: title, independent test and prose, but neither their priority nor what has an identifier of its own.
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

/// Why an item concerns a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Relation {
    /// The task names it.
    Named,
    /// It is the task's story, or a scenario of it.
    Story,
    /// The task names nothing, and other tasks of its story name this.
    StoryRequirement,
    /// The task names neither an item nor a story, and nothing of the old specification is left.
    Everything,
}

/// An item that concerns a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StaleReason {
    /// The item as it changed.
    pub item: ItemChange,
    /// Why it concerns the task.
    pub link: Relation,
}

/// A task that must be looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StaleTask {
    pub id: String,
    /// Why, at most [`MAX_REASONS`].
    pub reasons: Vec<StaleReason>,
    /// How many further reasons there are.
    pub more: usize,
}

/// A task that cites an old identifier of an item. Its work is still valid, but its text is misleading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Renumbered {
    pub task: String,
    /// What the task cites.
    pub from: String,
    /// What that is called now.
    pub to: String,
}

/// What a new revision means for the tasks of the old one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Staleness {
    /// Tasks to be done again, in the order given.
    pub tasks: Vec<StaleTask>,
    /// Added requirements and stories that no task serves, in the order of the new document.
    pub uncovered: Vec<ItemChange>,
    /// Citations that are out of date.
    pub renumbered: Vec<Renumbered>,
}

/// How many reasons a stale task shows.
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
