//! The work of attempts that fail: it is kept, it is never taken for finished work, and the next attempt can continue with it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use enact_domain::agents::checkpoint::Checkpoint;
use enact_domain::assignment::{Gate, Reason, RetryFrom};

use support::http::response;
use support::{Ended, GitServer, Pod, checkpoint_server, eventually};

const BRANCH: &str = "enact/shop-5f0c1a2b/t001-1";

fn failing_gate() -> Gate {
    Gate { name: "tests".into(), script: "rm -rf .git/config; echo '41 of 42 tests passed'; exit 1".into() }
}

/// Checks that the branch of the attempt holds exactly these files beside README.md, and that its last commit says that it is unfinished.
fn assert_kept(git: &GitServer, ended: &Ended, reason: Reason, files: &str) {
    assert_eq!(ended.report.reason, reason, "{}", ended.log);
    assert_eq!(git.git(&["ls-tree", "-r", "--name-only", BRANCH]), format!("README.md\n{files}"), "{}", ended.log);
    assert_eq!(ended.report.commit, git.tip(BRANCH));
    let subject = git.git(&["log", "-1", "--format=%s", BRANCH]);
    assert_eq!(subject, "Unfinished: T001: Create the cart");
    let contains_base = git.git(&["merge-base", "main", BRANCH]);
    assert_eq!(Some(contains_base), git.tip("main"));
}

#[test]
fn every_failure_keeps_the_work() {
    for (script, reason, files) in [
        ("echo one > one.py; exit 3", Reason::AgentFailed, "one.py"),
        ("echo one > one.py; kill -KILL $$", Reason::Killed, "one.py"),
        (
            "echo one > one.py; head -c 9000 /dev/zero | tr '\\0' x > \"$ENACT_OUTPUT_DIR/log\"",
            Reason::OutputTooLarge,
            "one.py",
        ),
        (
            "echo one > one.py; git add one.py; git commit -qm one; echo two > two.py; exit 1",
            Reason::AgentFailed,
            "one.py\ntwo.py",
        ),
    ] {
        let git = GitServer::start();
        let ended = Pod::task(&git, script).run("task");
        assert_kept(&git, &ended, reason, files);
    }
    let git = GitServer::start();
    let pod = Pod::task(&git, "echo one > one.py").with_task(|task| task.gates.push(failing_gate()));
    let ended = pod.run("task");
    assert_kept(&git, &ended, Reason::GateFailed, "one.py");
}

#[test]
fn stopped_script_keeps_its_work() {
    let git = GitServer::start();
    let script = "echo one > one.py; git add -A; git commit -qm one; echo two > two.py; touch ../ready; sleep 300";
    let pod = Pod::task(&git, script);
    let container = pod.start("task");
    eventually("the script works", || pod.path("work/ready").exists());
    // As the kubelet does when activeDeadlineSeconds is over.
    let killed = Command::new("kill").args(["-TERM", &container.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ended = pod.finish(container);
    assert_kept(&git, &ended, Reason::Cancelled, "one.py\ntwo.py");
    assert_eq!(git.git(&["log", "--format=%s", "-2", "--skip=1", BRANCH]), "T001: Create the cart\none");
}

#[test]
fn work_is_kept_before_a_gate_ends_the_pod() {
    let git = GitServer::start();
    let gate =
        Gate { name: "long".into(), script: "touch ../../gate; while [ -e ../../gate ]; do sleep 0.1; done".into() };
    let pod = Pod::task(&git, "echo one > one.py").with_task(|task| task.gates.push(gate));
    let mut container = pod.start("task");
    eventually("the gate runs", || pod.path("gate").exists());
    // As when the node loses power.
    container.kill().unwrap();
    container.wait().unwrap();
    assert_eq!(git.git(&["show", &format!("{BRANCH}:one.py")]), "one");
}

#[test]
fn nested_repositories_do_not_lose_the_work() {
    let commit = "touch f && git add f && git -c user.name=t -c user.email=t@example.org commit -qm x";
    for (script, files) in [
        (
            format!("mkdir repro && cd repro && git init -q && {commit}; cd ..; echo r > result.txt"),
            "repro/f\nresult.txt",
        ),
        ("git init -q vendor/tool; echo t > vendor/tool/t; echo s > src.py".into(), "src.py\nvendor/tool/t"),
        (
            format!("mkdir a && cd a && git init -q && {commit}; cd ..; git add a; git commit -qm mine; echo s > s"),
            "a/f\ns",
        ),
        ("git init -q a; git init -q a/b; touch a/b/f; echo s > s".into(), "a/b/f\ns"),
    ] {
        let git = GitServer::start();
        let ended = Pod::task(&git, &script).run("task");
        assert_kept(&git, &ended, Reason::AgentFailed, files);
        let message = &ended.report.message;
        assert!(message.contains("Git repository of its own") && message.contains(".gitignore"), "{message}");
    }
    // In place of a file of the repository.
    let git = GitServer::start();
    let script = format!(
        "rm README.md; mkdir README.md; cd README.md; git init -q; {commit}; cd ..; git add README.md; git commit -qm mine; echo s > s"
    );
    let ended = Pod::task(&git, &script).run("task");
    assert_eq!(ended.report.reason, Reason::AgentFailed, "{}", ended.log);
    assert_eq!(git.git(&["ls-tree", "-r", "--name-only", BRANCH]), "README.md/f\ns");
    // The remedy works.
    let git = GitServer::start();
    let ended = Pod::task(&git, "git init -q tool; echo tool/ > .gitignore; echo s > src.py").run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(git.git(&["ls-tree", "-r", "--name-only", BRANCH]), ".gitignore\nREADME.md\nsrc.py");
}

/// Checks that an agent which forgets `.gitignore` fails itself: an invalid assignment would get no further attempt.
#[test]
fn too_many_files_are_kept_and_are_a_failure_of_the_agent() {
    let git = GitServer::start();
    // Each path has about 250 bytes, and 8 MiB of paths are 34000.
    let script = "name=$(printf '%0240d' 0); mkdir gen; cd gen; seq 1 36000 | sed \"s/^/$name/\" | xargs touch";
    let ended = Pod::task(&git, script).run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::AgentFailed), "{}", ended.log);
    assert!(ended.report.message.contains(".gitignore"), "{}", ended.report.message);
    assert_eq!(ended.report.commit, git.tip(BRANCH));
    let count = git.git(&["ls-tree", "-r", "--name-only", BRANCH]).lines().count();
    assert_eq!(count, 36_001, "the work is kept");
}

#[test]
fn conflicts_and_a_rewritten_history_are_kept() {
    let git = GitServer::start();
    let conflict = "echo mine > README.md; git commit -qam mine; git branch side HEAD~1; git checkout -q side; \
                    echo theirs > README.md; git commit -qam theirs; git merge -q - || true; echo more > more.txt";
    let ended = Pod::task(&git, conflict).run("task");
    assert_kept(&git, &ended, Reason::AgentFailed, "more.txt");
    assert!(ended.report.message.contains("unresolved merge conflicts"), "{}", ended.report.message);
    assert!(git.git(&["show", &format!("{BRANCH}:README.md")]).contains("<<<<<<<"));

    let git = GitServer::start();
    let rewritten =
        "git checkout -q --orphan new; echo n > new.txt; git add new.txt; git commit -qm mine; echo l > late.txt";
    let ended = Pod::task(&git, rewritten).run("task");
    assert_kept(&git, &ended, Reason::AgentFailed, "late.txt\nnew.txt");
    assert!(git.git(&["log", "--format=%s", BRANCH]).contains("mine"), "its own commits are kept, too");
}

#[test]
fn script_continues_with_the_work_if_the_plan_says_so() {
    let git = GitServer::start();
    let (server, saved) = checkpoint_server();
    let with_server = |pod: Pod| pod.with(|assignment| assignment.server_url = Some(server.clone()));
    let first = with_server(Pod::task(&git, "echo one > one.py")).with_task(|task| task.gates.push(failing_gate()));
    assert_eq!(first.run("task").report.reason, Reason::GateFailed);
    let left: Checkpoint = serde_json::from_slice(saved.lock().unwrap().as_deref().unwrap()).unwrap();
    assert_eq!(left.work.unwrap().branch, BRANCH);

    let second = |from| {
        let pod = with_server(Pod::task(&git, "git status --porcelain > \"$ENACT_OUTPUT_DIR/found\"; touch two.py"));
        pod.with_task(|task| task.retry_from = from).with(|assignment| {
            assignment.attempt = 2;
            assignment.git.as_mut().unwrap().branch = "enact/shop-5f0c1a2b/t001-2".into();
        })
    };
    for from in [None, Some(RetryFrom::Scratch)] {
        let ended = second(from).run("task");
        assert_eq!((ended.code, ended.report.outputs["found"].as_str()), (Some(0), ""), "{}", ended.log);
    }
    let ended = second(Some(RetryFrom::Work)).run("task");
    assert_eq!((ended.code, ended.report.outputs["found"].as_str()), (Some(0), "?? one.py"), "{}", ended.log);
    let files = git.git(&["ls-tree", "--name-only", "enact/shop-5f0c1a2b/t001-2"]);
    assert_eq!(files, "README.md\none.py\ntwo.py");
}

#[test]
fn work_goes_to_the_server_while_git_is_down() {
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let git = GitServer::start_empty(move |request| {
        let push = request.query.contains("git-receive-pack") || request.path.ends_with("git-receive-pack");
        (push && is_down.load(Ordering::Relaxed)).then(|| response("503 Service Unavailable", &[], b""))
    });
    git.commit("main", &[("README.md", "hello\n")]);
    git.commit("enact/shop-5f0c1a2b/t000-1", &[("a.txt", "a\n")]);
    git.commit("enact/shop-5f0c1a2b/t00x-1", &[("b.txt", "b\n")]);
    let (server, saved) = checkpoint_server();
    let pod = |script: &str, attempt: u32| {
        let pod = Pod::task(&git, script).merging(&git, &["enact/shop-5f0c1a2b/t000-1", "enact/shop-5f0c1a2b/t00x-1"]);
        pod.with_task(|task| task.retry_from = Some(RetryFrom::Work)).with(|assignment| {
            assignment.server_url = Some(server.clone());
            assignment.attempt = attempt;
            assignment.git.as_mut().unwrap().branch = format!("enact/shop-5f0c1a2b/t001-{attempt}");
        })
    };
    down.store(true, Ordering::Relaxed);
    let ended = pod("echo one > one.py; git add -A; git commit -qm one; echo two > two.py", 1).run("task");
    assert_eq!((ended.report.reason, ended.report.commit), (Reason::RepositoryUnreachable, None), "{}", ended.log);
    assert!(ended.report.message.contains("enact-server gets it, for a next attempt"), "{}", ended.report.message);
    assert_eq!(git.tip(BRANCH), None);
    let left: Checkpoint = serde_json::from_slice(saved.lock().unwrap().as_deref().unwrap()).unwrap();
    assert!(left.bundle.is_some() && left.check().is_ok());

    down.store(false, Ordering::Relaxed);
    git.commit("main", &[("newer.txt", "newer\n")]);
    let ended = pod("cat one.py two.py a.txt b.txt newer.txt; touch done.txt", 2).run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let files = git.git(&["ls-tree", "--name-only", "enact/shop-5f0c1a2b/t001-2"]);
    assert_eq!(files, "README.md\na.txt\nb.txt\ndone.txt\nnewer.txt\none.py\ntwo.py");
}

#[test]
fn another_push_to_the_branch_is_not_taken_for_the_work() {
    let git = GitServer::start();
    // The same attempt ran before, and while it runs again, somebody replaces its push.
    assert_eq!(Pod::task(&git, "echo one > one.py").run("task").code, Some(0));
    // With other work: equal commits of the same second would be one commit.
    let pod = Pod::task(&git, "echo two > one.py; touch ../ready; while [ ! -e ../go ]; do sleep 0.1; done");
    let container = pod.start("task");
    eventually("the script works", || pod.path("work/ready").exists());
    let other = git.commit(BRANCH, &[("sneaked.txt", "in\n")]);
    pod.write("work/go", "");
    let ended = pod.finish(container);
    assert_eq!(ended.report.reason, Reason::PushRejected, "{}", ended.log);
    assert_eq!((ended.report.commit, git.tip(BRANCH)), (None, Some(other)));
}

#[test]
fn empty_repository_gets_its_first_commit() {
    let git = GitServer::start_empty(|_| None);
    let pod = |branch: &str, script: &str| {
        let pod = Pod::task(&git, script);
        pod.with(|assignment| assignment.git.as_mut().unwrap().branch = branch.into())
    };
    let [one, two] = ["enact/shop-5f0c1a2b/t001-1", "enact/shop-5f0c1a2b/t002-1"];
    let first = pod(one, "echo hi > README.md").run("task");
    assert_eq!(first.code, Some(0), "{}", first.log);
    let begun = git.tip("main").expect("the branch of the plan exists");
    assert_eq!(git.git(&["ls-tree", "--name-only", "main"]), "");
    assert_eq!(git.git(&["rev-parse", &format!("{one}~1")]), begun);

    // As with a credential for `enact/` only: the branch of the plan cannot be created.
    git.git(&["update-ref", "-d", "refs/heads/main"]);
    let second = pod(two, "echo there > two.txt").run("task");
    assert_eq!(second.code, Some(0), "{}", second.log);
    assert_eq!(git.tip("main"), Some(begun), "the first commit is the same in every clone");
    let integration = Pod::integration(&git, &[one, two], "test -e README.md; test -e two.txt");
    for step in ["merge", "gate", "publish"] {
        let ended = integration.run(step);
        assert_eq!(ended.code, Some(0), "{step}: {}", ended.log);
    }
    assert_eq!(git.git(&["ls-tree", "--name-only", "plan/shop"]), "README.md\ntwo.txt");

    // A repository with other branches is not empty.
    let missing = Pod::task(&git, "true").with(|assignment| assignment.git.as_mut().unwrap().revision = "trunk".into());
    let ended = missing.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::RevisionNotFound), "{}", ended.log);
    assert!(ended.report.message.contains("Branches there: main, plan/shop"), "{}", ended.report.message);
}

#[test]
fn empty_repository_needs_no_right_to_push_the_branch_of_the_plan() {
    let git = GitServer::start_empty(|request| {
        let is_push = request.path.ends_with("git-receive-pack");
        let creates_main = is_push && String::from_utf8_lossy(&request.body).contains("refs/heads/main");
        creates_main.then(|| response("403 Forbidden", &[], b""))
    });
    let [one, two] = ["enact/shop-5f0c1a2b/t001-1", "enact/shop-5f0c1a2b/t002-1"];
    for (branch, script) in [(one, "echo hi > README.md"), (two, "echo there > two.txt")] {
        let pod = Pod::task(&git, script).with(|assignment| assignment.git.as_mut().unwrap().branch = branch.into());
        let ended = pod.run("task");
        assert_eq!(ended.code, Some(0), "{branch}: {}", ended.log);
    }
    assert_eq!(git.tip("main"), None);
    let integration = Pod::integration(&git, &[one, two], "test -e README.md; test -e two.txt");
    for step in ["merge", "gate", "publish"] {
        let ended = integration.run(step);
        assert_eq!(ended.code, Some(0), "{step}: {}", ended.log);
    }
    assert_eq!(git.git(&["ls-tree", "--name-only", "plan/shop"]), "README.md\ntwo.txt");
}
