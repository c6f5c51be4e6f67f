//! The flags of `cargo xtask cluster up`.

use clap::Args;

use super::kwok;

/// The configuration of the cluster.
#[derive(Args, Clone, Default)]
pub(crate) struct Options {
    /// Log every request to the API server in log/audit.log, without bodies
    #[arg(long)]
    pub(crate) audit: bool,

    /// Let pods connect to other networks and resolve their names
    #[arg(long)]
    pub(crate) internet: bool,

    /// Additional nodes: `kwok:N` adds N simulated nodes
    #[arg(long, value_name = "kwok:N", value_parser = kwok::parse)]
    pub(crate) nodes: Option<u32>,

    /// Remove an existing cluster first
    #[arg(long)]
    pub(crate) fresh: bool,
}
