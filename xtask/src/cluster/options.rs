//! The flags of `cargo xtask cluster up`.

use clap::Args;

use super::kwok;

/// How the cluster is to be.
#[derive(Args, Clone, Default)]
pub(crate) struct Options {
    /// Log every request to the API server (who, what, answer; no contents) in log/audit.log
    #[arg(long)]
    pub(crate) audit: bool,

    /// Let pods reach the outer world, and resolve its names
    #[arg(long)]
    pub(crate) internet: bool,

    /// Nodes beside the real one: `kwok:N` for N that only play being nodes
    #[arg(long, value_name = "kwok:N", value_parser = kwok::parse)]
    pub(crate) nodes: Option<u32>,

    /// Take away what an earlier `up` left, and start anew
    #[arg(long)]
    pub(crate) fresh: bool,
}
