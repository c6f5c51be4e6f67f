//! What the process keeps of a plan between reconciles.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use enact_crds::Plan;
use enact_crds::plan::PlanStatus;
use enact_domain::assignment::Report;
use enact_domain::digest::Digest;
use enact_domain::time::Millis;
use kube::ResourceExt as _;
use kube::runtime::reflector::Store;
use parking_lot::Mutex;

use super::{documents, stale, started, validate};
use crate::metadata_cache::version;

/// Plans that are remembered before those that are gone are swept out for the first time.
const FIRST_SWEEP: usize = 64;

/// What is kept of a plan between its passes. All of it can be had again from Kubernetes and the record.
#[derive(Debug, Default)]
pub struct Runtime {
    /// The plan's tasks as they were last made.
    pub made: Option<Made>,
    /// Attempts that are recorded as started, by node.
    pub open: HashMap<usize, Open>,
    /// Whether `open` holds what the record knows from before this process.
    pub hydrated: bool,
    /// What was last said of the plan's content.
    pub judged: Option<Arc<documents::Judged>>,
    /// What a newer revision of the specification makes stale, with the digests of both revisions and of the content.
    pub outdated: Option<([String; 3], Arc<stale::Outdated>)>,
    /// The revision that the plan was started for, and a newer one that makes nothing of it stale.
    pub harmless: Option<(String, String)>,
    /// When the status was last written.
    pub written: Option<Millis>,
    /// The plan's `resourceVersion` and status after that: the cache may show an older one.
    pub latest: Option<(u64, PlanStatus)>,
}

/// A plan's tasks, and what they were made from.
#[derive(Debug)]
pub struct Made {
    /// The generation of the plan.
    pub generation: Option<i64>,
    /// Digest of the document that is kept elsewhere, before the start.
    pub document: Option<Digest>,
    pub content: Arc<validate::Content>,
}

impl Runtime {
    /// The plan with the status that was last written, if the cache does not show that yet: a pass over an older one would do again what
    /// is done.
    pub fn newest(&self, plan: Arc<Plan>) -> Arc<Plan> {
        match &self.latest {
            Some((latest, status)) if *latest > version(plan.as_ref()) => {
                let mut newer = plan.as_ref().clone();
                newer.status = Some(status.clone());
                Arc::new(newer)
            }
            _ => plan,
        }
    }

    /// The content that a started plan is pinned to, if it is at hand.
    pub fn pinned(&self, plan: &Plan) -> Option<Arc<validate::Content>> {
        started(plan)?;
        let approved = plan.status.as_ref()?.approved_digest.as_deref()?;
        let made = self.made.as_ref().filter(|m| m.generation == plan.metadata.generation)?;
        (made.content.digest.as_str() == approved).then(|| made.content.clone())
    }
}

/// An attempt that is recorded as started.
#[derive(Clone, Debug, Default)]
pub struct Open {
    /// Its number.
    pub number: u32,
    /// Whether its pod was seen.
    pub seen: bool,
    /// How the record says that it ended, what its pod delivered, or why the API server refused to create it.
    pub result: Option<Report>,
}

/// The [`Runtime`] of every plan, by UID.
#[derive(Debug, Default)]
pub struct Runtimes {
    plans: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Runtime>>>>,
}

impl Runtimes {
    /// The runtime of a plan. Now and then those of plans that are gone are forgotten: their deletion is not told to controllers.
    pub fn of(&self, uid: &str, plans: &Store<Plan>) -> Arc<tokio::sync::Mutex<Runtime>> {
        let mut known = self.plans.lock();
        if known.len() >= FIRST_SWEEP && known.len() >= plans.len() * 2 {
            let there: HashSet<String> = plans.state_filter(|_| true).iter().filter_map(|p| p.uid()).collect();
            known.retain(|uid, _| there.contains(uid));
        }
        known.entry(uid.to_owned()).or_default().clone()
    }

    pub fn forget(&self, uid: &str) {
        self.plans.lock().remove(uid);
    }
}
