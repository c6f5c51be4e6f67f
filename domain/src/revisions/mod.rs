//! What lies between two revisions of a document: which amendment a constitution has, which work a specification makes stale, how two
//! texts differ by section, and how the edits of two people become one text.
//!
//! Everything here is a function of the documents alone, and bounded: a document of [`crate::speckit::MAX_DOCUMENT_BYTES`] costs a moment.
//! `docs/reference/revisions.md` tells users the rules with examples.

pub mod amendment;
pub mod sections;
pub mod staleness;
