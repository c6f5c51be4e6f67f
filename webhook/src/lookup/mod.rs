//! Lookups of the rules: data that the request does not contain.

mod cluster;
mod types;

pub use cluster::ClusterLookup;
pub use types::{Claim, Lookup, LookupError, owner};
