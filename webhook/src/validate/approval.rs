//! Approval: refuses a decision that the operator would ignore.

use enact_crds::subject::ApprovalSubject;
use enact_crds::{ApprovalSpec, convert};
use enact_domain::approval::{Content, Void, check_decision};
use enact_domain::record::Kind;
use enact_domain::time::Millis;
use kube::core::admission::Operation;

use super::validator::{Validate, Validator};
use crate::denial::{Denial, Outcome};
use crate::lookup::Lookup;
use crate::request::Request;

impl<L: Lookup> Validate<ApprovalSpec> for Validator<L> {
    async fn validate(&self, request: &Request, spec: ApprovalSpec) -> Outcome {
        if request.operation() == &Operation::Update {
            return Err(Denial::invalid("spec", "an Approval is immutable; create another one"));
        }
        // The mutating webhook has written `spec.by`. This check fails if it was not called, or if another webhook changed the field.
        check_signature(request, &spec)?;
        let (kind, name) = (Kind::from(spec.subject.kind), &spec.subject.name);
        let found = self.lookup.approval_subject(kind, request.namespace(), name).await?;
        let kind = kind.as_str();
        let Some(subject) = found else {
            let message = format!("there is no {kind} {name} in namespace {}; correct the name", request.namespace());
            return Err(Denial::invalid("spec.subject.name", message));
        };
        check_subject(&spec, &subject)?;
        let Some(content) = &subject.content else {
            let message = format!(
                "{kind} {name} has no status.digest yet; wait until the operator has read it, then review it again"
            );
            return Err(Denial::invalid("spec.digest", message));
        };
        let decision = convert::decided(request.name(), &spec, None)
            .ok_or_else(|| Denial::forbidden("spec.by", "missing, although the mutating webhook sets it"))?;
        // Without a time, a decision that is being made cannot have expired.
        match check_decision(&subject.policy, content, &decision, Millis::default()) {
            Ok(()) => Ok(Vec::new()),
            Err(void) => Err(explain(void, request, &spec, &subject, content)),
        }
    }
}

/// Refuses a decision on an earlier object with the name of the subject.
fn check_subject(spec: &ApprovalSpec, subject: &ApprovalSubject) -> Result<(), Denial> {
    if spec.subject_uid == subject.uid {
        return Ok(());
    }
    let (kind, name) = (Kind::from(spec.subject.kind).as_str(), &spec.subject.name);
    let message = format!(
        "is {}, but the UID of {kind} {name} is {}: it was deleted and created again; look at the present object and decide again",
        spec.subject_uid.as_deref().unwrap_or("missing"),
        subject.uid.as_deref().unwrap_or("unknown")
    );
    Err(Denial::invalid("spec.subjectUid", message))
}

/// Refuses a decision in somebody else's name.
fn check_signature(request: &Request, spec: &ApprovalSpec) -> Result<(), Denial> {
    match &spec.by {
        Some(by) if by.user == request.user() && by.groups == request.groups() => Ok(()),
        Some(by) => {
            let message = format!(
                "says {}, but the request is by {}; leave the field out, the webhook sets it",
                by.user,
                request.user()
            );
            Err(Denial::forbidden("spec.by", message))
        }
        None => {
            let message = "missing, although the mutating webhook sets it; check that the installation's MutatingWebhookConfiguration exists \
                           and is unchanged";
            Err(Denial::forbidden("spec.by", message))
        }
    }
}

fn explain(void: Void, request: &Request, spec: &ApprovalSpec, subject: &ApprovalSubject, content: &Content) -> Denial {
    let (kind, name) = (Kind::from(spec.subject.kind).as_str(), &spec.subject.name);
    match void {
        Void::ContentChanged => Denial::invalid(
            "spec.digest",
            format!(
                "is {}, but {kind} {name} is now {}; look at the present content and decide with its digest",
                spec.digest, content.digest
            ),
        ),
        Void::NotInGroup => Denial::forbidden(
            "spec.by.groups",
            format!(
                "{} is in none of the groups that may decide on {kind} {name} ({}); ask one of their members",
                request.user(),
                subject.policy.groups_for(content.worst).join(", ")
            ),
        ),
        Void::Machine => Denial::forbidden(
            "spec.by.user",
            format!(
                "{} is not a person, and the policy of {kind} {name} does not name it in spec.approval.machines; a person must decide",
                request.user()
            ),
        ),
        Void::Expired => Denial::invalid("spec", void.to_string()),
        Void::SelfApproval => Denial::forbidden(
            "spec.by.user",
            format!(
                "{} wrote the content of {kind} {name} or a part of it, and its policy requires four eyes; ask somebody else",
                request.user()
            ),
        ),
    }
}
