//! What is so: the plan, its children, and what it refers to.

use std::collections::HashMap;
use std::sync::Arc;

use enact_crds::approval::SubjectKind;
use enact_crds::{Agent, Plan, Specification, convert};
use enact_domain::approval::Decision;
use enact_domain::names;
use enact_domain::time::Millis;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt as _};

use crate::context::{Context, Membership, lookup};
use crate::error::Error;
use crate::index::Children;

/// What one pass knows.
pub struct Observed {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Now.
    pub now: Millis,
    /// Its tasks and pods.
    pub children: Children,
    /// The tenant of its namespace.
    pub member: Option<Membership>,
    /// Its specification, if it names one that exists.
    pub specification: Option<Arc<Specification>>,
    /// The text of its tasks.md from a ConfigMap: none when it has no such source, an error text when it cannot be had.
    pub document: Option<Result<Vec<u8>, String>>,
    /// Agents of its namespace that it may name.
    pub agents: HashMap<String, Arc<Agent>>,
    /// Decisions of people on it.
    pub decisions: Vec<Decision>,
    /// Who wrote it.
    pub author: Option<String>,
}

/// Looks at everything that a pass over `plan` needs. Only a tasks.md in a ConfigMap, and only before the start, costs a request.
///
/// # Errors
/// When the API server cannot be asked.
pub async fn observe(plan: &Arc<Plan>, ctx: &Context, now: Millis) -> Result<Observed, Error> {
    let namespace = plan.namespace().unwrap_or_default();
    let uid = plan.uid().unwrap_or_default();
    let specification =
        plan.spec.specification_ref.as_ref().and_then(|r| lookup(&ctx.caches.specifications, &namespace, &r.name));
    let named = plan.spec.tasks.iter().filter_map(|t| t.agent_ref.as_ref()).chain([&plan.spec.agent_ref]);
    let mut agents = HashMap::new();
    for reference in named {
        if !agents.contains_key(&reference.name) {
            if let Some(agent) = lookup(&ctx.caches.agents, &namespace, &reference.name) {
                agents.insert(reference.name.clone(), agent);
            }
        }
    }
    Ok(Observed {
        member: ctx.tenant_of(&namespace),
        children: ctx.index.children(&uid),
        specification,
        document: document(plan, ctx, &namespace).await?,
        agents,
        decisions: decisions(plan, ctx, &namespace),
        author: plan.annotations().get(names::ANNOTATION_AUTHOR).cloned(),
        plan: plan.clone(),
        namespace,
        uid,
        now,
    })
}

async fn document(plan: &Plan, ctx: &Context, namespace: &str) -> Result<Option<Result<Vec<u8>, String>>, Error> {
    let Some(key) = plan.spec.source.as_ref().and_then(|s| s.config_map_key_ref.as_ref()) else { return Ok(None) };
    let found = Api::<ConfigMap>::namespaced(ctx.client.clone(), namespace)
        .get_opt(&key.name)
        .await
        .map_err(Error::kube(format!("read ConfigMap {namespace}/{}", key.name)))?;
    let Some(map) = found else { return Ok(Some(Err(format!("ConfigMap {} does not exist", key.name)))) };
    let text = map.data.and_then(|mut d| d.remove(&key.key)).map(String::into_bytes);
    let bytes = text.or_else(|| map.binary_data.and_then(|mut d| d.remove(&key.key)).map(|b| b.0));
    Ok(Some(bytes.ok_or_else(|| format!("ConfigMap {} has no key {}", key.name, key.key))))
}

/// Decisions are read only while one is needed: a started plan is pinned to what was approved.
fn decisions(plan: &Plan, ctx: &Context, namespace: &str) -> Vec<Decision> {
    if plan.spec.approval.required == 0 || super::started(plan).is_some() {
        return Vec::new();
    }
    let name = plan.name_any();
    let about = |a: &enact_crds::Approval| {
        a.spec.subject.kind == SubjectKind::Plan
            && a.spec.subject.name == name
            && a.metadata.namespace.as_deref() == Some(namespace)
    };
    ctx.caches.approvals.state_filter(about).iter().filter_map(|a| convert::decision(&a.name_any(), &a.spec)).collect()
}
