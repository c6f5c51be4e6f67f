//! Compiles a Plan into tasks and their graph: operator, webhook and CLI all use this module, so that they accept the same plans.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use enact_domain::agents::needs::Needs;
use enact_domain::graph::{Graph, GraphError};
use enact_domain::names;
use enact_domain::speckit::tasks::{self, TasksFile, UNREAD_TASK};
use enact_domain::speckit::{Diagnostic, Parsed, Severity, TaskId};
use enact_domain::text::truncated;
use serde::Serialize;

use crate::PlanSpec;
use crate::common::{Gate, LocalRef};
use crate::plan::{PlanDecision, PoolMember, UnreadTasks, Workspace};
use crate::task::TaskTemplate;

/// Most tasks of one plan.
pub const MAX_TASKS: usize = 5000;

/// Most bytes of a task's id, and of its prompt: what the schema of a Task allows.
const MAX_ID: usize = 63;
const MAX_PROMPT: usize = 65_536;

/// A plan's tasks, checked.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The tasks, in the plan's order.
    pub tasks: Vec<TaskTemplate>,
    /// Names of their Task objects, in the same order.
    pub names: Vec<String>,
    /// Their graph, by the same indices.
    pub graph: Graph,
    /// What each of them needs of its agent.
    pub needs: Vec<Arc<Needs>>,
}

/// Why a plan's tasks cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The dependencies are not a graph that can be run.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Two ids would give two Tasks one name.
    #[error("the ids {first} and {second} both become Task {name}; give one of them another id")]
    SameName {
        first: String,
        second: String,
        /// The name of both Tasks.
        name: String,
    },
    /// A task of a tasks.md does not fit into a Task.
    #[error("task {id} has {what} of {length} bytes, and at most {max} are allowed; shorten it")]
    TooLong {
        /// The task's id, cut to the longest that is allowed.
        id: String,
        /// `an id` or `a text`.
        what: &'static str,
        length: usize,
        max: usize,
    },
    /// The plan has nothing to do.
    #[error("the plan has no open task; add tasks, or a tasks.md with tasks that are not ticked")]
    Empty,
    /// The plan has more than [`MAX_TASKS`] tasks.
    #[error("the plan has {0} tasks, and at most {MAX_TASKS} are allowed; divide it")]
    TooMany(usize),
}

impl CompileError {
    /// Returns the id of the task at fault, unless the plan as a whole is.
    pub fn task(&self) -> Option<&str> {
        match self {
            Self::Graph(GraphError::Duplicate { id, .. } | GraphError::Unknown { task: id, .. })
            | Self::SameName { second: id, .. }
            | Self::TooLong { id, .. } => Some(id),
            Self::Graph(GraphError::Cycle { cycle }) => cycle.first().map(String::as_str),
            Self::Empty | Self::TooMany(_) => None,
        }
    }
}

/// Checks tasks and builds their graph.
///
/// # Errors
/// What [`check`] finds.
pub fn compile(plan: &str, tasks: Vec<TaskTemplate>) -> Result<Compiled, Vec<CompileError>> {
    let (names, graph) = check(plan, &tasks)?;
    let needs = tasks.iter().map(|task| Arc::new(needs(task))).collect();
    Ok(Compiled { tasks, names, graph, needs })
}

/// Returns what a task needs of its agent: what it requires, or else what its text names.
pub fn needs(task: &TaskTemplate) -> Needs {
    if !task.requires.is_empty() {
        return Needs::stated(&task.requires);
    }
    Needs::of_text(&format!("{}\n{}", task.title, task.prompt.as_deref().unwrap_or_default()))
}

/// Checks tasks; returns the names of their Task objects and their graph.
///
/// # Errors
/// All that is wrong with them, of one kind: a later check needs what the ones before it ensure.
pub fn check(plan: &str, tasks: &[TaskTemplate]) -> Result<(Vec<String>, Graph), Vec<CompileError>> {
    if tasks.is_empty() {
        return Err(vec![CompileError::Empty]);
    }
    if tasks.len() > MAX_TASKS {
        return Err(vec![CompileError::TooMany(tasks.len())]);
    }
    let too_long = too_long(tasks);
    if !too_long.is_empty() {
        return Err(too_long);
    }
    let graph = Graph::build(tasks.iter().map(|t| (t.id.as_str(), t.depends_on.iter().map(String::as_str))))
        .map_err(|errors| errors.into_iter().map(CompileError::Graph).collect::<Vec<_>>())?;
    let names: Vec<String> = tasks.iter().map(|t| names::task_name(plan, &t.id)).collect();
    let mut seen: HashMap<&str, &str> = HashMap::with_capacity(tasks.len());
    let mut errors = Vec::new();
    for (task, name) in tasks.iter().zip(&names) {
        if let Some(first) = seen.insert(name, &task.id) {
            errors.push(CompileError::SameName {
                first: first.to_owned(),
                second: task.id.clone(),
                name: name.clone(),
            });
        }
    }
    if errors.is_empty() { Ok((names, graph)) } else { Err(errors) }
}

/// Returns the canonical JSON that an approval of a plan is bound to: everything that decides what is done, and nothing that decides only
/// when.
///
/// # Errors
/// When the plan cannot be written as JSON.
pub fn canonical(spec: &PlanSpec, tasks: &[TaskTemplate]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Canonical<'a> {
        specification_ref: &'a Option<LocalRef>,
        #[serde(skip_serializing_if = "Option::is_none")]
        agent_ref: &'a Option<LocalRef>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        agents: &'a [PoolMember],
        tasks: &'a [TaskTemplate],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        decisions: &'a [PlanDecision],
        workspace: &'a Option<Workspace>,
        gates: &'a [Gate],
    }
    let canonical = Canonical {
        specification_ref: &spec.specification_ref,
        agent_ref: &spec.agent_ref,
        agents: &spec.agents,
        tasks,
        decisions: &spec.decisions,
        workspace: &spec.workspace,
        gates: &spec.gates,
    };
    Ok(serde_json::to_value(canonical)?.to_string())
}

fn too_long(tasks: &[TaskTemplate]) -> Vec<CompileError> {
    let error = |task: &TaskTemplate, what, length, max| {
        (length > max).then(|| CompileError::TooLong { id: cut(&task.id, MAX_ID), what, length, max })
    };
    let checks = |task: &TaskTemplate| {
        let prompt = task.prompt.as_ref().map_or(0, String::len);
        [error(task, "an id", task.id.len(), MAX_ID), error(task, "a text", prompt, MAX_PROMPT)]
    };
    tasks.iter().flat_map(checks).flatten().collect()
}

/// Parses a tasks.md. Lines that look like tasks and could not be read are errors, unless the plan accepts a document without them:
/// import, webhook and operator all use this rule.
pub fn parse(document: &[u8], unread: UnreadTasks) -> Parsed<TasksFile> {
    let mut parsed = tasks::parse(document);
    if unread == UnreadTasks::Refuse {
        for diagnostic in parsed.diagnostics.iter_mut().filter(|d| d.code == UNREAD_TASK) {
            diagnostic.severity = Severity::Error;
            diagnostic.remedy.push_str("; or set unreadTasks: Warn, which leaves it out");
        }
    }
    parsed
}

/// Parses a tasks.md as [`parse`] does; returns its open tasks as [`from_file`] does, and what is wrong with the document. A document with
/// an error has no tasks.
pub fn from_markdown(document: &[u8], unread: UnreadTasks) -> (Vec<TaskTemplate>, Vec<Diagnostic>) {
    let parsed = parse(document, unread);
    let usable = parsed.diagnostics.iter().all(|d| d.severity != Severity::Error);
    let templates = if usable { from_file(&parsed.model) } else { Vec::new() };
    (templates, parsed.diagnostics)
}

/// Returns the open tasks of a tasks.md, in Spec Kit's order of phases, `[P]` and stated dependencies.
///
/// Tasks that are ticked, struck out or deferred are left out: no task waits for them. The prompt of a task is its text as it was written,
/// with everything below it, and the section that describes it elsewhere.
pub fn from_file(file: &TasksFile) -> Vec<TaskTemplate> {
    let edges = file.dependencies();
    let is_open = |task: &&tasks::Task| task.state.is_open();
    let open: HashSet<&TaskId> = file.tasks.iter().filter(is_open).map(|t| &t.id).collect();
    file.tasks
        .iter()
        .filter(is_open)
        .map(|t| TaskTemplate {
            id: t.id.as_str().to_owned(),
            title: shortened(&t.title, &t.id),
            prompt: Some(prompt(file, t)),
            phase: file.phases.get(t.phase).map(|p| cut(&p.title, 256)),
            story: t.stories.first().map(|s| s.as_str().to_owned()),
            depends_on: open_dependencies(&t.id, &edges, &open),
            ..TaskTemplate::default()
        })
        .collect()
}

fn prompt(file: &TasksFile, task: &tasks::Task) -> String {
    let own = task.span.text(&file.source).trim_end();
    match task.section {
        Some(section) => format!("{own}\n\n{}", section.text(&file.source).trim_end()),
        None => own.to_owned(),
    }
}

/// Returns the open tasks that a task waits for. It follows the edges through completed tasks, because a completed task may depend on an
/// open one.
fn open_dependencies(id: &TaskId, edges: &BTreeMap<TaskId, BTreeSet<TaskId>>, open: &HashSet<&TaskId>) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut seen = HashSet::new();
    let mut next: Vec<&TaskId> = edges.get(id).into_iter().flatten().collect();
    while let Some(dependency) = next.pop() {
        if !seen.insert(dependency) {
            continue;
        }
        if open.contains(dependency) {
            found.insert(dependency.as_str().to_owned());
        } else {
            next.extend(edges.get(dependency).into_iter().flatten());
        }
    }
    found.into_iter().collect()
}

fn shortened(title: &str, id: &TaskId) -> String {
    if title.trim().is_empty() { id.as_str().to_owned() } else { cut(title, 1024) }
}

fn cut(text: &str, bytes: usize) -> String {
    truncated(text, bytes).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tasks_file_becomes_a_graph() {
        let text = "# Tasks: x\n\n## Phase 1: Setup\n\n- [x] T001 Create folders\n- [ ] T002 Add a linter\n\n\
                    ## Phase 2: Foundational\n\n- [ ] T003 [P] Model in `a.py`\n- [ ] T004 [P] Store in `b.py`\n";
        let (tasks, diagnostics) = from_markdown(text.as_bytes(), UnreadTasks::Refuse);
        assert!(diagnostics.iter().all(|d| d.severity != Severity::Error), "{diagnostics:?}");
        let ids: Vec<_> = tasks.iter().map(|t| (t.id.as_str(), t.depends_on.join(","))).collect();
        assert_eq!(ids, [("T002", String::new()), ("T003", "T002".into()), ("T004", "T002".into())]);
        assert_eq!(tasks[1].prompt.as_deref(), Some("- [ ] T003 [P] Model in `a.py`"));
        let behind = text.replace("- [x] T001", "- [ ] T001").replace("- [ ] T002", "- [x] T002");
        let (through, _) = from_markdown(behind.as_bytes(), UnreadTasks::Refuse);
        assert_eq!(through[1].depends_on, ["T001"], "a ticked task still stands behind an open one");
        let compiled = compile("p", tasks).unwrap();
        assert_eq!(compiled.names, ["p-t002", "p-t003", "p-t004"]);
    }

    #[test]
    fn unread_work_is_refused_or_left_out_with_a_warning() {
        let text = "# Tasks: x\n\n## Phase 1: Setup\n\n- [x] T001 Create folders\n\n> - [ ] T002 Add a linter\n";
        let (tasks, diagnostics) = from_markdown(text.as_bytes(), UnreadTasks::Refuse);
        let found: Vec<_> = diagnostics.iter().map(|d| (d.code, d.line, d.severity)).collect();
        assert_eq!((tasks.len(), found), (0, vec![(UNREAD_TASK, 7, Severity::Error)]));
        assert!(diagnostics[0].remedy.contains("unreadTasks: Warn"), "{}", diagnostics[0]);
        let (_, diagnostics) = from_markdown(text.as_bytes(), UnreadTasks::Warn);
        let found: Vec<_> = diagnostics.iter().map(|d| (d.code, d.line, d.severity)).collect();
        assert_eq!(found, [(UNREAD_TASK, 7, Severity::Warning)]);
    }

    #[test]
    fn a_row_of_a_table_brings_the_section_about_it() {
        let text = "# Tasks: x\n\n## Phase 1: Setup\n\n| ID | Status | Task |\n|-|-|-|\n| T001 | [ ] | Loader |\n\n\
                    ### T001 details\n\nReads a file.\n";
        let (tasks, _) = from_markdown(text.as_bytes(), UnreadTasks::Refuse);
        assert_eq!(tasks.len(), 1);
        assert_eq!(tasks[0].prompt.as_deref(), Some("| T001 | [ ] | Loader |\n\n### T001 details\n\nReads a file."));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(compile("p", vec![]).unwrap_err(), [CompileError::Empty]);
        let task = |id: &str| TaskTemplate { id: id.into(), ..TaskTemplate::default() };
        let errors = compile("p", vec![task("T001"), task("t001")]).unwrap_err();
        assert!(matches!(errors[0], CompileError::SameName { .. }));
        let long = TaskTemplate { prompt: Some("x".repeat(65_537)), ..task(&"T".repeat(64)) };
        let messages: Vec<String> = compile("p", vec![long]).unwrap_err().iter().map(ToString::to_string).collect();
        assert!(
            messages[0].contains("an id of 64 bytes") && messages[1].contains("a text of 65537 bytes"),
            "{messages:?}"
        );
        let (tasks, diagnostics) = from_markdown(b"\0\0", UnreadTasks::Warn);
        assert!(tasks.is_empty() && diagnostics.iter().any(|d| d.severity == Severity::Error));
    }
}
