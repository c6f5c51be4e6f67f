//! How many requests are worked on at once, so that neither memory nor one tenant's share of it runs out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::problem::{Kind, Problem};

/// Lets so many through at once; others wait for a while.
#[derive(Debug)]
pub struct Turnstile {
    /// Senders that are being identified.
    strangers: Arc<Semaphore>,
    /// Requests of senders that are known.
    all: Arc<Semaphore>,
    /// The same for each tenant; only those that have or wait for a place.
    tenants: Mutex<HashMap<String, Weak<Semaphore>>>,
    of_one: usize,
    patience: Duration,
}

/// A place, held until it is dropped.
#[derive(Debug)]
pub struct Place {
    _permits: [OwnedSemaphorePermit; 2],
}

impl Turnstile {
    /// Room for `places` senders to be identified, and for `places` requests, half of them of one tenant. Others wait for `patience`.
    pub fn new(places: usize, patience: Duration) -> Self {
        let semaphore = || Arc::new(Semaphore::new(places));
        let of_one = places.div_ceil(2);
        Self { strangers: semaphore(), all: semaphore(), tenants: Mutex::default(), of_one, patience }
    }

    /// A place for somebody who is not known yet.
    ///
    /// # Errors
    /// When there was none for too long.
    pub async fn stranger(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.wait(Arc::clone(&self.strangers)).await
    }

    /// A place for a request of `tenant`.
    ///
    /// # Errors
    /// When there was none for too long.
    pub async fn enter(&self, tenant: &str) -> Result<Place, Problem> {
        // The tenant's own first: whoever waits for it must not hold one of all.
        let own = self.wait(self.of(tenant)).await?;
        let all = self.wait(Arc::clone(&self.all)).await?;
        Ok(Place { _permits: [own, all] })
    }

    async fn wait(&self, semaphore: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
        // A semaphore that was closed, which none is, would never have room.
        match timeout(self.patience, semaphore.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Problem::new(Kind::Busy, "too many requests are under way; try again")),
        }
    }

    fn of(&self, tenant: &str) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = tenants.get(tenant).and_then(Weak::upgrade) {
            return semaphore;
        }
        tenants.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.of_one));
        tenants.insert(tenant.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tenant_gets_half_and_a_place_is_given_back() {
        let turnstile = Turnstile::new(4, Duration::from_millis(20));
        let first = turnstile.enter("a").await.unwrap();
        let _second = turnstile.enter("a").await.unwrap();
        assert_eq!(turnstile.enter("a").await.unwrap_err().kind, Kind::Busy);
        let _other = turnstile.enter("b").await.unwrap();
        drop(first);
        let _third = turnstile.enter("a").await.unwrap();
        let _last = turnstile.enter("c").await.unwrap();
        assert_eq!(turnstile.enter("d").await.unwrap_err().kind, Kind::Busy, "all places are taken");
    }

    #[tokio::test]
    async fn tenants_that_are_gone_are_forgotten() {
        let turnstile = Turnstile::new(4, Duration::from_millis(20));
        for number in 0..100 {
            drop(turnstile.enter(&number.to_string()).await.unwrap());
        }
        assert_eq!(turnstile.tenants.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn whoever_waits_gets_the_next_place() {
        let turnstile = Arc::new(Turnstile::new(1, Duration::from_mins(1)));
        let held = turnstile.stranger().await.unwrap();
        let waiting = tokio::spawn({
            let turnstile = Arc::clone(&turnstile);
            async move { turnstile.stranger().await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(held);
        waiting.await.unwrap().unwrap();
    }
}
