//! The keyring in a Secret, and the trust in the webhook configurations.

use std::fmt::Debug;

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::CertificateError;
use super::keyring::Keyring;
use super::rotation::Vault;

/// Key of the Secret that holds the keyring.
const KEYRING: &str = "keyring.json";
/// Key of the Secret that holds the bundle, for people and tests.
const BUNDLE: &str = "ca.crt";
/// Who we are in managed fields.
const MANAGER: &str = "enact-webhook";

/// The keyring in a Secret, and who must trust it in the cluster.
pub struct ClusterVault {
    secrets: Api<Secret>,
    validating: Api<ValidatingWebhookConfiguration>,
    mutating: Api<MutatingWebhookConfiguration>,
    names: Names,
}

/// Names of the objects that hold the keyring and the trust in it.
#[derive(Clone, Debug)]
pub struct Names {
    /// Namespace of the Secret.
    pub namespace: String,
    /// The Secret.
    pub secret: String,
    /// The ValidatingWebhookConfiguration.
    pub validating: String,
    /// The MutatingWebhookConfiguration.
    pub mutating: String,
}

impl ClusterVault {
    /// A vault in the cluster of `client`.
    pub fn new(client: &Client, names: Names) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), &names.namespace),
            validating: Api::all(client.clone()),
            mutating: Api::all(client.clone()),
            names,
        }
    }

    /// A stream with an item whenever the Secret or a configuration may have changed.
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

/// Changes of one object; a failing watch is taken up again with growing pauses.
fn changes<K>(api: Api<K>, name: &str) -> impl Stream<Item = ()> + Send + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    watcher(api, config).default_backoff().filter_map(async |event| match event {
        Ok(_) => Some(()),
        Err(error) => {
            tracing::warn!(%error, "watch interrupted");
            None
        }
    })
}

impl Vault for ClusterVault {
    type Version = Option<Secret>;

    async fn load(&self) -> Result<(Option<Keyring>, Self::Version), CertificateError> {
        let secret = self.secrets.get_opt(&self.names.secret).await;
        let secret = secret.map_err(|e| failed(format!("reading Secret {}", self.names.secret), e))?;
        let text = secret.as_ref().and_then(|s| s.data.as_ref()?.get(KEYRING));
        let keyring = text.and_then(|text| match serde_json::from_slice(&text.0) {
            Ok(keyring) => Some(keyring),
            Err(error) => {
                tracing::error!(%error, secret = self.names.secret, "the keyring cannot be read; making a new one");
                None
            }
        });
        Ok((keyring, secret))
    }

    async fn store(&self, keyring: &Keyring, version: Self::Version) -> Result<bool, CertificateError> {
        let exists = version.is_some();
        let mut secret = version.unwrap_or_default();
        secret.metadata.name = Some(self.names.secret.clone());
        let data = secret.data.get_or_insert_default();
        data.insert(KEYRING.into(), ByteString(serde_json::to_vec(keyring)?));
        data.insert(BUNDLE.into(), ByteString(keyring.bundle().into_bytes()));
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        // A replacement carries the resourceVersion that was read, so the API server refuses it when somebody else was faster.
        let written = if exists {
            self.secrets.replace(&self.names.secret, &params, &secret).await
        } else {
            self.secrets.create(&params, &secret).await
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(false),
            Err(error) => Err(failed(format!("writing Secret {}", self.names.secret), error)),
        }
    }

    async fn publish(&self, bundle: &str) -> Result<(), CertificateError> {
        let (validating, mutating) = (&self.names.validating, &self.names.mutating);
        let trust = |config: &ValidatingWebhookConfiguration| -> Vec<(String, WebhookClientConfig)> {
            config.webhooks.iter().flatten().map(|w| (w.name.clone(), w.client_config.clone())).collect()
        };
        keep_trust(&self.validating, validating, bundle, trust).await?;
        let trust = |config: &MutatingWebhookConfiguration| -> Vec<(String, WebhookClientConfig)> {
            config.webhooks.iter().flatten().map(|w| (w.name.clone(), w.client_config.clone())).collect()
        };
        keep_trust(&self.mutating, mutating, bundle, trust).await
    }
}

/// Sets the bundle of every webhook of one configuration that has another. A missing configuration is no error: it may be created later,
/// or just have been removed with the installation.
async fn keep_trust<K>(
    api: &Api<K>,
    name: &str,
    bundle: &str,
    webhooks: impl Fn(&K) -> Vec<(String, WebhookClientConfig)>,
) -> Result<(), CertificateError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let what = || format!("{} {name}", K::kind(&()));
    let found = api.get_opt(name).await.map_err(|e| failed(format!("reading {}", what()), e))?;
    let Some(config) = found else {
        tracing::debug!(name, "there is no such webhook configuration");
        return Ok(());
    };
    let wanted = ByteString(bundle.as_bytes().to_vec());
    let stale: Vec<_> = webhooks(&config)
        .into_iter()
        .filter(|(_, client)| client.ca_bundle.as_ref() != Some(&wanted))
        .map(|(name, _)| json!({ "name": name, "clientConfig": { "caBundle": wanted } }))
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    // Webhooks are merged by name, so that one which somebody adds meanwhile stays. The resourceVersion keeps one that somebody removes
    // meanwhile from coming back.
    let patch = json!({ "metadata": { "resourceVersion": config.resource_version() }, "webhooks": stale });
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let patched = api.patch(name, &params, &Patch::Strategic(patch)).await;
    patched.map_err(|e| failed(format!("setting caBundle of {}", what()), e))?;
    tracing::info!(name, "caBundle set");
    Ok(())
}

fn failed(what: String, source: kube::Error) -> CertificateError {
    CertificateError::Api { what, source: Box::new(source) }
}
