use std::collections::BTreeMap;

use enact_domain::record::{Event, Record};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::{ErrorClass, StoreError};
use crate::sanitise::sanitise;
use crate::session::Session;
use crate::store::Store;

/// Length of the writer's queue, in submissions. When it is full, callers wait to submit.
const QUEUE: usize = 4096;
/// Maximum number of submissions in one batch.
const BATCH: usize = 1024;
/// Size of a batch, in bytes of documents, above which it is written in parts.
const BATCH_BYTES: usize = 8 << 20;

/// Writes records of many callers together.
///
/// All clones submit to one writer. While it writes a batch, further submissions queue; the next batch contains all of them. So callers
/// share round trips under load, and without load a caller does not wait for a timer.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Submission>,
}

/// A handle that stops the writer of [`Recorder`]s. Dropping it stops the writer without waiting for it.
#[derive(Debug)]
pub struct Flusher {
    stop: oneshot::Sender<()>,
    writer: JoinHandle<()>,
}

#[derive(Debug)]
struct Submission {
    records: Vec<Record>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Recorder {
    /// Starts a writer on the current Tokio runtime.
    pub fn start(store: Store) -> (Self, Flusher) {
        let (queue, submissions) = mpsc::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let writer = tokio::spawn(Writer { store, session: None }.run(submissions, stopped));
        (Self { queue }, Flusher { stop, writer })
    }

    /// Writes `records`, and returns when they are durable. Recorded ones are not written again.
    ///
    /// # Errors
    /// If some of them may not be written. After [`ErrorClass::Transient`] and [`ErrorClass::Conflict`] the same call can be repeated,
    /// whether or not something was written.
    pub async fn record(&self, mut records: Vec<Record>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        // Check before queueing: an invalid record would otherwise make Postgres reject the whole transaction of its
        // batch.
        for record in &mut records {
            sanitise(record)?;
        }
        let (done, answer) = oneshot::channel();
        // Waits when the queue is full, which slows callers down instead of using more memory.
        self.queue.send(Submission { records, done }).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Flusher {
    /// Closes the queue, and returns when all submissions in it are answered.
    pub async fn close(self) {
        // The writer ends without this signal when the last recorder is dropped.
        let _ = self.stop.send(());
        if let Err(error) = self.writer.await {
            tracing::error!(%error, "the writer of the record stopped with an error");
        }
    }
}

struct Writer {
    store: Store,
    session: Option<Session>,
}

impl Writer {
    async fn run(mut self, mut submissions: mpsc::Receiver<Submission>, mut stopped: oneshot::Receiver<()>) {
        let mut stopping = false;
        let mut queued = Vec::new();
        loop {
            tokio::select! {
                // Checks the stop signal first, so that a steady stream of submissions cannot delay it.
                biased;
                _ = &mut stopped, if !stopping => {
                    stopping = true;
                    // `close` rejects new submissions, but `recv_many` still returns those in the queue, and 0 after
                    // the last one.
                    submissions.close();
                }
                taken = submissions.recv_many(&mut queued, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    self.flush(std::mem::take(&mut queued)).await;
                }
            }
        }
    }

    /// Writes and answers all of `submissions`, in parts of at most about [`BATCH_BYTES`].
    async fn flush(&mut self, submissions: Vec<Submission>) {
        let mut part = Vec::new();
        let mut bytes = 0;
        for submission in submissions {
            bytes += submission.records.iter().map(size).sum::<usize>();
            part.push(submission);
            if bytes > BATCH_BYTES {
                self.write(std::mem::take(&mut part)).await;
                bytes = 0;
            }
        }
        self.write(part).await;
    }

    async fn write(&mut self, submissions: Vec<Submission>) {
        let mut answers = vec![Ok(()); submissions.len()];
        // Row-level security limits a transaction to one tenant, so each tenant gets its own.
        let mut tenants: BTreeMap<&str, Vec<Share<'_>>> = BTreeMap::new();
        for (submitter, submission) in submissions.iter().enumerate() {
            for record in &submission.records {
                let shares = tenants.entry(&record.tenant).or_default();
                // Records of one submission stay together in one share, so that a rejected record fails its
                // submission and no other.
                match shares.last_mut() {
                    Some(share) if share.submitter == submitter => share.records.push(record),
                    _ => shares.push(Share { submitter, records: vec![record] }),
                }
            }
        }
        let mut outage = None;
        let mut slow = false;
        for (tenant, shares) in tenants {
            let Some(failure) = self.write_tenant(tenant, &shares, &mut answers, outage.clone()).await else {
                continue;
            };
            // Statements of one tenant that take too long fail no other tenant. With a second such tenant, Postgres itself is slow.
            if failure.is_outage() || std::mem::replace(&mut slow, true) {
                outage = Some(failure);
            }
        }
        for (submission, answer) in submissions.into_iter().zip(answers) {
            // The caller may be gone, for example when its reconcile was cancelled.
            let _ = submission.done.send(answer);
        }
    }

    /// Writes the shares of one tenant in one transaction. If Postgres rejects it, bisects the shares, so that only the invalid ones fail.
    /// After an `outage`, fails all of them without an attempt, since each attempt would wait for Postgres again. Returns the outage, or the
    /// transient failure after which it has not tried the rest.
    async fn write_tenant(
        &mut self,
        tenant: &str,
        shares: &[Share<'_>],
        answers: &mut [Result<(), StoreError>],
        outage: Option<StoreError>,
    ) -> Option<StoreError> {
        let mut failure = outage;
        let mut parts = vec![shares];
        while let Some(part) = parts.pop() {
            let records: Vec<&Record> = part.iter().flat_map(|share| share.records.iter().copied()).collect();
            let written = match &failure {
                Some(error) => Err(error.clone()),
                None => self.store.write(&mut self.session, tenant, &records).await,
            };
            match written {
                Ok(()) => {}
                Err(error) if error.class() == ErrorClass::Permanent && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    // The stack returns `first` before `second`: the shares are written in the order of their
                    // submission.
                    parts.extend([second, first]);
                }
                Err(error) => {
                    for share in part {
                        answers[share.submitter] = Err(error.clone());
                    }
                    if error.class() == ErrorClass::Transient {
                        failure = Some(error);
                    }
                }
            }
        }
        failure
    }
}

/// The records of one submission for one tenant.
struct Share<'s> {
    /// Index of the submission in the batch.
    submitter: usize,
    records: Vec<&'s Record>,
}

/// Returns the size of the parts of `record` that can be large, in bytes.
fn size(record: &Record) -> usize {
    match &record.event {
        Event::Revision { content, .. } => content.len(),
        Event::Findings { findings, .. } => findings.to_string().len(),
        _ => 0,
    }
}
