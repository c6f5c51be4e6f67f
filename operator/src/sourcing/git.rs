//! A document in a Git repository, polled by one short-lived pod at a time.

use enact_crds::document::{GitSource, SourceStatus};
use enact_crds::validation;
use enact_domain::assignment::Report;
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::document_job::{DocumentJob, DocumentWork, FetchWork};
use enact_domain::names;
use enact_domain::time::Millis;
use enact_domain::waiting::Waiting;

use super::context::Context;
use super::job_pods::{self, StartResult};
use super::jobs::{JobRole, JobState};
use super::poll_state::PollState;
use super::sourced::{SOURCE_MISSING, Sourced, Subject, at_work, jittered, member, portion, server_url};
use crate::context::Membership;
use crate::error::Error;
use crate::task::pod::{self, Frame, NO_RESOURCES};

/// Time limit of one poll, in seconds.
const TIMEOUT_SECONDS: u32 = 300;
/// Seconds after which a running pod is checked although no event arrived.
const WATCH_SECONDS: u32 = 60;
/// Seconds before the next poll after the first failure; doubled each time, up to the interval.
const BACKOFF_SECONDS: u32 = 30;
/// Seconds after which a poll that found no free slot is retried.
const NO_SLOT_SECONDS: u32 = 5;
/// The reason while the first poll runs.
const FETCHING: &str = "FetchingSource";

/// Time of the next poll.
enum Due {
    Now,
    At(Millis),
    Never,
}

/// One reconcile of a Git source.
struct GitReconcile<'a> {
    ctx: &'a Context,
    subject: &'a Subject,
    git: &'a GitSource,
    member: Membership,
    now: Millis,
    /// Digest of the source: URL, revision, path and credentials.
    key: Digest,
    /// The new status.
    status: SourceStatus,
    /// The document, if the record store contains it.
    content: Option<Vec<u8>>,
}

/// Returns the document as it was last fetched, and starts a pod that fetches it again when that is due.
///
/// # Errors
/// When the API server or the record store fails.
pub async fn content(
    ctx: &Context,
    subject: &Subject,
    git: &GitSource,
    known: Option<&SourceStatus>,
) -> Result<Sourced, Error> {
    let kept = |bytes| Sourced { bytes, status: known.cloned(), draft: None, requeue_at: None };
    let member = match member(ctx, subject) {
        Ok(member) => member,
        Err(missing) => return Ok(kept(Err(missing))),
    };
    let key = Digest::of_json(&(&git.url, &git.revision, &git.path, &git.credentials_secret_ref))
        .map_err(|source| Error::Json { what: "a Git source", source })?;
    let known = known.cloned().unwrap_or_default();
    let mut reconcile =
        GitReconcile { ctx, subject, git, member, now: ctx.now(), key, status: known.clone(), content: None };
    reconcile.load(known.digest.clone()).await?;
    // A commit in the status belongs to the source that it was fetched from. When the source changes, it says nothing.
    let same = ctx.jobs.poll_state(&subject.uid).map_or(subject.current, |state| state.key == reconcile.key);
    if !same || reconcile.content.is_none() {
        reconcile.status.commit = None;
    }
    let name = reconcile.pod_name();
    let entry = ctx.jobs.get(subject, &name, None);
    // The name contains the digest of the source: pods of an older URL, revision or path are deleted here, and pods that this process did not
    // create. A process that was stopped may have left such a pod, which polled for a push that nobody else knows: this one polls again.
    if ctx.jobs.is_foreign(subject, &name) {
        ctx.jobs.push(&subject.uid);
    }
    job_pods::delete_others(ctx, subject, entry.as_ref().map(|entry| entry.uid.clone()).as_slice()).await?;
    let requeue_at = match entry {
        Some(entry) => {
            let (entry, read_again_at) = job_pods::with_setup_failure(ctx, subject, entry).await;
            match entry.state(reconcile.now) {
                JobState::Running(wait) => {
                    let watch_at = reconcile.now.plus_seconds(WATCH_SECONDS);
                    let requeue_at = read_again_at.into_iter().chain([watch_at]).min();
                    return Ok(reconcile.sourced(wait, requeue_at));
                }
                JobState::Finished(outcome) => {
                    reconcile.read_result(*outcome).await?;
                    let next = reconcile.remember_result(&entry.uid);
                    // The status shows the result. Deleted earlier, a crash before the status write would lose it.
                    if reconcile.status == known {
                        job_pods::delete_all(ctx, subject).await?;
                    }
                    Some(next)
                }
            }
        }
        None => match reconcile.due() {
            Due::Now => reconcile.poll(name).await?,
            Due::At(next) => Some(next),
            Due::Never => None,
        },
    };
    Ok(reconcile.sourced(None, requeue_at))
}

impl GitReconcile<'_> {
    /// Reads the content with this digest from the record store.
    async fn load(&mut self, digest: Option<String>) -> Result<(), Error> {
        self.content = match digest {
            Some(digest) => self.ctx.record_store.content(&self.member.tenant, &digest.into()).await?,
            None => None,
        };
        if self.content.is_none() {
            self.status.digest = None;
        }
        Ok(())
    }

    fn pod_name(&self) -> String {
        let seed = format!("{}/{}", self.subject.uid, self.key);
        names::document_pod_name(&self.subject.name, names::ROLE_FETCH, &Digest::of_bytes(seed.as_bytes()))
    }

    /// Reads the result of a pod. After a failure the last good content stays.
    async fn read_result(&mut self, outcome: Result<Report, String>) -> Result<(), Error> {
        let report = match outcome {
            Ok(report) => report,
            Err(why) => {
                self.status.problem = Some(why);
                return Ok(());
            }
        };
        let unchanged = report.document.is_none() && report.commit.is_some() && report.commit == self.status.commit;
        let Some(document) = report.document else {
            // The pod knew the commit of the status, and fetched nothing because the branch did not move. If the record store lost that
            // document, the next poll fetches it again.
            self.status.problem =
                (!unchanged).then(|| "the pod delivered no document; the operator polls again".into());
            return Ok(());
        };
        // enact-server stored the document before the pod ended: the pod reports only its digest.
        match self.ctx.record_store.content(&self.member.tenant, &document).await? {
            Some(content) => {
                self.content = Some(content);
                self.status.digest = Some(document.to_string());
                self.status.commit = report.commit;
                self.status.problem = None;
            }
            None => {
                self.status.problem = Some("the record store does not hold the document that the pod delivered".into());
            }
        }
        Ok(())
    }

    /// Returns the state of earlier polls of the same source.
    fn before(&self) -> Option<PollState> {
        self.ctx.jobs.poll_state(&self.subject.uid).filter(|state| state.key == self.key)
    }

    /// Returns the commit whose document this process has fetched. A commit that an earlier process wrote to the status may belong to
    /// another file: the spec may have changed in between.
    fn fetched_commit(&self) -> Option<String> {
        self.before().filter(|state| state.seen).and_then(|_| self.status.commit.clone())
    }

    fn remember(&self, state: PollState) {
        self.ctx.jobs.set_poll_state(&self.subject.uid, state, self.now);
    }

    /// Remembers that the result of this pod was read, and returns when to poll again.
    fn remember_result(&mut self, pod: &str) -> Millis {
        let before = self.before();
        let asked = before.as_ref().and_then(|state| state.asked.clone());
        if asked.is_some() {
            // The poll that the annotation asked for is over: `is_requested` becomes false.
            self.status.observed_reconcile_at.clone_from(&asked);
        }
        if let Some(state) = before.as_ref().filter(|state| state.pod.as_deref() == Some(pod)) {
            // The same result is read again until its pod is deleted: it must not count as another failure, nor postpone the next poll.
            return state.next;
        }
        let good = self.status.problem.is_none();
        let seen = good || before.as_ref().is_some_and(|state| state.seen);
        let failures = if good { 0 } else { before.map_or(0, |state| state.failures) + 1 };
        let next = self.after(failures);
        self.remember(PollState { key: self.key.clone(), pod: Some(pod.to_owned()), seen, failures, next, asked });
        next
    }

    /// Returns when to poll again after this number of failures.
    fn after(&self, failures: u32) -> Millis {
        let interval = self.git.interval_seconds;
        let seconds = match failures {
            0 => interval,
            // The exponent is limited, because a larger shift overflows.
            n => interval.min(BACKOFF_SECONDS.saturating_mul(1 << (n - 1).min(16))),
        };
        Millis(self.now.0 + jittered(&self.subject.uid, seconds))
    }

    /// Returns when the next poll is due.
    fn due(&self) -> Due {
        if self.is_requested() {
            return Due::Now;
        }
        // A revision that is a commit never moves.
        let fixed = self.fetched_commit().is_some_and(|commit| commit == self.git.revision.to_ascii_lowercase());
        if fixed && self.status.problem.is_none() {
            self.ctx.jobs.saw_pushes(&self.subject.uid, self.pushes());
            return Due::Never;
        }
        // Before the schedule: a push makes the poll due now, also during the backoff after failures.
        if self.pushes() > 0 {
            return Due::Now;
        }
        let next = match self.before() {
            Some(state) => state.next,
            // After a restart, the polls of known sources are spread over one interval.
            None if self.status.commit.is_some() => {
                let spread = portion(&self.subject.uid, i64::from(self.git.interval_seconds) * 1000);
                let next = Millis(self.now.0 + spread);
                self.remember(PollState {
                    key: self.key.clone(),
                    pod: None,
                    seen: false,
                    failures: 0,
                    next,
                    asked: None,
                });
                next
            }
            None => return Due::Now,
        };
        if self.now < next { Due::At(next) } else { Due::Now }
    }

    /// Returns whether the annotation asks for a poll that was not made.
    fn is_requested(&self) -> bool {
        let asked = self.subject.reconcile_at.as_ref();
        asked.is_some() && asked != self.status.observed_reconcile_at.as_ref()
    }

    fn pushes(&self) -> u64 {
        self.ctx.jobs.pushes(&self.subject.uid)
    }

    /// Starts a pod that polls the repository, and returns when to check it.
    async fn poll(&mut self, name: String) -> Result<Option<Millis>, Error> {
        let asked = self.subject.reconcile_at.clone().filter(|_| self.is_requested());
        let before = self.before();
        let (failures, seen) = before.as_ref().map_or((0, false), |state| (state.failures, state.seen));
        let state = |pod, failures, next, asked| PollState { key: self.key.clone(), pod, seen, failures, next, asked };
        // Counted before the pod is created: the pod may not see a push that arrives from now on.
        let pushes = self.pushes();
        let refused = match self.pod(name) {
            Ok(pod) => match job_pods::start(self.ctx, &self.member, JobRole::Fetch, &pod, &[]).await? {
                StartResult::Started(_) => {
                    self.ctx.jobs.saw_pushes(&self.subject.uid, pushes);
                    // If the pod vanishes, the next poll comes soon.
                    let next = self.after(failures.max(1));
                    self.remember(state(before.and_then(|state| state.pod), failures, next, asked));
                    return Ok(Some(self.now.plus_seconds(WATCH_SECONDS)));
                }
                StartResult::NoSlot | StartResult::NameTaken => {
                    let delay = jittered(&self.subject.uid, NO_SLOT_SECONDS);
                    return Ok(Some(Millis(self.now.0 + delay)));
                }
                StartResult::Refused(why) => why,
            },
            Err(why) => why,
        };
        self.ctx.jobs.saw_pushes(&self.subject.uid, pushes);
        let next = self.after(failures + 1);
        self.remember(state(None, failures + 1, next, None));
        self.status.problem = Some(refused);
        if asked.is_some() {
            self.status.observed_reconcile_at = asked;
        }
        Ok(Some(next))
    }

    fn pod(&self, name: String) -> Result<k8s_openapi::api::core::v1::Pod, String> {
        let git = self.git;
        if let Some(error) = validation::git_source("spec.source.git", git).first() {
            return Err(error.to_string());
        }
        let job = DocumentJob {
            subject_uid: self.subject.uid.clone(),
            server_url: server_url(self.ctx)?,
            work: DocumentWork::Fetch(FetchWork {
                url: git.url.clone(),
                revision: git.revision.clone(),
                path: git.path.clone(),
                // The pod fetches nothing if the revision still points to this commit.
                known: self.fetched_commit(),
            }),
        };
        let frame = Frame {
            config: &self.ctx.config,
            member: &self.member,
            name,
            namespace: self.subject.namespace.clone(),
            labels: vec![(names::LABEL_ROLE, JobRole::Fetch.as_str().to_owned())],
            agent: None,
            models: None,
            uses_gateway: false,
            repository: None,
            owner: self.subject.owner.clone(),
            assignment: pod::document_job_json(&job).map_err(|report| report.message)?,
            timeout_seconds: TIMEOUT_SECONDS,
            resources: [&NO_RESOURCES; 3],
            default_resources: pod::DefaultResources::SCRIPT,
        };
        Ok(pod::for_fetch(&frame, git.credentials_secret_ref.as_ref()))
    }

    /// Returns the result; `wait` is the wait of the pod.
    fn sourced(self, wait: Option<Waiting>, requeue_at: Option<Millis>) -> Sourced {
        let GitSource { url, revision, path, .. } = self.git;
        let bytes = match (self.content, &self.status.problem) {
            // The last good content stays in use while polls fail. The status shows the problem.
            (Some(content), _) => Ok(content),
            (None, Some(problem)) => Err(Readiness::stalled(SOURCE_MISSING, problem.clone())),
            (None, None) => Err(at_work(FETCHING, &format!("fetching {path} from {url} at {revision}"), wait)),
        };
        Sourced { bytes, status: Some(self.status), draft: None, requeue_at }
    }
}
