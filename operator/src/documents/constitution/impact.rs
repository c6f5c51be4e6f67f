//! Impact: the specifications and plans that a constitution governs, which an amendment affects.

use std::collections::{BTreeSet, HashMap};

use enact_crds::common::NamespacedRef;
use enact_crds::constitution::Impact;
use kube::ResourceExt as _;

use crate::context::Context;
use crate::documents::constitution_chain::chain;
use crate::documents::findings::len;
use crate::metadata_cache::{ObjectKey, key};

/// Highest number of names in a status.
const MAX_NAMES: usize = 20;

/// Returns the objects that a constitution governs, as the caches show them.
pub fn of(ctx: &Context, here: &NamespacedRef) -> Impact {
    let mut known: HashMap<(String, Option<String>), bool> = HashMap::new();
    let mut governs = |namespace: &str, named: Option<&str>| {
        let key = (namespace.to_owned(), named.map(str::to_owned));
        *known.entry(key).or_insert_with(|| {
            let named = named.map(|name| NamespacedRef::new(namespace, name));
            chain(ctx, namespace, None, named, "").contains(here)
        })
    };
    let mut specifications: HashMap<ObjectKey, bool> = HashMap::new();
    for specification in ctx.caches.specifications.state() {
        if specification.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let key = key(specification.as_ref());
        let named = specification.spec.constitution_ref.as_ref().map(|r| r.name.as_str());
        let governed = governs(&key.0, named);
        specifications.insert(key, governed);
    }
    let mut plans = BTreeSet::new();
    let mut tasks = 0;
    for plan in ctx.caches.plans.state() {
        let status = plan.status.clone().unwrap_or_default();
        if status.phase.is_finished() || plan.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let namespace = plan.namespace().unwrap_or_default();
        let of = plan.spec.specification_ref.as_ref().map(|r| (namespace.clone(), r.name.clone()));
        // A plan is governed through its specification, which may name another constitution than the namespace does.
        let governed = match of {
            Some(specification) => specifications.get(&specification).copied().unwrap_or_default(),
            None => governs(&namespace, None),
        };
        if governed {
            tasks += status.tasks.pending + status.tasks.running;
            plans.insert((namespace, plan.name_any()));
        }
    }
    let governed: BTreeSet<&ObjectKey> =
        specifications.iter().filter(|(_, governed)| **governed).map(|(key, _)| key).collect();
    let named = |kind: &str, (namespace, name): &ObjectKey| format!("{kind} {namespace}/{name}");
    let some = governed.iter().map(|p| named("Specification", p)).chain(plans.iter().map(|p| named("Plan", p)));
    Impact { specifications: len(governed.len()), plans: len(plans.len()), tasks, some: some.take(MAX_NAMES).collect() }
}
