//! Drafts by an agent: the attempts, and the content of their prompts.

use enact_crds::subject::Approvable as _;

use super::*;

#[tokio::test]
async fn next_attempt_gets_the_last_problem() {
    let mut scene = Scene::drafting().await;
    let first = scene.poll().await;
    assert_eq!(state(&first), (Progress::Reconciling, "Drafting"));
    let work = scene.drafts();
    assert_eq!((work.name.as_str(), work.attempt, work.agent.as_str()), ("cart", 1, "scribe"));
    assert!(work.prompt.contains("Sell flowers.") && !work.prompt.contains("previous"), "{}", work.prompt);
    let pod = scene.pod();
    assert_eq!(pod["metadata"]["labels"]["enact.dev/role"], "draft");
    assert_eq!(pod["spec"]["activeDeadlineSeconds"], 900);
    scene.poll().await;
    assert_eq!(scene.pods(), 1);

    scene.brings(Some(BAD), None).await;
    let invalid = scene.poll().await;
    let draft = invalid.draft.unwrap();
    assert!(draft.problem.as_deref().is_some_and(|p| p.contains("0 user stories") && p.contains("line ")), "{draft:?}");
    assert_eq!((draft.attempts, draft.digest), (1, None));
    assert!(invalid.bytes.unwrap_err().message.contains("attempt 1 of 2"));
    scene.poll().await;
    assert_eq!(scene.drafts().attempt, 1, "the next attempt waits");

    scene.bench.pass(12);
    scene.poll().await;
    assert_eq!(scene.bench.api.all("pods").len(), 2, "the last one's document was needed until now");
    scene.poll().await;
    let work = scene.drafts();
    assert_eq!(work.attempt, 2);
    assert!(work.prompt.contains("0 user stories") && work.prompt.contains("Nothing."), "{}", work.prompt);

    scene.brings(Some(GOOD), None).await;
    let drafted = scene.poll().await;
    assert_eq!(drafted.bytes.as_deref(), Ok(GOOD.as_bytes()));
    let done = scene.tidy().await;
    assert_eq!(done.bytes.as_deref(), Ok(GOOD.as_bytes()));
    let written = scene.written;
    scene.bench.pass(1000);
    scene.poll().await;
    assert_eq!((scene.written, scene.pods()), (written, 0), "what is drafted is not drafted again");
}

#[tokio::test]
async fn who_wrote_the_agent_of_each_attempt_is_kept() {
    let mut scene = Scene::drafting().await;
    let scribe = || json!({"adapter": "Command", "script": "true"});
    scene.bench.agent_by("eve", "scribe", scribe());
    scene.poll().await;
    // The status that counts the pod could not be written, and somebody else changed the Agent since.
    scene.draft = None;
    scene.bench.agent_by("bob", "scribe", scribe());
    assert_eq!(scene.poll().await.draft.unwrap().authors, ["eve"]);
    scene.brings(Some(BAD), None).await;
    scene.poll().await;
    scene.bench.pass(12);
    scene.poll().await;
    scene.poll().await;
    scene.brings(Some(GOOD), None).await;
    let drafted = scene.poll().await.draft.unwrap();
    assert_eq!((drafted.attempts, drafted.digest.is_some()), (2, true));
    assert_eq!(drafted.authors, ["eve", "bob"], "the second attempt has read the first document");
    scene.change(|object| object.spec.request = Some("Sell trees.".into()));
    assert_eq!(scene.poll().await.draft.unwrap().authors, ["bob"], "the document is replaced");
}

#[tokio::test]
async fn who_serves_the_models_of_an_agent_is_an_author_of_its_draft() {
    let mut scene = Scene::drafting().await;
    let metadata = json!({"name": "claude", "namespace": "ns", "annotations": {"enact.dev/author": "mia"}});
    scene.bench.add_provider(&json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider", "metadata": metadata,
        "spec": {"api": "Anthropic", "baseUrl": "https://api.example.org"},
    }));
    let models = json!([{"provider": "claude", "model": "claude-5"}]);
    scene.bench.agent_by("eve", "scribe", json!({"adapter": "Command", "script": "true", "models": models}));
    assert_eq!(scene.poll().await.draft.unwrap().authors, ["eve", "mia"]);
    // The status that counts the pod could not be written.
    scene.draft = None;
    assert_eq!(scene.poll().await.draft.unwrap().authors, ["eve", "mia"]);
}

/// Bob makes the request, and eve's Agent writes the document.
#[tokio::test]
async fn who_wrote_the_agent_does_not_approve_its_draft() {
    let mut scene = Scene::drafting().await;
    let scribe = || json!({"adapter": "Command", "script": "true"});
    scene.bench.agent_by("eve", "scribe", scribe());
    let annotations = json!({"enact.dev/author": "bob"});
    scene.bench.api.put(
        "specifications/cart",
        json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Specification",
            "metadata": {"name": "cart", "namespace": "ns", "generation": 1, "annotations": annotations},
            "spec": {"request": "Sell flowers.", "drafting": {"agentRef": {"name": "scribe"}},
                "approval": {"required": 1, "fourEyes": true}},
        }),
    );
    scene.bench.specification("cart").await.unwrap();
    scene.bench.agent_by("bob", "scribe", scribe());
    scene.brings(Some(GOOD), None).await;
    scene.bench.specification("cart").await.unwrap();
    for (user, reason) in [("bob", "WaitingForApproval"), ("eve", "WaitingForApproval"), ("ann", "Approved")] {
        let stored = scene.bench.api.get("specifications/cart");
        let subject = json!({"kind": "Specification", "name": "cart"});
        scene.bench.approval(&json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Approval",
            "metadata": {"name": user, "namespace": "ns", "uid": user, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"subject": subject, "digest": stored["status"]["digest"], "decision": "Approve",
                "by": {"user": user, "groups": []}},
        }));
        scene.bench.specification("cart").await.unwrap();
        assert_eq!(scene.bench.api.get("specifications/cart")["status"]["conditions"][0]["reason"], reason, "{user}");
        let stored: Specification = serde_json::from_value(stored).unwrap();
        assert_eq!(stored.authors().contains(user), user != "ann", "the webhook says the same");
    }
}

#[tokio::test]
async fn a_draft_says_why_its_pod_waits() {
    let mut scene = Scene::drafting().await;
    scene.poll().await;
    let condition =
        json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"});
    scene.bench.set_job_status(&scene.name(), json!({"phase": "Pending", "conditions": [condition]})).await;
    let waits = scene.poll().await.bytes.unwrap_err();
    assert_eq!((waits.progress, &*waits.reason), (Progress::Reconciling, "Unschedulable"));
    let message = "Agent scribe drafts the document (attempt 1 of 2): its pod waits for a node: 0/1 nodes (since ";
    assert!(waits.message.starts_with(message), "{waits:?}");
    scene.bench.set_job_status(&scene.name(), json!({"phase": "Running"})).await;
    assert_eq!(state(&scene.poll().await), (Progress::Reconciling, "Drafting"));
}

#[tokio::test]
async fn a_volume_that_cannot_be_mounted_is_named() {
    let mut scene = Scene::drafting().await;
    scene.poll().await;
    let pod = scene.pod()["metadata"].clone();
    scene.bench.api.put(
        "events/mount",
        json!({"metadata": {"name": "mount", "namespace": "ns"}, "type": "Warning", "reason": "FailedMount",
            "message": "secret \"keys\" not found", "lastTimestamp": "2026-01-01T00:00:01Z",
            "involvedObject": {"kind": "Pod", "name": pod["name"], "uid": pod["uid"]}}),
    );
    let conditions = json!([{"type": "PodScheduled", "status": "True"}]);
    let status = json!({"phase": "Pending", "startTime": "2026-01-01T00:00:00Z", "conditions": conditions});
    scene.bench.set_job_status(&scene.name(), status).await;
    let soon = scene.poll().await;
    assert_eq!(state(&soon), (Progress::Reconciling, "Drafting"), "a setup takes some seconds");
    let wait = soon.requeue_at.unwrap().since(scene.bench.contexts.common.now());
    assert!(wait <= 5000, "{wait}");
    scene.bench.pass(4);
    let waits = scene.poll().await;
    let message = &waits.bytes.as_ref().unwrap_err().message;
    assert!(message.contains("its pod cannot start") && message.contains("secret \"keys\" not found"), "{message}");
    assert_eq!(state(&waits), (Progress::Reconciling, "ContainerConfigError"));
}

#[tokio::test]
async fn last_failed_attempt_is_reported() {
    let mut scene = Scene::drafting().await;
    scene.poll().await;
    scene.fails("AgentFailed", "the script exited with 3").await;
    scene.poll().await;
    scene.bench.pass(12);
    scene.poll().await;
    scene.poll().await;
    scene.brings(Some(BAD), None).await;
    let failed = scene.poll().await.bytes.unwrap_err();
    assert_eq!((failed.progress, &*failed.reason), (Progress::Stalled, "DraftFailed"));
    for part in ["2 attempts", "spec.drafting.maxAttempts", "0 user stories"] {
        assert!(failed.message.contains(part), "{failed:?}");
    }
    scene.tidy().await;
    scene.bench.pass(10_000);
    assert_eq!(scene.poll().await.bytes.unwrap_err(), failed);
    assert_eq!(scene.pods(), 0);
    scene.change(|object| object.spec.drafting.as_mut().unwrap().max_attempts = 3);
    scene.poll().await;
    assert_eq!(scene.drafts().attempt, 3, "more attempts can be asked for");
    scene.change(|object| object.spec.request = Some("Sell trees.".into()));
    scene.poll().await;
    let work = scene.drafts();
    assert_eq!((work.attempt, work.prompt.contains("Sell trees."), work.prompt.contains("previous")), (1, true, false));
}

#[tokio::test]
async fn a_restart_keeps_the_drafts_that_the_status_has() {
    let mut scene = Scene::drafting().await;
    scene.poll().await;
    let pod = scene.pod()["metadata"]["uid"].clone();
    scene.bench.contexts.sourcing.jobs.restart();
    let kept = scene.poll().await;
    assert_eq!((state(&kept), &scene.pod()["metadata"]["uid"]), ((Progress::Reconciling, "Drafting"), &pod));
    scene.brings(Some(GOOD), None).await;
    assert_eq!(scene.poll().await.bytes.as_deref(), Ok(GOOD.as_bytes()));
}

#[tokio::test]
async fn a_restart_repeats_a_draft_that_no_status_has() {
    let mut scene = Scene::drafting().await;
    scene.poll().await;
    let pod = scene.pod()["metadata"]["uid"].clone();
    scene.bench.contexts.sourcing.jobs.restart();
    scene.draft = None;
    let again = scene.poll().await.draft.unwrap();
    assert_eq!((again.attempts, again.pod_uid.as_deref()), (1, scene.pod()["metadata"]["uid"].as_str()));
    assert_ne!(scene.pod()["metadata"]["uid"], pod);
}

#[tokio::test]
async fn a_copy_of_a_pod_delivers_no_draft() {
    let mut scene = Scene::drafting().await;
    scene.poll().await;
    for is_counted in [false, true] {
        scene.copies().await;
        if !is_counted {
            scene.draft = None;
        }
        scene.brings(Some(GOOD), None).await;
        let sourced = scene.poll().await;
        assert!(sourced.bytes.is_err(), "{sourced:?}");
        assert_eq!(sourced.draft.unwrap().attempts, 1 + u32::from(is_counted));
        assert_ne!(scene.pod()["metadata"]["uid"], "copy", "another pod drafts");
    }
}

#[tokio::test]
async fn a_pod_with_the_name_of_the_next_one_is_deleted() {
    let mut scene = Scene::drafting().await;
    scene.poll().await;
    // The watch has not delivered the copy yet.
    scene.copies().await;
    scene.draft = None;
    let waits = scene.poll().await;
    let message = &waits.bytes.as_ref().unwrap_err().message;
    assert!(message.contains("exists and is being deleted"), "{message}");
    assert_eq!((waits.draft.unwrap().attempts, scene.pods()), (0, 0));
    assert_eq!(scene.poll().await.draft.unwrap().attempts, 1);
}

#[tokio::test]
async fn a_lost_status_starts_no_second_attempt() {
    let mut scene = Scene::drafting().await;
    scene.poll().await;
    let pod = scene.name();
    // The pod was made, and the status that reports it could not be written.
    scene.draft = None;
    let again = scene.poll().await;
    assert_eq!((again.draft.unwrap().attempts, scene.name()), (1, pod));
    // A pod that vanished has had its attempt.
    let gone = scene.pod();
    scene.bench.api.remove(&format!("pods/{}", scene.name()));
    scene.bench.delete_job(gone).await;
    scene.poll().await;
    assert_eq!(scene.drafts().attempt, 2);
}

#[tokio::test]
async fn source_takes_precedence_over_a_draft() {
    let mut scene = Scene::drafting().await;
    scene.poll().await;
    scene.change(|object| object.spec.source = serde_json::from_value(json!({"inline": BAD})).unwrap());
    assert_eq!(scene.poll().await.bytes.as_deref(), Ok(BAD.as_bytes()));
    assert_eq!(scene.pods(), 0);
    scene.change(|object| {
        object.spec.source = None;
        object.spec.drafting = None;
    });
    let nobody = scene.poll().await.bytes.unwrap_err();
    assert_eq!((nobody.progress, &*nobody.reason), (Progress::Stalled, "SourceMissing"));
}

#[tokio::test]
async fn draft_waits_for_its_agent() {
    let mut scene = Scene::drafting().await;
    scene.bench.no_agent("scribe");
    let missing = scene.poll().await.bytes.unwrap_err();
    assert_eq!((missing.progress, &*missing.reason), (Progress::Reconciling, "AgentNotFound"));
    let drafting = scene.object.spec.drafting.as_ref();
    let targets: Vec<Target> = targets(["ns", "enact-system"], None, drafting).collect();
    assert_eq!(targets, ["ns", "enact-system"].map(|namespace| Target::new::<Agent>(namespace, "scribe")));
    scene.bench.agent_with("scribe", json!({"adapter": "Command", "script": "true"}));
    scene.poll().await;
    assert_eq!(scene.drafts().attempt, 1);
}

#[tokio::test]
async fn a_draft_waits_for_an_agent_that_is_suspended() {
    let mut scene = Scene::drafting().await;
    scene.bench.agent_with("scribe", json!({"adapter": "Command", "script": "true", "suspend": true}));
    let waits = scene.poll().await.bytes.unwrap_err();
    assert_eq!((waits.progress, &*waits.reason), (Progress::Reconciling, "Drafting"));
    assert!(waits.message.contains("the Agent scribe is suspended"), "{}", waits.message);
    scene.bench.agent_with("scribe", json!({"adapter": "Command", "script": "true"}));
    scene.poll().await;
    assert_eq!(scene.drafts().attempt, 1);
}

#[tokio::test]
async fn an_agent_that_the_installation_shares_drafts() {
    let mut scene = Scene::drafting().await;
    scene.bench.no_agent("scribe");
    scene.bench.add_provider(&json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider",
        "metadata": {"name": "claude", "namespace": "enact-system"},
        "spec": {"api": "Anthropic", "baseUrl": "https://api.example.org"},
    }));
    let shared = |tenant: &str| {
        let models = json!([{"provider": "claude", "model": "claude-5"}]);
        json!({"adapter": "ClaudeCode", "models": models, "shareWith": {"tenants": [tenant]}})
    };
    scene.bench.agent_in("enact-system", "scribe", shared("other"));
    let missing = scene.poll().await.bytes.unwrap_err();
    assert_eq!((missing.progress, &*missing.reason), (Progress::Reconciling, "AgentNotFound"));
    scene.bench.agent_in("enact-system", "scribe", shared("default"));
    scene.poll().await;
    let pod = scene.pod();
    assert_eq!(pod["metadata"]["namespace"], "ns", "its pods run in the namespace of the document");
    assert_eq!(pod["metadata"]["annotations"]["enact.dev/agent"], "scribe");
}

#[tokio::test]
async fn an_agent_with_models_waits_for_a_gateway() {
    let mut scene = Scene::drafting().await;
    scene.bench = Bench::with_config(config()).await;
    let models = json!([{"provider": "claude", "model": "claude-5"}]);
    scene.bench.agent_with("scribe", json!({"adapter": "ClaudeCode", "models": models}));
    scene.bench.add_provider(&json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider", "metadata": {"name": "claude", "namespace": "ns"},
        "spec": {"api": "Anthropic", "baseUrl": "https://api.example.org"},
    }));
    let waits = scene.poll().await.bytes.unwrap_err();
    assert_eq!((waits.progress, &*waits.reason), (Progress::Reconciling, "AgentNotReady"));
    assert!(waits.message.contains("spec.models[0]: this installation runs no model gateway"), "{}", waits.message);
}

#[tokio::test]
async fn an_agent_with_models_drafts_through_the_gateway() {
    let mut scene = Scene::drafting().await;
    let gateway_url = Some("http://enact-gateway.enact-system.svc:8090".to_owned());
    scene.bench = Bench::with_config(Config { gateway_url: gateway_url.clone(), ..config() }).await;
    let models = json!([{"provider": "claude", "model": "claude-5"}]);
    scene.bench.agent_with("scribe", json!({"adapter": "ClaudeCode", "models": models}));
    let missing = scene.poll().await.bytes.unwrap_err();
    assert_eq!((missing.progress, &*missing.reason), (Progress::Reconciling, "AgentNotReady"));
    assert!(missing.message.contains("spec.models[0]: there is no ModelProvider claude"), "{}", missing.message);
    scene.bench.add_provider(&json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider", "metadata": {"name": "claude", "namespace": "ns"},
        "spec": {"api": "Anthropic", "baseUrl": "https://api.example.org"},
    }));
    scene.poll().await;
    let pod = scene.pod();
    assert_eq!(pod["metadata"]["annotations"]["enact.dev/agent"], "scribe");
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let token = volumes.iter().find(|volume| volume["name"] == "token").unwrap();
    assert_eq!(token["projected"]["sources"][1]["serviceAccountToken"]["audience"], "enact-gateway");
    let Adapter::Agent(run) = scene.drafts().adapter else { panic!("a coding agent was expected") };
    assert_eq!((run.gateway_url, run.model.as_deref()), (gateway_url, Some("claude-5")));
}

#[tokio::test]
async fn an_agent_that_names_the_model_keys_drafts_nothing() {
    let mut scene = Scene::drafting().await;
    let env = json!([{"name": "A", "secretKeyRef": {"name": "enact-model-keys", "key": "k"}}]);
    scene.bench.agent_with("scribe", json!({"adapter": "Command", "script": "true", "env": env}));
    let refused = scene.poll().await.bytes.unwrap_err();
    assert_eq!((refused.progress, &*refused.reason), (Progress::Stalled, "AgentNotReady"));
    assert_eq!(scene.pods(), 0);
}

#[tokio::test]
async fn prompt_contains_the_effective_constitution() {
    let mut scene = Scene::drafting().await;
    scene.object.spec.constitution_ref = Some(LocalRef { name: "shop".into() });
    let missing = scene.poll().await.bytes.unwrap_err();
    assert_eq!((missing.progress, &*missing.reason), (Progress::Reconciling, "WaitingForConstitution"));
    let force = |scene: &mut Scene, name: &str, principle: &str, ready: &str, more: Value| {
        let text = format!("# A Constitution\n\n## Core Principles\n\n### I. {principle}\n\nTests MUST come first.\n");
        scene.bench.record_store.documents.lock().unwrap().push(text.as_bytes().to_vec());
        let mut spec = json!({"source": {"inline": text}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        scene.bench.constitution_is(&json!({
            "metadata": {"name": name, "namespace": "ns", "generation": 1}, "spec": spec,
            "status": {"observedGeneration": 1, "digest": Digest::of_bytes(text.as_bytes()).as_str(), "conditions": [{"type": "Ready",
                "status": ready, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
        }));
    };
    let rule = json!({"name": "binds", "appliesTo": "Specification", "expression": "true", "message": "every requirement binds"});
    let more = json!({"parentRef": {"name": "platform"}, "rules": [rule]});
    force(&mut scene, "shop", "Test-First", "True", more.clone());
    assert!(scene.poll().await.bytes.unwrap_err().message.contains("no Constitution ns/platform"));
    force(&mut scene, "platform", "Privacy", "True", json!({}));
    scene.poll().await;
    let prompt = scene.drafts().prompt;
    assert!(["Test-First", "Privacy", "MUST: every requirement binds"].iter().all(|p| prompt.contains(p)), "{prompt}");
    scene.brings(Some(GOOD), None).await;
    scene.poll().await;
    scene.tidy().await;
    for (principle, ready) in [("Test-First", "False"), ("Simplicity", "True")] {
        force(&mut scene, "shop", principle, ready, more.clone());
        assert_eq!(
            scene.poll().await.bytes.as_deref(),
            Ok(GOOD.as_bytes()),
            "what was drafted stays, and is judged by it"
        );
    }
    assert_eq!(scene.pods(), 0);
}
