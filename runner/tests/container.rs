//! The runner as the first process of a container: signals, orphans, logs, and the delivery of results.

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use enact_domain::assignment::{Gate, Reason};
use rustix::process::{Pid, Signal, kill_process};

use support::http::{response, serve};
use support::{EnactServer, GitServer, Pod, eventually};

fn terminate(container: &std::process::Child) {
    kill_process(Pid::from_child(container), Signal::TERM).expect("the container runs");
}

#[test]
fn stop_request_reaches_the_agent_and_cancels() {
    let git = GitServer::start();
    let server = EnactServer::start(&[]);
    // The agent exits with code 0 after SIGTERM, as some agents do.
    let pod = Pod::task(&git, "trap 'echo bye; exit 0' TERM; touch \"$ENACT_OUTPUT_DIR/started\"; sleep 1000 & wait")
        .with_server(&server);
    let container = pod.start("task");
    eventually("the script runs", || pod.path("work/outputs/started").exists());
    terminate(&container);
    let ended = pod.finish(container);
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::Cancelled), "{}", ended.log);
    assert!(ended.log.contains("bye"));
    assert_eq!(server.result().report, ended.report);
    assert_eq!(server.result().transcript, "bye\n");
    assert_eq!(git.tip("enact/shop-5f0c1a2b/t001-1"), None);
}

#[test]
fn children_of_the_script_may_clean_up() {
    let git = GitServer::start();
    let agent = "trap 'sleep 0.3; echo in order; exit 0' TERM; touch \"$ENACT_OUTPUT_DIR/started\"; sleep 1000 & wait";
    let pod = Pod::task(&git, &format!("sh -c '{}'; true", agent.replace('\'', "'\\''")));
    let container = pod.start("task");
    eventually("the agent runs", || pod.path("work/outputs/started").exists());
    terminate(&container);
    let ended = pod.finish(container);
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::Cancelled), "{}", ended.log);
    assert!(ended.log.contains("in order"), "{}", ended.log);
}

#[test]
fn kills_an_agent_that_ignores_sigterm() {
    let git = GitServer::start();
    let pod = Pod::task(&git, "trap '' TERM; touch \"$ENACT_OUTPUT_DIR/started\"; while :; do sleep 1; done");
    let container = pod.start("task");
    eventually("the script runs", || pod.path("work/outputs/started").exists());
    terminate(&container);
    let ended = pod.finish(container);
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::Cancelled), "{}", ended.log);
}

#[test]
fn kills_orphans_of_the_agent() {
    let git = GitServer::start();
    let script = "setsid sh -c 'echo $$ > \"$ENACT_OUTPUT_DIR/orphan\"; exec sleep 1000' & \
                  while ! test -s \"$ENACT_OUTPUT_DIR/orphan\"; do sleep 0.05; done";
    let ended = Pod::task(&git, script).run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let orphan = Path::new("/proc").join(&ended.report.outputs["orphan"]);
    assert!(!orphan.exists());
}

#[test]
fn transcript_is_the_end_of_a_long_log() {
    let git = GitServer::start();
    let server = EnactServer::start(&[]);
    let ended =
        Pod::task(&git, "i=0; while test $i -lt 40; do head -c 100000 /dev/zero; i=$((i+1)); done; echo; echo the end")
            .with_server(&server)
            .run("task");
    assert_eq!(ended.code, Some(0));
    assert!(ended.log.len() > 4_000_000);
    let transcript = server.result().transcript;
    assert!(transcript.ends_with("the end\n") && !transcript.contains('\0'));
    assert!(server.requests.lock().unwrap()[0].body.len() <= 1 << 20);
}

#[test]
fn retries_while_the_server_is_busy() {
    let git = GitServer::start();
    let server = EnactServer::start(&["503 Service Unavailable", "429 Too Many Requests"]);
    let ended = Pod::task(&git, "touch x").with_server(&server).run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{}", ended.log);
    assert_eq!(server.count(), 3);
}

#[test]
fn a_long_wait_that_an_answer_asks_for_does_not_end_the_delivery() {
    let git = GitServer::start();
    let refused = AtomicBool::new(false);
    let url = serve(move |request| {
        if request.path.ends_with("/result") && !refused.swap(true, Ordering::Relaxed) {
            return response("503 Service Unavailable", &[("retry-after", "3600")], b"");
        }
        response("204 No Content", &[], b"")
    });
    let ended = Pod::task(&git, "touch x").with(|assignment| assignment.server_url = Some(url)).run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{}", ended.log);
}

#[test]
fn refused_result_fails_without_retry() {
    let git = GitServer::start();
    let server = EnactServer::start(&["403 Forbidden"]);
    let ended = Pod::task(&git, "touch x").with_server(&server).run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(75), Reason::DeliveryFailed), "{}", ended.log);
    assert!(ended.report.message.contains("said the test"), "{}", ended.report.message);
    // The work was pushed before the delivery failed.
    assert_eq!(ended.report.commit, git.tip("enact/shop-5f0c1a2b/t001-1"));
    assert_eq!(server.count(), 1);

    // If the attempt itself failed, its reason is kept.
    let server = EnactServer::start(&["403 Forbidden"]);
    let ended = Pod::task(&git, "exit 1").with_server(&server).run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::AgentFailed));
}

#[test]
fn stop_request_shortens_delivery() {
    let git = GitServer::start();
    // The server accepts the registration of the runner, and no delivery.
    let server = EnactServer::start(&["503 Service Unavailable"; 64]);
    let pod = Pod::task(&git, "touch x").with_server(&server);
    let container = pod.start("task");
    eventually("the work is pushed", || git.tip("enact/shop-5f0c1a2b/t001-1").is_some());
    terminate(&container);
    let ended = pod.finish(container);
    // The signal may come before or after the end of the attempt is decided. In both cases the attempt does not succeed.
    assert!([Some(75), Some(1)].contains(&ended.code), "{}", ended.log);
    assert!([Reason::DeliveryFailed, Reason::Cancelled].contains(&ended.report.reason), "{}", ended.log);
}

#[test]
fn unwritable_volume_is_an_infrastructure_failure() {
    let git = GitServer::start();
    let ended = Pod::task(&git, "true").with_environment("ENACT_WORK_DIR", "/proc/enact").run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(75), Reason::ContainerConfigError), "{}", ended.log);
}

/// Checks that no attempt seems to have done nothing after its agent ran: a task with an external effect would be repeated.
#[test]
fn a_volume_that_fails_after_the_agent_has_a_reason_of_its_own() {
    let git = GitServer::start();
    // The runner finds no name for the directories of the gate.
    let script = "touch x; i=0; while test $i -lt 1000; do mkdir ../gate-$i; i=$((i+1)); done";
    let gate = Gate { name: "check".into(), script: "true".into() };
    let ended = Pod::task(&git, script).with_task(|task| task.gates.push(gate)).run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(75), Reason::WorkspaceFailed), "{}", ended.log);
    let (kept, branch) = (ended.report.commit, "enact/shop-5f0c1a2b/t001-1");
    assert_eq!(kept, git.tip(branch));
    assert!(git.git(&["log", "-1", "--format=%b", branch]).contains("WorkspaceFailed"));
}

#[test]
fn installs_itself_into_a_volume() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let installed = directory.path().join("enact-runner");
    // The target is a directory, as in the operator's pods, or an existing file.
    for target in [directory.path(), &installed] {
        let runner = env!("CARGO_BIN_EXE_enact-runner");
        assert!(std::process::Command::new(runner).arg("install").arg(target).status().unwrap().success());
    }
    assert_eq!(installed.metadata().unwrap().permissions().mode() & 0o111, 0o111);
    let version = std::process::Command::new(&installed).arg("--version").output().unwrap();
    assert!(version.status.success());
}
