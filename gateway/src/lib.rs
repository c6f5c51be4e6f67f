//! The model gateway of Enact: agents in pods send their requests to models here, with a token of their pod instead of the key of a
//! provider.
//!
//! The API server identifies the pod of a token, and with it attempt, tenant and Agent. The Agent names the models that it may use and their
//! providers, in order. The gateway reserves the estimate of a request in all budgets, replaces the token by the provider's key, passes the
//! answer on while it reads the usage in it, and books what was used. `docs/guide/gateway.md` describes how to operate it.

pub mod abandoned;
pub mod address;
pub mod app;
pub mod breaker;
pub mod budget;
pub mod cluster;
pub mod config;
pub mod credential;
pub mod denial;
pub mod gateway;
pub mod identity;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod memory;
pub mod metering;
pub mod metrics;
pub mod providers;
pub mod relay;
pub mod request_log;
pub mod routes;
pub mod target;
pub mod ticket;
pub mod upstream;
pub mod verdict;
pub mod waiting;
pub mod wire;
