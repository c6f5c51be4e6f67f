//! Lines that look like work and are not tasks: nothing that a person would call a task is dropped silently.

use std::collections::BTreeMap;

use super::index::Index;
use super::model::{TasksFile, Unread};
use super::phase::Role;
use super::scopes::Scope;
use crate::speckit::diagnostic::Diagnostic;
use crate::speckit::ids::{self, TASK_WORDS, TaskId};
use crate::speckit::markdown::{LineKind, Markdown, strip_marker};

/// Code of the diagnostic about a line that looks like a task and could not be read. Whether it is an error is decided where the document
/// becomes a plan.
pub const UNREAD_TASK: &str = "UnreadTask";

/// Maximum number of diagnostics about single lines; the last one counts the rest.
const MAX_REPORTED: usize = 50;

/// Maximum number of characters of a line in a message.
const MAX_SEEN: usize = 60;

const BOX: &str = "`- [ ] T001 description`, below the heading of a phase";
const HEADING: &str = "`### T001: description`";
const ROW: &str = "a row with an identifier and a column `Status`, in a phase";
const ITEM: &str = "`- [ ] T001 description`, with one identifier";

/// Returns the lines that look like work and are neither covered by a task nor a mention of one. `boxes` are boxes outside of the phases.
pub(super) fn find(
    markdown: &Markdown,
    scopes: &[Scope],
    file: &TasksFile,
    covered: &[bool],
    boxes: &[usize],
) -> Vec<Unread> {
    let index = Index::new(file);
    let known = |id: &TaskId| index.get(id).is_some();
    let mut found: BTreeMap<usize, &'static str> = boxes.iter().map(|line| (*line, BOX)).collect();
    for (index, line) in markdown.lines.iter().enumerate() {
        if covered[index] || scopes[index].role != Role::Work {
            continue;
        }
        let expected = match line.kind {
            LineKind::Text => text_line(markdown.text(index), scopes[index].phase.is_some(), &known),
            LineKind::Indented => text_line(markdown.source_line(index), false, &known),
            LineKind::Heading(level) if level > 1 => heading(markdown.text(index), &known),
            _ => None,
        };
        found.extend(expected.map(|expected| (index, expected)));
    }
    for row in &markdown.rows {
        let index = row.line as usize - 1;
        if covered.get(index) == Some(&false) && scopes[index].role == Role::Work && is_work_row(&row.cells, &known) {
            found.insert(index, ROW);
        }
    }
    let unread = |(index, expected): (usize, &'static str)| Unread {
        line: markdown.lines[index].number,
        seen: seen(markdown.source_line(index)),
        expected,
    };
    found.into_iter().map(unread).collect()
}

/// Returns the form in which a line would be read, if it looks like a task: it has a box, or begins with an unknown identifier.
fn text_line(text: &str, in_phase: bool, known: &impl Fn(&TaskId) -> bool) -> Option<&'static str> {
    let quoted = text.trim_start().trim_start_matches(['>', ' ', '\t']);
    let item = strip_marker(quoted);
    let boxed = after_box(item);
    let rest = boxed.unwrap_or(item);
    let rest = rest.strip_prefix("[P] ").unwrap_or(rest).trim_start_matches(['*', '`', '_', '[', ' ']);
    let id = ids::id_len(rest).filter(|len| *len > 2).map(|len| ids::mention_at(rest, 0, len));
    match (boxed, id) {
        // A quoted or indented box is a mention if its task is known.
        (Some(_), Some(id)) => (!known(&id.first)).then_some(BOX),
        (Some(rest), None) => (!rest.trim().is_empty()).then_some(BOX),
        (None, Some(id)) => {
            let listed = item.len() < quoted.len();
            (in_phase && listed && id.last.is_none() && id.first.width() > 2 && !known(&id.first)).then_some(ITEM)
        }
        (None, None) => None,
    }
}

/// Returns the text after a box, also a malformed one.
fn after_box(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix(['☐', '☑', '☒']) {
        return Some(rest);
    }
    let (mark, rest) = text.strip_prefix('[')?.split_once(']')?;
    let plain = mark.trim().trim_matches('\u{fe0f}');
    let known = plain.is_empty() || (plain.chars().count() == 1 && !plain.starts_with(|c: char| c.is_ascii_digit()));
    (known && !matches!(plain, "P" | "p") && !rest.starts_with(['(', '[', ':'])).then_some(rest)
}

/// Returns the form in which a heading would be read, if it looks like a task: `### Task A: …`, `### T001 and T002`.
fn heading(text: &str, known: &impl Fn(&TaskId) -> bool) -> Option<&'static str> {
    let title = text.trim_start_matches(['#', ' ', '\u{feff}']).trim_start_matches(|c: char| !c.is_alphanumeric());
    if let Some(len) = ids::id_len(title).filter(|len| *len > 2) {
        let mention = ids::mention_at(title, 0, len);
        return (!known(&mention.first)).then_some(HEADING);
    }
    let lower = title.to_lowercase();
    let rest = TASK_WORDS.iter().find_map(|word| lower.strip_prefix(word))?;
    let (name, rest) = rest.split_once([':', '：'])?;
    let singular = !lower.starts_with("tasks") && name.starts_with(' ');
    (singular && name.trim().chars().count() <= 4 && !rest.trim().is_empty()).then_some(HEADING)
}

fn is_work_row(cells: &[String], known: &impl Fn(&TaskId) -> bool) -> bool {
    let id = cells.iter().take(2).find_map(|cell| {
        let plain = cell.trim().trim_matches(['*', '`', ' ']);
        let len = ids::id_len(plain).filter(|len| *len > 2)?;
        Some(ids::mention_at(plain, 0, len).first)
    });
    let boxed = cells.iter().any(|cell| after_box(cell.trim()).is_some_and(|rest| rest.trim().is_empty()));
    id.map_or(boxed, |id| !known(&id))
}

fn seen(line: &str) -> String {
    let line = line.trim();
    match line.char_indices().nth(MAX_SEEN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// Returns the diagnostics about unread lines, and about a file without tasks.
pub(super) fn report(markdown: &Markdown, file: &TasksFile) -> Vec<Diagnostic> {
    if file.tasks.is_empty() {
        return vec![no_tasks(markdown, file)];
    }
    let mut found: Vec<Diagnostic> = file
        .unread
        .iter()
        .take(MAX_REPORTED)
        .map(|unread| {
            let message = format!("this line looks like a task and could not be read: `{}`", unread.seen);
            let remedy = format!(
                "write it as {}, remove the box, or move it below a heading such as `## Checklist`",
                unread.expected
            );
            Diagnostic::warning(unread.line, UNREAD_TASK, message, remedy)
        })
        .collect();
    if let Some(first) = file.unread.get(MAX_REPORTED) {
        let message = format!(
            "{} more lines from here on look like tasks and could not be read",
            file.unread.len() - MAX_REPORTED
        );
        found.push(Diagnostic::warning(first.line, UNREAD_TASK, message, format!("write them as {BOX}")));
    }
    found
}

/// Returns the error about a file without tasks, with the lines that look like some.
fn no_tasks(markdown: &Markdown, file: &TasksFile) -> Diagnostic {
    const NAMED: usize = 8;
    let looks = |index: usize| {
        let text = markdown.source_line(index);
        text_line(text, true, &|_| false).is_some() || heading(text, &|_| false).is_some()
    };
    let mut lines: Vec<usize> = file.unread.iter().map(|unread| unread.line as usize - 1).collect();
    if lines.is_empty() {
        lines = (0..markdown.lines.len()).filter(|index| looks(*index)).collect();
    }
    let remedy = "write tasks as `- [ ] T001 description`, under phase headings";
    let Some(first) = lines.first() else {
        return Diagnostic::error(1, "NoTasks", "no task was found", remedy);
    };
    let shown: Vec<String> = lines.iter().take(NAMED).map(|index| markdown.lines[*index].number.to_string()).collect();
    let more = if lines.len() > NAMED { ", …" } else { "" };
    let message = format!(
        "no task was found, but {} lines look like tasks (lines {}{more}), the first one written as `{}`",
        lines.len(),
        shown.join(", "),
        seen(markdown.source_line(*first))
    );
    Diagnostic::error(markdown.lines[*first].number, "NoTasks", message, remedy)
}

/// Returns one diagnostic for each list of boxes that are conditions, not tasks.
pub(super) fn conditions(markdown: &Markdown, lines: &[usize]) -> Vec<Diagnostic> {
    let heading = |line: usize| markdown.sections.partition_point(|s| s.heading <= line);
    let lists = lines.chunk_by(|one, other| heading(*one) == heading(*other));
    lists
        .map(|list| {
            let section =
                heading(list[0]).checked_sub(1).map_or("the title", |at| markdown.sections[at].title.as_str());
            let message =
                format!("{} boxes below {:?} are conditions that people check, not tasks", list.len(), seen(section));
            let remedy = "nothing to do; for a task, write `- [ ] T001 description` below the heading of a phase";
            Diagnostic::info(markdown.lines[list[0]].number, "ChecklistItems", message, remedy)
        })
        .collect()
}
