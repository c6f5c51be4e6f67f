//! The tenants' room: how many attempts each has under way, so that plans of one tenant share its parallelism.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use enact_crds::Plan;
use enact_domain::time::Millis;
use kube::runtime::reflector::ObjectRef;

#[derive(Debug, Default)]
struct Account {
    /// Names of the pods under way, with their namespaces, and until when at most they have their places.
    running: HashMap<(String, String), Option<Millis>>,
    /// Plans that could start more if there were room.
    waiting: HashMap<ObjectRef<Plan>, Waiting>,
    /// How many plans have come to wait.
    came: u64,
}

/// A plan that waits. The higher goes first: by its priority, then who came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    priority: i32,
    /// Its number among those that came.
    came: Reverse<u64>,
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
            let has = a.running.contains_key(&key);
            let free = count(a) < parallelism;
            if !has && free {
                a.running.insert(key, None);
            }
            has || free
        })
    }

    /// Enters a pod that is seen under way, whether there is room or not; until a moment, if nothing more may be heard of it.
    pub fn enter(&self, tenant: &str, namespace: &str, pod: &str, until: Option<Millis>) {
        self.with(tenant, |a| a.running.insert((namespace.to_owned(), pod.to_owned()), until));
    }

    /// Frees the places of pods whose time is over.
    pub fn expire(&self, tenant: &str, now: Millis) {
        self.with(tenant, |a| a.running.retain(|_, until| until.is_none_or(|at| now < at)));
    }

    /// Frees the place of a pod; whether it had one.
    pub fn release(&self, tenant: &str, namespace: &str, pod: &str) -> bool {
        self.with(tenant, |a| a.running.remove(&(namespace.to_owned(), pod.to_owned())).is_some())
    }

    /// Notes that a plan could start more if its tenant had room. One that waits already keeps its turn.
    pub fn wait(&self, tenant: &str, plan: ObjectRef<Plan>, priority: i32) {
        self.with(tenant, |a| {
            a.came += 1;
            let new = Waiting { priority, came: Reverse(a.came) };
            a.waiting.entry(plan).or_insert(new).priority = priority;
        });
    }

    /// The waiting plan of the highest priority, among equals the one that has waited longest, if the tenant has room for it now. Plans
    /// that are not there any more are passed over.
    /// Whoever frees a place, or leaves room unused, must wake the plan that this returns: no other is woken until it has had its turn.
    pub fn next(
        &self,
        tenant: &str,
        parallelism: u32,
        is_there: impl Fn(&ObjectRef<Plan>) -> bool,
    ) -> Option<ObjectRef<Plan>> {
        self.with(tenant, |a| {
            while count(a) < parallelism {
                let next = a.waiting.iter().max_by_key(|(_, waiting)| **waiting).map(|(plan, _)| plan.clone())?;
                a.waiting.remove(&next);
                if is_there(&next) {
                    return Some(next);
                }
            }
            None
        })
    }

    /// Attempts under way of one tenant.
    pub fn running(&self, tenant: &str) -> u32 {
        self.with(tenant, |a| count(a))
    }

    /// Attempts under way of all tenants, and plans that wait for room.
    pub fn totals(&self) -> (u32, u32) {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |f: fn(&Account) -> usize| u32::try_from(accounts.values().map(f).sum::<usize>()).unwrap_or(u32::MAX);
        (sum(|a| a.running.len()), sum(|a| a.waiting.len()))
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
        ledger.wait("t", plan("gone"), 9);
        let there = |plan: &ObjectRef<Plan>| plan.name != "gone";
        assert_eq!(ledger.next("t", 2, there), None, "no room yet");
        assert!(ledger.release("t", "ns", "a-1"));
        assert!(!ledger.release("t", "ns", "a-1"), "released once");
        assert_eq!(ledger.room("t", 2), 1);
        assert_eq!(ledger.next("t", 2, there), Some(plan("urgent")), "a plan that is gone keeps nobody waiting");
        assert_eq!(ledger.next("t", 2, there), Some(plan("slow")), "the urgent one left the room unused");
        assert_eq!(ledger.next("t", 2, there), None);
    }

    #[test]
    fn among_equals_the_first_comes_first_and_then_goes_to_the_end() {
        let ledger = Ledger::default();
        let plan = |n: usize| ObjectRef::<Plan>::new(&format!("p{n}")).within("ns");
        (0..20).for_each(|n| ledger.wait("t", plan(n), 0));
        ledger.wait("t", plan(3), 0);
        ledger.wait("t", plan(19), 1);
        let next = || ledger.next("t", 1, |_| true);
        assert_eq!(next(), Some(plan(19)), "its priority was raised");
        for n in 0..19 {
            assert_eq!(next(), Some(plan(n)), "waiting again takes nobody's turn, and not one's own");
            ledger.wait("t", plan(n), 0);
        }
        assert_eq!(next(), Some(plan(0)));
    }

    #[test]
    fn pods_that_run_after_a_restart_have_their_places() {
        let ledger = Ledger::default();
        ledger.enter("t", "ns", "a-1", None);
        ledger.enter("t", "ns", "a-1", None);
        ledger.enter("t", "ns", "b-1", None);
        assert!(!ledger.reserve("t", 2, "ns", "c-1"));
        assert_eq!((ledger.totals(), ledger.room("t", 1)), ((2, 0), 0), "more than a parallelism that was lowered");
    }
    #[test]
    fn a_place_ends_at_its_time_though_nothing_is_heard_of_the_pod() {
        let ledger = Ledger::default();
        assert!(ledger.reserve("t", 1, "ns", "a-1"));
        ledger.enter("t", "ns", "a-1", Some(Millis(5)));
        ledger.expire("t", Millis(4));
        assert_eq!(ledger.room("t", 1), 0);
        ledger.expire("t", Millis(5));
        assert_eq!(ledger.room("t", 1), 1);
    }
}
