use serde_json::{Value, json};

use super::is_cidr;
use crate::testing::{Fixed, admit, assert_admitted, assert_refused, by, claim, create, delete, update, with};
use crate::world::Claim;

fn tenant(name: &str, namespaces: &Value) -> Value {
    json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
        "spec": { "namespaces": namespaces },
    })
}

fn busy() -> Fixed {
    Fixed { unfinished: vec!["team-a/shop".into()], ..Fixed::two_tenants() }
}

#[tokio::test]
async fn namespaces_belong_to_one_tenant() {
    let world = Fixed::two_tenants();
    assert_admitted(admit(&world, &create(&tenant("new", &json!(["team-n"])))).await);
    assert_admitted(admit(&world, &create(&tenant("default", &json!(["team-default"])))).await);
    for (namespaces, parts) in [
        (json!(["team-n", "team-a"]), &["spec.namespaces[1]", "Tenant acme already"][..]),
        (json!(["kube-system"]), &["spec.namespaces[0]", "the cluster itself"]),
        (json!(["enact"]), &["the installation"]),
        (json!(["team-n", "team-n"]), &["listed twice"]),
        (json!(["team-default"]), &["default tenant", "values"]),
    ] {
        assert_refused(admit(&world, &create(&tenant("new", &namespaces))).await, "invalid", parts);
    }
    let broken = Fixed { broken: true, ..world };
    assert_refused(admit(&broken, &create(&tenant("new", &json!(["team-n"])))).await, "error", &["try again"]);
}

#[tokio::test]
async fn a_tenant_with_work_stays() {
    let acme = tenant("acme", &json!(["team-a", "team-b"]));
    assert_refused(admit(&busy(), &delete(&acme)).await, "forbidden", &["team-a/shop", "cannot be deleted", "cancel"]);
    assert_admitted(admit(&Fixed::two_tenants(), &delete(&acme)).await);
    let less = tenant("acme", &json!(["team-b"]));
    assert_refused(admit(&busy(), &update(&acme, &less)).await, "forbidden", &["cannot be taken out", "team-a/shop"]);
    let other = tenant("acme", &json!(["team-a"]));
    assert_admitted(admit(&busy(), &update(&acme, &other)).await);
    // Another Tenant that names the namespace too, but is younger, has no work there.
    let mut twice = busy();
    twice.claims.push(Claim { since: "2026-02-01T00:00:00Z".into(), ..claim("young", &["team-a"]) });
    assert_admitted(admit(&twice, &delete(&tenant("young", &json!(["team-a"])))).await);
    assert_refused(admit(&twice, &delete(&acme)).await, "forbidden", &["team-a/shop"]);
    let broken = Fixed { broken: true, ..busy() };
    assert_refused(admit(&broken, &delete(&acme)).await, "error", &["try again"]);
}

#[tokio::test]
async fn an_invalid_tenant_can_go_and_lose_its_finalizer() {
    let odd = with(tenant("odd", &json!("not a list")), "/spec/unknown", json!({}));
    assert_admitted(admit(&Fixed::two_tenants(), &delete(&odd)).await);
    let broken = Fixed { broken: true, ..busy() };
    let held = with(odd.clone(), "/metadata/finalizers", json!(["enact.dev/tenant"]));
    assert_admitted(admit(&broken, &update(&held, &odd)).await);
    assert_admitted(admit(&broken, &by(update(&held, &odd), crate::testing::OPERATOR)).await);
}

#[tokio::test]
async fn egress_names_ranges() {
    let egress = |cidr: &str| {
        with(tenant("new", &json!(["team-n"])), "/spec/isolation", json!({ "egress": [{ "cidr": cidr }] }))
    };
    let world = Fixed::two_tenants();
    assert_admitted(admit(&world, &create(&egress("203.0.113.0/24"))).await);
    assert_refused(
        admit(&world, &create(&egress("example.org"))).await,
        "invalid",
        &["spec.isolation.egress[0].cidr", "203.0.113.0/24"],
    );
    assert!(is_cidr("2001:db8::/32") && is_cidr("::/0"));
    assert!(!is_cidr("1.2.3.4/33") && !is_cidr("1.2.3.4") && !is_cidr("/8") && !is_cidr("::/129"));
}
