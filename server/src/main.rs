//! `enact-server`: the process.

use std::time::Duration;

use anyhow::Context as _;
use enact_server::app::App;
use enact_server::config::Cli;
use kube::Client;

/// Longest wait for the API server to accept a connection, and for its next byte: pods wait for the answer.
const CONNECT: Duration = Duration::from_secs(2);
const READ: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    let cli: Cli = enact_service::config::parse()?;
    cli.log.init()?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed twice"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = enact_service::signal::stop().context("cannot listen for signals")?;
        App::bind(&cli.settings, client().await?).await?.run(stop).await
    })
}

/// A client that gives up soon: whoever delivers tries again.
async fn client() -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await.context("no way to an API server; set KUBECONFIG or run in a pod")?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    Client::try_from(config).context("cannot set up the connection to the API server")
}
