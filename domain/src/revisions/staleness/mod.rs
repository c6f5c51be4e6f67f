//! Staleness: the items of a specification that a new revision changes, and the tasks that they affect.
//!
//! A task covers the items that it names and the story that it is tagged with. Work on unchanged items is not affected.

mod citations;
mod compare;
mod effect;
mod items;
mod model;
mod work;

pub use compare::compare;
pub use effect::Effect;
pub use model::{
    Changes, ItemChange, ItemKind, MAX_REASONS, PlannedTask, Relation, Renumbered, StaleReason, StaleTask, Staleness,
};
pub use work::stale;
