//! Child processes, kept as PID 1 of a container has to keep them.
//!
//! One child runs at a time, in a process group of its own. A thread turns signals into events, and the only loop that waits for them
//! is [`Supervisor::run`]: it reaps whatever ends (orphans too), passes a request to stop on to the group, and kills what does not
//! listen. So no signal handler and no other thread ever touches a process.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, set_child_subreaper,
    set_dumpable_behavior, test_kill_process_group, wait,
};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::secrets::Secrets;

/// How long a process group may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal, which was not ours.
    Signalled(i32),
    /// It took longer than it was allowed, and was stopped.
    TimedOut,
    /// The runner was asked to stop, and stopped it.
    Cancelled,
}

/// The parent of every process in the container.
pub(crate) struct Supervisor {
    signals: Receiver<i32>,
    cancelled: bool,
    secrets: Arc<Secrets>,
}

/// Why a running child is being stopped.
struct Stopping {
    end: End,
    kill_at: Option<Instant>,
}

impl Supervisor {
    /// Takes over signals and orphans. Called once, before any child is started. What children print is shown without `secrets`.
    pub(crate) fn start(secrets: Secrets) -> io::Result<Self> {
        // An agent runs as the same user: it may neither look into this process nor change what it does.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        // PID 1 inherits orphans anyway; elsewhere (on a developer's machine, in tests) this makes it so.
        set_child_subreaper(Some(rustix::process::getpid()))?;
        let mut incoming = Signals::new([SIGTERM, SIGINT, SIGCHLD])?;
        let (sender, signals) = channel();
        std::thread::spawn(move || {
            for signal in incoming.forever() {
                if sender.send(signal).is_err() {
                    break;
                }
            }
        });
        Ok(Self { signals, cancelled: false, secrets: Arc::new(secrets) })
    }

    /// What no log may show.
    pub(crate) fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// Whether the runner has been asked to stop.
    pub(crate) fn cancelled(&mut self) -> bool {
        while let Ok(signal) = self.signals.try_recv() {
            self.cancelled |= signal != SIGCHLD;
        }
        self.cancelled
    }

    /// Waits for `time`, or until the runner is asked to stop.
    pub(crate) fn pause(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while !self.cancelled {
            match self.signals.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(signal) => self.cancelled |= signal != SIGCHLD,
                Err(_) => break,
            }
        }
    }

    /// Runs `command` to its end, without standard input and in a process group of its own, and leaves no process of it behind.
    ///
    /// # Errors
    /// When it cannot be started or waited for.
    pub(crate) fn run(&mut self, mut command: Command, limit: Option<Duration>) -> io::Result<End> {
        if self.cancelled() {
            return Ok(End::Cancelled);
        }
        let child = command.process_group(0).stdin(Stdio::null()).spawn()?;
        // The command holds the writing ends of the pipes that its output is read from.
        drop(command);
        let group = Pid::from_child(&child);
        let end = self.attend(group, limit.map(|limit| Instant::now() + limit))?;
        kill_stragglers(group)?;
        Ok(end)
    }

    /// Waits for the leader of `group`; for the whole group, once it is being stopped.
    fn attend(&mut self, group: Pid, deadline: Option<Instant>) -> io::Result<End> {
        let mut stopping: Option<Stopping> = None;
        let mut ended = None;
        loop {
            ended = ended.or(reap(group)?);
            match (&stopping, ended) {
                (None, Some(status)) => return Ok(end_of(status)),
                (Some(stopping), Some(_)) if !stopping.listens(group) => return Ok(stopping.end),
                _ => {}
            }
            let next = stopping.as_ref().map_or(deadline, |s| s.kill_at);
            match (self.next_signal(next), &mut stopping) {
                (Some(SIGCHLD), _) => {}
                (Some(_), None) => {
                    self.cancelled = true;
                    stopping = Some(Stopping::begin(group, End::Cancelled)?);
                }
                (Some(_), Some(_)) => self.cancelled = true,
                (None, None) => stopping = Some(Stopping::begin(group, End::TimedOut)?),
                (None, Some(stopping)) => {
                    stopping.kill_at = None;
                    signal_group(group, Signal::KILL)?;
                }
            }
        }
    }

    /// The next signal; none when `until` came first.
    fn next_signal(&self, until: Option<Instant>) -> Option<i32> {
        match until {
            Some(until) => self.signals.recv_timeout(until.saturating_duration_since(Instant::now())).ok(),
            None => self.signals.recv().ok(),
        }
    }
}

impl Stopping {
    fn begin(group: Pid, end: End) -> io::Result<Self> {
        signal_group(group, Signal::TERM)?;
        let kill_at = Some(Instant::now() + GRACE);
        Ok(Self { end, kill_at })
    }

    /// Whether processes of the group are left that may still end by themselves: a shell ends at once, its children may have work to
    /// put in order.
    fn listens(&self, group: Pid) -> bool {
        self.kill_at.is_some() && test_kill_process_group(group).is_ok()
    }
}

fn end_of(status: WaitStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signalled(signal.unwrap_or_default()),
    }
}

/// Reaps all that has ended; the status of `child` when it was among them.
fn reap(child: Pid) -> io::Result<Option<WaitStatus>> {
    let mut found = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => found = Some(status),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(found),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills and reaps every process that is left, even one that moved to a session of its own.
///
/// What an agent leaves running could otherwise change the tree behind the gates' back, or hold the pipe of its output open for ever.
fn kill_stragglers(group: Pid) -> io::Result<()> {
    signal_group(group, Signal::KILL)?;
    loop {
        for child in children()? {
            // It may have ended in between.
            let _ = kill_process(child, Signal::KILL);
        }
        // The children of what was killed are ours next; the loop ends when none is left.
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn signal_group(group: Pid, signal: Signal) -> io::Result<()> {
    match kill_process_group(group, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The processes whose parent is this one.
fn children() -> io::Result<Vec<Pid>> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that has ended since cannot be read, and need not be.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        // `pid (name) state parent …`, where the name may hold anything.
        let parent =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).and_then(|p| p.parse().ok());
        if parent == Some(own) {
            found.extend(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_of_the_same_user_looks_into_the_runner() {
        let supervisor = Supervisor::start(Secrets::default()).unwrap();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        drop(supervisor);
    }
}
