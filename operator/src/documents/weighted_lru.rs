//! A bounded cache by digest: the least recently used entries are evicted when the total weight exceeds the capacity.

use enact_domain::digest::Digest;
use lru::LruCache;
use parking_lot::Mutex;

/// Values by digest, each with a weight.
pub struct WeightedLru<V> {
    contents: Mutex<Contents<V>>,
    capacity: usize,
}

struct Contents<V> {
    entries: LruCache<Digest, (V, usize)>,
    weight: usize,
}

impl<V: Clone> WeightedLru<V> {
    pub fn new(capacity: usize) -> Self {
        Self { contents: Mutex::new(Contents { entries: LruCache::unbounded(), weight: 0 }), capacity }
    }

    pub fn get(&self, key: &Digest) -> Option<V> {
        self.contents.lock().entries.get(key).map(|(value, _)| value.clone())
    }

    /// Adds a value. A value that is heavier than the capacity stays until the next one is added.
    pub fn put(&self, key: Digest, value: V, weight: usize) {
        let mut contents = self.contents.lock();
        let Contents { entries, weight: total } = &mut *contents;
        *total += weight;
        // `push` returns the entry that it replaces: the LRU itself is unbounded and evicts nothing here.
        if let Some((_, (_, old))) = entries.push(key, (value, weight)) {
            *total -= old;
        }
        while *total > self.capacity
            && entries.len() > 1
            && let Some((_, (_, old))) = entries.pop_lru()
        {
            *total -= old;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evicts_the_least_recently_used() {
        let cache = WeightedLru::new(10);
        let key = |n: u8| Digest::of_bytes(&[n]);
        cache.put(key(1), 1, 4);
        cache.put(key(2), 2, 4);
        assert_eq!(cache.get(&key(1)), Some(1));
        cache.put(key(1), 1, 4);
        cache.put(key(3), 3, 4);
        assert_eq!([1, 2, 3].map(|n| cache.get(&key(n))), [Some(1), None, Some(3)]);
        cache.put(key(4), 4, 100);
        assert_eq!(cache.get(&key(4)), Some(4), "a value that is too heavy stays until the next one");
        cache.put(key(5), 5, 1);
        assert_eq!(cache.get(&key(4)), None);
    }
}
