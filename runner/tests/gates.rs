//! Gates and measurements judge the commit, not what the agent left beside it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use enact_domain::assignment::{Gate, Reason};

use support::{GitServer, Pod};

const BRANCH: &str = "enact/shop-5f0c1a2b/t001-1";

fn gate(script: &str) -> Gate {
    Gate { name: "tests".into(), script: script.into() }
}

/// Each agent leaves something that makes a test pass that fails for its commit.
#[test]
fn nothing_that_the_agent_leaves_makes_a_failing_gate_pass() {
    for (leaves, test) in [
        // As Python runs `usercustomize.py` of its user.
        ("echo 'exit 0' > \"$HOME/.testrc\"", "if test -f \"$HOME/.testrc\"; then . \"$HOME/.testrc\"; fi; false"),
        ("touch \"$TMPDIR/passed\"", "test -e \"$TMPDIR/passed\""),
        ("mkdir -p ../gate-0/home; touch ../gate-0/home/passed", "test -e \"$HOME/passed\""),
        // Files that Git ignores.
        ("echo cache/ > .gitignore; mkdir cache; touch cache/passed", "test -e cache/passed"),
        ("echo cache/ > .gitignore; mkdir cache; touch cache/passed; chmod a-w cache", "test -e cache/passed"),
        ("mkdir -p \"$HOME/.config/git\"; echo passed > \"$HOME/.config/git/ignore\"; touch passed", "test -e passed"),
        // A changed file that the index hides.
        ("git update-index --skip-worktree README.md; echo passed > README.md", "grep -q passed README.md"),
        ("git update-index --assume-unchanged README.md; echo passed > README.md", "grep -q passed README.md"),
        // Hooks of the clone.
        (
            "mkdir -p .git/hooks; printf '#!/bin/sh\\ntouch passed\\n' > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout",
            "git checkout -q HEAD; test -e passed",
        ),
        (
            "printf '#!/bin/sh\\ntouch passed\\n' > \"$GIT_CONFIG_VALUE_0/post-checkout\"; chmod +x \"$GIT_CONFIG_VALUE_0/post-checkout\"",
            "git checkout -q HEAD; test -e passed",
        ),
        // What other tasks have delivered.
        (
            "echo '{\"T000\": {\"result\": \"passed\"}}' > \"$ENACT_INPUTS_FILE\"",
            "grep -q passed \"$ENACT_INPUTS_FILE\"",
        ),
    ] {
        let git = GitServer::start();
        let script = format!("{leaves}; echo work > work.txt");
        let pod = Pod::task(&git, &script).with_task(|task| task.gates = vec![gate(test)]);
        let ended = pod.run("task");
        assert_eq!(ended.report.reason, Reason::GateFailed, "{leaves}: {}", ended.log);
        assert_eq!(git.git(&["show", &format!("{BRANCH}:work.txt")]), "work", "{leaves}");
    }
}

#[test]
fn a_gate_sees_the_whole_commit_and_its_history() {
    let git = GitServer::start();
    let leaves = "mkdir -p sub/dir; echo deep > sub/dir/file; printf '#!/bin/sh\\n' > run.sh; chmod +x run.sh; ln -s README.md link; \
                  rm -f README.md; echo changed > README.md";
    let checks = "test \"$(cat sub/dir/file)\" = deep; test -x run.sh; test \"$(cat link)\" = changed; \
                  test -z \"$(git status --porcelain --ignored)\"; test \"$(git rev-list --count HEAD)\" = 2; \
                  test -z \"$(ls -A \"$HOME\")\"; test -w \"$TMPDIR\"";
    let pod = Pod::task(&git, leaves).with_task(|task| {
        task.gates =
            vec![gate(checks), gate("touch \"$HOME/a\"; touch left"), gate("test ! -e \"$HOME/a\"; test -e left")];
        task.measurements = vec![gate("ls -A \"$HOME\" \"$TMPDIR\" | grep -c passed || true")];
    });
    let ended = pod.run("task");
    assert_eq!(ended.report.reason, Reason::Succeeded, "{}", ended.log);
    assert_eq!(ended.report.measurements["tests"].to_string(), "0");
    assert_eq!(git.git(&["ls-tree", "-r", "--name-only", BRANCH]), "README.md\nlink\nrun.sh\nsub/dir/file");
}

#[test]
fn a_task_without_changes_or_repository_is_judged_in_the_same_way() {
    let git = GitServer::start();
    let pod = Pod::task(
        &git,
        "echo 'exit 0' > \"$HOME/.testrc\"; git update-index --assume-unchanged README.md; echo passed > README.md",
    )
    .with_task(|task| task.gates = vec![gate("if test -f \"$HOME/.testrc\"; then exit 0; fi; grep passed README.md")]);
    let ended = pod.run("task");
    assert_eq!(ended.report.reason, Reason::GateFailed, "{}", ended.log);

    let pod = Pod::task(&git, "touch \"$HOME/passed\" made")
        .with(|assignment| assignment.git = None)
        .with_task(|task| task.gates = vec![gate("test -e made"), gate("test -e \"$HOME/passed\"")]);
    let ended = pod.run("task");
    assert_eq!(ended.report.message, "gate `tests` exited with 1", "{}", ended.log);
}
