//! The state that the operator keeps of a plan between reconciles. It can restore all of it from Kubernetes and the record.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use enact_crds::Plan;
use enact_crds::plan::PlanStatus;
use enact_domain::assignment::Report;
use enact_domain::digest::Digest;
use enact_domain::graph::NodeId;
use enact_domain::record::Subject;
use enact_domain::time::Millis;
use kube::ResourceExt as _;
use kube::runtime::reflector::Store;
use parking_lot::Mutex;

use super::known_budgets::KnownBudgets;
use super::validate::Cache;
use crate::metadata_cache::version;

/// Number of runtimes at which those of deleted plans are removed for the first time.
const FIRST_SWEEP: usize = 64;

/// The state of one plan between reconciles. Only the top level of a reconcile writes it, from the outputs of the steps.
#[derive(Debug, Default)]
pub struct Runtime {
    pub cache: Cache,
    pub attempts: OpenAttempts,
    pub budgets: KnownBudgets,
    pub messages: PassedMessages,
    pub last_write: LastWrite,
}

/// The attempts that are recorded as started and whose end no status shows yet.
#[derive(Clone, Debug, Default)]
pub struct OpenAttempts {
    /// Each reconcile copies the map, so that the attempts are shared.
    pub by_series: HashMap<SeriesId, Arc<OpenAttempt>>,
    /// The agents that were selected from the pool for the newest attempts, with the number of the attempt.
    pub agents: HashMap<SeriesId, (u32, String)>,
    /// The attempts that ended with a delivered result and whose pods have not been seen to end, by the UIDs of these pods.
    pub delivered: HashMap<String, Arc<DeliveredEnd>>,
    /// Whether the attempts of earlier processes were read from the record.
    pub loaded: bool,
}

/// A series of attempts: a node and the number of its contestant, from 1. A node without a contest has one series.
pub type SeriesId = (NodeId, u32);

/// An attempt that is recorded as started.
#[derive(Clone, Debug, Default)]
pub struct OpenAttempt {
    /// UID of the object that it belongs to: a Task, or the Plan for the integration.
    pub subject_uid: String,
    pub number: u32,
    /// UID of its pod, which the API server returned. No other pod counts.
    pub pod_uid: Option<String>,
    /// The recorded key by which its pod is recognised if its UID is not recorded.
    pub start_key: Option<Digest>,
    /// Whether this process saw its pod, or the record has its end: the pod is then never created again.
    pub seen: bool,
    /// Report of its end: from the record, from its pod, or made by the apply step when the API server refused the pod.
    pub result: Option<Report>,
    /// Whether this is the verified report that its pod delivered.
    pub delivered: bool,
    /// Whether this process could not create its pod: its work has not begun, also if that has an external effect.
    pub lacks_pod: bool,
}

/// An attempt that ended with a delivered result before its pod did.
#[derive(Clone, Debug)]
pub struct DeliveredEnd {
    pub subject: Subject,
    /// Number of the attempt.
    pub number: u32,
    /// The report with which it ended.
    pub report: Report,
}

/// What the record and the ends of pods say about attempts since the last reconcile.
#[derive(Debug, Default)]
pub struct FollowUp {
    /// The verified results, with the numbers of their attempts, by the UIDs of their subjects.
    pub results: HashMap<String, Vec<(u32, Report)>>,
    /// UIDs of the pods that have ended, or are gone, after their attempts.
    pub ended: Vec<String>,
}

impl OpenAttempts {
    /// Adds the results to their attempts, as far as these are open and have none.
    pub fn follow(&mut self, found: &FollowUp) {
        for uid in &found.ended {
            self.delivered.remove(uid);
        }
        if found.results.is_empty() {
            return;
        }
        for open in self.by_series.values_mut().filter(|open| open.result.is_none()) {
            let mut of_subject = found.results.get(&open.subject_uid).into_iter().flatten();
            if let Some((_, report)) = of_subject.find(|(number, _)| *number == open.number) {
                let open = Arc::make_mut(open);
                (open.result, open.delivered) = (Some(report.clone()), true);
            }
        }
    }

    /// Returns the attempts that have pods.
    pub fn with_pods(&self) -> HashMap<(NodeId, u32), Arc<OpenAttempt>> {
        let with_pods = self.by_series.iter().filter(|(_, open)| open.pod_uid.is_some());
        with_pods.map(|((node, _), open)| ((*node, open.number), Arc::clone(open))).collect()
    }

    /// Removes the attempt of the integration, whose end the status shows now.
    pub fn close_integration(&mut self) {
        self.by_series.retain(|(node, _), _| *node != NodeId::Integration);
    }

    /// Applies the changes that the apply step made: an attempt that started, or none when one ended.
    pub fn update(&mut self, changes: Vec<(SeriesId, Option<OpenAttempt>)>) {
        for (series, attempt) in changes {
            match attempt {
                Some(attempt) => self.by_series.insert(series, Arc::new(attempt)),
                None => self.by_series.remove(&series),
            };
        }
    }
}

/// The messages of people that are recorded and written to pods, by the UID of the task.
#[derive(Clone, Debug, Default)]
pub struct PassedMessages(pub HashMap<String, Passed>);

/// The messages to one task that are recorded and written to pods.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// Number of the newest message.
    pub newest: u64,
    /// UIDs of the pods that have it.
    pub pods: Vec<String>,
    /// When they are written again, because one of the pods does not have them.
    pub retry_at: Option<Millis>,
}

impl PassedMessages {
    /// Returns the time at which messages are written again.
    pub fn retry_at(&self) -> Option<Millis> {
        self.0.values().filter_map(|passed| passed.retry_at).min()
    }
}

/// The last write of the plan's status.
#[derive(Clone, Debug, Default)]
pub struct LastWrite {
    /// Time of the last change of the status by a decision.
    pub at: Option<Millis>,
    /// Time of the last change of the usage in the status.
    pub usage_at: Option<Millis>,
    /// The `resourceVersion` and the status after the last write.
    pub result: Option<(u64, PlanStatus)>,
}

impl LastWrite {
    /// Returns the plan with the status that was last written, and its version, if the cache does not show it yet. A reconcile with an older
    /// status would decide again what is done.
    pub fn newest(&self, plan: Arc<Plan>) -> Arc<Plan> {
        match &self.result {
            Some((newest, status)) if *newest > version(plan.as_ref()) => {
                let mut newer = plan.as_ref().clone();
                newer.status = Some(status.clone());
                newer.metadata.resource_version = Some(newest.to_string());
                Arc::new(newer)
            }
            _ => plan,
        }
    }
}

/// The [`Runtime`] of every plan, by UID.
#[derive(Debug, Default)]
pub struct Runtimes {
    plans: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Runtime>>>>,
}

impl Runtimes {
    /// Returns the runtime of a plan. From time to time it removes those of deleted plans, because controllers get no event for a deletion.
    pub fn of(&self, uid: &str, plans: &Store<Plan>) -> Arc<tokio::sync::Mutex<Runtime>> {
        let mut known = self.plans.lock();
        if known.len() >= FIRST_SWEEP && known.len() >= plans.len() * 2 {
            // Only when at least half of the runtimes belong to deleted plans, so that the scan is rare.
            let existing: HashSet<String> = plans.state_filter(|_| true).iter().filter_map(|p| p.uid()).collect();
            known.retain(|uid, _| existing.contains(uid));
        }
        known.entry(uid.to_owned()).or_default().clone()
    }

    pub fn forget(&self, uid: &str) {
        self.plans.lock().remove(uid);
    }
}
