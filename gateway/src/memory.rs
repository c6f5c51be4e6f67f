//! Memory for what agents send and get: for all tenants together, and a share for each of them, so that none takes it from the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
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

/// The part of a memory that one tenant can have.
#[derive(Debug)]
pub struct Share {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// Memory that is taken until it is dropped.
#[derive(Debug)]
pub struct Held {
    /// Of the tenant's share, and of the whole.
    permits: [OwnedSemaphorePermit; 2],
}

/// Bytes with the memory that they take.
struct Counted {
    bytes: Vec<u8>,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Returns bytes that keep `held` until the last copy of them is dropped: a server that answers before it has read a request leaves it in
/// the queue of its connection.
pub fn counted(bytes: Vec<u8>, held: &Arc<Held>) -> Bytes {
    Bytes::from_owner(Counted { bytes, _held: Arc::clone(held) })
}

impl Memory {
    /// Makes a memory of `bytes`, of which one tenant can have `share`.
    pub fn new(bytes: u64, share: u64) -> Self {
        let permits =
            |bytes: u64| usize::try_from(bytes / UNIT).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(permits(bytes))), tenants: Shares::new(permits(share)) }
    }

    /// Returns the share of a tenant.
    pub fn share(&self, tenant: &str) -> Share {
        Share { own: self.tenants.semaphore(tenant), all: Arc::clone(&self.all) }
    }
}

impl Share {
    /// Waits for memory. Returns none when there is none within `patience`.
    pub async fn take(&self, bytes: u64, patience: Duration) -> Option<Held> {
        let (units, until) = (units(bytes), Instant::now() + patience);
        // The tenant's share comes first: a request that waits for it must not hold memory that other tenants could use.
        let own = acquire(Arc::clone(&self.own), units, until).await?;
        let all = acquire(Arc::clone(&self.all), units, until).await?;
        Some(Held { permits: [own, all] })
    }

    /// Takes memory if there is some at once.
    pub fn take_now(&self, bytes: u64) -> Option<Held> {
        self.try_take(units(bytes))
    }

    /// Returns a buffer without memory.
    pub fn buffer(self) -> Buffer {
        Buffer { share: self, held: None }
    }

    fn try_take(&self, units: u32) -> Option<Held> {
        let own = Arc::clone(&self.own).try_acquire_many_owned(units).ok()?;
        let all = Arc::clone(&self.all).try_acquire_many_owned(units).ok()?;
        Some(Held { permits: [own, all] })
    }
}

/// Memory whose size changes.
#[derive(Debug)]
pub struct Buffer {
    share: Share,
    held: Option<Held>,
}

impl Buffer {
    /// Takes or gives back memory until it has `bytes`. Returns whether there is enough; else it keeps what it has.
    pub fn resize(&mut self, bytes: u64) -> bool {
        let (wanted, has) = (units(bytes), self.held.as_ref().map_or(0, Held::units));
        if wanted <= has {
            if let Some(held) = &mut self.held {
                held.shrink(bytes);
            }
            return true;
        }
        let Some(more) = self.share.try_take(wanted - has) else { return false };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        true
    }
}

impl Held {
    fn units(&self) -> u32 {
        u32::try_from(self.permits[0].num_permits()).unwrap_or(u32::MAX)
    }

    fn merge(&mut self, other: Self) {
        for (permit, more) in self.permits.iter_mut().zip(other.permits) {
            permit.merge(more);
        }
    }

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
        let first = memory.share("a").take(3 << 10, PATIENCE).await.unwrap();
        assert!(memory.share("a").take(2 << 10, PATIENCE).await.is_none());
        let _other = memory.share("b").take(4 << 10, PATIENCE).await.unwrap();
        let _small = memory.share("a").take(1000, PATIENCE).await.unwrap();
        assert!(memory.share("c").take(1, PATIENCE).await.is_none(), "all is taken");
        drop(first);
        assert!(memory.share("c").take(3 << 10, PATIENCE).await.is_some());
    }

    #[test]
    fn a_buffer_grows_as_far_as_its_share() {
        let memory = Memory::new(8 << 10, 4 << 10);
        let mut buffer = memory.share("a").buffer();
        assert!(buffer.resize(3 << 10) && buffer.resize(4 << 10));
        assert!(!buffer.resize(5 << 10), "it is larger than the share");
        let mut second = memory.share("a").buffer();
        assert!(!second.resize(1), "the first one keeps what it has");
        assert!(memory.share("b").buffer().resize(4 << 10));
        assert!(buffer.resize(0) && second.resize(4 << 10));
        drop(second);
        assert!(buffer.resize(4 << 10));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_keep_their_memory() {
        let memory = Memory::new(4 << 10, 4 << 10);
        let held = Arc::new(memory.share("a").take(4 << 10, PATIENCE).await.unwrap());
        let mut bytes = counted(vec![1, 2, 3], &held);
        let rest = bytes.split_off(1);
        drop((held, bytes));
        assert!(memory.share("b").take(1, PATIENCE).await.is_none(), "a part of them waits");
        drop(rest);
        assert!(memory.share("b").take(4 << 10, PATIENCE).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_needed_is_given_back() {
        let memory = Memory::new(4 << 10, 4 << 10);
        let mut held = memory.share("a").take(4 << 10, PATIENCE).await.unwrap();
        held.shrink(1025);
        let _rest = memory.share("b").take(2 << 10, PATIENCE).await.unwrap();
        assert!(memory.share("a").take(1, PATIENCE).await.is_none());
        held.shrink(9 << 10);
        held.shrink(0);
        assert!(memory.share("a").take(2 << 10, PATIENCE).await.is_some());
    }
}
