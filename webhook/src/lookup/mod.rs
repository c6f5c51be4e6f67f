//! What the rules look up besides the request.

mod cluster;
mod types;

pub use cluster::ClusterLookup;
pub use types::{Claim, Lookup, LookupError, owner};
