//! Rules that many projects want. `examples/rules/library.yaml` shows them as they are written in a Constitution.

use super::model::Scope::{Plan, Specification, Task};
use super::model::Strength::{Must, Should};
use super::model::{Rule, Scope, Strength};

/// The library, to choose from: nothing of it applies unless a constitution says so.
pub fn builtin() -> Vec<Rule> {
    let rule = |name: &str, scope: Scope, strength: Strength, principle: &str, message: &str, expression: &str| Rule {
        name: name.into(),
        scope,
        expression: expression.into(),
        message: message.into(),
        strength,
        principle: Some(principle.into()),
    };
    vec![
        rule(
            "requirements-bind",
            Specification,
            Must,
            "Requirements bind",
            "say in every requirement what the system MUST or SHALL do; what it only may do is no requirement",
            r"specification.requirements.all(r, r.text.matches('\\b(MUST|SHALL)\\b'))",
        ),
        rule(
            "stories-stand-alone",
            Specification,
            Must,
            "Stories are tested by themselves",
            "write an **Independent Test** for every user story: how somebody sees that it works while the others are missing",
            "specification.stories.all(s, has(s.independentTest))",
        ),
        rule(
            "first-stories-have-scenarios",
            Specification,
            Must,
            "What comes first is clear",
            "write at least one acceptance scenario (Given, When, Then) for every user story of priority P1",
            "specification.stories.all(s, s.priority != 'P1' || has(s.scenarios))",
        ),
        rule(
            "criteria-are-measured",
            Specification,
            Should,
            "Success is measured",
            "put a number into every success criterion: how many, how fast, what share",
            "specification.criteria.all(c, c.text.matches('[0-9]'))",
        ),
        rule(
            "no-open-questions",
            Plan,
            Must,
            "Questions before work",
            "answer what the specification still marks with [NEEDS CLARIFICATION] before a plan is made for it",
            "specification.openQuestions.size() == 0",
        ),
        rule(
            "tests-come-first",
            Plan,
            Must,
            "Tests come first",
            "let the tasks of every user story begin with one whose title says test, and that the others wait for",
            r"specification.stories.all(s,
  plan.tasks.filter(t, t.story == s.key).size() == 0 ||
  plan.tasks.filter(t, t.story == s.key)[0].title.matches('(?i)\\btests?\\b'))",
        ),
        rule(
            "work-is-gated",
            Plan,
            Must,
            "Nothing is published unchecked",
            "give the plan a gate, such as the test suite, that the merged work must pass before it is published",
            "has(plan.gates)",
        ),
        rule(
            "effects-are-approved",
            Task,
            Must,
            "A person decides what reaches the world",
            "a task with an external effect needs an approval of its plan, and must not be repeated: set retry.limit to 0",
            "!task.externalEffect || (plan.approvalRequired && task.retryLimit == 0)",
        ),
        rule(
            "tasks-are-settled",
            Task,
            Should,
            "Plans are finished before they start",
            "say what to do instead of TODO, FIXME or TBD, and name a version instead of the tag latest",
            r"!(task.title + '\n' + task.text).matches('\\b(TODO|FIXME|TBD)\\b|:latest\\b')",
        ),
        rule(
            "main-is-protected",
            Plan,
            Must,
            "Main is merged by people",
            "let the work go to a branch of its own (workspace.integration.branch), from which a person merges it",
            r"!plan.workspace.branch.matches('^(main|master|trunk|production|release/.*)$')",
        ),
    ]
}
