//! The record in Postgres: what was decided and done, kept for longer than Kubernetes keeps its objects.
//!
//! A controller hands its [`Record`](enact_domain::record::Record)s to a [`Recorder`] before it acts on them. All tables are in the
//! schema `enact`; every row belongs to a tenant, and row-level security lets a transaction see the rows of one tenant only. The
//! schema, its rules and its roles are in `migrations/`.

mod config;
mod documents;
mod error;
mod history;
mod journal;
mod migrate;
mod numbering;
mod projections;
mod pushes;
mod queries;
mod recorder;
mod results;
mod sanitise;
mod search;
mod session;
mod store;

pub use config::Config;
pub use documents::{Findings, MAX_CONTENT_BYTES};
pub use error::{Class, StoreError};
pub use history::{Revision, Selector, Verdict};
pub use migrate::{AppLogin, migrate};
pub use pushes::Pushes;
pub use queries::Summary;
pub use recorder::{Flusher, Recorder};
pub use results::{Delivered, Delivery, StoredResult};
pub use search::{Embedding, Hit, Indexed, Item, ItemKind, Matched, Pending, Query, Related};
pub use store::Store;
