//! `/healthz`, `/readyz` and `/metrics`, on a port of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{IntGauge, Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

use crate::http::{self, Limits};
use crate::metrics::encode;

/// How many rounds of a check may be missed before what it found no longer counts.
const MISSED_ROUNDS: u32 = 3;
/// Between two rounds of a check, and for each.
const ROUND: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(4));
/// Bounds on the connections of probes and of Prometheus. None of them has to be waited for long when the process ends.
const LIMITS: Limits = Limits {
    connections: 64,
    handshake: Duration::from_secs(10),
    headers: Duration::from_mins(2),
    age: Duration::from_mins(10),
    farewell: Duration::from_secs(2),
    http2: false,
};

/// Whether the process is alive, and what must hold before requests are sent to it. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Why the process cannot go on.
    dead: Option<String>,
    leaving: bool,
    checks: BTreeMap<&'static str, Option<Found>>,
}

#[derive(Debug)]
struct Found {
    outcome: Result<(), String>,
    at: Instant,
    /// Older than this, it is no longer known; none for what holds until it is said otherwise.
    fresh_for: Option<Duration>,
}

impl Health {
    /// Alive, and ready as soon as all `checks` hold.
    pub fn new(checks: impl IntoIterator<Item = &'static str>) -> Self {
        let checks = checks.into_iter().map(|name| (name, None)).collect();
        Self(Arc::new(Mutex::new(State { checks, ..State::default() })))
    }

    /// What the check `name` found; it holds until it is said otherwise.
    pub fn found(&self, name: &'static str, outcome: Result<(), String>) {
        self.note(name, outcome, None);
    }

    /// The process cannot go on, and says why.
    pub fn dead(&self, why: impl Into<String>) {
        self.state().dead = Some(why.into());
    }

    /// The process is about to end: no more requests may be sent to it.
    pub fn leave(&self) {
        self.state().leaving = true;
    }

    /// Checks `name` over and over, every few seconds. What takes too long has failed; changes are logged.
    pub async fn keep_checking(self, name: &'static str, check: impl AsyncFn() -> Result<(), String>) {
        let (pause, patience) = ROUND;
        self.check_every(name, pause, patience, check).await;
    }

    async fn check_every(
        self,
        name: &'static str,
        pause: Duration,
        patience: Duration,
        check: impl AsyncFn() -> Result<(), String>,
    ) {
        let mut before = None;
        loop {
            let outcome = tokio::time::timeout(patience, check())
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs_f32())));
            if before != Some(outcome.is_ok()) {
                match &outcome {
                    Ok(()) => tracing::info!(check = name, "ready"),
                    Err(problem) => tracing::warn!(check = name, problem, "not ready"),
                }
                before = Some(outcome.is_ok());
            }
            self.note(name, outcome, Some((pause + patience) * MISSED_ROUNDS));
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether requests may come, and a line for each check that says why or why not.
    pub fn readiness(&self) -> (bool, String) {
        let state = self.state();
        let mut ready = !state.leaving && state.dead.is_none();
        let mut text = String::new();
        if state.leaving {
            text.push_str("leaving: requests under way are ended, new ones belong elsewhere\n");
        }
        if let Some(why) = &state.dead {
            let _ = writeln!(text, "dead: {why}");
        }
        for (name, found) in &state.checks {
            let age = found.as_ref().map(|found| found.at.elapsed()).unwrap_or_default();
            let outcome = match found {
                None => Err("not checked yet"),
                Some(found) if found.fresh_for.is_some_and(|limit| age > limit) => Err("not checked any more"),
                Some(found) => found.outcome.as_ref().map_err(String::as_str),
            };
            ready &= outcome.is_ok();
            let said = outcome.map_or_else(|problem| format!("failed: {problem}"), |()| "ok".to_owned());
            let _ = writeln!(text, "{name}: {said} ({} s ago)", age.as_secs());
        }
        (ready, text)
    }

    fn note(&self, name: &'static str, outcome: Result<(), String>, fresh_for: Option<Duration>) {
        self.state().checks.insert(name, Some(Found { outcome, at: Instant::now(), fresh_for }));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves [`routes`] until `end`. `open` shows the number of connections.
pub async fn serve(listener: TcpListener, health: Health, registry: Registry, open: IntGauge, end: CancellationToken) {
    http::serve(listener, None, warp::service(routes(health, registry)), LIMITS, open, end).await;
}

/// The routes `GET /healthz`, `GET /readyz` and `GET /metrics`.
pub fn routes(health: Health, registry: Registry) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    let alive = health.clone();
    let healthz = warp::path!("healthz").map(move || match &alive.state().dead {
        None => "ok\n".into_response(),
        Some(why) => unavailable(format!("{why}\n")),
    });
    let readyz = warp::path!("readyz").map(move || match health.readiness() {
        (true, text) => text.into_response(),
        (false, text) => unavailable(text),
    });
    let metrics = warp::path!("metrics").map(move || match encode(&registry) {
        Ok(text) => warp::reply::with_header(text, "content-type", "text/plain; version=0.0.4").into_response(),
        Err(error) => warp::reply::with_status(error.to_string(), StatusCode::INTERNAL_SERVER_ERROR).into_response(),
    });
    warp::get().and(healthz.or(readyz).unify().or(metrics).unify())
}

fn unavailable(text: String) -> Response {
    warp::reply::with_status(text, StatusCode::SERVICE_UNAVAILABLE).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_check_holds_and_was_made_lately() {
        let health = Health::new(["a", "b"]);
        assert_eq!(
            health.readiness(),
            (false, "a: failed: not checked yet (0 s ago)\nb: failed: not checked yet (0 s ago)\n".into())
        );
        health.found("a", Ok(()));
        health.found("b", Err("it is away".into()));
        assert_eq!(health.readiness(), (false, "a: ok (0 s ago)\nb: failed: it is away (0 s ago)\n".into()));
        health.found("b", Ok(()));
        assert!(health.readiness().0);
        health.note("b", Ok(()), Some(Duration::ZERO));
        let (ready, text) = health.readiness();
        assert!(!ready && text.contains("b: failed: not checked any more"), "{text}");
    }

    #[test]
    fn who_leaves_or_is_dead_is_not_ready() {
        let health = Health::new([]);
        assert_eq!(health.readiness(), (true, String::new()));
        health.leave();
        assert!(!health.readiness().0);
        let health = Health::new([]);
        health.dead("a controller has ended");
        assert_eq!(health.readiness(), (false, "dead: a controller has ended\n".into()));
    }

    #[tokio::test]
    async fn a_check_that_hangs_has_failed() {
        let health = Health::new(["slow"]);
        let hanging = async || std::future::pending().await;
        let checking = health.clone().check_every("slow", Duration::from_mins(1), Duration::from_millis(10), hanging);
        tokio::select! {
            () = checking => unreachable!("it goes on for ever"),
            () = async {
                while health.readiness().1.contains("not checked yet") {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
        assert!(health.readiness().1.contains("no answer within 0.01 s"), "{}", health.readiness().1);
    }
}
