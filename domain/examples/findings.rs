//! Prints the findings in real documents with their lines, so that a person can judge whether they are right.
//!
//! `cargo run --release -p enact-domain --example findings -- DIRECTORY [--hints] [CODE…]` prints all findings in the documents below a
//! directory, or all hints, or those of these codes, as `CODE  severity  path:line  location` with the message and the line below. A specification is
//! also compared with the `tasks.md` beside it, with the constitution of its project, and with the specification before it in the same
//! directory. The end has the number of findings by code.
//!
//! With `--counts` it prints instead what was read in each document: `path  tasks=12 dependencies=3`,
//! `path  stories=2 requirements=9 criteria=4`, or `path  principles=5`, to compare it with the count of another tool. With `--edges` it
//! prints each dependency that a document states: `path:line  T003 waits for T001`.

#[path = "../tests/support/corpus.rs"]
mod corpus;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use enact_domain::analysis::{self, Finding, Report, Sketch, TaskText};
use enact_domain::speckit::constitution::Constitution;
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::tasks::{PhaseKind, Task, TasksFile};
use enact_domain::speckit::{StoryKey, constitution, plan, spec, tasks};

/// What is printed, and the number of findings by code.
#[derive(Default)]
struct Output {
    codes: BTreeSet<String>,
    hints: bool,
    tally: BTreeMap<&'static str, usize>,
}

impl Output {
    fn print(&mut self, path: &Path, source: &str, findings: &[Finding]) {
        let lines: Vec<&str> = source.lines().collect();
        for finding in findings {
            let Finding { code, severity, line, location, excerpt, summary, .. } = finding;
            if !self.codes.is_empty() && !self.codes.contains(*code) {
                continue;
            }
            *self.tally.entry(code).or_default() += 1;
            let at = usize::try_from(*line).unwrap_or_default();
            let text = at.checked_sub(1).and_then(|at| lines.get(at)).unwrap_or(&"");
            println!("{code}\t{severity}\t{}:{line}\t{location}\n\t! {summary}\n\t| {text}", path.display());
            if !text.contains(excerpt.as_str()) {
                println!("\t> {excerpt}");
            }
        }
    }

    fn report(&mut self, path: &Path, source: &str, report: &Report) {
        self.print(path, source, if self.hints { &report.hints } else { &report.findings });
    }
}

/// Returns the texts of a task: identifier, title, details and stories.
fn texts(file: &TasksFile, task: &Task) -> [String; 4] {
    let title = file.phases.get(task.phase).map(|p| p.title.as_str());
    let section = task.section.map(|span| span.text(&file.source));
    let details =
        task.details.iter().map(|d| d.text.as_str()).chain(title).chain(section).collect::<Vec<_>>().join("\n");
    let phase = match file.phases.get(task.phase).map(|p| &p.kind) {
        Some(PhaseKind::Story(key)) => Some(key),
        _ => None,
    };
    let stories = task.stories.iter().chain(phase).map(StoryKey::as_str).collect::<Vec<_>>().join(" ");
    [task.id.to_string(), task.title.clone(), details, stories]
}

fn coverage(spec: &Spec, file: &TasksFile) -> Vec<Finding> {
    let all: Vec<[String; 4]> = file.tasks.iter().map(|task| texts(file, task)).collect();
    let tasks: Vec<TaskText<'_>> =
        all.iter().map(|[id, title, text, story]| TaskText { id, title, text, story: Some(story) }).collect();
    analysis::coverage(spec, &tasks).findings
}

/// Returns the constitution of a project: the nearest one above a directory, as `enact check` finds it.
fn principles(directory: &Path) -> Option<Constitution> {
    let places = [".specify/memory/constitution.md", "memory/constitution.md"];
    let mut candidates = directory.ancestors().flat_map(|above| places.iter().map(move |place| above.join(place)));
    let path = candidates.find(|path| path.is_file())?;
    Some(constitution::parse(&fs::read(path).ok()?).model)
}

fn specification(path: &Path, bytes: &[u8], before: Option<&(PathBuf, Sketch)>, output: &mut Output) -> Sketch {
    let parsed = spec::parse(bytes);
    let model = &parsed.model;
    output.report(path, &model.source, &analysis::specification(&parsed));
    if let Some(principles) = path.parent().and_then(principles) {
        output.print(path, &model.source, &analysis::constitution_conflicts(model, &principles));
    }
    let beside = path.with_file_name("tasks.md");
    if let Some(file) = fs::read(beside).ok().map(|bytes| tasks::parse(&bytes).model) {
        output.print(path, &model.source, &coverage(model, &file));
    }
    let sketch = Sketch::new(model);
    let project = |path: &Path| path.parent().and_then(Path::parent).map(Path::to_owned);
    if let Some((there, other)) = before.filter(|(there, _)| project(there) == project(path)) {
        let shared = analysis::overlap(&sketch, other);
        output.print(path, &model.source, &analysis::overlap_findings(&there.display().to_string(), &shared));
    }
    sketch
}

/// Returns whether `enact check` checks this file of a project.
fn is_checked(root: &Path, path: &Path) -> bool {
    let hidden =
        |name: &str| (name.starts_with('.') && name != ".specify" && name != ".kiro") || name == "node_modules";
    let below = path.strip_prefix(root).unwrap_or(path);
    let outside = below.components().any(|part| hidden(&part.as_os_str().to_string_lossy()));
    let wanted = match path.file_name().and_then(|name| name.to_str()) {
        Some("constitution.md") => path.parent().is_some_and(|directory| directory.ends_with("memory")),
        Some("plan.md") => path.with_file_name("spec.md").is_file() || path.with_file_name("tasks.md").is_file(),
        Some("spec.md" | "tasks.md") => true,
        _ => false,
    };
    wanted && !outside
}

/// Prints the dependencies that a list of tasks states, each with the line of the statement.
fn edges(path: &Path, bytes: &[u8]) {
    let file = tasks::parse(bytes).model;
    let lines: Vec<&str> = file.source.lines().collect();
    for task in &file.tasks {
        for dependency in &task.depends_on {
            let at = usize::try_from(dependency.line).unwrap_or_default();
            let text = at.checked_sub(1).and_then(|at| lines.get(at)).unwrap_or(&"");
            println!("{}:{at}\t{} waits for {}\n\t| {text}", path.display(), task.id, dependency.on);
        }
    }
}

/// Prints the number of tasks and dependencies, of stories, requirements and criteria, or of principles in a document.
fn count(path: &Path, bytes: &[u8]) {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("tasks.md") => {
            let tasks = tasks::parse(bytes).model.tasks;
            let edges: usize = tasks.iter().map(|task| task.depends_on.len()).sum();
            println!("{}\ttasks={} dependencies={edges}", path.display(), tasks.len());
        }
        Some("constitution.md") => {
            println!("{}\tprinciples={}", path.display(), constitution::parse(bytes).model.principles.len());
        }
        Some("spec.md") => {
            let Spec { stories, requirements, success_criteria, .. } = spec::parse(bytes).model;
            let (stories, requirements, criteria) = (stories.len(), requirements.len(), success_criteria.len());
            println!("{}\tstories={stories} requirements={requirements} criteria={criteria}", path.display());
        }
        _ => {}
    }
}

fn main() {
    let mut output = Output::default();
    let (mut root, mut counts, mut dependencies) = (None, false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--hints" => output.hints = true,
            "--counts" => counts = true,
            "--edges" => dependencies = true,
            _ if root.is_none() => root = Some(PathBuf::from(argument)),
            _ => drop(output.codes.insert(argument)),
        }
    }
    let Some(root) = root.or_else(corpus::root) else { return };
    let mut before = None;
    for path in corpus::files(&root, |path| is_checked(&root, path)) {
        let Ok(bytes) = fs::read(&path) else { continue };
        if counts {
            count(&path, &bytes);
            continue;
        }
        if dependencies {
            if path.ends_with("tasks.md") {
                edges(&path, &bytes);
            }
            continue;
        }
        match path.file_name().and_then(|name| name.to_str()) {
            Some("constitution.md") => {
                let parsed = constitution::parse(&bytes);
                output.report(&path, &parsed.model.source, &analysis::constitution(&parsed));
            }
            Some("plan.md") => {
                let parsed = plan::parse(&bytes);
                output.report(&path, &parsed.model.source, &analysis::plan(&parsed));
            }
            Some("tasks.md") => {
                let parsed = tasks::parse(&bytes);
                output.report(&path, &parsed.model.source, &analysis::tasks(&parsed));
            }
            Some("spec.md") => {
                let sketch = specification(&path, &bytes, before.as_ref(), &mut output);
                before = Some((path, sketch));
            }
            _ => {}
        }
    }
    if counts || dependencies {
        return;
    }
    let Output { tally, .. } = output;
    for (code, count) in &tally {
        println!("{count:>6} {code}");
    }
    println!("{:>6} in all", tally.values().sum::<usize>());
}
