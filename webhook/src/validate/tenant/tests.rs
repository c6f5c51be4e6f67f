use enact_crds::ownership::Consent;
use serde_json::{Value, json};

use crate::lookup::Claim;
use crate::testing::{FakeLookup, admit, assert_admitted, assert_refused, by, claim, create, delete, update, with};

fn tenant(name: &str, namespaces: &Value) -> Value {
    json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
        "spec": { "namespaces": namespaces },
    })
}

fn busy() -> FakeLookup {
    FakeLookup { unfinished: vec!["team-a/shop".into()], ..FakeLookup::two_tenants() }
}

#[tokio::test]
async fn namespaces_belong_to_one_tenant() {
    let lookup = FakeLookup::two_tenants();
    assert_admitted(admit(&lookup, &create(&tenant("new", &json!(["team-n"])))).await);
    assert_admitted(admit(&lookup, &create(&tenant("default", &json!(["team-default"])))).await);
    for (namespaces, parts) in [
        (json!(["team-n", "team-a"]), &["spec.namespaces[1]", "Tenant acme already"][..]),
        (json!(["kube-system"]), &["spec.namespaces[0]", "is reserved by tenants.reservedNamespaces"]),
        // The operator does not accept this namespace either.
        (json!(["default"]), &["spec.namespaces[0]", "is reserved by tenants.reservedNamespaces"]),
        (json!(["enact"]), &["the installation"]),
        (json!(["team-n", "team-n"]), &["listed twice"]),
        (json!(["team-default"]), &["default tenant", "values"]),
    ] {
        assert_refused(admit(&lookup, &create(&tenant("new", &namespaces))).await, "invalid", parts);
    }
    let broken = FakeLookup { broken: true, ..lookup };
    assert_refused(admit(&broken, &create(&tenant("new", &json!(["team-n"])))).await, "error", &["try again"]);
}

/// Whoever may write Tenants must not become the owner of what is in other people's namespaces.
#[tokio::test]
async fn an_existing_namespace_is_not_taken_over() {
    let consent = |owner: Option<&str>, allowed: Option<&str>| Consent {
        owner: owner.map(str::to_owned),
        allowed: allowed.map(str::to_owned),
    };
    let namespaces = [
        ("payments", consent(None, None)),
        ("rivals", consent(None, Some("rival"))),
        ("invited", consent(None, Some("new"))),
        ("open", consent(None, Some("*"))),
        ("owned", consent(Some("new"), None)),
        ("team-default", consent(None, None)),
    ];
    let namespaces = namespaces.map(|(name, consent)| (name.to_owned(), consent)).into();
    let lookup = FakeLookup { namespaces, ..FakeLookup::two_tenants() };
    for namespace in ["payments", "rivals"] {
        let command = format!("kubectl annotate namespace {namespace} enact.dev/allow-tenant=new");
        let parts = ["spec.namespaces[1]", command.as_str()];
        let new = tenant("new", &json!(["team-n", namespace]));
        assert_refused(admit(&lookup, &create(&new)).await, "invalid", &parts);
        let before = tenant("new", &json!(["team-n"]));
        assert_refused(admit(&lookup, &update(&before, &new)).await, "invalid", &parts);
    }
    let allowed = json!(["team-n", "invited", "open", "owned"]);
    assert_admitted(admit(&lookup, &create(&tenant("new", &allowed))).await);
    assert_admitted(admit(&lookup, &create(&tenant("default", &json!(["team-default"])))).await);
}

#[tokio::test]
async fn a_tenant_with_work_stays() {
    let acme = tenant("acme", &json!(["team-a", "team-b"]));
    assert_refused(admit(&busy(), &delete(&acme)).await, "forbidden", &["team-a/shop", "cannot be deleted", "cancel"]);
    assert_admitted(admit(&FakeLookup::two_tenants(), &delete(&acme)).await);
    // Of a collection, the request has no name.
    let unnamed = with(delete(&acme), "/request/name", json!(""));
    assert_refused(admit(&busy(), &unnamed).await, "forbidden", &["team-a/shop", "cannot be deleted"]);
    let less = tenant("acme", &json!(["team-b"]));
    assert_refused(admit(&busy(), &update(&acme, &less)).await, "forbidden", &["cannot be removed", "team-a/shop"]);
    let other = tenant("acme", &json!(["team-a"]));
    assert_admitted(admit(&busy(), &update(&acme, &other)).await);
    // The namespace belongs to the older of two Tenants that list it, so the younger one has no work there.
    let mut twice = busy();
    twice.claims.push(Claim { since: "2026-02-01T00:00:00Z".into(), ..claim("young", &["team-a"]) });
    assert_admitted(admit(&twice, &delete(&tenant("young", &json!(["team-a"])))).await);
    assert_refused(admit(&twice, &delete(&acme)).await, "forbidden", &["team-a/shop"]);
    let broken = FakeLookup { broken: true, ..busy() };
    assert_refused(admit(&broken, &delete(&acme)).await, "error", &["try again"]);
}

#[tokio::test]
async fn an_invalid_tenant_can_go_and_lose_its_finalizer() {
    let odd = with(tenant("odd", &json!("not a list")), "/spec/unknown", json!({}));
    assert_admitted(admit(&FakeLookup::two_tenants(), &delete(&odd)).await);
    let broken = FakeLookup { broken: true, ..busy() };
    let held = with(odd.clone(), "/metadata/finalizers", json!(["enact.dev/tenant"]));
    assert_admitted(admit(&broken, &update(&held, &odd)).await);
    assert_admitted(admit(&broken, &by(update(&held, &odd), crate::testing::OPERATOR)).await);
}

#[tokio::test]
async fn egress_names_ranges() {
    let egress = |cidr: &str| {
        with(tenant("new", &json!(["team-n"])), "/spec/isolation", json!({ "egress": [{ "cidr": cidr }] }))
    };
    let lookup = FakeLookup::two_tenants();
    assert_admitted(admit(&lookup, &create(&egress("203.0.113.0/24"))).await);
    assert_refused(
        admit(&lookup, &create(&egress("example.org"))).await,
        "invalid",
        &["spec.isolation.egress[0].cidr", "203.0.113.0/24"],
    );
}
