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
