//! Memory for what agents send: for all tenants together, and a share for each of them, so that none takes it from the others.

use std::sync::Arc;
use std::time::Duration;

use enact_service::shares::Shares;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Unit in which memory is counted, in bytes.
const UNIT: u64 = 1 << 10;

/// Memory that is counted.
#[derive(Debug)]
pub struct Memory {
    all: Arc<Semaphore>,
    tenants: Shares<String>,
}

/// Memory that is taken until it is dropped.
#[derive(Debug)]
pub struct Held {
    /// Of the tenant's share, and of the whole.
    permits: [OwnedSemaphorePermit; 2],
}

impl Memory {
    /// Makes a memory of `bytes`, of which one tenant can have `share`.
    pub fn new(bytes: u64, share: u64) -> Self {
        let permits =
            |bytes: u64| usize::try_from(bytes / UNIT).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(permits(bytes))), tenants: Shares::new(permits(share)) }
    }

    /// Waits for memory for a tenant. Returns none when there is none within `patience`.
    pub async fn take(&self, tenant: &str, bytes: u64, patience: Duration) -> Option<Held> {
        let (units, until) = (units(bytes), Instant::now() + patience);
        // The tenant's share comes first: a request that waits for it must not hold memory that other tenants could use.
        let own = acquire(self.tenants.semaphore(tenant), units, until).await?;
        let all = acquire(Arc::clone(&self.all), units, until).await?;
        Some(Held { permits: [own, all] })
    }
}

impl Held {
    /// Gives back all but `bytes`.
    pub fn shrink(&mut self, bytes: u64) {
        let left = usize::try_from(units(bytes)).unwrap_or(usize::MAX);
        for permit in &mut self.permits {
            drop(permit.split(permit.num_permits().saturating_sub(left)));
        }
    }
}

async fn acquire(semaphore: Arc<Semaphore>, units: u32, until: Instant) -> Option<OwnedSemaphorePermit> {
    // The semaphores are never closed, so the only error is the timeout.
    timeout_at(until, semaphore.acquire_many_owned(units)).await.ok()?.ok()
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_tenant_has_only_its_share() {
        let memory = Memory::new(8 << 10, 4 << 10);
        let first = memory.take("a", 3 << 10, PATIENCE).await.unwrap();
        assert!(memory.take("a", 2 << 10, PATIENCE).await.is_none());
        let _other = memory.take("b", 4 << 10, PATIENCE).await.unwrap();
        let _small = memory.take("a", 1000, PATIENCE).await.unwrap();
        assert!(memory.take("c", 1, PATIENCE).await.is_none(), "all is taken");
        drop(first);
        assert!(memory.take("c", 3 << 10, PATIENCE).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_needed_is_given_back() {
        let memory = Memory::new(4 << 10, 4 << 10);
        let mut held = memory.take("a", 4 << 10, PATIENCE).await.unwrap();
        held.shrink(1025);
        let _rest = memory.take("b", 2 << 10, PATIENCE).await.unwrap();
        assert!(memory.take("a", 1, PATIENCE).await.is_none());
        held.shrink(9 << 10);
        held.shrink(0);
        assert!(memory.take("a", 2 << 10, PATIENCE).await.is_some());
    }
}
