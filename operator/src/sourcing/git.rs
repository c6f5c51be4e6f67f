//! A document in a Git repository: looked for again and again, by one short-lived pod at a time.

use enact_crds::document::{GitSource, SourceStatus};
use enact_domain::assignment::{Report, check_ref, check_url};
use enact_domain::digest::Digest;
use enact_domain::document_job::{DocumentJob, DocumentWork, FetchWork, check_path};
use enact_domain::names;
use enact_domain::time::Millis;

use super::errands::{self, NONE, Role, Stand, Started};
use super::{Missing, Sourced, Subject, jittered, member, portion, server};
use crate::context::{Context, Membership};
use crate::error::Error;
use crate::task::pod::{self, Frame};

/// Longest time of one look, in seconds.
const TIMEOUT_SECONDS: u32 = 300;
/// Seconds after which a pod under way is looked at though nothing was heard of it.
const WATCH_SECONDS: u32 = 60;
/// Seconds before another look after the first that gave nothing; doubled each time, up to the interval.
const BACKOFF_SECONDS: u32 = 30;
/// Seconds before it is seen whether the tenant has room.
const ROOM_SECONDS: u32 = 5;
/// Milliseconds after which a look that was due is forgotten: more than the longest interval.
const FORGOTTEN: u64 = 2 * 86_400_000;
/// Why there is no document yet.
const FETCHING: &str = "FetchingSource";

/// When a repository was looked at, as this process knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What was looked for.
    key: Digest,
    /// UID of the last pod whose end was taken in.
    pod: Option<String>,
    /// Whether a pod brought the document of the commit in the status, in the time of this process.
    seen: bool,
    /// Looks since the last that gave something.
    failures: u32,
    /// When the next one is due.
    next: Millis,
    /// The request that the last one was made for.
    asked: Option<String>,
}

impl Look {
    /// Whether its object is gone, or left alone, for so long that nobody needs it.
    pub fn is_forgotten(&self, now: Millis) -> bool {
        now.since(self.next) > FORGOTTEN
    }
}

/// When a look at a repository is due.
enum Due {
    Now,
    At(Millis),
    Never,
}

/// One reconcile's view of a repository.
struct Looking<'a> {
    ctx: &'a Context,
    subject: &'a Subject,
    git: &'a GitSource,
    member: Membership,
    now: Millis,
    /// Digest of what is looked for, and where.
    key: Digest,
    /// The status to be.
    status: SourceStatus,
    /// What its document is, if the record holds it.
    content: Option<Vec<u8>>,
}

/// The document as it was last read, and a pod that reads it again when that is due.
///
/// # Errors
/// When the API server or the record fails.
pub async fn content(
    ctx: &Context,
    subject: &Subject,
    git: &GitSource,
    known: Option<&SourceStatus>,
) -> Result<Sourced, Error> {
    let kept = |bytes| Sourced { bytes, status: known.cloned(), draft: None, wake: None };
    let member = match member(ctx, subject) {
        Ok(member) => member,
        Err(missing) => return Ok(kept(Err(missing))),
    };
    let key = Digest::of_json(&(&git.url, &git.revision, &git.path, &git.credentials_secret_ref))
        .map_err(|source| Error::Json { what: "a Git source", source })?;
    let known = known.cloned().unwrap_or_default();
    let mut looking = Looking { ctx, subject, git, member, now: ctx.now(), key, status: known.clone(), content: None };
    looking.recall(known.digest.clone()).await?;
    // A commit says something of the source that it was read from, and of no other.
    let same = ctx.errands.look(&subject.uid).map_or(subject.current, |look| look.key == looking.key);
    if !same || looking.content.is_none() {
        looking.status.commit = None;
    }
    let name = looking.pod_name();
    errands::dismiss(ctx, subject, &[&name]).await?;
    let wake = match ctx.errands.get(subject, &name) {
        Some(entry) => match entry.stand(looking.now) {
            Stand::Running(why) => {
                let wake = looking.now.plus_seconds(WATCH_SECONDS);
                return Ok(looking.sourced(why, Some(wake)));
            }
            Stand::Over(outcome) => {
                looking.take_in(*outcome).await?;
                let next = looking.read(&entry.uid);
                if looking.status == known {
                    errands::dismiss(ctx, subject, &[]).await?;
                }
                Some(next)
            }
        },
        None => match looking.due() {
            Due::Now => looking.look(name).await?,
            Due::At(next) => Some(next),
            Due::Never => None,
        },
    };
    Ok(looking.sourced(None, wake))
}

impl Looking<'_> {
    /// Reads the content with this digest from the record.
    async fn recall(&mut self, digest: Option<String>) -> Result<(), Error> {
        self.content = match digest {
            Some(digest) => self.ctx.memory.content(&self.member.tenant, &digest.into()).await?,
            None => None,
        };
        if self.content.is_none() {
            self.status.digest = None;
        }
        Ok(())
    }

    fn pod_name(&self) -> String {
        let told = format!("{}/{}", self.subject.uid, self.key);
        names::document_pod_name(&self.subject.name, names::ROLE_FETCH, &Digest::of_bytes(told.as_bytes()))
    }

    /// Takes in what a pod came to. What cannot be read leaves the last good content.
    async fn take_in(&mut self, outcome: Result<Report, String>) -> Result<(), Error> {
        let report = match outcome {
            Ok(report) => report,
            Err(why) => {
                self.status.problem = Some(why);
                return Ok(());
            }
        };
        let unchanged = report.document.is_none() && report.commit.is_some() && report.commit == self.status.commit;
        let Some(document) = report.document else {
            // The pod was told a commit that the record has the document of; if it is lost, the next look reads it again.
            self.status.problem = (!unchanged).then(|| "the pod brought no document; it is looked for again".into());
            return Ok(());
        };
        match self.ctx.memory.content(&self.member.tenant, &document).await? {
            Some(content) => {
                self.content = Some(content);
                self.status.digest = Some(document.to_string());
                self.status.commit = report.commit;
                self.status.problem = None;
            }
            None => self.status.problem = Some("the record does not hold what the pod brought".into()),
        }
        Ok(())
    }

    /// What is remembered of earlier looks for the same.
    fn before(&self) -> Option<Look> {
        self.ctx.errands.look(&self.subject.uid).filter(|look| look.key == self.key)
    }

    /// The commit that this process has seen the document of. A status from before its start may tell of another file: nobody knows what was
    /// changed meanwhile.
    fn known(&self) -> Option<String> {
        self.before().filter(|look| look.seen).and_then(|_| self.status.commit.clone())
    }

    fn remember(&self, look: Look) {
        self.ctx.errands.looked(&self.subject.uid, look, self.now);
    }

    /// Remembers that the end of this pod was taken in; when to look again.
    fn read(&mut self, pod: &str) -> Millis {
        let before = self.before();
        let asked = before.as_ref().and_then(|look| look.asked.clone());
        if asked.is_some() {
            self.status.observed_reconcile_at.clone_from(&asked);
        }
        if let Some(look) = before.as_ref().filter(|look| look.pod.as_deref() == Some(pod)) {
            return look.next;
        }
        let good = self.status.problem.is_none();
        let seen = good || before.as_ref().is_some_and(|look| look.seen);
        let failures = if good { 0 } else { before.map_or(0, |look| look.failures) + 1 };
        let next = self.after(failures);
        self.remember(Look { key: self.key.clone(), pod: Some(pod.to_owned()), seen, failures, next, asked });
        next
    }

    /// When to look again after so many looks that gave nothing.
    fn after(&self, failures: u32) -> Millis {
        let interval = self.git.interval_seconds;
        let seconds = match failures {
            0 => interval,
            n => interval.min(BACKOFF_SECONDS.saturating_mul(1 << (n - 1).min(16))),
        };
        Millis(self.now.0 + jittered(&self.subject.uid, seconds))
    }

    /// When the next look is due.
    fn due(&self) -> Due {
        if self.asks() {
            return Due::Now;
        }
        // A commit stays what it is.
        let fixed = self.known().is_some_and(|commit| commit == self.git.revision.to_ascii_lowercase());
        if fixed && self.status.problem.is_none() {
            self.ctx.errands.saw_pushes(&self.subject.uid, self.pushes());
            return Due::Never;
        }
        if self.pushes() > 0 {
            return Due::Now;
        }
        let next = match self.before() {
            Some(look) => look.next,
            // After a start of this process, what is known is looked at in the course of an interval, not all at once.
            None if self.status.commit.is_some() => {
                let spread = portion(&self.subject.uid, i64::from(self.git.interval_seconds) * 1000);
                let next = Millis(self.now.0 + spread);
                self.remember(Look { key: self.key.clone(), pod: None, seen: false, failures: 0, next, asked: None });
                next
            }
            None => return Due::Now,
        };
        if self.now < next { Due::At(next) } else { Due::Now }
    }

    /// Whether somebody asked for a look that was not made.
    fn asks(&self) -> bool {
        let asked = self.subject.reconcile_at.as_ref();
        asked.is_some() && asked != self.status.observed_reconcile_at.as_ref()
    }

    fn pushes(&self) -> u64 {
        self.ctx.errands.pushes(&self.subject.uid)
    }

    /// Has a pod look at the repository; when to look again at what it came to.
    async fn look(&mut self, name: String) -> Result<Option<Millis>, Error> {
        let asked = self.subject.reconcile_at.clone().filter(|_| self.asks());
        let before = self.before();
        let (failures, seen) = before.as_ref().map_or((0, false), |look| (look.failures, look.seen));
        let look = |pod, failures, next, asked| Look { key: self.key.clone(), pod, seen, failures, next, asked };
        // Before the pod is there: a push that is told from now on may be one that it does not see.
        let pushes = self.pushes();
        let refused = match self.pod(name) {
            Ok(pod) => match errands::start(self.ctx, &self.member, Role::Fetch, &pod).await? {
                Started::Yes => {
                    self.ctx.errands.saw_pushes(&self.subject.uid, pushes);
                    // If the pod vanishes, there is another one soon.
                    let next = self.after(failures.max(1));
                    self.remember(look(before.and_then(|look| look.pod), failures, next, asked));
                    return Ok(Some(self.now.plus_seconds(WATCH_SECONDS)));
                }
                Started::NoRoom => {
                    let wait = jittered(&self.subject.uid, ROOM_SECONDS);
                    return Ok(Some(Millis(self.now.0 + wait)));
                }
                Started::Refused(why) => why,
            },
            Err(why) => why,
        };
        self.ctx.errands.saw_pushes(&self.subject.uid, pushes);
        let next = self.after(failures + 1);
        self.remember(look(None, failures + 1, next, None));
        self.status.problem = Some(refused);
        if asked.is_some() {
            self.status.observed_reconcile_at = asked;
        }
        Ok(Some(next))
    }

    fn pod(&self, name: String) -> Result<k8s_openapi::api::core::v1::Pod, String> {
        let git = self.git;
        let field = |name: &str, error: String| format!("spec.source.git.{name}: {error}");
        check_url(&git.url).map_err(|e| field("url", e.to_string()))?;
        check_ref(&git.revision).map_err(|e| field("revision", e.to_string()))?;
        check_path(&git.path).map_err(|e| field("path", e.to_string()))?;
        let errand = DocumentJob {
            subject_uid: self.subject.uid.clone(),
            server_url: server(self.ctx)?,
            work: DocumentWork::Fetch(FetchWork {
                url: git.url.clone(),
                revision: git.revision.clone(),
                path: git.path.clone(),
                known: self.known(),
            }),
        };
        let frame = Frame {
            config: &self.ctx.config,
            member: &self.member,
            name,
            namespace: self.subject.namespace.clone(),
            labels: vec![(names::LABEL_ROLE, Role::Fetch.as_str().to_owned())],
            owner: self.subject.owner.clone(),
            assignment: pod::told_errand(&errand).map_err(|report| report.message)?,
            timeout_seconds: TIMEOUT_SECONDS,
            resources: [&NONE; 3],
        };
        Ok(pod::for_fetch(&frame, git.credentials_secret_ref.as_ref()))
    }

    /// What the source gives; `why` holds the pod up.
    fn sourced(self, why: Option<String>, wake: Option<Millis>) -> Sourced {
        let GitSource { url, revision, path, .. } = self.git;
        let bytes = match (self.content, &self.status.problem) {
            (Some(content), _) => Ok(content),
            (None, Some(problem)) => Err(Missing::failed("SourceMissing", problem.clone())),
            (None, None) => {
                let more = why.map_or_else(String::new, |why| format!(": {why}"));
                Err(Missing::waiting(FETCHING, format!("{path} is read from {url} at {revision}{more}")))
            }
        };
        Sourced { bytes, status: Some(self.status), draft: None, wake }
    }
}
