//! The identity of senders: the pods of tokens, cached for a short time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use enact_crds::identity::AgentPod;
use enact_domain::digest::Digest;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::cluster::Cluster;
use crate::credential::Token;
use crate::denial::{Denial, DenialKind};

/// Age up to which an identity is used without another look-up.
const FRESH: Duration = Duration::from_secs(15);
/// Age after which an identity is not used any more.
const EXPIRED: Duration = Duration::from_secs(30);
/// Most look-ups at once; they wait up to a timeout, which also limits each of them.
const LOOKUPS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(6);
/// Most cached identities. Further ones are looked up for each request.
const CAPACITY: usize = 16_384;

/// Identifies senders. Clones share the cache.
#[derive(Clone)]
pub struct Identifier(Arc<Inner>);

struct Inner {
    cluster: Cluster,
    cache: Mutex<HashMap<Digest, Entry>>,
    lookups: Semaphore,
}

struct Entry {
    pod: Arc<AgentPod>,
    at: Instant,
    refreshing: bool,
}

impl Identifier {
    pub fn new(cluster: Cluster) -> Self {
        Self(Arc::new(Inner { cluster, cache: Mutex::default(), lookups: Semaphore::new(LOOKUPS) }))
    }

    /// Returns the pod of a token.
    ///
    /// # Errors
    /// When the token is not accepted, its pod runs no agent or has ended, or the API server does not answer.
    pub async fn identify(&self, token: Token) -> Result<Arc<AgentPod>, Denial> {
        let digest = token.digest();
        let (cached, refresh) = self.cached(&digest);
        if refresh {
            let identifier = self.clone();
            // While a client sends requests, its identity is renewed beside them, so that none of them waits for the API server.
            tokio::spawn(async move {
                let _ = identifier.look_up(&token).await;
            });
        } else if cached.is_none() {
            return self.look_up(&token).await;
        }
        cached.ok_or_else(busy)
    }

    /// Returns a cached identity, and whether the caller must refresh it.
    fn cached(&self, digest: &Digest) -> (Option<Arc<AgentPod>>, bool) {
        let mut cache = self.0.cache.lock();
        let Some(entry) = cache.get_mut(digest) else { return (None, false) };
        let age = entry.at.elapsed();
        if age >= EXPIRED {
            return (None, false);
        }
        let refresh = age >= FRESH && !entry.refreshing;
        entry.refreshing |= refresh;
        (Some(Arc::clone(&entry.pod)), refresh)
    }

    async fn look_up(&self, token: &Token) -> Result<Arc<AgentPod>, Denial> {
        let digest = token.digest();
        let looked_up = timeout(PATIENCE, async {
            let _slot = self.0.lookups.acquire().await.map_err(|_| busy())?;
            self.0.cluster.agent_pod(token).await
        });
        let found = looked_up.await.unwrap_or_else(|_| Err(busy()));
        let mut cache = self.0.cache.lock();
        match found {
            Ok(pod) => {
                let pod = Arc::new(pod);
                cache.retain(|_, entry| entry.at.elapsed() < EXPIRED);
                if cache.len() < CAPACITY {
                    cache.insert(digest, Entry { pod: Arc::clone(&pod), at: Instant::now(), refreshing: false });
                }
                Ok(pod)
            }
            Err(denial) => {
                if denial.kind == DenialKind::TokenRefused {
                    cache.remove(&digest);
                } else if let Some(entry) = cache.get_mut(&digest) {
                    // The next request tries again, until the entry expires.
                    entry.refreshing = false;
                }
                Err(denial)
            }
        }
    }
}

fn busy() -> Denial {
    Denial::new(DenialKind::Unavailable, "the sender cannot be identified at the moment").retry_after(2)
}
