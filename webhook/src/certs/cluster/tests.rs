//! The vault against an API server in memory.

use enact_testing::FakeApi;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::testing::cluster::{VALIDATING, bundles, installed};
use crate::testing::https::{hosts, lifetimes};

const SECRET: &str = "secrets/enact-webhook-tls";

fn new_vault(api: &FakeApi) -> ClusterVault {
    let name = || "enact".to_owned();
    let names = Names { namespace: name(), secret: "enact-webhook-tls".into(), validating: name(), mutating: name() };
    ClusterVault::new(&api.client(), names)
}

fn service_of_notes() -> serde_json::Value {
    json!({ "name": "enact-webhook", "namespace": "enact", "port": 443 })
}

fn keyring() -> Keyring {
    Keyring::new(&hosts(), &lifetimes(), Timestamp::now()).unwrap()
}

#[tokio::test]
async fn the_first_to_store_wins() {
    // With the chart's empty Secret, and without a Secret.
    for secret in [Some(json!({ "metadata": { "name": "enact-webhook-tls" } })), None] {
        let api = installed();
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
        let bundle = api.get(SECRET)["data"]["ca.crt"].clone();
        assert_eq!(serde_json::from_value::<ByteString>(bundle).unwrap().0, mine.bundle().into_bytes());
    }
}

#[tokio::test]
async fn every_webhook_trusts_the_bundle_after_one_write() {
    let api = installed();
    let vault = new_vault(&api);
    let (_, seen) = vault.load().await.unwrap();
    assert!(vault.publish("one", "secret", &seen).await.unwrap());
    assert_eq!(bundles(&api), ["one"; 3]);
    let path = &api.get(VALIDATING)["webhooks"][0]["clientConfig"]["service"]["path"];
    assert_eq!(path, "/x", "the rest of the configuration stays");
    let before = api.version();
    for vault in [vault, new_vault(&api)] {
        let (_, seen) = vault.load().await.unwrap();
        assert!(vault.publish("one", "secret", &seen).await.unwrap());
    }
    assert_eq!(api.version(), before);
}

#[tokio::test]
async fn an_older_bundle_never_replaces_a_newer_one() {
    let api = installed();
    let (slow, fast) = (new_vault(&api), new_vault(&api));
    let (_, seen) = slow.load().await.unwrap();
    let (_, new) = fast.load().await.unwrap();
    assert!(fast.publish("new", "secret", &new).await.unwrap());
    assert!(!slow.publish("old", "secret", &seen).await.unwrap());
    assert_eq!(bundles(&api), ["new"; 3]);
    // The bundle is read before the keyring, so that it is never newer than the keyring.
    let asked = api.requests();
    assert!(
        asked[..2].iter().all(|a| a.contains("webhookconfigurations")) && asked[2].contains("secrets"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_missing_or_damaged_keyring_is_replaced() {
    let api = FakeApi::default();
    let vault = new_vault(&api);
    let (none, seen) = vault.load().await.unwrap();
    assert!(none.is_none() && vault.publish("one", "secret", &seen).await.unwrap());

    let secret = json!({
        "metadata": { "name": "enact-webhook-tls" },
        "data": { KEYRING: ByteString(b"{".to_vec()), "other": ByteString(b"kept".to_vec()) },
    });
    api.put(SECRET, secret);
    let (none, seen) = vault.load().await.unwrap();
    assert!(none.is_none() && vault.store(&keyring(), seen).await.unwrap());
    assert!(api.get(SECRET)["data"]["other"].is_string());

    // The Secret is deleted between the read and the write.
    let (_, seen) = vault.load().await.unwrap();
    api.clear();
    assert!(!vault.store(&keyring(), seen).await.unwrap());
}

#[tokio::test]
async fn only_notes_get_a_path_with_the_secret() {
    let api = installed();
    let mut config = api.get(VALIDATING);
    let notes = json!({ "name": "deletions.enact.dev", "sideEffects": "NoneOnDryRun", "admissionReviewVersions": ["v1"],
        "clientConfig": { "service": service_of_notes() } });
    config["webhooks"].as_array_mut().unwrap().push(notes);
    api.put(VALIDATING, config);
    let services = || {
        let webhooks = api.get(VALIDATING)["webhooks"].as_array().unwrap().clone();
        webhooks.into_iter().map(|w| w["clientConfig"]["service"].clone()).collect::<Vec<_>>()
    };
    let others = services()[..2].to_vec();
    // The path is set with the first bundle, and again after somebody changed it.
    for _ in 0..2 {
        let vault = new_vault(&api);
        let (_, seen) = vault.load().await.unwrap();
        assert!(vault.publish("one", "secret", &seen).await.unwrap());
        let mut expected = service_of_notes();
        expected["path"] = json!("/note/secret");
        assert_eq!(services()[2], expected);
        assert_eq!(services()[..2], others);
        let mut changed = api.get(VALIDATING);
        changed["webhooks"][2]["clientConfig"]["service"]["path"] = json!("/note");
        api.put(VALIDATING, changed);
    }
}
