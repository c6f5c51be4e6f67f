//! The vault against an API server that keeps objects in memory and compares resourceVersions.

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::testing::api::{Api, VALIDATING};
use crate::testing::https::{hosts, lifetimes};

const SECRET: &str = "/api/v1/namespaces/enact/secrets/enact-webhook-tls";

fn new_vault(api: &Api) -> ClusterVault {
    let name = || "enact".to_owned();
    let names = Names { namespace: name(), secret: "enact-webhook-tls".into(), validating: name(), mutating: name() };
    ClusterVault::new(&api.client(), names)
}

fn keyring() -> Keyring {
    Keyring::new(&hosts(), &lifetimes(), Timestamp::now()).unwrap()
}

#[tokio::test]
async fn the_first_to_store_wins() {
    // With the empty Secret of the chart, and without.
    for secret in [Some(json!({ "metadata": { "name": "enact-webhook-tls" } })), None] {
        let api = Api::installed();
        if let Some(secret) = secret {
            api.put(SECRET, secret);
        }
        let (one, two) = (new_vault(&api), new_vault(&api));
        let ((none, first), (_, second)) = (one.load().await.unwrap(), two.load().await.unwrap());
        assert!(none.is_none());
        let (mine, yours) = (keyring(), keyring());
        assert!(one.store(&mine, first).await.unwrap());
        assert!(!two.store(&yours, second).await.unwrap());
        let (found, _) = two.load().await.unwrap();
        assert_eq!(found.as_ref(), Some(&mine));
        let bundle = api.stored(SECRET)["data"]["ca.crt"].clone();
        assert_eq!(serde_json::from_value::<ByteString>(bundle).unwrap().0, mine.bundle().into_bytes());
    }
}

#[tokio::test]
async fn every_webhook_trusts_the_bundle_and_a_second_look_writes_nothing() {
    let api = Api::installed();
    let vault = new_vault(&api);
    let (_, seen) = vault.load().await.unwrap();
    assert!(vault.publish("one", &seen).await.unwrap());
    assert_eq!(api.bundles(), ["one"; 3]);
    let path = &api.stored(VALIDATING)["webhooks"][0]["clientConfig"]["service"]["path"];
    assert_eq!(path, "/x", "the rest of the configuration stays");
    let before = api.version();
    for vault in [vault, new_vault(&api)] {
        let (_, seen) = vault.load().await.unwrap();
        assert!(vault.publish("one", &seen).await.unwrap());
    }
    assert_eq!(api.version(), before);
}

#[tokio::test]
async fn an_older_bundle_never_replaces_a_newer_one() {
    let api = Api::installed();
    let (slow, fast) = (new_vault(&api), new_vault(&api));
    let (_, seen) = slow.load().await.unwrap();
    let (_, new) = fast.load().await.unwrap();
    assert!(fast.publish("new", &new).await.unwrap());
    assert!(!slow.publish("old", &seen).await.unwrap());
    assert_eq!(api.bundles(), ["new"; 3]);
    // Trust is looked at before the keyring: a bundle that was seen is never newer than the keyring that was read.
    let asked = api.asked();
    assert!(
        asked[..2].iter().all(|a| a.contains("webhookconfigurations")) && asked[2].contains("secrets"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn what_is_missing_or_damaged_is_no_error() {
    let api = Api::default();
    let vault = new_vault(&api);
    let (none, seen) = vault.load().await.unwrap();
    assert!(none.is_none() && vault.publish("one", &seen).await.unwrap());

    let secret = json!({
        "metadata": { "name": "enact-webhook-tls" },
        "data": { KEYRING: ByteString(b"{".to_vec()), "other": ByteString(b"kept".to_vec()) },
    });
    api.put(SECRET, secret);
    let (none, seen) = vault.load().await.unwrap();
    assert!(none.is_none() && vault.store(&keyring(), seen).await.unwrap());
    assert!(api.stored(SECRET)["data"]["other"].is_string());

    // Removed between reading and writing.
    let (_, seen) = vault.load().await.unwrap();
    api.clear();
    assert!(!vault.store(&keyring(), seen).await.unwrap());
}
