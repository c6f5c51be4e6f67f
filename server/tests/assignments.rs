//! The assignments of waiting pods: who gets which, and when.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::time::Duration;

use enact_domain::assignment::{Adapter, Assignment, TaskWork, Work};
use enact_server::intake::Times;
use support::http::Request;
use support::{SUBJECT, Server, begun_in, result, scene, until};

const POD: &str = "coder-w0000000a";

fn assignment(subject: &str) -> String {
    let work = TaskWork {
        id: "T001".into(),
        title: "Create the cart".into(),
        prompt: "Create the cart, please.".into(),
        adapter: Adapter::Command { script: "true".into() },
        agent: "coder".into(),
        inputs: std::collections::BTreeMap::new(),
        gates: Vec::new(),
        measurements: Vec::new(),
        previous: None,
        messages: Vec::new(),
        retry_from: None,
        fail_unchanged: false,
    };
    let assignment = Assignment {
        tenant: "acme".into(),
        namespace: "team".into(),
        plan: "shop".into(),
        plan_uid: "uid-p".into(),
        subject_uid: subject.into(),
        attempt: 1,
        server_url: None,
        spec_digest: None,
        git: None,
        work: Work::Task(work),
    };
    serde_json::to_string(&assignment).unwrap()
}

fn ask(token: &str) -> Request {
    Request::get("/v1/assignment").header("authorization", &format!("Bearer {token}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_pod_gets_its_assignment_when_it_is_made() {
    let (database, api, server) = scene().await;
    api.change(|cluster| cluster.waiting_pod("warm", "team", "acme", POD));
    let address = server.address;
    let asking = tokio::spawn(async move { support::http::send(address, &ask("warm")).await });
    until(async || (api.asked(&format!("WATCH {POD}")) == 1).then_some(())).await;
    // A change of its status is not an assignment.
    let key = ("team".to_owned(), POD.to_owned());
    api.change(|cluster| cluster.pods.get_mut(&key).unwrap()["labels"]["other"] = "label".into());
    until(async || (api.asked(&format!("WATCH {POD}")) == 2).then_some(())).await;
    let expected = assignment(SUBJECT);
    api.change(|cluster| cluster.assign("warm", "team", "acme", POD, SUBJECT, &expected));
    let answer = asking.await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, expected.clone()));
    // The answer may have been lost.
    assert_eq!(server.send(&ask("warm")).await.text(), expected);
    // From now on the pod is that of the attempt, which the operator has recorded.
    begun_in(&database, "acme", SUBJECT, 1, POD).await;
    assert_eq!(server.deliver("warm", &result(SUBJECT, 1)).await.status, 201);
    assert_eq!(database.number("select count(*) from results").await, 1);
    assert_eq!(server.metric("enact_server_requests_total{route=\"assignment\",status=\"200\"}").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_without_an_attempt_asks_again_later() {
    let (database, api, _server) = scene().await;
    let times = Times { assignment: Duration::from_millis(200), ..Times::default() };
    let server = Server::start_with(&database.config().url, &api, times, Duration::from_secs(30)).await;
    api.change(|cluster| cluster.waiting_pod("warm", "team", "acme", POD));
    server.send(&ask("warm")).await.assert_status(204);
    // It has no attempt whose result it could deliver.
    let early = server.deliver("warm", &result(SUBJECT, 1)).await;
    early.assert_problem(403, "subject-mismatch", "enact.dev/plan-uid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_gets_no_assignment_but_its_own() {
    let (_database, api, server) = scene().await;
    server.send(&ask("unknown")).await.assert_problem(401, "token-refused", "audience enact-server");
    server.send(&ask("token")).await.assert_problem(403, "subject-mismatch", "of no warm pool");
    let another = "11111111-6a4c-4f6f-a6a3-5a1e5d0b6d1e";
    api.change(|cluster| {
        cluster.assign("other", "team", "acme", "coder-w0000000b", SUBJECT, &assignment(another));
        cluster.assign("broken", "team", "acme", "coder-w0000000c", SUBJECT, "{}");
        cluster.waiting_pod("liar", "elsewhere", "acme", "coder-w0000000d");
    });
    server.send(&ask("other")).await.assert_problem(403, "subject-mismatch", "the assignment names another");
    server.send(&ask("broken")).await.assert_problem(500, "internal", "cannot be read");
    server.send(&ask("liar")).await.assert_problem(403, "subject-mismatch", "is not other");
}
