//! The start of a program: logs, cryptography, runtime and signals.

use anyhow::Context as _;
use tokio_rustls::rustls::crypto::ring;
use tokio_util::sync::CancellationToken;

use crate::log::Log;
use crate::signal;

/// Runs `program` until it ends. SIGTERM and SIGINT cancel the token that it gets.
///
/// # Errors
/// When the process cannot be set up, or `program` fails.
pub fn run(log: &Log, program: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // Logging starts first: it also installs the hook that logs panics.
    log.init()?;
    // Clients and servers with TLS take the provider of the process, so it is installed before any of them is made.
    ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is already installed in this process"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime")?;
    runtime.block_on(async { program(signal::stop().context("cannot listen for signals")?).await })
}
