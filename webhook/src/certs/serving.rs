//! The certificate for TLS handshakes, which can be replaced while connections are open.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;

use super::error::CertificateError;
use super::note_secret::NoteSecret;

/// The present certificate, and the secret of notes that belongs to it; clones share them.
#[derive(Clone, Debug)]
pub struct Serving {
    certificate: watch::Sender<Option<Arc<CertifiedKey>>>,
    pub notes: NoteSecret,
}

impl Default for Serving {
    fn default() -> Self {
        Self { certificate: watch::Sender::new(None), notes: NoteSecret::default() }
    }
}

impl Serving {
    /// Uses this certificate with its chain, and this key, for new handshakes; both are PEM.
    ///
    /// # Errors
    /// When they cannot be parsed or do not belong together; the present certificate stays.
    pub fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        self.certificate.send_replace(Some(Arc::new(certified(certificate, key)?)));
        Ok(())
    }

    /// Returns the TLS configuration that serves this certificate. Handshakes fail while there is none. With `client_ca`, which is PEM, only
    /// clients with a certificate of that CA can connect.
    ///
    /// # Errors
    /// When `client_ca` cannot be used.
    pub fn config(&self, client_ca: Option<&[u8]>) -> Result<ServerConfig, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| unusable(&e))?;
        let builder = match client_ca {
            Some(ca) => builder.with_client_cert_verifier(verifier(ca, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Resolver(self.certificate.subscribe())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Returns the check that a client has a certificate of this CA.
fn verifier(client_ca: &[u8], provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(client_ca)? {
        roots.add(certificate).map_err(|e| unusable(&e))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|e| unusable(&e))
}

/// Parses a certificate with its chain, and its key; both are PEM.
pub(super) fn certified(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, CertificateError> {
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| unusable(&e))?;
    CertifiedKey::from_der(chain(certificate)?, key, &ring::default_provider()).map_err(|e| unusable(&e))
}

/// Parses the certificates of a PEM text, at least one.
pub(super) fn chain(certificate: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().map_err(|e| unusable(&e))?;
    if chain.is_empty() { Err(unusable(&"it holds no certificate")) } else { Ok(chain) }
}

/// Returns when the first certificate of a PEM text expires, in seconds since 1970.
pub(super) fn ends(certificate: &[u8]) -> Result<i64, CertificateError> {
    let chain = chain(certificate)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).map_err(|e| unusable(&e))?;
    Ok(parsed.validity().not_after.timestamp())
}

fn unusable(error: &dyn fmt::Display) -> CertificateError {
    CertificateError::Unusable(error.to_string())
}

#[derive(Debug)]
struct Resolver(watch::Receiver<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().clone()
    }
}
