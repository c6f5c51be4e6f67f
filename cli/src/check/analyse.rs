//! Analyses documents by the functions of `import`, the webhook and the operator.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Error, Result};
use enact_crds::compile::{self, CompileError};
use enact_crds::plan::UnreadTasks;
use enact_domain::analysis::{self, AcceptedFinding, Category, Finding, Report, Severity};
use enact_domain::digest::Digest;
use enact_domain::speckit::constitution::Constitution;
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::tasks::TasksFile;
use enact_domain::speckit::{Parsed, TaskId, constitution, plan, spec};

use super::find::{Found, Unit};
use super::report::{CheckedDocument, Counts, Lines, Located, names};
use crate::args::DocumentKind;
use crate::import::project;

/// Code of the findings of a tasks.md whose tasks are not valid for a Plan. The operator uses it as a reason.
const INVALID_PLAN: &str = "InvalidPlan";

/// The current directory.
static HERE: LazyLock<PathBuf> = LazyLock::new(|| env::current_dir().unwrap_or_default());

/// Constitutions that features must follow by their paths, as far as they can be read.
pub type Constitutions = BTreeMap<PathBuf, Result<Constitution>>;

/// The result of one unit.
#[derive(Debug, Default)]
pub struct Analysed {
    pub documents: Vec<CheckedDocument>,
    /// Why documents cannot be read.
    pub problems: Vec<Error>,
}

/// A document with its findings.
struct Checked {
    kind: DocumentKind,
    path: PathBuf,
    text: String,
    quality: Option<u8>,
    findings: Vec<Finding>,
    accepted: Vec<AcceptedFinding>,
    hints: Vec<Finding>,
}

/// Reads a constitution that features must follow.
pub fn read_constitution(path: &Path) -> Result<Constitution> {
    Ok(constitution::parse(&project::read(path)?.bytes).model)
}

/// Analyses documents that belong together.
pub fn unit(unit: &Unit, constitutions: &Constitutions) -> Analysed {
    let mut analysed = Analysed::default();
    let principles = unit.constitution.as_ref().and_then(|path| constitutions.get(path)?.as_ref().ok());
    let mut checked: Vec<Checked> = Vec::new();
    let (mut specification, mut work) = (None, None);
    for found in &unit.documents {
        let bytes = match read(found) {
            Ok(bytes) => bytes,
            Err(problem) => {
                analysed.problems.push(problem);
                continue;
            }
        };
        let (report, quality) = match found.kind {
            DocumentKind::Constitution => with_quality(analysis::constitution(&constitution::parse(&bytes))),
            DocumentKind::Plan => (analysis::plan(&plan::parse(&bytes)), None),
            DocumentKind::Specification => {
                let parsed = spec::parse(&bytes);
                let report = analysis::specification(&parsed);
                specification = usable(parsed);
                with_quality(report)
            }
            DocumentKind::Tasks => {
                let parsed = compile::parse(&bytes, UnreadTasks::Refuse);
                let report = analysis::tasks(&parsed);
                work = usable(parsed);
                (report, None)
            }
        };
        checked.push(Checked {
            kind: found.kind,
            path: found.path.clone(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
            quality,
            findings: report.findings,
            accepted: report.accepted,
            hints: report.hints,
        });
    }
    compare(&mut checked, specification.as_ref(), principles, work.as_ref());
    analysed.documents = checked.iter().map(located).collect();
    analysed
}

fn read(found: &Found) -> Result<Vec<u8>> {
    match &found.given {
        Some(bytes) => Ok(bytes.clone()),
        None => Ok(project::read(&found.path)?.bytes),
    }
}

fn with_quality(report: Report) -> (Report, Option<u8>) {
    let score = report.quality.score;
    (report, Some(score))
}

/// Returns the model of a document without errors. A document with errors would only have consequences of these errors.
fn usable<T>(parsed: Parsed<T>) -> Option<T> {
    (!parsed.has_errors()).then_some(parsed.model)
}

/// Adds the findings of documents that belong together: of the specification against its constitution, of the tasks as a graph, and of the
/// tasks against the specification.
fn compare(
    checked: &mut [Checked],
    specification: Option<&Spec>,
    principles: Option<&Constitution>,
    work: Option<&TasksFile>,
) {
    if let (Some(spec), Some(principles)) = (specification, principles) {
        add(checked, DocumentKind::Specification, analysis::constitution_conflicts(spec, principles));
    }
    let Some(file) = work else { return };
    let open = compile::from_file(file);
    let errors = compile::check("plan", &open).err().unwrap_or_default();
    // Without an open task there is nothing to do, and nothing is wrong.
    let errors = errors.iter().filter(|error| **error != CompileError::Empty);
    add(checked, DocumentKind::Tasks, errors.map(|error| invalid(file, error)).collect());
    let Some(spec) = specification else { return };
    // Ticked tasks have covered their requirements.
    let coverage = compile::coverage(spec, open.iter().chain(&compile::done_tasks(file)));
    let (of_tasks, of_spec): (Vec<Finding>, Vec<Finding>) = coverage.findings.into_iter().partition(|f| f.line == 0);
    add(checked, DocumentKind::Specification, of_spec);
    let of_tasks = of_tasks.into_iter().map(|f| Finding { line: line_of(file, &f.location), ..f });
    add(checked, DocumentKind::Tasks, of_tasks.collect());
    for accepted in coverage.accepted {
        let kind = if accepted.finding.line == 0 { DocumentKind::Tasks } else { DocumentKind::Specification };
        let line =
            if accepted.finding.line == 0 { line_of(file, &accepted.finding.location) } else { accepted.finding.line };
        let finding = Finding { line, ..accepted.finding };
        if let Some(document) = checked.iter_mut().find(|document| document.kind == kind) {
            document.accepted.push(AcceptedFinding { finding, ..accepted });
        }
    }
}

fn add(checked: &mut [Checked], kind: DocumentKind, findings: Vec<Finding>) {
    if let Some(document) = checked.iter_mut().find(|document| document.kind == kind) {
        document.findings.extend(findings);
    }
}

/// Returns the line of a task; the first line of the document if there is no such task.
fn line_of(file: &TasksFile, id: &str) -> u32 {
    TaskId::parse(id).and_then(|id| file.task(&id)).map_or(1, |task| task.line)
}

/// Returns the finding for tasks that are not valid for a Plan.
fn invalid(file: &TasksFile, error: &CompileError) -> Finding {
    let message = error.to_string();
    let digest = Digest::of_bytes(format!("{INVALID_PLAN}/{message}").as_bytes());
    let location = error.task().unwrap_or("Tasks").to_owned();
    Finding {
        id: format!("FOR-{}", digest.short().get(..8).unwrap_or_default()),
        category: Category::Format,
        severity: Severity::Critical,
        code: INVALID_PLAN,
        line: line_of(file, &location),
        location,
        excerpt: String::new(),
        summary: message,
        recommendation: String::new(),
    }
}

/// Returns a document as the outputs show it, with its findings by line.
fn located(checked: &Checked) -> CheckedDocument {
    let lines = Lines::new(&checked.text);
    let mut findings: Vec<Located> = checked.findings.iter().map(|finding| lines.locate(finding)).collect();
    let mut accepted: Vec<Located> = checked.accepted.iter().map(|finding| lines.locate_accepted(finding)).collect();
    let mut hints: Vec<Located> = checked.hints.iter().map(|hint| lines.locate(hint)).collect();
    for list in [&mut findings, &mut accepted, &mut hints] {
        list.sort_by(|a, b| (a.line, a.column, a.severity, &a.id).cmp(&(b.line, b.column, b.severity, &b.id)));
    }
    let (path, uri) = names(&checked.path, &HERE);
    CheckedDocument {
        path,
        uri,
        kind: checked.kind,
        quality: checked.quality,
        counts: Counts::of(&findings, &accepted),
        findings,
        accepted,
        hints,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(documents: &[(DocumentKind, &str)]) -> Vec<CheckedDocument> {
        let found = |(kind, text): &(DocumentKind, &str)| Found {
            kind: *kind,
            path: PathBuf::from("document.md"),
            given: Some(text.as_bytes().to_vec()),
        };
        let documents = documents.iter().map(found).collect();
        let analysed = unit(&Unit { documents, constitution: None }, &Constitutions::new());
        assert!(analysed.problems.is_empty());
        analysed.documents
    }

    const SPEC: &str = "# Feature Specification: Door\n\n## Requirements\n\n- **FR-001**: Doors MUST open.\n- **FR-002**: Alarms MUST ring.\n\
                        - **FR-003**: Keys MUST turn.\n- **FR-004**: Lights MUST shine.\n";

    #[test]
    fn ticked_tasks_cover_requirements() {
        let tasks = "# Tasks: Door\n\n## Phase 1: Setup\n\n- [x] T001 Open (FR-001, FR-002)\n- [x] T002 Turn (FR-003, FR-004)\n";
        let both = checked(&[(DocumentKind::Specification, SPEC), (DocumentKind::Tasks, tasks)]);
        assert!(both.iter().flat_map(|d| &d.findings).all(|f| f.category != "Coverage"), "{both:#?}");
        assert!(both[1].findings.iter().all(|f| f.code != INVALID_PLAN), "{both:#?}");
    }

    #[test]
    fn findings_are_at_the_document_that_they_are_about() {
        let tasks = "# Tasks: Door\n\n## Phase 1: Setup\n\n- [ ] T001 Open (FR-001, FR-003, FR-004)\n- [ ] T002 Clean (FR-009)\n";
        let both = checked(&[(DocumentKind::Specification, SPEC), (DocumentKind::Tasks, tasks)]);
        let find = |document: usize, code: &str| {
            let found = both[document].findings.iter().find(|f| f.code == code);
            found.map(|f| (f.line, f.column, f.end_column, f.location.as_str()))
        };
        assert_eq!(find(0, "RequirementWithoutTask"), Some((6, 15, 32, "FR-002")), "{both:#?}");
        assert_eq!(find(1, "UnknownIdInTask"), Some((6, 19, 25, "T002")), "{both:#?}");
    }

    #[test]
    fn cycle_is_a_critical_finding() {
        let tasks = "# Tasks: Door\n\n## Phase 1: Setup\n\n- [ ] T001 Open (depends on T002)\n- [ ] T002 Lock (depends on T001)\n";
        let found = checked(&[(DocumentKind::Tasks, tasks)]);
        let critical: Vec<&Located> = found[0].findings.iter().filter(|f| f.severity == Severity::Critical).collect();
        assert!(!critical.is_empty(), "{found:#?}");
    }
}
