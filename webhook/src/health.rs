//! `/healthz`, `/readyz` and `/metrics`, on a plain port of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

use crate::metrics::Metrics;

/// What must hold before requests are sent here.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Checks>);

#[derive(Debug, Default)]
struct Checks {
    caches: AtomicBool,
    certificate: AtomicBool,
    leaving: AtomicBool,
}

impl Readiness {
    /// The caches have been filled once.
    pub fn caches_synced(&self) {
        self.0.caches.store(true, Ordering::Release);
    }

    /// There is a certificate to serve with.
    pub fn certificate_loaded(&self) {
        self.0.certificate.store(true, Ordering::Release);
    }

    /// The process is about to end.
    pub fn leaving(&self) {
        self.0.leaving.store(true, Ordering::Release);
    }

    /// What is missing; none when requests may come.
    pub fn missing(&self) -> Option<&'static str> {
        let is = |check: &AtomicBool| check.load(Ordering::Acquire);
        if is(&self.0.leaving) {
            Some("shutting down")
        } else if !is(&self.0.caches) {
            Some("the caches are not filled yet")
        } else if !is(&self.0.certificate) {
            Some("there is no certificate yet")
        } else {
            None
        }
    }
}

/// The routes `GET /healthz`, `GET /readyz` and `GET /metrics`.
pub fn routes(readiness: Readiness, metrics: Metrics) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    let healthz = warp::path!("healthz").map(|| "ok".into_response());
    let readyz = warp::path!("readyz").map(move || match readiness.missing() {
        None => "ok".into_response(),
        Some(missing) => warp::reply::with_status(missing, StatusCode::SERVICE_UNAVAILABLE).into_response(),
    });
    let metrics = warp::path!("metrics").map(move || match metrics.render() {
        Ok(text) => warp::reply::with_header(text, "content-type", "text/plain; version=0.0.4").into_response(),
        Err(error) => warp::reply::with_status(error.to_string(), StatusCode::INTERNAL_SERVER_ERROR).into_response(),
    });
    warp::get().and(healthz.or(readyz).unify().or(metrics).unify())
}
