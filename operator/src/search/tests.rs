//! The search index beside the controllers: what is brought to it, once, and what comes back.

use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::testing::Bench;

/// An index in memory, where all specifications are about the same.
#[derive(Default)]
struct Shelf(Mutex<Vec<(Subject, Vec<Item>)>>);

impl Index for Shelf {
    fn put<'a>(&'a self, _: &'a str, subject: &'a Subject, items: Vec<Item>) -> BoxFuture<'a, Result<(), Failure>> {
        let mut known = self.0.lock().unwrap();
        known.retain(|(s, _)| s.uid != subject.uid);
        if !items.is_empty() {
            known.push((subject.clone(), items));
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn related<'a>(&'a self, _: &'a str, uid: &'a str) -> BoxFuture<'a, Result<Vec<Alike>, Failure>> {
        let known = self.0.lock().unwrap();
        let others = known.iter().filter(|(s, _)| s.kind == Kind::Specification && s.uid != uid);
        let alike = |(s, _): &(Subject, Vec<Item>)| Alike {
            uid: s.uid.clone(),
            shown: Related { namespace: s.namespace.clone(), name: s.name.clone(), similarity: 80 },
        };
        Box::pin(std::future::ready(Ok(others.map(alike).collect())))
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

async fn work(bench: &mut Bench, shelf: &Shelf) -> usize {
    let mut jobs = 0;
    loop {
        bench.settle().await;
        let Ok(job) = bench.jobs.try_recv() else { return jobs };
        jobs += 1;
        once(&bench.ctx, shelf, job).await.unwrap();
    }
}

#[tokio::test]
async fn specifications_hear_of_others_that_are_about_the_same() {
    let (mut bench, shelf) = (Bench::new().await, Shelf::default());
    specification(&bench, "doors");
    specification(&bench, "gates");
    for name in ["doors", "gates"] {
        bench.specification(name).await.unwrap();
        assert_eq!(work(&mut bench, &shelf).await, 1);
    }
    let related =
        |bench: &Bench, name: &str| bench.api.get(&format!("specifications/{name}"))["status"]["related"].clone();
    assert_eq!(
        related(&bench, "doors"),
        json!([{"namespace": "ns", "name": "gates", "similarity": 80}]),
        "by the other's word"
    );
    assert_eq!(related(&bench, "gates")[0]["name"], "doors");
    let (_, items) = shelf.0.lock().unwrap()[0].clone();
    assert_eq!((items[0].kind, items[0].key.as_str()), (ItemKind::Requirement, "FR-001"));

    bench.specification("doors").await.unwrap();
    assert_eq!(work(&mut bench, &shelf).await, 0, "nothing new is not brought again");
    bench.no_specification("gates");
    assert_eq!(work(&mut bench, &shelf).await, 1);
    assert_eq!(shelf.0.lock().unwrap().len(), 1, "what is gone is not found any more");
}

#[tokio::test]
async fn a_full_queue_keeps_nobody_waiting() {
    let mut bench = Bench::new().await;
    let subject =
        |n: usize| Subject { kind: Kind::Plan, namespace: "ns".into(), name: "p".into(), uid: format!("u{n}") };
    for n in 0..=MANY {
        offer(&bench.ctx, "default", subject(n), "1", Vec::new);
    }
    while bench.jobs.try_recv().is_ok() {}
    offer(&bench.ctx, "default", subject(MANY), "1", Vec::new);
    assert_eq!(bench.jobs.try_recv().map(|job| job.subject.uid).ok(), Some(format!("u{MANY}")), "it is offered again");
}
