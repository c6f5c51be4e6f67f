//! The pods of warm pools that no attempt got yet. The Agent controller keeps them; plans take them for attempts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use enact_domain::attempt::{AttemptState, classify};
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::time::Millis;
use enact_domain::warm_pool::{self, PoolPod, Stage};
use futures::{Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::metadata_cache::{MetadataCache, ObjectKey, key};
use crate::pods::AttemptPod;

/// A pod of a warm pool, with the fields that the operator reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingPod {
    pub uid: String,
    /// Name of the Agent that controls it.
    pub agent: String,
    pub agent_uid: String,
    pub pod: PoolPod,
    /// Why it does not wait for an attempt, if something is wrong.
    pub problem: Option<String>,
}

impl WaitingPod {
    /// Returns the fields of a pod; none if it does not belong to a warm pool, or has an attempt.
    pub fn of(pod: &AttemptPod) -> Option<Self> {
        let label = |key: &str| pod.labels().get(key).map(String::as_str);
        if label(names::LABEL_ROLE) != Some(names::ROLE_WAITING) {
            return None;
        }
        let controller = |o: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
            o.controller == Some(true) && o.kind == "Agent"
        };
        let owner = pod.owner_references().iter().find(controller)?;
        let view = pod.view();
        let ended = view.container.terminated.as_ref().and_then(|terminated| terminated.finished);
        let stage = if view.deleting.is_some() {
            Stage::Deleting
        } else if pod.has_ended() {
            // An eviction leaves no time. The pod is then replaced at once.
            Stage::Ended(ended.unwrap_or(view.created))
        } else if pod.is_ready() {
            Stage::Ready
        } else {
            Stage::Starting
        };
        let problem = match classify(&view) {
            _ if stage == Stage::Deleting => None,
            AttemptState::Failed { report, .. } => Some(format!("{}: {}", report.reason.as_str(), report.message)),
            AttemptState::Stuck { message, .. } | AttemptState::Unscheduled { message } => Some(message),
            AttemptState::Succeeded(_) => Some("the runner ended without an attempt".to_owned()),
            AttemptState::Pending | AttemptState::Running => None,
        };
        Some(Self {
            uid: pod.uid()?,
            agent: owner.name.clone(),
            agent_uid: owner.uid.clone(),
            pod: PoolPod {
                template: pod.annotations().get(names::ANNOTATION_TEMPLATE).cloned().unwrap_or_default(),
                created: view.created,
                stage,
            },
            problem,
        })
    }
}

/// A waiting pod as it was last seen.
#[derive(Clone, Debug)]
pub struct KnownPod {
    pub name: String,
    /// `metadata.resourceVersion`.
    pub version: u64,
    pub waiting: WaitingPod,
}

/// The pods of all warm pools.
#[derive(Default)]
pub struct WarmPods {
    pods: MetadataCache<WaitingPod>,
    /// The Agent of each pod, by the pod's key.
    agents: Mutex<HashMap<ObjectKey, ObjectKey>>,
    /// UIDs of the pods that this process created, by the pod's key.
    created: Mutex<HashMap<ObjectKey, String>>,
    /// Pods that a plan is about to assign.
    taken: Mutex<HashSet<ObjectKey>>,
    /// Numbers of assigned pods that no status counts yet, by Agent.
    assigned: Mutex<HashMap<ObjectKey, u64>>,
}

/// A pod that no other attempt gets until this value is dropped.
pub struct Taken {
    pods: Arc<WarmPods>,
    key: ObjectKey,
    uid: String,
}

impl Taken {
    /// Returns the name of the pod.
    pub fn name(&self) -> &str {
        &self.key.1
    }

    /// Returns the UID of the pod.
    pub fn uid(&self) -> &str {
        &self.uid
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.pods.taken.lock().remove(&self.key);
    }
}

impl WarmPods {
    /// Returns a receiver that becomes true when the pods were listed once.
    pub fn listed(&self) -> watch::Receiver<bool> {
        self.pods.listed()
    }

    /// Keeps the pods current from a watch, and calls `on_change` with the Agent of each pod that changed.
    pub async fn follow(&self, events: impl Stream<Item = Event<AttemptPod>>, mut on_change: impl FnMut(&ObjectKey)) {
        // Before the cache changes: the pod that a deletion removes from it still has an Agent then.
        let events = events.inspect(|event| {
            if let Event::Apply(pod) | Event::InitApply(pod) = event {
                self.note_agent(pod);
            }
        });
        let changed = |pod: &ObjectKey| {
            let mut agents = self.agents.lock();
            if let Some(agent) = agents.get(pod) {
                on_change(agent);
            }
            if self.pods.get(&pod.0, &pod.1).is_none() {
                agents.remove(pod);
                self.created.lock().remove(pod);
            }
        };
        self.pods.follow(events, WaitingPod::of, changed).await;
    }

    fn note_agent(&self, pod: &AttemptPod) {
        if let Some(waiting) = WaitingPod::of(pod) {
            let (namespace, name) = key(pod);
            self.agents.lock().insert((namespace.clone(), name), (namespace, waiting.agent));
        }
    }

    /// Adds a pod that this process created, as the API server returned it.
    pub fn add(&self, pod: &AttemptPod) {
        if let Some(waiting) = WaitingPod::of(pod) {
            self.note_agent(pod);
            self.created.lock().insert(key(pod), waiting.uid.clone());
            self.pods.put(pod, waiting);
        }
    }

    /// Returns the pods of an Agent, in the order of their names.
    ///
    /// A pod that this process did not create has no template, so that no attempt gets it and the pool replaces it: whoever may create pods
    /// in the namespace can copy everything else of a waiting pod. After a restart of the operator, these are all pods.
    pub fn of(&self, namespace: &str, agent_uid: &str) -> Vec<KnownPod> {
        let own = self.pods.entries(|(place, _), pod| place == namespace && pod.agent_uid == agent_uid);
        let created = self.created.lock();
        let known = |(key, version, mut waiting): (ObjectKey, u64, WaitingPod)| {
            if created.get(&key) != Some(&waiting.uid) {
                waiting.pod.template = String::new();
            }
            KnownPod { name: key.1, version, waiting }
        };
        let mut own: Vec<KnownPod> = own.into_iter().map(known).collect();
        own.sort_by(|one, other| one.name.cmp(&other.name));
        own
    }

    /// Returns the number of pods that wait for an attempt.
    pub fn ready(&self) -> usize {
        self.pods.keys(|_, waiting| waiting.pod.stage == Stage::Ready).len()
    }

    /// Returns whether an Agent has a pod that waits and is not taken.
    pub fn has_free(&self, namespace: &str, agent_uid: &str) -> bool {
        let (taken, created) = (self.taken.lock(), self.created.lock());
        let is_free = |key: &ObjectKey, waiting: &WaitingPod| {
            key.0 == namespace
                && waiting.agent_uid == agent_uid
                && waiting.pod.stage == Stage::Ready
                && created.get(key) == Some(&waiting.uid)
                && !taken.contains(key)
        };
        !self.pods.keys(is_free).is_empty()
    }

    /// Takes a pod of an Agent for an attempt whose pod would have this template.
    pub fn take(self: &Arc<Self>, namespace: &str, agent_uid: &str, template: &Digest, now: Millis) -> Option<Taken> {
        let own = self.of(namespace, agent_uid);
        let key = |name: &str| (namespace.to_owned(), name.to_owned());
        // The lock covers the choice and the insertion: concurrent reconciles take different pods.
        let mut taken = self.taken.lock();
        let free = own.iter().filter(|known| !taken.contains(&key(&known.name)));
        let free = free.map(|known| (known.name.as_str(), &known.waiting.pod));
        let name = warm_pool::choose(free, template, now)?;
        let uid = own.iter().find(|known| known.name == name)?.waiting.uid.clone();
        let chosen = key(name);
        taken.insert(chosen.clone());
        Some(Taken { pods: self.clone(), key: chosen, uid })
    }

    /// Removes a pod that an attempt got. `pod` is the pod after the assignment. The watch may have removed it already.
    pub fn remove(&self, pod: &AttemptPod) {
        self.pods.remove(pod);
        self.agents.lock().remove(&key(pod));
        self.created.lock().remove(&key(pod));
    }

    /// Counts an assignment of a pod of an Agent.
    pub fn count(&self, agent: &ObjectKey) {
        *self.assigned.lock().entry(agent.clone()).or_default() += 1;
    }

    /// Returns the number of pods of an Agent that attempts got, and that no status counts.
    pub fn uncounted(&self, agent: &ObjectKey) -> u64 {
        self.assigned.lock().get(agent).copied().unwrap_or_default()
    }

    /// Subtracts what the status of an Agent counts now.
    pub fn counted(&self, agent: &ObjectKey, number: u64) {
        let mut assigned = self.assigned.lock();
        if let Some(left) = assigned.get_mut(agent) {
            *left = left.saturating_sub(number);
            if *left == 0 {
                assigned.remove(agent);
            }
        }
    }
}

#[cfg(test)]
mod tests;
