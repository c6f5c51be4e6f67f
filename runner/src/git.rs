//! Hardened calls of `git`: only the configuration of the runner, only HTTP and SSH, no hooks, no prompts, no background work, a time limit
//! for each call, and a reason for each kind of error.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use enact_domain::assignment::Reason;

use crate::capture::{collect, follow};
use crate::failure::{Failure, explain};
use crate::process::{End, Supervisor};
use crate::settings::Settings;
use crate::workspace::WorkspaceLayout;

/// Time limit for a call that uses the network.
const NETWORK_LIMIT: Duration = Duration::from_mins(15);
/// Time limit for a call that only uses the local disk.
const LOCAL_LIMIT: Duration = Duration::from_mins(15);
/// Most bytes of output of one call. Only lists of files can be that long.
const MAX_OUTPUT: usize = 8 << 20;
/// The failure of a local call with more output: only an agent leaves so many new files.
const TOO_MANY_FILES: (Reason, &str) = (
    Reason::AgentFailed,
    "there are too many new files in the working tree; add folders of generated files to .gitignore",
);
/// The failure of a call to a server with more output.
const TOO_MANY_REFS: (Reason, &str) = (Reason::InvalidAssignment, "the repository has too many branches and tags");
/// Most bytes of error output of one call.
const MAX_ERRORS: usize = 16 << 10;
/// Proxy settings, which Git gets unchanged.
const PROXY_VARIABLES: [&str; 6] = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// Options of every call. They override the configuration of the clone, which an agent may have changed.
const HARDENING: [&str; 11] = [
    "core.hooksPath=/dev/null",
    // An agent could write the default file, which is in HOME.
    "core.attributesFile=/dev/null",
    "core.fsmonitor=false",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "advice.detachedHead=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "merge.conflictStyle=merge",
];

/// The author and committer of commits.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) email: String,
}

impl Identity {
    /// Returns the identity of the runner, for merges.
    pub(crate) fn enact() -> Self {
        Self { name: "Enact".into(), email: "enact@enact.dev".into() }
    }

    /// Returns the identity of an agent, without the characters that Git does not accept in a name.
    pub(crate) fn agent(agent: &str) -> Self {
        let name: String = agent.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
        Self { name: format!("Enact agent {name}"), email: format!("{name}@agents.enact.dev") }
    }

    /// Returns the environment variables that Git reads.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 4] {
        [
            ("GIT_AUTHOR_NAME", &self.name),
            ("GIT_AUTHOR_EMAIL", &self.email),
            ("GIT_COMMITTER_NAME", &self.name),
            ("GIT_COMMITTER_EMAIL", &self.email),
        ]
    }
}

/// The outcome of a call.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Returns standard output as text, which may contain NUL.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns both streams: some commands write errors to standard output.
    pub(crate) fn all(&self) -> String {
        format!("{}\n{}", self.text(), self.stderr)
    }
}

/// Paths of the fields that describe a repository, for messages.
#[derive(Debug)]
pub(crate) struct RepositoryFields {
    pub(crate) url: &'static str,
    pub(crate) revision: &'static str,
    pub(crate) credentials: &'static str,
}

/// Fields of a Plan.
pub(crate) const PLAN_FIELDS: RepositoryFields = RepositoryFields {
    url: "spec.workspace.url",
    revision: "spec.workspace.revision",
    credentials: "spec.workspace.credentialsSecretRef or spec.workspace.integration.credentialsSecretRef",
};

/// A clone, with the access to its repository.
pub(crate) struct Git<'a> {
    pub(crate) supervisor: &'a mut Supervisor,
    pub(crate) fields: &'static RepositoryFields,
    layout: WorkspaceLayout,
    identity: Identity,
    credentials: Credentials,
    hooks: Option<PathBuf>,
}

/// Authentication of calls.
struct Credentials {
    directory: PathBuf,
    /// The option that sets the credential helper.
    helper: String,
    ssh_command: String,
}

impl<'a> Git<'a> {
    /// Returns Git for the repository at `url`. The working tree must exist.
    pub(crate) fn new(
        supervisor: &'a mut Supervisor,
        settings: &Settings,
        url: &str,
        fields: &'static RepositoryFields,
    ) -> Result<Self, Failure> {
        let runner = std::env::current_exe().map_err(|error| Failure::program("enact-runner", &error))?;
        let directory = settings.git_credentials_dir.clone();
        // Checked before the first call: the message of Git would not name the Secret.
        check_mounted(&directory, fields)?;
        let credentials = Credentials {
            // Git sends the credential to this server only, even if a redirect or a configuration points elsewhere.
            helper: format!("credential.{}.helper=!{} credential", origin(url), quoted(&runner)),
            ssh_command: ssh_command(&directory),
            directory,
        };
        let layout = WorkspaceLayout::new(settings);
        Ok(Self { supervisor, fields, layout, identity: Identity::enact(), credentials, hooks: None })
    }

    pub(crate) fn tree(&self) -> &Path {
        &self.layout.tree
    }

    /// Sets the identity for the commits that follow.
    pub(crate) fn act_as(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// Enables the hooks in `directory` for the calls that follow, or disables hooks.
    pub(crate) fn use_hooks(&mut self, directory: Option<PathBuf>) {
        self.hooks = directory;
    }

    /// Makes a local call and fails with `reason` if Git fails.
    pub(crate) fn local(&mut self, reason: Reason, args: &[&str]) -> Result<String, Failure> {
        let output = self.call(args)?;
        if output.ok() {
            return Ok(output.text());
        }
        let verb = args.first().copied().unwrap_or_default();
        Err(Failure::new(reason, explain(&format!("`git {verb}` failed"), &output.all())))
    }

    /// Makes a local call. The caller checks the exit code.
    pub(crate) fn call(&mut self, args: &[&str]) -> Result<Output, Failure> {
        match self.execute(args, LOCAL_LIMIT, TOO_MANY_FILES)? {
            Some(output) => Ok(output),
            None => Err(Failure::new(
                Reason::ContainerConfigError,
                format!("`git` exceeded its time limit of {} s; check the disk of the node", LOCAL_LIMIT.as_secs()),
            )),
        }
    }

    /// Makes a call to the repository at `url` and fails if Git fails.
    pub(crate) fn remote(&mut self, url: &str, args: &[&str]) -> Result<String, Failure> {
        self.remote_bytes(url, args).map(|stdout| String::from_utf8_lossy(&stdout).into_owned())
    }

    /// Makes a call like [`Git::remote`] and returns its output unchanged.
    pub(crate) fn remote_bytes(&mut self, url: &str, args: &[&str]) -> Result<Vec<u8>, Failure> {
        let unreachable =
            |why: &str| Failure::new(Reason::RepositoryUnreachable, explain(&format!("{url} cannot be reached"), why));
        if url.starts_with("ssh://") {
            self.credentials.check_ssh()?;
        }
        let Some(output) = self.execute(args, NETWORK_LIMIT, TOO_MANY_REFS)? else {
            return Err(unreachable(&format!("time limit of {} s exceeded", NETWORK_LIMIT.as_secs())));
        };
        if output.ok() {
            return Ok(output.stdout);
        }
        let output = output.all();
        Err(classify(url, self.fields, &output).unwrap_or_else(|| unreachable(&output)))
    }

    /// Runs Git; none if it exceeded the time limit. `too_long` is reason and message if there is more output than fits into memory.
    fn execute(&mut self, args: &[&str], limit: Duration, too_long: (Reason, &str)) -> Result<Option<Output>, Failure> {
        let (command, stdout, stderr) = self.command(args).map_err(|error| Failure::program("git", &error))?;
        // The readers start before Git, which would block on a full pipe otherwise.
        let stdout = follow(stdout, MAX_OUTPUT, None);
        let stderr = follow(stderr, MAX_ERRORS, None);
        let end = self.supervisor.run(command, Some(limit)).map_err(|error| Failure::program("git", &error))?;
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        // The start of the output is missing, and a partial list of files would lead to wrong decisions.
        if stdout.is_cut() {
            let (reason, message) = too_long;
            return Err(Failure::new(reason, message));
        }
        let code = match end {
            End::Cancelled => return Err(Failure::cancelled()),
            End::TimedOut => return Ok(None),
            End::Exited(code) => Some(code),
            End::Signalled(_) | End::Stopped => None,
        };
        Ok(Some(Output { code, stdout: stdout.into_bytes(), stderr: stderr.into_text() }))
    }

    fn command(&self, args: &[&str]) -> io::Result<(Command, io::PipeReader, io::PipeReader)> {
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = io::pipe()?;
        let mut command = Command::new("git");
        command.env_clear().current_dir(&self.layout.tree).stdout(stdout_writer).stderr(stderr_writer);
        for option in HARDENING {
            command.args(["-c", option]);
        }
        // Git uses the last value of an option, so this one replaces the value in HARDENING.
        if let Some(hooks) = &self.hooks {
            let mut option = OsString::from("core.hooksPath=");
            option.push(hooks);
            command.arg("-c").arg(option);
        }
        // The empty value removes the helpers of other configurations, so that only the runner answers.
        command.args(["-c", "credential.helper=", "-c", &self.credentials.helper]);
        command.args(args);
        self.environment(&mut command);
        Ok((command, stdout, stderr))
    }

    fn environment(&self, command: &mut Command) {
        command
            .env("PATH", search_path())
            .env("HOME", &self.layout.home)
            .env("TMPDIR", &self.layout.temporary)
            // `classify` reads the messages of Git.
            .env("LC_ALL", "C")
            // A tree without `.git` is an error: Git must not look for a repository in the directories above.
            .env("GIT_CEILING_DIRECTORIES", &self.layout.root)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            // This overrides `protocol.*.allow` in a configuration, so that `ext::` and `file:` stay disabled.
            .env("GIT_ALLOW_PROTOCOL", "https:http:ssh")
            // An agent can define replacements for objects; the runner must see the original ones.
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_EDITOR", "false")
            .env("GIT_SSH_COMMAND", &self.credentials.ssh_command)
            .env("ENACT_GIT_CREDENTIALS_DIR", &self.credentials.directory)
            .envs(self.identity.variables());
        let ca = self.credentials.directory.join("ca.crt");
        if ca.exists() {
            command.env("GIT_SSL_CAINFO", ca);
        }
        command.envs(PROXY_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    }
}

impl Credentials {
    /// Checks that the Secret has the private key and the known host keys for Git over SSH.
    fn check_ssh(&self) -> Result<(), Failure> {
        for key in ["ssh-privatekey", "known_hosts"] {
            if !self.directory.join(key).is_file() {
                return Err(Failure::new(
                    Reason::RepositoryDenied,
                    format!(
                        "the Git credential Secret has no key `{key}`; an ssh:// repository needs the keys ssh-privatekey and known_hosts"
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Checks that the Secret exists, if the object names one. The directory is missing if the object names no Secret, and empty if the Secret
/// does not exist: the operator makes the volume optional, so that the pod starts and can report the problem.
fn check_mounted(credentials: &Path, fields: &RepositoryFields) -> Result<(), Failure> {
    let Ok(mut entries) = std::fs::read_dir(credentials) else { return Ok(()) };
    // The kubelet uses names that start with two dots for itself.
    if entries.any(|entry| entry.is_ok_and(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".."))) {
        return Ok(());
    }
    let message = format!(
        "the Secret with the Git credential does not exist in this namespace, or is empty; create it, or correct {}",
        fields.credentials
    );
    Err(Failure::new(Reason::ContainerConfigError, message))
}

/// Returns the PATH of the image.
pub(crate) fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into())
}

fn ssh_command(credentials: &Path) -> String {
    let (key, hosts) = (quoted(&credentials.join("ssh-privatekey")), quoted(&credentials.join("known_hosts")));
    format!(
        "ssh -F /dev/null -i {key} -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes \
         -o UserKnownHostsFile={hosts} -o GlobalKnownHostsFile=/dev/null -o ConnectTimeout=20 -o ServerAliveInterval=15"
    )
}

/// Returns scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |at| &url[..host + at])
}

/// Quotes a path for the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.as_os_str().to_string_lossy().replace('\'', r"'\''"))
}

/// Returns the failure for a known message of Git; none for network errors and unknown messages.
fn classify(url: &str, fields: &RepositoryFields, output: &str) -> Option<Failure> {
    let RepositoryFields { url: url_field, revision, credentials } = fields;
    // The first match wins, so the order matters: "not found" at the end is the least specific.
    let rules: [(&[&str], Reason, String); 7] = [
        (
            &["[rejected]", "[remote rejected]", "pre-receive hook declined", "failed to push some refs"],
            Reason::PushRejected,
            format!("{url} refused the push"),
        ),
        (
            &["No user exists for uid"],
            Reason::InvalidAssignment,
            "Git over SSH needs an entry for the pod's user in /etc/passwd of the Agent's image".to_owned(),
        ),
        (
            &[
                "Authentication failed",
                "could not read Username",
                "could not read Password",
                "error: 401",
                "error: 403",
                "Permission denied (",
                "Host key verification failed",
                "Access denied",
                "access denied",
            ],
            Reason::RepositoryDenied,
            format!("{url} refused the credential; check {credentials}"),
        ),
        (
            &["Could not resolve host", "Could not resolve hostname"],
            Reason::RepositoryUnreachable,
            format!(
                "the host name in {url} cannot be resolved; check {url_field} and spec.isolation.egress of the Tenant"
            ),
        ),
        (
            &["SSL certificate", "certificate verification failed", "server certificate"],
            Reason::RepositoryUnreachable,
            format!(
                "the certificate of {url} is not trusted; put the certificate of its CA into the key `ca.crt` of the Secret in {credentials}"
            ),
        ),
        (
            &["couldn't find remote ref", "not our ref", "unadvertised object", "bad object"],
            Reason::RevisionNotFound,
            format!("{url} does not have the requested commit or branch; check {revision}"),
        ),
        (
            &["not found", "does not appear to be a git repository", "error: 404"],
            Reason::RepositoryDenied,
            format!(
                "{url} is not a Git repository, or the credential has no access to it; check {url_field} and {credentials}"
            ),
        ),
    ];
    let matches = |words: &[&str]| words.iter().any(|word| output.contains(word));
    let (_, reason, summary) = rules.into_iter().find(|(words, ..)| matches(words))?;
    Some(Failure::new(reason, explain(&summary, output)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_ends_before_the_path() {
        assert_eq!(origin("https://example.org:8443/a/b.git"), "https://example.org:8443");
        assert_eq!(origin("http://git-server"), "http://git-server");
    }
}
