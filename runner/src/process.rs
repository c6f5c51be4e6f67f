//! Child processes, with the duties of PID 1 in a container.
//!
//! One child runs at a time, in its own process group. A thread forwards signals to a channel, and [`Supervisor::run`] is the only loop
//! that receives them: it reaps every process that ends (orphans too), forwards a request to stop to the process group, and kills the
//! processes that do not stop in time. No signal handler and no other thread signals or reaps processes.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, set_child_subreaper,
    set_dumpable_behavior, test_kill_process_group, wait,
};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::secrets::Secrets;

/// Longest time between SIGTERM and SIGKILL to a process group.
const GRACE: Duration = Duration::from_secs(10);
/// Longest time for children that save work after a request to stop. The kubelet waits for 30 s: this, [`GRACE`], and the delivery.
const SAVING: Duration = Duration::from_secs(8);
/// Time from a request to stop until the last delivery must end, so that the report is written before the kubelet kills the runner.
const UNTIL_REPORT: Duration = Duration::from_secs(28);

/// The outcome of a child process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The child exited with this code.
    Exited(i32),
    /// A signal that the runner did not send killed the child.
    Signalled(i32),
    /// The child exceeded its time limit and the runner stopped it.
    TimedOut,
    /// A [`Stopper`] stopped the child.
    Stopped,
    /// The runner was asked to stop and stopped the child.
    Cancelled,
}

/// A message to the loop in [`Supervisor::run`].
enum Notice {
    Signal(i32),
    /// Stop the child with this number.
    Stop(u64),
    /// Another thread has finished its work.
    Wake,
}

/// Wakes the supervisor when it is dropped, also by a panic.
struct Waker(Sender<Notice>);

impl Drop for Waker {
    fn drop(&mut self) {
        // The receiver lives as long as the supervisor, which runs until the process ends.
        let _ = self.0.send(Notice::Wake);
    }
}

/// Stops one child, from another thread.
#[derive(Clone)]
pub(crate) struct Stopper {
    sender: Sender<Notice>,
    child: u64,
}

impl Stopper {
    /// Asks for the stop. It has no effect after the child has ended.
    pub(crate) fn stop(&self) {
        // The receiver lives as long as the supervisor, which runs until the process ends.
        let _ = self.sender.send(Notice::Stop(self.child));
    }
}

/// The parent of every process in the container.
pub(crate) struct Supervisor {
    notices: Receiver<Notice>,
    sender: Sender<Notice>,
    /// Number of children so far.
    children: u64,
    started: Instant,
    /// Time of the first request to stop.
    stop_requested: Option<Instant>,
    /// Until when children may run after a request to stop; none if they may not.
    saving_until: Option<Instant>,
    secrets: Arc<Secrets>,
}

/// The stop of a child that is under way.
struct Stopping {
    /// Outcome of the child: `TimedOut`, `Stopped` or `Cancelled`.
    end: End,
    /// Time of SIGKILL to the process group; none after it was sent.
    kill_at: Option<Instant>,
}

impl Supervisor {
    /// Takes over signals and orphans. The runner calls it once, before it starts the first child. `secrets` are redacted from the output
    /// of children.
    pub(crate) fn start(secrets: Secrets) -> io::Result<Self> {
        // An agent runs as the same user. This keeps it from reading the memory of this process and from tracing it.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        // PID 1 adopts orphans anyway. Outside a container (on a developer's machine, in tests) this call has the same effect.
        set_child_subreaper(Some(rustix::process::getpid()))?;
        let mut incoming = Signals::new([SIGTERM, SIGINT, SIGCHLD])?;
        let (sender, notices) = channel();
        let signals = sender.clone();
        std::thread::spawn(move || {
            for signal in incoming.forever() {
                if signals.send(Notice::Signal(signal)).is_err() {
                    break;
                }
            }
        });
        let started = Instant::now();
        Ok(Self {
            notices,
            sender,
            children: 0,
            started,
            stop_requested: None,
            saving_until: None,
            secrets: Arc::new(secrets),
        })
    }

    /// Returns the time since the start of the runner.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns a handle that stops the next child.
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper { sender: self.sender.clone(), child: self.children + 1 }
    }

    pub(crate) fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// Returns whether the runner was asked to stop.
    pub(crate) fn cancelled(&mut self) -> bool {
        while let Ok(notice) = self.notices.try_recv() {
            self.note(&notice);
        }
        self.stop_requested.is_some()
    }

    /// Returns the time until the report must be written; none if the runner was not asked to stop.
    pub(crate) fn time_left(&mut self) -> Option<Duration> {
        self.cancelled();
        self.stop_requested.map(|at| UNTIL_REPORT.saturating_sub(at.elapsed()))
    }

    /// Remembers a request to stop that arrives while no child runs.
    fn note(&mut self, notice: &Notice) {
        if matches!(notice, Notice::Signal(signal) if *signal != SIGCHLD) {
            self.note_stop_request();
        }
    }

    fn note_stop_request(&mut self) {
        self.stop_requested.get_or_insert_with(Instant::now);
    }

    /// Allows further children after a request to stop, for the time until the kubelet kills the runner. Call it when the agent has ended.
    pub(crate) fn allow_saving(&mut self) {
        if self.cancelled() {
            self.saving_until.get_or_insert_with(|| Instant::now() + SAVING);
        }
    }

    /// Waits for `time` or until the runner is asked to stop.
    pub(crate) fn pause(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while self.stop_requested.is_none() {
            match self.notices.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(notice) => self.note(&notice),
                Err(_) => break,
            }
        }
    }

    /// Begins an attempt in a runner that has waited for it: its time limit counts from now, and its secrets are these.
    pub(crate) fn begin(&mut self, secrets: Secrets) {
        self.started = Instant::now();
        self.secrets = Arc::new(secrets);
    }

    /// Runs `work` in another thread and returns its result; none if the runner is asked to stop before, or the work panics. Meanwhile this
    /// thread sleeps.
    pub(crate) fn wait_for_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, results) = channel();
        let ends = (Waker(self.sender.clone()), sender);
        std::thread::spawn(move || {
            // The sender is dropped before the waker: when the supervisor wakes, the result is there, or it never comes.
            let (_waker, sender) = ends;
            let _ = sender.send(work());
        });
        loop {
            match results.try_recv() {
                Ok(result) => return Some(result),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) if self.stop_requested.is_some() => return None,
                Err(TryRecvError::Empty) => {
                    let notice = self.notices.recv().ok()?;
                    self.note(&notice);
                }
            }
        }
    }

    /// Runs `command` to its end in its own process group, without standard input. No process that it started survives.
    ///
    /// # Errors
    /// When it cannot be started or waited for.
    pub(crate) fn run(&mut self, command: Command, limit: Option<Duration>) -> io::Result<End> {
        self.run_with_input(command, Stdio::null(), limit)
    }

    /// Runs `command` as [`run`](Self::run) does, with `input` as its standard input.
    ///
    /// # Errors
    /// When it cannot be started or waited for.
    pub(crate) fn run_with_input(
        &mut self,
        mut command: Command,
        input: Stdio,
        limit: Option<Duration>,
    ) -> io::Result<End> {
        // A request to stop may have arrived since the previous child ended.
        let begun = Instant::now();
        if self.cancelled() && self.saving_until.is_none_or(|until| until <= begun) {
            return Ok(End::Cancelled);
        }
        let deadline = limit.map(|limit| begun + limit).into_iter().chain(self.saving_until).min();
        self.children += 1;
        let child = command.process_group(0).stdin(input).spawn()?;
        // The command owns the write ends of the output pipes. Their readers see the end of the output only when all of them are closed.
        drop(command);
        let group = Pid::from_child(&child);
        let end = self.wait_for(group, deadline)?;
        kill_stragglers(group)?;
        Ok(end)
    }

    /// Waits for the leader of `group`. During a stop it waits for the whole group.
    fn wait_for(&mut self, group: Pid, deadline: Option<Instant>) -> io::Result<End> {
        let mut stopping: Option<Stopping> = None;
        let mut ended = None;
        loop {
            // SIGCHLD signals can merge into one, so every iteration reaps all processes that have ended.
            ended = ended.or(reap(group)?);
            match (&stopping, ended) {
                (None, Some(status)) => return Ok(end_of(status)),
                (Some(stopping), Some(_)) if !stopping.waits_for(group) => return Ok(stopping.end),
                _ => {}
            }
            // The next deadline is the time limit, or SIGKILL during a stop.
            let next = stopping.as_ref().map_or(deadline, |s| s.kill_at);
            match (self.next_notice(next), &mut stopping) {
                (Some(Notice::Signal(SIGCHLD)), _) => {}
                // The child saves work after an earlier request.
                (Some(Notice::Signal(_)), None) if self.saving_until.is_some() => {}
                (Some(Notice::Signal(_)), None) => {
                    self.note_stop_request();
                    stopping = Some(Stopping::begin(group, End::Cancelled)?);
                }
                // A request to stop during another stop does not change its outcome or deadline.
                (Some(Notice::Signal(_)), Some(_)) => self.note_stop_request(),
                (Some(Notice::Stop(child)), None) if child == self.children => {
                    stopping = Some(Stopping::begin(group, End::Stopped)?);
                }
                // The child is stopped already, or the request was for an earlier one.
                (Some(Notice::Stop(_) | Notice::Wake), _) => {}
                (None, None) => stopping = Some(Stopping::begin(group, End::TimedOut)?),
                (None, Some(stopping)) => {
                    stopping.kill_at = None;
                    signal_group(group, Signal::KILL)?;
                }
            }
        }
    }

    /// Returns the next notice; none if `until` comes first.
    fn next_notice(&self, until: Option<Instant>) -> Option<Notice> {
        match until {
            Some(until) => self.notices.recv_timeout(until.saturating_duration_since(Instant::now())).ok(),
            None => self.notices.recv().ok(),
        }
    }
}

impl Stopping {
    fn begin(group: Pid, end: End) -> io::Result<Self> {
        signal_group(group, Signal::TERM)?;
        let kill_at = Some(Instant::now() + GRACE);
        Ok(Self { end, kill_at })
    }

    /// Returns whether processes of the group may still end before SIGKILL. A shell ends at once on SIGTERM, but its children may still be
    /// saving their work.
    fn waits_for(&self, group: Pid) -> bool {
        self.kill_at.is_some() && test_kill_process_group(group).is_ok()
    }
}

fn end_of(status: WaitStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signalled(signal.unwrap_or_default()),
    }
}

/// Reaps every process that has ended and returns the status of `child` if it is one of them.
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

/// Kills and reaps all remaining processes, even those that moved to a session of their own.
///
/// A process that an agent leaves running could otherwise change the tree while the gates run, or keep the output pipe open forever.
fn kill_stragglers(group: Pid) -> io::Result<()> {
    signal_group(group, Signal::KILL)?;
    loop {
        for child in children()? {
            // The process may have ended since.
            let _ = kill_process(child, Signal::KILL);
        }
        // This process adopts the children of each killed process, so the loop ends when no process is left.
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

/// Returns the child processes of this process.
fn children() -> io::Result<Vec<Pid>> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // The process may have ended since.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        // `pid (name) state parent …`. The name may contain spaces and parentheses.
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
    fn waits_for_the_work_of_a_thread_also_if_it_panics() {
        let mut supervisor = Supervisor::start(Secrets::default()).unwrap();
        let slow = || {
            std::thread::sleep(Duration::from_millis(20));
            7
        };
        assert_eq!(supervisor.wait_for_thread(slow), Some(7));
        assert_eq!(supervisor.wait_for_thread::<()>(|| panic!("on purpose")), None);
    }

    #[test]
    fn is_not_dumpable() {
        let supervisor = Supervisor::start(Secrets::default()).unwrap();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        drop(supervisor);
    }
}
