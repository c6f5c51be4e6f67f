//! The prompt of a task, made from the objects of the API: operator and CLI both use this module, so that a person sees what an agent gets.

use std::collections::BTreeMap;

use enact_domain::agents::prompt::{self, PromptInput};
use enact_domain::assignment;
use enact_domain::drafting::EffectiveConstitution;
use enact_domain::rules::Decision;
use enact_domain::speckit::spec::Spec;

use crate::convert;
use crate::plan::PlanSpec;
use crate::task::{Better, Measurement, TaskTemplate};

/// What a prompt is made from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    pub plan: &'a PlanSpec,
    pub task: &'a TaskTemplate,
    /// The specification of the plan, parsed.
    pub specification: Option<&'a Spec>,
    pub effective: EffectiveConstitution<'a>,
    /// Outputs of the tasks that this one depends on: task id → name → value.
    pub inputs: Option<&'a BTreeMap<String, BTreeMap<String, String>>>,
}

/// Returns the prompt of a task, without the failure of a previous attempt.
pub fn render(sources: &Sources) -> String {
    let Sources { plan, task, specification, effective, inputs } = *sources;
    let decisions: Vec<Decision> = plan.decisions.iter().map(decision).collect();
    prompt::render(&PromptInput {
        id: &task.id,
        title: &task.title,
        text: task.prompt.as_deref().unwrap_or_default(),
        story: task.story.as_deref(),
        requirements: &task.requirements,
        specification,
        effective,
        decisions: &decisions,
        inputs,
        gates: &convert::gates(&task.gates),
        plan_gates: &convert::gates(&plan.gates),
        measurements: &task
            .attempts
            .iter()
            .flat_map(|attempts| &attempts.measurements)
            .map(measurement)
            .collect::<Vec<_>>(),
    })
}

fn measurement(of: &Measurement) -> assignment::Gate {
    let better = match of.better {
        Better::Lower => "lower",
        Better::Higher => "higher",
    };
    assignment::Gate { name: format!("{} ({better} is better)", of.name), script: of.script.clone() }
}

fn decision(of: &crate::plan::PlanDecision) -> Decision {
    Decision {
        title: of.title.clone(),
        decision: of.decision.clone(),
        rationale: of.rationale.clone(),
        alternatives: of.alternatives.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::Gate;
    use crate::plan::PlanDecision;
    use crate::task::Attempts;

    #[test]
    fn has_the_parts_of_plan_and_task() {
        let gate = |name: &str| Gate { name: name.into(), script: format!("run {name}") };
        let plan = PlanSpec {
            decisions: vec![PlanDecision {
                title: "Store".into(),
                decision: "SQLite".into(),
                ..PlanDecision::default()
            }],
            gates: vec![gate("whole")],
            ..PlanSpec::default()
        };
        let task = TaskTemplate {
            id: "T004".into(),
            title: "Limit the cart".into(),
            gates: vec![gate("unit")],
            attempts: Some(Attempts {
                best_of: 2,
                measurements: vec![Measurement { name: "p95".into(), script: "./bench".into(), better: Better::Lower }],
                ..Attempts::default()
            }),
            ..TaskTemplate::default()
        };
        let sources = Sources {
            plan: &plan,
            task: &task,
            specification: None,
            effective: EffectiveConstitution::default(),
            inputs: None,
        };
        let text = render(&sources);
        let gates = ["unit (after this task)", "whole (after all tasks)", "p95 (lower is better):\n./bench"];
        for part in ["T004: Limit the cart", "Store: SQLite"].into_iter().chain(gates) {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
