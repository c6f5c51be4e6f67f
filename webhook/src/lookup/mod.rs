//! What the rules look up in addition to the request.

mod cluster;
mod types;

pub use cluster::ClusterLookup;
pub use types::{Claim, Lookup, LookupError, owner};
