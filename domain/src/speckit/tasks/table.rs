//! Tasks in tables: `| T001 | [ ] | Loader | … |`.

use super::line::{Form, Tags, TaskLine};
use super::marks::{self, Legend};
use super::model::TaskState;
use crate::speckit::ids::{self, Mention, StoryKey};
use crate::speckit::markdown::{Markdown, Row, Span};

/// Columns by the beginning of their header, in lower case.
const STATUS: [&str; 14] = [
    "status",
    "state",
    "done",
    "✓",
    "estado",
    "statut",
    "état",
    "stato",
    "статус",
    "状態",
    "상태",
    "状态",
    "狀態",
    "[ ]",
];
const TITLE: [&str; 25] = [
    "task",
    "title",
    "description",
    "what",
    "name",
    "work",
    "tarea",
    "descripción",
    "título",
    "tâche",
    "titre",
    "aufgabe",
    "titel",
    "beschreibung",
    "attività",
    "descrizione",
    "tarefa",
    "descrição",
    "задача",
    "описание",
    "タスク",
    "内容",
    "작업",
    "任务",
    "描述",
];
const WAITS: [&str; 24] = [
    "depend",
    "deps",
    "can start after",
    "after",
    "blocked by",
    "waits for",
    "needs",
    "requires",
    "prerequisite",
    "dépend",
    "abhängig",
    "voraussetzung",
    "dipende",
    "dipendenz",
    "prerequis",
    "зависи",
    "依存",
    "前提",
    "의존",
    "선행",
    "依赖",
    "依賴",
    "前置",
    "需要",
];
const PARALLEL: [&str; 9] =
    ["parallel", "[p]", "parallèle", "paralelo", "parallelo", "параллел", "並列", "병렬", "并行"];
const STORIES: [&str; 5] = ["story", "user story", "[story]", "histoire", "用户故事"];

/// Returns whether a header names a column of prerequisites.
pub(super) fn waits(header: &str) -> bool {
    is(header, &WAITS)
}

/// A task in a row, and the text of its column of prerequisites.
pub(super) struct TaskRow {
    pub(super) parsed: TaskLine,
    pub(super) waits: Option<String>,
    /// Whether the table shows the state of its tasks, and therefore lists them and does not only mention them.
    pub(super) lists: bool,
}

fn is(header: &str, names: &[&str]) -> bool {
    let header = header.trim_matches(['*', '`', ' ']).to_lowercase();
    names.iter().any(|name| header.starts_with(name))
}

/// Reads the task in a row. Returns none for rows whose first cells have neither an identifier nor a box.
pub(super) fn read(markdown: &Markdown, row: &Row, legend: &Legend) -> Option<TaskRow> {
    let headers = markdown.headers.get(row.table).map(Vec::as_slice).unwrap_or_default();
    let column = |names: &[&str]| headers.iter().position(|header| is(header, names));
    let (id_at, mention, own_prefix) = row.cells.iter().take(2).enumerate().find_map(|(at, cell)| {
        let (mention, own) = whole(cell)?;
        Some((at, mention, own))
    })?;
    let mut tags = Tags::default();
    let status = column(&STATUS);
    let boxed = status.and_then(|at| row.cells.get(at)).map(|cell| cell.trim().to_owned());
    let boxed = boxed.or_else(|| row.cells.iter().find(|cell| mark_of(cell).is_some()).cloned());
    let mark = boxed.as_deref().and_then(mark_of);
    let state = mark.and_then(|mark| legend.state(mark)).or_else(|| boxed.as_deref().and_then(worded));
    let title_at = (0..headers.len()).find(|at| *at != id_at && Some(*at) != status && is(&headers[*at], &TITLE));
    let longest = || {
        let others = (0..row.cells.len())
            .filter(|at| *at != id_at && Some(*at) != status && !headers.get(*at).is_some_and(|h| waits(h)));
        others.max_by_key(|at| (row.cells[*at].len(), std::cmp::Reverse(*at)))
    };
    let mut text = title_at.or_else(longest).and_then(|at| row.cells.get(at).cloned()).unwrap_or_default();
    while let Some((content, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        if !(content.eq_ignore_ascii_case("p") || StoryKey::parse(content).is_some()) {
            break;
        }
        tags.add(content);
        text = rest.trim_start().to_owned();
    }
    let cell = |names: &[&str]| column(names).and_then(|at| row.cells.get(at)).map(|cell| cell.trim());
    tags.parallel |= cell(&PARALLEL).is_some_and(|cell| {
        let lower = cell.to_lowercase();
        lower.starts_with(['✅', '✓', '✔'])
            || ["yes", "[p]", "p", "x", "oui", "ja", "sí", "sim", "да", "是"].contains(&lower.as_str())
    });
    if let Some(key) = cell(&STORIES).and_then(|cell| StoryKey::parse(cell.trim_matches(['[', ']']))) {
        tags.stories.push(key);
    }
    let struck = row.cells[id_at].trim().starts_with("~~");
    let waits = headers.iter().position(|header| waits(header)).and_then(|at| row.cells.get(at)).cloned();
    Some(TaskRow {
        lists: status.is_some() || mark.is_some(),
        waits,
        parsed: TaskLine {
            form: Form::Row,
            mention: mention.last.is_some(),
            ids: vec![mention],
            own_prefix,
            checkbox: mark.and_then(|_| checkbox(markdown, row)),
            unknown_mark: mark.filter(|_| state.is_none()).map(str::to_owned),
            state: if struck { TaskState::Cancelled } else { state.unwrap_or(TaskState::Open) },
            tags,
            text,
        },
    })
}

/// Returns the identifier that is the whole text of a cell, and whether its prefix is the project's own.
fn whole(cell: &str) -> Option<(Mention, bool)> {
    let plain = cell.trim().trim_matches(['*', '`', '~', '[', ']', ' ']);
    let known = ids::id_len(plain).or_else(|| ids::outline_len(plain).filter(|len| plain[..*len].contains('.')));
    let own = || ids::prefixed_len(plain).or_else(|| ids::cell_len(plain));
    let mention = ids::mention_at(plain, 0, known.or_else(own)?);
    (mention.end == plain.len()).then_some((mention, known.is_none()))
}

/// Returns the text between the brackets of a box at the start of a cell.
fn mark_of(cell: &str) -> Option<&str> {
    let (mark, _) = cell.trim().strip_prefix('[')?.split_once(']')?;
    let single = mark.trim_matches('\u{fe0f}').chars().count() <= 1;
    (single && !matches!(mark, "P" | "p")).then_some(mark)
}

fn worded(cell: &str) -> Option<TaskState> {
    cell.chars().next().and_then(marks::sign).or_else(|| marks::worded(cell))
}

/// Returns the place of the box in the source.
fn checkbox(markdown: &Markdown, row: &Row) -> Option<Span> {
    let source = markdown.clean(row.span);
    source.match_indices('[').find_map(|(at, _)| {
        let mark = marks::mark_at(source, at)?;
        let cell = source[..at].trim_end().ends_with('|') && mark.chars().count() <= 2 && !matches!(mark, "P" | "p");
        let start = row.span.start + at + 1;
        cell.then_some(Span { start, end: start + mark.len() })
    })
}
