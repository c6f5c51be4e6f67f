use enact_domain::approval::Policy;
use serde_json::{Value, json};

use crate::testing::{
    ANN, CHANGES, CO_AUTHORS, FakeLookup, admit, assert_admitted, assert_refused, by, object, update, with,
};

const AUTHOR: &str = "/metadata/annotations/enact.dev~1author";

/// Returns a Plan by `bob` with this policy.
fn plan(approval: &Value) -> Value {
    let spec = json!({
        "agentRef": { "name": "coder" }, "tasks": [{ "id": "T001", "title": "a" }], "approval": approval,
    });
    with(object("Plan", "shop", &spec), AUTHOR, json!("bob@example.org"))
}

fn strict() -> Value {
    json!({ "required": 2, "groups": ["leads"], "fourEyes": true })
}

/// Returns the same Plan without a policy, as the mutating webhook stamps it for `user`.
fn loosened(user: &str) -> Value {
    loosened_to(&json!({ "required": 0 }), user)
}

/// Returns the same Plan with a looser policy, as the mutating webhook stamps it for `user`.
fn loosened_to(approval: &Value, user: &str) -> Value {
    let others = if user == "bob@example.org" { Value::Null } else { json!(r#"["bob@example.org"]"#) };
    changed(with(with(plan(approval), AUTHOR, json!(user)), CO_AUTHORS, others), user)
}

/// Returns the Plan with the stamp of a change of its policy.
fn changed(plan: Value, user: &str) -> Value {
    let change = json!({ "approval": { "by": user, "at": "2026-01-01T00:00:00Z" } });
    with(plan, CHANGES, json!(change.to_string()))
}

/// Returns lookups in which `ann`, a lead, and the author `bob` may create Approvals.
fn lookup() -> FakeLookup {
    FakeLookup { approvers: vec![ANN.into(), "bob@example.org".into()], ..FakeLookup::two_tenants() }
}

#[tokio::test]
async fn an_editor_cannot_loosen_a_policy() {
    let editor = FakeLookup { approvers: vec![], ..lookup() };
    let review = update(&plan(&strict()), &loosened(ANN));
    assert_refused(admit(&editor, &review).await, "forbidden", &["spec.approval", "may not create Approvals"]);
    assert_admitted(admit(&lookup(), &review).await);
}

#[tokio::test]
async fn the_author_and_outsiders_cannot_loosen_a_policy() {
    let outsider = by(update(&plan(&strict()), &loosened("eve")), "eve");
    let all = FakeLookup { approvers: vec!["eve".into()], ..lookup() };
    assert_refused(admit(&all, &outsider).await, "forbidden", &["spec.approval", "in none of the groups"]);
    let mut author = by(update(&plan(&strict()), &loosened("bob@example.org")), "bob@example.org");
    author["request"]["userInfo"]["groups"] = json!(["leads"]);
    assert_refused(admit(&all, &author).await, "forbidden", &["spec.approval", "four eyes"]);
}

#[tokio::test]
async fn only_who_counts_for_a_rule_about_findings_removes_it() {
    let lookup = FakeLookup { approvers: vec![ANN.into(), "sue".into()], ..lookup() };
    let rules = json!([{ "atLeast": "High", "required": 1, "groups": ["security"] }]);
    // No finding is open. Without groups, the policy itself admits everybody.
    for base in [json!({ "required": 1, "groups": ["leads"] }), json!({ "required": 0 })] {
        let before = plan(&with(base.clone(), "/withFindings", rules.clone()));
        let refused = admit(&lookup, &update(&before, &loosened_to(&base, ANN))).await;
        assert_refused(refused, "forbidden", &["spec.approval", "members of security", "none of the groups"]);
        let mut by_security = by(update(&before, &loosened_to(&base, "sue")), "sue");
        by_security["request"]["userInfo"]["groups"] = json!(["security"]);
        assert_admitted(admit(&lookup, &by_security).await);
    }
}

#[tokio::test]
async fn no_author_loosens_a_policy_with_four_eyes() {
    let with_agents = |plan: Value| with(plan, "/status", json!({ "agents": [{ "name": "coder", "author": ANN }] }));
    let (before, after) = (plan(&strict()), loosened(ANN));
    let of_the_agent = update(&with_agents(before.clone()), &with_agents(after.clone()));
    assert_refused(admit(&lookup(), &of_the_agent).await, "forbidden", &["spec.approval", "four eyes"]);
    let served = |plan: Value| {
        with(plan, "/status", json!({ "agents": [{ "name": "coder", "author": "bob", "providerAuthors": [ANN] }] }))
    };
    let of_the_provider = update(&served(before.clone()), &served(after.clone()));
    assert_refused(admit(&lookup(), &of_the_provider).await, "forbidden", &["spec.approval", "four eyes"]);
    let planned = |plan: Value| with(plan, "/status", json!({ "generated": { "agent": "a", "authors": [ANN] } }));
    let of_the_planner = update(&planned(before.clone()), &planned(after.clone()));
    assert_refused(admit(&lookup(), &of_the_planner).await, "forbidden", &["spec.approval", "four eyes"]);
    // She wrote content before bob did.
    let former = update(&with(before, CO_AUTHORS, json!(format!(r#"["{ANN}"]"#))), &after);
    assert_refused(admit(&lookup(), &former).await, "forbidden", &["spec.approval", "four eyes"]);
}

#[tokio::test]
async fn everybody_can_tighten_a_policy() {
    let editor = FakeLookup { approvers: vec![], ..lookup() };
    let tighter = plan(&json!({ "required": 3, "groups": ["leads"], "fourEyes": true }));
    assert_admitted(admit(&editor, &update(&plan(&strict()), &changed(tighter, ANN))).await);
    assert_admitted(admit(&editor, &update(&plan(&json!({})), &changed(plan(&strict()), ANN))).await);
}

#[tokio::test]
async fn nobody_can_write_who_changed_a_policy() {
    let before = changed(plan(&strict()), "lee");
    let refused = ["metadata.annotations[enact.dev/changes]"];
    for (old, new) in [
        (plan(&strict()), changed(plan(&strict()), "boss")),
        (before.clone(), changed(plan(&strict()), "boss")),
        (before.clone(), plan(&strict())),
        (before.clone(), changed(plan(&json!({ "required": 5, "groups": ["leads"], "fourEyes": true })), "lee")),
    ] {
        // As if the mutating webhook had not been called.
        let mut review = update(&old, &new);
        review["request"]["object"] = new;
        assert_refused(admit(&lookup(), &review).await, "forbidden", &refused);
    }
}

/// Returns an object whose policy requires a lead, with a constitution in this field.
fn bound(kind: &str, field: &str, constitution: Option<&str>) -> Value {
    let source = json!({ "configMapKeyRef": { "name": "documents", "key": "text.md" } });
    let spec = json!({ "source": source, "approval": { "required": 1, "groups": ["leads"] } });
    let reference = constitution.map_or(Value::Null, |name| json!({ "name": name }));
    with(object(kind, "shop", &spec), &format!("/spec/{field}"), reference)
}

/// The digest that people approve does not cover the name of the constitution.
#[tokio::test]
async fn only_who_may_approve_takes_an_object_out_of_its_constitution() {
    for (kind, field) in [("Specification", "constitutionRef"), ("Constitution", "parentRef")] {
        let (path, field_path) = (format!("{kind} team-a/shop"), format!("spec.{field}"));
        let at = field_path.as_str();
        let required = |group: &str| Policy { required: 1, groups: vec![group.to_owned()], ..Policy::default() };
        let lead = lookup().with_subject(&path, "text", required("leads"));
        let editor = FakeLookup { approvers: vec![], ..lead.clone() };
        let stored = bound(kind, field, Some("strict"));
        for after in [None, Some("lax")] {
            let review = update(&stored, &bound(kind, field, after));
            assert_refused(admit(&editor, &review).await, "forbidden", &[at, "may not create Approvals"]);
            assert_admitted(admit(&lead, &review).await);
        }
        // The Tenant's minimum counts too, with a policy of the object and without one.
        for own in [required("leads"), Policy::default()] {
            let policy = own.with_minimum(Some(required("security")));
            let lookup = lookup().with_subject(&path, "text", policy);
            let review = update(&stored, &bound(kind, field, None));
            assert_refused(admit(&lookup, &review).await, "forbidden", &[at, "members of security"]);
        }
        // A constitution more binds the object more.
        assert_admitted(admit(&editor, &update(&bound(kind, field, None), &stored)).await);
    }
}
