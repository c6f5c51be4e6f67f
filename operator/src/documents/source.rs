//! Source: the bytes of a document as they are found, before answers are written into them.

use enact_crds::common::ConfigMapKey;
use enact_crds::document::Source;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;

use crate::context::Context;
use crate::error::Error;

/// A document as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where they come from.
    pub origin: Origin,
}

/// Where a document comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The object itself, or a ConfigMap.
    Source,
    /// A Git repository, at this commit.
    Git(String),
    /// An agent drafted it.
    Draft,
}

/// A document that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The object names no source.
    #[error("spec.source names no document; set inline, configMapKeyRef or git")]
    Unnamed,
    /// There is no such ConfigMap.
    #[error("spec.source.configMapKeyRef: there is no ConfigMap {0} in this namespace; create it")]
    ConfigMap(String),
    /// The ConfigMap has no such key.
    #[error("spec.source.configMapKeyRef: ConfigMap {name} has no key {key}; add it, or name one that it has")]
    Key {
        /// Name of the ConfigMap.
        name: String,
        /// The key that is missing.
        key: String,
    },
}

/// Reads a document.
///
/// # Errors
/// When the API server fails.
pub async fn read(ctx: &Context, namespace: &str, source: Option<&Source>) -> Result<Result<Found, Missing>, Error> {
    let bytes = match source {
        Some(Source { inline: Some(text), .. }) => Ok(text.clone().into_bytes()),
        Some(Source { config_map_key_ref: Some(key), .. }) => config_map(ctx, namespace, key).await?,
        _ => Err(Missing::Unnamed),
    };
    Ok(bytes.map(|bytes| Found { bytes, origin: Origin::Source }))
}

async fn config_map(ctx: &Context, namespace: &str, key: &ConfigMapKey) -> Result<Result<Vec<u8>, Missing>, Error> {
    let api = Api::<ConfigMap>::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(&key.name).await.map_err(Error::kube(format!("get ConfigMap {namespace}/{}", key.name)))?;
    let Some(map) = found else {
        return Ok(Err(Missing::ConfigMap(key.name.clone())));
    };
    let text = map.data.and_then(|mut data| data.remove(&key.key)).map(String::into_bytes);
    let bytes = text.or_else(|| map.binary_data.and_then(|mut data| data.remove(&key.key)).map(|b| b.0));
    Ok(bytes.ok_or_else(|| Missing::Key { name: key.name.clone(), key: key.key.clone() }))
}
