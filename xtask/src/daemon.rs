//! Processes that outlive the command that started them.
//!
//! A process is identified by three variables in its environment, which its children inherit. There is no pid file that could be stale,
//! a reused pid is not mistaken for ours, and no process is missed if the command is killed just after it started one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cmd::{CommandExt, cmd};
use crate::digest::Inputs;

const OWNER: &str = "ENACT_DAEMON_OWNER";
const NAME: &str = "ENACT_DAEMON_NAME";
const DIGEST: &str = "ENACT_DAEMON_DIGEST";

/// The time limit for a process to become ready.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

const LOG_LINES_SHOWN: usize = 20;

/// A process to run.
pub(crate) struct Spec {
    /// The name in messages and of the log file.
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// Files whose change requires a restart.
    pub(crate) files: Vec<PathBuf>,
}

/// The processes that belong to one directory.
pub(crate) struct Daemons {
    owner: PathBuf,
    logs: PathBuf,
}

/// A running process with our variables.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) owner: PathBuf,
    pub(crate) name: String,
    digest: String,
    /// Whether it is the process that was started, not a child of it.
    main: bool,
}

/// Lists the processes with our variables on this machine, of every owner.
pub(crate) fn all_processes() -> Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // The process may have ended, or may not be readable.
        if let Some(process) = inspect(pid, &entry.path()) {
            processes.push(process);
        }
    }
    Ok(processes)
}

fn inspect(pid: u32, proc: &Path) -> Option<Process> {
    let environment = fs::read(proc.join("environ")).ok()?;
    let variable = |name: &str| {
        environment.split(|byte| *byte == 0).find_map(|entry| {
            let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(String::from_utf8_lossy(value).into_owned())
        })
    };
    let owner = variable(OWNER)?.into();
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    // The name is in parentheses and may contain anything. After it come state, parent, group and session.
    let session: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(3)?.parse().ok()?;
    Some(Process { pid, owner, name: variable(NAME)?, digest: variable(DIGEST)?, main: session == pid })
}

/// Kills processes with SIGKILL.
pub(crate) fn kill(pids: &[u32]) {
    signal("-KILL", pids);
}

fn signal(signal: &str, pids: &[u32]) {
    if !pids.is_empty() {
        // The command fails if a process has already ended, which is fine.
        cmd("kill", [signal, "--"]).args(pids.iter().map(u32::to_string)).succeeds();
    }
}

impl Daemons {
    /// Returns the processes of `owner`, with their logs in `logs`.
    pub(crate) fn new(owner: &Path, logs: PathBuf) -> Self {
        Self { owner: owner.to_owned(), logs }
    }

    /// Lists the owner's processes and their children.
    pub(crate) fn processes(&self) -> Result<Vec<Process>> {
        Ok(all_processes()?.into_iter().filter(|process| process.owner == self.owner).collect())
    }

    /// Finds the running process `name`.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Process>> {
        Ok(self.processes()?.into_iter().find(|process| process.main && process.name == name))
    }

    /// Returns the log file of `name`.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Starts the process, unless it already runs with the same specification. Returns whether it was started.
    pub(crate) fn ensure(&self, spec: &Spec) -> Result<bool> {
        // A running process has its digest in its environment. A changed argument or file changes the digest, and restarts the process.
        let digest = spec.digest()?;
        if let Some(process) = self.find(spec.name)? {
            if process.digest == digest {
                return Ok(false);
            }
            self.stop(spec.name)?;
        }
        self.start(spec, &digest)?;
        Ok(true)
    }

    fn start(&self, spec: &Spec, digest: &str) -> Result<()> {
        let log = self.log(spec.name);
        if log.exists() {
            fs::rename(&log, log.with_extension("log.1"))?;
        }
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        // In its own session, the process receives no signal from the terminal. It does not inherit this environment, in which for example
        // proxy variables could break it.
        let mut child = Command::new("setsid")
            .arg(&spec.program)
            .args(&spec.args)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env(OWNER, &self.owner)
            .env(NAME, spec.name)
            .env(DIGEST, digest)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", spec.name))?;
        // `find` needs the session of the process, which `setsid` creates. Without this wait, the first probe could find no process.
        until(Duration::from_secs(5), || Ok(child.try_wait()?.is_some() || self.find(spec.name)?.is_some()))?;
        Ok(())
    }

    /// Ends `name` with SIGTERM, and with SIGKILL after ten seconds. Its children keep running.
    pub(crate) fn stop(&self, name: &str) -> Result<()> {
        for (how, patience) in [("-TERM", Duration::from_secs(10)), ("-KILL", Duration::from_secs(5))] {
            let Some(process) = self.find(name)? else { return Ok(()) };
            signal(how, &[process.pid]);
            let gone = || Ok(self.find(name)?.is_none());
            if until(patience, gone)? {
                return Ok(());
            }
        }
        bail!("{name} does not stop")
    }

    /// Kills every process and its children.
    pub(crate) fn kill_all(&self) -> Result<()> {
        let gone = || {
            let pids: Vec<u32> = self.processes()?.iter().map(|process| process.pid).collect();
            // The list is read again after each signal, because a process can start a child between the listing and the signal.
            kill(&pids);
            Ok(pids.is_empty())
        };
        if !until(Duration::from_secs(20), gone)? {
            bail!("processes of {} cannot be killed: {:?}", self.owner.display(), self.processes()?);
        }
        Ok(())
    }

    /// Waits until `probe` succeeds. An error has the end of the log of `name` and its path.
    pub(crate) fn await_ready(
        &self,
        name: &str,
        patience: Duration,
        mut probe: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let Err(error) = probe() else { return Ok(()) };
            // During exec, a process has no environment for a moment.
            let ended = !until(Duration::from_millis(500), || Ok(self.find(name)?.is_some()))?;
            if ended || Instant::now() > deadline {
                let how = if ended { "ended".to_owned() } else { format!("was not ready in {patience:?}") };
                let log = self.log(name);
                return Err(error.context(format!(
                    "{name} {how}; the last lines of {}:\n{}",
                    log.display(),
                    tail(&log)
                )));
            }
            sleep(Duration::from_millis(100));
        }
    }
}

impl Spec {
    fn digest(&self) -> Result<String> {
        let mut inputs = Inputs::default().text(&self.program.to_string_lossy());
        for arg in &self.args {
            inputs = inputs.text(arg);
        }
        for file in &self.files {
            inputs = inputs.path(file)?;
        }
        Ok(inputs.short())
    }
}

/// Polls `condition` until it is true. Returns false if `patience` ends first.
pub(crate) fn until(patience: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + patience;
    while !condition()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        sleep(Duration::from_millis(50));
    }
    Ok(true)
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}
