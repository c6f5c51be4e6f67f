//! The state of a node, from which the scheduler decides.

use std::sync::Arc;

use super::budgets::Funding;
use super::policy::Retry;
use crate::agents::needs::Needs;
use crate::assignment::{Reason, Report};
use crate::attempt::AttemptState;
use crate::contest::{Achievement, Criterion, contestant_of};
use crate::delivery::is_final;
use crate::time::Millis;
use crate::waiting::UNSCHEDULABLE;

/// Phase of a node, as its status stores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TaskPhase {
    /// Waits for its dependencies, for a free slot, or for its next attempt.
    #[default]
    Pending,
    /// An attempt is in progress.
    Running,
    Succeeded,
    /// No further attempt follows.
    Failed,
    /// Stopped on request, or by the plan's deadline.
    Cancelled,
    /// It is unknown how much of the work was done, and a repetition may do harm; a person must decide.
    Unknown,
}

impl TaskPhase {
    /// Returns whether the phase only changes when a person requests another attempt.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Unknown)
    }
}

/// The attempt of a node that is in progress, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CurrentAttempt {
    /// No attempt is in progress.
    #[default]
    None,
    /// The attempt is recorded as started, and it has no pod.
    Absent {
        /// Whether the operator has seen its pod. If so, the pod is lost; otherwise it was perhaps never created.
        seen: bool,
        /// The verified report that the pod delivered to the record.
        delivered: Option<Report>,
    },
    /// The attempt has a pod.
    Pod {
        state: AttemptState,
        /// Creation time of the pod.
        created: Millis,
        /// Time of the request to delete the pod.
        deleting: Option<Millis>,
        /// The verified report that the pod delivered to the record. If it is [final](is_final), the attempt ends with it, whatever the pod
        /// does.
        delivered: Option<Box<Report>>,
    },
}

/// State of the attempt in progress, as the status of the node reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportedState {
    #[default]
    Running,
    /// The attempt waits for a node of the cluster.
    Unschedulable,
    /// The pod of the attempt cannot start, for this reason.
    Stuck(Reason),
}

impl ReportedState {
    /// Returns the state that a status with this reason reports.
    pub fn of(reason: &str) -> Self {
        const STUCK: [Reason; 3] = [Reason::ImagePullFailed, Reason::ContainerConfigError, Reason::SandboxFailed];
        if reason == UNSCHEDULABLE {
            return Self::Unschedulable;
        }
        STUCK.into_iter().find(|stuck| stuck.as_str() == reason).map_or(Self::Running, Self::Stuck)
    }
}

/// Who carries out the attempts of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// No agent: the integration.
    #[default]
    None,
    /// The agent that the task or the plan names, by its index in the agents of the plan.
    Named(usize),
    /// An agent of the pool, selected when an attempt starts.
    Pool {
        needs: Arc<Needs>,
        /// Agent of the last attempt; the next attempt keeps it if possible, because it can resume the session.
        last: Option<usize>,
        /// Agent of the next attempt, if its start is recorded already.
        next: Option<usize>,
    },
}

impl Executor {
    /// Returns the agent of the last attempt.
    pub fn last(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Named(agent) => Some(*agent),
            Self::Pool { last, .. } => *last,
        }
    }
}

/// Request of a person for a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Request {
    #[default]
    None,
    /// Another attempt, if the node is finished without success.
    Rerun,
    /// A repetition of its work, also after success, because the specification has changed. A node in phase `Unknown` ignores it.
    Redo,
}

/// State of a node: of a task, or of the integration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "four independent facts about a node")]
pub struct Node {
    /// Whether its object exists.
    pub exists: bool,
    pub phase: TaskPhase,
    /// Number of the last attempt that was started.
    pub attempts: u32,
    /// Task failures since the node was last opened.
    pub failures: u32,
    /// Infrastructure failures since then.
    pub infrastructure_failures: u32,
    /// Earliest time of the next attempt.
    pub retry_at: Option<Millis>,
    pub current: CurrentAttempt,
    pub reported: ReportedState,
    pub retry: Retry,
    pub request: Request,
    /// Whether the plan that this one replaces has done its work. The node then succeeds without an attempt.
    pub kept: bool,
    /// Whether a person must decide about the node before an attempt starts.
    pub held: bool,
    /// Whether its work has an effect outside the workspace. Such work is repeated only if it certainly had not begun.
    pub external_effect: bool,
    /// A node of higher priority starts first.
    pub priority: i32,
    /// The budgets that its attempts use, whatever agent a pool selects.
    pub funding: Funding,
    /// Who carries out its attempts.
    pub executor: Executor,
    /// The numbers of its attempts.
    pub numbering: Numbering,
    /// The contest of a node with competing attempts. The node itself then has no attempt: each contestant has its own.
    pub contest: Option<Contest>,
}

/// The numbers of a series of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// Number of the first attempt.
    pub first: u32,
    /// Difference between the numbers of two attempts in succession.
    pub step: u32,
}

impl Default for Numbering {
    fn default() -> Self {
        Self { first: 1, step: 1 }
    }
}

impl Node {
    /// Returns the number of the next attempt of a node without a contest, or of a contestant.
    pub fn next_attempt(&self) -> u32 {
        if self.attempts == 0 { self.numbering.first } else { self.attempts.saturating_add(self.numbering.step) }
    }

    /// Returns the series of attempts at the node: the node itself, or its contestants.
    pub fn series(&self) -> impl Iterator<Item = &Self> {
        let contestants = self.contest.iter().flat_map(|contest| contest.contestants.iter().map(|c| &c.node));
        contestants.chain(self.contest.is_none().then_some(self))
    }

    /// Returns the series of attempts at the node, to be changed.
    pub fn series_mut(&mut self) -> Vec<&mut Self> {
        if self.contest.is_none() {
            return vec![self];
        }
        self.contest.iter_mut().flat_map(|contest| contest.contestants.iter_mut().map(|c| &mut c.node)).collect()
    }

    /// Returns the series that an attempt belongs to.
    pub fn series_of(&self, attempt: u32) -> &Self {
        self.contest
            .as_ref()
            .and_then(|contest| contest.of_attempt(attempt))
            .map_or(self, |contestant| &contestant.node)
    }

    /// Returns the series that an attempt belongs to, to be changed.
    pub fn series_of_mut(&mut self, attempt: u32) -> &mut Self {
        let Some(index) = self.contest.as_ref().and_then(|contest| contest.index_of(attempt)) else { return self };
        // It never inserts one: only a contest has an index.
        &mut self.contest.get_or_insert_default().contestants[index].node
    }

    /// Returns the number of failed attempts since the node was last opened.
    pub fn failed_attempts(&self) -> u32 {
        self.series().map(|series| series.failures + series.infrastructure_failures).sum()
    }

    /// Returns whether an attempt of the series is in progress.
    pub fn is_running(&self) -> bool {
        !matches!(self.current, CurrentAttempt::None) && self.end_report().is_none()
    }

    /// Returns the report of an attempt that has ended, but whose end the status does not show yet.
    pub fn end_report(&self) -> Option<&Report> {
        match &self.current {
            CurrentAttempt::Pod { delivered: Some(report), .. } if is_final(report) => Some(report),
            CurrentAttempt::Pod { state: AttemptState::Succeeded(report), .. }
            | CurrentAttempt::Pod { state: AttemptState::Failed { report, .. }, .. } => Some(report),
            CurrentAttempt::Absent { delivered, .. } => delivered.as_ref(),
            CurrentAttempt::Pod { .. } | CurrentAttempt::None => None,
        }
    }
}

/// Competing attempts at one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contest {
    /// The measurements that are compared, in order.
    pub criteria: Vec<Criterion>,
    pub contestants: Vec<Contestant>,
}

/// One contestant: a series of attempts, of which one can succeed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contestant {
    /// The series. Its rules, its phase and its attempts are those of the contestant.
    pub node: Node,
    /// What its successful attempt achieved, if it has succeeded.
    pub achievement: Option<Achievement>,
    /// Whether its last attempt ended because a budget or a quota was used up.
    pub is_parked: bool,
}

impl Contest {
    /// Returns the index of the contestant that an attempt belongs to; none if there are no contestants.
    pub fn index_of(&self, attempt: u32) -> Option<usize> {
        let contestants = u32::try_from(self.contestants.len()).ok().filter(|n| *n > 0)?;
        usize::try_from(contestant_of(attempt, contestants) - 1).ok()
    }

    /// Returns the contestant that an attempt belongs to.
    pub fn of_attempt(&self, attempt: u32) -> Option<&Contestant> {
        self.contestants.get(self.index_of(attempt)?)
    }

    /// Returns the highest number of an attempt that was started; 0 if none was.
    pub fn newest_attempt(&self) -> u32 {
        self.contestants.iter().map(|contestant| contestant.node.attempts).max().unwrap_or_default()
    }
}
