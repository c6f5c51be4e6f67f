//! `enact-server`: the process of the server.

use std::time::Duration;

use enact_server::app::App;
use enact_server::config::Cli;
use enact_service::api_server::client;

/// Longest wait for the next byte of the API server. Pods wait for the answer meanwhile.
const READ: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    let cli: Cli = enact_service::config::parse()?;
    enact_service::process::run(&cli.log, async |stop| {
        App::bind(&cli.settings, client(Some(READ)).await?).await?.run(stop).await
    })
}
