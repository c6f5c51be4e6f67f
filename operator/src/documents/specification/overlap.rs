//! Overlap: other specifications in flight that touch the same. It is told on both.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use enact_crds::Specification;
use enact_crds::document::Finding;
use enact_crds::plan::Phase;
use enact_domain::analysis;
use enact_domain::digest::Digest;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use crate::circles::Place;
use crate::context::Context;
use crate::documents::findings::finding;
use crate::documents::library::{Library, SpecificationText};
use crate::error::Error;

/// Most other specifications that one is compared with.
const MANY: usize = 2000;
/// Most findings about overlap.
const MAX_FINDINGS: usize = 100;

/// What a specification shares with others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlap {
    /// A finding for each thing that is shared.
    pub findings: Vec<Finding>,
    /// The others.
    pub with: BTreeSet<Place>,
}

/// Another specification in flight.
struct Other {
    place: Place,
    digest: Digest,
}

/// Compares a specification with all others of its tenant that are in flight, as their statuses show them. Whom it concerns is noted.
///
/// # Errors
/// When the record cannot be read.
pub async fn look(
    ctx: &Context,
    own: &Specification,
    tenant: &str,
    text: &SpecificationText,
) -> Result<Vec<Finding>, Error> {
    let others = others(ctx, own, tenant);
    let seen: Vec<String> = others.iter().map(|o| format!("{}/{} {}", o.place.0, o.place.1, o.digest)).collect();
    let here: Place = (own.namespace().unwrap_or_default(), own.name_any());
    let key = Digest::of_bytes(format!("{} {} {}\n{}", here.0, here.1, text.digest, seen.join("\n")).as_bytes());
    let overlap = if let Some(known) = ctx.library.overlap(&key) {
        known
    } else {
        let found = Arc::new(compare(ctx, &here, tenant, text, &others).await?);
        ctx.library.keep_overlap(key, found.clone());
        found
    };
    let mut concerned = overlap.with.clone();
    if published(own) != Some(text.digest.as_str()) {
        // They still see the older content; when they see the new one, those that it concerned have to know as well.
        concerned.extend(ctx.circles.overlaps.of(&here));
    }
    wake(ctx, &here, concerned, published(own));
    Ok(overlap.findings.clone())
}

/// Tells those whom a specification concerns that its status shows another content.
pub fn announce(ctx: &Context, own: &Specification) {
    let here: Place = (own.namespace().unwrap_or_default(), own.name_any());
    let concerned = ctx.circles.overlaps.of(&here);
    wake(ctx, &here, concerned, published(own));
}

fn published(specification: &Specification) -> Option<&str> {
    specification.status.as_ref()?.digest.as_deref()
}

fn wake(ctx: &Context, here: &Place, concerned: BTreeSet<Place>, published: Option<&str>) {
    for (namespace, name) in ctx.circles.overlaps.tell(here, concerned, published.unwrap_or_default()) {
        ctx.references.specifications.wake_one(ObjectRef::new(&name).within(&namespace));
    }
}

fn others(ctx: &Context, own: &Specification, tenant: &str) -> Vec<Other> {
    let mut namespaces: std::collections::HashMap<String, bool> = std::collections::HashMap::new();
    let landed = landed(ctx);
    let mut others: Vec<Other> = ctx
        .caches
        .specifications
        .state()
        .iter()
        .filter(|s| s.uid() != own.uid() && s.metadata.deletion_timestamp.is_none())
        .filter_map(|s| {
            let place = (s.namespace().unwrap_or_default(), s.name_any());
            let digest: Digest = published(s)?.to_owned().into();
            let is_ours = namespaces
                .entry(place.0.clone())
                .or_insert_with(|| ctx.tenant_of(&place.0).is_some_and(|m| m.tenant == tenant));
            (*is_ours && !landed.contains(&(place.clone(), digest.clone()))).then_some(Other { place, digest })
        })
        .collect();
    others.sort_by(|a, b| a.place.cmp(&b.place));
    others.truncate(MANY);
    others
}

/// What was built already: specifications, each with the content that a plan has fulfilled.
fn landed(ctx: &Context) -> HashSet<(Place, Digest)> {
    let built = |plan: &Arc<enact_crds::Plan>| {
        let status = plan.status.as_ref().filter(|s| s.phase == Phase::Succeeded)?;
        let name = plan.spec.specification_ref.as_ref()?.name.clone();
        Some(((plan.namespace()?, name), status.specification_digest.clone()?.into()))
    };
    ctx.caches.plans.state().iter().filter_map(built).collect()
}

async fn compare(
    ctx: &Context,
    here: &Place,
    tenant: &str,
    text: &SpecificationText,
    others: &[Other],
) -> Result<Overlap, Error> {
    let ours = ctx.library.sketch(text);
    let mut overlap = Overlap::default();
    for other in others {
        let Some(theirs) = Library::sketch_of(ctx, tenant, &other.digest).await? else { continue };
        let shared = analysis::overlap(&ours, &theirs);
        if shared.is_empty() {
            continue;
        }
        let (namespace, name) = &other.place;
        let name = if *namespace == here.0 { name.clone() } else { format!("{namespace}/{name}") };
        overlap.findings.extend(analysis::overlap_findings(&name, &shared).iter().map(finding));
        overlap.with.insert(other.place.clone());
    }
    overlap.findings.truncate(MAX_FINDINGS);
    Ok(overlap)
}
