//! `enact-webhook`: the process of the admission webhook.

use anyhow::Context as _;
use enact_webhook::app;
use enact_webhook::config::Config;
use kube::Client;

fn main() -> anyhow::Result<()> {
    let config: Config = enact_service::config::parse()?;
    enact_service::process::run(&config.log.clone(), async |stop| {
        let client =
            Client::try_default().await.context("cannot find the API server; set KUBECONFIG or run in a pod")?;
        Ok(app::run(config, client, stop).await?)
    })
}
