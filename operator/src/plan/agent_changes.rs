//! Changes of the Agents of a plan after its start: an approval covers their content.

use std::sync::Arc;

use enact_crds::convert;
use enact_domain::approval::{self, Verdict, evaluate};
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;

use super::observed::{Content, Loaded, Observed};

/// The effect of changed Agents on a plan that has started.
pub enum AgentChange {
    /// The Agents have the approved content, or the plan requires no approval.
    None,
    /// The content with the changed Agents is approved.
    Approved(Arc<Content>),
    /// People must approve this content before new attempts start.
    Held(Arc<Content>, Readiness),
}

/// Content with changed Agents, and the digest of the content that it was made from.
pub type ChangedContent = (Digest, Arc<Content>);

/// Compares the Agents of a plan that has started with `content`, which was approved. `known` is the result of an earlier reconcile.
///
/// # Errors
/// When the content cannot be read.
pub fn compare(
    observed: &Observed,
    loaded: &Loaded,
    content: &Content,
    known: Option<&ChangedContent>,
) -> Result<AgentChange, Readiness> {
    let agents = content.agents_now(&observed.agent_digests);
    if agents == content.agents || !observed.policy.requires_people() {
        return Ok(AgentChange::None);
    }
    let names: Vec<&str> = agents
        .iter()
        .filter(|(name, digest)| content.agents.get(*name) != Some(*digest))
        .map(|(name, _)| name.as_str())
        .collect();
    let names = names.join(", ");
    let changed = match known {
        Some((base, changed)) if *base == content.digest && changed.agents == agents => changed.clone(),
        _ => Arc::new(content.with_agents(agents).map_err(|e| Readiness::stalled("InvalidPlan", e.to_string()))?),
    };
    let status = observed.plan.status.as_ref();
    let subject = approval::Content {
        digest: changed.digest.clone(),
        authors: observed.authors(loaded.generated.as_ref()),
        // A started plan keeps the findings of its start.
        worst: status.and_then(|status| convert::worst_of(&status.top_findings)),
    };
    let message = match evaluate(&observed.policy, &subject, &loaded.decisions, observed.now) {
        Verdict::Approved { people, .. } if people.is_empty() => return Ok(AgentChange::None),
        Verdict::Approved { .. } => return Ok(AgentChange::Approved(changed)),
        Verdict::Rejected { user, comment } => {
            format!("changed Agents ({names}) were rejected by {user}: {comment}; restore them")
        }
        Verdict::Waiting(demand) => format!(
            "Agents were changed after the approval ({names}): {demand}; restore them, or review them and use `kubectl enact approve \
             plan/{}`",
            observed.name()
        ),
    };
    Ok(AgentChange::Held(changed, Readiness::stalled("AgentChanged", message)))
}

#[cfg(test)]
mod tests;
