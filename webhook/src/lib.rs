//! Admission for Enact: what the API server asks before it stores one of our objects.
//!
//! `/mutate` stamps who did it and which tenant it belongs to; `/validate` refuses what must not be stored and says how to put it right.
//! The rules ([`mutate`], [`validate`]) are functions of the request and of a [`world::World`] that they look things up in, so that they
//! are tested without a cluster. Nothing here needs Postgres: approvals and plans are admitted while the record is down.

pub mod admission;
pub mod app;
pub mod certs;
pub mod config;
pub mod denial;
pub mod metrics;
pub mod mutate;
pub mod request;
pub mod validate;
pub mod world;

#[cfg(test)]
mod testing;
