//! Who may read: from a token to a user, from the user to what RBAC lets them get, from the namespace to its tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use enact_domain::digest::Digest;
use enact_domain::names::{GROUP, READER_SERVICE_ACCOUNT};
use enact_domain::record::Kind as Subject;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use tokio::time::Instant;

use crate::cluster::{Cluster, in_time};
use crate::problem::{Kind, Problem};
use crate::token::Token;

/// How long a yes is good for. A no is asked about again: whoever was just let in need not wait.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// Most answers that are kept.
const KEPT: usize = 4096;

/// What somebody wants to read: objects of these kinds in a namespace, all of them or the one of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The namespace.
    pub namespace: String,
    /// Kinds whose objects the reader must be allowed to get.
    pub kinds: Vec<Subject>,
    /// The name, when one object is read.
    pub name: Option<String>,
}

/// Somebody who may read what they asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The tenant that owns the namespace.
    pub tenant: String,
    /// The user's name, as the API server has it.
    pub user: String,
}

/// The gate before the record.
pub struct Access {
    cluster: Arc<Cluster>,
    patience: Duration,
    known: Mutex<HashMap<(Digest, Wanted), (Instant, Reader)>>,
}

impl Access {
    /// Asks `cluster`, and waits so long for its answer.
    pub fn new(cluster: Arc<Cluster>, patience: Duration) -> Self {
        Self { cluster, patience, known: Mutex::default() }
    }

    /// Lets the sender of a token read, if RBAC does: whoever may `get` the objects may read what the record has of them.
    ///
    /// # Errors
    /// When the token is not accepted, its user may not get the objects, no tenant owns the namespace, or the API server does not answer.
    pub async fn admit(&self, token: &Token, wanted: &Wanted) -> Result<Reader, Problem> {
        let key = (token.digest(), wanted.clone());
        if let Some(reader) = self.remembered(&key) {
            return Ok(reader);
        }
        let reader = in_time(self.patience, "reader", self.ask(token, wanted)).await?;
        self.remember(key, &reader);
        Ok(reader)
    }

    async fn ask(&self, token: &Token, wanted: &Wanted) -> Result<Reader, Problem> {
        let Wanted { namespace, kinds, name } = wanted;
        let accepted = format!(
            "kubectl create token {READER_SERVICE_ACCOUNT} --namespace {namespace} --audience enact-server makes one"
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
                let why = format!("{who} may not get {what} of {GROUP} in namespace {namespace}; RBAC decides that");
                return Err(Problem::new(Kind::Forbidden, why));
            }
        }
        let tenant = self.cluster.tenant_of(namespace).await?.ok_or_else(|| {
            Problem::new(Kind::NotFound, format!("namespace {namespace} belongs to no tenant, and has no record"))
        })?;
        Ok(Reader { tenant, user: who })
    }

    fn remembered(&self, key: &(Digest, Wanted)) -> Option<Reader> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, reader) = known.get(key)?;
        (Instant::now() < *until).then(|| reader.clone())
    }

    fn remember(&self, key: (Digest, Wanted), reader: &Reader) {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.retain(|_, (until, _)| now < *until);
        }
        if known.len() < KEPT {
            known.insert(key, (now + GOOD_FOR, reader.clone()));
        }
    }
}

/// How RBAC and paths name a kind.
pub fn plural(kind: Subject) -> &'static str {
    match kind {
        Subject::Tenant => "tenants",
        Subject::Constitution => "constitutions",
        Subject::Specification => "specifications",
        Subject::Plan => "plans",
        Subject::Task => "tasks",
        Subject::Agent => "agents",
        Subject::Approval => "approvals",
    }
}
