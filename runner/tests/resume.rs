//! Attempts of a coding agent that continue with the unfinished work and the session of an earlier one, in another pod.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use enact_domain::agents::checkpoint::Checkpoint;
use enact_domain::agents::message::{self, Message};
use enact_domain::agents::run::AgentRun;
use enact_domain::assignment::{Adapter, Assignment, Gate, PreviousFailure, Reason, RetryFrom, TaskWork, Work};

use support::http::{response, serve};
use support::{Ended, GitServer, Pod, assignment, checkpoint_server, eventually, task};

/// A program that behaves like Claude Code. It keeps its session in HOME.
const PROGRAM: &str = r#"#!/bin/sh
say() { printf '%s\n' "$1"; }
begin() { say '{"type":"system","subtype":"init","session_id":"s-1"}'; }
end() { say '{"type":"result","is_error":false,"result":"done","usage":{"input_tokens":10,"output_tokens":4},"total_cost_usd":0.002}'; }
fail() { say '{"type":"result","is_error":true,"result":"'"$1"'","usage":{"input_tokens":7,"output_tokens":1},"total_cost_usd":0.0015}'; exit 1; }
session="$HOME/.claude/projects/tree/s-1.jsonl"
mkdir -p "${session%/*}"
"#;
/// The first attempt: it changes files and is stopped by the quota.
const FIRST: &str = r#"begin
say "{\"key\":\"$ANTHROPIC_API_KEY\",\"tracker\":\"$TRACKER\"}" > "$session"
echo credentials > "$HOME/.claude/.credentials.json"
echo half > half.txt; echo more >> README.md; mkdir deep; echo deep > deep/file.txt
git add half.txt && git commit --quiet --message 'A commit of the agent'
fail "You exceeded your current quota""#;
/// A later attempt, which writes down what it finds.
const SECOND: &str = r#"begin
printf '%s\n' "$*" > "$ENACT_OUTPUT_DIR/arguments"
cat "$session" > "$ENACT_OUTPUT_DIR/session" 2>&1
ls -A "$HOME/.claude" > "$ENACT_OUTPUT_DIR/home"
git status --porcelain > "$ENACT_OUTPUT_DIR/status"
echo whole > whole.txt
end"#;

/// A repository, and a server that keeps one checkpoint.
struct Scene {
    git: GitServer,
    server: String,
    saved: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Scene {
    fn new() -> Self {
        let (server, saved) = checkpoint_server();
        Self { git: GitServer::start(), server, saved }
    }

    /// Runs an attempt in a pod of its own.
    fn run(&self, attempt: u32, script: &str, change: impl FnOnce(&mut TaskWork)) -> Ended {
        self.pod(attempt, script, change).run("task")
    }

    /// Returns the pod of an attempt.
    fn pod(&self, attempt: u32, script: &str, change: impl FnOnce(&mut TaskWork)) -> Pod {
        let run = AgentRun { adapter: "ClaudeCode".into(), timeout_seconds: 600, ..AgentRun::default() };
        let mut work = task(Adapter::Agent(Box::new(run)));
        work.previous = (attempt > 1).then(|| PreviousFailure {
            attempt: attempt - 1,
            reason: "ProviderQuota".into(),
            message: "the quota is used up".into(),
        });
        change(&mut work);
        let branch = format!("enact/shop-5f0c1a2b/t001-{attempt}");
        let assignment = Assignment {
            attempt,
            server_url: Some(self.server.clone()),
            ..assignment(&self.git.url, &branch, Work::Task(work))
        };
        let pod = Pod::new(assignment);
        fs::create_dir(pod.path("bin")).unwrap();
        pod.write("bin/claude", &format!("{PROGRAM}\n{script}\n"));
        fs::set_permissions(pod.path("bin/claude"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", pod.path("bin").display(), std::env::var("PATH").unwrap());
        pod.with_environment("PATH", &path).with_environment("ENACT_SECRET_TRACKER", "tracker-password")
    }

    fn checkpoint(&self) -> Checkpoint {
        serde_json::from_slice(self.saved.lock().unwrap().as_deref().expect("a checkpoint was left")).unwrap()
    }

    fn show(&self, attempt: u32, file: &str) -> String {
        self.git.git(&["show", &format!("enact/shop-5f0c1a2b/t001-{attempt}:{file}")])
    }
}

fn succeeded(ended: &Ended) {
    assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{}", ended.log);
}

#[test]
fn attempt_parked_for_quota_continues_in_another_pod() {
    let scene = Scene::new();
    let first = scene.run(1, FIRST, |_| {});
    assert_eq!(first.report.reason, Reason::ProviderQuota, "{}", first.log);
    assert_eq!(first.report.usage.cost_micro_usd, 1500);
    let left = scene.checkpoint();
    assert_eq!((left.attempt, left.check()), (1, Ok(())));
    assert_eq!(left.work.unwrap().commit, first.report.commit.unwrap());
    let message = scene.git.git(&["log", "-1", "--format=%B", "enact/shop-5f0c1a2b/t001-1"]);
    assert!(
        message.starts_with("Unfinished: T001: Create the cart\n") && message.contains("Enact-Attempt: 1"),
        "{message}"
    );

    // Another task has changed the base since.
    scene.git.commit("main", &[("other.txt", "other\n")]);
    let second = scene.run(2, SECOND, |_| {});
    succeeded(&second);
    let outputs = &second.report.outputs;
    assert!(outputs["arguments"].starts_with("-p # Task T001, continued\n"), "{}", outputs["arguments"]);
    for part in ["--resume s-1", "the quota is used up"] {
        assert!(outputs["arguments"].contains(part), "{}", outputs["arguments"]);
    }
    assert!(!outputs["arguments"].contains("Create the cart, please."), "the session knows the task");
    // The changes are there, uncommitted; the session has no secret, and other files of HOME did not come along.
    assert_eq!(outputs["status"], " M README.md\n?? deep/\n?? half.txt");
    assert_eq!(outputs["session"], r#"{"key":"","tracker":"***"}"#);
    assert_eq!(outputs["home"], "projects");
    for (file, content) in
        [("half.txt", "half"), ("deep/file.txt", "deep"), ("whole.txt", "whole"), ("other.txt", "other")]
    {
        assert_eq!(scene.show(2, file), content, "{file}");
    }
    assert_eq!(scene.show(2, "README.md"), "hello\nmore");
    // The program reports the cost of the whole session.
    assert_eq!((second.report.usage.input_tokens, second.report.usage.cost_micro_usd), (10, 500));
}

#[test]
fn own_budget_is_that_of_the_attempt() {
    let scene = Scene::new();
    let limit = |task: &mut TaskWork| {
        let Adapter::Agent(run) = &mut task.adapter else { panic!("a coding agent was expected") };
        run.max_cost_micro_usd = Some(500_000);
    };
    scene.run(1, FIRST, limit);
    let second = scene.run(2, SECOND, limit);
    succeeded(&second);
    // The program counts the session, for which the first attempt paid 0.0015 USD.
    let arguments = &second.report.outputs["arguments"];
    assert!(arguments.contains("--max-budget-usd 0.501500"), "{arguments}");
}

#[test]
fn failed_gate_is_corrected_in_the_same_session() {
    let scene = Scene::new();
    let gate = Gate { name: "whole".into(), script: "test -e whole.txt".into() };
    let script = r#"begin; echo known > "$session"; echo half > half.txt; end"#;
    let first = scene.run(1, script, |task| task.gates.push(gate.clone()));
    assert_eq!(first.report.reason, Reason::GateFailed, "{}", first.log);
    assert_eq!(first.report.commit, scene.git.tip("enact/shop-5f0c1a2b/t001-1"));
    let second = scene.run(2, SECOND, |task| task.gates.push(gate));
    succeeded(&second);
    assert_eq!((second.report.outputs["session"].as_str(), scene.show(2, "half.txt").as_str()), ("known", "half"));
}

#[test]
fn another_agent_only_takes_over_the_work() {
    let scene = Scene::new();
    scene.run(1, FIRST, |_| {});
    let second = scene.run(2, SECOND, |task| task.agent = "another".into());
    succeeded(&second);
    let arguments = &second.report.outputs["arguments"];
    assert!(
        arguments.starts_with("-p Create the cart, please.") && arguments.contains("## Unfinished work"),
        "{arguments}"
    );
    assert!(
        !arguments.contains("--resume") && second.report.outputs["session"].contains("No such file"),
        "{arguments}"
    );
    assert_eq!(scene.show(2, "half.txt"), "half");
}

#[test]
fn attempt_from_scratch_takes_over_nothing() {
    let scene = Scene::new();
    scene.run(1, FIRST, |_| {});
    let second = scene.run(2, SECOND, |task| task.retry_from = Some(RetryFrom::Scratch));
    succeeded(&second);
    let arguments = &second.report.outputs["arguments"];
    assert!(!arguments.contains("--resume") && !arguments.contains("## Unfinished work"), "{arguments}");
    assert_eq!(second.report.outputs.get("status").map(String::as_str), Some(""));
}

#[test]
fn changed_task_is_told_to_the_session() {
    let scene = Scene::new();
    scene.run(1, FIRST, |_| {});
    let second = scene.run(2, SECOND, |task| task.prompt = "Create the basket.".into());
    succeeded(&second);
    let arguments = &second.report.outputs["arguments"];
    assert!(arguments.contains("--resume s-1") && arguments.contains("Create the basket."), "{arguments}");
}

#[test]
fn crashed_session_is_not_resumed() {
    let scene = Scene::new();
    let first = scene.run(1, "begin; echo x > \"$session\"; echo half > half.txt; kill -SEGV $$", |_| {});
    assert_eq!(first.report.reason, Reason::AgentCrashed, "{}", first.log);
    assert_eq!(scene.checkpoint().session, None);
    let second = scene.run(2, SECOND, |_| {});
    succeeded(&second);
    assert!(!second.report.outputs["arguments"].contains("--resume"));
    assert_eq!(scene.show(2, "half.txt"), "half");
}

#[test]
fn work_that_no_longer_applies_begins_again() {
    let scene = Scene::new();
    scene.run(1, FIRST, |_| {});
    scene.git.commit("main", &[("README.md", "rewritten\n"), ("half.txt", "another half\n")]);
    let second = scene.run(2, SECOND, |_| {});
    succeeded(&second);
    assert!(second.log.contains("is not continued"), "{}", second.log);
    assert!(second.report.outputs["arguments"].starts_with("-p Create the cart, please."));
    assert_eq!(second.report.outputs.get("status").map(String::as_str), Some(""));
    assert_eq!(scene.show(2, "README.md"), "rewritten");
}

#[test]
fn invalid_checkpoint_does_not_stop_the_attempt() {
    let scene = Scene::new();
    scene.run(1, FIRST, |_| {});
    let good = scene.checkpoint();
    let with = |change: &dyn Fn(&mut Checkpoint)| {
        let mut changed = good.clone();
        change(&mut changed);
        serde_json::to_vec(&changed).unwrap()
    };
    for body in [
        b"garbage".to_vec(),
        with(&|c| c.session.as_mut().unwrap().id = "--dangerous".into()),
        with(&|c| c.work.as_mut().unwrap().branch = "enact/gone".into()),
        with(&|c| c.work.as_mut().unwrap().base = "0".repeat(40)),
        with(&|c| c.archive = Some("H4sIAAAAAAAA".into())),
    ] {
        *scene.saved.lock().unwrap() = Some(body.clone());
        let ended = scene.run(2, SECOND, |_| {});
        succeeded(&ended);
        let arguments = &ended.report.outputs["arguments"];
        assert!(!arguments.contains("--resume"), "{}: {arguments}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn stopped_pod_keeps_the_work() {
    let scene = Scene::new();
    let pod =
        scene.pod(1, "begin; echo known > \"$session\"; echo half > half.txt; while :; do sleep 0.1; done", |_| {});
    let container = pod.start("task");
    eventually("the agent works", || pod.path("work/tree/half.txt").exists());
    // As when the node is drained.
    let killed = std::process::Command::new("kill").args(["-TERM", &container.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let first = pod.finish(container);
    assert_eq!(first.report.reason, Reason::Cancelled, "{}", first.log);
    let second = scene.run(2, SECOND, |_| {});
    succeeded(&second);
    assert_eq!((second.report.outputs["session"].as_str(), scene.show(2, "half.txt").as_str()), ("known", "half"));
}

/// Checks that gateway and server together do not take longer than the kubelet waits: it would kill the runner before its report.
#[test]
fn stopped_pod_reports_in_time_though_nobody_answers() {
    let url = serve(|request| {
        if !request.path.ends_with("/runner") {
            std::thread::sleep(Duration::from_mins(2));
        }
        response("204 No Content", &[], b"")
    });
    let scene = Scene { server: url.clone(), ..Scene::new() };
    let pod = scene.pod(1, "begin; echo half > half.txt; while :; do sleep 0.1; done", |task| {
        if let Adapter::Agent(run) = &mut task.adapter {
            run.gateway_url = Some(url);
        }
    });
    let container = pod.start("task");
    eventually("the agent works", || pod.path("work/tree/half.txt").exists());
    let asked = Instant::now();
    let killed = std::process::Command::new("kill").args(["-TERM", &container.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ended = pod.finish(container);
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}: {}", asked.elapsed(), ended.log);
    assert_eq!(ended.report.reason, Reason::Cancelled, "{}", ended.log);
    assert_eq!(ended.report.commit, scene.git.tip("enact/shop-5f0c1a2b/t001-1"));
    assert_eq!(scene.show(1, "half.txt"), "half");
}

fn message(id: u64, text: &str) -> Message {
    Message { id, text: text.into(), by: Some("ann".into()), at: None }
}

#[test]
fn message_interrupts_the_agent_and_continues_its_session() {
    let scene = Scene::new();
    // The program works until it is interrupted, and ends when it is resumed.
    let script = r#"begin
    case "$*" in
        *--resume*) printf '%s\n' "$*" > "$ENACT_OUTPUT_DIR/arguments"; cat half.txt > "$ENACT_OUTPUT_DIR/half"; echo whole > whole.txt; end ;;
        *) echo half > half.txt; while :; do sleep 0.1; done ;;
    esac"#;
    let pod = scene.pod(1, script, |task| task.messages = vec![message(1, "Known at the start.")]);
    pod.write("messages", &message::format(&[message(1, "Known at the start.")]));
    let container = pod.start("task");
    eventually("the agent works", || pod.path("work/tree/half.txt").exists());
    assert!(pod.read("work/prompt.md").contains("Known at the start."));
    pod.write("messages", &message::format(&[message(1, "Known at the start."), message(2, "Use SQLite.")]));
    let ended = pod.finish(container);
    succeeded(&ended);
    let arguments = &ended.report.outputs["arguments"];
    assert!(arguments.starts_with("-p # Task T001, message\n") && arguments.contains("--resume s-1"), "{arguments}");
    assert!(arguments.contains("message of ann\nUse SQLite.\n") && !arguments.contains("Known"), "{arguments}");
    assert_eq!(ended.report.outputs["half"], "half");
    assert!(ended.log.contains("person   ann: Use SQLite.\n"), "{}", ended.log);
    assert_eq!(scene.show(1, "whole.txt"), "whole");
    assert_eq!((ended.report.usage.input_tokens, ended.report.usage.cost_micro_usd), (10, 2000));
}

#[test]
fn work_is_kept_if_the_agent_cannot_be_resumed_with_a_message() {
    let scene = Scene::new();
    // The runner cannot write the prompt with the message.
    let script = "begin; echo known > \"$session\"; echo half > half.txt; rm ../prompt.md; mkdir ../prompt.md; touch ../ready; \
                  while :; do sleep 0.1; done";
    let pod = scene.pod(1, script, |_| {});
    let container = pod.start("task");
    eventually("the agent works", || pod.path("work/ready").exists());
    pod.write("messages", &message::format(&[message(1, "Use SQLite.")]));
    let ended = pod.finish(container);
    assert_eq!((ended.code, ended.report.reason), (Some(75), Reason::WorkspaceFailed), "{}", ended.log);
    assert_eq!(ended.report.commit, scene.git.tip("enact/shop-5f0c1a2b/t001-1"));
    assert_eq!(scene.show(1, "half.txt"), "half");
    assert_eq!(scene.checkpoint().last_message, 0, "the next attempt gets the message");
}

#[test]
fn message_that_came_at_the_end_is_not_lost() {
    let scene = Scene::new();
    let first = scene.pod(
        1,
        "begin; echo known > \"$session\"; echo half > half.txt; fail 'You exceeded your current quota'",
        |_| {},
    );
    first.write("messages", &message::format(&[message(1, "Sent too late.")]));
    let ended = first.run("task");
    assert_eq!(ended.report.reason, Reason::ProviderQuota, "{}", ended.log);
    assert_eq!(scene.checkpoint().last_message, 0);
    let messages = vec![message(1, "Sent too late."), message(2, "Sent while it waited.")];
    let second = scene.run(2, SECOND, |task| task.messages = messages);
    succeeded(&second);
    let arguments = &second.report.outputs["arguments"];
    assert!(arguments.contains("Sent too late.") && arguments.contains("Sent while it waited."), "{arguments}");
}
