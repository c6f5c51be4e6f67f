//! Limits on concurrent requests: for all senders, so that memory suffices, and for each tenant, so that no tenant blocks the others.

use std::sync::Arc;
use std::time::Duration;

use enact_service::shares::Shares;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::problem::{Problem, ProblemKind};

/// A limit on concurrent requests; further requests wait for a slot, up to a timeout.
#[derive(Debug)]
pub struct RequestLimiter {
    /// Slots for requests whose sender is being authenticated.
    unauthenticated: Arc<Semaphore>,
    /// Slots for authenticated requests.
    all: Arc<Semaphore>,
    /// Slots for the authenticated requests of each tenant.
    tenants: Shares<String>,
    timeout: Duration,
}

/// A slot, taken until it is dropped.
#[derive(Debug)]
pub struct Slot {
    _permits: [OwnedSemaphorePermit; 2],
}

impl RequestLimiter {
    /// Makes `slots` slots for unauthenticated requests, and `slots` for authenticated ones, of which a tenant gets half.
    pub fn new(slots: usize, timeout: Duration) -> Self {
        let semaphore = || Arc::new(Semaphore::new(slots));
        Self { unauthenticated: semaphore(), all: semaphore(), tenants: Shares::new(slots.div_ceil(2)), timeout }
    }

    /// Waits for a slot for an unauthenticated request.
    ///
    /// # Errors
    /// When there is none before the timeout.
    pub async fn unauthenticated(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.wait(Arc::clone(&self.unauthenticated)).await
    }

    /// Waits for a slot for a request of `tenant`.
    ///
    /// # Errors
    /// When there is none before the timeout.
    pub async fn authenticated(&self, tenant: &str) -> Result<Slot, Problem> {
        // The tenant's slot comes first: a request that waits for it must not hold a slot that other tenants could use.
        let own = self.wait(self.tenants.semaphore(tenant)).await?;
        let all = self.wait(Arc::clone(&self.all)).await?;
        Ok(Slot { _permits: [own, all] })
    }

    async fn wait(&self, semaphore: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
        // The semaphores are never closed, so the only error is the timeout.
        match timeout(self.timeout, semaphore.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Problem::new(ProblemKind::Busy, "too many requests are in progress; try again")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tenant_gets_half_of_the_slots() {
        let limiter = RequestLimiter::new(4, Duration::from_millis(20));
        let first = limiter.authenticated("a").await.unwrap();
        let _second = limiter.authenticated("a").await.unwrap();
        assert_eq!(limiter.authenticated("a").await.unwrap_err().kind, ProblemKind::Busy);
        let _other = limiter.authenticated("b").await.unwrap();
        drop(first);
        let _third = limiter.authenticated("a").await.unwrap();
        let _last = limiter.authenticated("c").await.unwrap();
        assert_eq!(limiter.authenticated("d").await.unwrap_err().kind, ProblemKind::Busy, "all slots are taken");
    }

    #[tokio::test]
    async fn a_waiting_request_gets_the_next_slot() {
        let limiter = Arc::new(RequestLimiter::new(1, Duration::from_mins(1)));
        let held = limiter.unauthenticated().await.unwrap();
        let waiting = tokio::spawn({
            let limiter = Arc::clone(&limiter);
            async move { limiter.unauthenticated().await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(held);
        waiting.await.unwrap().unwrap();
    }
}
