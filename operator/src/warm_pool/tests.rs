use futures::stream;
use serde_json::json;

use super::*;

fn pod(name: &str, version: u32, role: &str, status: &serde_json::Value) -> AttemptPod {
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "ns", "uid": format!("uid-{name}"), "resourceVersion": version.to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"enact.dev/role": role},
            "annotations": {"enact.dev/pod-template": Digest::of_bytes(b"template").as_str()},
            "ownerReferences": [{"apiVersion": "enact.dev/v1alpha1", "kind": "Agent", "name": "coder", "uid": "agent",
                "controller": true}],
        },
        "status": status,
    }))
    .unwrap()
}

fn ready() -> serde_json::Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
}

#[test]
fn the_stage_of_a_pod_follows_from_its_status() {
    let stage = |status: &serde_json::Value| {
        WaitingPod::of(&pod("a", 1, "waiting", status)).map(|waiting| (waiting.pod.stage, waiting.problem))
    };
    assert_eq!(stage(&json!({"phase": "Pending"})), Some((Stage::Starting, None)));
    assert_eq!(stage(&ready()), Some((Stage::Ready, None)));
    let message = json!({"reason": "DeliveryFailed", "message": "no server"}).to_string();
    let terminated = json!({"exitCode": 75, "message": message, "finishedAt": "2026-01-01T00:00:05Z"});
    let failed =
        json!({"phase": "Failed", "containerStatuses": [{"name": "agent", "state": {"terminated": terminated}}]});
    let (stage_of_failed, problem) = stage(&failed).unwrap();
    assert_eq!(stage_of_failed, Stage::Ended(Millis(1_767_225_605_000)));
    assert_eq!(problem.as_deref(), Some("DeliveryFailed: no server"));
    assert_eq!(WaitingPod::of(&pod("a", 1, "task", &ready())), None);
}

#[tokio::test]
async fn a_pod_is_taken_once() {
    let pods = Arc::new(WarmPods::default());
    let mut agents = Vec::new();
    let events = vec![
        Event::Init,
        Event::InitApply(pod("a", 1, "waiting", &ready())),
        Event::InitApply(pod("b", 2, "waiting", &ready())),
        Event::InitDone,
    ];
    pods.follow(stream::iter(events), |agent| agents.push(agent.1.clone())).await;
    pods.add(&pod("a", 1, "waiting", &ready()));
    pods.add(&pod("b", 2, "waiting", &ready()));
    assert_eq!((agents, pods.ready()), (vec!["coder".to_owned(), "coder".to_owned()], 2));
    let (template, now) = (Digest::of_bytes(b"template"), Millis(1_767_225_601_000));
    let take = || pods.take("ns", "agent", &template, now);
    let (one, other) = (take().unwrap(), take().unwrap());
    assert_eq!((one.name(), other.name()), ("a", "b"));
    assert!(take().is_none() && !pods.has_free("ns", "agent"));
    assert!(pods.take("ns", "another", &template, now).is_none());
    drop(other);
    assert!(pods.has_free("ns", "agent"));
    assert_eq!(take().map(|taken| taken.name().to_owned()).as_deref(), Some("b"), "it was not used");
    // An attempt gets `a`.
    let key = ("ns".to_owned(), "coder".to_owned());
    pods.remove(&pod("a", 3, "task", &ready()));
    pods.count(&key);
    drop(one);
    assert_eq!((pods.uncounted(&key), pods.ready()), (1, 1));
    // A late event of the watch does not bring it back for long.
    let late = vec![Event::Apply(pod("a", 1, "waiting", &ready())), Event::Delete(pod("a", 3, "waiting", &ready()))];
    pods.follow(stream::iter(late), |_| {}).await;
    assert_eq!(pods.ready(), 1);
    pods.counted(&key, 1);
    assert_eq!(pods.uncounted(&key), 0);
}

/// Somebody else created it, or the operator before it was restarted.
#[tokio::test]
async fn an_unknown_pod_is_never_taken() {
    let pods = Arc::new(WarmPods::default());
    let (template, now) = (Digest::of_bytes(b"template"), Millis(1_767_225_601_000));
    let copied = pod("a", 1, "waiting", &ready());
    pods.follow(stream::iter([Event::Init, Event::InitApply(copied.clone()), Event::InitDone]), |_| {}).await;
    assert!(!pods.has_free("ns", "agent") && pods.take("ns", "agent", &template, now).is_none());
    let known: Vec<PoolPod> = pods.of("ns", "agent").into_iter().map(|known| known.waiting.pod).collect();
    let upkeep = warm_pool::upkeep(&known, 1, Some(&template), now);
    assert_eq!((upkeep.delete, upkeep.create), (vec![0], 1), "the pool replaces it");

    // A pod of the pool is deleted, and somebody creates another one in its name.
    pods.add(&pod("b", 2, "waiting", &ready()));
    let mut another = pod("b", 3, "waiting", &ready());
    another.metadata.uid = Some("another".to_owned());
    pods.follow(stream::iter([Event::Apply(another)]), |_| {}).await;
    assert!(pods.take("ns", "agent", &template, now).is_none());
}
