//! `status`: the progress of plans.

mod changes;
mod display;
mod snapshot;
mod table;
mod tree;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use enact_crds::Plan;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

pub use snapshot::phase_of;

use self::display::{Display, Length};
use self::snapshot::Snapshot;
use crate::args::Status;
use crate::cluster::{Cluster, api_error};
use crate::usage::TaskUsage;
use crate::{terminal, usage};

/// Most lines of a tree that is not folded.
const MAX_LINES: usize = 200;
/// How long to wait for what the tree can be shown without.
const RECORD_PATIENCE: Duration = Duration::from_secs(2);

/// Shows one plan or all plans, once or continuously.
pub async fn run(cluster: &Cluster, options: &Status) -> Result<()> {
    let Some(name) = &options.plan else {
        return all(cluster, options.all_namespaces).await;
    };
    if options.watch || options.until_finished {
        return Box::pin(watch::run(cluster, name, options.until_finished)).await;
    }
    let mut snapshot = Snapshot::fetch(cluster, name).await?;
    if options.usage {
        snapshot.usage = usage::by_task(cluster, &snapshot.plan).await?;
    } else if snapshot.uses_models() {
        snapshot.usage = activity(cluster, &snapshot.plan).await;
    }
    let length = if options.expand { Length::Whole } else { Length::Folded(MAX_LINES) };
    let lines = tree::render(&snapshot, Timestamp::now(), Display { length, ..Display::of_terminal() });
    print(&lines)
}

/// Reads when the tasks of a plan last used models. Without an answer of the record, the tree is shown without it.
async fn activity(cluster: &Cluster, plan: &Plan) -> BTreeMap<String, TaskUsage> {
    let read = tokio::time::timeout(RECORD_PATIENCE, usage::by_task(cluster, plan)).await;
    let usage = read.ok().and_then(Result::ok).unwrap_or_default();
    // What they used is shown only if it was asked for.
    usage.into_iter().map(|(name, usage)| (name, TaskUsage { line: String::new(), ..usage })).collect()
}

async fn all(cluster: &Cluster, all_namespaces: bool) -> Result<()> {
    let api: Api<Plan> = if all_namespaces { Api::all(cluster.client.clone()) } else { cluster.api() };
    let mut plans = api.list(&ListParams::default()).await.map_err(api_error)?.items;
    if plans.is_empty() {
        let scope = if all_namespaces { "any namespace".into() } else { format!("namespace {}", cluster.namespace) };
        terminal::note(&format!("there is no Plan in {scope}"));
        return Ok(());
    }
    plans.sort_by_key(|plan| (plan.namespace(), plan.name_any()));
    print(&table::render(&plans, all_namespaces, Timestamp::now(), Display::of_terminal()))
}

fn print(lines: &[String]) -> Result<()> {
    terminal::print(&(lines.join("\n") + "\n"))
}
