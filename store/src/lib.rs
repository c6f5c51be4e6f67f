//! The record in Postgres: decisions and results, stored for longer than Kubernetes stores its objects.
//!
//! A controller passes its [`Record`](enact_domain::record::Record)s to a [`Recorder`] before it acts on them. All tables are in the
//! schema `enact`. Each row belongs to a tenant, and row-level security limits a transaction to the rows of one tenant. `migrations/`
//! contains the schema, its rules and its roles.

mod attempts;
mod audit;
mod checkpoints;
mod config;
mod contents;
mod decision_rows;
mod decisions;
mod deletions;
mod deliveries;
mod error;
mod housekeeping;
mod listener;
mod migrate;
mod numbering;
mod objects;
mod outcomes;
mod projections;
mod proposals;
mod pushes;
mod recorder;
mod results;
mod revisions;
mod sanitise;
mod search;
mod selections;
mod session;
mod store;
mod tenants;
mod usage;

pub use attempts::{AttemptRow, GateOutcome, RecordedLog, StartedPod};
pub use checkpoints::{CheckpointDelivery, StoredCheckpoint};
pub use config::Config;
pub use contents::{Findings, MAX_CONTENT_BYTES};
pub use decisions::DecisionFilter;
pub use deliveries::{DeliveryListener, DeliveryNotice, RecordedDelivery};
pub use error::{ErrorClass, StoreError};
pub use migrate::{Login, migrate};
pub use pushes::PushListener;
pub use recorder::{Flusher, Recorder};
pub use results::{Delivery, DeliveryOutcome, Registration};
pub use revisions::{Revision, RevisionApproval, RevisionSelector};
pub use search::{Embedding, Hit, IndexOutcome, Item, ItemKind, Matched, PendingText, Query, Related};
pub use selections::{AgentEnd, AgentHistory, RecordedSelection};
pub use store::Store;
pub use tenants::{Erasure, RecordOwner};
pub use usage::{
    BudgetRow, Dimension, Discarded, FinishedTask, LoggedRequest, ModelRequest, Opened, Outcome, Refusal, RequestLog,
    RequestLogFilter, Settlement, UsageFilter, UsageQuery, UsageRow,
};
