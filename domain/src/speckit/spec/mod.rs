//! `spec.md`: stories, requirements, criteria, and open questions.

mod model;
mod parse;
pub(super) mod questions;
pub(super) mod requirements;
mod stories;

pub use model::{Clarification, Entity, Requirement, Scenario, Spec, UserStory};
pub(super) use parse::entity;
pub use parse::parse;
