//! `enact approve` and `enact reject`: a person's decision on what lies before them.

use std::io;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use enact_crds::approval::{ApprovalSpec, Choice, Subject, SubjectKind};
use enact_crds::common::ApprovalPolicy;
use enact_crds::document::{Finding, Source};
use enact_crds::{Approval, Constitution, Plan, Specification, convert};
use enact_domain::approval::{self, Decision, Verdict, evaluate};
use enact_domain::digest::Digest;
use enact_domain::names::ANNOTATION_AUTHOR;
use enact_domain::time::Millis;
use jiff::Timestamp;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Resource, ResourceExt as _};

use crate::args::Decide;
use crate::cluster::{Cluster, told};
use crate::history::{difference, planned, recorded, short};
use crate::record::Record;
use crate::terminal::{self, Paint, note};
use crate::text::one_line;

/// Most findings that are shown.
const FINDINGS: usize = 5;
/// Most lines of a difference that are shown.
const DIFFERENCE: usize = 200;

/// What a person is shown before they decide.
#[derive(Debug, Default)]
struct Content {
    digest: Option<String>,
    approved: Option<String>,
    observed: Option<i64>,
    generation: Option<i64>,
    author: Option<String>,
    policy: ApprovalPolicy,
    summary: String,
    source: Option<Source>,
    findings: Vec<Finding>,
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
    let Some(digest) = content.digest.clone() else {
        bail!("{subject} has no digest yet: the operator has not read it; see its conditions with `kubectl describe`");
    };
    if content.observed != content.generation {
        bail!("{subject} was changed and the operator has not read the change yet; try again in a moment");
    }
    if let Some(wanted) = options.digest.as_ref().filter(|wanted| !digest.starts_with(wanted.as_str())) {
        bail!("{subject} has another content now, {digest}, and not {wanted}; look at it again");
    }
    note(&format!("{subject} in namespace {}: {}", cluster.namespace, content.summary));
    for line in card(cluster, &options.subject, &content, &digest) {
        note(&line);
    }
    let changes = Box::pin(changes(cluster, &options.subject, &content, &digest)).await;
    terminal::aside(&format!("{}\n", changes.trim_end()));
    note(&standing(cluster, &options.subject, &content, &digest).await);
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
    let created = cluster
        .api::<Approval>()
        .create(&PostParams::default(), &approval)
        .await
        .map_err(told)
        .with_context(|| format!("the decision on {subject} was not taken"))?;
    let done = if choice == Choice::Approve { "approved" } else { "rejected" };
    let by = created.spec.by.as_ref().map_or_else(String::new, |by| format!(" by {}", one_line(&by.user)));
    terminal::say(&format!("{subject} {done}{by} ({})", created.name_any()))?;
    Ok(ExitCode::SUCCESS)
}

/// What else there is to know about the content, one string a line.
fn card(cluster: &Cluster, subject: &Subject, content: &Content, digest: &str) -> Vec<String> {
    let short = |digest: &str| Digest::from(digest.to_owned()).short().to_owned();
    let before = match &content.approved {
        Some(approved) if approved == digest => " (approved already)".to_owned(),
        Some(approved) => format!(" ({} was approved before)", short(approved)),
        None => String::new(),
    };
    let mut lines = vec![format!("  content {}{before}", short(digest))];
    if let Some(author) = &content.author {
        lines.push(format!("  by {}", one_line(author)));
    }
    for finding in content.findings.iter().take(FINDINGS) {
        let Finding { line, severity, message, remedy, .. } = finding;
        lines.push(format!("  line {line}: {}", one_line(&format!("{severity:?}: {message}; {remedy}"))));
    }
    if content.findings.len() > FINDINGS {
        lines.push(format!("  and {} more findings", content.findings.len() - FINDINGS));
    }
    let place = format!("--namespace {}", cluster.namespace);
    lines.push(match &content.source {
        Some(Source { config_map_key_ref: Some(key), .. }) => {
            format!(
                "  read it: kubectl get configmap {} {place} -o yaml (key {})",
                one_line(&key.name),
                one_line(&key.key)
            )
        }
        Some(_) => {
            let kind = format!("{:?}", subject.kind).to_ascii_lowercase();
            format!("  read it: kubectl get {kind} {} {place} -o jsonpath='{{.spec.source.inline}}'", subject.name)
        }
        None => format!("  read it: kubectl get plan {} {place} -o yaml", subject.name),
    });
    lines
}

/// How the content differs from the one that was approved before, with nothing in it that a terminal would obey. Where that cannot be
/// told, a person goes on with what the object shows.
async fn changes(cluster: &Cluster, subject: &Subject, content: &Content, digest: &str) -> String {
    compared(cluster, subject, content.approved.as_deref(), digest).await.unwrap_or_else(|problem| {
        let why = one_line(&format!("{problem:#}"));
        format!("  how it differs from what was approved last cannot be shown: {why}")
    })
}

async fn compared(cluster: &Cluster, subject: &Subject, approved: Option<&str>, digest: &str) -> Result<String> {
    const NOTHING: &str = "  nothing was approved before";
    const SAME: &str = "  it does not differ from what was approved last";
    let is_plan = subject.kind == SubjectKind::Plan;
    match approved {
        None if !is_plan => return Ok(NOTHING.into()),
        Some(approved) if approved == digest => return Ok(SAME.into()),
        _ => {}
    }
    let record = Record::open(cluster).await?;
    // A Plan is recorded when it starts, which takes its approval: what the record has under this name was approved.
    let (since, last) = match approved {
        Some(approved) => ("since it was approved last", approved.to_owned()),
        None => match record.history(subject, None, 1).await?.revisions.into_iter().next() {
            Some(last) => ("since the last Plan of this name was approved", last.digest),
            None => return Ok(NOTHING.into()),
        },
    };
    if last == digest {
        return Ok(SAME.into());
    }
    let present = async {
        if is_plan { planned(cluster, &subject.name, digest).await } else { recorded(&record, subject, digest).await }
    };
    let (before, after) = futures::try_join!(recorded(&record, subject, &last), present)?;
    let shown = difference(&before, &after, Paint::of(&io::stderr()));
    let (lines, all) = (shown.lines().take(DIFFERENCE).collect::<Vec<_>>(), shown.lines().count());
    let rest = match all.saturating_sub(DIFFERENCE) {
        0 => String::new(),
        more => {
            let place = format!("{}/{}", format!("{:?}", subject.kind).to_ascii_lowercase(), subject.name);
            let from = if approved.is_some() { String::new() } else { format!(" {} present", short(&last)) };
            format!("\n  and {more} lines more: enact diff {place}{from} --namespace {}", cluster.namespace)
        }
    };
    Ok(format!("  {since}:\n{}{rest}", lines.join("\n")))
}

/// Where the content stands with people.
async fn standing(cluster: &Cluster, subject: &Subject, content: &Content, digest: &str) -> String {
    let policy = &content.policy;
    if policy.required == 0 && policy.with_findings.is_empty() {
        return "  its policy asks for no approval".into();
    }
    let fields = format!("spec.subject.kind={:?},spec.subject.name={}", subject.kind, subject.name);
    let known = match cluster.api::<Approval>().list(&ListParams::default().fields(&fields)).await {
        Ok(known) => known,
        // Whoever may create an Approval need not be allowed to list them.
        Err(error) => return format!("  who has decided so far cannot be told: {:#}", told(error)),
    };
    let decisions: Vec<Decision> = known.iter().filter_map(convert::decision).collect();
    let subject = approval::Content {
        digest: digest.to_owned().into(),
        author: content.author.clone(),
        // The first of the findings is the worst.
        worst: content.findings.first().map(|finding| finding.severity.into()),
    };
    let verdict = evaluate(&policy.into(), &subject, &decisions, Millis(Timestamp::now().as_millisecond()));
    let but = if policy.four_eyes { ", and not the author" } else { "" };
    match verdict {
        Verdict::Approved { people, .. } => {
            format!("  enough people have approved it: {}", one_line(&people.join(", ")))
        }
        Verdict::Rejected { user, comment } => {
            format!("  it stands rejected by {}: {}", one_line(&user), one_line(&comment))
        }
        Verdict::Waiting(demand) => format!("  {}{but}", one_line(&demand.to_string())),
    }
}

async fn look_at(cluster: &Cluster, subject: &Subject) -> Result<Content> {
    let name = subject.name.as_str();
    match subject.kind {
        SubjectKind::Constitution => cluster.get::<Constitution>(name).await.map(of_constitution),
        SubjectKind::Specification => cluster.get::<Specification>(name).await.map(of_specification),
        SubjectKind::Plan => cluster.get::<Plan>(name).await.map(of_plan),
    }
}

fn author<K: Resource>(object: &K) -> Option<String> {
    object.annotations().get(ANNOTATION_AUTHOR).cloned()
}

fn of_constitution(constitution: Constitution) -> Content {
    let author = author(&constitution);
    let status = constitution.status.unwrap_or_default();
    let version = status.version.map_or_else(String::new, |version| format!("version {}, ", one_line(&version)));
    Content {
        digest: status.digest,
        approved: status.approved_digest,
        observed: status.observed_generation,
        generation: constitution.metadata.generation,
        author,
        policy: constitution.spec.approval,
        summary: format!("{version}{} principles", status.principles),
        source: Some(constitution.spec.source),
        findings: status.top_findings,
    }
}

fn of_specification(specification: Specification) -> Content {
    let author = author(&specification);
    let status = specification.status.unwrap_or_default();
    Content {
        digest: status.digest,
        approved: status.approved_digest,
        observed: status.observed_generation,
        generation: specification.metadata.generation,
        author,
        policy: specification.spec.approval,
        summary: format!(
            "“{}”, {} stories, {} requirements, {} open questions",
            one_line(status.title.as_deref().unwrap_or("untitled")),
            status.stories,
            status.requirements,
            status.open_questions
        ),
        source: specification.spec.source,
        findings: status.top_findings,
    }
}

fn of_plan(plan: Plan) -> Content {
    let author = author(&plan);
    let status = plan.status.unwrap_or_default();
    let spec = plan.spec;
    let tasks = spec.tasks.len().max(status.tasks.total as usize);
    let tasks = if tasks > 0 { format!("{tasks} tasks") } else { "the tasks of its tasks.md".into() };
    let place = spec.workspace.as_ref().map_or_else(String::new, |w| format!(" on {}", one_line(&w.url)));
    let serves = spec.specification_ref.as_ref().map_or_else(String::new, |s| format!(" for Specification {}", s.name));
    Content {
        digest: status.digest,
        approved: status.approved_digest,
        observed: status.observed_generation,
        generation: plan.metadata.generation,
        author,
        policy: spec.approval,
        summary: format!("{tasks} by agent {}{place}{serves}", spec.agent_ref.name),
        source: spec.source,
        findings: status.top_findings,
    }
}
