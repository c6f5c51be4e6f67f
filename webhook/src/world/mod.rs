//! What the rules need to know besides the request.

mod cluster;

use std::future::Future;

use enact_crds::approval::SubjectKind;
use enact_crds::common::NamespacedRef;
use enact_domain::approval::{Content, Policy};
use enact_domain::rules::Rule;

pub use cluster::ClusterWorld;

/// What could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The API server did not answer a question.
    #[error("looking up {what} failed: {source}")]
    Api {
        /// What was asked.
        what: String,
        /// What went wrong.
        #[source]
        source: Box<kube::Error>,
    },
    /// There was no answer in time.
    #[error("the API server or this webhook is too slow")]
    Timeout,
}

/// A Tenant's claim to its namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// When the Tenant was created, as RFC 3339: of two claims to one namespace the older counts.
    pub since: String,
    /// Name of the Tenant.
    pub tenant: String,
    /// The namespaces.
    pub namespaces: Vec<String>,
    /// Whether the Tenant is being deleted: its namespaces take no new objects.
    pub ending: bool,
}

/// The tenant that owns `namespace` by these claims: the oldest that names it.
pub fn owner(claims: impl IntoIterator<Item = Claim>, namespace: &str) -> Option<Claim> {
    claims.into_iter().filter(|c| c.namespaces.iter().any(|n| n == namespace)).min()
}

/// What can be approved, as far as an Approval's admission depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalSubject {
    /// The content as it is now; none until the operator has read it.
    pub content: Option<Content>,
    /// What the subject asks of approvals.
    pub policy: Policy,
}

/// A constitution that is in force, as far as rules go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Article {
    /// Its own rules.
    pub rules: Vec<Rule>,
    /// What it names as its parent.
    pub parent: Option<NamespacedRef>,
}

/// Kinds that another object's spec refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Referent {
    /// A Constitution.
    Constitution,
    /// A Specification.
    Specification,
    /// An Agent.
    Agent,
}

impl Referent {
    /// The kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Constitution => "Constitution",
            Self::Specification => "Specification",
            Self::Agent => "Agent",
        }
    }
}

/// Where the rules look things up. An answer may be as old as a watch's delay only where that is said.
pub trait World: Send + Sync {
    /// The tenant that owns a namespace and takes new objects; a known owner may be as old as a watch's delay.
    fn tenant_of(&self, namespace: &str) -> impl Future<Output = Result<Option<String>, LookupError>> + Send;
    /// Every Tenant's claim, as it is now.
    fn claims(&self) -> impl Future<Output = Result<Vec<Claim>, LookupError>> + Send;
    /// What an Approval is about, as it is now.
    fn approval_subject(
        &self,
        kind: SubjectKind,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<ApprovalSubject>, LookupError>> + Send;
    /// Some Plans of these namespaces that are not finished, as `namespace/name`.
    fn unfinished_plans(&self, namespaces: &[String]) -> impl Future<Output = Result<Vec<String>, LookupError>> + Send;
    /// A constitution as it is now; none when it is not there or not in force.
    fn article(&self, at: &NamespacedRef) -> impl Future<Output = Result<Option<Article>, LookupError>> + Send;
    /// What the Tenant of a namespace names as the constitution of all that is its own; may be as old as a watch's delay.
    fn root(&self, namespace: &str) -> impl Future<Output = Result<Option<NamespacedRef>, LookupError>> + Send;
    /// Whether an object exists.
    fn exists(
        &self,
        kind: Referent,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<bool, LookupError>> + Send;
}
