//! Shares of a limit: each client, tenant or namespace gets part of it, so that none of them takes it from the others.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Semaphores of one size, one for each key that has or waits for a permit.
#[derive(Debug)]
pub struct Shares<K> {
    size: usize,
    semaphores: Mutex<HashMap<K, Weak<Semaphore>>>,
}

impl<K: Eq + Hash> Shares<K> {
    /// Makes shares of `size` permits each.
    pub fn new(size: usize) -> Self {
        Self { size, semaphores: Mutex::default() }
    }

    /// Returns the semaphore of a key. It is the same one until nobody holds it or a permit of it.
    pub fn semaphore<Q>(&self, key: &Q) -> Arc<Semaphore>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        // The lock covers lookup and insertion, so that two first requests of a key share one semaphore.
        let mut semaphores = self.semaphores.lock();
        if let Some(semaphore) = semaphores.get(key).and_then(Weak::upgrade) {
            return semaphore;
        }
        // Permits own their semaphore. Entries without one are removed here, so that the map does not grow with the number of keys.
        semaphores.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.size));
        semaphores.insert(key.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_gets_its_share() {
        let shares = Shares::<String>::new(1);
        let held = shares.semaphore("a").try_acquire_owned().unwrap();
        assert!(shares.semaphore("a").try_acquire_owned().is_err());
        assert!(shares.semaphore("b").try_acquire_owned().is_ok());
        drop(held);
        assert!(shares.semaphore("a").try_acquire_owned().is_ok());
    }

    #[test]
    fn forgets_keys_without_permits() {
        let shares = Shares::<u32>::new(1);
        let held = shares.semaphore(&0_u32).try_acquire_owned().unwrap();
        for key in 1..100_u32 {
            drop(shares.semaphore(&key).try_acquire_owned().unwrap());
        }
        assert_eq!(shares.semaphores.lock().len(), 2);
        drop(held);
    }
}
