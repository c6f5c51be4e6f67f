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
        let unusable = |e: &dyn fmt::Display| CertificateError::Unusable(e.to_string());
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().map_err(|e| unusable(&e))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| unusable(&e))?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|e| unusable(&e))?;
        self.0.send_replace(Some(Arc::new(certified)));
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

#[derive(Debug)]
struct Resolver(watch::Receiver<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().clone()
    }
}
