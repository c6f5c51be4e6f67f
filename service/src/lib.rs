//! Shared parts of the long-running programs of Enact: start and signals, configuration, logs, HTTP, health and metrics.
//!
//! This crate does not depend on Kubernetes, Postgres or the domain.

pub mod config;
pub mod health;
pub mod http;
pub mod log;
pub mod metrics;
pub mod process;
pub mod signal;
