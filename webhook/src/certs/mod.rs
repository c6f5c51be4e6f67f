//! The webhook's certificates: self-signed, or read from files that cert-manager renews.
//!
//! All replicas share the self-signed ones in one Secret ([`keyring::Keyring`]). Every replica runs the same level-triggered loop
//! ([`rotation::Rotation`]): read the Secret, decide what is due ([`keyring::Keyring::due`]), write it back with a compare-and-swap, serve
//! it, and make the webhook configurations trust it. The API server trusts a new CA before that CA signs anything, and an old one until
//! it expires, so that a rotation interrupts no client.

mod cluster;
mod error;
pub mod files;
pub mod keyring;
mod note_secret;
pub mod rotation;
pub mod serving;

pub use cluster::{ClusterVault, Names};
pub use error::{CERTIFICATE, CertificateError};
pub use note_secret::NoteSecret;
