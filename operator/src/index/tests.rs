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

/// Whoever may change pods in the namespace labels one as that of another plan, again and again.
#[tokio::test]
async fn a_pod_is_one_of_a_single_plan() {
    let (index, mut requeued) = Index::new();
    index.put_task(&task("a", "1", 1, "Running"));
    follow(&index, vec![Event::Apply(pod("a-1", "x", 3, "Running"))]).await;
    while requeued.try_recv().is_ok() {}
    for version in 4..9 {
        let mut relabelled = pod("a-1", "x", version, "Running");
        let labels = relabelled.metadata.labels.as_mut().unwrap();
        labels.insert(names::LABEL_PLAN_UID.into(), format!("plan-{version}"));
        labels.insert(names::LABEL_PLAN.into(), "another".into());
        follow(&index, vec![Event::Apply(relabelled)]).await;
    }
    assert!(index.children("ns", "plan").pods.is_empty(), "its attempt is not shown as running forever");
    assert_eq!(requeued.try_recv().unwrap(), ObjectRef::new("p").within("ns"), "the plan of the attempt is requeued");
    assert_eq!(index.known.lock().plans["ns"].len(), 2, "the last plan and that of the task, not one for each change");
    follow(&index, vec![Event::Apply(pod("a-1", "x", 5, "Running"))]).await;
    assert!(index.children("ns", "plan").pods.is_empty(), "an older event undoes nothing");
}

/// Without an owner, the pod is not deleted with its Task either.
#[tokio::test]
async fn a_pod_without_its_owner_is_no_longer_one_of_an_attempt() {
    let (index, mut requeued) = Index::new();
    follow(&index, vec![Event::Apply(pod("a-1", "x", 3, "Running"))]).await;
    while requeued.try_recv().is_ok() {}
    let mut orphan = pod("a-1", "x", 4, "Running");
    orphan.metadata.owner_references = None;
    assert_eq!(follow(&index, vec![Event::Apply(orphan)]).await, [("a-1".into(), false)], "it has no slot");
    assert!(index.children("ns", "plan").pods.is_empty());
    assert_eq!(requeued.try_recv().unwrap(), ObjectRef::new("p").within("ns"));
}

#[tokio::test]
async fn nobody_fills_the_memory_with_annotations() {
    let (index, _requeued) = Index::new();
    let mut long = pod("a-1", "x", 3, "Running");
    let annotations = [names::ANNOTATION_AGENT, names::ANNOTATION_START_KEY];
    let annotations = annotations.map(|key| (key.to_owned(), "x".repeat(100_000)));
    long.metadata.annotations = Some(annotations.into());
    index.put_pod(&long);
    let kept = index.children("ns", "plan").pods["a-1"].clone();
    assert_eq!((kept.agent.as_ref(), kept.start_key.as_ref()), (None, None));
}

/// The first that names the plan is a pod that anybody created.
#[tokio::test]
async fn a_task_says_the_name_of_its_plan() {
    let (index, mut requeued) = Index::new();
    let mut forged = pod("a-1", "x", 3, "Running");
    forged.metadata.labels.as_mut().unwrap().insert(names::LABEL_PLAN.into(), "another".into());
    index.put_pod(&forged);
    index.put_task(&task("a", "1", 4, "Running"));
    index.note_delivery("plan", "1", 1);
    assert_eq!(requeued.try_recv().unwrap(), ObjectRef::new("p").within("ns"));
}

/// The plan was deleted and created again, and the operator created the pod before the watch delivered the deletion of the old one.
#[tokio::test]
async fn a_late_event_does_not_free_the_slot_of_a_pod_of_another_plan() {
    let (index, _requeued) = Index::new();
    let old = |version| pod("a-1", "old", version, "Running");
    follow(&index, vec![Event::Apply(old(3))]).await;
    let mut new = pod("a-1", "new", 9, "Pending");
    new.metadata.labels.as_mut().unwrap().insert(names::LABEL_PLAN_UID.into(), "next-plan".into());
    index.put_pod(&new);
    assert_eq!(follow(&index, vec![Event::Apply(old(4)), Event::Delete(old(5))]).await, []);
    assert_eq!(index.children("ns", "next-plan").pods["a-1"].uid, "new");
}
