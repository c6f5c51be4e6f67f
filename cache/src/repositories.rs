//! The cached repositories: which packs they have, who may add one, and which are removed when space is needed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use enact_domain::clone_cache::{CachedClone, MAX_PACKS, Pack};
use http::StatusCode;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::identity::Requester;
use crate::metrics::Metrics;
use crate::pack;
use crate::problem::Problem;

/// Time for which a runner may begin to send the pack that it has reserved.
const RESERVED: Duration = Duration::from_mins(1);
/// Time after which a repository that nobody uses is removed.
const IDLE: Duration = Duration::from_hours(24);
/// Most packs that arrive at once.
const MAX_ARRIVING: usize = 4;

/// Sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// All packs together.
    pub capacity: u64,
    /// The packs of one repository.
    pub repository: u64,
}

/// The cached repositories. All state is in memory: a cache that starts is empty.
pub struct Repositories {
    root: PathBuf,
    sizes: Sizes,
    state: Mutex<State>,
    metrics: Metrics,
}

#[derive(Default)]
struct State {
    repositories: HashMap<String, Repository>,
    /// Packs that are awaited or arrive, by repository. A tenant has at most one.
    arriving: HashMap<String, Arrival>,
}

struct Repository {
    tenant: String,
    clone: CachedClone,
    used: Instant,
}

struct Arrival {
    tenant: String,
    pod_uid: String,
    bytes: u64,
    /// When the reservation ends; none once the pack arrives.
    until: Option<Instant>,
}

impl Arrival {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
}

/// A pack that arrives. Its reservation ends when this is dropped.
pub struct Upload {
    repositories: Arc<Repositories>,
    tenant: String,
    key: String,
    /// The repository's folder.
    pub folder: PathBuf,
    /// Whether the repository has no pack yet.
    pub first: bool,
}

impl Repositories {
    /// Makes an empty cache in `root`, and deletes what is there.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn new(root: &Path, sizes: Sizes, metrics: Metrics) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }?;
        }
        Ok(Self { root: root.to_owned(), sizes, state: Mutex::default(), metrics })
    }

    /// Returns what the cache has of a repository, with the open files of each pack and index in order; none if it has nothing.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn read(&self, requester: &Requester) -> io::Result<Option<(CachedClone, Vec<File>)>> {
        let mut state = self.state.lock();
        let Some(repository) = state.repositories.get_mut(&requester.repository) else { return Ok(None) };
        repository.used = Instant::now();
        let folder = self.folder(&requester.repository);
        // Opened under the lock: files that are removed later can still be read.
        let files = repository.clone.packs.iter().flat_map(|pack| pack::paths(&folder, &pack.name)).map(File::open);
        Ok(Some((repository.clone.clone(), files.collect::<io::Result<_>>()?)))
    }

    /// Reserves the right to send a pack of `bytes`.
    ///
    /// # Errors
    /// When another pod has it, or the repository would be too large.
    pub fn reserve(&self, requester: &Requester, bytes: u64) -> Result<(), Problem> {
        let mut state = self.state.lock();
        state.arriving.retain(|_, arrival| !arrival.is_over());
        let other = |(key, arrival): (&String, &Arrival)| {
            let same = *key == requester.repository && arrival.pod_uid == requester.pod_uid && arrival.until.is_some();
            !same && (*key == requester.repository || arrival.tenant == requester.tenant)
        };
        if state.arriving.iter().any(other) || state.arriving.len() >= MAX_ARRIVING {
            return Err(Problem::conflict("another attempt sends a pack"));
        }
        let size = state.repositories.get(&requester.repository).map_or(0, |known| known.clone.bytes());
        let full = state.repositories.get(&requester.repository).is_some_and(|known| {
            known.clone.packs.len() >= MAX_PACKS || size.saturating_add(with_index(bytes)) > self.sizes.repository
        });
        if full {
            // The next attempt finds nothing, fetches everything in one pack, and sends that.
            self.remove(&mut state, &requester.repository, "packs");
            return Err(Problem::conflict(
                "the repository was removed, because it has too many packs or would be too large; the next attempt sends all of it",
            ));
        }
        if with_index(bytes) > self.sizes.repository.min(self.sizes.capacity / 2) {
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the repository is too large for the cache"));
        }
        let (tenant, pod_uid) = (requester.tenant.clone(), requester.pod_uid.clone());
        let arrival = Arrival { tenant, pod_uid, bytes, until: Some(Instant::now() + RESERVED) };
        state.arriving.insert(requester.repository.clone(), arrival);
        Ok(())
    }

    /// Begins to receive the pack that was reserved, and makes space for it.
    ///
    /// # Errors
    /// When it was not reserved by this pod with this size, or there is no space.
    pub fn begin(self: &Arc<Self>, requester: &Requester, bytes: u64) -> Result<Upload, Problem> {
        let key = &requester.repository;
        let mut state = self.state.lock();
        let reserved = state.arriving.get_mut(key).filter(|arrival| {
            arrival.pod_uid == requester.pod_uid
                && arrival.until.is_some()
                && !arrival.is_over()
                && arrival.bytes == bytes
        });
        let Some(arrival) = reserved else {
            return Err(Problem::conflict("the pack was not reserved with this size"));
        };
        arrival.until = None;
        let upload = Upload {
            repositories: Arc::clone(self),
            tenant: requester.tenant.clone(),
            key: key.clone(),
            folder: self.folder(key),
            first: !state.repositories.contains_key(key),
        };
        // Every failure from here on drops the upload after the lock, and with it the reservation.
        let prepared = if self.make_space(&mut state, &requester.tenant) {
            if upload.first { pack::create(&upload.folder) } else { Ok(()) }
        } else {
            Err(io::Error::other("there is no space"))
        };
        drop(state);
        match prepared {
            Ok(()) => Ok(upload),
            Err(error) => {
                tracing::warn!(%error, "a pack cannot be received");
                Err(Problem::unavailable("the cache has no space"))
            }
        }
    }

    /// Removes repositories until everything that arrives has space. A tenant with more than half of the space removes its own ones.
    fn make_space(&self, state: &mut State, tenant: &str) -> bool {
        loop {
            if state.needed(None) <= self.sizes.capacity {
                return true;
            }
            let own = state.needed(Some(tenant)) > self.sizes.capacity / 2;
            let removable = state.repositories.iter().filter(|(key, repository)| {
                !state.arriving.contains_key(*key) && (!own || repository.tenant == tenant)
            });
            let Some(oldest) = removable.min_by_key(|(_, repository)| repository.used).map(|(key, _)| key.clone())
            else {
                return false;
            };
            self.remove(state, &oldest, "space");
        }
    }

    /// Removes the repositories that nobody has used for a day.
    pub fn remove_idle(&self) {
        let mut state = self.state.lock();
        let idle: Vec<String> = state
            .repositories
            .iter()
            .filter(|(key, repository)| repository.used.elapsed() >= IDLE && !state.arriving.contains_key(*key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in idle {
            self.remove(&mut state, &key, "idle");
        }
    }

    fn remove(&self, state: &mut State, key: &str, reason: &str) {
        state.repositories.remove(key);
        if let Err(error) = fs::remove_dir_all(self.folder(key)) {
            tracing::warn!(%error, "a repository cannot be removed");
        }
        self.metrics.removed.with_label_values(&[reason]).inc();
        self.show(state);
    }

    fn show(&self, state: &State) {
        self.metrics.bytes.set(state.bytes(None).try_into().unwrap_or(i64::MAX));
        self.metrics.repositories.set(state.repositories.len().try_into().unwrap_or(i64::MAX));
    }

    fn folder(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }
}

impl State {
    /// Returns the size of all packs of a tenant, or of all tenants.
    fn bytes(&self, tenant: Option<&str>) -> u64 {
        let counted = self.repositories.values().filter(|known| tenant.is_none_or(|name| known.tenant == name));
        counted.map(|known| known.clone.bytes()).sum()
    }

    /// Returns the size of all packs of a tenant, or of all tenants, with those that arrive.
    fn needed(&self, tenant: Option<&str>) -> u64 {
        let counted = self.arriving.values().filter(|arrival| tenant.is_none_or(|name| arrival.tenant == name));
        self.bytes(tenant) + counted.map(|arrival| with_index(arrival.bytes)).sum::<u64>()
    }
}

impl Upload {
    /// Adds an accepted pack, which completes `commit`.
    pub fn complete(self, pack: Pack, commit: String) {
        let mut state = self.repositories.state.lock();
        let new = || Repository { tenant: self.tenant.clone(), clone: CachedClone::default(), used: Instant::now() };
        let repository = state.repositories.entry(self.key.clone()).or_insert_with(new);
        repository.clone.packs.push(pack);
        repository.clone.commits.push(commit);
        repository.used = Instant::now();
        self.repositories.show(&state);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        pack::remove_incoming(&self.folder);
        let mut state = self.repositories.state.lock();
        state.arriving.remove(&self.key);
        if !state.repositories.contains_key(&self.key) {
            // It need not exist.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Returns an estimate of the size of a pack with its index.
fn with_index(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    struct Cache {
        repositories: Arc<Repositories>,
        _folder: tempfile::TempDir,
    }

    impl Cache {
        fn new(capacity: u64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let sizes = Sizes { capacity: capacity * MIB, repository: 100 * MIB };
            let repositories = Arc::new(Repositories::new(folder.path(), sizes, Metrics::new().unwrap()).unwrap());
            Self { repositories, _folder: folder }
        }

        /// Stores a pack of this many bytes.
        fn store(&self, requester: &Requester, bytes: u64) -> Result<(), Problem> {
            self.repositories.reserve(requester, bytes)?;
            let upload = self.repositories.begin(requester, bytes)?;
            let number = self.repositories.read(requester).unwrap().map_or(0, |(clone, _)| clone.packs.len());
            let name = format!("{number:040}");
            for path in pack::paths(&upload.folder, &name) {
                fs::write(path, "").unwrap();
            }
            upload.complete(Pack { name, bytes, index_bytes: 0 }, "0".repeat(40));
            Ok(())
        }

        fn has(&self, requester: &Requester) -> bool {
            self.repositories.read(requester).unwrap().is_some()
        }

        fn removed(&self, reason: &str) -> u64 {
            self.repositories.metrics.removed.with_label_values(&[reason]).get()
        }
    }

    fn pod(tenant: &str, repository: &str, pod: &str) -> Requester {
        Requester { tenant: tenant.into(), pod_uid: pod.into(), repository: repository.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_repository_makes_space() {
        let cache = Cache::new(100);
        let [a, b, c] = ["a", "b", "c"].map(|name| pod(name, name, "p"));
        for one in [&a, &b] {
            cache.store(one, 40 * MIB).unwrap();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(cache.has(&a), "it is used again");
        cache.store(&c, 40 * MIB).unwrap();
        assert_eq!([&a, &b, &c].map(|one| cache.has(one)), [true, false, true]);
        assert_eq!(cache.removed("space"), 1);
        tokio::time::advance(IDLE).await;
        cache.repositories.remove_idle();
        assert_eq!(cache.removed("idle"), 2);
    }

    #[tokio::test]
    async fn a_tenant_with_half_of_the_space_removes_its_own() {
        let cache = Cache::new(100);
        let other = pod("other", "o", "p");
        cache.store(&other, 10 * MIB).unwrap();
        for name in ["a", "b", "c"] {
            cache.store(&pod("greedy", name, "p"), 30 * MIB).unwrap();
        }
        assert!(cache.has(&other), "it is the oldest, but not the tenant's own");
        assert_eq!(cache.removed("space"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_several_pods_sends_a_pack() {
        let cache = Cache::new(100);
        let [one, two] = ["1", "2"].map(|uid| pod("acme", "a", uid));
        cache.repositories.reserve(&one, 10).unwrap();
        assert_eq!(cache.repositories.reserve(&two, 10).unwrap_err().status, StatusCode::CONFLICT);
        assert_eq!(cache.repositories.begin(&two, 10).err().unwrap().status, StatusCode::CONFLICT);
        assert_eq!(cache.repositories.begin(&one, 11).err().unwrap().status, StatusCode::CONFLICT, "another size");
        tokio::time::advance(RESERVED).await;
        cache.repositories.reserve(&two, 10).unwrap();
        assert!(cache.repositories.begin(&one, 10).is_err(), "its reservation has ended");
        let upload = cache.repositories.begin(&two, 10).unwrap();
        tokio::time::advance(RESERVED * 2).await;
        assert!(cache.repositories.reserve(&two, 10).is_err(), "the pack arrives");
        let folder = upload.folder.clone();
        drop(upload);
        assert!(!folder.exists(), "what was not accepted is removed");
        cache.store(&one, 10).unwrap();
    }

    #[tokio::test]
    async fn a_repository_with_many_packs_is_removed() {
        let cache = Cache::new(1000);
        let pod = pod("acme", "a", "p");
        for _ in 0..MAX_PACKS {
            cache.store(&pod, 10).unwrap();
        }
        assert_eq!(cache.store(&pod, 10).unwrap_err().status, StatusCode::CONFLICT);
        assert!(!cache.has(&pod));
        cache.store(&pod, 60 * MIB).unwrap();
        assert_eq!(cache.store(&pod, 60 * MIB).unwrap_err().status, StatusCode::CONFLICT, "it would be too large");
        assert!(!cache.has(&pod));
        assert_eq!(cache.store(&pod, 101 * MIB).unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
