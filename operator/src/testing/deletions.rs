//! Deleted plans.

use std::collections::{BTreeMap, BTreeSet};

use enact_crds::Plan;
use enact_domain::record::{Event as Happened, Kind, Record, Subject};
use kube::runtime::watcher::Event;

use super::Bench;
use crate::deleted::Deleted;

impl Bench {
    /// Deletes a plan, and returns it as its watch reports it.
    pub fn no_plan(&mut self, name: &str) -> Deleted {
        let key = format!("plans/{name}");
        let plan: Plan = serde_json::from_value(self.api.get(&key)).unwrap();
        self.api.remove(&key);
        self.plans.apply_watcher_event(&Event::Delete(plan.clone()));
        Deleted::of(Kind::Plan, &plan)
    }
}

/// Returns the plans that are not recorded as deleted, in the order of their UIDs, after the UID `after`.
pub fn recorded_plans(records: &[Record], after: &str) -> Vec<Subject> {
    let plans = records.iter().filter(|record| record.subject.kind == Kind::Plan);
    let is_deletion = |record: &&Record| matches!(record.event, Happened::Deleted { .. });
    let deleted: BTreeSet<&str> = plans.clone().filter(is_deletion).map(|record| record.subject.uid.as_str()).collect();
    let mut left: Vec<Subject> = plans.map(|record| record.subject.clone()).collect();
    left.retain(|plan| plan.uid.as_str() > after && !deleted.contains(plan.uid.as_str()));
    left.sort_by(|one, other| one.uid.cmp(&other.uid));
    left.dedup();
    left
}

/// Returns the objects with these UIDs that have records of this tenant.
pub fn recorded_subjects(records: &[Record], tenant: &str, uids: &[String]) -> Vec<Subject> {
    let found = records.iter().filter(|record| record.tenant == tenant && uids.contains(&record.subject.uid));
    let found: BTreeMap<&str, &Subject> = found.map(|record| (record.subject.uid.as_str(), &record.subject)).collect();
    found.into_values().cloned().collect()
}
