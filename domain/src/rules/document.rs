//! The documents that rules are evaluated on, built from parsed documents and Kubernetes objects.

use super::cost::Shape;
use super::model::Scope;
use super::schema::{
    CLARIFICATION, CONSTITUTION, CRITERION, DECISION, ENTITY, FINDING_POLICY, GATE, PLAN, PRINCIPLE, QUESTION,
    REQUIREMENT, SCENARIO, SPECIFICATION, STORY, TASK, WORKSPACE,
};
use super::value::{Value, flag, list, number, record, text, texts};
use crate::speckit::constitution::Constitution;
use crate::speckit::spec::{Scenario, Spec, UserStory};
use crate::speckit::tasks::paths_in;
use crate::speckit::{Item, Span};

/// Data of the object that are not in the text of the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentMetadata {
    pub name: String,
}

/// A plan, reduced to the data that rules can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanInput {
    pub name: String,
    /// Tasks in order.
    pub tasks: Vec<TaskInput>,
    /// Decisions that were made for it.
    pub decisions: Vec<Decision>,
    /// Gates of the merged work.
    pub gates: Vec<Gate>,
    /// Repository of the plan, if it has one.
    pub workspace: Option<Workspace>,
    /// Maximum number of attempts at once.
    pub parallelism: u32,
    /// Whether people must approve it before its first task starts.
    pub approval_required: bool,
    /// Number of people who must approve it.
    pub required_approvals: u32,
    /// Whether its author may not approve it.
    pub four_eyes: bool,
    /// Groups whose members may approve it; none if everybody may.
    pub approver_groups: Vec<String>,
    /// Machine users who may approve it.
    pub approver_machines: Vec<String>,
    /// Seconds after which its approvals expire; 0 if they do not.
    pub approval_expires_after_seconds: u32,
    /// Further approvals that open findings require.
    pub approvals_with_findings: Vec<FindingPolicy>,
}

/// Further approvals that are required while findings of a severity are open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FindingPolicy {
    /// The mildest severity that requires them.
    pub at_least: String,
    /// Number of people who must approve.
    pub required: u32,
    /// Groups whose members count; none if those of the plan count.
    pub groups: Vec<String>,
}

/// A task, reduced to the data that rules can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskInput {
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Prompt of the agent, or the script.
    pub text: String,
    /// Phase of tasks.md.
    pub phase: String,
    /// Key of its user story.
    pub story: String,
    /// Ids of the tasks before it.
    pub depends_on: Vec<String>,
    /// Gates of the task itself.
    pub gates: Vec<Gate>,
    /// Whether its work has an effect outside the workspace.
    pub external_effect: bool,
    /// Maximum number of further attempts after task failures, from the task or the plan.
    pub retry_limit: u32,
    /// Maximum duration of one attempt in seconds, from the task or the plan.
    pub timeout_seconds: u32,
}

/// A decision that was made for a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub title: String,
    pub decision: String,
    pub rationale: String,
    /// Alternatives that were considered.
    pub alternatives: Vec<String>,
}

/// A command that must succeed before work counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    pub name: String,
    pub script: String,
}

/// A Git repository and the branches of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workspace {
    pub url: String,
    /// Branch, tag or commit to start from.
    pub revision: String,
    /// Branch that receives the merged work.
    pub branch: String,
}

/// A document that rules are evaluated on, with the other documents that the rules can read.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) scope: Scope,
    /// The variables, by name.
    pub(super) shown: Vec<Variable>,
}

#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) scope: Scope,
    pub(super) value: Value,
    pub(super) shape: Shape,
}

impl Document {
    pub fn constitution(constitution: &Constitution) -> Self {
        Self::of(Scope::Constitution, constitution_value(constitution))
    }

    pub fn specification(specification: &Spec, meta: &DocumentMetadata) -> Self {
        Self::of(Scope::Specification, specification_value(specification, meta))
    }

    pub fn plan(plan: &PlanInput) -> Self {
        Self::of(Scope::Plan, plan_value(plan))
    }

    pub fn task(task: &TaskInput) -> Self {
        Self::of(Scope::Task, task_value(task))
    }

    /// Returns a document for every task of a plan, with this document and its variables.
    pub fn tasks<'a>(&'a self, plan: &'a PlanInput) -> impl Iterator<Item = Self> + 'a {
        plan.tasks.iter().map(|task| {
            let mut document = Self::task(task);
            document.shown.extend(self.shown.iter().cloned());
            document
        })
    }

    /// Adds the constitution.
    #[must_use]
    pub fn with_constitution(self, constitution: &Constitution) -> Self {
        self.with(Scope::Constitution, constitution_value(constitution))
    }

    /// Adds the specification that the plan or task implements.
    #[must_use]
    pub fn with_specification(self, specification: &Spec, meta: &DocumentMetadata) -> Self {
        self.with(Scope::Specification, specification_value(specification, meta))
    }

    /// Marks that the plan does not implement a specification: rules read an empty one without a name.
    #[must_use]
    pub fn without_specification(self) -> Self {
        self.with_specification(&Spec::default(), &DocumentMetadata::default())
    }

    /// Adds the plan of the task.
    #[must_use]
    pub fn with_plan(self, plan: &PlanInput) -> Self {
        self.with(Scope::Plan, plan_value(plan))
    }

    pub fn scope(&self) -> Scope {
        self.scope
    }

    fn of(scope: Scope, value: Value) -> Self {
        Self { scope, shown: Vec::new() }.with(scope, value)
    }

    fn with(mut self, scope: Scope, value: Value) -> Self {
        let shape = Shape::of(value.as_ref());
        self.shown.retain(|shown| shown.scope != scope);
        self.shown.push(Variable { scope, value, shape });
        self
    }

    pub(super) fn find(&self, name: &str) -> Option<&Variable> {
        self.shown.iter().find(|shown| shown.scope.record().name == name)
    }
}

fn item(item: Option<&Item>) -> Value {
    text(item.map_or("", |item| &item.text))
}

fn items(items: &[Item]) -> Value {
    texts(items.iter().map(|item| item.text.as_str()))
}

fn specification_value(specification: &Spec, meta: &DocumentMetadata) -> Value {
    let requirements = specification
        .requirements
        .iter()
        .map(|r| record(&REQUIREMENT, [text(&r.id), text(&r.text), text(&r.section), number(r.line)]));
    let criteria = specification.success_criteria.iter();
    let entities = specification.entities.iter();
    let questions = specification.open_questions.iter();
    let clarifications = specification.clarifications.iter().map(|c| {
        let session = c.session.as_deref().unwrap_or_default();
        record(&CLARIFICATION, [text(&c.question), text(&c.answer), text(session), number(c.line)])
    });
    record(
        &SPECIFICATION,
        [
            text(&meta.name),
            item(specification.title.as_ref()),
            item(specification.branch.as_ref()),
            item(specification.created.as_ref()),
            item(specification.status.as_ref()),
            item(specification.input.as_ref()),
            list(specification.stories.iter().map(story_value)),
            list(requirements),
            list(criteria.map(|c| record(&CRITERION, [text(&c.id), text(&c.text), number(c.line)]))),
            list(entities.map(|e| record(&ENTITY, [text(&e.name), text(&e.text), number(e.line)]))),
            items(&specification.edge_cases),
            items(&specification.assumptions),
            list(questions.map(|q| record(&QUESTION, [text(&q.text), number(q.line)]))),
            list(clarifications),
            text(&specification.source),
        ],
    )
}

fn story_value(story: &UserStory) -> Value {
    record(
        &STORY,
        [
            text(story.key.as_str()),
            text(&story.title),
            text(story.priority.as_deref().unwrap_or_default()),
            item(story.independent_test.as_ref()),
            list(story.scenarios.iter().map(scenario_value)),
            number(story.line),
        ],
    )
}

fn scenario_value(scenario: &Scenario) -> Value {
    let [given, when, then] = parts(&scenario.text).unwrap_or_default();
    record(
        &SCENARIO,
        [text(&scenario.key), text(&scenario.text), text(given), text(when), text(then), number(scenario.line)],
    )
}

/// Returns the texts after Given, When and Then.
fn parts(scenario: &str) -> Option<[&str; 3]> {
    let lower = scenario.to_ascii_lowercase();
    let word = |word: &str, from: usize| {
        let mut found = lower[from..].match_indices(word).map(|(at, _)| from + at..from + at + word.len());
        let free = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
        found.find(|at| free(lower[..at.start].chars().next_back()) && free(lower[at.end..].chars().next()))
    };
    let given = word("given", 0)?;
    let when = word("when", given.end)?;
    let then = word("then", when.end)?;
    let clean = |range: Span| range.text(scenario).trim_matches([' ', '*', '_', ',', ':', '.']);
    let rest = then.end..scenario.len();
    Some([given.end..when.start, when.end..then.start, rest].map(|range| clean(range.into())))
}

fn constitution_value(constitution: &Constitution) -> Value {
    let principles = constitution.principles.iter().map(|p| {
        let body = p.body.text(&constitution.source).trim();
        record(
            &PRINCIPLE,
            [text(&p.name), text(p.number.as_deref().unwrap_or_default()), text(body), items(&p.musts), number(p.line)],
        )
    });
    record(
        &CONSTITUTION,
        [
            item(constitution.version.as_ref()),
            item(constitution.title.as_ref()),
            item(constitution.ratified.as_ref()),
            item(constitution.last_amended.as_ref()),
            list(principles),
            text(&constitution.source),
        ],
    )
}

fn plan_value(plan: &PlanInput) -> Value {
    let decisions = plan.decisions.iter().map(|d| {
        let alternatives = texts(d.alternatives.iter().map(String::as_str));
        record(&DECISION, [text(&d.title), text(&d.decision), text(&d.rationale), alternatives])
    });
    let with_findings = plan.approvals_with_findings.iter().map(|policy| {
        let groups = texts(policy.groups.iter().map(String::as_str));
        record(&FINDING_POLICY, [text(&policy.at_least), number(policy.required), groups])
    });
    let none = Workspace::default();
    let workspace = plan.workspace.as_ref().unwrap_or(&none);
    record(
        &PLAN,
        [
            text(&plan.name),
            list(plan.tasks.iter().map(task_value)),
            list(decisions),
            gates(&plan.gates),
            record(&WORKSPACE, [text(&workspace.url), text(&workspace.revision), text(&workspace.branch)]),
            number(plan.parallelism),
            flag(plan.approval_required),
            number(plan.required_approvals),
            flag(plan.four_eyes),
            texts(plan.approver_groups.iter().map(String::as_str)),
            texts(plan.approver_machines.iter().map(String::as_str)),
            number(plan.approval_expires_after_seconds),
            list(with_findings),
        ],
    )
}

fn task_value(task: &TaskInput) -> Value {
    let mut paths = paths_in(&task.title);
    for path in paths_in(&task.text) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    record(
        &TASK,
        [
            text(&task.id),
            text(&task.title),
            text(&task.text),
            text(&task.phase),
            text(&task.story),
            texts(task.depends_on.iter().map(String::as_str)),
            texts(paths.iter().map(String::as_str)),
            gates(&task.gates),
            flag(task.external_effect),
            number(task.retry_limit),
            number(task.timeout_seconds),
        ],
    )
}

fn gates(gates: &[Gate]) -> Value {
    list(gates.iter().map(|gate| record(&GATE, [text(&gate.name), text(&gate.script)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_taken_apart_by_its_words() {
        let of = |text| parts(text);
        assert_eq!(
            of("**Given** a door, **When** it opens, **Then** it rings."),
            Some(["a door", "it opens", "it rings"])
        );
        assert_eq!(
            of("Given a forgiven when-clause when asked then it goes"),
            Some(["a forgiven", "-clause when asked", "it goes"])
        );
        assert_eq!(of("Then it rings when given"), None);
        assert_eq!(of("Gegeben ß, wenn, dann"), None);
    }
}
