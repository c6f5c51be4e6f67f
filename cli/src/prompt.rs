//! `prompt`: the prompt that the agent of a task gets.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::plan::{PlanSpec, UnreadTasks};
use enact_crds::prompt::{self, Sources};
use enact_crds::task::TaskTemplate;
use enact_crds::{Constitution, Plan, Specification, Task, chain, compile, convert};
use enact_domain::agents;
use enact_domain::agents::prompt::Situation;
use enact_domain::assignment::{ASSIGNMENT_ENV, Assignment, Work};
use enact_domain::drafting::EffectiveConstitution;
use enact_domain::names::{ANNOTATION_ASSIGNMENT, pod_name};
use enact_domain::rules::Rule;
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::{self, constitution};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::args::Prompt;
use crate::cluster::{Cluster, api_error};
use crate::control::{Target, task_of};
use crate::document::{self, Document};
use crate::{logs, terminal};

/// The documents that a prompt is made from.
#[derive(Default)]
struct Documents {
    specification: Option<Spec>,
    constitutions: Vec<constitution::Constitution>,
    rules: Vec<Rule>,
}

impl Documents {
    fn render(&self, plan: &PlanSpec, task: &TaskTemplate) -> String {
        let constitutions: Vec<_> = self.constitutions.iter().collect();
        let rules: Vec<_> = self.rules.iter().collect();
        prompt::render(&Sources {
            plan,
            task,
            specification: self.specification.as_ref(),
            effective: EffectiveConstitution { constitutions: &constitutions, rules: &rules },
            inputs: None,
        })
    }
}

/// Prints the prompt of a task from documents alone.
pub fn offline(options: &Prompt, tasks: &Path) -> Result<()> {
    let (templates, diagnostics) = compile::from_markdown(&read(tasks)?, UnreadTasks::Warn);
    for error in diagnostics.iter().filter(|found| found.severity == speckit::Severity::Error) {
        terminal::note(&format!("{}: {error}", tasks.display()));
    }
    let template = find(&templates, &options.task)
        .with_context(|| format!("{} has no open task {}", tasks.display(), options.task))?;
    let specification = options.spec.as_deref().map(read).transpose()?;
    let constitution = options.constitution.as_deref().map(read).transpose()?;
    let documents = Documents {
        specification: specification.map(|text| speckit::spec::parse(&text).model),
        constitutions: constitution.map(|text| constitution::parse(&text).model).into_iter().collect(),
        rules: Vec::new(),
    };
    terminal::print_untrusted(&documents.render(&PlanSpec::default(), template))
}

/// Prints the prompt of a task of a plan, or the one that an attempt got.
pub async fn run(cluster: &Cluster, options: &Prompt) -> Result<()> {
    let (plan_name, id) = match Target::parse(&options.task) {
        Target::TaskOfPlan(plan, id) => (plan, id),
        Target::Name(name) => {
            let task = cluster.api::<Task>().get_opt(&name).await.map_err(api_error)?;
            let Some(task) = task else {
                bail!("there is no Task {name}: name the task as PLAN/TASKID, or give its document by --tasks");
            };
            (task.spec.plan_ref.name, task.spec.work.id)
        }
    };
    if let Some(attempt) = options.attempt {
        let task = task_of(cluster, &plan_name, &id).await?;
        return terminal::print_untrusted(&given(cluster, &task, attempt).await?);
    }
    let plan: Plan = cluster.get(&plan_name).await?;
    let templates = tasks(cluster, &plan.spec).await?;
    let template = match find(&templates, &id) {
        Some(template) => template.clone(),
        // A plan whose document is in Git: only its Tasks have the text.
        None => task_of(cluster, &plan_name, &id).await?.spec.work,
    };
    let documents = documents(cluster, &plan.spec).await?;
    terminal::note("note: without the outputs of earlier tasks, the previous failure, and the tenant's constitution");
    terminal::print_untrusted(&documents.render(&plan.spec, &template))
}

/// Returns the prompt in the assignment of an attempt's pod. A session that is resumed gets a shorter one.
async fn given(cluster: &Cluster, task: &Task, attempt: u32) -> Result<String> {
    let name = pod_name(&task.name_any(), attempt);
    let api = cluster.api::<Pod>();
    let pod = match api.get_opt(&name).await.map_err(api_error)? {
        Some(own) => Some(own),
        None => logs::assigned_pod(&api, &task.name_any(), attempt).await?,
    };
    let pod =
        pod.with_context(|| format!("there is no pod {name}: the attempt has not started, or its pod was deleted"))?;
    let assigned = pod.annotations().get(ANNOTATION_ASSIGNMENT).cloned();
    let containers = pod.spec.into_iter().flat_map(|spec| spec.containers);
    let variable =
        containers.flat_map(|container| container.env.unwrap_or_default()).find(|var| var.name == ASSIGNMENT_ENV);
    // The operator escapes the value of the variable for the kubelet.
    let text = assigned.unwrap_or_else(|| variable.and_then(|var| var.value).unwrap_or_default().replace("$$", "$"));
    let assignment: Assignment = serde_json::from_str(&text).context("the pod has no readable assignment")?;
    match assignment.work {
        Work::Task(work) => {
            let (previous, messages) = (work.previous.as_ref(), work.messages.as_slice());
            Ok(agents::prompt::first(&work.prompt, Situation { previous, messages, ..Situation::default() }))
        }
        Work::Integration(_) => bail!("an integration has no prompt"),
    }
}

/// Returns the tasks of a plan, as far as the cluster has its document.
async fn tasks(cluster: &Cluster, plan: &PlanSpec) -> Result<Vec<TaskTemplate>> {
    let Some(source) = &plan.source else { return Ok(plan.tasks.clone()) };
    let (text, _) = document::read(cluster, source).await?;
    Ok(text.map(|text| compile::from_markdown(text.as_bytes(), plan.unread_tasks).0).unwrap_or_default())
}

/// Reads the specification of a plan and the constitutions that it names.
async fn documents(cluster: &Cluster, plan: &PlanSpec) -> Result<Documents> {
    let mut documents = Documents::default();
    let Some(name) = plan.specification_ref.as_ref().map(|reference| reference.name.clone()) else {
        return Ok(documents);
    };
    let text = text(cluster, SubjectKind::Specification, &name).await?;
    documents.specification = Some(speckit::spec::parse(text.as_bytes()).model);
    let specification: Specification = cluster.get(&name).await?;
    let mut next = specification.spec.constitution_ref.map(|reference| reference.name);
    while let Some(name) = next.filter(|_| documents.constitutions.len() < chain::MAX_CONSTITUTIONS) {
        let found: Constitution = cluster.get(&name).await?;
        let text = self::text(cluster, SubjectKind::Constitution, &name).await?;
        documents.constitutions.push(constitution::parse(text.as_bytes()).model);
        documents.rules.extend(found.spec.rules.iter().map(convert::rule));
        next = found.spec.parent_ref.map(|reference| reference.name);
    }
    Ok(documents)
}

async fn text(cluster: &Cluster, kind: SubjectKind, name: &str) -> Result<String> {
    let subject = Subject { kind, name: name.to_owned() };
    Ok(Document::load(cluster, &subject).await?.current(cluster).await?.text)
}

fn find<'a>(templates: &'a [TaskTemplate], id: &str) -> Option<&'a TaskTemplate> {
    templates.iter().find(|task| task.id.eq_ignore_ascii_case(id))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}
