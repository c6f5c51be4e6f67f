//! The concurrency limiter: counts the running attempts of each tenant, so that its plans share its parallelism.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use enact_crds::Plan;
use enact_domain::time::Millis;
use kube::runtime::reflector::ObjectRef;
use parking_lot::Mutex;

use crate::metadata_cache::ObjectKey;

/// A slot that a pod occupies.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// When the slot becomes free although no event about the pod arrives.
    until: Option<Millis>,
    /// The agent of the pod, if its attempts are counted.
    agent: Option<ObjectKey>,
    /// Whether it is reserved for a pod that is not known to exist.
    is_reserved: bool,
}

/// An agent whose running attempts are counted.
#[derive(Clone, Copy, Debug)]
pub struct AgentLimit<'a> {
    pub name: &'a str,
    /// Maximum number of running attempts.
    pub concurrency: Option<u32>,
}

#[derive(Debug, Default)]
struct TenantSlots {
    /// The pods that occupy slots.
    occupied: HashMap<ObjectKey, Slot>,
    /// The number of slots of each counted agent.
    agents: HashMap<ObjectKey, u32>,
    /// Plans that could start more attempts if agents were free.
    waiting_for_agents: HashSet<ObjectRef<Plan>>,
    /// Plans that could start more attempts if there were free slots.
    waiting: HashMap<ObjectRef<Plan>, Ticket>,
    /// Number of tickets so far.
    tickets: u64,
}

/// The position of a waiting plan. The greatest is next: by priority, then by the time of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket {
    priority: i32,
    number: Reverse<u64>,
}

/// Occupied slots and waiting plans by tenant. After a restart the watch of pods fills it before the first attempt starts.
#[derive(Debug, Default)]
pub struct ConcurrencyLimiter {
    tenants: Mutex<HashMap<String, TenantSlots>>,
}

impl ConcurrencyLimiter {
    /// Returns how many more attempts a tenant with this `parallelism` may start.
    pub fn free_slots(&self, tenant: &str, parallelism: u32) -> u32 {
        self.with(tenant, |slots| parallelism.saturating_sub(slots.count()))
    }

    /// Reserves a slot of the tenant, and of `agent` if its attempts are counted, for a pod. Returns false when there is none. A pod that has
    /// a slot keeps it.
    pub fn reserve(
        &self,
        tenant: &str,
        parallelism: u32,
        namespace: &str,
        pod: &str,
        agent: Option<AgentLimit<'_>>,
    ) -> bool {
        self.with(tenant, |slots| {
            let key = (namespace.to_owned(), pod.to_owned());
            if slots.occupied.contains_key(&key) {
                return true;
            }
            let concurrency = agent.and_then(|agent| agent.concurrency).unwrap_or(u32::MAX);
            let agent = agent.map(|agent| (namespace.to_owned(), agent.name.to_owned()));
            let is_free = slots.count() < parallelism
                && agent
                    .as_ref()
                    .is_none_or(|agent| slots.agents.get(agent).copied().unwrap_or_default() < concurrency);
            if is_free {
                // The check and the insertion are one step under the lock: concurrent reconciles cannot exceed the limits.
                slots.insert(key, Slot { until: None, agent, is_reserved: true });
            }
            is_free
        })
    }

    /// Keeps the slot that is reserved for a pod, because the pod exists: the watch of pods reports its end. If it has reported that already,
    /// there is no slot any more.
    pub fn keep(&self, tenant: &str, namespace: &str, pod: &str) {
        self.with(tenant, |slots| {
            if let Some(slot) = slots.occupied.get_mut(&(namespace.to_owned(), pod.to_owned())) {
                slot.is_reserved = false;
            }
        });
    }

    /// Frees the slot of a pod if it is only reserved.
    fn release_reserved(&self, tenant: &str, pod: &ObjectKey) {
        self.with(tenant, |slots| {
            if slots.occupied.get(pod).is_some_and(|slot| slot.is_reserved) {
                slots.remove(pod);
            }
        });
    }

    /// Counts a pod that runs, whether there is a free slot or not. `until` is when its slot becomes free if no more events arrive; `agent`
    /// is the agent that the pod names.
    pub fn occupy(&self, tenant: &str, namespace: &str, pod: &str, until: Option<Millis>, agent: Option<&str>) {
        let agent = agent.map(|agent| (namespace.to_owned(), agent.to_owned()));
        self.with(tenant, |slots| {
            slots.insert((namespace.to_owned(), pod.to_owned()), Slot { until, agent, is_reserved: false });
        });
    }

    /// Frees the slots that expired.
    pub fn expire(&self, tenant: &str, now: Millis) {
        self.with(tenant, |slots| {
            let is_expired = |slot: &Slot| slot.until.is_some_and(|at| now >= at);
            let expired: Vec<ObjectKey> =
                slots.occupied.iter().filter(|(_, slot)| is_expired(slot)).map(|(key, _)| key.clone()).collect();
            for key in expired {
                slots.remove(&key);
            }
        });
    }

    /// Frees the slot of a pod, and returns the tenant whose slot it was. The label of the pod can have been changed since.
    pub fn release(&self, namespace: &str, pod: &str) -> Option<String> {
        let key = (namespace.to_owned(), pod.to_owned());
        self.tenants.lock().iter_mut().find_map(|(tenant, slots)| slots.remove(&key).then(|| tenant.clone()))
    }

    /// Returns the number of running attempts of an agent whose attempts are counted.
    pub fn running_of(&self, tenant: &str, namespace: &str, agent: &str) -> u32 {
        let key = (namespace.to_owned(), agent.to_owned());
        self.with(tenant, |slots| slots.agents.get(&key).copied().unwrap_or_default())
    }

    /// Registers a plan that could start more attempts if agents were free.
    pub fn wait_for_agents(&self, tenant: &str, plan: ObjectRef<Plan>) {
        self.with(tenant, |slots| slots.waiting_for_agents.insert(plan));
    }

    /// Removes and returns the plans that wait for agents. A plan that still waits registers again in its next reconcile.
    pub fn take_waiting_for_agents(&self, tenant: &str) -> HashSet<ObjectRef<Plan>> {
        self.with(tenant, |slots| std::mem::take(&mut slots.waiting_for_agents))
    }

    /// Registers a plan that could start more attempts if its tenant had free slots. A plan that waits already keeps its position.
    pub fn wait(&self, tenant: &str, plan: ObjectRef<Plan>, priority: i32) {
        self.with(tenant, |slots| {
            slots.tickets += 1;
            let new = Ticket { priority, number: Reverse(slots.tickets) };
            // An older ticket keeps its number, and so its position among equals. The priority may have changed in the spec.
            slots.waiting.entry(plan).or_insert(new).priority = priority;
        });
    }

    /// Removes and returns the next waiting plan, if the tenant has a free slot now: the plan of the highest priority, among equals the one
    /// that has waited longest. Plans for which `can_start` is false are dropped.
    ///
    /// A caller that frees a slot, or leaves one unused, must requeue the returned plan: no other plan is requeued before its turn is over.
    pub fn next_waiting(
        &self,
        tenant: &str,
        parallelism: u32,
        can_start: impl Fn(&ObjectRef<Plan>) -> bool,
    ) -> Option<ObjectRef<Plan>> {
        self.with(tenant, |slots| {
            while slots.count() < parallelism {
                let next = slots.waiting.iter().max_by_key(|(_, ticket)| **ticket).map(|(plan, _)| plan.clone())?;
                // A plan that still cannot start everything registers again in its next reconcile, behind its equals.
                slots.waiting.remove(&next);
                if can_start(&next) {
                    return Some(next);
                }
            }
            None
        })
    }

    /// Removes a deleted plan from those that wait.
    pub fn forget(&self, tenant: &str, plan: &ObjectRef<Plan>) {
        self.with(tenant, |slots| {
            slots.waiting.remove(plan);
            slots.waiting_for_agents.remove(plan);
        });
    }

    /// Returns the number of running attempts of a tenant.
    pub fn running(&self, tenant: &str) -> u32 {
        self.with(tenant, |slots| slots.count())
    }

    /// Returns the numbers of running attempts and of waiting plans of all tenants.
    pub fn totals(&self) -> (u32, u32) {
        let tenants = self.tenants.lock();
        let sum =
            |f: fn(&TenantSlots) -> usize| u32::try_from(tenants.values().map(f).sum::<usize>()).unwrap_or(u32::MAX);
        (sum(|slots| slots.occupied.len()), sum(|slots| slots.waiting.len()))
    }

    fn with<T>(&self, tenant: &str, f: impl FnOnce(&mut TenantSlots) -> T) -> T {
        f(self.tenants.lock().entry(tenant.to_owned()).or_default())
    }
}

/// The slots that a reconcile reserved for attempts that start. When it is dropped, those whose pods are not known to exist become free: the
/// reconcile failed, or its time limit stopped it. No event would free them.
pub struct ReservedSlots<'a> {
    limiter: &'a ConcurrencyLimiter,
    tenant: &'a str,
    pods: Vec<ObjectKey>,
}

impl<'a> ReservedSlots<'a> {
    /// Returns a reservation without slots.
    pub fn none(limiter: &'a ConcurrencyLimiter, tenant: &'a str) -> Self {
        Self { limiter, tenant, pods: Vec::new() }
    }

    /// Adds the slot that was reserved for a pod.
    pub fn add(&mut self, namespace: &str, pod: String) {
        self.pods.push((namespace.to_owned(), pod));
    }
}

impl Drop for ReservedSlots<'_> {
    fn drop(&mut self) {
        for pod in &self.pods {
            self.limiter.release_reserved(self.tenant, pod);
        }
    }
}

impl TenantSlots {
    fn insert(&mut self, key: ObjectKey, slot: Slot) {
        if let Some(agent) = &slot.agent {
            *self.agents.entry(agent.clone()).or_default() += 1;
        }
        // After the new one is counted: the number of an agent that stays does not drop to zero in between.
        if let Some(old) = self.occupied.insert(key, slot) {
            self.discount(&old);
        }
    }

    fn remove(&mut self, key: &ObjectKey) -> bool {
        let removed = self.occupied.remove(key);
        if let Some(slot) = &removed {
            self.discount(slot);
        }
        removed.is_some()
    }

    fn discount(&mut self, slot: &Slot) {
        let Some(agent) = &slot.agent else { return };
        if let Some(number) = self.agents.get_mut(agent) {
            *number -= 1;
            if *number == 0 {
                self.agents.remove(agent);
            }
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.occupied.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn respects_parallelism_and_priority() {
        let limiter = ConcurrencyLimiter::default();
        assert!(limiter.reserve("t", 2, "ns", "a-1", None));
        assert!(limiter.reserve("t", 2, "ns", "b-1", None));
        assert!(limiter.reserve("t", 2, "ns", "b-1", None), "the same pod again");
        assert!(!limiter.reserve("t", 2, "ns", "c-1", None));
        assert!(limiter.reserve("u", 2, "ns", "c-1", None), "another tenant has its own slots");
        let plan = |name: &str| ObjectRef::new(name).within("ns");
        limiter.wait("t", plan("slow"), 0);
        limiter.wait("t", plan("urgent"), 5);
        limiter.wait("t", plan("gone"), 9);
        let there = |plan: &ObjectRef<Plan>| plan.name != "gone";
        assert_eq!(limiter.next_waiting("t", 2, there), None, "no free slot yet");
        assert_eq!(limiter.release("ns", "a-1").as_deref(), Some("t"));
        assert_eq!(limiter.release("ns", "a-1"), None, "released once");
        assert_eq!(limiter.free_slots("t", 2), 1);
        assert_eq!(limiter.next_waiting("t", 2, there), Some(plan("urgent")), "a deleted plan blocks no other");
        assert_eq!(limiter.next_waiting("t", 2, there), Some(plan("slow")), "the urgent plan left a slot unused");
        assert_eq!(limiter.next_waiting("t", 2, there), None);
    }

    #[test]
    fn serves_equal_priorities_in_order_of_arrival() {
        let limiter = ConcurrencyLimiter::default();
        let plan = |n: usize| ObjectRef::<Plan>::new(&format!("p{n}")).within("ns");
        (0..20).for_each(|n| limiter.wait("t", plan(n), 0));
        limiter.wait("t", plan(3), 0);
        limiter.wait("t", plan(19), 1);
        let next = || limiter.next_waiting("t", 1, |_| true);
        assert_eq!(next(), Some(plan(19)), "its priority was raised");
        for n in 0..19 {
            assert_eq!(next(), Some(plan(n)), "a plan that waits again goes to the end");
            limiter.wait("t", plan(n), 0);
        }
        assert_eq!(next(), Some(plan(0)));
    }

    #[test]
    fn counts_running_pods_after_a_restart() {
        let limiter = ConcurrencyLimiter::default();
        limiter.occupy("t", "ns", "a-1", None, None);
        limiter.occupy("t", "ns", "a-1", None, None);
        limiter.occupy("t", "ns", "b-1", None, None);
        assert!(!limiter.reserve("t", 2, "ns", "c-1", None));
        assert_eq!(
            (limiter.totals(), limiter.free_slots("t", 1)),
            ((2, 0), 0),
            "more than a parallelism that was lowered"
        );
    }

    #[test]
    fn frees_reserved_slots_of_pods_that_do_not_exist() {
        let limiter = ConcurrencyLimiter::default();
        let mut slots = ReservedSlots::none(&limiter, "t");
        for pod in ["lost", "created", "watched", "ended"] {
            assert!(limiter.reserve("t", 4, "ns", pod, Some(AgentLimit { name: "coder", concurrency: None })));
            slots.add("ns", pod.to_owned());
        }
        limiter.keep("t", "ns", "created");
        limiter.occupy("t", "ns", "watched", None, Some("coder"));
        // The watch reports the end before the API server's answer about the creation is read.
        limiter.release("ns", "ended");
        limiter.keep("t", "ns", "ended");
        drop(slots);
        assert_eq!((limiter.running("t"), limiter.running_of("t", "ns", "coder")), (2, 2));
        assert_eq!(limiter.release("ns", "lost"), None);
        // A later reconcile starts the attempt again, whose pod exists.
        let mut again = ReservedSlots::none(&limiter, "t");
        assert!(limiter.reserve("t", 4, "ns", "created", None));
        again.add("ns", "created".to_owned());
        drop(again);
        assert_eq!(limiter.running("t"), 2);
    }

    #[test]
    fn frees_a_slot_when_it_expires() {
        let limiter = ConcurrencyLimiter::default();
        assert!(limiter.reserve("t", 1, "ns", "a-1", None));
        limiter.occupy("t", "ns", "a-1", Some(Millis(5)), None);
        limiter.expire("t", Millis(4));
        assert_eq!(limiter.free_slots("t", 1), 0);
        limiter.expire("t", Millis(5));
        assert_eq!(limiter.free_slots("t", 1), 1);
    }

    #[test]
    fn counts_the_attempts_of_agents() {
        let limiter = ConcurrencyLimiter::default();
        let reserve = |namespace: &str, pod: &str| {
            limiter.reserve("t", 9, namespace, pod, Some(AgentLimit { name: "coder", concurrency: Some(1) }))
        };
        assert!(reserve("ns", "a-1") && reserve("ns", "a-1"), "the same pod again");
        assert!(!reserve("ns", "b-1"));
        assert!(reserve("other", "b-1"), "the agent of the same name in another namespace");
        assert!(limiter.reserve("t", 9, "ns", "c-1", Some(AgentLimit { name: "coder", concurrency: None })));
        // The watch reports the pods again, as after a restart.
        limiter.occupy("t", "ns", "a-1", Some(Millis(5)), Some("coder"));
        limiter.occupy("t", "ns", "d-1", None, None);
        assert_eq!(limiter.running_of("t", "ns", "coder"), 2);
        limiter.expire("t", Millis(5));
        assert!(limiter.release("ns", "c-1").is_some());
        assert_eq!(limiter.running_of("t", "ns", "coder"), 0);
        assert!(reserve("ns", "b-1"));
    }

    #[test]
    fn wakes_each_plan_that_waits_for_agents_once() {
        let limiter = ConcurrencyLimiter::default();
        let plan = ObjectRef::<Plan>::new("p").within("ns");
        limiter.wait_for_agents("t", plan.clone());
        limiter.wait_for_agents("t", plan.clone());
        assert_eq!(limiter.take_waiting_for_agents("t"), HashSet::from([plan.clone()]));
        assert!(limiter.take_waiting_for_agents("t").is_empty());
        limiter.wait_for_agents("t", plan.clone());
        limiter.wait("t", plan.clone(), 0);
        limiter.forget("t", &plan);
        assert!(limiter.take_waiting_for_agents("t").is_empty());
        assert_eq!((limiter.totals(), limiter.next_waiting("t", 2, |_| true)), ((0, 0), None), "it was deleted");
    }
}
