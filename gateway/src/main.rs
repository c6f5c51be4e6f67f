//! `enact-gateway`: the process of the model gateway.

use std::time::Duration;

use anyhow::Context as _;
use enact_gateway::app::App;
use enact_gateway::config::Cli;
use kube::Client;

/// Longest wait for the API server to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

fn main() -> anyhow::Result<()> {
    let cli: Cli = enact_service::config::parse()?;
    enact_service::process::run(&cli.log, async |stop| App::bind(&cli.settings, client().await?).await?.run(stop).await)
}

/// Returns a client without retries: each request of an agent has its own time limit. Watches need the default read timeout.
async fn client() -> anyhow::Result<Client> {
    let mut config =
        kube::Config::infer().await.context("cannot find the API server; set KUBECONFIG or run in a pod")?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).context("cannot set up the connection to the API server")
}
