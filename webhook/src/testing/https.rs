//! The API server's side of admission over HTTPS: it trusts a bundle, and uses the clock of the test.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use enact_service::http::serve;
use http_body_util::{BodyExt as _, Full};
use hyper::StatusCode;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{FakeLookup, no_notes, validator};
use crate::admission::routes;
use crate::app::LIMITS;
use crate::certs::keyring::Lifetimes;
use crate::certs::rotation::Clock;
use crate::certs::serving::Serving;
use crate::metrics::Metrics;

pub const HOST: &str = "enact-webhook.enact.svc";

pub fn hosts() -> Vec<String> {
    vec![HOST.into(), format!("{HOST}.cluster.local")]
}

pub fn lifetimes() -> Lifetimes {
    Lifetimes {
        ca: SignedDuration::from_hours(9),
        serving: SignedDuration::from_hours(3),
        propagation: SignedDuration::from_mins(10),
    }
}

/// A clock that a test moves. It starts at the present time.
#[derive(Clone, Debug)]
pub struct Hands(Arc<AtomicI64>);

impl Hands {
    pub fn new() -> Self {
        Self(Arc::new(AtomicI64::new(Timestamp::now().as_second())))
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    pub fn forward(&self, by: SignedDuration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let hands = self.clone();
        Arc::new(move || hands.now())
    }
}

impl TimeProvider for Hands {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.load(Ordering::SeqCst)).unwrap();
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// A webhook that listens, with rules of two tenants.
pub struct Listening {
    pub address: SocketAddr,
    pub metrics: Metrics,
    pub stop: CancellationToken,
    pub task: AbortOnDropHandle<()>,
}

impl Listening {
    pub async fn start(serving: &Serving) -> Self {
        Self::start_for(serving, None).await
    }

    /// Starts a webhook for clients with a certificate of this CA.
    pub async fn start_for(serving: &Serving, client_ca: Option<&[u8]>) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(serving.config(client_ca).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, stop) = (Metrics::new().unwrap(), CancellationToken::new());
        let service = warp::service(routes(
            validator(FakeLookup::two_tenants()),
            no_notes(),
            serving.notes.clone(),
            metrics.clone(),
        ));
        let serve = serve(listener, Some(acceptor), service, LIMITS, metrics.connections.clone(), stop.clone());
        Self { address, metrics, stop, task: AbortOnDropHandle::new(tokio::spawn(serve)) }
    }
}

/// A client certificate as an administrator makes it for the API server.
pub struct ClientCertificate {
    /// The CA as PEM.
    pub ca: String,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl ClientCertificate {
    pub fn new() -> Self {
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = authority.self_signed(&ca_key).unwrap().pem();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &Issuer::new(authority, ca_key)).unwrap().der().clone();
        Self { ca, certificate, key }
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.serialize_pem().as_bytes()).unwrap()
    }
}

pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// Connects to a webhook. Its certificate must be signed by a CA of the bundle, be for its host, and be valid at this time.
    pub async fn open(address: SocketAddr, bundle: &str, hands: &Hands) -> io::Result<Self> {
        Self::open_as(address, bundle, hands, None).await
    }

    /// Connects with a client certificate.
    pub async fn open_as(
        address: SocketAddr,
        bundle: &str,
        hands: &Hands,
        client: Option<&ClientCertificate>,
    ) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(hands.clone()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots);
        let config = Arc::new(match client {
            Some(client) => config.with_client_auth_cert(vec![client.certificate.clone()], client.key()).unwrap(),
            None => config.with_no_client_auth(),
        });
        let stream = TcpStream::connect(address).await?;
        let stream = TlsConnector::from(config).connect(ServerName::try_from(HOST).unwrap(), stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, _driver: AbortOnDropHandle::new(driver) })
    }

    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> io::Result<(StatusCode, Bytes)> {
        self.sender.ready().await.map_err(io::Error::other)?;
        let request = hyper::Request::post(path).header("host", HOST).header("content-type", "application/json");
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(io::Error::other)?;
        Ok((status, body.to_bytes()))
    }

    /// Sends a review and returns the response.
    pub async fn review(&mut self, path: &str, review: &Value) -> io::Result<Value> {
        let (status, body) = self.post(path, review.to_string()).await?;
        if status != StatusCode::OK {
            return Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(io::Error::other)
    }
}
