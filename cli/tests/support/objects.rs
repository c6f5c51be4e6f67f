//! Objects as the API server returns them.

use serde_json::{Value, json};

use crate::fake::Answer;

pub const ENACT: &str = "/apis/enact.dev/v1alpha1/namespaces/demo";
pub const PODS: &str = "/api/v1/namespaces/demo/pods";
pub const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub fn object(kind: &str, name: &str, more: Value) -> Value {
    let mut object = json!({
        "apiVersion": "enact.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": name, "namespace": "demo", "uid": format!("uid-of-{name}"), "generation": 1, "resourceVersion": "7" },
    });
    merge(&mut object, more);
    object
}

pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

pub fn list(kind: &str, items: &[Value]) -> Answer {
    Answer::Ok(json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": format!("{kind}List"), "metadata": { "resourceVersion": "9" }, "items": items,
    }))
}

pub fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

pub fn specification() -> Value {
    object(
        "Specification",
        "shop",
        json!({
            "metadata": { "annotations": { "enact.dev/author": "ann\u{1b}[2Ja" } },
            "spec": { "source": { "inline": "# Shop" }, "approval": { "required": 2, "groups": ["leads"] } },
            "status": {
                "observedGeneration": 1, "conditions": [], "digest": DIGEST, "title": "The \u{1b}]0;shop", "stories": 3, "requirements": 12,
                "topFindings": [{
                    "id": "FOR-1", "category": "Format", "line": 4, "code": "X", "severity": "Medium", "message": "no priority",
                    "remedy": "give one",
                }],
            },
        }),
    )
}

pub fn task(id: &str, phase: &str, attempts: u32) -> Value {
    object(
        "Task",
        &format!("shop-{}", id.to_lowercase()),
        json!({
            "metadata": { "labels": { "enact.dev/tenant": "acme" }, "annotations": { "enact.dev/rerun": "3" } },
            "spec": { "planRef": { "name": "shop" }, "id": id, "title": "Sell things" },
            "status": {
                "phase": phase, "attempts": attempts, "observedRerun": "3",
                "conditions": [condition("Ready", "False", "GateFailed", "gate `sells`: exit code 1")],
            },
        }),
    )
}

pub fn plan(phase: &str, more: Value) -> Value {
    let mut plan = object(
        "Plan",
        "shop",
        json!({
            "spec": { "agentRef": { "name": "scripts" }, "source": { "inline": "# Tasks" }, "workspace": { "url": "https://x/y" } },
            "status": { "observedGeneration": 1, "conditions": [], "phase": phase, "digest": DIGEST },
        }),
    );
    merge(&mut plan, more);
    plan
}

pub fn pod(name: &str, phase: &str) -> Value {
    let container = |name: &str| json!({ "name": name, "state": { "terminated": { "exitCode": 0 } } });
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "demo", "resourceVersion": "7" },
        "spec": { "initContainers": [{ "name": "prepare" }], "containers": [{ "name": "agent" }] },
        "status": {
            "phase": phase, "initContainerStatuses": [container("prepare")], "containerStatuses": [container("agent")],
        },
    })
}

// Decisions.
