//! A plan and all that is shown with it, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use enact_crds::approval::SubjectKind;
use enact_crds::common::{ApprovalPolicy, Condition, Time};
use enact_crds::task::{Phase, TaskTemplate};
use enact_crds::{Approval, Plan, Specification, Task, convert, plan};
use enact_domain::analysis::Severity;
use enact_domain::approval::{Content, Decision, Verdict, evaluate};
use enact_domain::condition::{READY, STALLED};
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::speckit::TaskId;
use enact_domain::time::Millis;
use jiff::Timestamp;
use kube::ResourceExt as _;

/// A plan and all that is shown with it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The plan.
    pub plan: Plan,
    /// Its specification, when it names one that exists.
    pub specification: Option<Specification>,
    /// Its tasks, as far as they exist.
    pub tasks: Vec<Arc<Task>>,
    /// The decisions of people in its namespace.
    pub approvals: Vec<Arc<Approval>>,
}

/// What is shown of one task.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// What the plan says of it.
    pub work: &'a TaskTemplate,
    /// Where it stands.
    pub phase: Phase,
    /// Attempts that were started.
    pub attempts: u32,
    /// When the last attempt began.
    pub started: Option<&'a Time>,
    /// When the task was finished.
    pub finished: Option<&'a Time>,
    /// When the next attempt may begin.
    pub retry_at: Option<&'a Time>,
    /// Its condition `Ready`.
    pub ready: Option<&'a Condition>,
    /// What it depends on and is not done.
    pub waits_for: Vec<&'a str>,
}

/// Where an object that people approve stands with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The operator has not looked at the content yet.
    Unseen,
    /// Nobody is asked.
    Unasked,
    /// What the decisions come to, at this digest.
    Decided(Digest, Verdict),
}

/// How a plan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is done.
    Succeeded,
    /// Nothing goes on, for this reason.
    Failed(String),
}

impl Snapshot {
    /// Every task in the plan's order, whether its object exists or not.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let objects: BTreeMap<&str, &Task> =
            self.tasks.iter().map(|task| (task.spec.work.id.as_str(), task.as_ref())).collect();
        let mut works: Vec<&TaskTemplate> = self.plan.spec.tasks.iter().collect();
        if works.is_empty() {
            works = objects.values().map(|task| &task.spec.work).collect();
            works.sort_by_cached_key(|work| (TaskId::parse(&work.id), work.id.clone()));
        }
        let done: BTreeSet<&str> =
            objects.iter().filter(|(_, task)| phase_of(task) == Phase::Succeeded).map(|(id, _)| *id).collect();
        works.into_iter().map(|work| row(work, objects.get(work.id.as_str()).copied(), &done)).collect()
    }

    /// Where the plan stands with people.
    pub fn plan_standing(&self, now: Timestamp) -> Standing {
        let seen = self.plan.status.as_ref().map(|s| (s.digest.as_deref(), None));
        self.standing(SubjectKind::Plan, &self.plan, &self.plan.spec.approval, seen, now)
    }

    /// Where the specification stands with people.
    pub fn specification_standing(&self, specification: &Specification, now: Timestamp) -> Standing {
        let seen = specification.status.as_ref().map(|s| (s.digest.as_deref(), convert::worst(&s.findings)));
        self.standing(SubjectKind::Specification, specification, &specification.spec.approval, seen, now)
    }

    fn standing<K: kube::Resource>(
        &self,
        kind: SubjectKind,
        subject: &K,
        policy: &ApprovalPolicy,
        seen: Option<(Option<&str>, Option<Severity>)>,
        now: Timestamp,
    ) -> Standing {
        if policy.required == 0 && policy.with_findings.is_empty() {
            return Standing::Unasked;
        }
        let Some((Some(digest), worst)) = seen else { return Standing::Unseen };
        let digest = Digest::from(digest.to_owned());
        let name = subject.name_any();
        let on_it =
            |approval: &&Arc<Approval>| approval.spec.subject.kind == kind && approval.spec.subject.name == name;
        let decisions: Vec<Decision> =
            self.approvals.iter().filter(on_it).filter_map(|a| convert::decision(a)).collect();
        let author = subject.annotations().get(names::ANNOTATION_AUTHOR).cloned();
        let content = Content { digest: digest.clone(), author, worst };
        Standing::Decided(digest, evaluate(&policy.into(), &content, &decisions, Millis(now.as_millisecond())))
    }

    /// The plan's condition `Ready`.
    pub fn ready(&self) -> Option<&Condition> {
        condition(&self.plan.status.as_ref()?.conditions, READY)
    }

    /// How the plan ended; none while it may go on by itself, or when somebody asked for another attempt that the operator has not begun.
    pub fn outcome(&self) -> Option<Outcome> {
        let status = self.plan.status.as_ref()?;
        if status.phase != plan::Phase::Cancelled && self.is_asked_again() {
            return None;
        }
        let current = status.observed_generation == self.plan.metadata.generation;
        let stalled = condition(&status.conditions, STALLED).filter(|condition| current && condition.status == "True");
        let why = || match stalled.or(self.ready()) {
            Some(condition) => format!("{}: {}", condition.reason, condition.message),
            None => "the operator gives no reason".into(),
        };
        match status.phase {
            plan::Phase::Succeeded => Some(Outcome::Succeeded),
            plan::Phase::Failed | plan::Phase::Cancelled => {
                Some(Outcome::Failed(format!("{:?}, {}", status.phase, why())))
            }
            _ if stalled.is_some() => Some(Outcome::Failed(format!("Stalled, {}", why()))),
            _ => None,
        }
    }

    fn is_asked_again(&self) -> bool {
        let observed = |task: &Task| task.status.as_ref().and_then(|status| status.observed_rerun.clone());
        let integration = self.plan.status.as_ref().and_then(|status| status.integration.clone()).unwrap_or_default();
        self.tasks.iter().any(|task| asks(task.as_ref(), phase_of(task), observed(task).as_ref()))
            || asks(&self.plan, integration.phase, integration.observed_rerun.as_ref())
    }
}

/// Whether the annotation asks for another attempt that was not acted upon yet.
fn asks<K: kube::Resource>(object: &K, phase: Phase, observed: Option<&String>) -> bool {
    let asked = object.annotations().get(names::ANNOTATION_RERUN);
    asked.is_some() && asked != observed && phase != Phase::Succeeded
}

/// Where a task stands.
pub fn phase_of(task: &Task) -> Phase {
    task.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// The condition of this type.
pub fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

fn row<'a>(work: &'a TaskTemplate, object: Option<&'a Task>, done: &BTreeSet<&str>) -> Row<'a> {
    let status = object.and_then(|task| task.status.as_ref());
    Row {
        work,
        phase: status.map(|status| status.phase).unwrap_or_default(),
        attempts: status.map(|status| status.attempts).unwrap_or_default(),
        started: status.and_then(|status| status.started_at.as_ref()),
        finished: status.and_then(|status| status.finished_at.as_ref()),
        retry_at: status.and_then(|status| status.retry_at.as_ref()),
        ready: status.and_then(|status| condition(&status.conditions, READY)),
        waits_for: work.depends_on.iter().map(String::as_str).filter(|id| !done.contains(id)).collect(),
    }
}
