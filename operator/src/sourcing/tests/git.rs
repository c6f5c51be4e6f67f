//! Documents in repositories: the times of the polls, and the content that stays when a poll fails.

use super::*;

fn commit(digit: &str) -> String {
    digit.repeat(40)
}

/// Returns a scene whose document was read at the commit `111…`.
async fn read() -> Scene {
    let mut scene = Scene::git().await;
    scene.poll().await;
    scene.brings(Some(GOOD), Some(&commit("1"))).await;
    scene.poll().await;
    scene.tidy().await;
    scene
}

#[tokio::test]
async fn one_pod_polls_at_each_interval() {
    let mut scene = Scene::git().await;
    let first = scene.poll().await;
    assert_eq!(state(&first), (Progress::Reconciling, "FetchingSource"));
    let work = FetchWork {
        url: "https://git.example.org/shop.git".into(),
        revision: "main".into(),
        path: "specs/cart.md".into(),
        known: None,
    };
    assert_eq!((scene.fetching(), scene.job().subject_uid.as_str()), (work, "cart-uid"));
    let pod = scene.pod();
    assert_eq!(pod["metadata"]["labels"], json!({"enact.dev/tenant": "default", "enact.dev/role": "fetch"}));
    assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], "cart-uid");
    assert_eq!(pod["spec"]["containers"][0]["command"][1], "fetch");
    scene.poll().await;
    assert_eq!(scene.pods(), 1, "one pod at a time");

    scene.brings(Some(GOOD), Some(&commit("1"))).await;
    assert_eq!(scene.bench.requeued_specifications(), ["cart"], "the end of its pod enqueues it");
    let read = scene.poll().await;
    assert_eq!((read.bytes.as_deref(), read.commit()), (Ok(GOOD.as_bytes()), Some(commit("1").as_str())));
    assert_eq!(scene.pods(), 1, "until the status tells it, the pod stays");
    let next = scene.tidy().await.requeue_at.unwrap().since(scene.bench.contexts.common.now());
    assert!((270_000..=330_000).contains(&next), "{next}");
    scene.poll().await;
    assert_eq!(scene.pods(), 0);

    let written = scene.written;
    scene.bench.pass(331);
    scene.poll().await;
    assert_eq!(scene.fetching().known, Some(commit("1")), "the pod needs to read only what is new");
    scene.brings(None, Some(&commit("1"))).await;
    let same = scene.tidy().await;
    assert_eq!((same.bytes.as_deref(), scene.written), (Ok(GOOD.as_bytes()), written), "nothing new causes no write");
}

#[tokio::test]
async fn last_good_content_stays_when_a_source_disappears() {
    let mut scene = read().await;
    scene.bench.pass(331);
    scene.poll().await;
    scene.fails("RevisionNotFound", "branch or tag `main` does not exist").await;
    let lost = scene.poll().await;
    assert_eq!(lost.bytes.as_deref(), Ok(GOOD.as_bytes()));
    let status = lost.status.unwrap();
    assert_eq!(status.problem.as_deref(), Some("RevisionNotFound: branch or tag `main` does not exist"));
    assert_eq!(status.commit, Some(commit("1")));
    let soon = scene.tidy().await.requeue_at.unwrap().since(scene.bench.contexts.common.now());
    assert!(soon <= 33_000, "it is tried again sooner than by the interval: {soon}");
    let written = scene.written;
    scene.bench.pass(34);
    scene.poll().await;
    scene.fails("RevisionNotFound", "branch or tag `main` does not exist").await;
    let later = scene.tidy().await.requeue_at.unwrap().since(scene.bench.contexts.common.now());
    assert!((54_000..=66_000).contains(&later), "and then less and less often: {later}");
    assert_eq!(scene.written, written, "it is said once");
    scene.bench.pass(67);
    scene.poll().await;
    scene.brings(None, Some(&commit("1"))).await;
    assert_eq!(scene.tidy_status().await.problem, None);
}

impl Scene {
    async fn tidy_status(&mut self) -> SourceStatus {
        self.poll().await;
        self.tidy().await.status.unwrap()
    }
}

#[tokio::test]
async fn missing_document_has_a_reason() {
    let mut scene = Scene::git().await;
    scene.poll().await;
    scene.fails("PathNotFound", "there is no file `specs/cart.md`").await;
    let missing = scene.poll().await.bytes.unwrap_err();
    assert_eq!((missing.progress, &*missing.reason), (Progress::Stalled, "SourceMissing"));
    assert!(missing.message.contains("no file `specs/cart.md`"), "{missing:?}");
}

#[tokio::test]
async fn annotation_causes_one_poll() {
    let mut scene = read().await;
    scene.poll().await;
    assert_eq!(scene.pods(), 0);
    scene.object.metadata.annotations = Some([(names::ANNOTATION_RECONCILE_AT.into(), "now".into())].into());
    scene.poll().await;
    assert_eq!(scene.fetching().known, Some(commit("1")));
    scene.brings(None, Some(&commit("1"))).await;
    assert_eq!(scene.tidy_status().await.observed_reconcile_at.as_deref(), Some("now"));
    scene.poll().await;
    assert_eq!(scene.pods(), 0, "the request was answered");
}

impl Scene {
    /// Notifies this namespace of a push to this branch. Returns the documents to poll.
    fn pushed(&mut self, namespace: &str, repository: &str, branch: &str) -> Vec<String> {
        let repository = json!({"ssh_url": format!("git@git.example.org:{repository}.git")});
        let body = json!({"ref": format!("refs/heads/{branch}"), "repository": repository}).to_string();
        self.bench.specification_is(self.object.clone());
        self.bench.requeued_specifications();
        push::handle(&self.bench.contexts.sourcing, &Push::parse(namespace, body.as_bytes()).unwrap());
        self.bench.requeued_specifications()
    }
}

#[tokio::test]
async fn push_causes_one_poll() {
    let mut scene = read().await;
    for (namespace, repository, branch) in
        [("ns", "shop", "other"), ("ns", "other", "main"), ("elsewhere", "shop", "main")]
    {
        assert_eq!(scene.pushed(namespace, repository, branch), [""; 0], "{namespace} {repository} {branch}");
    }
    scene.poll().await;
    assert_eq!(scene.pods(), 0);
    for _ in 0..100 {
        assert_eq!(scene.pushed("ns", "shop", "main"), ["cart"]);
    }
    scene.poll().await;
    assert_eq!(scene.fetching().known, Some(commit("1")));
    scene.brings(Some(GOOD), Some(&commit("2"))).await;
    assert_eq!(scene.tidy_status().await.commit, Some(commit("2")));
    scene.poll().await;
    assert_eq!(scene.pods(), 0, "a hundred pushes were one look");

    scene.pushed("ns", "shop", "main");
    scene.poll().await;
    assert_eq!(scene.pushed("ns", "shop", "main"), ["cart"]);
    scene.brings(None, Some(&commit("2"))).await;
    scene.tidy().await;
    scene.poll().await;
    assert_eq!(scene.pods(), 1, "a pod that is under way may not have seen the last push");
}

#[tokio::test]
async fn push_survives_an_api_server_failure() {
    let mut scene = read().await;
    scene.pushed("ns", "shop", "main");
    scene.bench.api.refuse("POST pods", 500, "etcd is slow");
    let subject = Subject::of(&scene.object, scene.observed);
    let source = scene.object.spec.source.clone();
    let failed = content(&scene.bench.contexts.sourcing, &subject, source.as_ref(), scene.status.as_ref(), None).await;
    assert!(failed.is_err(), "the reconcile is tried again");
    scene.bench.api.relent();
    scene.poll().await;
    assert_eq!(scene.pods(), 1, "and looks then");
}

#[tokio::test]
async fn a_copy_of_a_pod_delivers_no_document() {
    let mut scene = read().await;
    scene.pushed("ns", "shop", "main");
    scene.poll().await;
    scene.copies().await;
    scene.brings(Some(BAD), Some(&commit("2"))).await;
    let polls = scene.poll().await;
    assert_eq!((polls.bytes.as_deref(), polls.commit()), (Ok(GOOD.as_bytes()), Some(&*commit("1"))));
    assert_ne!(scene.pod()["metadata"]["uid"], "copy", "another pod fetches at once");
    scene.brings(Some(BAD), Some(&commit("2"))).await;
    assert_eq!(scene.poll().await.bytes.as_deref(), Ok(BAD.as_bytes()));
}

#[tokio::test]
async fn a_restart_repeats_a_running_fetch() {
    let mut scene = read().await;
    scene.pushed("ns", "shop", "main");
    scene.poll().await;
    let pod = scene.pod()["metadata"]["uid"].clone();
    scene.bench.contexts.sourcing.jobs.restart();
    scene.poll().await;
    assert_ne!(scene.pod()["metadata"]["uid"], pod);
}

#[tokio::test]
async fn push_waits_for_a_slot() {
    let mut scene = read().await;
    let cart = scene.object.clone();
    for n in 0..4 {
        scene.object.metadata.name = Some(format!("cart-{n}"));
        scene.object.metadata.uid = Some(format!("uid-{n}"));
        scene.status = None;
        scene.poll().await;
    }
    let others = scene.bench.api.all("pods");
    assert_eq!(others.len(), 4);
    scene.object = cart;
    scene.pushed("ns", "shop", "main");
    scene.poll().await;
    assert_eq!(scene.pods(), 4, "no slot is free");
    for pod in others {
        scene.bench.api.remove(&format!("pods/{}", pod["metadata"]["name"].as_str().unwrap()));
        scene.bench.delete_job(pod).await;
    }
    scene.poll().await;
    assert_eq!(scene.job().subject_uid, "cart-uid");
}

#[tokio::test]
async fn polls_are_spread_after_a_restart() {
    let before = read().await;
    let mut scene = Scene::git().await;
    scene.bench.record_store.documents.lock().unwrap().push(GOOD.as_bytes().to_vec());
    (scene.status, scene.observed) = (before.status, Some(1));
    let first = scene.poll().await;
    assert_eq!(first.bytes.as_deref(), Ok(GOOD.as_bytes()));
    let delay = first.requeue_at.unwrap().since(scene.bench.contexts.common.now());
    assert!((1..=300_000).contains(&delay), "{delay}");
    assert_eq!((scene.pods(), scene.poll().await.requeue_at), (0, first.requeue_at), "the moment stays");
    scene.bench.pass(301);
    scene.poll().await;
    assert_eq!(scene.fetching().known, None, "nobody knows what was changed meanwhile");
    scene.fails("RepositoryUnreachable", "away").await;
    scene.tidy_status().await;
    scene.bench.pass(34);
    scene.poll().await;
    assert_eq!(scene.fetching().known, None, "nor after a look that gave nothing");
    scene.brings(Some(GOOD), Some(&commit("1"))).await;
    assert_eq!(scene.tidy_status().await.problem, None);
    scene.bench.pass(331);
    scene.poll().await;
    assert_eq!(scene.fetching().known, Some(commit("1")));
}

#[tokio::test]
async fn changed_source_is_polled_at_once() {
    let mut scene = read().await;
    scene.change(|object| {
        object.spec.source.as_mut().unwrap().git.as_mut().unwrap().path = "specs/other.md".into();
    });
    let changed = scene.poll().await;
    assert_eq!(changed.bytes.as_deref(), Ok(GOOD.as_bytes()), "what there is stays until then");
    assert_eq!((scene.fetching().known, changed.commit()), (None, None), "the commit says nothing of another file");
    scene.change(|object| {
        object.spec.source.as_mut().unwrap().git.as_mut().unwrap().path = "specs/third.md".into();
    });
    scene.poll().await;
    assert_eq!(scene.fetching().path, "specs/third.md", "a pod that nobody waits for any more is gone");
    scene.change(|object| object.spec.source = serde_json::from_value(json!({"inline": BAD})).unwrap());
    let inline = scene.poll().await;
    assert_eq!((inline.bytes.as_deref(), inline.status, scene.pods()), (Ok(BAD.as_bytes()), None, 0));
}

#[tokio::test]
async fn commit_revision_is_not_polled_again() {
    let mut source = git();
    source["revision"] = commit("1").into();
    let mut scene = Scene::new(json!({"source": {"git": source}})).await;
    scene.poll().await;
    scene.brings(Some(GOOD), Some(&commit("1"))).await;
    scene.poll().await;
    scene.tidy().await;
    scene.bench.pass(100_000);
    assert_eq!((scene.poll().await.requeue_at, scene.pods()), (None, 0));
}

#[tokio::test]
async fn invalid_names_start_no_pod() {
    for (field, value) in [("url", "ext::sh -c id"), ("revision", "--upload-pack=x"), ("path", "../etc/passwd")] {
        let mut source = git();
        source[field] = value.into();
        let mut scene = Scene::new(json!({"source": {"git": source}})).await;
        let missing = scene.poll().await.bytes.unwrap_err().message;
        assert!(missing.starts_with(&format!("spec.source.git.{field}: ")), "{missing}");
        assert_eq!(scene.pods(), 0);
    }
}

#[tokio::test]
async fn refused_pod_is_reported_and_retried() {
    let mut scene = read().await;
    scene.bench.api.refuse("POST pods", 403, "exceeded quota: enact-tenant");
    scene.bench.pass(331);
    let refused = scene.poll().await;
    assert_eq!(refused.bytes.as_deref(), Ok(GOOD.as_bytes()));
    assert!(refused.status.unwrap().problem.is_some_and(|p| p.contains("exceeded quota")));
    assert!(refused.requeue_at.is_some_and(|at| at.since(scene.bench.contexts.common.now()) <= 33_000));
    scene.bench.api.relent();
    scene.bench.pass(34);
    scene.poll().await;
    assert_eq!(scene.pods(), 1);
}

#[tokio::test]
async fn tenant_runs_at_most_four_fetches() {
    let mut scene = Scene::git().await;
    for n in 0..6 {
        scene.object.metadata.name = Some(format!("cart-{n}"));
        scene.object.metadata.uid = Some(format!("uid-{n}"));
        scene.status = None;
        let delay = scene.poll().await.requeue_at.unwrap().since(scene.bench.contexts.common.now());
        assert_eq!(scene.pods(), (n + 1).min(4));
        assert_eq!(delay < 10_000, n >= 4, "{delay}");
    }
}

#[tokio::test]
async fn stuck_pod_counts_as_failed() {
    let mut scene = Scene::git().await;
    scene.poll().await;
    let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
    let status = json!({"phase": "Pending", "containerStatuses": [{"name": "fetch", "state": waiting}]});
    scene.bench.set_job_status(&scene.name(), status).await;
    let waits = scene.poll().await.bytes.unwrap_err();
    assert!(
        waits.message.contains("its pod cannot start: the image cannot be pulled (ImagePullBackOff): no such image"),
        "{waits:?}"
    );
    assert_eq!((waits.progress, &*waits.reason), (Progress::Reconciling, "ImagePullFailed"));
    scene.bench.pass(121);
    let given_up = scene.poll().await.bytes.unwrap_err();
    assert_eq!((given_up.progress, &*given_up.reason), (Progress::Stalled, "SourceMissing"), "{given_up:?}");
    scene.tidy().await;
}

#[tokio::test]
async fn lost_content_is_fetched_again() {
    let mut scene = read().await;
    scene.bench.record_store.documents.lock().unwrap().clear();
    scene.bench.pass(331);
    let lost = scene.poll().await;
    assert_eq!(state(&lost), (Progress::Reconciling, "FetchingSource"));
    assert_eq!(scene.fetching().known, None);
}

#[test]
fn delays_differ_between_objects() {
    let moments: std::collections::BTreeSet<i64> = (0..100).map(|n| jittered(&format!("uid-{n}"), 300)).collect();
    assert!(moments.len() > 90, "{}", moments.len());
    assert!(moments.iter().all(|m| (270_000..=330_000).contains(m)), "{moments:?}");
    assert_eq!(jittered("uid-1", 300), jittered("uid-1", 300));
}
