//! Runs the controller of a kind: reconciles have a time limit, are counted, and each object that fails has its own backoff.

use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config};
use kube::{Resource, ResourceExt as _};
use prometheus::IntGauge;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::backoff::Backoff;
use crate::context::Context;
use crate::error::Error;

/// Time limit of one reconcile. Work that takes longer continues in the next.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Longest backoff while the record store is unavailable.
const MAX_OUTAGE_BACKOFF: Duration = Duration::from_secs(10);

/// The shared state of all reconciles of one kind.
struct Driver {
    ctx: Arc<Context>,
    backoff: Backoff,
}

/// Runs a controller until `shutdown`; reconciles that run then may finish.
pub async fn drive<K, F, Fut>(controller: Controller<K>, ctx: Arc<Context>, shutdown: CancellationToken, reconcile: F)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash,
    F: Fn(Arc<K>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let kind = K::kind(&());
    let driver = Arc::new(Driver { ctx: ctx.clone(), backoff: Backoff::default() });
    let traced = move |object: Arc<K>, driver: Arc<Driver>| {
        let trace_id = format!("{:032x}", rand::random::<u128>());
        let span = tracing::info_span!("reconcile", kind = %K::kind(&()), namespace = object.namespace(), name = object.name_any(), trace_id);
        run(object.clone(), driver, reconcile(object)).instrument(span)
    };
    controller
        .with_config(Config::default().concurrency(ctx.config.concurrency))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(traced, on_error, driver)
        .for_each(|result| {
            if let Err(kube::runtime::controller::Error::QueueError(error)) = &result {
                ctx.metrics.watch_errors.with_label_values(&[&*kind]).inc();
                tracing::warn!(%kind, %error, "a watch failed and is restarted");
            }
            std::future::ready(())
        })
        .await;
}

/// Runs one reconcile with its time limit, and counts it.
async fn run<K, Fut>(object: Arc<K>, driver: Arc<Driver>, reconcile: Fut) -> Result<Action, Error>
where
    K: Resource<DynamicType = ()>,
    Fut: Future<Output = Result<Action, Error>>,
{
    let kind = K::kind(&());
    let metrics = &driver.ctx.metrics;
    let timer = metrics.reconcile_seconds.with_label_values(&[&*kind]).start_timer();
    let in_progress = InProgress::new(metrics.reconciling.with_label_values(&[&*kind]));
    // A timeout drops the future at its current await: a step must leave consistent state at each of them.
    let result = match tokio::time::timeout(TIMEOUT, reconcile).await {
        Ok(result) => result,
        Err(_) => Err(Error::TimedOut { seconds: TIMEOUT.as_secs() }),
    };
    drop(in_progress);
    timer.observe_duration();
    let outcome = result.as_ref().map_or_else(Error::category, |_| "ok");
    metrics.reconciles.with_label_values(&[&*kind, outcome]).inc();
    // A failure is counted in `on_error`, which the controller calls with the error.
    if let (Ok(_), Some(uid)) = (&result, object.meta().uid.as_deref()) {
        driver.backoff.succeeded(uid);
    }
    result
}

/// Counts a reconcile as in progress until it is dropped, also when its future is cancelled.
struct InProgress(IntGauge);

impl InProgress {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that the controller asks for")]
fn on_error<K: Resource<DynamicType = ()>>(object: Arc<K>, error: &Error, driver: Arc<Driver>) -> Action {
    let backoff = driver.backoff.failed(object.meta().uid.as_deref().unwrap_or_default());
    // All objects fail while Postgres is down. They continue soon after it is back, however long it was down; one retry of each costs it
    // little.
    let wait = if error.is_outage() { backoff.min(MAX_OUTAGE_BACKOFF) } else { backoff };
    let name = object.name_any();
    if error.is_conflict() {
        tracing::debug!(kind = %K::kind(&()), namespace = object.namespace(), name, %error, "the object changed during the reconcile; retrying");
    } else {
        tracing::warn!(kind = %K::kind(&()), namespace = object.namespace(), name, %error, ?wait, "the reconcile failed; retrying");
    }
    Action::requeue(wait)
}
