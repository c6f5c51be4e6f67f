//! Shared parts of the long-running programs of Enact: start and signals, configuration, logs, HTTP, health, metrics, and requests to the
//! API server.
//!
//! This crate does not depend on Postgres or the domain.

pub mod api_server;
pub mod client;
pub mod config;
pub mod handler;
pub mod health;
pub mod http;
pub mod log;
pub mod metrics;
pub mod pace;
pub mod process;
pub mod shares;
pub mod signal;
