//! Approval policies: who may loosen one.

use enact_domain::approval::{Choice, Content, Decision, check_decision};
use enact_domain::digest::Digest;
use enact_domain::names::ANNOTATION_AUTHOR;
use enact_domain::time::Millis;

use super::validator::Validator;
use crate::denial::Denial;
use crate::lookup::Lookup;
use crate::request::{Request, annotation};

const FIELD: &str = "spec.approval";

impl<L: Lookup> Validator<L> {
    /// Refuses a looser approval policy from anybody who could not approve the object by the stored policy.
    pub(super) async fn policy(&self, request: &Request) -> Result<(), Denial> {
        let Some(stored) = request.loosened_policy() else { return Ok(()) };
        // Which content it is does not matter: the question is who may decide.
        let digest = Digest::of_bytes(b"");
        let author = annotation(request.old(), ANNOTATION_AUTHOR).map(str::to_owned);
        let content = Content { digest: digest.clone(), author, worst: None };
        let decision = Decision {
            name: request.name().to_owned(),
            user: request.user().to_owned(),
            groups: request.groups().to_vec(),
            digest,
            choice: Choice::Approve,
            comment: String::new(),
            at: None,
        };
        if let Err(void) = check_decision(&stored, &content, &decision, Millis::default()) {
            let message = format!(
                "the change requires less than the present policy, so only who may approve by that may make it: {void}"
            );
            return Err(Denial::forbidden(FIELD, message));
        }
        if self.lookup.may_approve(&request.inner().user_info, request.namespace()).await? {
            return Ok(());
        }
        let message = format!(
            "the change requires less than the present policy, and {} may not create Approvals in namespace {}; ask somebody who may",
            request.user(),
            request.namespace()
        );
        Err(Denial::forbidden(FIELD, message))
    }
}

#[cfg(test)]
mod tests;
