use std::fmt::Write as _;

use enact_crds::TenantSpec;
use enact_crds::ownership::Consent;
use enact_domain::condition::Progress;
use enact_domain::names::LABEL_TENANT;
use enact_domain::time::Millis;
use serde_json::json;

use super::*;
use crate::caches::NamespaceEntry;
use crate::tenant::cluster::ObjectEntry;
use crate::tenant::validate::validate;
use crate::testing::config;

fn spec() -> TenantSpec {
    serde_json::from_value(json!({
        "namespaces": ["shop"], "owners": {"groups": ["leads"]}, "quota": {"pods": 5, "memory": "1Gi"},
    }))
    .unwrap()
}

fn valid(seen: &Observed) -> Valid {
    validate(&spec(), seen, &config())
}

/// Returns a namespace with these labels that the operator created for `acme`.
fn namespace(labels: &[(&str, &str)]) -> NamespaceEntry {
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    entry(labels)
}

fn entry(labels: BTreeMap<String, String>) -> NamespaceEntry {
    let consent = Consent { owner: labels.get(LABEL_TENANT).cloned(), allowed: Some("acme".into()) };
    NamespaceEntry { uid: "n1".into(), labels, terminating: false, consent: Some(consent) }
}

/// The namespace `shop` as it is when everything is done.
fn set_up() -> NamespaceState {
    let wanted = valid(&Observed::default()).wanted;
    let mut labels = wanted.labels.clone();
    labels.insert(LABEL_TENANT.into(), "acme".into());
    let object = |kind: &ObjectKind| {
        let entry = ObjectEntry {
            uid: kind.as_str().into(),
            tenant: Some("acme".into()),
            content: wanted.content(*kind, "shop").unwrap(),
            in_force: true,
            partially_counted_since: None,
        };
        (*kind, entry)
    };
    NamespaceState {
        listed: true,
        namespace: Some(entry(labels)),
        objects: wanted.objects.keys().map(object).collect(),
        ..NamespaceState::default()
    }
}

fn seen(state: NamespaceState) -> Observed {
    let namespaces = [("shop".to_owned(), state)].into();
    Observed { tenant: "acme".into(), has_finalizer: true, namespaces, ..Observed::default() }
}

fn shown(seen: &Observed) -> String {
    let decision = decide(seen, &valid(seen));
    let mut out = format!(
        "{:?} {}: {} [{} set up, finalizer {:?}]\n",
        decision.readiness.progress,
        decision.readiness.reason,
        decision.readiness.message,
        decision.namespaces,
        decision.finalizer
    );
    for (namespace, steps) in &decision.steps {
        for step in steps {
            let step = match step {
                Step::Create(labels) => format!("create with {} labels", labels.len()),
                Step::Delete(kind, uid) => format!("delete {} {uid}", kind.as_str()),
                Step::Apply(kind, _) => format!("apply {}", kind.as_str()),
                Step::Label(labels) => format!("label as {}", labels[LABEL_TENANT]),
                Step::Unlabel => "unlabel".into(),
            };
            writeln!(out, "  {namespace}: {step}").unwrap();
        }
    }
    out
}

#[test]
fn each_state_has_its_steps_and_reason() {
    let mut all = String::new();
    let mut case = |name: &str, change: &dyn Fn(&mut Observed, &mut NamespaceState)| {
        let mut state = set_up();
        let mut observed = seen(NamespaceState::default());
        change(&mut observed, &mut state);
        observed.namespaces.insert("shop".into(), state);
        write!(all, "{name} -> {}", shown(&observed)).unwrap();
    };
    case("set up", &|_, _| {});
    case("new", &|o, p| {
        o.has_finalizer = false;
        *p = NamespaceState { listed: true, ..NamespaceState::default() };
    });
    case("adopted", &|_, p| {
        *p = NamespaceState { listed: true, namespace: Some(namespace(&[])), ..NamespaceState::default() }
    });
    case("taken", &|_, p| {
        let other = namespace(&[(LABEL_TENANT, "rival")]);
        *p = NamespaceState {
            listed: true,
            namespace: Some(other),
            claimed_by: Some("rival".into()),
            ..NamespaceState::default()
        };
    });
    case("policy widened", &|_, p| {
        p.objects.get_mut(&ObjectKind::NetworkPolicy).unwrap().content["spec"]["ingress"] = json!([{}]);
    });
    case("binding of another role", &|_, p| {
        p.objects.get_mut(&ObjectKind::RoleBinding).unwrap().content["roleRef"]["name"] = "cluster-admin".into();
    });
    case("quota deleted", &|_, p| drop(p.objects.remove(&ObjectKind::ResourceQuota)));
    case("quota not counted yet", &|_, p| p.objects.get_mut(&ObjectKind::ResourceQuota).unwrap().in_force = false);
    case("label changed", &|_, p| {
        let labels = &mut p.namespace.as_mut().unwrap().labels;
        labels.insert("pod-security.kubernetes.io/enforce".into(), "privileged".into());
    });
    case("namespace being deleted", &|_, p| p.namespace.as_mut().unwrap().terminating = true);
    case("taken out", &|_, p| p.listed = false);
    case("taken out while in use", &|_, p| {
        p.listed = false;
        p.unfinished_plans = vec!["site".into(), "api".into()];
    });
    case("deleted while in use", &|o, p| {
        o.deleting = Some(Millis(0));
        p.unfinished_plans = vec!["site".into()];
    });
    case("deleted", &|o, _| o.deleting = Some(Millis(0)));
    case("deleted when nothing is left", &|o, p| {
        o.deleting = Some(Millis(0));
        *p = NamespaceState { listed: true, ..NamespaceState::default() };
    });
    insta::assert_snapshot!(all);
}

#[test]
fn refuses_reserved_namespaces() {
    for (name, reason) in [
        ("kube-system", "NamespaceReserved"),
        ("kube-flannel", "NamespaceReserved"),
        ("default", "NamespaceReserved"),
        ("enact-system", "NamespaceReserved"),
        ("ns", "NamespaceTaken"),
    ] {
        let state = NamespaceState { listed: true, namespace: Some(namespace(&[])), ..NamespaceState::default() };
        let seen =
            Observed { tenant: "acme".into(), namespaces: [(name.to_owned(), state)].into(), ..Observed::default() };
        let decision = decide(&seen, &valid(&seen));
        assert_eq!((decision.readiness.progress, &*decision.readiness.reason), (Progress::Stalled, reason), "{name}");
        assert!(decision.steps.is_empty(), "{:?}", decision.steps);
    }
}

/// The webhook may have been down when the Tenant was created, or somebody else may have created the namespace since then.
#[test]
fn does_not_take_over_a_namespace_of_others() {
    let with = |allowed: Option<&str>| {
        let mut foreign = namespace(&[("pod-security.kubernetes.io/enforce", "privileged")]);
        foreign.consent = Some(Consent { owner: None, allowed: allowed.map(str::to_owned) });
        let seen = seen(NamespaceState { listed: true, namespace: Some(foreign), ..NamespaceState::default() });
        decide(&seen, &valid(&seen))
    };
    for allowed in [None, Some("rival"), Some("")] {
        let decision = with(allowed);
        let readiness = &decision.readiness;
        assert_eq!((readiness.progress, &*readiness.reason), (Progress::Stalled, "NamespaceNotAllowed"), "{allowed:?}");
        assert!(readiness.message.contains("annotate namespace shop enact.dev/allow-tenant=acme"), "{readiness:?}");
        assert!(decision.steps.is_empty(), "{:?}", decision.steps);
    }
    for allowed in ["acme", "*"] {
        assert_eq!(with(Some(allowed)).adopted().collect::<Vec<_>>(), ["shop"]);
    }
}

#[test]
fn invalid_cidr_blocks_every_namespace() {
    let mut spec = spec();
    spec.isolation.egress = serde_json::from_value(json!([{"cidr": "10.0.0.0/33"}])).unwrap();
    let seen = seen(NamespaceState { listed: true, ..NamespaceState::default() });
    let decision = decide(&seen, &validate(&spec, &seen, &config()));
    assert_eq!(decision.readiness.reason, "InvalidEgress");
    assert!(
        decision.steps.is_empty() && decision.readiness.message.contains("spec.isolation.egress[0].cidr"),
        "{decision:?}"
    );
}
