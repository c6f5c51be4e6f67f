use enact_domain::digest::Digest;
use enact_domain::stamps::{Stamp, Stamps};
use serde_json::{Value, json};

use crate::testing::{ANN, FakeLookup, admit, assert_admitted, assert_refused, create, object, update, with};

fn plan(tasks: &Value) -> Value {
    object("Plan", "shop", &json!({ "agentRef": { "name": "coder" }, "tasks": tasks }))
}

fn chain() -> Value {
    json!([{ "id": "T001", "title": "a" }, { "id": "T002", "title": "b", "dependsOn": ["T001"] }])
}

fn written(text: &str) -> Value {
    object("Plan", "shop", &json!({ "agentRef": { "name": "coder" }, "source": { "inline": text } }))
}

fn lookup() -> FakeLookup {
    FakeLookup { existing: vec!["Agent team-a/coder".into()], ..FakeLookup::two_tenants() }
}

#[tokio::test]
async fn a_graph_that_can_be_run_is_admitted() {
    assert_eq!(assert_admitted(admit(&lookup(), &create(&plan(&chain()))).await), Vec::<String>::new());
}

#[tokio::test]
async fn an_agent_that_is_still_missing_is_only_a_warning() {
    let warnings = assert_admitted(admit(&FakeLookup::two_tenants(), &create(&plan(&chain()))).await);
    assert!(warnings.len() == 1 && warnings[0].contains("no Agent coder in namespace team-a"), "{warnings:?}");
}

#[tokio::test]
async fn scripts_from_windows_are_a_warning() {
    let script = "echo hi > result.txt\r\n";
    let measured = json!({ "bestOf": 2, "measurements": [{ "name": "m", "script": script }] });
    let gates = json!([{ "name": "g", "script": script }]);
    let tasks = json!([{ "id": "T001", "title": "a", "script": script, "gates": gates, "attempts": measured }]);
    let warnings = assert_admitted(admit(&lookup(), &create(&plan(&tasks))).await);
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    let fields = "spec.tasks[0].script, spec.tasks[0].gates[0].script, spec.tasks[0].attempts.measurements[0].script";
    for part in [fields, "CRLF", "runs with those of Unix"] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
}

#[tokio::test]
async fn a_pool_names_agents_of_the_namespace() {
    let pool = |names: &[&str]| {
        let agents: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
        object("Plan", "shop", &json!({ "agents": agents, "tasks": chain() }))
    };
    let warnings = assert_admitted(admit(&lookup(), &create(&pool(&["coder", "writer"]))).await);
    assert!(warnings.len() == 1 && warnings[0].contains("spec.agents[1]: there is no Agent writer"), "{warnings:?}");
    let refused = admit(&lookup(), &create(&pool(&["coder", "team-b/coder"]))).await;
    assert_refused(refused, "invalid", &["spec.agents[1].name", "same namespace"]);
}

#[tokio::test]
async fn the_replaced_plan_is_one_of_the_namespace() {
    let replaces = |name: &str| {
        let spec = json!({ "agentRef": { "name": "coder" }, "tasks": chain(), "replaces": { "name": name } });
        object("Plan", "shop-2", &spec)
    };
    let warnings = assert_admitted(admit(&lookup(), &create(&replaces("shop"))).await);
    let missing = "spec.replaces.name: there is no Plan shop in namespace team-a";
    assert!(warnings.len() == 1 && warnings[0].contains(missing), "{warnings:?}");
    let refused = admit(&lookup(), &create(&replaces("team-b/shop"))).await;
    assert_refused(refused, "invalid", &["spec.replaces.name", "same namespace"]);
}

#[tokio::test]
async fn competing_attempts_are_checked() {
    let contest = |attempts: Value, external: bool| {
        plan(&json!([{ "id": "T001", "title": "a", "attempts": attempts, "externalEffect": external }]))
    };
    let measurement = json!({ "name": "p95", "script": "./bench" });
    let good = json!({ "bestOf": 2, "agents": ["coder", "writer"], "measurements": [measurement] });
    let warnings = assert_admitted(admit(&lookup(), &create(&contest(good.clone(), false))).await);
    let missing = "spec.tasks[0].attempts.agents[1]: there is no Agent writer";
    assert!(warnings.len() == 1 && warnings[0].contains(missing), "{warnings:?}");
    let twice = json!({ "bestOf": 2, "measurements": [measurement, measurement] });
    let elsewhere = json!({ "bestOf": 2, "agents": ["team-b/coder"] });
    let cases = [
        (good, true, &["spec.tasks[0].attempts", "externalEffect", "remove one"][..]),
        (json!({ "bestOf": 1 }), false, &["spec.tasks[0].attempts", "bestOf is 1; use 2 to 9"]),
        (twice, false, &["has p95 twice; give each measurement its own name"]),
        (elsewhere, false, &["spec.tasks[0].attempts.agents[0]", "same namespace"]),
    ];
    for (attempts, external, parts) in cases {
        assert_refused(admit(&lookup(), &create(&contest(attempts, external))).await, "invalid", parts);
    }
}

#[tokio::test]
async fn graphs_that_cannot_be_run_are_refused() {
    let cases = [
        (
            json!([{ "id": "a", "title": "a", "dependsOn": ["b"] }, { "id": "b", "title": "b", "dependsOn": ["a"] }]),
            &["spec.tasks[0].dependsOn", "a → b → a", "remove one"][..],
        ),
        (json!([{ "id": "a", "title": "a", "dependsOn": ["x"] }]), &["spec.tasks[0].dependsOn", "depends on x"]),
        (json!([{ "id": "a", "title": "a" }, { "id": "a", "title": "b" }]), &["spec.tasks[1].id", "declared twice"]),
        (
            json!([{ "id": "T1a", "title": "a" }, { "id": "T1A", "title": "b" }, { "id": "t1a", "title": "c" }]),
            &["spec.tasks[2].id", "both become Task shop-t1a", "another id"],
        ),
    ];
    for (tasks, parts) in cases {
        assert_refused(admit(&lookup(), &create(&plan(&tasks))).await, "invalid", parts);
    }
}

#[tokio::test]
async fn a_written_plan_is_read() {
    let good = "# Tasks: Shop\n\n## Phase 1: Setup\n\n- [ ] T001 Make the project\n- [ ] T002 [P] Add a linter\n";
    assert_admitted(admit(&lookup(), &create(&written(good))).await);
    let cycle =
        "# Tasks: Shop\n\n## Phase 1: Setup\n\n- [ ] T001 A (depends on T002)\n- [ ] T002 B (depends on T001)\n";
    assert_refused(
        admit(&lookup(), &create(&written(cycle))).await,
        "invalid",
        &["spec.source.inline", "line 5: tasks wait for each other", "T001 waits for T002 (line 5)"],
    );
    for (text, parts) in [
        ("", &["spec.source.inline", "line 1", "empty"][..]),
        ("nothing to do", &["line 1: no task was found", "write tasks as"]),
        ("- [ ] T001 a\n- [ ] T001 b\n", &["line 2", "T001"]),
        ("\0\0", &["NUL"]),
    ] {
        assert_refused(admit(&lookup(), &create(&written(text))).await, "invalid", parts);
    }
    let huge = format!("- [ ] T001 {}\n", "x".repeat(1 << 20));
    assert_refused(admit(&lookup(), &create(&written(&huge))).await, "invalid", &["at most 1048576"]);
}

/// Checks that a dependency on a completed task counts as dependencies on the dependencies of that task, as in the operator.
#[tokio::test]
async fn edges_through_completed_tasks_count() {
    let text = "# Tasks: Shop\n\n## Phase 1: Setup\n\n- [ ] T001 A (depends on T002)\n- [x] T002 B (depends on T003)\n\
                - [ ] T003 C (depends on T001)\n";
    assert_refused(
        admit(&lookup(), &create(&written(text))).await,
        "invalid",
        &[
            "spec.source.inline",
            "line 5: tasks wait for each other",
            "T001 waits for T002 (line 5), T002 waits for T003",
        ],
    );
}

/// Checks that a plan whose tasks are all completed is admitted, because a GitOps tool that applies it must not fail.
#[tokio::test]
async fn a_plan_without_open_tasks_is_only_a_warning() {
    let done = "# Tasks: Shop\n\n## Phase 1: Setup\n\n- [x] T001 Make the project\n";
    let warnings = assert_admitted(admit(&lookup(), &create(&written(done))).await);
    assert!(warnings.len() == 1 && warnings[0].contains("no open task"), "{warnings:?}");
}

#[tokio::test]
async fn git_names_cannot_be_options() {
    let workspace = |field: &str, value: &str| {
        let space = json!({ "url": "https://git.example.org/a.git", "revision": "main" });
        with(plan(&chain()), "/spec/workspace", with(space, field, json!(value)))
    };
    assert_admitted(admit(&lookup(), &create(&workspace("/revision", "v1.2"))).await);
    for (field, value, part) in [
        ("/url", "ext::sh -c id", "spec.workspace.url"),
        ("/url", "https://user:pw@example.org/a", "credentialsSecretRef"),
        ("/revision", "--upload-pack=x", "taken for an option"),
        ("/integration/branch", "-b", "spec.workspace.integration.branch"),
        ("/integration/credentialsSecretRef/name", "../../kube-system/x", "same namespace"),
        ("/credentialsSecretRef/name", "UPPER", "lower-case"),
    ] {
        assert_refused(admit(&lookup(), &create(&workspace(field, value))).await, "invalid", &[part]);
    }
}

#[tokio::test]
async fn references_stay_in_the_namespace() {
    for (field, value) in [
        ("/spec/agentRef/name", "team-b/coder"),
        ("/spec/specificationRef/name", "team-b/shop"),
        ("/spec/tasks/1/agentRef/name", "../coder"),
    ] {
        let plan = with(plan(&chain()), field, json!(value));
        assert_refused(admit(&lookup(), &create(&plan)).await, "invalid", &["same namespace"]);
    }
}

/// Checks that a plan which an earlier, less strict release admitted can be suspended and cancelled.
#[tokio::test]
async fn a_plan_that_is_wrong_can_still_be_stopped() {
    let wrong = plan(&json!([{ "id": "a", "title": "a", "dependsOn": ["a"] }]));
    for (field, value) in [("/spec/suspend", json!(true)), ("/spec/cancel", json!(true))] {
        assert_admitted(admit(&lookup(), &update(&wrong, &with(wrong.clone(), field, value))).await);
    }
    let changed = with(wrong.clone(), "/spec/tasks/0/title", json!("b"));
    assert_refused(admit(&lookup(), &update(&wrong, &changed)).await, "invalid", &["spec.tasks[0].dependsOn"]);
}

#[tokio::test]
async fn a_started_plan_keeps_its_content() {
    let old = with(plan(&chain()), "/status", json!({ "startedAt": "2026-01-01T00:00:00Z" }));
    for (field, value) in [
        ("/spec/suspend", json!(true)),
        ("/spec/cancel", json!(true)),
        ("/spec/execution", json!({ "parallelism": 2, "priority": 5 })),
        ("/metadata/labels/team", json!("red")),
    ] {
        assert_admitted(admit(&lookup(), &update(&old, &with(old.clone(), field, value))).await);
    }
    for (field, value) in [
        ("/spec/tasks/0/title", json!("other")),
        ("/spec/workspace", json!({ "url": "https://example.org/x", "revision": "main" })),
        ("/spec/gates", json!([{ "name": "g", "script": "true" }])),
        ("/spec/agentRef/name", json!("other")),
    ] {
        let change = update(&old, &with(old.clone(), field, value.clone()));
        assert_refused(
            admit(&lookup(), &change).await,
            "invalid",
            &["cannot change once it has started", "suspend, cancel"],
        );
        let waiting = with(old.clone(), "/status", json!({ "digest": "sha256:0" }));
        assert_admitted(admit(&lookup(), &update(&waiting, &with(waiting.clone(), field, value))).await);
    }
}

#[tokio::test]
async fn redo_and_keep_name_the_awaited_revision() {
    let revision = |n: &str| json!(Digest::of_bytes(n.as_bytes()));
    let (newer, newest) = (revision("newer"), revision("newest"));
    let says = |plan: &Value, annotation: &str, value: &Value| {
        with(plan.clone(), &format!("/metadata/annotations/enact.dev~1{annotation}"), value.clone())
    };
    let running = with(plan(&chain()), "/status", json!({ "startedAt": "2026-01-01T00:00:00Z" }));
    let stale = with(running.clone(), "/status/stale", json!({ "specificationDigest": newer }));
    for (command, other) in [("redo", "keep"), ("keep", "redo")] {
        let field = format!("metadata.annotations[enact.dev/{command}]");
        let help = format!("`kubectl enact {command} plan/shop`");
        for value in ["", "yes", "newer", &newer.as_str().unwrap()[..70], &newer.as_str().unwrap().to_uppercase()] {
            let parts = [&*field, &format!("{value:?} is not the digest"), "status.stale", &help];
            for review in [
                create(&says(&plan(&chain()), command, &json!(value))),
                update(&stale, &says(&stale, command, &json!(value))),
            ] {
                assert_refused(admit(&lookup(), &review).await, "invalid", &parts);
            }
        }
        let long = says(&stale, command, &json!("\u{1b}ä".repeat(50_000)));
        assert_refused(admit(&lookup(), &update(&stale, &long)).await, "invalid", &[&field, "\\u{1b}ä", "…", &help]);

        let missed = update(&stale, &says(&stale, command, &newest));
        let parts = [&*field, newest.as_str().unwrap(), "waits for", newer.as_str().unwrap(), &help];
        assert_refused(admit(&lookup(), &missed).await, "invalid", &parts);
        let decided = says(&stale, command, &newer);
        assert_admitted(admit(&lookup(), &update(&stale, &decided)).await);
        assert_admitted(admit(&lookup(), &update(&decided, &stale)).await);
        // A decision may be written before the status reports stale tasks. It applies only to the revision that it names.
        assert_admitted(admit(&lookup(), &update(&running, &says(&running, command, &newest))).await);

        let both = says(&decided, other, &newer);
        let parts = [
            &format!("metadata.annotations[enact.dev/{other}]"),
            &*format!("the value of enact.dev/{command} too"),
            "remove one",
        ];
        assert_refused(admit(&lookup(), &update(&decided, &both)).await, "invalid", &parts);
        assert_admitted(
            admit(
                &lookup(),
                &update(&decided, &with(both, &format!("/metadata/annotations/enact.dev~1{command}"), Value::Null)),
            )
            .await,
        );

        // An invalid annotation that an earlier release admitted does not block other changes.
        let wrong = says(&stale, command, &json!("soon"));
        assert_admitted(admit(&lookup(), &update(&wrong, &with(wrong.clone(), "/spec/cancel", json!(true)))).await);
        assert_admitted(admit(&lookup(), &update(&wrong, &stale)).await);
    }
    let elsewhere = object("Specification", "shop", &json!({ "source": { "inline": "# Feature Specification: A\n" } }));
    assert_admitted(admit(&lookup(), &create(&says(&elsewhere, "redo", &json!("of no meaning")))).await);
}

#[tokio::test]
async fn planners_are_agents_of_the_namespace() {
    let planned = |agent: &str| {
        let generate = json!({ "agents": [{ "name": "coder" }, { "name": agent }] });
        let spec =
            json!({ "agentRef": { "name": "coder" }, "specificationRef": { "name": "shop" }, "generate": generate });
        object("Plan", "shop", &spec)
    };
    let lookup = FakeLookup {
        existing: vec!["Agent team-a/coder".into(), "Specification team-a/shop".into()],
        ..FakeLookup::two_tenants()
    };
    let warnings = assert_admitted(admit(&lookup, &create(&planned("writer"))).await);
    assert!(
        warnings.len() == 1 && warnings[0].contains("spec.generate.agents[1].name: there is no Agent writer"),
        "{warnings:?}"
    );
    let refused = admit(&lookup, &create(&planned("team-b/coder"))).await;
    assert_refused(refused, "invalid", &["spec.generate.agents[1].name", "same namespace"]);
    let combined = |agent: &str| {
        let plan = with(planned("coder"), "/spec/generate/selection", json!("Synthesis"));
        with(plan, "/spec/generate/synthesizer", json!({ "name": agent }))
    };
    let warnings = assert_admitted(admit(&lookup, &create(&combined("merger"))).await);
    assert!(
        warnings.iter().any(|warning| warning.contains("spec.generate.synthesizer.name: there is no Agent merger"))
    );
    let refused = admit(&lookup, &create(&combined("team-b/coder"))).await;
    assert_refused(refused, "invalid", &["spec.generate.synthesizer.name", "same namespace"]);
}

#[tokio::test]
async fn only_an_existing_proposal_can_be_chosen() {
    let planned = |chosen: Value| {
        let generate = json!({ "agents": [{ "name": "coder" }], "chosen": chosen });
        let spec =
            json!({ "agentRef": { "name": "coder" }, "specificationRef": { "name": "shop" }, "generate": generate });
        let proposals = json!([{ "agent": "coder", "state": "Proposed", "inputs": "i", "digest": "sha256:1" }]);
        with(object("Plan", "shop", &spec), "/status", json!({ "proposals": proposals }))
    };
    let choice = |digest: &str| {
        let mut stamps = Stamps::default();
        stamps.insert(&["coder", digest], Stamp { by: ANN.into(), date: "2026-01-01".into() });
        let plan = planned(json!({ "agent": "coder", "digest": digest }));
        with(plan, "/metadata/annotations/enact.dev~1chosen", json!(stamps.format()))
    };
    let open = with(planned(Value::Null), "/spec/generate/chosen", Value::Null);
    let lookup = FakeLookup {
        existing: vec!["Agent team-a/coder".into(), "Specification team-a/shop".into()],
        ..FakeLookup::two_tenants()
    };
    assert_admitted(admit(&lookup, &update(&open, &choice("sha256:1"))).await);
    let parts = ["spec.generate.chosen", "no proposal of \"coder\"", "kubectl enact choose shop"];
    assert_refused(admit(&lookup, &update(&open, &choice("sha256:2"))).await, "invalid", &parts);
    // A choice that was stored earlier blocks no other change.
    let suspended = with(choice("sha256:2"), "/spec/suspend", json!(true));
    assert_admitted(admit(&lookup, &update(&choice("sha256:2"), &suspended)).await);
    assert_admitted(admit(&lookup, &create(&choice("sha256:2"))).await);
}
