//! Controls against an API server and a record store in memory.

use enact_domain::record::Event;
use serde_json::{Value, json};

use crate::testing::Bench;

/// Returns an annotation of the webhook.
fn changes(by_control: &Value) -> Value {
    let stamped = by_control.as_object().unwrap().iter();
    let stamps: serde_json::Map<String, Value> =
        stamped.map(|(control, by)| (control.clone(), json!({"by": by, "at": "2026-12-01T10:00:00.5Z"}))).collect();
    json!({"enact.dev/changes": Value::Object(stamps).to_string()})
}

/// Returns the changes of controls in the record.
fn recorded(bench: &Bench) -> Vec<String> {
    let records = bench.record_store.records.lock().unwrap();
    let of_controls = records
        .iter()
        .filter(|record| matches!(record.event, Event::ControlChanged { .. } | Event::PolicyChanged { .. }))
        .map(|record| match &record.event {
            Event::ControlChanged { control, value, .. } => {
                format!("{} {control} {value} by {} at {}", record.subject.name, record.actor, record.at.0)
            }
            _ => format!("{} policy by {}", record.subject.name, record.actor),
        });
    of_controls.collect()
}

#[tokio::test]
async fn people_who_control_a_plan_are_recorded() {
    const AT: &str = "at 1796119200500";
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.put_plan(
        "p",
        &json!({"agentRef": {"name": "scripts"}, "tasks": [{"id": "T001", "title": "T001", "script": "true"}]}),
    );
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    let annotations = changes(&json!({"suspend": "ann", "approval": "lee"}));
    bench.api.change("plans/p", &json!({"metadata": {"annotations": annotations}, "spec": {"suspend": true}}));
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    assert_eq!(recorded(&bench), ["p policy by lee".to_owned(), format!("p suspend true by ann {AT}")]);

    // Another attempt at a task that has failed.
    bench.api.change("plans/p", &json!({"spec": {"suspend": false}}));
    bench.fail("p-t001-1", "no").await;
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    let mut annotations = changes(&json!({"rerun": "bob"}));
    annotations["enact.dev/rerun"] = json!("1");
    bench.api.change("tasks/p-t001", &json!({"metadata": {"annotations": annotations}}));
    bench.contexts.plans.index.put_task(&serde_json::from_value(bench.api.get("tasks/p-t001")).unwrap());
    bench.plan("p").await.unwrap();
    assert_eq!(recorded(&bench)[2..], [format!("p-t001 rerun \"1\" by bob {AT}")]);
    let records = bench.record_store.records.lock().unwrap();
    let reopened = records.iter().find(|r| matches!(&r.event, Event::Transition { reason, .. } if reason == "Rerun"));
    assert_eq!(reopened.map(|record| record.actor.as_str()), Some("bob"));
}
