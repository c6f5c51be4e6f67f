//! Tells on standard error what the parsers find.

use std::collections::BTreeSet;
use std::io;

use enact_domain::graph::{Graph, GraphError};
use enact_domain::speckit::tasks::{TaskState, TasksFile};
use enact_domain::speckit::{Diagnostic, Severity, TaskId, constitution, plan, spec, tasks};

use super::project::{Document, Project};
use crate::terminal::{BAD, Paint, WARNING, note};

/// Prints every finding with file and line, and a summary of each document; the number of documents that cannot be used.
pub fn report(project: &Project) -> usize {
    let mut report = Report {
        paint: Paint::of(&io::stderr()),
        unusable: 0,
    };
    if let Some(document) = &project.constitution {
        let parsed = constitution::parse(&document.bytes);
        report.document(document, &parsed.diagnostics, || {
            format!("{} principles", parsed.model.principles.len())
        });
    }
    if let Some(document) = &project.spec {
        let parsed = spec::parse(&document.bytes);
        report.document(document, &parsed.diagnostics, || summary_of_spec(&parsed.model));
    }
    if let Some(document) = &project.plan {
        let parsed = plan::parse(&document.bytes);
        report.document(document, &parsed.diagnostics, || {
            format!(
                "{} entries of technical context; the Plan is made from tasks.md",
                parsed.model.context.len()
            )
        });
    }
    if let Some(document) = &project.tasks {
        let parsed = tasks::parse(&document.bytes);
        let broken = report.document(document, &parsed.diagnostics, || summary_of_tasks(&parsed.model));
        if !broken {
            report.graph(document, &parsed.model);
        }
    }
    report.unusable
}

struct Report {
    paint: Paint,
    unusable: usize,
}

impl Report {
    /// Whether the document cannot be used.
    fn document(&mut self, document: &Document, findings: &[Diagnostic], summary: impl FnOnce() -> String) -> bool {
        for finding in findings {
            self.finding(
                document,
                finding.line,
                finding.severity,
                &finding.message,
                &finding.remedy,
            );
        }
        let broken = findings.iter().any(|finding| finding.severity == Severity::Error);
        if broken {
            self.unusable += 1;
        } else {
            note(&format!("{}: {}", document.path.display(), summary()));
        }
        broken
    }

    fn finding(&self, document: &Document, line: u32, severity: Severity, message: &str, remedy: &str) {
        let word = severity.to_string();
        let word = match severity {
            Severity::Error => self.paint.with(BAD, &word),
            Severity::Warning => self.paint.with(WARNING, &word),
            Severity::Info => word,
        };
        note(&format!(
            "{}:{line}: {word}: {message}; {remedy}",
            document.path.display()
        ));
    }

    /// Whether the tasks that are left can be put in an order.
    fn graph(&mut self, document: &Document, file: &TasksFile) {
        match order(file) {
            Ok(graph) => note(&format!(
                "{}: longest chain of open tasks: {}",
                document.path.display(),
                graph.critical_path().len()
            )),
            Err(errors) => {
                self.unusable += 1;
                for error in errors {
                    let line = line_of(file, &error);
                    note(&format!(
                        "{}:{line}: {}: {error}",
                        document.path.display(),
                        self.paint.with(BAD, "error")
                    ));
                }
            }
        }
    }
}

/// The graph of the tasks that are neither done nor cancelled: what a Plan makes of the file.
fn order(file: &TasksFile) -> Result<Graph, Vec<GraphError>> {
    let open: BTreeSet<&TaskId> = open(file).collect();
    let dependencies = file.dependencies();
    let tasks = dependencies.iter().filter(|(id, _)| open.contains(id)).map(|(id, on)| {
        let on: Vec<&str> = on.iter().filter(|id| open.contains(id)).map(TaskId::as_str).collect();
        (id.as_str(), on)
    });
    Graph::build(tasks)
}

fn open(file: &TasksFile) -> impl Iterator<Item = &TaskId> {
    file.tasks
        .iter()
        .filter(|task| task.state == TaskState::Open)
        .map(|task| &task.id)
}

fn line_of(file: &TasksFile, error: &GraphError) -> u32 {
    let id = match error {
        GraphError::Duplicate { id, .. } => Some(id),
        GraphError::Unknown { task, .. } => Some(task),
        GraphError::Cycle { cycle } => cycle.first(),
    };
    id.and_then(|id| TaskId::parse(id))
        .and_then(|id| file.task(&id))
        .map_or(1, |task| task.line)
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
    let edges: usize = file.dependencies().values().map(BTreeSet::len).sum();
    format!(
        "{} tasks ({} open) in {} phases, {edges} dependencies",
        file.tasks.len(),
        open(file).count(),
        file.phases.len()
    )
}
