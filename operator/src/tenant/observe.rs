//! Observe: the namespaces that a Tenant lists or still owns, and other Tenants that list them.

use std::collections::{BTreeMap, BTreeSet};

use enact_crds::validation::UNFINISHED_PLANS;
use enact_crds::{Plan, Tenant};
use enact_domain::names::LABEL_TENANT;
use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Scope, month};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::cluster::ObjectEntry;
use super::context::Context;
use super::objects::{FINALIZER, ObjectKind};
use crate::caches::NamespaceEntry;
use crate::error::Error;
use crate::references::Target;

/// Number of plans that a message names.
const MAX_NAMES: u32 = 3;

/// A Tenant and everything outside the object that a decision depends on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub tenant: String,
    pub now: Millis,
    /// Time of the request to delete it.
    pub deleting: Option<Millis>,
    pub has_finalizer: bool,
    /// The namespaces that it lists or owns.
    pub namespaces: BTreeMap<String, NamespaceState>,
    /// Number of unfinished plans.
    pub active_plans: u32,
    /// Number of running attempts.
    pub running_attempts: u32,
    /// Its use of models in this month; none without a monthly budget, or while the record store is unavailable.
    pub usage: Option<Balance>,
    /// The earlier Tenant of this name whose record is not erased yet.
    pub former: Option<Former>,
}

/// An earlier Tenant of the same name, to whom the record under this name belongs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Former {
    pub uid: String,
    /// The UID in the annotation that says whose record the Tenant keeps.
    pub kept: Option<String>,
    /// Unfinished plans in the namespaces that it has left behind.
    pub unfinished_plans: BTreeMap<String, Vec<String>>,
}

/// One namespace of a Tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespaceState {
    /// Whether the Tenant lists it.
    pub listed: bool,
    /// The namespace, if it exists.
    pub namespace: Option<NamespaceEntry>,
    /// The operator's objects in it.
    pub objects: BTreeMap<ObjectKind, ObjectEntry>,
    /// Names of the network policies of others that allow connections in it.
    pub foreign_policies: Vec<String>,
    /// Another Tenant that owns it, or listed it first.
    pub claimed_by: Option<String>,
    /// Some of its unfinished plans; filled only for namespaces that the Tenant is about to leave.
    pub unfinished_plans: Vec<String>,
}

impl Observed {
    /// Returns the same with the earlier Tenant of this name, whose usage the Tenant does not show.
    #[must_use]
    pub fn after(self, former: Option<Former>) -> Self {
        let usage = self.usage.filter(|_| former.is_none());
        Self { usage, former, ..self }
    }

    /// Returns the namespaces whose label names the Tenant.
    pub fn owned(&self) -> impl Iterator<Item = (&String, &NamespaceState)> {
        self.namespaces.iter().filter(|(_, state)| state.owned_by(&self.tenant))
    }
}

impl NamespaceState {
    /// Returns whether `tenant` owns the namespace.
    pub fn owned_by(&self, tenant: &str) -> bool {
        self.namespace.as_ref().and_then(NamespaceEntry::tenant) == Some(tenant)
    }

    /// Returns whether the namespace exists, and is not being deleted.
    pub fn stands(&self) -> bool {
        self.namespace.as_ref().is_some_and(|namespace| !namespace.terminating)
    }
}

/// Observes a Tenant. It registers the references first, so that a change during the observation requeues the object.
///
/// # Errors
/// When the API server fails.
pub async fn observe(object: &Tenant, ctx: &Context) -> Result<Observed, Error> {
    let tenant = object.name_any();
    let (names, claims) = register(object, ctx);
    let mut namespaces: BTreeMap<String, NamespaceState> =
        names.into_iter().map(|name| (name, NamespaceState::default())).collect();
    for name in &object.spec.namespaces {
        namespaces.entry(name.clone()).or_default().listed = true;
    }
    let deleting = object.metadata.deletion_timestamp.as_ref().map(enact_crds::convert::millis);
    // After the references are registered: a namespace or object that changes from now on requeues the Tenant.
    for (name, state) in &mut namespaces {
        state.namespace = ctx.caches.namespaces.get("", name);
        state.objects = ObjectKind::ALL.iter().filter_map(|k| Some((*k, ctx.cluster.object(*k, name)?))).collect();
        state.foreign_policies = ctx.cluster.foreign_policies(name);
        state.claimed_by = claims.get(name).cloned();
    }
    // For namespaces to leave, the API server is asked: a cache may miss a Plan that was created just now.
    let leaving = namespaces.iter().filter(|(_, p)| p.owned_by(&tenant) && (deleting.is_some() || !p.listed));
    let leaving: Vec<String> = leaving.map(|(name, _)| name.clone()).collect();
    for (name, plans) in unfinished_plans(ctx, leaving).await? {
        namespaces.entry(name).or_default().unfinished_plans = plans;
    }
    let owned = |plan: &Plan| {
        let state = plan.metadata.namespace.as_ref().and_then(|n| namespaces.get(n));
        state.is_some_and(|p| p.owned_by(&tenant)) && !plan.status.as_ref().is_some_and(|s| s.phase.is_finished())
    };
    let active = ctx.caches.plans.state_filter(owned).len();
    Ok(Observed {
        now: ctx.now(),
        deleting,
        has_finalizer: object.finalizers().iter().any(|f| f == FINALIZER),
        active_plans: u32::try_from(active).unwrap_or(u32::MAX),
        running_attempts: ctx.limiter.running(&tenant),
        usage: usage(object, ctx).await,
        former: None,
        namespaces,
        tenant,
    })
}

/// Registers the objects that a Tenant depends on, and returns its namespaces and their other owners.
fn register(object: &Tenant, ctx: &Context) -> (BTreeSet<String>, BTreeMap<String, String>) {
    let read = || {
        let names: BTreeSet<String> =
            labelled(ctx, &object.name_any()).chain(object.spec.namespaces.iter().cloned()).collect();
        (names, claims(object, ctx))
    };
    let mut known = read();
    loop {
        let (names, claims) = &known;
        let owners = claims.values().map(|name| Target::new::<Tenant>("", name));
        ctx.references.tenants.set(object, names.iter().map(|name| Target::namespace(name)).chain(owners));
        // Which objects these are was read before they were registered, and a change in between requeues nobody. So they are read again.
        let again = read();
        if again == known {
            return known;
        }
        known = again;
    }
}

/// Returns the namespaces whose label names `tenant`.
fn labelled(ctx: &Context, tenant: &str) -> impl Iterator<Item = String> {
    ctx.caches.namespaces.keys(|_, entry| entry.tenant() == Some(tenant)).into_iter().map(|(_, name)| name)
}

/// Returns the other owner of each of the Tenant's namespaces that has one: the Tenant in its label or, without a label, the oldest Tenant
/// that lists it.
fn claims(object: &Tenant, ctx: &Context) -> BTreeMap<String, String> {
    let own = object.name_any();
    let age = |t: &Tenant| (t.creation_timestamp().map(|at| at.0), t.name_any());
    let mut claims = BTreeMap::new();
    for name in &object.spec.namespaces {
        let namespace = ctx.caches.namespaces.get("", name);
        let label = namespace.as_ref().and_then(NamespaceEntry::tenant);
        // A label may name a Tenant that was deleted while no operator ran.
        let holder = label.filter(|l| ctx.tenant(l).is_some());
        let first = || {
            let claims = ctx.caches.tenants.state_filter(|t| {
                t.metadata.deletion_timestamp.is_none() && t.name_any() != own && t.spec.namespaces.contains(name)
            });
            let oldest = claims.into_iter().min_by_key(|t| age(t))?;
            // The same order in the reconcile of each Tenant: of two that list a namespace, exactly one gets it.
            (age(&oldest) < age(object)).then(|| oldest.name_any())
        };
        let claimed_by = match holder {
            Some(holder) => Some(holder.to_owned()).filter(|h| *h != own),
            None => first(),
        };
        claims.extend(claimed_by.map(|claimed_by| (name.clone(), claimed_by)));
    }
    claims
}

/// Returns some of the unfinished plans of each of these namespaces, as the API server has them.
///
/// # Errors
/// When the API server fails.
pub async fn unfinished_plans(ctx: &Context, namespaces: Vec<String>) -> Result<BTreeMap<String, Vec<String>>, Error> {
    stream::iter(namespaces)
        .map(|name| async move { unfinished(ctx, &name).await.map(|plans| (name, plans)) })
        .buffer_unordered(usize::from(ctx.config.requests_in_flight))
        .try_collect()
        .await
}

async fn unfinished(ctx: &Context, namespace: &str) -> Result<Vec<String>, Error> {
    let api = Api::<Plan>::namespaced(ctx.client.clone(), namespace);
    let some = ListParams::default().fields(UNFINISHED_PLANS).limit(MAX_NAMES);
    let found = api.list_metadata(&some).await.map_err(Error::kube(format!("list the Plans of {namespace}")))?;
    Ok(found.items.iter().map(kube::ResourceExt::name_any).collect())
}

/// Returns the use of models in this month.
async fn usage(object: &Tenant, ctx: &Context) -> Option<Balance> {
    object.spec.monthly_budget.as_ref()?;
    let scope = Scope::Tenant { month: month(ctx.now()) };
    match ctx.record_store.balances(&object.name_any(), &[scope]).await {
        Ok(balances) => balances.into_iter().next().map(|(_, balance)| balance),
        Err(error) => {
            // The usage only informs people: without it, the namespaces are still set up.
            tracing::warn!(tenant = object.name_any(), %error, "cannot read the usage of the tenant");
            None
        }
    }
}

/// Returns the label of a tenant's namespaces.
pub fn tenant_label(tenant: &str) -> (String, String) {
    (LABEL_TENANT.to_owned(), tenant.to_owned())
}
