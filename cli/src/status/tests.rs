//! Tables, trees and changes of example plans.

use std::sync::Arc;

use enact_crds::approval::{ApprovalSpec, Choice, Person, Subject, SubjectKind};
use enact_crds::common::{ApprovalPolicy, Budget, Condition, FindingPolicy, LocalRef, Time, WaitingStatus};
use enact_crds::convert::millis;
use enact_crds::document::{Finding, Severity};
use enact_crds::plan::{
    self, Discarded, Integration, IntegrationStatus, PlanEstimate, PlanStatus, PlanUsage, Stale, TaskCounts, UsdRange,
    Workspace,
};
use enact_crds::specification::SpecificationStatus;
use enact_crds::task::{ContestStatus, ContestantStatus, Phase, TaskStatus, TaskTemplate};
use enact_crds::{Approval, Plan, PlanSpec, Specification, SpecificationSpec, Task, TaskSpec};
use enact_domain::names::ANNOTATION_RERUN;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::changes::changes;
use super::display::{Display, Length};
use super::snapshot::{Outcome, Snapshot};
use super::table;
use super::tree::render;
use crate::terminal::Paint;
use crate::text::width;
use crate::usage::TaskUsage;

const SPEC_DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PLAN_DIGEST: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// Returns a time `seconds` after the start.
fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_700_000_000 + seconds)
}

fn time(seconds: i64) -> Time {
    Time(at(seconds))
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: None,
        last_transition_time: time(0),
    }
}

fn work(id: &str, title: &str, phase: &str, depends_on: &[&str]) -> TaskTemplate {
    TaskTemplate {
        id: id.into(),
        title: title.into(),
        phase: Some(phase.into()),
        depends_on: depends_on.iter().map(|&id| id.into()).collect(),
        ..TaskTemplate::default()
    }
}

fn task(work: &TaskTemplate, status: TaskStatus) -> Arc<Task> {
    let spec = TaskSpec { plan_ref: LocalRef { name: "door".into() }, work: work.clone() };
    Arc::new(Task { status: Some(status), ..Task::new(&format!("door-{}", work.id), spec) })
}

fn done(start: i64, end: i64) -> TaskStatus {
    let (started_at, finished_at) = (Some(time(start)), Some(time(end)));
    TaskStatus { phase: Phase::Succeeded, attempts: 1, started_at, finished_at, ..TaskStatus::default() }
}

/// A plan with a task in every state.
fn snapshot() -> Snapshot {
    let works = vec![
        work("T001", "Hang the door", "Setup", &[]),
        work("T002", "Oil the hinge", "Setup", &["T001"]),
        work("T003", "Paint it", "Story 1", &["T002"]),
        work("T004", "Fit a lock", "Story 1", &["T002"]),
        work("T005", "Cut the keys", "Story 1", &["T004"]),
        work("T006", "Ring the bell", "Story 1", &["T002"]),
        work("T007", "Sweep up", "Polish", &["T003", "T004", "T005", "T006", "T002"]),
    ];
    let failed = TaskStatus {
        phase: Phase::Failed,
        attempts: 3,
        started_at: Some(time(70)),
        finished_at: Some(time(75)),
        conditions: vec![condition("Ready", "False", "GateFailed", "gate `fits`: exit code 1")],
        ..TaskStatus::default()
    };
    let again = TaskStatus {
        phase: Phase::Pending,
        attempts: 1,
        retry_at: Some(time(130)),
        conditions: vec![condition("Ready", "False", "Evicted", "the node ran out of memory")],
        ..TaskStatus::default()
    };
    let running =
        TaskStatus { phase: Phase::Running, attempts: 2, started_at: Some(time(60)), ..TaskStatus::default() };
    let tasks = vec![
        task(&works[1], done(8, 65)),
        task(&works[0], done(1, 7)),
        task(&works[2], running),
        task(&works[3], failed),
        task(&works[5], again),
    ];
    let mut plan = Plan::new(
        "door",
        PlanSpec {
            specification_ref: Some(LocalRef { name: "house".into() }),
            agent_ref: Some(LocalRef { name: "scripts".into() }),
            tasks: works,
            workspace: Some(Workspace { url: "https://git.example.com/door.git".into(), ..Workspace::default() }),
            approval: ApprovalPolicy {
                required: 2,
                groups: vec!["leads".into(), "owners".into()],
                ..ApprovalPolicy::default()
            },
            ..PlanSpec::default()
        },
    );
    plan.metadata.namespace = Some("home".into());
    plan.metadata.generation = Some(1);
    plan.status = Some(PlanStatus {
        observed_generation: Some(1),
        phase: plan::Phase::Running,
        digest: Some(PLAN_DIGEST.into()),
        conditions: vec![condition("Ready", "False", "Running", "2 of 7 tasks done, 1 running")],
        tasks: TaskCounts { total: 7, pending: 3, running: 1, succeeded: 2, failed: 1, retries: 3, cancelled: 0 },
        started_at: Some(time(0)),
        ..PlanStatus::default()
    });
    let mut specification = Specification::new(
        "house",
        SpecificationSpec {
            approval: ApprovalPolicy { required: 1, ..ApprovalPolicy::default() },
            ..Default::default()
        },
    );
    specification.status = Some(SpecificationStatus { digest: Some(SPEC_DIGEST.into()), ..Default::default() });
    let approvals = vec![
        approval(SubjectKind::Specification, "house", SPEC_DIGEST, "anna"),
        approval(SubjectKind::Plan, "door", PLAN_DIGEST, "lee"),
        approval(SubjectKind::Plan, "door", SPEC_DIGEST, "kim"),
    ];
    Snapshot { plan, specification: Some(specification), tasks, approvals, ..Snapshot::default() }
}

fn approval(kind: SubjectKind, name: &str, digest: &str, user: &str) -> Arc<Approval> {
    let spec = ApprovalSpec {
        subject: Subject { kind, name: name.into() },
        subject_uid: None,
        digest: digest.into(),
        decision: Choice::Approve,
        comment: String::new(),
        budget: None,
        by: Some(Person { user: user.into(), groups: vec!["leads".into()] }),
    };
    Arc::new(Approval::new(&format!("{name}-{user}"), spec))
}

fn display(width: usize, length: Length) -> Display {
    Display { paint: Paint::new(false), width, length }
}

fn shown(snapshot: &Snapshot, width: usize, length: Length) -> String {
    render(snapshot, at(125), display(width, length)).join("\n")
}

#[test]
fn tree_shows_every_phase() {
    let wanted = "\
Plan home/door  ◐ Running  2m05s
██████░░░░░░░░░░░░░░░░░░  2 of 7 done, 1 running, 1 failed, 3 retried
Specification house  ✓ approved by anna  aaaaaaaaaaaa
Plan door  ○ waits for approval by leads or owners, 1 of 2  bbbbbbbbbbbb: kubectl enact approve plan/door
Running: 2 of 7 tasks done, 1 running
├─ Setup  2/2
│  ├─ ✓ Succeeded T001      6s Hang the door
│  └─ ✓ Succeeded T002     57s Oil the hinge
├─ Story 1  0/4
│  ├─ ◐ Running   T003   1m05s Paint it  attempt 2
│  ├─ ✗ Failed    T004      5s Fit a lock  attempt 3: GateFailed: gate `fits`: exit code 1
│  ├─ ○ Pending   T005         Cut the keys  waits for T004
│  └─ ○ Pending   T006         Ring the bell  next attempt in 5s, Evicted: the node ran out of memory
├─ Polish  0/1
│  └─ ○ Pending   T007         Sweep up  waits for T003, T004, T005, T006
└─ Integration  ○ Pending   into plan/door";
    assert_eq!(shown(&snapshot(), 120, Length::Whole), wanted);
}

#[test]
fn tree_shows_competing_attempts() {
    let mut snapshot = snapshot();
    let contestant = |attempt, phase| ContestantStatus { attempt, phase, ..ContestantStatus::default() };
    let contestants = [(1, Phase::Succeeded), (5, Phase::Running), (3, Phase::Failed)]
        .map(|(attempt, phase)| (((attempt - 1) % 3 + 1).to_string(), contestant(attempt, phase)));
    let mut contest = ContestStatus { contestants: contestants.into(), ..ContestStatus::default() };
    let mut line = |contest: &ContestStatus| {
        Arc::make_mut(&mut snapshot.tasks[2]).status.as_mut().unwrap().contest = Some(contest.clone());
        let shown = shown(&snapshot, 120, Length::Whole);
        shown.lines().find(|line| line.contains("T003   1m05s")).map(str::to_owned).unwrap()
    };
    assert!(line(&contest).ends_with("Paint it  competing attempts 1 ✓, 5 ◐, 3 ✗"), "{}", line(&contest));
    contest.contestants.get_mut("2").unwrap().message = Some("attempt 5 cannot start".into());
    assert!(line(&contest).ends_with("1 ✓, 5 ◐, 3 ✗; attempt 5 cannot start"), "{}", line(&contest));
    contest.winner = Some(5);
    assert!(line(&contest).ends_with("Paint it  best of 3: attempt 5 won"), "{}", line(&contest));
}

#[test]
fn tree_shows_the_use_of_models() {
    let mut snapshot = snapshot();
    let mut line = |usage: PlanUsage| {
        snapshot.plan.status.as_mut().unwrap().usage = Some(usage);
        let shown = shown(&snapshot, 120, Length::Whole);
        shown.lines().find(|line| line.starts_with("Models")).map(str::to_owned).unwrap()
    };
    let mut usage = PlanUsage { tokens: 120_000, usd: "4.20".into(), ..PlanUsage::default() };
    assert_eq!(line(usage.clone()), "Models  4.20 USD and 120000 tokens spent");
    usage.reserved = Some(Budget { tokens: None, usd: Some("0.30".into()) });
    usage.budget = Some(Budget { tokens: None, usd: Some("10.00".into()) });
    usage.remaining = Some(Budget { tokens: None, usd: Some("5.50".into()) });
    usage.budget_set_by = vec!["Approval door-x7 by lee".into()];
    assert_eq!(
        line(usage.clone()),
        "Models  4.20 USD and 120000 tokens spent, 0.30 USD reserved, 5.50 USD of 10.00 USD left, set by Approval door-x7 by lee"
    );
    usage.discarded = Some(Discarded { tokens: 900, usd: "0.10".into() });
    let start = "Models  4.20 USD and 120000 tokens spent (0.10 USD and 900 tokens discarded), 0.30 USD reserved";
    assert!(line(usage).starts_with(start));
}

#[test]
fn tree_shows_the_estimate_and_the_usage_of_tasks() {
    let mut snapshot = snapshot();
    let usd = UsdRange { low: "0.90".into(), expected: "1.20".into(), high: "1.60".into() };
    snapshot.plan.status.as_mut().unwrap().estimate =
        Some(PlanEstimate { usd: Some(usd), samples: 9, error_percent: Some(25), ..PlanEstimate::default() });
    let usage = |line: &str, last_at| TaskUsage { line: line.into(), last_at };
    snapshot.usage.insert("door-T002".into(), usage("$0.4000, 900 tokens", Some(millis(&time(64)))));
    snapshot.usage.insert("door-T003".into(), usage("$0.1000, 50 tokens", Some(millis(&time(110)))));
    let shown = shown(&snapshot, 160, Length::Whole);
    let line = |part: &str| shown.lines().find(|line| line.contains(part)).unwrap_or_default().to_owned();
    assert_eq!(
        line("Estimate"),
        "Estimate  1.20 USD (0.90 to 1.60), duration unknown, from 9 finished tasks of the same agents; it used 25 % more than expected"
    );
    assert!(line("T002").ends_with("$0.4000, 900 tokens"), "{shown}");
    assert!(line("T003").ends_with("$0.1000, 50 tokens; last activity 15s ago; attempt 2"), "{shown}");
}

#[test]
fn tree_shows_what_contradicts_a_result() {
    let mut snapshot = snapshot();
    let done = TaskStatus { contradiction: Some("attempt 1: the pod ended with Killed".into()), ..done(8, 65) };
    snapshot.tasks[0] = task(&snapshot.plan.spec.tasks[1], done);
    let shown = shown(&snapshot, 160, Length::Whole);
    let line = shown.lines().find(|line| line.contains("T002")).unwrap_or_default();
    assert!(line.ends_with("contradicted: attempt 1: the pod ended with Killed"), "{shown}");
}

#[test]
fn tree_shows_the_end_of_the_integration() {
    let mut snapshot = snapshot();
    let last = |snapshot: &Snapshot| shown(snapshot, 120, Length::Whole).lines().last().map(str::to_owned).unwrap();
    let mut set = |status: IntegrationStatus| {
        snapshot.plan.status.as_mut().unwrap().integration = Some(status);
        last(&snapshot)
    };
    let failed = IntegrationStatus {
        phase: Phase::Failed,
        attempts: 2,
        reason: Some("Conflict".into()),
        message: Some("the branches of T003 and T004\ndo not merge".into()),
        conflicts: vec!["lock.rs".into(), "door.rs".into()],
        ..IntegrationStatus::default()
    };
    assert_eq!(
        set(failed),
        "└─ Integration  ✗ Failed    into plan/door, attempt 2  Conflict (lock.rs, door.rs): the branches of T003 and T004 do \
         not merge"
            .chars()
            .take(119)
            .collect::<String>()
            + "…"
    );
    let succeeded = IntegrationStatus {
        phase: Phase::Succeeded,
        attempts: 1,
        branch: Some("main".into()),
        commit: Some("0123456789abcdef0123456789abcdef01234567".into()),
        ..IntegrationStatus::default()
    };
    assert_eq!(set(succeeded), "└─ Integration  ✓ Succeeded into main at 0123456789ab");
    snapshot.plan.spec.workspace.as_mut().unwrap().integration =
        Integration { branch: Some("release".into()), ..Integration::default() };
    snapshot.plan.status.as_mut().unwrap().integration = None;
    assert!(last(&snapshot).ends_with("into release"));
}

#[test]
fn tree_explains_why_a_plan_waits() {
    let mut snapshot = snapshot();
    snapshot.plan.spec.suspend = true;
    snapshot.plan.spec.approval.required = 0;
    snapshot.specification.as_mut().unwrap().status = None;
    let mut no = Approval::clone(&snapshot.approvals[0]);
    no.spec.decision = Choice::Reject;
    no.spec.comment = "no\nkeyhole".into();
    let text = shown(&snapshot, 120, Length::Whole);
    assert!(text.contains("◐ Running, suspended"), "{text}");
    assert!(text.contains("Plan door  needs no approval"), "{text}");
    assert!(text.contains("Specification house  not read by the operator yet"), "{text}");
    let mut rejected = self::snapshot();
    rejected.approvals = vec![Arc::new(no)];
    let text = shown(&rejected, 120, Length::Whole);
    assert!(text.contains("Specification house  ✗ rejected by anna: no keyhole"), "{text}");
}

#[test]
fn tree_never_contradicts_the_operator_about_approvals() {
    let mut snapshot = snapshot();
    snapshot.plan.spec.approval.required = 1;
    snapshot.plan.spec.approval.groups.clear();
    let status = snapshot.plan.status.as_mut().unwrap();
    status.conditions = vec![condition("Ready", "False", "WaitingForApproval", "0 of 1 approvals")];
    let text = shown(&snapshot, 120, Length::Whole);
    assert!(text.contains("Plan door  ○ has approvals that the operator has not counted yet"), "{text}");
    assert!(!text.contains("approved by lee"), "{text}");

    snapshot.plan.status.as_mut().unwrap().approved_digest = Some(PLAN_DIGEST.into());
    snapshot.approvals.clear();
    let text = shown(&snapshot, 120, Length::Whole);
    assert!(text.contains("Plan door  ✓ approved before it started  bbbbbbbbbbbb"), "{text}");
}

#[test]
fn tree_shows_why_and_since_when_something_waits() {
    let mut snapshot = snapshot();
    let mut stuck = Task::clone(&snapshot.tasks[2]);
    let message = "attempt 2 cannot start: no runtime for \"gvisor\"";
    stuck.status.as_mut().unwrap().conditions = vec![condition("Ready", "False", "SandboxFailed", message)];
    snapshot.tasks[2] = Arc::new(stuck);
    let status = snapshot.plan.status.as_mut().unwrap();
    status.conditions = vec![condition("Ready", "False", "Suspended", "suspended: 2 of 7 tasks done")];
    status.waiting = Some(WaitingStatus {
        reason: "Suspended".into(),
        message: "suspended: 2 of 7 tasks done".into(),
        since: time(100),
        task: None,
    });
    status.last_activity_at = Some(time(110));
    snapshot.plan.spec.tasks[4].depends_on.clear();
    let mut idle = Task::clone(&task(&snapshot.plan.spec.tasks[6], TaskStatus::default()));
    idle.metadata.creation_timestamp = Some(time(5));
    snapshot.tasks.push(Arc::new(idle));
    let text = shown(&snapshot, 160, Length::Whole);
    assert!(text.contains("◐ Running  2m05s, last activity 15s ago"), "{text}");
    assert!(text.contains("Suspended for 25s: suspended: 2 of 7 tasks done"), "{text}");
    assert!(text.contains("attempt 2: SandboxFailed for 2m05s: cannot start: no runtime for"), "{text}");
    assert!(text.contains("Cut the keys  waits with its plan: Suspended, for 25s"), "{text}");
    assert!(text.contains("Sweep up  waits for T003, T004, T005, T006, for 2m00s"), "{text}");
}

#[test]
fn tree_shows_stale_work_of_a_finished_plan() {
    let mut snapshot = snapshot();
    let status = snapshot.plan.status.as_mut().unwrap();
    status.phase = plan::Phase::Succeeded;
    status.stale = Some(Stale {
        specification_digest: SPEC_DIGEST.into(),
        changes: vec!["FR-003 Changed".into()],
        tasks: 2,
        redo: vec!["T003".into(), "T004".into()],
        uncovered: vec!["FR-009".into()],
    });
    let text = shown(&snapshot, 300, Length::Whole);
    let line = text.lines().find(|line| line.starts_with("Stale")).unwrap_or_default();
    assert_eq!(
        line,
        "Stale  2 tasks do not follow the approved revision aaaaaaaaaaaa (FR-003 Changed); `kubectl enact redo plan/door` \
         repeats T003, T004, `kubectl enact keep plan/door` keeps them; no task covers FR-009"
    );
}

#[test]
fn plan_with_findings_waits_for_their_approval() {
    let mut snapshot = snapshot();
    let rule = FindingPolicy { at_least: Severity::High, required: 1, groups: vec!["owners".into()] };
    snapshot.plan.spec.approval = ApprovalPolicy { with_findings: vec![rule], ..ApprovalPolicy::default() };
    let finding = Finding { severity: Severity::High, ..Finding::default() };
    snapshot.plan.status.as_mut().unwrap().top_findings = vec![finding];
    let text = shown(&snapshot, 120, Length::Whole);
    assert!(text.contains("Plan door  ○ waits for approval by owners because of"), "{text}");
}

#[test]
fn tree_counts_accepted_findings() {
    let mut snapshot = snapshot();
    snapshot.plan.status.as_mut().unwrap().accepted_findings = 1;
    let specification = snapshot.specification.as_mut().unwrap();
    specification.status.as_mut().unwrap().findings.accepted = 2;
    let text = shown(&snapshot, 160, Length::Whole);
    let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_default().to_owned();
    assert!(line("Plan door  ").ends_with("  1 accepted finding"), "{text}");
    assert!(line("Specification house  ").ends_with("  2 accepted findings"), "{text}");
}

/// A plan with this number of tasks in four phases: done, running with one failure, and two that wait.
fn large(tasks: usize) -> Snapshot {
    let mut snapshot = snapshot();
    let phases = ["Setup", "Core", "Story", "Polish"];
    let works: Vec<TaskTemplate> =
        (0..tasks).map(|i| work(&format!("T{i:04}"), &format!("Do part {i}"), phases[i * 4 / tasks], &[])).collect();
    let core = tasks / 4;
    snapshot.tasks = works[..core].iter().map(|work| task(work, done(1, 5))).collect();
    let running =
        TaskStatus { phase: Phase::Running, attempts: 1, started_at: Some(time(100)), ..TaskStatus::default() };
    let failed = TaskStatus { phase: Phase::Failed, attempts: 1, ..TaskStatus::default() };
    snapshot.tasks.push(task(&works[core + 7], running));
    snapshot.tasks.push(task(&works[core + 9], failed));
    snapshot.tasks.push(task(&works[core], done(1, 5)));
    snapshot.plan.spec.tasks = works;
    snapshot
}

#[test]
fn large_plan_is_folded() {
    let snapshot = large(2000);
    assert_eq!(render(&snapshot, at(125), display(80, Length::Whole)).len(), 5 + 4 + 2000 + 1);
    let folded = shown(&snapshot, 80, Length::Folded(200));
    let tree: Vec<&str> = folded.lines().skip(5).collect();
    assert_eq!(
        tree,
        [
            "├─ Setup  500/500",
            "├─ Core  1/500",
            "│  ├─ ◐ Running   T0507     25s Do part 507",
            "│  ├─ ✗ Failed    T0509         Do part 509",
            "│  └─ 1 more done, 497 more waiting",
            "├─ Story  0/500",
            "├─ Polish  0/500",
            "└─ Integration  ○ Pending   into plan/door",
        ]
    );
    // No more is folded than must be.
    assert!(shown(&large(40), 80, Length::Folded(200)).contains("Do part 0"));
    let finished = shown(&large(40), 80, Length::Folded(45));
    assert!(!finished.contains("Do part 0") && finished.contains("Do part 39"), "{finished}");
    let quiet = shown(&large(40), 80, Length::Folded(30));
    assert!(!quiet.contains("Do part 39") && quiet.contains("Do part 18"), "{quiet}");
}

#[test]
fn tree_fits_the_terminal() {
    let snapshot = large(2000);
    for height in [0, 1, 2, 5, 9, 13] {
        let lines = render(&snapshot, at(125), display(80, Length::Cut(height)));
        assert!(lines.len() <= height.max(1), "{} lines for {height}", lines.len());
    }
    let cut = render(&snapshot, at(125), display(80, Length::Cut(9)));
    assert_eq!(cut[7..], ["… 5 more lines", "└─ Integration  ○ Pending   into plan/door"]);
}

#[test]
fn tasks_of_a_document_keep_their_order() {
    let mut snapshot = snapshot();
    snapshot.plan.spec.tasks.clear();
    let text = shown(&snapshot, 120, Length::Whole);
    let at = |id: &str| text.find(id).unwrap_or_else(|| panic!("{id} is missing in {text}"));
    assert!(at(" T001 ") < at(" T002 ") && at(" T004 ") < at(" T006 "), "{text}");
    assert!(text.contains("2 of 7 done"), "those that have no object yet are counted: {text}");
}

#[test]
fn table_has_one_line_per_plan() {
    let running = snapshot().plan;
    let mut stuck = running.clone();
    stuck.metadata.name = Some("a-much-longer-name".into());
    stuck.metadata.namespace = Some("elsewhere".into());
    stuck.status = Some(PlanStatus {
        conditions: vec![condition("Ready", "False", "AgentMissing", "there is no\u{1b}[31m Agent scripts")],
        ..PlanStatus::default()
    });
    let plans = [running, stuck];
    let lines = table::render(&plans, true, at(125), display(100, Length::Whole));
    let wanted = "\
NAMESPACE  NAME                PHASE    DONE  RUNNING  FAILED  TIME   REASON
home       door                Running  2/7   1        1       2m05s  Running: 2 of 7 tasks done, 1…
elsewhere  a-much-longer-name  Pending  0/0   0        0              AgentMissing: there is no [31…";
    assert_eq!(lines.join("\n"), wanted);
    let own = table::render(&plans[..1], false, at(125), display(200, Length::Whole));
    assert!(own[0].starts_with("NAME  PHASE"), "{own:?}");
}

#[test]
fn each_change_is_a_line() {
    let before = snapshot();
    let first = changes(None, &before);
    assert_eq!(
        first,
        [
            "T001 Succeeded after 6s  Hang the door",
            "T002 Succeeded after 57s  Oil the hinge",
            "T003 Running, attempt 2  Paint it",
            "T004 Failed: gate `fits`: exit code 1  Fit a lock",
            "T006 Pending: the node ran out of memory  Ring the bell",
            "Plan door Running",
        ]
    );
    assert!(changes(Some(&before), &before).is_empty(), "no line without a change");
    let mut after = before.clone();
    after.tasks[2] = task(&after.plan.spec.tasks[2], done(60, 180));
    let status = after.plan.status.as_mut().unwrap();
    status.phase = plan::Phase::Failed;
    status.conditions = vec![
        condition("Ready", "False", "TaskFailed", "task T004 failed\u{1b}[2J"),
        condition("Stalled", "True", "TaskFailed", "task T004 failed"),
    ];
    status.integration = Some(IntegrationStatus { phase: Phase::Running, attempts: 1, ..IntegrationStatus::default() });
    assert_eq!(
        changes(Some(&before), &after),
        ["T003 Succeeded after 2m00s  Paint it", "Integration Running", "Plan door Failed: task T004 failed [2J",]
    );
}

#[test]
fn outcome_is_none_while_a_plan_can_continue() {
    let mut snapshot = snapshot();
    assert_eq!(snapshot.outcome(), None);
    let status = snapshot.plan.status.as_mut().unwrap();
    status.conditions.push(condition("Stalled", "True", "AgentMissing", "there is no Agent scripts"));
    let stuck = Outcome::Failed("Stalled, AgentMissing: there is no Agent scripts".into());
    assert_eq!(snapshot.outcome(), Some(stuck));
    snapshot.plan.metadata.generation = Some(2);
    assert_eq!(snapshot.outcome(), None, "the operator has not seen the change");
    snapshot.plan.metadata.generation = Some(1);
    let status = snapshot.plan.status.as_mut().unwrap();
    status.conditions = vec![condition("Stalled", "True", "WaitingForApproval", "0 of 1 approvals")];
    assert_eq!(snapshot.outcome(), None, "a person can still approve it");

    let mut finished = self::snapshot();
    finished.plan.status.as_mut().unwrap().phase = plan::Phase::Failed;
    assert!(matches!(finished.outcome(), Some(Outcome::Failed(why)) if why.starts_with("Failed, Running: ")));
    let mut asked = Task::clone(&finished.tasks[3]);
    asked.metadata.annotations.get_or_insert_default().insert(ANNOTATION_RERUN.into(), "1".into());
    finished.tasks[3] = Arc::new(asked.clone());
    assert_eq!(finished.outcome(), None, "somebody asked for another attempt");
    asked.status.as_mut().unwrap().observed_rerun = Some("1".into());
    finished.tasks[3] = Arc::new(asked);
    assert!(finished.outcome().is_some(), "that attempt was made");
    finished.plan.metadata.annotations.get_or_insert_default().insert(ANNOTATION_RERUN.into(), "4".into());
    assert_eq!(finished.outcome(), None, "somebody asked for another integration");
    finished.plan.status.as_mut().unwrap().phase = plan::Phase::Succeeded;
    finished.plan.metadata.annotations = None;
    assert_eq!(finished.outcome(), Some(Outcome::Succeeded));
}

/// What somebody may put into a field to deceive whoever looks.
const HOSTILE: &str = "\\PC{0,30}[\u{1b}\u{9b}\r\n\u{202e}\u{7}\u{2028}]{0,3}[0-9A-Z;\\[\\]]{0,6}.{0,30}";

proptest! {
    #[test]
    fn untrusted_text_stays_in_its_line(
        texts in proptest::collection::vec(HOSTILE, 8),
        columns in 1usize..140,
        height in 1usize..30,
    ) {
        let mut snapshot = snapshot();
        let status = snapshot.plan.status.as_mut().unwrap();
        status.conditions[0].message.clone_from(&texts[0]);
        status.conditions[0].reason.clone_from(&texts[1]);
        status.integration = Some(IntegrationStatus {
            phase: Phase::Failed,
            branch: Some(texts[2].clone()),
            reason: Some(texts[3].clone()),
            message: Some(texts[4].clone()),
            conflicts: vec![texts[5].clone()],
            ..IntegrationStatus::default()
        });
        snapshot.plan.spec.tasks[2].title.clone_from(&texts[6]);
        snapshot.plan.spec.tasks[3].phase = Some(texts[7].clone());
        snapshot.plan.spec.tasks[4].depends_on = texts.clone();
        snapshot.plan.metadata.name = Some(texts[5].clone());
        let mut by = Approval::clone(&snapshot.approvals[0]);
        by.spec.by = Some(Person { user: texts[1].clone(), groups: vec![] });
        snapshot.approvals[0] = Arc::new(by);
        let mut lines = render(&snapshot, at(125), display(columns, Length::Cut(height)));
        lines.extend(table::render(std::slice::from_ref(&snapshot.plan), true, at(125), display(columns, Length::Whole)));
        for line in &lines {
            prop_assert!(width(line) <= columns, "{} of {columns} columns: {line:?}", width(line));
        }
        lines.extend(changes(None, &snapshot));
        for line in &lines {
            prop_assert!(!line.contains(|c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}')), "{line:?}");
        }
    }
}
