//! The clone cache: the wire format between runner and cache, and the name under which a repository is kept.
//!
//! The runner asks for the clone of its pod's repository, which contains packs of Git with their indexes. It sends packs that the cache
//! lacks. Both sides check what the other one says with [`CachedClone::check`].

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Path of the clone of the pod's repository: GET reads it, PUT adds a pack to it.
pub const CLONE_PATH: &str = "/v1/clone";
/// Path to which a runner sends a POST before it adds a pack, so that only one of several runners sends it.
pub const RESERVATION_PATH: &str = "/v1/clone/reservation";
/// Header of a response with the [`CachedClone`] as JSON. The body consists of each pack followed by its index, in this order.
pub const CLONE_HEADER: &str = "x-enact-clone";
/// Header of a request that adds a pack: the ID of the commit that it completes.
pub const COMMIT_HEADER: &str = "x-enact-commit";
/// Header of the request of a reservation: the size of the pack, in bytes.
pub const BYTES_HEADER: &str = "x-enact-bytes";
/// Most packs of one repository. The cache discards a repository that would get more, and the next attempt sends it as one pack.
pub const MAX_PACKS: usize = 8;
/// Largest clone, in bytes.
pub const MAX_CLONE_BYTES: u64 = 64 << 30;

/// The packs that the cache has of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedClone {
    /// IDs of commits whose whole history is in the packs, the oldest first.
    pub commits: Vec<String>,
    pub packs: Vec<Pack>,
}

/// A pack and its index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pack {
    /// The name that Git gives it: 40 hex digits, in lower case.
    pub name: String,
    /// Size of the pack, in bytes.
    pub bytes: u64,
    /// Size of the index, in bytes.
    pub index_bytes: u64,
}

impl CachedClone {
    /// Returns the size of all packs and indexes, in bytes.
    pub fn bytes(&self) -> u64 {
        self.packs.iter().fold(0u64, |sum, pack| sum.saturating_add(pack.bytes).saturating_add(pack.index_bytes))
    }

    /// Checks what another program sent.
    ///
    /// # Errors
    /// When a name could be another path or an option, or the clone is empty or too large.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=MAX_PACKS).contains(&self.packs.len()) || self.commits.is_empty() || self.commits.len() > MAX_PACKS {
            return Err(format!("a clone has 1 to {MAX_PACKS} packs and commits"));
        }
        let names = self.packs.iter().map(|pack| &pack.name).chain(&self.commits);
        if !names.into_iter().all(|name| is_object_name(name)) {
            return Err("a pack or commit does not have a name of 40 hex digits".into());
        }
        if self.bytes() > MAX_CLONE_BYTES {
            return Err(format!("a clone has at most {MAX_CLONE_BYTES} bytes"));
        }
        Ok(())
    }
}

/// Returns whether `name` has 40 hex digits in lower case, as the names of packs and the IDs of objects.
pub fn is_object_name(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

/// Returns the value of [`crate::names::ANNOTATION_REPOSITORY`] on the pods that clone `url` with the Secret `credentials`.
///
/// Two pods share a clone only if both are the same: what one credential can read is not shown to another.
pub fn repository(url: &str, credentials: Option<&str>) -> Digest {
    // Neither can contain a NUL.
    Digest::of_bytes(format!("{url}\0{}", credentials.unwrap_or_default()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clone(pack: &str, commit: &str) -> CachedClone {
        CachedClone {
            commits: vec![commit.into()],
            packs: vec![Pack { name: pack.into(), bytes: 100, index_bytes: 20 }],
        }
    }

    #[test]
    fn only_names_of_git_pass() {
        let good = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(clone(good, good).check(), Ok(()));
        assert_eq!(clone(good, good).bytes(), 120);
        for bad in
            ["", "../../../../../../../../../../../../etc/x", &"0".repeat(64), &"A".repeat(40), "--upload-pack=x"]
        {
            assert!(clone(bad, good).check().is_err() && clone(good, bad).check().is_err(), "{bad}");
        }
    }

    #[test]
    fn number_and_size_are_limited() {
        let good = "0".repeat(40);
        assert!(CachedClone::default().check().is_err());
        let mut many = clone(&good, &good);
        many.packs = vec![many.packs[0].clone(); MAX_PACKS + 1];
        assert!(many.check().is_err());
        let mut large = clone(&good, &good);
        large.packs = vec![Pack { bytes: u64::MAX, ..large.packs[0].clone() }; 2];
        assert!(large.check().is_err(), "the sum does not overflow");
    }

    #[test]
    fn repositories_differ_by_url_and_credential() {
        let all = [("a", None), ("a", Some("b")), ("ab", None), ("b", None)].map(|(url, key)| repository(url, key));
        for (n, one) in all.iter().enumerate() {
            assert!(all[n + 1..].iter().all(|other| other != one));
        }
    }
}
