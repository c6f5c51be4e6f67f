//! The server inside the cluster: takes the results of attempts from the pods that made them, writes them to the record, and shows people
//! what the record holds.
//!
//! A pod is known by the projected token that the operator mounts into it: the API server says which pod a token is for, the pod's owner
//! and labels say which attempt it works on, and its namespace says which tenant it belongs to. What a pod says itself is only compared
//! with that. A reader is known by a token as well, and may read of the record what RBAC lets them get in Kubernetes. `docs/reference/server.md` describes the interface.

pub mod access;
pub mod app;
pub mod body;
pub mod cluster;
pub mod config;
pub mod documents;
pub mod identity;
pub mod intake;
pub mod metrics;
pub mod problem;
pub mod proof;
pub mod push;
pub mod reading;
pub mod routes;
pub mod target;
pub mod token;
pub mod turnstile;
