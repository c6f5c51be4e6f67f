//! The keys of providers: the Secret `enact-model-keys` of a namespace. Only the gateway reads it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use enact_domain::names::MODEL_KEYS_SECRET;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::time::{Instant, timeout};

use crate::denial::{Denial, DenialKind};

/// Time for which keys are cached: a new key is used after at most this time.
const FRESH: Duration = Duration::from_mins(1);
/// The same for a Secret that does not exist.
const MISSING: Duration = Duration::from_secs(5);
/// Shortest time between two look-ups after a provider refused a key.
const RETRY: Duration = Duration::from_secs(5);
/// Time limit of a look-up.
const PATIENCE: Duration = Duration::from_secs(5);

type Data = BTreeMap<String, Arc<SecretString>>;

/// The keys of all namespaces whose providers were used.
pub struct Keys {
    client: Client,
    cache: Mutex<BTreeMap<String, (Instant, Arc<Data>)>>,
}

impl Keys {
    pub fn new(client: Client) -> Self {
        Self { client, cache: Mutex::default() }
    }

    /// Returns a key of the Secret in `namespace`.
    ///
    /// # Errors
    /// When it does not exist, or the API server does not answer.
    pub async fn get(&self, namespace: &str, key: &str) -> Result<Arc<SecretString>, Denial> {
        let data = match self.cached(namespace) {
            Some(data) => data,
            None => self.load(namespace).await?,
        };
        data.get(key).cloned().ok_or_else(|| {
            let why = format!(
                "the Secret {MODEL_KEYS_SECRET} in namespace {namespace} has no key {key}; an owner of the provider must add it"
            );
            Denial::new(DenialKind::CredentialRejected, why)
        })
    }

    /// Forgets the keys of a namespace after a provider refused one: it may have been replaced.
    pub fn refused(&self, namespace: &str) {
        let mut cache = self.cache.lock();
        if cache.get(namespace).is_some_and(|(at, _)| at.elapsed() >= RETRY) {
            cache.remove(namespace);
        }
    }

    fn cached(&self, namespace: &str) -> Option<Arc<Data>> {
        let cache = self.cache.lock();
        let (at, data) = cache.get(namespace)?;
        let limit = if data.is_empty() { MISSING } else { FRESH };
        (at.elapsed() < limit).then(|| Arc::clone(data))
    }

    async fn load(&self, namespace: &str) -> Result<Arc<Data>, Denial> {
        let read = timeout(PATIENCE, self.read(namespace)).await;
        let data = read.unwrap_or_else(|_| Err("it took too long".into())).map_err(|why| {
            tracing::warn!(namespace, why, "cannot read the keys of model providers");
            Denial::new(DenialKind::Unavailable, "the key of the provider cannot be read at the moment").retry_after(2)
        })?;
        let data = Arc::new(data);
        self.cache.lock().insert(namespace.to_owned(), (Instant::now(), Arc::clone(&data)));
        Ok(data)
    }

    async fn read(&self, namespace: &str) -> Result<Data, String> {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{MODEL_KEYS_SECRET}");
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
        // The answer is read as text: kube logs an answer that it cannot parse.
        let text = match self.client.request_text(request).await {
            Ok(text) => SecretString::from(text),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Data::new()),
            Err(error) => return Err(error.to_string()),
        };
        let secret: Secret = serde_json::from_str(secrecy::ExposeSecret::expose_secret(&text))
            .map_err(|_| "the answer is not a Secret".to_owned())?;
        let values = secret.data.unwrap_or_default().into_iter();
        // A file that was made into a Secret ends with a line break.
        let texts = values.filter_map(|(key, value)| {
            let text = String::from_utf8(value.0).ok()?;
            Some((key, Arc::new(SecretString::from(text.trim_end().to_owned()))))
        });
        Ok(texts.collect())
    }
}
