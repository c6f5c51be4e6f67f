//! Clones from the clone cache, against a real Git server and a cache that keeps one repository, or lies.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::process::Command;
use std::sync::{Arc, Mutex};

use enact_domain::assignment::{ASSIGNMENT_ENV, Adapter, Reason, Work};
use enact_domain::clone_cache::{CLONE_HEADER, CachedClone, Pack};
use enact_domain::warm_pool::{Prefetch, Waiting};

use support::http::{Request, response, serve};
use support::{Ended, GitServer, Pod, assignment, task};

/// A clone cache for one repository, which trusts the runner.
#[derive(Clone)]
struct Cache {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    clone: CachedClone,
    body: Vec<u8>,
    /// Method and path of all requests.
    requests: Vec<String>,
}

impl Cache {
    fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        Self { url: serve(move |request| answer(&mut shared.lock().unwrap(), &request)), state }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

fn answer(state: &mut State, request: &Request) -> Vec<u8> {
    assert_eq!(request.header("authorization"), "Bearer cache.token.value");
    state.requests.push(format!("{} {}", request.method, request.path));
    match request.method.as_str() {
        "GET" if state.clone.packs.is_empty() => response("404 Not Found", &[], b"the cache does not have it"),
        "GET" => response("200 OK", &[(CLONE_HEADER, &serde_json::to_string(&state.clone).unwrap())], &state.body),
        "PUT" => {
            let [pack, index] = indexed(&request.body);
            let name = format!("{:040x}", state.clone.packs.len());
            state.clone.packs.push(Pack { name, bytes: pack.len() as u64, index_bytes: index.len() as u64 });
            state.clone.commits.push(request.header("x-enact-commit").to_owned());
            state.body.extend([pack, index].concat());
            response("202 Accepted", &[], b"")
        }
        _ => response("204 No Content", &[], b""),
    }
}

/// Returns a pack and its index.
fn indexed(pack: &[u8]) -> [Vec<u8>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let [path, index] = ["x.pack", "x.idx"].map(|name| folder.path().join(name));
    std::fs::write(&path, pack).unwrap();
    let done = Command::new("git").arg("index-pack").arg("-o").arg(&index).arg(&path).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    [pack.to_vec(), std::fs::read(index).unwrap()]
}

#[track_caller]
fn succeeded(ended: &Ended) {
    assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{}", ended.log);
}

#[test]
fn the_second_attempt_reads_what_the_first_one_fetched() {
    let (git, cache) = (GitServer::start(), Cache::start());
    let first = git.commit("main", &[("a.txt", "one\n")]);
    succeeded(&Pod::task(&git, "cat a.txt").with_cache(&cache.url).run("task"));
    assert_eq!(cache.requests(), ["GET /v1/clone", "POST /v1/clone/reservation", "PUT /v1/clone"]);
    assert_eq!(cache.state.lock().unwrap().clone.commits, [first]);

    // The newest commit of the revision counts, not the one that the cache knows.
    git.commit("main", &[("b.txt", "two\n")]);
    git.commit("enact/shop-5f0c1a2b/t000-1", &[("c.txt", "three\n")]);
    let branch = "enact/shop-5f0c1a2b/t001-2";
    let pod = Pod::task(&git, "cat a.txt b.txt c.txt > all.txt")
        .with_cache(&cache.url)
        .with(|assignment| assignment.git.as_mut().unwrap().branch = branch.into())
        .merging(&git, &["enact/shop-5f0c1a2b/t000-1"]);
    let ended = pod.run("task");
    succeeded(&ended);
    assert!(ended.log.contains("the clone cache has 1 pack(s)"), "{}", ended.log);
    assert!(!ended.log.contains("cache.token.value"), "{}", ended.log);
    assert_eq!(git.git(&["show", &format!("{branch}:all.txt")]), "one\ntwo\nthree");
    git.git(&["fsck", "--strict", branch]);
}

/// Returns a pod of a warm pool that gets its attempt as soon as it asks.
fn waiting(git: &GitServer, cache: &Cache, branch: &str) -> Pod {
    let work = Work::Task(task(Adapter::Command { script: "cat a.txt > copy.txt".into() }));
    let mut assigned = assignment(&git.url, branch, work);
    assigned.git.as_mut().unwrap().cache_url = Some(cache.url.clone());
    let json = serde_json::to_string(&assigned).unwrap();
    let server_url = serve(move |_| response("200 OK", &[("content-type", "application/json")], json.as_bytes()));
    let repository = Prefetch { url: git.url.clone(), revision: "main".into(), cache_url: Some(cache.url.clone()) };
    let waiting = Waiting { server_url, repository: Some(repository) };
    Pod::new(assigned).with_environment(ASSIGNMENT_ENV, &serde_json::to_string(&waiting).unwrap())
}

#[test]
fn a_waiting_pod_clones_through_the_cache() {
    let (git, cache) = (GitServer::start(), Cache::start());
    let first = git.commit("main", &[("a.txt", "one\n")]);
    succeeded(&waiting(&git, &cache, "enact/shop-5f0c1a2b/t001-1").run("wait"));
    assert_eq!(cache.requests(), ["GET /v1/clone", "POST /v1/clone/reservation", "PUT /v1/clone"]);
    assert_eq!(cache.state.lock().unwrap().clone.commits, [first]);

    let branch = "enact/shop-5f0c1a2b/t001-2";
    let ended = waiting(&git, &cache, branch).run("wait");
    succeeded(&ended);
    assert!(ended.log.contains("the clone cache has 1 pack(s)"), "{}", ended.log);
    assert_eq!(cache.requests(), ["GET /v1/clone"], "the attempt fetches only what is newer, from the Git server");
    assert_eq!(git.git(&["show", &format!("{branch}:copy.txt")]), "one");
}

#[test]
fn a_waiting_pod_does_without_a_cache_that_is_down() {
    let git = GitServer::start();
    git.commit("main", &[("a.txt", "one\n")]);
    let down = Cache { url: "http://127.0.0.1:1".into(), state: Arc::default() };
    let ended = waiting(&git, &down, "enact/shop-5f0c1a2b/t001-1").run("wait");
    succeeded(&ended);
    assert!(ended.log.contains("the clone cache cannot be used"), "{}", ended.log);
    assert!(ended.log.contains("fetched "), "{}", ended.log);
}

#[test]
fn the_cache_is_no_way_around_the_git_server() {
    let (git, cache) = (GitServer::start(), Cache::start());
    succeeded(&Pod::task(&git, "true").with_cache(&cache.url).run("task"));
    let pod = Pod::task(&git, "true").with_cache(&cache.url);
    pod.write("git/password", "wrong");
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::RepositoryDenied), "{}", ended.log);
}

#[test]
fn another_attempt_may_send_the_repository() {
    let git = GitServer::start();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let url = serve(move |request| {
        seen.lock().unwrap().push(request.method.clone());
        let status = if request.method == "GET" { "404 Not Found" } else { "409 Conflict" };
        response(status, &[], b"another attempt sends a pack")
    });
    succeeded(&Pod::task(&git, "true").with_cache(&url).run("task"));
    assert_eq!(*requests.lock().unwrap(), ["GET", "POST"]);
}

/// Whatever the cache answers, the attempt works on the repository of the Git server.
#[test]
fn a_cache_that_is_down_or_lies_only_costs_time() {
    let good = "1".repeat(40);
    let clone = |pack: &str, bytes: u64, commit: &str| {
        let packs = vec![Pack { name: pack.into(), bytes, index_bytes: bytes }];
        serde_json::to_string(&CachedClone { commits: vec![commit.into()], packs }).unwrap()
    };
    let garbage: &[u8] = &[7; 64];
    let answers: Vec<(&str, Vec<u8>)> = vec![
        ("its token is refused", response("401 Unauthorized", &[], b"the pod has ended\x1b[31m")),
        ("it is overloaded", response("503 Service Unavailable", &[], b"")),
        ("it redirects", response("302 Found", &[("location", "http://127.0.0.1:1/")], b"")),
        ("it describes nothing", response("200 OK", &[], garbage)),
        ("no JSON", response("200 OK", &[(CLONE_HEADER, "{")], garbage)),
        ("another path", response("200 OK", &[(CLONE_HEADER, &clone("../../../hooks/x", 32, &good))], garbage)),
        ("an option", response("200 OK", &[(CLONE_HEADER, &clone(&good, 32, "--upload-pack=x"))], garbage)),
        ("it ends early", response("200 OK", &[(CLONE_HEADER, &clone(&good, 1 << 20, &good))], garbage)),
        ("too large", response("200 OK", &[(CLONE_HEADER, &clone(&good, u64::MAX, &good))], garbage)),
        ("no packs of Git", response("200 OK", &[(CLONE_HEADER, &clone(&good, 32, &good))], garbage)),
        ("no HTTP", b"SSH-2.0-OpenSSH\r\n".to_vec()),
    ];
    for (what, answer) in answers {
        let git = GitServer::start();
        let url = serve(move |_| answer.clone());
        let ended = Pod::task(&git, "cp README.md copy.txt").with_cache(&url).run("task");
        assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{what}: {}", ended.log);
        assert_eq!(git.git(&["show", "enact/shop-5f0c1a2b/t001-1:copy.txt"]), "hello", "{what}");
        assert!(ended.log.contains("clone cache"), "{what}: {}", ended.log);
        assert!(!ended.log.contains('\u{1b}'), "{what}");
    }
    let git = GitServer::start();
    let ended = Pod::task(&git, "true").with_cache("http://127.0.0.1:1").run("task");
    succeeded(&ended);
    assert!(ended.log.contains("the clone cache cannot be used"), "{}", ended.log);
}

#[test]
fn an_integration_reads_the_cache_too() {
    let (git, cache) = (GitServer::start(), Cache::start());
    succeeded(&Pod::task(&git, "echo a > a.txt").with_cache(&cache.url).run("task"));
    let pod = Pod::integration(&git, &["enact/shop-5f0c1a2b/t001-1"], "test -f a.txt").with_cache(&cache.url);
    let ended = pod.run("merge");
    succeeded(&ended);
    assert!(ended.log.contains("the clone cache has 1 pack(s)"), "{}", ended.log);
}
