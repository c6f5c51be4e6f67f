//! The webhook's certificates: made and renewed by itself, or read from files that cert-manager keeps.
//!
//! Self-made ones live in one Secret ([`keyring::Keyring`]) that all replicas share. Every replica runs the same level-triggered loop
//! ([`rotation::Rotation`]): read the Secret, decide what is due ([`keyring::Keyring::due`]), write it back with a compare-and-swap, serve
//! it, and see that the webhook configurations trust it. A new authority is trusted by the API server before anything is signed with it,
//! and an old one until it ends, so that a change is never seen by a client.

mod cluster;
pub mod files;
pub mod keyring;
pub mod rotation;
pub mod serving;

pub use cluster::{ClusterVault, Names};

use k8s_openapi::jiff::Timestamp;

/// The check of readiness that there is a certificate to serve with.
pub const CERTIFICATE: &str = "certificate";

/// What went wrong with certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A certificate could not be made.
    #[error("making a certificate failed: {0}")]
    Make(#[from] rcgen::Error),
    /// A certificate or key cannot be served with.
    #[error("the certificate or key cannot be used: {0}")]
    Unusable(String),
    /// A time is out of the range of a certificate.
    #[error("{0} is no time for a certificate; choose shorter lifetimes")]
    Time(Timestamp),
    /// The keyring cannot be written as JSON.
    #[error("writing the keyring failed: {0}")]
    Encode(#[from] serde_json::Error),
    /// Other replicas, or somebody else, changed the certificates again and again.
    #[error("the certificates or the webhook configurations are changed by others all the time")]
    Unsettled,
    /// The API server refused or did not answer.
    #[error("{what}: {source}")]
    Api {
        /// What was tried.
        what: String,
        /// What went wrong.
        #[source]
        source: Box<kube::Error>,
    },
    /// A file cannot be read.
    #[error("reading {path} failed: {source}")]
    File {
        /// The file.
        path: String,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
}
