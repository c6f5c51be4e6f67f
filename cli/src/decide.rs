//! `enact approve` and `enact reject`: a person's decision on what lies before them.

use std::fmt::Debug;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use enact_crds::approval::{ApprovalSpec, Choice, Subject, SubjectKind};
use enact_crds::common::ApprovalPolicy;
use enact_crds::{Approval, Constitution, Plan, Specification};
use enact_domain::digest::Digest;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::args::Decide;
use crate::cluster::{Cluster, told};
use crate::status::one_line;
use crate::terminal;

/// What a person is shown before they decide.
#[derive(Debug)]
struct Content {
    digest: Option<String>,
    observed: Option<i64>,
    generation: Option<i64>,
    policy: ApprovalPolicy,
    summary: String,
}

/// Shows the subject, asks, and records the decision.
pub async fn run(cluster: &Cluster, options: &Decide, choice: Choice) -> Result<ExitCode> {
    let Subject { kind, name } = &options.subject;
    let comment = options.comment.clone().unwrap_or_default();
    if choice == Choice::Reject && comment.trim().is_empty() {
        bail!("a rejection needs --comment: the author must learn what to change");
    }
    let content = look_at(cluster, &options.subject).await?;
    let subject = format!("{kind:?} {name}");
    let Some(digest) = content.digest else {
        bail!("{subject} has no digest yet: the operator has not read it; see its conditions with `kubectl describe`");
    };
    if content.observed != content.generation {
        bail!("{subject} was changed and the operator has not read the change yet; try again in a moment");
    }
    terminal::note(&format!("{subject} in namespace {}: {}", cluster.namespace, content.summary));
    terminal::note(&format!("content {}", Digest::from(digest.clone()).short()));
    if content.policy.required == 0 {
        terminal::note("note: its policy asks for no approval");
    }
    let verb = if choice == Choice::Approve { "Approve" } else { "Reject" };
    if !options.yes && !terminal::confirm(&format!("{verb} this content?"))? {
        bail!("nothing was decided");
    }
    let approval = Approval {
        metadata: ObjectMeta {
            // Several people decide on one subject, and one person may decide again: the server makes the name.
            generate_name: Some(format!("{}-", name.trim_end_matches(['-', '.']))),
            ..ObjectMeta::default()
        },
        spec: ApprovalSpec { subject: options.subject.clone(), digest, decision: choice, comment, by: None },
        status: None,
    };
    let api: Api<Approval> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let created = api
        .create(&PostParams::default(), &approval)
        .await
        .map_err(told)
        .with_context(|| format!("the decision on {subject} was not taken"))?;
    let done = if choice == Choice::Approve { "approved" } else { "rejected" };
    let by = created.spec.by.as_ref().map_or_else(String::new, |by| format!(" by {}", by.user));
    terminal::print(&format!("{subject} {done}{by} ({})\n", created.name_any()))?;
    Ok(ExitCode::SUCCESS)
}

async fn look_at(cluster: &Cluster, subject: &Subject) -> Result<Content> {
    let name = subject.name.as_str();
    match subject.kind {
        SubjectKind::Constitution => get::<Constitution>(cluster, name).await.map(|constitution| {
            let status = constitution.status.clone().unwrap_or_default();
            let version = status.version.map_or_else(String::new, |version| format!("version {version}, "));
            Content {
                digest: status.digest,
                observed: status.observed_generation,
                generation: constitution.metadata.generation,
                policy: constitution.spec.approval,
                summary: format!("{version}{} principles", status.principles),
            }
        }),
        SubjectKind::Specification => get::<Specification>(cluster, name).await.map(|specification| {
            let status = specification.status.clone().unwrap_or_default();
            Content {
                digest: status.digest,
                observed: status.observed_generation,
                generation: specification.metadata.generation,
                policy: specification.spec.approval,
                summary: format!(
                    "“{}”, {} stories, {} requirements, {} open questions",
                    one_line(status.title.as_deref().unwrap_or("untitled")),
                    status.stories,
                    status.requirements,
                    status.open_questions
                ),
            }
        }),
        SubjectKind::Plan => get::<Plan>(cluster, name).await.map(|plan| {
            let status = plan.status.clone().unwrap_or_default();
            let workspace = plan.spec.workspace.as_ref();
            let place = workspace.map_or_else(String::new, |workspace| format!(" on {}", one_line(&workspace.url)));
            let tasks = plan.spec.tasks.len().max(status.tasks.total as usize);
            let tasks = if tasks > 0 { format!("{tasks} tasks") } else { "the tasks of its tasks.md".into() };
            Content {
                digest: status.digest,
                observed: status.observed_generation,
                generation: plan.metadata.generation,
                policy: plan.spec.approval,
                summary: format!("{tasks}{place}"),
            }
        }),
    }
}

async fn get<K>(cluster: &Cluster, name: &str) -> Result<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    match api.get_opt(name).await.map_err(told)? {
        Some(object) => Ok(object),
        None => bail!("there is no {} {name} in namespace {}", K::kind(&()), cluster.namespace),
    }
}
