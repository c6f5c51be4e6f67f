//! The interface of the lookups, and the types of their results.

use std::future::Future;

use enact_crds::ModelProviderSpec;
use enact_crds::agent_images::AgentImages;
use enact_crds::chain::ChainLink;
use enact_crds::common::NamespacedRef;
use enact_crds::ownership::Consent;
use enact_crds::subject::ApprovalSubject;
use enact_domain::record::Kind;
use enact_service::api_server;
use k8s_openapi::api::authentication::v1::UserInfo;

/// The reason why a lookup has no result.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error("the lookup of {what} failed: {}", api_server::message(.source))]
    Api {
        what: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("the API server or this webhook is too slow")]
    Timeout,
}

/// A Tenant's claim to its namespaces. Claims are ordered by age, because the oldest claim to a namespace counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Creation time of the Tenant, as RFC 3339. It is the first field, because the derived order compares it first.
    pub since: String,
    pub tenant: String,
    pub namespaces: Vec<String>,
    /// Whether the Tenant is being deleted: its namespaces take no new objects.
    pub ending: bool,
}

/// Returns the claim that owns `namespace`: the oldest that names it.
pub fn owner(claims: impl IntoIterator<Item = Claim>, namespace: &str) -> Option<Claim> {
    claims.into_iter().filter(|c| c.namespaces.iter().any(|n| n == namespace)).min()
}

/// Lookups in the cluster. An answer is current unless the method says that it may be as old as a watch's delay.
pub trait Lookup: Send + Sync {
    /// Returns the tenant that owns a namespace and takes new objects; a known owner may be as old as a watch's delay.
    fn tenant_of(&self, namespace: &str) -> impl Future<Output = Result<Option<String>, LookupError>> + Send;
    /// Returns the claims of all Tenants.
    fn claims(&self) -> impl Future<Output = Result<Vec<Claim>, LookupError>> + Send;
    /// Returns which Tenant can own a namespace; none when it does not exist or is being deleted.
    fn consent(&self, namespace: &str) -> impl Future<Output = Result<Option<Consent>, LookupError>> + Send;
    /// Returns the subject of an Approval; none when the object does not exist or its kind cannot be approved.
    fn approval_subject(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<ApprovalSubject>, LookupError>> + Send;
    /// Returns some unfinished Plans of these namespaces, as `namespace/name`.
    fn unfinished_plans(&self, namespaces: &[String]) -> impl Future<Output = Result<Vec<String>, LookupError>> + Send;
    /// Returns a constitution; none when the object does not exist or is being deleted.
    fn constitution(&self, at: &NamespacedRef) -> impl Future<Output = Result<Option<ChainLink>, LookupError>> + Send;
    /// Returns the constitution that the Tenant of a namespace names; may be as old as a watch's delay.
    fn tenant_constitution(
        &self,
        namespace: &str,
    ) -> impl Future<Output = Result<Option<NamespacedRef>, LookupError>> + Send;
    /// Returns the rules of the Tenant of a namespace about images of Agents; may be as old as a watch's delay.
    fn agent_images(&self, namespace: &str) -> impl Future<Output = Result<AgentImages, LookupError>> + Send;
    /// Returns the spec of a ModelProvider; none when the object does not exist.
    fn provider(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<ModelProviderSpec>, LookupError>> + Send;
    /// Returns whether a user may create Approvals in a namespace.
    fn may_approve(&self, user: &UserInfo, namespace: &str) -> impl Future<Output = Result<bool, LookupError>> + Send;
    /// Returns whether a user may get the Secret with the keys of the model providers of a namespace.
    fn may_read_model_keys(
        &self,
        user: &UserInfo,
        namespace: &str,
    ) -> impl Future<Output = Result<bool, LookupError>> + Send;
    /// Returns the UID of an object of a namespaced kind; none when it does not exist.
    fn uid(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<String>, LookupError>> + Send;
    /// Returns whether an object of a namespaced kind exists.
    fn exists(&self, kind: Kind, namespace: &str, name: &str)
    -> impl Future<Output = Result<bool, LookupError>> + Send;
}
