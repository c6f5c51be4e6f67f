//! The tenants' room: how many attempts each has under way, so that plans of one tenant share its parallelism.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use enact_crds::Plan;
use kube::runtime::reflector::ObjectRef;

#[derive(Debug, Default)]
struct Account {
    /// Names of the pods under way, with their namespaces.
    running: HashSet<(String, String)>,
    /// Plans that could start more if there were room, with their priority.
    waiting: HashMap<ObjectRef<Plan>, i32>,
}

/// Attempts under way by tenant. It is rebuilt from the pods after a restart, before anything is started.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: Mutex<HashMap<String, Account>>,
}

impl Ledger {
    /// How many more attempts a tenant with this `parallelism` may start.
    pub fn room(&self, tenant: &str, parallelism: u32) -> u32 {
        self.with(tenant, |a| parallelism.saturating_sub(count(a)))
    }

    /// Takes a place for a pod; false when there is none. A pod that has a place keeps it.
    pub fn reserve(&self, tenant: &str, parallelism: u32, namespace: &str, pod: &str) -> bool {
        self.with(tenant, |a| {
            let key = (namespace.to_owned(), pod.to_owned());
            a.running.contains(&key) || (count(a) < parallelism && a.running.insert(key))
        })
    }

    /// Enters a pod that is seen under way, whether there is room or not.
    pub fn enter(&self, tenant: &str, namespace: &str, pod: &str) {
        self.with(tenant, |a| a.running.insert((namespace.to_owned(), pod.to_owned())));
    }

    /// Frees the place of a pod; the waiting plan of the highest priority, which can go on now.
    pub fn release(&self, tenant: &str, namespace: &str, pod: &str) -> Option<ObjectRef<Plan>> {
        self.with(tenant, |a| {
            if !a.running.remove(&(namespace.to_owned(), pod.to_owned())) {
                return None;
            }
            let next = a.waiting.iter().max_by_key(|(_, priority)| **priority).map(|(plan, _)| plan.clone())?;
            a.waiting.remove(&next);
            Some(next)
        })
    }

    /// Notes that a plan could start more if there were room.
    pub fn wait(&self, tenant: &str, plan: ObjectRef<Plan>, priority: i32) {
        self.with(tenant, |a| a.waiting.insert(plan, priority));
    }

    /// Attempts under way of one tenant.
    pub fn running(&self, tenant: &str) -> u32 {
        self.with(tenant, |a| count(a))
    }

    fn with<T>(&self, tenant: &str, f: impl FnOnce(&mut Account) -> T) -> T {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        f(accounts.entry(tenant.to_owned()).or_default())
    }
}

fn count(account: &Account) -> u32 {
    u32::try_from(account.running.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_parallelism_and_the_urgent_first() {
        let ledger = Ledger::default();
        assert!(ledger.reserve("t", 2, "ns", "a-1"));
        assert!(ledger.reserve("t", 2, "ns", "b-1"));
        assert!(ledger.reserve("t", 2, "ns", "b-1"), "the same pod again");
        assert!(!ledger.reserve("t", 2, "ns", "c-1"));
        assert!(ledger.reserve("u", 2, "ns", "c-1"), "another tenant has its own room");
        let plan = |name: &str| ObjectRef::new(name).within("ns");
        ledger.wait("t", plan("slow"), 0);
        ledger.wait("t", plan("urgent"), 5);
        assert_eq!(ledger.release("t", "ns", "a-1"), Some(plan("urgent")));
        assert_eq!(ledger.release("t", "ns", "a-1"), None, "released once");
        assert_eq!(ledger.room("t", 2), 1);
    }
}
