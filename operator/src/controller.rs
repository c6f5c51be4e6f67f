//! How a kind's reconcile is driven: bounded, timed, counted, and with a wait of its own for each object that fails.

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

use crate::context::Context;
use crate::error::Error;

/// Longest time of one reconcile. Work that may take longer goes on in the next.
const LONGEST: Duration = Duration::from_mins(2);

/// Longest wait after a failure of the record.
const LONGEST_OUTAGE_WAIT: Duration = Duration::from_secs(10);

/// Runs a controller until `shutdown`; what runs then may end.
pub async fn drive<K, F, Fut>(controller: Controller<K>, ctx: Arc<Context>, shutdown: CancellationToken, reconcile: F)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash,
    F: Fn(Arc<K>, Arc<Context>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let kind = K::kind(&());
    let timed = move |object: Arc<K>, ctx: Arc<Context>| {
        let trace_id = format!("{:032x}", rand::random::<u128>());
        let span = tracing::info_span!("reconcile", kind = %K::kind(&()), namespace = object.namespace(), name = object.name_any(), trace_id);
        once(object, ctx, reconcile.clone()).instrument(span)
    };
    controller
        .with_config(Config::default().concurrency(ctx.config.concurrency))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(timed, after_failure, ctx.clone())
        .for_each(|result| {
            if let Err(kube::runtime::controller::Error::QueueError(error)) = &result {
                ctx.metrics.watch_errors.with_label_values(&[&*kind]).inc();
                tracing::warn!(%kind, %error, "a watch broke; it is taken up again");
            }
            std::future::ready(())
        })
        .await;
}

async fn once<K, F, Fut>(object: Arc<K>, ctx: Arc<Context>, reconcile: F) -> Result<Action, Error>
where
    K: Resource<DynamicType = ()>,
    F: Fn(Arc<K>, Arc<Context>) -> Fut,
    Fut: Future<Output = Result<Action, Error>>,
{
    let kind = K::kind(&());
    let timer = ctx.metrics.reconcile_seconds.with_label_values(&[&*kind]).start_timer();
    let under_way = UnderWay::new(ctx.metrics.reconciling.with_label_values(&[&*kind]));
    let result = match tokio::time::timeout(LONGEST, reconcile(object.clone(), ctx.clone())).await {
        Ok(result) => result,
        Err(_) => Err(Error::TimedOut { seconds: LONGEST.as_secs() }),
    };
    drop(under_way);
    timer.observe_duration();
    let outcome = result.as_ref().map_or_else(Error::category, |_| "ok");
    ctx.metrics.reconciles.with_label_values(&[&*kind, outcome]).inc();
    if let (Ok(_), Some(uid)) = (&result, object.meta().uid.as_deref()) {
        ctx.backoff.succeeded(uid);
    }
    result
}

/// Counts a reconcile as under way until it is dropped.
struct UnderWay(IntGauge);

impl UnderWay {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that the controller asks for")]
fn after_failure<K: Resource<DynamicType = ()>>(object: Arc<K>, error: &Error, ctx: Arc<Context>) -> Action {
    let grown = ctx.backoff.failed(object.meta().uid.as_deref().unwrap_or_default());
    // When Postgres is back, everything is to go on soon, however long it was away; one try for all objects costs it little.
    let wait = if error.is_outage() { grown.min(LONGEST_OUTAGE_WAIT) } else { grown };
    let name = object.name_any();
    if error.is_conflict() {
        tracing::debug!(kind = %K::kind(&()), namespace = object.namespace(), name, %error, "changed meanwhile; looking again");
    } else {
        tracing::warn!(kind = %K::kind(&()), namespace = object.namespace(), name, %error, ?wait, "reconcile failed; trying again");
    }
    Action::requeue(wait)
}
