//! The routes, with metrics for every request and the responses to requests that match no route.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use enact_service::http::Counted;
use futures::FutureExt as _;
use warp::http::header::ALLOW;
use warp::http::{HeaderValue, Method};
use warp::path::FullPath;
use warp::reject::{InvalidQuery, MethodNotAllowed, Rejection};
use warp::reply::{Reply, Response};
use warp::{Filter, body, header, path};

use crate::intake::{AttemptPath, Intake};
use crate::metrics::Metrics;
use crate::problem::{Problem, ProblemKind};
use crate::push::Pushes;
use crate::read_request::{Parameters, ReadRequest};
use crate::reading::Reading;

/// Returns the routes for deliveries of pods. Every request gets a response.
pub fn deliveries(intake: Arc<Intake>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let (metrics, unrouted) = (intake.metrics.clone(), intake.metrics.clone());
    let document = document(Arc::clone(&intake));
    let runner = runner(Arc::clone(&intake));
    let checkpoint = checkpoint(Arc::clone(&intake));
    let assignment = assignment(Arc::clone(&intake));
    let result = path!("v1" / "attempts" / String / String / "result")
        .and(warp::post())
        .and(header::headers_cloned())
        .and(body::stream())
        .then(move |subject: String, attempt: String, headers, body| {
            let (intake, metrics) = (Arc::clone(&intake), metrics.clone());
            async move {
                let path = AttemptPath::parse(&subject, &attempt);
                let delivered = Box::pin(intake.deliver(path, headers, body));
                observed(&metrics, "result", delivered).await
            }
        });
    result
        .or(document)
        .unify()
        .or(runner)
        .unify()
        .or(checkpoint)
        .unify()
        .or(assignment)
        .unify()
        .or_else(move |rejection| refused(unrouted.clone(), rejection, &Method::POST))
}

/// Returns the route for the registration of runners.
fn runner(intake: Arc<Intake>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    path!("v1" / "attempts" / String / String / "runner")
        .and(warp::post())
        .and(header::headers_cloned())
        .and(body::stream())
        .then(move |subject: String, attempt: String, headers, body| {
            let intake = Arc::clone(&intake);
            async move {
                let path = AttemptPath::parse(&subject, &attempt);
                let registered = Box::pin(intake.admit_runner(path, headers, body));
                observed(&intake.metrics, "runner", registered).await
            }
        })
}

/// Returns the routes for checkpoints: POST keeps one, GET reads the one of an earlier attempt.
fn checkpoint(intake: Arc<Intake>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    let reader = Arc::clone(&intake);
    let save = path!("v1" / "attempts" / String / String / "checkpoint")
        .and(warp::post())
        .and(header::headers_cloned())
        .and(body::stream())
        .then(move |subject: String, attempt: String, headers, body| {
            let intake = Arc::clone(&intake);
            async move {
                let path = AttemptPath::parse(&subject, &attempt);
                let saved = Box::pin(intake.save_checkpoint(path, headers, body));
                observed(&intake.metrics, "checkpoint", saved).await
            }
        });
    let read = path!("v1" / "attempts" / String / String / "checkpoint")
        .and(warp::get())
        .and(header::headers_cloned())
        .then(move |subject: String, attempt: String, headers| {
            let intake = Arc::clone(&reader);
            async move {
                let path = AttemptPath::parse(&subject, &attempt);
                let found = Box::pin(intake.read_checkpoint(path, headers));
                observed(&intake.metrics, "checkpoint", found).await
            }
        });
    save.or(read).unify()
}

/// Returns the route for the assignments of waiting pods.
fn assignment(intake: Arc<Intake>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    path!("v1" / "assignment").and(warp::get()).and(header::headers_cloned()).then(move |headers| {
        let intake = Arc::clone(&intake);
        async move { observed(&intake.metrics, "assignment", Box::pin(intake.assignment(headers))).await }
    })
}

/// Returns the route for documents.
fn document(intake: Arc<Intake>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    path!("v1" / "documents" / String).and(warp::post()).and(header::headers_cloned()).and(body::stream()).then(
        move |subject: String, headers, body| {
            let intake = Arc::clone(&intake);
            async move {
                let delivered = Box::pin(intake.deliver_document(&subject, headers, body));
                observed(&intake.metrics, "document", delivered).await
            }
        },
    )
}

/// Returns the route for push webhooks. Every request gets a response.
pub fn pushes(pushes: Arc<Pushes>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let unrouted = pushes.metrics.clone();
    let push = path!("v1" / "namespaces" / String / "push")
        .and(warp::post())
        .and(header::headers_cloned())
        .and(body::stream())
        .then(move |namespace: String, headers, body| {
            let pushes = Arc::clone(&pushes);
            async move {
                let taken = Box::pin(pushes.receive(&namespace, headers, body));
                observed(&pushes.metrics, "push", taken).await
            }
        });
    push.or_else(move |rejection| refused(unrouted.clone(), rejection, &Method::POST))
}

/// Returns the routes for readers. Every request gets a response.
pub fn readings(reading: Arc<Reading>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let unrouted = reading.metrics.clone();
    let read = warp::get().and(path::full()).and(warp::query::<Parameters>()).and(header::headers_cloned()).then(
        move |path: FullPath, query: Parameters, headers| {
            let reading = Arc::clone(&reading);
            async move {
                match ReadRequest::parse(path.as_str(), &query) {
                    Ok(request) => {
                        let route = request.resource.route();
                        observed(&reading.metrics, route, Box::pin(reading.answer(request, headers))).await
                    }
                    Err(problem) => observed(&reading.metrics, "none", async { problem.into_response() }).await,
                }
            }
        },
    );
    read.or_else(move |rejection| refused(unrouted.clone(), rejection, &Method::GET))
}

/// Answers a request that matches no route, on a port that accepts only `method`.
async fn refused(metrics: Metrics, rejection: Rejection, method: &Method) -> Result<(Response,), Infallible> {
    let response = async {
        let problem = problem(&rejection, method);
        let kind = problem.kind;
        let mut response = problem.into_response();
        // RFC 9110 requires the header Allow in a response with status 405.
        if let (ProblemKind::MethodNotAllowed, Ok(allowed)) = (kind, HeaderValue::from_str(method.as_str())) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        response
    };
    // All unknown paths share one label, so that a client cannot add time series.
    Ok((observed(&metrics, "none", response).await,))
}

/// Counts and times a request. A panic is answered with status 500.
async fn observed(metrics: &Metrics, route: &str, answer: impl Future<Output = Response>) -> Response {
    let (begun, _counted) = (Instant::now(), Counted::new(&metrics.in_flight));
    // A panic ends only this request. Without an answer, the client would see a broken connection and the metrics nothing.
    let response = AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
        Problem::new(ProblemKind::Internal, "the request failed with an internal error; see the server's log")
            .into_response()
    });
    metrics.requests.with_label_values(&[route, response.status().as_str()]).inc();
    metrics.duration.with_label_values(&[route]).observe(begun.elapsed().as_secs_f64());
    response
}

fn problem(rejection: &Rejection, method: &Method) -> Problem {
    if rejection.find::<MethodNotAllowed>().is_some() {
        return Problem::new(ProblemKind::MethodNotAllowed, format!("this path accepts only {method}"));
    }
    if rejection.find::<InvalidQuery>().is_some() {
        let why = "the query holds an unknown parameter or an invalid value; see docs/reference/server.md";
        return Problem::new(ProblemKind::BadParameter, why);
    }
    if rejection.is_not_found() {
        return Problem::new(
            ProblemKind::NotFound,
            "the path does not exist; see docs/reference/server.md for the paths",
        );
    }
    Problem::new(ProblemKind::Malformed, "the request is invalid")
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
