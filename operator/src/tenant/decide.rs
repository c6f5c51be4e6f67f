//! Decide: what to do in each namespace, and how the Tenant stands then. Pure.

use std::collections::BTreeMap;

use enact_domain::condition::Progress;
use serde_json::Value;

use super::cluster::ObjectEntry;
use super::objects::{Kind, Wanted, same};
use super::observe::{Observed, Place, tenant_label};
use super::validate::{Problem, Valid};

/// Milliseconds after which the cluster knows the kinds of custom resources that were defined when a quota was made: its quota controller looks
/// for new ones every 30 s.
const RECOUNT_MILLIS: u64 = 35_000;

/// One thing to do in a namespace. Steps are taken in order, each only when the one before succeeded.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create the namespace with these labels. It gets the tenant's label last, when everything in it is set up.
    Create(BTreeMap<String, String>),
    /// Delete our object of this kind and UID.
    Delete(Kind, String),
    /// Make our object of this kind say this.
    Apply(Kind, Value),
    /// Give the namespace these labels: from here on it is the tenant's.
    Label(BTreeMap<String, String>),
    /// Take our labels away.
    Unlabel,
}

/// What to do about our finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// Leave it.
    Keep,
    /// Put it there before anything else.
    Add,
    /// Take it away when everything else is done.
    Remove,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What to do, by namespace.
    pub steps: BTreeMap<String, Vec<Step>>,
    /// What to do about the finalizer.
    pub finalizer: Finalizer,
    /// Which of the kstatus conditions holds when that is done.
    pub progress: Progress,
    /// CamelCase reason.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
    /// How many namespaces are set up when that is done.
    pub namespaces: u32,
}

impl Decision {
    /// Namespaces that become the tenant's.
    pub fn adopted(&self) -> impl Iterator<Item = &str> {
        let labels = |steps: &[Step]| steps.iter().any(|s| matches!(s, Step::Label(_)));
        self.steps.iter().filter(move |(_, steps)| labels(steps)).map(|(name, _)| name.as_str())
    }

    /// Namespaces that the tenant leaves.
    pub fn released(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(|(_, steps)| steps.contains(&Step::Unlabel)).map(|(name, _)| name.as_str())
    }
}

/// Decides on what was observed.
pub fn decide(seen: &Observed, valid: &Valid) -> Decision {
    if seen.deleting.is_some() {
        return leave_all(seen, valid);
    }
    let mut steps = BTreeMap::new();
    let mut problems: Vec<Problem> = valid.problem.iter().cloned().collect();
    let mut terminating = None;
    let mut namespaces = 0;
    for (name, place) in &seen.places {
        let held = place.held_by(&seen.tenant);
        let todo = if let Some(problem) = valid.refused.get(name) {
            problems.push(problem.clone());
            // A namespace that was the tenant's before it became reserved, by a change of the installation's values.
            if held && place.unfinished.is_empty() { release(place) } else { Vec::new() }
        } else if place.namespace.as_ref().is_some_and(|n| n.terminating) {
            terminating = Some(name).filter(|_| place.listed).or(terminating);
            Vec::new()
        } else if place.listed {
            namespaces += u32::from(valid.problem.is_none() || held);
            if valid.problem.is_none() { settle(seen, name, place, valid) } else { Vec::new() }
        } else if place.unfinished.is_empty() {
            release(place)
        } else {
            problems.push(in_use(name, place));
            settle(seen, name, place, valid)
        };
        if !todo.is_empty() {
            steps.insert(name.clone(), todo);
        }
    }
    let finalizer = if seen.claimed { Finalizer::Keep } else { Finalizer::Add };
    let (progress, reason, message) = match (problems.split_first(), terminating) {
        (Some((first, rest)), _) => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            (Progress::Stalled, first.reason, format!("{}{more}", first.message))
        }
        (None, Some(name)) => {
            let message = format!("namespace {name} is being deleted; it is made anew when it is gone");
            (Progress::Reconciling, "NamespaceTerminating", message)
        }
        (None, None) if let Some(name) = uncounted(seen, valid) => {
            let message =
                format!("the cluster counts what is in namespace {name}; its quota admits nothing until then");
            (Progress::Reconciling, "QuotaPending", message)
        }
        (None, None) => {
            let plural = if namespaces == 1 { "namespace is" } else { "namespaces are" };
            (Progress::Ready, "SetUp", format!("{namespaces} {plural} set up"))
        }
    };
    Decision { steps, finalizer, progress, reason, message, namespaces }
}

/// A namespace whose quota is wanted and not in force yet.
fn uncounted<'s>(seen: &'s Observed, valid: &Valid) -> Option<&'s str> {
    let wanted = valid.wanted.objects.contains_key(&Kind::ResourceQuota);
    let counted = |place: &Place| place.objects.get(&Kind::ResourceQuota).is_some_and(|quota| quota.in_force);
    let (name, _) = seen.places.iter().find(|(_, place)| wanted && place.listed && !counted(place))?;
    Some(name)
}

/// The Tenant is to be deleted: it leaves when its work is done.
fn leave_all(seen: &Observed, valid: &Valid) -> Decision {
    let held = || seen.places.iter().filter(|(_, place)| place.held_by(&seen.tenant));
    let standing = |(_, place): &(&String, &Place)| place.namespace.as_ref().is_some_and(|n| !n.terminating);
    let busy = held().find(|(_, place)| !place.unfinished.is_empty());
    let steps = held().filter(standing).filter_map(|(name, place)| {
        // While work goes on, it goes on under the same bounds.
        let todo = if busy.is_some() { settle(seen, name, place, valid) } else { release(place) };
        (!todo.is_empty()).then(|| (name.clone(), todo))
    });
    let steps = if busy.is_some() && valid.problem.is_some() { BTreeMap::new() } else { steps.collect() };
    let count = u32::try_from(held().count()).unwrap_or(u32::MAX);
    let (reason, message, finalizer, namespaces) = if let Some((name, place)) = busy {
        let message = format!("{}; the Tenant goes when they are finished, cancelled or deleted", plans(name, place));
        ("WaitingForPlans", message, Finalizer::Keep, count)
    } else {
        let finalizer = if seen.claimed { Finalizer::Remove } else { Finalizer::Keep };
        ("Terminating", "our objects and labels are taken away; namespaces stay".into(), finalizer, 0)
    };
    Decision { steps, finalizer, progress: Progress::Reconciling, reason, message, namespaces }
}

fn in_use(name: &str, place: &Place) -> Problem {
    let message = format!(
        "{}; wait for them, cancel or delete them, or put {name} back into spec.namespaces",
        plans(name, place)
    );
    Problem { reason: "NamespaceInUse", message }
}

fn plans(namespace: &str, place: &Place) -> String {
    format!("namespace {namespace} holds unfinished Plans ({})", place.unfinished.join(", "))
}

/// What is missing or different in a namespace that is the tenant's, or is to be.
fn settle(seen: &Observed, namespace: &str, place: &Place, valid: &Valid) -> Vec<Step> {
    let tenant = &seen.tenant;
    let mut steps = Vec::new();
    if place.namespace.is_none() {
        steps.push(Step::Create(valid.wanted.labels.clone()));
    }
    let mut objects = contents(tenant, namespace, &place.objects, &valid.wanted);
    if objects.is_empty() {
        objects = recount(seen, namespace, place, valid);
    }
    steps.extend(objects);
    let mut labels = valid.wanted.labels.clone();
    labels.extend([tenant_label(tenant)]);
    if place.namespace.as_ref().is_none_or(|n| n.labels != labels) {
        steps.push(Step::Label(labels));
    }
    steps
}

/// Makes a quota anew that the cluster counted before it knew all kinds: by itself it counts the others at its next round, some minutes later.
fn recount(seen: &Observed, namespace: &str, place: &Place, valid: &Valid) -> Vec<Step> {
    let kind = Kind::ResourceQuota;
    let stuck = |quota: &&ObjectEntry| quota.half_counted.is_some_and(|made| seen.now.since(made) > RECOUNT_MILLIS);
    let anew = place.objects.get(&kind).filter(stuck).zip(valid.wanted.content(kind, namespace));
    anew.map_or_else(Vec::new, |(quota, wanted)| vec![Step::Delete(kind, quota.uid.clone()), Step::Apply(kind, wanted)])
}

/// What is missing or different among our objects in a namespace.
pub fn contents(tenant: &str, namespace: &str, live: &BTreeMap<Kind, ObjectEntry>, wanted: &Wanted) -> Vec<Step> {
    let mut steps = Vec::new();
    for kind in Kind::ALL {
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
        // What a binding binds cannot be changed.
        if object.content.get("roleRef") != wanted.get("roleRef") {
            steps.push(Step::Delete(kind, object.uid.clone()));
        }
        steps.push(Step::Apply(kind, wanted));
    }
    steps
}

/// What is to be undone in a namespace that exists. The label goes last: by it, what a crash left undone is found again.
fn release(place: &Place) -> Vec<Step> {
    let objects = place.objects.iter().rev().map(|(kind, object)| Step::Delete(*kind, object.uid.clone()));
    objects.chain([Step::Unlabel]).collect()
}

#[cfg(test)]
mod tests;
