//! Document jobs: the pods that fetch or draft documents, their results, and how many of them a tenant may run.

use std::collections::HashMap;

use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::{AttemptState, PodView, classify};
use enact_domain::names;
use enact_domain::plan::{LOST_SECONDS, STUCK_SECONDS};
use enact_domain::time::Millis;
use enact_domain::waiting::{Facts, Waiting, waiting};
use futures::{Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::poll_state::PollState;
use super::sourced::Subject;
use crate::context::Membership;
use crate::metadata_cache::{MetadataCache, ObjectKey, key};
use crate::pods::AttemptPod;
use crate::references::References;

/// Seconds after which an unschedulable pod counts as failed.
const UNSCHEDULED_SECONDS: u32 = 600;
/// Highest number of concurrent jobs of a tenant. It is low, so that jobs do not delay tasks.
const MAX_FETCHES: usize = 4;
const MAX_DRAFTS: usize = 2;

/// The work of a document job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobRole {
    /// Fetches a document from a repository.
    Fetch,
    /// Has an agent draft a document.
    Draft,
}

impl JobRole {
    /// Returns the value of the pod's role label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => names::ROLE_FETCH,
            Self::Draft => names::ROLE_DRAFT,
        }
    }

    fn max_concurrent(self) -> usize {
        match self {
            Self::Fetch => MAX_FETCHES,
            Self::Draft => MAX_DRAFTS,
        }
    }
}

/// The fields of a job's pod that the operator reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPod {
    pub uid: String,
    pub role: JobRole,
    tenant: String,
    /// UID of the controlling object.
    pub owner: String,
    ended: bool,
    pub view: PodView,
}

/// The state of a document job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// The pod runs, or waits for this.
    Running(Option<Waiting>),
    /// The pod ended or timed out, with a report or a problem.
    Finished(Box<Result<Report, String>>),
}

/// The object that a pod belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    kind: String,
    name: String,
}

/// A pod that this process created.
struct Created {
    uid: String,
    /// Who had changed its Agent, and the ModelProviders of the Agent, last.
    authors: Vec<String>,
}

/// The pods of all document jobs, and the polls of all repositories.
#[derive(Default)]
pub struct DocumentJobs {
    pub pods: MetadataCache<JobPod>,
    owners: Mutex<HashMap<ObjectKey, Owner>>,
    /// The pods that this process created.
    created: Mutex<HashMap<ObjectKey, Created>>,
    /// Tenant and role of pods that are being created: the watch does not show them yet.
    starting: Mutex<HashMap<ObjectKey, (String, JobRole)>>,
    /// Polls by the UID of the object that the document belongs to.
    polls: Mutex<HashMap<String, PollState>>,
    /// Number of pushes to each object's repository, by UID, since a poll that saw them all.
    pushes: Mutex<HashMap<String, u64>>,
}

impl DocumentJobs {
    /// Returns a receiver that becomes true when the pods were listed once.
    pub fn listed(&self) -> watch::Receiver<bool> {
        self.pods.listed()
    }

    /// Keeps the pods current from a watch, and requeues the objects that they belong to.
    pub async fn follow(&self, events: impl Stream<Item = Event<AttemptPod>>, references: &References) {
        // Before the cache changes: `on_change` needs the owner to requeue it.
        let events = events.inspect(|event| {
            if let Event::Apply(pod) | Event::InitApply(pod) = event {
                self.put_owner(pod);
            }
        });
        let on_change = |key: &ObjectKey| {
            let mut owners = self.owners.lock();
            if let Some(owner) = owners.get(key) {
                references.requeue_document(&owner.kind, &(key.0.clone(), owner.name.clone()));
            }
            let mut created = self.created.lock();
            // The pod was deleted. Its owner was needed until here, to requeue it.
            if self.pods.get(&key.0, &key.1).is_none() {
                owners.remove(key);
                created.remove(key);
            }
        };
        self.pods.follow(events, JobPod::of, on_change).await;
    }

    /// Adds a pod that this process created, as the API server returned it. `authors` had changed its Agent, and the ModelProviders of the
    /// Agent, last.
    pub fn add(&self, pod: &AttemptPod, authors: &[String]) {
        if let Some(entry) = JobPod::of(pod) {
            self.put_owner(pod);
            // The lock covers both insertions: the watch may deliver the deletion of an earlier pod with this name in between.
            let mut created = self.created.lock();
            created.insert(key(pod), Created { uid: entry.uid.clone(), authors: authors.to_vec() });
            self.pods.put(pod, entry);
        }
    }

    /// Forgets which pods this process created, as a restart of the operator does.
    #[cfg(test)]
    pub fn restart(&self) {
        self.created.lock().clear();
    }

    fn put_owner(&self, pod: &AttemptPod) {
        if let Some(owner) = pod.owner_references().iter().find(|o| o.controller == Some(true)) {
            self.owners.lock().insert(key(pod), Owner { kind: owner.kind.clone(), name: owner.name.clone() });
        }
    }

    /// Returns the pod with this name, if it belongs to the subject, and this process created it or `recorded` is its UID.
    ///
    /// Nobody can choose a UID. Whoever may create pods in the namespace can copy everything else of a job's pod.
    pub fn get(&self, subject: &Subject, name: &str, recorded: Option<&str>) -> Option<JobPod> {
        let pod = self.pods.get(&subject.namespace, name).filter(|pod| pod.owner == subject.uid)?;
        let key = (subject.namespace.clone(), name.to_owned());
        let is_own = || self.created.lock().get(&key).is_some_and(|created| created.uid == pod.uid);
        let is_known = recorded == Some(pod.uid.as_str()) || is_own();
        is_known.then_some(pod)
    }

    /// Returns who had changed the Agent of a pod, and the ModelProviders of the Agent, last when this process created the pod.
    pub fn authors(&self, subject: &Subject, name: &str) -> Vec<String> {
        let key = (subject.namespace.clone(), name.to_owned());
        self.created.lock().get(&key).map(|created| created.authors.clone()).unwrap_or_default()
    }

    /// Returns whether a pod has the name of a subject's pod, and is not deleted, although [`Self::get`] does not return it.
    pub fn is_foreign(&self, subject: &Subject, name: &str) -> bool {
        let exists = self.pods.get(&subject.namespace, name).is_some_and(|pod| pod.view.deleting.is_none());
        exists && self.get(subject, name, None).is_none()
    }

    /// Reserves a slot for a pod among the jobs of its tenant, until the reservation is dropped: from then on the pod itself counts. Returns
    /// none when there is no free slot. Pods in namespaces for which `is_own` is false do not count: whoever may create pods there can write
    /// any tenant into their labels.
    pub fn reserve(
        &self,
        member: &Membership,
        role: JobRole,
        key: &ObjectKey,
        is_own: impl Fn(&str) -> bool,
    ) -> Option<Reservation<'_>> {
        // The lock covers the count and the insertion: concurrent reconciles cannot exceed the limit.
        let mut starting = self.starting.lock();
        let same = |tenant: &str, other: JobRole| tenant == member.tenant && other == role;
        // A pod that is being created can be in both maps for a moment, and is counted once.
        let runs = |key: &ObjectKey, pod: &JobPod| same(&pod.tenant, pod.role) && !pod.ended && is_own(&key.0);
        let running = self.pods.keys(|key, pod| runs(key, pod) && !starting.contains_key(key)).len();
        let started = starting.values().filter(|(tenant, other)| same(tenant, *other)).count();
        let max = role.max_concurrent().min(usize::try_from(member.parallelism).unwrap_or(usize::MAX));
        if running + started >= max {
            return None;
        }
        starting.insert(key.clone(), (member.tenant.clone(), role));
        Some(Reservation { jobs: self, key: key.clone() })
    }

    /// Counts a push to a subject's repository.
    pub fn push(&self, uid: &str) {
        *self.pushes.lock().entry(uid.to_owned()).or_default() += 1;
    }

    /// Returns the number of pushes to a subject's repository that no poll has seen.
    pub fn pushes(&self, uid: &str) -> u64 {
        self.pushes.lock().get(uid).copied().unwrap_or_default()
    }

    /// Resets the number of pushes after a poll that saw `seen` of them, unless there were more in between.
    pub fn saw_pushes(&self, uid: &str, seen: u64) {
        let mut pushes = self.pushes.lock();
        if pushes.get(uid) == Some(&seen) {
            pushes.remove(uid);
        }
    }

    /// Returns the state of the polls of a subject's repository.
    pub fn poll_state(&self, uid: &str) -> Option<PollState> {
        self.polls.lock().get(uid).cloned()
    }

    /// Replaces the state of the polls of a subject's repository. States of deleted objects are dropped after some time, because
    /// controllers get no event for a deletion.
    pub fn set_poll_state(&self, uid: &str, state: PollState, now: Millis) {
        let mut polls = self.polls.lock();
        polls.insert(uid.to_owned(), state);
        // Rarely, so that the cost per call is constant.
        if polls.len().is_power_of_two() {
            polls.retain(|_, state| !state.is_expired(now));
        }
    }
}

/// A slot for a pod that is being created. A reconcile that is stopped in between, for example by its time limit, drops it too.
pub struct Reservation<'a> {
    jobs: &'a DocumentJobs,
    key: ObjectKey,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.jobs.starting.lock().remove(&self.key);
    }
}

impl JobPod {
    fn of(pod: &AttemptPod) -> Option<Self> {
        let label = |key: &str| pod.labels().get(key).cloned();
        let role = match label(names::LABEL_ROLE)?.as_str() {
            names::ROLE_FETCH => JobRole::Fetch,
            names::ROLE_DRAFT => JobRole::Draft,
            _ => return None,
        };
        Some(Self {
            uid: pod.uid()?,
            role,
            tenant: label(names::LABEL_TENANT).unwrap_or_default(),
            owner: pod.owner_references().iter().find(|o| o.controller == Some(true))?.uid.clone(),
            ended: pod.has_ended(),
            view: pod.view(),
        })
    }

    /// Returns the state of the job at `now`.
    pub fn state(&self, now: Millis) -> JobState {
        let over = |why: String| JobState::Finished(Box::new(Err(why)));
        let failed = |report: &Report| over(format!("{}: {}", report.reason.as_str(), report.message));
        let since = |from: Millis, seconds: u32| now >= from.plus_seconds(seconds);
        if !self.ended && self.view.deleting.is_some_and(|at| since(at, LOST_SECONDS)) {
            return failed(&Report::new(Reason::Lost, "the pod was deleted and its node does not respond"));
        }
        match classify(&self.view) {
            AttemptState::Succeeded(report) => JobState::Finished(Box::new(Ok(report))),
            AttemptState::Failed { report, .. } => failed(&report),
            AttemptState::Stuck { reason, message, since: from } if since(from, STUCK_SECONDS) => {
                failed(&Report::new(reason, message))
            }
            AttemptState::Unscheduled { message } if since(self.view.created, UNSCHEDULED_SECONDS) => {
                over(format!("no node can run the pod: {message}"))
            }
            state @ (AttemptState::Unscheduled { .. }
            | AttemptState::Stuck { .. }
            | AttemptState::Pending
            | AttemptState::Running) => {
                let facts = Facts::Attempt { state: &state, created: self.view.created };
                JobState::Running(waiting(&facts, None))
            }
        }
    }

    /// Returns when the pod ended; `now` if its status does not say.
    pub fn ended_at(&self, now: Millis) -> Millis {
        self.view.container.terminated.as_ref().and_then(|t| t.finished).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use enact_crds::agent_images::AgentImages;
    use serde_json::json;

    use super::*;

    /// Reserves a slot for a draft in `ns`, of a tenant that has this namespace and one slot.
    fn reserve<'a>(jobs: &'a DocumentJobs, name: &str) -> Option<Reservation<'a>> {
        let member = Membership {
            tenant: "acme".into(),
            parallelism: 1,
            runtime_class: None,
            agent_images: AgentImages::default(),
        };
        jobs.reserve(&member, JobRole::Draft, &("ns".to_owned(), name.to_owned()), |namespace| namespace == "ns")
    }

    #[test]
    fn a_dropped_reservation_frees_its_slot() {
        let jobs = DocumentJobs::default();
        let first = reserve(&jobs, "one");
        assert!(first.is_some() && reserve(&jobs, "two").is_none());
        drop(first);
        assert!(reserve(&jobs, "two").is_some());
    }

    #[test]
    fn a_pod_in_a_namespace_of_somebody_else_takes_no_slot() {
        let jobs = DocumentJobs::default();
        for (namespace, is_free) in [("elsewhere", true), ("ns", false)] {
            let owner = json!({"apiVersion": "v1", "kind": "Any", "name": "any", "uid": "any", "controller": true});
            let pod = json!({"metadata": {"name": "one", "namespace": namespace, "uid": namespace,
                "labels": {"enact.dev/tenant": "acme", "enact.dev/role": "draft"}, "ownerReferences": [owner]}});
            jobs.add(&serde_json::from_value(pod).unwrap(), &[]);
            assert_eq!(reserve(&jobs, "two").is_some(), is_free, "{namespace}");
        }
    }
}
