//! `enact-gateway`: the process of the model gateway.

use enact_gateway::app::App;
use enact_gateway::config::Cli;
use enact_service::api_server::client;

fn main() -> anyhow::Result<()> {
    let cli: Cli = enact_service::config::parse()?;
    enact_service::process::run(&cli.log, async |stop| {
        App::bind(&cli.settings, client(None).await?).await?.run(stop).await
    })
}
