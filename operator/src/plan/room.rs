//! The tenant's room: a place for each attempt, taken before its start is recorded.

use enact_domain::plan::{Action, Decision, TaskPhase};

use super::Pass;
use super::record::pod_name;

/// Takes a place for each start of the pass; the nodes that get none. Other plans of the tenant take places at the same time, so that
/// fewer may be left than the decision was made with. A plan that could start more if there were room is noted as waiting.
pub fn refused(pass: &Pass, room: u32) -> Vec<usize> {
    let (limiter, member) = (&pass.ctx.limiter, &pass.valid.member);
    let mut refused = Vec::new();
    let mut new = 0;
    for (node, attempt) in starts(pass) {
        let pod = pod_name(pass, node, attempt);
        if !limiter.reserve(&member.tenant, member.parallelism, &pass.observed.namespace, &pod) {
            refused.push(node);
        } else if attempt > pass.nodes[node].attempts {
            new += 1;
        }
    }
    let starved = pass.decision.starved > 0 && new >= room;
    if starved || !refused.is_empty() {
        let plan = super::reference(&pass.observed.plan);
        limiter.wait(&member.tenant, plan, pass.observed.plan.spec.execution.priority);
    }
    refused
}

/// Takes the starts of nodes that got no place out of a decision.
pub fn withdraw(decision: &mut Decision, refused: &[usize]) {
    if refused.is_empty() {
        return;
    }
    decision.actions.retain(|action| !matches!(action, Action::Start { node, .. } if refused.contains(node)));
    for &node in refused {
        decision.phases[node] = TaskPhase::Pending;
        decision.counts.running -= 1;
        decision.counts.pending += 1;
        decision.starved += 1;
    }
}

/// Gives the places of all starts back: nothing of them was recorded.
pub fn give_back(pass: &Pass) {
    for (node, attempt) in starts(pass) {
        let pod = pod_name(pass, node, attempt);
        if !pass.observed.children.pods.contains_key(&pod) {
            pass.ctx.limiter.release(&pass.valid.member.tenant, &pass.observed.namespace, &pod);
        }
    }
}

fn starts<'a>(pass: &'a Pass) -> impl Iterator<Item = (usize, u32)> + 'a {
    pass.decision.actions.iter().filter_map(|action| match action {
        Action::Start { node, attempt } => Some((*node, *attempt)),
        _ => None,
    })
}
