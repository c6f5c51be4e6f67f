//! The loop that renews the keyring, serves it, and publishes its CAs in the webhook configurations.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use enact_service::health::Health;
use futures::{Stream, StreamExt as _};
use k8s_openapi::jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::error::{CERTIFICATE, CertificateError};
use super::keyring::{Due, Keyring, Lifetimes};
use super::serving::Serving;
use crate::metrics::Metrics;

/// Longest time between two checks, whatever the triggers say.
const LONGEST_WAIT: Duration = Duration::from_mins(10);
/// First and longest pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Most triggers that are handled as one.
const MAX_TRIGGERS: usize = 64;
/// Most steps of one check: more than ever follow each other, so that replicas whose clocks disagree cannot spin.
const MAX_STEPS: usize = 8;

pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The storage of the keyring, and the webhook configurations that must trust it.
pub trait Vault: Send + Sync {
    /// The objects as `load` read them. A write succeeds only if they are unchanged.
    type Seen: Send + Sync;

    /// Reads the current keyring, not from a cache; none when it is missing or cannot be parsed. It reads the webhook configurations first,
    /// so that the keyring is never older than a bundle that it read.
    fn load(&self) -> impl Future<Output = Result<(Option<Keyring>, Self::Seen), CertificateError>> + Send;
    /// Writes the keyring, unless somebody else wrote one since `load`. Returns whether it did.
    fn store(&self, keyring: &Keyring, seen: Self::Seen)
    -> impl Future<Output = Result<bool, CertificateError>> + Send;
    /// Makes the webhook configurations trust this bundle and send this secret with notes, unless somebody else changed them since `load`.
    /// Returns whether they do.
    fn publish(
        &self,
        bundle: &str,
        note_secret: &str,
        seen: &Self::Seen,
    ) -> impl Future<Output = Result<bool, CertificateError>> + Send;
}

/// The rotation of one keyring.
pub struct Rotation<V> {
    pub vault: V,
    /// Host names by which the API server calls the webhook.
    pub hosts: Vec<String>,
    pub lifetimes: Lifetimes,
    pub serving: Serving,
    pub health: Health,
    pub metrics: Metrics,
    pub clock: Clock,
}

impl<V: Vault> Rotation<V> {
    /// Runs until `stop`: checks at every trigger, and when a step is due. A failure is tried again, with growing pauses.
    pub async fn run(&self, triggers: impl Stream<Item = ()>, stop: CancellationToken) {
        // All triggers that came meanwhile lead to one check.
        let mut triggers = std::pin::pin!(triggers.ready_chunks(MAX_TRIGGERS).fuse());
        let mut served = None;
        let mut pause = PAUSE.0;
        loop {
            let wait = match self.check(&mut served).await {
                Ok(until) => {
                    pause = PAUSE.0;
                    Duration::try_from((self.clock)().duration_until(until)).unwrap_or_default().min(LONGEST_WAIT)
                }
                Err(error) => {
                    self.metrics.certificate_events.with_label_values(&["failed"]).inc();
                    tracing::error!(%error, "cannot renew or publish the certificates; trying again");
                    let wait = pause;
                    pause = (pause * 2).min(PAUSE.1);
                    wait
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                Some(_) = triggers.next() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Performs all steps that are due. Returns the time of the next step.
    async fn check(&self, served: &mut Option<Keyring>) -> Result<Timestamp, CertificateError> {
        for _ in 0..MAX_STEPS {
            // Every step starts from the stored state. When another replica wins a compare-and-swap, this one reads the result and
            // continues with it.
            let (found, seen) = self.vault.load().await?;
            let now = (self.clock)();
            let Some(keyring) = found.filter(usable) else {
                let new = Keyring::new(&self.hosts, &self.lifetimes, now)?;
                self.write(&new, seen, "created").await?;
                continue;
            };
            let due = keyring.due(&self.hosts, &self.lifetimes, now);
            match due {
                Due::Ca => {
                    let next = keyring.with_ca(&self.hosts, &self.lifetimes, now)?;
                    self.write(&next, seen, "ca_renewed").await?;
                    continue;
                }
                Due::ServingCertificate => {
                    let next = keyring.with_serving_certificate(&self.hosts, &self.lifetimes, now)?;
                    self.write(&next, seen, "serving_certificate_renewed").await?;
                    continue;
                }
                Due::Nothing { .. } | Due::Publication => {}
            }
            // Serve before publication: an API server with the new bundle calls at once, and a failed publication must not delay a
            // renewed certificate.
            self.serve(&keyring, served)?;
            if !self.vault.publish(&keyring.bundle(), &keyring.note_secret(), &seen).await? {
                continue;
            }
            match due {
                Due::Nothing { until } => return Ok(until),
                // The propagation time starts here, so the time is stored only after every configuration has the bundle.
                _ => self.write(&keyring.published((self.clock)()), seen, "published").await?,
            }
        }
        Err(CertificateError::Unsettled)
    }

    /// Writes a decision. When another replica wrote first, the next step reads its decision.
    async fn write(&self, keyring: &Keyring, seen: V::Seen, event: &str) -> Result<(), CertificateError> {
        if self.vault.store(keyring, seen).await? {
            self.metrics.certificate_events.with_label_values(&[event]).inc();
            tracing::info!(event, ends = %keyring.ends(), "certificates changed");
        }
        Ok(())
    }

    fn serve(&self, keyring: &Keyring, served: &mut Option<Keyring>) -> Result<(), CertificateError> {
        if served.as_ref() == Some(keyring) {
            return Ok(());
        }
        // Before the certificate: no call is answered without it.
        self.serving.notes.replace(&keyring.note_secret());
        let (certificate, key) = keyring.serving();
        self.serving.replace(certificate.as_bytes(), key.as_bytes())?;
        self.health.report(CERTIFICATE, Ok(()));
        self.metrics.certificate_expiry.set(keyring.ends().as_second());
        *served = Some(keyring.clone());
        Ok(())
    }
}

/// Returns whether a keyring can be used. A damaged one is replaced like a lost one.
fn usable(keyring: &Keyring) -> bool {
    keyring
        .check()
        .inspect_err(|error| tracing::error!(%error, "the keyring is damaged; a new one replaces it"))
        .is_ok()
}

#[cfg(test)]
mod tests;
