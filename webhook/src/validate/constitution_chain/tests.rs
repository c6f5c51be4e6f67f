use enact_crds::common::NamespacedRef;
use enact_domain::rules::{Rule, Scope, Strength};
use enact_domain::stamps::{Stamp, Stamps};
use serde_json::{Value, json};

use crate::testing::{ANN, FakeLookup, admit, assert_admitted, assert_refused, create, object, update, with};

const FREE: &str = "# Feature Specification: Shop\n\n## Requirements\n\n- **FR-001**: The shop sells.\n";

fn rule(name: &str, scope: Scope, strength: Strength, expression: &str) -> Rule {
    Rule {
        name: name.into(),
        scope,
        expression: expression.into(),
        message: format!("what {name} says"),
        strength,
        principle: Some("I. Clear words".into()),
    }
}

fn binding() -> Rule {
    let all = "specification.requirements.all(r, r.text.contains('MUST'))";
    rule("binding-requirements", Scope::Specification, Strength::Must, all)
}

/// Returns lookups in which constitution `main` of `team-a` is effective with these rules. The Tenant refers to `platform/base`, which
/// has one rule.
fn lookup(rules: Vec<Rule>) -> FakeLookup {
    let mut lookup = FakeLookup::two_tenants();
    lookup.constitutions.insert("team-a/main".into(), (rules, None));
    let base = rule("a-title", Scope::Specification, Strength::Should, "specification.title != 'Shop'");
    lookup.constitutions.insert("platform/base".into(), (vec![base], None));
    lookup.tenant_constitutions.insert("team-a".into(), NamespacedRef::new("platform", "base"));
    lookup.existing = vec!["Constitution team-a/main".into()];
    lookup
}

fn specification(text: &str) -> Value {
    object("Specification", "shop", &json!({ "source": { "inline": text }, "constitutionRef": { "name": "main" } }))
}

fn constitution(rules: &Value) -> Value {
    let text = "# Team Constitution\n\n## Core Principles\n\n### I. Clear words\n\nTexts MUST be clear.\n\n\
                **Version**: 1.0.0 | **Ratified**: 2026-01-05 | **Last Amended**: 2026-01-05\n";
    object("Constitution", "own", &json!({ "source": { "inline": text }, "rules": rules }))
}

#[tokio::test]
async fn a_must_refuses_and_a_should_warns() {
    let lookup = lookup(vec![binding()]);
    let outcome = admit(&lookup, &create(&specification(FREE))).await;
    let parts = ["spec.source", "binding-requirements", "I. Clear words", "what binding-requirements says", "FR-001"];
    assert_refused(outcome, "invalid", &parts);
    let kept = specification(&FREE.replace("sells", "MUST sell"));
    let warnings = assert_admitted(admit(&lookup, &create(&kept)).await);
    assert!(warnings.iter().any(|w| w.contains("a-title")), "{warnings:?}");
    // Changes that do not affect the document are not evaluated against the rules.
    let old = specification(FREE);
    assert_admitted(admit(&lookup, &update(&old, &with(old.clone(), "/spec/suspend", json!(true)))).await);
    // An answer changes the document, and the operator evaluates the result.
    let answered = with(old, "/spec/clarifications", json!([{ "question": "Q-1", "answer": "yes" }]));
    let mut stamps = Stamps::default();
    stamps.insert(&["Q-1", "yes"], Stamp { by: ANN.into(), date: "2026-11-25".into() });
    let answered = with(answered, "/metadata/annotations/enact.dev~1answers", json!(stamps.format()));
    assert_admitted(admit(&lookup, &create(&answered)).await);
}

#[tokio::test]
async fn skips_rules_that_are_not_in_force_or_need_more() {
    let mut unknown = lookup(vec![binding()]);
    unknown.constitutions.remove("team-a/main");
    assert_admitted(admit(&unknown, &create(&specification(FREE))).await);
    let more = rule("of-main", Scope::Specification, Strength::Must, "constitution.version == specification.title");
    assert_admitted(admit(&lookup(vec![more]), &create(&specification(FREE))).await);
    let broken = FakeLookup { broken: true, ..lookup(vec![binding()]) };
    assert_refused(admit(&broken, &create(&specification(FREE))).await, "error", &["try again"]);
}

#[tokio::test]
async fn rules_compile_and_loosen_nothing() {
    let mut lookup = lookup(Vec::new());
    lookup.constitutions.get_mut("platform/base").unwrap().0.push(binding());
    let own = |name: &str, expression: &str| json!([{ "name": name, "appliesTo": "Specification", "expression": expression, "message": "m" }]);
    assert_admitted(admit(&lookup, &create(&constitution(&own("new", "specification.title != ''")))).await);
    let typo = own("new", "specification.titel != ''");
    assert_refused(
        admit(&lookup, &create(&constitution(&typo))).await,
        "invalid",
        &["spec.rules[0].expression", "line 1", "titel", "title"],
    );
    let looser = own("binding-requirements", "true");
    assert_refused(
        admit(&lookup, &create(&constitution(&looser))).await,
        "invalid",
        &["spec.rules[0].expression", "binding-requirements"],
    );
    let itself = json!([{
        "name": "many", "appliesTo": "Constitution", "expression": "constitution.principles.size() > 3", "message": "too few"
    }]);
    assert_refused(admit(&lookup, &create(&constitution(&itself))).await, "invalid", &["rule many", "too few"]);
    let parent = with(constitution(&json!([])), "/spec/parentRef", json!({ "name": "other/main" }));
    assert_refused(admit(&lookup, &create(&parent)).await, "invalid", &["spec.parentRef.name", "another namespace"]);
}

/// Checks that the stored rules of a constitution are not inherited by its next version.
#[tokio::test]
async fn a_tenants_constitution_can_change_its_own_rules() {
    let mut lookup = lookup(Vec::new());
    let rules = |expression: &str| json!([{ "name": "own", "appliesTo": "Specification", "expression": expression, "message": "m" }]);
    let own =
        Rule { message: "m".into(), principle: None, ..rule("own", Scope::Specification, Strength::Must, "true") };
    lookup.constitutions.insert("team-a/own".into(), (vec![own], None));
    lookup.tenant_constitutions.insert("team-a".into(), NamespacedRef::new("team-a", "own"));
    let changed = constitution(&rules("specification.title != ''"));
    assert_admitted(admit(&lookup, &update(&constitution(&rules("true")), &changed)).await);
}

/// Checks that the chain includes the constitution of the namespace `platform`, because `team-a` inherits from `platform/base`.
#[tokio::test]
async fn tenants_of_inherited_constitutions_bind_too() {
    let mut lookup = lookup(Vec::new());
    lookup.constitutions.insert("company/root".into(), (vec![binding()], None));
    lookup.tenant_constitutions.insert("platform".into(), NamespacedRef::new("company", "root"));
    let outcome = admit(&lookup, &create(&specification(FREE))).await;
    assert_refused(outcome, "invalid", &["spec.source", "binding-requirements"]);
}
