//! The tree of a plan, as text. Everything here is a function of its arguments: the time is one of them.

use anstyle::{AnsiColor, Effects, Style};
use enact_crds::common::Time;
use enact_crds::plan;
use enact_crds::task::Phase;
use enact_domain::approval::Verdict;
use enact_domain::digest::Digest;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::snapshot::{Row, Snapshot, Standing};
use super::text::{elapsed, fit, one_line, pad, width};
use crate::terminal::{BAD, Paint, WARNING};

const GOOD: Style = AnsiColor::Green.on_default();
const BUSY: Style = AnsiColor::Cyan.on_default().bold();
const FAINT: Style = Style::new().effects(Effects::DIMMED);
const STRONG: Style = Style::new().bold();
/// Columns of the bar of progress.
const BAR: usize = 24;
/// Columns of a state's word, the longest being `Succeeded`.
const WORD: usize = 10;
/// Columns of a duration.
const TIME: usize = 7;

/// How to show it.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Colours, or none.
    pub paint: Paint,
    /// Columns of the terminal.
    pub width: usize,
    /// Lines of the terminal; none when there is no end to them.
    pub height: Option<usize>,
}

/// The tree, one string a line. With a height it is folded, and then cut, until it fits.
pub fn render(snapshot: &Snapshot, now: Timestamp, look: Look) -> Vec<String> {
    let rows = snapshot.rows();
    let phases = by_phase(&rows);
    let mut lines = Vec::new();
    for fold in [Fold::Nothing, Fold::Finished, Fold::Quiet] {
        lines = heading(snapshot, &rows, now, look);
        for (at, (title, rows)) in phases.iter().enumerate() {
            let last = at + 1 == phases.len() && snapshot.plan.spec.workspace.is_none();
            lines.extend(phase(title, rows, now, look, last, fold));
        }
        lines.extend(integration(snapshot, look));
        if look.height.is_none_or(|height| lines.len() <= height) {
            return lines;
        }
    }
    if let Some(height) = look.height.filter(|height| *height > 0) {
        let more = lines.len() + 1 - height;
        lines.truncate(height - 1);
        lines.push(look.paint.with(FAINT, &fit(&format!("… {more} more lines"), look.width)));
    }
    lines
}

/// Which phases are shown as one line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fold {
    Nothing,
    /// Those whose tasks are all done.
    Finished,
    /// And those in which nothing has begun.
    Quiet,
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
    let name = format!("{}/{}", plan.namespace().unwrap_or_default(), plan.name_any());
    let suspended = if plan.spec.suspend { ", suspended" } else { "" };
    let time =
        status.started_at.as_ref().map_or_else(String::new, |start| between(start, status.finished_at.as_ref(), now));
    let mut lines = vec![format!(
        "{} {}  {}",
        look.paint.with(STRONG, &format!("Plan {name}")),
        look.paint.with(style, &format!("{symbol} {:?}{suspended}", status.phase)),
        look.paint.with(FAINT, &time)
    )];
    let count = |phase| rows.iter().filter(|row| row.phase == phase).count();
    let done = count(Phase::Succeeded);
    let mut counts = format!("{done} of {} done", rows.len());
    let failed = count(Phase::Failed) + count(Phase::Unknown);
    let retried = status.tasks.retries as usize;
    for (number, word) in [(count(Phase::Running), "running"), (failed, "failed"), (retried, "retried")] {
        if number > 0 {
            counts.push_str(&format!(", {number} {word}"));
        }
    }
    lines.push(format!("{}  {counts}", bar(done, rows.len(), look.paint)));
    if let Some(specification) = &snapshot.specification {
        let standing = snapshot.specification_standing(specification);
        lines.push(subject(
            "specification",
            &specification.name_any(),
            &standing,
            &specification.spec.approval.groups,
            look,
        ));
    }
    lines.push(subject("plan", &plan.name_any(), &snapshot.plan_standing(), &plan.spec.approval.groups, look));
    let unfinished = status.phase != plan::Phase::Succeeded;
    if let Some(ready) = snapshot.ready().filter(|ready| unfinished && ready.status != "True") {
        let style = if snapshot.outcome().is_some() { BAD } else { FAINT };
        lines
            .push(look.paint.with(style, &fit(&format!("{}: {}", ready.reason, one_line(&ready.message)), look.width)));
    }
    lines
}

fn bar(done: usize, all: usize, paint: Paint) -> String {
    let full = (done * BAR).checked_div(all).unwrap_or_default();
    format!("{}{}", paint.with(GOOD, &"█".repeat(full)), paint.with(FAINT, &"░".repeat(BAR - full)))
}

/// Where a subject stands with people.
fn subject(kind: &str, name: &str, standing: &Standing, groups: &[String], look: Look) -> String {
    let short = |digest: &Digest| format!("  {}", digest.short());
    let (style, said) = match standing {
        Standing::Unseen => (FAINT, "not looked at yet".to_owned()),
        Standing::Unasked => (FAINT, "asks for no approval".to_owned()),
        Standing::Decided(digest, Verdict::Approved(people)) => {
            (GOOD, format!("✓ approved by {}{}", people.join(", "), short(digest)))
        }
        Standing::Decided(_, Verdict::Rejected { user, comment }) => {
            (BAD, format!("✗ rejected by {user}: {}", one_line(comment)))
        }
        Standing::Decided(digest, Verdict::Waiting { have, need }) => {
            let by = if groups.is_empty() { String::new() } else { format!(" by {}", groups.join(" or ")) };
            (
                WARNING,
                format!("○ waits for approval{by}, {have} of {need}{}: enact approve {kind}/{name}", short(digest)),
            )
        }
    };
    let label = format!("{} {name}", if kind == "plan" { "Plan" } else { "Specification" });
    format!("{label}  {}", look.paint.with(style, &fit(&said, look.width.saturating_sub(width(&label) + 2))))
}

fn phase(title: &str, rows: &[&Row<'_>], now: Timestamp, look: Look, last: bool, fold: Fold) -> Vec<String> {
    let done = rows.iter().filter(|row| row.phase == Phase::Succeeded).count();
    let finished = done == rows.len();
    let quiet = rows.iter().all(|row| row.phase == Phase::Pending && row.attempts == 0);
    let folded = (fold != Fold::Nothing && finished) || (fold == Fold::Quiet && quiet);
    let (branch, trunk) = if last { ("└─", "  ") } else { ("├─", "│ ") };
    let count = format!("{done}/{}", rows.len());
    let style = if finished { GOOD } else { FAINT };
    let room = look.width.saturating_sub(width(&count) + 5);
    let mut lines =
        vec![format!("{branch} {}  {}", look.paint.with(STRONG, &fit(title, room)), look.paint.with(style, &count))];
    if folded {
        return lines;
    }
    let ids = rows.iter().map(|row| width(&row.work.id)).max().unwrap_or_default();
    for (at, row) in rows.iter().enumerate() {
        let branch = if at + 1 == rows.len() { "└─" } else { "├─" };
        lines.push(task(row, ids, &format!("{trunk} {branch}"), now, look));
    }
    lines
}

fn task(row: &Row<'_>, ids: usize, prefix: &str, now: Timestamp, look: Look) -> String {
    let (symbol, style) = symbol(row.phase);
    let state = pad(&format!("{symbol} {:?}", row.phase), WORD + 2);
    let time = match row.started {
        Some(start) if row.phase == Phase::Running || row.finished.is_some() => between(start, row.finished, now),
        _ => String::new(),
    };
    let id = pad(&row.work.id, ids);
    let time = format!("{time:>TIME$}");
    let mut said = said(row, now);
    if row.attempts > 1 {
        let attempt = format!("attempt {}", row.attempts);
        said = if said.is_empty() { attempt } else { format!("{attempt}: {said}") };
    }
    let used = width(prefix) + WORD + 2 + ids + TIME + 5;
    let room = look.width.saturating_sub(used);
    // The reason is worth more than the end of the title, but some of the title must stay.
    let title = fit(&row.work.title, room.saturating_sub(width(&said) + 2).max(room / 2));
    let said = fit(&said, room.saturating_sub(width(&title) + 2));
    let faint = if row.phase == Phase::Pending { FAINT } else { Style::new() };
    let line = format!(
        "{prefix} {} {} {} {}  {}",
        look.paint.with(style, &state),
        id,
        look.paint.with(FAINT, &time),
        look.paint.with(faint, &title),
        look.paint.with(if row.phase == Phase::Failed { BAD } else { FAINT }, &said)
    );
    line.trim_end().to_owned()
}

/// What there is to say about a task beyond its state.
fn said(row: &Row<'_>, now: Timestamp) -> String {
    let ready = row.ready.map(|ready| (ready.reason.as_str(), one_line(&ready.message)));
    match (row.phase, ready) {
        (Phase::Succeeded | Phase::Running, _) => String::new(),
        (Phase::Pending, Some((reason, message))) if row.attempts > 0 => {
            let again = row.retry_at.map(|at| now.until(at.0).map_or(0, |wait| wait.get_seconds().max(0)));
            let again = again.map_or_else(String::new, |seconds| format!("again in {seconds}s, "));
            format!("{again}{reason}: {message}")
        }
        (Phase::Pending, _) if row.waits_for.is_empty() => String::new(),
        (Phase::Pending, _) => format!("waits for {}", row.waits_for.join(", ")),
        (_, Some((reason, message))) => format!("{reason}: {message}"),
        (_, None) => String::new(),
    }
}

fn integration(snapshot: &Snapshot, look: Look) -> Option<String> {
    let workspace = snapshot.plan.spec.workspace.as_ref()?;
    let status = snapshot.plan.status.as_ref().and_then(|status| status.integration.clone()).unwrap_or_default();
    let (symbol, style) = symbol(status.phase);
    let asked = workspace.integration.branch.clone();
    let branch =
        status.branch.or(asked).unwrap_or_else(|| enact_domain::names::integration_branch(&snapshot.plan.name_any()));
    let mut said = format!("into {branch}");
    if let Some(commit) = status.commit.as_deref().and_then(|commit| commit.get(..12)) {
        said.push_str(&format!(" at {commit}"));
    }
    if status.attempts > 1 {
        said.push_str(&format!(", attempt {}", status.attempts));
    }
    if status.phase != Phase::Succeeded
        && let Some(reason) = &status.reason
    {
        said.push_str(&format!("  {reason}: {}", one_line(status.message.as_deref().unwrap_or_default())));
    }
    let state = pad(&format!("{symbol} {:?}", status.phase), WORD + 2);
    let said = fit(&said, look.width.saturating_sub(WORD + 2 + 17));
    Some(format!("└─ {} {} {said}", look.paint.with(STRONG, "Integration"), look.paint.with(style, &state)))
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
