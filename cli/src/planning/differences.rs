//! What the proposals for a plan decide differently, and what a synthesis decides about it.

use anyhow::Result;
use enact_crds::Plan;
use enact_crds::plan::{PlanStatus, ProposalSelection, ProposalState};
use enact_domain::decisions::{self, Citation, Conflict, Decision};
use enact_domain::digest::Digest;
use kube::ResourceExt as _;

use crate::cluster::Cluster;
use crate::record::Record;
use crate::text::{aligned, fit, one_line};

/// Most columns of a cell with untrusted text.
const MAX_CELL_WIDTH: usize = 48;

/// The decisions of the proposals for a plan.
#[derive(Debug, Default)]
pub struct Differences {
    /// What the proposals of planners decide differently.
    pub conflicts: Vec<Conflict>,
    /// The decisions of the synthesis, with the planners that they come from.
    pub synthesis: Vec<Citation>,
}

/// Reads the decisions of the proposals for a plan from the record, if there are conflicts or a synthesis.
pub async fn read(cluster: &Cluster, plan: &Plan) -> Result<Differences> {
    let status = plan.status.clone().unwrap_or_default();
    let has_conflicts = status.conflicts.is_some_and(|conflicts| conflicts > 0);
    let synthesizer = plan.spec.generate.as_ref().and_then(|generate| generate.synthesizer.as_ref());
    let usable = status.proposals.iter().filter(|proposal| proposal.state == ProposalState::Proposed);
    let usable: Vec<(&str, &str, bool)> = usable
        .filter_map(|proposal| {
            let is_synthesis = synthesizer.is_some_and(|synthesizer| synthesizer.name == proposal.agent);
            Some((proposal.agent.as_str(), proposal.digest.as_deref()?, is_synthesis))
        })
        .filter(|(_, _, is_synthesis)| *is_synthesis || has_conflicts)
        .collect();
    if usable.is_empty() {
        return Ok(Differences::default());
    }
    let record = Record::open(cluster).await?;
    let (mut proposals, mut synthesis): (Vec<(&str, Vec<Decision>)>, _) = (Vec::new(), Vec::new());
    for (agent, digest, is_synthesis) in usable {
        let text = record.proposal(&plan.name_any(), &Digest::from(digest.to_owned())).await?;
        if is_synthesis {
            synthesis = decisions::citations(text.as_bytes());
        } else {
            proposals.push((agent, decisions::read(text.as_bytes())));
        }
    }
    // In the order in which the operator compares them.
    proposals.sort_by_key(|(agent, _)| *agent);
    let proposals: Vec<(&str, &[Decision])> =
        proposals.iter().map(|(agent, decisions)| (*agent, decisions.as_slice())).collect();
    Ok(Differences { conflicts: decisions::conflicts(&proposals), synthesis })
}

impl Differences {
    /// Returns the lines about them.
    pub fn lines(&self, plan: &Plan, status: &PlanStatus) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.conflicts.is_empty() {
            lines.extend([String::new(), "decided differently:".to_owned()]);
            lines.extend(self.table());
        }
        let selection = plan.spec.generate.as_ref().map(|generate| generate.selection);
        if selection == Some(ProposalSelection::Votes) && !self.conflicts.is_empty() {
            let votes = status.proposals.iter().filter_map(|proposal| Some((&proposal.agent, proposal.votes?)));
            let votes: Vec<String> = votes.map(|(agent, votes)| format!("{} {votes}", one_line(agent))).collect();
            lines.push(format!("weighted votes: {}", votes.join(", ")));
        }
        if !self.synthesis.is_empty() {
            lines.extend([String::new(), "decisions of the synthesis:".to_owned()]);
            let mut rows = vec![["QUESTION", "CHOICE", "TAKEN FROM"].map(str::to_owned).to_vec()];
            rows.extend(self.synthesis.iter().map(|Citation { decision, taken_from }| {
                let names = one_line(&taken_from.join(", "));
                vec![fit(&decision.question, MAX_CELL_WIDTH), fit(&decision.choice, MAX_CELL_WIDTH), names]
            }));
            lines.extend(aligned(rows));
        }
        lines
    }

    /// Returns one line for each position in a conflict. The question is repeated only in other words.
    fn table(&self) -> Vec<String> {
        let mut rows = vec![["QUESTION", "AGENT", "CHOICE", "REASON"].map(str::to_owned).to_vec()];
        for conflict in &self.conflicts {
            for (index, position) in conflict.positions.iter().enumerate() {
                let is_new = index == 0 || position.question != conflict.question;
                rows.push(vec![
                    if is_new { fit(&position.question, MAX_CELL_WIDTH) } else { String::new() },
                    one_line(&position.agent),
                    fit(&position.choice, MAX_CELL_WIDTH),
                    fit(&position.rationale, MAX_CELL_WIDTH),
                ]);
            }
        }
        aligned(rows)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_conflicts_votes_and_sources() {
        let read = |question: &str, choice: &str| {
            let text =
                format!("## Decisions\n\n### {question}\n\n**Decision**: {choice}\n\n**Rationale**: It is known.\n");
            decisions::read(text.as_bytes())
        };
        let (a, b) = (read("Where do we store carts?", "Postgres"), read("Where are carts stored?", "Redis"));
        let merged = "## Decisions\n\n### Storage\n\n**Decision**: Postgres\n\n**Taken from**: claude\n";
        let differences = Differences {
            conflicts: decisions::conflicts(&[("claude", &a), ("codex", &b)]),
            synthesis: decisions::citations(merged.as_bytes()),
        };
        let plan: Plan = serde_json::from_value(json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "cart"},
            "spec": {"generate": {"agents": [{"name": "claude"}, {"name": "codex"}], "selection": "Votes"}},
            "status": {"conflicts": 1, "proposals": [
                {"agent": "claude", "inputs": "i", "votes": 90}, {"agent": "codex", "inputs": "i", "votes": 30},
            ]},
        }))
        .unwrap();
        assert_eq!(
            differences.lines(&plan, plan.status.as_ref().unwrap()),
            [
                "",
                "decided differently:",
                "QUESTION                  AGENT   CHOICE    REASON",
                "Where do we store carts?  claude  Postgres  It is known.",
                "Where are carts stored?   codex   Redis     It is known.",
                "weighted votes: claude 90, codex 30",
                "",
                "decisions of the synthesis:",
                "QUESTION  CHOICE    TAKEN FROM",
                "Storage   Postgres  claude",
            ]
        );
        assert!(Differences::default().lines(&plan, plan.status.as_ref().unwrap()).is_empty());
    }
}
