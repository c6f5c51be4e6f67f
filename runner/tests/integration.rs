//! `enact-runner merge`, `gate` and `publish`, against a real Git server over HTTP.

mod support;

use enact_domain::assignment::Reason;

use support::{EnactServer, GitServer, Pod};

fn with_two_tasks() -> GitServer {
    let git = GitServer::start();
    git.commit("enact/shop-5f0c1a2b/t001-1", &[("a.txt", "a\n")]);
    git.commit("enact/shop-5f0c1a2b/t002-1", &[("b.txt", "b\n")]);
    git
}

const TASKS: [&str; 2] = ["enact/shop-5f0c1a2b/t001-1", "enact/shop-5f0c1a2b/t002-1"];

#[test]
fn merges_checks_and_publishes_branches() {
    let git = with_two_tasks();
    let server = EnactServer::start(&[]);
    let pod = Pod::integration(&git, &TASKS, "test -f a.txt -a -f b.txt").with_server(&server);

    let merged = pod.run("merge");
    assert_eq!(merged.code, Some(0), "{}", merged.log);
    assert_eq!(merged.report.commit, git.tip("enact/shop-5f0c1a2b/candidate/1"));
    assert_eq!(git.tip("plan/shop"), None);
    let checked = pod.run("gate");
    assert_eq!(checked.code, Some(0), "{}", checked.log);
    assert_eq!(server.count(), 0, "only the last step speaks for the attempt");

    let published = pod.run("publish");
    assert_eq!((published.code, published.report.commit.clone()), (Some(0), git.tip("plan/shop")), "{}", published.log);
    assert_eq!(git.git(&["ls-tree", "--name-only", "plan/shop"]), "README.md\na.txt\nb.txt");
    let result = server.result();
    assert_eq!((result.report, result.gates[0].exit_code), (published.report.clone(), Some(0)));

    // A repetition changes nothing.
    let again = pod.run("publish");
    assert_eq!((again.code, again.report), (Some(0), published.report));

    // A later attempt builds on the target.
    git.commit("enact/shop-5f0c1a2b/t003-1", &[("c.txt", "c\n")]);
    let pod = Pod::integration(&git, &["enact/shop-5f0c1a2b/t003-1"], "true")
        .with(|a| a.git.as_mut().unwrap().branch = "enact/shop-5f0c1a2b/candidate/2".into());
    assert_eq!(pod.run("merge").code, Some(0));
    assert_eq!(pod.run("publish").code, Some(0));
    assert_eq!(git.git(&["ls-tree", "--name-only", "plan/shop"]), "README.md\na.txt\nb.txt\nc.txt");
}

#[test]
fn conflict_names_branch_and_files() {
    let git = with_two_tasks();
    git.commit("enact/shop-5f0c1a2b/t003-1", &[("a.txt", "other\n")]);
    let server = EnactServer::start(&[]);
    let pod = Pod::integration(&git, &["enact/shop-5f0c1a2b/t001-1", "enact/shop-5f0c1a2b/t003-1"], "true")
        .with_server(&server);
    let ended = pod.run("merge");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::MergeConflict), "{}", ended.log);
    assert_eq!(ended.report.conflicts, ["a.txt"]);
    assert!(ended.report.message.contains("enact/shop-5f0c1a2b/t003-1"), "{}", ended.report.message);
    assert_eq!((git.tip("enact/shop-5f0c1a2b/candidate/1"), git.tip("plan/shop")), (None, None));
    assert_eq!(server.result().report, ended.report);
}

#[test]
fn does_not_merge_a_replaced_branch() {
    let git = with_two_tasks();
    let pod = Pod::integration(&git, &TASKS, "test ! -e sneaked.txt");
    let verified = git.tip(TASKS[1]).unwrap();
    // Commits after the verified one are not merged.
    git.commit(TASKS[1], &[("sneaked.txt", "in\n")]);
    for step in ["merge", "gate", "publish"] {
        let ended = pod.run(step);
        assert_eq!(ended.code, Some(0), "{}", ended.log);
    }
    assert_eq!(git.git(&["ls-tree", "--name-only", "plan/shop"]), "README.md\na.txt\nb.txt");

    // A branch that no longer contains the verified commit ends the attempt.
    let other = git.commit("other", &[("b.txt", "not what was checked\n")]);
    git.git(&["branch", "-f", TASKS[1], &other]);
    git.git(&["branch", "-D", "plan/shop", "enact/shop-5f0c1a2b/candidate/1"]);
    let server = EnactServer::start(&[]);
    let pod = pod.with_server(&server);
    let ended = pod.run("merge");
    assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::WorkNotFound), "{}", ended.log);
    assert!(ended.report.message.contains(TASKS[1]) && ended.report.message.contains(&verified));
    assert_eq!((git.tip("enact/shop-5f0c1a2b/candidate/1"), git.tip("plan/shop")), (None, None));
    assert_eq!(server.result().report, ended.report);

    // The branch has the verified commit again.
    git.git(&["branch", "-f", TASKS[1], &verified]);
    assert_eq!(pod.run("merge").code, Some(0));
}

#[test]
fn failed_gate_is_named_and_needs_no_credential() {
    let git = with_two_tasks();
    let server = EnactServer::start(&[]);
    let pod = Pod::integration(&git, &TASKS, "echo 3 tests failed; exit 4").with_server(&server);
    assert_eq!(pod.run("merge").code, Some(0));
    for file in ["git/username", "git/password", "token", "handover/commit"] {
        std::fs::remove_file(pod.path(file)).unwrap();
    }
    let ended = pod.run("gate");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::GateFailed), "{}", ended.log);
    assert_eq!(ended.report.message, "gate `check` exited with 4: 3 tests failed");
    assert_eq!(server.count(), 0);
    // Without the commit that the merge step hands over, there is nothing to publish.
    assert_ne!(pod.run("publish").code, Some(0));
    assert_eq!(git.tip("plan/shop"), None);
}

#[test]
fn publishes_only_the_checked_commit() {
    let git = with_two_tasks();
    let pod = Pod::integration(&git, &TASKS, "true");
    assert_eq!(pod.run("merge").code, Some(0));
    git.commit("enact/shop-5f0c1a2b/candidate/1", &[("sneaked.txt", "in\n")]);
    let ended = pod.run("publish");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::PushRejected), "{}", ended.log);
    assert_eq!(git.tip("plan/shop"), None);

    pod.write("handover/commit", "--force");
    assert_eq!(pod.run("publish").report.reason, Reason::InvalidAssignment);
}

#[test]
fn never_overwrites_a_target_that_moved() {
    let git = with_two_tasks();
    let pod = Pod::integration(&git, &TASKS, "true");
    assert_eq!(pod.run("merge").code, Some(0));
    let moved = git.commit("plan/shop", &[("person.txt", "by a person\n")]);
    let ended = pod.run("publish");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::PushRejected), "{}", ended.log);
    assert!(ended.report.message.contains("moved"), "{}", ended.report.message);
    assert_eq!(git.tip("plan/shop"), Some(moved.clone()));

    // The next attempt merges into the new head.
    let pod = Pod::integration(&git, &TASKS, "true")
        .with(|a| a.git.as_mut().unwrap().branch = "enact/shop-5f0c1a2b/candidate/2".into());
    assert_eq!(pod.run("merge").code, Some(0));
    assert_eq!(pod.run("publish").code, Some(0));
    assert_eq!(git.git(&["merge-base", &moved, "plan/shop"]), moved);
}

#[test]
fn step_refuses_the_assignment_of_another_step() {
    let git = with_two_tasks();
    assert_eq!(Pod::integration(&git, &TASKS, "true").run("task").report.reason, Reason::InvalidAssignment);
    assert_eq!(Pod::task(&git, "true").run("merge").report.reason, Reason::InvalidAssignment);
}
