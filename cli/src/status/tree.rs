//! The tree of a plan, as text. Everything here is a function of its arguments: the time is one of them.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Effects, Style};
use enact_crds::common::Time;
use enact_crds::plan;
use enact_crds::task::Phase;
use enact_domain::approval::{Requirement, Verdict};
use enact_domain::digest::Digest;
use enact_domain::names;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::snapshot::{Row, Snapshot, Standing};
use crate::terminal::{BAD, Line, Paint, WARNING};
use crate::text::{elapsed, fit, one_line, pad, some, width};

const GOOD: Style = AnsiColor::Green.on_default();
const BUSY: Style = AnsiColor::Cyan.on_default().bold();
const FAINT: Style = Style::new().effects(Effects::DIMMED);
const STRONG: Style = Style::new().bold();
const PLAIN: Style = Style::new();
/// Columns of the bar of progress.
const BAR: usize = 24;
/// Columns of a state's sign and word, the longest being `Succeeded`.
const STATE: usize = 11;
/// Columns of a duration.
const TIME: usize = 7;
/// Most names of tasks that one line shows.
const NAMES: usize = 4;

/// How to show it.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Colours, or none.
    pub paint: Paint,
    /// Columns of the terminal.
    pub width: usize,
    /// How long it may become.
    pub length: Length,
}

impl Look {
    /// An empty line of this width.
    pub fn line(self) -> Line {
        Line::new(self.paint, self.width)
    }
}

/// How many lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Every task.
    Whole,
    /// Folded when there would be more lines than this, which it may still have then.
    Folded(usize),
    /// Folded, and then cut, to so many lines.
    Cut(usize),
}

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fold {
    Nothing,
    /// Tasks of phases in which all are done.
    Finished,
    /// And of those in which nothing has begun.
    Quiet,
    /// And all others that are done or have not begun.
    Calm,
}

/// The tree, one string a line.
pub fn render(snapshot: &Snapshot, now: Timestamp, look: Look) -> Vec<String> {
    let rows = snapshot.rows();
    let phases = by_phase(&rows);
    let mut lines = folded(snapshot, &rows, &phases, now, look, Fold::Nothing);
    let (Length::Folded(most) | Length::Cut(most)) = look.length else { return lines };
    for fold in [Fold::Finished, Fold::Quiet, Fold::Calm] {
        if lines.len() <= most {
            return lines;
        }
        lines = folded(snapshot, &rows, &phases, now, look, fold);
    }
    if look.length == Length::Cut(most) && lines.len() > most {
        // The last line stays: it is what all the others lead to.
        let last = lines.pop();
        let kept = most.saturating_sub(2);
        let more = lines.len() - kept;
        lines.truncate(kept);
        lines.push(look.line().add(FAINT, &format!("… {more} more lines")).end());
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
    look: Look,
    fold: Fold,
) -> Vec<String> {
    let mut lines = heading(snapshot, rows, now, look);
    for (at, (title, rows)) in phases.iter().enumerate() {
        let last = at + 1 == phases.len() && snapshot.plan.spec.workspace.is_none();
        lines.extend(phase(title, rows, now, look, last, fold));
    }
    lines.extend(integration(snapshot, look));
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

fn heading(snapshot: &Snapshot, rows: &[Row<'_>], now: Timestamp, look: Look) -> Vec<String> {
    let plan = &snapshot.plan;
    let status = plan.status.clone().unwrap_or_default();
    let (symbol, style) = plan_symbol(status.phase);
    let suspended = if plan.spec.suspend { ", suspended" } else { "" };
    let time =
        status.started_at.as_ref().map_or_else(String::new, |start| between(start, status.finished_at.as_ref(), now));
    let title = look
        .line()
        .add(STRONG, &format!("Plan {}/{}", plan.namespace().unwrap_or_default(), plan.name_any()))
        .add(style, &format!("  {symbol} {:?}{suspended}", status.phase))
        .add(FAINT, &format!("  {time}"));
    let mut lines = vec![title.end(), progress(snapshot, rows, look)];
    if let Some(specification) = &snapshot.specification {
        let standing = snapshot.specification_standing(specification, now);
        lines.push(subject("specification", &specification.name_any(), &standing, look));
    }
    lines.push(subject("plan", &plan.name_any(), &snapshot.plan_standing(now), look));
    let unfinished = status.phase != plan::Phase::Succeeded;
    if let Some(ready) = snapshot.ready().filter(|ready| unfinished && ready.status != "True") {
        let style = if snapshot.outcome().is_some() { BAD } else { FAINT };
        lines.push(look.line().add(style, &format!("{}: {}", ready.reason, one_line(&ready.message))).end());
    }
    lines
}

/// The bar and the counts.
fn progress(snapshot: &Snapshot, rows: &[Row<'_>], look: Look) -> String {
    let counts = snapshot.plan.status.as_ref().map(|status| status.tasks.clone()).unwrap_or_default();
    let count = |phase| rows.iter().filter(|row| row.phase == phase).count();
    let done = count(Phase::Succeeded);
    // The tasks of a tasks.md are counted before they exist.
    let all = rows.len().max(counts.total as usize);
    let mut said = format!("  {done} of {all} done");
    let failed = count(Phase::Failed) + count(Phase::Unknown);
    let more = [
        (count(Phase::Running), "running"),
        (failed, "failed"),
        (count(Phase::Cancelled), "cancelled"),
        (counts.retries as usize, "retried"),
    ];
    for (number, word) in more.into_iter().filter(|(number, _)| *number > 0) {
        // Writing to a string cannot fail.
        let _ = write!(said, ", {number} {word}");
    }
    let full = (done * BAR).checked_div(all).unwrap_or_default().min(BAR);
    look.line().add(GOOD, &"█".repeat(full)).add(FAINT, &"░".repeat(BAR - full)).plain(&said).end()
}

/// Where a subject stands with people.
fn subject(kind: &str, name: &str, standing: &Standing, look: Look) -> String {
    let (style, said) = match standing {
        Standing::Unseen => (FAINT, "not looked at yet".to_owned()),
        Standing::Unasked => (FAINT, "asks for no approval".to_owned()),
        Standing::Decided(digest, Verdict::Approved { people, .. }) => {
            (GOOD, format!("✓ approved by {}  {}", people.join(", "), digest.short()))
        }
        Standing::Decided(_, Verdict::Rejected { user, comment }) => {
            (BAD, format!("✗ rejected by {user}: {}", one_line(comment)))
        }
        Standing::Decided(digest, Verdict::Waiting(requirement)) => (WARNING, waiting(kind, name, digest, requirement)),
    };
    let label = format!("{} {name}  ", if kind == "plan" { "Plan" } else { "Specification" });
    look.line().plain(&label).add(style, &said).end()
}

fn waiting(kind: &str, name: &str, digest: &Digest, requirement: &Requirement) -> String {
    let Requirement { have, need, groups, .. } = requirement;
    let by = if groups.is_empty() { String::new() } else { format!(" by {}", groups.join(" or ")) };
    let why = requirement.because.map(|severity| format!(" for its {severity} findings")).unwrap_or_default();
    format!("○ waits for approval{by}{why}, {have} of {need}  {}: enact approve {kind}/{name}", digest.short())
}

fn phase(title: &str, rows: &[&Row<'_>], now: Timestamp, look: Look, last: bool, fold: Fold) -> Vec<String> {
    let done = rows.iter().filter(|row| row.phase == Phase::Succeeded).count();
    let finished = done == rows.len();
    let quiet = rows.iter().all(|row| has_not_begun(row));
    let (branch, trunk) = if last { ("└─", "  ") } else { ("├─", "│ ") };
    let count = format!("{done}/{}", rows.len());
    let room = look.width.saturating_sub(width(&count) + 5);
    let heading = look.line().plain(branch).plain(" ").add(STRONG, &fit(title, room)).plain("  ");
    let mut lines = vec![heading.add(if finished { GOOD } else { FAINT }, &count).end()];
    if (fold >= Fold::Finished && finished) || (fold >= Fold::Quiet && quiet) {
        return lines;
    }
    let is_calm = |row: &Row<'_>| row.phase == Phase::Succeeded || has_not_begun(row);
    let (calm, shown): (Vec<&Row<'_>>, Vec<&Row<'_>>) = rows.iter().partition(|row| fold == Fold::Calm && is_calm(row));
    let ids = shown.iter().map(|row| width(&row.work.id)).max().unwrap_or_default();
    for (at, row) in shown.iter().enumerate() {
        let branch = if at + 1 == shown.len() && calm.is_empty() { "└─" } else { "├─" };
        lines.push(task(row, ids, &format!("{trunk} {branch} "), now, look));
    }
    if !calm.is_empty() {
        let waiting = calm.iter().filter(|row| has_not_begun(row)).count();
        let said = match (calm.len() - waiting, waiting) {
            (done, 0) => format!("{done} more done"),
            (0, waiting) => format!("{waiting} more waiting"),
            (done, waiting) => format!("{done} more done, {waiting} more waiting"),
        };
        lines.push(look.line().plain(trunk).plain(" └─ ").add(FAINT, &said).end());
    }
    lines
}

fn has_not_begun(row: &Row<'_>) -> bool {
    row.phase == Phase::Pending && row.attempts == 0
}

fn task(row: &Row<'_>, ids: usize, prefix: &str, now: Timestamp, look: Look) -> String {
    let (symbol, style) = symbol(row.phase);
    let time = match row.started {
        Some(start) if row.phase == Phase::Running || row.finished.is_some() => between(start, row.finished, now),
        _ => String::new(),
    };
    let line = look
        .line()
        .plain(prefix)
        .add(style, &pad(&format!("{symbol} {:?}", row.phase), STATE))
        .plain(&format!(" {} ", pad(&row.work.id, ids)))
        .add(FAINT, &format!("{time:>TIME$} "));
    let mut said = said(row, now);
    if row.attempts > 1 {
        let attempt = format!("attempt {}", row.attempts);
        said = if said.is_empty() { attempt } else { format!("{attempt}: {said}") };
    }
    // The reason is worth more than the end of the title, but some of the title must stay.
    let room = line.room();
    let title = fit(&row.work.title, room.saturating_sub(width(&said) + 2).max(room / 2));
    line.add(if row.phase == Phase::Pending { FAINT } else { PLAIN }, &title)
        .plain("  ")
        .add(if row.phase == Phase::Failed { BAD } else { FAINT }, &said)
        .end()
}

/// What there is to say about a task beyond its state.
fn said(row: &Row<'_>, now: Timestamp) -> String {
    let ready = row.ready.map(|ready| (ready.reason.as_str(), one_line(&ready.message)));
    match (row.phase, ready) {
        (Phase::Succeeded | Phase::Running, _) => String::new(),
        (Phase::Pending, Some((reason, message))) if row.attempts > 0 => {
            let again = row.retry_at.map(|at| at.0.duration_since(now).as_secs().max(0));
            let again = again.map_or_else(String::new, |seconds| format!("again in {seconds}s, "));
            format!("{again}{reason}: {message}")
        }
        (Phase::Pending, _) if row.waits_for.is_empty() => String::new(),
        (Phase::Pending, _) => format!("waits for {}", some(&row.waits_for, NAMES)),
        (_, Some((reason, message))) => format!("{reason}: {message}"),
        (_, None) => String::new(),
    }
}

fn integration(snapshot: &Snapshot, look: Look) -> Option<String> {
    let workspace = snapshot.plan.spec.workspace.as_ref()?;
    let status = snapshot.plan.status.as_ref().and_then(|status| status.integration.clone()).unwrap_or_default();
    let (symbol, style) = symbol(status.phase);
    let asked = workspace.integration.branch.clone();
    let branch = status.branch.or(asked).unwrap_or_else(|| names::integration_branch(&snapshot.plan.name_any()));
    let mut said = format!(" into {branch}");
    if let Some(commit) = status.commit.as_deref().and_then(|commit| commit.get(..12)) {
        said.push_str(" at ");
        said.push_str(commit);
    }
    if status.attempts > 1 {
        let _ = write!(said, ", attempt {}", status.attempts);
    }
    let mut line = look
        .line()
        .plain("└─ ")
        .add(STRONG, "Integration")
        .add(style, &pad(&format!("  {symbol} {:?}", status.phase), STATE + 2))
        .plain(&said);
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

/// The sign of a task's state.
pub fn symbol(phase: Phase) -> (&'static str, Style) {
    match phase {
        Phase::Pending => ("○", FAINT),
        Phase::Running => ("◐", BUSY),
        Phase::Succeeded => ("✓", GOOD),
        Phase::Failed => ("✗", BAD),
        Phase::Cancelled => ("⊘", WARNING),
        Phase::Unknown => ("?", WARNING),
    }
}

/// The sign of a plan's state.
pub fn plan_symbol(phase: plan::Phase) -> (&'static str, Style) {
    match phase {
        plan::Phase::Pending => ("○", FAINT),
        plan::Phase::Running | plan::Phase::Integrating => ("◐", BUSY),
        plan::Phase::Succeeded => ("✓", GOOD),
        plan::Phase::Failed => ("✗", BAD),
        plan::Phase::Cancelled => ("⊘", WARNING),
    }
}
