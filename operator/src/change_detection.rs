//! Change detection: remembers the last value under each name, so that an unchanged value causes no work for others.

use std::collections::HashMap;

use enact_domain::digest::Digest;
use parking_lot::Mutex;

/// Number of remembered names. When it is reached all are forgotten, which costs some needless reconciles.
const MAX_NAMES: usize = 65_536;

/// Digests of the last values by name.
#[derive(Debug, Default)]
pub struct ChangeDetector {
    known: Mutex<HashMap<String, Digest>>,
}

impl ChangeDetector {
    /// Remembers a value, and returns whether it differs from the last one under this name.
    pub fn changed(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        let digest = Digest::of_bytes(value.as_ref());
        self.remember(name, digest.clone()) != Some(digest)
    }

    /// Remembers the digest of a value, and returns the one before.
    pub fn remember(&self, name: &str, digest: Digest) -> Option<Digest> {
        let mut known = self.known.lock();
        if known.len() >= MAX_NAMES && !known.contains_key(name) {
            known.clear();
        }
        known.insert(name.to_owned(), digest)
    }

    /// Forgets the value under this name.
    pub fn forget(&self, name: &str) {
        self.known.lock().remove(name);
    }

    /// Forgets all values, which costs some needless work.
    pub fn forget_all(&self) {
        self.known.lock().clear();
    }

    /// Returns whether the last value under this name has this digest; none when no value is known.
    pub fn matches(&self, name: &str, digest: &Digest) -> Option<bool> {
        self.known.lock().get(name).map(|known| known == digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_each_change_once() {
        let detector = ChangeDetector::default();
        assert!(detector.changed("a", "one"));
        assert!(!detector.changed("a", "one"));
        assert!(detector.changed("b", "one"));
        assert!(detector.changed("a", "two"));
        assert!(detector.changed("a", "one"), "only the last value is remembered");
    }
}
