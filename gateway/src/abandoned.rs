//! Books the estimates of requests whose gateway died before it settled them.

use std::sync::Arc;
use std::time::Duration;

use enact_crds::Tenant;
use enact_domain::names::DEFAULT_TENANT;
use enact_domain::time::Millis;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::gateway::now;
use crate::ledger::Ledger;

/// Time between two rounds.
const PAUSE: Duration = Duration::from_mins(5);
/// Age of requests that are certainly not in progress any more: longer than the longest wait for an answer and the longest answer.
const AGE: Duration = Duration::from_mins(45);

/// Books the estimates of abandoned requests of all tenants, again and again. Replicas may do it at the same time.
pub async fn run(client: Client, cluster: Cluster, ledger: Arc<dyn Ledger>) {
    loop {
        match tenants(&client, &cluster).await {
            Ok(tenants) => {
                for tenant in tenants {
                    settle(&tenant, ledger.as_ref()).await;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot list the tenants, to settle their abandoned requests"),
        }
        sleep(PAUSE).await;
    }
}

async fn tenants(client: &Client, cluster: &Cluster) -> kube::Result<Vec<String>> {
    let listed = Api::<Tenant>::all(client.clone()).list_metadata(&ListParams::default()).await?;
    let mut names: Vec<String> = listed.items.iter().map(kube::ResourceExt::name_any).collect();
    if cluster.has_default_tenant() {
        names.push(DEFAULT_TENANT.to_owned());
    }
    Ok(names)
}

async fn settle(tenant: &str, ledger: &dyn Ledger) {
    let age = i64::try_from(AGE.as_millis()).unwrap_or(i64::MAX);
    let before = Millis(now().0.saturating_sub(age));
    match ledger.settle_abandoned(tenant, before).await {
        Ok(0) => {}
        Ok(requests) => tracing::warn!(tenant, requests, "booked the estimates of requests whose gateway died"),
        Err(error) => tracing::warn!(tenant, %error, "cannot settle abandoned requests"),
    }
}
