//! Constitution chains, followed through the caches.

use enact_crds::chain::{self, ChainLink, Walk};
use enact_crds::common::{LocalRef, NamespacedRef};
use enact_crds::{Constitution, Specification};
use enact_domain::condition::Readiness;
use enact_domain::rules::Rule;

use crate::context::{Context, lookup};
use crate::metadata_cache::ObjectKey;
use crate::references::Target;

/// The constitutions that govern a document.
#[derive(Debug)]
pub struct Chain(chain::Chain);

impl Chain {
    /// Returns the constitutions, the nearest first.
    pub fn links(&self) -> &[ChainLink] {
        &self.0.links
    }

    /// Returns the rules of all constitutions, the most distant ancestor's first.
    ///
    /// # Errors
    /// The reason why no document below the chain can be approved.
    pub fn rules(&self) -> Result<Vec<Rule>, Readiness> {
        self.0.check().and_then(|()| self.0.rules()).map_err(Readiness::from)
    }

    /// Returns whether the constitution governs the document.
    pub fn contains(&self, constitution: &NamespacedRef) -> bool {
        self.0.looked_up.contains(constitution)
    }

    /// Returns the objects whose changes affect the chain.
    pub fn targets(&self) -> impl Iterator<Item = Target> {
        self.0.looked_up.iter().map(|at| Target::new::<Constitution>(&at.namespace, &at.name))
    }

    /// Returns the keys of the constitutions that govern the document.
    pub fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.0.looked_up.iter().map(|at| (at.namespace.clone(), at.name.clone()))
    }
}

/// Returns the chain of a document in `namespace`, which begins at `first`, named by the field `named_by`. `own` is the constitution whose
/// chain it is, if it is a constitution's.
pub fn chain(
    ctx: &Context,
    namespace: &str,
    own: Option<&NamespacedRef>,
    first: Option<NamespacedRef>,
    named_by: &str,
) -> Chain {
    let find = |at: &NamespacedRef| ChainLink::of(&*lookup(&ctx.caches.constitutions, &at.namespace, &at.name)?);
    let tenant_constitution =
        |namespace: &str| ctx.tenant(&ctx.tenant_of(namespace)?.tenant)?.spec.constitution_ref.clone();
    Chain(chain::follow(Walk::new(own.cloned(), first, named_by, namespace), find, tenant_constitution))
}

/// Returns the constitutions that govern a document in `namespace` whose `spec.constitutionRef` is `named`.
pub fn chain_of_reference(ctx: &Context, namespace: &str, named: Option<&LocalRef>) -> Chain {
    chain(ctx, namespace, None, named.map(|r| NamespacedRef::new(namespace, &r.name)), "spec.constitutionRef")
}

/// Returns the constitutions that govern a specification in `namespace`, or a plan without one.
pub fn chain_of_specification(ctx: &Context, namespace: &str, specification: Option<&Specification>) -> Chain {
    chain_of_reference(ctx, namespace, specification.and_then(|s| s.spec.constitution_ref.as_ref()))
}
