//! The keyring in a Secret, and the `caBundle` of the webhook configurations.

use std::fmt::Debug;

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::error::CertificateError;
use super::keyring::Keyring;
use super::rotation::Vault;

/// Key of the Secret that holds the keyring.
const KEYRING: &str = "keyring.json";
/// Key of the Secret that holds the bundle, for people and tests only.
const BUNDLE: &str = "ca.crt";
const MANAGER: &str = "enact-webhook";
/// The webhook that leaves notes about deletions.
const NOTES: &str = "deletions.enact.dev";

/// The keyring in a Secret, and the webhook configurations that must trust it.
pub struct ClusterVault {
    secrets: Api<Secret>,
    validating: Api<ValidatingWebhookConfiguration>,
    mutating: Api<MutatingWebhookConfiguration>,
    names: Names,
}

/// Names of the objects that hold the keyring and the `caBundle`.
#[derive(Clone, Debug)]
pub struct Names {
    pub namespace: String,
    pub secret: String,
    pub validating: String,
    pub mutating: String,
}

impl ClusterVault {
    pub fn new(client: &Client, names: Names) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), &names.namespace),
            validating: Api::all(client.clone()),
            mutating: Api::all(client.clone()),
            names,
        }
    }

    /// Returns a stream with an item whenever the Secret or a configuration may have changed.
    pub fn triggers(&self) -> impl Stream<Item = ()> + Send + use<> {
        stream::select(
            changes(self.secrets.clone(), &self.names.secret),
            stream::select(
                changes(self.validating.clone(), &self.names.validating),
                changes(self.mutating.clone(), &self.names.mutating),
            ),
        )
    }
}

/// Returns a stream of the changes of one object; a failed watch starts again with growing delays.
fn changes<K>(api: Api<K>, name: &str) -> impl Stream<Item = ()> + Send + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    watcher(api, config).default_backoff().filter_map(async |event| match event {
        // `InitDone` follows these events of the initial list and triggers one check for all of them.
        Ok(Event::Init | Event::InitApply(_)) => None,
        Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) => Some(()),
        Err(error) => {
            tracing::warn!(%error, "the watch was interrupted");
            None
        }
    })
}

/// The Secret and the configurations as they were read.
pub struct Seen {
    secret: Option<Secret>,
    validating: Option<ValidatingWebhookConfiguration>,
    mutating: Option<MutatingWebhookConfiguration>,
}

impl Vault for ClusterVault {
    type Seen = Seen;

    async fn load(&self) -> Result<(Option<Keyring>, Seen), CertificateError> {
        // The Secret is read last. A replica stores a keyring before it publishes the bundle, so the keyring is at least as new as a
        // bundle that is read here.
        let validating = read(&self.validating, &self.names.validating).await?;
        let mutating = read(&self.mutating, &self.names.mutating).await?;
        let secret = read(&self.secrets, &self.names.secret).await?;
        let text = secret.as_ref().and_then(|s| s.data.as_ref()?.get(KEYRING));
        let keyring = text.and_then(|text| match serde_json::from_slice(&text.0) {
            Ok(keyring) => Some(keyring),
            Err(error) => {
                tracing::error!(%error, secret = self.names.secret, "cannot parse the keyring; a new one replaces it");
                None
            }
        });
        Ok((keyring, Seen { secret, validating, mutating }))
    }

    async fn store(&self, keyring: &Keyring, seen: Seen) -> Result<bool, CertificateError> {
        let exists = seen.secret.is_some();
        let mut secret = seen.secret.unwrap_or_default();
        secret.metadata.name = Some(self.names.secret.clone());
        let data = secret.data.get_or_insert_default();
        data.insert(KEYRING.into(), ByteString(serde_json::to_vec(keyring)?));
        data.insert(BUNDLE.into(), ByteString(keyring.bundle().into_bytes()));
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        // `replace` sends the resourceVersion that was read, so the API server refuses it when somebody else wrote first.
        let written = if exists {
            self.secrets.replace(&self.names.secret, &params, &secret).await
        } else {
            self.secrets.create(&params, &secret).await
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            // Somebody deleted it meanwhile.
            Err(kube::Error::Api(status)) if exists && status.code == 404 => Ok(false),
            Err(error) => Err(failed(format!("writing Secret {}", self.names.secret), error)),
        }
    }

    async fn publish(&self, bundle: &str, note_secret: &str, seen: &Seen) -> Result<bool, CertificateError> {
        let (validating, mutating) = (seen.validating.as_ref(), seen.mutating.as_ref());
        Ok(set_clients(&self.validating, validating, bundle, note_secret).await?
            && set_clients(&self.mutating, mutating, bundle, note_secret).await?)
    }
}

/// A webhook configuration of either kind.
trait Configuration: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned {
    /// Returns the name and the client configuration of each webhook.
    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)>;
}

impl Configuration for ValidatingWebhookConfiguration {
    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|w| (w.name.as_str(), &w.client_config)).collect()
    }
}

impl Configuration for MutatingWebhookConfiguration {
    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|w| (w.name.as_str(), &w.client_config)).collect()
    }
}

/// Sets the bundle of every webhook of one configuration that has another, and the path of notes, which contains the secret. A missing
/// configuration is not an error: it may be created later, or was just removed with the installation.
async fn set_clients<K: Configuration>(
    api: &Api<K>,
    config: Option<&K>,
    bundle: &str,
    note_secret: &str,
) -> Result<bool, CertificateError> {
    let Some(config) = config else {
        tracing::debug!(kind = %K::kind(&()), "the webhook configuration does not exist");
        return Ok(true);
    };
    let (name, wanted) = (config.name_any(), ByteString(bundle.as_bytes().to_vec()));
    let clients = config.clients();
    let note_path = format!("/note/{note_secret}");
    let lacks_path = |name: &str, client: &WebhookClientConfig| {
        name == NOTES && client.service.as_ref().is_some_and(|service| service.path.as_ref() != Some(&note_path))
    };
    let stale: Vec<_> = clients
        .iter()
        .filter(|(name, client)| client.ca_bundle.as_ref() != Some(&wanted) || lacks_path(name, client))
        .map(|(name, client)| {
            let mut due = json!({ "caBundle": wanted });
            if lacks_path(name, client) {
                due["service"] = json!({ "path": note_path });
            }
            json!({ "name": name, "clientConfig": due })
        })
        .collect();
    if stale.is_empty() {
        return Ok(true);
    }
    // Webhooks are merged by name. The resourceVersion prevents that a webhook which somebody removes meanwhile comes back, and that an
    // older bundle replaces a newer one: who set that one had stored the keyring before, so we would have read it.
    let patch = json!({ "metadata": { "resourceVersion": config.resource_version() }, "webhooks": stale });
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    match api.patch(&name, &params, &Patch::Strategic(patch)).await {
        Ok(_) => {
            tracing::info!(name, kind = %K::kind(&()), "caBundle and the path of notes set");
            Ok(true)
        }
        // Somebody changed or removed the configuration meanwhile: the caller reads it again.
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(false),
        Err(error) => Err(failed(format!("setting caBundle of {} {name}", K::kind(&())), error)),
    }
}

async fn read<K>(api: &Api<K>, name: &str) -> Result<Option<K>, CertificateError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    api.get_opt(name).await.map_err(|e| failed(format!("reading {} {name}", K::kind(&())), e))
}

fn failed(what: String, source: kube::Error) -> CertificateError {
    CertificateError::Api { what, source: Box::new(source) }
}

#[cfg(test)]
mod tests;
