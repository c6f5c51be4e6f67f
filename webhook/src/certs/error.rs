//! Errors of certificates.

use enact_service::api_server;
use k8s_openapi::jiff::Timestamp;

/// The readiness check for a certificate.
pub const CERTIFICATE: &str = "certificate";

/// An error of a certificate, a key or the objects that hold them.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the certificate or key cannot be used: {0}")]
    Unusable(String),
    #[error("{0} is out of the range of a certificate; choose shorter lifetimes")]
    Time(Timestamp),
    #[error("cannot write the keyring: {0}")]
    Encode(#[from] serde_json::Error),
    /// Other replicas, or somebody else, change the certificates again and again.
    #[error("another process keeps changing the certificates or the webhook configurations")]
    Unsettled,
    #[error("{what}: {}", api_server::message(.source))]
    Api {
        what: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("cannot read {path}: {source}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
}
