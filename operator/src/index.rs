//! Tasks and pods by the plan that owns them, kept from one watch each.
//!
//! An index of our own, not a generic cache, for two reasons: a pass over a plan touches that plan's children only, and a child is kept
//! as the few hundred bytes that the passes read. Every change wakes the plan's reconcile.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use enact_crds::common::Outputs;
use enact_crds::task::Phase;
use enact_crds::{Plan, Task, convert};
use enact_domain::attempt::{PodPhase, PodView};
use enact_domain::names;
use enact_domain::time::Millis;
use futures::channel::mpsc;
use futures::{Stream, StreamExt as _};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};
use tokio::sync::watch;

use crate::pods::AttemptPod;

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
    /// Branch that holds its work.
    pub branch: Option<String>,
    /// Values for its dependents.
    pub outputs: Outputs,
    /// The annotation that asks for another attempt.
    pub rerun: Option<String>,
    /// Its value that was last acted upon.
    pub observed_rerun: Option<String>,
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
    /// What it shows.
    pub view: PodView,
}

/// The children of one plan, by name.
#[derive(Clone, Debug, Default)]
pub struct Children {
    /// Tasks.
    pub tasks: HashMap<String, Arc<TaskEntry>>,
    /// Pods.
    pub pods: HashMap<String, Arc<PodEntry>>,
}

/// A pod that needs no place any more: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freed {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
}

/// Children by the UID of their plan.
pub struct Index {
    plans: Mutex<HashMap<String, Children>>,
    wake: mpsc::UnboundedSender<ObjectRef<Plan>>,
    /// Whether tasks, and pods, were listed once.
    listed: [watch::Sender<bool>; 2],
}

impl Index {
    /// An empty index, and the stream of plans whose children changed.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<ObjectRef<Plan>>) {
        let (wake, woken) = mpsc::unbounded();
        (
            Arc::new(Self {
                plans: Mutex::default(),
                wake,
                listed: [watch::Sender::new(false), watch::Sender::new(false)],
            }),
            woken,
        )
    }

    /// Returns when tasks and pods were listed once: before that, a child that is missing here may well exist.
    pub async fn synced(&self) {
        for listed in &self.listed {
            // The sender lives as long as the index.
            let _ = listed.subscribe().wait_for(|done| *done).await;
        }
    }

    /// The children of a plan as they were last seen. Cheap: the entries are shared.
    pub fn children(&self, plan_uid: &str) -> Children {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(plan_uid).cloned().unwrap_or_default()
    }

    /// Has the plan looked at again.
    pub fn wake(&self, plan: ObjectRef<Plan>) {
        // The receiver is gone only when the process ends.
        let _ = self.wake.unbounded_send(plan);
    }

    /// Enters a Task as the API server returned it or a watch told it; an older version than the known one is ignored.
    pub fn put_task(&self, task: &Task) {
        let Some((uid, _)) = owner(task) else { return };
        let entry = TaskEntry::of(task);
        self.edit(&uid, |c| insert(&mut c.tasks, task.name_any(), entry, |e| e.version));
    }

    /// Enters a pod likewise; true when it has ended.
    pub fn put_pod(&self, pod: &AttemptPod) -> bool {
        let (Some(uid), Some(entry)) = (label(pod, names::LABEL_PLAN_UID), PodEntry::of(pod)) else { return false };
        let ended = matches!(entry.view.phase, PodPhase::Succeeded | PodPhase::Failed);
        self.edit(&uid, |c| insert(&mut c.pods, pod.name_any(), entry, |e| e.version));
        ended
    }

    /// Forgets a pod.
    pub fn drop_pod(&self, plan_uid: &str, pod: &str) {
        self.edit(plan_uid, |c| c.pods.remove(pod));
    }

    fn edit<T>(&self, plan_uid: &str, f: impl FnOnce(&mut Children) -> T) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let children = plans.entry(plan_uid.to_owned()).or_default();
        f(children);
        if children.tasks.is_empty() && children.pods.is_empty() {
            plans.remove(plan_uid);
        }
    }

    /// Keeps the tasks current from a watch; returns when the watch ends, which it does not by itself.
    pub async fn follow_tasks(&self, events: impl Stream<Item = Event<Task>>) {
        let mut seen: Option<HashSet<String>> = None;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Event::Init => seen = Some(HashSet::new()),
                Event::Apply(task) | Event::InitApply(task) => {
                    if let (Some(seen), Some(uid)) = (&mut seen, task.uid()) {
                        seen.insert(uid);
                    }
                    self.put_task(&task);
                    self.wake_owner(&task);
                }
                Event::Delete(task) => {
                    if let Some((uid, _)) = owner(&task) {
                        self.edit(&uid, |c| c.tasks.remove(&task.name_any()));
                    }
                    self.wake_owner(&task);
                }
                Event::InitDone => {
                    if let Some(seen) = seen.take() {
                        self.retain(|c| c.tasks.retain(|_, t| seen.contains(&t.uid)));
                    }
                    self.listed[0].send_replace(true);
                }
            }
        }
    }

    /// Keeps the pods current from a watch; tells `freed` of each pod that ended or vanished.
    pub async fn follow_pods(&self, events: impl Stream<Item = Event<AttemptPod>>, mut freed: impl FnMut(Freed)) {
        let mut seen: Option<HashSet<String>> = None;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Event::Init => seen = Some(HashSet::new()),
                Event::Apply(pod) | Event::InitApply(pod) => {
                    if let (Some(seen), Some(uid)) = (&mut seen, pod.uid()) {
                        seen.insert(uid);
                    }
                    if self.put_pod(&pod) {
                        freed(Freed::of(&pod));
                    }
                    self.wake_labelled(&pod);
                }
                Event::Delete(pod) => {
                    if let Some(uid) = label(&pod, names::LABEL_PLAN_UID) {
                        self.drop_pod(&uid, &pod.name_any());
                    }
                    freed(Freed::of(&pod));
                    self.wake_labelled(&pod);
                }
                Event::InitDone => {
                    if let Some(seen) = seen.take() {
                        self.retain(|c| c.pods.retain(|_, p| seen.contains(&p.uid)));
                    }
                    self.listed[1].send_replace(true);
                }
            }
        }
    }

    fn retain(&self, f: impl Fn(&mut Children)) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.retain(|_, children| {
            f(children);
            !(children.tasks.is_empty() && children.pods.is_empty())
        });
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

impl TaskEntry {
    fn of(task: &Task) -> Self {
        let status = task.status.as_ref();
        Self {
            uid: task.uid().unwrap_or_default(),
            version: version(task),
            phase: status.map(|s| s.phase).unwrap_or_default(),
            attempts: status.map_or(0, |s| s.attempts),
            failures: status.map_or(0, |s| s.failures),
            infrastructure_failures: status.map_or(0, |s| s.infrastructure_failures),
            retry_at: status.and_then(|s| s.retry_at.as_ref()).map(convert::millis),
            branch: status.and_then(|s| s.branch.clone()),
            outputs: status.map(|s| s.outputs.clone()).unwrap_or_default(),
            rerun: task.annotations().get(names::ANNOTATION_RERUN).cloned(),
            observed_rerun: status.and_then(|s| s.observed_rerun.clone()),
        }
    }
}

impl PodEntry {
    fn of(pod: &AttemptPod) -> Option<Self> {
        Some(Self {
            uid: pod.uid()?,
            version: version(pod),
            task: label(pod, names::LABEL_TASK)?,
            attempt: label(pod, names::LABEL_ATTEMPT)?.parse().ok()?,
            view: pod.view(),
        })
    }
}

impl Freed {
    fn of(pod: &AttemptPod) -> Self {
        Self { namespace: pod.namespace().unwrap_or_default(), pod: pod.name_any() }
    }
}

fn insert<E>(map: &mut HashMap<String, Arc<E>>, name: String, entry: E, version: impl Fn(&E) -> u64) {
    if map.get(&name).is_none_or(|known| version(known) <= version(&entry)) {
        map.insert(name, Arc::new(entry));
    }
}

/// UID and name of the plan that controls a Task.
fn owner(task: &Task) -> Option<(String, String)> {
    let owner = task.owner_references().iter().find(|o| o.kind == "Plan" && o.controller == Some(true))?;
    Some((owner.uid.clone(), owner.name.clone()))
}

fn label<K: Resource>(object: &K, key: &str) -> Option<String> {
    object.labels().get(key).cloned()
}

/// Resource versions are decimal numbers that grow, by the contract of Kubernetes 1.35 (KEP-5504).
fn version<K: Resource>(object: &K) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
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

    #[tokio::test]
    async fn older_news_are_ignored_and_a_new_list_forgets_what_is_gone() {
        let (index, mut woken) = Index::new();
        index.put_task(&task("a", "1", 7, "Succeeded"));
        let events = vec![
            Event::Apply(task("a", "1", 5, "Running")),
            Event::Apply(task("b", "2", 6, "Pending")),
            Event::Init,
            Event::InitApply(task("a", "1", 7, "Succeeded")),
            Event::InitDone,
        ];
        index.follow_tasks(stream::iter(events)).await;
        let children = index.children("plan");
        assert_eq!(children.tasks.len(), 1, "b was deleted while the watch was down");
        assert_eq!(children.tasks["a"].phase, Phase::Succeeded);
        assert_eq!(woken.try_recv().unwrap(), ObjectRef::new("p").within("ns"));
    }
}
