//! Parses phases and tasks from the Markdown tree.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::line::{self, Form, TaskLine};
use super::model::{Phase, PhaseKind, Task, TaskState, TasksFile};
use super::phase::{self, PhaseHeading, Role};
use super::resolve::{self, LocatedStatement};
use super::statements::{self, Context, Reference, Statement};
use super::{order, paths};
use crate::speckit::diagnostic::{Diagnostic, Parsed};
use crate::speckit::ids::{Mention, TaskId};
use crate::speckit::markdown::{self, Item, LineKind, Markdown, Section, Span, joined};

/// Maximum number of tasks in one file.
pub const MAX_TASKS: usize = 2_000;

/// Maximum number of dependencies that follow from the order of phases. Between two phases of parallel tasks, they are the product of
/// both sizes.
pub const MAX_DEPENDENCIES: usize = 250_000;

pub fn parse(bytes: &[u8]) -> Parsed<TasksFile> {
    let (markdown, diagnostics) = match markdown::read(bytes) {
        Ok(read) => read,
        Err(diagnostic) => return Parsed::new(TasksFile::default(), vec![diagnostic]),
    };
    let (scopes, headings) = scopes(&markdown);
    let mut builder = Builder { scopes, markdown, diagnostics, phases: BTreeMap::new() };
    builder.open_phases(headings);
    let model = builder.build();
    Parsed::new(model, builder.diagnostics)
}

/// Scope of a line: the effect of the headings above it.
#[derive(Debug, Clone, Copy)]
struct Scope {
    /// Line index of the heading of the phase.
    phase: Option<usize>,
    role: Role,
    /// Whether that phase is the phase of a story.
    in_story: bool,
    /// Line index of the nearest heading.
    heading: usize,
}

/// A line that may be a task, before repeated identifiers are sorted out.
struct Candidate {
    line: usize,
    parsed: TaskLine,
    /// Whether it is a box or heading where tasks are expected, and therefore not a mere mention of a task that is defined elsewhere.
    strong: bool,
    scope: Scope,
}

impl Candidate {
    fn id(&self) -> &TaskId {
        &self.parsed.ids[0].first
    }
}

struct Builder {
    markdown: Markdown,
    scopes: Vec<Scope>,
    diagnostics: Vec<Diagnostic>,
    /// Phases by the line index of their heading.
    phases: BTreeMap<usize, Phase>,
}

/// Returns the scope of every line, and the headings that open phases: each with the index of its section.
fn scopes(markdown: &Markdown) -> (Vec<Scope>, Vec<(usize, PhaseHeading)>) {
    let outside = Scope { phase: None, role: Role::Work, in_story: false, heading: 0 };
    let mut scopes = vec![outside; markdown.lines.len()];
    let mut of_section: Vec<Scope> = Vec::with_capacity(markdown.sections.len());
    let mut headings = Vec::new();
    let mut opened = None;
    for (index, section) in markdown.sections.iter().enumerate() {
        let above = section.parent.map_or(outside, |parent| of_section[parent]);
        // A phase inside another one ends the outer phase.
        let phase = above.phase.filter(|phase| opened == Some(*phase));
        let above = Scope { phase, in_story: above.in_story && phase.is_some(), heading: section.heading, ..above };
        let heading = if above.role == Role::Work { phase::heading(&section.title) } else { None };
        let scope = if let Some(heading) = heading.filter(|heading| opens(heading, above)) {
            opened = Some(section.heading);
            let in_story = matches!(heading.kind, PhaseKind::Story(_));
            headings.push((index, heading));
            Scope { phase: opened, in_story, ..above }
        } else if section.level == 1 && section.parent.is_none()
            || line::parse(markdown.text(section.heading), true).is_some()
        {
            above
        } else {
            match phase::role(&section.title) {
                Role::Work => above,
                role => Scope { role, ..above },
            }
        };
        of_section.push(scope);
        scopes[section.heading..section.own_end].fill(scope);
    }
    (scopes, headings)
}

/// Returns whether a heading opens a phase. A heading without a number inside a phase is only a part of that phase, unless it names a
/// story and the outer phase is not a story.
fn opens(heading: &PhaseHeading, above: Scope) -> bool {
    let names_story = matches!(heading.kind, PhaseKind::Story(_));
    above.phase.is_none() || heading.number.is_some() || (names_story && !above.in_story)
}

impl Builder {
    fn build(&mut self) -> TasksFile {
        // Task lines come first: the lines of a task end where the next task begins.
        let accepted = self.accepted();
        let starts: Vec<usize> = accepted.iter().map(|c| c.line).collect();
        let mut tasks = Vec::with_capacity(accepted.len());
        let mut stated = Vec::new();
        let items = self.item_ends();
        for (at, candidate) in accepted.into_iter().enumerate() {
            let next = starts.get(at + 1).copied().unwrap_or(self.markdown.lines.len());
            let lines = candidate.line..self.end_of(&candidate, &items, next);
            let task = self.task(candidate, lines, at, &mut stated);
            tasks.push(task);
        }
        let mut file = TasksFile {
            source: String::new(),
            title: self.title(),
            phases: Vec::new(),
            tasks,
            precedences: Vec::new(),
        };
        // Until here, a task refers to its phase by the line of the heading, since tasks without a phase heading add phases during
        // parsing.
        self.settle_phases(&mut file);
        // Statements are resolved last: they name tasks and phases anywhere in the document.
        self.state_sections(&file, &mut stated);
        self.diagnostics.extend(resolve::apply(&mut file, stated));
        if file.tasks.is_empty() {
            self.diagnostics.push(Diagnostic::error(
                1,
                "NoTasks",
                "no task was found",
                "write tasks as `- [ ] T001 description`, under phase headings",
            ));
        }
        // After the statements, since the number of dependencies depends on them.
        if let Some((line, edges)) = order::too_many_edges(&file, MAX_DEPENDENCIES) {
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
                "independent test" => &mut p.independent_test,
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
                "independent test" => phase.independent_test = item,
                _ => phase.purpose = item,
            }
        }
    }

    /// Returns the lines that are tasks, in order, each identifier once.
    fn accepted(&mut self) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for (index, line) in self.markdown.lines.iter().enumerate() {
            let heading = matches!(line.kind, LineKind::Heading(_));
            if !heading && line.kind != LineKind::Text {
                continue;
            }
            let Some(parsed) = line::parse(self.markdown.text(index), heading) else {
                continue;
            };
            let scope = self.scopes[index];
            let notes = scope.role != Role::Work;
            if parsed.form == Form::Unboxed && (notes || scope.phase.is_none()) || (notes && heading) {
                continue;
            }
            let strong = !notes && parsed.form != Form::Unboxed;
            candidates.push(Candidate { line: index, parsed, strong, scope });
        }
        // A strong candidate replaces a weak one with the same identifier, in any order: a mention of a task in a list must not hide its
        // definition below. Of two with the same strength, the first one is used and the other is an error.
        let mut first: HashMap<&TaskId, (usize, bool)> = HashMap::with_capacity(candidates.len());
        for candidate in candidates.iter().filter(|c| c.strong).chain(candidates.iter().filter(|c| !c.strong)) {
            first.entry(candidate.id()).or_insert((candidate.line, candidate.strong));
        }
        let firsts: Vec<(usize, bool)> = candidates.iter().map(|c| first[c.id()]).collect();
        let mut accepted = Vec::with_capacity(firsts.len());
        for (candidate, (line, strong)) in candidates.into_iter().zip(firsts) {
            let id = candidate.id();
            if line == candidate.line {
                accepted.push(candidate);
            } else if strong == candidate.strong {
                let (here, there) = (self.markdown.lines[candidate.line].number, self.markdown.lines[line].number);
                // If the second line is cancelled, no work is lost, so the duplicate is only a warning.
                let new = if candidate.parsed.state == TaskState::Cancelled {
                    Diagnostic::warning
                } else {
                    Diagnostic::error
                };
                self.diagnostics.push(new(
                    here,
                    "DuplicateTask",
                    format!("{id} is defined on line {there} and again on line {here}; the second is ignored"),
                    "give one of them another identifier".to_owned(),
                ));
            }
        }
        if accepted.len() > MAX_TASKS {
            let line = self.markdown.lines[accepted[MAX_TASKS].line].number;
            self.diagnostics.push(Diagnostic::error(
                line,
                "TooManyTasks",
                format!("the file has {} tasks; the tasks from this line on are ignored", accepted.len()),
                format!("split the feature, so that each file has at most {MAX_TASKS} tasks"),
            ));
            accepted.truncate(MAX_TASKS);
        }
        accepted
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
        if candidate.parsed.form == Form::Heading {
            let at = self.markdown.sections.partition_point(|s| s.heading < start);
            return self.markdown.sections.get(at).map_or(start + 1, |s| s.end).min(next);
        }
        let innermost = items.partition_point(|(line, _)| *line <= start).checked_sub(1).map(|at| items[at]);
        let end = innermost.filter(|(line, _)| *line == start).map(|(_, end)| end);
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
        stated: &mut Vec<LocatedStatement>,
    ) -> Task {
        let Candidate { line: start, mut parsed, scope, .. } = candidate;
        let wrapped =
            if parsed.form == Form::Heading { start + 1 } else { self.markdown.paragraph_end(start).min(lines.end) };
        if wrapped > start + 1 {
            // Tags at the end of the description may be on a wrapped line, so that the joined line is parsed again.
            let text = self
                .markdown
                .clean(self.markdown.span_of(start..wrapped))
                .lines()
                .enumerate()
                .map(|(i, l)| if i == 0 { l } else { l.trim() });
            let logical = text.collect::<Vec<_>>().join(" ");
            parsed = line::parse(&logical, false).unwrap_or(parsed);
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
        let mut paths = Vec::new();
        let mut read = |text: &str, line| {
            paths::add(text, &mut paths);
            state(stated, Some(index), line, text);
        };
        read(&parsed.text, line);
        self.markdown.paragraphs(wrapped..lines.end).for_each(|paragraph| read(&paragraph.text, paragraph.line));
        let phase = scope.phase.unwrap_or_else(|| self.implicit_phase(scope.heading));
        let task = Task {
            id: parsed.ids[0].first.clone(),
            also: further_ids(&parsed.ids),
            title: parsed.text,
            parallel: parsed.tags.parallel,
            stories: parsed.tags.stories,
            tags: parsed.tags.other,
            state: parsed.state,
            checkbox: parsed.checkbox.map(|s| Span { start: offset + s.start, end: offset + s.end }),
            line,
            span,
            phase,
            paths,
            details,
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

    /// Adds the statements about order in sections about dependencies, and below the headings of phases.
    fn state_sections(&self, file: &TasksFile, stated: &mut Vec<LocatedStatement>) {
        let lines: Vec<u32> = file.tasks.iter().map(|t| t.line).collect();
        for section in self.markdown.sections.iter().filter(|s| self.scopes[s.heading].role == Role::Dependencies) {
            let paragraphs = self.markdown.paragraphs(section.heading + 1..section.own_end);
            let paragraphs = paragraphs.filter(|paragraph| lines.binary_search(&paragraph.line).is_err());
            let texts = paragraphs.map(|paragraph| (paragraph.line, paragraph.text));
            texts.chain(self.table_statements(section)).for_each(|(line, text)| state(stated, None, line, &text));
        }
        stated.extend(file.phases.iter().filter_map(|phase| self.phase_statement(phase, &lines)));
    }

    /// Returns the rows of tables with a column such as `Depends On`, as sentences.
    fn table_statements(&self, section: &Section) -> Vec<(u32, String)> {
        const COLUMNS: [&str; 5] = ["depend", "can start after", "blocked by", "waits for", "依赖"];
        let waits = |header: &str| COLUMNS.iter().any(|word| header.to_lowercase().starts_with(word));
        let mut found = Vec::new();
        for row in self.markdown.rows_in(section.heading + 1..section.own_end) {
            let headers = self.markdown.headers.get(row.table).map(Vec::as_slice).unwrap_or_default();
            let Some((subject, cells)) = row.cells.split_first() else { continue };
            for (cell, _) in cells.iter().zip(headers.iter().skip(1)).filter(|(_, header)| waits(header)) {
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
    fn phase_statement(&self, phase: &Phase, tasks: &[u32]) -> Option<LocatedStatement> {
        let number = phase.number.clone()?;
        let section = self.markdown.sections.binary_search_by_key(&(phase.line as usize - 1), |s| s.heading).ok()?;
        let section = &self.markdown.sections[section];
        let first = tasks.get(tasks.partition_point(|line| *line <= phase.line));
        let end = first.map_or(section.own_end, |line| section.own_end.min(*line as usize - 1));
        let item = self.markdown.labelled(section.heading + 1..end, &["dependencies", "dependency", "depends on"])?;
        let statement =
            statements::parse(&format!("Dependencies: {}", item.text), Context::Section).into_iter().next()?;
        let own = |refs: Vec<Reference>| {
            refs.into_iter().map(|r| if r == Reference::Itself { Reference::Phase(number.clone()) } else { r })
        };
        let (who, on) = (own(statement.who).collect(), own(statement.on).collect());
        Some(LocatedStatement { owner: None, line: item.line, statement: Statement { who, on } })
    }
}

/// Adds the statements of a text, which belongs to the task with this index, or to a section.
fn state(stated: &mut Vec<LocatedStatement>, owner: Option<usize>, line: u32, text: &str) {
    let context = if owner.is_some() { Context::Task } else { Context::Section };
    stated.extend(statements::parse(text, context).into_iter().map(|statement| LocatedStatement {
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
        let width = mention.first.as_str().bytes().skip(1).take_while(u8::is_ascii_digit).count();
        let between = (mention.first.number() + 1..last).take(MAX_RANGE as usize);
        let between = between.filter_map(|n| TaskId::parse(&format!("T{n:0width$}")));
        ids.extend(std::iter::once(mention.first.clone()).chain(between).chain(mention.last.clone()));
    }
    ids.remove(0);
    ids
}
