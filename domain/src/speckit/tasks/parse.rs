//! Parses phases and tasks from the Markdown tree.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::candidates::{self, Candidate};
use super::line::{self, Form, TaskLine};
use super::marks::Legend;
use super::mentions::{self, Mentioned};
use super::model::{Phase, PhaseKind, Task, TaskState, TasksFile};
use super::phase::{PhaseHeading, Role};
use super::references::Reference;
use super::resolve::{self, LocatedStatement};
use super::scopes::{self, Scope};
use super::statements::{self, Context, Statement};
use super::{order, paths, table, template, unread};
use crate::speckit::diagnostic::{Diagnostic, Parsed};
use crate::speckit::ids::{Forms, Mention, TaskId};
use crate::speckit::markdown::{self, Item, LineKind, Markdown, Section, Span, joined};
use crate::speckit::words;

/// Maximum number of tasks in one file, and of one plan. Each of them is an object in the cluster, and can wait for all others.
pub const MAX_TASKS: usize = 5_000;

/// Maximum number of dependencies that follow from the order of phases. Between two phases of parallel tasks, they are the product of
/// both sizes.
pub const MAX_DEPENDENCIES: usize = 250_000;

pub fn parse(bytes: &[u8]) -> Parsed<TasksFile> {
    let (markdown, diagnostics) = match markdown::read(bytes) {
        Ok(read) => read,
        Err(diagnostic) => return Parsed::new(TasksFile::default(), vec![diagnostic]),
    };
    let legend = candidates::legend(&markdown);
    let (scopes, headings) = scopes::find(&markdown, &legend);
    let mut builder = Builder { scopes, markdown, legend, diagnostics, phases: BTreeMap::new() };
    builder.open_phases(headings);
    let model = builder.build();
    Parsed::new(model, builder.diagnostics)
}

struct Builder {
    markdown: Markdown,
    scopes: Vec<Scope>,
    legend: Legend,
    diagnostics: Vec<Diagnostic>,
    /// Phases by the line index of their heading.
    phases: BTreeMap<usize, Phase>,
}

/// The lines of the tasks, and what was seen on other lines.
struct Accepted {
    tasks: Vec<Candidate>,
    /// Lines that mention tasks, or whose boxes are conditions.
    known: Vec<usize>,
    /// Boxes that are neither tasks nor conditions.
    boxes: Vec<usize>,
    forms: Forms,
}

impl Builder {
    fn build(&mut self) -> TasksFile {
        // Task lines come first: the lines of a task end where the next task begins.
        let items = self.item_ends();
        let Accepted { tasks: accepted, known, boxes, forms } = self.accepted(&items);
        let starts: Vec<usize> = accepted.iter().map(|c| c.line).collect();
        let mut tasks = Vec::with_capacity(accepted.len());
        let mut stated = Vec::new();
        let mut mentioned = Vec::new();
        let mut covered = vec![false; self.markdown.lines.len()];
        for line in known {
            covered[line] = true;
        }
        for (at, candidate) in accepted.into_iter().enumerate() {
            let next = starts.get(at + 1).copied().unwrap_or(self.markdown.lines.len());
            let lines = candidate.line..self.end_of(&candidate, &items, next);
            covered[lines.clone()].fill(true);
            let task = self.task(candidate, lines, at, &forms, (&mut stated, &mut mentioned));
            tasks.push(task);
        }
        let mut file = TasksFile {
            source: String::new(),
            title: self.title(),
            phases: Vec::new(),
            tasks,
            precedences: Vec::new(),
            unread: Vec::new(),
        };
        // Until here, a task refers to its phase by the line of the heading, since tasks without a phase heading add phases during
        // parsing.
        self.settle_phases(&mut file);
        self.state_labels(&file, &covered, &forms, &mut stated);
        // Statements are resolved last: they name tasks and phases anywhere in the document.
        self.state_sections(&file, &forms, &mut stated);
        self.diagnostics.extend(resolve::apply(&mut file, stated));
        self.diagnostics.extend(template::check(&self.markdown, &file));
        file.unread = unread::find(&self.markdown, &self.scopes, &file, &covered, &boxes);
        self.diagnostics.extend(unread::report(&self.markdown, &file));
        // After the statements, since the number of dependencies depends on them.
        let too_many = order::too_many_edges(&file, MAX_DEPENDENCIES);
        if too_many.is_none() {
            self.diagnostics.extend(mentions::report(&file, mentioned));
        }
        if let Some((line, edges)) = too_many {
            self.diagnostics.push(Diagnostic::error(
                line,
                "TooManyDependencies",
                format!(
                    "the tasks up to this phase have {edges} dependencies, and at most {MAX_DEPENDENCIES} are allowed"
                ),
                "start this phase with one task without [P], so that its other tasks depend on that task only, or split the feature",
            ));
        }
        // Last, because everything above still reads the source.
        file.source = std::mem::take(&mut self.markdown.source);
        file
    }

    fn title(&self) -> Option<Item> {
        let section = self.markdown.sections.iter().find(|s| s.level == 1)?;
        let line = self.markdown.lines[section.heading];
        let text =
            ["Tasks:", "Task List:", "Tasks -", "Tasks —", "Tasks"].iter().find_map(|p| section.title.strip_prefix(p));
        let text = text.map(str::trim).filter(|t| !t.is_empty()).unwrap_or(&section.title).to_owned();
        Some(Item { text, line: line.number, span: line.span })
    }

    fn open_phases(&mut self, headings: Vec<(usize, PhaseHeading)>) {
        for (section, heading) in headings {
            let Section { heading: line, end, .. } = self.markdown.sections[section];
            let phase = self.phase(line..end, heading.number, heading.title, heading.kind);
            self.phases.insert(line, phase);
        }
        for index in 0..self.markdown.lines.len() {
            self.phase_label(index);
        }
    }

    fn phase(&self, lines: Range<usize>, number: Option<String>, title: String, kind: PhaseKind) -> Phase {
        let span = self.markdown.span_of(lines.clone());
        let line = self.markdown.lines.get(lines.start).map_or(1, |l| l.number);
        Phase { number, title, kind, purpose: None, independent_test: None, checkpoint: None, line, span }
    }

    /// Reads `**Purpose**: …` and the other labels of a phase; wrapped lines belong to them.
    fn phase_label(&mut self, index: usize) {
        let line = self.markdown.lines[index];
        let Some(opened) = self.scopes[index].phase.filter(|_| line.kind == LineKind::Text) else {
            return;
        };
        let Some((label, _)) = markdown::label(self.markdown.text(index)) else {
            return;
        };
        let label = label.to_lowercase();
        let wanted = |p: &mut Phase| -> bool {
            let field = match label.as_str() {
                "purpose" | "goal" => &mut p.purpose,
                name if words::INDEPENDENT_TEST.contains(&name) => &mut p.independent_test,
                "checkpoint" => &mut p.checkpoint,
                _ => return false,
            };
            field.is_none()
        };
        if !self.phases.get_mut(&opened).is_some_and(wanted) {
            return;
        }
        let end = self.markdown.paragraph_end(index);
        let span = self.markdown.span_of(index..end);
        let text = markdown::label(self.markdown.clean(span)).map(|(_, text)| joined(text)).unwrap_or_default();
        let item = Some(Item { text, line: line.number, span });
        if let Some(phase) = self.phases.get_mut(&opened) {
            match label.as_str() {
                "checkpoint" => phase.checkpoint = item,
                name if words::INDEPENDENT_TEST.contains(&name) => phase.independent_test = item,
                _ => phase.purpose = item,
            }
        }
    }

    /// Returns the lines that are tasks, in order, each identifier once.
    fn accepted(&mut self, items: &[(usize, usize)]) -> Accepted {
        let found = candidates::find(&self.markdown, &self.scopes, &self.legend);
        let forms = found.forms(&self.legend);
        let mut known: Vec<usize> = found.named.iter().map(|candidate| candidate.line).collect();
        let named = candidates::choose(&self.markdown, found.named, &mut self.diagnostics);
        let mut named = self.grouped(named);
        let ends: Vec<usize> = (0..named.len())
            .map(|at| {
                self.end_of(&named[at], items, named.get(at + 1).map_or(self.markdown.lines.len(), |next| next.line))
            })
            .collect();
        let inside =
            |line: usize| named.partition_point(|c| c.line <= line).checked_sub(1).is_some_and(|at| line < ends[at]);
        let end = |line: usize| item_end(items, line).unwrap_or(line + 1);
        let assigned = candidates::assign(found.boxes, &self.scopes, named.is_empty(), inside, end);
        let (assigned, conditions, boxes) = assigned;
        self.diagnostics.extend(unread::conditions(&self.markdown, &conditions));
        known.extend(conditions);
        named.extend(assigned);
        named.sort_by_key(|candidate| candidate.line);
        if named.len() > MAX_TASKS {
            let line = self.markdown.lines[named[MAX_TASKS].line].number;
            self.diagnostics.push(Diagnostic::error(
                line,
                "TooManyTasks",
                format!("the file has {} tasks; the tasks from this line on are ignored", named.len()),
                format!("split the feature, so that each file has at most {MAX_TASKS} tasks"),
            ));
            known.extend(named[MAX_TASKS..].iter().map(|candidate| candidate.line));
            named.truncate(MAX_TASKS);
        }
        Accepted { tasks: named, known, boxes, forms }
    }

    /// Makes a numbered task with numbered tasks below it a phase, as in the task lists of Kiro: `1.` is the group of `1.1` and `1.2`.
    fn grouped(&mut self, named: Vec<Candidate>) -> Vec<Candidate> {
        let mut tasks: Vec<Candidate> = Vec::with_capacity(named.len());
        let mut named = named.into_iter().peekable();
        let mut group: Option<(TaskId, usize)> = None;
        let mut groups = false;
        while let Some(mut candidate) = named.next() {
            let below = group.as_ref().filter(|(parent, _)| candidate.id.is_below(parent)).map(|(_, line)| *line);
            if let Some(line) = below {
                candidate.scope.phase = Some(line);
            } else if candidate.parsed.form == Form::Boxed
                && named.peek().is_some_and(|next| next.id.is_below(&candidate.id))
            {
                let line = candidate.line;
                let (number, title) = (candidate.id.to_string(), candidate.parsed.text);
                let phase = self.phase(line..line + 1, Some(number), title, PhaseKind::Other);
                self.phases.insert(line, phase);
                group = Some((candidate.id, line));
                groups = true;
                continue;
            } else {
                group = None;
                // A task beside the groups is a group of its own, so that it keeps its place among them.
                if groups && candidate.id.is_outline() {
                    let line = candidate.line;
                    let (number, title) = (candidate.id.to_string(), candidate.parsed.text.clone());
                    let phase = self.phase(line..line + 1, Some(number), title, PhaseKind::Other);
                    self.phases.insert(line, phase);
                    candidate.scope.phase = Some(line);
                }
            }
            tasks.push(candidate);
        }
        tasks
    }

    /// Returns each line that begins a list item, in order, with one past the last line of the item; the innermost comes last.
    fn item_ends(&self) -> Vec<(usize, usize)> {
        let line = |offset| self.markdown.line_index(offset);
        let items = self.markdown.items.iter();
        items.map(|i| (line(i.span.start), line(i.span.end.saturating_sub(1).max(i.span.start)) + 1)).collect()
    }

    /// Returns one past the last line of a task.
    fn end_of(&self, candidate: &Candidate, items: &[(usize, usize)], next: usize) -> usize {
        let start = candidate.line;
        if candidate.parsed.form == Form::Row {
            return start + 1;
        }
        if candidate.parsed.form == Form::Heading {
            let at = self.markdown.sections.partition_point(|s| s.heading < start);
            return self.markdown.sections.get(at).map_or(start + 1, |s| s.end).min(next);
        }
        let end = item_end(items, start);
        // A list item ends with the item, other lines with their paragraph.
        let limit = end.unwrap_or_else(|| self.markdown.paragraph_end(start)).min(next);
        let foreign = |index: &usize| {
            let text = self.markdown.text(*index);
            let label = markdown::label(text).is_some_and(|(label, _)| label.eq_ignore_ascii_case("checkpoint"));
            matches!(self.markdown.lines[*index].kind, LineKind::Heading(_)) || label || markdown::is_rule(text)
        };
        // Headings, checkpoints and rules belong to the phase, even if they are indented like the item.
        (start + 1..limit).find(foreign).unwrap_or(limit)
    }

    /// Reads the task with this index, and adds its statements about order to `stated`.
    fn task(
        &mut self,
        candidate: Candidate,
        lines: Range<usize>,
        index: usize,
        forms: &Forms,
        (stated, mentioned): (&mut Vec<LocatedStatement>, &mut Vec<Mentioned>),
    ) -> Task {
        let Candidate { line: start, id, mut parsed, scope, waits, section, .. } = candidate;
        let single = matches!(parsed.form, Form::Heading | Form::Row);
        let wrapped = if single { start + 1 } else { self.markdown.paragraph_end(start).min(lines.end) };
        if wrapped > start + 1 {
            // Tags at the end of the description may be on a wrapped line, so that the joined line is parsed again.
            let text = self
                .markdown
                .clean(self.markdown.span_of(start..wrapped))
                .lines()
                .enumerate()
                .map(|(i, l)| if i == 0 { l } else { l.trim() });
            let logical = text.collect::<Vec<_>>().join(" ");
            if let Some(TaskLine { tags, text, state, ids, .. }) = line::parse(&logical, false, &self.legend) {
                // What looks like a part of the identifier can be a part of the text.
                let read = ids.first().map_or("", |first| first.first.as_str());
                let lost = read.strip_prefix(id.as_str()).unwrap_or(read).trim_start_matches('-');
                let text = if lost.is_empty() { text } else { format!("{lost} {text}") };
                (parsed.tags, parsed.text, parsed.state) = (tags, text, state);
            }
        }
        let offset = self.markdown.lines[start].span.start;
        let span = Span {
            start: offset,
            end: self.markdown.span_of(lines.clone()).end.max(self.markdown.lines[start].span.end),
        };
        let detail = |index: usize| {
            let line = self.markdown.lines[index];
            Item { text: line.span.text(&self.markdown.source).trim().to_owned(), line: line.number, span: line.span }
        };
        let details: Vec<Item> = (wrapped..lines.end).map(detail).filter(|d| !d.text.is_empty()).collect();
        let line = self.markdown.lines[start].number;
        // Columns such as `Output` and `File` also have paths.
        let mut paths = if parsed.form == Form::Row { paths::find(self.markdown.clean(span)) } else { Vec::new() };
        let mut read = |text: &str, line| {
            paths::add(text, &mut paths);
            state(stated, Some(index), line, text, forms);
            mentions::collect(text, index, line, forms, mentioned);
        };
        read(&parsed.text, line);
        if let Some(waits) = waits {
            read(&format!("Dependencies: {waits}"), line);
        }
        self.markdown.paragraphs(wrapped..lines.end).for_each(|paragraph| read(&paragraph.text, paragraph.line));
        if let Some(section) = section {
            let below = self.markdown.line_index(section.start) + 1..self.markdown.line_index(section.end) + 1;
            self.markdown.paragraphs(below).for_each(|paragraph| read(&paragraph.text, paragraph.line));
        }
        let phase = scope.phase.unwrap_or_else(|| self.implicit_phase(scope.heading));
        let task = Task {
            also: further_ids(&parsed.ids),
            id,
            title: parsed.text,
            parallel: parsed.tags.parallel,
            stories: parsed.tags.stories,
            tags: parsed.tags.other,
            state: parsed.state,
            checkbox: parsed.checkbox,
            unknown_mark: parsed.unknown_mark,
            line,
            span,
            phase,
            paths,
            details,
            section,
            depends_on: Vec::new(),
        };
        if task.title.is_empty() && task.state != TaskState::Cancelled {
            self.diagnostics.push(Diagnostic::warning(
                line,
                "TaskWithoutDescription",
                format!("task {} has no description", task.id),
                "after the tags, write what to do and name the files",
            ));
        }
        if let Some(mark) = &task.unknown_mark {
            self.diagnostics.push(Diagnostic::warning(
                line,
                "UnknownMark",
                format!("the mark [{mark}] of task {} has no known meaning; the task counts as open", task.id),
                format!("write [ ] or [x], or explain the mark in the document, for example `[{mark}]` = deferred"),
            ));
        }
        task
    }

    /// Returns the phase of tasks without a phase heading: the nearest heading opens it.
    fn implicit_phase(&mut self, heading: usize) -> usize {
        if !self.phases.contains_key(&heading) {
            let at = self.markdown.sections.binary_search_by_key(&heading, |s| s.heading);
            let section = at.ok().map(|at| &self.markdown.sections[at]);
            let title = section.map(|s| s.title.clone()).unwrap_or_default();
            let end = section.map_or_else(
                || self.markdown.sections.first().map_or(self.markdown.lines.len(), |s| s.heading),
                |s| s.own_end,
            );
            let phase = self.phase(heading..end, None, title, PhaseKind::Other);
            self.phases.insert(heading, phase);
        }
        heading
    }

    /// Replaces the line of the heading in each task by the index of the phase.
    fn settle_phases(&mut self, file: &mut TasksFile) {
        let index: HashMap<usize, usize> = self.phases.keys().enumerate().map(|(at, line)| (*line, at)).collect();
        for task in &mut file.tasks {
            task.phase = index.get(&task.phase).copied().unwrap_or_default();
        }
        file.phases = std::mem::take(&mut self.phases).into_values().collect();
    }

    /// Adds what labels such as `Wave 2 (depends on T003):` state about the tasks below them, up to the next paragraph or heading.
    fn state_labels(&self, file: &TasksFile, covered: &[bool], forms: &Forms, stated: &mut Vec<LocatedStatement>) {
        let mut label: Vec<Statement> = Vec::new();
        let mut line = 0;
        let mut used = false;
        let mut tasks = file.tasks.iter().enumerate().peekable();
        for (index, here) in self.markdown.lines.iter().enumerate() {
            if let Some((at, _)) = tasks.next_if(|(_, task)| task.line == here.number) {
                let of_task = label.iter().map(|statement| LocatedStatement {
                    owner: Some(at),
                    line,
                    statement: statement.clone(),
                });
                stated.extend(of_task);
                used = true;
            }
            let text = self.markdown.text(index);
            let paragraph = here.kind == LineKind::Text && !text.starts_with([' ', '\t']);
            if covered[index] || !(paragraph || matches!(here.kind, LineKind::Heading(_))) {
                continue;
            }
            // `Wait for T001, then:` also applies to the tasks below a further label.
            if used || !paragraph {
                label.clear();
            }
            used = false;
            if paragraph && self.scopes[index].role == Role::Work && self.scopes[index].phase.is_some() {
                let announced = statements::announced(text, forms);
                if !announced.is_empty() {
                    line = here.number;
                }
                label.extend(announced);
            }
        }
    }

    /// Adds the statements about order in sections about dependencies, and below the headings of phases.
    fn state_sections(&self, file: &TasksFile, forms: &Forms, stated: &mut Vec<LocatedStatement>) {
        let lines: Vec<u32> = file.tasks.iter().map(|t| t.line).collect();
        for section in self.markdown.sections.iter().filter(|s| self.scopes[s.heading].role == Role::Dependencies) {
            let paragraphs = self.markdown.paragraphs(section.heading + 1..section.own_end);
            let paragraphs = paragraphs.filter(|paragraph| lines.binary_search(&paragraph.line).is_err());
            let texts = paragraphs.map(|paragraph| (paragraph.line, paragraph.text));
            texts
                .chain(self.table_statements(section))
                .for_each(|(line, text)| state(stated, None, line, &text, forms));
            self.drawings(section, forms, stated);
        }
        stated.extend(file.phases.iter().filter_map(|phase| self.phase_statement(phase, &lines, forms)));
    }

    /// Adds what the code blocks of a section about order state about tasks.
    fn drawings(&self, section: &Section, forms: &Forms, stated: &mut Vec<LocatedStatement>) {
        let lower = section.title.to_lowercase();
        // Arrows in examples show streams of work; what is in words is meant.
        let example = lower.contains("example") || lower.contains("parallel");
        for index in section.heading + 1..section.own_end {
            let line = self.markdown.lines[index];
            let text = self.markdown.source_line(index);
            let meant = !example || text.contains("depend");
            if meant && matches!(line.kind, LineKind::Verbatim | LineKind::Indented) {
                let drawn = statements::drawing(text, forms).into_iter();
                stated.extend(drawn.map(|statement| LocatedStatement { owner: None, line: line.number, statement }));
            }
        }
    }

    /// Returns the rows of tables with a column such as `Depends On`, as sentences.
    fn table_statements(&self, section: &Section) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        for row in self.markdown.rows_in(section.heading + 1..section.own_end) {
            let headers = self.markdown.headers.get(row.table).map(Vec::as_slice).unwrap_or_default();
            let Some((subject, cells)) = row.cells.split_first() else { continue };
            for (cell, _) in cells.iter().zip(headers.iter().skip(1)).filter(|(_, header)| table::waits(header)) {
                let lower = cell.to_lowercase();
                if lower.starts_with("depend") {
                    found.push((row.line, format!("{subject}: {cell}")));
                } else if !["no", "n/a", "-", "–", "—", "无"].iter().any(|none| lower.starts_with(none)) {
                    found.push((row.line, format!("{subject}: depends on {cell}")));
                }
            }
        }
        found
    }

    /// Returns the statement `**Dependencies**: …` between the heading of a phase and its first task; `tasks` are the lines of all tasks.
    fn phase_statement(&self, phase: &Phase, tasks: &[u32], forms: &Forms) -> Option<LocatedStatement> {
        let number = phase.number.clone()?;
        let section = self.markdown.sections.binary_search_by_key(&(phase.line as usize - 1), |s| s.heading).ok()?;
        let section = &self.markdown.sections[section];
        let first = tasks.get(tasks.partition_point(|line| *line <= phase.line));
        let end = first.map_or(section.own_end, |line| section.own_end.min(*line as usize - 1));
        let item = self.markdown.labelled(section.heading + 1..end, &["dependencies", "dependency", "depends on"])?;
        let statement =
            statements::parse(&format!("Dependencies: {}", item.text), Context::Section, forms).into_iter().next()?;
        let own = |refs: Vec<Reference>| {
            refs.into_iter().map(|r| if r == Reference::Itself { Reference::Phase(number.clone()) } else { r })
        };
        let (who, on) = (own(statement.who).collect(), own(statement.on).collect());
        Some(LocatedStatement { owner: None, line: item.line, statement: Statement { who, on } })
    }
}

/// Returns one past the last line of the list item that begins on this line.
fn item_end(items: &[(usize, usize)], start: usize) -> Option<usize> {
    let innermost = items.partition_point(|(line, _)| *line <= start).checked_sub(1).map(|at| items[at])?;
    (innermost.0 == start).then_some(innermost.1)
}

/// Adds the statements of a text, which belongs to the task with this index, or to a section.
fn state(stated: &mut Vec<LocatedStatement>, owner: Option<usize>, line: u32, text: &str, forms: &Forms) {
    let context = if owner.is_some() { Context::Task } else { Context::Section };
    stated.extend(statements::parse(text, context, forms).into_iter().map(|statement| LocatedStatement {
        owner,
        line,
        statement,
    }));
}

/// Returns the identifiers of a line after its first: the rest of a range or list.
fn further_ids(mentions: &[Mention]) -> Vec<TaskId> {
    const MAX_RANGE: u32 = 500;
    let mut ids: Vec<TaskId> = Vec::new();
    for mention in mentions {
        let last = mention.last.as_ref().map_or(mention.first.number(), TaskId::number);
        let between = (mention.first.number().saturating_add(1)..last).take(MAX_RANGE as usize);
        let between = between.map(|n| mention.first.with_number(n));
        ids.extend(std::iter::once(mention.first.clone()).chain(between).chain(mention.last.clone()));
    }
    ids.into_iter().skip(1).collect()
}
