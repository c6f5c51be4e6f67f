//! The state of a plan at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use enact_crds::approval::SubjectKind;
use enact_crds::common::{ApprovalPolicy, Condition, Time};
use enact_crds::subject::Approvable;
use enact_crds::task::{ContestStatus, Phase, TaskTemplate};
use enact_crds::{Approval, Plan, Specification, Task, convert, plan};
use enact_domain::analysis::Severity;
use enact_domain::approval::{Content, Decision, Policy, Verdict, evaluate};
use enact_domain::condition::{READY, STALLED, waits_for_people};
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::speckit::TaskId;
use enact_domain::time::Millis;
use enact_domain::waiting::Waiting;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::ListParams;

use crate::cluster::{Cluster, api_error};
use crate::usage::TaskUsage;

/// A plan and the objects that are shown with it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub plan: Plan,
    /// The specification of the plan, if it names one that exists.
    pub specification: Option<Specification>,
    /// The Tasks of the plan that exist.
    pub tasks: Vec<Arc<Task>>,
    /// All Approvals in the namespace.
    pub approvals: Vec<Arc<Approval>>,
    /// The model requests of tasks, by the name of the Task, as far as they were read from the record.
    pub usage: BTreeMap<String, TaskUsage>,
}

/// The state of one task.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The task in the plan.
    pub work: &'a TaskTemplate,
    pub phase: Phase,
    /// Creation of the Task.
    pub created: Option<&'a Time>,
    /// Number of attempts that were started.
    pub attempts: u32,
    /// Start of the last attempt.
    pub started: Option<&'a Time>,
    /// End of the task.
    pub finished: Option<&'a Time>,
    /// Earliest start of the next attempt.
    pub retry_at: Option<&'a Time>,
    /// The condition `Ready`.
    pub ready: Option<&'a Condition>,
    /// The competing attempts, if there are any.
    pub contest: Option<&'a ContestStatus>,
    /// What contradicts the result of an attempt.
    pub contradiction: Option<&'a str>,
    /// IDs of unfinished dependencies.
    pub waits_for: Vec<&'a str>,
    /// Why the plan waits.
    pub plan_waits: Option<Waiting>,
    /// Its model requests, if they were read.
    pub usage: Option<&'a TaskUsage>,
}

/// The approval of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApprovalState {
    /// The operator has not read the content yet.
    NotRead,
    /// The object needs no approval.
    NotRequired,
    /// The policy of the object is satisfied, and the operator waits for what the Tenant requires at least.
    MinimumOfTenant(Digest),
    /// The verdict of all decisions on the content with this digest.
    Decided(Digest, Verdict),
    /// There are enough approvals of the content with this digest, and the operator has not counted them yet.
    NotCounted(Digest),
    /// The plan has started with the content with this digest. Later changes of approvals make no difference.
    Started(Digest),
}

/// What the status of an object says about its approval.
struct Seen<'a> {
    digest: Option<&'a str>,
    worst: Option<Severity>,
    /// The condition `Ready`.
    ready: Option<&'a Condition>,
    /// Whether a plan has started with this content.
    started: bool,
}

/// The end of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    /// The plan failed or is stalled, with the reason.
    Failed(String),
}

impl Snapshot {
    /// Reads the plan and the objects that are shown with it.
    pub async fn fetch(cluster: &Cluster, name: &str) -> Result<Self> {
        let plan: Plan = cluster.get(name).await?;
        let (tasks, approvals) = (cluster.api::<Task>(), cluster.api::<Approval>());
        let of_plan = ListParams::default().fields(&format!("spec.planRef.name={name}"));
        let all = ListParams::default();
        let (tasks, approvals) = futures::try_join!(tasks.list(&of_plan), approvals.list(&all)).map_err(api_error)?;
        let specification = match &plan.spec.specification_ref {
            Some(reference) => cluster.api::<Specification>().get_opt(&reference.name).await.map_err(api_error)?,
            None => None,
        };
        let tasks = tasks.items.into_iter().map(Arc::new).collect();
        let approvals = approvals.items.into_iter().map(Arc::new).collect();
        Ok(Self { plan, specification, tasks, approvals, usage: BTreeMap::new() })
    }

    /// Returns whether a task may use models now.
    pub fn uses_models(&self) -> bool {
        let uses = self.plan.status.as_ref().is_some_and(|status| status.usage.is_some());
        uses && self.tasks.iter().any(|task| phase_of(task) == Phase::Running)
    }

    /// Returns every task in the order of the plan, including tasks without a Task object.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let objects: BTreeMap<&str, &Task> =
            self.tasks.iter().map(|task| (task.spec.work.id.as_str(), task.as_ref())).collect();
        let mut works: Vec<&TaskTemplate> = self.plan.spec.tasks.iter().collect();
        // The tasks of a plan with a tasks.md are only known from their objects.
        if works.is_empty() {
            works = objects.values().map(|task| &task.spec.work).collect();
            works.sort_by_cached_key(|work| (TaskId::parse(&work.id), work.id.clone()));
        }
        let done: BTreeSet<&str> =
            objects.iter().filter(|(_, task)| phase_of(task) == Phase::Succeeded).map(|(id, _)| *id).collect();
        works.into_iter().map(|work| self.row(work, objects.get(work.id.as_str()).copied(), &done)).collect()
    }

    fn row<'a>(&'a self, work: &'a TaskTemplate, object: Option<&'a Task>, done: &BTreeSet<&str>) -> Row<'a> {
        let status = object.and_then(|task| task.status.as_ref());
        Row {
            work,
            phase: status.map(|status| status.phase).unwrap_or_default(),
            created: object.and_then(|task| task.metadata.creation_timestamp.as_ref()),
            attempts: status.map(|status| status.attempts).unwrap_or_default(),
            started: status.and_then(|status| status.started_at.as_ref()),
            finished: status.and_then(|status| status.finished_at.as_ref()),
            retry_at: status.and_then(|status| status.retry_at.as_ref()),
            ready: status.and_then(|status| condition(&status.conditions, READY)),
            contest: status.and_then(|status| status.contest.as_ref()),
            contradiction: status.and_then(|status| status.contradiction.as_deref()),
            waits_for: work.depends_on.iter().map(String::as_str).filter(|id| !done.contains(id)).collect(),
            plan_waits: self.plan.status.as_ref().and_then(|status| status.waiting.as_ref()).map(convert::waiting),
            usage: object.and_then(|task| self.usage.get(&task.name_any())),
        }
    }

    pub fn plan_approval(&self, now: Timestamp) -> ApprovalState {
        let seen = self.plan.status.as_ref().map(|s| Seen {
            digest: s.digest.as_deref(),
            worst: convert::worst_of(&s.top_findings),
            ready: condition(&s.conditions, READY),
            started: s.started_at.is_some() && s.digest.is_some() && s.digest == s.approved_digest,
        });
        self.approval(SubjectKind::Plan, &self.plan, &self.plan.spec.approval, seen.as_ref(), now)
    }

    pub fn specification_approval(&self, specification: &Specification, now: Timestamp) -> ApprovalState {
        let seen = specification.status.as_ref().map(|s| Seen {
            digest: s.digest.as_deref(),
            worst: convert::worst(&s.findings),
            ready: condition(&s.conditions, READY),
            started: false,
        });
        self.approval(SubjectKind::Specification, specification, &specification.spec.approval, seen.as_ref(), now)
    }

    fn approval<K: Approvable>(
        &self,
        kind: SubjectKind,
        subject: &K,
        policy: &ApprovalPolicy,
        seen: Option<&Seen<'_>>,
        now: Timestamp,
    ) -> ApprovalState {
        let policy = Policy::from(policy);
        let Some(&Seen { digest: Some(digest), worst, ready, started }) = seen else {
            return if policy.requires_people() { ApprovalState::NotRead } else { ApprovalState::NotRequired };
        };
        let digest = Digest::from(digest.to_owned());
        let waits = ready.is_some_and(|ready| ready.reason == "WaitingForApproval");
        if !policy.requires_people() {
            return if waits { ApprovalState::MinimumOfTenant(digest) } else { ApprovalState::NotRequired };
        }
        let name = subject.name_any();
        let on_subject = |approval: &&Arc<Approval>| approval.spec.is_about(kind, &name, subject.meta().uid.as_deref());
        let decisions: Vec<Decision> =
            self.approvals.iter().filter(on_subject).filter_map(|a| convert::decision(a)).collect();
        let content = Content { digest: digest.clone(), authors: subject.authors(), worst };
        // The operator decides. Its condition can be older than the Approvals that were just read, and must not contradict them.
        match evaluate(&policy, &content, &decisions, Millis(now.as_millisecond())) {
            Verdict::Approved { .. } if waits => ApprovalState::NotCounted(digest),
            Verdict::Waiting(_) | Verdict::Rejected { .. } if started => ApprovalState::Started(digest),
            verdict => ApprovalState::Decided(digest, verdict),
        }
    }

    /// Returns the condition `Ready` of the plan.
    pub fn ready(&self) -> Option<&Condition> {
        condition(&self.plan.status.as_ref()?.conditions, READY)
    }

    /// Returns the end of the plan. Returns none while the plan can continue, if only after a decision of a person, and while the operator
    /// has not started an attempt that a person has requested.
    pub fn outcome(&self) -> Option<Outcome> {
        let status = self.plan.status.as_ref()?;
        // The operator copies the annotation to `observedRerun` when it reopens the work for the attempt. Until then, the phase is that
        // of the previous attempt.
        if status.phase != plan::Phase::Cancelled && self.has_rerun_request() {
            return None;
        }
        // A condition of an older generation says nothing about the current spec.
        let current = status.observed_generation == self.plan.metadata.generation;
        let stalled = condition(&status.conditions, STALLED)
            .filter(|condition| current && condition.status == "True" && !waits_for_people(&condition.reason));
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

    fn has_rerun_request(&self) -> bool {
        let observed = |task: &Task| task.status.as_ref().and_then(|status| status.observed_rerun.clone());
        let integration = self.plan.status.as_ref().and_then(|status| status.integration.clone()).unwrap_or_default();
        self.tasks.iter().any(|task| requests_rerun(task.as_ref(), phase_of(task), observed(task).as_ref()))
            || requests_rerun(&self.plan, integration.phase, integration.observed_rerun.as_ref())
    }
}

/// Returns whether the annotation requests an attempt that the operator has not started yet.
fn requests_rerun<K: kube::Resource>(object: &K, phase: Phase, observed: Option<&String>) -> bool {
    let requested = object.annotations().get(names::ANNOTATION_RERUN);
    requested.is_some() && requested != observed && phase != Phase::Succeeded
}

pub fn phase_of(task: &Task) -> Phase {
    task.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// Returns the condition of a type.
pub fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}
