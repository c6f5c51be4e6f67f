//! The loop that keeps the keyring fresh, served and trusted.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use enact_service::health::Health;
use futures::{Stream, StreamExt as _};
use k8s_openapi::jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::keyring::{Due, Keyring, Lifetimes};
use super::serving::Serving;
use super::{CERTIFICATE, CertificateError};
use crate::metrics::Metrics;

/// Longest time without looking, whatever the triggers say.
const LONGEST_WAIT: Duration = Duration::from_mins(10);
/// First and longest pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Most triggers that are taken for one.
const MAX_TRIGGERS: usize = 64;
/// Steps of one pass: more than ever follow each other, so that a disagreement of clocks cannot spin.
const MAX_STEPS: usize = 8;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Where the keyring is kept, and who must trust it.
pub trait Vault: Send + Sync {
    /// What was there when it was looked at, which writes are compared with.
    type Seen: Send + Sync;

    /// The keyring as it is now, not from a cache; none when there is none that can be read. Who trusts what is looked at first: so the
    /// keyring is never older than a bundle that was seen.
    fn load(&self) -> impl Future<Output = Result<(Option<Keyring>, Self::Seen), CertificateError>> + Send;
    /// Writes the keyring, unless somebody else has written since it was seen. Whether it did.
    fn store(&self, keyring: &Keyring, seen: Self::Seen)
    -> impl Future<Output = Result<bool, CertificateError>> + Send;
    /// Sees that whoever calls trusts this bundle, unless somebody else has changed that since it was seen. Whether they do.
    fn publish(&self, bundle: &str, seen: &Self::Seen) -> impl Future<Output = Result<bool, CertificateError>> + Send;
}

/// Keeps one keyring.
pub struct Rotation<V> {
    /// Where the keyring is kept.
    pub vault: V,
    /// Host names that the webhook is called by.
    pub hosts: Vec<String>,
    /// How long certificates are good for.
    pub lifetimes: Lifetimes,
    /// Where the certificate is served.
    pub serving: Serving,
    /// Told when there is a certificate.
    pub health: Health,
    /// What is counted.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
}

impl<V: Vault> Rotation<V> {
    /// Runs until `stop`: at every trigger, and when something is due. A failure is tried again, with growing pauses.
    pub async fn run(&self, triggers: impl Stream<Item = ()>, stop: CancellationToken) {
        // What has come meanwhile is one reason to look, not many.
        let mut triggers = std::pin::pin!(triggers.ready_chunks(MAX_TRIGGERS).fuse());
        let mut served = None;
        let mut pause = PAUSE.0;
        loop {
            let wait = match self.pass(&mut served).await {
                Ok(until) => {
                    pause = PAUSE.0;
                    Duration::try_from((self.clock)().duration_until(until)).unwrap_or_default().min(LONGEST_WAIT)
                }
                Err(error) => {
                    self.metrics.certificate_events.with_label_values(&["failed"]).inc();
                    tracing::error!(%error, "certificates are not as they should be; trying again");
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

    /// Does all that is due, and says when something is due again.
    async fn pass(&self, served: &mut Option<Keyring>) -> Result<Timestamp, CertificateError> {
        for _ in 0..MAX_STEPS {
            let (found, seen) = self.vault.load().await?;
            let now = (self.clock)();
            let Some(keyring) = found.filter(usable) else {
                let new = Keyring::new(&self.hosts, &self.lifetimes, now)?;
                self.write(&new, seen, "created").await?;
                continue;
            };
            let due = keyring.due(&self.hosts, &self.lifetimes, now);
            match due {
                Due::Authority => {
                    let next = keyring.with_authority(&self.hosts, &self.lifetimes, now)?;
                    self.write(&next, seen, "authority_renewed").await?;
                    continue;
                }
                Due::Leaf => {
                    let next = keyring.with_leaf(&self.hosts, &self.lifetimes, now)?;
                    self.write(&next, seen, "leaf_renewed").await?;
                    continue;
                }
                Due::Nothing { .. } | Due::Publication => {}
            }
            self.serve(&keyring, served)?;
            if !self.vault.publish(&keyring.bundle(), &seen).await? {
                continue;
            }
            match due {
                Due::Nothing { until } => return Ok(until),
                _ => self.write(&keyring.published((self.clock)()), seen, "published").await?,
            }
        }
        Err(CertificateError::Unsettled)
    }

    /// Writes what was decided. When another replica was faster, its decision is read in the next step.
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
        let (certificate, key) = keyring.serving();
        self.serving.replace(certificate.as_bytes(), key.as_bytes())?;
        self.health.found(CERTIFICATE, Ok(()));
        self.metrics.certificate_expiry.set(keyring.ends().as_second());
        *served = Some(keyring.clone());
        Ok(())
    }
}

/// Whether a keyring can be worked with. One that somebody damaged is replaced, as a lost one is.
fn usable(keyring: &Keyring) -> bool {
    keyring.check().inspect_err(|error| tracing::error!(%error, "the keyring is damaged; making a new one")).is_ok()
}

#[cfg(test)]
mod tests;
