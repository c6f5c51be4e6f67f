//! Probes of Agents against an API server and a record store in memory.

use enact_domain::agents::health::End;
use enact_store::AgentEnd;
use serde_json::Value;

use super::*;
use crate::testing::Bench;

/// Returns a bench with a coding agent that is old enough for its probe.
async fn bench(fields: &Value) -> Bench {
    let mut bench = Bench::new().await;
    put(&bench, fields);
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!(bench.api.all("pods").len(), 0, "an attempt may come first");
    bench.pass(30);
    bench
}

fn put(bench: &Bench, fields: &Value) {
    let mut spec = json!({"adapter": "ClaudeCode", "image": "claude:1"});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    bench.api.put(
        "agents/coder",
        json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": "coder", "namespace": "ns", "generation": 1}, "spec": spec,
        }),
    );
}

fn pods(bench: &Bench) -> Vec<String> {
    bench.api.all("pods").iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Ends the only pod with a report.
fn end(bench: &Bench, reason: &str, message: &str) {
    let report = json!({"reason": reason, "message": message}).to_string();
    let (phase, code) = if reason == "Succeeded" { ("Succeeded", 0) } else { ("Failed", 1) };
    let state = json!({"terminated": {"exitCode": code, "message": report}});
    let status = json!({"phase": phase, "containerStatuses": [{"name": "agent", "state": state}]});
    bench.api.change(&format!("pods/{}", pods(bench)[0]), &json!({ "status": status }));
}

fn ready(bench: &Bench) -> (String, String) {
    let condition = bench.api.get("agents/coder")["status"]["conditions"][0].clone();
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

#[tokio::test]
async fn an_image_is_probed_once() {
    let mut bench = bench(&json!({})).await;
    bench.reconcile_agent("coder").await.unwrap();
    let pod = bench.api.all("pods")[0].clone();
    assert!(pods(&bench)[0].starts_with("coder-probe-"), "{:?}", pods(&bench));
    assert_eq!(pod["metadata"]["labels"]["enact.dev/role"], "probe");
    let container = &pod["spec"]["containers"][0];
    assert_eq!((&container["image"], &container["command"][1]), (&json!("claude:1"), &json!("probe")));
    let job = container["env"][0]["value"].as_str().unwrap().replace("$$", "$");
    let job: ProbeJob = serde_json::from_str(&job).unwrap();
    assert_eq!((job.agent.as_str(), job.run.adapter.as_str(), job.model), ("coder", "ClaudeCode", false));
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!((pods(&bench).len(), ready(&bench).0.as_str()), (1, "Valid"), "unknown is not unready");

    end(&bench, "Succeeded", "2.1.330 (Claude Code)");
    bench.reconcile_agent("coder").await.unwrap();
    let probe = bench.api.get("agents/coder")["status"]["probe"].clone();
    assert_eq!((&probe["reason"], &probe["message"]), (&json!("Succeeded"), &json!("2.1.330 (Claude Code)")));
    assert_eq!((pods(&bench).len(), ready(&bench).0.as_str()), (0, "Valid"));
    bench.pass(10_000);
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!(pods(&bench).len(), 0, "not again");
    put(&bench, &json!({"image": "claude:2"}));
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!(pods(&bench).len(), 1, "another image");
    put(&bench, &json!({"image": "claude:3"}));
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!(pods(&bench).len(), 0, "a probe of an older image shows nothing");
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!(bench.api.all("pods")[0]["spec"]["containers"][0]["image"], "claude:3");
}

#[tokio::test]
async fn a_failing_probe_makes_the_agent_unready_until_an_attempt_runs() {
    let mut bench = bench(&json!({})).await;
    bench.reconcile_agent("coder").await.unwrap();
    end(&bench, "AgentCrashed", "the image has no program `claude`");
    bench.reconcile_agent("coder").await.unwrap();
    let (reason, message) = ready(&bench);
    assert_eq!((reason.as_str(), pods(&bench).len()), ("ImageProbeFailed", 0));
    assert!(message.starts_with("its probe failed with AgentCrashed: the image has no program `claude`;"), "{message}");
    bench.pass(500);
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!(pods(&bench).len(), 0, "not at once");

    let at = bench.contexts.common.now();
    let ended = End { reason: Reason::Succeeded, message: String::new(), at, quota_reset: None };
    bench.contexts.common.agent_health.add(&("ns".into(), "coder".into()), Some(1), &ended);
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!(ready(&bench).0, "Valid");
    bench.pass(1_000);
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!(pods(&bench).len(), 0, "the record shows that it works");
}

#[tokio::test]
async fn nothing_is_probed_that_works_or_that_nobody_wants_to_be_probed() {
    let mut bench = bench(&json!({"probe": "Off"})).await;
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!(pods(&bench).len(), 0, "it is off");

    let mut bench = Bench::new().await;
    let end =
        End { reason: Reason::GateFailed, message: String::new(), at: Millis(1_767_225_600_000), quota_reset: None };
    let ended = AgentEnd { namespace: "ns".into(), agent: "coder".into(), end };
    bench.record_store.ends.lock().unwrap().push(ended);
    put(&bench, &json!({}));
    bench.pass(1_000);
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!(pods(&bench).len(), 0, "the record shows that it works");

    let mut bench = self::bench(&json!({})).await;
    bench.contexts.common.agent_health.start(("ns".into(), "coder".into()), bench.contexts.common.now());
    bench.reconcile_agent("coder").await.unwrap();
    assert_eq!(pods(&bench).len(), 0, "an attempt shows more");
}

#[tokio::test]
async fn a_model_is_asked_only_on_demand() {
    let mut bench = Bench::new().await;
    bench.add_provider(&json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider", "metadata": {"name": "claude", "namespace": "ns"},
        "spec": {"api": "Anthropic", "baseUrl": "https://api.example.org"},
    }));
    let models = json!([{"provider": "claude", "model": "claude-5"}]);
    for (mode, asks) in [("Image", false), ("Model", true)] {
        bench.api.clear();
        put(&bench, &json!({"models": models, "probe": mode}));
        bench.pass(60);
        bench.reconcile_agent("coder").await.unwrap();
        let pod = bench.api.all("pods")[0].clone();
        let agent = if asks { json!("coder") } else { Value::Null };
        assert_eq!(pod["metadata"]["annotations"]["enact.dev/agent"], agent, "{mode}");
        let job = pod["spec"]["containers"][0]["env"][0]["value"].as_str().unwrap().replace("$$", "$");
        let job: ProbeJob = serde_json::from_str(&job).unwrap();
        assert_eq!(job.model, asks, "{mode}");
    }
}
