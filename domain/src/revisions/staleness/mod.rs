//! What a new revision of a specification makes stale: item by item, then task by task.
//!
//! A task serves what it names and the story it is tagged with. Work on what has not changed stays as it is.

mod citations;
mod compare;
mod items;
mod model;
mod work;

pub use compare::compare;
pub use model::{
    Changes, ItemChange, ItemKind, MAX_REASONS, PlannedTask, Relation, Renumbered, StaleReason, StaleTask, Staleness,
};
pub use work::stale;
