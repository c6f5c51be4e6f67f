//! Reports the findings of the parsers on standard error.

use std::collections::BTreeSet;

use anstyle::Style;
use enact_crds::compile::{self, CompileError};
use enact_crds::plan::UnreadTasks;
use enact_domain::graph::GraphError;
use enact_domain::speckit::tasks::{Task, TaskState, TasksFile};
use enact_domain::speckit::{Diagnostic, Severity, TaskId, constitution, plan, spec};

use super::project::{Document, Project};
use crate::terminal::{BAD, WARNING, note, note_styled};
use crate::text::one_line;

/// The result of the check of a project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Number of documents with errors.
    pub unusable: usize,
    /// Whether all tasks are done, so that no Plan is needed.
    pub all_done: bool,
}

/// Prints each finding with file and line, and a summary of each document.
pub fn report(project: &Project, unread: UnreadTasks) -> Verdict {
    let mut report = Report { verdict: Verdict::default() };
    if let Some(document) = &project.constitution {
        let parsed = constitution::parse(&document.bytes);
        report.document(document, &parsed.diagnostics, || format!("{} principles", parsed.model.principles.len()));
    }
    if let Some(document) = &project.spec {
        let parsed = spec::parse(&document.bytes);
        report.document(document, &parsed.diagnostics, || summary_of_spec(&parsed.model));
    }
    if let Some(document) = &project.plan {
        let parsed = plan::parse(&document.bytes);
        report.document(document, &parsed.diagnostics, || {
            format!("{} entries of technical context; the Plan comes from tasks.md", parsed.model.context.len())
        });
    }
    if let Some(document) = &project.tasks {
        let parsed = compile::parse(&document.bytes, unread);
        let usable = report.document(document, &parsed.diagnostics, || summary_of_tasks(&parsed.model));
        // The graph of a document with errors would only report consequences of these errors.
        if usable {
            report.graph(&project.name, document, &parsed.model);
        }
    }
    report.verdict
}

struct Report {
    verdict: Verdict,
}

impl Report {
    /// Reports the findings of a document and returns whether it has no errors.
    fn document(&mut self, document: &Document, findings: &[Diagnostic], summary: impl FnOnce() -> String) -> bool {
        for finding in findings {
            let style = match finding.severity {
                Severity::Error => BAD,
                Severity::Warning => WARNING,
                Severity::Info => Style::new(),
            };
            let place = format!("{}:{}: ", document.path.display(), finding.line);
            let message = one_line(&format!("{}; {}", finding.message, finding.remedy));
            note_styled(&place, style, &finding.severity.to_string(), &format!(": {message}"));
        }
        let usable = findings.iter().all(|finding| finding.severity != Severity::Error);
        if usable {
            note(&format!("{}: {}", document.path.display(), summary()));
        } else {
            self.verdict.unusable += 1;
        }
        usable
    }

    /// Reports whether the tasks are valid for a Plan. The operator compiles a Plan by the same function.
    fn graph(&mut self, plan: &str, document: &Document, file: &TasksFile) {
        let path = document.path.display();
        match compile::compile(plan, compile::from_file(file)) {
            Ok(compiled) => {
                note(&format!("{path}: longest chain of open tasks: {}", compiled.graph.critical_path().len()));
            }
            Err(errors) if errors.contains(&CompileError::Empty) => {
                self.verdict.all_done = true;
                note(&format!(
                    "note: {path}: all tasks are ticked, struck out or deferred, so no Plan is printed; use --include-done to include ticked tasks"
                ));
            }
            Err(errors) => {
                self.verdict.unusable += 1;
                for error in errors {
                    let line = line_of(file, &error);
                    note_styled(
                        &format!("{path}:{line}: "),
                        BAD,
                        "error",
                        &format!(": {}", one_line(&error.to_string())),
                    );
                }
            }
        }
    }
}

fn line_of(file: &TasksFile, error: &CompileError) -> u32 {
    let id = match error {
        CompileError::Graph(GraphError::Duplicate { id, .. })
        | CompileError::SameName { second: id, .. }
        | CompileError::TooLong { id, .. }
        | CompileError::Attempts { id, .. } => Some(id),
        CompileError::Graph(GraphError::Unknown { task, .. }) => Some(task),
        CompileError::Graph(GraphError::Cycle { cycle }) => cycle.first(),
        CompileError::Empty | CompileError::TooMany(_) => None,
    };
    id.and_then(|id| TaskId::parse(id)).and_then(|id| file.task(&id)).map_or(1, |task| task.line)
}

fn summary_of_spec(spec: &spec::Spec) -> String {
    format!(
        "{} stories, {} requirements, {} success criteria, {} open questions",
        spec.stories.len(),
        spec.requirements.len(),
        spec.success_criteria.len(),
        spec.open_questions.len()
    )
}

fn summary_of_tasks(file: &TasksFile) -> String {
    let count = |state| file.tasks.iter().filter(|task| task.state == state).count();
    let open = file.tasks.iter().filter(|task| task.state.is_open()).count();
    let (all, done) = (file.tasks.len(), count(TaskState::Done));
    let edges: usize = file.dependencies().values().map(BTreeSet::len).sum();
    let left = match done {
        0 => String::new(),
        _ => format!("; left out because ticked: {done} (use --include-done to include them)"),
    };
    let marks = [TaskState::InProgress, TaskState::Blocked, TaskState::Deferred, TaskState::Cancelled]
        .map(|state| marked(file, state.as_str(), |task| task.state == state));
    let unknown = marked(file, "with an unknown mark", |task| task.unknown_mark.is_some());
    format!(
        "{all} tasks ({open} open) in {} phases, {edges} dependencies{left}{}{unknown}",
        file.phases.len(),
        marks.concat()
    )
}

/// Returns the tasks with a mark that is neither open nor done.
fn marked(file: &TasksFile, what: &str, wanted: impl Fn(&Task) -> bool) -> String {
    const SHOWN: usize = 10;
    let ids: Vec<&str> = file.tasks.iter().filter(|task| wanted(task)).map(|task| task.id.as_str()).collect();
    let more = if ids.len() > SHOWN { ", …" } else { "" };
    match ids.len() {
        0 => String::new(),
        count => format!("; {what}: {count} ({}{more})", ids[..count.min(SHOWN)].join(", ")),
    }
}
