//! Certificates in files that something else renews, as cert-manager does in a mounted Secret.

use std::path::Path;
use std::time::Duration;

use enact_service::health::Health;
use tokio::fs;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::error::{CERTIFICATE, CertificateError};
use super::serving;
use super::serving::Serving;
use crate::metrics::Metrics;

/// Interval between two reads of the files. The kubelet takes up to a minute to update a mounted Secret.
const INTERVAL: Duration = Duration::from_secs(5);

/// Serves `tls.crt` and `tls.key` of `folder`, and loads them again whenever they change, until `stop`.
pub async fn run(folder: &Path, serving: &Serving, health: &Health, metrics: &Metrics, stop: CancellationToken) {
    let mut served = None;
    let mut reported = None;
    loop {
        match reload(folder, serving, &mut served).await {
            Ok(Some(ends)) => {
                metrics.certificate_expiry.set(ends);
                health.report(CERTIFICATE, Ok(()));
                metrics.certificate_events.with_label_values(&["loaded"]).inc();
                tracing::info!(ends, "certificate loaded");
                reported = None;
            }
            Ok(None) => {}
            Err(error) => {
                metrics.certificate_events.with_label_values(&["failed"]).inc();
                let text = error.to_string();
                if reported.as_ref() != Some(&text) {
                    tracing::error!(error = text, "cannot load the certificate; trying again");
                    reported = Some(text);
                }
            }
        }
        tokio::select! {
            () = sleep(INTERVAL) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Loads the files when they differ from what is served. Returns when their certificate expires, in seconds since 1970. A certificate and
/// key that do not belong together, read in the middle of a change, are an error; the served ones stay.
async fn reload(
    folder: &Path,
    place: &Serving,
    served: &mut Option<(Vec<u8>, Vec<u8>)>,
) -> Result<Option<i64>, CertificateError> {
    let pair = (read(&folder.join("tls.crt")).await?, read(&folder.join("tls.key")).await?);
    if served.as_ref() == Some(&pair) {
        return Ok(None);
    }
    let ends = serving::ends(&pair.0)?;
    place.replace(&pair.0, &pair.1)?;
    // Set only after success, so that a pair that does not match is read again.
    *served = Some(pair);
    Ok(Some(ends))
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read; the error names it.
pub async fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).await.map_err(|source| CertificateError::File { path: path.display().to_string(), source })
}
