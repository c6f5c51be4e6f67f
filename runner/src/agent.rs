//! Runs what the agent wrote or is: the adapter's process and the gates, with nothing in their environment but what they need.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use enact_domain::assignment::{AGENT_ENV_PREFIX, AGENT_SECRET_PREFIX, Gate, GateResult, Reason};

use crate::capture::{collect, follow, last_lines};
use crate::desk::Desk;
use crate::failure::{Failure, explain};
use crate::git::{Identity, search_path};
use crate::process::{End, Supervisor};

/// How much of what an agent prints is kept for the record.
pub(crate) const MAX_TRANSCRIPT: usize = 256 << 10;
/// How much of what a gate prints is kept.
const MAX_GATE_OUTPUT: usize = 4 << 10;
/// Counters of the container's control group, where version 2 is mounted.
const MEMORY_EVENTS: &str = "/sys/fs/cgroup/memory.events";

/// The environment of an agent and of gates.
#[derive(Clone, Debug)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// PATH, HOME and the like, and what the operator sets for the agent.
    pub(crate) fn new(desk: &Desk, identity: &Identity) -> Self {
        let mut environment = Self(BTreeMap::new());
        environment.set("PATH", search_path());
        environment.set("LANG", "C.UTF-8");
        environment.set("TERM", "dumb");
        for (name, value) in identity.variables() {
            environment.set(name, value);
        }
        for (name, value) in std::env::vars_os() {
            let passed_on = |name: &str| {
                let name =
                    [AGENT_ENV_PREFIX, AGENT_SECRET_PREFIX].iter().find_map(|prefix| name.strip_prefix(prefix))?;
                (!name.is_empty()).then(|| name.to_owned())
            };
            if let Some(name) = name.to_str().and_then(passed_on) {
                environment.set(&name, value);
            }
        }
        environment.set("HOME", &desk.home);
        environment.set("TMPDIR", &desk.temporary);
        environment
    }

    /// Sets one variable.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }
}

/// A script and where it runs.
pub(crate) struct Script<'a> {
    pub(crate) text: &'a str,
    pub(crate) tree: &'a Path,
    pub(crate) environment: &'a Environment,
}

/// How a script ended, and the end of what it printed.
pub(crate) struct Ran {
    end: End,
    out_of_memory: bool,
    pub(crate) printed: String,
}

impl Script<'_> {
    /// Runs the script with `/bin/sh -e`; everything it prints goes to the log, too, but for secrets.
    pub(crate) fn run(&self, supervisor: &mut Supervisor, keep: usize) -> Result<Ran, Failure> {
        let shell = |error| Failure::program("/bin/sh", &error);
        let (reader, writer) = std::io::pipe().map_err(shell)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-e", "-c", self.text])
            .current_dir(self.tree)
            .env_clear()
            .envs(&self.environment.0)
            .stdout(writer.try_clone().map_err(shell)?)
            .stderr(writer);
        let killed_before = out_of_memory_kills();
        let follower = follow(reader, keep, Some(supervisor.secrets().clone()));
        let end = supervisor.run(command, None).map_err(shell)?;
        let printed = collect(follower).into_text();
        Ok(Ran { end, out_of_memory: out_of_memory_kills() > killed_before, printed })
    }
}

impl Ran {
    /// Fails with `reason` unless the script ended well.
    pub(crate) fn check(&self, what: &str, reason: Reason) -> Result<(), Failure> {
        let fail = |reason, how: String| Err(Failure::new(reason, explain(&format!("{what} {how}"), &self.printed)));
        match self.end {
            End::Exited(0) => Ok(()),
            End::Cancelled => Err(Failure::cancelled()),
            _ if self.out_of_memory => fail(
                Reason::OutOfMemory,
                "was killed for using more memory than the container's limit; raise resources.memory".into(),
            ),
            End::Exited(code) => fail(reason, format!("exited with {code}")),
            End::Signalled(signal) => fail(Reason::Killed, format!("was killed by signal {signal}")),
            End::TimedOut => fail(reason, "took too long".into()),
        }
    }

    fn exit_code(&self) -> Option<i32> {
        match self.end {
            End::Exited(code) => Some(code),
            _ => None,
        }
    }
}

/// Runs the gates in their order, up to the first that fails; `results` gets how each went.
pub(crate) fn run_gates(
    supervisor: &mut Supervisor,
    gates: &[Gate],
    tree: &Path,
    environment: &Environment,
    results: &mut Vec<GateResult>,
) -> Result<(), Failure> {
    for gate in gates {
        crate::say(&format!("gate {}", gate.name));
        let ran = Script { text: &gate.script, tree, environment }.run(supervisor, MAX_GATE_OUTPUT)?;
        results.push(GateResult {
            name: gate.name.clone(),
            exit_code: ran.exit_code(),
            output: last_lines(&ran.printed, MAX_GATE_OUTPUT).to_owned(),
        });
        ran.check(&format!("gate `{}`", gate.name), Reason::GateFailed)?;
    }
    Ok(())
}

/// How many processes of this container the kernel has killed for want of memory; zero where that cannot be read.
fn out_of_memory_kills() -> u64 {
    let counters = std::fs::read_to_string(MEMORY_EVENTS).unwrap_or_default();
    let count = counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    count.unwrap_or_default()
}
