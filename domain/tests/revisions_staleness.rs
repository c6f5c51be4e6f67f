//! Staleness: tasks that a new revision of a specification makes stale, and tasks that it does not affect.

use enact_domain::graph::{Graph, NodeId};
use enact_domain::revisions::staleness::{
    Changes, Effect, ItemChange, ItemKind, MAX_REASONS, PlannedTask, Relation, compare, stale,
};
use enact_domain::speckit::spec::{self, Spec};
use proptest::prelude::*;

const OLD: &str = "# Feature Specification: Ferry

## Clarifications

### Session 2026-01-01

- Q: Which phones? → A: All
- Q: Which gates? → A: Two

## User Scenarios & Testing

### User Story 1 - Board (Priority: P2)

A passenger boards with a ticket.

**Why this priority**: it is the trip

**Independent Test**: Scan a ticket.

**Acceptance Scenarios**:

1. **Given** a valid ticket, **When** it is scanned, **Then** the gate opens
2. **Given** a used ticket, **When** it is scanned, **Then** the gate stays shut

### User Story 2 - Refund (Priority: P3)

A passenger gets the fare back.

1. **Given** a ticket, **When** it is returned, **Then** the fare is paid back

## Requirements

- **FR-001**: The gate MUST open within
  2 seconds
- **FR-002**: A ticket MUST hold:
  - its owner
  - its fare
- **FR-003**: Scans MUST be logged
- **FR-004**: The fare MUST be paid back

### Key Entities

- **Ticket**: a right to board once
- **Gate**: lets one through

## Success Criteria

- **SC-001**: 99 of 100 board without help
";

fn read(text: &str) -> Spec {
    spec::parse(text.as_bytes()).model
}

fn edited(edits: &[(&str, &str)]) -> Spec {
    let text = edits.iter().fold(OLD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?}");
        text.replacen(from, to, 1)
    });
    read(&text)
}

fn work<'a>(id: &'a str, story: Option<&'a str>, text: &'a str) -> PlannedTask<'a> {
    PlannedTask { id, story, text, requirements: &[] }
}

fn tasks<'a>() -> Vec<PlannedTask<'a>> {
    vec![
        work("T001", None, "Create the project"),
        work("T002", None, "Model Ticket in src/ticket.rs"),
        work("T003", Some("US1"), "Open the gate (FR-001, FR-003)"),
        work("T004", Some("US1"), "Test boarding"),
        work("T005", Some("US-2"), "Pay the fare back (FR-004)"),
        work("T006", Some("US2"), "Write about refunds"),
        work("T007", None, "Log scans for FR-003"),
    ]
}

/// Returns stale tasks with the items and relations that make them stale.
fn found(new: &Spec) -> Vec<(String, Vec<(String, Relation)>)> {
    let old = read(OLD);
    let staleness = stale(&old, new, &compare(&old, new), &tasks());
    let reasons = |task: &enact_domain::revisions::staleness::StaleTask| {
        task.reasons.iter().map(|reason| (reason.item.id.clone(), reason.link)).collect()
    };
    staleness.tasks.iter().map(|task| (task.id.clone(), reasons(task))).collect()
}

#[test]
fn a_redo_repeats_stale_tasks_and_what_depends_on_them() {
    let tasks = tasks();
    let needs = |id: &str| match id {
        "T007" => vec!["T006"],
        "T002" => vec!["T001"],
        _ => Vec::new(),
    };
    let graph = Graph::build(tasks.iter().map(|task| (task.id, needs(task.id)))).unwrap();
    let new =
        edited(&[("paid back\n\n### Key", "paid back within a day\n- **FR-009**: The gate MUST ring\n\n### Key")]);
    let effect = Effect::between(&read(OLD), &new, &tasks, &graph);
    assert_eq!(effect.tasks.iter().copied().collect::<Vec<_>>(), [4, 5], "T005 names FR-004, T006 serves its story");
    let redone: Vec<Option<usize>> = effect.redone.iter().map(|node| node.task()).collect();
    assert_eq!(redone, [Some(4), Some(5), Some(6), None], "T007 depends on T006, and the integration on all");
    assert_eq!(effect.staleness.uncovered.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["FR-009"]);
    assert!(effect.matters());
    let none = Effect::between(&read(OLD), &read(OLD), &tasks, &graph);
    assert!(!none.matters() && none.redone.is_empty(), "nothing is published again");
    let unknown = Effect::of_unknown(&graph);
    assert_eq!((unknown.tasks.len(), unknown.redone.contains(&NodeId::Integration)), (7, true));
    assert_eq!(unknown.changes, None);
}

#[test]
fn form_is_no_change() {
    let new = edited(&[
        ("within\n  2 seconds", "within 2\n  seconds"),
        ("  - its owner\n  - its fare", "\n  * its owner\n  * its **fare**\n"),
        ("- **FR-003**: Scans", "* FR-003: Scans"),
        ("(Priority: P2)", "(Priority: P1)"),
        ("it is the trip", "nobody travels\nwithout it"),
        ("## Requirements\n", "## Requirements\n\n### Functional Requirements\n"),
        ("**Given** a ticket", "*Given* a ticket"),
    ]);
    assert_eq!(compare(&read(OLD), &new), Changes::default());
}

#[test]
fn every_kind_of_item_is_compared() {
    let new = edited(&[
        ("A: Two", "A: Three"),
        ("A passenger boards with a ticket.", "A passenger boards with a ticket or on foot."),
        (
            "1. **Given** a valid",
            "1. **Given** no ticket, **When** the gate is passed, **Then** it rings\n2. **Given** a valid",
        ),
        ("2. **Given** a used", "3. **Given** a used"),
        ("  - its fare", "  - its fare in cents"),
        ("- **FR-003**: Scans MUST be logged\n", ""),
        ("- **FR-004**: The fare", "- **FR-003**: The fare"),
        ("paid back\n\n### Key", "paid back\n- **FR-005**: Gates MUST ring\n\n### Key"),
        ("**Gate**: lets", "**Barrier**: lets"),
        ("99 of 100", "98 of 100"),
    ]);
    let changes = compare(&read(OLD), &new);
    let staleness = stale(&read(OLD), &new, &changes, &tasks());
    insta::assert_yaml_snapshot!((changes, staleness));
}

#[test]
fn a_changed_requirement_affects_its_tasks_and_story() {
    let expected = |link| vec![("FR-001".to_owned(), link)];
    assert_eq!(
        found(&edited(&[("2 seconds", "1 second")])),
        [("T003".to_owned(), expected(Relation::Named)), ("T004".to_owned(), expected(Relation::StoryRequirement))]
    );
    assert_eq!(
        found(&edited(&[("- **FR-003**: Scans MUST be logged\n", "")]))
            .into_iter()
            .map(|(id, _)| id)
            .collect::<Vec<_>>(),
        ["T003", "T004", "T007"]
    );
}

#[test]
fn a_story_concerns_its_own_tasks() {
    let reason = |id: &str| vec![(id.to_owned(), Relation::Story)];
    assert_eq!(
        found(&edited(&[("the fare is paid back", "half the fare is paid back")])),
        [("T005".to_owned(), reason("US2/AC1")), ("T006".to_owned(), reason("US2/AC1"))]
    );
    assert_eq!(
        found(&edited(&[("A passenger gets the fare back.", "A passenger gets all of the fare back.")])),
        [("T005".to_owned(), reason("US2")), ("T006".to_owned(), reason("US2"))]
    );
}

#[test]
fn entities_are_named_in_words() {
    let new = edited(&[("a right to board once", "a right to board twice")]);
    assert_eq!(found(&new), [("T002".to_owned(), vec![("Ticket".to_owned(), Relation::Named)])]);
}

#[test]
fn renumbered_items_are_listed_not_stale() {
    let (old, new) = (
        read(OLD),
        edited(&[
            ("- **FR-001**: The", "- **FR-001**: Gates MUST be green\n- **FR-002**: The"),
            ("- **FR-002**: A ticket", "- **FR-005**: A ticket"),
            ("User Story 2 - Refund", "User Story 4 - Refund"),
        ]),
    );
    let changes = compare(&old, &new);
    let from = "US2/AC1".to_owned();
    assert_eq!(
        changes.scenarios,
        [ItemChange { id: "US4/AC1".to_owned(), kind: ItemKind::Renamed { from }, line: 29 }]
    );
    let staleness = stale(&old, &new, &changes, &tasks());
    assert_eq!(staleness.tasks, []);
    let renumbered: Vec<_> =
        staleness.renumbered.iter().map(|r| (r.task.as_str(), r.from.as_str(), r.to.as_str())).collect();
    assert_eq!(renumbered, [("T003", "FR-001", "FR-002"), ("T005", "US2", "US4"), ("T006", "US2", "US4")]);
    // FR-001 has another meaning now, for which no task exists.
    assert_eq!(staleness.uncovered.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["FR-001"]);
}

#[test]
fn what_is_new_wants_a_task() {
    let new = edited(&[
        (
            "paid back\n\n### Key",
            "paid back\n- **FR-005**: Gates MUST ring\n- **FR-006**: Gates MUST be red\n\n### Key",
        ),
        ("## Requirements", "### User Story 3 - Cancel (Priority: P3)\n\nA trip is cancelled.\n\n## Requirements"),
    ]);
    let old = read(OLD);
    let changes = compare(&old, &new);
    let uncovered = |tasks: &[PlannedTask<'_>]| {
        let staleness = stale(&old, &new, &changes, tasks);
        assert_eq!(staleness.tasks, []);
        staleness.uncovered.into_iter().map(|c| c.id).collect::<Vec<_>>()
    };
    assert_eq!(uncovered(&tasks()), ["US3", "FR-005", "FR-006"]);
    let beside = ["FR-006".to_owned()];
    let ringing = PlannedTask { requirements: &beside, ..work("T008", Some("US3"), "Ring (FR-005)") };
    assert_eq!(uncovered(&[ringing]), Vec::<String>::new());
}

#[test]
fn general_work_is_stale_when_nothing_is_left() {
    let nothing = read(
        "# Feature Specification: Bridge\n\n### User Story 1 - Walk (Priority: P1)\n\nA person walks.\n\n- **FR-001**: It MUST hold\n",
    );
    let staleness = found(&nothing);
    let everything = &staleness[0];
    assert_eq!(everything.0, "T001");
    assert!(everything.1.iter().all(|(_, link)| *link == Relation::Everything));
    assert_eq!(everything.1.len(), 6);
    assert_eq!(staleness.len(), tasks().len());
}

#[test]
fn many_reasons_are_counted() {
    let list = |word: &str| (1..=50).map(|n| format!("- **FR-{n:03}**: {word} {n}\n")).collect::<String>();
    let head = "# Feature Specification: A\n\n## Requirements\n\n";
    let (old, new) = (read(&format!("{head}{}", list("one"))), read(&format!("{head}{}", list("two"))));
    let staleness = stale(&old, &new, &compare(&old, &new), &[work("T001", None, "FR-001 to FR-050")]);
    assert_eq!((staleness.tasks[0].reasons.len(), staleness.tasks[0].more), (MAX_REASONS, 50 - MAX_REASONS));
}

/// Checks the limits on time: work that grows faster than the documents would take minutes here.
#[test]
fn large_specifications_cost_a_moment() {
    let text = |word: &str| {
        let scenarios: String =
            (1..4_000).map(|n| format!("{n}. **Given** {word} {n}, **When** b, **Then** c\n")).collect();
        let list: String = (1..20_000).map(|n| format!("- **FR-{n:05}**: {word} {n}\n")).collect();
        let entities: String = (1..5_000).map(|n| format!("- **Gate {n}**: {word}\n")).collect();
        format!(
            "# Feature Specification: A\n\n### User Story 1 - A\n\n{scenarios}\n## Requirements\n\n{list}\n### Key Entities\n\n{entities}"
        )
    };
    let (old, new) = (read(&text("one")), read(&text("two")));
    assert_eq!((old.requirements.len(), old.stories[0].scenarios.len(), old.entities.len()), (19_999, 3_999, 4_999));
    let texts: Vec<String> =
        (0..2_000).map(|n| format!("FR-{n:05} FR-00001 to FR-19999 FR-00100–00190 Gate {n}")).collect();
    let tasks: Vec<PlannedTask<'_>> = texts.iter().map(|text| work("T001", Some("US1"), text)).collect();
    let staleness = stale(&old, &new, &compare(&old, &new), &tasks);
    assert_eq!(staleness.tasks.len(), tasks.len());
    assert!(staleness.tasks.iter().all(|task| task.reasons.len() == MAX_REASONS && task.more > 3_999));
}

/// Generates requirements with texts from a small set, so that numbers and texts often change places.
fn requirements() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::btree_map(0..12_u8, 0..8_u8, 0..8).prop_map(|map| map.into_iter().collect())
}

fn spec_of(requirements: &[(u8, u8)]) -> Spec {
    let list: String = requirements.iter().map(|(n, text)| format!("- **FR-{n:03}**: text {text}\n")).collect();
    read(&format!("# Feature Specification: A\n\n## Requirements\n\n{list}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_lead_from_the_old_items_to_the_new(old in requirements(), new in requirements()) {
        let (a, b) = (spec_of(&old), spec_of(&new));
        let changes = compare(&a, &b).requirements;
        let mut texts: std::collections::BTreeMap<String, String> = a.requirements.iter().map(|r| (r.id.clone(), r.text.clone())).collect();
        let text = |id: &str| b.requirements.iter().find(|r| r.id == id).map(|r| r.text.clone()).unwrap();
        // All old ids are removed before new ones are added, because an item may get the id that another item loses.
        let mut renamed = Vec::new();
        for change in &changes {
            match &change.kind {
                ItemKind::Removed => prop_assert!(texts.remove(&change.id).is_some()),
                ItemKind::Renamed { from } => renamed.push((change.id.clone(), texts.remove(from).unwrap())),
                ItemKind::Changed => prop_assert!(texts.insert(change.id.clone(), text(&change.id)).is_some()),
                ItemKind::Added => renamed.push((change.id.clone(), text(&change.id))),
            }
        }
        for (id, text) in renamed {
            prop_assert!(texts.insert(id, text).is_none());
        }
        prop_assert_eq!(texts, b.requirements.iter().map(|r| (r.id.clone(), r.text.clone())).collect());
        prop_assert_eq!(compare(&b, &b), Changes::default());
    }

    #[test]
    fn untouched_work_stays_done(old in requirements(), new in requirements()) {
        let (a, b) = (spec_of(&old), spec_of(&new));
        let same: Vec<String> = a.requirements.iter().filter(|r| b.requirements.iter().any(|n| n.id == r.id && n.text == r.text)).map(|r| r.id.clone()).collect();
        let work: Vec<PlannedTask<'_>> = same.iter().map(|id| work(id, None, id)).collect();
        prop_assert_eq!(stale(&a, &b, &compare(&a, &b), &work).tasks, []);
    }
}
