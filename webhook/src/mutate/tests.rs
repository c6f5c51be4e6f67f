use enact_domain::approval::Policy;
use enact_domain::stamps::{Changes, Stamps};
use serde_json::{Value, json};

use super::stamp;
use crate::testing::{
    ANN, CHANGES, CO_AUTHORS, FakeLookup, admit, assert_admitted, assert_refused, by, create, object, of, request,
    update, with,
};

const DAY: &str = "2026-11-25T23:59:59Z";
const ANSWERS: &str = "/metadata/annotations/enact.dev~1answers";
const ACCEPTED: &str = "/metadata/annotations/enact.dev~1accepted";
const AUTHOR: &str = "/metadata/annotations/enact.dev~1author";
const TENANT: &str = "/metadata/labels/enact.dev~1tenant";

/// Returns the object after the API server has applied the patch.
async fn stamped(review: &Value) -> Value {
    let patch = stamp(&request(review), &FakeLookup::two_tenants(), DAY.parse().unwrap()).await.unwrap();
    let mut object = review["request"]["object"].clone();
    // The response contains the patch as JSON text, and the API server applies it to the object that it sent.
    let patch: json_patch::Patch = serde_json::from_slice(&serde_json::to_vec(&patch).unwrap()).unwrap();
    json_patch::patch(&mut object, &patch).unwrap();
    object
}

fn bare(kind: &str, spec: &Value) -> Value {
    with(with(object(kind, "o", spec), "/metadata/labels", Value::Null), "/metadata/annotations", Value::Null)
}

#[tokio::test]
async fn an_approval_is_signed_by_who_asks() {
    let spec = json!({
        "subject": { "kind": "Plan", "name": "shop" }, "digest": "sha256:0", "decision": "Approve",
        "by": { "user": "boss", "groups": ["system:masters"] },
    });
    let after = stamped(&create(&bare("Approval", &spec))).await;
    assert_eq!(after["spec"]["by"], json!({ "user": ANN, "groups": ["leads", "system:authenticated"] }));
    assert_eq!(after.pointer(TENANT), Some(&json!("acme")));
    assert_eq!(after.pointer(AUTHOR), None);
    let unsigned = with(spec, "/by", Value::Null);
    assert_eq!(stamped(&create(&bare("Approval", &unsigned))).await["spec"]["by"]["user"], ANN);
}

#[tokio::test]
async fn an_approval_names_the_present_object() {
    let mut lookup = FakeLookup::two_tenants().with_subject("Plan team-a/shop", "v1", Policy::default());
    lookup.subjects.get_mut("Plan team-a/shop").unwrap().uid = Some("second".into());
    let spec = json!({ "subject": { "kind": "Plan", "name": "shop" }, "digest": "sha256:0", "decision": "Approve" });
    let uid = async |spec: &Value| {
        let patch = stamp(&request(&create(&bare("Approval", spec))), &lookup, DAY.parse().unwrap()).await.unwrap();
        let patch = serde_json::to_value(&patch).unwrap();
        let added = patch.as_array().unwrap().iter().find(|operation| operation["path"] == "/spec/subjectUid");
        added.map(|operation| operation["value"].clone())
    };
    assert_eq!(uid(&spec).await, Some(json!("second")));
    let of_first = with(spec.clone(), "/subjectUid", json!("first"));
    assert_eq!(uid(&of_first).await, None, "the validating webhook refuses it");
    let of_another = with(spec, "/subject/name", json!("gone"));
    assert_eq!(uid(&of_another).await, None);
}

#[tokio::test]
async fn a_stored_approval_is_never_signed_again() {
    let spec = json!({ "decision": "Approve", "by": { "user": "boss" } });
    let old = object("Approval", "a", &spec);
    let new = with(old.clone(), "/metadata/labels/team", json!("red"));
    assert_eq!(stamped(&update(&old, &new)).await, new);
}

#[tokio::test]
async fn the_author_is_who_wrote_the_content() {
    let spec = json!({ "agentRef": { "name": "a" }, "tasks": [{ "id": "T1", "title": "t" }] });
    let forged = with(bare("Plan", &spec), AUTHOR, json!("bob"));
    assert_eq!(stamped(&create(&forged)).await.pointer(AUTHOR), Some(&json!(ANN)));

    let old = with(object("Plan", "o", &spec), AUTHOR, json!("bob"));
    let rewritten = with(old.clone(), "/spec/tasks/0/title", json!("other"));
    assert_eq!(stamped(&update(&old, &rewritten)).await.pointer(AUTHOR), Some(&json!(ANN)));
    // Changes of the execution do not change the author. Otherwise, after a colleague's `suspend`, the author could approve their own work.
    for (field, value) in [
        ("/spec/suspend", json!(true)),
        ("/spec/execution", json!({ "parallelism": 3 })),
        ("/spec/approval", json!({ "required": 1 })),
        ("/metadata/labels/team", json!("red")),
    ] {
        let handled = with(old.clone(), field, value);
        assert_eq!(stamped(&update(&old, &handled)).await.pointer(AUTHOR), Some(&json!("bob")), "{field}");
    }
    // Who loosens the approval policy becomes the author.
    let strict = with(old.clone(), "/spec/approval", json!({ "required": 1, "fourEyes": true }));
    let loosened = with(strict.clone(), "/spec/approval/required", json!(0));
    let after = stamped(&update(&strict, &loosened)).await;
    assert_eq!(after.pointer(AUTHOR), Some(&json!(ANN)));
    // Each change of the policy names who made it, and clients cannot write that.
    let change = |object: &Value| object.pointer(CHANGES).and_then(Value::as_str).map(str::to_owned);
    let by_ann = format!(r#"{{"approval":{{"by":"{ANN}","at":"{DAY}"}}}}"#);
    assert_eq!(change(&after), Some(by_ann.clone()));
    assert_eq!(change(&stamped(&update(&loosened, &strict)).await), Some(by_ann));
    let blamed = with(after.clone(), CHANGES, json!("eve"));
    assert_eq!(stamped(&update(&after, &blamed)).await, after);
    assert_eq!(change(&stamped(&create(&blamed)).await), None);
    // A client that replaces the whole object, or names another user as the author, does not change the author.
    let dropped = with(old.clone(), "/metadata/annotations", Value::Null);
    assert_eq!(stamped(&update(&old, &dropped)).await.pointer(AUTHOR), Some(&json!("bob")));
    let blamed = with(old.clone(), AUTHOR, json!("eve"));
    assert_eq!(stamped(&update(&old, &blamed)).await.pointer(AUTHOR), Some(&json!("bob")));
    let unknown = with(old.clone(), AUTHOR, Value::Null);
    assert_eq!(stamped(&update(&unknown, &old)).await.pointer(AUTHOR), None);
}

/// The approval of a plan covers the URL of a provider.
#[tokio::test]
async fn the_author_of_a_model_provider_is_who_changed_it_last() {
    let spec = json!({ "api": "OpenAi", "baseUrl": "https://api.example.org" });
    assert_eq!(stamped(&create(&bare("ModelProvider", &spec))).await.pointer(AUTHOR), Some(&json!(ANN)));
    let old = with(object("ModelProvider", "o", &spec), AUTHOR, json!("bob"));
    let moved = with(old.clone(), "/spec/baseUrl", json!("https://evil.example.org"));
    assert_eq!(stamped(&update(&old, &moved)).await.pointer(AUTHOR), Some(&json!(ANN)));
    let blamed = admit(&FakeLookup::two_tenants(), &update(&old, &moved)).await;
    assert_refused(blamed, "forbidden", &["enact.dev/author", "not by bob"]);
    let labelled = with(old.clone(), "/metadata/labels/team", json!("red"));
    assert_eq!(stamped(&update(&old, &labelled)).await.pointer(AUTHOR), Some(&json!("bob")));
}

#[tokio::test]
async fn who_suspends_an_agent_is_named_and_does_not_become_its_author() {
    let old = with(object("Agent", "o", &json!({ "adapter": "Command", "script": "make" })), AUTHOR, json!("bob"));
    let after = stamped(&update(&old, &with(old.clone(), "/spec/suspend", json!(true)))).await;
    assert_eq!(after.pointer(AUTHOR), Some(&json!("bob")));
    let changes = Changes::parse(after.pointer(CHANGES).and_then(Value::as_str));
    let by_whom = changes.iter().map(|(control, change)| format!("{control} {}", change.by)).collect::<Vec<_>>();
    assert_eq!(by_whom, [format!("suspend {ANN}")]);
}

#[tokio::test]
async fn a_control_names_who_changed_it_last() {
    let changes = |object: &Value| Changes::parse(object.pointer(CHANGES).and_then(Value::as_str));
    let by_whom = |object: &Value| {
        let changes = changes(object);
        changes.iter().map(|(control, change)| format!("{control} {} {}", change.by, change.at)).collect::<Vec<_>>()
    };
    let plan = object("Plan", "o", &json!({ "agentRef": { "name": "a" }, "tasks": [{ "id": "T1", "title": "t" }] }));
    assert_eq!(by_whom(&stamped(&create(&with(plan.clone(), "/spec/suspend", json!(true)))).await), [""; 0]);
    let rerun = with(plan.clone(), "/metadata/annotations/enact.dev~1rerun", json!("1"));
    let first = stamped(&update(&plan, &rerun)).await;
    assert_eq!(by_whom(&first), [format!("rerun {ANN} {DAY}")]);
    let both = with(with(first.clone(), "/spec/suspend", json!(true)), "/spec/execution", json!({ "parallelism": 2 }));
    let second = stamped(&by(update(&first, &both), "bob")).await;
    let expected = [format!("execution bob {DAY}"), format!("rerun {ANN} {DAY}"), format!("suspend bob {DAY}")];
    assert_eq!(by_whom(&second), expected);
    assert_admitted(admit(&FakeLookup::two_tenants(), &by(update(&first, &second), "bob")).await);
    // To remove a request is none, and nobody writes the stamps.
    let removed = with(second.clone(), "/metadata/annotations/enact.dev~1rerun", Value::Null);
    assert_eq!(by_whom(&stamped(&by(update(&second, &removed), "cem")).await), expected);
    let forged = with(second.clone(), CHANGES, json!("{}"));
    assert_eq!(stamped(&update(&second, &forged)).await, second);
    let refused = ["enact.dev/changes", "leave the annotation out"];
    assert_refused(admit(&FakeLookup::two_tenants(), &update(&second, &forged)).await, "forbidden", &refused);

    let tenant = |spec: Value| json!({ "apiVersion": "enact.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "acme" }, "spec": spec });
    let strict = json!({ "namespaces": [], "minimumApprovals": { "plans": { "required": 1 } } });
    let made = stamped(&create(&tenant(strict.clone()))).await;
    assert_eq!(by_whom(&made), [format!("minimumApprovals {ANN} {DAY}")], "a Tenant has no author");
    assert_eq!(made.pointer(TENANT), None);
    let loose = with(made.clone(), "/spec/minimumApprovals", Value::Null);
    assert_eq!(by_whom(&stamped(&by(update(&made, &loose), "bob")).await), [format!("minimumApprovals bob {DAY}")]);
    assert_eq!(by_whom(&stamped(&create(&tenant(json!({ "namespaces": [] })))).await), [""; 0]);
    let unstamped = admit(&FakeLookup::two_tenants(), &create(&tenant(strict))).await;
    assert_refused(unstamped, "forbidden", &["enact.dev/changes", "MutatingWebhookConfiguration"]);
}

/// Returns author and other authors of an object.
fn authors(object: &Value) -> [Option<&str>; 2] {
    [AUTHOR, CO_AUTHORS].map(|path| object.pointer(path).and_then(Value::as_str))
}

/// Returns the Plan with another title of its task, by `user`.
async fn retitled(plan: &Value, title: &str, user: &str) -> Value {
    stamped(&by(update(plan, &with(plan.clone(), "/spec/tasks/0/title", json!(title))), user)).await
}

/// Returns a Plan by `eve` that `bob` changed.
async fn plan_of_two() -> Value {
    let spec = json!({ "agentRef": { "name": "a" }, "tasks": [{ "id": "T001", "title": "t" }] });
    let first = stamped(&by(create(&bare("Plan", &with(spec, "/approval", json!({ "required": 2 })))), "eve")).await;
    assert_eq!(authors(&first), [Some("eve"), None]);
    let second = retitled(&first, "b", "bob").await;
    assert_admitted(admit(&FakeLookup::two_tenants(), &by(update(&first, &second), "bob")).await);
    second
}

#[tokio::test]
async fn authors_stay_until_their_content_is_approved() {
    let plan = plan_of_two().await;
    assert_eq!(authors(&plan), [Some("bob"), Some(r#"["eve"]"#)]);
    assert_eq!(authors(&retitled(&plan, "c", "eve").await), [Some("eve"), Some(r#"["bob"]"#)]);
    let both = [Some("cem"), Some(r#"["bob","eve"]"#)];
    assert_eq!(authors(&retitled(&plan, "c", "cem").await), both);

    let status = json!({
        "digest": "sha256:1", "approvedDigest": "sha256:1", "observedGeneration": 3,
        "conditions": [{ "type": "Ready", "status": "True" }],
    });
    let approved = with(with(plan, "/metadata/generation", json!(3)), "/status", status);
    assert_eq!(authors(&retitled(&approved, "c", "cem").await), [Some("cem"), None]);
    for (field, value) in [
        ("/metadata/generation", json!(4)),
        ("/status/approvedDigest", json!("sha256:0")),
        ("/status/approvedDigest", Value::Null),
        ("/status/conditions/0/status", json!("False")),
        ("/status", Value::Null),
    ] {
        let unknown = with(approved.clone(), field, value);
        assert_eq!(authors(&retitled(&unknown, "c", "cem").await), both, "{field}");
    }
    // With a looser policy, the content stays theirs.
    let loosened = with(approved.clone(), "/spec/approval/required", json!(1));
    assert_eq!(authors(&stamped(&by(update(&approved, &loosened), "cem")).await), both);
}

#[tokio::test]
async fn nobody_writes_the_other_authors() {
    let (plan, lookup) = (plan_of_two().await, FakeLookup::two_tenants());
    for user in ["bob", "system:serviceaccount:flux-system:kustomize-controller"] {
        let again = with(plan.clone(), "/metadata/annotations", Value::Null);
        assert_eq!(stamped(&by(update(&plan, &again), user)).await, plan, "applied again");
        let handled = with(plan.clone(), "/spec/suspend", json!(true));
        assert_eq!(authors(&stamped(&by(update(&plan, &handled), user)).await), authors(&plan));
    }
    for forged in [json!("[]"), json!(r#"["cem"]"#)] {
        let forged = with(plan.clone(), CO_AUTHORS, forged);
        assert_eq!(stamped(&by(update(&plan, &forged), "eve")).await, plan);
        let refused = admit(&lookup, &by(update(&plan, &forged), "eve")).await;
        assert_refused(refused, "forbidden", &["enact.dev/co-authors", "leave the annotation out"]);
    }
    let unstamped = with(retitled(&plan, "c", "eve").await, CO_AUTHORS, Value::Null);
    let refused = admit(&lookup, &by(update(&plan, &unstamped), "eve")).await;
    assert_refused(refused, "forbidden", &["enact.dev/co-authors", "MutatingWebhookConfiguration"]);
}

#[tokio::test]
async fn sets_the_tenant_label_unless_the_client_did() {
    let spec = json!({ "adapter": "Command" });
    assert_eq!(stamped(&create(&bare("Agent", &spec))).await.pointer(TENANT), Some(&json!("acme")));
    // The mutating webhook keeps a label of the client, and the validating webhook refuses it.
    let chosen = with(object("Agent", "o", &spec), TENANT, json!("other"));
    assert_eq!(stamped(&create(&chosen)).await.pointer(TENANT), Some(&json!("other")));
    // The namespace has moved to another tenant since the object was stored.
    let moved = with(with(chosen, "/metadata/namespace", json!("team-a")), "/spec/script", json!("true"));
    let old = with(moved.clone(), "/spec/script", Value::Null);
    assert_eq!(stamped(&update(&old, &moved)).await.pointer(TENANT), Some(&json!("acme")));
}

#[tokio::test]
async fn metadata_of_others_is_stamped_without_a_look() {
    let broken = FakeLookup { broken: true, ..FakeLookup::default() };
    let old = object("Plan", "o", &json!({ "agentRef": { "name": "a" } }));
    let new = with(old.clone(), "/metadata/finalizers", json!(["example.org/x"]));
    assert!(stamp(&request(&update(&old, &new)), &broken, DAY.parse().unwrap()).await.unwrap().0.is_empty());
    // A label that a client removes is added again.
    let bared = with(old.clone(), "/metadata/labels", Value::Null);
    assert_eq!(stamped(&update(&old, &bared)).await.pointer(TENANT), Some(&json!("acme")));
}

#[tokio::test]
async fn nothing_else_is_touched() {
    let spec = json!({ "source": { "inline": "x" }, "unknown~field/here": [1, null, { "by": 1 }] });
    let before = with(object("Specification", "o", &spec), "/status", json!({ "digest": "sha256:1" }));
    assert_eq!(stamped(&create(&before)).await, before);
    let bare = bare("Specification", &spec);
    let after = stamped(&create(&bare)).await;
    assert_eq!((&after["spec"], &after["metadata"]["name"]), (&bare["spec"], &bare["metadata"]["name"]));
    let outside = with(bare.clone(), "/metadata/namespace", json!("kube-system"));
    let review = by(create(&outside), "eve");
    assert_eq!(stamped(&review).await.pointer(TENANT), None);
    assert_eq!(stamped(&of(update(&before, &bare), "status")).await, bare);
    for odd in [json!(null), json!("text"), json!([1])] {
        let review = create(&with(bare.clone(), "/spec", odd));
        stamped(&review).await;
    }
}

#[tokio::test]
async fn an_unknown_tenant_is_an_error() {
    let review = create(&bare("Agent", &json!({})));
    let broken = FakeLookup { broken: true, ..FakeLookup::two_tenants() };
    assert!(stamp(&request(&review), &broken, DAY.parse().unwrap()).await.is_err());
}

fn answer(question: &str, answer: &str) -> Value {
    json!({ "question": question, "answer": answer })
}

/// Returns author and date of an entry, as the annotation at this path has them.
fn stamp_in(object: &Value, path: &str, entry: &[&str]) -> Option<(String, String)> {
    let stamps = Stamps::parse(object.pointer(path).and_then(Value::as_str));
    stamps.get(entry).map(|stamp| (stamp.by.clone(), stamp.date.clone()))
}

fn stamp_of(object: &Value, question: &str, answer: &str) -> Option<(String, String)> {
    stamp_in(object, ANSWERS, &[question, answer])
}

fn stamp_by(by: &str, date: &str) -> (String, String) {
    (by.to_owned(), date.to_owned())
}

#[tokio::test]
async fn an_answer_keeps_its_author_and_date() {
    let source = json!({ "inline": "# Feature Specification: A" });
    let spec = |answers: Value| json!({ "source": source, "clarifications": answers });
    let answers = json!([answer("Q-1", "yes"), answer("Q-2", "no")]);
    let forged = with(bare("Specification", &spec(answers.clone())), ANSWERS, json!("{\"boss\":1}"));
    let first = stamped(&create(&forged)).await;
    assert_eq!(first["spec"]["clarifications"], answers, "the list stays as the client sent it");
    assert_eq!(stamp_of(&first, "Q-1", "yes"), Some(stamp_by(ANN, "2026-11-25")));
    assert_eq!(stamp_of(&first, "Q-2", "no"), Some(stamp_by(ANN, "2026-11-25")));

    // Another user changes an answer, adds one, and repeats one.
    let changed = json!([answer("Q-3", "both"), answer("Q-2", "no"), answer("Q-1", "never")]);
    let new = with(first.clone(), "/spec/clarifications", changed);
    let stamps = first.pointer(ANSWERS).unwrap().as_str().unwrap();
    let stamps = stamps.replace(ANN, "bob").replace("2026-11-25", "2026-01-02");
    let later = with(first.clone(), ANSWERS, json!(stamps));
    let after = stamped(&by(update(&later, &new), "cem")).await;
    assert_eq!(stamp_of(&after, "Q-3", "both"), Some(stamp_by("cem", "2026-11-25")));
    assert_eq!(stamp_of(&after, "Q-2", "no"), Some(stamp_by("bob", "2026-01-02")));
    assert_eq!(stamp_of(&after, "Q-1", "never"), Some(stamp_by("cem", "2026-11-25")));
    assert_eq!(stamp_of(&after, "Q-1", "yes"), None, "it is no answer any more");
    assert_eq!(after.pointer(AUTHOR), Some(&json!("cem")), "who answers writes content");
    let odd = object("Specification", "o", &spec(json!(["text", 5])));
    assert_eq!(stamped(&create(&odd)).await["spec"]["clarifications"], json!(["text", 5]));
}

#[tokio::test]
async fn an_accepted_finding_keeps_its_author_and_date() {
    let source = json!({ "inline": "# Feature Specification: A" });
    let accepts = |at: &str, reason: &str| json!({ "code": "VagueTime", "at": at, "reason": reason });
    let spec = |accepted: Value| json!({ "source": source, "accepted": accepted });
    let stamp = |object: &Value, at: &str, reason: &str| stamp_in(object, ACCEPTED, &["VagueTime", at, reason]);
    for kind in ["Constitution", "Specification", "Plan"] {
        let one = spec(json!([accepts("FR-001", "old"), accepts("FR-002", "old")]));
        let first = stamped(&create(&with(bare(kind, &one), ACCEPTED, json!("{}")))).await;
        assert_eq!(first["spec"], one, "the list stays as the client sent it");
        assert_eq!(stamp(&first, "FR-001", "old"), Some(stamp_by(ANN, "2026-11-25")), "{kind}");

        // Another user adds one, changes one and keeps one.
        let stamps = first.pointer(ACCEPTED).unwrap().as_str().unwrap();
        let old = with(first.clone(), ACCEPTED, json!(stamps.replace(ANN, "bob").replace("2026-11-25", "2026-01-02")));
        let changed = json!([accepts("FR-003", "new"), accepts("FR-002", "new"), accepts("FR-001", "old")]);
        let after = stamped(&by(update(&old, &with(old.clone(), "/spec/accepted", changed)), "cem")).await;
        assert_eq!(stamp(&after, "FR-003", "new"), Some(stamp_by("cem", "2026-11-25")), "{kind}");
        assert_eq!(stamp(&after, "FR-002", "new"), Some(stamp_by("cem", "2026-11-25")), "{kind}");
        assert_eq!(stamp(&after, "FR-001", "old"), Some(stamp_by("bob", "2026-01-02")), "{kind}");
        assert_eq!(after.pointer(AUTHOR), Some(&json!("cem")), "who accepts a finding writes content");

        // An acceptance that was removed is new when it comes back.
        let removed = stamped(&by(update(&after, &with(after.clone(), "/spec/accepted", json!([]))), "cem")).await;
        assert_eq!(removed.pointer(ACCEPTED), None, "{kind}");
        let again = with(removed.clone(), "/spec/accepted", json!([accepts("FR-001", "old")]));
        let again = stamped(&by(update(&removed, &again), "eve")).await;
        assert_eq!(stamp(&again, "FR-001", "old"), Some(stamp_by("eve", "2026-11-25")), "{kind}");
    }
}

#[tokio::test]
async fn a_choice_has_the_name_of_who_chooses() {
    const CHOSEN: &str = "/metadata/annotations/enact.dev~1chosen";
    let chosen = |agent: &str| {
        let chosen = json!({ "agent": agent, "digest": format!("sha256:{agent}") });
        let generate = json!({ "agents": [{ "name": "claude" }, { "name": "codex" }], "chosen": chosen });
        object("Plan", "o", &json!({ "specificationRef": { "name": "o" }, "generate": generate }))
    };
    let stamp = |object: &Value, agent: &str| {
        let stamps = Stamps::parse(object.pointer(CHOSEN).and_then(Value::as_str));
        stamps.get(&[agent, &format!("sha256:{agent}")]).map(|stamp| (stamp.by.clone(), stamp.date.clone()))
    };
    let first = stamped(&create(&chosen("claude"))).await;
    assert_eq!(stamp(&first, "claude"), Some((ANN.into(), "2026-11-25".into())));
    let after = stamped(&by(update(&first, &chosen("codex")), "cem")).await;
    assert_eq!((stamp(&after, "codex"), stamp(&after, "claude")), (Some(("cem".into(), "2026-11-25".into())), None));
    assert_eq!(after.pointer(AUTHOR), Some(&json!("cem")), "who chooses a proposal writes content");
    let suspended = with(first.clone(), "/spec/suspend", json!(true));
    let after = stamped(&by(update(&first, &suspended), "cem")).await;
    assert_eq!(after.pointer(CHOSEN), first.pointer(CHOSEN), "who sends a known choice again has not made it");
}

#[tokio::test]
async fn applying_again_changes_nothing_for_any_user_and_patch_type() {
    let accepted = json!([{ "code": "VagueTime", "at": "FR-001", "reason": "each team decides" }]);
    let spec = json!({
        "source": { "inline": "# Feature Specification: A" }, "clarifications": [answer("Q-1", "yes")], "accepted": accepted,
    });
    let manifest = bare("Specification", &spec);
    let stored = stamped(&create(&manifest)).await;
    // Client-side apply and merge patches replace the list and keep other annotations; server-side apply merges the list by question.
    let merged = with(stored.clone(), "/spec/clarifications", json!([answer("Q-1", "yes")]));
    // `kubectl replace` drops annotations and labels that the manifest does not have.
    for (sent, how) in [(merged, "apply"), (stored.clone(), "server-side apply"), (manifest, "replace")] {
        for user in [ANN, "system:serviceaccount:flux-system:kustomize-controller", "dana"] {
            let review = by(update(&stored, &sent), user);
            let after = stamped(&review).await;
            assert_eq!(after, stored, "{how} by {user}");
            assert_admitted(admit(&FakeLookup::two_tenants(), &by(update(&stored, &after), user)).await);
        }
    }
    // Nobody changes the author of an entry, with or without a change of the list.
    for (path, key) in [(ANSWERS, "enact.dev/answers"), (ACCEPTED, "enact.dev/accepted")] {
        let forged =
            with(stored.clone(), path, json!(stored.pointer(path).unwrap().as_str().unwrap().replace(ANN, "eve")));
        assert_eq!(stamped(&by(update(&stored, &forged), "eve")).await, stored);
        let parts = [key, "leave the annotation out"];
        assert_refused(
            admit(&FakeLookup::two_tenants(), &by(update(&stored, &forged), "eve")).await,
            "forbidden",
            &parts,
        );
        let dropped = with(stored.clone(), path, Value::Null);
        assert_refused(
            admit(&FakeLookup::two_tenants(), &by(update(&stored, &dropped), "eve")).await,
            "forbidden",
            &parts,
        );
    }
}

#[tokio::test]
async fn a_message_is_by_who_sends_it() {
    const MESSAGES: &str = "/metadata/annotations/enact.dev~1messages";
    let task = object("Task", "shop-t001", &json!({ "planRef": { "name": "shop" }, "id": "T001", "title": "t" }));
    let sent = |messages: Value| with(task.clone(), MESSAGES, json!(messages.to_string()));
    let bobs = json!({ "id": 1, "text": "one", "by": "bob", "at": "2026-11-24T10:00:00Z" });
    let old = sent(json!([bobs]));
    let forged = json!({ "id": 1, "text": "one", "by": ANN, "at": "2026-11-24T10:00:00Z" });
    let new = sent(json!([forged, { "id": 2, "text": "two", "by": "boss" }]));
    let after = stamped(&update(&old, &new)).await;
    let messages: Value = serde_json::from_str(after.pointer(MESSAGES).unwrap().as_str().unwrap()).unwrap();
    assert_eq!(messages, json!([bobs, { "id": 2, "text": "two", "by": ANN, "at": DAY }]));
    // Others change the Task without becoming the author, and what is no list is left to the validating webhook.
    assert_eq!(
        stamped(&update(&old, &with(old.clone(), "/metadata/labels/team", json!("red")))).await.pointer(MESSAGES),
        old.pointer(MESSAGES)
    );
    let broken = with(task.clone(), MESSAGES, json!("hello"));
    assert_eq!(stamped(&update(&task, &broken)).await, broken);
}
