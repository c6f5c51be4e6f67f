//! Git over SSH: how the client is run, and what an agent can change of that.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use enact_domain::assignment::Reason;

use support::{GitServer, Pod};

/// A client that runs Git's command on this machine, and writes its arguments into a file.
const CLIENT: &str = r#"#!/bin/sh
printf '%s\n' "$*" >> "$(dirname "$0")/calls"
for command; do :; done
exec sh -c "$command"
"#;
/// A client that meets another host key than that of the Secret.
const CLIENT_OF_AN_IMPOSTOR: &str = r#"#!/bin/sh
printf '%s\n' "$*" >> "$(dirname "$0")/calls"
echo 'Host key verification failed.' >&2
exit 255
"#;

/// Returns a pod whose repository is behind SSH.
fn pod(git: &GitServer, client: &str, script: &str) -> Pod {
    let repository = git.git(&["rev-parse", "--absolute-git-dir"]);
    let url = format!("ssh://git@git.example.org{repository}");
    let pod = Pod::task(git, script).with(|assignment| assignment.git.as_mut().unwrap().url = url);
    pod.write("git/ssh-privatekey", "key");
    pod.write("git/known_hosts", "git.example.org ssh-ed25519 AAAA");
    fs::create_dir(pod.path("bin")).unwrap();
    pod.write("bin/ssh", client);
    fs::set_permissions(pod.path("bin/ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", pod.path("bin").display(), std::env::var("PATH").unwrap());
    pod.with_environment("PATH", &path)
}

/// Checks that each call of the client trusts the host keys of the Secret only, and reads no other configuration. Returns their number.
fn strict_calls(pod: &Pod) -> usize {
    let calls = pod.read("bin/calls");
    let file = |name: &str| pod.path(name).display().to_string();
    for call in calls.lines() {
        for option in [
            "-F /dev/null",
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=/dev/null",
            &format!("UserKnownHostsFile={}", file("git/known_hosts")),
            &format!("-i {}", file("git/ssh-privatekey")),
        ] {
            assert!(call.contains(option), "{option} is not in: {call}");
        }
    }
    calls.lines().count()
}

#[test]
fn an_impostor_of_the_host_gets_nothing() {
    let git = GitServer::start();
    let pod = pod(&git, CLIENT_OF_AN_IMPOSTOR, "touch ../../began");
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::RepositoryDenied), "{}", ended.log);
    assert!(ended.report.message.contains("Host key verification failed"), "{}", ended.report.message);
    assert!(strict_calls(&pod) > 0);
    assert!(!pod.path("began").exists(), "{}", ended.log);
}

#[test]
fn an_agent_changes_neither_client_nor_known_hosts() {
    let git = GitServer::start();
    let script = "git config core.sshCommand 'touch ../../owned; false'; mkdir -p ~/.ssh; \
                  printf 'Host *\\n  ProxyCommand touch owned\\n  StrictHostKeyChecking no\\n' > ~/.ssh/config; \
                  export GIT_SSH_COMMAND='touch ../../owned; false'; echo x > x.txt";
    let pod = pod(&git, CLIENT, script);
    let ended = pod.run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(git.git(&["show", "enact/shop-5f0c1a2b/t001-1:x.txt"]), "x");
    assert!(strict_calls(&pod) >= 2, "one call to fetch, and one to push");
    assert!(!pod.path("owned").exists() && !pod.path("work/owned").exists(), "{}", ended.log);
}
