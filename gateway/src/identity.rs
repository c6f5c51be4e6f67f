//! The identity of senders: the pods of tokens, cached for a short time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use enact_crds::identity::AgentPod;
use enact_domain::digest::Digest;
use enact_service::client::ClientAddress;
use enact_service::shares::Shares;
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
/// The same for one client, which could otherwise take all of them with tokens that are none.
const LOOKUPS_OF_CLIENT: usize = 4;
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
    clients: Shares<Option<ClientAddress>>,
}

struct Entry {
    pod: Arc<AgentPod>,
    at: Instant,
    refreshing: bool,
}

impl Identifier {
    pub fn new(cluster: Cluster) -> Self {
        let (lookups, clients) = (Semaphore::new(LOOKUPS), Shares::new(LOOKUPS_OF_CLIENT));
        Self(Arc::new(Inner { cluster, cache: Mutex::default(), lookups, clients }))
    }

    /// Returns the pod of a token that `client` sent.
    ///
    /// # Errors
    /// When the token is not accepted, its pod runs no agent or has ended, or the API server does not answer.
    pub async fn identify(&self, token: Token, client: Option<ClientAddress>) -> Result<Arc<AgentPod>, Denial> {
        let digest = token.digest();
        let (cached, refresh) = self.cached(&digest);
        if refresh {
            let identifier = self.clone();
            // While a client sends requests, its identity is renewed beside them, so that none of them waits for the API server.
            tokio::spawn(async move {
                let _ = identifier.look_up(&token, client).await;
            });
        } else if cached.is_none() {
            return self.look_up(&token, client).await;
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

    async fn look_up(&self, token: &Token, client: Option<ClientAddress>) -> Result<Arc<AgentPod>, Denial> {
        let digest = token.digest();
        let looked_up = timeout(PATIENCE, async {
            let _own = self.0.clients.semaphore(&client).acquire_owned().await.map_err(|_| busy())?;
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
    use http_body_util::Full;
    use kube::Client;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn one_client_cannot_take_all_look_ups() {
        let never = |_: Request<kube::client::Body>| {
            std::future::pending::<Result<Response<Full<bytes::Bytes>>, kube::Error>>()
        };
        let identifier = Identifier::new(Cluster::new(Client::new(tower::service_fn(never), "ns"), &[]));
        let flood = |address: &str| {
            let client = ClientAddress::from(address.parse::<SocketAddr>().unwrap());
            for number in 0..100 {
                let mut headers = HeaderMap::new();
                headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {number}")).unwrap());
                let (token, identifier) = (Token::of(&headers, &Uri::from_static("/")).unwrap(), identifier.clone());
                tokio::spawn(async move { identifier.identify(token, Some(client)).await });
            }
        };
        for (clients, address) in (1..).zip(["10.0.0.1:1", "10.0.0.2:1"]) {
            flood(address);
            for _ in 0..1000 {
                yield_now().await;
            }
            assert_eq!(identifier.0.lookups.available_permits(), LOOKUPS - clients * LOOKUPS_OF_CLIENT);
        }
    }
}
