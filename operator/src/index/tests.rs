use futures::stream;

use super::*;

fn task(name: &str, uid: &str, version: u32, phase: &str) -> Task {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Task",
        "metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": version.to_string(),
            "ownerReferences": [{"apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "name": "p", "uid": "plan", "controller": true}]},
        "spec": {"planRef": {"name": "p"}, "id": "T001", "title": "t"},
        "status": {"phase": phase, "attempts": 1}
    }))
    .unwrap()
}

fn pod(name: &str, uid: &str, version: u32, phase: &str) -> AttemptPod {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": version.to_string(),
            "labels": {"enact.dev/tenant": "t", "enact.dev/plan": "p", "enact.dev/plan-uid": "plan",
                "enact.dev/task": "a", "enact.dev/attempt": "1"},
            "ownerReferences": [{"apiVersion": "enact.dev/v1alpha1", "kind": "Task", "name": "a", "uid": "1", "controller": true}]},
        "status": {"phase": phase}
    }))
    .unwrap()
}

/// Returns the pods that events are about, and whether each occupies a slot.
async fn follow(index: &Index, events: Vec<Event<AttemptPod>>) -> Vec<(String, bool)> {
    let mut seen = Vec::new();
    index.follow_pods(stream::iter(events), |o| seen.push((o.pod, o.occupied))).await;
    seen
}

#[tokio::test]
async fn ignores_older_versions_and_removes_what_a_list_lacks() {
    let (index, mut requeued) = Index::new();
    index.put_task(&task("a", "1", 7, "Succeeded"));
    let events = vec![Event::Apply(task("a", "1", 5, "Running")), Event::Apply(task("b", "2", 6, "Pending"))];
    index.follow_tasks(stream::iter(events)).await;
    while requeued.try_recv().is_ok() {}
    let list = vec![Event::Init, Event::InitDone];
    index.follow_tasks(stream::iter(list)).await;
    assert!(index.children("ns", "plan").tasks.is_empty(), "they were deleted while the watch was down");
    assert_eq!(requeued.try_recv().unwrap(), ObjectRef::new("p").within("ns"), "their plan is requeued");
    index.put_task(&task("a", "1", 7, "Succeeded"));
    let list = vec![Event::Init, Event::InitApply(task("a", "1", 5, "Running")), Event::InitDone];
    index.follow_tasks(stream::iter(list)).await;
    assert_eq!(index.children("ns", "plan").tasks["a"].phase, Phase::Succeeded);
}

#[tokio::test]
async fn a_pod_occupies_a_slot_until_its_end() {
    let (index, _requeued) = Index::new();
    let list = vec![Event::Init, Event::InitApply(pod("a-1", "x", 3, "Running")), Event::InitDone];
    assert_eq!(follow(&index, list).await, [("a-1".into(), true)], "what runs after a restart is counted");
    let gone = vec![Event::Init, Event::InitDone];
    assert_eq!(follow(&index, gone).await, [("a-1".into(), false)], "and freed when it vanished unseen");
    assert_eq!(follow(&index, vec![Event::Apply(pod("b-1", "y", 4, "Failed"))]).await, [("b-1".into(), false)]);
}

#[tokio::test]
async fn keeps_a_pod_that_was_created_during_a_list() {
    let (index, _requeued) = Index::new();
    follow(&index, vec![Event::Init]).await;
    index.put_pod(&pod("a-1", "new", 9, "Pending"));
    assert_eq!(follow(&index, vec![Event::InitDone]).await, [], "a list does not show what was made after it");
    assert_eq!(follow(&index, vec![Event::Delete(pod("a-1", "old", 5, "Failed"))]).await, [], "its slot stays");
    assert_eq!(follow(&index, vec![Event::Delete(pod("a-1", "old", 10, "Failed"))]).await, [], "its slot stays");
    assert_eq!(
        index.children("ns", "plan").pods["a-1"].uid,
        "new",
        "the end of another pod of this name does not count"
    );
}

/// Whoever may create pods in another namespace can copy name and labels, and gets a newer version by any change.
#[tokio::test]
async fn a_pod_in_another_namespace_belongs_to_no_plan_here() {
    let (index, _requeued) = Index::new();
    index.put_task(&task("a", "1", 1, "Running"));
    follow(&index, vec![Event::Apply(pod("a-1", "x", 3, "Running"))]).await;
    let mut forged = pod("a-1", "y", 9, "Succeeded");
    forged.metadata.namespace = Some("elsewhere".into());
    for event in [Event::Apply(forged.clone()), Event::Delete(forged.clone())] {
        follow(&index, vec![event]).await;
        assert_eq!(index.children("ns", "plan").pods["a-1"].uid, "x");
    }
    follow(&index, vec![Event::Apply(forged)]).await;
    index.note_delivery("plan", "1", 1);
    assert_eq!(index.children("ns", "plan").deliveries.len(), 1);
    assert!(index.children("elsewhere", "plan").deliveries.is_empty());
    follow(&index, vec![Event::Delete(pod("a-1", "x", 10, "Running"))]).await;
    assert!(index.children("ns", "plan").pods.is_empty());
}

#[tokio::test]
async fn an_event_without_a_change_requeues_nothing() {
    let (index, mut requeued) = Index::new();
    follow(&index, vec![Event::Apply(pod("a-1", "x", 3, "Running"))]).await;
    assert!(requeued.try_recv().is_ok());
    follow(&index, vec![Event::Apply(pod("a-1", "x", 4, "Running"))]).await;
    assert!(requeued.try_recv().is_err(), "an annotation, say");
}
