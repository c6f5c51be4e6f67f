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
    log.init()?;
    ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is already installed in this process"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime")?;
    runtime.block_on(async { program(signal::stop().context("cannot listen for signals")?).await })
}
