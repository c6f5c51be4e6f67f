//! Constitution chains: the constitutions that govern a document.
//!
//! A document is governed by the constitution that it names, by the ancestors of that one, and by the constitution in its Tenant's
//! `constitutionRef` with its ancestors. [`follow`] is a pure function; [`chain`] gives it the caches.

use enact_crds::common::{LocalRef, NamespacedRef};
use enact_crds::{Constitution, Specification, convert};
use enact_domain::condition::{READY, Readiness};
use enact_domain::digest::Digest;
use enact_domain::rules::{Rule, inherit};
use kube::ResourceExt as _;

use crate::context::{Context, lookup};
use crate::metadata_cache::ObjectKey;
use crate::references::Target;

/// Highest number of constitutions in a chain.
const MAX_LINKS: usize = 16;

/// A constitution in a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainLink {
    /// Namespace and name of the constitution.
    pub at: NamespacedRef,
    /// Its `spec.parentRef`.
    pub parent: Option<NamespacedRef>,
    /// Its own rules, without inherited ones.
    pub rules: Vec<Rule>,
    /// Digest of its document, if the constitution is approved.
    pub in_force: Option<Digest>,
}

impl ChainLink {
    /// Reads the fields from a constitution.
    pub fn of(constitution: &Constitution) -> Self {
        let namespace = constitution.namespace().unwrap_or_default();
        let status = constitution.status.as_ref();
        let is_current = status.and_then(|s| s.observed_generation) == constitution.metadata.generation;
        let ready = status.is_some_and(|s| s.conditions.iter().any(|c| c.type_ == READY && c.status == "True"));
        let digest = status.and_then(|s| s.digest.clone()).map(Into::into);
        Self {
            parent: constitution.spec.parent_ref.as_ref().map(|r| at(&namespace, &r.name)),
            rules: constitution.spec.rules.iter().map(convert::rule).collect(),
            in_force: digest.filter(|_| ready && is_current),
            at: at(&namespace, &constitution.name_any()),
        }
    }
}

/// Builds a reference.
pub fn at(namespace: &str, name: &str) -> NamespacedRef {
    NamespacedRef { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// The reason why a chain ends early.
#[derive(Clone, Debug, PartialEq)]
pub enum ChainError {
    /// The constitution does not exist; the text says which field names it.
    Missing(NamespacedRef, String),
    /// A constitution inherits from itself: the path up to its second occurrence.
    Circular(Vec<NamespacedRef>),
    /// The chain is too long.
    TooMany,
}

/// The constitutions that govern a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// The nearest first.
    pub links: Vec<ChainLink>,
    /// Every constitution that was looked up, including a missing one.
    pub looked_up: Vec<NamespacedRef>,
    /// The reason why the chain ends early.
    pub error: Option<ChainError>,
}

/// Follows constitutions: from `first`, which the field `named_by` names, through its ancestors, then from the constitution of the tenant of
/// each namespace on the way, beginning with `home`. `own` is the constitution whose chain it is, if it is a constitution's; the chain does
/// not contain it.
pub fn follow(
    own: Option<&NamespacedRef>,
    (first, named_by): (Option<NamespacedRef>, &str),
    home: &str,
    find: &dyn Fn(&NamespacedRef) -> Option<ChainLink>,
    root: &dyn Fn(&str) -> Option<NamespacedRef>,
) -> Chain {
    let mut chain = Chain::default();
    let mut path: Vec<NamespacedRef> = own.into_iter().cloned().collect();
    let mut homes = vec![home.to_owned()];
    let mut next = first.map(|first| (first, named_by.to_owned()));
    let mut visited_homes = 0;
    loop {
        let Some((here, by)) = next.take() else {
            let Some(namespace) = homes.get(visited_homes) else { return chain };
            next = root(namespace).map(|r| (r, "the Tenant's spec.constitutionRef".to_owned()));
            path.clear();
            visited_homes += 1;
            continue;
        };
        if path.contains(&here) {
            path.push(here);
            return Chain { error: Some(ChainError::Circular(path)), ..chain };
        }
        if own == Some(&here) || chain.links.iter().any(|a| a.at == here) {
            continue;
        }
        if chain.links.len() == MAX_LINKS {
            return Chain { error: Some(ChainError::TooMany), ..chain };
        }
        chain.looked_up.push(here.clone());
        let Some(link) = find(&here) else {
            return Chain { error: Some(ChainError::Missing(here, by)), ..chain };
        };
        path.push(here.clone());
        if !homes.contains(&here.namespace) {
            homes.push(here.namespace.clone());
        }
        next = link.parent.clone().map(|p| (p, format!("spec.parentRef of Constitution {}", shown(&here))));
        chain.links.push(link);
    }
}

/// Formats a reference for a message.
pub fn shown(at: &NamespacedRef) -> String {
    format!("{}/{}", at.namespace, at.name)
}

impl Chain {
    /// Returns why no document below the chain can be approved, if there is a reason.
    pub fn blocked(&self) -> Option<Readiness> {
        const WAITING: &str = "WaitingForConstitution";
        match &self.error {
            Some(ChainError::Missing(what, by)) => {
                let message = format!("{by}: there is no Constitution {}; create it", shown(what));
                return Some(Readiness::reconciling(WAITING, message));
            }
            Some(ChainError::Circular(path)) => {
                let path: Vec<String> = path.iter().map(shown).collect();
                let message = format!(
                    "constitutions inherit from each other: {}; remove spec.parentRef from one of them",
                    path.join(" -> ")
                );
                return Some(Readiness::stalled("CircularInheritance", message));
            }
            Some(ChainError::TooMany) => {
                let message =
                    format!("a chain of more than {MAX_LINKS} constitutions is not allowed; merge some of them");
                return Some(Readiness::stalled("CircularInheritance", message));
            }
            None => {}
        }
        let waiting = self.links.iter().find(|a| a.in_force.is_none())?;
        let message = format!(
            "Constitution {} is not approved; see `kubectl describe constitution {} -n {}`",
            shown(&waiting.at),
            waiting.at.name,
            waiting.at.namespace
        );
        Some(Readiness::reconciling(WAITING, message))
    }

    /// Returns the rules of all constitutions, the most distant ancestor's first.
    ///
    /// # Errors
    /// When one of them loosens an inherited rule. Its own status says the same, and it loses its approval soon.
    pub fn rules(&self) -> Result<Vec<Rule>, Readiness> {
        self.links.iter().rev().try_fold(Vec::new(), |known, link| {
            inherit(&known, &link.rules).map_err(|loosened| {
                let why = loosened.first().map(ToString::to_string).unwrap_or_default();
                let message = format!("Constitution {} loosens a rule that it inherits: {why}", shown(&link.at));
                Readiness::reconciling("WaitingForConstitution", message)
            })
        })
    }

    /// Returns the objects whose changes affect the chain.
    pub fn targets(&self) -> impl Iterator<Item = Target> {
        self.looked_up.iter().map(|at| Target::new::<Constitution>(&at.namespace, &at.name))
    }

    /// Returns the keys of the constitutions that govern the document.
    pub fn keys(&self) -> impl Iterator<Item = ObjectKey> {
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
        let found = lookup(&ctx.caches.constitutions, &at.namespace, &at.name)?;
        found.metadata.deletion_timestamp.is_none().then(|| ChainLink::of(&found))
    };
    let root = |namespace: &str| ctx.tenant(&ctx.tenant_of(namespace)?.tenant)?.spec.constitution_ref.clone();
    follow(own, (first, named_by), namespace, &find, &root)
}

/// Returns the constitutions that govern a document in `namespace` whose `spec.constitutionRef` is `named`.
pub fn chain_of_reference(ctx: &Context, namespace: &str, named: Option<&LocalRef>) -> Chain {
    chain(ctx, namespace, None, named.map(|r| at(namespace, &r.name)), "spec.constitutionRef")
}

/// Returns the constitutions that govern a specification in `namespace`, or a plan without one.
pub fn chain_of_specification(ctx: &Context, namespace: &str, specification: Option<&Specification>) -> Chain {
    chain_of_reference(ctx, namespace, specification.and_then(|s| s.spec.constitution_ref.as_ref()))
}

#[cfg(test)]
mod tests;
