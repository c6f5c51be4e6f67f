//! Approval policies: who may loosen one.

use enact_domain::approval::authors::Authors;
use enact_domain::approval::{Choice, Content, Decision, check_decision};
use enact_domain::digest::Digest;
use enact_domain::time::Millis;
use kube::ResourceExt as _;
use serde_json::Value;

use super::validator::Validator;
use crate::denial::Denial;
use crate::lookup::Lookup;
use crate::request::{Request, part};

const FIELD: &str = "spec.approval";

impl<L: Lookup> Validator<L> {
    /// Refuses a looser approval policy from anybody who does not count for each requirement of the stored policy that it lowers, whatever
    /// findings are open.
    pub(super) async fn policy(&self, request: &Request) -> Result<(), Denial> {
        let lowered = request.lowered_policies();
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
                let message = format!(
                    "the change requires less than the present policy, so only {who} may approve by that may make it: {void}"
                );
                return Err(Denial::forbidden(FIELD, message));
            }
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

/// Returns the authors of the stored content. An approval of a Plan covers its Agents, which the operator lists with their authors.
fn stored_authors(request: &Request) -> Authors {
    let agents = part(request.old(), "status").and_then(|status| status.get("agents")).and_then(Value::as_array);
    let of_agents = agents.into_iter().flatten().filter_map(|agent| agent.get("author")?.as_str());
    request.old().map(|old| Authors::of(old.annotations())).unwrap_or_default().with(of_agents)
}

#[cfg(test)]
mod tests;
