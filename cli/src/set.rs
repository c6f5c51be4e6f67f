//! `set`: changes how a plan runs while it runs.

use anyhow::Result;
use enact_crds::Plan;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::args::Set;
use crate::cluster::{Cluster, api_error};
use crate::terminal;

/// Changes `spec.execution.parallelism`.
pub async fn set(cluster: &Cluster, options: &Set) -> Result<()> {
    let plans: Api<Plan> = cluster.api();
    let name = options.plan.strip_prefix("plan/").unwrap_or(&options.plan);
    let patch = json!({ "spec": { "execution": { "parallelism": options.parallelism } } });
    plans.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(api_error)?;
    terminal::print_line(&format!("Plan {name} runs at most {} attempts at the same time", options.parallelism))
}
