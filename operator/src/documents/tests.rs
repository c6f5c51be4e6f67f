//! Constitutions and specifications against an API server in memory: their statuses, the requeued objects, and the number of writes.

use std::sync::atomic::Ordering;

use enact_domain::digest::Digest;
use enact_domain::names::ANNOTATION_ACCEPTED;
use enact_domain::record::{Event, format_reason};
use enact_domain::stamps::{Stamp, Stamps};
use serde_json::{Value, json};

use crate::testing::Bench;

const SPEC: &str = "# Feature Specification: Keys\n\n## User Scenarios & Testing\n\n### User Story 1 - Lend (Priority: P1)\n\nA key is lent.\n\n\
    **Independent Test**: lend one.\n\n**Acceptance Scenarios**:\n\n1. **Given** a key, **When** it is lent, **Then** the list shows it.\n\n\
    ## Requirements\n\n### Functional Requirements\n\n- **FR-001**: Keys MUST expire after [NEEDS CLARIFICATION: how long is a key valid?].\n\n\
    ### Key Entities\n\n- **Lending Key**: opens one door.\n\n## Success Criteria\n\n- **SC-001**: 95 % of keys come back within 7 days.\n";

const CONSTITUTION: &str = "# Shop Constitution\n\n## Core Principles\n\n### I. Test First\n\nEvery change MUST have a test.\n\n## Governance\n\n\
    Amendments are approved by two people.\n\n**Version**: 1.0.0 | **Ratified**: 2026-01-01 | **Last Amended**: 2026-01-01\n";

fn specification(bench: &Bench, name: &str, spec: &Value) {
    let mut object = json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Specification",
        "metadata": {"name": name, "namespace": "ns", "generation": 1, "annotations": {"enact.dev/author": "ann"}},
        "spec": {"source": {"inline": SPEC}}
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    bench.api.put(&format!("specifications/{name}"), object);
}

fn constitution(bench: &Bench, namespace: &str, name: &str, spec: &Value) {
    let mut object = json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Constitution",
        "metadata": {"name": name, "namespace": namespace, "generation": 1},
        "spec": {"source": {"inline": CONSTITUTION}}
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    bench.api.put(&format!("constitutions/{name}"), object);
}

fn rule(name: &str, scope: &str, expression: &str, severity: &str) -> Value {
    json!({"name": name, "appliesTo": scope, "expression": expression, "message": format!("keep {name}"), "severity": severity})
}

fn status(bench: &Bench, key: &str) -> Value {
    bench.api.get(key)["status"].clone()
}

fn reason(bench: &Bench, key: &str) -> String {
    status(bench, key)["conditions"][0]["reason"].as_str().unwrap_or_default().to_owned()
}

fn message(bench: &Bench, key: &str) -> String {
    status(bench, key)["conditions"][0]["message"].as_str().unwrap_or_default().to_owned()
}

fn codes(bench: &Bench, key: &str) -> Vec<String> {
    let shown = status(bench, key)["topFindings"].clone();
    shown.as_array().into_iter().flatten().map(|f| f["code"].as_str().unwrap().to_owned()).collect()
}

/// Changes the spec of an object, as a person does.
fn edit(bench: &Bench, key: &str, spec: &Value) {
    let generation = bench.api.get(key)["metadata"]["generation"].as_i64().unwrap() + 1;
    bench.api.change(key, &json!({"metadata": {"generation": generation}, "spec": spec}));
}

fn revisions(bench: &Bench) -> Vec<(String, String)> {
    let of = |r: &enact_domain::record::Record| match &r.event {
        Event::Revision { reason, content, .. } => Some((reason.clone(), content.clone())),
        _ => None,
    };
    bench.record_store.records.lock().unwrap().iter().filter_map(of).collect()
}

#[tokio::test]
async fn an_answer_becomes_a_revision() {
    let mut bench = Bench::new().await;
    specification(&bench, "keys", &json!({}));
    bench.specification("keys").await.unwrap();
    let shown = status(&bench, "specifications/keys");
    assert_eq!(
        (reason(&bench, "specifications/keys").as_str(), shown["openQuestions"].as_i64()),
        ("Approved", Some(1))
    );
    let question = shown["questions"][0].clone();
    assert_eq!(question["text"], "how long is a key valid?");
    assert!(shown["quality"]["score"].as_u64().is_some_and(|score| score > 0), "{shown}");

    let answer = json!([{"question": question["id"], "answer": "30 days"}]);
    edit(&bench, "specifications/keys", &json!({"clarifications": answer}));
    bench.specification("keys").await.unwrap();
    let after = status(&bench, "specifications/keys");
    assert_eq!(after["openQuestions"], 0);
    assert_ne!(
        after["digest"], shown["digest"],
        "an approval of the document with the question is not an approval of the answer"
    );
    let revisions = revisions(&bench);
    assert_eq!(revisions.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(), ["Source", "Clarification"]);
    assert!(revisions[1].1.contains("Keys MUST expire after 30 days."), "{}", revisions[1].1);
    assert!(revisions[1].1.contains("- Q: how long is a key valid? → A: 30 days"));

    edit(&bench, "specifications/keys", &json!({"clarifications": [{"question": "Q-00000000", "answer": "no"}]}));
    bench.specification("keys").await.unwrap();
    assert!(codes(&bench, "specifications/keys").contains(&"AnswerWithoutPlace".to_owned()));
}

#[tokio::test]
async fn revision_reason_comes_from_the_annotation() {
    let mut bench = Bench::new().await;
    specification(&bench, "keys", &json!({}));
    let reason = format_reason(&Digest::of_bytes(SPEC.as_bytes()), "Rollback of 3");
    bench.api.change("specifications/keys", &json!({"metadata": {"annotations": {"enact.dev/reason": reason}}}));
    bench.specification("keys").await.unwrap();
    edit(&bench, "specifications/keys", &json!({"source": {"inline": SPEC.replace("A key", "One key")}}));
    bench.specification("keys").await.unwrap();
    let reasons: Vec<String> = revisions(&bench).into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(reasons, ["Rollback of 3", "Source"], "the second is not what the words are about");
}

#[tokio::test]
async fn unchanged_document_causes_no_writes() {
    let mut bench = Bench::new().await;
    constitution(&bench, "ns", "base", &json!({}));
    specification(&bench, "keys", &json!({"constitutionRef": {"name": "base"}}));
    bench.constitution("base").await.unwrap();
    bench.specification("keys").await.unwrap();
    bench.settle().await;
    let (recorded, _) = (bench.record_store.summaries(), bench.api.writes());
    assert!(recorded.iter().any(|t| t.contains("findings")), "{recorded:?}");
    bench.record_store.down.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        bench.constitution("base").await.unwrap();
        bench.specification("keys").await.unwrap();
        bench.settle().await;
    }
    assert_eq!(bench.api.writes(), [""; 0], "the record is not even asked");
    assert_eq!(bench.record_store.summaries(), recorded);
}

#[tokio::test]
async fn violated_must_rule_blocks_a_specification() {
    let mut bench = Bench::new().await;
    let must = rule("three-stories", "Specification", "specification.stories.size() >= 3", "MUST");
    let should = rule("branch", "Specification", "specification.branch != ''", "SHOULD");
    constitution(&bench, "ns", "base", &json!({"rules": [must, should]}));
    specification(&bench, "keys", &json!({"constitutionRef": {"name": "base"}}));
    bench.specification("keys").await.unwrap();
    assert_eq!(reason(&bench, "specifications/keys"), "WaitingForConstitution");
    bench.constitution("base").await.unwrap();
    bench.settle().await;
    assert_eq!(status(&bench, "constitutions/base")["rules"], 2);
    assert_eq!(reason(&bench, "specifications/keys"), "ConstitutionViolated");
    assert!(message(&bench, "specifications/keys").contains("keep three-stories"));
    assert_eq!(codes(&bench, "specifications/keys").iter().filter(|c| *c == "RuleBroken").count(), 2);

    edit(
        &bench,
        "constitutions/base",
        &json!({"rules": [should], "source": {"inline": CONSTITUTION.replace("1.0.0", "2.0.0")}}),
    );
    bench.constitution("base").await.unwrap();
    bench.settle().await;
    assert_eq!(reason(&bench, "specifications/keys"), "Approved", "{}", message(&bench, "constitutions/base"));
}

#[tokio::test]
async fn a_specification_is_stalled_while_its_constitution_waits_for_people() {
    let mut bench = Bench::new().await;
    constitution(&bench, "ns", "base", &json!({"approval": {"required": 1}}));
    specification(&bench, "keys", &json!({"constitutionRef": {"name": "base"}}));
    let other = |bench: &Bench| status(bench, "specifications/keys")["conditions"][1]["type"].clone();
    bench.specification("keys").await.unwrap();
    assert_eq!(other(&bench), "Reconciling", "nobody has read the constitution yet");
    bench.constitution("base").await.unwrap();
    bench.settle().await;
    assert_eq!(other(&bench), "Stalled");
    assert!(message(&bench, "specifications/keys").starts_with("Constitution ns/base is not approved; see "));
    approve(&mut bench, "Constitution", "constitutions/base", "ann");
    bench.constitution("base").await.unwrap();
    bench.settle().await;
    assert_eq!(reason(&bench, "specifications/keys"), "Approved");
}

#[tokio::test]
async fn reports_all_invalid_rules_together() {
    let mut bench = Bench::new().await;
    let rules = [rule("one", "Plan", "plan.nothing > 1", "MUST"), rule("two", "Task", "task.title +", "MUST")];
    constitution(&bench, "ns", "base", &json!({"rules": rules}));
    bench.constitution("base").await.unwrap();
    assert_eq!(reason(&bench, "constitutions/base"), "InvalidRules");
    let message = message(&bench, "constitutions/base");
    assert!(
        message.contains("rule \"one\", line 1, column") && message.contains("rule \"two\", line 1, column"),
        "{message}"
    );
}

#[tokio::test]
async fn inherited_rules_cannot_be_loosened() {
    let mut bench = Bench::new().await;
    bench.tenant_with("platform", json!({"namespaces": ["platform"]}));
    let root = json!({"namespace": "platform", "name": "base"});
    bench.tenant_with("team", json!({"namespaces": ["ns"], "constitutionRef": root}));
    let demand = |severity: &str| rule("gates", "Plan", "plan.gates.size() > 0", severity);
    constitution(&bench, "platform", "base", &json!({"rules": [demand("MUST")]}));
    constitution(&bench, "ns", "own", &json!({"rules": [demand("SHOULD")]}));
    bench.constitution("own").await.unwrap();
    assert_eq!(reason(&bench, "constitutions/own"), "WaitingForConstitution");
    bench.constitution("base").await.unwrap();
    bench.settle().await;
    assert_eq!(reason(&bench, "constitutions/own"), "LoosensParent");
    assert!(message(&bench, "constitutions/own").contains("MUST"));

    edit(&bench, "constitutions/own", &json!({"rules": [rule("mine", "Task", "task.title != ''", "MUST")]}));
    bench.constitution("own").await.unwrap();
    bench.settle().await;
    let shown = status(&bench, "constitutions/own");
    assert_eq!((shown["rules"].as_i64(), &shown["inherits"]), (Some(2), &json!([root])));
    assert_eq!(reason(&bench, "constitutions/own"), "Approved");

    specification(&bench, "keys", &json!({}));
    bench.specification("keys").await.unwrap();
    bench.settle().await;
    let impact = status(&bench, "constitutions/base")["impact"].clone();
    assert_eq!(impact["specifications"], 1, "a specification that names none is bound all the same");
    assert_eq!(impact["some"], json!(["Specification ns/keys"]));
    assert_eq!(status(&bench, "constitutions/own")["impact"]["specifications"], 0);
    bench.no_specification("keys");
    bench.settle().await;
    assert_eq!(status(&bench, "constitutions/base")["impact"]["specifications"], 0);
}

#[tokio::test]
async fn an_impact_counts_the_tasks_of_a_new_plan() {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.tenant_with("team", json!({"namespaces": ["ns"], "constitutionRef": {"namespace": "ns", "name": "base"}}));
    constitution(&bench, "ns", "base", &json!({}));
    bench.constitution("base").await.unwrap();
    bench.settle().await;
    let task = |id: &str| json!({"id": id, "title": "t", "script": "true"});
    bench.api.put(
        "plans/p",
        json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "p", "namespace": "ns", "generation": 1},
            "spec": {"agentRef": {"name": "scripts"}, "suspend": true, "tasks": [task("T001"), task("T002")]},
        }),
    );
    bench.plan("p").await.unwrap();
    assert_eq!(status(&bench, "plans/p")["tasks"]["total"], 2);
    // The constitution reconciles before the watch delivers this status.
    bench.settle().await;
    bench.plan("p").await.unwrap();
    bench.settle().await;
    let impact = status(&bench, "constitutions/base")["impact"].clone();
    assert_eq!((&impact["plans"], &impact["tasks"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn overlapping_specifications_get_findings() {
    let mut bench = Bench::new().await;
    specification(&bench, "keys", &json!({}));
    specification(
        &bench,
        "locks",
        &json!({"source": {"inline": SPEC.replace("Specification: Keys", "Specification: Locks").replace("FR-001", "FR-009")}}),
    );
    bench.specification("keys").await.unwrap();
    bench.specification("locks").await.unwrap();
    bench.settle().await;
    for key in ["specifications/keys", "specifications/locks"] {
        assert!(codes(&bench, key).contains(&"SharedEntity".to_owned()), "{key}: {:?}", codes(&bench, key));
    }
    let other = "# Feature Specification: Doors\n\n## Requirements\n\n- **FR-001**: Doors MUST close by themselves within 5 s.\n";
    edit(&bench, "specifications/locks", &json!({"source": {"inline": other}}));
    bench.specification("locks").await.unwrap();
    bench.settle().await;
    assert!(!codes(&bench, "specifications/keys").contains(&"SharedEntity".to_owned()));

    edit(&bench, "specifications/locks", &json!({"source": {"inline": SPEC}}));
    bench.specification("locks").await.unwrap();
    bench.settle().await;
    assert!(codes(&bench, "specifications/keys").contains(&"SharedEntity".to_owned()));
    bench.no_specification("locks");
    bench.settle().await;
    assert!(!codes(&bench, "specifications/keys").contains(&"SharedEntity".to_owned()), "it is gone");
}

#[tokio::test]
async fn accepted_findings_are_content_and_do_not_count() {
    let mut bench = Bench::new().await;
    let policy = json!({"withFindings": [{"atLeast": "High", "required": 1, "groups": ["security"]}]});
    specification(&bench, "keys", &json!({"approval": policy}));
    bench.specification("keys").await.unwrap();
    let open = status(&bench, "specifications/keys");
    assert_eq!((&open["findings"]["high"], &open["findings"]["accepted"]), (&json!(1), &json!(0)), "{open}");
    assert_eq!(reason(&bench, "specifications/keys"), "WaitingForApproval");

    let reason_of_bob = "the law decides --> soon";
    let accepted = json!([
        {"code": "OpenMarker", "at": "FR-001", "reason": reason_of_bob},
        {"code": "DuplicateEntity", "at": "FR-001", "reason": "there is none"},
    ]);
    let mut stamps = Stamps::default();
    stamps.insert(&["OpenMarker", "FR-001", reason_of_bob], Stamp { by: "bob".into(), date: "2026-02-03".into() });
    let annotations = json!({ANNOTATION_ACCEPTED: stamps.format()});
    bench.api.change("specifications/keys", &json!({"metadata": {"annotations": annotations}}));
    edit(&bench, "specifications/keys", &json!({"accepted": accepted}));
    bench.specification("keys").await.unwrap();
    let after = status(&bench, "specifications/keys");
    assert_eq!((&after["findings"]["high"], &after["findings"]["accepted"]), (&json!(0), &json!(1)), "{after}");
    assert_eq!(reason(&bench, "specifications/keys"), "Approved", "the open marker counts no longer");
    assert_eq!(after["openQuestions"], 1, "the question is still open");
    assert_ne!(after["digest"], open["digest"], "an approval covers what is accepted");
    assert_eq!(after["requirements"], open["requirements"]);
    let codes = codes(&bench, "specifications/keys");
    assert!(codes.contains(&"UnusedAcceptance".to_owned()) && !codes.contains(&"OpenMarker".to_owned()), "{codes:?}");
    let recorded = revisions(&bench);
    assert!(
        recorded[1].1.starts_with(SPEC)
            && recorded[1].1.contains("the law decides -\\u002d> soon")
            && recorded[1].1.contains("bob"),
        "{recorded:?}"
    );
    let found = |r: &enact_domain::record::Record| match &r.event {
        Event::Findings { findings, .. } => findings.as_array().cloned(),
        _ => None,
    };
    let last = bench.record_store.records.lock().unwrap().iter().filter_map(found).next_back().unwrap();
    let kept = last.iter().find(|f| f["code"] == "OpenMarker").unwrap();
    assert_eq!(kept["accepted"], "the law decides --> soon");

    // What another revision appended is not a part of the document.
    edit(&bench, "specifications/keys", &json!({"accepted": null, "source": {"inline": recorded[1].1}}));
    bench.specification("keys").await.unwrap();
    let restored = status(&bench, "specifications/keys");
    assert_eq!((&restored["findings"]["accepted"], &restored["findings"]["high"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn document_that_is_not_utf8_is_not_recorded() {
    let mut bench = Bench::new().await;
    let bytes = json!({"metadata": {"name": "docs", "namespace": "ns"}, "binaryData": {"spec.md": "//4="}});
    bench.api.put("configmaps/docs", bytes);
    specification(&bench, "keys", &json!({"source": {"configMapKeyRef": {"name": "docs", "key": "spec.md"}}}));
    bench.specification("keys").await.unwrap();
    assert_eq!(reason(&bench, "specifications/keys"), "InvalidDocument");
    assert_eq!(revisions(&bench), []);
}

#[tokio::test]
async fn no_decision_without_the_record_store() {
    let mut bench = Bench::new().await;
    specification(&bench, "keys", &json!({}));
    bench.record_store.down.store(true, Ordering::Relaxed);
    bench.specification("keys").await.unwrap_err();
    assert_eq!(reason(&bench, "specifications/keys"), "RecordUnavailable");
    assert_eq!(status(&bench, "specifications/keys")["digest"], Value::Null);
    bench.record_store.down.store(false, Ordering::Relaxed);
    bench.specification("keys").await.unwrap();
    assert_eq!(reason(&bench, "specifications/keys"), "Approved");
    assert_eq!(revisions(&bench).len(), 1);
}

/// Approves the current content of a document, as a person does.
fn approve(bench: &mut Bench, kind: &str, key: &str, user: &str) {
    let digest = status(bench, key)["digest"].clone();
    let name = key.split_once('/').unwrap().1;
    bench.approval(&json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Approval", "metadata": {"name": format!("{name}-{user}-{digest}"), "namespace": "ns"},
        "spec": {"subject": {"kind": kind, "name": name}, "digest": digest, "decision": "Approve",
            "by": {"user": user, "groups": ["leads"]}}
    }));
}

#[tokio::test]
async fn four_eyes_need_an_author() {
    let mut bench = Bench::new().await;
    let map = |text: &str| json!({"metadata": {"name": "docs", "namespace": "ns"}, "data": {"spec.md": text}});
    bench.api.put("configmaps/docs", map(SPEC));
    let source = json!({"configMapKeyRef": {"name": "docs", "key": "spec.md"}});
    specification(&bench, "keys", &json!({"source": source, "approval": {"required": 1}}));
    bench.specification("keys").await.unwrap();
    approve(&mut bench, "Specification", "specifications/keys", "bob");
    bench.specification("keys").await.unwrap();
    assert_eq!(reason(&bench, "specifications/keys"), "Approved");
    let approved = status(&bench, "specifications/keys")["approvedDigest"].clone();

    // Bob changes the ConfigMap, and would approve his own words.
    edit(&bench, "specifications/keys", &json!({"approval": {"fourEyes": true}}));
    bench.api.put("configmaps/docs", map(&SPEC.replace("7 days", "9 days")));
    bench.specification("keys").await.unwrap();
    approve(&mut bench, "Specification", "specifications/keys", "bob");
    bench.specification("keys").await.unwrap();
    assert_eq!(reason(&bench, "specifications/keys"), "AuthorUnknown");
    assert!(message(&bench, "specifications/keys").starts_with("spec.source.configMapKeyRef: "));
    assert_eq!(status(&bench, "specifications/keys")["approvedDigest"], approved, "it stays in force");
    edit(&bench, "specifications/keys", &json!({"source": {"configMapKeyRef": null, "inline": SPEC}}));
    bench.specification("keys").await.unwrap();
    assert_eq!(reason(&bench, "specifications/keys"), "Approved");
}

#[tokio::test]
async fn amendment_version_must_match_its_changes() {
    let mut bench = Bench::new().await;
    constitution(&bench, "ns", "base", &json!({"approval": {"required": 1}}));
    bench.constitution("base").await.unwrap();
    assert_eq!(reason(&bench, "constitutions/base"), "WaitingForApproval");
    approve(&mut bench, "Constitution", "constitutions/base", "ann");
    bench.constitution("base").await.unwrap();
    let first = status(&bench, "constitutions/base");
    assert_eq!((reason(&bench, "constitutions/base").as_str(), &first["amendment"]), ("Approved", &Value::Null));

    // A principle goes, and the version stays.
    let without = CONSTITUTION
        .replace("### I. Test First\n\nEvery change MUST have a test.", "### I. Simplicity\n\nCode MUST be simple.");
    edit(&bench, "constitutions/base", &json!({"source": {"inline": without}}));
    bench.constitution("base").await.unwrap();
    assert_eq!(reason(&bench, "constitutions/base"), "VersionMismatch");
    assert!(
        message(&bench, "constitutions/base").contains("write `**Version**: 2.0.0`"),
        "{}",
        message(&bench, "constitutions/base")
    );

    edit(&bench, "constitutions/base", &json!({"source": {"inline": without.replace("1.0.0", "2.0.0")}}));
    bench.constitution("base").await.unwrap();
    assert_eq!(reason(&bench, "constitutions/base"), "WaitingForApproval");
    let shown = status(&bench, "constitutions/base");
    assert_eq!(shown["approvedDigest"], first["digest"], "the one before is still what was approved");
    approve(&mut bench, "Constitution", "constitutions/base", "bob");
    bench.constitution("base").await.unwrap();
    let after = status(&bench, "constitutions/base");
    assert_eq!(reason(&bench, "constitutions/base"), "Approved");
    assert_eq!((&after["amendment"]["from"], &after["amendment"]["level"]), (&json!("1.0.0"), &json!("Major")));
    assert_eq!(after["amendment"]["fromDigest"], first["digest"]);
    assert!(after["amendment"]["changes"].as_array().is_some_and(|c| c.len() == 2), "{after}");
}

#[tokio::test]
async fn rules_are_approved_with_their_constitution() {
    let mut bench = Bench::new().await;
    let gates = rule("gates", "Plan", "plan.gates.size() > 0", "MUST");
    constitution(&bench, "ns", "base", &json!({"approval": {"required": 1}, "rules": [gates]}));
    bench.constitution("base").await.unwrap();
    approve(&mut bench, "Constitution", "constitutions/base", "ann");
    bench.constitution("base").await.unwrap();
    assert_eq!(reason(&bench, "constitutions/base"), "Approved");
    // The approved content with further appendices, which would be replaced in place of the one with the rules.
    let (_, approved) = revisions(&bench).pop().unwrap();
    let written = approved + &"<!-- enact.dev/rules\n-->\n".repeat(2);
    edit(&bench, "constitutions/base", &json!({"rules": [], "source": {"inline": written}}));
    bench.constitution("base").await.unwrap();
    assert_eq!(reason(&bench, "constitutions/base"), "VersionMismatch", "the rules were approved, and are gone");
    edit(&bench, "constitutions/base", &json!({"source": {"inline": CONSTITUTION}}));
    bench.constitution("base").await.unwrap();
    assert_eq!(reason(&bench, "constitutions/base"), "VersionMismatch", "without a word in the version");
    edit(&bench, "constitutions/base", &json!({"source": {"inline": CONSTITUTION.replace("1.0.0", "2.0.0")}}));
    bench.constitution("base").await.unwrap();
    assert_eq!(reason(&bench, "constitutions/base"), "WaitingForApproval", "nor without the people");
    let shown = status(&bench, "constitutions/base")["amendment"]["changes"].clone();
    assert_eq!(
        shown.as_array().map(|all| (all.len(), all[0]["kind"].clone())),
        Some((1, json!("RuleRemoved"))),
        "{shown}"
    );
}

/// The digest does not change with it, so that there is no revision.
#[tokio::test]
async fn another_constitution_is_recorded_with_who_named_it() {
    let mut bench = Bench::new().await;
    specification(&bench, "keys", &json!({"constitutionRef": {"name": "base"}}));
    let changes = json!({"constitutionRef": {"by": "lee", "at": "2026-01-01T00:00:00Z"}}).to_string();
    bench.api.change("specifications/keys", &json!({"metadata": {"annotations": {"enact.dev/changes": changes}}}));
    bench.specification("keys").await.unwrap();
    let records = bench.record_store.records.lock().unwrap();
    let change = |record: &enact_domain::record::Record| match &record.event {
        Event::ControlChanged { control, value, .. } => Some((control.clone(), value.clone(), record.actor.clone())),
        _ => None,
    };
    let changes: Vec<_> = records.iter().filter_map(change).collect();
    assert_eq!(changes, [("constitutionRef".to_owned(), json!({"name": "base"}), "lee".to_owned())]);
}

#[tokio::test]
async fn git_document_stays_after_its_branch_is_deleted() {
    let mut bench = Bench::new().await;
    let source = json!({"git": {"url": "https://git.example.org/shop.git", "path": "spec.md"}});
    specification(&bench, "keys", &json!({"source": source}));
    bench.api.change("specifications/keys", &json!({"spec": {"source": {"inline": null}}}));
    bench.specification("keys").await.unwrap();
    assert_eq!(reason(&bench, "specifications/keys"), "FetchingSource");
    let pod = |bench: &Bench| bench.api.all("pods")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let ended = |phase: &str, code: i32, report: &Value| {
        let state = json!({"terminated": {"exitCode": code, "reason": "Ended", "message": report.to_string()}});
        json!({"phase": phase, "containerStatuses": [{"name": "fetch", "state": state}]})
    };
    bench.record_store.documents.lock().unwrap().push(SPEC.as_bytes().to_vec());
    let digest = enact_domain::digest::Digest::of_bytes(SPEC.as_bytes());
    let report = json!({"reason": "Succeeded", "commit": "1".repeat(40), "document": digest.as_str()});
    let (name, read) = (pod(&bench), ended("Succeeded", 0, &report));
    bench.set_job_status(&name, read).await;
    let gone = bench.api.get(&format!("pods/{name}"));
    bench.specification("keys").await.unwrap();
    bench.delete_job(gone).await;
    let now = status(&bench, "specifications/keys");
    assert_eq!((reason(&bench, "specifications/keys").as_str(), &now["digest"]), ("Approved", &json!(digest.as_str())));
    assert_eq!(now["source"], json!({"commit": "1".repeat(40), "digest": digest.as_str()}));

    bench.pass(331);
    bench.specification("keys").await.unwrap();
    let lost = json!({"reason": "RevisionNotFound", "message": "branch or tag `main` does not exist"});
    let (name, failed) = (pod(&bench), ended("Failed", 78, &lost));
    bench.set_job_status(&name, failed).await;
    bench.specification("keys").await.unwrap();
    assert!(!bench.api.has(&format!("pods/{name}")));
    let now = status(&bench, "specifications/keys");
    assert_eq!((reason(&bench, "specifications/keys").as_str(), &now["digest"]), ("Approved", &json!(digest.as_str())));
    assert_eq!(now["source"]["problem"], "RevisionNotFound: branch or tag `main` does not exist");

    bench.record_store.down.store(true, Ordering::Relaxed);
    bench.specification("keys").await.unwrap_err();
    assert_eq!(reason(&bench, "specifications/keys"), "RecordUnavailable");
    assert_eq!(status(&bench, "specifications/keys")["source"], now["source"], "what is known is not forgotten");
}

#[tokio::test]
async fn drafted_document_is_approved_like_others() {
    let mut bench = Bench::new().await;
    bench.agent_with("scribe", json!({"adapter": "Command", "script": "true"}));
    let drafting = json!({"request": "Lend keys.", "drafting": {"agentRef": {"name": "scribe"}}});
    specification(&bench, "keys", &drafting);
    bench.api.change(
        "specifications/keys",
        &json!({"spec": {"source": null, "drafting": {"maxAttempts": 3, "timeoutSeconds": 900}}}),
    );
    bench.specification("keys").await.unwrap();
    assert_eq!(reason(&bench, "specifications/keys"), "Drafting");
    assert_eq!(status(&bench, "specifications/keys")["draft"]["attempts"], 1);
    bench.record_store.documents.lock().unwrap().push(SPEC.as_bytes().to_vec());
    let digest = enact_domain::digest::Digest::of_bytes(SPEC.as_bytes());
    let report = json!({"reason": "Succeeded", "document": digest.as_str()}).to_string();
    let state = json!({"terminated": {"exitCode": 0, "reason": "Ended", "message": report}});
    let name = bench.api.all("pods")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    bench
        .set_job_status(&name, json!({"phase": "Succeeded", "containerStatuses": [{"name": "agent", "state": state}]}))
        .await;
    bench.specification("keys").await.unwrap();
    let now = status(&bench, "specifications/keys");
    assert_eq!((reason(&bench, "specifications/keys").as_str(), &now["digest"]), ("Approved", &json!(digest.as_str())));
    assert_eq!((&now["draft"]["digest"], &now["openQuestions"]), (&json!(digest.as_str()), &json!(1)));
    assert!(!bench.api.has(&format!("pods/{name}")));
    let origins =
        bench.record_store.records.lock().unwrap().iter().filter(|r| matches!(r.event, Event::Revision { .. })).count();
    assert_eq!(origins, 1, "it is a revision in the record");
}

/// A server at a tenant's URL receives no connection from the operator.
#[tokio::test]
async fn operator_opens_no_url_of_a_tenant() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = |scheme: &str| format!("{scheme}://{}/shop.git", listener.local_addr().unwrap());
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    let git = |scheme: &str, path: &str| json!({"git": {"url": url(scheme), "revision": "main", "path": path}});
    specification(&bench, "keys", &json!({"source": git("http", "spec.md")}));
    constitution(&bench, "ns", "base", &json!({"source": git("ssh", "constitution.md")}));
    let mut spec = json!({"agentRef": {"name": "scripts"}, "source": git("https", "tasks.md")});
    let plan = |name: &str, spec: &Value| {
        let metadata = json!({"name": name, "namespace": "ns", "generation": 1});
        bench.api.put(
            &format!("plans/{name}"),
            json!({"apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "metadata": metadata, "spec": spec}),
        );
    };
    plan("written", &spec);
    spec["source"] = Value::Null;
    spec["tasks"] = json!([{"id": "T001", "title": "a", "script": "true"}]);
    spec["workspace"] = json!({"url": url("http"), "revision": "main"});
    plan("built", &spec);
    bench.specification("keys").await.unwrap();
    bench.constitution("base").await.unwrap();
    for name in ["written", "built", "built"] {
        bench.plan(name).await.unwrap();
    }
    let pods = |scheme: &str| bench.api.all("pods").iter().filter(|pod| pod.to_string().contains(&url(scheme))).count();
    assert_eq!((pods("http"), pods("ssh"), pods("https")), (2, 1, 1), "each URL has its pods");
    let heard = listener.accept().expect_err("nobody came").kind();
    assert_eq!(heard, std::io::ErrorKind::WouldBlock);
}
