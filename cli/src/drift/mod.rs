//! `drift`: which specifications the repository's own changes have made outdated, by the files of the tasks of finished plans.

mod commits;
mod report;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::compile::{self, task_text};
use enact_crds::documents::texts::SpecificationText;
use enact_crds::task::{Phase, TaskTemplate};
use enact_crds::{Plan, Task, plan};
use enact_domain::analysis::{CoveredItem, Evidence};
use enact_domain::revisions::drift::{TaskFiles, drift};
use kube::ResourceExt as _;
use kube::api::ListParams;

use self::report::{AffectedTask, PlanDrift, Report, SpecificationDrift};
use crate::args::{Drift, DriftOutput};
use crate::cluster::{Cluster, api_error};
use crate::document::Document;
use crate::status::phase_of;
use crate::terminal::{self, note};
use crate::text::{one_line, safe};

/// The clone of a repository that plans are compared with.
struct Repository<'a> {
    path: &'a Path,
    /// The commit that is checked out.
    head: String,
    /// The commit from which on changes count for all plans.
    since: Option<String>,
    /// Whether a person says that all compared plans are of this repository: the namespace can have plans of others.
    is_certain: bool,
}

/// Shows which Specifications have finished tasks whose files others have changed.
pub async fn run(cluster: &Cluster, options: &Drift) -> Result<()> {
    let path = options.repository.as_path();
    let head = commits::head(path)?;
    let since = match &options.since {
        Some(revision) => match commits::resolve(path, revision)? {
            Some(commit) => Some(commit),
            None => bail!("--since: {} has no commit {revision}; fetch it, or name another one", path.display()),
        },
        None => None,
    };
    let is_certain = options.specification.is_some();
    let repository = Repository { path, head, since, is_certain };
    let report = Box::pin(report(cluster, options.specification.as_deref(), &repository)).await?;
    if options.output == DriftOutput::Json {
        return terminal::print_line(&safe(&serde_json::to_string_pretty(&report)?));
    }
    for PlanDrift { name, problem, .. } in report.plans() {
        if let Some(problem) = problem {
            note(&format!("Plan {} is left out: {}", one_line(name), one_line(problem)));
        }
    }
    let compared = report.plans().filter(|plan| plan.problem.is_none()).count();
    if report.plans().all(|plan| plan.tasks.is_empty()) {
        note(&format!("no file of {compared} finished plans in namespace {} was changed by others", cluster.namespace));
        return Ok(());
    }
    terminal::print(&(report.table().join("\n") + "\n"))
}

/// Compares the finished plans of the namespace, or of one Specification, with the clone.
async fn report(cluster: &Cluster, specification: Option<&str>, repository: &Repository<'_>) -> Result<Report> {
    let of_specification = specification.map(|name| format!("spec.specificationRef.name={name}"));
    let parameters = ListParams { field_selector: of_specification, ..ListParams::default() };
    let plans = cluster.api::<Plan>().list(&parameters).await.map_err(api_error)?;
    let mut by_specification: BTreeMap<&str, Vec<&Plan>> = BTreeMap::new();
    for plan in &plans {
        let is_finished = plan.status.as_ref().is_some_and(|status| status.phase == plan::Phase::Succeeded);
        if let Some(specification) = plan.spec.specification_ref.as_ref().filter(|_| is_finished) {
            by_specification.entry(specification.name.as_str()).or_default().push(plan);
        }
    }
    let mut specifications = Vec::new();
    for (name, mut plans) in by_specification {
        plans.sort_by_key(|plan| plan.name_any());
        let mut drifts = Vec::new();
        for plan in plans {
            drifts.push(of_plan(cluster, plan, repository).await?);
        }
        served(cluster, name, &mut drifts).await;
        let plans = drifts.into_iter().map(|(drift, _)| drift).collect();
        specifications.push(SpecificationDrift { name: name.to_owned(), plans });
    }
    Ok(Report { namespace: cluster.namespace.clone(), head: repository.head.clone(), specifications })
}

/// Compares a plan with the clone. Also returns its tasks.
async fn of_plan(
    cluster: &Cluster,
    plan: &Plan,
    repository: &Repository<'_>,
) -> Result<(PlanDrift, Vec<TaskTemplate>)> {
    let name = plan.name_any();
    let commit = plan.status.as_ref().and_then(|status| status.integration.as_ref()?.commit.as_deref());
    let integrated = commit.map(|commit| commits::resolve(repository.path, commit)).transpose()?.flatten();
    let since = repository.since.clone().filter(|_| integrated.is_some() || repository.is_certain);
    let Some(since) = since.or_else(|| integrated.clone()) else {
        let problem = match commit {
            Some(commit) => format!("the repository has no commit {commit}; fetch the branch of the plan"),
            None => "it has published no commit".to_owned(),
        };
        let problem = format!("{problem}, or name the Specification and --since");
        return Ok((PlanDrift { name, problem: Some(problem), ..PlanDrift::default() }, Vec::new()));
    };
    let of_plan = ListParams::default().fields(&format!("spec.planRef.name={name}"));
    let tasks = cluster.api::<Task>().list(&of_plan).await.map_err(api_error)?;
    let finished = tasks.items.into_iter().filter(|task| phase_of(task) == Phase::Succeeded);
    let mut tasks: Vec<TaskTemplate> = finished.map(|task| task.spec.work).collect();
    tasks.sort_by(|a, b| a.id.cmp(&b.id));
    let drift = match compare(&cluster.namespace, &name, repository, &since, integrated.as_deref(), &tasks) {
        Ok(tasks) => PlanDrift { name, since: Some(since), problem: None, tasks },
        // Its changes can be too many. The other plans are shown all the same.
        Err(problem) => {
            let problem = format!("{problem:#}; a later commit with --since has fewer changes");
            PlanDrift { name, since: Some(since), problem: Some(problem), tasks: Vec::new() }
        }
    };
    Ok((drift, tasks))
}

fn compare(
    namespace: &str,
    plan: &str,
    repository: &Repository<'_>,
    since: &str,
    integrated: Option<&str>,
    tasks: &[TaskTemplate],
) -> Result<Vec<AffectedTask>> {
    let changes = commits::changes(repository.path, since, &repository.head)?;
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let end = integrated.unwrap_or(&repository.head);
    let mut recorded = commits::files_of_tasks(repository.path, end, &format!("{namespace}/{plan}"))?;
    let files: Vec<_> = tasks.iter().map(|task| recorded.remove(&task.id).unwrap_or_default()).collect();
    let texts: Vec<String> = tasks.iter().map(|task| format!("{}\n{}", task.title, task_text(task))).collect();
    let inputs: Vec<TaskFiles<'_>> = tasks
        .iter()
        .zip(&files)
        .zip(&texts)
        .map(|((task, recorded), text)| TaskFiles { id: &task.id, recorded, text })
        .collect();
    let by_id: BTreeMap<&str, &TaskTemplate> = tasks.iter().map(|task| (task.id.as_str(), task)).collect();
    let affected = drift(&inputs, &changes).into_iter().map(|drift| {
        let task = by_id.get(drift.id.as_str());
        AffectedTask {
            title: task.map(|task| task.title.clone()).unwrap_or_default(),
            requirements: task.map(|task| task.requirements.clone()).unwrap_or_default(),
            drift,
        }
    });
    Ok(affected.collect())
}

/// Adds the requirements that tasks serve by their texts and stories. Without the document, those of the field `requirements` are left.
async fn served(cluster: &Cluster, specification: &str, plans: &mut [(PlanDrift, Vec<TaskTemplate>)]) {
    if plans.iter().all(|(plan, _)| plan.tasks.is_empty()) {
        return;
    }
    let subject = Subject { kind: SubjectKind::Specification, name: specification.to_owned() };
    let read = async { Document::load(cluster, &subject).await?.current(cluster).await };
    let text = match read.await {
        Ok(read) => SpecificationText::read(read.text.as_bytes()),
        Err(error) => {
            note(&format!(
                "Specification {specification} cannot be read, and only `requirements` of tasks count: {error:#}"
            ));
            return;
        }
    };
    for (plan, tasks) in plans {
        let coverage = compile::coverage(&text.parsed.model, tasks.iter());
        for affected in &mut plan.tasks {
            let serves = |item: &&CoveredItem| {
                item.tasks.iter().any(|link| link.task == affected.drift.id && link.by != Evidence::Terms)
            };
            let found: Vec<String> = coverage.requirements.iter().filter(serves).map(|item| item.id.clone()).collect();
            let new = found.into_iter().filter(|id| !affected.requirements.contains(id)).collect::<Vec<_>>();
            affected.requirements.extend(new);
        }
    }
}
