//! `/healthz`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use enact_store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::Filter as _;
use warp::http::StatusCode;

use crate::metrics::Metrics;

/// What the probes tell.
#[derive(Clone)]
pub struct Health {
    /// The record: a process that cannot reach it is not ready, but alive.
    pub store: Store,
    /// Metrics to show.
    pub metrics: Metrics,
    /// Whether this process is alive; false when a controller ended by itself.
    pub alive: Arc<AtomicBool>,
}

/// Takes the address of the probes and metrics.
///
/// # Errors
/// When it is taken already, or not ours to take.
pub async fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; choose another address with --listen"))
}

/// Serves the probes and the metrics until `shutdown`.
pub async fn serve(health: Health, listener: TcpListener, shutdown: CancellationToken) {
    let with = warp::any().map(move || health.clone());
    let healthz = warp::path!("healthz").and(with.clone()).map(|h: Health| {
        let alive = h.alive.load(Ordering::Relaxed);
        status(if alive { Ok("ok".into()) } else { Err("a controller has ended; see the log".into()) })
    });
    let readyz = warp::path!("readyz").and(with.clone()).then(|h: Health| async move {
        status(h.store.ready().await.map(|()| "ok".into()).map_err(|e| e.to_string()))
    });
    let metrics = warp::path!("metrics").and(with).map(|h: Health| {
        let counted = h.metrics.database_round_trips.get();
        h.metrics.database_round_trips.inc_by(h.store.round_trips().saturating_sub(counted));
        status(h.metrics.encode().map_err(|e| e.to_string()))
    });
    let routes = warp::get().and(healthz.or(readyz).or(metrics));
    warp::serve(routes).incoming(listener).graceful(shutdown.cancelled_owned()).run().await;
}

fn status(result: Result<String, String>) -> impl warp::Reply {
    match result {
        Ok(text) => warp::reply::with_status(text, StatusCode::OK),
        Err(text) => warp::reply::with_status(text, StatusCode::SERVICE_UNAVAILABLE),
    }
}
