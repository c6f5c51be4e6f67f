//! Refusals: requests that the API server does not admit, and what they mean for a plan.

use enact_domain::assignment::{Reason, Report};
use enact_domain::condition::Readiness;
use enact_domain::quota;

use crate::error::Error;

/// Parts of messages of refusals (403) that end without a change of the pod: a quota, a namespace that is being deleted, and missing rights
/// of the operator.
const TEMPORARY: [&str; 3] = ["exceeded quota", "is being terminated", "cannot create resource"];

/// Returns the report of an attempt whose pod was refused with this status code and message; none if the same pod may be admitted later.
pub fn report(code: u16, message: &str) -> Option<Report> {
    match code {
        // The same pod is refused again at each retry.
        400 | 422 => Some(Report::new(Reason::InvalidAssignment, format!("the API server refused the pod: {message}"))),
        // A policy or a missing object, which a person can change before the next attempt.
        403 if !TEMPORARY.iter().any(|part| message.contains(part)) => {
            let remedy = if message.contains("RuntimeClass") {
                "create the RuntimeClass, or correct spec.isolation.runtimeClassName of the Tenant"
            } else {
                "change the policy that the message names"
            };
            Some(Report::new(Reason::NotAdmitted, format!("the cluster does not admit the pod: {message}; {remedy}")))
        }
        _ => None,
    }
}

/// Returns whether a quota refuses a request.
pub fn is_quota(status: &kube::core::Status) -> bool {
    status.code == 403 && status.message.contains("exceeded quota")
}

/// Returns the readiness of a plan with `tasks` tasks after a failure that a person should know about; none for one that a retry repairs.
pub fn readiness(failure: &Error, tenant: &str, tasks: usize) -> Option<Readiness> {
    let Error::Kube { doing, source } = failure else {
        return matches!(failure, Error::Taken { .. })
            .then(|| Readiness::reconciling("NameTaken", failure.to_string()));
    };
    let kube::Error::Api(status) = source.as_ref() else { return None };
    if is_quota(status) {
        return Some(quota::parse(&status.message).map_or_else(
            || {
                Readiness::reconciling(
                    "QuotaExceeded",
                    format!("{failure}; the operator retries until the quota allows it"),
                )
            },
            |exceeded| quota::readiness(&exceeded, doing, tenant, tasks),
        ));
    }
    matches!(status.code, 400 | 403 | 413 | 422).then(|| Readiness::reconciling("NotAdmitted", failure.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_not_admitted_ends_its_attempt() {
        let reason = |code, message| report(code, message).map(|report| report.reason);
        assert_eq!(reason(422, "spec.containers: Required value"), Some(Reason::InvalidAssignment));
        let missing = report(403, "pods \"p\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found").unwrap();
        assert_eq!(missing.reason, Reason::NotAdmitted);
        assert!(missing.message.contains("create the RuntimeClass"), "{}", missing.message);
        assert_eq!(reason(403, "violates PodSecurity \"restricted\""), Some(Reason::NotAdmitted));
        assert_eq!(reason(403, "exceeded quota: enact-tenant"), None);
        assert_eq!(reason(403, "unable to create new content in namespace ns because it is being terminated"), None);
        assert_eq!(reason(500, "etcd is slow"), None);
    }
}
