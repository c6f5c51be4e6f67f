//! Constitution chains: the constitutions that govern a document, as the caches show them. [`enact_crds::chain`] has the rules, which the
//! webhook follows too.

use enact_crds::chain::{Chain, ChainLink, Walk, follow};
use enact_crds::common::{LocalRef, NamespacedRef};
use enact_crds::{Constitution, Specification};

use crate::context::{Context, lookup};
use crate::metadata_cache::ObjectKey;
use crate::references::Target;

/// The objects of a chain, as the caches know them.
pub trait ChainObjects {
    /// Returns the objects whose changes affect the chain.
    fn targets(&self) -> impl Iterator<Item = Target>;
    /// Returns the keys of the constitutions that govern the document.
    fn keys(&self) -> impl Iterator<Item = ObjectKey>;
}

impl ChainObjects for Chain {
    fn targets(&self) -> impl Iterator<Item = Target> {
        self.looked_up.iter().map(|at| Target::new::<Constitution>(&at.namespace, &at.name))
    }

    fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.looked_up.iter().map(|at| (at.namespace.clone(), at.name.clone()))
    }
}

/// Returns the chain of a document in a namespace, as the caches show it.
pub fn chain(
    ctx: &Context,
    namespace: &str,
    own: Option<&NamespacedRef>,
    first: Option<NamespacedRef>,
    named_by: &str,
) -> Chain {
    let find = |at: &NamespacedRef| {
        lookup(&ctx.caches.constitutions, &at.namespace, &at.name).and_then(|found| ChainLink::of(&found))
    };
    let tenant_constitution =
        |namespace: &str| ctx.tenant(&ctx.tenant_of(namespace)?.tenant)?.spec.constitution_ref.clone();
    follow(Walk::new(own.cloned(), first, named_by, namespace), find, tenant_constitution)
}

/// Returns the constitutions that govern a document in `namespace` whose `spec.constitutionRef` is `named`.
pub fn chain_of_reference(ctx: &Context, namespace: &str, named: Option<&LocalRef>) -> Chain {
    chain(ctx, namespace, None, named.map(|r| NamespacedRef::new(namespace, &r.name)), "spec.constitutionRef")
}

/// Returns the constitutions that govern a specification in `namespace`, or a plan without one.
pub fn chain_of_specification(ctx: &Context, namespace: &str, specification: Option<&Specification>) -> Chain {
    chain_of_reference(ctx, namespace, specification.and_then(|s| s.spec.constitution_ref.as_ref()))
}
