//! What the long-running programs of Enact do alike: configuration, logs, signals, HTTP, health and metrics.
//!
//! It knows nothing of Kubernetes, the record or the domain.

pub mod config;
pub mod health;
pub mod http;
pub mod log;
pub mod metrics;
pub mod signal;
