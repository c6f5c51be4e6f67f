//! The routes, and what happens around each request.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use enact_service::http::Counted;
use futures::FutureExt as _;
use warp::reject::{MethodNotAllowed, Rejection};
use warp::reply::{Reply, Response};
use warp::{Filter, body, header, path};

use crate::intake::{Intake, Target};
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};

/// All routes. Whatever is asked, the answer is a response.
pub fn routes(intake: Arc<Intake>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let (metrics, unrouted) = (intake.metrics.clone(), intake.metrics.clone());
    let result = path!("v1" / "attempts" / String / String / "result")
        .and(warp::post())
        .and(header::headers_cloned())
        .and(body::stream())
        .then(move |subject: String, attempt: String, headers, body| {
            let (intake, metrics) = (Arc::clone(&intake), metrics.clone());
            async move {
                let target = Target::parse(&subject, &attempt);
                let delivered = Box::pin(intake.deliver(target, headers, body));
                observed(&metrics, "result", delivered).await
            }
        });
    result.or_else(move |rejection: Rejection| {
        let metrics = unrouted.clone();
        async move {
            let problem = async { problem(&rejection).into_response() };
            Ok::<_, Infallible>((observed(&metrics, "none", problem).await,))
        }
    })
}

/// Counts and times a request. A panic in it is answered as a mistake of the server's own.
async fn observed(metrics: &Metrics, route: &str, answer: impl Future<Output = Response>) -> Response {
    let (begun, _counted) = (Instant::now(), Counted::new(&metrics.in_flight));
    let response = AssertUnwindSafe(answer)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Problem::new(Kind::Internal, "the server made a mistake; see its log").into_response());
    metrics.requests.with_label_values(&[route, response.status().as_str()]).inc();
    metrics.duration.with_label_values(&[route]).observe(begun.elapsed().as_secs_f64());
    response
}

fn problem(rejection: &Rejection) -> Problem {
    if rejection.find::<MethodNotAllowed>().is_some() {
        return Problem::new(Kind::MethodNotAllowed, "results are delivered by POST");
    }
    if rejection.is_not_found() {
        return Problem::new(Kind::NotFound, "see docs/reference/server.md for the paths that there are");
    }
    Problem::new(Kind::Malformed, "the request cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_and_counted() {
        let metrics = Metrics::new().unwrap();
        let panicking = async { panic!("a mistake") };
        let response = observed(&metrics, "result", panicking).await;
        assert_eq!(response.status(), 500);
        assert_eq!(metrics.requests.with_label_values(&["result", "500"]).get(), 1);
        assert_eq!(metrics.in_flight.get(), 0);
    }
}
