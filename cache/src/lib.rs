//! The clone cache of Enact: it keeps what attempts have fetched of their repositories, so that the next attempt need not fetch it again.
//!
//! Runners send packs and read them. The cache opens no repository, has no credential, and takes no URL from anybody: the operator names
//! the repository of a pod in an annotation, and the API server identifies the pod. Git itself indexes each pack that arrives, and checks
//! that nothing is missing in it, so that a pack can only hold objects under their true names. `docs/guide/clone-cache.md` describes how to
//! operate it.

pub mod app;
pub mod config;
pub mod identity;
pub mod metrics;
pub mod pack;
pub mod problem;
pub mod repositories;
pub mod routes;
