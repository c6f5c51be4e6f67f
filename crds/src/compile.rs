//! From what a Plan says to tasks that can be run: the one place where operator, webhook and CLI get a plan's tasks and graph.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use enact_domain::graph::{Graph, GraphError};
use enact_domain::names;
use enact_domain::speckit::{Diagnostic, Severity, TaskId, tasks};
use serde::Serialize;

use crate::PlanSpec;
use crate::common::{Gate, LocalRef};
use crate::plan::{PlanDecision, Workspace};
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
}

/// Why a plan's tasks cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The graph is none.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Two ids differ only in what names cannot show.
    #[error("the ids of tasks {first} and {second} differ only in case or punctuation; give one of them another id")]
    SameName {
        /// The first id.
        first: String,
        /// The second id.
        second: String,
    },
    /// A task of a tasks.md does not fit into a Task.
    #[error("task {id} has {is} of {length} bytes, and at most {most} are allowed; shorten it")]
    TooLong {
        /// The task's id, or its beginning.
        id: String,
        /// What of it: `an id` or `a text`.
        is: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        most: usize,
    },
    /// There is nothing to do.
    #[error("the plan has no open task; add tasks, or a tasks.md with tasks that are not ticked")]
    Empty,
    /// There are too many.
    #[error("the plan has {0} tasks, and at most {MAX_TASKS} are allowed; divide it")]
    TooMany(usize),
}

/// Checks tasks and builds their graph.
///
/// # Errors
/// All that is wrong with them.
pub fn compile(plan: &str, tasks: Vec<TaskTemplate>) -> Result<Compiled, Vec<CompileError>> {
    if tasks.is_empty() {
        return Err(vec![CompileError::Empty]);
    }
    if tasks.len() > MAX_TASKS {
        return Err(vec![CompileError::TooMany(tasks.len())]);
    }
    let long = long_ones(&tasks);
    if !long.is_empty() {
        return Err(long);
    }
    let graph = Graph::build(tasks.iter().map(|t| (t.id.as_str(), t.depends_on.iter().map(String::as_str))))
        .map_err(|errors| errors.into_iter().map(CompileError::Graph).collect::<Vec<_>>())?;
    let names: Vec<String> = tasks.iter().map(|t| names::task_name(plan, &t.id)).collect();
    let mut seen: HashMap<&str, &str> = HashMap::with_capacity(tasks.len());
    for (task, name) in tasks.iter().zip(&names) {
        if let Some(first) = seen.insert(name, &task.id) {
            return Err(vec![CompileError::SameName { first: first.to_owned(), second: task.id.clone() }]);
        }
    }
    Ok(Compiled { tasks, names, graph })
}

/// What an approval of a plan is bound to, as canonical JSON: everything that decides what is done, and nothing that decides only when.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn canonical(spec: &PlanSpec, tasks: &[TaskTemplate]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Canonical<'a> {
        specification_ref: &'a Option<LocalRef>,
        agent_ref: &'a LocalRef,
        tasks: &'a [TaskTemplate],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        decisions: &'a [PlanDecision],
        workspace: &'a Option<Workspace>,
        gates: &'a [Gate],
    }
    let canonical = Canonical {
        specification_ref: &spec.specification_ref,
        agent_ref: &spec.agent_ref,
        tasks,
        decisions: &spec.decisions,
        workspace: &spec.workspace,
        gates: &spec.gates,
    };
    Ok(serde_json::to_value(canonical)?.to_string())
}

fn long_ones(tasks: &[TaskTemplate]) -> Vec<CompileError> {
    let of = |task: &TaskTemplate, is, length, most| {
        (length > most).then(|| CompileError::TooLong { id: cut(&task.id, MAX_ID), is, length, most })
    };
    let checks = |task: &TaskTemplate| {
        let prompt = task.prompt.as_ref().map_or(0, String::len);
        [of(task, "an id", task.id.len(), MAX_ID), of(task, "a text", prompt, MAX_PROMPT)]
    };
    tasks.iter().flat_map(checks).flatten().collect()
}

/// The open tasks of a tasks.md, in Spec Kit's order of phases, `[P]` and stated dependencies; and what is wrong with the document.
///
/// Tasks that are ticked or struck count as done: nothing waits for them. What an agent is told is the task's text as it was written,
/// with everything below it.
pub fn from_markdown(document: &[u8]) -> (Vec<TaskTemplate>, Vec<Diagnostic>) {
    let parsed = tasks::parse(document);
    if parsed.diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return (Vec::new(), parsed.diagnostics);
    }
    let file = parsed.model;
    let edges = file.dependencies();
    let open: HashSet<&TaskId> =
        file.tasks.iter().filter(|t| t.state == tasks::TaskState::Open).map(|t| &t.id).collect();
    let templates = file
        .tasks
        .iter()
        .filter(|t| t.state == tasks::TaskState::Open)
        .map(|t| TaskTemplate {
            id: t.id.as_str().to_owned(),
            title: shortened(&t.title, &t.id),
            prompt: file.source.get(t.span.start..t.span.end).map(|text| text.trim_end().to_owned()),
            phase: file.phases.get(t.phase).map(|p| cut(&p.title, 256)),
            story: t.stories.first().map(|s| s.as_str().to_owned()),
            depends_on: unfinished(&t.id, &edges, &open),
            ..TaskTemplate::default()
        })
        .collect();
    (templates, parsed.diagnostics)
}

/// What a task waits for, looking through those that are done: a ticked task may itself stand behind an open one.
fn unfinished(id: &TaskId, edges: &BTreeMap<TaskId, BTreeSet<TaskId>>, open: &HashSet<&TaskId>) -> Vec<String> {
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
    text[..text.floor_char_boundary(bytes)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tasks_file_becomes_a_graph() {
        let text = "# Tasks: x\n\n## Phase 1: Setup\n\n- [x] T001 Create folders\n- [ ] T002 Add a linter\n\n\
                    ## Phase 2: Foundational\n\n- [ ] T003 [P] Model in `a.py`\n- [ ] T004 [P] Store in `b.py`\n";
        let (tasks, diagnostics) = from_markdown(text.as_bytes());
        assert!(diagnostics.iter().all(|d| d.severity != Severity::Error), "{diagnostics:?}");
        let ids: Vec<_> = tasks.iter().map(|t| (t.id.as_str(), t.depends_on.join(","))).collect();
        assert_eq!(ids, [("T002", String::new()), ("T003", "T002".into()), ("T004", "T002".into())]);
        assert_eq!(tasks[1].prompt.as_deref(), Some("- [ ] T003 [P] Model in `a.py`"));
        let behind = text.replace("- [x] T001", "- [ ] T001").replace("- [ ] T002", "- [x] T002");
        let (through, _) = from_markdown(behind.as_bytes());
        assert_eq!(through[1].depends_on, ["T001"], "a ticked task still stands behind an open one");
        let compiled = compile("p", tasks).unwrap();
        assert_eq!(compiled.names, ["p-t002", "p-t003", "p-t004"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(compile("p", vec![]).unwrap_err(), [CompileError::Empty]);
        let task = |id: &str| TaskTemplate { id: id.into(), ..TaskTemplate::default() };
        let errors = compile("p", vec![task("T001"), task("t001")]).unwrap_err();
        assert!(matches!(errors[0], CompileError::SameName { .. }));
        let long = TaskTemplate { prompt: Some("x".repeat(65_537)), ..task(&"T".repeat(64)) };
        let told: Vec<String> = compile("p", vec![long]).unwrap_err().iter().map(ToString::to_string).collect();
        assert!(told[0].contains("an id of 64 bytes") && told[1].contains("a text of 65537 bytes"), "{told:?}");
        let (tasks, diagnostics) = from_markdown(b"\0\0");
        assert!(tasks.is_empty() && diagnostics.iter().any(|d| d.severity == Severity::Error));
    }
}
