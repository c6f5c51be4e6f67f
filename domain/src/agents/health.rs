//! The health of an agent: whether its last attempts failed because of its image, its program or its credential.

use crate::reason::Reason;
use crate::time::Millis;

/// Number of such failures in a row after which an agent counts as unhealthy.
pub const MAX_FAILURES: u32 = 3;
/// Seconds after the last such failure after which an unhealthy agent is tried again. One more failure makes it unhealthy at once.
pub const RETRY_SECONDS: u32 = 600;

/// The failures of an agent since its last attempt that could run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failures {
    /// Generation of the Agent. Failures of another generation do not count.
    generation: Option<i64>,
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

/// Returns the failures after the end of an attempt; none if the agent works.
pub fn after(
    known: Option<Failures>,
    generation: Option<i64>,
    reason: Reason,
    message: &str,
    at: Millis,
) -> Option<Failures> {
    let known = known.filter(|failures| failures.generation == generation);
    match evidence(reason) {
        Evidence::Healthy => None,
        Evidence::None => known,
        Evidence::Unhealthy => {
            let number = known.map_or(0, |failures| failures.number) + 1;
            Some(Failures { generation, number, reason, message: message.to_owned(), at })
        }
    }
}

impl Failures {
    /// Returns reason and message of an unhealthy agent, and when it is tried again; none if the agent can be used.
    pub fn problem(&self, generation: Option<i64>, now: Millis) -> Option<(Reason, String, Millis)> {
        let until = self.at.plus_seconds(RETRY_SECONDS);
        if self.generation != generation || self.number < MAX_FAILURES || now >= until {
            return None;
        }
        let remedy = match self.reason {
            Reason::CredentialRejected => "replace the credential of its ModelProvider, or of its variable",
            Reason::ImagePullFailed => "correct spec.image, or let the nodes pull it",
            Reason::ContainerConfigError => "create the Secret or ConfigMap that it names",
            _ => "check that spec.image contains the program that the adapter expects",
        };
        let message = format!(
            "its last {} attempts failed with {}: {}; {remedy}. It is tried again after {} minutes, and when its spec changes",
            self.number,
            self.reason.as_str(),
            self.message,
            RETRY_SECONDS / 60
        );
        Some((self.reason, message, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Millis = Millis(1_000);

    fn follow(reasons: &[Reason]) -> Option<Failures> {
        reasons.iter().fold(None, |known, reason| after(known, Some(1), *reason, "why", START))
    }

    #[test]
    fn three_failures_in_a_row_make_it_unhealthy() {
        use Reason::{CredentialRejected, Evicted, GateFailed};
        let problem = |reasons: &[Reason]| follow(reasons)?.problem(Some(1), START);
        assert_eq!(problem(&[CredentialRejected, CredentialRejected]), None);
        let (reason, message, until) =
            problem(&[CredentialRejected, Evicted, CredentialRejected, CredentialRejected]).unwrap();
        assert_eq!((reason, until), (CredentialRejected, START.plus_seconds(RETRY_SECONDS)));
        assert!(
            message.contains("its last 3 attempts failed with CredentialRejected: why; replace the credential"),
            "{message}"
        );
        assert_eq!(
            follow(&[CredentialRejected, CredentialRejected, CredentialRejected, GateFailed]),
            None,
            "it could run"
        );
    }

    #[test]
    fn it_is_tried_again() {
        let failures = follow(&[Reason::AgentCrashed; 3]).unwrap();
        let later = START.plus_seconds(RETRY_SECONDS);
        assert_eq!(failures.problem(Some(1), later), None);
        assert_eq!(failures.problem(Some(2), START), None, "its spec was changed");
        let again = after(Some(failures.clone()), Some(1), Reason::AgentCrashed, "", later).unwrap();
        assert!(again.problem(Some(1), later).is_some(), "one more failure is enough");
        let changed = after(Some(failures), Some(2), Reason::AgentCrashed, "", later).unwrap();
        assert_eq!(changed.problem(Some(2), later), None, "counted from the change");
    }
}
