//! Admission webhook of Enact, which the API server calls before it stores one of our objects.
//!
//! `/mutate` stamps the author and the tenant; `/validate` refuses invalid objects and says how to fix them; `/note` leaves a note about who
//! deletes an object.
//! The rules ([`mutate`], [`validate`]) are functions of the request and of a [`lookup::Lookup`] that they look things up in, so that they
//! are tested without a cluster. Nothing here needs Postgres: approvals and plans are admitted while the record is down.

pub mod admission;
pub mod app;
pub mod certs;
pub mod config;
pub mod deletions;
pub mod denial;
pub mod lookup;
pub mod metrics;
pub mod mutate;
pub mod parsing;
pub mod request;
pub mod stamps;
pub mod validate;

#[cfg(test)]
mod testing;
