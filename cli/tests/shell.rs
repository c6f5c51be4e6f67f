//! The interface to a shell: completion, versions, exit codes, closed pipes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::Read as _;
use std::process::{Command, Output, Stdio};

fn enact(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enact"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    enact(arguments).output().unwrap()
}

#[test]
fn completion_knows_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completion", shell]);
        assert!(output.status.success() && output.stderr.is_empty());
        let script = String::from_utf8(output.stdout).unwrap();
        for word in
            ["import", "status", "approve", "reject", "logs", "retry", "suspend", "resume", "cancel", "include-done"]
        {
            assert!(script.contains(word), "{word} is not in the script for {shell}");
        }
    }
}

#[test]
fn version_command_equals_version_flag() {
    let wanted = format!("enact {}\n", env!("CARGO_PKG_VERSION"));
    for way in ["--version", "version"] {
        assert_eq!(String::from_utf8(run(&[way]).stdout).unwrap(), wanted);
    }
}

#[test]
fn errors_go_to_standard_error() {
    for (arguments, code) in [
        (vec!["frobnicate"], 2),
        (vec!["status", "--watch"], 2),
        (vec!["import", "/nowhere"], 1),
        (vec!["status", "--kubeconfig", "/nowhere"], 1),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(output.stderr.starts_with(b"error: "), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn closed_pipe_is_not_an_error() {
    // The output is larger than a pipe's buffer, so that the process writes to the closed pipe.
    let mut child = enact(&["completion", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut message = String::new();
    child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert_eq!((child.wait().unwrap().code(), message.as_str()), (Some(0), ""));
}

#[test]
fn import_help_explains_ticked_tasks() {
    let long = String::from_utf8(run(&["import", "--help"]).stdout).unwrap();
    assert!(long.contains("count as done") && long.contains("--include-done"), "{long}");
    let short = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(short.contains("import      Convert a Spec Kit feature to manifests"), "{short}");
}
