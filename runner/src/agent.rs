//! Runs the scripts of agents and gates, with only the environment variables that they need.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use enact_domain::assignment::{AGENT_ENV_PREFIX, AGENT_SECRET_PREFIX, Gate, GateResult, Reason};
use enact_domain::contest::Measured;

use crate::capture::{collect, follow};
use crate::failure::{Failure, explain};
use crate::git::{Identity, search_path};
use crate::log::log;
use crate::process::{End, Supervisor};
use crate::text::last_lines;
use crate::workspace::WorkspaceLayout;

/// Most bytes of an agent's output in the result.
pub(crate) const MAX_TRANSCRIPT: usize = 256 << 10;
/// Most bytes of a gate's output in the result.
const MAX_GATE_OUTPUT: usize = 4 << 10;
/// Memory counters of the container (cgroup v2).
const MEMORY_EVENTS: &str = "/sys/fs/cgroup/memory.events";

/// Environment variables of agents and gates.
#[derive(Clone, Debug)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Returns the standard variables and the variables that `spec.env` of the Agent sets.
    pub(crate) fn new(layout: &WorkspaceLayout, identity: &Identity) -> Self {
        let mut environment = Self(BTreeMap::new());
        environment.set("PATH", search_path());
        environment.set("LANG", "C.UTF-8");
        environment.set("TERM", "dumb");
        for (name, value) in identity.variables() {
            environment.set(name, value);
        }
        // The operator passes the Agent's variables with a prefix, so that they cannot replace a variable of the runner.
        for (name, value) in std::env::vars_os() {
            let without_prefix = |name: &str| {
                let name =
                    [AGENT_ENV_PREFIX, AGENT_SECRET_PREFIX].iter().find_map(|prefix| name.strip_prefix(prefix))?;
                (!name.is_empty()).then(|| name.to_owned())
            };
            if let Some(name) = name.to_str().and_then(without_prefix) {
                environment.set(&name, value);
            }
        }
        // After the variables of the Agent, which must not redirect these directories.
        environment.set("HOME", &layout.home);
        environment.set("TMPDIR", &layout.temporary);
        environment
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    pub(crate) fn variables(&self) -> &BTreeMap<OsString, OsString> {
        &self.0
    }
}

/// A script with its working directory and environment.
pub(crate) struct Script<'a> {
    pub(crate) text: &'a str,
    pub(crate) tree: &'a Path,
    pub(crate) environment: &'a Environment,
}

/// The outcome of a script.
pub(crate) struct ScriptRun {
    end: End,
    out_of_memory: bool,
    /// The last part of its output, without secrets.
    pub(crate) output: String,
}

impl Script<'_> {
    /// Runs the script with `/bin/sh -e`, copies its output to the pod's log and keeps the last `keep` bytes of it. Secrets are redacted.
    pub(crate) fn run(&self, supervisor: &mut Supervisor, keep: usize) -> Result<ScriptRun, Failure> {
        let shell = |error| Failure::program("/bin/sh", &error);
        let (reader, writer) = std::io::pipe().map_err(shell)?;
        // The script does not inherit the environment of the runner, which contains the assignment.
        let mut command = Command::new("/bin/sh");
        command
            .args(["-e", "-c", self.text])
            .current_dir(self.tree)
            .env_clear()
            .envs(&self.environment.0)
            .stdout(writer.try_clone().map_err(shell)?)
            .stderr(writer);
        // The counter is that of the container and only grows, so only an increase during this run counts.
        let killed_before = out_of_memory_kills();
        // The reader starts before the script, which would block on a full pipe otherwise.
        let follower = follow(reader, keep, Some(supervisor.secrets().clone()));
        let end = supervisor.run(command, None).map_err(shell)?;
        let output = collect(follower).into_text();
        Ok(ScriptRun { end, out_of_memory: out_of_memory_kills() > killed_before, output })
    }
}

impl ScriptRun {
    /// Fails with `reason` unless the script exited with 0.
    pub(crate) fn check(&self, what: &str, reason: Reason) -> Result<(), Failure> {
        let fail = |reason, how: String| Err(Failure::new(reason, explain(&format!("{what} {how}"), &self.output)));
        match self.end {
            End::Exited(0) => Ok(()),
            End::Cancelled => Err(Failure::cancelled()),
            // Before `Exited`: a shell reports the kill of a process that it started as an exit code.
            _ if self.out_of_memory => fail(
                Reason::OutOfMemory,
                "was killed because it used more memory than the container's limit; raise resources.memory".into(),
            ),
            End::Exited(code) => fail(reason, format!("exited with {code}")),
            End::Signalled(signal) => fail(Reason::Killed, format!("was killed by signal {signal}")),
            End::TimedOut => fail(reason, "exceeded its time limit".into()),
            End::Stopped => fail(reason, "was stopped".into()),
        }
    }

    fn exit_code(&self) -> Option<i32> {
        match self.end {
            End::Exited(code) => Some(code),
            _ => None,
        }
    }
}

/// Runs the gates in order and stops at the first one that fails. `results` receives the result of each gate that ran.
pub(crate) fn run_gates(
    supervisor: &mut Supervisor,
    gates: &[Gate],
    tree: &Path,
    environment: &Environment,
    results: &mut Vec<GateResult>,
) -> Result<(), Failure> {
    for gate in gates {
        log(&format!("gate {}", gate.name));
        let run = Script { text: &gate.script, tree, environment }.run(supervisor, MAX_GATE_OUTPUT)?;
        results.push(GateResult {
            name: gate.name.clone(),
            exit_code: run.exit_code(),
            output: last_lines(&run.output, MAX_GATE_OUTPUT).to_owned(),
        });
        run.check(&format!("gate `{}`", gate.name), Reason::GateFailed)?;
    }
    Ok(())
}

/// Runs the measurements in order, and returns their numbers. A measurement whose command fails or prints no number has none: the work
/// counts as worse than any that was measured.
pub(crate) fn measure(
    supervisor: &mut Supervisor,
    measurements: &[Gate],
    tree: &Path,
    environment: &Environment,
) -> Result<BTreeMap<String, Measured>, Failure> {
    let mut numbers = BTreeMap::new();
    for measurement in measurements {
        let run = Script { text: &measurement.script, tree, environment }.run(supervisor, MAX_GATE_OUTPUT)?;
        let what = format!("measurement `{}`", measurement.name);
        match (&run.end, Measured::of_output(&run.output)) {
            // The attempt was stopped: it has no result.
            (End::Cancelled, _) => return Err(Failure::cancelled()),
            (End::Exited(0), Ok(number)) => {
                log(&format!("{what}: {number}"));
                numbers.insert(measurement.name.clone(), number);
            }
            (End::Exited(0), Err(problem)) => {
                log(&format!("{what} has no number: the last line of its output {problem}"));
            }
            _ => {
                if let Err(failure) = run.check(&what, Reason::GateFailed) {
                    log(&format!("{what} has no number: {}", failure.message));
                }
            }
        }
    }
    Ok(numbers)
}

/// Returns how many processes of this container the kernel has killed because memory ran out; 0 if the counter cannot be read.
pub(crate) fn out_of_memory_kills() -> u64 {
    let counters = std::fs::read_to_string(MEMORY_EVENTS).unwrap_or_default();
    let count = counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    count.unwrap_or_default()
}
