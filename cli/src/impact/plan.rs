//! How another tasks.md differs from the tasks of a plan, and which finished work is kept.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use enact_crds::approval::Subject;
use enact_crds::compile;
use enact_crds::replan::compare;
use enact_crds::task::{Phase, TaskTemplate};
use enact_crds::{Plan, convert};
use enact_domain::digest::Digest;
use enact_domain::names::{self, ANNOTATION_ACCEPTED};
use enact_domain::revisions::replan::Difference;
use enact_domain::stamps::Stamps;
use kube::ResourceExt as _;
use serde::Serialize;

use super::change::decisions;
use super::plans;
use super::report::Decisions;
use crate::cluster::Cluster;
use crate::history::{self, short};
use crate::record::Record;
use crate::subject::handle;
use crate::text::{one_line, problems};

/// How another tasks.md differs from the tasks of a plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// The plan: `plan/cart`.
    pub subject: String,
    pub namespace: String,
    /// Whether it has started, so that its tasks cannot change.
    pub started: bool,
    /// Digest of the content with the other tasks.
    pub new_digest: String,
    pub tasks: Difference,
    pub approvals: Decisions,
}

/// Compares the tasks of a plan with another tasks.md.
pub async fn report(cluster: &Cluster, subject: &Subject, path: &Path, bytes: &[u8]) -> Result<PlanReport> {
    let name = subject.name.as_str();
    let plan: Plan = cluster.get(name).await?;
    let status = plan.status.clone().unwrap_or_default();
    let parsed = compile::parse(bytes, plan.spec.unread_tasks);
    if let Some(error) = parsed.errors().next() {
        bail!("{} cannot be used as the tasks.md of Plan {name}: {error}", path.display());
    }
    let (new, ticked) = (compile::from_file(&parsed.model), compile::done_tasks(&parsed.model));
    if let Err(errors) = compile::check(name, &new) {
        bail!("{} cannot be used as the tasks.md of Plan {name}: {}", path.display(), problems(&errors));
    }
    let started = status.started_at.is_some();
    let old = match status.approved_digest.as_ref().filter(|_| started) {
        Some(approved) => {
            let content = Record::open(cluster).await?.content(subject, approved).await?;
            let recorded = compile::recorded(name, &content);
            recorded
                .with_context(|| format!("the record of Plan {name} cannot be read; use the version of the server"))?
                .0
                .tasks
        }
        None => history::tasks(cluster, &plan).await?,
    };
    let phases = plans::phases(cluster, name).await?;
    let is_finished = |task: &&TaskTemplate| phases.get(&names::task_name(name, &task.id)) == Some(&Phase::Succeeded);
    let finished: BTreeSet<&str> = old.iter().filter(is_finished).map(|task| task.id.as_str()).collect();
    let ticked: BTreeSet<&str> = ticked.iter().map(|task| task.id.as_str()).collect();
    let stamps = Stamps::of(plan.annotations(), ANNOTATION_ACCEPTED);
    let kept = crate::replan::kept(cluster, &plan, &new).await?;
    let content = compile::canonical(&plan.spec, &new, &kept, &status.agent_digests(), &stamps)?;
    let digest = Digest::of_bytes(content.as_bytes());
    let approvals = if started {
        Decisions::default()
    } else {
        decisions(cluster, subject, &plan, &digest, convert::worst_of(&status.top_findings)).await
    };
    Ok(PlanReport {
        subject: handle(subject),
        namespace: cluster.namespace.clone(),
        started,
        new_digest: digest.to_string(),
        tasks: compare(&old, &new, &finished, &ticked),
        approvals,
    })
}

impl PlanReport {
    /// Returns the report for a person.
    pub fn lines(&self) -> Vec<String> {
        let Self { subject, namespace, started, new_digest, tasks, approvals } = self;
        let Difference { added, changed, removed, kept, repeated } = tasks;
        let mut lines = vec![format!("{subject} in namespace {namespace}, with content {}:", short(new_digest))];
        for (what, ids) in [
            ("added", added),
            ("changed", changed),
            ("removed", removed),
            ("finished work that is kept", kept),
            ("finished work that is done again", repeated),
        ] {
            let ids = if ids.is_empty() { "none".to_owned() } else { one_line(&ids.join(", ")) };
            lines.push(format!("  {what}: {ids}"));
        }
        if *started {
            lines.push(
                "the plan has started, so that its tasks cannot change: `kubectl enact replan` creates another Plan that keeps the work"
                    .into(),
            );
        }
        lines.extend(approvals.lines());
        lines
    }
}
