//! Resolves statements about order to tasks and phases.

use std::collections::{HashMap, HashSet};

use super::cycles;
use super::index::Index;
use super::model::{Dependency, Group, PhaseKind, Precedence, TasksFile};
use super::references::Reference;
use super::statements::Statement;
use crate::speckit::diagnostic::Diagnostic;
use crate::speckit::ids::Mention;

/// Maximum number of pairs of tasks or groups. A statement about two ranges expands to the product of their sizes.
const MAX_PAIRS: usize = 20_000;

/// Maximum number of phases and stories on one side of a statement.
const MAX_GROUPS: usize = 64;

/// A statement with its position.
pub(super) struct LocatedStatement {
    /// Index of the task whose text contains the statement.
    pub(super) owner: Option<usize>,
    pub(super) line: u32,
    pub(super) statement: Statement,
}

/// Records all statements in the file, and returns diagnostics about them.
pub(super) fn apply(file: &mut TasksFile, stated: Vec<LocatedStatement>) -> Vec<Diagnostic> {
    let resolver = Resolver::new(file);
    let mut relations =
        Relations { file, seen: HashSet::new(), left: MAX_PAIRS, dependencies: Vec::new(), precedences: Vec::new() };
    let mut diagnostics = Vec::new();
    for LocatedStatement { owner, line, statement } in stated {
        let (who, on) = (resolver.resolve(&statement.who, owner), resolver.resolve(&statement.on, owner));
        diagnostics.extend(who.unknown.iter().chain(&on.unknown).map(|id| {
            let message = format!("the dependency {id} does not exist: no task has this identifier");
            Diagnostic::warning(line, "UnknownTask", message, "correct the identifier, or remove the statement")
        }));
        relations.relate(line, &who, &on);
        if relations.left == 0 {
            let message = format!(
                "the file states more than {MAX_PAIRS} dependencies; the statements from this line on are ignored"
            );
            diagnostics.push(Diagnostic::warning(
                line,
                "TooManyDependencies",
                message,
                "state only direct dependencies",
            ));
            break;
        }
    }
    let Relations { dependencies, precedences, .. } = relations;
    for (task, dependency) in dependencies {
        file.tasks[task].depends_on.push(dependency);
    }
    file.precedences = precedences;
    diagnostics.extend(cycles::resolve(file));
    diagnostics
}

/// A task by its index, or a group.
#[derive(PartialEq, Eq, Hash)]
enum Node {
    Task(usize),
    Group(Group),
}

struct Relations<'a> {
    file: &'a TasksFile,
    /// Dependencies that were found, each with the index of the waiting task.
    dependencies: Vec<(usize, Dependency)>,
    precedences: Vec<Precedence>,
    /// Pairs that are already recorded, the waiting one first.
    seen: HashSet<(Node, Node)>,
    /// Number of further pairs that may be processed.
    left: usize,
}

impl Relations<'_> {
    /// Records that each of `who` waits for each of `on`.
    fn relate(&mut self, line: u32, who: &Resolved, on: &Resolved) {
        match (who.tasks.is_empty(), on.tasks.is_empty()) {
            (true, true) => self.relate_groups(line, &who.groups, &on.groups),
            (true, false) => self.relate_tasks(line, &self.members(&who.groups, &on.tasks), &on.tasks),
            (false, true) => self.relate_tasks(line, &who.tasks, &self.members(&on.groups, &who.tasks)),
            (false, false) => self.relate_tasks(line, &who.tasks, &on.tasks),
        }
    }

    /// Returns the tasks of these groups, or none if one of `others` is among them: a statement about a phase and one of its own tasks is
    /// not about the rest of the phase.
    fn members(&self, groups: &[Group], others: &[usize]) -> Vec<usize> {
        let in_groups = |task: &usize| groups.iter().any(|group| self.belongs(*task, group));
        if others.iter().any(in_groups) { Vec::new() } else { (0..self.file.tasks.len()).filter(in_groups).collect() }
    }

    fn belongs(&self, task: usize, group: &Group) -> bool {
        let task = &self.file.tasks[task];
        match group {
            Group::Phase(index) => task.phase == *index,
            Group::Story(key) => {
                let phase = &self.file.phases[task.phase].kind;
                matches!(phase, PhaseKind::Story(own) if own == key) || task.stories.contains(key)
            }
        }
    }

    fn relate_tasks(&mut self, line: u32, who: &[usize], on: &[usize]) {
        for &task in who {
            for &other in on.iter().filter(|other| **other != task) {
                if self.left == 0 {
                    return;
                }
                if self.is_new(Node::Task(task), Node::Task(other)) {
                    let on = self.file.tasks[other].id.clone();
                    self.dependencies.push((task, Dependency { on, line }));
                }
            }
        }
    }

    fn relate_groups(&mut self, line: u32, who: &[Group], on: &[Group]) {
        for subject in who {
            for group in on.iter().filter(|group| *group != subject) {
                if self.left > 0 && self.is_new(Node::Group(subject.clone()), Node::Group(group.clone())) {
                    self.precedences.push(Precedence { subject: subject.clone(), on: group.clone(), line });
                }
            }
        }
    }

    fn is_new(&mut self, who: Node, on: Node) -> bool {
        self.left -= 1;
        self.seen.insert((who, on))
    }
}

/// The tasks and groups that the references of a statement name.
#[derive(Default)]
struct Resolved {
    tasks: Vec<usize>,
    groups: Vec<Group>,
    unknown: Vec<String>,
}

/// Resolver of the names of tasks and phases in prose.
struct Resolver<'a> {
    index: Index<'a>,
    numbers: HashMap<&'a str, usize>,
    named: HashMap<&'static str, usize>,
}

impl<'a> Resolver<'a> {
    fn new(file: &'a TasksFile) -> Self {
        let mut numbers = HashMap::new();
        let mut named = HashMap::new();
        for (at, phase) in file.phases.iter().enumerate() {
            if let Some(number) = &phase.number {
                numbers.entry(number.as_str()).or_insert(at);
            }
            let name = match phase.kind {
                PhaseKind::Setup => "setup",
                PhaseKind::Foundational => "foundational",
                _ => continue,
            };
            named.entry(name).or_insert(at);
        }
        Self { index: Index::new(file), numbers, named }
    }

    fn resolve(&self, refs: &[Reference], owner: Option<usize>) -> Resolved {
        let phase = |index: Option<&usize>| index.copied().map(Group::Phase);
        let mut resolved = Resolved::default();
        for what in refs {
            match what {
                Reference::Itself => resolved.tasks.extend(owner),
                Reference::Tasks(mention) if resolved.tasks.len() < MAX_PAIRS => self.mention(mention, &mut resolved),
                Reference::Tasks(_) => {}
                Reference::Phase(number) => resolved.groups.extend(phase(self.numbers.get(number.as_str()))),
                Reference::Named(name) => resolved.groups.extend(phase(self.named.get(name))),
                Reference::Story(key) => resolved.groups.push(Group::Story(key.clone())),
            }
        }
        resolved.tasks.sort_unstable();
        resolved.tasks.dedup();
        resolved.groups.sort();
        resolved.groups.dedup();
        resolved.groups.truncate(MAX_GROUPS);
        resolved
    }

    fn mention(&self, mention: &Mention, resolved: &mut Resolved) {
        let before = resolved.tasks.len();
        resolved.tasks.extend(self.index.covered(mention));
        // Without a task of its own, `T048b` is a part of T048.
        if resolved.tasks.len() == before && mention.last.is_none() {
            resolved.tasks.extend(mention.first.without_letter().and_then(|id| self.index.get(&id)));
        }
        // `T4` can be the name of a machine, unless the file numbers its tasks like this.
        let width = mention.first.width();
        let named = width > 2 || self.index.has_form(mention.first.prefix(), width);
        if resolved.tasks.len() == before && named && !mention.first.is_outline() {
            let last = mention.last.as_ref().map(|l| format!("–{l}")).unwrap_or_default();
            resolved.unknown.push(format!("{}{last}", mention.first));
        }
    }
}
