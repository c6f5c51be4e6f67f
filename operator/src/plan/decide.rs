//! Decide: the next actions of a plan, within the free slots of its tenant, and the resulting readiness.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use enact_crds::plan::{PausedAfter, Phase};
use enact_crds::replan::Kept;
use enact_domain::assignment::Report;
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::graph::{NodeId, PerNode};
use enact_domain::names;
use enact_domain::plan::{
    self as scheduler, Action, Agents, Assignment, Counts, Decision, Executor, NextStep, Node, OnFailure, PlanState,
    Request, Shared, TaskPhase, Verdict,
};
use enact_domain::record::{Kind, Subject};
use enact_domain::text::truncate;
use enact_domain::time::Millis;

use super::attempt_pods;
use super::budgets::PlanBudgets;
use super::context::Context;
use super::limiter::{AgentLimit, ReservedSlots};
use super::nodes::series_of;
use super::observed::{Choice, Loaded, Observed};
use super::refusals;
use super::reservations::Amount;
use super::runtime::{OpenAttempt, SeriesId};
use super::shortage::Waiting;
use super::task_versions::TaskVersions;
use super::validate::Valid;
use super::waits::Waits;
use crate::error::Error;
use crate::index::{PodEntry, TaskEntry};
use crate::task::contest;
use crate::task::status::message as task_message;
use crate::warm_pool::Taken;

/// Most actions of one reconcile. The next one does the rest, so that the ends of attempts do not wait for many starts.
const MAX_ACTIONS: usize = 256;

/// Longest explanation of why no agent can have a task, in bytes.
const MAX_OBSTACLES_BYTES: usize = 2048;

/// A decision with everything that it was made from.
pub struct Decided<'a> {
    pub observed: &'a Observed,
    pub loaded: &'a Loaded,
    pub valid: &'a Valid,
    /// The agents, before the decision.
    pub agents: Agents,
    /// The nodes, with the agents of the attempts that start.
    pub nodes: PerNode<Node>,
    pub budgets: &'a PlanBudgets,
    /// What was reserved of each budget before this decision.
    pub reserved: Vec<Amount>,
    pub decision: Decision,
    /// Whether actions are left for the next reconcile.
    pub unfinished: bool,
    /// From which the keys of starting attempts are made.
    start_secret: u128,
    /// The open attempts that have pods. Empty until the caller adds them, after the decision.
    pub attempts: HashMap<(NodeId, u32), Arc<OpenAttempt>>,
    /// The pods of warm pools that starting attempts get. Empty until they are chosen, after the slots are reserved.
    pub taken: HashMap<(NodeId, u32), Taken>,
    pub task_versions: TaskVersions,
    /// The slots of starting attempts, until their pods exist.
    slots: ReservedSlots<'a>,
}

/// Phase and readiness of a plan.
pub struct Outcome {
    pub phase: Phase,
    pub readiness: Readiness,
}

/// Decides the next actions of the plan, and reserves a slot for each attempt that starts.
pub fn decide<'a>(
    ctx: &'a Context,
    observed: &'a Observed,
    loaded: &'a Loaded,
    valid: &'a Valid,
    agents: Agents,
    mut nodes: PerNode<Node>,
    budgets: &'a PlanBudgets,
) -> Decided<'a> {
    let member = &valid.member;
    // No event arrives for a pod on a node that does not respond: its slot becomes free by time.
    ctx.limiter.expire(&member.tenant, observed.now);
    let free_slots = ctx.limiter.free_slots(&member.tenant, member.parallelism);
    let slots = ReservedSlots::none(&ctx.limiter, &member.tenant);
    ctx.reservations.replace(&member.tenant, &observed.uid, |others| {
        let reserved = budgets.reserved(&nodes, others);
        let shared = Shared { free_slots, budgets: budgets.remaining(&reserved), agents };
        let mut decision = scheduler::decide(&valid.policy, &valid.graph, &nodes, &shared, observed.now);
        let agents = shared.agents;
        for Assignment { node, attempt, agent, .. } in &decision.assignments {
            let series = nodes[*node].series_of_mut(*attempt);
            series.funding = agents.funding(series, *agent);
            if let Executor::Pool { last, .. } = &mut series.executor {
                *last = Some(*agent);
            }
        }
        let unfinished = decision.actions.len() > MAX_ACTIONS;
        decision.actions.sort_by_key(rank);
        // Before slots are reserved: a start that is cut off here must not occupy one.
        decision.actions.truncate(MAX_ACTIONS);
        let decided = Decided {
            observed,
            loaded,
            valid,
            agents,
            nodes,
            budgets,
            reserved,
            decision,
            unfinished,
            start_secret: ctx.start_secret,
            attempts: HashMap::new(),
            taken: HashMap::new(),
            task_versions: TaskVersions::default(),
            slots,
        };
        let decided = decided.reserve_slots(ctx, free_slots);
        let shared = budgets.shared_reservations(&decided.nodes, decided.running_attempts());
        (decided, shared)
    })
}

/// Returns the position of an action: ends first, because they free slots and release dependents; then starts, then creations.
fn rank(action: &Action) -> u8 {
    match action {
        Action::End { .. } | Action::Judge { .. } | Action::Close { .. } | Action::Reopen(_) => 0,
        Action::Start { .. } => 1,
        Action::MarkRunning { .. } => 2,
        Action::Create(_) => 3,
    }
}

/// The slots of the tenant.
impl Decided<'_> {
    /// Reserves a slot for each attempt that starts, and returns the decision without the starts that get none: other plans of the tenant
    /// reserve slots at the same time. A plan that could start more attempts queues for a slot.
    fn reserve_slots(mut self, ctx: &Context, free_slots: u32) -> Self {
        let (observed, member) = (self.observed, &self.valid.member);
        let (mut refused, mut reserved) = (Vec::new(), Vec::new());
        let mut new = 0;
        for (node, attempt) in self.starts() {
            let pod = self.pod_name(node, attempt);
            // An attempt that is recorded already starts in any case: it was within the limit when it was recorded.
            let is_new = attempt > self.nodes[node].series_of(attempt).attempts;
            let agent = self
                .counted_agent(node, attempt)
                .map(|agent| AgentLimit { concurrency: agent.concurrency.filter(|_| is_new), ..agent });
            if !ctx.limiter.reserve(&member.tenant, member.parallelism, &observed.namespace, &pod, agent) {
                refused.push((node, attempt));
                continue;
            }
            reserved.push(pod);
            // A repeated start of an open attempt may have its slot already, so only new attempts use up the free slots.
            new += u32::from(is_new);
        }
        for pod in reserved {
            self.slots.add(&observed.namespace, pod);
        }
        let waiting = self.decision.waiting_for_slots > 0 && new >= free_slots;
        if waiting || !refused.is_empty() {
            ctx.limiter.wait(&member.tenant, observed.reference(), observed.plan.spec.execution.priority);
        }
        if self.decision.unassigned.is_some() {
            ctx.limiter.wait_for_agents(&member.tenant, observed.reference());
        }
        self.decision.actions.retain(
            |action| !matches!(action, Action::Start { node, attempt } if refused.contains(&(*node, *attempt))),
        );
        let refusals = u32::try_from(refused.len()).unwrap_or(u32::MAX);
        self.decision.waiting_for_slots = self.decision.waiting_for_slots.saturating_add(refusals);
        for (node, _) in refused {
            // The scheduler set it to Running. The status must not show an attempt that does not start.
            let is_contest = self.nodes[node].contest.is_some();
            if !is_contest || self.running_at(node) == 0 {
                self.decision.phases[node] = TaskPhase::Pending;
            }
        }
        self
    }

    /// Returns the attempts that start, also those whose start was recorded earlier and failed.
    pub fn starts(&self) -> impl Iterator<Item = (NodeId, u32)> {
        self.decision.actions.iter().filter_map(|action| match action {
            Action::Start { node, attempt } => Some((*node, *attempt)),
            _ => None,
        })
    }
}

/// The attempts that run.
impl Decided<'_> {
    /// Returns the new attempts that start.
    pub fn new_starts(&self) -> impl Iterator<Item = (NodeId, u32)> {
        self.starts().filter(|(node, attempt)| *attempt > self.nodes[*node].series_of(*attempt).attempts)
    }

    /// Returns whether this decision ends an attempt that failed.
    pub fn ends_with_failure(&self) -> bool {
        self.decision.actions.iter().any(|action| matches!(action, Action::End { failure: Some(_), .. }))
    }

    /// Returns whether the plan has, or had, attempts whose work is not a part of its result.
    pub fn has_discarded(&self) -> bool {
        let has_failed = |node: &Node| node.attempts > 1 || node.failed_attempts() > 0;
        let without_success = |phase: &TaskPhase| phase.is_finished() && *phase != TaskPhase::Succeeded;
        self.ends_with_failure()
            || self.nodes.tasks.iter().any(has_failed)
            || self.decision.phases.tasks.iter().any(without_success)
    }

    /// Returns the attempts that run after this decision.
    pub fn running_attempts(&self) -> impl Iterator<Item = (NodeId, u32)> {
        let ends: HashSet<(NodeId, u32)> = self.decision.actions.iter().filter_map(Action::ended).collect();
        let running = self.nodes.iter().flat_map(|(id, node)| {
            let running = node.series().filter(|series| !matches!(series.current, scheduler::CurrentAttempt::None));
            running.map(move |series| (id, series.attempts))
        });
        running.filter(move |attempt| !ends.contains(attempt)).chain(self.new_starts())
    }

    /// Returns the phase of a node with a contest while it is not decided, after this decision: it runs if an attempt runs, or if all have
    /// ended and the verdict follows.
    pub fn contest_phase(&self, node: NodeId) -> TaskPhase {
        let open = self.nodes[node].series().any(|series| {
            let ended = self.end_of(node, series.attempts);
            !ended.map_or(series.phase, NextStep::phase).is_finished()
        });
        if self.running_at(node) > 0 || !open { TaskPhase::Running } else { TaskPhase::Pending }
    }

    /// Returns the number of contestants whose attempts run after this decision, and of all.
    pub fn running_contestants(&self, node: NodeId) -> (usize, usize) {
        (self.running_at(node), self.nodes[node].series().count())
    }

    /// Returns the number of attempts at a node that run after this decision.
    fn running_at(&self, node: NodeId) -> usize {
        let continues = |series: &&Node| {
            !matches!(series.current, scheduler::CurrentAttempt::None) && self.end_of(node, series.attempts).is_none()
        };
        let new = self.new_starts().filter(|(start, _)| *start == node);
        self.nodes[node].series().filter(continues).count() + new.count()
    }

    /// Returns the step that follows the end of an attempt, if this decision ends it.
    fn end_of(&self, node: NodeId, attempt: u32) -> Option<NextStep> {
        self.decision.actions.iter().find_map(|action| match action {
            Action::End { node: n, attempt: a, next, .. } if (*n, *a) == (node, attempt) => Some(*next),
            _ => None,
        })
    }
}

/// The objects of a node.
impl Decided<'_> {
    /// Returns the id of a node for people.
    pub fn describe(&self, node: NodeId) -> String {
        match node {
            NodeId::Task(i) => format!("task {}", self.valid.content.compiled.tasks[i].id),
            NodeId::Integration => "the integration".into(),
        }
    }

    /// Returns the Task object of a node as it was last seen; none for the integration, and for a Task that does not exist.
    pub fn task_entry(&self, node: NodeId) -> Option<&TaskEntry> {
        let name = &self.valid.content.compiled.names[node.task()?];
        self.observed.children.tasks.get(name).map(AsRef::as_ref)
    }

    /// Returns the work that a task keeps, and the name of the plan that did it.
    pub fn kept(&self, node: NodeId) -> Option<(&Kept, &str)> {
        let compiled = &self.valid.content.compiled;
        let kept = compiled.kept.get(&compiled.tasks[node.task()?].id)?;
        Some((kept, self.observed.plan.spec.replaces.as_ref().map_or("", |replaced| replaced.name.as_str())))
    }

    /// Returns the object that the attempts of a node belong to: its Task, or the Plan for the integration. None if the Task does not
    /// exist.
    pub fn subject(&self, node: NodeId) -> Option<Subject> {
        let NodeId::Task(i) = node else { return Some(self.observed.subject()) };
        Some(Subject {
            kind: Kind::Task,
            namespace: self.observed.namespace.clone(),
            name: self.valid.content.compiled.names[i].clone(),
            uid: self.task_entry(node)?.uid.clone(),
        })
    }

    /// Returns the name of the agent of an attempt that runs, starts or ends by this decision.
    pub fn agent(&self, node: NodeId, attempt: u32) -> &str {
        let executor = &self.nodes[node].series_of(attempt).executor;
        executor.last().map_or(names::INTEGRATION, |agent| self.agents.name(agent))
    }

    /// Returns that name if it was selected from the pool of the plan.
    pub fn selected_agent(&self, node: NodeId, attempt: u32) -> Option<&str> {
        let executor = &self.nodes[node].series_of(attempt).executor;
        matches!(executor, Executor::Pool { .. }).then(|| self.agent(node, attempt))
    }

    /// Returns the agent of an attempt if its running attempts are counted: its pods then name it. Attempts of a named agent without a limit
    /// are not.
    pub fn counted_agent(&self, node: NodeId, attempt: u32) -> Option<AgentLimit<'_>> {
        let executor = &self.nodes[node].series_of(attempt).executor;
        let candidate = &self.agents.all.get(executor.last()?)?.candidate;
        let is_counted = candidate.concurrency.is_some() || matches!(executor, Executor::Pool { .. });
        is_counted.then_some(AgentLimit { name: &candidate.name, concurrency: candidate.concurrency })
    }

    /// Returns the agents that this decision selects from the pool, with the numbers of their attempts.
    pub fn selected_agents(&self) -> impl Iterator<Item = (SeriesId, (u32, String))> {
        self.starts().filter_map(move |(node, attempt)| {
            let agent = self.selected_agent(node, attempt)?.to_owned();
            Some((series_of(self.valid, node, attempt), (attempt, agent)))
        })
    }

    /// Returns the assignment of an agent to a new attempt.
    pub fn assignment(&self, node: NodeId, attempt: u32) -> Option<&Assignment> {
        self.decision.assignments.iter().find(|assignment| (assignment.node, assignment.attempt) == (node, attempt))
    }

    /// Returns the branch of a task's attempt.
    pub fn branch(&self, task: usize, attempt: u32) -> String {
        let name = &self.valid.content.compiled.names[task];
        names::task_branch(&self.observed.name(), &self.observed.uid, name, attempt)
    }

    /// Returns the name of the attempt's own pod.
    pub fn pod_name(&self, node: NodeId, attempt: u32) -> String {
        attempt_pods::own_name(self.observed, self.valid, node, attempt)
    }

    /// Returns the name of the pod that the record of a start names: one of a warm pool, or the attempt's own.
    pub fn started_pod(&self, node: NodeId, attempt: u32) -> String {
        self.taken.get(&(node, attempt)).map_or_else(|| self.pod_name(node, attempt), |taken| taken.name().to_owned())
    }

    /// Returns the key with which this process starts an attempt at `subject`. Nobody else can know it before the pod exists.
    pub fn start_key(&self, subject: &Subject, attempt: u32) -> Digest {
        Digest::of_bytes(format!("{:032x}/{}/{attempt}", self.start_secret, subject.uid).as_bytes())
    }

    /// Returns the pod of an attempt as it was last seen, with its name.
    pub fn pod(&self, node: NodeId, attempt: u32) -> Option<(&str, &PodEntry)> {
        let (pods, uid) = (&self.observed.children.pods, self.attempts.get(&(node, attempt))?.pod_uid.as_deref()?);
        let is_of = |pod: &PodEntry| pod.uid == uid;
        let own = pods.get_key_value(&self.pod_name(node, attempt)).filter(|(_, pod)| is_of(pod));
        // A pod of a warm pool has another name.
        let found = own.or_else(|| pods.iter().find(|(_, pod)| is_of(pod)));
        found.map(|(name, pod)| (name.as_str(), pod.as_ref()))
    }

    /// Returns when the pod of an attempt in progress was created.
    pub fn pod_created(&self, node: NodeId, attempt: u32) -> Option<Millis> {
        match self.nodes[node].series_of(attempt).current {
            scheduler::CurrentAttempt::Pod { created, .. } => Some(created),
            _ => None,
        }
    }

    /// Returns the attempt of a node without a contest that this decision ends, and its report. The caches do not show that end yet.
    pub fn ended(&self, node: NodeId) -> Option<(u32, &Report)> {
        if self.nodes[node].contest.is_some() {
            return None;
        }
        self.decision.actions.iter().find_map(|action| match action {
            Action::End { node: n, attempt, report, .. } if *n == node => Some((*attempt, report)),
            _ => None,
        })
    }

    /// Returns the verdict of this decision on the contest of a node.
    pub fn verdict(&self, node: NodeId) -> Option<&Verdict> {
        self.decision.actions.iter().find_map(|action| match action {
            Action::Judge { node: n, verdict } if *n == node => Some(verdict),
            _ => None,
        })
    }

    /// Returns the revision of the specification that a node is redone for.
    pub fn redone_for(&self, node: NodeId) -> Option<&str> {
        let staleness = self.valid.staleness.as_ref().filter(|_| self.nodes[node].request == Request::Redo)?;
        Some(&staleness.digest)
    }

    /// Returns whether a node still has to be reopened for a newer revision of the specification. A node of unknown phase is not: it waits
    /// for a person.
    pub fn has_open_redo(&self) -> bool {
        self.nodes.values().any(|n| n.request == Request::Redo && n.phase != TaskPhase::Unknown)
    }
}

/// The readiness of the plan.
impl Decided<'_> {
    /// Returns the counts of the tasks, without the integration.
    pub fn task_counts(&self) -> Counts {
        Counts::of(&self.decision.phases.tasks, self.decision.retries)
    }

    /// Returns the phase of the plan when all actions succeed.
    pub fn phase(&self) -> Phase {
        self.planned().phase
    }

    /// Returns the phase and the readiness of the plan after the actions, of which one may have failed.
    pub fn outcome(&self, failure: Option<&Error>) -> Outcome {
        let mut outcome = self.planned();
        if outcome.phase.is_finished() && (self.unfinished || failure.is_some()) {
            // A plan is finished only when every action that finishes it has succeeded.
            outcome =
                Outcome { phase: self.phase_so_far(), readiness: Readiness::reconciling("Running", self.progress()) };
        }
        let tasks = self.valid.content.compiled.tasks.len();
        let refused = failure.and_then(|failure| refusals::readiness(failure, &self.valid.member.tenant, tasks));
        if let Some(readiness) = refused {
            outcome.readiness = readiness;
        }
        outcome
    }

    fn planned(&self) -> Outcome {
        let waits = self.waits();
        let progress = self.progress_with(waits.as_ref());
        let so_far = self.phase_so_far();
        let integrates = self.decision.phases.tasks.iter().all(|p| *p == TaskPhase::Succeeded);
        let (phase, readiness) = match self.decision.state {
            PlanState::Succeeded => {
                let message = format!("all {} tasks are done", self.valid.graph.len());
                (Phase::Succeeded, Readiness::ready("Succeeded", message))
            }
            PlanState::Cancelled => {
                (Phase::Cancelled, Readiness::stalled("Cancelled", format!("cancelled: {progress}")))
            }
            PlanState::DeadlineExceeded => {
                let message = format!("the plan's time limit was reached: {progress}");
                (Phase::Failed, Readiness::stalled("DeadlineExceeded", message))
            }
            PlanState::Failed | PlanState::Unknown => (Phase::Failed, self.failure()),
            PlanState::Running | PlanState::Suspended if let Some(hold) = &self.valid.hold => {
                let message = format!("{}; running attempts continue: {progress}", hold.message);
                (so_far, Readiness { message, ..hold.clone() })
            }
            PlanState::Running if let Some(message) = self.open_choice() => {
                (so_far, self.stalled_if_idle("SpecificationChanged", format!("{message}; {progress}")))
            }
            PlanState::Running if let Some(paused) = self.paused_after() => {
                let name = if paused.phase.is_empty() { String::new() } else { format!(" ({})", paused.phase) };
                let message = format!(
                    "phase {}{name} is done: look at its work, then continue with `kubectl enact resume {}`; {progress}",
                    paused.number,
                    self.observed.name()
                );
                (so_far, Readiness::stalled("Paused", message))
            }
            PlanState::Suspended => {
                let name = self.observed.name();
                let message = format!("suspended: {progress}; resume with `kubectl enact resume {name}`");
                (so_far, Readiness::stalled("Suspended", message))
            }
            PlanState::Running if let Some(message) = self.shortage() => {
                (so_far, self.stalled_if_idle("BudgetExceeded", format!("{message}; {progress}")))
            }
            PlanState::Running if let Some(message) = self.lack_of_agents() => {
                (so_far, Readiness::reconciling("WaitingForAgent", format!("{message}; {progress}")))
            }
            PlanState::Running if let Some(waits) = waits.as_ref().filter(|waits| self.all_wait(waits)) => {
                let message = format!("{}; {progress}", waits.message());
                let phase = if integrates { Phase::Integrating } else { so_far };
                (phase, Readiness::reconciling(waits.first.reason.clone(), message))
            }
            PlanState::Running if integrates => {
                let message = "the work of the tasks is being merged, checked and published";
                (Phase::Integrating, Readiness::reconciling("Integrating", message))
            }
            PlanState::Running => {
                let slot = || self.waits_for_slot().map(|wait| wait.message);
                let message = match waits.as_ref().map(Waits::message).or_else(slot) {
                    Some(why) => format!("{progress}; {why}"),
                    None => progress,
                };
                (Phase::Running, Readiness::reconciling("Running", message))
            }
        };
        Outcome { phase, readiness }
    }

    /// Returns the phase after which the plan waits for a person.
    pub fn paused_after(&self) -> Option<PausedAfter> {
        let pauses = self.valid.pauses.as_ref()?;
        let (number, phase) = pauses.phases.paused_after(&self.decision.phases.tasks, pauses.resumed)?;
        Some(PausedAfter { number: u32::try_from(number).unwrap_or(u32::MAX), phase: phase.to_owned() })
    }

    /// Returns the readiness of a plan of which some tasks wait for a person. While others run, the plan makes progress, and may even need
    /// nothing more.
    fn stalled_if_idle(&self, reason: &'static str, message: String) -> Readiness {
        let idle = self.task_counts().running == 0 && self.decision.waiting_for_slots == 0;
        if idle { Readiness::stalled(reason, message) } else { Readiness::reconciling(reason, message) }
    }

    fn phase_so_far(&self) -> Phase {
        if self.observed.started().is_some() { Phase::Running } else { Phase::Pending }
    }

    /// Returns the message about the budget that tasks wait for.
    fn shortage(&self) -> Option<String> {
        let started = self.budgets.reserved_by(&self.nodes, self.new_starts());
        let mut reserved = self.reserved.clone();
        for (reserved, (scope, _)) in reserved.iter_mut().zip(&self.budgets.limits) {
            reserved.add(started.get(scope).unwrap_or(&Amount::default()));
        }
        let waiting = Waiting {
            observed: self.observed,
            tenant: &self.valid.member.tenant,
            budgets: self.budgets,
            nodes: &self.nodes,
            unfunded: &self.decision.unfunded,
            reserved,
        };
        waiting.message()
    }

    /// Returns the message about tasks that no agent can have now.
    fn lack_of_agents(&self) -> Option<String> {
        let unassigned = self.decision.unassigned.as_ref()?;
        let waiting = match unassigned.count {
            1 => "1 task waits for an agent".to_owned(),
            count => format!("{count} tasks wait for an agent"),
        };
        let mut why = unassigned.why.clone();
        truncate(&mut why, MAX_OBSTACLES_BYTES);
        Some(format!("{waiting}: {}: {why}", self.describe(unassigned.first)))
    }

    /// Returns the message about the choice that a person has to make before stale tasks start.
    fn open_choice(&self) -> Option<String> {
        let staleness = self.valid.staleness.as_ref().filter(|s| !s.tasks.is_empty())?;
        if self.valid.choice != Choice::None {
            return None;
        }
        let tasks = &self.valid.content.compiled.tasks;
        let some: Vec<&str> = staleness.tasks.iter().take(5).map(|i| tasks[*i].id.as_str()).collect();
        let more = if staleness.tasks.len() > some.len() { ", …" } else { "" };
        let name = self.observed.name();
        Some(format!(
            "a newer revision of the specification is approved and makes {} tasks stale ({}{more}); they wait for your choice: \
             `kubectl enact redo plan/{name}` repeats their finished work, `kubectl enact keep plan/{name}` keeps it",
            staleness.tasks.len(),
            some.join(", ")
        ))
    }

    /// Returns the readiness of a failed plan. The cause is the first failed node in the order of the graph.
    fn failure(&self) -> Readiness {
        let failed = |id: &NodeId| matches!(self.decision.phases[*id], TaskPhase::Failed | TaskPhase::Unknown);
        let Some(node) = self.valid.graph.nodes().find(failed) else {
            return Readiness::stalled("Failed", "a task failed");
        };
        // This decision ends the node's last attempt, or an earlier one did and the status has the reason.
        let ended = self.ended(node);
        let NodeId::Task(i) = node else {
            let status = self.observed.status().integration.unwrap_or_default();
            let (reason, message) = match ended {
                Some((_, report)) => (report.reason.as_str().to_owned(), report.message.clone()),
                None => (status.reason.unwrap_or_default(), status.message.unwrap_or_default()),
            };
            let name = self.observed.name();
            let message =
                format!("the integration failed: {message}; fix it, then run `kubectl enact retry plan/{name}`");
            return Readiness::stalled(reason, message);
        };
        let ended = ended.map(|(attempt, report)| {
            (report.reason.as_str().to_owned(), task_message(self.decision.phases[node], attempt, report))
        });
        let judged = self.verdict(node).map(|verdict| contest::conclusion(self.task_entry(node), verdict));
        let cause = ended.or(judged).or_else(|| self.task_entry(node)?.failure.clone());
        let cause = cause.map(|(reason, message)| format!(": {reason}: {message}")).unwrap_or_default();
        let id = &self.valid.content.compiled.tasks[i].id;
        // After `Stop`, the tasks that were stopped run again too. Work of unknown end is named, so that nothing else is repeated.
        let stopped = self.valid.policy.on_failure == OnFailure::Stop;
        let all = stopped && self.decision.phases[node] != TaskPhase::Unknown;
        let target = if all { String::new() } else { format!("/{id}") };
        let name = self.observed.name();
        let message = format!("task {id} failed{cause}; fix it, then run `kubectl enact retry {name}{target}`");
        Readiness::stalled("TaskFailed", message)
    }
}
