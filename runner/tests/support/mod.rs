//! The environment of a pod on one machine: a Git server over HTTP with a password, an Enact server, and the volumes.

// Each test binary uses its own part; a helper that fails fails its test.
#![allow(dead_code, clippy::unwrap_used)]

pub mod http;

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use enact_domain::assignment::{
    ASSIGNMENT_ENV, Adapter, Assignment, AttemptResult, Gate, GitWork, IntegrationWork, Report, TaskWork,
    VerifiedCommit, Work,
};
use enact_domain::document_job::{DocumentJob, DocumentWork};
use tempfile::TempDir;

use self::http::{Request, response, serve};

/// A bare repository behind `git http-backend`, which asks for a password.
pub struct GitServer {
    directory: TempDir,
    pub url: String,
}

impl GitServer {
    /// Starts the server with a branch `main` that contains README.md.
    pub fn start() -> Self {
        let server = Self::start_empty(|_| None);
        server.commit("main", &[("README.md", "hello\n")]);
        server
    }

    /// Starts the server with a repository that has no commit. `answer` answers requests in place of Git.
    pub fn start_empty(answer: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_owned();
        git(&root, &["init", "--quiet", "--bare", "--initial-branch=main", "repository.git"]);
        let base = serve(move |request| answer(&request).unwrap_or_else(|| backend(&root, &request)));
        Self { directory, url: format!("{base}/repository.git") }
    }

    fn repository(&self) -> PathBuf {
        self.directory.path().join("repository.git")
    }

    /// Runs git in the bare repository.
    pub fn git(&self, args: &[&str]) -> String {
        git(&self.repository(), args)
    }

    /// Adds a commit to `branch`, which starts from `main` if it is new, and returns its id.
    pub fn commit(&self, branch: &str, files: &[(&str, &str)]) -> String {
        let clone = tempfile::tempdir().unwrap();
        let path = clone.path();
        git(path, &["clone", "--quiet", &self.repository().to_string_lossy(), "."]);
        if !git_ok(path, &["checkout", "--quiet", "-B", branch, &format!("origin/{branch}")]) {
            git_ok(path, &["checkout", "--quiet", "-B", branch]);
        }
        for (name, content) in files {
            fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
            fs::write(path.join(name), content).unwrap();
        }
        Self::push(path, branch)
    }

    /// Adds a commit with the changes that `change` makes in a clone of `main`.
    pub fn change(&self, branch: &str, change: impl FnOnce(&Path)) -> String {
        let clone = tempfile::tempdir().unwrap();
        git(clone.path(), &["clone", "--quiet", &self.repository().to_string_lossy(), "."]);
        change(clone.path());
        Self::push(clone.path(), branch)
    }

    fn push(path: &Path, branch: &str) -> String {
        git(path, &["add", "--all"]);
        git(path, &["commit", "--quiet", "--message", "By a test"]);
        git(path, &["push", "--quiet", "origin", &format!("HEAD:refs/heads/{branch}")]);
        git(path, &["rev-parse", "HEAD"])
    }

    /// Returns the commit of a branch; none if the branch does not exist.
    pub fn tip(&self, branch: &str) -> Option<String> {
        let name = format!("refs/heads/{branch}");
        git_ok(&self.repository(), &["show-ref", "--verify", "--quiet", &name]).then(|| self.git(&["rev-parse", &name]))
    }

    /// Returns the current heads of these branches as verified work.
    pub fn verified(&self, branches: &[&str]) -> Vec<VerifiedCommit> {
        let verified = |branch: &&str| VerifiedCommit { branch: (*branch).into(), commit: self.tip(branch).unwrap() };
        branches.iter().map(verified).collect()
    }
}

fn git_command(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).args(args).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for (name, value) in [("NAME", "A test"), ("EMAIL", "test@example.org")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    command
}

fn git(directory: &Path, args: &[&str]) -> String {
    let output = git_command(directory, args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn git_ok(directory: &Path, args: &[&str]) -> bool {
    git_command(directory, args).output().unwrap().status.success()
}

/// Runs `git http-backend` as CGI.
fn backend(root: &Path, request: &Request) -> Vec<u8> {
    let wanted = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("bot:secret"));
    if request.header("authorization") != wanted {
        return response("401 Unauthorized", &[("www-authenticate", "Basic realm=\"git\"")], b"");
    }
    let mut child = git_command(root, &["http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "bot")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", request.header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", request.header("content-encoding"))
        .env("GIT_PROTOCOL", request.header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let body = request.body.clone();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&body);
    });
    let output = child.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    let end = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let headers: Vec<(&str, &str)> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let status = headers.iter().find(|(name, _)| *name == "Status").map_or("200 OK", |(_, status)| status);
    response(status, &headers, &output[end + 4..])
}

/// The Enact server. It accepts every registration of a runner. To other requests, it returns the answers of `start` in order, and then
/// 204.
#[derive(Clone)]
pub struct EnactServer {
    pub url: String,
    /// Registrations of runners.
    pub registrations: Arc<Mutex<Vec<Request>>>,
    /// All other requests.
    pub requests: Arc<Mutex<Vec<Request>>>,
}

impl EnactServer {
    pub fn start(answers: &[&'static str]) -> Self {
        let (registrations, requests) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let answers = Mutex::new(answers.iter().copied().collect::<VecDeque<_>>());
        let (registered, seen) = (Arc::clone(&registrations), Arc::clone(&requests));
        let url = serve(move |request| {
            if request.path.ends_with("/runner") {
                registered.lock().unwrap().push(request);
                return response("204 No Content", &[], b"");
            }
            seen.lock().unwrap().push(request);
            let status = answers.lock().unwrap().pop_front().unwrap_or("204 No Content");
            response(status, &[("retry-after", "0")], br#"{"detail":"said the test"}"#)
        });
        Self { url, registrations, requests }
    }

    /// Returns the result that arrived last.
    pub fn result(&self) -> AttemptResult {
        serde_json::from_slice(&self.requests.lock().unwrap().last().expect("a result").body).unwrap()
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// Starts an Enact server that keeps one checkpoint and accepts everything else. Returns its URL, and the checkpoint.
pub fn checkpoint_server() -> (String, Arc<Mutex<Option<Vec<u8>>>>) {
    let saved: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    let kept = Arc::clone(&saved);
    let url = serve(move |request| match (request.method.as_str(), request.path.rsplit('/').next()) {
        ("GET", Some("checkpoint")) => match kept.lock().unwrap().as_deref() {
            Some(body) => response("200 OK", &[("content-type", "application/json")], body),
            None => response("404 Not Found", &[], br#"{"detail":"none"}"#),
        },
        ("POST", Some("checkpoint")) => {
            assert!(!request.header("x-enact-runner-key").is_empty());
            *kept.lock().unwrap() = Some(request.body);
            response("204 No Content", &[], b"")
        }
        _ => response("204 No Content", &[], b""),
    });
    (url, saved)
}

/// The volumes of a pod.
pub struct Pod {
    directory: TempDir,
    assignment: Assignment,
    /// The assignment of a document job, instead of `assignment`.
    document_job: Option<DocumentJob>,
    environment: Vec<(String, String)>,
}

/// The end of a container.
pub struct Ended {
    pub code: Option<i32>,
    pub report: Report,
    pub log: String,
}

impl Pod {
    /// Returns a pod for a task with this script.
    pub fn task(server: &GitServer, script: &str) -> Self {
        Self::new(assignment(
            &server.url,
            "enact/shop-5f0c1a2b/t001-1",
            Work::Task(task(Adapter::Command { script: script.into() })),
        ))
    }

    /// Returns a pod that integrates the current heads of the branches `merge` into `plan/shop`.
    pub fn integration(server: &GitServer, merge: &[&str], gate: &str) -> Self {
        let gates = vec![Gate { name: "check".into(), script: gate.into() }];
        let work = Work::Integration(IntegrationWork { target: "plan/shop".into(), gates });
        let assignment = assignment(&server.url, "enact/shop-5f0c1a2b/candidate/1", work);
        Self::new(assignment).merging(server, merge)
    }

    pub fn new(assignment: Assignment) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["work", "git", "replay", "handover"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let pod = Self { directory, assignment, document_job: None, environment: Vec::new() };
        pod.write("git/username", "bot");
        pod.write("git/password", "secret\n");
        pod.write("token", "a.b.c\n");
        pod.write("gateway-token", "gateway.token.value\n");
        pod.write("cache-token", "cache.token.value\n");
        pod
    }

    /// Returns a pod for a document job.
    pub fn document_job(server: &EnactServer, work: DocumentWork) -> Self {
        let job = DocumentJob { subject_uid: "document-uid".into(), server_url: server.url.clone(), work };
        let unused = assignment("http://127.0.0.1:1/", "main", Work::Task(task(Adapter::Replay {})));
        Self { document_job: Some(job), ..Self::new(unused) }
    }

    /// Replaces the work of a document job, as for the next container of the pod.
    pub fn with_document_job(mut self, work: DocumentWork) -> Self {
        self.document_job.as_mut().unwrap().work = work;
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut Assignment)) -> Self {
        change(&mut self.assignment);
        self
    }

    /// Adds the current heads of these branches to the assignment.
    pub fn merging(self, server: &GitServer, branches: &[&str]) -> Self {
        let verified = server.verified(branches);
        self.with(|assignment| assignment.git.as_mut().unwrap().merge = verified)
    }

    pub fn with_task(self, change: impl FnOnce(&mut TaskWork)) -> Self {
        self.with(|assignment| match &mut assignment.work {
            Work::Task(task) => change(task),
            Work::Integration(_) => panic!("not a task"),
        })
    }

    pub fn with_server(self, server: &EnactServer) -> Self {
        self.with(|assignment| assignment.server_url = Some(server.url.clone()))
    }

    /// Names a clone cache in the assignment.
    pub fn with_cache(self, url: &str) -> Self {
        self.with(|assignment| assignment.git.as_mut().unwrap().cache_url = Some(url.to_owned()))
    }

    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Returns the path of a file in one of the volumes.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, step: &str) -> Command {
        let assignment =
            self.document_job.as_ref().map_or_else(|| serde_json::to_string(&self.assignment), serde_json::to_string);
        let mut command = Command::new(env!("CARGO_BIN_EXE_enact-runner"));
        command
            .arg(step)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env(ASSIGNMENT_ENV, assignment.unwrap())
            .env("ENACT_WORK_DIR", self.path("work"))
            .env("ENACT_TOKEN_FILE", self.path("token"))
            .env("ENACT_GATEWAY_TOKEN_FILE", self.path("gateway-token"))
            .env("ENACT_CACHE_TOKEN_FILE", self.path("cache-token"))
            .env("ENACT_GIT_CREDENTIALS_DIR", self.path("git"))
            .env("ENACT_MESSAGES_FILE", self.path("messages"))
            .env("ENACT_REPLAY_DIR", self.path("replay"))
            .env("ENACT_SKILLS_DIR", self.path("skills"))
            .env("ENACT_HANDOVER_DIR", self.path("handover"))
            .env("ENACT_TERMINATION_LOG", self.path("report"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// Starts a container.
    pub fn start(&self, step: &str) -> Child {
        self.command(step).spawn().unwrap()
    }

    /// Waits for the end of a container and reads its report.
    pub fn finish(&self, container: Child) -> Ended {
        let output = container.wait_with_output().unwrap();
        let report = fs::read(self.path("report")).unwrap();
        assert!(report.len() <= 4096, "{}", report.len());
        Ended {
            code: output.status.code(),
            report: serde_json::from_slice(&report).unwrap(),
            log: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }

    pub fn run(&self, step: &str) -> Ended {
        self.finish(self.start(step))
    }
}

pub fn task(adapter: Adapter) -> TaskWork {
    TaskWork {
        id: "T001".into(),
        title: "Create the cart".into(),
        prompt: "Create the cart, please.\n".into(),
        adapter,
        agent: "scribe".into(),
        inputs: std::collections::BTreeMap::default(),
        gates: Vec::new(),
        measurements: Vec::new(),
        previous: None,
        messages: Vec::new(),
        retry_from: None,
        fail_unchanged: false,
    }
}

pub fn assignment(url: &str, branch: &str, work: Work) -> Assignment {
    Assignment {
        tenant: "acme".into(),
        namespace: "team-a".into(),
        plan: "shop".into(),
        plan_uid: "plan-uid".into(),
        subject_uid: "task-uid".into(),
        attempt: 1,
        server_url: None,
        spec_digest: Some("sha256:abc".into()),
        git: Some(GitWork {
            url: url.into(),
            revision: "main".into(),
            merge: Vec::new(),
            branch: branch.into(),
            cache_url: None,
        }),
        work,
    }
}

/// Waits until `condition` is true. Fails after a minute.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_mins(1), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
