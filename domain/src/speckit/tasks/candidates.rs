//! Lines that may be tasks, and the choice between several lines about one task.

use std::collections::{HashMap, HashSet};

use super::line::{self, Form, TaskLine};
use super::marks::Legend;
use super::model::TaskState;
use super::phase::{self, Role};
use super::scopes::Scope;
use super::table;
use crate::speckit::diagnostic::Diagnostic;
use crate::speckit::ids::{self, Forms, TASK_WORDS, TaskId};
use crate::speckit::markdown::{LineKind, Markdown, Section, Span};
use crate::speckit::words;

/// A line that may be a task, before lines about the same task are sorted out.
pub(super) struct Candidate {
    pub(super) line: usize,
    pub(super) id: TaskId,
    pub(super) parsed: TaskLine,
    level: Level,
    pub(super) scope: Scope,
    /// Text of a column of prerequisites.
    pub(super) waits: Option<String>,
    /// The section of a heading with the same identifier.
    pub(super) section: Option<Span>,
}

/// How certainly a line defines a task. Of several lines about one task, the most certain one defines it, and the others mention it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// A box among notes or conditions, or a sentence about several tasks.
    Mention,
    /// A list item without a box, or a row of a table without states.
    Weak,
    /// A box outside of the phases.
    Outside,
    Heading,
    /// A box or a row with a state, in a phase.
    Listed,
}

/// All lines that may be tasks.
pub(super) struct Candidates {
    /// Lines with an identifier, in order.
    pub(super) named: Vec<Candidate>,
    /// Boxes without an identifier, in order.
    pub(super) boxes: Vec<(usize, TaskLine)>,
}

/// Returns the legend of a document: the meaning of the marks between brackets.
pub(super) fn legend(markdown: &Markdown) -> Legend {
    let mut legend = Legend::default();
    let plain = Legend::default();
    let mut kiro = false;
    for (index, line) in markdown.lines.iter().enumerate() {
        let text = markdown.text(index);
        if !matches!(line.kind, LineKind::Text | LineKind::Table)
            || memchr::memchr2(b'[', b'_', text.as_bytes()).is_none()
        {
            continue;
        }
        kiro |= text.trim_start().starts_with("- _Requirements:") || text.trim_start().starts_with("_Requirements:");
        if Legend::may_explain(text) && line::parse(text, false, &plain).is_none_or(|task| task.ids.is_empty()) {
            legend.read(text);
        }
    }
    if kiro {
        legend.kiro();
    }
    let headings = || markdown.sections.iter().map(|section| markdown.text(section.heading));
    legend.parted = headings().any(line::is_parted);
    let issues: HashSet<&str> = headings().filter_map(line::issue).collect();
    legend.issues = issues.len() > 1 && has_only_headings(markdown, &plain);
    legend
}

/// Returns whether a document has the title of a task list, but neither boxes nor identifiers of tasks.
fn has_only_headings(markdown: &Markdown, legend: &Legend) -> bool {
    let titled = markdown.title(&[]).is_some_and(|title| {
        let lower = title.text.to_lowercase();
        TASK_WORDS.iter().any(|word| words::contains(&lower, word))
    });
    let is_task = |index: usize| {
        let heading = match markdown.lines[index].kind {
            LineKind::Heading(_) => true,
            LineKind::Text => false,
            _ => return false,
        };
        line::parse(markdown.text(index), heading, legend).is_some()
    };
    let row = |row| table::read(markdown, row, legend).is_some();
    titled && !(0..markdown.lines.len()).any(is_task) && !markdown.rows.iter().any(row)
}

/// Returns every line that may be a task.
pub(super) fn find(markdown: &Markdown, scopes: &[Scope], legend: &Legend) -> Candidates {
    let mut found = Candidates { named: Vec::new(), boxes: Vec::new() };
    for (index, line) in markdown.lines.iter().enumerate() {
        let heading = matches!(line.kind, LineKind::Heading(_));
        if !heading && line.kind != LineKind::Text {
            continue;
        }
        let Some(mut parsed) = line::parse(markdown.text(index), heading, legend) else { continue };
        let offset = line.span.start;
        parsed.checkbox = parsed.checkbox.map(|span| Span { start: span.start + offset, end: span.end + offset });
        let scope = scopes[index];
        let notes = scope.role != Role::Work;
        if parsed.form == Form::Unboxed && (notes || scope.phase.is_none()) || (notes && heading) {
            continue;
        }
        let level = match parsed.form {
            Form::Boxed if notes || parsed.mention => Level::Mention,
            Form::Boxed if scope.phase.is_none() => Level::Outside,
            Form::Boxed | Form::Row => Level::Listed,
            Form::Heading => Level::Heading,
            Form::Unboxed => Level::Weak,
        };
        match parsed.ids.first() {
            None => found.boxes.push((index, parsed)),
            Some(id) => {
                let id = id.first.clone();
                found.named.push(Candidate { line: index, id, parsed, level, scope, waits: None, section: None });
            }
        }
    }
    for row in &markdown.rows {
        let index = row.line as usize - 1;
        let Some(scope) = scopes.get(index).copied().filter(|scope| scope.role == Role::Work) else { continue };
        let Some(table::TaskRow { parsed, waits, lists }) = table::read(markdown, row, legend) else { continue };
        let level = if lists && !parsed.mention { Level::Listed } else { Level::Weak };
        // A range in a summary is never a task, and identifiers of the project's own can be those of anything.
        if !parsed.mention && (lists || !parsed.own_prefix) {
            let id = parsed.ids[0].first.clone();
            found.named.push(Candidate { line: index, id, parsed, level, scope, waits, section: None });
        }
    }
    found.named.sort_by_key(|candidate| candidate.line);
    found.without_strange_prefixes(markdown);
    found.without_lone_words();
    found
}

impl Candidates {
    /// Makes boxes with a prefix that only one identifier has boxes without identifier: `- [ ] UTF-8 everywhere`. Beside other prefixes of the
    /// project's own, `**SYS-001**: …` has one. Headings and rows with a lone prefix are not tasks.
    fn without_strange_prefixes(&mut self, markdown: &Markdown) {
        const WIDTH: usize = 3;
        let mut ids: HashMap<String, HashSet<TaskId>> = HashMap::new();
        for candidate in self.named.iter().filter(|candidate| candidate.parsed.own_prefix) {
            ids.entry(candidate.id.prefix().to_owned()).or_default().insert(candidate.id.clone());
        }
        if ids.is_empty() {
            return;
        }
        let several = |candidate: &Candidate| ids.get(candidate.id.prefix()).is_some_and(|ids| ids.len() > 1);
        let own = self.named.iter().any(|candidate| candidate.parsed.own_prefix && several(candidate));
        let labelled = |candidate: &Candidate| {
            let (id, text) = (candidate.id.as_str(), markdown.text(candidate.line));
            let behind = text.split_once(id).map_or("", |(_, behind)| behind);
            id.contains('-') && candidate.id.width() >= WIDTH && (behind.starts_with("**") || behind.starts_with(':'))
        };
        let (named, strange): (Vec<_>, Vec<_>) = std::mem::take(&mut self.named)
            .into_iter()
            .partition(|c| !c.parsed.own_prefix || several(c) || own && labelled(c));
        self.named = named;
        for Candidate { line, mut parsed, .. } in strange.into_iter().filter(|c| c.parsed.form == Form::Boxed) {
            parsed.text = format!("{} {}", parsed.ids[0].first, parsed.text);
            parsed.ids.clear();
            self.boxes.push((line, parsed));
        }
        self.boxes.sort_by_key(|(line, _)| *line);
    }

    /// Makes a word in lower case behind an identifier a part of the text, unless it separates several tasks: `T001-create the folder`,
    /// but `T058-happy` beside `T058-edge`.
    fn without_lone_words(&mut self) {
        let worded = |candidate: &Candidate| candidate.id.ends_with_word();
        if !self.named.iter().any(worded) {
            return;
        }
        let mut ids: HashMap<TaskId, HashSet<TaskId>> = HashMap::new();
        for candidate in self.named.iter().filter(|candidate| candidate.level > Level::Mention) {
            ids.entry(candidate.id.root()).or_default().insert(candidate.id.clone());
        }
        for candidate in self.named.iter_mut().filter(|candidate| worded(candidate)) {
            let root = candidate.id.root();
            if candidate.level > Level::Mention && ids.get(&root).is_some_and(|ids| ids.len() > 1) {
                continue;
            }
            let word = candidate.id.as_str().strip_prefix(root.as_str()).unwrap_or_default().trim_start_matches('-');
            candidate.parsed.text = format!("{word} {}", candidate.parsed.text);
            candidate.parsed.ids[0].first = root.clone();
            candidate.id = root;
        }
    }

    /// Returns the forms of the identifiers in the file.
    pub(super) fn forms(&self, legend: &Legend) -> Forms {
        let mut forms = Forms { parted: legend.parted, issues: legend.issues, ..Forms::default() };
        for candidate in &self.named {
            if candidate.id.is_outline() {
                forms.outline = true;
            } else if candidate.parsed.own_prefix && !forms.prefixes.iter().any(|known| known == candidate.id.prefix())
            {
                forms.prefixes.push(candidate.id.prefix().to_owned());
            }
        }
        forms
    }
}

/// Returns the candidates that define tasks, in order, each identifier once, with what the other lines about the same task add.
pub(super) fn choose(
    markdown: &Markdown,
    candidates: Vec<Candidate>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Candidate> {
    let mut groups: HashMap<TaskId, Vec<usize>> = HashMap::with_capacity(candidates.len());
    for (at, candidate) in candidates.iter().enumerate() {
        groups.entry(candidate.id.clone()).or_default().push(at);
    }
    let mut slots: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
    for group in groups.into_values().filter(|group| group.len() > 1) {
        let mut lines: Vec<Candidate> = group.iter().filter_map(|at| slots[*at].take()).collect();
        let winner = winner(markdown, &lines);
        let mut kept = lines.remove(winner);
        for other in lines {
            let heading = other.parsed.form == Form::Heading;
            if other.level == kept.level
                && other.level > Level::Mention
                && other.parsed.form != Form::Row
                && !is_detail(&other)
            {
                diagnostics.push(duplicate(markdown, &kept, &other));
            } else if heading && kept.section.is_none() {
                kept.section = section(markdown, other.line).map(|s| markdown.span_of(s.heading..s.end));
            } else {
                adopt(&mut kept, other);
            }
        }
        slots[group[winner]] = Some(kept);
    }
    slots.into_iter().flatten().collect()
}

/// Returns the index of the line that defines the task: the most certain one, or the heading above it, whose section describes the task.
fn winner(markdown: &Markdown, lines: &[Candidate]) -> usize {
    let best = (0..lines.len()).rev().max_by_key(|at| lines[*at].level).unwrap_or(0);
    let around = |candidate: &Candidate| {
        candidate.parsed.form == Form::Heading
            && section(markdown, candidate.line).is_some_and(|s| (s.heading + 1..s.end).contains(&lines[best].line))
    };
    lines.iter().position(around).unwrap_or(best)
}

/// Takes the box of another line about the same task, if this one has none and no mark.
fn adopt(kept: &mut Candidate, other: Candidate) {
    let Some(span) = other.parsed.checkbox else { return };
    if kept.parsed.checkbox.is_some() || kept.parsed.state != TaskState::Open || kept.parsed.form == Form::Boxed {
        return;
    }
    kept.parsed.state = other.parsed.state;
    kept.parsed.unknown_mark = other.parsed.unknown_mark;
    kept.parsed.checkbox = Some(span);
    kept.parsed.tags.parallel |= other.parsed.tags.parallel;
    for key in other.parsed.tags.stories {
        if !kept.parsed.tags.stories.contains(&key) {
            kept.parsed.tags.stories.push(key);
        }
    }
}

/// Returns whether a second heading only has details: `### T001 details`.
fn is_detail(candidate: &Candidate) -> bool {
    const DETAILS: [&str; 14] = [
        "detail",
        "note",
        "implementation",
        "evidence",
        "result",
        "détail",
        "einzelheit",
        "detalle",
        "dettagli",
        "detalhe",
        "подробн",
        "詳細",
        "상세",
        "详情",
    ];
    let lower = candidate.parsed.text.to_lowercase();
    candidate.parsed.form == Form::Heading && DETAILS.iter().any(|word| lower.starts_with(word))
}

fn duplicate(markdown: &Markdown, kept: &Candidate, other: &Candidate) -> Diagnostic {
    let number = |candidate: &Candidate| markdown.lines[candidate.line].number;
    let (here, there, id) = (number(other), number(kept), &other.id);
    // If the second line is cancelled, no work is lost, so the duplicate is only a warning.
    let new = if other.parsed.state == TaskState::Cancelled { Diagnostic::warning } else { Diagnostic::error };
    new(
        here,
        "DuplicateTask",
        format!("{id} is defined on line {there} and again on line {here}; the second is ignored"),
        "give one of them another identifier".to_owned(),
    )
}

fn section(markdown: &Markdown, heading: usize) -> Option<&Section> {
    let at = markdown.sections.binary_search_by_key(&heading, |s| s.heading).ok()?;
    Some(&markdown.sections[at])
}

/// Returns whether the text of a box says which tasks are for something else: `AC-1 → T001, T004`.
fn is_trace(text: &str) -> bool {
    let Some(len) = ids::other_len(text) else { return false };
    let rest = text[len..].trim_start_matches([' ', ':', '*', '`']);
    let tasks = ["→", "->", "⇒", "=>"].iter().find_map(|arrow| rest.strip_prefix(arrow));
    tasks.is_some_and(|tasks| ids::id_len(tasks.trim_start_matches([' ', '*', '`'])).is_some())
}

/// Returns whether the text of a box is the name of a phase, whose tasks are elsewhere: `Phase 1: Setup (7/7 complete)`.
fn is_summary(text: &str) -> bool {
    let plain = text.replace(['*', '`'], "");
    let Some(number) = phase::heading(&plain).and_then(|heading| heading.number) else { return false };
    let behind = plain.split_once(&number).map_or("", |(_, behind)| behind.trim_start());
    behind.is_empty() || behind.starts_with([':', '：', '-', '–', '—', '(', '（'])
}

/// Assigns identifiers to boxes without any: those that are work and not part of another task. `inside` says whether a line is part of a
/// task, `end` where the item of a line ends. Returns the tasks, and the lines of boxes that are conditions.
pub(super) fn assign(
    boxes: Vec<(usize, TaskLine)>,
    scopes: &[Scope],
    only_boxes: bool,
    inside: impl Fn(usize) -> bool,
    end: impl Fn(usize) -> usize,
) -> (Vec<Candidate>, Vec<usize>, Vec<usize>) {
    let (mut tasks, mut conditions, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    let mut repeated: HashMap<String, usize> = HashMap::new();
    let mut taken: HashSet<TaskId> = HashSet::new();
    let mut until = 0;
    for (line, parsed) in boxes {
        if line < until || inside(line) {
            continue;
        }
        until = end(line);
        let scope = scopes[line];
        if scope.role != Role::Work || is_trace(&parsed.text) || !only_boxes && is_summary(&parsed.text) {
            conditions.push(line);
        } else if scope.phase.is_none() && !only_boxes {
            unread.push(line);
        } else {
            let count = repeated.entry(parsed.text.clone()).or_insert(0);
            let mut id = TaskId::assigned(&parsed.text, *count);
            // Two texts with one digest are as rare as they are legal.
            while !taken.insert(id.clone()) {
                *count += 1;
                id = TaskId::assigned(&parsed.text, *count);
            }
            *count += 1;
            let level = Level::Listed;
            tasks.push(Candidate { line, id, parsed, level, scope, waits: None, section: None });
        }
    }
    (tasks, conditions, unread)
}
