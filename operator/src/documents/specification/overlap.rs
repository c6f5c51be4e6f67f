//! Overlap: other unfinished specifications of the tenant that share requirements or entities with one. Both get findings.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use enact_crds::Specification;
use enact_crds::document::Finding;
use enact_crds::plan::Phase;
use enact_domain::analysis;
use enact_domain::digest::Digest;
use kube::ResourceExt as _;

use crate::documents::context::Context;
use crate::documents::document_cache::Overlap;
use crate::documents::findings::finding;
use crate::documents::texts::SpecificationText;
use crate::error::Error;
use crate::metadata_cache::{ObjectKey, key};

/// Highest number of specifications that one is compared with.
const MAX_COMPARED: usize = 2000;
/// Highest number of findings about overlap.
const MAX_FINDINGS: usize = 100;

/// Another unfinished specification.
struct Other {
    key: ObjectKey,
    digest: Digest,
}

/// Compares a specification with all other unfinished ones of its tenant, as their statuses show them, and updates its dependents.
///
/// # Errors
/// When the record store fails.
pub async fn find(
    ctx: &Context,
    own: &Specification,
    tenant: &str,
    text: &SpecificationText,
) -> Result<Vec<Finding>, Error> {
    let others = others(ctx, own, tenant);
    let compared: Vec<String> = others.iter().map(|o| format!("{}/{} {}", o.key.0, o.key.1, o.digest)).collect();
    let here = key(own);
    let cache_key =
        Digest::of_bytes(format!("{} {} {}\n{}", here.0, here.1, text.digest, compared.join("\n")).as_bytes());
    let overlap = if let Some(known) = ctx.cache.overlap(&cache_key) {
        known
    } else {
        let found = Arc::new(compare(ctx, &here, tenant, text, &others).await?);
        ctx.cache.put_overlap(cache_key, found.clone());
        found
    };
    let mut dependents = overlap.with.clone();
    if published(own) != Some(text.digest.as_str()) {
        // The status still shows the older content. The dependents of that one stay, so that they are requeued when it shows the new one.
        dependents.extend(ctx.dependents.overlaps.of(&here));
    }
    requeue(ctx, &here, dependents, published(own));
    Ok(overlap.findings.clone())
}

/// Requeues the specifications that overlap with one, if its status shows another content than before.
pub fn requeue_dependents(ctx: &Context, own: &Specification) {
    let here = key(own);
    let dependents = ctx.dependents.overlaps.of(&here);
    requeue(ctx, &here, dependents, published(own));
}

/// Returns the digest in the status.
fn published(specification: &Specification) -> Option<&str> {
    specification.status.as_ref()?.digest.as_deref()
}

fn requeue(ctx: &Context, here: &ObjectKey, dependents: BTreeSet<ObjectKey>, published: Option<&str>) {
    for other in ctx.dependents.overlaps.update(here, dependents, published.unwrap_or_default()) {
        ctx.references.specifications.requeue_key(&other);
    }
}

fn others(ctx: &Context, own: &Specification, tenant: &str) -> Vec<Other> {
    let mut namespaces: HashMap<String, bool> = HashMap::new();
    let implemented = implemented(ctx);
    let mut others: Vec<Other> = ctx
        .caches
        .specifications
        .state()
        .iter()
        .filter(|s| s.uid() != own.uid() && s.metadata.deletion_timestamp.is_none())
        .filter_map(|s| {
            let key = key(s.as_ref());
            let digest: Digest = published(s)?.to_owned().into();
            let is_ours = namespaces
                .entry(key.0.clone())
                .or_insert_with(|| ctx.tenant_of(&key.0).is_some_and(|m| m.tenant == tenant));
            (*is_ours && !implemented.contains(&(key.clone(), digest.clone()))).then_some(Other { key, digest })
        })
        .collect();
    // The store has no order. The cache key and the limit need the same order in each reconcile.
    others.sort_by(|a, b| a.key.cmp(&b.key));
    others.truncate(MAX_COMPARED);
    others
}

/// Returns the specifications, each with the digest of a content, that a plan has implemented.
fn implemented(ctx: &Context) -> HashSet<(ObjectKey, Digest)> {
    let implemented_by = |plan: &Arc<enact_crds::Plan>| {
        let status = plan.status.as_ref().filter(|s| s.phase == Phase::Succeeded)?;
        let name = plan.spec.specification_ref.as_ref()?.name.clone();
        Some(((plan.namespace()?, name), status.specification_digest.clone()?.into()))
    };
    ctx.caches.plans.state().iter().filter_map(implemented_by).collect()
}

async fn compare(
    ctx: &Context,
    here: &ObjectKey,
    tenant: &str,
    text: &SpecificationText,
    others: &[Other],
) -> Result<Overlap, Error> {
    let ours = ctx.cache.sketch(text);
    let mut overlap = Overlap::default();
    for other in others {
        let Some(theirs) = ctx.cache.sketch_of(tenant, &other.digest).await? else { continue };
        let shared = analysis::overlap(&ours, &theirs);
        if shared.is_empty() {
            continue;
        }
        let (namespace, name) = &other.key;
        let name = if *namespace == here.0 { name.clone() } else { format!("{namespace}/{name}") };
        overlap.findings.extend(analysis::overlap_findings(&name, &shared).iter().map(finding));
        overlap.with.insert(other.key.clone());
    }
    overlap.findings.truncate(MAX_FINDINGS);
    Ok(overlap)
}
