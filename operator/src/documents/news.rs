//! News: what was last told to others about an object, so that they are not woken for nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use enact_domain::digest::Digest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::status::Standing;

/// Objects that are remembered. Beyond it all are forgotten, which costs some looks at what has not changed.
const MANY: usize = 65_536;

/// What was last told, by UID and subject.
#[derive(Debug, Default)]
pub struct News {
    told: Mutex<HashMap<String, Digest>>,
}

impl News {
    /// Whether this is another text than the last one of this name; it is remembered.
    pub fn is_news(&self, name: &str, text: impl AsRef<[u8]>) -> bool {
        self.replace(name, Digest::of_bytes(text.as_ref())).is_none_or(|same| !same)
    }

    /// Remembers a digest; whether it is the one that was known, if one was.
    pub fn replace(&self, name: &str, digest: Digest) -> Option<bool> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MANY && !told.contains_key(name) {
            told.clear();
        }
        let same = told.get(name).map(|known| *known == digest);
        told.insert(name.to_owned(), digest);
        same
    }

    /// Forgets what was told under this name.
    pub fn forget(&self, name: &str) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether this digest was remembered last, if one was.
    pub fn knows(&self, name: &str, digest: &Digest) -> Option<bool> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(|known| known == digest)
    }
}

/// All that others decide by when they look at a document.
pub fn seen_by_others(meta: &ObjectMeta, standing: &Standing) -> String {
    let Standing { observed_generation, conditions, digest, approved_digest, .. } = standing;
    let conditions: Vec<_> = conditions.iter().map(|c| (&c.type_, &c.status, &c.reason, &c.message)).collect();
    format!("{:?} {observed_generation:?} {conditions:?} {digest:?} {approved_digest:?}", meta.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once() {
        let news = News::default();
        assert!(news.is_news("a", "one"));
        assert!(!news.is_news("a", "one"));
        assert!(news.is_news("b", "one"));
        assert!(news.is_news("a", "two"));
        assert!(news.is_news("a", "one"), "what was told before the last is news again");
    }
}
