//! Impact: what a constitution binds, and so what an amendment of it touches.

use std::collections::{BTreeSet, HashMap};

use enact_crds::common::NamespacedRef;
use enact_crds::constitution::Impact;
use kube::ResourceExt as _;

use crate::circles::Place;
use crate::context::Context;
use crate::documents::findings::len;
use crate::documents::law;
use crate::documents::specification::chain;
use crate::plan::is_finished;

/// Most names that are told.
const SOME: usize = 20;

/// What is bound by the constitution at a place, as the caches have it.
pub fn of(ctx: &Context, here: &NamespacedRef) -> Impact {
    let mut known: HashMap<(String, Option<String>), bool> = HashMap::new();
    let mut binds = |namespace: &str, named: Option<&str>| {
        let key = (namespace.to_owned(), named.map(str::to_owned));
        *known.entry(key).or_insert_with(|| {
            let named = named.map(|name| law::at(namespace, name));
            law::chain(ctx, namespace, None, named, "").asked.contains(here)
        })
    };
    let mut specifications: HashMap<Place, bool> = HashMap::new();
    for specification in ctx.caches.specifications.state() {
        if specification.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let place = (specification.namespace().unwrap_or_default(), specification.name_any());
        let named = specification.spec.constitution_ref.as_ref().map(|r| r.name.as_str());
        let bound = binds(&place.0, named);
        specifications.insert(place, bound);
    }
    let mut plans = BTreeSet::new();
    let mut tasks = 0;
    for plan in ctx.caches.plans.state() {
        let status = plan.status.clone().unwrap_or_default();
        if is_finished(status.phase) || plan.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let namespace = plan.namespace().unwrap_or_default();
        let of = plan.spec.specification_ref.as_ref().map(|r| (namespace.clone(), r.name.clone()));
        let bound = match of {
            Some(specification) => specifications.get(&specification).copied().unwrap_or_default(),
            None => binds(&namespace, None),
        };
        if bound {
            tasks += status.tasks.pending + status.tasks.running;
            plans.insert((namespace, plan.name_any()));
        }
    }
    let bound: BTreeSet<&Place> = specifications.iter().filter(|(_, bound)| **bound).map(|(place, _)| place).collect();
    let named = |kind: &str, (namespace, name): &Place| format!("{kind} {namespace}/{name}");
    let some = bound.iter().map(|p| named("Specification", p)).chain(plans.iter().map(|p| named("Plan", p)));
    Impact { specifications: len(bound.len()), plans: len(plans.len()), tasks, some: some.take(SOME).collect() }
}

/// The constitutions that bind a plan.
pub fn binding(ctx: &Context, namespace: &str, specification: Option<&str>) -> BTreeSet<Place> {
    let found = specification.and_then(|name| crate::context::lookup(&ctx.caches.specifications, namespace, name));
    chain(ctx, namespace, found.as_deref())
        .asked
        .into_iter()
        .map(|NamespacedRef { namespace, name }| (namespace, name))
        .collect()
}
