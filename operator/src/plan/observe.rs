//! What is so: the plan, its children, and what it refers to.

use std::collections::HashMap;
use std::sync::Arc;

use enact_crds::approval::SubjectKind;
use enact_crds::plan::{Cleanup, Phase};
use enact_crds::{Agent, Plan, Specification, convert};
use enact_domain::approval::Decision;
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::time::Millis;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt as _};

use super::validate::Content;
use super::{CLEANUP_RESYNC_SECONDS, Runtime, is_finished, started};
use crate::context::{Context, Membership, lookup};
use crate::error::Error;
use crate::index::Children;
use crate::references::Target;

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
    /// The content that it is pinned to, when it was started.
    pub pinned: Option<Arc<Content>>,
    /// Whether the plan says something else by now.
    pub changed: bool,
    /// The text of its tasks.md from a ConfigMap: none when it has no such source or was started, an error text when it cannot be had.
    pub document: Option<Result<Vec<u8>, String>>,
    /// Agents of its namespace that it may name.
    pub agents: HashMap<String, Arc<Agent>>,
    /// Decisions of people on it.
    pub decisions: Vec<Decision>,
    /// Who wrote it.
    pub author: Option<String>,
}

impl Observed {
    /// Whether the plan is finished, and nobody asks anything more of it.
    pub fn is_settled(&self) -> bool {
        let Some(status) = &self.plan.status else { return false };
        let asked = self.children.tasks.values().any(|t| t.rerun.is_some() && t.rerun != t.observed_rerun);
        let rerun = self.plan.annotations().get(names::ANNOTATION_RERUN);
        let integration = status.integration.as_ref().and_then(|i| i.observed_rerun.as_ref());
        is_finished(status.phase)
            && status.observed_generation == self.plan.metadata.generation
            && !asked
            && (rerun.is_none() || rerun == integration || status.integration.is_none())
    }

    /// When the pods of a finished plan are to be deleted; none while it is not finished or they stay.
    fn cleanup_due(&self) -> Option<Millis> {
        let status = self.plan.status.as_ref()?;
        let execution = &self.plan.spec.execution;
        let wanted = match execution.cleanup {
            Cleanup::OnSuccess => status.phase == Phase::Succeeded,
            Cleanup::Always => is_finished(status.phase),
            Cleanup::Never => false,
        };
        let finished = status.finished_at.as_ref().map(convert::millis)?;
        (wanted && !self.children.pods.is_empty()).then(|| finished.plus_seconds(execution.pod_ttl_seconds))
    }

    /// Whether the pods of a finished plan are to be deleted now.
    pub fn cleanup_is_due(&self) -> bool {
        self.cleanup_due().is_some_and(|at| self.now >= at)
    }

    /// When to look at the pods of a finished plan again: those that were told to go may take their time.
    pub fn cleanup_at(&self) -> Option<Millis> {
        let due = self.cleanup_due()?;
        Some(if self.now < due { due } else { self.now.plus_seconds(CLEANUP_RESYNC_SECONDS) })
    }
}

/// Looks at everything that a pass over `plan` needs, and notes first what to watch for it. Only a tasks.md in a ConfigMap, and only before
/// the start, costs a request. [`recall`] adds what only the record knows.
///
/// # Errors
/// When the API server cannot be asked.
pub async fn observe(plan: &Arc<Plan>, ctx: &Context, now: Millis, runtime: &Runtime) -> Result<Observed, Error> {
    let namespace = plan.namespace().unwrap_or_default();
    let uid = plan.uid().unwrap_or_default();
    ctx.references.plans.set(plan, targets(plan, &namespace));
    let specification =
        plan.spec.specification_ref.as_ref().and_then(|r| lookup(&ctx.caches.specifications, &namespace, &r.name));
    let mut agents = HashMap::new();
    for name in agents_of(plan) {
        if !agents.contains_key(name)
            && let Some(agent) = lookup(&ctx.caches.agents, &namespace, name)
        {
            agents.insert(name.to_owned(), agent);
        }
    }
    let pinned = runtime.pinned(plan);
    let document = if started(plan).is_some() { None } else { document(plan, ctx, &namespace).await? };
    Ok(Observed {
        member: ctx.tenant_of(&namespace),
        children: ctx.index.children(&uid),
        specification,
        pinned,
        changed: false,
        document,
        agents,
        decisions: decisions(plan, ctx, &namespace),
        author: plan.annotations().get(names::ANNOTATION_AUTHOR).cloned(),
        plan: plan.clone(),
        namespace,
        uid,
        now,
    })
}

/// Brings back what the plan was started with, after a restart of the process or a change of the plan: a document in a ConfigMap may say
/// something else by now, and the plan itself may have been changed past the webhook.
///
/// # Errors
/// When the record cannot be read; when the API server cannot be asked for what the record does not hold.
pub async fn recall(ctx: &Context, observed: &mut Observed) -> Result<(), Error> {
    let plan = observed.plan.clone();
    let approved = plan.status.as_ref().and_then(|s| s.approved_digest.clone()).map(Digest::from);
    let (Some(_), None, Some(member), Some(approved)) = (started(&plan), &observed.pinned, &observed.member, approved)
    else {
        return Ok(());
    };
    let content = ctx.memory.content(&member.tenant, &approved).await?;
    observed.pinned = content.and_then(|bytes| Content::recorded(&plan.name_any(), &approved, bytes)).map(Arc::new);
    if let Some(pinned) = &observed.pinned {
        observed.changed = !pinned.is_said_by(&plan.spec);
    } else {
        tracing::warn!(plan = %plan.name_any(), namespace = %observed.namespace, "the record does not hold what the plan was started with");
        observed.document = document(&plan, ctx, &observed.namespace).await?;
    }
    Ok(())
}

/// What a change of wakes the plan. A finished plan waits for nothing but its own.
fn targets(plan: &Plan, namespace: &str) -> Vec<Target> {
    if is_finished(plan.status.as_ref().map(|s| s.phase).unwrap_or_default()) {
        return Vec::new();
    }
    let specification = plan.spec.specification_ref.as_ref().map(|r| Target::new::<Specification>(namespace, &r.name));
    let document = plan.spec.source.as_ref().and_then(|s| s.config_map_key_ref.as_ref());
    let mut targets: Vec<Target> = agents_of(plan).map(|name| Target::new::<Agent>(namespace, name)).collect();
    targets.push(Target::namespace(namespace));
    targets.extend(specification);
    targets.extend(document.map(|key| Target::config_map(namespace, &key.name)));
    targets
}

fn agents_of(plan: &Plan) -> impl Iterator<Item = &str> {
    let named = plan.spec.tasks.iter().filter_map(|t| t.agent_ref.as_ref());
    named.chain([&plan.spec.agent_ref]).map(|r| r.name.as_str())
}

async fn document(plan: &Plan, ctx: &Context, namespace: &str) -> Result<Option<Result<Vec<u8>, String>>, Error> {
    let Some(key) = plan.spec.source.as_ref().and_then(|s| s.config_map_key_ref.as_ref()) else { return Ok(None) };
    let found = Api::<ConfigMap>::namespaced(ctx.client.clone(), namespace)
        .get_opt(&key.name)
        .await
        .map_err(Error::kube(format!("read ConfigMap {namespace}/{}", key.name)))?;
    let Some(map) = found else {
        return Ok(Some(Err(format!(
            "spec.source.configMapKeyRef: there is no ConfigMap {} in this namespace; create it",
            key.name
        ))));
    };
    let text = map.data.and_then(|mut d| d.remove(&key.key)).map(String::into_bytes);
    let bytes = text.or_else(|| map.binary_data.and_then(|mut d| d.remove(&key.key)).map(|b| b.0));
    let missing = || {
        let (name, key) = (&key.name, &key.key);
        format!("spec.source.configMapKeyRef: ConfigMap {name} has no key {key}; add it, or name one that it has")
    };
    Ok(Some(bytes.ok_or_else(missing)))
}

/// Decisions are read only while one is needed: a started plan is pinned to what was approved.
fn decisions(plan: &Plan, ctx: &Context, namespace: &str) -> Vec<Decision> {
    if plan.spec.approval.required == 0 || started(plan).is_some() {
        return Vec::new();
    }
    let name = plan.name_any();
    let about = |a: &enact_crds::Approval| {
        a.spec.subject.kind == SubjectKind::Plan
            && a.spec.subject.name == name
            && a.metadata.namespace.as_deref() == Some(namespace)
    };
    ctx.caches.approvals.state_filter(about).iter().filter_map(|a| convert::decision(&a)).collect()
}
