//! The state of the Plan controller in addition to the common context.

use std::ops::Deref;
use std::sync::Arc;

use super::digest_cache::AgentDigestCache;
use super::history::History;
use super::limiter::ConcurrencyLimiter;
use super::reservations::Reservations;
use super::runtime::Runtimes;
use crate::documents::dependents::Dependents;
use crate::documents::document_cache::DocumentCache;
use crate::index::Index;
use crate::search::Search;
use crate::sourcing;
use crate::warm_pool::WarmPods;

pub struct Context {
    pub common: Arc<crate::context::Context>,
    pub runtimes: Runtimes,
    /// Tasks and pods by plan.
    pub index: Arc<Index>,
    pub limiter: Arc<ConcurrencyLimiter>,
    /// From which the keys of starting attempts are made. Random, and known to this process only.
    pub start_secret: u128,
    pub warm_pods: Arc<WarmPods>,
    pub reservations: Reservations,
    pub history: Arc<History>,
    pub agent_digests: AgentDigestCache,
    pub document_cache: Arc<DocumentCache>,
    pub dependents: Arc<Dependents>,
    pub sourcing: Arc<sourcing::Context>,
    pub search: Arc<Search>,
}

impl Deref for Context {
    type Target = crate::context::Context;

    fn deref(&self) -> &Self::Target {
        &self.common
    }
}

impl Context {
    /// Requeues the plans of a tenant that wait for agents, because an agent is free.
    pub fn wake_waiting_for_agents(&self, tenant: &str) {
        for plan in self.limiter.take_waiting_for_agents(tenant) {
            self.index.requeue(plan);
        }
    }

    /// Requeues the next plan of a tenant that waits for a slot, if there is a free one.
    pub fn wake_next(&self, tenant: &str) {
        self.limiter.expire(tenant, self.now());
        // The default tenant need not have a Tenant object: it has no limit then.
        let parallelism = self.tenant(tenant).map_or(u32::MAX, |t| t.spec.parallelism);
        // A plan that is being deleted starts nothing, and would not pass its turn on.
        let can_start = |plan: &_| self.caches.plans.get(plan).is_some_and(|p| p.metadata.deletion_timestamp.is_none());
        if let Some(plan) = self.limiter.next_waiting(tenant, parallelism, can_start) {
            self.index.requeue(plan);
        }
    }
}
