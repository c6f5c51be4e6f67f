//! `enact-runner wait`: a pod of a warm pool.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use enact_domain::assignment::{ASSIGNMENT_ENV, Adapter, Assignment, AttemptResult, Reason, Work};
use enact_domain::warm_pool::{Prefetch, Waiting};

use support::http::{Request, response, serve};
use support::{GitServer, Pod, assignment, eventually, task};

const BRANCH: &str = "enact/shop-5f0c1a2b/t001-1";

/// A server with which a waiting pod talks.
#[derive(Clone, Default)]
struct WarmServer {
    /// The assignment of the pod, once it has one.
    assignment: Arc<Mutex<Option<String>>>,
    /// The requests, in order.
    requests: Arc<Mutex<Vec<Request>>>,
}

impl WarmServer {
    fn start(&self) -> String {
        let server = self.clone();
        serve(move |request| {
            let asks = request.path == "/v1/assignment";
            server.requests.lock().unwrap().push(request);
            let assignment = server.assignment.lock().unwrap().clone();
            match assignment.filter(|_| asks) {
                Some(json) => response("200 OK", &[("content-type", "application/json")], json.as_bytes()),
                None => response("204 No Content", &[], b""),
            }
        })
    }

    fn asked(&self) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| request.path == "/v1/assignment").count()
    }
}

fn work(git: &GitServer, server_url: &str, script: &str) -> Assignment {
    let work = Work::Task(task(Adapter::Command { script: script.into() }));
    Assignment { server_url: Some(server_url.to_owned()), ..assignment(&git.url, BRANCH, work) }
}

/// Returns a waiting pod.
fn pod(server_url: &str, repository: Option<Prefetch>) -> Pod {
    let waiting = Waiting { server_url: server_url.to_owned(), repository };
    let unused = assignment("http://127.0.0.1:1/", "main", Work::Task(task(Adapter::Replay {})));
    Pod::new(unused).with_environment(ASSIGNMENT_ENV, &serde_json::to_string(&waiting).unwrap())
}

#[test]
fn works_on_its_assignment_in_the_clone_that_it_fetched_while_it_waited() {
    let git = GitServer::start();
    let server = WarmServer::default();
    let url = server.start();
    let repository = Prefetch { url: git.url.clone(), revision: "main".into(), cache_url: None };
    let pod = pod(&url, Some(repository));
    let container = pod.start("wait");
    eventually("it asks for an attempt", || server.asked() > 0);
    assert!(pod.path("work/prefetched/objects").is_dir());
    // What happens while it waits counts: a newer commit, and a token that the kubelet replaced.
    git.commit("main", &[("newer.txt", "newer\n")]);
    pod.write("token", "d.e.f\n");
    let script = "cat newer.txt > work.txt";
    *server.assignment.lock().unwrap() = Some(serde_json::to_string(&work(&git, &url, script)).unwrap());
    let ended = pod.finish(container);
    assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{}", ended.log);
    assert_eq!(git.git(&["show", &format!("{BRANCH}:work.txt")]), "newer");
    assert!(!pod.path("work/prefetched").exists(), "it is the clone of the attempt now");
    let requests = server.requests.lock().unwrap();
    let paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    let [.., last, runner, result] = paths.as_slice() else { panic!("{paths:?}") };
    assert_eq!(
        [*last, *runner, *result],
        ["/v1/assignment", "/v1/attempts/task-uid/1/runner", "/v1/attempts/task-uid/1/result"]
    );
    let delivered = requests.last().unwrap();
    assert_eq!(delivered.header("authorization"), "Bearer d.e.f");
    let result: AttemptResult = serde_json::from_slice(&delivered.body).unwrap();
    assert!(result.duration_ms < 60_000 && result.report == ended.report);
}

#[test]
fn a_repository_that_cannot_be_fetched_in_advance_is_cloned_by_the_attempt() {
    let git = GitServer::start();
    let server = WarmServer::default();
    let url = server.start();
    let missing = Prefetch { url: git.url.clone(), revision: "gone".into(), cache_url: None };
    let pod = pod(&url, Some(missing));
    *server.assignment.lock().unwrap() = Some(serde_json::to_string(&work(&git, &url, "echo a > a.txt")).unwrap());
    let ended = pod.run("wait");
    assert_eq!(ended.report.reason, Reason::Succeeded, "{}", ended.log);
    assert!(ended.log.contains("cannot be fetched in advance: branch or tag `gone`"), "{}", ended.log);
    assert!(git.tip(BRANCH).is_some());
}

#[test]
fn a_clone_of_another_repository_is_not_used() {
    let (git, other) = (GitServer::start(), GitServer::start());
    let server = WarmServer::default();
    let url = server.start();
    let pod = pod(&url, Some(Prefetch { url: other.url.clone(), revision: "main".into(), cache_url: None }));
    *server.assignment.lock().unwrap() = Some(serde_json::to_string(&work(&git, &url, "echo a > a.txt")).unwrap());
    let ended = pod.run("wait");
    assert_eq!(ended.report.reason, Reason::Succeeded, "{}", ended.log);
    assert!(git.tip(BRANCH).is_some() && other.tip(BRANCH).is_none());
    assert!(!pod.path("work/prefetched").exists());
}

#[test]
fn stops_while_it_waits() {
    let stopped = Arc::new(Mutex::new(false));
    let (asked, ended) = (Arc::new(Mutex::new(false)), Arc::clone(&stopped));
    let seen = Arc::clone(&asked);
    // The answer comes after the end of the runner only.
    let url = serve(move |_| {
        *seen.lock().unwrap() = true;
        while !*ended.lock().unwrap() {
            std::thread::sleep(Duration::from_millis(20));
        }
        response("204 No Content", &[], b"")
    });
    let pod = pod(&url, None);
    let container = pod.start("wait");
    eventually("it asks for an attempt", || *asked.lock().unwrap());
    let terminated = std::process::Command::new("kill").arg(container.id().to_string()).status().unwrap();
    assert!(terminated.success());
    let report = pod.finish(container).report;
    *stopped.lock().unwrap() = true;
    assert_eq!(report.reason, Reason::Cancelled, "{}", report.message);
}

#[test]
fn a_pod_that_the_server_refuses_ends_with_the_reason() {
    let url = serve(|_| {
        response(
            "403 Forbidden",
            &[("content-type", "application/problem+json")],
            br#"{"detail":"the pod is of no warm pool"}"#,
        )
    });
    let ended = pod(&url, None).run("wait");
    assert_eq!((ended.code, ended.report.reason), (Some(75), Reason::DeliveryFailed), "{}", ended.log);
    assert!(ended.report.message.contains("the pod is of no warm pool"), "{}", ended.report.message);
}

#[test]
fn an_assignment_from_the_server_is_checked() {
    let git = GitServer::start();
    let server = WarmServer::default();
    let url = server.start();
    let mut hostile = work(&git, &url, "true");
    hostile.git.as_mut().unwrap().url = "ext::sh -c true".into();
    *server.assignment.lock().unwrap() = Some(serde_json::to_string(&hostile).unwrap());
    let ended = pod(&url, None).run("wait");
    assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::InvalidAssignment), "{}", ended.log);
}
