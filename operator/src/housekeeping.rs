//! Deletes what the record need not keep, of all tenants, while this process leads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use enact_domain::names::DEFAULT_TENANT;
use enact_store::Store;
use kube::ResourceExt as _;
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::caches::Caches;
use crate::context::Context;

/// Time between two rounds. What they delete is at least seven days old.
const PAUSE: Duration = Duration::from_hours(6);
/// Number of hex digits of a digest.
const HEX: usize = 64;

/// Deletes what is too old, again and again, until `shutdown`.
pub async fn run(ctx: Arc<Context>, store: Store, shutdown: CancellationToken) {
    let rounds = async {
        // Before that, an object that is not cached may name a content.
        ctx.synced().await;
        loop {
            round(&ctx.caches, &store).await;
            sleep(PAUSE).await;
        }
    };
    Box::pin(shutdown.run_until_cancelled(rounds)).await;
}

async fn round(caches: &Caches, store: &Store) {
    let mut tenants: BTreeSet<String> = caches.tenants.state().iter().map(|tenant| tenant.name_any()).collect();
    tenants.insert(DEFAULT_TENANT.to_owned());
    let named = match named_contents(caches) {
        Ok(named) => Some(named),
        Err(error) => {
            tracing::warn!(%error, "cannot read which contents objects name, so none is deleted");
            None
        }
    };
    for tenant in tenants.iter().map(String::as_str) {
        match store.delete_old_events(tenant).await {
            Ok(0) => {}
            Ok(events) => tracing::info!(tenant, events, "deleted old outgoing events"),
            Err(error) => tracing::warn!(tenant, %error, "cannot delete old outgoing events"),
        }
        let Some(named) = &named else { continue };
        match store.delete_unused_contents(tenant, named).await {
            Ok(0) => {}
            Ok(contents) => tracing::info!(tenant, contents, "deleted contents that nothing refers to"),
            Err(error) => tracing::warn!(tenant, %error, "cannot delete contents that nothing refers to"),
        }
    }
}

/// Returns the digests in specs and statuses. A status names documents that no revision has, such as a draft before its clarifications
/// are written into it.
fn named_contents(caches: &Caches) -> Result<Vec<String>, serde_json::Error> {
    let mut named = BTreeSet::new();
    for constitution in caches.constitutions.state() {
        add_digests(&mut named, &*constitution)?;
    }
    for specification in caches.specifications.state() {
        add_digests(&mut named, &*specification)?;
    }
    for plan in caches.plans.state() {
        add_digests(&mut named, &*plan)?;
    }
    Ok(named.into_iter().collect())
}

/// Adds the digests in any field of an object, so that a new field is not forgotten here.
fn add_digests(named: &mut BTreeSet<String>, object: &impl Serialize) -> Result<(), serde_json::Error> {
    let text = serde_json::to_string(object)?;
    let hex = text.split("sha256:").skip(1).filter_map(|rest| rest.get(..HEX));
    let hex = hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    named.extend(hex.map(|hex| format!("sha256:{hex}")));
    Ok(())
}

#[cfg(test)]
mod tests {
    use enact_domain::digest::Digest;
    use serde_json::json;

    use super::*;

    #[test]
    fn digests_in_all_fields_are_found() {
        let [draft, proposal] = [&b"draft"[..], b"proposal"].map(|bytes| Digest::of_bytes(bytes).to_string());
        let object = json!({
            "spec": { "image": "registry/image@sha256:123", "text": "sha256:ü sha256:" },
            "status": { "draft": { "digest": draft }, "proposals": [{ "digest": proposal }, { "digest": draft }] },
        });
        let mut named = BTreeSet::new();
        add_digests(&mut named, &object).unwrap();
        assert_eq!(named, BTreeSet::from([draft, proposal]));
    }
}
