//! Whoever is between Enact and Postgres, and answers in its place, gets no password.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;

use enact_store::{Config, Store};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const PASSWORD: &str = "password-canary";
/// The message with which a client asks for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The message of a server that asks for the password as text.
const CLEARTEXT_PASSWORD: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];
/// Largest message of a client here, in bytes.
const MAX_MESSAGE: usize = 4096;

/// A server that pretends to be Postgres.
struct Impostor {
    port: u16,
    heard: JoinHandle<Vec<u8>>,
}

impl Impostor {
    /// Listens for one connection: with a certificate for `localhost`, or as a server without TLS.
    async fn start(certificate: Option<&CertifiedKey<KeyPair>>) -> Self {
        let acceptor = certificate.map(acceptor);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = [0; SSL_REQUEST.len()];
            client.read_exact(&mut request).await.unwrap();
            assert_eq!(request, SSL_REQUEST);
            client.write_all(if acceptor.is_some() { b"S" } else { b"N" }).await.unwrap();
            match acceptor {
                Some(acceptor) => match acceptor.accept(client).await {
                    Ok(client) => listen(client).await,
                    Err(_) => Vec::new(),
                },
                None => listen(client).await,
            }
        });
        Self { port, heard }
    }

    /// Connects to it with these parameters of a URL, and returns whether it got the password.
    async fn hears_password(self, host: &str, parameters: &str) -> bool {
        let url = format!("postgres://enact:{PASSWORD}@{host}:{}/enact?{parameters}", self.port);
        let error = Store::connect(&Config::new(url)).unwrap().ready().await.expect_err("it is not Postgres");
        let heard = self.heard.await.unwrap();
        let is_known = heard.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
        assert!(is_known || heard.is_empty(), "{parameters}: {error}: {}", String::from_utf8_lossy(&heard));
        is_known
    }
}

/// Returns what the client says, which is asked for its password.
async fn listen(mut client: impl AsyncRead + AsyncWrite + Unpin) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut message = [0; MAX_MESSAGE];
    for _ in 0..2 {
        // A client that refuses the server closes the connection.
        let Ok(length @ 1..) = client.read(&mut message).await else { break };
        heard.extend_from_slice(&message[..length]);
        if client.write_all(&CLEARTEXT_PASSWORD).await.is_err() || client.flush().await.is_err() {
            break;
        }
    }
    heard
}

fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn acceptor(certificate: &CertifiedKey<KeyPair>) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate.cert.der().clone()], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn verification_gives_no_password_to_an_impostor() {
    let (genuine, forged) = (certificate(), certificate());
    let folder = std::env::temp_dir().join(format!("enact-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ca = folder.join("ca.crt");
    std::fs::write(&ca, genuine.cert.pem()).unwrap();
    let verified = format!("sslmode=verify-full&sslrootcert={}", ca.display());

    let heard = [
        // The server that the CA names.
        Impostor::start(Some(&genuine)).await.hears_password("localhost", &verified).await,
        // A server without TLS, as whoever removes it pretends.
        Impostor::start(None).await.hears_password("localhost", &verified).await,
        // A certificate of another CA.
        Impostor::start(Some(&forged)).await.hears_password("localhost", &verified).await,
        // A certificate of the CA for another host.
        Impostor::start(Some(&genuine)).await.hears_password("127.0.0.1", &verified).await,
        // Without verification, the attacks succeed.
        Impostor::start(None).await.hears_password("localhost", "sslmode=prefer").await,
        Impostor::start(Some(&forged)).await.hears_password("localhost", "sslmode=require").await,
    ];
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(heard, [true, false, false, false, true, true]);
}
