//! Comparison of two revisions of a document: amendments of a constitution, tasks that a new specification makes stale, tasks of a plan
//! that other tasks would replace, differences by section, and merges of two edits. Also [`drift`]: finished tasks whose files changed since.
//!
//! Everything here is a function of the documents alone, and bounded: a document of [`crate::speckit::MAX_DOCUMENT_BYTES`] costs a moment.
//! `docs/reference/revisions.md` explains the rules to users.

pub mod amendment;
pub mod drift;
pub mod replan;
pub mod sections;
pub mod staleness;
