//! `spec.md`: stories, requirements, criteria, and open questions.

pub(super) mod identifiers;
mod listed;
mod model;
mod parse;
pub(super) mod questions;
mod requirements;
mod roles;
mod stories;
mod unnumbered;

pub use model::{Clarification, Entity, Requirement, Scenario, Spec, UserStory};
pub(super) use parse::entity;
pub use parse::parse;
