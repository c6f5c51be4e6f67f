//! The controllers of Enact.
//!
//! Each kind has a folder, and each step of its reconcile a file: observe → validate → decide → record → apply → status. The rules of a
//! decision are in `enact-domain`; this crate watches, reads, records and writes.

pub mod agent;
pub mod agent_health;
pub mod agent_histories;
pub mod approval;
pub mod backoff;
pub mod budget_thresholds;
pub mod caches;
pub mod change_detection;
pub mod config;
pub mod context;
pub mod contexts;
pub mod control_changes;
pub mod controller;
pub mod deleted;
pub mod deletion_records;
pub mod documents;
pub mod error;
pub mod housekeeping;
pub mod index;
pub mod initial_sync;
pub mod leader;
pub mod metadata_cache;
pub mod metrics;
pub mod monthly_budgets;
pub mod patch;
pub mod plan;
pub mod pods;
pub mod provider;
pub mod record_store;
pub mod references;
pub mod run;
pub mod search;
pub mod setup_events;
pub mod setup_failures;
pub mod sourcing;
pub mod task;
pub mod tenant;
#[cfg(test)]
mod testing;
pub mod warm_pool;
pub mod watch;
