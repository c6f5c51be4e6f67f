//! The HTTP client for providers.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::address::{AllowedHosts, Resolver, check_literal};
use crate::providers::Provider;

/// Longest wait for a connection to a provider.
const CONNECT: Duration = Duration::from_secs(5);
/// Time after which an unused connection is closed. Providers close them after about a minute.
const IDLE: Duration = Duration::from_secs(50);
/// Most unused connections to one host.
const IDLE_CONNECTIONS: usize = 256;
/// Largest buffer of a connection, in bytes, and so the largest part of an answer.
const BUFFER_BYTES: usize = 64 << 10;
/// Interval of keep-alive probes on a connection: a model can be silent for minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Longest time for which a provider may take nothing of what was sent. The rest of a request waits in memory, also after the answer.
#[cfg(target_os = "linux")]
const STALLED: Duration = Duration::from_secs(30);

type Http = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// Sends requests to providers. Clones share their connections.
#[derive(Clone)]
pub struct Upstream {
    /// For providers of the installation.
    trusted: Http,
    /// For providers of tenants, which may not be at private addresses.
    restricted: Http,
    allowed: AllowedHosts,
}

impl Upstream {
    /// Makes a client that trusts the CAs of the operating system.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(allowed: AllowedHosts) -> anyhow::Result<Self> {
        let restricted = client(Resolver::restricted(allowed.clone()))?;
        Ok(Self { trusted: client(Resolver::unrestricted())?, restricted, allowed })
    }

    /// Sends a request, and returns the head of the answer.
    ///
    /// # Errors
    /// When there is no connection, or it ends before the head. The message says why; it contains no part of the request.
    pub async fn send(&self, provider: &Provider, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, String> {
        if provider.is_trusted {
            return self.trusted.request(request).await.map_err(|error| reason(&error));
        }
        // The connector does not resolve an address, so the resolver would not see it.
        check_literal(request.uri().host().unwrap_or_default(), &self.allowed)?;
        self.restricted.request(request).await.map_err(|error| reason(&error))
    }
}

fn client(resolver: Resolver) -> anyhow::Result<Http> {
    let mut http = HttpConnector::new_with_resolver(resolver);
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT));
    http.set_keepalive(Some(KEEP_ALIVE));
    // Other systems are for development.
    #[cfg(target_os = "linux")]
    http.set_tcp_user_timeout(Some(STALLED));
    let tls = rustls::ClientConfig::builder()
        .with_native_roots()
        .context("the operating system has no CA certificates; install them or set SSL_CERT_FILE")?
        .with_no_client_auth();
    // HTTP/1.1 only: over HTTP/2 all streams would share one connection, and wait for each other.
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http1_max_buf_size(BUFFER_BYTES)
        .build(https))
}

/// Returns the innermost reason of a failure: the others only say that a request failed.
fn reason(error: &Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
