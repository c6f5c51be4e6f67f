//! An HTTP server over TCP or TLS: a task for each connection, limits on everything, and a shutdown that drops no request.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::client::{ClientAddress, WithClient};
use crate::shares::Shares;

/// Pause after a failed accept (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Least time between two log messages about refused connections, so that a client cannot flood the log.
const REFUSAL_LOG: Duration = Duration::from_secs(30);
/// Largest buffer of an HTTP/1 connection, and for the answer of an HTTP/2 stream, in bytes; it also limits the headers of a request.
const BUFFER_BYTES: usize = 64 << 10;
/// Receive window of a stream of an HTTP/2 connection, in bytes. Smaller than that of the connection, so that a stream that is not read does
/// not block the others.
const STREAM_WINDOW: u32 = 64 << 10;
/// Most requests at once on an HTTP/2 connection.
const STREAMS: u32 = 128;
/// Interval of keep-alive pings on an HTTP/2 connection, and time limit of their answers.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Limits for clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at once; more wait in the listener's queue.
    pub connections: usize,
    /// Most connections of one client address at once; more are closed at once. The share shrinks with the connections that are free. As many
    /// as `connections` where one address stands for many clients, such as that of a proxy: then there are no shares.
    pub per_client: usize,
    /// Longest TLS handshake.
    pub handshake: Duration,
    /// Longest wait for the complete headers of a request, also between two requests.
    pub headers: Duration,
    /// Age at which a connection is closed as soon as its request is answered; [`Duration::MAX`] for none.
    pub age: Duration,
    /// Longest time for a running request to end, when its connection is too old or the server stops.
    pub shutdown: Duration,
    /// Receive window of an HTTP/2 connection, in bytes: what a client can send before it is read. None for a server of HTTP/1 only.
    pub http2: Option<u32>,
}

/// Listens on an address.
///
/// # Errors
/// When the address is in use, or this process may not use it.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Serves `service` on `listener`, over TLS when there is an acceptor, until `stop`; then lets the running requests end. The gauge `open`
/// shows the number of connections. A panic in `service` ends one connection.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: S,
    limits: Limits,
    open: IntGauge,
    stop: CancellationToken,
) where
    S: Service<hyper::Request<Incoming>, Response = hyper::Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut slots = Slots::new(&limits);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = slots.accept(&listener) => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, client, permits) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = WithClient { service: service.clone(), client };
        let connection = Connection { service, limits, stop: stop.clone() };
        let (tls, counted) = (tls.clone(), Counted::new(&open));
        // Permits and gauge move into the task: a panic in it releases them too.
        connections.spawn(async move {
            connection.run(stream, tls).await;
            drop((permits, counted));
        });
    }
    // Closes the port before the running requests end, so that new connections go to another replica.
    drop(listener);
    connections.close();
    // Each ends within `limits.shutdown`.
    connections.wait().await;
}

/// The slots of a server for connections.
struct Slots {
    all: Arc<Semaphore>,
    clients: Shares<ClientAddress>,
    connections: usize,
    per_client: usize,
    /// When a refused connection was last logged.
    logged: Option<Instant>,
}

impl Slots {
    fn new(limits: &Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.connections)),
            clients: Shares::new(limits.per_client),
            connections: limits.connections,
            per_client: limits.per_client,
            logged: None,
        }
    }

    /// Returns a slot of a client's share, if one is left. With a share that does not shrink, a few clients could hold all connections.
    fn share(&self, client: &ClientAddress) -> Option<OwnedSemaphorePermit> {
        let semaphore = self.clients.semaphore(client);
        let held = self.per_client.saturating_sub(semaphore.available_permits());
        // The permit of the connection itself is not available any more.
        let free = self.all.available_permits() + 1;
        let has_share = self.per_client >= self.connections
            || held.saturating_mul(self.connections) < self.per_client.saturating_mul(free);
        if has_share { semaphore.try_acquire_owned().ok() } else { None }
    }

    /// Accepts the next connection of a client that has a slot left.
    async fn accept(
        &mut self,
        listener: &TcpListener,
    ) -> io::Result<(TcpStream, ClientAddress, [OwnedSemaphorePermit; 2])> {
        // This permit comes first: without one, connections stay in the queue of the kernel and use no memory here.
        let permit = Arc::clone(&self.all).acquire_owned().await.map_err(io::Error::other)?;
        loop {
            let (stream, address) = listener.accept().await?;
            let client = ClientAddress::from(address);
            // A connection that waited here would take the slot of another client.
            if let Some(own) = self.share(&client) {
                return Ok((stream, client, [permit, own]));
            }
            if self.logged.is_none_or(|at| at.elapsed() >= REFUSAL_LOG) {
                self.logged = Some(Instant::now());
                tracing::warn!(client = %address.ip(), "a client has its share of the connections; further ones are closed");
            }
        }
    }
}

/// Adds one to a gauge until it is dropped, also by a panic.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

struct Connection<S> {
    service: S,
    limits: Limits,
    stop: CancellationToken,
}

impl<S, B> Connection<S>
where
    S: Service<hyper::Request<Incoming>, Response = hyper::Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Responses are small: with Nagle's algorithm they would wait for more data. A failure only makes the connection slower.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = tls else {
            return self.http(stream).await;
        };
        match timeout(self.limits.handshake, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "the TLS handshake failed"),
            Err(_) => tracing::debug!("the TLS handshake took too long"),
        }
    }

    async fn http<I>(self, stream: I)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Limits { headers, age, shutdown, http2, .. } = self.limits;
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(headers).max_buf_size(BUFFER_BYTES);
        let (interval, patience) = PING;
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(interval)).keep_alive_timeout(patience);
        builder.http2().initial_connection_window_size(http2).initial_stream_window_size(STREAM_WINDOW);
        builder.http2().max_concurrent_streams(STREAMS).max_send_buf_size(BUFFER_BYTES);
        let builder = if http2.is_some() { builder } else { builder.http1_only() };
        let mut connection =
            pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.service)));
        tokio::select! {
            ended = connection.as_mut() => return log(ended),
            () = self.stop.cancelled() => {}
            () = sleep(age) => {}
        }
        // Completes the running request, and closes an idle connection at once.
        connection.as_mut().graceful_shutdown();
        if let Ok(ended) = timeout(shutdown, connection).await {
            log(ended);
        } else {
            tracing::warn!("a request did not end in time; its connection is closed");
        }
    }
}

fn log<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "the connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;
    use warp::Filter as _;

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 4,
        per_client: 4,
        handshake: Duration::from_millis(200),
        headers: Duration::from_millis(200),
        age: Duration::from_mins(1),
        shutdown: Duration::from_secs(30),
        http2: None,
    };

    struct Server {
        address: SocketAddr,
        open: IntGauge,
        stop: CancellationToken,
        task: JoinHandle<()>,
        /// Receives a message for each request to `/wait`.
        waiting: mpsc::Receiver<()>,
        go_on: Arc<Semaphore>,
    }

    async fn server(limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (open, stop) = (IntGauge::new("open", "open").unwrap(), CancellationToken::new());
        let (arrived, waiting) = mpsc::channel(8);
        let go_on = Arc::new(Semaphore::new(0));
        let gate = Arc::clone(&go_on);
        let wait = warp::path!("wait").then(move || {
            let (arrived, gate) = (arrived.clone(), Arc::clone(&gate));
            async move {
                arrived.send(()).await.unwrap();
                gate.acquire().await.unwrap().forget();
                "done"
            }
        });
        let fail = warp::path!("panic").map(|| -> &'static str { panic!("on purpose") });
        let routes = wait.or(fail).unify().or(warp::path!("ok").map(|| "ok")).unify();
        let routes = routes.map(warp::reply::Reply::into_response);
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(listener, None, warp::service(routes), limits, open.clone(), stop.clone()));
        Server { address, open, stop, task, waiting, go_on }
    }

    /// Sends `text` and gives back all that is answered until the connection is closed.
    async fn exchange(address: SocketAddr, text: String) -> String {
        exchange_on(TcpStream::connect(address).await.unwrap(), text).await
    }

    async fn exchange_on(mut stream: TcpStream, text: String) -> String {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(Duration::from_mins(1), stream.read_to_string(&mut answer)).await.expect("it is closed").unwrap();
        answer
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    }

    #[tokio::test]
    async fn a_panic_ends_one_connection() {
        let server = server(LIMITS).await;
        assert_eq!(exchange(server.address, get("/panic")).await, "");
        assert!(exchange(server.address, get("/ok")).await.starts_with("HTTP/1.1 200"));
        while server.open.get() != 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn closes_slow_and_idle_connections() {
        let server = server(LIMITS).await;
        let cut = exchange(server.address, "GET /ok HTTP/1.1\r\nhost: ".into()).await;
        assert!(cut.is_empty() || cut.starts_with("HTTP/1.1 408"), "{cut}");
        let idle = exchange(server.address, get("/ok").replace("connection: close\r\n", "")).await;
        assert!(idle.starts_with("HTTP/1.1 200"), "{idle}");
    }

    #[tokio::test]
    async fn a_running_request_is_answered_after_the_stop() {
        let mut server = server(LIMITS).await;
        let answer = tokio::spawn(exchange(server.address, get("/wait")));
        server.waiting.recv().await.unwrap();
        server.stop.cancel();
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!server.task.is_finished());
        server.go_on.add_permits(1);
        assert!(answer.await.unwrap().ends_with("done"));
        server.task.await.unwrap();
    }

    #[tokio::test]
    async fn closes_a_request_that_does_not_end() {
        let mut server = server(Limits { shutdown: Duration::from_millis(50), ..LIMITS }).await;
        let answer = tokio::spawn(exchange(server.address, get("/wait")));
        server.waiting.recv().await.unwrap();
        server.stop.cancel();
        server.task.await.unwrap();
        assert_eq!(answer.await.unwrap(), "");
    }

    #[tokio::test]
    async fn closes_an_old_connection_after_its_answer() {
        let mut server = server(Limits { age: Duration::from_millis(50), ..LIMITS }).await;
        let keep = get("/wait").replace("close", "keep-alive");
        let answer = tokio::spawn(exchange(server.address, keep));
        server.waiting.recv().await.unwrap();
        sleep(Duration::from_millis(100)).await;
        server.go_on.add_permits(1);
        let answer = answer.await.unwrap();
        assert!(answer.contains("connection: close") && answer.ends_with("done"), "{answer}");
    }

    #[tokio::test]
    async fn more_connections_wait_for_a_slot() {
        let mut server = server(Limits { connections: 2, ..LIMITS }).await;
        let answers: Vec<_> = (0..3).map(|_| tokio::spawn(exchange(server.address, get("/wait")))).collect();
        server.waiting.recv().await.unwrap();
        server.waiting.recv().await.unwrap();
        assert_eq!(server.open.get(), 2);
        server.go_on.add_permits(3);
        server.waiting.recv().await.unwrap();
        for answer in answers {
            assert!(answer.await.unwrap().ends_with("done"));
        }
    }

    #[tokio::test]
    async fn one_client_cannot_take_all_connections() {
        let mut server = server(Limits { per_client: 2, ..LIMITS }).await;
        let answers: Vec<_> = (0..2).map(|_| tokio::spawn(exchange(server.address, get("/wait")))).collect();
        server.waiting.recv().await.unwrap();
        server.waiting.recv().await.unwrap();
        // The client floods the server: every further connection is closed before a request.
        for _ in 0..20 {
            let mut refused = TcpStream::connect(server.address).await.unwrap();
            let read = timeout(Duration::from_mins(1), refused.read(&mut [0; 1])).await.expect("it is closed");
            assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        }
        // Another client still gets an answer.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let stream = socket.connect(server.address).await.unwrap();
        assert!(exchange_on(stream, get("/ok")).await.ends_with("ok"));
        // A slot of the first client is free again after its request.
        server.go_on.add_permits(2);
        for answer in answers {
            assert!(answer.await.unwrap().ends_with("done"));
        }
        while server.open.get() != 0 {
            tokio::task::yield_now().await;
        }
        assert!(exchange(server.address, get("/ok")).await.ends_with("ok"));
    }

    #[tokio::test]
    async fn many_clients_cannot_take_all_connections() {
        let server =
            server(Limits { connections: 64, per_client: 8, headers: Duration::from_mins(10), ..LIMITS }).await;
        let connect = async |client: u8| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from(([127, 0, 0, client], 0))).unwrap();
            socket.connect(server.address).await.unwrap()
        };
        // With fixed shares, eight clients would hold all connections, and the last one would wait.
        let mut idle = Vec::new();
        for client in 10..20 {
            for _ in 0..16 {
                idle.push(connect(client).await);
            }
        }
        let answer = exchange_on(connect(99).await, get("/ok")).await;
        assert!(answer.ends_with("ok"), "{answer}");
        assert!((40..64).contains(&server.open.get()), "{}", server.open.get());
    }
}
