//! `enact-cache`: the process of the clone cache.

use std::time::Duration;

use anyhow::Context as _;
use enact_cache::app::App;
use enact_cache::config::Cli;
use kube::Client;

/// Longest wait for the API server to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

fn main() -> anyhow::Result<()> {
    let cli: Cli = enact_service::config::parse()?;
    enact_service::process::run(&cli.log, async |stop| App::bind(&cli.settings, client().await?).await?.run(stop).await)
}

/// Returns a client without retries: a runner does not wait long.
async fn client() -> anyhow::Result<Client> {
    let mut config =
        kube::Config::infer().await.context("cannot find the API server; set KUBECONFIG or run in a pod")?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).context("cannot set up the connection to the API server")
}
