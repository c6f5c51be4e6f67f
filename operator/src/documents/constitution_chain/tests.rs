use std::collections::BTreeMap;

use super::*;

/// Constitutions by `namespace/name`, each with its parent and the digest that is in force.
struct World(BTreeMap<String, ChainLink>, BTreeMap<String, NamespacedRef>);

fn parse(text: &str) -> NamespacedRef {
    let (namespace, name) = text.split_once('/').unwrap();
    at(namespace, name)
}

fn world(constitutions: &[(&str, Option<&str>)], roots: &[(&str, &str)]) -> World {
    let link = |(place, parent): &(&str, Option<&str>)| {
        let here = parse(place);
        let parent = parent.map(|name| self::at(&here.namespace, name));
        let in_force = Some(Digest::of_bytes(place.as_bytes()));
        ((*place).to_owned(), ChainLink { at: here, parent, rules: Vec::new(), in_force })
    };
    let roots = roots.iter().map(|(namespace, root)| ((*namespace).to_owned(), parse(root)));
    World(constitutions.iter().map(link).collect(), roots.collect())
}

impl World {
    fn follow(&self, own: Option<&str>, first: Option<&str>, home: &str) -> Chain {
        let find = |at: &NamespacedRef| self.0.get(&shown(at)).cloned();
        let root = |namespace: &str| self.1.get(namespace).cloned();
        super::follow(own.map(parse).as_ref(), (first.map(parse), "spec.constitutionRef"), home, &find, &root)
    }

    fn names(&self, first: Option<&str>, home: &str) -> Vec<String> {
        let chain = self.follow(None, first, home);
        assert_eq!(chain.error, None);
        chain.links.iter().map(|a| shown(&a.at)).collect()
    }
}

fn said(chain: &Chain) -> String {
    let blocked = chain.blocked().unwrap();
    format!("{}: {}", blocked.reason, blocked.message)
}

#[test]
fn chain_holds_named_ancestors_and_tenant_constitutions() {
    let world = world(
        &[("team/own", Some("base")), ("team/base", None), ("platform/law", Some("root")), ("platform/root", None)],
        &[("team", "platform/law")],
    );
    let all = ["team/own", "team/base", "platform/law", "platform/root"];
    assert_eq!(world.names(Some("team/own"), "team"), all);
    assert_eq!(world.names(None, "team"), all[2..], "naming none frees nobody");
    assert_eq!(world.names(None, "elsewhere"), [""; 0]);
    let own = world.follow(Some("team/own"), Some("team/base"), "team");
    assert_eq!(own.links.len(), 3, "a constitution is no part of what it inherits");
}

#[test]
fn tenant_constitution_may_be_in_the_same_namespace() {
    let world = world(&[("team/law", Some("base")), ("team/base", None)], &[("team", "team/law")]);
    assert_eq!(world.follow(Some("team/law"), Some("team/base"), "team").error, None);
    assert_eq!(world.names(Some("team/base"), "team"), ["team/base", "team/law"]);
}

#[test]
fn reports_broken_chains() {
    let mut world = world(&[("t/a", Some("b")), ("t/b", Some("a")), ("t/c", Some("gone"))], &[("u", "t/c")]);
    let circle = world.follow(None, Some("t/a"), "t");
    assert!(
        said(&circle).starts_with("CircularInheritance: constitutions inherit from each other: t/a -> t/b -> t/a;")
    );
    let own = world.follow(Some("t/a"), Some("t/b"), "t");
    assert!(said(&own).contains("t/a -> t/b -> t/a"), "{}", said(&own));
    let itself = world.follow(Some("t/a"), Some("t/a"), "t");
    assert!(said(&itself).contains("t/a -> t/a"));
    let missing = world.follow(None, None, "u");
    let told = "WaitingForConstitution: spec.parentRef of Constitution t/c: there is no Constitution t/gone; create it";
    assert_eq!(said(&missing), told);
    assert_eq!(missing.looked_up, ["t/c", "t/gone"].map(parse), "its coming is watched for");

    for n in 0..20 {
        let at = format!("deep/c{n}");
        let parent = Some(self::at("deep", &format!("c{}", n + 1)));
        let link = ChainLink { at: parse(&at), parent, rules: Vec::new(), in_force: None };
        world.0.insert(at, link);
    }
    assert!(said(&world.follow(None, Some("deep/c0"), "deep")).contains("more than 16"));
    let mut waits = world.follow(None, Some("t/c"), "t");
    (waits.error, waits.links[0].in_force) = (None, None);
    assert!(said(&waits).starts_with("WaitingForConstitution: Constitution t/c is not approved"));
}
