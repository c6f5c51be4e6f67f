//! Invalid input: the condition or the webhook's refusal names the field and the remedy, and other objects are not delayed.

mod fails;
mod refused;
mod reported;
mod unread;
mod verbatim;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::{Agent, Constitution, Plan, Specification};
use enact_e2e::Stage;
use enact_e2e::installation::{kubectl, pods_of};
use enact_e2e::work::scripted_plan;
use kube::api::ListParams;
use kube::{Resource, ResourceExt as _};

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: enact.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n")
}

/// Returns the lines of the installation's logs that report a panic.
fn panics() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for workload in ["deployment/enact-operator", "deployment/enact-webhook", "deployment/enact-server"] {
        let log = kubectl(&["logs", workload, "--since=10m"])?;
        found.extend(log.lines().filter(|line| line.contains("panicked")).map(str::to_owned));
    }
    Ok(found)
}

/// Starts a valid plan.
async fn neighbour(stage: &Stage) -> Result<()> {
    stage.apply(&scripted_plan("neighbour", "  tasks: [{id: T001, title: a, script: 'true'}]\n")).await
}

/// Returns the number of the operator's reconciles by kind.
fn reconciles() -> Result<BTreeMap<String, f64>> {
    let mut counts = BTreeMap::new();
    for pod in pods_of("deployment/enact-operator")? {
        let pod = pod.trim_start_matches("pod/");
        let path = format!("/api/v1/namespaces/enact-system/pods/{pod}:8081/proxy/metrics");
        for line in kubectl(&["get", "--raw", &path])?.lines() {
            let Some(rest) = line.strip_prefix("enact_reconciles_total{") else { continue };
            let (labels, value) = rest.rsplit_once(' ').context("a metric without value")?;
            let kind = labels.split('"').nth(1).context("a metric without kind")?;
            *counts.entry(kind.to_owned()).or_default() += value.parse::<f64>()?;
        }
    }
    ensure!(counts.contains_key("Plan"), "no reconciles of Plans are counted: {counts:?}");
    Ok(counts)
}

/// Returns the resource versions of the objects in the stage's namespace.
async fn versions(stage: &Stage) -> Result<Vec<String>> {
    async fn of<K>(stage: &Stage) -> Result<Vec<String>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let all = stage.api::<K>().list(&ListParams::default()).await?.items;
        let version = |o: &K| format!("{} {} {}", K::kind(&()), o.name_any(), o.resource_version().unwrap_or_default());
        Ok(all.iter().map(version).collect())
    }
    Ok([
        of::<Constitution>(stage).await?,
        of::<Specification>(stage).await?,
        of::<Plan>(stage).await?,
        of::<Agent>(stage).await?,
        of::<enact_crds::Task>(stage).await?,
    ]
    .concat())
}

/// Checks that nothing in the stage changes for some seconds, and that the operator does not reconcile in a loop. Tests that run at the
/// same time cause some reconciles too, but a loop causes hundreds in a second.
async fn calm(stage: &Stage) -> Result<()> {
    const SECONDS: u32 = 5;
    const MOST: f64 = 50.0 * SECONDS as f64;
    let (before, counted) = (versions(stage).await?, reconciles()?);
    // The test measures the rate of reconciles during this time.
    tokio::time::sleep(Duration::from_secs(SECONDS.into())).await;
    let (after, recounted) = (versions(stage).await?, reconciles()?);
    ensure!(before == after, "objects that nobody touches change: {before:#?} became {after:#?}");
    for (kind, count) in recounted {
        let more = count - counted.get(&kind).copied().unwrap_or_default();
        ensure!(more < MOST, "{more} reconciles of {kind} in {SECONDS} s");
    }
    Ok(())
}
