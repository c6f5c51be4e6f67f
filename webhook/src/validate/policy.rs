//! Approval policies: who may loosen one, and take an object out of its constitution.

use enact_domain::approval::authors::Authors;
use enact_domain::approval::{Choice, Content, Decision, Policy, check_decision};
use enact_domain::digest::Digest;
use enact_domain::time::Millis;
use kube::ResourceExt as _;
use serde_json::Value;

use super::validator::Validator;
use crate::denial::Denial;
use crate::lookup::{Lookup, LookupError};
use crate::request::{Request, part};

const FIELD: &str = "spec.approval";

impl<L: Lookup> Validator<L> {
    /// Refuses a looser approval policy from anybody who does not count for each requirement of the stored policy that it lowers, whatever
    /// findings are open. The same holds for who takes an object out of its constitution, which the digest that people approve does not cover.
    pub(super) async fn policy(&self, request: &Request) -> Result<(), Denial> {
        let mut lowered = request.lowered_policies();
        let (mut field, mut what) = (FIELD.to_owned(), "requires less than the present policy");
        if let Some(reference) = request.left_constitution() {
            lowered.extend(self.all_requirements(request).await?);
            (field, what) = (format!("spec.{reference}"), "takes the object out of its constitution");
        }
        if lowered.is_empty() {
            return Ok(());
        }
        // Which content it is does not matter: the question is who may decide.
        let digest = Digest::of_bytes(b"");
        let content = Content { digest: digest.clone(), authors: stored_authors(request), worst: None };
        let decision = Decision {
            name: request.name().to_owned(),
            user: request.user().to_owned(),
            groups: request.groups().to_vec(),
            digest,
            choice: Choice::Approve,
            comment: String::new(),
            at: None,
        };
        for stored in &lowered {
            if let Err(void) = check_decision(stored, &content, &decision, Millis::default()) {
                let who = match stored.groups.as_slice() {
                    [] => "who".to_owned(),
                    groups => format!("members of {} who", groups.join(", ")),
                };
                let message =
                    format!("the change {what}, so only {who} may approve by the present policy may make it: {void}");
                return Err(Denial::forbidden(field, message));
            }
        }
        if self.lookup.may_approve(&request.inner().user_info, request.namespace()).await? {
            return Ok(());
        }
        let message = format!(
            "the change {what}, and {} may not create Approvals in namespace {}; ask somebody who may",
            request.user(),
            request.namespace()
        );
        Err(Denial::forbidden(field, message))
    }

    /// Returns all requirements of the stored policy and of the Tenant's minimum, as [`Policy::lowered`] does.
    async fn all_requirements(&self, request: &Request) -> Result<Vec<Policy>, LookupError> {
        let Some(kind) = request.kind() else { return Ok(Vec::new()) };
        let found = self.lookup.approval_subject(kind, request.namespace(), request.name()).await?;
        // The API server refuses the update of an object that does not exist any more.
        let Some(subject) = found else { return Ok(Vec::new()) };
        let none = Policy::default();
        let of_minimum = subject.policy.minimum.iter().flat_map(|minimum| none.lowered(minimum));
        Ok(none.lowered(&subject.policy).into_iter().chain(of_minimum).collect())
    }
}

/// Returns the authors of the stored content. Among them are those of Agents and of their ModelProviders, which the operator writes into the
/// status: of the Agents that the approval of a Plan covers, and of those that drafted the document or proposed the plan.
fn stored_authors(request: &Request) -> Authors {
    let status = part(request.old(), "status");
    let list = |pointer: &'static str| status.and_then(|status| status.pointer(pointer)).and_then(Value::as_array);
    let agents: Vec<&Value> = list("/agents").into_iter().flatten().collect();
    let of_agents = agents.iter().filter_map(|agent| agent.get("author"));
    let of_providers = agents.iter().filter_map(|agent| agent.get("providerAuthors")?.as_array()).flatten();
    let of_documents = ["/draft/authors", "/generated/authors"].into_iter().filter_map(list).flatten();
    let users = of_agents.chain(of_providers).chain(of_documents).filter_map(Value::as_str);
    request.old().map(|old| Authors::of(old.annotations())).unwrap_or_default().with(users)
}

#[cfg(test)]
mod tests;
