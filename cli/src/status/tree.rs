//! The tree of a plan, as text. All functions are pure: the time is an argument.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Effects, Style};
use enact_crds::common::{Budget, Time};
use enact_crds::task::{ContestStatus, Phase};
use enact_crds::{convert, plan};
use enact_domain::approval::{Requirement, Verdict};
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::plan::ReportedState;
use enact_domain::time::Millis;
use enact_domain::waiting::{Facts, Idle, last_activity, waiting};
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::display::{Display, Length};
use super::snapshot::{ApprovalState, Row, Snapshot};
use crate::terminal::{BAD, WARNING};
use crate::text::{amount, elapsed, fit, one_line, pad, some, width};
use crate::{estimate, planning, replan};

const GOOD: Style = AnsiColor::Green.on_default();
const BUSY: Style = AnsiColor::Cyan.on_default().bold();
const FAINT: Style = Style::new().effects(Effects::DIMMED);
const STRONG: Style = Style::new().bold();
const PLAIN: Style = Style::new();
/// Columns of the progress bar.
const BAR: usize = 24;
/// Columns of symbol and phase; the longest phase is `Succeeded`.
const STATE: usize = 11;
/// Columns of a duration.
const TIME: usize = 7;
/// Most IDs of tasks in one line.
const NAMES: usize = 4;

/// The tasks that a folded tree leaves out. Each value includes the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fold {
    Nothing,
    /// Tasks of phases in which all tasks are done.
    Finished,
    /// Tasks of phases in which no task has started.
    NotStarted,
    /// All tasks that are done or have not started.
    Inactive,
}

/// Returns the lines of the tree.
pub fn render(snapshot: &Snapshot, now: Timestamp, display: Display) -> Vec<String> {
    let rows = snapshot.rows();
    let phases = by_phase(&rows);
    let mut lines = folded(snapshot, &rows, &phases, now, display, Fold::Nothing);
    let (Length::Folded(most) | Length::Cut(most)) = display.length else { return lines };
    // Each step hides more tasks. The first tree that fits is shown.
    for fold in [Fold::Finished, Fold::NotStarted, Fold::Inactive] {
        if lines.len() <= most {
            return lines;
        }
        lines = folded(snapshot, &rows, &phases, now, display, fold);
    }
    if display.length == Length::Cut(most) && lines.len() > most {
        // The last line stays: in a plan with a repository it is the integration, the goal of the plan.
        let last = lines.pop();
        let kept = most.saturating_sub(2);
        let more = lines.len() - kept;
        lines.truncate(kept);
        lines.push(display.line().add(FAINT, &format!("… {more} more lines")).end());
        lines.extend(last);
        lines.truncate(most);
    }
    lines
}

fn folded(
    snapshot: &Snapshot,
    rows: &[Row<'_>],
    phases: &[(&str, Vec<&Row<'_>>)],
    now: Timestamp,
    display: Display,
    fold: Fold,
) -> Vec<String> {
    let mut lines = heading(snapshot, rows, now, display);
    for (at, (title, rows)) in phases.iter().enumerate() {
        let last = at + 1 == phases.len() && snapshot.plan.spec.workspace.is_none();
        lines.extend(phase(title, rows, now, display, last, fold));
    }
    lines.extend(integration(snapshot, display));
    lines
}

fn by_phase<'a, 'b>(rows: &'b [Row<'a>]) -> Vec<(&'a str, Vec<&'b Row<'a>>)> {
    let mut phases: Vec<(&str, Vec<&Row<'_>>)> = Vec::new();
    for row in rows {
        let title = row.work.phase.as_deref().unwrap_or("Tasks");
        match phases.iter_mut().find(|(known, _)| *known == title) {
            Some((_, rows)) => rows.push(row),
            None => phases.push((title, vec![row])),
        }
    }
    phases
}

fn heading(snapshot: &Snapshot, rows: &[Row<'_>], now: Timestamp, display: Display) -> Vec<String> {
    let plan = &snapshot.plan;
    let status = plan.status.clone().unwrap_or_default();
    let (symbol, style) = plan_symbol(status.phase);
    let stopped = match &status.paused_after {
        _ if plan.spec.suspend => ", suspended".to_owned(),
        Some(paused) => format!(", paused after phase {}", paused.number),
        None => String::new(),
    };
    let time =
        status.started_at.as_ref().map_or_else(String::new, |start| between(start, status.finished_at.as_ref(), now));
    let title = display
        .line()
        .add(STRONG, &format!("Plan {}/{}", plan.namespace().unwrap_or_default(), plan.name_any()))
        .add(style, &format!("  {symbol} {:?}{stopped}", status.phase))
        .add(FAINT, &format!("  {time}{}", activity(&status, now)));
    let mut lines = vec![title.end(), progress(snapshot, rows, display)];
    if let Some(specification) = &snapshot.specification {
        let approval = snapshot.specification_approval(specification, now);
        let accepted = specification.status.as_ref().map_or(0, |status| status.findings.accepted);
        lines.push(subject("specification", &specification.name_any(), &approval, accepted, display));
    }
    lines.push(subject("plan", &plan.name_any(), &snapshot.plan_approval(now), status.accepted_findings, display));
    // A plan that runs without an estimate will not get one.
    let is_useful =
        |estimate: &&plan::PlanEstimate| status.started_at.is_none() || estimate.basis != plan::EstimateBasis::Unknown;
    lines.extend(status.proposals.iter().map(|proposal| proposed(proposal, status.generated.as_ref(), display)));
    let replaced = replan::counts(&plan.spec, status.replaced.as_ref());
    lines.extend(replaced.map(|text| display.line().add(FAINT, &text).end()));
    lines.extend(status.estimate.as_ref().filter(is_useful).map(|estimate| estimated(estimate, display)));
    lines.extend(status.usage.as_ref().map(|usage| models(usage, display)));
    let unfinished = status.phase != plan::Phase::Succeeded;
    if let Some(ready) = snapshot.ready().filter(|ready| unfinished && ready.status != "True") {
        let style = if snapshot.outcome().is_some() { BAD } else { FAINT };
        let wait = status.waiting.as_ref().filter(|wait| wait.reason == ready.reason);
        let since = wait.map_or_else(String::new, |wait| format!(" for {}", between(&wait.since, None, now)));
        lines.push(display.line().add(style, &format!("{}{since}: {}", ready.reason, one_line(&ready.message))).end());
    }
    lines.extend(status.stale.as_ref().map(|stale| outdated(stale, snapshot, display)));
    lines
}

/// Returns when an unfinished plan last showed activity.
fn activity(status: &plan::PlanStatus, now: Timestamp) -> String {
    let last = status.last_activity_at.as_ref().filter(|_| !status.phase.is_finished());
    last.map_or_else(String::new, |last| format!(", last activity {} ago", between(last, None, now)))
}

/// Returns the line about work that a newer revision of the specification makes stale: what would be done again, and the commands.
fn outdated(stale: &plan::Stale, snapshot: &Snapshot, display: Display) -> String {
    let names = |names: &[String]| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        one_line(&some(&names, NAMES))
    };
    let name = snapshot.plan.name_any();
    let revision = Digest::from(stale.specification_digest.clone());
    let mut text = format!("{} tasks do not follow the approved revision {}", stale.tasks, revision.short());
    if !stale.changes.is_empty() {
        let _ = write!(text, " ({})", names(&stale.changes));
    }
    if stale.redo.is_empty() {
        text.push_str("; none of them is finished");
    } else {
        let _ = write!(text, "; `kubectl enact redo plan/{name}` repeats {}", names(&stale.redo));
        let _ = write!(text, ", `kubectl enact keep plan/{name}` keeps them");
    }
    if !stale.uncovered.is_empty() {
        let _ = write!(text, "; no task covers {}", names(&stale.uncovered));
    }
    display.line().add(WARNING, "Stale  ").plain(&text).end()
}

/// Returns the line about a planner.
fn proposed(proposal: &plan::Proposal, generated: Option<&plan::GeneratedPlan>, display: Display) -> String {
    let chosen = generated.filter(|generated| generated.agent == proposal.agent);
    let chosen =
        chosen.map_or("", |generated| if generated.by.is_some() { ", chosen by a person" } else { ", chosen" });
    let style = if proposal.state == plan::ProposalState::Dropped { WARNING } else { FAINT };
    let text = format!("{}{chosen}", planning::summary(proposal));
    display.line().plain(&format!("Proposal of {}  ", one_line(&proposal.agent))).add(style, &text).end()
}

/// Returns the line about the estimate.
fn estimated(estimate: &plan::PlanEstimate, display: Display) -> String {
    let error = estimate::error(estimate).map_or_else(String::new, |error| format!("; it used {error}"));
    display.line().plain("Estimate  ").add(FAINT, &format!("{}{error}", estimate::describe(estimate))).end()
}

/// Returns the line about the use of models.
fn models(usage: &plan::PlanUsage, display: Display) -> String {
    let all = Budget { tokens: Some(usage.tokens), usd: Some(usage.usd.clone()) };
    let mut text = format!("{} spent", amount(&all));
    if let Some(plan::Discarded { tokens, usd }) = &usage.discarded {
        let discarded = Budget { tokens: Some(*tokens), usd: Some(usd.clone()) };
        let _ = write!(text, " ({} discarded)", amount(&discarded));
    }
    if let Some(reserved) = &usage.reserved {
        let _ = write!(text, ", {} reserved", amount(reserved));
    }
    let (Some(budget), Some(remaining)) = (&usage.budget, &usage.remaining) else {
        return display.line().plain("Models  ").add(FAINT, &text).end();
    };
    let _ = write!(text, ", {} of {} left", amount(remaining), amount(budget));
    if !usage.budget_set_by.is_empty() {
        let _ = write!(text, ", set by {}", one_line(&usage.budget_set_by.join(" and ")));
    }
    let left = convert::limit(remaining);
    let style = match (left.tokens, left.cost_micro_usd) {
        (Some(0), _) | (_, Some(0)) => WARNING,
        _ => FAINT,
    };
    display.line().plain("Models  ").add(style, &text).end()
}

/// Returns the progress bar and the counts.
fn progress(snapshot: &Snapshot, rows: &[Row<'_>], display: Display) -> String {
    let counts = snapshot.plan.status.as_ref().map(|status| status.tasks.clone()).unwrap_or_default();
    let count = |phase| rows.iter().filter(|row| row.phase == phase).count();
    let done = count(Phase::Succeeded);
    // The status counts the tasks of a tasks.md before their objects exist.
    let all = rows.len().max(counts.total as usize);
    let mut summary = format!("  {done} of {all} done");
    let failed = count(Phase::Failed) + count(Phase::Unknown);
    let more = [
        (count(Phase::Running), "running"),
        (failed, "failed"),
        (count(Phase::Cancelled), "cancelled"),
        (counts.retries as usize, "retried"),
    ];
    for (number, word) in more.into_iter().filter(|(number, _)| *number > 0) {
        // Writing to a string cannot fail.
        let _ = write!(summary, ", {number} {word}");
    }
    let full = (done * BAR).checked_div(all).unwrap_or_default().min(BAR);
    display.line().add(GOOD, &"█".repeat(full)).add(FAINT, &"░".repeat(BAR - full)).plain(&summary).end()
}

/// Returns the line about the approval of a plan or specification, and the number of its accepted findings.
fn subject(kind: &str, name: &str, approval: &ApprovalState, accepted: u32, display: Display) -> String {
    let (style, state) = match approval {
        ApprovalState::NotRead => (FAINT, "not read by the operator yet".to_owned()),
        ApprovalState::NotRequired => (FAINT, "needs no approval".to_owned()),
        ApprovalState::MinimumOfTenant(digest) => {
            let digest = digest.short();
            (
                WARNING,
                format!(
                    "○ waits for the approvals that its Tenant requires  {digest}: kubectl enact approve {kind}/{name}"
                ),
            )
        }
        ApprovalState::Decided(digest, Verdict::Approved { people, .. }) => {
            (GOOD, format!("✓ approved by {}  {}", people.join(", "), digest.short()))
        }
        ApprovalState::Decided(_, Verdict::Rejected { user, comment }) => {
            (BAD, format!("✗ rejected by {user}: {}", one_line(comment)))
        }
        ApprovalState::NotCounted(digest) => {
            (WARNING, format!("○ has approvals that the operator has not counted yet  {}", digest.short()))
        }
        ApprovalState::Started(digest) => (GOOD, format!("✓ approved before it started  {}", digest.short())),
        ApprovalState::Decided(digest, Verdict::Waiting(demand)) => (WARNING, missing(kind, name, digest, demand)),
    };
    let label = format!("{} {name}  ", if kind == "plan" { "Plan" } else { "Specification" });
    let accepted = match accepted {
        0 => String::new(),
        1 => "  1 accepted finding".to_owned(),
        n => format!("  {n} accepted findings"),
    };
    display.line().plain(&label).add(style, &state).add(FAINT, &accepted).end()
}

fn missing(kind: &str, name: &str, digest: &Digest, requirement: &Requirement) -> String {
    let Requirement { have, need, groups, .. } = requirement;
    let by = if groups.is_empty() { String::new() } else { format!(" by {}", groups.join(" or ")) };
    let why = requirement.because.map(|severity| format!(" because of {severity} findings")).unwrap_or_default();
    format!("○ waits for approval{by}{why}, {have} of {need}  {}: kubectl enact approve {kind}/{name}", digest.short())
}

fn phase(title: &str, rows: &[&Row<'_>], now: Timestamp, display: Display, last: bool, fold: Fold) -> Vec<String> {
    let done = rows.iter().filter(|row| row.phase == Phase::Succeeded).count();
    let finished = done == rows.len();
    let not_started = rows.iter().all(|row| has_not_started(row));
    let (branch, trunk) = if last { ("└─", "  ") } else { ("├─", "│ ") };
    let count = format!("{done}/{}", rows.len());
    let columns = display.width.saturating_sub(width(&count) + 5);
    let heading = display.line().plain(branch).plain(" ").add(STRONG, &fit(title, columns)).plain("  ");
    let mut lines = vec![heading.add(if finished { GOOD } else { FAINT }, &count).end()];
    if (fold >= Fold::Finished && finished) || (fold >= Fold::NotStarted && not_started) {
        return lines;
    }
    let is_inactive = |row: &Row<'_>| row.phase == Phase::Succeeded || has_not_started(row);
    let (folded, shown): (Vec<&Row<'_>>, Vec<&Row<'_>>) =
        rows.iter().partition(|row| fold == Fold::Inactive && is_inactive(row));
    let ids = shown.iter().map(|row| width(&row.work.id)).max().unwrap_or_default();
    for (at, row) in shown.iter().enumerate() {
        let branch = if at + 1 == shown.len() && folded.is_empty() { "└─" } else { "├─" };
        lines.push(task(row, ids, &format!("{trunk} {branch} "), now, display));
    }
    if !folded.is_empty() {
        let waiting = folded.iter().filter(|row| has_not_started(row)).count();
        let summary = match (folded.len() - waiting, waiting) {
            (done, 0) => format!("{done} more done"),
            (0, waiting) => format!("{waiting} more waiting"),
            (done, waiting) => format!("{done} more done, {waiting} more waiting"),
        };
        lines.push(display.line().plain(trunk).plain(" └─ ").add(FAINT, &summary).end());
    }
    lines
}

fn has_not_started(row: &Row<'_>) -> bool {
    row.phase == Phase::Pending && row.attempts == 0
}

fn task(row: &Row<'_>, ids: usize, prefix: &str, now: Timestamp, display: Display) -> String {
    let (symbol, style) = symbol(row.phase);
    let time = match row.started {
        Some(start) if row.phase == Phase::Running || row.finished.is_some() => between(start, row.finished, now),
        _ => String::new(),
    };
    let line = display
        .line()
        .plain(prefix)
        .add(style, &pad(&format!("{symbol} {:?}", row.phase), STATE))
        .plain(&format!(" {} ", pad(&row.work.id, ids)))
        .add(FAINT, &format!("{time:>TIME$} "));
    let mut detail = detail(row, now).unwrap_or_default();
    if let Some(contest) = row.contest {
        let contest = self::contest(contest);
        detail = if detail.is_empty() { contest } else { format!("{contest}: {detail}") };
    } else if row.attempts > 1 {
        let attempt = format!("attempt {}", row.attempts);
        detail = if detail.is_empty() { attempt } else { format!("{attempt}: {detail}") };
    }
    let contradiction = row.contradiction.map(|contradiction| format!("contradicted: {}", one_line(contradiction)));
    let usage = row.usage.map(|usage| usage.line.clone()).filter(|line| !line.is_empty());
    for more in [contradiction, active(row, now), usage].into_iter().flatten() {
        detail = if detail.is_empty() { more } else { format!("{more}; {detail}") };
    }
    // The reason is more important than the end of the title, but at least half of the line is for the title.
    let room = line.room();
    let title = fit(&row.work.title, room.saturating_sub(width(&detail) + 2).max(room / 2));
    line.add(if row.phase == Phase::Pending { FAINT } else { PLAIN }, &title)
        .plain("  ")
        .add(if row.phase == Phase::Failed { BAD } else { FAINT }, &detail)
        .end()
}

/// Returns the state of competing attempts: the phase of each, or the winner.
fn contest(contest: &ContestStatus) -> String {
    let all = contest.contestants.len();
    if let Some(winner) = contest.winner {
        return format!("best of {all}: attempt {winner} won");
    }
    let contestants = contest.contestants.values().filter(|contestant| contestant.attempt > 0);
    let shown = contestants.map(|contestant| format!("{} {}", contestant.attempt, symbol(contestant.phase).0));
    // While an attempt runs, its message says why its pod does not run yet.
    let mut running = contest.contestants.values().filter(|contestant| contestant.phase == Phase::Running);
    let wait = running.find_map(|contestant| contestant.message.as_deref());
    let wait = wait.map_or_else(String::new, |message| format!("; {}", one_line(message)));
    format!("competing attempts {}{wait}", shown.collect::<Vec<_>>().join(", "))
}

/// Returns what a line adds to the phase of a task: the reason, or what it waits for.
fn detail(row: &Row<'_>, now: Timestamp) -> Option<String> {
    let ready = row.ready.map(|ready| (ready.reason.as_str(), one_line(&ready.message)));
    match (row.phase, ready) {
        (Phase::Succeeded, _) => None,
        (Phase::Running, _) => {
            // While the pod of an attempt does not run, the condition has the reason.
            let ready = row.ready.filter(|ready| ReportedState::of(&ready.reason) != ReportedState::Running)?;
            let message = one_line(&ready.message);
            let attempt = format!("attempt {} ", row.attempts);
            let why = message.strip_prefix(&attempt).unwrap_or(&message);
            Some(format!("{} for {}: {why}", ready.reason, between(&ready.last_transition_time, None, now)))
        }
        (Phase::Pending, ready) => {
            let seconds = |at: &Time| u64::try_from(at.0.duration_since(now).as_secs()).unwrap_or_default();
            let last = ready.as_ref().filter(|_| row.attempts > 0);
            let since = row.ready.map(|ready| &ready.last_transition_time).or(row.created);
            let idle = Idle {
                since: since.map(convert::millis).unwrap_or_default(),
                last: last.map(|(reason, message)| (*reason, message.as_str())),
                retry_seconds: row.retry_at.map(seconds),
                dependencies: &row.waits_for,
                plan: row.plan_waits.as_ref(),
            };
            let wait = waiting(&Facts::Task(idle), None)?;
            // What is said about another attempt has the time of that.
            let is_known = last.is_none() && wait.since != Millis::default();
            let since = is_known.then(|| format!(", for {}", between(&convert::time(wait.since), None, now)));
            Some(wait.message + &since.unwrap_or_default())
        }
        (_, Some((reason, message))) => Some(format!("{reason}: {message}")),
        (_, None) => None,
    }
}

/// Returns when a running task last showed activity, if its model requests are known: they start and end while it works.
fn active(row: &Row<'_>, now: Timestamp) -> Option<String> {
    let request = row.usage.filter(|_| row.phase == Phase::Running)?.last_at?;
    let last = last_activity([Some(request), row.started.map(convert::millis)])?;
    Some(format!("last activity {} ago", between(&convert::time(last), None, now)))
}

fn integration(snapshot: &Snapshot, display: Display) -> Option<String> {
    let workspace = snapshot.plan.spec.workspace.as_ref()?;
    let status = snapshot.plan.status.as_ref().and_then(|status| status.integration.clone()).unwrap_or_default();
    let (symbol, style) = symbol(status.phase);
    let configured = workspace.integration.branch.clone();
    let branch = status.branch.or(configured).unwrap_or_else(|| names::integration_branch(&snapshot.plan.name_any()));
    let mut target = format!(" into {branch}");
    if let Some(commit) = status.commit.as_deref().and_then(|commit| commit.get(..12)) {
        target.push_str(" at ");
        target.push_str(commit);
    }
    if status.attempts > 1 {
        let _ = write!(target, ", attempt {}", status.attempts);
    }
    let mut line = display
        .line()
        .plain("└─ ")
        .add(STRONG, "Integration")
        .add(style, &pad(&format!("  {symbol} {:?}", status.phase), STATE + 2))
        .plain(&target);
    if status.phase != Phase::Succeeded
        && let Some(reason) = &status.reason
    {
        let files: Vec<&str> = status.conflicts.iter().map(String::as_str).collect();
        let files = if files.is_empty() { String::new() } else { format!(" ({})", some(&files, NAMES)) };
        let message = one_line(status.message.as_deref().unwrap_or_default());
        line =
            line.add(if status.phase == Phase::Failed { BAD } else { FAINT }, &format!("  {reason}{files}: {message}"));
    }
    Some(line.end())
}

fn between(start: &Time, end: Option<&Time>, now: Timestamp) -> String {
    elapsed(end.map_or(now, |end| end.0).duration_since(start.0))
}

/// Returns the symbol of a task's phase.
fn symbol(phase: Phase) -> (&'static str, Style) {
    match phase {
        Phase::Pending => ("○", FAINT),
        Phase::Running => ("◐", BUSY),
        Phase::Succeeded => ("✓", GOOD),
        Phase::Failed => ("✗", BAD),
        Phase::Cancelled => ("⊘", WARNING),
        Phase::Unknown => ("?", WARNING),
    }
}

/// Returns the symbol of a plan's phase.
pub fn plan_symbol(phase: plan::Phase) -> (&'static str, Style) {
    match phase {
        plan::Phase::Pending => ("○", FAINT),
        plan::Phase::Running | plan::Phase::Integrating => ("◐", BUSY),
        plan::Phase::Succeeded => ("✓", GOOD),
        plan::Phase::Failed => ("✗", BAD),
        plan::Phase::Cancelled => ("⊘", WARNING),
    }
}
