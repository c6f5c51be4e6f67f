//! The constitution chain: the constitutions that bind an object, and their rules as one list.
//!
//! An object is bound by the constitution that it names, by what that inherits from, and by the constitution that its Tenant names, with
//! what that inherits from in turn. The operator and the webhook both follow the chain with [`Walk`], which asks for one object at a time
//! and does no I/O: the operator answers from its caches, the webhook from the API server.

use std::fmt;

use enact_domain::condition::{READY, Readiness, STALLED};
use enact_domain::digest::Digest;
use enact_domain::rules::{LoosenedRule, Rule, inherit};
use kube::ResourceExt as _;

use crate::common::NamespacedRef;
use crate::{Constitution, convert};

/// Most constitutions of one chain.
pub const MAX_CONSTITUTIONS: usize = 16;

impl NamespacedRef {
    /// Refers to the object `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for NamespacedRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A constitution of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainLink {
    pub at: NamespacedRef,
    pub parent: Option<NamespacedRef>,
    /// Its own rules, without the inherited ones.
    pub rules: Vec<Rule>,
    /// Digest of its document, when it is in force: ready, and the operator has observed its present generation.
    pub in_force: Option<Digest>,
    /// Why it waits until a person does something, if it is not in force.
    pub stalled: Option<String>,
}

impl ChainLink {
    /// Reads a constitution; none when it is being deleted, because it no longer binds anything.
    pub fn of(constitution: &Constitution) -> Option<Self> {
        if constitution.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let namespace = constitution.namespace().unwrap_or_default();
        let status = constitution.status.as_ref();
        let is_current = status.and_then(|s| s.observed_generation) == constitution.metadata.generation;
        let conditions = status.filter(|_| is_current).map_or(&[][..], |s| &s.conditions[..]);
        let true_condition = |type_: &str| conditions.iter().find(|c| c.type_ == type_ && c.status == "True");
        let digest = status.and_then(|s| s.digest.clone()).map(Into::into);
        Some(Self {
            parent: constitution.spec.parent_ref.as_ref().map(|r| NamespacedRef::new(&namespace, &r.name)),
            rules: constitution.spec.rules.iter().map(convert::rule).collect(),
            in_force: digest.filter(|_| true_condition(READY).is_some()),
            stalled: true_condition(STALLED).map(|condition| condition.reason.clone()),
            at: NamespacedRef::new(namespace, constitution.name_any()),
        })
    }
}

/// Why a chain does not say what is in force.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ChainError {
    /// A constitution of the chain does not exist.
    #[error("{named_by}: there is no Constitution {constitution}; create it")]
    Missing {
        constitution: NamespacedRef,
        /// The field that names it.
        named_by: String,
    },
    /// Constitutions inherit from each other; the path up to where it comes back.
    #[error("constitutions inherit from each other: {}; remove spec.parentRef from one of them", join(.0))]
    Circular(Vec<NamespacedRef>),
    /// The chain has more than [`MAX_CONSTITUTIONS`].
    #[error("a chain of more than {MAX_CONSTITUTIONS} constitutions is not allowed; merge some of them")]
    TooMany,
    /// A constitution of the chain is not in force yet.
    #[error("Constitution {0} is not in force yet; see `kubectl describe constitution {name} -n {namespace}`", name = .0.name, namespace = .0.namespace)]
    NotInForce(NamespacedRef),
    /// A constitution of the chain is not in force, and waits until a person does something.
    #[error("Constitution {constitution} is not {}; see `kubectl describe constitution {name} -n {namespace}`", missing(.reason),
        name = .constitution.name, namespace = .constitution.namespace)]
    Stalled { constitution: NamespacedRef, reason: String },
    /// A constitution of the chain loosens a rule that it inherits. Its own conditions say so too.
    #[error("Constitution {constitution} loosens a rule that it inherits: {loosened}")]
    LoosenedRule { constitution: NamespacedRef, loosened: LoosenedRule },
}

impl From<ChainError> for Readiness {
    /// Returns the readiness of an object that the chain binds.
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Circular(_) | ChainError::TooMany => Self::stalled("CircularInheritance", error.to_string()),
            // Like the constitution, the object then waits until a person does something.
            ChainError::Stalled { .. } => Self::stalled("WaitingForConstitution", error.to_string()),
            ChainError::Missing { .. } | ChainError::NotInForce(_) | ChainError::LoosenedRule { .. } => {
                Self::reconciling("WaitingForConstitution", error.to_string())
            }
        }
    }
}

/// Returns what a constitution with this reason is not.
fn missing(reason: &str) -> String {
    if reason == "WaitingForApproval" { "approved".into() } else { format!("ready ({reason})") }
}

fn join(path: &[NamespacedRef]) -> String {
    path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ")
}

/// The constitutions that bind an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// The constitutions, the nearest first.
    pub links: Vec<ChainLink>,
    /// Every constitution that was looked up, including a missing one.
    pub looked_up: Vec<NamespacedRef>,
    /// Why the chain ends early.
    pub error: Option<ChainError>,
}

impl Chain {
    /// Checks that the chain is complete and that every constitution of it is in force.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self) -> Result<(), ChainError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let Some(waiting) = self.links.iter().find(|link| link.in_force.is_none()) else { return Ok(()) };
        let constitution = waiting.at.clone();
        Err(match waiting.stalled.clone() {
            Some(reason) => ChainError::Stalled { constitution, reason },
            None => ChainError::NotInForce(constitution),
        })
    }

    /// Returns the rules of all constitutions, the farthest first.
    ///
    /// # Errors
    /// When a constitution loosens what it inherits.
    pub fn rules(&self) -> Result<Vec<Rule>, ChainError> {
        self.links.iter().rev().try_fold(Vec::new(), |inherited, link| {
            inherit(&inherited, &link.rules).map_err(|mut loosened| ChainError::LoosenedRule {
                constitution: link.at.clone(),
                // There is at least one: it is what failed.
                loosened: loosened.swap_remove(0),
            })
        })
    }
}

/// What a [`Walk`] has to know next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The constitution here; answered with [`Walk::constitution`].
    Constitution(NamespacedRef),
    /// The constitution that the Tenant of this namespace names; answered with [`Walk::tenant_constitution`].
    TenantOf(String),
}

/// A walk along a constitution chain.
#[derive(Debug)]
pub struct Walk {
    chain: Chain,
    own: Option<NamespacedRef>,
    /// The constitutions from the last start to here, to find cycles.
    path: Vec<NamespacedRef>,
    /// Namespaces whose Tenants count, in the order in which they were reached.
    namespaces: Vec<String>,
    /// How many of `namespaces` were asked for.
    asked_namespaces: usize,
    /// The next constitution and the field that names it.
    next: Option<(NamespacedRef, String)>,
}

impl Walk {
    /// Starts at the constitution `first`, which the field `named_by` names, for an object in `namespace`. `own` is the constitution whose
    /// chain this is, if it is one's: it is not a part of what it inherits.
    pub fn new(own: Option<NamespacedRef>, first: Option<NamespacedRef>, named_by: &str, namespace: &str) -> Self {
        Self {
            chain: Chain::default(),
            path: own.iter().cloned().collect(),
            own,
            namespaces: vec![namespace.to_owned()],
            asked_namespaces: 0,
            next: first.map(|first| (first, named_by.to_owned())),
        }
    }

    /// Returns what to look up next; none at the end.
    pub fn next_step(&mut self) -> Option<Step> {
        while self.chain.error.is_none() {
            let Some((here, named_by)) = self.next.take() else {
                let namespace = self.namespaces.get(self.asked_namespaces)?.clone();
                self.asked_namespaces += 1;
                self.path.clear();
                return Some(Step::TenantOf(namespace));
            };
            if self.path.contains(&here) {
                let path = std::mem::take(&mut self.path).into_iter().chain([here]).collect();
                self.chain.error = Some(ChainError::Circular(path));
            } else if self.own.as_ref() == Some(&here) || self.chain.links.iter().any(|link| link.at == here) {
                // Its chain was followed already.
            } else if self.chain.links.len() == MAX_CONSTITUTIONS {
                self.chain.error = Some(ChainError::TooMany);
            } else {
                self.chain.looked_up.push(here.clone());
                self.next = Some((here.clone(), named_by));
                return Some(Step::Constitution(here));
            }
        }
        None
    }

    /// Answers [`Step::TenantOf`].
    pub fn tenant_constitution(&mut self, named: Option<NamespacedRef>) {
        self.next = named.map(|named| (named, "the Tenant's spec.constitutionRef".to_owned()));
    }

    /// Answers [`Step::Constitution`].
    pub fn constitution(&mut self, found: Option<ChainLink>) {
        let Some((here, named_by)) = self.next.take() else { return };
        let Some(link) = found else {
            self.chain.error = Some(ChainError::Missing { constitution: here, named_by });
            return;
        };
        self.next = link.parent.clone().map(|parent| (parent, format!("spec.parentRef of Constitution {here}")));
        // The Tenant of a constitution's namespace binds whatever inherits from that constitution.
        if !self.namespaces.contains(&here.namespace) {
            self.namespaces.push(here.namespace.clone());
        }
        self.path.push(here);
        self.chain.links.push(link);
    }

    /// Ends the walk.
    pub fn finish(self) -> Chain {
        self.chain
    }
}

/// Follows a chain whose objects are in memory.
pub fn follow(
    mut walk: Walk,
    find: impl Fn(&NamespacedRef) -> Option<ChainLink>,
    tenant_constitution: impl Fn(&str) -> Option<NamespacedRef>,
) -> Chain {
    while let Some(step) = walk.next_step() {
        match step {
            Step::Constitution(at) => walk.constitution(find(&at)),
            Step::TenantOf(namespace) => walk.tenant_constitution(tenant_constitution(&namespace)),
        }
    }
    walk.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use enact_domain::condition::Progress;

    use super::*;

    /// Constitutions by `namespace/name`, and what the Tenants of namespaces name.
    struct Objects(BTreeMap<String, ChainLink>, BTreeMap<String, NamespacedRef>);

    fn parse(text: &str) -> NamespacedRef {
        let (namespace, name) = text.split_once('/').unwrap();
        NamespacedRef::new(namespace, name)
    }

    fn link(at: &str, parent: Option<&str>) -> ChainLink {
        let here = parse(at);
        let parent = parent.map(|name| NamespacedRef::new(&here.namespace, name));
        ChainLink {
            at: here,
            parent,
            rules: Vec::new(),
            in_force: Some(Digest::of_bytes(at.as_bytes())),
            stalled: None,
        }
    }

    fn objects(constitutions: &[(&str, Option<&str>)], tenants: &[(&str, &str)]) -> Objects {
        let constitutions = constitutions.iter().map(|(at, parent)| ((*at).to_owned(), link(at, *parent)));
        let tenants = tenants.iter().map(|(namespace, named)| ((*namespace).to_owned(), parse(named)));
        Objects(constitutions.collect(), tenants.collect())
    }

    impl Objects {
        fn follow(&self, own: Option<&str>, first: Option<&str>, namespace: &str) -> Chain {
            let walk = Walk::new(own.map(parse), first.map(parse), "spec.constitutionRef", namespace);
            follow(walk, |at| self.0.get(&at.to_string()).cloned(), |namespace| self.1.get(namespace).cloned())
        }

        fn names(&self, first: Option<&str>, namespace: &str) -> Vec<String> {
            let chain = self.follow(None, first, namespace);
            assert_eq!(chain.error, None);
            chain.links.iter().map(|link| link.at.to_string()).collect()
        }
    }

    fn error(chain: &Chain) -> String {
        chain.check().unwrap_err().to_string()
    }

    #[test]
    fn binds_by_name_by_parent_and_by_tenant() {
        let objects = objects(
            &[("team/own", Some("base")), ("team/base", None), ("platform/top", Some("root")), ("platform/root", None)],
            &[("team", "platform/top")],
        );
        let all = ["team/own", "team/base", "platform/top", "platform/root"];
        assert_eq!(objects.names(Some("team/own"), "team"), all);
        assert_eq!(objects.names(None, "team"), all[2..], "an object that names none is bound by the tenant's");
        assert_eq!(objects.names(None, "elsewhere"), [""; 0]);
        let own = objects.follow(Some("team/own"), Some("team/base"), "team");
        assert_eq!(own.links.len(), 3, "a constitution is not a part of what it inherits");
    }

    #[test]
    fn tenants_of_namespaces_on_the_way_bind_too() {
        let objects = objects(
            &[("platform/top", None), ("company/root", None)],
            &[("team", "platform/top"), ("platform", "company/root")],
        );
        assert_eq!(objects.names(None, "team"), ["platform/top", "company/root"]);
    }

    #[test]
    fn a_tenant_may_name_the_constitution_itself() {
        let objects = objects(&[("team/top", Some("base")), ("team/base", None)], &[("team", "team/top")]);
        assert_eq!(objects.follow(Some("team/top"), Some("team/base"), "team").error, None);
        assert_eq!(objects.names(Some("team/base"), "team"), ["team/base", "team/top"]);
    }

    #[test]
    fn reports_why_a_chain_has_no_end() {
        let mut objects = objects(&[("t/a", Some("b")), ("t/b", Some("a")), ("t/c", Some("gone"))], &[("u", "t/c")]);
        let cycle = objects.follow(None, Some("t/a"), "t");
        assert!(error(&cycle).starts_with("constitutions inherit from each other: t/a -> t/b -> t/a;"));
        let own = objects.follow(Some("t/a"), Some("t/b"), "t");
        assert!(error(&own).contains("t/a -> t/b -> t/a"), "{}", error(&own));
        let itself = objects.follow(Some("t/a"), Some("t/a"), "t");
        assert!(error(&itself).contains("t/a -> t/a"));
        let missing = objects.follow(None, None, "u");
        let expected = "spec.parentRef of Constitution t/c: there is no Constitution t/gone; create it";
        assert_eq!(error(&missing), expected);
        assert_eq!(missing.looked_up, ["t/c", "t/gone"].map(parse), "the operator watches for its creation");

        for n in 0..20 {
            let (at, parent) = (format!("deep/c{n}"), format!("c{}", n + 1));
            objects.0.insert(at.clone(), link(&at, Some(&parent)));
        }
        assert!(error(&objects.follow(None, Some("deep/c0"), "deep")).contains("more than 16"));
        let mut waits = objects.follow(None, Some("t/c"), "t");
        (waits.error, waits.links[0].in_force) = (None, None);
        assert!(error(&waits).starts_with("Constitution t/c is not in force yet"));
        let progress = |waits: &Chain| Readiness::from(waits.check().unwrap_err()).progress;
        assert_eq!(progress(&waits), Progress::Reconciling);
        for (reason, expected) in
            [("WaitingForApproval", "is not approved; see"), ("InvalidRules", "is not ready (InvalidRules); see")]
        {
            waits.links[0].stalled = Some(reason.into());
            assert!(error(&waits).contains(expected), "{}", error(&waits));
            assert_eq!(progress(&waits), Progress::Stalled, "it waits for the same person");
        }
    }
}
