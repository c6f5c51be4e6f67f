//! Usage that agents report themselves, because their requests do not pass the model gateway.

use enact_crds::AgentSpec;
use enact_domain::digest::Digest;
use enact_domain::graph::NodeId;
use enact_domain::plan::{Agents, Node};
use enact_domain::usage::{Charge, Tokens};
use enact_store::ModelRequest;
use uuid::Uuid;

use super::observed::Observed;
use super::validate::Valid;

/// Returns the usage that the agent of a node has reported for the attempt that has ended, with what is known of it. None if there is none,
/// or if the gateway has counted it.
pub fn usage(
    observed: &Observed,
    valid: &Valid,
    agents: &Agents,
    id: NodeId,
    node: &Node,
    task_uid: &str,
) -> Option<(ModelRequest, Charge)> {
    let task = id.task()?;
    let name = agents.name(node.executor.last()?);
    let agent: &AgentSpec = &observed.agents.get(name)?.spec;
    let usage = node.end_report()?.usage;
    if !agent.models.is_empty() || usage.is_empty() {
        return None;
    }
    let tokens = Tokens {
        input: usage.input_tokens,
        cached_input: usage.cached_input_tokens,
        output: usage.output_tokens,
        reasoning: usage.reasoning_tokens,
        ..Tokens::default()
    };
    // An agent that knows no price reports none.
    let cost_micro_usd = Some(usage.cost_micro_usd).filter(|cost| *cost > 0);
    let request = ModelRequest {
        id: request_id(task_uid, node.attempts)?,
        at: observed.now,
        namespace: observed.namespace.clone(),
        plan: observed.name(),
        plan_uid: observed.uid.clone(),
        task: valid.content.compiled.names[task].clone(),
        task_uid: task_uid.to_owned(),
        attempt: node.attempts,
        agent: format!("{}/{name}", observed.namespace),
        provider: agent.adapter.as_str().to_owned(),
        // The report does not contain it.
        model: String::new(),
        estimate: Charge::default(),
    };
    Some((request, Charge { tokens, cost_micro_usd }))
}

/// Returns the id of the usage record of an attempt. It is derived from the attempt, so that a repetition has no effect.
fn request_id(task_uid: &str, attempt: u32) -> Option<Uuid> {
    let digest = Digest::of_bytes(format!("self-reported/{task_uid}/{attempt}").as_bytes());
    Uuid::parse_str(digest.as_str().strip_prefix("sha256:")?.get(..32)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_one_id() {
        let id = |attempt| request_id("0b0a8f26-6a4c-4f6f-a6a3-5a1e5d0b6d1e", attempt);
        assert!(id(1).is_some());
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
    }
}
