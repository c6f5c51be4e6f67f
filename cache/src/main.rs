//! `enact-cache`: the process of the clone cache.

use enact_cache::app::App;
use enact_cache::config::Cli;
use enact_service::api_server::client;

fn main() -> anyhow::Result<()> {
    let cli: Cli = enact_service::config::parse()?;
    enact_service::process::run(&cli.log, async |stop| {
        App::bind(&cli.settings, client(None).await?).await?.run(stop).await
    })
}
