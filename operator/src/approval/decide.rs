//! Decide: the validity of a person's decision.

use enact_crds::subject::ApprovalSubject;
use enact_crds::{Approval, convert};
use enact_domain::approval::check_decision;
use enact_domain::condition::Readiness;
use enact_domain::time::Millis;

use super::observe::Observed;

/// Returns the readiness of an Approval at `now`.
pub fn decide(object: &Approval, seen: &Observed, now: Millis) -> Readiness {
    let subject = format!("{:?} {}", object.spec.subject.kind, object.spec.subject.name);
    if seen.tenant.is_none() {
        let message = "the namespace belongs to no tenant, so nothing in it can be approved; add it to a Tenant's spec.namespaces";
        return Readiness::stalled("NotInTenant", message);
    }
    let Some(decision) = convert::decision(object) else {
        let message = "spec.by is empty: the admission webhook did not see this object; create another one while enact-webhook runs";
        return Readiness::stalled("NotStamped", message);
    };
    let (policy, content) = match &seen.subject {
        None => {
            let message = format!("there is no {subject} in this namespace; check spec.subject");
            return Readiness::stalled("SubjectNotFound", message);
        }
        Some(ApprovalSubject { uid, .. }) if object.spec.subject_uid != *uid => {
            let message = format!(
                "spec.subjectUid is not the UID of {subject}, which was deleted and created again; review it and decide again"
            );
            return Readiness::stalled("SubjectReplaced", message);
        }
        Some(ApprovalSubject { content: None, .. }) => {
            return Readiness::reconciling("WaitingForSubject", format!("{subject} was not reconciled yet"));
        }
        Some(ApprovalSubject { policy, content: Some(content), .. }) => (policy, content),
    };
    match check_decision(policy, content, &decision, now) {
        Ok(()) => Readiness::ready("Accepted", format!("{subject} has the content that {} decided on", decision.user)),
        Err(void) => Readiness::stalled(void.reason(), void.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use enact_domain::approval::authors::Authors;
    use enact_domain::approval::{Content, Policy};
    use enact_domain::digest::Digest;
    use serde_json::json;

    use super::*;

    fn approval(by: Option<&str>) -> Approval {
        let mut spec = json!({
            "subject": {"kind": "Specification", "name": "shop"},
            "digest": Digest::of_bytes(b"now"), "decision": "Approve",
        });
        if let Some(user) = by {
            spec["by"] = json!({"user": user, "groups": ["leads"]});
        }
        Approval::new("ann-1", serde_json::from_value(spec).unwrap())
    }

    fn known(content: &str, groups: &[&str]) -> ApprovalSubject {
        let groups = groups.iter().map(ToString::to_string).collect();
        let authors = Authors::default().with(["bob"]);
        let content = Content { digest: Digest::of_bytes(content.as_bytes()), authors, worst: None };
        let policy = Policy { required: 1, groups, four_eyes: true, ..Policy::default() };
        ApprovalSubject { uid: None, policy, content: Some(content) }
    }

    #[test]
    fn every_state_has_its_reason() {
        let shown = |by, tenant: Option<&str>, subject| {
            let Readiness { progress, reason, message } =
                decide(&approval(by), &Observed { tenant: tenant.map(Into::into), subject }, Millis(0));
            format!("{progress:?} {reason}: {message}\n")
        };
        let acme = Some("acme");
        insta::assert_snapshot!(
            [
                shown(Some("ann"), acme, Some(known("now", &["leads"]))),
                shown(Some("ann"), None, Some(known("now", &[]))),
                shown(None, acme, Some(known("now", &[]))),
                shown(Some("ann"), acme, None),
                shown(Some("ann"), acme, Some(ApprovalSubject::default())),
                shown(Some("ann"), acme, Some(known("later", &[]))),
                shown(Some("ann"), acme, Some(known("now", &["owners"]))),
                shown(Some("bob"), acme, Some(known("now", &[]))),
            ]
            .concat()
        );
    }

    #[test]
    fn a_decision_on_an_earlier_object_does_not_count() {
        let mut approval = approval(Some("ann"));
        let decided = |approval: &Approval, uid: &str| {
            let subject = ApprovalSubject { uid: Some(uid.into()), ..known("now", &["leads"]) };
            decide(approval, &Observed { tenant: Some("acme".into()), subject: Some(subject) }, Millis(0)).reason
        };
        assert_eq!(decided(&approval, "first"), "SubjectReplaced", "it names no object");
        approval.spec.subject_uid = Some("first".into());
        assert_eq!(decided(&approval, "first"), "Accepted");
        assert_eq!(decided(&approval, "second"), "SubjectReplaced");
    }
}
