//! `enact-webhook`: the admission webhook's process.

use anyhow::Context as _;
use enact_webhook::app;
use enact_webhook::config::Config;
use kube::Client;

fn main() -> anyhow::Result<()> {
    let config: Config = enact_service::config::parse()?;
    config.log.init()?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed twice"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = enact_service::signal::stop().context("cannot listen for signals")?;
        let client = Client::try_default().await.context("no way to an API server; set KUBECONFIG or run in a pod")?;
        Ok(app::run(config, client, stop).await?)
    })
}
