//! Writes usage to the record: requests that begin and requests that have ended, in batches for each tenant.
//!
//! A batch takes whatever has arrived while the previous one was written. So a single request never waits for others, and many requests
//! share a transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use enact_domain::usage::Charge;
use enact_store::{ErrorClass, ModelRequest, Opened, Outcome, Settlement, StoreError};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::denial::{Denial, DenialKind};
use crate::ledger::Ledger;
use crate::metrics::Metrics;

/// Most requests in one transaction.
const BATCH: usize = 256;
/// Most settlements that wait for Postgres. Further ones are dropped: their estimates are booked later, as those of a gateway that died.
const BACKLOG: usize = 100_000;
/// First and longest pause between two tries to settle.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Writes usage to the record. Clones share the queues.
#[derive(Clone)]
pub struct Metering(Arc<Inner>);

struct Inner {
    ledger: Arc<dyn Ledger>,
    queues: Mutex<HashMap<String, Queues>>,
    tasks: TaskTracker,
    metrics: Metrics,
}

/// What waits for a transaction of one tenant, and whether a task writes it.
#[derive(Default)]
struct Queues {
    opening: Vec<Opening>,
    is_opening: bool,
    /// Requests whose reservation is not committed yet, with their settlements if they have ended meanwhile. A settlement that is written
    /// before its reservation has no effect.
    uncommitted: HashMap<Uuid, Option<Settlement>>,
    settling: Vec<Settlement>,
    is_settling: bool,
}

impl Queues {
    fn is_idle(&self) -> bool {
        !self.is_opening && !self.is_settling && self.opening.is_empty() && self.settling.is_empty()
    }
}

struct Opening {
    request: ModelRequest,
    done: oneshot::Sender<Result<Opened, StoreError>>,
}

/// A reservation that is being made.
pub struct Reservation(oneshot::Receiver<Result<Opened, StoreError>>);

impl Reservation {
    /// Waits until the reservation is committed, and returns whether the budgets allow it.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn committed(self) -> Result<Opened, Denial> {
        let unavailable = || {
            Denial::new(DenialKind::Unavailable, "usage cannot be recorded at the moment, so that no request is sent")
                .retry_after(2)
        };
        match self.0.await {
            Ok(Ok(opened)) => Ok(opened),
            // The writer has logged the error.
            Ok(Err(_)) | Err(_) => Err(unavailable()),
        }
    }
}

impl Metering {
    pub fn new(ledger: Arc<dyn Ledger>, metrics: Metrics) -> Self {
        Self(Arc::new(Inner { ledger, queues: Mutex::default(), tasks: TaskTracker::new(), metrics }))
    }

    /// Begins to reserve the estimate of a request.
    pub fn open(&self, tenant: &str, request: ModelRequest) -> Reservation {
        let (done, reservation) = oneshot::channel();
        let mut queues = self.0.queues.lock();
        let queue = queues.entry(tenant.to_owned()).or_default();
        queue.uncommitted.insert(request.id, None);
        queue.opening.push(Opening { request, done });
        if !std::mem::replace(&mut queue.is_opening, true) {
            self.0.tasks.spawn(self.clone().write_openings(tenant.to_owned()));
        }
        Reservation(reservation)
    }

    /// Books what a request used. It never waits, so that it can be called when a client has left.
    pub fn settle(&self, tenant: &str, settlement: Settlement) {
        let mut queues = self.0.queues.lock();
        let queue = queues.entry(tenant.to_owned()).or_default();
        if let Some(deferred) = queue.uncommitted.get_mut(&settlement.id) {
            *deferred = Some(settlement);
            return;
        }
        self.enqueue(tenant, queue, settlement);
    }

    fn enqueue(&self, tenant: &str, queue: &mut Queues, settlement: Settlement) {
        if queue.settling.len() >= BACKLOG {
            tracing::error!(tenant, "too many settlements wait for Postgres; the estimate of a request will be booked");
            self.0.metrics.ledger_failures.with_label_values(&["settle"]).inc();
            return;
        }
        queue.settling.push(settlement);
        self.0.metrics.unsettled.inc();
        if !std::mem::replace(&mut queue.is_settling, true) {
            self.0.tasks.spawn(self.clone().write_settlements(tenant.to_owned()));
        }
    }

    /// Waits until everything is written, or until a timeout. Call it when no request is in progress any more.
    pub async fn flush(&self, limit: Duration) {
        self.0.tasks.close();
        if tokio::time::timeout(limit, self.0.tasks.wait()).await.is_err() {
            tracing::error!("Postgres did not take all settlements; the estimates of their requests will be booked");
        }
    }

    async fn write_openings(self, tenant: String) {
        while let Some(batch) = self.next(&tenant, |queue| &mut queue.opening, |queue| &mut queue.is_opening) {
            let (requests, waiting): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|Opening { request, done }| (request, done)).unzip();
            let begun = Instant::now();
            let outcome = self.0.ledger.open(&tenant, &requests).await;
            self.0.metrics.ledger_seconds.with_label_values(&["open"]).observe(begun.elapsed().as_secs_f64());
            self.committed(&tenant, &requests, outcome.is_err());
            match outcome {
                Ok(opened) => {
                    for (done, opened) in waiting.into_iter().zip(opened) {
                        // A client that left does not wait any more.
                        let _ = done.send(Ok(opened));
                    }
                }
                Err(error) => {
                    tracing::warn!(tenant, %error, requests = requests.len(), "cannot reserve the estimates of requests");
                    self.0.metrics.ledger_failures.with_label_values(&["open"]).inc();
                    for done in waiting {
                        let _ = done.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Settles the requests that ended while their reservation was made. If it has failed, it can be committed all the same, when only
    /// Postgres' answer was lost: then all its requests are settled, since none of them is sent.
    fn committed(&self, tenant: &str, requests: &[ModelRequest], failed: bool) {
        let mut queues = self.0.queues.lock();
        let Some(queue) = queues.get_mut(tenant) else { return };
        for request in requests {
            let deferred = queue.uncommitted.remove(&request.id).flatten();
            let unused = || Settlement {
                id: request.id,
                charge: Charge::default(),
                outcome: Outcome::Failed,
                http_status: 0,
                first_byte_ms: 0,
                duration_ms: 0,
            };
            if let Some(settlement) = deferred.or_else(|| failed.then(unused)) {
                self.enqueue(tenant, queue, settlement);
            }
        }
    }

    async fn write_settlements(self, tenant: String) {
        while let Some(batch) = self.next(&tenant, |queue| &mut queue.settling, |queue| &mut queue.is_settling) {
            let mut pause = PAUSE.0;
            loop {
                let begun = Instant::now();
                let outcome = self.0.ledger.settle(&tenant, &batch).await;
                self.0.metrics.ledger_seconds.with_label_values(&["settle"]).observe(begun.elapsed().as_secs_f64());
                let Err(error) = outcome else { break };
                tracing::warn!(tenant, %error, requests = batch.len(), "cannot settle requests");
                self.0.metrics.ledger_failures.with_label_values(&["settle"]).inc();
                if error.class() == ErrorClass::Permanent {
                    break;
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
            self.0.metrics.unsettled.sub(i64::try_from(batch.len()).unwrap_or(i64::MAX));
        }
    }

    /// Takes the next batch of a queue. When there is none, the task ends, and the next element starts another one.
    fn next<T>(
        &self,
        tenant: &str,
        queue: impl Fn(&mut Queues) -> &mut Vec<T>,
        is_running: impl Fn(&mut Queues) -> &mut bool,
    ) -> Option<Vec<T>> {
        let mut queues = self.0.queues.lock();
        let of_tenant = queues.get_mut(tenant)?;
        let waiting = queue(of_tenant);
        if waiting.is_empty() {
            *is_running(of_tenant) = false;
            if of_tenant.is_idle() {
                queues.remove(tenant);
            }
            return None;
        }
        let count = waiting.len().min(BATCH);
        Some(waiting.drain(..count).collect())
    }
}
