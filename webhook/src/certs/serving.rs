//! The certificate that handshakes use, replaced while connections go on.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::CertificateError;

/// Where the present certificate is put.
#[derive(Clone, Debug)]
pub struct Serving(watch::Sender<Option<Arc<CertifiedKey>>>);

impl Default for Serving {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Serving {
    /// Serves new handshakes with this certificate (and its chain) and key, both PEM.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together; the one before stays.
    pub fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        self.0.send_replace(Some(Arc::new(certified(certificate, key)?)));
        Ok(())
    }

    /// The TLS configuration that serves what is put here. Before there is anything, handshakes fail.
    ///
    /// # Errors
    /// When the cryptography has no protocol version in common with this crate's, which is a mistake of the build.
    pub fn config(&self) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let resolver = Arc::new(Resolver(self.0.subscribe()));
        let mut config =
            builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// A certificate with its chain, and the key that belongs to it, both PEM.
pub(super) fn certified(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, CertificateError> {
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| unusable(&e))?;
    CertifiedKey::from_der(chain(certificate)?, key, &ring::default_provider()).map_err(|e| unusable(&e))
}

/// The certificates of a PEM text, at least one.
pub(super) fn chain(certificate: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().map_err(|e| unusable(&e))?;
    if chain.is_empty() { Err(unusable(&"there is no certificate in it")) } else { Ok(chain) }
}

/// When the first certificate of a PEM text ends, in seconds since 1970.
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
