//! Tasks and pods by the plan that owns them, kept from one watch each.
//!
//! An index of our own, not a generic cache, for two reasons: a pass over a plan touches that plan's children only, and a child is kept
//! as the few hundred bytes that the passes read. Every change wakes the plan's reconcile.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use enact_crds::common::Outputs;
use enact_crds::task::Phase;
use enact_crds::{Plan, Task, convert};
use enact_domain::assignment::Verified;
use enact_domain::attempt::PodView;
use enact_domain::condition::READY;
use enact_domain::names;
use enact_domain::plan::Shown;
use enact_domain::time::Millis;
use futures::channel::mpsc;
use futures::{Stream, StreamExt as _};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};
use tokio::sync::watch;

use crate::metadata_cache::version;
use crate::pods::AttemptPod;

/// Reason of a task whose attempt waits for a node.
pub const UNSCHEDULABLE: &str = "Unschedulable";

/// A Task as the passes need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEntry {
    /// UID of the Task.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Attempts that were started.
    pub attempts: u32,
    /// Attempts that failed by the work's fault.
    pub failures: u32,
    /// Attempts that failed by other faults.
    pub infrastructure_failures: u32,
    /// Not to be tried again before.
    pub retry_at: Option<Millis>,
    /// Its work, when it has succeeded with a repository.
    pub work: Option<Verified>,
    /// What its status says of an attempt that is under way.
    pub shown: Shown,
    /// Values for its dependents.
    pub outputs: Outputs,
    /// Reason and message, for a person, of a task that was given up.
    pub failure: Option<(String, String)>,
    /// The annotation that asks for another attempt.
    pub rerun: Option<String>,
    /// Its value that was last acted upon.
    pub observed_rerun: Option<String>,
    /// The revision of the specification that it was last redone for.
    pub observed_redo: Option<String>,
}

/// A pod as the passes need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEntry {
    /// UID of the pod.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: u64,
    /// Name of the Task, or [`names::INTEGRATION`].
    pub task: String,
    /// Number of the attempt.
    pub attempt: u32,
    /// UID of the object that controls it.
    pub owner: String,
    /// The tenant that its place is counted for.
    pub tenant: String,
    /// When it was first seen to have ended.
    pub ended: Option<Instant>,
    /// What it shows.
    pub view: PodView,
}

/// The children of one plan, by name.
#[derive(Clone, Debug, Default)]
pub struct Children {
    /// The plan.
    plan: Option<ObjectRef<Plan>>,
    /// Tasks.
    pub tasks: HashMap<String, Arc<TaskEntry>>,
    /// Pods.
    pub pods: HashMap<String, Arc<PodEntry>>,
}

/// What became known of a pod's place among its tenant's attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// The tenant.
    pub tenant: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// Whether it needs a place; otherwise it has ended, or vanished.
    pub taken: bool,
    /// When it needs none any more although nothing is heard of it.
    pub until: Option<Millis>,
}

/// Children by the UID of their plan.
pub struct Index {
    known: Mutex<Known>,
    wake: mpsc::UnboundedSender<ObjectRef<Plan>>,
    /// Whether tasks, and pods, were listed once.
    listed: [watch::Sender<bool>; 2],
}

#[derive(Default)]
struct Known {
    plans: HashMap<String, Children>,
    /// UIDs of the tasks, and of the pods, that were entered since the present list began: a list does not show what was made after it.
    fresh: [Option<HashSet<String>>; 2],
}

const TASKS: usize = 0;
const PODS: usize = 1;

impl Index {
    /// An empty index, and the stream of plans whose children changed.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<ObjectRef<Plan>>) {
        let (wake, woken) = mpsc::unbounded();
        let listed = [watch::Sender::new(false), watch::Sender::new(false)];
        (Arc::new(Self { known: Mutex::default(), wake, listed }), woken)
    }

    /// Returns receivers that become true when tasks, and pods, were listed once.
    pub fn listed(&self) -> impl Iterator<Item = watch::Receiver<bool>> {
        self.listed.iter().map(watch::Sender::subscribe)
    }

    /// The children of a plan as they were last seen. Cheap: the entries are shared.
    pub fn children(&self, plan_uid: &str) -> Children {
        self.lock().plans.get(plan_uid).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the plan looked at again.
    pub fn wake(&self, plan: ObjectRef<Plan>) {
        // The receiver is gone only when the process ends.
        let _ = self.wake.unbounded_send(plan);
    }

    /// Enters a Task as the API server returned it or a watch told it; an older version than the known one is ignored.
    pub fn put_task(&self, task: &Task) {
        let Some((uid, plan)) = owner(task) else { return };
        let entry = TaskEntry::of(task);
        let mut known = self.lock();
        known.note(TASKS, &entry.uid);
        let children = known.children(&uid, task, &plan);
        if children.tasks.get(&task.name_any()).is_none_or(|old| old.version <= entry.version) {
            children.tasks.insert(task.name_any(), Arc::new(entry));
        }
    }

    /// Enters a pod likewise; whether it now shows something else.
    pub fn put_pod(&self, pod: &AttemptPod) -> bool {
        let (Some(uid), Some(plan)) = (label(pod, names::LABEL_PLAN_UID), label(pod, names::LABEL_PLAN)) else {
            return false;
        };
        let Some(mut entry) = PodEntry::of(pod) else { return false };
        let mut known = self.lock();
        known.note(PODS, &entry.uid);
        let children = known.children(&uid, pod, &plan);
        let old = children.pods.get(&pod.name_any());
        if old.is_some_and(|old| old.version > entry.version) {
            return false;
        }
        let same = old.filter(|old| old.uid == entry.uid);
        let news = same.is_none_or(|old| old.view != entry.view);
        entry.ended = same.and_then(|old| old.ended).or(entry.ended);
        children.pods.insert(pod.name_any(), Arc::new(entry));
        news
    }

    /// Keeps the tasks current from a watch; returns when the watch ends, which it does not by itself.
    pub async fn follow_tasks(&self, events: impl Stream<Item = Event<Task>>) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Event::Init => self.lock().fresh[TASKS] = Some(HashSet::new()),
                Event::Apply(task) | Event::InitApply(task) => {
                    self.put_task(&task);
                    self.wake_owner(&task);
                }
                Event::Delete(task) => {
                    if let Some((uid, _)) = owner(&task) {
                        // A namesake may have been created meanwhile.
                        self.lock()
                            .edit(&uid, |c| remove(&mut c.tasks, &task.name_any(), |t| t.version <= version(&task)));
                    }
                    self.wake_owner(&task);
                }
                Event::InitDone => {
                    let bereft = self.lock().sweep(TASKS, |children, fresh| {
                        let before = children.tasks.len();
                        children.tasks.retain(|_, t| fresh.contains(&t.uid));
                        before > children.tasks.len()
                    });
                    for plan in bereft {
                        self.wake(plan);
                    }
                    self.listed[TASKS].send_replace(true);
                }
            }
        }
    }

    /// Keeps the pods current from a watch; tells `told` of each pod whether it needs a place.
    pub async fn follow_pods(&self, events: impl Stream<Item = Event<AttemptPod>>, mut told: impl FnMut(Occupancy)) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Event::Init => self.lock().fresh[PODS] = Some(HashSet::new()),
                Event::Apply(pod) | Event::InitApply(pod) => {
                    let news = self.put_pod(&pod);
                    told(Occupancy::of(&pod, !pod.has_ended()));
                    if news {
                        self.wake_labelled(&pod);
                    }
                }
                Event::Delete(pod) => {
                    if let Some(uid) = label(&pod, names::LABEL_PLAN_UID) {
                        self.lock()
                            .edit(&uid, |c| remove(&mut c.pods, &pod.name_any(), |p| p.version <= version(&pod)));
                    }
                    told(Occupancy::of(&pod, false));
                    self.wake_labelled(&pod);
                }
                Event::InitDone => {
                    let mut gone = Vec::new();
                    let bereft = self.lock().sweep(PODS, |children, fresh| {
                        let namespace = children.plan.as_ref().and_then(|p| p.namespace.clone()).unwrap_or_default();
                        let before = gone.len();
                        children.pods.retain(|name, pod| {
                            let stays = fresh.contains(&pod.uid);
                            if !stays {
                                let (tenant, namespace) = (pod.tenant.clone(), namespace.clone());
                                gone.push(Occupancy {
                                    tenant,
                                    namespace,
                                    pod: name.clone(),
                                    taken: false,
                                    until: None,
                                });
                            }
                            stays
                        });
                        gone.len() > before
                    });
                    gone.into_iter().for_each(&mut told);
                    for plan in bereft {
                        self.wake(plan);
                    }
                    self.listed[PODS].send_replace(true);
                }
            }
        }
    }

    fn wake_owner(&self, task: &Task) {
        if let (Some((_, plan)), Some(namespace)) = (owner(task), task.namespace()) {
            self.wake(ObjectRef::new(&plan).within(&namespace));
        }
    }

    fn wake_labelled(&self, pod: &AttemptPod) {
        if let (Some(plan), Some(namespace)) = (label(pod, names::LABEL_PLAN), pod.namespace()) {
            self.wake(ObjectRef::new(&plan).within(&namespace));
        }
    }
}

impl Known {
    /// Notes that an object is there, whatever the list that is being read says.
    fn note(&mut self, which: usize, uid: &str) {
        if let Some(fresh) = &mut self.fresh[which] {
            fresh.insert(uid.to_owned());
        }
    }

    fn children<K: Resource>(&mut self, plan_uid: &str, child: &K, plan: &str) -> &mut Children {
        let children = self.plans.entry(plan_uid.to_owned()).or_default();
        children.plan.get_or_insert_with(|| ObjectRef::new(plan).within(&child.namespace().unwrap_or_default()));
        children
    }

    fn edit(&mut self, plan_uid: &str, f: impl FnOnce(&mut Children)) {
        let Some(children) = self.plans.get_mut(plan_uid) else { return };
        f(children);
        if children.tasks.is_empty() && children.pods.is_empty() {
            self.plans.remove(plan_uid);
        }
    }

    /// At the end of a list: forgets what was deleted while nothing watched; the plans that lost something.
    fn sweep(
        &mut self,
        which: usize,
        mut lose: impl FnMut(&mut Children, &HashSet<String>) -> bool,
    ) -> Vec<ObjectRef<Plan>> {
        let Some(fresh) = self.fresh[which].take() else { return Vec::new() };
        let mut bereft = Vec::new();
        self.plans.retain(|_, children| {
            if lose(children, &fresh) {
                bereft.extend(children.plan.clone());
            }
            !(children.tasks.is_empty() && children.pods.is_empty())
        });
        bereft
    }
}

impl TaskEntry {
    /// What counts of a Task.
    pub fn of(task: &Task) -> Self {
        let status = task.status.as_ref();
        let ready = status.and_then(|s| s.conditions.iter().find(|c| c.type_ == READY));
        let given_up = status.is_some_and(|s| matches!(s.phase, Phase::Failed | Phase::Unknown));
        Self {
            uid: task.uid().unwrap_or_default(),
            version: version(task),
            phase: status.map(|s| s.phase).unwrap_or_default(),
            attempts: status.map_or(0, |s| s.attempts),
            failures: status.map_or(0, |s| s.failures),
            infrastructure_failures: status.map_or(0, |s| s.infrastructure_failures),
            retry_at: status.and_then(|s| s.retry_at.as_ref()).map(convert::millis),
            work: status.and_then(|s| Some(Verified { branch: s.branch.clone()?, commit: s.commit.clone()? })),
            shown: shown(ready.map(|c| c.reason.as_str())),
            outputs: status.map(|s| s.outputs.clone()).unwrap_or_default(),
            failure: ready.filter(|_| given_up).map(|c| (c.reason.clone(), c.message.clone())),
            rerun: task.annotations().get(names::ANNOTATION_RERUN).cloned(),
            observed_rerun: status.and_then(|s| s.observed_rerun.clone()),
            observed_redo: status.and_then(|s| s.observed_redo.clone()),
        }
    }
}

impl PodEntry {
    fn of(pod: &AttemptPod) -> Option<Self> {
        let owner = pod.owner_references().iter().find(|o| o.controller == Some(true))?;
        Some(Self {
            uid: pod.uid()?,
            version: version(pod),
            task: label(pod, names::LABEL_TASK)?,
            attempt: label(pod, names::LABEL_ATTEMPT)?.parse().ok()?,
            owner: owner.uid.clone(),
            tenant: label(pod, names::LABEL_TENANT).unwrap_or_default(),
            ended: pod.has_ended().then(Instant::now),
            view: pod.view(),
        })
    }
}

impl Occupancy {
    fn of(pod: &AttemptPod, taken: bool) -> Self {
        Self {
            tenant: label(pod, names::LABEL_TENANT).unwrap_or_default(),
            namespace: pod.namespace().unwrap_or_default(),
            pod: pod.name_any(),
            taken,
            until: pod.lost_at(),
        }
    }
}

fn remove<E>(map: &mut HashMap<String, Arc<E>>, name: &str, is: impl Fn(&E) -> bool) {
    if map.get(name).is_some_and(|entry| is(entry)) {
        map.remove(name);
    }
}

/// What a status with this reason says of an attempt that is under way.
pub fn shown(reason: Option<&str>) -> Shown {
    if reason == Some(UNSCHEDULABLE) { Shown::Unscheduled } else { Shown::UnderWay }
}

/// UID and name of the plan that controls a Task.
fn owner(task: &Task) -> Option<(String, String)> {
    let owner = task.owner_references().iter().find(|o| o.kind == "Plan" && o.controller == Some(true))?;
    Some((owner.uid.clone(), owner.name.clone()))
}

fn label<K: Resource>(object: &K, key: &str) -> Option<String> {
    object.labels().get(key).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    fn task(name: &str, uid: &str, version: u32, phase: &str) -> Task {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Task",
            "metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": version.to_string(),
                "ownerReferences": [{"apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "name": "p", "uid": "plan", "controller": true}]},
            "spec": {"planRef": {"name": "p"}, "id": "T001", "title": "t"},
            "status": {"phase": phase, "attempts": 1}
        }))
        .unwrap()
    }

    fn pod(name: &str, uid: &str, version: u32, phase: &str) -> AttemptPod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": version.to_string(),
                "labels": {"enact.dev/tenant": "t", "enact.dev/plan": "p", "enact.dev/plan-uid": "plan",
                    "enact.dev/task": "a", "enact.dev/attempt": "1"},
                "ownerReferences": [{"apiVersion": "enact.dev/v1alpha1", "kind": "Task", "name": "a", "uid": "1", "controller": true}]},
            "status": {"phase": phase}
        }))
        .unwrap()
    }

    /// Names of the pods that need a place, and those that need none, in the order of the news.
    async fn follow(index: &Index, events: Vec<Event<AttemptPod>>) -> Vec<(String, bool)> {
        let mut news = Vec::new();
        index.follow_pods(stream::iter(events), |o| news.push((o.pod, o.taken))).await;
        news
    }

    #[tokio::test]
    async fn older_news_are_ignored_and_a_new_list_forgets_what_is_gone() {
        let (index, mut woken) = Index::new();
        index.put_task(&task("a", "1", 7, "Succeeded"));
        let events = vec![Event::Apply(task("a", "1", 5, "Running")), Event::Apply(task("b", "2", 6, "Pending"))];
        index.follow_tasks(stream::iter(events)).await;
        while woken.try_recv().is_ok() {}
        let list = vec![Event::Init, Event::InitDone];
        index.follow_tasks(stream::iter(list)).await;
        assert!(index.children("plan").tasks.is_empty(), "they were deleted while the watch was down");
        assert_eq!(woken.try_recv().unwrap(), ObjectRef::new("p").within("ns"), "their plan is told");
        index.put_task(&task("a", "1", 7, "Succeeded"));
        let list = vec![Event::Init, Event::InitApply(task("a", "1", 5, "Running")), Event::InitDone];
        index.follow_tasks(stream::iter(list)).await;
        assert_eq!(index.children("plan").tasks["a"].phase, Phase::Succeeded);
    }

    #[tokio::test]
    async fn a_pod_keeps_its_place_from_the_first_list_to_its_end() {
        let (index, _woken) = Index::new();
        let list = vec![Event::Init, Event::InitApply(pod("a-1", "x", 3, "Running")), Event::InitDone];
        assert_eq!(follow(&index, list).await, [("a-1".into(), true)], "what runs after a restart is counted");
        let gone = vec![Event::Init, Event::InitDone];
        assert_eq!(follow(&index, gone).await, [("a-1".into(), false)], "and freed when it vanished unseen");
        assert_eq!(follow(&index, vec![Event::Apply(pod("b-1", "y", 4, "Failed"))]).await, [("b-1".into(), false)]);
    }

    #[tokio::test]
    async fn a_pod_that_was_made_meanwhile_is_not_lost() {
        let (index, _woken) = Index::new();
        follow(&index, vec![Event::Init]).await;
        index.put_pod(&pod("a-1", "new", 9, "Pending"));
        assert_eq!(follow(&index, vec![Event::InitDone]).await, [], "a list does not show what was made after it");
        assert_eq!(follow(&index, vec![Event::Delete(pod("a-1", "old", 5, "Failed"))]).await, [("a-1".into(), false)]);
        assert_eq!(index.children("plan").pods["a-1"].uid, "new", "the end of a namesake says nothing of it");
    }

    #[tokio::test]
    async fn news_that_change_nothing_wake_nobody() {
        let (index, mut woken) = Index::new();
        follow(&index, vec![Event::Apply(pod("a-1", "x", 3, "Running"))]).await;
        assert!(woken.try_recv().is_ok());
        follow(&index, vec![Event::Apply(pod("a-1", "x", 4, "Running"))]).await;
        assert!(woken.try_recv().is_err(), "an annotation, say");
    }
}
