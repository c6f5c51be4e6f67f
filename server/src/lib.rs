//! The server of Enact: stores the results that pods of attempts deliver, shows people the record, and receives the push webhooks of Git
//! hosts.
//!
//! The token that the operator mounts into a pod identifies the pod: the API server returns the pod of a token, the owner and labels of
//! the pod name its attempt, and its namespace determines the tenant. The server only compares the data in a request with these. A token
//! also identifies a reader, who may read the record of objects that RBAC lets them get in Kubernetes. `docs/reference/server.md` describes
//! the interface.

pub mod access;
pub mod app;
mod assignment;
pub mod body;
mod checkpoints;
pub mod cluster;
pub mod config;
pub mod documents;
pub mod identity;
pub mod intake;
pub mod limiter;
pub mod metrics;
pub mod problem;
pub mod push;
pub mod push_auth;
pub mod read_request;
pub mod reading;
pub mod routes;
pub mod token;
pub mod usage;
