//! Reviews as the API server writes them.

use std::fmt::Write as _;

use enact_crds::compile::MAX_TASKS;
use serde_json::{Value, json};

const VERSION: &str = "v1alpha1";

/// Returns the review of a change of a Task's status by the operator.
pub fn task_status(namespace: &str, operator: &str) -> Vec<u8> {
    let conditions = |status: &str| {
        let condition = |name: &str| {
            json!({
                "type": name, "status": status, "reason": "AttemptStarted", "message": "attempt 1 runs as pod wide-t00001-1",
                "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        json!([condition("Ready"), condition("Reconciling"), condition("Stalled")])
    };
    let task = |phase: &str, attempts: u32, status: &str| {
        json!({
            "apiVersion": format!("enact.dev/{VERSION}"), "kind": "Task",
            "metadata": {
                "name": "wide-t00001", "namespace": namespace, "uid": "6f2d3c1a-0000-4000-8000-000000000001", "generation": 1,
                "labels": { "enact.dev/tenant": namespace, "enact.dev/plan": "wide", "enact.dev/task": "wide-t00001" },
            },
            "spec": {
                "planRef": { "name": "wide" },
                "task": { "id": "T00001", "title": "Add the order", "prompt": "Add the order with its tests. ".repeat(20) },
            },
            "status": { "observedGeneration": 1, "phase": phase, "attempts": attempts, "conditions": conditions(status) },
        })
    };
    let (new, old) = (task("Running", 1, "True"), task("Pending", 0, "False"));
    review("UPDATE", "tasks", &new, &old, Some("status"), operator)
}

/// Returns the review of a new Plan of this many tasks.
pub fn plan(namespace: &str, tasks: usize) -> Vec<u8> {
    let task = |n: usize| {
        let before: Vec<String> = (1..n).last().map(|n| format!("T{n:05}")).into_iter().collect();
        json!({
            "id": format!("T{n:05}"), "title": format!("Add the field {n} in src/orders/order_{n}.rs with its tests"),
            "dependsOn": before,
        })
    };
    let tasks: Vec<Value> = (1..=tasks).map(task).collect();
    let spec = json!({ "agentRef": { "name": "played" }, "execution": { "parallelism": 10 }, "tasks": tasks });
    create("Plan", "plans", namespace, "dana@example.org", &spec)
}

/// Returns the review of the largest new Plan.
pub fn largest_plan(namespace: &str) -> Vec<u8> {
    plan(namespace, MAX_TASKS)
}

/// Returns the review of a new Specification by `author`, whose document has at most this many bytes.
pub fn specification(namespace: &str, author: &str, bytes: usize) -> Vec<u8> {
    let mut document = String::from(
        "# Feature Specification: Orders\n\n**Status**: Draft\n\n## User Scenarios & Testing\n\n### User Story 1 - Order (Priority: \
         P1)\n\nA customer orders.\n\n**Why this priority**: without it nobody buys.\n\n**Independent Test**: order and \
         look.\n\n**Acceptance Scenarios**:\n\n1. **Given** a cart, **When** a customer orders, **Then** the order is stored within 300 \
         ms\n\n## Requirements\n\n### Functional Requirements\n\n",
    );
    for n in 1.. {
        let mut line = String::new();
        let _ = writeln!(line, "- **FR-{n:05}**: The system MUST store the field {n} of an order within 200 ms");
        // What follows still fits.
        if document.len() + line.len() + 200 > bytes {
            break;
        }
        document += &line;
    }
    document += "\n## Success Criteria\n\n- **SC-001**: 95 % of customers order within 2 minutes\n";
    create("Specification", "specifications", namespace, author, &json!({ "source": { "inline": document } }))
}

/// Returns the review of a new object, with the stamps of the mutating webhook.
fn create(kind: &str, resource: &str, namespace: &str, author: &str, spec: &Value) -> Vec<u8> {
    let object = json!({
        "apiVersion": format!("enact.dev/{VERSION}"), "kind": kind,
        "metadata": {
            "name": "orders", "namespace": namespace, "labels": { "enact.dev/tenant": namespace },
            "annotations": { "enact.dev/author": author },
        },
        "spec": spec,
    });
    review("CREATE", resource, &object, &Value::Null, None, author)
}

fn review(
    operation: &str,
    resource: &str,
    object: &Value,
    old: &Value,
    subresource: Option<&str>,
    user: &str,
) -> Vec<u8> {
    let kind = json!({ "group": "enact.dev", "version": VERSION, "kind": object["kind"] });
    let resource = json!({ "group": "enact.dev", "version": VERSION, "resource": resource });
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
            "subResource": subresource, "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"],
            "operation": operation, "userInfo": { "username": user, "groups": ["system:authenticated"] },
            "object": object, "oldObject": old, "dryRun": true,
            "options": { "apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions" },
        },
    });
    review.to_string().into_bytes()
}
