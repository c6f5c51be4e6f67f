//! The cluster as the rules' world: tenants from a cache, everything else live.

use std::fmt::Debug;

use enact_crds::approval::SubjectKind;
use enact_crds::common::{ApprovalPolicy, NamespacedRef};
use enact_crds::{Agent, Constitution, Plan, Specification, Tenant, convert};
use enact_domain::analysis::Severity;
use enact_domain::approval::Content;
use enact_domain::condition::READY;
use enact_domain::names::{ANNOTATION_AUTHOR, DEFAULT_TENANT};
use futures::future::try_join_all;
use kube::api::ListParams;
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::{ApprovalSubject, Article, Claim, LookupError, Referent, World, owner};

/// Plans that an answer names.
const NAMED_PLANS: u32 = 3;
/// Plans that may still start something. A Plan that has no status yet is one of them.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Cancelled";

/// Looks things up in the cluster.
pub struct ClusterWorld {
    client: Client,
    tenants: Store<Tenant>,
    default_namespaces: Vec<String>,
}

impl ClusterWorld {
    /// A world that knows Tenants from `tenants` and asks for the rest; `default_namespaces` belong to the default tenant.
    pub fn new(client: Client, tenants: Store<Tenant>, default_namespaces: Vec<String>) -> Self {
        Self { client, tenants, default_namespaces }
    }

    fn cached_owner(&self, namespace: &str) -> Option<Claim> {
        let names = |t: &Tenant| t.spec.namespaces.iter().any(|n| n == namespace);
        owner(self.tenants.state_filter(names).iter().map(|t| claim(t)), namespace)
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

    async fn has<K>(&self, namespace: &str, name: &str) -> Result<bool, LookupError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let found = self.namespaced::<K>(namespace).get_metadata_opt(name).await;
        Ok(found.map_err(|e| failed(format!("{} {namespace}/{name}", K::kind(&())), e))?.is_some())
    }
}

impl World for ClusterWorld {
    async fn tenant_of(&self, namespace: &str) -> Result<Option<String>, LookupError> {
        if self.default_namespaces.iter().any(|n| n == namespace) {
            return Ok(Some(DEFAULT_TENANT.to_owned()));
        }
        let claim = match self.cached_owner(namespace) {
            Some(claim) => Some(claim),
            // The Tenant may be as new as the object: one `kubectl apply` of both must not fail.
            None => owner(self.claims().await?, namespace),
        };
        Ok(claim.filter(|c| !c.ending).map(|c| c.tenant))
    }

    async fn claims(&self) -> Result<Vec<Claim>, LookupError> {
        let tenants = Api::<Tenant>::all(self.client.clone()).list(&ListParams::default()).await;
        Ok(tenants.map_err(|e| failed("Tenants", e))?.iter().map(claim).collect())
    }

    async fn approval_subject(
        &self,
        kind: SubjectKind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ApprovalSubject>, LookupError> {
        Ok(match kind {
            SubjectKind::Constitution => self.get::<Constitution>(namespace, name).await?.map(|o| {
                let known = o.status.as_ref().map(|s| (s.digest.clone(), convert::worst(&s.findings)));
                subject(&o, known, &o.spec.approval)
            }),
            SubjectKind::Specification => self.get::<Specification>(namespace, name).await?.map(|o| {
                let known = o.status.as_ref().map(|s| (s.digest.clone(), convert::worst(&s.findings)));
                subject(&o, known, &o.spec.approval)
            }),
            SubjectKind::Plan => self.get::<Plan>(namespace, name).await?.map(|o| {
                let known = o.status.as_ref().map(|s| (s.digest.clone(), None));
                subject(&o, known, &o.spec.approval)
            }),
        })
    }

    async fn unfinished_plans(&self, namespaces: &[String]) -> Result<Vec<String>, LookupError> {
        let params = ListParams::default().fields(UNFINISHED).limit(NAMED_PLANS);
        let lists = namespaces.iter().map(|namespace| {
            let (api, params) = (self.namespaced::<Plan>(namespace), &params);
            async move { api.list_metadata(params).await.map_err(|e| failed(format!("Plans of {namespace}"), e)) }
        });
        let found = try_join_all(lists).await?;
        Ok(found.iter().flatten().map(|p| format!("{}/{}", p.namespace().unwrap_or_default(), p.name_any())).collect())
    }

    async fn article(&self, at: &NamespacedRef) -> Result<Option<Article>, LookupError> {
        let Some(found) = self.get::<Constitution>(&at.namespace, &at.name).await? else { return Ok(None) };
        let in_force = found.status.as_ref().is_some_and(|status| {
            status.observed_generation == found.metadata.generation
                && status.conditions.iter().any(|c| c.type_ == READY && c.status == "True")
        });
        Ok(in_force.then(|| Article {
            rules: found.spec.rules.iter().map(convert::rule).collect(),
            parent: found
                .spec
                .parent_ref
                .map(|parent| NamespacedRef { namespace: at.namespace.clone(), name: parent.name }),
        }))
    }

    async fn root(&self, namespace: &str) -> Result<Option<NamespacedRef>, LookupError> {
        let tenant = self.tenant_of(namespace).await?;
        let named = |t: &Tenant| tenant.as_ref().is_some_and(|tenant| *tenant == t.name_any());
        Ok(self.tenants.find(named).and_then(|tenant| tenant.spec.constitution_ref.clone()))
    }

    async fn exists(&self, kind: Referent, namespace: &str, name: &str) -> Result<bool, LookupError> {
        match kind {
            Referent::Constitution => self.has::<Constitution>(namespace, name).await,
            Referent::Specification => self.has::<Specification>(namespace, name).await,
            Referent::Agent => self.has::<Agent>(namespace, name).await,
        }
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

/// The subject, of which the operator wrote these digest and worst finding into the status.
fn subject<K: Resource>(
    object: &K,
    known: Option<(Option<String>, Option<Severity>)>,
    policy: &ApprovalPolicy,
) -> ApprovalSubject {
    let content = known.and_then(|(digest, worst)| {
        Some(Content { digest: digest?.into(), author: object.annotations().get(ANNOTATION_AUTHOR).cloned(), worst })
    });
    ApprovalSubject { content, policy: policy.into() }
}

fn failed(what: impl Into<String>, source: kube::Error) -> LookupError {
    LookupError::Api { what: what.into(), source: Box::new(source) }
}
