//! `/healthz`, `/readyz` and `/metrics`, on a separate port.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{IntGauge, Registry};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

use crate::http::{self, Limits};
use crate::metrics::encode;

/// Number of rounds that a check may miss before its last result expires.
const MISSED_ROUNDS: u32 = 3;
/// Time between two rounds of a check, and time limit of each.
const ROUND: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(4));
/// Limits for the connections of probes and Prometheus. The end of the process need not wait long for them.
const LIMITS: Limits = Limits {
    connections: 64,
    // The kubelet has the address of its node, and Prometheus one of its own.
    per_client: 32,
    handshake: Duration::from_secs(10),
    headers: Duration::from_mins(2),
    age: Duration::from_mins(10),
    shutdown: Duration::from_secs(2),
    http2: None,
};

/// The health of a process: whether it is alive, and the checks that must succeed before it gets requests. Clones share the state.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The reason why the process cannot continue.
    failure: Option<String>,
    shutting_down: bool,
    checks: BTreeMap<&'static str, Option<CheckResult>>,
}

#[derive(Debug)]
struct CheckResult {
    outcome: Result<(), String>,
    at: Instant,
    /// Age at which the result expires; none if it holds until the next one.
    fresh_for: Option<Duration>,
}

impl Health {
    /// Makes the health of a process that is alive, and ready as soon as all `checks` succeed.
    pub fn new(checks: impl IntoIterator<Item = &'static str>) -> Self {
        let checks = checks.into_iter().map(|name| (name, None)).collect();
        Self(Arc::new(Mutex::new(State { checks, ..State::default() })))
    }

    /// Reports the result of the check `name`, which holds until the next report.
    pub fn report(&self, name: &'static str, outcome: Result<(), String>) {
        self.set(name, outcome, None);
    }

    /// Reports that the process cannot continue, with the reason: it is no longer alive.
    pub fn fail(&self, why: impl Into<String>) {
        self.0.lock().failure = Some(why.into());
    }

    /// Reports that the process is about to end and must get no more requests.
    pub fn shut_down(&self) {
        self.0.lock().shutting_down = true;
    }

    /// Repeats the check `name` every few seconds. A check that takes too long fails. Changes are logged.
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
            // Only a change is logged, not every failed round.
            if before != Some(outcome.is_ok()) {
                match &outcome {
                    Ok(()) => tracing::info!(check = name, "ready"),
                    Err(problem) => tracing::warn!(check = name, problem, "not ready"),
                }
                before = Some(outcome.is_ok());
            }
            // The result expires, so that a check task that hangs or has ended makes the process unready.
            self.set(name, outcome, Some((pause + patience) * MISSED_ROUNDS));
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns whether the process can get requests, and a line for each check.
    pub fn readiness(&self) -> (bool, String) {
        let state = self.0.lock();
        let mut ready = !state.shutting_down && state.failure.is_none();
        let mut text = String::new();
        if state.shutting_down {
            text.push_str("shutting down: running requests are completed, new ones must go to another replica\n");
        }
        if let Some(why) = &state.failure {
            let _ = writeln!(text, "failed: {why}");
        }
        for (name, result) in &state.checks {
            let age = result.as_ref().map(|result| result.at.elapsed()).unwrap_or_default();
            let outcome = match result {
                None => Err("not checked yet"),
                Some(result) if result.fresh_for.is_some_and(|limit| age > limit) => Err("the last check is too old"),
                Some(result) => result.outcome.as_ref().map_err(String::as_str),
            };
            ready &= outcome.is_ok();
            let outcome = outcome.map_or_else(|problem| format!("failed: {problem}"), |()| "ok".to_owned());
            let _ = writeln!(text, "{name}: {outcome} ({} s ago)", age.as_secs());
        }
        (ready, text)
    }

    fn set(&self, name: &'static str, outcome: Result<(), String>, fresh_for: Option<Duration>) {
        self.0.lock().checks.insert(name, Some(CheckResult { outcome, at: Instant::now(), fresh_for }));
    }
}

/// Serves [`routes`] until `end`, on a thread of its own: a program that is busy with requests still answers its probes in time. The gauge
/// `open` shows the number of connections.
pub async fn serve(listener: TcpListener, health: Health, registry: Registry, open: IntGauge, end: CancellationToken) {
    // The guard ends the thread when this future is dropped.
    let end = end.child_token();
    let _guard = end.clone().drop_guard();
    let (ended, thread_ended) = oneshot::channel();
    let started = listener.into_std().and_then(|listener| {
        let thread = std::thread::Builder::new().name("health".into());
        thread.spawn(move || {
            let _ = ended.send(serve_on_this_thread(listener, health, registry, open, end));
        })
    });
    // An error of the receiver means that the thread panicked.
    let outcome = match started {
        Ok(_) => thread_ended.await.unwrap_or_else(|_| Err(io::Error::other("the thread panicked"))),
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        tracing::error!(%error, "cannot serve probes");
    }
}

fn serve_on_this_thread(
    listener: std::net::TcpListener,
    health: Health,
    registry: Registry,
    open: IntGauge,
    end: CancellationToken,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        http::serve(listener, None, warp::service(routes(health, registry)), LIMITS, open, end).await;
        Ok(())
    })
}

/// Returns the routes `GET /healthz`, `GET /readyz` and `GET /metrics`.
pub fn routes(health: Health, registry: Registry) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    let alive = health.clone();
    let healthz = warp::path!("healthz").map(move || match &alive.0.lock().failure {
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
    fn ready_when_every_check_succeeded_recently() {
        let health = Health::new(["a", "b"]);
        assert_eq!(
            health.readiness(),
            (false, "a: failed: not checked yet (0 s ago)\nb: failed: not checked yet (0 s ago)\n".into())
        );
        health.report("a", Ok(()));
        health.report("b", Err("it is away".into()));
        assert_eq!(health.readiness(), (false, "a: ok (0 s ago)\nb: failed: it is away (0 s ago)\n".into()));
        health.report("b", Ok(()));
        assert!(health.readiness().0);
        health.set("b", Ok(()), Some(Duration::ZERO));
        let (ready, text) = health.readiness();
        assert!(!ready && text.contains("b: failed: the last check is too old"), "{text}");
    }

    #[test]
    fn a_process_that_ends_or_failed_is_not_ready() {
        let health = Health::new([]);
        assert_eq!(health.readiness(), (true, String::new()));
        health.shut_down();
        assert!(!health.readiness().0);
        let health = Health::new([]);
        health.fail("a controller has ended");
        assert_eq!(health.readiness(), (false, "failed: a controller has ended\n".into()));
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

    /// Sends `GET path` on a blocking socket and returns the answer.
    fn get(address: std::net::SocketAddr, path: &str) -> String {
        use std::io::{Read as _, Write as _};

        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[tokio::test]
    async fn a_busy_runtime_still_answers_probes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
        let (registry, open) = (Registry::new(), IntGauge::new("open", "open").unwrap());
        let serving = tokio::spawn(serve(listener, Health::new([]), registry, open, end.clone()));
        tokio::task::yield_now().await;
        // These calls block the only thread of this test's runtime, as a request that computes does.
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 200"));
        end.cancel();
        serving.await.unwrap();
    }
}
