//! Authorization of readers: the user of a token, what RBAC lets the user get, and the tenant of the namespace.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use enact_domain::digest::Digest;
use enact_domain::names::{GROUP, READER_SERVICE_ACCOUNT};
use enact_domain::record::Kind;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::cluster::{Cluster, in_time};
use crate::problem::{Problem, ProblemKind};
use crate::token::Token;

/// Lifetime of a cached permission. Refusals are not cached, so that a new RoleBinding has an effect at once.
const CACHED_FOR: Duration = Duration::from_secs(30);
/// Most cached permissions.
const MAX_CACHED: usize = 4096;

/// A request to read objects of these kinds in a namespace: all of them, or one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessRequest {
    pub namespace: String,
    /// Kinds whose objects the reader must be allowed to get.
    pub kinds: Vec<Kind>,
    /// The name of the object, when the request is for one.
    pub name: Option<String>,
}

/// A user who may read what they requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The tenant that owns the namespace.
    pub tenant: String,
    /// The user's name, as the API server reports it.
    pub user: String,
}

/// The authorization of readers, with a cache.
pub struct Access {
    cluster: Arc<Cluster>,
    timeout: Duration,
    cache: Mutex<HashMap<(Digest, AccessRequest), (Instant, Reader)>>,
}

impl Access {
    /// Makes an authorization that asks `cluster` and fails when there is no answer before the timeout.
    pub fn new(cluster: Arc<Cluster>, timeout: Duration) -> Self {
        Self { cluster, timeout, cache: Mutex::default() }
    }

    /// Authorizes the sender of a token: a user who may `get` the objects may read their record.
    ///
    /// # Errors
    /// When the token is not accepted, its user may not get the objects, no tenant owns the namespace, or the API server does not answer.
    pub async fn authorize(&self, token: &Token, wanted: &AccessRequest) -> Result<Reader, Problem> {
        // The key holds the digest of the token, so that the cache never holds a token.
        let key = (token.digest(), wanted.clone());
        if let Some(reader) = self.cached(&key) {
            return Ok(reader);
        }
        let reader = in_time(self.timeout, "reader", self.ask(token, wanted)).await?;
        self.cache(key, &reader);
        Ok(reader)
    }

    async fn ask(&self, token: &Token, wanted: &AccessRequest) -> Result<Reader, Problem> {
        let AccessRequest { namespace, kinds, name } = wanted;
        let accepted = format!(
            "create one with `kubectl create token {READER_SERVICE_ACCOUNT} --namespace {namespace} --audience enact-server`"
        );
        let user = self.cluster.user(token, &accepted).await?;
        let who = user.username.clone().unwrap_or_default();
        for kind in kinds {
            let right = ResourceAttributes {
                group: Some(GROUP.into()),
                resource: Some(plural(*kind).into()),
                namespace: Some(namespace.clone()),
                name: name.clone(),
                verb: Some("get".into()),
                ..ResourceAttributes::default()
            };
            if !self.cluster.may(&user, right).await? {
                let what = name.as_ref().map_or_else(|| plural(*kind).to_owned(), |n| format!("{} {n}", kind.as_str()));
                let why = format!(
                    "{who} may not get {what} of {GROUP} in namespace {namespace}; ask for a RoleBinding that allows it"
                );
                return Err(Problem::new(ProblemKind::Forbidden, why));
            }
        }
        // After the rights: a user without them does not learn whether a tenant owns the namespace.
        let tenant = self.cluster.tenant_of(namespace).await?.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("namespace {namespace} belongs to no tenant and has no record; add it to spec.namespaces of a Tenant"))
        })?;
        Ok(Reader { tenant, user: who })
    }

    fn cached(&self, key: &(Digest, AccessRequest)) -> Option<Reader> {
        let cache = self.cache.lock();
        let (until, reader) = cache.get(key)?;
        (Instant::now() < *until).then(|| reader.clone())
    }

    fn cache(&self, key: (Digest, AccessRequest), reader: &Reader) {
        let now = Instant::now();
        let mut cache = self.cache.lock();
        if cache.len() >= MAX_CACHED {
            cache.retain(|_, (until, _)| now < *until);
        }
        // With a cache full of valid entries, nothing is cached and the next request asks the API server again.
        if cache.len() < MAX_CACHED {
            cache.insert(key, (now + CACHED_FOR, reader.clone()));
        }
    }
}

/// Returns the resource name of a kind for RBAC and paths.
pub fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Tenant => "tenants",
        Kind::Constitution => "constitutions",
        Kind::Specification => "specifications",
        Kind::Plan => "plans",
        Kind::Task => "tasks",
        Kind::ModelProvider => "modelproviders",
        Kind::Agent => "agents",
        Kind::Approval => "approvals",
    }
}
