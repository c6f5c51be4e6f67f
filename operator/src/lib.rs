//! The controllers of Enact.
//!
//! One folder a kind, and in it one file a step: observe → validate → decide → record → apply → status. What a step decides comes from
//! `enact-domain`; this crate watches, asks, records and carries out.

pub mod agent;
pub mod approval;
pub mod backoff;
pub mod circles;
pub mod config;
pub mod context;
pub mod controller;
pub mod documents;
pub mod error;
pub mod follow;
pub mod index;
pub mod leader;
pub mod ledger;
pub mod listings;
pub mod memory;
pub mod metrics;
pub mod patch;
pub mod plan;
pub mod pods;
pub mod references;
pub mod run;
pub mod search;
pub mod shelf;
pub mod sourcing;
pub mod subjects;
pub mod task;
pub mod tenant;
#[cfg(test)]
mod testing;
