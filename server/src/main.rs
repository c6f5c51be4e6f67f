//! `enact-server`: the process of the server.

use std::time::Duration;

use anyhow::Context as _;
use enact_server::app::App;
use enact_server::config::Cli;
use kube::Client;

/// Longest waits for the API server to accept a connection, and for its next byte. Pods wait for the answer meanwhile.
const CONNECT: Duration = Duration::from_secs(2);
const READ: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    let cli: Cli = enact_service::config::parse()?;
    enact_service::process::run(&cli.log, async |stop| App::bind(&cli.settings, client().await?).await?.run(stop).await)
}

/// Returns a client with short timeouts: a pod whose delivery fails tries again.
async fn client() -> anyhow::Result<Client> {
    let mut config =
        kube::Config::infer().await.context("cannot find the API server; set KUBECONFIG or run in a pod")?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    Client::try_from(config).context("cannot set up the connection to the API server")
}
