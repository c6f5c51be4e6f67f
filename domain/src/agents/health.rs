//! The health of an agent, from the ends of its attempts: whether the last ones failed because of its image, its program or its
//! credential, and whether the quota at its model provider is used up.

use crate::reason::Reason;
use crate::time::Millis;

/// Number of such failures in a row after which an agent counts as unhealthy.
pub const MAX_FAILURES: u32 = 3;
/// Seconds after the last such failure after which an unhealthy agent is tried again. One more failure makes it unhealthy at once.
pub const RETRY_SECONDS: u32 = 600;
/// Seconds to wait for the reset of a provider's quota when its time is unknown.
const QUOTA_SECONDS: u32 = 900;

/// Returns when the quota of a model provider is reset, which an attempt found used up when it `ended`. `known` is what the provider said.
pub fn quota_reset(known: Option<Millis>, ended: Millis) -> Millis {
    known.unwrap_or(ended.plus_seconds(QUOTA_SECONDS))
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub reason: Reason,
    pub message: String,
    pub at: Millis,
    /// When the quota of the model provider is reset, if the provider said so.
    pub quota_reset: Option<Millis>,
}

/// What the ends of an agent's attempts say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Generation of the Agent. Ends of attempts of another generation do not count.
    generation: Option<i64>,
    failures: Option<Failures>,
    /// End of the last attempt that could run.
    ran_at: Option<Millis>,
    /// When the quota at its model provider is reset, if an attempt found it used up.
    exhausted_until: Option<Millis>,
}

/// The failures of an agent since its last attempt that could run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failures {
    /// Number of failures in a row.
    number: u32,
    reason: Reason,
    message: String,
    /// Time of the last failure.
    at: Millis,
}

/// What the end of an attempt says about its agent.
enum Evidence {
    /// The program ran with its credential.
    Healthy,
    /// Image, program or credential do not work.
    Unhealthy,
    None,
}

fn evidence(reason: Reason) -> Evidence {
    match reason {
        Reason::Succeeded
        | Reason::AgentFailed
        | Reason::NothingDone
        | Reason::Refused
        | Reason::TurnLimit
        | Reason::GateFailed => Evidence::Healthy,
        Reason::AgentCrashed | Reason::CredentialRejected | Reason::ImagePullFailed | Reason::ContainerConfigError => {
            Evidence::Unhealthy
        }
        _ => Evidence::None,
    }
}

impl Health {
    /// Returns the health after the end of another attempt.
    #[must_use]
    pub fn after(self, generation: Option<i64>, end: &End) -> Self {
        let mut health = if self.generation == generation { self } else { Self { generation, ..Self::default() } };
        match evidence(end.reason) {
            Evidence::Healthy => {
                health.failures = None;
                health.ran_at = Some(end.at);
            }
            Evidence::None => {}
            Evidence::Unhealthy => {
                let number = health.failures.map_or(0, |failures| failures.number) + 1;
                let (reason, message, at) = (end.reason, end.message.clone(), end.at);
                health.failures = Some(Failures { number, reason, message, at });
            }
        }
        if end.reason == Reason::ProviderQuota {
            health.exhausted_until = Some(quota_reset(end.quota_reset, end.at));
        }
        health
    }

    /// Returns the end of the last attempt that could run.
    pub fn ran_at(&self, generation: Option<i64>) -> Option<Millis> {
        self.ran_at.filter(|_| self.generation == generation)
    }

    /// Returns when the quota of the agent is reset, while it is used up.
    pub fn exhausted_until(&self, generation: Option<i64>, now: Millis) -> Option<Millis> {
        self.exhausted_until.filter(|until| self.generation == generation && now < *until)
    }

    /// Returns reason and message of an unhealthy agent, and when it is tried again; none if the agent can be used.
    pub fn problem(&self, generation: Option<i64>, now: Millis) -> Option<(Reason, String, Millis)> {
        let failures = self.failures.as_ref().filter(|_| self.generation == generation)?;
        let until = failures.at.plus_seconds(RETRY_SECONDS);
        if failures.number < MAX_FAILURES || now >= until {
            return None;
        }
        let remedy = match failures.reason {
            Reason::CredentialRejected => "replace the credential of its ModelProvider, or of its variable",
            Reason::ImagePullFailed => "correct spec.image, or let the nodes pull it",
            Reason::ContainerConfigError => "create the Secret or ConfigMap that it names",
            _ => "check that spec.image contains the program that the adapter expects",
        };
        let message = format!(
            "its last {} attempts failed with {}: {}; {remedy}. It is tried again after {} minutes, and when its spec changes",
            failures.number,
            failures.reason.as_str(),
            failures.message,
            RETRY_SECONDS / 60
        );
        Some((failures.reason, message, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Millis = Millis(1_000);

    fn end(reason: Reason, at: Millis) -> End {
        End { reason, message: "why".into(), at, quota_reset: None }
    }

    fn follow(reasons: &[Reason]) -> Health {
        reasons.iter().fold(Health::default(), |known, reason| known.after(Some(1), &end(*reason, START)))
    }

    #[test]
    fn three_failures_in_a_row_make_it_unhealthy() {
        use Reason::{CredentialRejected, Evicted, GateFailed};
        let problem = |reasons: &[Reason]| follow(reasons).problem(Some(1), START);
        assert_eq!(problem(&[CredentialRejected, CredentialRejected]), None);
        let (reason, message, until) =
            problem(&[CredentialRejected, Evicted, CredentialRejected, CredentialRejected]).unwrap();
        assert_eq!((reason, until), (CredentialRejected, START.plus_seconds(RETRY_SECONDS)));
        assert!(
            message.contains("its last 3 attempts failed with CredentialRejected: why; replace the credential"),
            "{message}"
        );
        let failed = [CredentialRejected; 3];
        assert_eq!(problem(&[&failed[..], &[GateFailed]].concat()), None, "it could run");
        let ran_at = |reasons: &[Reason]| follow(reasons).ran_at(Some(1));
        assert_eq!((ran_at(&[GateFailed, Evicted]), ran_at(&failed)), (Some(START), None));
    }

    #[test]
    fn it_is_tried_again() {
        let failed = follow(&[Reason::AgentCrashed; 3]);
        let later = START.plus_seconds(RETRY_SECONDS);
        assert_eq!(failed.problem(Some(1), later), None);
        assert_eq!(failed.problem(Some(2), START), None, "its spec was changed");
        let again = failed.clone().after(Some(1), &end(Reason::AgentCrashed, later));
        assert!(again.problem(Some(1), later).is_some(), "one more failure is enough");
        let changed = failed.after(Some(2), &end(Reason::AgentCrashed, later));
        assert_eq!(changed.problem(Some(2), later), None, "counted from the change");
    }

    #[test]
    fn its_quota_is_used_up_until_the_reset() {
        let known = End { quota_reset: Some(START.plus_seconds(60)), ..end(Reason::ProviderQuota, START) };
        let health = Health::default().after(Some(1), &known);
        assert_eq!(health.exhausted_until(Some(1), START), Some(START.plus_seconds(60)));
        assert_eq!(health.exhausted_until(Some(1), START.plus_seconds(60)), None);
        assert_eq!(health.exhausted_until(Some(2), START), None, "its spec was changed");
        let again = health.after(Some(1), &end(Reason::ProviderQuota, START.plus_seconds(70)));
        let unknown = START.plus_seconds(70).plus_seconds(QUOTA_SECONDS);
        assert_eq!(again.exhausted_until(Some(1), START.plus_seconds(70)), Some(unknown));
        let succeeded = again.after(Some(1), &end(Reason::Succeeded, START.plus_seconds(71)));
        assert_eq!(
            succeeded.exhausted_until(Some(1), START.plus_seconds(71)),
            Some(unknown),
            "it may have started before"
        );
    }
}
