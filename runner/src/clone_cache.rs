//! The clone cache: packs of the repository that earlier attempts fetched, so that Git fetches only what is new.
//!
//! The cache saves time, and decides nothing: the runner asks the Git server for the refs as before, and its own credential must be able to
//! read them. The cache has indexed the packs when they arrived, so that each object has the name of its content, whoever sent it. The runner
//! trusts these indexes: to check them costs as much as to clone. Every problem with the cache is a line in the log, and Git fetches from its server.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use enact_domain::assignment::GitWork;
use enact_domain::clone_cache::{
    BYTES_HEADER, CLONE_HEADER, CLONE_PATH, COMMIT_HEADER, CachedClone, MAX_CLONE_BYTES, RESERVATION_PATH,
    is_object_name,
};
use enact_domain::text::truncated;
use ureq::http::{Response, StatusCode, header};

use crate::failure::Failure;
use crate::log::log;
use crate::process::Supervisor;
use crate::settings::Settings;

/// Time limit for a connection. A cache that is down must not delay an attempt.
const CONNECT: Duration = Duration::from_secs(2);
/// Time limit for the start of a response.
const RESPONSE: Duration = Duration::from_secs(10);
/// Time limit for a clone or a pack.
const TRANSFER: Duration = Duration::from_mins(1);
/// Time between two looks at the supervisor while another thread transfers.
const POLL: Duration = Duration::from_millis(5);
/// Folder of packs in a repository.
const PACKS: &str = "objects/pack";
/// Prefix of the refs in the clone for the commits that the cache has. By them, Git tells its server what it need not send.
const REFS: &str = "refs/enact/cached";
/// Packs that were fetched from the Git server are sent to the cache if they have this many bytes, or this part of the clone.
const WORTH_BYTES: u64 = 8 << 20;
const WORTH_PART: u64 = 16;
/// Longest message of the cache in the log.
const MAX_MESSAGE: usize = 200;

/// The cache, as the pod reaches it.
#[derive(Clone)]
pub(crate) struct CloneCache {
    url: String,
    token_file: PathBuf,
    client: ureq::Agent,
}

/// What the cache had.
pub(crate) enum Cached {
    /// Packs, which are in the clone now.
    Packs(CachedClone),
    /// Nothing yet.
    Nothing,
}

/// A transfer in another thread.
pub(crate) struct Transfer<T>(Receiver<Result<T, String>>);

impl CloneCache {
    /// Returns the cache that the assignment names.
    pub(crate) fn of(settings: &Settings, work: &GitWork) -> Option<Self> {
        let url = work.cache_url.as_deref()?.trim_end_matches('/').to_owned();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TRANSFER))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(RESPONSE))
            .http_status_as_error(false)
            // A redirect or a proxy would receive the token.
            .max_redirects(0)
            .proxy(None)
            .build();
        Some(Self { url, token_file: settings.cache_token_file.clone(), client: config.new_agent() })
    }

    /// Starts to write the packs of the cache into the empty clone below `tree`.
    pub(crate) fn download(&self, tree: &Path) -> Transfer<Cached> {
        let (cache, repository) = (self.clone(), tree.join(".git"));
        Transfer::start(move || {
            let cached = cache.write_packs(&repository);
            if cached.is_err() {
                // What arrived until then is of no use: nothing refers to it.
                remove_packs(&repository).map_err(|error| error.to_string())?;
            }
            cached
        })
    }

    fn write_packs(&self, repository: &Path) -> Result<Cached, String> {
        let begun = Instant::now();
        let request = self.client.get(self.address(CLONE_PATH)).header(header::AUTHORIZATION, self.authorization()?);
        let mut response = request.call().map_err(|error| error.to_string())?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(Cached::Nothing),
            _ => return Err(refusal(&mut response)),
        }
        let described = response.headers().get(CLONE_HEADER).ok_or("its response does not describe a clone")?;
        let clone: CachedClone = serde_json::from_slice(described.as_bytes()).map_err(|error| error.to_string())?;
        clone.check()?;
        let mut body = response.body_mut().with_config().limit(MAX_CLONE_BYTES).reader();
        for pack in &clone.packs {
            let path = |suffix: &str| repository.join(PACKS).join(format!("pack-{}.{suffix}", pack.name));
            copy(&mut body, &path("pack"), pack.bytes)?;
            copy(&mut body, &path("idx"), pack.index_bytes)?;
        }
        let refs: String = (0..).zip(&clone.commits).map(|(n, commit)| format!("{commit} {REFS}/{n}\n")).collect();
        fs::write(repository.join("packed-refs"), refs).map_err(|error| error.to_string())?;
        log(&format!(
            "the clone cache has {} pack(s); read {} bytes in {} ms",
            clone.packs.len(),
            clone.bytes(),
            begun.elapsed().as_millis()
        ));
        Ok(Cached::Packs(clone))
    }

    /// Sends what was fetched from the Git server to the cache, if it lacks much of it. `commit` is the commit that was asked for.
    pub(crate) fn update(
        &self,
        supervisor: &mut Supervisor,
        tree: &Path,
        cached: &Cached,
        commit: &str,
    ) -> Result<(), Failure> {
        let pack = match lacking(tree, cached) {
            Ok(Some(pack)) => pack,
            Ok(None) => return Ok(()),
            Err(error) => {
                log(&format!("the clone cannot be read for the cache: {error}"));
                return Ok(());
            }
        };
        let (cache, commit, begun) = (self.clone(), commit.to_owned(), Instant::now());
        match Transfer::start(move || cache.send(&pack, &commit)).finish(supervisor)? {
            Ok(Some(bytes)) => {
                log(&format!("sent {bytes} bytes to the clone cache in {} ms", begun.elapsed().as_millis()));
            }
            Ok(None) => {}
            Err(problem) => log(&format!("the clone cache did not accept the repository: {problem}")),
        }
        Ok(())
    }

    /// Sends a pack and returns its size; none if another attempt sends it.
    fn send(&self, pack: &Path, commit: &str) -> Result<Option<u64>, String> {
        if !is_object_name(commit) {
            return Ok(None);
        }
        let file = File::open(pack).map_err(|error| error.to_string())?;
        let bytes = file.metadata().map_err(|error| error.to_string())?.len();
        let mut reserved = self
            .client
            .post(self.address(RESERVATION_PATH))
            .header(header::AUTHORIZATION, self.authorization()?)
            .header(BYTES_HEADER, bytes)
            .send_empty()
            .map_err(|error| error.to_string())?;
        match reserved.status() {
            status if status.is_success() => {}
            StatusCode::CONFLICT => return Ok(None),
            _ => return Err(refusal(&mut reserved)),
        }
        let mut response = self
            .client
            .put(self.address(CLONE_PATH))
            .header(header::AUTHORIZATION, self.authorization()?)
            .header(COMMIT_HEADER, commit)
            .send(file)
            .map_err(|error| error.to_string())?;
        if response.status().is_success() { Ok(Some(bytes)) } else { Err(refusal(&mut response)) }
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn authorization(&self) -> Result<String, String> {
        // Every request reads the file again: the kubelet replaces the token before it expires.
        let token = fs::read_to_string(&self.token_file)
            .map_err(|error| format!("the token {} cannot be read: {error}", self.token_file.display()))?;
        Ok(format!("Bearer {}", token.trim()))
    }
}

impl<T: Send + 'static> Transfer<T> {
    fn start(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            // Nobody waits any more if the attempt was asked to stop.
            let _ = sender.send(work());
        });
        Self(receiver)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When the attempt is asked to stop.
    pub(crate) fn finish(self, supervisor: &mut Supervisor) -> Result<Result<T, String>, Failure> {
        loop {
            match self.0.recv_timeout(POLL) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) if supervisor.cancelled() => {
                    return Err(Failure::cancelled());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Err("the transfer failed".into())),
            }
        }
    }
}

/// Returns the pack that the cache lacks, if it is worth its transfer.
fn lacking(tree: &Path, cached: &Cached) -> io::Result<Option<PathBuf>> {
    let (known, worth) = match cached {
        Cached::Packs(clone) => (clone.packs.as_slice(), WORTH_BYTES.min(clone.bytes() / WORTH_PART)),
        Cached::Nothing => (&[][..], 0),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(tree.join(".git").join(PACKS))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.strip_prefix("pack-")?.strip_suffix(".pack"));
        if name.is_some_and(|name| known.iter().all(|pack| pack.name != name)) {
            found.push(path);
        }
    }
    // One fetch makes one pack.
    let [pack] = found.as_slice() else { return Ok(None) };
    Ok((fs::metadata(pack)?.len() >= worth).then(|| pack.clone()))
}

/// Copies exactly `bytes` into a new file.
fn copy(from: &mut impl Read, path: &Path, bytes: u64) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = File::options().write(true).create_new(true).open(path).map_err(failed)?;
    let copied = io::copy(&mut from.take(bytes), &mut file).map_err(failed)?;
    file.flush().map_err(failed)?;
    if copied == bytes { Ok(()) } else { Err(format!("its response ended after {copied} of {bytes} bytes of a file")) }
}

/// Removes all packs.
fn remove_packs(repository: &Path) -> io::Result<()> {
    for entry in fs::read_dir(repository.join(PACKS))? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

fn refusal(response: &mut Response<ureq::Body>) -> String {
    let status = response.status();
    let body = response.body_mut().with_config().limit(4096).read_to_string().unwrap_or_default();
    let said = truncated(body.trim(), MAX_MESSAGE).escape_debug().to_string();
    format!("it answered {status}: {said}")
}
