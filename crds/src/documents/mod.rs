//! Texts of Constitutions and Specifications as the operator reads, analyses and evaluates them. The CLI uses the same functions for a
//! document that is not applied yet.

pub mod amendment;
pub mod answers;
pub mod evaluation;
pub mod findings;
pub mod texts;
