//! `approve` and `reject`: a person's decision on the content of an object.

use std::io;

use anyhow::{Context as _, Result, bail};
use enact_crds::approval::{ApprovalSpec, Choice, Subject, SubjectKind};
use enact_crds::common::{ApprovalPolicy, Budget};
use enact_crds::document::{Finding, Source};
use enact_crds::plan::{Execution, PlanAgent, PlanEstimate};
use enact_crds::subject::Approvable as _;
use enact_crds::task::TaskTemplate;
use enact_crds::{Approval, Constitution, Plan, PlanSpec, Specification, convert};
use enact_domain::approval::authors::Authors;
use enact_domain::approval::{self, Decision, Verdict, evaluate};
use enact_domain::names::ANNOTATION_AUTHOR;
use enact_domain::time::Millis;
use jiff::Timestamp;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Resource, ResourceExt as _};

use crate::args::{Approve, Decide};
use crate::cluster::{Cluster, api_error};
use crate::history::{difference, planned, recorded, short};
use crate::record::Record;
use crate::subject::{handle, resolve, title};
use crate::terminal::{self, Paint, note};
use crate::text::{amount, one_line, some};
use crate::{estimate, replan};

/// Most findings to show.
const MAX_FINDINGS: usize = 5;
/// Most tasks with competing attempts to name.
const MAX_CONTESTS: usize = 5;
/// Most lines of a difference to show.
const MAX_DIFF_LINES: usize = 200;

/// The facts that a person sees before the decision.
#[derive(Debug, Default)]
struct Content {
    uid: Option<String>,
    digest: Option<String>,
    approved: Option<String>,
    observed: Option<i64>,
    generation: Option<i64>,
    /// Who changed it last.
    author: Option<String>,
    /// Whom four eyes exclude.
    authors: Authors,
    policy: ApprovalPolicy,
    summary: String,
    source: Option<Source>,
    /// For a plan: the planner whose proposal it is.
    planner: Option<String>,
    /// For a plan: its Agents, whose contents the digest covers.
    agents: Vec<PlanAgent>,
    /// For a plan: the budgets in its spec.
    budgets: Vec<String>,
    /// For a plan whose agents use models.
    estimate: Option<PlanEstimate>,
    findings: Vec<Finding>,
    /// Number of accepted findings.
    accepted: u32,
}

/// Approves the content of an object.
pub async fn approve(cluster: &Cluster, options: &Approve) -> Result<()> {
    let cap = if options.estimate {
        Cap::Estimate
    } else if options.budget.is_some() || options.token_budget.is_some() {
        Cap::Budget(Budget { tokens: options.token_budget, usd: options.budget.clone() })
    } else {
        Cap::Open
    };
    let subject = resolve(cluster, &options.decide.subject).await?;
    if !matches!(cap, Cap::Open) && subject.kind != SubjectKind::Plan {
        bail!("only the approval of a Plan can have a budget; omit --budget, --token-budget and --estimate");
    }
    decide(cluster, &subject, &options.decide, Choice::Approve, &cap).await
}

/// The budget of an Approval, as the command line gives it.
enum Cap {
    /// None is given. A person on a terminal is asked.
    Open,
    Budget(Budget),
    /// The upper bound of the plan's estimate.
    Estimate,
}

impl Cap {
    /// Returns the budget.
    ///
    /// # Errors
    /// When the plan has no estimate that could be the budget.
    fn budget(&self, content: &Content, subject: &str) -> Result<Option<Budget>> {
        match self {
            Self::Open => Ok(None),
            Self::Budget(budget) => Ok(Some(budget.clone())),
            Self::Estimate => match content.estimate.as_ref().and_then(convert::cap) {
                Some(cap) => Ok(Some(cap)),
                None => bail!(
                    "{subject} has no estimate whose upper bound could be its budget{}; use --budget or --token-budget",
                    content
                        .estimate
                        .as_ref()
                        .map_or_else(String::new, |known| format!(": it is {}", estimate::describe(known)))
                ),
            },
        }
    }

    /// Asks a person on a terminal whether the upper bound of the estimate is the budget, if the command line gives none.
    fn propose(&self, content: &Content, options: &Decide) -> Result<Option<Budget>> {
        let cap = content.estimate.as_ref().and_then(convert::cap);
        let Some(cap) = cap.filter(|_| matches!(self, Self::Open) && !options.yes && terminal::is_interactive()) else {
            return Ok(None);
        };
        let question = format!("Limit the plan to {}, the upper bound of its estimate?", amount(&cap));
        Ok(terminal::confirm(&question)?.then_some(cap))
    }
}

/// Rejects the content of an object.
pub async fn reject(cluster: &Cluster, options: &Decide) -> Result<()> {
    if options.comment.as_deref().unwrap_or_default().trim().is_empty() {
        bail!("a rejection needs --comment: tell the author what to change");
    }
    let subject = resolve(cluster, &options.subject).await?;
    decide(cluster, &subject, options, Choice::Reject, &Cap::Open).await
}

/// Shows the content, asks for confirmation, and creates an Approval.
async fn decide(cluster: &Cluster, on: &Subject, options: &Decide, choice: Choice, cap: &Cap) -> Result<()> {
    let content = read(cluster, on).await?;
    let subject = title(on);
    let Some(digest) = content.digest.clone() else {
        bail!(
            "{subject} has no digest, because the operator has not read its content; run `kubectl describe {}` and read its conditions",
            handle(on)
        );
    };
    // The digest in the status belongs to an older generation then, and the person would decide on old content.
    if content.observed != content.generation {
        bail!("{subject} was changed, and the operator has not read the change yet; try again in a few seconds");
    }
    // A script passes the digest that was reviewed, so that it cannot approve newer content.
    if let Some(wanted) = options.digest.as_ref().filter(|wanted| !digest.starts_with(wanted.as_str())) {
        bail!("the content of {subject} is now {digest}, not {wanted}; review the new content");
    }
    let budget = cap.budget(&content, &subject)?;
    note(&format!("{subject} in namespace {}: {}", cluster.namespace, content.summary));
    for line in card(cluster, on, &content, &digest) {
        note(&line);
    }
    let changes = Box::pin(changes(cluster, on, &content, &digest)).await;
    terminal::note_text(&format!("{}\n", changes.trim_end()));
    note(&approval_state(cluster, on, &content, &digest).await);
    let budget = match choice {
        Choice::Approve if budget.is_none() => cap.propose(&content, options)?,
        _ => budget,
    };
    let question = match (choice, &budget) {
        (Choice::Reject, _) => "Reject this content?".to_owned(),
        (Choice::Approve, None) => "Approve this content?".to_owned(),
        (Choice::Approve, Some(budget)) => format!("Approve this content with a budget of {}?", amount(budget)),
    };
    if !options.yes && !terminal::confirm(&question)? {
        bail!("the decision was not confirmed; nothing was changed");
    }
    let approval = Approval {
        metadata: ObjectMeta {
            // Several people decide on one object, and one person may decide more than once, so the API server generates the name.
            generate_name: Some(format!("{}-", on.name.trim_end_matches(['-', '.']))),
            ..ObjectMeta::default()
        },
        // The webhook stamps `by` from the request.
        spec: ApprovalSpec {
            subject: on.clone(),
            // The object that was shown. The webhook refuses the decision if another one has its name by now.
            subject_uid: content.uid.clone(),
            digest,
            decision: choice,
            comment: options.comment.clone().unwrap_or_default(),
            budget,
            by: None,
        },
        status: None,
    };
    let created = cluster
        .api::<Approval>()
        .create(&PostParams::default(), &approval)
        .await
        .map_err(api_error)
        .with_context(|| format!("the decision on {subject} was not recorded"))?;
    let done = if choice == Choice::Approve { "approved" } else { "rejected" };
    let by = created.spec.by.as_ref().map_or_else(String::new, |by| format!(" by {}", one_line(&by.user)));
    terminal::print_line(&format!("{subject} {done}{by} ({})", created.name_any()))
}

/// Returns the lines that describe the content.
fn card(cluster: &Cluster, subject: &Subject, content: &Content, digest: &str) -> Vec<String> {
    let before = match &content.approved {
        Some(approved) if approved == digest => " (already approved)".to_owned(),
        Some(approved) => format!(" (approved before: {})", short(approved)),
        None => String::new(),
    };
    let mut lines = vec![format!("  content {}{before}", short(digest))];
    if let Some(author) = &content.author {
        lines.push(format!("  by {}", one_line(author)));
    }
    lines.extend(content.agents.iter().map(|agent| agent_line(agent, &cluster.namespace)));
    lines.extend(content.estimate.iter().map(|estimate| format!("  estimate: {}", estimate::describe(estimate))));
    lines.extend(content.budgets.iter().map(|budget| format!("  {budget}")));
    for finding in content.findings.iter().take(MAX_FINDINGS) {
        let Finding { line, severity, message, remedy, .. } = finding;
        lines.push(format!("  line {line}: {}", one_line(&format!("{severity:?}: {message}; {remedy}"))));
    }
    if content.findings.len() > MAX_FINDINGS {
        lines.push(format!("  and {} more findings", content.findings.len() - MAX_FINDINGS));
    }
    let namespace = format!("--namespace {}", cluster.namespace);
    lines.extend(accepted(cluster, subject, content.accepted));
    lines.push(match &content.source {
        Some(Source { config_map_key_ref: Some(key), .. }) => {
            format!(
                "  read it: kubectl get configmap {} {namespace} -o yaml (key {})",
                one_line(&key.name),
                one_line(&key.key)
            )
        }
        Some(_) => {
            let kind = format!("{:?}", subject.kind).to_ascii_lowercase();
            format!("  read it: kubectl get {kind} {} {namespace} -o jsonpath='{{.spec.source.inline}}'", subject.name)
        }
        None => match &content.planner {
            Some(agent) => {
                format!(
                    "  read it: kubectl enact show plan/{} --proposal {} {namespace}",
                    subject.name,
                    one_line(agent)
                )
            }
            None => format!("  read it: kubectl get plan {} {namespace} -o yaml", subject.name),
        },
    });
    lines
}

/// Returns the line about an Agent, whose content a person reviews with the plan.
fn agent_line(agent: &PlanAgent, namespace: &str) -> String {
    let by = agent.author.as_ref().map_or_else(String::new, |author| format!(" by {}", one_line(author)));
    let of_providers = match agent.provider_authors.as_slice() {
        [] => String::new(),
        authors => format!(", its ModelProviders by {}", one_line(&authors.join(", "))),
    };
    let namespace = agent.namespace.as_deref().unwrap_or(namespace);
    let name = one_line(&agent.name);
    format!(
        "  Agent {name} {}{by}{of_providers}: kubectl get agent {name} --namespace {namespace} -o yaml",
        short(&agent.digest)
    )
}

/// Returns the line about accepted findings, which an approval covers. A Plan's are in its content.
fn accepted(cluster: &Cluster, subject: &Subject, number: u32) -> Option<String> {
    let what = match number {
        0 => return None,
        1 => "1 finding is accepted".to_owned(),
        n => format!("{n} findings are accepted"),
    };
    let (handle, namespace) = (handle(subject), &cluster.namespace);
    Some(match subject.kind {
        SubjectKind::Plan => {
            format!("  {what}, with who accepted them: kubectl enact show {handle} --namespace {namespace}")
        }
        _ => format!("  {what}: kubectl enact show {handle} --findings --namespace {namespace}"),
    })
}

/// Returns the difference between the content and the one that was approved last, without terminal control characters. If there is no
/// difference to show, it returns the reason: the person can still decide.
async fn changes(cluster: &Cluster, subject: &Subject, content: &Content, digest: &str) -> String {
    compared(cluster, subject, content.approved.as_deref(), digest).await.unwrap_or_else(|problem| {
        let why = one_line(&format!("{problem:#}"));
        format!("  the difference from the content that was approved last cannot be shown: {why}")
    })
}

async fn compared(cluster: &Cluster, subject: &Subject, approved: Option<&str>, digest: &str) -> Result<String> {
    const NOTHING: &str = "  nothing was approved before";
    const SAME: &str = "  it does not differ from the content that was approved last";
    let is_plan = subject.kind == SubjectKind::Plan;
    match approved {
        None if !is_plan => return Ok(NOTHING.into()),
        Some(approved) if approved == digest => return Ok(SAME.into()),
        _ => {}
    }
    let record = Record::open(cluster).await?;
    // A Plan is recorded when it starts, and it starts after its approval. So every recorded Plan of this name was approved.
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
    let shown = difference(&before, &after, Paint::for_stream(&io::stderr()));
    let (lines, all) = (shown.lines().take(MAX_DIFF_LINES).collect::<Vec<_>>(), shown.lines().count());
    let rest = match all.saturating_sub(MAX_DIFF_LINES) {
        0 => String::new(),
        more => {
            let from = if approved.is_some() { String::new() } else { format!(" {} present", short(&last)) };
            format!(
                "\n  {more} more lines: kubectl enact diff {}{from} --namespace {}",
                handle(subject),
                cluster.namespace
            )
        }
    };
    Ok(format!("  {since}:\n{}{rest}", lines.join("\n")))
}

/// Returns the decisions of people on the object with this UID.
pub async fn decisions_on(cluster: &Cluster, subject: &Subject, uid: Option<&str>) -> Result<Vec<Decision>> {
    let fields = format!("spec.subject.kind={:?},spec.subject.name={}", subject.kind, subject.name);
    let known = cluster.api::<Approval>().list(&ListParams::default().fields(&fields)).await.map_err(api_error)?;
    let is_about = |a: &&Approval| a.spec.is_about(subject.kind, &subject.name, uid);
    Ok(known.iter().filter(is_about).filter_map(convert::decision).collect())
}

/// Returns a line about the approvals and rejections of the content.
async fn approval_state(cluster: &Cluster, subject: &Subject, content: &Content, digest: &str) -> String {
    let policy = &content.policy;
    if policy.required == 0 && policy.with_findings.is_empty() {
        return "  spec.approval requires no approval; the minimum of the Tenant applies".into();
    }
    let decisions = match decisions_on(cluster, subject, content.uid.as_deref()).await {
        Ok(decisions) => decisions,
        // A person may have the right to create Approvals without the right to list them.
        Err(error) => return format!("  the decisions so far cannot be listed: {error:#}"),
    };
    let subject = approval::Content {
        digest: digest.to_owned().into(),
        authors: content.authors.clone(),
        // The operator sorts the findings, the worst first.
        worst: content.findings.first().map(|finding| finding.severity.into()),
    };
    let verdict = evaluate(&policy.into(), &subject, &decisions, Millis(Timestamp::now().as_millisecond()));
    let four_eyes = if policy.four_eyes { ", not by an author" } else { "" };
    match verdict {
        Verdict::Approved { people, .. } => {
            format!("  it has all required approvals: {}", one_line(&people.join(", ")))
        }
        Verdict::Rejected { user, comment } => {
            format!("  it is rejected by {}: {}", one_line(&user), one_line(&comment))
        }
        Verdict::Waiting(demand) => format!("  {}{four_eyes}", one_line(&demand.to_string())),
    }
}

async fn read(cluster: &Cluster, subject: &Subject) -> Result<Content> {
    let name = subject.name.as_str();
    match subject.kind {
        SubjectKind::Constitution => cluster.get::<Constitution>(name).await.map(constitution),
        SubjectKind::Specification => cluster.get::<Specification>(name).await.map(specification),
        SubjectKind::Plan => cluster.get::<Plan>(name).await.map(plan),
    }
}

fn author<K: Resource>(object: &K) -> Option<String> {
    object.annotations().get(ANNOTATION_AUTHOR).cloned()
}

fn constitution(constitution: Constitution) -> Content {
    let (author, authors) = (author(&constitution), constitution.authors());
    let status = constitution.status.unwrap_or_default();
    let version = status.version.map_or_else(String::new, |version| format!("version {}, ", one_line(&version)));
    Content {
        uid: constitution.metadata.uid,
        digest: status.digest,
        approved: status.approved_digest,
        observed: status.observed_generation,
        generation: constitution.metadata.generation,
        author,
        authors,
        policy: constitution.spec.approval,
        summary: format!("{version}{} principles", status.principles),
        source: Some(constitution.spec.source),
        planner: None,
        agents: Vec::new(),
        budgets: Vec::new(),
        estimate: None,
        accepted: status.findings.accepted,
        findings: status.top_findings,
    }
}

fn specification(specification: Specification) -> Content {
    let (author, authors) = (author(&specification), specification.authors());
    let status = specification.status.unwrap_or_default();
    Content {
        uid: specification.metadata.uid,
        digest: status.digest,
        approved: status.approved_digest,
        observed: status.observed_generation,
        generation: specification.metadata.generation,
        author,
        authors,
        policy: specification.spec.approval,
        summary: format!(
            "“{}”, {} stories, {} requirements, {} open questions",
            one_line(status.title.as_deref().unwrap_or("untitled")),
            status.stories,
            status.requirements,
            status.open_questions
        ),
        source: specification.spec.source,
        planner: None,
        agents: Vec::new(),
        budgets: Vec::new(),
        estimate: None,
        accepted: status.findings.accepted,
        findings: status.top_findings,
    }
}

fn plan(plan: Plan) -> Content {
    let (author, authors) = (author(&plan), plan.authors());
    let status = plan.status.unwrap_or_default();
    let spec = plan.spec;
    let tasks = spec.tasks.len().max(status.tasks.total as usize);
    let tasks = if tasks > 0 { format!("{tasks} tasks") } else { "the tasks in its tasks.md".into() };
    let repository = spec.workspace.as_ref().map_or_else(String::new, |w| format!(" on {}", one_line(&w.url)));
    let specification =
        spec.specification_ref.as_ref().map_or_else(String::new, |s| format!(" for Specification {}", s.name));
    let replaced =
        replan::summary(&spec, status.replaced.as_ref()).map_or_else(String::new, |text| format!("; {text}"));
    let summary = format!("{tasks} by {}{repository}{specification}{replaced}", agents(&spec));
    Content {
        uid: plan.metadata.uid,
        digest: status.digest,
        approved: status.approved_digest,
        observed: status.observed_generation,
        generation: plan.metadata.generation,
        author,
        authors,
        policy: spec.approval,
        summary,
        source: spec.source,
        planner: status.generated.map(|generated| generated.agent),
        agents: status.agents,
        budgets: budgets(&spec.execution),
        estimate: status.estimate,
        accepted: status.accepted_findings,
        findings: status.top_findings,
    }
}

/// Returns the agents of a plan's tasks for a sentence.
fn agents(spec: &PlanSpec) -> String {
    let pool: Vec<&str> = spec.agents.iter().map(|member| member.name.as_str()).collect();
    let agents = match &spec.agent_ref {
        Some(agent) => format!("Agent {}", agent.name),
        None => format!("the best of the Agents {}", pool.join(", ")),
    };
    let contests: Vec<String> = spec.tasks.iter().filter_map(contest).collect();
    let contests: Vec<&str> = contests.iter().map(String::as_str).collect();
    if contests.is_empty() { agents } else { format!("{agents}; {}", some(&contests, MAX_CONTESTS)) }
}

/// Returns the competing attempts of a task for a sentence.
fn contest(task: &TaskTemplate) -> Option<String> {
    let attempts = task.attempts.as_ref()?;
    let by = if attempts.agents.is_empty() {
        String::new()
    } else {
        format!(" by the Agents {}", one_line(&attempts.agents.join(", ")))
    };
    Some(format!("the best of {} attempts at {}{by}", attempts.best_of, task.id))
}

/// Returns a line for each budget of a plan.
fn budgets(execution: &Execution) -> Vec<String> {
    let all = [
        ("the plan", &execution.budget),
        ("each task", &execution.task_budget),
        ("each attempt", &execution.attempt_budget),
    ];
    all.into_iter()
        .filter_map(|(what, budget)| Some(format!("budget of {what}: {}", amount(budget.as_ref()?))))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_the_content_of_agents() {
        let mut agent =
            PlanAgent { name: "coder".into(), digest: format!("sha256:{}", "0".repeat(64)), ..PlanAgent::default() };
        assert_eq!(
            agent_line(&agent, "demo"),
            "  Agent coder 000000000000: kubectl get agent coder --namespace demo -o yaml"
        );
        (agent.author, agent.namespace) = (Some("bob".into()), Some("enact-system".into()));
        assert_eq!(
            agent_line(&agent, "demo"),
            "  Agent coder 000000000000 by bob: kubectl get agent coder --namespace enact-system -o yaml"
        );
        agent.provider_authors = vec!["eve".into(), "mia".into()];
        let line = agent_line(&agent, "demo");
        assert!(line.contains("by bob, its ModelProviders by eve, mia: kubectl get agent coder"), "{line}");
    }

    #[test]
    fn names_the_agents_of_contests() {
        let tasks = json!([
            {"id": "T001", "title": "a"},
            {"id": "T002", "title": "b", "attempts": {"bestOf": 3, "agents": ["coder", "cheap"]}},
            {"id": "T003", "title": "c", "attempts": {"bestOf": 2}},
        ]);
        let spec = json!({"agentRef": {"name": "coder"}, "tasks": tasks});
        assert_eq!(
            agents(&serde_json::from_value(spec).unwrap()),
            "Agent coder; the best of 3 attempts at T002 by the Agents coder, cheap, the best of 2 attempts at T003"
        );
        let pool = json!({"agents": [{"name": "a"}, {"name": "b"}], "tasks": [{"id": "T001", "title": "a"}]});
        assert_eq!(agents(&serde_json::from_value(pool).unwrap()), "the best of the Agents a, b");
    }
}
