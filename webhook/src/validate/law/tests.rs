use enact_crds::common::NamespacedRef;
use enact_domain::rules::{Rule, Scope, Strength};
use serde_json::{Value, json};

use crate::testing::{Fixed, admit, assert_admitted, assert_refused, create, object, update, with};
use crate::world::Article;

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

/// Constitution `law` of `team-a` is in force with these rules; the Tenant names `platform/base`, which has one.
fn world(rules: Vec<Rule>) -> Fixed {
    let mut world = Fixed::two_tenants();
    world.articles.insert("team-a/law".into(), Article { rules, parent: None });
    let base = rule("a-title", Scope::Specification, Strength::Should, "specification.title != 'Shop'");
    world.articles.insert("platform/base".into(), Article { rules: vec![base], parent: None });
    world.root = Some(NamespacedRef { namespace: "platform".into(), name: "base".into() });
    world.existing = vec!["Constitution team-a/law".into()];
    world
}

fn specification(text: &str) -> Value {
    object("Specification", "shop", &json!({ "source": { "inline": text }, "constitutionRef": { "name": "law" } }))
}

fn constitution(rules: &Value) -> Value {
    let text = "# Team Constitution\n\n## Core Principles\n\n### I. Clear words\n\nTexts MUST be clear.\n\n\
                **Version**: 1.0.0 | **Ratified**: 2026-01-05 | **Last Amended**: 2026-01-05\n";
    object("Constitution", "own", &json!({ "source": { "inline": text }, "rules": rules }))
}

#[tokio::test]
async fn a_must_refuses_and_a_should_warns() {
    let world = world(vec![binding()]);
    let outcome = admit(&world, &create(&specification(FREE))).await;
    let told = ["spec.source", "binding-requirements", "I. Clear words", "what binding-requirements says", "FR-001"];
    assert_refused(outcome, "invalid", &told);
    let kept = specification(&FREE.replace("sells", "MUST sell"));
    let warnings = assert_admitted(admit(&world, &create(&kept)).await);
    assert!(warnings.iter().any(|w| w.contains("a-title")), "{warnings:?}");
    // What only says how the object is handled is not judged anew.
    let old = specification(FREE);
    assert_admitted(admit(&world, &update(&old, &with(old.clone(), "/spec/suspend", json!(true)))).await);
    // An answer changes the document: the operator judges what comes of it.
    let answered = with(old, "/spec/clarifications", json!([{ "question": "Q-1", "answer": "yes" }]));
    assert_admitted(admit(&world, &create(&answered)).await);
}

#[tokio::test]
async fn nothing_is_judged_by_what_is_not_in_force_or_by_what_one_object_does_not_show() {
    let mut unknown = world(vec![binding()]);
    unknown.articles.remove("team-a/law");
    assert_admitted(admit(&unknown, &create(&specification(FREE))).await);
    let more = rule("of-law", Scope::Specification, Strength::Must, "constitution.version == specification.title");
    assert_admitted(admit(&world(vec![more]), &create(&specification(FREE))).await);
    let broken = Fixed { broken: true, ..world(vec![binding()]) };
    assert_refused(admit(&broken, &create(&specification(FREE))).await, "error", &["try again"]);
}

#[tokio::test]
async fn a_constitution_has_rules_that_work_and_loosen_nothing() {
    let mut world = world(Vec::new());
    world.articles.get_mut("platform/base").unwrap().rules.push(binding());
    let own = |name: &str, expression: &str| json!([{ "name": name, "appliesTo": "Specification", "expression": expression, "message": "m" }]);
    assert_admitted(admit(&world, &create(&constitution(&own("new", "specification.title != ''")))).await);
    let typo = own("new", "specification.titel != ''");
    assert_refused(
        admit(&world, &create(&constitution(&typo))).await,
        "invalid",
        &["spec.rules[0].expression", "line 1", "titel", "title"],
    );
    let looser = own("binding-requirements", "true");
    assert_refused(
        admit(&world, &create(&constitution(&looser))).await,
        "invalid",
        &["spec.rules[0].expression", "binding-requirements"],
    );
    let itself = json!([{
        "name": "many", "appliesTo": "Constitution", "expression": "constitution.principles.size() > 3", "message": "too few"
    }]);
    assert_refused(admit(&world, &create(&constitution(&itself))).await, "invalid", &["rule many", "too few"]);
    let parent = with(constitution(&json!([])), "/spec/parentRef", json!({ "name": "other/law" }));
    assert_refused(admit(&world, &create(&parent)).await, "invalid", &["spec.parentRef.name", "another namespace"]);
}
