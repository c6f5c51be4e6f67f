//! The score of a proposal: a sum of components, each with its explanation.

use std::collections::HashSet;

use super::paths;
use crate::analysis::{Coverage, CoveredItem, Evidence, is_vague};
use crate::graph::Graph;
use crate::speckit::StoryKey;
use crate::speckit::spec::Spec;
use crate::speckit::tasks::{Task, TasksFile};
use crate::text::{one_line, truncate};

/// Highest score.
pub const MAX_SCORE: u32 = 1000;
/// Points of the components. Their sum is [`MAX_SCORE`]. The first three are about coverage. They have 700 points, so that a short and tidy
/// plan does not win over one that does more of what is asked.
const REQUIREMENTS: u32 = 400;
const SCENARIOS: u32 = 200;
const CRITERIA: u32 = 100;
const CHECKS: u32 = 100;
const CLARITY: u32 = 50;
const CLAIMS: u32 = 50;
const GRAPH: u32 = 50;
const RULES: u32 = 50;
/// Points that each violated rule of severity SHOULD costs.
const PER_RULE: u32 = 10;
/// Maximum number of items that an explanation names.
const MAX_NAMED: usize = 5;
/// Maximum length of an explanation, in bytes.
const MAX_EXPLANATION: usize = 256;

/// A proposal that has passed its check, and what was found in it.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub specification: &'a Spec,
    pub file: &'a TasksFile,
    /// The graph of the open tasks, in the order of the file.
    pub graph: &'a Graph,
    pub coverage: &'a Coverage,
    /// Number of violated rules of severity SHOULD.
    pub violated_rules: u32,
}

/// One component of a score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    pub name: &'static str,
    /// From 0 to `max`.
    pub points: u32,
    pub max: u32,
    pub explanation: String,
}

/// The score of a proposal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Score {
    pub components: Vec<Component>,
}

impl Score {
    /// Returns the sum of the components, from 0 to [`MAX_SCORE`]. Judges can add to it.
    pub fn total(&self) -> u32 {
        self.components.iter().map(|component| component.points).sum()
    }
}

/// Returns the score of a proposal.
pub fn score(input: &Input) -> Score {
    let tasks: Vec<&Task> = input.file.tasks.iter().filter(|task| task.state.is_open()).collect();
    Score {
        components: vec![
            requirements(input),
            scenarios(input),
            criteria(input),
            checks(&tasks),
            clarity(input, &tasks),
            claims(input, &tasks),
            graph(input),
            rules(input),
        ],
    }
}

/// Returns a component for `part` of `whole`. With nothing to evaluate, it has all points.
fn share(name: &'static str, max: u32, (part, whole): (usize, usize), mut explanation: String) -> Component {
    let points = if whole == 0 { u64::from(max) } else { u64::from(max) * part as u64 / whole as u64 };
    truncate(&mut explanation, MAX_EXPLANATION);
    Component { name, points: u32::try_from(points).unwrap_or(max).min(max), max, explanation }
}

/// Returns the first names as a list.
fn list(names: &[&str]) -> String {
    let shown = names.iter().take(MAX_NAMED).map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Returns the end of an explanation that names what is missing.
fn without(names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { format!("; not {}", list(names)) }
}

fn covered(name: &'static str, max: u32, what: &str, items: &[&CoveredItem]) -> Component {
    let missing: Vec<&str> = items.iter().filter(|item| item.tasks.is_empty()).map(|item| item.id.as_str()).collect();
    let (all, served) = (items.len(), items.len() - missing.len());
    let explanation = match all {
        0 => format!("the specification has no {what}"),
        _ => format!("tasks cover {served} of {all} {what}{}", without(&missing)),
    };
    share(name, max, (served, all), explanation)
}

fn requirements(input: &Input) -> Component {
    let all = input.specification.requirements.iter().zip(&input.coverage.requirements);
    let asked: Vec<&CoveredItem> = all.filter(|(item, _)| !item.retired).map(|(_, covered)| covered).collect();
    covered("requirements", REQUIREMENTS, "requirements", &asked)
}

fn criteria(input: &Input) -> Component {
    let all = input.specification.success_criteria.iter().zip(&input.coverage.criteria);
    let asked: Vec<&CoveredItem> = all.filter(|(item, _)| !item.retired).map(|(_, covered)| covered).collect();
    covered("criteria", CRITERIA, "success criteria", &asked)
}

/// A scenario is covered by the tasks of its story. A story without scenarios counts like one with one scenario.
fn scenarios(input: &Input) -> Component {
    let (mut part, mut whole, mut missing) = (0, 0, Vec::new());
    for (story, covered) in input.specification.stories.iter().zip(&input.coverage.stories) {
        let scenarios = story.scenarios.len().max(1);
        whole += scenarios;
        if covered.tasks.is_empty() {
            missing.push(covered.id.as_str());
        } else {
            part += scenarios;
        }
    }
    let explanation = match whole {
        0 => "the specification has no stories".to_owned(),
        _ => format!("{part} of {whole} acceptance scenarios are of stories with tasks{}", without(&missing)),
    };
    share("scenarios", SCENARIOS, (part, whole), explanation)
}

/// A task is checked if it is a test, or if a test of its story, or else of its phase, exists.
fn checks(tasks: &[&Task]) -> Component {
    let tests: Vec<&&Task> = tasks.iter().filter(|task| is_test(task)).collect();
    let stories: HashSet<&str> = tests.iter().flat_map(|test| &test.stories).map(StoryKey::as_str).collect();
    let phases: HashSet<usize> = tests.iter().map(|test| test.phase).collect();
    let is_checked = |task: &Task| {
        is_test(task)
            || task.stories.iter().any(|story| stories.contains(story.as_str()))
            || (task.stories.is_empty() && phases.contains(&task.phase))
    };
    let missing: Vec<&str> = tasks.iter().filter(|task| !is_checked(task)).map(|task| task.id.as_str()).collect();
    let (part, whole) = (tasks.len() - missing.len(), tasks.len());
    let explanation =
        format!("{part} of {whole} tasks are tests or have one in their story or phase{}", without(&missing));
    share("checks", CHECKS, (part, whole), explanation)
}

fn is_test(task: &Task) -> bool {
    const WORDS: [&str; 14] = [
        "test",
        "tests",
        "testing",
        "tested",
        "verify",
        "verifies",
        "validate",
        "validates",
        "check",
        "checks",
        "benchmark",
        "measure",
        "assert",
        "lint",
    ];
    let mut words = task.title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.any(|word| WORDS.contains(&word.to_lowercase().as_str()))
}

/// A task is clear if it names what it changes or serves, and has no vague words.
fn clarity(input: &Input, tasks: &[&Task]) -> Component {
    let covers = &input.coverage;
    let named: HashSet<&str> = covers
        .requirements
        .iter()
        .chain(&covers.criteria)
        .flat_map(|item| &item.tasks)
        .filter(|link| link.by == Evidence::Id)
        .map(|link| link.task.as_str())
        .collect();
    let is_bounded = |task: &Task| !task.paths.is_empty() || named.contains(task.id.as_str());
    let is_clear = |task: &Task| is_bounded(task) && !is_vague(task.span.text(&input.file.source));
    let unclear: Vec<&str> = tasks.iter().filter(|task| !is_clear(task)).map(|task| task.id.as_str()).collect();
    let (part, whole) = (tasks.len() - unclear.len(), tasks.len());
    let explanation = format!("{part} of {whole} tasks name a file or an item and no vague words{}", without(&unclear));
    share("clarity", CLARITY, (part, whole), explanation)
}

fn claims(input: &Input, tasks: &[&Task]) -> Component {
    // The graph has the open tasks only. Another graph has no meaning here.
    if input.graph.len() != tasks.len() {
        return share("claims", CLAIMS, (0, 1), "the tasks have no order".into());
    }
    let found = paths::claims(tasks, input.graph);
    let (conflicting, whole) = (found.conflicting.len(), found.paths);
    let names = if conflicting == 0 { String::new() } else { format!(": {}", list(&found.conflicting)) };
    let explanation =
        format!("tasks that can run at the same time claim {conflicting} of {whole} paths together{names}");
    share("claims", CLAIMS, (whole - conflicting, whole), explanation)
}

/// The shorter the longest chain, the more tasks can run at the same time.
fn graph(input: &Input) -> Component {
    let (all, longest) = (input.graph.len(), input.graph.critical_path().len());
    let explanation = format!("the longest chain has {longest} of {all} tasks");
    share("graph", GRAPH, (all - longest, all.saturating_sub(1)), explanation)
}

fn rules(input: &Input) -> Component {
    let lost = input.violated_rules.saturating_mul(PER_RULE).min(RULES);
    let explanation = format!("{} rules of severity SHOULD are violated", input.violated_rules);
    Component { name: "rules", points: RULES - lost, max: RULES, explanation }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::{TaskText, coverage};
    use crate::speckit::{self, TaskId};

    const SPEC: &str = "# Feature Specification: Cart\n\n## User Scenarios & Testing\n\n### User Story 1 - Fill it (Priority: P1)\n\n\
        A buyer fills the cart.\n\n**Acceptance Scenarios**:\n\n\
        1. **Given** an empty cart, **When** an article is added, **Then** it holds one article.\n\
        2. **Given** a full cart, **When** an article is added, **Then** it is refused.\n\n\
        ### User Story 2 - Empty it (Priority: P2)\n\nA buyer removes articles.\n\n\
        ## Requirements\n\n### Functional Requirements\n\n- **FR-001**: The cart MUST hold 100 articles.\n\
        - **FR-002**: Checkout MUST reject expired vouchers.\n\n\
        ## Success Criteria\n\n- **SC-001**: 95 % of buyers fill a cart within 2 minutes.\n";

    const GOOD: &str = "# Tasks: Cart\n\n## Phase 1: Setup\n\n- [ ] T001 Create the crate and its lint in `Cargo.toml`\n\n\
        ## Phase 2: User Story 1 - Fill it\n\n- [ ] T002 [P] [US1] Test of 100 articles in `tests/cart.rs` (FR-001)\n\
        - [ ] T003 [P] [US1] Cart of 100 articles in `src/cart.rs` (FR-001)\n\n\
        ## Phase 3: User Story 2 - Empty it\n\n- [ ] T004 [P] [US2] Test of expired vouchers in `tests/voucher.rs` (FR-002)\n\
        - [ ] T005 [P] [US2] Remove articles in `src/remove.rs` (FR-002)\n\n\
        ## Phase 4: Polish\n\n- [ ] T006 Measure the time to fill a cart in `benches/cart.rs` (SC-001)\n";

    const POOR: &str = "# Tasks: Cart\n\n## Phase 1: Setup\n\n- [ ] T001 [P] Write everything, etc. in `src/cart.rs`\n\
        - [ ] T002 [P] Make it fast in `src/cart.rs`\n";

    fn scored(spec: &str, tasks: &str, violated_rules: u32) -> Score {
        let spec = speckit::spec::parse(spec.as_bytes()).model;
        let file = speckit::tasks::parse(tasks.as_bytes()).model;
        let edges = file.dependencies();
        let graph = Graph::build(file.tasks.iter().map(|t| (t.id.as_str(), edges[&t.id].iter().map(TaskId::as_str))));
        let texts: Vec<TaskText> = file
            .tasks
            .iter()
            .map(|task| TaskText {
                id: task.id.as_str(),
                title: &task.title,
                text: task.span.text(&file.source),
                story: task.stories.first().map(StoryKey::as_str),
            })
            .collect();
        let coverage = coverage(&spec, &texts);
        let graph = graph.unwrap_or_default();
        score(&Input { specification: &spec, file: &file, graph: &graph, coverage: &coverage, violated_rules })
    }

    fn points(score: &Score) -> Vec<(&'static str, u32)> {
        score.components.iter().map(|component| (component.name, component.points)).collect()
    }

    #[test]
    fn a_plan_that_covers_everything_has_nearly_all_points() {
        let score = scored(SPEC, GOOD, 0);
        let expected = [
            ("requirements", 400),
            ("scenarios", 200),
            ("criteria", 100),
            ("checks", 100),
            ("clarity", 50),
            ("claims", 50),
            ("graph", 30),
            ("rules", 50),
        ];
        assert_eq!(points(&score), expected, "{score:#?}");
        assert_eq!(score.total(), 980);
    }

    #[test]
    fn what_is_missing_costs_points_and_is_named() {
        let score = scored(SPEC, POOR, 2);
        let expected = [
            ("requirements", 0),
            ("scenarios", 0),
            ("criteria", 0),
            ("checks", 0),
            ("clarity", 0),
            ("claims", 0),
            ("graph", 50),
            ("rules", 30),
        ];
        assert_eq!(points(&score), expected, "{score:#?}");
        let explained = |name: &str| {
            score.components.iter().find(|component| component.name == name).map(|found| found.explanation.as_str())
        };
        assert_eq!(explained("requirements"), Some("tasks cover 0 of 2 requirements; not FR-001, FR-002"));
        assert_eq!(explained("scenarios"), Some("0 of 3 acceptance scenarios are of stories with tasks; not US1, US2"));
        assert_eq!(
            explained("claims"),
            Some("tasks that can run at the same time claim 1 of 1 paths together: src/cart.rs")
        );
    }

    #[test]
    fn a_tidy_plan_that_leaves_a_story_out_does_not_win() {
        let tidy = "# Tasks: Cart\n\n## Phase 1: User Story 1 - Fill it\n\n\
            - [ ] T001 [P] [US1] Test of 100 articles in `tests/cart.rs` (FR-001)\n\
            - [ ] T002 [P] [US1] Cart of 100 articles in `src/cart.rs` (FR-001, SC-001)\n";
        let untested = "# Tasks: Cart\n\n## Phase 1: User Story 1 - Fill it\n\n\
            - [ ] T001 [US1] Cart of 100 articles in `src/cart.rs` (FR-001, SC-001)\n\
            - [ ] T002 [US1] Errors of the cart in `src/cart.rs`\n\n\
            ## Phase 2: User Story 2 - Empty it\n\n- [ ] T003 [US2] Vouchers in `src/voucher.rs` (FR-002)\n\
            - [ ] T004 [US2] Remove articles in `src/cart.rs`\n- [ ] T005 [US2] Run everything once\n";
        let (tidy, untested) = (scored(SPEC, tidy, 0), scored(SPEC, untested, 0));
        assert!(untested.total() > tidy.total(), "{untested:#?} {tidy:#?}");
    }

    #[test]
    fn the_maxima_sum_up() {
        let maxima: u32 = scored(SPEC, GOOD, 0).components.iter().map(|component| component.max).sum();
        assert_eq!(maxima, MAX_SCORE);
    }

    proptest! {
        #[test]
        fn a_score_is_bounded_and_repeatable(
            tasks in proptest::collection::vec((any::<bool>(), 0usize..4, "[a-zA-Z ]{0,20}"), 0..40),
            rules in 0u32..20,
        ) {
            let mut text = String::from("# Tasks: x\n\n## Phase 1: Setup\n\n");
            for (number, (parallel, path, title)) in tasks.iter().enumerate() {
                let mark = if *parallel { "[P] " } else { "" };
                text.push_str(&format!("- [ ] T{:03} {mark}{title} in `src/{path}.rs`\n", number + 1));
            }
            let first = scored(SPEC, &text, rules);
            prop_assert!(first.total() <= MAX_SCORE);
            prop_assert!(first.components.iter().all(|c| c.points <= c.max && c.explanation.len() <= MAX_EXPLANATION));
            prop_assert_eq!(scored(SPEC, &text, rules), first);
        }

        #[test]
        fn a_violated_rule_never_helps(rules in 0u32..20) {
            prop_assert!(scored(SPEC, GOOD, rules + 1).total() <= scored(SPEC, GOOD, rules).total());
        }
    }
}
