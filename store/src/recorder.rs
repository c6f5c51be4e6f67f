use std::collections::BTreeMap;

use enact_domain::record::{Event, Record};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::{Class, StoreError};
use crate::sanitise::sanitise;
use crate::session::Session;
use crate::store::Store;

/// Submissions that wait for the writer before the next caller has to.
const QUEUE: usize = 4096;
/// Largest number of submissions in one batch.
const BATCH: usize = 1024;
/// Documents' bytes above which a batch is written in parts.
const BATCH_BYTES: usize = 8 << 20;

/// Writes to the record for many callers at once.
///
/// All clones feed one writer. While it writes a batch, further submissions queue, and the next batch takes all of them: round trips are
/// shared under load, and nobody waits for a timer when there is none.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Submission>,
}

/// Ends the writer behind [`Recorder`]s. Dropping it has the same effect, without waiting for it.
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

    /// Records `records`, and returns when they are durable. Those that are known already are not written again.
    ///
    /// # Errors
    /// Why they may not be in the record. After [`Class::Transient`] and [`Class::Conflict`] the same call can be repeated, whether or not
    /// anything was written.
    pub async fn record(&self, mut records: Vec<Record>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        for record in &mut records {
            sanitise(record)?;
        }
        let (done, answer) = oneshot::channel();
        self.queue.send(Submission { records, done }).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Flusher {
    /// Takes no more submissions, and returns when those that were taken have their answers.
    pub async fn close(self) {
        // The writer may have ended by itself, when the last recorder was dropped.
        let _ = self.stop.send(());
        if let Err(error) = self.writer.await {
            tracing::error!(%error, "the writer of the record failed");
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
                biased;
                _ = &mut stopped, if !stopping => {
                    stopping = true;
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

    /// Writes all of `submissions`, and answers each.
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
        let mut tenants: BTreeMap<&str, Vec<Share<'_>>> = BTreeMap::new();
        for (submitter, submission) in submissions.iter().enumerate() {
            for record in &submission.records {
                let shares = tenants.entry(&record.tenant).or_default();
                match shares.last_mut() {
                    Some(share) if share.submitter == submitter => share.records.push(record),
                    _ => shares.push(Share { submitter, records: vec![record] }),
                }
            }
        }
        let mut outage = None;
        for (tenant, shares) in tenants {
            self.write_tenant(tenant, &shares, &mut answers, &mut outage).await;
        }
        for (submission, answer) in submissions.into_iter().zip(answers) {
            // A caller that went away does not need its answer.
            let _ = submission.done.send(answer);
        }
    }

    /// Writes the shares of one tenant in one transaction. When one of them is bad, it is found by halving, so that the others are
    /// written all the same. After an `outage`, nothing more of the batch is tried: each try would wait for Postgres anew.
    async fn write_tenant(
        &mut self,
        tenant: &str,
        shares: &[Share<'_>],
        answers: &mut [Result<(), StoreError>],
        outage: &mut Option<StoreError>,
    ) {
        let mut parts = vec![shares];
        while let Some(part) = parts.pop() {
            let records: Vec<&Record> = part.iter().flat_map(|share| share.records.iter().copied()).collect();
            let written = match outage {
                Some(error) => Err(error.clone()),
                None => self.store.write(&mut self.session, tenant, &records).await,
            };
            match written {
                Ok(()) => {}
                Err(error) if error.class() == Class::Permanent && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error) => {
                    for share in part {
                        answers[share.submitter] = Err(error.clone());
                    }
                    if error.class() == Class::Transient {
                        *outage = Some(error);
                    }
                }
            }
        }
    }
}

/// What one submitter wants to record for one tenant.
struct Share<'s> {
    submitter: usize,
    records: Vec<&'s Record>,
}

fn size(record: &Record) -> usize {
    match &record.event {
        Event::Revision { content, .. } => content.len(),
        Event::Findings { findings, .. } => findings.to_string().len(),
        _ => 0,
    }
}
