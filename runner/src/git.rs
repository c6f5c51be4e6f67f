//! Calls of the `git` command, hardened: no configuration but ours, no protocol but HTTP and SSH, no hooks, no prompts, no background
//! work, a time limit for everything that waits for the network, and errors told apart.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use enact_domain::assignment::Reason;

use crate::capture::{collect, follow};
use crate::desk::Desk;
use crate::failure::{Failure, explain};
use crate::process::{End, Supervisor};
use crate::settings::Settings;

/// How long one call that talks to the repository may take.
const NETWORK_LIMIT: Duration = Duration::from_mins(15);
/// How long one call on the local disk may take.
const LOCAL_LIMIT: Duration = Duration::from_mins(15);
/// How much output of one call is kept: far more than any call here prints, but lists of files.
const MAX_OUTPUT: usize = 8 << 20;
/// How much of the errors of one call is kept.
const MAX_ERRORS: usize = 16 << 10;
/// Variables that lead to a proxy, passed on as they are.
const PROXY_VARIABLES: [&str; 6] = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// Options of every call. Configuration in the clone may have been written by an agent; these win over it.
const HARDENING: [&str; 10] = [
    "core.hooksPath=/dev/null",
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

/// Who makes a commit.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) email: String,
}

impl Identity {
    /// The runner itself, which merges.
    pub(crate) fn enact() -> Self {
        Self { name: "Enact".into(), email: "enact@enact.dev".into() }
    }

    /// An agent. What Git does not take in a name is left out.
    pub(crate) fn agent(agent: &str) -> Self {
        let name: String = agent.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
        Self { name: format!("Enact agent {name}"), email: format!("{name}@agents.enact.dev") }
    }

    /// The variables by which Git knows it.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 4] {
        [
            ("GIT_AUTHOR_NAME", &self.name),
            ("GIT_AUTHOR_EMAIL", &self.email),
            ("GIT_COMMITTER_NAME", &self.name),
            ("GIT_COMMITTER_EMAIL", &self.email),
        ]
    }
}

/// What a call printed, and how it ended.
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

    /// What it printed, as text that may hold NUL.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Both streams: some commands say what is wrong on the wrong one.
    pub(crate) fn told(&self) -> String {
        format!("{}\n{}", self.text(), self.stderr)
    }
}

/// What the fields are called that say where a repository is: messages name them.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) url: &'static str,
    pub(crate) revision: &'static str,
    pub(crate) credentials: &'static str,
}

/// Those of a Plan.
pub(crate) const WORKSPACE: Fields = Fields {
    url: "workspace.url",
    revision: "workspace.revision",
    credentials: "workspace.credentialsSecretRef or workspace.integration.credentialsSecretRef",
};

/// A clone, and how to reach its repository.
pub(crate) struct Git<'a> {
    pub(crate) supervisor: &'a mut Supervisor,
    pub(crate) fields: &'static Fields,
    desk: Desk,
    identity: Identity,
    credentials: Credentials,
    hooks: Option<PathBuf>,
}

/// How calls authenticate themselves.
struct Credentials {
    directory: PathBuf,
    /// The option that names the credential helper.
    helper: String,
    ssh_command: String,
}

impl<'a> Git<'a> {
    /// Git in the working tree, a directory that exists, for the repository at `url`.
    pub(crate) fn new(
        supervisor: &'a mut Supervisor,
        settings: &Settings,
        url: &str,
        fields: &'static Fields,
    ) -> Result<Self, Failure> {
        let runner = std::env::current_exe().map_err(|error| Failure::program("enact-runner", &error))?;
        let directory = settings.git_credentials_dir.clone();
        check_mounted(&directory, fields)?;
        let credentials = Credentials {
            // For this server and no other, wherever a redirect or a configuration leads.
            helper: format!("credential.{}.helper=!{} credential", origin(url), quoted(&runner)),
            ssh_command: ssh_command(&directory),
            directory,
        };
        Ok(Self { supervisor, fields, desk: Desk::of(settings), identity: Identity::enact(), credentials, hooks: None })
    }

    /// The working tree.
    pub(crate) fn tree(&self) -> &Path {
        &self.desk.tree
    }

    /// Makes commits in the name of `identity` from here on.
    pub(crate) fn act_as(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// Runs the hooks in `directory` from here on, or none.
    pub(crate) fn use_hooks(&mut self, directory: Option<PathBuf>) {
        self.hooks = directory;
    }

    /// A local call that must succeed; `reason` if it does not.
    pub(crate) fn local(&mut self, reason: Reason, args: &[&str]) -> Result<String, Failure> {
        let output = self.call(args)?;
        if output.ok() {
            return Ok(output.text());
        }
        let verb = args.first().copied().unwrap_or_default();
        Err(Failure::new(reason, explain(&format!("`git {verb}` failed"), &output.told())))
    }

    /// A local call that may fail.
    pub(crate) fn call(&mut self, args: &[&str]) -> Result<Output, Failure> {
        match self.execute(args, LOCAL_LIMIT)? {
            Some(output) => Ok(output),
            None => Err(Failure::new(
                Reason::ContainerConfigError,
                format!("git took longer than {} s", LOCAL_LIMIT.as_secs()),
            )),
        }
    }

    /// A call that talks to the repository at `url`, and must succeed.
    pub(crate) fn remote(&mut self, url: &str, args: &[&str]) -> Result<String, Failure> {
        self.remote_bytes(url, args).map(|stdout| String::from_utf8_lossy(&stdout).into_owned())
    }

    /// The same; what it printed, as it is.
    pub(crate) fn remote_bytes(&mut self, url: &str, args: &[&str]) -> Result<Vec<u8>, Failure> {
        let unreachable =
            |why: &str| Failure::new(Reason::RepositoryUnreachable, explain(&format!("{url} cannot be reached"), why));
        if url.starts_with("ssh://") {
            self.credentials.check_ssh()?;
        }
        let Some(output) = self.execute(args, NETWORK_LIMIT)? else {
            return Err(unreachable(&format!("no end after {} s", NETWORK_LIMIT.as_secs())));
        };
        if output.ok() {
            return Ok(output.stdout);
        }
        let told = output.told();
        Err(trouble(url, self.fields, &told).unwrap_or_else(|| unreachable(&told)))
    }

    /// None when the time was up.
    fn execute(&mut self, args: &[&str], limit: Duration) -> Result<Option<Output>, Failure> {
        let (command, stdout, stderr) = self.command(args).map_err(|error| Failure::program("git", &error))?;
        let stdout = follow(stdout, MAX_OUTPUT, None);
        let stderr = follow(stderr, MAX_ERRORS, None);
        let end = self.supervisor.run(command, Some(limit)).map_err(|error| Failure::program("git", &error))?;
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        if stdout.is_cut() {
            return Err(Failure::new(
                Reason::InvalidAssignment,
                "git printed more than is read; the repository is too large",
            ));
        }
        let code = match end {
            End::Cancelled => return Err(Failure::cancelled()),
            End::TimedOut => return Ok(None),
            End::Exited(code) => Some(code),
            End::Signalled(_) => None,
        };
        Ok(Some(Output { code, stdout: stdout.into_bytes(), stderr: stderr.into_text() }))
    }

    fn command(&self, args: &[&str]) -> io::Result<(Command, io::PipeReader, io::PipeReader)> {
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = io::pipe()?;
        let mut command = Command::new("git");
        command.env_clear().current_dir(&self.desk.tree).stdout(stdout_writer).stderr(stderr_writer);
        for option in HARDENING {
            command.args(["-c", option]);
        }
        if let Some(hooks) = &self.hooks {
            let mut option = OsString::from("core.hooksPath=");
            option.push(hooks);
            command.arg("-c").arg(option);
        }
        command.args(["-c", "credential.helper=", "-c", &self.credentials.helper]);
        command.args(args);
        self.environment(&mut command);
        Ok((command, stdout, stderr))
    }

    fn environment(&self, command: &mut Command) {
        command
            .env("PATH", search_path())
            .env("HOME", &self.desk.home)
            .env("TMPDIR", &self.desk.temporary)
            // Messages are told apart below.
            .env("LC_ALL", "C")
            // A tree that lost its `.git` is an error, and no reason to look in the directories above.
            .env("GIT_CEILING_DIRECTORIES", &self.desk.root)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            // Wins over any `protocol.*.allow`: neither `ext::` nor `file:` whatever a configuration says.
            .env("GIT_ALLOW_PROTOCOL", "https:http:ssh")
            // Replaced objects are what an agent says they are.
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
    /// Git over SSH needs a key, and the server's own key to know it by.
    fn check_ssh(&self) -> Result<(), Failure> {
        for key in ["ssh-privatekey", "known_hosts"] {
            if !self.directory.join(key).is_file() {
                return Err(Failure::new(
                    Reason::RepositoryDenied,
                    format!(
                        "the Git credential Secret has no key `{key}`; an ssh:// repository needs ssh-privatekey and known_hosts"
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// A plan that names no Secret has no such directory. One that names a Secret which is not there has an empty one: its volume is optional,
/// so that this can be told, where a pod that waits for its volume tells nobody.
fn check_mounted(credentials: &Path, fields: &Fields) -> Result<(), Failure> {
    let Ok(mut entries) = std::fs::read_dir(credentials) else { return Ok(()) };
    // Names with two dots are the kubelet's own.
    if entries.any(|entry| entry.is_ok_and(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".."))) {
        return Ok(());
    }
    let message = format!(
        "the Secret with the Git credential does not exist in this namespace, or is empty; create it, or correct {}",
        fields.credentials
    );
    Err(Failure::new(Reason::ContainerConfigError, message))
}

/// Where programs are looked for: as the image says.
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

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |at| &url[..host + at])
}

/// A path as one word of the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.as_os_str().to_string_lossy().replace('\'', r"'\''"))
}

/// What Git's words mean, if they mean anything but a network that fails.
fn trouble(url: &str, fields: &Fields, told: &str) -> Option<Failure> {
    let has = |words: &[&str]| words.iter().any(|word| told.contains(word));
    let failure = |reason, head: String| Some(Failure::new(reason, explain(&head, told)));
    if has(&["[rejected]", "[remote rejected]", "pre-receive hook declined", "failed to push some refs"]) {
        return failure(Reason::PushRejected, format!("{url} refused the push"));
    }
    if has(&["No user exists for uid"]) {
        return failure(
            Reason::InvalidAssignment,
            "Git over SSH needs an entry for the pod's user in the image's /etc/passwd".to_owned(),
        );
    }
    if has(&[
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "error: 401",
        "error: 403",
        "Permission denied (",
        "Host key verification failed",
        "Access denied",
        "access denied",
    ]) {
        return failure(
            Reason::RepositoryDenied,
            format!("{url} refused the credential; check {}", fields.credentials),
        );
    }
    if has(&["Could not resolve host", "Could not resolve hostname"]) {
        return failure(
            Reason::RepositoryUnreachable,
            format!(
                "the host of {url} cannot be resolved; check {}, and that the tenant's pods may ask for it",
                fields.url
            ),
        );
    }
    if has(&["SSL certificate", "certificate verification failed", "server certificate"]) {
        return failure(
            Reason::RepositoryUnreachable,
            format!(
                "{url} shows a certificate that is not trusted; put its authority's into the key `ca.crt` of the Secret in {}",
                fields.credentials
            ),
        );
    }
    if has(&["couldn't find remote ref", "not our ref", "unadvertised object", "bad object"]) {
        return failure(Reason::RevisionNotFound, format!("{url} does not have what was asked for"));
    }
    if has(&["not found", "does not appear to be a git repository", "error: 404"]) {
        return failure(
            Reason::RepositoryDenied,
            format!(
                "{url} is no repository, or hides it from this credential; check {} and {}",
                fields.url, fields.credentials
            ),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_stands_before_the_path() {
        assert_eq!(origin("https://example.org:8443/a/b.git"), "https://example.org:8443");
        assert_eq!(origin("http://git-server"), "http://git-server");
    }
}
