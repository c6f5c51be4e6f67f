//! `enact-runner fetch` and `draft`, against a real Git server over HTTP.

mod support;

use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::{Arc, Mutex};

use enact_domain::assignment::{Adapter, Reason};
use enact_domain::digest::Digest;
use enact_domain::document_job::{DocumentWork, DraftWork, FetchWork, MAX_DOCUMENT_BYTES};
use enact_domain::warm_pool::Prefetch;

use support::http::response;
use support::{EnactServer, Ended, GitServer, Pod};

const PATH: &str = "specs/001-cart/spec.md";
const TEXT: &str = "# Feature Specification: Cart\n";

fn wanted(url: &str, revision: &str) -> FetchWork {
    FetchWork { url: url.into(), revision: revision.into(), path: PATH.into(), known: None }
}

fn fetch(server: &EnactServer, work: FetchWork) -> Ended {
    Pod::document_job(server, DocumentWork::Fetch(work)).run("fetch")
}

type Change = fn(&mut FetchWork);

fn drafting(adapter: Adapter) -> DocumentWork {
    DocumentWork::Draft(DraftWork {
        name: "cart".into(),
        attempt: 2,
        prompt: "Write about carts.".into(),
        adapter,
        agent: "scribe".into(),
        repository: None,
    })
}

fn drafted(script: &str) -> Ended {
    let server = EnactServer::start(&[]);
    let ended = Pod::document_job(&server, drafting(Adapter::Command { script: script.into() })).run("draft");
    assert_eq!(server.count(), usize::from(ended.report.document.is_some()), "{}", ended.log);
    ended
}

#[test]
fn delivers_a_file_again_only_when_its_revision_moved() {
    let (git, server) = (GitServer::start(), EnactServer::start(&[]));
    let commit = git.commit("main", &[(PATH, TEXT)]);
    let first = fetch(&server, wanted(&git.url, "main"));
    assert_eq!((first.code, first.report.reason), (Some(0), Reason::Succeeded), "{}", first.log);
    assert_eq!(first.report.commit.as_deref(), Some(commit.as_str()));
    assert_eq!(first.report.document, Some(Digest::of_bytes(TEXT.as_bytes())));
    {
        let requests = server.requests.lock().unwrap();
        let [request] = requests.as_slice() else { panic!("{}", requests.len()) };
        let received = [request.path.as_str(), request.header("authorization"), request.header("content-type")];
        assert_eq!(received, ["/v1/documents/document-uid", "Bearer a.b.c", "text/markdown"]);
        assert_eq!(request.body, TEXT.as_bytes());
    }
    let known = FetchWork { known: Some(commit.clone()), ..wanted(&git.url, "main") };
    let again = fetch(&server, known.clone());
    assert_eq!((again.code, again.report.commit.as_deref()), (Some(0), Some(commit.as_str())), "{}", again.log);
    assert_eq!((again.report.document, server.count()), (None, 1), "nothing is read of what is known");
    let newer = git.commit("main", &[(PATH, "# Feature Specification: Cart 2\n")]);
    let moved = fetch(&server, known);
    assert_eq!((moved.report.commit.as_deref(), server.count()), (Some(newer.as_str()), 2), "{}", moved.log);
}

#[test]
fn revision_is_a_branch_a_tag_or_a_commit() {
    let (git, server) = (GitServer::start(), EnactServer::start(&[]));
    let old = git.commit("main", &[(PATH, TEXT)]);
    git.git(&["tag", "light", &old]);
    git.git(&["-c", "user.name=a", "-c", "user.email=a@example.org", "tag", "--annotate", "-m", "v1", "v1", &old]);
    let new = git.commit("main", &[(PATH, "new")]);
    for (revision, commit) in [("light", &old), ("v1", &old), (old.as_str(), &old), ("main", &new)] {
        let ended = fetch(&server, wanted(&git.url, revision));
        assert_eq!(ended.report.commit.as_ref(), Some(commit), "{revision}: {}", ended.log);
        let known = FetchWork { known: Some(commit.clone()), ..wanted(&git.url, revision) };
        assert_eq!(fetch(&server, known).report.document, None, "{revision} has not moved");
    }
}

/// Checks that the runner requests no other file and no history, if the server supports this.
#[test]
fn fetches_only_the_file_if_the_server_can_filter() {
    let (git, server) = (GitServer::start(), EnactServer::start(&[]));
    git.git(&["config", "uploadpack.allowFilter", "true"]);
    git.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    git.commit("main", &[("large.bin", "x")]);
    git.commit("main", &[(PATH, TEXT), ("other.md", "other"), ("large.bin", "y")]);
    let pod = Pod::document_job(&server, DocumentWork::Fetch(wanted(&git.url, "main")));
    let ended = pod.run("fetch");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let listed = Command::new("git")
        .current_dir(pod.path("work/tree"))
        .args(["cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"])
        .output()
        .unwrap();
    let objects = String::from_utf8(listed.stdout).unwrap();
    let count = |kind: &str| objects.lines().filter(|line| *line == kind).count();
    assert_eq!((count("blob"), count("commit")), (1, 1), "{objects}");
}

/// Checks a server that supports neither shallow clones nor requests for commits that no branch points to.
#[test]
fn reads_a_commit_from_a_server_without_shallow_clones() {
    let old = Arc::new(Mutex::new("0".repeat(40)));
    let unadvertised = Arc::clone(&old);
    let git = GitServer::start_empty(move |request| {
        let body = String::from_utf8_lossy(&request.body);
        let problem = if body.contains("deepen") {
            "ERR shallow clones are not supported"
        } else if body.contains(&format!("want {}", unadvertised.lock().unwrap())) {
            "ERR upload-pack: not our ref"
        } else {
            return None;
        };
        let packet = format!("{:04x}{problem}", problem.len() + 4);
        let headers = [("content-type", "application/x-git-upload-pack-result")];
        Some(response("200 OK", &headers, packet.as_bytes()))
    });
    let server = EnactServer::start(&[]);
    let commit = git.commit("main", &[(PATH, TEXT)]);
    git.commit("main", &[("other.md", "other")]);
    old.lock().unwrap().clone_from(&commit);
    for revision in ["main", &commit] {
        let ended = fetch(&server, wanted(&git.url, revision));
        assert_eq!(ended.report.reason, Reason::Succeeded, "{revision}: {}", ended.log);
    }
    assert_eq!(server.count(), 2);
}

#[test]
fn failure_names_the_field_to_check() {
    let (git, server) = (GitServer::start(), EnactServer::start(&[]));
    git.commit("main", &[(PATH, TEXT)]);
    let with = |change: Change| {
        let mut work = wanted(&git.url, "main");
        change(&mut work);
        let ended = fetch(&server, work);
        (ended.report.reason, ended.report.message)
    };
    let cases: [(Change, Reason, &str); 8] = [
        (|w| w.revision = "gone".into(), Reason::RevisionNotFound, "spec.source.git.revision"),
        (|w| w.revision = "0".repeat(40), Reason::RevisionNotFound, "0000000"),
        (|w| w.path = "specs/002/spec.md".into(), Reason::PathNotFound, "spec.source.git.path"),
        (|w| w.path = "specs".into(), Reason::DocumentRefused, "directory"),
        (|w| w.url = w.url.replace("repository", "none"), Reason::RepositoryDenied, "spec.source.git.url"),
        (|w| w.url = "http://no-such-host.invalid/a.git".into(), Reason::RepositoryUnreachable, "resolved"),
        (|w| w.url = "file:///etc".into(), Reason::InvalidAssignment, "https://"),
        (|w| w.path = "../etc/passwd".into(), Reason::InvalidAssignment, "path"),
    ];
    for (change, reason, part) in cases {
        let (found, message) = with(change);
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(server.count(), 0);
}

#[test]
fn failure_names_the_credential_field() {
    let (git, server) = (GitServer::start(), EnactServer::start(&[]));
    let pod = || Pod::document_job(&server, DocumentWork::Fetch(wanted(&git.url, "main")));
    let wrong = pod();
    wrong.write("git/password", "wrong-password");
    let ended = wrong.run("fetch");
    assert_eq!(ended.report.reason, Reason::RepositoryDenied, "{}", ended.log);
    assert!(ended.report.message.contains("spec.source.git.credentialsSecretRef"), "{}", ended.report.message);
    assert!(!ended.log.contains("wrong-password"), "{}", ended.log);
    let empty = pod();
    for name in ["git/username", "git/password"] {
        std::fs::remove_file(empty.path(name)).unwrap();
    }
    let ended = empty.run("fetch");
    assert_eq!(ended.report.reason, Reason::ContainerConfigError, "{}", ended.log);
    assert!(ended.report.message.contains("spec.source.git.credentialsSecretRef"), "{}", ended.report.message);
}

#[test]
fn document_must_be_a_regular_text_file() {
    let (git, server) = (GitServer::start(), EnactServer::start(&[]));
    git.change("main", |tree| {
        symlink("/etc/passwd", tree.join("link.md")).unwrap();
        symlink("/etc", tree.join("etc")).unwrap();
        std::fs::write(tree.join("binary.md"), [b'#', 0xff, 0xfe]).unwrap();
        std::fs::write(tree.join("large.md"), vec![b'x'; MAX_DOCUMENT_BYTES + 1]).unwrap();
        std::fs::write(tree.join("fits.md"), vec![b'x'; MAX_DOCUMENT_BYTES]).unwrap();
    });
    let of = |path: &str| fetch(&server, FetchWork { path: path.into(), ..wanted(&git.url, "main") }).report;
    for (path, reason, part) in [
        ("link.md", Reason::DocumentRefused, "symbolic link"),
        ("etc/passwd", Reason::PathNotFound, "no file"),
        ("binary.md", Reason::DocumentRefused, "UTF-8"),
        ("large.md", Reason::DocumentRefused, "more than 1048576 bytes"),
    ] {
        let report = of(path);
        assert_eq!(report.reason, reason, "{path}: {}", report.message);
        assert!(report.message.contains(part), "{}", report.message);
    }
    assert_eq!(server.count(), 0);
    assert_eq!(of("fits.md").reason, Reason::Succeeded);
}

#[test]
fn undelivered_document_is_a_failure() {
    let (git, server) = (GitServer::start(), EnactServer::start(&["503 Service Unavailable", "403 Forbidden"]));
    git.commit("main", &[(PATH, TEXT)]);
    let ended = fetch(&server, wanted(&git.url, "main"));
    assert_eq!((ended.code, ended.report.reason), (Some(75), Reason::DeliveryFailed), "{}", ended.log);
    assert!(ended.report.message.contains("403"), "{}", ended.report.message);
    assert_eq!((ended.report.document, server.count()), (None, 2), "a passing trouble is waited out, a refusal is not");
}

#[test]
fn delivers_the_draft_of_an_agent() {
    let script = r#"test "$ENACT_ATTEMPT" = 2; test ! -e "$ENACT_DOCUMENT_FILE"; cat "$ENACT_PROMPT_FILE" > "$ENACT_DOCUMENT_FILE""#;
    let ended = drafted(script);
    assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{}", ended.log);
    assert_eq!(ended.report.document, Some(Digest::of_bytes(b"Write about carts.")));
    assert_eq!(ended.report.commit, None);
}

#[test]
fn an_agent_reads_the_repository_that_another_container_fetched() {
    let (git, server) = (GitServer::start(), EnactServer::start(&[]));
    let repository = Prefetch { url: git.url.clone(), revision: "main".into(), cache_url: None };
    let pod = Pod::document_job(&server, DocumentWork::Clone(repository));
    // Kubernetes runs the container again if the node restarts before the agent's container begins.
    for _ in 0..2 {
        let cloned = pod.run("clone");
        assert_eq!((cloned.code, cloned.report.reason), (Some(0), Reason::Succeeded), "{}", cloned.log);
        assert_eq!((cloned.report.document, server.count()), (None, 0), "a clone is no document");
    }

    let script = r#"cat README.md > "$ENACT_DOCUMENT_FILE"; git log --format=%s >> "$ENACT_DOCUMENT_FILE""#;
    let mut work = drafting(Adapter::Command { script: script.into() });
    let DocumentWork::Draft(draft) = &mut work else { panic!("a draft was expected") };
    draft.repository = Some(git.url.clone());
    let pod = pod.with_document_job(work);
    // The container of the agent has no credential.
    std::fs::remove_dir_all(pod.path("git")).unwrap();
    let ended = pod.run("draft");
    assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{}", ended.log);
    assert_eq!(ended.report.document, Some(Digest::of_bytes(b"hello\nBy a test\n")), "{}", ended.log);
    let again = pod.run("draft");
    assert_eq!(again.report.reason, Reason::ContainerConfigError, "{}", again.log);
}

#[test]
fn an_agent_begins_with_an_empty_repository() {
    let (git, server) = (GitServer::start_empty(|_| None), EnactServer::start(&[]));
    let repository = Prefetch { url: git.url.clone(), revision: "main".into(), cache_url: None };
    let pod = Pod::document_job(&server, DocumentWork::Clone(repository));
    let cloned = pod.run("clone");
    assert_eq!(cloned.report.reason, Reason::Succeeded, "{}", cloned.log);
    assert_eq!(git.tip("main"), None, "a planner changes no repository");
    let mut work = drafting(Adapter::Command { script: r#"ls > "$ENACT_DOCUMENT_FILE""#.into() });
    let DocumentWork::Draft(draft) = &mut work else { panic!("a draft was expected") };
    draft.repository = Some(git.url.clone());
    let ended = pod.with_document_job(work).run("draft");
    assert_eq!(ended.report.document, Some(Digest::of_bytes(b"")), "{}", ended.log);
}

#[test]
fn agent_without_a_document_fails() {
    for (script, reason, part) in [
        ("true", Reason::AgentFailed, "there is no file"),
        ("echo out of tokens; exit 3", Reason::AgentFailed, "out of tokens"),
        (r#"ln -s /etc/passwd "$ENACT_DOCUMENT_FILE""#, Reason::AgentFailed, "not a plain file"),
        (r#"mkfifo "$ENACT_DOCUMENT_FILE""#, Reason::AgentFailed, "not a plain file"),
        (r#"printf '\377' > "$ENACT_DOCUMENT_FILE""#, Reason::DocumentRefused, "UTF-8"),
        (r#"head -c 2000000 /dev/zero > "$ENACT_DOCUMENT_FILE""#, Reason::DocumentRefused, "more than"),
    ] {
        let ended = drafted(script);
        assert_eq!(ended.report.reason, reason, "{script}: {}", ended.log);
        assert!(ended.report.message.contains(part), "{}", ended.report.message);
    }
}

#[test]
fn replays_the_draft_of_the_attempt() {
    let server = EnactServer::start(&[]);
    let pod = || Pod::document_job(&server, drafting(Adapter::Replay {}));
    let missing = pod().run("draft");
    assert_eq!(missing.report.reason, Reason::ReplayFailed, "{}", missing.log);
    assert!(missing.report.message.contains("`cart.2.md`"), "{}", missing.report.message);
    for (files, text) in
        [(&[("cart.md", "any")][..], "any"), (&[("cart.md", "any"), ("cart.2.md", "second")], "second")]
    {
        let pod = pod();
        for (name, text) in files {
            pod.write(&format!("replay/{name}"), text);
        }
        let ended = pod.run("draft");
        assert_eq!(ended.report.document, Some(Digest::of_bytes(text.as_bytes())), "{}", ended.log);
    }
}
