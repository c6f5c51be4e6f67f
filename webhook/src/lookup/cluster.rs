//! Lookups in the cluster: Tenants from a cache, everything else from the API server.

use std::fmt::Debug;
use std::sync::Arc;

use enact_crds::agent_images::AgentImages;
use enact_crds::chain::ChainLink;
use enact_crds::common::NamespacedRef;
use enact_crds::ownership::Consent;
use enact_crds::subject::{Approvable, ApprovalSubject};
use enact_crds::validation::UNFINISHED_PLANS;
use enact_crds::{Constitution, ModelProvider, ModelProviderSpec, Plan, Specification, Tenant};
use enact_domain::names::{DEFAULT_TENANT, GROUP, MODEL_KEYS_SECRET};
use enact_domain::record::Kind;
use enact_service::api_server;
use futures::future::try_join_all;
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::{GroupVersionKind, PartialObjectMeta};
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::types::{Claim, Lookup, LookupError, owner};

/// Most Plans that a refusal names.
const NAMED_PLANS: u32 = 3;

/// Lookups by a cache of Tenants and by requests to the API server.
pub struct ClusterLookup {
    client: Client,
    tenants: Store<Tenant>,
    default_namespaces: Vec<String>,
}

impl ClusterLookup {
    /// Makes lookups that find Tenants in `tenants` and other objects at the API server; `default_namespaces` belong to the default tenant.
    pub fn new(client: Client, tenants: Store<Tenant>, default_namespaces: Vec<String>) -> Self {
        Self { client, tenants, default_namespaces }
    }

    fn cached_owner(&self, namespace: &str) -> Option<Claim> {
        let names = |t: &Tenant| t.spec.namespaces.iter().any(|n| n == namespace);
        owner(self.tenants.state_filter(names).iter().map(|t| claim(t)), namespace)
    }

    /// Returns the Tenant that owns a namespace. The cache may lack one that `tenant_of` found at the API server. Then its rules do not apply
    /// here, and the operator applies them later.
    async fn tenant(&self, namespace: &str) -> Result<Option<Arc<Tenant>>, LookupError> {
        let tenant = self.tenant_of(namespace).await?;
        let owns = |t: &Tenant| tenant.as_ref().is_some_and(|tenant| *tenant == t.name_any());
        Ok(self.tenants.find(owns))
    }

    /// Returns the metadata of an object.
    async fn metadata(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<PartialObjectMeta<DynamicObject>>, LookupError> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1alpha1", kind.as_str()));
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
        let found = api.get_metadata_opt(name).await;
        found.map_err(|e| failed(format!("{} {namespace}/{name}", kind.as_str()), e))
    }

    fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, LookupError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let found = self.namespaced::<K>(namespace).get_opt(name).await;
        found.map_err(|e| failed(format!("{} {namespace}/{name}", K::kind(&())), e))
    }

    async fn subject<K>(&self, namespace: &str, name: &str) -> Result<Option<ApprovalSubject>, LookupError>
    where
        K: Approvable
            + Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let found = self.get::<K>(namespace, name).await?;
        let tenant = self.tenant(namespace).await?;
        Ok(found.map(|found| ApprovalSubject::of(&found, tenant.as_deref())))
    }
}

impl Lookup for ClusterLookup {
    async fn tenant_of(&self, namespace: &str) -> Result<Option<String>, LookupError> {
        if self.default_namespaces.iter().any(|n| n == namespace) {
            return Ok(Some(DEFAULT_TENANT.to_owned()));
        }
        let claim = match self.cached_owner(namespace) {
            Some(claim) => Some(claim),
            // The Tenant may be as new as the object: one `kubectl apply` of both must not fail.
            None => owner(self.claims().await?, namespace),
        };
        // A Tenant that is being deleted takes no new objects.
        Ok(claim.filter(|c| !c.ending).map(|c| c.tenant))
    }

    async fn claims(&self) -> Result<Vec<Claim>, LookupError> {
        let tenants = Api::<Tenant>::all(self.client.clone()).list(&ListParams::default()).await;
        Ok(tenants.map_err(|e| failed("Tenants", e))?.iter().map(claim).collect())
    }

    async fn consent(&self, namespace: &str) -> Result<Option<Consent>, LookupError> {
        let found = Api::<Namespace>::all(self.client.clone()).get_metadata_opt(namespace).await;
        Ok(found.map_err(|e| failed(format!("Namespace {namespace}"), e))?.as_ref().and_then(Consent::of))
    }

    async fn approval_subject(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ApprovalSubject>, LookupError> {
        match kind {
            Kind::Constitution => self.subject::<Constitution>(namespace, name).await,
            Kind::Specification => self.subject::<Specification>(namespace, name).await,
            Kind::Plan => self.subject::<Plan>(namespace, name).await,
            Kind::Tenant | Kind::Task | Kind::ModelProvider | Kind::Agent | Kind::Approval => Ok(None),
        }
    }

    async fn unfinished_plans(&self, namespaces: &[String]) -> Result<Vec<String>, LookupError> {
        // A refusal names only some Plans, so the list is limited.
        let params = ListParams::default().fields(UNFINISHED_PLANS).limit(NAMED_PLANS);
        let lists = namespaces.iter().map(|namespace| {
            let (api, params) = (self.namespaced::<Plan>(namespace), &params);
            async move { api.list_metadata(params).await.map_err(|e| failed(format!("Plans of {namespace}"), e)) }
        });
        let found = try_join_all(lists).await?;
        Ok(found.iter().flatten().map(|p| format!("{}/{}", p.namespace().unwrap_or_default(), p.name_any())).collect())
    }

    async fn constitution(&self, at: &NamespacedRef) -> Result<Option<ChainLink>, LookupError> {
        Ok(self.get::<Constitution>(&at.namespace, &at.name).await?.as_ref().and_then(ChainLink::of))
    }

    async fn tenant_constitution(&self, namespace: &str) -> Result<Option<NamespacedRef>, LookupError> {
        Ok(self.tenant(namespace).await?.and_then(|tenant| tenant.spec.constitution_ref.clone()))
    }

    async fn agent_images(&self, namespace: &str) -> Result<AgentImages, LookupError> {
        let tenant = self.tenant(namespace).await?;
        Ok(tenant.and_then(|tenant| tenant.spec.agent_images.clone()).unwrap_or_default())
    }

    async fn provider(&self, namespace: &str, name: &str) -> Result<Option<ModelProviderSpec>, LookupError> {
        Ok(self.get::<ModelProvider>(namespace, name).await?.map(|provider| provider.spec))
    }

    async fn may_approve(&self, user: &UserInfo, namespace: &str) -> Result<bool, LookupError> {
        let right = ResourceAttributes {
            group: Some(GROUP.to_owned()),
            resource: Some("approvals".to_owned()),
            verb: Some("create".to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ResourceAttributes::default()
        };
        api_server::may(&self.client, user, right).await.map_err(|e| failed("the right to create Approvals", e))
    }

    async fn may_read_model_keys(&self, user: &UserInfo, namespace: &str) -> Result<bool, LookupError> {
        let right = ResourceAttributes {
            group: Some(String::new()),
            resource: Some("secrets".to_owned()),
            verb: Some("get".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(MODEL_KEYS_SECRET.to_owned()),
            ..ResourceAttributes::default()
        };
        let allowed = api_server::may(&self.client, user, right).await;
        allowed.map_err(|e| failed(format!("the right to get the Secret {MODEL_KEYS_SECRET}"), e))
    }

    async fn uid(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<String>, LookupError> {
        Ok(self.metadata(kind, namespace, name).await?.and_then(|found| found.metadata.uid))
    }

    async fn exists(&self, kind: Kind, namespace: &str, name: &str) -> Result<bool, LookupError> {
        Ok(self.metadata(kind, namespace, name).await?.is_some())
    }
}

fn claim(tenant: &Tenant) -> Claim {
    Claim {
        since: tenant.creation_timestamp().map(|t| t.0.to_string()).unwrap_or_default(),
        tenant: tenant.name_any(),
        namespaces: tenant.spec.namespaces.clone(),
        ending: tenant.meta().deletion_timestamp.is_some(),
    }
}

fn failed(what: impl Into<String>, source: kube::Error) -> LookupError {
    LookupError::Api { what: what.into(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use enact_domain::approval::{Choice, Decision, check_decision};
    use enact_domain::digest::Digest;
    use enact_domain::time::Millis;
    use kube::runtime::reflector;
    use serde_json::json;

    use super::*;
    use crate::testing::cluster::installed;

    /// The operator accepts this approver, because the findings of the Plan invite their group.
    #[tokio::test]
    async fn a_plans_findings_admit_the_groups_that_they_invite() {
        let (api, digest) = (installed(), Digest::of_bytes(b"v1"));
        let finding = json!({
            "id": "f1", "category": "Coverage", "severity": "High", "code": "c", "line": 1, "location": "", "message": "m", "remedy": "r",
        });
        let plan = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "metadata": { "name": "shop", "namespace": "team-a" },
            "spec": {
                "agentRef": { "name": "coder" }, "tasks": [{ "id": "T001", "title": "a" }],
                "approval": {
                    "required": 1, "groups": ["leads"],
                    "withFindings": [{ "atLeast": "High", "required": 1, "groups": ["security"] }],
                },
            },
            "status": { "digest": digest, "topFindings": [finding] },
        });
        api.put("plans/shop", plan);
        let lookup = ClusterLookup::new(api.client(), reflector::store().0, Vec::new());
        let subject = lookup.approval_subject(Kind::Plan, "team-a", "shop").await.unwrap().unwrap();
        let decision = Decision {
            name: "ok".into(),
            user: "sue".into(),
            groups: vec!["security".into()],
            digest,
            choice: Choice::Approve,
            comment: String::new(),
            at: None,
        };
        assert_eq!(check_decision(&subject.policy, &subject.content.unwrap(), &decision, Millis(0)), Ok(()));
    }

    #[tokio::test]
    async fn who_wrote_an_agent_of_a_plan_is_an_author() {
        let api = installed();
        let agent = json!({ "name": "coder", "digest": "sha256:2", "author": "eve", "providerAuthors": ["mia"] });
        let plan = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan",
            "metadata": { "name": "shop", "namespace": "team-a", "annotations": { "enact.dev/author": "bob" } },
            "spec": { "agentRef": { "name": "coder" }, "tasks": [{ "id": "T001", "title": "a" }] },
            "status": { "digest": "sha256:1", "agents": [agent] },
        });
        api.put("plans/shop", plan);
        let lookup = ClusterLookup::new(api.client(), reflector::store().0, Vec::new());
        let subject = lookup.approval_subject(Kind::Plan, "team-a", "shop").await.unwrap().unwrap();
        let authors = subject.content.unwrap().authors;
        assert!(["bob", "eve", "mia"].iter().all(|user| authors.contains(user)), "{authors:?}");
        assert!(!authors.contains("ann"), "{authors:?}");
    }

    #[tokio::test]
    async fn who_wrote_the_agent_of_a_document_is_an_author() {
        let api = installed();
        let metadata = json!({ "name": "shop", "namespace": "team-a", "annotations": { "enact.dev/author": "bob" } });
        let specification = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Specification", "metadata": metadata,
            "spec": { "request": "Sell plants." },
            "status": { "digest": "sha256:1", "draft": { "request": "sha256:2", "authors": ["eve"] } },
        });
        api.put("specifications/shop", specification);
        let generated = json!({ "agent": "a", "digest": "sha256:2", "authors": ["eve"] });
        let plan = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "metadata": metadata,
            "spec": { "agentRef": { "name": "coder" }, "generate": { "agents": [{ "name": "a" }] } },
            "status": { "digest": "sha256:1", "generated": generated },
        });
        api.put("plans/shop", plan);
        let lookup = ClusterLookup::new(api.client(), reflector::store().0, Vec::new());
        for kind in [Kind::Specification, Kind::Plan] {
            let subject = lookup.approval_subject(kind, "team-a", "shop").await.unwrap().unwrap();
            let authors = subject.content.unwrap().authors;
            assert!(authors.contains("bob") && authors.contains("eve") && !authors.contains("ann"), "{authors:?}");
        }
    }
}
