//! What one replica does from time to time for all: books the estimates of requests whose gateway died before it settled them, and deletes
//! the texts of requests whose time has come.

use std::sync::Arc;
use std::time::Duration;

use enact_domain::names::DEFAULT_TENANT;
use enact_domain::time::Millis;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::gateway::{Gateway, now};
use crate::ledger::Ledger;

/// Time between two rounds.
const PAUSE: Duration = Duration::from_mins(5);
/// Rounds from one deletion of texts to the next one: an hour.
const ROUNDS_UNTIL_DELETION: u64 = 12;
/// Age of requests that are certainly not in progress any more: longer than the longest wait for an answer and the longest answer.
const AGE: Duration = Duration::from_mins(45);

/// Books the estimates of abandoned requests of all tenants, again and again, and deletes texts. Replicas may do it at the same time.
pub async fn run(cluster: Cluster, gateway: Arc<Gateway>) {
    for round in 0_u64.. {
        match gateway.catalogue.ready().await {
            Ok(()) => {
                for tenant in tenants(&cluster, &gateway) {
                    settle(&tenant, gateway.ledger.as_ref()).await;
                    // Also of a tenant that does not want texts any more.
                    if round.is_multiple_of(ROUNDS_UNTIL_DELETION) {
                        delete_texts(&tenant, gateway.ledger.as_ref()).await;
                    }
                }
            }
            Err(why) => tracing::warn!(why, "cannot settle the abandoned requests of tenants"),
        }
        sleep(PAUSE).await;
    }
}

fn tenants(cluster: &Cluster, gateway: &Gateway) -> Vec<String> {
    let default = cluster.has_default_tenant().then(|| DEFAULT_TENANT.to_owned());
    gateway.catalogue.tenants().into_iter().chain(default).collect()
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

async fn delete_texts(tenant: &str, ledger: &dyn Ledger) {
    match ledger.delete_expired_logs(tenant, now()).await {
        Ok(0) => {}
        Ok(requests) => tracing::info!(tenant, requests, "deleted texts of requests after their retention"),
        Err(error) => tracing::warn!(tenant, %error, "cannot delete texts of requests"),
    }
}
