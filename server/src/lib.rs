//! The server of Enact: stores the results that pods of attempts deliver, shows people the record, and receives the push webhooks of Git
//! hosts.
//!
//! The token that the operator mounts into a pod identifies the pod: the API server says which pod a token is for, the pod's owner and
//! labels say which attempt it works on, and its namespace says which tenant it belongs to. What a pod says itself is only compared with
//! that. A token identifies a reader too, who may read the record of what RBAC lets them get in Kubernetes. `docs/reference/server.md`
//! describes the interface.

pub mod access;
pub mod app;
pub mod body;
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
