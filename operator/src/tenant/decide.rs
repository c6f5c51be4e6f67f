//! Decide: the steps in each namespace, and the Tenant's readiness after them. A pure function.

use std::collections::BTreeMap;

use enact_domain::condition::Readiness;
use enact_domain::names::ANNOTATION_KEEP_RECORD_OF;
use serde_json::Value;

use super::cluster::ObjectEntry;
use super::objects::{ObjectKind, Wanted, same};
use super::observe::{Former, NamespaceState, Observed, tenant_label};
use super::validate::Valid;

/// Milliseconds after which the cluster's quota controller knows all kinds that were defined when a quota was created: it looks for new
/// ones every 30 s.
const RECREATE_MILLIS: u64 = 35_000;

/// Number of network policies that a message names.
const MAX_NAMES: usize = 5;

/// A step in a namespace. Steps run in order; after a failure the rest is skipped.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create the namespace with these labels. The tenant's label follows last, when everything is in place.
    Create(BTreeMap<String, String>),
    /// Delete the operator's object of this kind and UID.
    Delete(ObjectKind, String),
    /// Apply this content to the operator's object of this kind.
    Apply(ObjectKind, Value),
    /// Set these labels: from here on the tenant owns the namespace.
    Label(BTreeMap<String, String>),
    /// Remove the operator's labels.
    Unlabel,
}

/// The change of the operator's finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    Keep,
    /// Add it before anything else.
    Add,
    /// Remove it after everything else.
    Remove,
}

/// The steps for a Tenant, and its readiness after them.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Steps by namespace.
    pub steps: BTreeMap<String, Vec<Step>>,
    pub finalizer: Finalizer,
    pub readiness: Readiness,
    /// Number of namespaces that are set up after the steps.
    pub namespaces: u32,
    /// Whether the record of the former Tenant of this name is erased now.
    pub erases_record: bool,
}

impl Decision {
    /// Returns the namespaces that the steps add to the tenant.
    pub fn adopted(&self) -> impl Iterator<Item = &str> {
        let labels = |steps: &[Step]| steps.iter().any(|s| matches!(s, Step::Label(_)));
        self.steps.iter().filter(move |(_, steps)| labels(steps)).map(|(name, _)| name.as_str())
    }

    /// Returns the namespaces that the steps remove from the tenant.
    pub fn released(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(|(_, steps)| steps.contains(&Step::Unlabel)).map(|(name, _)| name.as_str())
    }
}

/// Decides the steps in each namespace, and the readiness after them.
pub fn decide(seen: &Observed, valid: &Valid) -> Decision {
    if seen.deleting.is_some() {
        return release_all(seen, valid);
    }
    if let Some(former) = &seen.former {
        return make_way(seen, former);
    }
    let mut steps = BTreeMap::new();
    let mut problems: Vec<Readiness> = valid.problem.iter().cloned().collect();
    let mut terminating = None;
    let mut set_up = 0;
    for (name, state) in &seen.namespaces {
        let owned = state.owned_by(&seen.tenant);
        let todo = if let Some(problem) = valid.refused.get(name) {
            problems.push(problem.clone());
            // The tenant owned the namespace before a change of the installation's values reserved it.
            if owned && state.unfinished_plans.is_empty() { release(state) } else { Vec::new() }
        } else if state.namespace.as_ref().is_some_and(|n| n.terminating) {
            terminating = Some(name).filter(|_| state.listed).or(terminating);
            Vec::new()
        } else if state.listed {
            // With an invalid spec nothing is changed: a namespace that was set up before stays as it is.
            set_up += u32::from(valid.problem.is_none() || owned);
            if valid.problem.is_none() { set_up_steps(seen, name, state, valid) } else { Vec::new() }
        } else if state.unfinished_plans.is_empty() {
            release(state)
        } else {
            // The namespace is no longer listed, but its running plans stay isolated and limited until they end.
            problems.push(in_use(name, state));
            set_up_steps(seen, name, state, valid)
        };
        if !todo.is_empty() {
            steps.insert(name.clone(), todo);
        }
    }
    let finalizer = if seen.has_finalizer { Finalizer::Keep } else { Finalizer::Add };
    let readiness = match (problems.split_first(), terminating) {
        (Some((first, rest)), _) => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            Readiness::stalled(first.reason.clone(), format!("{}{more}", first.message))
        }
        (None, Some(name)) => {
            let message = format!("namespace {name} is being deleted; the operator creates it again after that");
            Readiness::reconciling("NamespaceTerminating", message)
        }
        (None, None) if let Some(name) = uncounted(seen, valid) => {
            let message = format!(
                "the cluster computes the usage of the quota in namespace {name}, which admits nothing until then"
            );
            Readiness::reconciling("QuotaPending", message)
        }
        (None, None) => {
            let plural = if set_up == 1 { "namespace is" } else { "namespaces are" };
            Readiness::ready("SetUp", format!("{set_up} {plural} set up{}", foreign_policies(seen)))
        }
    };
    Decision { steps, finalizer, readiness, namespaces: set_up, erases_record: false }
}

/// Returns a part of a message about the network policies of others, which can allow connections that the tenant's own policy does not.
fn foreign_policies(seen: &Observed) -> String {
    let listed = seen.namespaces.iter().filter(|(_, state)| state.listed);
    let all: Vec<String> = listed
        .flat_map(|(namespace, state)| state.foreign_policies.iter().map(move |name| format!("{namespace}/{name}")))
        .collect();
    if all.is_empty() {
        return String::new();
    }
    let (named, rest) = all.split_at(all.len().min(MAX_NAMES));
    let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
    format!(
        "; network policies of others allow connections beside those of spec.isolation: {}{more}; delete those that agents should not use",
        named.join(", ")
    )
}

/// Returns a namespace whose quota is not in effect yet.
fn uncounted<'s>(seen: &'s Observed, valid: &Valid) -> Option<&'s str> {
    let wanted = valid.wanted.objects.contains_key(&ObjectKind::ResourceQuota);
    let counted =
        |state: &NamespaceState| state.objects.get(&ObjectKind::ResourceQuota).is_some_and(|quota| quota.in_force);
    let (name, _) = seen.namespaces.iter().find(|(_, state)| wanted && state.listed && !counted(state))?;
    Some(name)
}

/// Decides on a Tenant that is being deleted: it leaves its namespaces when its plans are finished.
fn release_all(seen: &Observed, valid: &Valid) -> Decision {
    let busy = seen.owned().find(|(_, state)| !state.unfinished_plans.is_empty());
    let steps = seen.owned().filter(|(_, state)| state.stands()).filter_map(|(name, state)| {
        // Running plans stay isolated until they end.
        let todo = if busy.is_some() { set_up_steps(seen, name, state, valid) } else { release(state) };
        (!todo.is_empty()).then(|| (name.clone(), todo))
    });
    // An invalid spec does not define how to set the namespaces up, so they stay as they are.
    let steps = if busy.is_some() && valid.problem.is_some() { BTreeMap::new() } else { steps.collect() };
    let count = u32::try_from(seen.owned().count()).unwrap_or(u32::MAX);
    let (reason, message, finalizer, namespaces) = if let Some((name, state)) = busy {
        let message = format!(
            "{}; the Tenant is deleted when they are finished, cancelled or deleted",
            plans(name, &state.unfinished_plans)
        );
        ("WaitingForPlans", message, Finalizer::Keep, count)
    } else {
        let finalizer = if seen.has_finalizer { Finalizer::Remove } else { Finalizer::Keep };
        ("Terminating", "the operator removes its objects and labels; the namespaces stay".to_owned(), finalizer, 0)
    };
    let readiness = Readiness::reconciling(reason, message);
    Decision { steps, finalizer, readiness, namespaces, erases_record: false }
}

/// Decides on a Tenant while the record under its name is that of a former one: it gets no namespace, and releases those that the former
/// Tenant has left behind with its label.
fn make_way(seen: &Observed, former: &Former) -> Decision {
    let busy = former.unfinished_plans.iter().find(|(_, unfinished)| !unfinished.is_empty());
    let is_vacant = seen.owned().next().is_none();
    let steps = if busy.is_some() {
        // Running plans stay isolated until they end.
        BTreeMap::new()
    } else {
        let left_behind = seen.owned().filter(|(_, state)| state.stands());
        left_behind.map(|(name, state)| (name.clone(), release(state))).collect()
    };
    let uid = &former.uid;
    let readiness = if let Some((name, unfinished)) = busy {
        let message = format!(
            "{}; the record of the former Tenant with this name (UID {uid}) is erased when they are finished, cancelled or deleted",
            plans(name, unfinished)
        );
        Readiness::reconciling("WaitingForPlans", message)
    } else if let Some(kept) = &former.kept {
        let message = format!(
            "the annotation {ANNOTATION_KEEP_RECORD_OF} names {kept}, but the record under this name is that of the former Tenant with the \
             UID {uid}; set it to {uid} to keep that record, or remove it to erase that record"
        );
        Readiness::stalled("FormerTenantMismatch", message)
    } else {
        let message = format!(
            "the record of the former Tenant with this name (UID {uid}) is erased before this one gets its namespaces, but not within the \
             first three minutes; to keep that record, run in that time: kubectl annotate tenant {} {ANNOTATION_KEEP_RECORD_OF}={uid}",
            seen.tenant
        );
        Readiness::reconciling("ErasingRecord", message)
    };
    Decision {
        steps,
        finalizer: if seen.has_finalizer { Finalizer::Keep } else { Finalizer::Add },
        erases_record: is_vacant && former.kept.is_none(),
        readiness,
        namespaces: 0,
    }
}

fn in_use(name: &str, state: &NamespaceState) -> Readiness {
    let message = format!(
        "{}; wait for them, cancel or delete them, or add {name} to spec.namespaces again",
        plans(name, &state.unfinished_plans)
    );
    Readiness::stalled("NamespaceInUse", message)
}

fn plans(namespace: &str, unfinished: &[String]) -> String {
    format!("namespace {namespace} holds unfinished Plans ({})", unfinished.join(", "))
}

/// Returns the steps that set a namespace up.
fn set_up_steps(seen: &Observed, namespace: &str, state: &NamespaceState, valid: &Valid) -> Vec<Step> {
    let tenant = &seen.tenant;
    let mut steps = Vec::new();
    if state.namespace.is_none() {
        // With the Pod Security labels, but without the label of the tenant: nothing runs before the objects below exist.
        steps.push(Step::Create(valid.wanted.labels.clone()));
    }
    let mut objects = object_steps(tenant, namespace, &state.objects, &valid.wanted);
    if objects.is_empty() {
        objects = recreate_quota(seen, namespace, state, valid);
    }
    steps.extend(objects);
    let mut labels = valid.wanted.labels.clone();
    labels.extend([tenant_label(tenant)]);
    if state.namespace.as_ref().is_none_or(|n| n.labels != labels) {
        // Last: all other controllers take this label as the sign that the namespace is isolated.
        steps.push(Step::Label(labels));
    }
    steps
}

/// Recreates a quota whose usage the cluster computed before it knew all kinds. By itself the cluster computes the others some minutes
/// later.
fn recreate_quota(seen: &Observed, namespace: &str, state: &NamespaceState, valid: &Valid) -> Vec<Step> {
    let kind = ObjectKind::ResourceQuota;
    let stuck =
        |quota: &&ObjectEntry| quota.partially_counted_since.is_some_and(|made| seen.now.since(made) > RECREATE_MILLIS);
    let outdated = state.objects.get(&kind).filter(stuck).zip(valid.wanted.content(kind, namespace));
    outdated
        .map_or_else(Vec::new, |(quota, wanted)| vec![Step::Delete(kind, quota.uid.clone()), Step::Apply(kind, wanted)])
}

/// Returns the steps that make the operator's objects in a namespace match `wanted`.
pub fn object_steps(
    tenant: &str,
    namespace: &str,
    live: &BTreeMap<ObjectKind, ObjectEntry>,
    wanted: &Wanted,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for kind in ObjectKind::ALL {
        let live = live.get(&kind);
        let Some(wanted) = wanted.content(kind, namespace) else {
            steps.extend(live.map(|object| Step::Delete(kind, object.uid.clone())));
            continue;
        };
        let Some(object) = live else {
            steps.push(Step::Apply(kind, wanted));
            continue;
        };
        if object.tenant.as_deref() == Some(tenant) && same(&object.content, &wanted) {
            continue;
        }
        // The API server refuses a change of roleRef.
        if object.content.get("roleRef") != wanted.get("roleRef") {
            steps.push(Step::Delete(kind, object.uid.clone()));
        }
        steps.push(Step::Apply(kind, wanted));
    }
    steps
}

/// Returns the steps that remove a namespace from the tenant. The label is removed last: after a crash, the next reconcile finds the
/// namespace by it.
fn release(state: &NamespaceState) -> Vec<Step> {
    // In reverse order: the NetworkPolicy, which is created first, is deleted last.
    let objects = state.objects.iter().rev().map(|(kind, object)| Step::Delete(*kind, object.uid.clone()));
    objects.chain([Step::Unlabel]).collect()
}

#[cfg(test)]
mod tests;
