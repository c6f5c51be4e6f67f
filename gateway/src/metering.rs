//! Writes usage to the record: requests that begin and requests that have ended, in batches for each tenant.
//!
//! A batch takes whatever has arrived while the previous one was written. So a single request never waits for others, and many requests
//! share a transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use enact_domain::usage::Charge;
use enact_store::{ErrorClass, ModelRequest, Opened, Outcome, Settlement, StoreError};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::budget::Claim;
use crate::denial::{Denial, DenialKind};
use crate::ledger::Ledger;
use crate::metrics::Metrics;

/// Most requests in one transaction.
const BATCH: usize = 256;
/// Most settlements that wait for Postgres. Further ones are dropped: their estimates are booked later, as those of a gateway that died.
/// The same number of sent requests can wait, which are those that were in progress when it failed.
const BACKLOG: usize = 100_000;
/// First and longest pause between two tries to write what must be written.
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
    /// Requests that were sent while their reservation was made, and whose reservation was refused or has failed.
    booking: Vec<(ModelRequest, Claim)>,
    is_booking: bool,
}

impl Queues {
    fn is_idle(&self) -> bool {
        let is_running = self.is_opening || self.is_settling || self.is_booking;
        !is_running && self.opening.is_empty() && self.settling.is_empty() && self.booking.is_empty()
    }
}

struct Opening {
    request: ModelRequest,
    /// Held until the request is recorded.
    claim: Claim,
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

    /// Begins to reserve the estimate of a request. One that is far from all limits is sent meanwhile: it is recorded even if its
    /// reservation is refused or fails, as soon as Postgres answers, and the caller settles it in any case.
    pub fn open(&self, tenant: &str, request: ModelRequest, claim: Claim) -> Reservation {
        let (done, reservation) = oneshot::channel();
        let mut queues = self.0.queues.lock();
        let queue = queues.entry(tenant.to_owned()).or_default();
        queue.uncommitted.insert(request.id, None);
        queue.opening.push(Opening { request, claim, done });
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
                batch.into_iter().map(|Opening { request, claim, done }| (request, (claim, done))).unzip();
            let begun = Instant::now();
            let outcome = self.0.ledger.open(&tenant, &requests).await;
            self.0.metrics.ledger_seconds.with_label_values(&["open"]).observe(begun.elapsed().as_secs_f64());
            let outcomes: Vec<Result<Opened, StoreError>> = match outcome {
                Ok(opened) => opened.into_iter().map(Ok).collect(),
                Err(error) => {
                    tracing::warn!(tenant, %error, requests = requests.len(), "cannot reserve the estimates of requests");
                    self.0.metrics.ledger_failures.with_label_values(&["open"]).inc();
                    vec![Err(error); requests.len()]
                }
            };
            for ((request, (claim, done)), outcome) in requests.into_iter().zip(waiting).zip(outcomes) {
                self.opened(&tenant, request, claim, &outcome);
                // A client that left does not wait any more.
                let _ = done.send(outcome);
            }
        }
    }

    /// Notes the outcome of a reservation. A request that was sent is booked if it is not reserved. The reservation of another one can be
    /// committed although it has failed, when only Postgres' answer was lost: then it is settled, since the request is not sent.
    fn opened(&self, tenant: &str, request: ModelRequest, claim: Claim, outcome: &Result<Opened, StoreError>) {
        let is_reserved = matches!(outcome, Ok(Opened::Accepted | Opened::Duplicate));
        if !is_reserved {
            claim.failed();
        }
        let mut queues = self.0.queues.lock();
        let Some(queue) = queues.get_mut(tenant) else { return };
        if claim.is_far && !is_reserved {
            self.book(tenant, queue, request, claim);
            return;
        }
        let unused = || Settlement {
            id: request.id,
            charge: Charge::default(),
            outcome: Outcome::Failed,
            http_status: 0,
            first_byte_ms: 0,
            duration_ms: 0,
        };
        let deferred = queue.uncommitted.remove(&request.id).flatten();
        if let Some(settlement) = deferred.or_else(|| outcome.is_err().then(unused)) {
            self.enqueue(tenant, queue, settlement);
        }
    }

    /// Books a request that was sent. Until it is committed, its settlement waits.
    fn book(&self, tenant: &str, queue: &mut Queues, request: ModelRequest, claim: Claim) {
        if queue.booking.len() >= BACKLOG {
            tracing::error!(tenant, "too many requests wait for Postgres; one that was sent is not booked");
            self.0.metrics.ledger_failures.with_label_values(&["open"]).inc();
            queue.uncommitted.remove(&request.id);
            return;
        }
        queue.booking.push((request, claim));
        if !std::mem::replace(&mut queue.is_booking, true) {
            self.0.tasks.spawn(self.clone().write_bookings(tenant.to_owned()));
        }
    }

    async fn write_bookings(self, tenant: String) {
        while let Some(batch) = self.next(&tenant, |queue| &mut queue.booking, |queue| &mut queue.is_booking) {
            let (requests, claims): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            self.write("open", &tenant, requests.len(), || self.0.ledger.open_sent(&tenant, &requests)).await;
            drop(claims);
            let mut queues = self.0.queues.lock();
            let Some(queue) = queues.get_mut(&tenant) else { continue };
            for request in &requests {
                if let Some(settlement) = queue.uncommitted.remove(&request.id).flatten() {
                    self.enqueue(&tenant, queue, settlement);
                }
            }
        }
    }

    async fn write_settlements(self, tenant: String) {
        while let Some(batch) = self.next(&tenant, |queue| &mut queue.settling, |queue| &mut queue.is_settling) {
            self.write("settle", &tenant, batch.len(), || self.0.ledger.settle(&tenant, &batch)).await;
            self.0.metrics.unsettled.sub(i64::try_from(batch.len()).unwrap_or(i64::MAX));
        }
    }

    /// Writes a batch, again and again until Postgres takes it or refuses it for good.
    async fn write<'a>(
        &self,
        operation: &str,
        tenant: &str,
        requests: usize,
        write: impl Fn() -> BoxFuture<'a, Result<(), StoreError>>,
    ) {
        let mut pause = PAUSE.0;
        loop {
            let begun = Instant::now();
            let outcome = write().await;
            let seconds = begun.elapsed().as_secs_f64();
            self.0.metrics.ledger_seconds.with_label_values(&[operation]).observe(seconds);
            let Err(error) = outcome else { return };
            tracing::warn!(tenant, operation, %error, requests, "cannot write the usage of requests");
            self.0.metrics.ledger_failures.with_label_values(&[operation]).inc();
            if error.class() == ErrorClass::Permanent {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
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
