//! The search index: each document is indexed once, and related specifications appear in statuses.

use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::testing::Bench;

/// An index in memory, where all specifications are about the same.
#[derive(Default)]
struct InMemoryIndex(Mutex<Vec<(Subject, Vec<Item>)>>);

impl SearchIndex for InMemoryIndex {
    fn put<'a>(&'a self, _: &'a str, subject: &'a Subject, items: Vec<Item>) -> BoxFuture<'a, Result<(), IndexError>> {
        let mut known = self.0.lock().unwrap();
        known.retain(|(s, _)| s.uid != subject.uid);
        if !items.is_empty() {
            known.push((subject.clone(), items));
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn subjects<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Subject>, IndexError>> {
        let known = self.0.lock().unwrap().iter().map(|(subject, _)| subject.clone()).collect();
        Box::pin(std::future::ready(Ok(known)))
    }

    fn related<'a>(&'a self, _: &'a str, uid: &'a str) -> BoxFuture<'a, Result<Vec<Similar>, IndexError>> {
        let known = self.0.lock().unwrap();
        let others = known.iter().filter(|(s, _)| s.kind == Kind::Specification && s.uid != uid);
        let similar = |(s, _): &(Subject, Vec<Item>)| Similar {
            uid: s.uid.clone(),
            related: Related { namespace: s.namespace.clone(), name: s.name.clone(), similarity: 80 },
        };
        Box::pin(std::future::ready(Ok(others.map(similar).collect())))
    }
}

fn specification(bench: &Bench, name: &str) {
    let text =
        format!("# Feature Specification: {name}\n\n## Requirements\n\n- **FR-001**: {name} MUST open within 2 s.\n");
    bench.api.put(
        &format!("specifications/{name}"),
        json!({"apiVersion": "enact.dev/v1alpha1", "kind": "Specification",
            "metadata": {"name": name, "namespace": "ns", "generation": 1}, "spec": {"source": {"inline": text}}}),
    );
}

async fn work(bench: &mut Bench, index: &InMemoryIndex) -> usize {
    let mut jobs = 0;
    loop {
        bench.settle().await;
        let Ok(job) = bench.index_jobs.try_recv() else { return jobs };
        jobs += 1;
        index_document(&bench.contexts.common, &bench.contexts.search, index, job).await.unwrap();
    }
}

#[tokio::test]
async fn similar_specifications_refer_to_each_other() {
    let (mut bench, index) = (Bench::new().await, InMemoryIndex::default());
    specification(&bench, "doors");
    specification(&bench, "gates");
    for name in ["doors", "gates"] {
        bench.specification(name).await.unwrap();
        assert_eq!(work(&mut bench, &index).await, 1);
    }
    let related =
        |bench: &Bench, name: &str| bench.api.get(&format!("specifications/{name}"))["status"]["related"].clone();
    assert_eq!(
        related(&bench, "doors"),
        json!([{"namespace": "ns", "name": "gates", "similarity": 80}]),
        "by the other's word"
    );
    assert_eq!(related(&bench, "gates")[0]["name"], "doors");
    let (_, items) = index.0.lock().unwrap()[0].clone();
    assert_eq!((items[0].kind, items[0].key.as_str()), (ItemKind::Requirement, "FR-001"));

    bench.specification("doors").await.unwrap();
    assert_eq!(work(&mut bench, &index).await, 0, "nothing new is not brought again");
    bench.no_specification("gates");
    assert_eq!(work(&mut bench, &index).await, 1);
    assert_eq!(index.0.lock().unwrap().len(), 1, "what is gone is not found any more");
}

#[tokio::test]
async fn full_queue_does_not_block() {
    let mut bench = Bench::new().await;
    let subject =
        |n: usize| Subject { kind: Kind::Plan, namespace: "ns".into(), name: "p".into(), uid: format!("u{n}") };
    for n in 0..=MAX_QUEUED {
        bench.contexts.search.offer("default", subject(n), "1", Vec::new);
    }
    while bench.index_jobs.try_recv().is_ok() {}
    bench.contexts.search.offer("default", subject(MAX_QUEUED), "1", Vec::new);
    assert_eq!(
        bench.index_jobs.try_recv().map(|job| job.subject.uid).ok(),
        Some(format!("u{MAX_QUEUED}")),
        "it is offered again"
    );
}

/// No event reports the deletion while no operator runs.
#[tokio::test]
async fn a_sweep_removes_what_does_not_exist() {
    let (mut bench, index) = (Bench::new().await, InMemoryIndex::default());
    for name in ["doors", "gates"] {
        specification(&bench, name);
        bench.specification(name).await.unwrap();
        work(&mut bench, &index).await;
    }
    let uids = || -> Vec<String> { index.0.lock().unwrap().iter().map(|(s, _)| s.uid.clone()).collect() };
    let all = uids();
    assert_eq!(all.len(), 2);
    sweep(&bench.contexts.common, &bench.contexts.search, &index).await.unwrap();
    assert_eq!(uids(), all, "what exists stays");
    // An object with the same name is another one.
    index.0.lock().unwrap()[0].0.uid = "deleted".into();
    sweep(&bench.contexts.common, &bench.contexts.search, &index).await.unwrap();
    assert_eq!(uids(), all[1..]);
    bench.specification("doors").await.unwrap();
    assert_eq!(work(&mut bench, &index).await, 1, "what exists and is not indexed is offered again");
}

#[tokio::test]
async fn queued_documents_that_are_gone_are_not_indexed() {
    let (mut bench, index) = (Bench::new().await, InMemoryIndex::default());
    specification(&bench, "doors");
    bench.specification("doors").await.unwrap();
    let job = bench.index_jobs.try_recv().unwrap();
    bench.no_specification("doors");
    work_on(&bench.contexts.common, &bench.contexts.search, &index, job).await;
    assert_eq!(index.0.lock().unwrap().len(), 0);
}
