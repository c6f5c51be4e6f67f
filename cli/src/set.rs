//! `set`: changes how a plan runs while it runs.

use anyhow::Result;
use enact_crds::Plan;
use enact_crds::plan::Phase;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::args::Set;
use crate::cluster::{Cluster, api_error};
use crate::terminal;

/// Changes `spec.execution.parallelism`.
pub async fn set(cluster: &Cluster, options: &Set) -> Result<()> {
    let plans: Api<Plan> = cluster.api();
    let name = options.plan.as_str();
    let patch = json!({ "spec": { "execution": { "parallelism": options.parallelism } } });
    let plan = plans.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(api_error)?;
    terminal::print_line(&effect(name, options.parallelism, plan.status.unwrap_or_default().phase))
}

/// Describes the effect on a plan in this phase.
fn effect(name: &str, parallelism: u32, phase: Phase) -> String {
    let attempts = if parallelism == 1 { "1 attempt".to_owned() } else { format!("{parallelism} attempts") };
    let condition = if phase.is_finished() { format!(" if it runs again; it is {phase:?}") } else { String::new() };
    format!("Plan {name} runs at most {attempts} at the same time{condition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effect_on_a_finished_plan_is_conditional() {
        assert_eq!(effect("cart", 2, Phase::Running), "Plan cart runs at most 2 attempts at the same time");
        let finished = "Plan cart runs at most 1 attempt at the same time if it runs again; it is Failed";
        assert_eq!(effect("cart", 1, Phase::Failed), finished);
    }
}
