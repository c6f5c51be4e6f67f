//! Plans before their start: which requirements they cover, and which rules they violate.

use serde_json::{Value, json};

use crate::testing::Bench;

const CONSTITUTION: &str = "# Shop Constitution\n\n## Core Principles\n\n### I. Test First\n\nEvery change MUST have a test.\n\n**Version**: 1.0.0\n";

const SPEC: &str = "# Feature Specification: Keys\n\n## Requirements\n\n### Functional Requirements\n\n- **FR-001**: The list MUST show every key.\n\
    - **FR-002**: Alarms MUST sound when doors stand open.\n- **FR-003**: The list MUST be sorted.\n\
    - **FR-004**: The list MUST be short.\n";

async fn bench(rules: Value) -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.tenant_with("platform", json!({"namespaces": ["platform"]}));
    let base = json!({"namespace": "platform", "name": "base"});
    bench.tenant_with("team", json!({"namespaces": ["ns"], "constitutionRef": base}));
    let meta = |name: &str, namespace: &str| json!({"name": name, "namespace": namespace, "generation": 1});
    let api = "enact.dev/v1alpha1";
    bench.api.put(
        "constitutions/base",
        json!({"apiVersion": api, "kind": "Constitution", "metadata": meta("base", "platform"),
            "spec": {"source": {"inline": CONSTITUTION}, "rules": rules}}),
    );
    bench.api.put(
        "specifications/keys",
        json!({"apiVersion": api, "kind": "Specification", "metadata": meta("keys", "ns"), "spec": {"source": {"inline": SPEC}}}),
    );
    let task = json!({"id": "T001", "title": "Show the list (FR-001, FR-003–FR-004)", "script": "true"});
    let spec = json!({"agentRef": {"name": "scripts"}, "specificationRef": {"name": "keys"}, "tasks": [task]});
    bench.put_plan("p", &spec);
    bench.plan("p").await.unwrap();
    bench.constitution("base").await.unwrap();
    bench.specification("keys").await.unwrap();
    bench.settle().await;
    bench
}

fn status(bench: &Bench) -> Value {
    bench.api.get("plans/p")["status"].clone()
}

fn ready(bench: &Bench) -> (String, String) {
    let ready = status(bench)["conditions"][0].clone();
    (ready["reason"].as_str().unwrap().to_owned(), ready["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_plan_that_violates_a_rule_does_not_start() {
    let rule = |name: &str, scope: &str, expression: &str, severity: &str| json!({"name": name, "appliesTo": scope, "expression": expression, "message": format!("mind {name}"), "severity": severity});
    let rules = json!([
        rule("gates", "Task", "task.gates.size() > 0", "MUST"),
        rule("decisions", "Plan", "plan.decisions.size() > 0", "SHOULD"),
        rule("named", "Plan", "specification.requirements.size() == 4", "MUST"),
    ]);
    let mut bench = bench(rules).await;
    let (reason, message) = ready(&bench);
    assert_eq!(reason, "ConstitutionViolated");
    assert!(message.contains("task T001 violates rule gates: mind gates"), "{message}");
    let shown = status(&bench);
    assert_eq!(shown["coverage"], json!({"requirements": 4, "covered": 3, "uncovered": ["FR-002"]}));
    let findings: Vec<(&str, &str)> = shown["topFindings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["severity"].as_str().unwrap(), f["category"].as_str().unwrap()))
        .collect();
    assert_eq!(findings[0], ("Critical", "Constitution"));
    assert!(findings.contains(&("Medium", "Constitution")), "{findings:?}");
    assert!(findings.iter().any(|(_, category)| *category == "Coverage"), "{findings:?}");
    assert!(!bench.api.has("tasks/p-t001"), "no task is created");

    let task = json!({"id": "T001", "title": "Show the list (FR-001, FR-003–FR-004)", "script": "true", "gates": [{"name": "test", "script": "true"}]});
    bench.api.change("plans/p", &json!({"metadata": {"generation": 2}, "spec": {"tasks": [task]}}));
    bench.plan("p").await.unwrap();
    assert_eq!(ready(&bench).0, "Running");
    let kept = status(&bench);
    assert_eq!(kept["coverage"]["covered"], 3);
    assert!(kept["topFindings"].as_array().is_some_and(|all| !all.is_empty()), "the findings stay");
}

#[tokio::test]
async fn a_plan_waits_for_the_constitution_of_its_tenant() {
    let mut bench = bench(json!([])).await;
    assert_eq!(ready(&bench).0, "Running");
    let impact = bench.api.get("constitutions/base")["status"]["impact"].clone();
    assert_eq!((&impact["plans"], &impact["some"]), (&json!(1), &json!(["Specification ns/keys", "Plan ns/p"])));

    let mut other = bench.api.get("plans/p");
    other["metadata"] = json!({"name": "q", "namespace": "ns", "generation": 1});
    other["status"] = Value::Null;
    other["spec"]["specificationRef"] = Value::Null;
    bench.api.put("plans/q", other);
    bench.api.change("constitutions/base", &json!({"metadata": {"generation": 2}, "spec": {"rules": [{"name": "x", "appliesTo": "Plan", "expression": "(", "message": "x"}]}}));
    bench.constitution("base").await.unwrap();
    bench.plan("q").await.unwrap();
    let ready = bench.api.get("plans/q")["status"]["conditions"][0].clone();
    assert_eq!(ready["reason"], "WaitingForConstitution", "a plan without specification is governed too: {ready}");
}

#[tokio::test]
async fn a_costly_rule_stops_once_and_others_see_every_task() {
    // The possible cost counts: the second operand visits every pair of tasks, and is never evaluated.
    let costly = "has(task.id) || plan.tasks.all(a, plan.tasks.exists(b, a.id == b.id))";
    let rule = |name: &str, expression: &str, severity: &str| json!({"name": name, "appliesTo": "Task", "expression": expression, "message": format!("mind {name}"), "severity": severity});
    let rules =
        json!([rule("costly", costly, "MUST"), rule("gates", "task.gates.size() > 0 || task.id != 'T499'", "SHOULD")]);
    let mut bench = bench(rules).await;
    assert_eq!(ready(&bench).0, "Running", "one task costs little");

    let tasks: Vec<Value> =
        (0..500).map(|i| json!({"id": format!("T{i:03}"), "title": "t", "script": "true"})).collect();
    let mut other = bench.api.get("plans/p");
    other["metadata"] = json!({"name": "q", "namespace": "ns", "generation": 1});
    other["status"] = Value::Null;
    other["spec"]["tasks"] = json!(tasks);
    bench.api.put("plans/q", other);
    bench.plan("q").await.unwrap();
    let status = bench.api.get("plans/q")["status"].clone();
    let ready = &status["conditions"][0];
    let message = ready["message"].as_str().unwrap();
    assert_eq!(ready["reason"], "ConstitutionViolated", "{message}");
    assert!(message.contains("rule costly") && message.contains("more than 50000000 units"), "{message}");
    let messages = |code: &str| {
        let of_code = |f: &&Value| f["code"] == code;
        let all = status["topFindings"].as_array().unwrap().iter().filter(of_code);
        all.map(|f| f["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        messages("RuleFailed"),
        [message.strip_suffix("; change the document, or amend the constitution that has the rule").unwrap()]
    );
    assert_eq!(messages("RuleBroken").len(), 1, "the other rule evaluates the last task: {:?}", messages("RuleBroken"));
    assert!(messages("RuleBroken")[0].starts_with("task T499 violates rule gates"), "{:?}", messages("RuleBroken"));
}

#[tokio::test]
async fn accepted_findings_about_coverage_are_counted_apart() {
    let rule =
        json!({"name": "gates", "appliesTo": "Task", "expression": "task.gates.size() > 0", "message": "mind gates"});
    let mut bench = bench(json!([rule])).await;
    let codes = |status: &Value| -> Vec<String> {
        let all = status["topFindings"].as_array().into_iter().flatten();
        all.map(|f| f["code"].as_str().unwrap().to_owned()).collect()
    };
    let before = status(&bench);
    assert!(codes(&before).contains(&"RequirementWithoutTask".to_owned()), "{before}");

    let accepted = json!([
        {"code": "RequirementWithoutTask", "at": "FR-002", "reason": "the alarms are bought"},
        {"code": "UnknownIdInTask", "at": "US9", "reason": "there is no such story"},
        {"code": "RuleBroken", "at": "gates", "reason": "a rule is not accepted here"},
    ]);
    bench.api.change("plans/p", &json!({"metadata": {"generation": 2}, "spec": {"accepted": accepted}}));
    bench.plan("p").await.unwrap();
    let after = status(&bench);
    assert_eq!((&after["acceptedFindings"], ready(&bench).0.as_str()), (&json!(1), "ConstitutionViolated"));
    let left = codes(&after);
    assert!(
        !left.contains(&"RequirementWithoutTask".to_owned()) && left.contains(&"RuleBroken".to_owned()),
        "{left:?}"
    );
    assert_eq!(left.iter().filter(|code| *code == "UnusedAcceptance").count(), 2, "{left:?}");
    assert_eq!(after["coverage"], before["coverage"], "the requirement has no task");
    assert_ne!(after["digest"], before["digest"], "an approval covers what is accepted");
}

#[tokio::test]
async fn four_eyes_need_an_author() {
    let mut bench = bench(json!([])).await;
    let tasks = "# Tasks: Keys\n\n## Phase 1: A\n\n- [ ] T001 Show the list (FR-001)\n";
    let map = json!({"metadata": {"name": "docs", "namespace": "ns"}, "data": {"tasks.md": tasks}});
    bench.api.put("configmaps/docs", map);
    bench.agent_with("scripts", json!({"adapter": "Command", "script": "true"}));
    let source = json!({"configMapKeyRef": {"name": "docs", "key": "tasks.md"}});
    let approval = json!({"required": 1, "fourEyes": true});
    bench.put_plan("q", &json!({"agentRef": {"name": "scripts"}, "source": source, "approval": approval}));
    bench.plan("q").await.unwrap();
    let ready = bench.api.get("plans/q")["status"]["conditions"][0].clone();
    assert_eq!(ready["reason"], "AuthorUnknown", "{ready}");
    assert!(ready["message"].as_str().unwrap().starts_with("spec.source.configMapKeyRef: "), "{ready}");
}

#[tokio::test]
async fn lines_that_a_plan_leaves_out_are_findings() {
    // It keeps the plan from its start.
    let unmet =
        json!({"name": "gates", "appliesTo": "Task", "expression": "task.gates.size() > 0", "message": "mind gates"});
    let mut bench = bench(json!([unmet])).await;
    bench.agent_with("scripts", json!({"adapter": "Command", "script": "true"}));
    let text = "# Tasks: Keys\n\n## Phase 1: Setup\n\n- [ ] T001 Show the list (FR-001)\n\n> - [ ] T002 Add an alarm\n";
    let spec = json!({"tasks": null, "source": {"inline": text}, "unreadTasks": "Warn"});
    bench.api.change("plans/p", &json!({"metadata": {"generation": 2}, "spec": spec}));
    bench.plan("p").await.unwrap();
    let status = status(&bench);
    let unread = status["topFindings"].as_array().unwrap().iter().find(|f| f["code"] == "UnreadTask");
    let unread = unread.unwrap_or_else(|| panic!("{status:#}"));
    assert_eq!((&unread["line"], &unread["severity"]), (&json!(7), &json!("Medium")));
}
