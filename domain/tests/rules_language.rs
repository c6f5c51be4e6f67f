//! The language of rules: what it can express, its errors, and the fields that a rule sees.

use enact_domain::rules::{
    Budget, Document, DocumentMetadata, FindingPolicy, Gate, MAX_RULES, Outcome, PlanInput, Rule, Scope, Strength,
    TaskInput, compile, compile_all,
};
use enact_domain::speckit;

const SPEC: &str = "# Feature Specification: Doors

**Feature Branch**: `001-doors`

### User Story 1 - Open a door (Priority: P1)

**Independent Test**: Press the bell.

**Acceptance Scenarios**:

1. **Given** a closed door, **When** somebody rings, **Then** it opens

### User Story 2 - Close it (Priority: P2)

## Requirements

- **FR-001**: System MUST open
- **FR-002**: System MUST close

### Key Entities

- **Door**: opens

## Success Criteria

- **SC-001**: 95 % open

## Clarifications

### Session 2026-01-02

- Q: Which door? → A: The front door
";

const CONSTITUTION: &str = "# Doors Constitution

## Core Principles

### I. Doors first

Every door MUST open. It may close.

**Version**: 1.2.0 | **Ratified**: 2026-01-01 | **Last Amended**: 2026-02-01
";

fn rule(scope: Scope, expression: &str) -> Rule {
    Rule {
        name: "it".into(),
        scope,
        expression: expression.into(),
        message: "fix it".into(),
        strength: Strength::Must,
        principle: None,
    }
}

fn specification() -> Document {
    Document::specification(&speckit::spec::parse(SPEC.as_bytes()).model, &DocumentMetadata { name: "doors".into() })
}

fn plan() -> PlanInput {
    let task = |id: &str, depends_on: &[&str]| TaskInput {
        id: id.into(),
        title: format!("Write src/{id}.rs"),
        text: "and README.md".into(),
        phase: "Setup".into(),
        story: "US1".into(),
        depends_on: depends_on.iter().map(|&id| id.into()).collect(),
        gates: vec![Gate { name: "lint".into(), script: "true".into() }],
        external_effect: false,
        retry_limit: 2,
        timeout_seconds: 60,
    };
    PlanInput {
        name: "doors-1".into(),
        tasks: vec![task("T001", &[]), task("T002", &["T001"])],
        parallelism: 3,
        approver_machines: vec!["system:serviceaccount:ci:bot".into()],
        approval_expires_after_seconds: 3600,
        approvals_with_findings: vec![FindingPolicy {
            at_least: "High".into(),
            required: 2,
            groups: vec!["security".into()],
        }],
        ..PlanInput::default()
    }
}

fn holds(document: &Document, expression: &str) {
    let program = compile(&rule(document.scope(), expression)).unwrap_or_else(|e| panic!("{expression}: {e}"));
    assert_eq!(program.evaluate(document), Outcome::Holds, "{expression}");
}

fn violated(document: &Document, expression: &str, items: &[&str]) {
    let program = compile(&rule(document.scope(), expression)).unwrap_or_else(|e| panic!("{expression}: {e}"));
    let items = items.iter().map(|&item| item.to_owned()).collect();
    assert_eq!(program.evaluate(document), Outcome::Violated { message: "fix it".into(), items }, "{expression}");
}

#[test]
fn a_specification_shows_what_its_document_holds() {
    let document = specification();
    for expression in [
        "specification.name == 'doors' && specification.title == 'Doors' && specification.branch == '001-doors'",
        "specification.stories.map(s, s.key) .join(' ') == 'US1 US2'",
        "specification.stories[0].priority == 'P1' && specification.stories[0].independentTest == 'Press the bell.'",
        "specification.stories[0].scenarios[0].key == 'US1/AC1'",
        "specification.stories[0].scenarios.all(c, c.given == 'a closed door' && c.when == 'somebody rings')",
        "specification.stories[0].scenarios[0].then == 'it opens'",
        "specification.requirements[1].text == 'System MUST close' && specification.requirements[1].line == 18",
        "specification.criteria[0].id == 'SC-001'",
        "specification.entities.exists_one(e, e.name == 'Door')",
        "specification.clarifications[0].answer == 'The front door' && specification.clarifications[0].session == '2026-01-02'",
        "specification.source.startsWith('# Feature')",
    ] {
        holds(&document, expression);
    }
}

#[test]
fn plan_tasks_and_constitution_have_their_fields() {
    let constitution = speckit::constitution::parse(CONSTITUTION.as_bytes()).model;
    let document = Document::plan(&plan()).with_constitution(&constitution);
    for expression in [
        "plan.name == 'doors-1' && plan.parallelism == 3 && !plan.approvalRequired",
        "plan.requiredApprovals == 0 && !plan.fourEyes && plan.approverGroups.size() == 0",
        "plan.approverMachines.join() == 'system:serviceaccount:ci:bot' && plan.approvalExpiresAfterSeconds == 3600",
        "plan.approvalsWithFindings.all(p, p.atLeast == 'High' && p.required == 2 && p.groups[0] == 'security')",
        "plan.tasks.filter(t, 'T001' in t.dependsOn).map(t, t.id).join() == 'T002'",
        "plan.tasks.all(t, t.paths.join(',') == 'src/' + t.id + '.rs,README.md')",
        "plan.tasks.all(t, t.gates[0].name == 'lint' && t.retryLimit == 2 && t.timeoutSeconds == 60 && t.phase == 'Setup')",
        "!has(plan.workspace) && !has(plan.gates) && plan.workspace.branch == ''",
        "constitution.version == '1.2.0' && constitution.principles[0].name == 'Doors first'",
        "constitution.principles[0].number == 'I' && constitution.principles[0].musts.size() == 1",
        "constitution.principles[0].text.contains('may close') && constitution.lastAmended == '2026-02-01'",
    ] {
        holds(&document, expression);
    }
    holds(&Document::constitution(&constitution), "has(constitution.version) && constitution.ratified == '2026-01-01'");
    let plan = plan();
    for task in Document::plan(&plan).tasks(&plan) {
        holds(&task, "task.id.startsWith('T00') && plan.tasks.exists(t, t.id == task.id) && !task.externalEffect");
    }
}

#[test]
fn has_asks_whether_there_is_something() {
    let document = specification();
    holds(&document, "has(specification.title) && !has(specification.status) && !has(specification.assumptions)");
    holds(&document, "has(specification.stories[0].line) && !has(specification.stories[1].scenarios)");
    violated(&document, "specification.stories.all(s, has(s.independentTest))", &["US2"]);
}

#[test]
fn functions_do_what_cel_says() {
    let document = specification();
    for expression in [
        "size('äöü') == 3 && 'äöü'.size() == 3 && specification.stories.size() == 2",
        "'Doors'.lowerAscii() == 'doors' && 'Doors'.upperAscii() == 'DOORS' && ' a '.trim() == 'a'",
        "'a,b'.split(',')[1] == 'b' && ['a', 'b'].join() == 'ab' && 'b' in ['a', 'b']",
        "'doors'.contains('oo') && 'doors'.startsWith('do') && 'doors'.endsWith('rs')",
        "'T012'.matches('^T[0-9]{3}$') && !'T12'.matches(r'^T\\d{3}$')",
        "7 / 2 == 3 && 7 % 2 == 1 && -(1) < 0 && 2.5 > 1.0 && 2 * 3 - 1 == 5",
        "double(1) / double(2) == 0.5 && int(2.7) == 2 && string(3) == '3' && string(true) == 'true'",
        "[1, 2].map(x, x * 2).exists(x, x == 4) && ([1] + [2]).size() == 2 && [1, 2, 3].filter(x, x > 1)[0] == 2",
        "[1, 2, 3].map(x, x > 1, x * 10)[0] == 20 && [1, 2].exists_one(x, x == 1)",
        "(specification.stories.map(s, s.key) + ['x']).size() == 3 && (specification.title > 'A' ? true : false)",
        // Variables may have the names of types and documents.
        "specification.stories.all(specification, specification.key != '') && ['a'].all(string, string == 'a')",
        "['a'].all(strings, strings.size() == 1) && ['a'].all(optional, optional.trim() == 'a')",
    ] {
        holds(&document, expression);
    }
}

#[test]
fn a_violation_names_the_offending_elements() {
    let document = specification();
    violated(&document, "specification.requirements.all(r, r.text.contains('open'))", &["FR-002"]);
    violated(&document, "!specification.requirements.exists(r, r.text.contains('MUST'))", &["FR-001", "FR-002"]);
    violated(&document, "specification.requirements.filter(r, r.text.contains('close')).size() == 0", &["FR-002"]);
    violated(&document, "size(specification.entities) == 0", &["Door"]);
    violated(
        &document,
        "has(specification.title) && specification.stories.all(s, s.priority == 'P1') && specification.entities.all(e, e.name != 'Door')",
        &["US2", "Door"],
    );
    violated(&document, "!has(specification.title) || specification.stories.all(s, s.key == 'US1')", &["US2"]);
    violated(&document, "has(specification.title) ? specification.stories.all(s, s.key == 'US2') : true", &["US1"]);
    violated(&document, "specification.requirements.map(r, r.id).all(id, id == 'FR-001')", &["FR-002"]);
    violated(&document, "specification.requirements.size() > 10", &[]);
    violated(&document, "specification.requirements.exists(r, r.id == 'FR-009')", &[]);
}

/// Expressions for a Specification, with the position, the problem and the remedy of their errors.
const ERRORS: &[(&str, &str)] = &[
    (
        "specification.requirments.size() > 0",
        "1, column 15: a specification has no field `requirments`; did you mean `requirements`?",
    ),
    (
        "plan.tasks.size() > 0",
        "1, column 1: a rule for a Specification has no variable `plan`; use one of specification, constitution",
    ),
    (
        "spec.title == ''",
        "1, column 1: a rule for a Specification has no variable `spec`; use one of specification, constitution",
    ),
    (
        "specification.stories.all(s,\n  s.depends_on == '')",
        "2, column 5: a story has no field `depends_on`; use one of key, title, priority, independentTest, scenarios, line",
    ),
    (
        "'äöü' == 'a' && specification.titel == ''",
        "1, column 31: a specification has no field `titel`; did you mean `title`?",
    ),
    (
        "specification.title",
        "1, column 15: the result is a string, not a bool; use a comparison: the expression must be true when the rule holds",
    ),
    (
        "specification.stories.key == ''",
        "1, column 23: a list of story has no field `key`; test each element with `….all(x, x.…)`, or one element with `…[0]`",
    ),
    ("specification.title.contians('x')", "1, column 21: there is no function `contians`; did you mean `contains`?"),
    (
        "specification.title.contains(1)",
        "1, column 21: `contains` does not take string and int; write text.contains('part')",
    ),
    (
        "specification.title.all(c, true)",
        "1, column 15: a string has no elements; use all, exists, filter and map on lists",
    ),
    (
        "specification.stories.all(s, s.scenarios)",
        "1, column 32: a list of scenario is used where a bool is needed; use a comparison",
    ),
    (
        "1 + 'a' == 2",
        "1, column 3: `+` does not take int and string; use the same type on both sides: double(…), int(…) and string(…) convert",
    ),
    (
        "specification == specification",
        "1, column 15: `==` does not take specification and specification; compare the elements of lists and the fields of records",
    ),
    ("[] == []", "1, column 1: an empty list has no type; compare the size: `….size() == 0`"),
    (
        "[1, 'a'].size() == 2",
        "1, column 5: the list starts with a int and also contains a string; use one type for all elements",
    ),
    (
        "specification.title == null",
        "1, column 24: `null` is not supported: no field is ever null; use `has(…)`, or compare with '': a missing text is empty",
    ),
    (
        "specification.title.matches('(')",
        "1, column 29: the pattern cannot be read: unclosed group; see https://docs.rs/regex/#syntax",
    ),
    (
        "specification.title.matches(specification.name)",
        "1, column 43: the pattern is not a literal; write the pattern as a string literal",
    ),
    (
        "specification.title.matches('(a{100}){100}')",
        "1, column 29: the pattern needs too much memory; repeat less, or write `(?-u:\\w)` for `\\w`",
    ),
    (
        "'äöü' b",
        "1, column 7: syntax error: extraneous input 'b' expecting <EOF>; see https://cel.dev for the language",
    ),
    ("a b", "1, column 3: syntax error: extraneous input 'b' expecting <EOF>; see https://cel.dev for the language"),
    ("", "1, column 1: the expression is empty; write a CEL expression"),
];

#[test]
fn an_error_has_position_and_remedy() {
    for (expression, expected) in ERRORS {
        let error = compile(&rule(Scope::Specification, expression)).unwrap_err();
        assert_eq!(error.to_string(), format!("rule \"it\", line {expected}"), "{expression}");
    }
}

#[test]
fn what_is_too_long_too_deep_or_too_costly_is_refused() {
    let refused = |expression: &str, why: &str| {
        let error = compile(&rule(Scope::Plan, expression)).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    };
    refused(
        &format!("'{}' == ''", "a".repeat(5000)),
        "the expression has 5008 bytes; use at most 4096, or split the rule in two",
    );
    refused(&["plan.name.matches('a')"; 9].join(" || "), "there are more than 8 patterns");
    refused(&format!("{}true{}", "(".repeat(60), ")".repeat(60)), "nests too deeply; nest at most 32");
    refused(
        "plan.tasks.all(a, plan.tasks.all(b, plan.tasks.exists(c, a.id == c.id)))",
        "units on documents of usual size, and at most 10000000 are allowed; nest fewer macros over lists",
    );
    let text = format!("'{}'", "0123456789".repeat(20));
    let grown = (0..5).fold(text, |inner, _| format!("[{inner}].map(x, x+x+x+x+x+x+x+x)[0]"));
    refused(&format!("{grown} == ''"), "the rule may create a value of 6553632 bytes");
}

#[test]
fn a_rule_too_costly_for_the_document_fails() {
    let program = compile(&rule(Scope::Plan, "plan.tasks.all(t, plan.tasks.exists(o, o.id == t.id))")).unwrap();
    let mut plan = plan();
    let one = plan.tasks[0].clone();
    plan.tasks = (0..5000).map(|i| TaskInput { id: format!("T{i}"), ..one.clone() }).collect();
    let Outcome::Failed { why } = program.evaluate(&Document::plan(&plan)) else {
        panic!("it should have been refused");
    };
    assert!(why.starts_with("rule \"it\": the rule may cost 250035004 units on this document"), "{why}");
    assert!(why.contains("and at most 10000000 are allowed"), "{why}");
}

#[test]
fn one_large_element_does_not_raise_the_cost() {
    let mut plan = plan();
    let one = plan.tasks[0].clone();
    plan.tasks = (0..5000).map(|i| TaskInput { id: format!("T{i}"), ..one.clone() }).collect();
    plan.tasks[4999].depends_on = (0..2000).map(|i| format!("T{i}")).collect();
    let document = Document::plan(&plan);
    let program = compile(&rule(Scope::Plan, "plan.tasks.all(t, t.dependsOn.all(d, d != t.id))")).unwrap();
    assert_eq!(program.evaluate(&document), Outcome::Holds);
    assert!(program.cost(&document) < 200_000, "{}", program.cost(&document));
}

#[test]
fn evaluations_that_belong_together_share_a_budget() {
    let program = compile(&rule(Scope::Task, "has(task.id) || plan.tasks.all(t, t.id != task.title)")).unwrap();
    let mut plan = plan();
    let one = plan.tasks[0].clone();
    plan.tasks = (0..3000).map(|i| TaskInput { id: format!("T{i}"), ..one.clone() }).collect();
    let mut budget = Budget::default();
    let outcomes: Vec<Outcome> =
        Document::plan(&plan).tasks(&plan).take(2000).map(|task| program.evaluate_within(&task, &mut budget)).collect();
    let held = outcomes.iter().take_while(|o| **o == Outcome::Holds).count();
    assert!((1000..2000).contains(&held), "{held}");
    assert!(matches!(&outcomes[held], Outcome::Failed { why } if why.contains("more than 50000000 units")));
    let cheap = compile(&Rule { name: "cheap".into(), ..rule(Scope::Task, "has(task.id)") }).unwrap();
    let task = Document::task(&one);
    assert_eq!(cheap.evaluate_within(&task, &mut budget), Outcome::Holds, "what is left is for others");
    assert!(budget.refuses(&program) && !budget.refuses(&cheap));
}

#[test]
fn needs_say_whether_one_object_is_enough() {
    let of = |scope, expression| compile(&rule(scope, expression)).unwrap().needs();
    assert!(of(Scope::Plan, "has(plan.gates)").only(Scope::Plan));
    let both = of(Scope::Plan, "specification.stories.size() > 0 || has(plan.gates)");
    assert!(both.plan && both.specification && !both.constitution && !both.task && !both.only(Scope::Plan));
    assert!(of(Scope::Plan, "specification.stories.all(plan, plan.key != '')").specification);
    assert!(!of(Scope::Plan, "specification.stories.all(plan, plan.key != '')").plan);
}

#[test]
fn missing_documents_and_invalid_values_fail() {
    let fails = |document: &Document, scope, expression: &str, why: &str| {
        let outcome = compile(&rule(scope, expression)).unwrap().evaluate(document);
        assert_eq!(outcome, Outcome::Failed { why: format!("rule \"it\": {why}") });
    };
    let document = Document::plan(&plan());
    fails(
        &document,
        Scope::Plan,
        "has(specification.title)",
        "it reads the specification, which is not available here",
    );
    fails(&document, Scope::Task, "has(task.title)", "it applies to a Task, and this document is a Plan");
    fails(&document, Scope::Plan, "plan.gates[0].name == ''", "a list has fewer elements than the rule expects");
    fails(&document, Scope::Plan, "1 / plan.gates.size() == 1", "a number is divided by zero");
    fails(&document, Scope::Plan, "9223372036854775807 + plan.parallelism > 0", "a number becomes too large");
}

#[test]
fn the_rules_of_a_constitution_are_checked_together() {
    let mut second = rule(Scope::Task, "task.titel == ''");
    let twice = compile_all(&[rule(Scope::Plan, "true"), second.clone()]).unwrap_err();
    assert!(twice[0].problem.contains("the same name") && twice[1].problem.contains("titel"), "{twice:?}");
    second.name = "No Label".into();
    assert!(compile(&second).unwrap_err().problem.contains("is not a valid name of a rule"));
    let mute = Rule { message: " ".into(), ..rule(Scope::Plan, "true") };
    assert!(compile(&mute).unwrap_err().problem.contains("the message"));
    let many: Vec<Rule> =
        (0..=MAX_RULES).map(|i| Rule { name: format!("r{i}"), ..rule(Scope::Plan, "true") }).collect();
    assert!(compile_all(&many).unwrap_err()[0].remedy.contains("keep at most 64"));
    assert_eq!(compile_all(&many[..MAX_RULES]).unwrap().len(), MAX_RULES);
}

#[test]
fn a_program_is_used_from_many_threads() {
    let program = compile(&rule(Scope::Plan, "plan.tasks.all(t, t.title.matches('Write'))")).unwrap();
    let document = Document::plan(&plan());
    let outcomes: Vec<Outcome> = std::thread::scope(|threads| {
        let running: Vec<_> = (0..4).map(|_| threads.spawn(|| program.evaluate(&document))).collect();
        running.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(outcomes, vec![Outcome::Holds; 4]);
}
