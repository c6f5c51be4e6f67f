//! Rules that many projects want. `examples/rules/library.yaml` shows them as they are written in a Constitution.

use super::model::Scope::{Plan, Specification, Task};
use super::model::Strength::{Must, Should};
use super::model::{Rule, Scope, Strength};

/// Name, scope, strength, principle, message and expression of each rule.
const LIBRARY: [(&str, Scope, Strength, &str, &str, &str); 10] = [
    (
        "requirements-bind",
        Specification,
        Must,
        "Requirements bind",
        "state in every requirement what the system MUST or SHALL do; an option is not a requirement",
        r"specification.requirements.all(r, r.text.matches('\\b(MUST|SHALL)\\b'))",
    ),
    (
        "stories-stand-alone",
        Specification,
        Must,
        "Stories can be tested independently",
        "write an **Independent Test** for every user story: how somebody can test it without the other stories",
        "specification.stories.all(s, has(s.independentTest))",
    ),
    (
        "first-stories-have-scenarios",
        Specification,
        Must,
        "The first stories are clear",
        "write at least one acceptance scenario (Given, When, Then) for every user story of priority P1",
        "specification.stories.all(s, s.priority != 'P1' || has(s.scenarios))",
    ),
    (
        "criteria-are-measured",
        Specification,
        Should,
        "Success is measured",
        "put a number into every success criterion: how many, how fast, what share",
        "specification.criteria.all(c, c.text.matches('[0-9]'))",
    ),
    (
        "no-open-questions",
        Plan,
        Must,
        "Questions are answered before work starts",
        "answer every [NEEDS CLARIFICATION] marker of the specification before you create a plan for it",
        "specification.openQuestions.size() == 0",
    ),
    (
        "tests-come-first",
        Plan,
        Must,
        "Tests come first",
        "start the tasks of every user story with one whose title contains the word test, and on which the others depend",
        r"specification.stories.all(s,
  plan.tasks.filter(t, t.story == s.key).size() == 0 ||
  plan.tasks.filter(t, t.story == s.key)[0].title.matches('(?i)\\btests?\\b'))",
    ),
    (
        "work-is-gated",
        Plan,
        Must,
        "Only checked work is published",
        "add a gate to the plan, such as the test suite, that the merged work must pass before it is published",
        "has(plan.gates)",
    ),
    (
        "effects-are-approved",
        Task,
        Must,
        "A person approves external effects",
        "a task with an external effect needs an approval of its plan, and must not be repeated: set retry.limit to 0",
        "!task.externalEffect || (plan.approvalRequired && task.retryLimit == 0)",
    ),
    (
        "tasks-are-settled",
        Task,
        Should,
        "Plans are finished before they start",
        "replace TODO, FIXME or TBD with what to do, and the tag latest with a version",
        r"!(task.title + '\n' + task.text).matches('\\b(TODO|FIXME|TBD)\\b|:latest\\b')",
    ),
    (
        "main-is-protected",
        Plan,
        Must,
        "People merge into main",
        "publish the work to a separate branch (workspace.integration.branch), from which a person merges it",
        r"!plan.workspace.branch.matches('^(main|master|trunk|production|release/.*)$')",
    ),
];

/// Returns the rules that a constitution can choose from. None of them applies by itself.
pub fn builtin() -> Vec<Rule> {
    let rule =
        |(name, scope, strength, principle, message, expression): (&str, Scope, Strength, &str, &str, &str)| Rule {
            name: name.into(),
            scope,
            expression: expression.into(),
            message: message.into(),
            strength,
            principle: Some(principle.into()),
        };
    LIBRARY.map(rule).into()
}
