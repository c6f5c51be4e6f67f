//! Which providers get no requests at the moment: those that fail, and those that asked for a pause.
//!
//! Each tenant has its own state of a provider that tenants share, because a request can be made to fail.

use std::collections::HashMap;
use std::time::Duration;

use enact_domain::time::Millis;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures in a row that open the circuit of a provider.
const FAILURES: u32 = 5;
/// Time for which a circuit is open at first, and at most. It doubles while the provider fails.
const OPEN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(2));
/// Longest pause that is honoured. A provider that asks for more is asked again after it.
const MAX_PAUSE: Duration = Duration::from_hours(1);
/// Most entries; those without effect are removed when there are more.
const CAPACITY: usize = 4096;

/// The state of all providers.
#[derive(Default)]
pub struct Breakers {
    /// By tenant and provider.
    circuits: Mutex<HashMap<String, Circuit>>,
    /// The pause of each provider and model.
    pauses: Mutex<HashMap<(String, String), Pause>>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    cause: PauseCause,
}

/// Why a provider asked for a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// A limit of requests or tokens per minute.
    Limit,
    /// Its quota is used up, until this time if it is known. An attempt that begins meanwhile cannot continue, either.
    Quota(Option<Millis>),
}

#[derive(Default)]
struct Circuit {
    failures: u32,
    /// End of the time without requests.
    open_until: Option<Instant>,
    /// How often the circuit was opened in a row.
    opened: u32,
}

impl Breakers {
    /// Returns whether a request may be sent.
    ///
    /// # Errors
    /// When not, with the time until the next one may be.
    pub fn check(&self, provider: &str, model: &str) -> Result<(), Blocked> {
        let now = Instant::now();
        let pauses = self.pauses.lock();
        let pause = pauses.get(&(provider.to_owned(), model.to_owned())).filter(|pause| pause.until > now);
        if let Some(Pause { until, cause }) = pause {
            return Err(Blocked::Paused(*until - now, *cause));
        }
        drop(pauses);
        let mut circuits = self.circuits.lock();
        let Some(circuit) = circuits.get_mut(provider) else { return Ok(()) };
        match circuit.open_until {
            Some(until) if until > now => Err(Blocked::Open(until - now)),
            // One request tries whether the provider is back; further ones wait for its outcome.
            Some(_) => {
                circuit.open_until = Some(now + OPEN.0);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Notes that a provider has answered.
    pub fn succeeded(&self, provider: &str) {
        self.circuits.lock().remove(provider);
    }

    /// Notes that a provider has failed, and returns whether this opened its circuit.
    pub fn failed(&self, provider: &str) -> bool {
        let now = Instant::now();
        let mut circuits = self.circuits.lock();
        if circuits.len() >= CAPACITY {
            circuits.retain(|_, circuit| circuit.open_until.is_some_and(|until| until > now));
        }
        let circuit = circuits.entry(provider.to_owned()).or_default();
        circuit.failures = circuit.failures.saturating_add(1);
        if circuit.failures < FAILURES {
            return false;
        }
        let time = OPEN.0.saturating_mul(1 << circuit.opened.min(8)).min(OPEN.1);
        circuit.opened = circuit.opened.saturating_add(1);
        circuit.open_until = Some(now + time);
        true
    }

    /// Notes that a provider asked for a pause before the next request for a model.
    pub fn pause(&self, provider: &str, model: &str, time: Duration, cause: PauseCause) {
        let now = Instant::now();
        let mut pauses = self.pauses.lock();
        if pauses.len() >= CAPACITY {
            pauses.retain(|_, pause| pause.until > now);
        }
        let pause = Pause { until: now + time.min(MAX_PAUSE), cause };
        pauses.insert((provider.to_owned(), model.to_owned()), pause);
    }
}

/// Why a provider gets no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// It asked for a pause.
    Paused(Duration, PauseCause),
    /// Its circuit is open.
    Open(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_fails_gets_one_request_at_a_time() {
        let breakers = Breakers::default();
        for _ in 1..FAILURES {
            assert!(!breakers.failed("p"));
        }
        breakers.check("p", "m").unwrap();
        assert!(breakers.failed("p"));
        assert_eq!(breakers.check("p", "m"), Err(Blocked::Open(OPEN.0)));
        breakers.check("other", "m").unwrap();
        tokio::time::advance(OPEN.0).await;
        breakers.check("p", "m").unwrap();
        assert!(breakers.check("p", "m").is_err(), "the first request has no outcome yet");
        assert!(breakers.failed("p"));
        assert_eq!(breakers.check("p", "m"), Err(Blocked::Open(OPEN.0 * 2)));
        tokio::time::advance(OPEN.0 * 2).await;
        breakers.check("p", "m").unwrap();
        breakers.succeeded("p");
        breakers.check("p", "m").unwrap();
        breakers.check("p", "m").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_for_one_model() {
        let breakers = Breakers::default();
        breakers.pause("p", "m", Duration::from_secs(7), PauseCause::Limit);
        assert_eq!(breakers.check("p", "m"), Err(Blocked::Paused(Duration::from_secs(7), PauseCause::Limit)));
        breakers.check("p", "n").unwrap();
        tokio::time::advance(Duration::from_secs(7)).await;
        breakers.check("p", "m").unwrap();
        let quota = PauseCause::Quota(Some(Millis(5)));
        breakers.pause("p", "m", Duration::MAX, quota);
        assert_eq!(breakers.check("p", "m"), Err(Blocked::Paused(MAX_PAUSE, quota)));
    }
}
