//! Search over the items of documents: by words, and by meaning if pgvector and an embedder are available.
//!
//! Each statement reads only rows of its tenant, and no index contains rows of several tenants: see
//! docs/adr/0007-exact-search-per-tenant.md.

mod bigrams;
mod fuse;
mod index;
mod item;
mod query;
mod related;
mod vectors;

pub use fuse::Matched;
pub use index::{IndexOutcome, PendingText};
pub use item::{Item, ItemKind};
pub use query::{Hit, Query};
pub use related::Related;
pub use vectors::Embedding;
