//! Every rule of the library, with a document that complies and one that violates it.

use enact_domain::rules::{
    Decision, Document, DocumentMetadata, Gate, Outcome, PlanInput, Rule, TaskInput, Workspace, builtin, compile,
    compile_all,
};
use enact_domain::speckit;
use enact_domain::speckit::spec::Spec;
use serde::Deserialize;

const GOOD: &str = "# Feature Specification: Doors

## User Scenarios & Testing

### User Story 1 - Open a door (Priority: P1)

**Independent Test**: Press the bell, and see the door open.

**Acceptance Scenarios**:

1. **Given** a closed door, **When** somebody rings, **Then** it opens

### User Story 2 - Close it again (Priority: P2)

**Independent Test**: Wait, and see it close.

## Requirements

- **FR-001**: The system MUST open within 2 seconds
- **FR-002**: The system SHALL close by itself

## Success Criteria

- **SC-001**: 95 % of visitors enter at the first attempt
";

const BAD: &str = "# Feature Specification: Doors

## User Scenarios & Testing

### User Story 1 - Open a door (Priority: P1)

### User Story 2 - Close it again (Priority: P2)

**Independent Test**: Wait, and see it close.

## Requirements

- **FR-001**: The system MUST open [NEEDS CLARIFICATION: how fast?]
- **FR-002**: The system could close by itself

## Success Criteria

- **SC-001**: Most visitors are happy
- **SC-002**: 3 of 4 come back
";

fn spec(text: &str) -> Spec {
    speckit::spec::parse(text.as_bytes()).model
}

fn meta() -> DocumentMetadata {
    DocumentMetadata { name: "doors".into() }
}

fn task(id: &str, title: &str, story: &str) -> TaskInput {
    TaskInput { id: id.into(), title: title.into(), story: story.into(), ..TaskInput::default() }
}

fn good_plan() -> PlanInput {
    let mut deploy = task("T004", "Tell the world", "");
    deploy.external_effect = true;
    PlanInput {
        name: "doors".into(),
        tasks: vec![
            task("T001", "Set up the project", ""),
            task("T002", "Contract test for the bell", "US1"),
            task("T003", "Implement the bell", "US1"),
            deploy,
        ],
        decisions: vec![Decision::default()],
        gates: vec![Gate { name: "test".into(), script: "cargo test".into() }],
        workspace: Some(Workspace {
            url: "https://git.example/doors.git".into(),
            revision: "main".into(),
            branch: "plan/doors".into(),
        }),
        parallelism: 10,
        approval_required: true,
        ..PlanInput::default()
    }
}

fn bad_plan() -> PlanInput {
    let mut plan = good_plan();
    plan.tasks.swap(1, 2);
    plan.tasks[0].text = "TODO: choose the image\nstart from postgres:latest".into();
    plan.tasks[3].retry_limit = 3;
    plan.gates.clear();
    if let Some(workspace) = &mut plan.workspace {
        workspace.branch = "main".into();
    }
    plan
}

/// Returns the outcomes of a rule for these documents.
fn judge(rule: &Rule, spec: &Spec, plan: &PlanInput) -> Vec<Outcome> {
    let program = compile(rule).expect("the library is well formed");
    let documents: Vec<Document> = match rule.scope {
        enact_domain::rules::Scope::Specification => vec![Document::specification(spec, &meta())],
        enact_domain::rules::Scope::Plan => vec![Document::plan(plan).with_specification(spec, &meta())],
        enact_domain::rules::Scope::Task => Document::plan(plan).tasks(plan).collect(),
        enact_domain::rules::Scope::Constitution => Vec::new(),
    };
    assert!(!documents.is_empty(), "{} judges nothing", rule.name);
    documents.iter().map(|document| program.evaluate(document)).collect()
}

#[test]
fn good_documents_pass_and_bad_ones_violate() {
    // The number of documents that violate each rule, and the items that are reported as the cause.
    let expected: [(&str, usize, &[&str]); 10] = [
        ("requirements-bind", 1, &["FR-002"]),
        ("stories-stand-alone", 1, &["US1"]),
        ("first-stories-have-scenarios", 1, &["US1"]),
        ("criteria-are-measured", 1, &["SC-001"]),
        ("no-open-questions", 1, &["how fast?"]),
        ("tests-come-first", 1, &["US1"]),
        ("work-is-gated", 1, &[]),
        ("effects-are-approved", 1, &[]),
        ("tasks-are-settled", 1, &[]),
        ("main-is-protected", 1, &[]),
    ];
    let rules = builtin();
    assert_eq!(rules.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), expected.map(|(name, ..)| name));
    for (rule, (name, broken, items)) in rules.iter().zip(expected) {
        for outcome in judge(rule, &spec(GOOD), &good_plan()) {
            assert_eq!(outcome, Outcome::Holds, "{name}");
        }
        let outcomes = judge(rule, &spec(BAD), &bad_plan());
        let violated: Vec<&Outcome> = outcomes.iter().filter(|o| **o != Outcome::Holds).collect();
        assert_eq!(violated.len(), broken, "{name}: {outcomes:?}");
        for outcome in violated {
            let items = items.iter().map(|&item| item.to_owned()).collect();
            assert_eq!(*outcome, Outcome::Violated { message: rule.message.clone(), items }, "{name}");
        }
    }
}

#[test]
fn an_effect_needs_both_an_approval_and_no_retries() {
    let rule = builtin().into_iter().find(|r| r.name == "effects-are-approved").unwrap();
    let mut plan = good_plan();
    plan.approval_required = false;
    let broken = judge(&rule, &spec(GOOD), &plan).iter().filter(|o| **o != Outcome::Holds).count();
    assert_eq!(broken, 1);
}

#[test]
fn a_plan_without_specification_meets_the_library() {
    let programs = compile_all(&builtin()).unwrap();
    let plan = Document::plan(&good_plan()).without_specification();
    for program in programs.iter().filter(|p| p.needs().specification && p.needs().plan) {
        assert_eq!(program.evaluate(&plan), Outcome::Holds, "{}", program.rule().name);
    }
}

#[test]
fn the_example_says_what_the_library_says() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        rules: Vec<Rule>,
    }
    let text = include_str!("../../examples/rules/library.yaml");
    let example: Example = serde_yaml::from_str(text).unwrap();
    assert_eq!(example.rules, builtin());
}
