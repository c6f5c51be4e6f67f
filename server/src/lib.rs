//! The server inside the cluster: takes the results of attempts from the pods that made them, and writes them to the record.
//!
//! A pod is known by the projected token that the operator mounts into it: the API server says which pod a token is for, the pod's owner
//! and labels say which attempt it works on, and its namespace says which tenant it belongs to. What a pod says itself is only compared
//! with that. `docs/reference/server.md` describes the interface.

pub mod app;
pub mod body;
pub mod config;
pub mod identity;
pub mod intake;
pub mod metrics;
pub mod problem;
pub mod routes;
pub mod turnstile;
