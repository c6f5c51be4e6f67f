//! The Constitutions of a namespace, and the rules and texts that govern its documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use enact_crds::Constitution;
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::chain::{Chain, ChainLink, Walk, follow};
use enact_crds::common::{LocalRef, NamespacedRef};
use enact_crds::documents::texts::ConstitutionText;
use enact_domain::rules::{Program, Rule, compile_all};
use kube::ResourceExt as _;
use kube::api::ListParams;

use crate::cluster::{Cluster, api_error};
use crate::document::Document;
use crate::text::problems;

/// The Constitutions of a namespace, without that of its Tenant: people read objects of their namespaces.
pub struct Constitutions {
    namespace: String,
    links: BTreeMap<String, ChainLink>,
}

impl Constitutions {
    /// Lists them.
    pub async fn list(cluster: &Cluster) -> Result<Self> {
        let all = cluster.api::<Constitution>().list(&ListParams::default()).await.map_err(api_error)?;
        let links = all.iter().filter_map(|found| Some((found.name_any(), ChainLink::of(found)?))).collect();
        Ok(Self { namespace: cluster.namespace.clone(), links })
    }

    /// Returns the chain that begins at `first`, which the field `named_by` names. `own` is the Constitution whose chain it is, if it is
    /// one's.
    pub fn chain(&self, own: Option<&str>, first: Option<&LocalRef>, named_by: &str) -> Chain {
        let reference = |name: &str| NamespacedRef::new(&self.namespace, name);
        let walk = Walk::new(own.map(reference), first.map(|first| reference(&first.name)), named_by, &self.namespace);
        follow(walk, |at| self.links.get(&at.name).cloned(), |_| None)
    }
}

/// Reads the texts of the Constitutions of a chain, the nearest first. `known` are texts that are not those of the objects.
pub async fn texts(
    cluster: &Cluster,
    chain: &Chain,
    known: &BTreeMap<String, Arc<ConstitutionText>>,
) -> Result<Vec<Arc<ConstitutionText>>> {
    let mut texts = Vec::with_capacity(chain.links.len());
    for ChainLink { at, .. } in &chain.links {
        if let Some(text) = known.get(&at.name) {
            texts.push(text.clone());
            continue;
        }
        let subject = Subject { kind: SubjectKind::Constitution, name: at.name.clone() };
        let text = Document::load(cluster, &subject).await?.current(cluster).await?.text;
        texts.push(Arc::new(ConstitutionText::read(text.as_bytes())));
    }
    Ok(texts)
}

/// Compiles rules.
///
/// # Errors
/// All problems of the rules.
pub fn programs(rules: &[Rule]) -> Result<Vec<Program>, String> {
    compile_all(rules).map_err(|errors| problems(&errors))
}
