//! An index of Tasks and pods by the plan that owns them, filled by one watch each.
//!
//! It is not a generic cache for two reasons: a reconcile of a plan reads that plan's children only, and the index keeps only the few
//! hundred bytes of a child that the reconcile reads. Each change requeues the plan.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use enact_crds::common::Outputs;
use enact_crds::task::{ContestStatus, ContestantStatus, Phase};
use enact_crds::{Plan, Task, TaskStatus, convert};
use enact_domain::agents::message::{self, Message};
use enact_domain::assignment::VerifiedCommit;
use enact_domain::attempt::PodView;
use enact_domain::condition::READY;
use enact_domain::names;
use enact_domain::plan::ReportedState;
use enact_domain::time::Millis;
use enact_domain::usage::Limit;
use futures::channel::mpsc;
use futures::{Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::metadata_cache::version;
use crate::pods::AttemptPod;
use crate::task::status::reported_state;

/// The fields of a Task that a reconcile reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEntry {
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: u64,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    pub phase: Phase,
    /// Number of the last attempt that the status shows.
    pub attempts: u32,
    /// Name of the agent of that attempt, if it was selected from a pool.
    pub agent: Option<String>,
    /// Task failures.
    pub failures: u32,
    pub infrastructure_failures: u32,
    /// Earliest time of the next attempt.
    pub retry_at: Option<Millis>,
    /// What remained of the budgets when the last attempt ended because of one.
    pub parked: Option<Limit>,
    /// The branch and commit of a task that succeeded in a plan with a workspace.
    pub work: Option<VerifiedCommit>,
    /// State of the attempt in progress, as the status shows it.
    pub reported: ReportedState,
    /// What contradicts the result of an attempt, as the status shows it.
    pub contradiction: Option<String>,
    /// State of the competing attempts, if there are any.
    pub contest: Option<ContestStatus>,
    /// Values for the dependents of the task.
    pub outputs: Outputs,
    /// Reason and message of the last attempt, if it failed.
    pub failure: Option<(String, String)>,
    /// Value of the annotation that requests another attempt.
    pub rerun: Option<String>,
    /// The value of that annotation that was last served.
    pub observed_rerun: Option<String>,
    /// The revision of the specification that the task was last redone for.
    pub observed_redo: Option<String>,
    /// Messages of people to the agent.
    pub messages: Vec<Message>,
    /// Value of the annotation that says who requested another attempt.
    pub changes: Option<String>,
}

/// The fields of a pod that a reconcile reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEntry {
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: u64,
    /// Name of the Task, or [`names::INTEGRATION`].
    pub task: String,
    pub attempt: u32,
    /// UID of the object that controls it.
    pub owner: String,
    /// Name of the agent that the pod names.
    pub agent: Option<String>,
    /// The key with which an attempt was started in it.
    pub start_key: Option<String>,
    /// The tenant whose slot the pod occupies.
    pub tenant: String,
    /// Time at which the operator first saw its end, or read its final result.
    pub ended: Option<Instant>,
    pub view: PodView,
}

/// The children of one plan, by name.
#[derive(Clone, Debug, Default)]
pub struct Children {
    plan: Option<ObjectRef<Plan>>,
    pub tasks: HashMap<String, Arc<TaskEntry>>,
    pub pods: HashMap<String, Arc<PodEntry>>,
    /// The attempts about whose results the record has something new, with the time at which the server announced it. An attempt is named
    /// by the UID of its subject and its number.
    pub deliveries: HashMap<(String, u32), Instant>,
}

/// The occupancy of a slot of a tenant by a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupancy {
    pub tenant: String,
    pub namespace: String,
    pub pod: String,
    /// Whether it occupies a slot. A pod that has ended or vanished does not.
    pub occupied: bool,
    /// Time at which the slot becomes free although no event about the pod arrives.
    pub until: Option<Millis>,
    /// Name of the agent that the pod names.
    pub agent: Option<String>,
}

/// Tasks and pods by their namespace and the UID of their plan.
pub struct Index {
    known: Mutex<Known>,
    queue: mpsc::UnboundedSender<ObjectRef<Plan>>,
    /// Whether tasks, and pods, were listed once.
    listed: [watch::Sender<bool>; 2],
}

#[derive(Default)]
struct Known {
    /// By namespace and UID of the plan. A pod belongs to a plan in its own namespace only: whoever may create pods in another one can copy
    /// labels and name.
    plans: HashMap<String, HashMap<String, Children>>,
    /// UIDs of the tasks and pods that were put since the current list began. The list does not show objects that were created after it.
    fresh: [Option<HashSet<String>>; 2],
}

/// Longest annotation of a pod that is kept: more than the name of an Agent with its namespace, and than a digest.
const MAX_ANNOTATION_BYTES: usize = 512;
const TASKS: usize = 0;
const PODS: usize = 1;

impl Index {
    /// Creates an empty index, and the queue of plans whose children changed.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<ObjectRef<Plan>>) {
        let (queue, requeued) = mpsc::unbounded();
        let listed = [watch::Sender::new(false), watch::Sender::new(false)];
        (Arc::new(Self { known: Mutex::default(), queue, listed }), requeued)
    }

    /// Returns receivers that become true when the first list of tasks, and of pods, is complete.
    pub fn listed(&self) -> impl Iterator<Item = watch::Receiver<bool>> {
        self.listed.iter().map(watch::Sender::subscribe)
    }

    /// Returns the children of a plan as they were last seen. This is cheap, because the entries are shared.
    pub fn children(&self, namespace: &str, plan_uid: &str) -> Children {
        self.known.lock().find(namespace, plan_uid).cloned().unwrap_or_default()
    }

    pub fn requeue(&self, plan: ObjectRef<Plan>) {
        // The receiver is dropped only when the process ends.
        let _ = self.queue.unbounded_send(plan);
    }

    /// Puts a Task from the API server or from a watch. A version older than the known one is ignored.
    pub fn put_task(&self, task: &Task) {
        let (Some((uid, plan)), Some(namespace)) = (owner(task), task.metadata.namespace.as_deref()) else { return };
        let entry = TaskEntry::of(task);
        let mut known = self.known.lock();
        known.mark_fresh(TASKS, &entry.uid);
        let children = known.children(namespace, uid, plan);
        // A pod that anybody created may have been first, and name another plan.
        if children.plan.as_ref().is_none_or(|named| named.name != plan) {
            children.plan = Some(ObjectRef::new(plan).within(namespace));
        }
        // The operator's own writes are put before the watch delivers them: an older event must not undo them.
        if children.tasks.get(&task.name_any()).is_none_or(|old| old.version <= entry.version) {
            children.tasks.insert(task.name_any(), Arc::new(entry));
        }
    }

    /// Puts a pod from the API server or from a watch, and returns whether it changed. A version older than the known one is ignored.
    pub fn put_pod(&self, pod: &AttemptPod) -> bool {
        let Some((namespace, uid)) = plan_key(pod) else { return false };
        let entry = label(pod, names::LABEL_PLAN).zip(PodEntry::of(pod));
        let name = pod.name_any();
        let mut known = self.known.lock();
        known.mark_fresh(PODS, pod.metadata.uid.as_deref().unwrap_or_default());
        // Whoever may change pods in the namespace can change labels and owner. A pod is then no longer one of the plan that it was of.
        let former = known.find_pod(namespace, &name, uid).filter(|(plan, _)| entry.is_none() || *plan != uid);
        if let Some((former, newest)) = former.map(|(plan, pod)| (plan.to_owned(), pod.version)) {
            if newest > version(pod) {
                return false;
            }
            known.edit(namespace, &former, |children| {
                children.pods.remove(&name);
                if let Some(plan) = children.plan.clone() {
                    self.requeue(plan);
                }
            });
        }
        let Some((plan, mut entry)) = entry else { return false };
        let children = known.children(namespace, uid, plan);
        let old = children.pods.get(&name);
        if old.is_some_and(|old| old.version > entry.version) {
            return false;
        }
        let same = old.filter(|old| old.uid == entry.uid);
        // The end of the setup alone changes no decision: a plan that waits for it reads the Events of its pods from time to time.
        let changed = same.is_none_or(|old| old.view != PodView { set_up: old.view.set_up, ..entry.view.clone() });
        // The time of the first event that shows the end: later events of the same pod must not move it.
        entry.ended = same.and_then(|old| old.ended).or(entry.ended);
        children.pods.insert(name, Arc::new(entry));
        changed
    }

    /// Keeps the tasks up to date from a watch until the watch ends.
    pub async fn follow_tasks(&self, events: impl Stream<Item = Event<Task>>) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Event::Init => self.known.lock().fresh[TASKS] = Some(HashSet::new()),
                Event::Apply(task) | Event::InitApply(task) => {
                    self.put_task(&task);
                    // After the index has the change: the requeued reconcile must see it.
                    self.requeue_owner(&task);
                }
                Event::Delete(task) => {
                    if let (Some((uid, _)), Some(namespace)) = (owner(&task), task.metadata.namespace.as_deref()) {
                        // A Task of the same name may have been created meanwhile.
                        self.known.lock().edit(namespace, uid, |c| {
                            remove(&mut c.tasks, &task.name_any(), |t| t.version <= version(&task));
                        });
                    }
                    self.requeue_owner(&task);
                }
                Event::InitDone => {
                    let plans = self.known.lock().sweep(TASKS, |children, fresh| {
                        let before = children.tasks.len();
                        children.tasks.retain(|_, t| fresh.contains(&t.uid));
                        before > children.tasks.len()
                    });
                    for plan in plans {
                        self.requeue(plan);
                    }
                    self.listed[TASKS].send_replace(true);
                }
            }
        }
    }

    /// Keeps the pods up to date from a watch, and reports to `occupancy` whether each pod occupies a slot.
    pub async fn follow_pods(
        &self,
        events: impl Stream<Item = Event<AttemptPod>>,
        mut occupancy: impl FnMut(Occupancy),
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Event::Init => self.known.lock().fresh[PODS] = Some(HashSet::new()),
                Event::Apply(pod) | Event::InitApply(pod) => {
                    let changed = self.put_pod(&pod);
                    // For an unchanged pod too: after a restart, the first list fills the limiter before attempts start.
                    if let Some(occupied) = self.is_occupied_by(&pod) {
                        occupancy(Occupancy::of(&pod, occupied));
                    }
                    if changed {
                        self.requeue_label(&pod);
                    }
                }
                Event::Delete(pod) => {
                    // A pod of the same name may have been created meanwhile. It keeps its slot.
                    if self.remove_pod(&pod) {
                        occupancy(Occupancy::of(&pod, false));
                    }
                    self.requeue_label(&pod);
                }
                Event::InitDone => {
                    let mut gone = Vec::new();
                    let plans = self.known.lock().sweep(PODS, |children, fresh| {
                        let namespace = children.plan.as_ref().and_then(|p| p.namespace.clone()).unwrap_or_default();
                        let before = gone.len();
                        children.pods.retain(|name, pod| {
                            let stays = fresh.contains(&pod.uid);
                            if !stays {
                                gone.push(Occupancy {
                                    tenant: pod.tenant.clone(),
                                    namespace: namespace.clone(),
                                    pod: name.clone(),
                                    occupied: false,
                                    until: None,
                                    agent: pod.agent.clone(),
                                });
                            }
                            stays
                        });
                        gone.len() > before
                    });
                    // Without the lock of the index: the callback takes the lock of the limiter.
                    gone.into_iter().for_each(&mut occupancy);
                    for plan in plans {
                        self.requeue(plan);
                    }
                    // After the slots are counted: controllers start attempts from now on.
                    self.listed[PODS].send_replace(true);
                }
            }
        }
    }

    /// Notes that the record has something new about the result of an attempt of a plan with this UID, and requeues the plan.
    pub fn note_delivery(&self, plan_uid: &str, subject_uid: &str, attempt: u32) {
        let plan = {
            let mut known = self.known.lock();
            // Pods of another namespace can name the plan in their labels. Without tasks, the plan was deleted.
            let mut named = known.plans.values_mut().filter_map(|plans| plans.get_mut(plan_uid));
            let Some(children) = named.find(|children| !children.tasks.is_empty()) else { return };
            children.deliveries.insert((subject_uid.to_owned(), attempt), Instant::now());
            children.plan.clone()
        };
        if let Some(plan) = plan {
            self.requeue(plan);
        }
    }

    /// Removes notes that were read. What was noted since stays.
    pub fn forget_deliveries(&self, namespace: &str, plan_uid: &str, read: &HashMap<(String, u32), Instant>) {
        if let Some(children) = self.known.lock().find_mut(namespace, plan_uid) {
            children.deliveries.retain(|attempt, noted| read.get(attempt) != Some(&*noted));
        }
    }

    /// Marks a pod as one that does no more work, and returns whether this is new.
    pub fn end_pod(&self, namespace: &str, plan_uid: &str, name: &str, uid: &str) -> bool {
        let mut known = self.known.lock();
        let pod = known.find_mut(namespace, plan_uid).and_then(|children| children.pods.get_mut(name));
        let Some(pod) = pod.filter(|pod| pod.uid == uid && pod.ended.is_none()) else { return false };
        Arc::make_mut(pod).ended = Some(Instant::now());
        true
    }

    /// Returns whether a pod that a watch delivered occupies a slot; none if another pod has its name now. One that is not, or no longer, a
    /// pod of an attempt does not.
    fn is_occupied_by(&self, pod: &AttemptPod) -> Option<bool> {
        let (namespace, plan_uid) = plan_key(pod)?;
        let known = self.known.lock();
        let Some((_, entry)) = known.find_pod(namespace, pod.metadata.name.as_deref()?, plan_uid) else {
            return Some(false);
        };
        (Some(&entry.uid) == pod.metadata.uid.as_ref()).then(|| !pod.has_ended() && entry.ended.is_none())
    }

    /// Removes a deleted pod, and returns whether no other pod has its name.
    fn remove_pod(&self, pod: &AttemptPod) -> bool {
        let (Some((namespace, plan_uid)), Some(name)) = (plan_key(pod), pod.metadata.name.as_deref()) else {
            return false;
        };
        let mut known = self.known.lock();
        known.edit(namespace, plan_uid, |children| {
            let is_it = |entry: &PodEntry| Some(&entry.uid) == pod.metadata.uid.as_ref();
            remove(&mut children.pods, name, |entry| is_it(entry) && entry.version <= version(pod));
        });
        known.find_pod(namespace, name, plan_uid).is_none()
    }

    fn requeue_owner(&self, task: &Task) {
        if let (Some((_, plan)), Some(namespace)) = (owner(task), task.namespace()) {
            self.requeue(ObjectRef::new(plan).within(&namespace));
        }
    }

    fn requeue_label(&self, pod: &AttemptPod) {
        if let (Some(plan), Some(namespace)) = (label(pod, names::LABEL_PLAN), pod.namespace()) {
            self.requeue(ObjectRef::new(plan).within(&namespace));
        }
    }
}

impl Known {
    /// Marks an object as existing, although the current list may not show it.
    fn mark_fresh(&mut self, which: usize, uid: &str) {
        if let Some(fresh) = &mut self.fresh[which] {
            fresh.insert(uid.to_owned());
        }
    }

    fn find(&self, namespace: &str, plan_uid: &str) -> Option<&Children> {
        self.plans.get(namespace)?.get(plan_uid)
    }

    fn find_mut(&mut self, namespace: &str, plan_uid: &str) -> Option<&mut Children> {
        self.plans.get_mut(namespace)?.get_mut(plan_uid)
    }

    /// Returns the pod of this name, with the UID of the plan that it is one of: most likely `plan_uid`.
    fn find_pod(&self, namespace: &str, name: &str, plan_uid: &str) -> Option<(&str, &PodEntry)> {
        let plans = self.plans.get(namespace)?;
        // A pod is one of a single plan, so that most events need no search.
        let all = plans.get_key_value(plan_uid).into_iter().chain(plans);
        all.map(|(plan, children)| (plan.as_str(), children))
            .find_map(|(plan, children)| Some((plan, children.pods.get(name)?.as_ref())))
    }

    fn children(&mut self, namespace: &str, plan_uid: &str, plan: &str) -> &mut Children {
        let children = self.plans.entry(namespace.to_owned()).or_default().entry(plan_uid.to_owned()).or_default();
        children.plan.get_or_insert_with(|| ObjectRef::new(plan).within(namespace));
        children
    }

    fn edit(&mut self, namespace: &str, plan_uid: &str, f: impl FnOnce(&mut Children)) {
        let Some(plans) = self.plans.get_mut(namespace) else { return };
        let Some(children) = plans.get_mut(plan_uid) else { return };
        f(children);
        if children.is_empty() {
            plans.remove(plan_uid);
        }
        if plans.is_empty() {
            self.plans.remove(namespace);
        }
    }

    /// Removes objects that were deleted while the watch was down, at the end of a list. Returns the plans that lost a child.
    fn sweep(
        &mut self,
        which: usize,
        mut remove_stale: impl FnMut(&mut Children, &HashSet<String>) -> bool,
    ) -> Vec<ObjectRef<Plan>> {
        // A list that broke off leaves no `InitDone`; the next `Init` starts with an empty set.
        let Some(fresh) = self.fresh[which].take() else { return Vec::new() };
        let mut changed = Vec::new();
        self.plans.retain(|_, plans| {
            plans.retain(|_, children| {
                if remove_stale(children, &fresh) {
                    changed.extend(children.plan.clone());
                }
                !children.is_empty()
            });
            !plans.is_empty()
        });
        changed
    }
}

impl Children {
    fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.pods.is_empty()
    }
}

impl TaskEntry {
    pub fn of(task: &Task) -> Self {
        let status = task.status.as_ref();
        let ready = status.and_then(|s| s.conditions.iter().find(|c| c.type_ == READY));
        let failed = status.is_some_and(|s| match s.phase {
            Phase::Failed | Phase::Unknown => true,
            // Another attempt follows, which must know why the last one failed.
            Phase::Pending => s.attempts > 0,
            Phase::Running | Phase::Succeeded | Phase::Cancelled => false,
        });
        Self {
            uid: task.uid().unwrap_or_default(),
            version: version(task),
            generation: task.metadata.generation,
            phase: status.map(|s| s.phase).unwrap_or_default(),
            attempts: status.map_or(0, |s| s.attempts),
            agent: status.and_then(|s| s.agent.clone()),
            failures: status.map_or(0, |s| s.failures),
            infrastructure_failures: status.map_or(0, |s| s.infrastructure_failures),
            retry_at: status.and_then(|s| s.retry_at.as_ref()).map(convert::millis),
            parked: status.and_then(|s| s.remaining_budget.as_ref()).map(convert::remaining_limit),
            work: status.and_then(TaskStatus::work),
            reported: reported_state(ready.map(|c| c.reason.as_str())),
            contradiction: status.and_then(|s| s.contradiction.clone()),
            contest: status.and_then(|s| s.contest.clone()),
            outputs: status.map(|s| s.outputs.clone()).unwrap_or_default(),
            failure: ready.filter(|_| failed).map(|c| (c.reason.clone(), c.message.clone())),
            rerun: task.annotations().get(names::ANNOTATION_RERUN).cloned(),
            observed_rerun: status.and_then(|s| s.observed_rerun.clone()),
            observed_redo: status.and_then(|s| s.observed_redo.clone()),
            // The webhook refuses malformed ones.
            messages: messages_of(task),
            changes: task.annotations().get(names::ANNOTATION_CHANGES).cloned(),
        }
    }
}

impl TaskEntry {
    /// Returns the status of a contestant.
    pub fn contestant(&self, contestant: u32) -> Option<&ContestantStatus> {
        self.contest.as_ref()?.contestants.get(&contestant.to_string())
    }

    /// Returns the agent of the attempt with this number, if it is the last one of its series that the status shows.
    pub fn last_agent(&self, contestant: u32, attempt: u32, is_contest: bool) -> Option<&str> {
        let (shown, agent) = if is_contest {
            let contestant = self.contestant(contestant)?;
            (contestant.attempt, &contestant.agent)
        } else {
            (self.attempts, &self.agent)
        };
        agent.as_deref().filter(|_| shown == attempt)
    }
}

fn messages_of(task: &Task) -> Vec<Message> {
    let annotation = task.annotations().get(names::ANNOTATION_MESSAGES);
    annotation.and_then(|text| message::parse(text).ok()).unwrap_or_default()
}

impl PodEntry {
    fn of(pod: &AttemptPod) -> Option<Self> {
        let owner = pod.owner_references().iter().find(|o| o.controller == Some(true))?;
        Some(Self {
            uid: pod.uid()?,
            version: version(pod),
            task: label(pod, names::LABEL_TASK)?.to_owned(),
            attempt: label(pod, names::LABEL_ATTEMPT)?.parse().ok()?,
            owner: owner.uid.clone(),
            agent: agent(pod),
            start_key: annotation(pod, names::ANNOTATION_START_KEY),
            tenant: label(pod, names::LABEL_TENANT).unwrap_or_default().to_owned(),
            ended: pod.has_ended().then(Instant::now),
            view: pod.view(),
        })
    }
}

impl Occupancy {
    fn of(pod: &AttemptPod, occupied: bool) -> Self {
        Self {
            tenant: label(pod, names::LABEL_TENANT).unwrap_or_default().to_owned(),
            namespace: pod.namespace().unwrap_or_default(),
            pod: pod.name_any(),
            occupied,
            until: pod.lost_at(),
            agent: agent(pod),
        }
    }
}

fn remove<E>(map: &mut HashMap<String, Arc<E>>, name: &str, is: impl Fn(&E) -> bool) {
    if map.get(name).is_some_and(|entry| is(entry)) {
        map.remove(name);
    }
}

/// Returns the name of the agent that a pod names.
fn agent(pod: &AttemptPod) -> Option<String> {
    annotation(pod, names::ANNOTATION_AGENT)
}

/// Returns the value of an annotation; none if it is longer than any that the operator writes. The index keeps every pod, whoever created
/// it, and annotations can have 256 KiB.
fn annotation(pod: &AttemptPod, key: &str) -> Option<String> {
    pod.annotations().get(key).filter(|value| value.len() <= MAX_ANNOTATION_BYTES).cloned()
}

/// Returns the UID and name of the plan that controls a Task.
fn owner(task: &Task) -> Option<(&str, &str)> {
    let owner = task.owner_references().iter().find(|o| o.kind == "Plan" && o.controller == Some(true))?;
    Some((owner.uid.as_str(), owner.name.as_str()))
}

/// Returns the namespace of a pod, and the UID of the plan in its label.
fn plan_key(pod: &AttemptPod) -> Option<(&str, &str)> {
    Some((pod.metadata.namespace.as_deref()?, label(pod, names::LABEL_PLAN_UID)?))
}

fn label<'a>(pod: &'a AttemptPod, key: &str) -> Option<&'a str> {
    pod.labels().get(key).map(String::as_str)
}

#[cfg(test)]
mod tests;
