//! Observe: the namespaces that a Tenant names, or still holds, and who else wants them.

use std::collections::BTreeMap;

use enact_crds::{Plan, Tenant};
use enact_domain::names::LABEL_TENANT;
use enact_domain::time::Millis;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::cluster::ObjectEntry;
use super::context::Context;
use super::objects::{FINALIZER, ObjectKind};
use crate::caches::NamespaceEntry;
use crate::error::Error;
use crate::references::Target;

/// Plans that may still start something; one that has no status yet is among them.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Cancelled";
/// Plans that a message names.
const NAMED: u32 = 3;

/// What was observed of a Tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Its name.
    pub tenant: String,
    /// When it was observed.
    pub now: Millis,
    /// Since when it is to be deleted.
    pub deleting: Option<Millis>,
    /// Whether it has our finalizer.
    pub claimed: bool,
    /// The namespaces that it names or holds.
    pub places: BTreeMap<String, Place>,
    /// Plans that are not finished.
    pub active_plans: u32,
    /// Attempts under way.
    pub running_attempts: u32,
}

/// One namespace of a Tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// Whether the Tenant names it.
    pub listed: bool,
    /// The namespace, if there is one.
    pub namespace: Option<NamespaceEntry>,
    /// Our objects in it.
    pub objects: BTreeMap<ObjectKind, ObjectEntry>,
    /// Another Tenant that holds it, or named it first.
    pub rival: Option<String>,
    /// Some of its unfinished Plans; looked for only where the Tenant is to leave.
    pub unfinished: Vec<String>,
}

impl Place {
    /// Whether the namespace is labelled with `tenant`.
    pub fn held_by(&self, tenant: &str) -> bool {
        self.namespace.as_ref().and_then(NamespaceEntry::tenant) == Some(tenant)
    }
}

/// Observes a Tenant, and notes first what to watch for it.
///
/// # Errors
/// When the API server fails.
pub async fn observe(object: &Tenant, ctx: &Context) -> Result<Observed, Error> {
    let tenant = object.name_any();
    let mut places: BTreeMap<String, Place> = labelled(ctx, &tenant).map(|name| (name, Place::default())).collect();
    for name in &object.spec.namespaces {
        places.entry(name.clone()).or_default().listed = true;
    }
    let rivals = rivals(object, ctx);
    let known = rivals.values().map(|name| Target::new::<Tenant>("", name));
    ctx.references.tenants.set(object, places.keys().map(|n| Target::namespace(n)).chain(known).collect::<Vec<_>>());
    let deleting = object.metadata.deletion_timestamp.as_ref().map(enact_crds::convert::millis);
    for (name, place) in &mut places {
        place.namespace = ctx.caches.namespaces.get("", name);
        place.objects = ObjectKind::ALL.iter().filter_map(|k| Some((*k, ctx.cluster.object(*k, name)?))).collect();
        place.rival = rivals.get(name).cloned();
    }
    // What the Tenant is to leave is asked of the API server: a cache may not know of a Plan that was created just now.
    let leaving = places.iter().filter(|(_, p)| p.held_by(&tenant) && (deleting.is_some() || !p.listed));
    let leaving: Vec<String> = leaving.map(|(name, _)| name.clone()).collect();
    let found: Vec<(String, Vec<String>)> = stream::iter(leaving)
        .map(|name| async move { unfinished(ctx, &name).await.map(|plans| (name, plans)) })
        .buffer_unordered(usize::from(ctx.config.requests_in_flight))
        .try_collect()
        .await?;
    for (name, plans) in found {
        places.entry(name).or_default().unfinished = plans;
    }
    let held = |plan: &Plan| {
        let place = plan.metadata.namespace.as_ref().and_then(|n| places.get(n));
        place.is_some_and(|p| p.held_by(&tenant)) && !plan.status.as_ref().is_some_and(|s| s.phase.is_finished())
    };
    let active = ctx.caches.plans.state_filter(held).len();
    Ok(Observed {
        now: ctx.now(),
        deleting,
        claimed: object.finalizers().iter().any(|f| f == FINALIZER),
        active_plans: u32::try_from(active).unwrap_or(u32::MAX),
        running_attempts: ctx.limiter.running(&tenant),
        places,
        tenant,
    })
}

/// Returns the namespaces whose label names `tenant`.
fn labelled(ctx: &Context, tenant: &str) -> impl Iterator<Item = String> {
    ctx.caches.namespaces.keys(|_, entry| entry.tenant() == Some(tenant)).into_iter().map(|(_, name)| name)
}

/// For each of the Tenant's namespaces, who else has it: the Tenant that it is labelled with; else, while it is labelled with none, the
/// one that named it first.
fn rivals(object: &Tenant, ctx: &Context) -> BTreeMap<String, String> {
    let own = object.name_any();
    let age = |t: &Tenant| (t.creation_timestamp().map(|at| at.0), t.name_any());
    let mut rivals = BTreeMap::new();
    for name in &object.spec.namespaces {
        let namespace = ctx.caches.namespaces.get("", name);
        let label = namespace.as_ref().and_then(NamespaceEntry::tenant);
        // A label without its Tenant is what is left of one that went while no operator ran.
        let holder = label.filter(|l| ctx.tenant(l).is_some());
        let first = || {
            let claims = ctx.caches.tenants.state_filter(|t| {
                t.metadata.deletion_timestamp.is_none() && t.name_any() != own && t.spec.namespaces.contains(name)
            });
            let oldest = claims.into_iter().min_by_key(|t| age(t))?;
            (age(&oldest) < age(object)).then(|| oldest.name_any())
        };
        let rival = match holder {
            Some(holder) => Some(holder.to_owned()).filter(|h| *h != own),
            None => first(),
        };
        rivals.extend(rival.map(|rival| (name.clone(), rival)));
    }
    rivals
}

async fn unfinished(ctx: &Context, namespace: &str) -> Result<Vec<String>, Error> {
    let api = Api::<Plan>::namespaced(ctx.client.clone(), namespace);
    let some = ListParams::default().fields(UNFINISHED).limit(NAMED);
    let found = api.list_metadata(&some).await.map_err(Error::kube(format!("list the Plans of {namespace}")))?;
    Ok(found.items.iter().map(kube::ResourceExt::name_any).collect())
}

/// The label that says whose a namespace is, and the value that it has.
pub fn tenant_label(tenant: &str) -> (String, String) {
    (LABEL_TENANT.to_owned(), tenant.to_owned())
}
