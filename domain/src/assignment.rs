//! The assignment of an attempt's pod and its result: the wire format between operator, runner, server and record store.
//!
//! An [`Assignment`] is the JSON in the environment variable [`ASSIGNMENT_ENV`]. The pod returns its result in three layers: the exit code
//! (only the class, see [`exit`]), a [`Report`] of at most 4 KiB as the termination message of the container, and the full
//! [`AttemptResult`], which it sends to the server. Everything that a pod returns is untrusted data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agents::message::Message;
use crate::agents::run::AgentRun;
use crate::contest::Measured;
use crate::digest::Digest;
use crate::text::{self, truncated};

pub use crate::reason::Reason;

/// Environment variable that contains the assignment.
pub const ASSIGNMENT_ENV: &str = "ENACT_ASSIGNMENT";
/// Prefix of the environment variables of an Agent in the pod. The agent process sees these variables without the prefix, and no others.
pub const AGENT_ENV_PREFIX: &str = "ENACT_ENV_";
/// Prefix of variables whose values come from Secrets. The runner redacts these values in everything that it prints, stores and reports.
pub const AGENT_SECRET_PREFIX: &str = "ENACT_SECRET_";
/// Header with the key with which a runner delivers its result. It registers the digest of the key before it starts the agent, which can
/// read the token of the pod, but not the memory of the runner.
pub const RUNNER_KEY_HEADER: &str = "x-enact-runner-key";
/// Largest assignment as JSON, in bytes: the limit of Linux for one string of an environment.
pub const MAX_ASSIGNMENT_BYTES: usize = 128 * 1024 - 64;
/// Largest termination message that the kubelet keeps, in bytes.
pub const MAX_REPORT_BYTES: usize = 4096;
/// Largest sum of names and values of the outputs of a task, in bytes: the report and the status of the Task contain them.
pub const MAX_OUTPUT_BYTES: usize = 2048;
/// Largest result that the server accepts, in bytes.
pub const MAX_RESULT_BYTES: usize = 1 << 20;
/// Maximum length of a message in a report, in bytes; a longer one is truncated.
pub const MAX_MESSAGE_BYTES: usize = 1024;

/// Exit codes of the runner. They state only the class of the result.
pub mod exit {
    /// The work succeeded, and its gates passed.
    pub const SUCCEEDED: i32 = 0;
    /// Task failure: a retry may fail again.
    pub const FAILED: i32 = 1;
    /// Infrastructure failure (Git or the server is unreachable): a retry may succeed.
    pub const INFRASTRUCTURE: i32 = 75;
    /// The assignment is invalid; a retry cannot succeed.
    pub const INVALID: i32 = 78;
}

/// Paths in a pod, which the operator mounts and the runner reads.
pub mod paths {
    /// Projected token for the server.
    pub const TOKEN: &str = "/var/run/enact/token/token";
    /// Projected token for the model gateway.
    pub const GATEWAY_TOKEN: &str = "/var/run/enact/token/gateway-token";
    /// Messages of people to a coding agent, as they are now: a copy of the annotation of the pod.
    pub const MESSAGES: &str = "/var/run/enact/token/messages";
    /// Projected token for the clone cache.
    pub const CACHE_TOKEN: &str = "/var/run/enact/token/cache-token";
    /// Git credentials: `username` and `password`, or `ssh-privatekey` (and `known_hosts`).
    pub const GIT_CREDENTIALS: &str = "/var/run/enact/git";
    /// Recorded work for the adapter `replay`.
    pub const REPLAY: &str = "/var/run/enact/replay";
    /// Skills of the agent: one folder for each.
    pub const SKILLS: &str = "/var/run/enact/skills";
    /// Scratch space: HOME, the clone, the prompt.
    pub const WORK: &str = "/work";
    /// Files that one step of an integration passes to the next. The containers of gates do not mount this path.
    pub const HANDOVER: &str = "/var/run/enact/handover";
}

/// One attempt at one task, or one integration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// Tenant that owns the namespace.
    pub tenant: String,
    /// Namespace of plan and pod.
    pub namespace: String,
    pub plan: String,
    pub plan_uid: String,
    /// UID of the Task, or of the Plan for an integration.
    pub subject_uid: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Base URL of the server that receives the result. Without it, only the report is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_url: Option<String>,
    /// Digest of the specification that the plan is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_digest: Option<String>,
    /// The Git workspace; none for a task that needs no repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitWork>,
    pub work: Work,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::large_enum_variant, reason = "an attempt has one, which is read and written once")]
pub enum Work {
    Task(TaskWork),
    /// Merge, check and publish the finished tasks' branches.
    Integration(IntegrationWork),
}

/// A task for an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskWork {
    /// The task's id in its plan, `T001`.
    pub id: String,
    pub title: String,
    /// Prompt for the agent, without the failure of the previous attempt; the runner writes the whole one to the file named by
    /// `ENACT_PROMPT_FILE`.
    pub prompt: String,
    pub adapter: Adapter,
    pub agent: String,
    /// Outputs of the tasks that this one depends on: task id → name → value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, BTreeMap<String, String>>,
    /// Commands that must succeed in the working tree before the work counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// Commands that measure the work after the gates have passed. The last line of their output is a number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Gate>,
    /// The previous attempt, which failed. The runner adds it to the prompt of a coding agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousFailure>,
    /// Messages of people, as far as they are known at the start. The runner adds them to the prompt of a coding agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
    /// What the attempts after a failed one start from; none for the default of the adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_from: Option<RetryFrom>,
    /// Whether an attempt that changed no file and wrote no output fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fail_unchanged: bool,
}

impl TaskWork {
    /// Returns whether an attempt continues with the unfinished work of an earlier one. By default, a coding agent does, which can find out
    /// what is done. A script runs from its start, so that it would meet its own files. A replay applies to the original files only.
    pub fn continues(&self) -> bool {
        match (&self.adapter, self.retry_from) {
            (Adapter::Replay {}, _) | (_, Some(RetryFrom::Scratch)) | (Adapter::Command { .. }, None) => false,
            (_, Some(RetryFrom::Work)) | (Adapter::Agent(_), None) => true,
        }
    }
}

/// What the attempts after a failed one start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetryFrom {
    /// The verified work of other tasks only.
    Scratch,
    /// Also the unfinished work of the earlier attempt, and the session of its agent.
    Work,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviousFailure {
    pub attempt: u32,
    /// Reason of its condition.
    pub reason: String,
    pub message: String,
}

/// Way to execute the work of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Adapter {
    /// `/bin/sh -e` runs this script in the working tree.
    Command { script: String },
    /// A coding agent runs with the prompt of the task.
    Agent(Box<AgentRun>),
    /// Recorded work is applied: `<task id>.patch` (an mbox for `git am`) and `<task id>.transcript` in the replay volume.
    Replay {},
}

/// A command that must succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Short name, shown in conditions.
    pub name: String,
    /// Script for `/bin/sh -e`, run at the root of the working tree.
    pub script: String,
}

/// The Git side of an attempt. All names have passed [`check_url`] and [`check_ref`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitWork {
    /// `https://`, `http://` or `ssh://` URL.
    pub url: String,
    /// Branch, tag or commit that the plan starts from.
    pub revision: String,
    /// Work to merge into the working tree before the work starts, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merge: Vec<VerifiedCommit>,
    /// Branch to push the work to.
    pub branch: String,
    /// Base URL of the clone cache. Without it, the repository is cloned from its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_url: Option<String>,
}

/// The verified work of a task that has succeeded. Agents may push to each other's branches, so that the branch alone does not identify the
/// work that passed the gates; the commit does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedCommit {
    /// The branch that it was pushed to.
    pub branch: String,
    /// The commit that contains the work, 40 or 64 hex digits: the head of that branch, or an ancestor of what was pushed there since.
    pub commit: String,
}

/// The work of an integration pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationWork {
    /// The branch that receives the plan's work.
    pub target: String,
    /// Commands that must succeed on the merged tree before it is published.
    pub gates: Vec<Gate>,
}

/// The short result: the termination message of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub reason: Reason,
    /// For a person; at most [`MAX_MESSAGE_BYTES`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Commit that was pushed, or that a document was read at, 40 or 64 hex digits. After a failure it is unfinished work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Digest of the document that was delivered to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Digest>,
    /// Small named values for the tasks that depend on this one; together at most [`MAX_OUTPUT_BYTES`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// The numbers that measurements gave. A measurement whose command failed or printed no number is missing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measurements: BTreeMap<String, Measured>,
    /// Files in conflict, truncated to fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    #[serde(default, skip_serializing_if = "Usage::is_empty")]
    pub usage: Usage,
    /// Whether a successful attempt in a repository changed no file: `commit` is what it started from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchanged: bool,
}

impl Report {
    /// Returns a report with a reason and a message without control characters, truncated to [`MAX_MESSAGE_BYTES`].
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: text::message(message, MAX_MESSAGE_BYTES),
            commit: None,
            document: None,
            outputs: BTreeMap::new(),
            measurements: BTreeMap::new(),
            conflicts: Vec::new(),
            usage: Usage::default(),
            unchanged: false,
        }
    }
}

/// The usage of an attempt: what the gateway counted, or what the agent reports about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Tokens read, without those from the provider's cache.
    pub input_tokens: u64,
    /// Tokens read from the provider's cache.
    pub cached_input_tokens: u64,
    /// Tokens written, including those of the model's reasoning.
    pub output_tokens: u64,
    /// Tokens of the model's reasoning.
    pub reasoning_tokens: u64,
    /// Price in millionths of a US dollar.
    pub cost_micro_usd: u64,
}

impl Usage {
    /// Returns the sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.combined(other, u64::saturating_add)
    }

    /// Combines each number with that of another usage.
    #[must_use]
    pub fn combined(self, other: Self, operation: fn(u64, u64) -> u64) -> Self {
        Self {
            input_tokens: operation(self.input_tokens, other.input_tokens),
            cached_input_tokens: operation(self.cached_input_tokens, other.cached_input_tokens),
            output_tokens: operation(self.output_tokens, other.output_tokens),
            reasoning_tokens: operation(self.reasoning_tokens, other.reasoning_tokens),
            cost_micro_usd: operation(self.cost_micro_usd, other.cost_micro_usd),
        }
    }

    /// Returns whether nothing was used.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the number of all tokens. Those of reasoning are a part of the output.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.cached_input_tokens).saturating_add(self.output_tokens)
    }
}

/// The full result, sent to the server as JSON of at most [`MAX_RESULT_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptResult {
    /// UID of the Task or Plan that was worked on; must be the pod's own.
    pub subject_uid: String,
    /// Number of the attempt; must be the pod's own.
    pub attempt: u32,
    pub report: Report,
    /// Output of the agent; only the last part if it is long. A coding agent's is one [`AgentEvent`](crate::agents::events::AgentEvent) as
    /// JSON a line.
    #[serde(default)]
    pub transcript: String,
    #[serde(default)]
    pub gates: Vec<GateResult>,
    /// Duration of the work, in milliseconds.
    pub duration_ms: u64,
}

/// Result of one gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateResult {
    pub name: String,
    /// Exit code; none when it was killed by a signal.
    pub exit_code: Option<i32>,
    /// End of its output.
    pub output: String,
}

/// Problem with a Git URL, revision or branch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{value}` {problem}")]
pub struct GitNameError {
    what: &'static str,
    value: String,
    problem: &'static str,
}

impl GitNameError {
    pub(crate) fn new(what: &'static str, value: String, problem: &'static str) -> Self {
        Self { what, value, problem }
    }
}

/// Checks that `git` can fetch `url` over the network, and that the URL cannot be taken for an option or a local path.
///
/// # Errors
/// If it has another scheme (`ext::`, `file:`, a local path), looks like an option, contains a credential, or names no plain host: programs
/// disagree about which host a URL with other characters names.
pub fn check_url(url: &str) -> Result<(), GitNameError> {
    let fail = |problem| Err(GitNameError { what: "repository URL", value: shown(url), problem });
    let Some(rest) = ["https://", "http://", "ssh://"].iter().find_map(|s| url.strip_prefix(s)) else {
        return fail("must start with https://, http:// or ssh://");
    };
    if url.len() > 2048 || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return fail("must be at most 2048 characters, without white space or control characters");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    // Git passes the host to `ssh` as an argument, so a leading `-` would be an option.
    if authority.is_empty() || authority.starts_with('-') {
        return fail("needs a host name that does not start with `-`");
    }
    match authority.split_once('@') {
        // Only an `ssh://` URL may contain a user, and no URL a password: URLs are shown in messages and in the record.
        Some((user, _)) if user.contains(':') || !url.starts_with("ssh://") => {
            fail("must not contain a credential; name a Secret in credentialsSecretRef instead")
        }
        Some((user, host)) if user.starts_with('-') || host.starts_with('-') => fail("must not look like an option"),
        Some((user, host)) if is_host_name(user) && is_host(host) => Ok(()),
        None if is_host(authority) => Ok(()),
        _ => fail(
            "needs a host name of letters, digits, `-`, `_` and `.`, or an IP address, and if it has a port, a number from 1 to 65535",
        ),
    }
}

/// Returns whether a text is a host name, an IPv4 address, or an IPv6 address in brackets, with or without a port.
fn is_host(text: &str) -> bool {
    let (is_known, port) = if let Some((address, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let is_part = |c: char| c.is_ascii_hexdigit() || ":.".contains(c);
        (address.contains(':') && address.chars().all(is_part), port)
    } else {
        let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (is_host_name(name), port)
    };
    let is_number =
        |port: &str| port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    is_known && (port.is_empty() || port.strip_prefix(':').is_some_and(is_number))
}

/// Returns whether a text has only characters of host names; those of user names are the same.
fn is_host_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Returns a URL for a message: without a possible credential, and truncated.
fn shown(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    let open = match url[start..end].rfind('@') {
        Some(at) => format!("{}…{}", &url[..start], &url[start + at..]),
        None => url.to_owned(),
    };
    truncated(&open, 200).escape_debug().to_string()
}

/// Checks that `name` is a branch, tag or commit, by the rules of `git check-ref-format`, and cannot be taken for an option.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_ref(name: &str) -> Result<(), GitNameError> {
    let fail = |problem| Err(GitNameError { what: "Git revision", value: name.escape_debug().to_string(), problem });
    if name.is_empty() || name.len() > 255 {
        return fail("must have 1 to 255 characters");
    }
    if name.starts_with('-') {
        return fail("must not start with `-`: it would be taken for an option");
    }
    if name.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c)) {
        return fail("must not contain white space, control characters or any of ~ ^ : ? * [ \\");
    }
    let component = |c: &str| c.is_empty() || c.starts_with('.') || c.to_ascii_lowercase().ends_with(".lock");
    if name.contains("..")
        || name.contains("@{")
        || name == "@"
        || name.ends_with('.')
        || name.split('/').any(component)
    {
        return fail(
            "must not contain `..`, `@{`, empty components, or components that start with `.` or end with `.lock`, and must not end with `.`",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_git_names_are_refused() {
        for url in [
            "--upload-pack=touch /tmp/x",
            "ext::sh -c id",
            "file:///etc",
            "/srv/git/x",
            "https://",
            "ssh://-oProxyCommand=id/x",
            "https://user:pw@host/x",
            "https://token@host/x",
            "ssh://git@-oProxyCommand=x/r",
            "http://h/a b",
            "git@host:x",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
        for url in [
            "https://example.org/a/b.git",
            "http://git-server.enact:8080/a",
            "ssh://git@example.org/a.git",
            "ssh://git@10.0.0.1:2222/a",
            "https://[2001:db8::1]/a",
            "https://[2001:db8::1]:8443/a",
            "https://example.org/a?b=c",
            "https://a_b.example.org/~me/a%20b",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for authority in [
            "a\\@b",
            "a?b",
            "a#b",
            "a%2fb",
            "a;b",
            "$(id)",
            "`id`",
            "a'b",
            "ä.example.org",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:80:80",
            "[a]",
            "[::1",
            "[::1]x",
            "[]",
            ":80",
        ] {
            for url in [format!("https://{authority}/a"), format!("ssh://git@{authority}/a")] {
                assert!(check_url(&url).is_err(), "{url}");
            }
        }
        for url in ["ssh://@a/b", "ssh://a@b@c/d", "ssh://a;b@c/d"] {
            assert!(check_url(url).is_err(), "{url}");
        }
        for name in [
            "--upload-pack=x",
            "-b",
            "a..b",
            "a b",
            "a~1",
            "HEAD^",
            "x.lock",
            "a//b",
            "/a",
            "a/",
            ".a",
            "a\0",
            "@",
            "a@{1}",
            "",
        ] {
            assert!(check_ref(name).is_err(), "{name:?}");
        }
        for name in ["main", "v1.2.3", "enact/shop-5f0c1a2b/t001-1", "0123456789abcdef0123456789abcdef01234567"] {
            assert_eq!(check_ref(name), Ok(()), "{name}");
        }
    }

    proptest! {
        #[test]
        fn our_branches_are_refs(
            plan in "[a-z]([a-z0-9-]{0,50}[a-z0-9])?", id in "\\PC{0,80}", uid in "\\PC{0,40}", n in 1u32..100_000,
        ) {
            let task = crate::names::task_name(&plan, &id);
            prop_assert_eq!(check_ref(&crate::names::task_branch(&plan, &uid, &task, n)), Ok(()));
            prop_assert_eq!(check_ref(&crate::names::candidate_branch(&plan, &uid, n)), Ok(()));
        }

        #[test]
        fn messages_are_cut_at_characters(text in "\\PC{0,900}") {
            let report = Report::new(Reason::AgentFailed, text.clone());
            prop_assert!(report.message.len() <= MAX_MESSAGE_BYTES);
            prop_assert!(text::safe(&text).starts_with(&report.message));
        }
    }
}
