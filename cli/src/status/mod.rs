//! `enact status`: how plans go.

mod changes;
mod snapshot;
mod table;
mod tree;
mod watch;

#[cfg(test)]
mod tests;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use enact_crds::{Approval, Plan, Specification, Task};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

pub use snapshot::phase_of;

use self::snapshot::Snapshot;
use self::tree::{Length, Look};
use crate::args::Status;
use crate::cluster::{Cluster, told};
use crate::terminal::{self, Paint};

/// Columns where no terminal says how many there are.
const DEFAULT_WIDTH: usize = 160;
/// Lines of a tree that is folded when it would be longer.
const MAX_LINES: usize = 200;

/// Shows one plan or all, once or as they go on.
pub async fn run(cluster: &Cluster, options: &Status) -> Result<ExitCode> {
    let Some(name) = &options.plan else {
        return all(cluster, options.all_namespaces).await.map(|()| ExitCode::SUCCESS);
    };
    if options.watch || options.until_finished {
        return watch::run(cluster, name, options.until_finished).await;
    }
    let snapshot = fetch(cluster, name).await?;
    let length = if options.expand { Length::Whole } else { Length::Folded(MAX_LINES) };
    let lines = tree::render(&snapshot, Timestamp::now(), Look { length, ..look() });
    print(&lines)?;
    Ok(ExitCode::SUCCESS)
}

async fn all(cluster: &Cluster, all_namespaces: bool) -> Result<()> {
    let api: Api<Plan> = if all_namespaces {
        Api::all(cluster.client.clone())
    } else {
        Api::namespaced(cluster.client.clone(), &cluster.namespace)
    };
    let mut plans = api.list(&ListParams::default()).await.map_err(told)?.items;
    if plans.is_empty() {
        let place = if all_namespaces { "any namespace".into() } else { format!("namespace {}", cluster.namespace) };
        terminal::note(&format!("no plans in {place}"));
        return Ok(());
    }
    plans.sort_by_key(|plan| (plan.namespace(), plan.name_any()));
    print(&table::render(&plans, all_namespaces, Timestamp::now(), look()))
}

/// A plan and all that is shown with it.
async fn fetch(cluster: &Cluster, name: &str) -> Result<Snapshot> {
    let plan = Api::<Plan>::namespaced(cluster.client.clone(), &cluster.namespace).get_opt(name).await.map_err(told)?;
    let Some(plan) = plan else { bail!("there is no Plan {name} in namespace {}", cluster.namespace) };
    let (tasks, approvals) = (tasks(cluster), approvals(cluster));
    let of_plan = ListParams::default().fields(&format!("spec.planRef.name={name}"));
    let any = ListParams::default();
    let (tasks, approvals) = futures::try_join!(tasks.list(&of_plan), approvals.list(&any)).map_err(told)?;
    let specification = match &plan.spec.specification_ref {
        Some(reference) => specifications(cluster).get_opt(&reference.name).await.map_err(told)?,
        None => None,
    };
    let tasks = tasks.items.into_iter().map(Arc::new).collect();
    let approvals = approvals.items.into_iter().map(Arc::new).collect();
    Ok(Snapshot { plan, specification, tasks, approvals })
}

fn tasks(cluster: &Cluster) -> Api<Task> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

fn approvals(cluster: &Cluster) -> Api<Approval> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

fn specifications(cluster: &Cluster) -> Api<Specification> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

/// How the terminal wants it.
fn look() -> Look {
    let size = terminal_size::terminal_size_of(io::stdout());
    Look {
        paint: Paint::of(&io::stdout()),
        width: size.map_or(DEFAULT_WIDTH, |(width, _)| width.0.into()),
        // The cursor stands on a line of its own below.
        length: size.map_or(Length::Whole, |(_, height)| Length::Cut(usize::from(height.0).saturating_sub(1))),
    }
}

fn print(lines: &[String]) -> Result<()> {
    terminal::print(&(lines.join("\n") + "\n"))
}
