//! Properties of every input: no panic, spans inside the document, and an order without invented cycles.

use std::collections::{BTreeMap, BTreeSet};

use enact_domain::speckit::tasks::{self, PhaseKind, TasksFile};
use enact_domain::speckit::{Diagnostic, Span, TaskId, constitution, plan, spec};
use proptest::prelude::*;

/// Pieces with a meaning for a parser, for combinations that nobody would write.
const PIECES: [&str; 72] = [
    "- [ ] ",
    "- [x] ",
    "- [~] ",
    "* ",
    "1. ",
    "  ",
    "    ",
    "\t",
    "T001",
    "T002",
    "T003",
    "T004a",
    "T005.1",
    "T006",
    "T007-T009",
    "T010",
    " [P]",
    " [US1]",
    " [US2+US3]",
    "[",
    "]",
    "(",
    ")",
    "**",
    "~~",
    "`",
    "```\n",
    "~~~",
    "<!--",
    "-->",
    "---\n",
    "|",
    "\n|-|-|\n",
    "## Phase 1: Setup\n",
    "## Phase 2: Foundational\n",
    "## Phase 3: User Story 1 - a (Priority: P1)\n",
    "### Phase 3.1: b\n",
    "## Phase 4: US2\n",
    "## Polish\n",
    "## Dependencies\n",
    "### User Story 2 - c\n",
    "# ",
    "###### ",
    "\n===\n",
    "\n",
    "\r\n",
    "\n\n",
    " depends on ",
    " after ",
    " before ",
    " blocks ",
    " → ",
    " <- ",
    ", ",
    " and ",
    "Phase 2",
    "Phases 1-3",
    "US1",
    "User Story 2",
    "**Dependencies**: ",
    "**Checkpoint**: ",
    "- **FR-001**: ",
    "SC-001",
    "- Q: ",
    " → A: ",
    "[NEEDS CLARIFICATION: ",
    "**Version**: 1.0.0",
    "MUST ",
    ". ",
    "é",
    "任务",
    "\u{feff}",
];

fn document() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..120).prop_map(|pieces| pieces.concat())
}

/// Generates a task file in which each task depends on some others.
fn task_file() -> impl Strategy<Value = String> {
    let task = (any::<bool>(), 0..8_u8, prop::collection::vec(0..40_usize, 0..3));
    prop::collection::vec(task, 1..40).prop_map(|tasks| {
        let mut text = String::from("# Tasks: a\n");
        for (number, (parallel, heading, waits)) in tasks.iter().enumerate() {
            text.push_str(match heading {
                0 => "\n## Phase 1: Setup\n\n",
                1 => "\n## Phase 2: Foundational\n\n",
                2 => "\n## Phase 3: User Story 1 - a\n\n",
                3 => "\n## Phase 4: User Story 2 - b\n\n",
                4 => "\n## Phase 3.2: c\n\n",
                _ => "",
            });
            let ids = waits.iter().map(|n| format!("T{n:03}")).collect::<Vec<_>>().join(", ");
            let tag = if *parallel { " [P]" } else { "" };
            let tail = if ids.is_empty() { ids } else { format!(" (depends on {ids})") };
            text.extend([format!("- [ ] T{number:03}{tag} do it{tail}\n")]);
        }
        text.push_str("\n## Dependencies\n\n- US1 depends on US2\n");
        text
    })
}

fn inside(source: &str, span: Span) {
    assert!(span.start <= span.end && span.end <= source.len(), "{span:?} of {}", source.len());
    assert!(source.is_char_boundary(span.start) && source.is_char_boundary(span.end), "{span:?}");
}

fn lines_exist(source: &str, diagnostics: &[Diagnostic]) {
    let lines = source.split('\n').count();
    for d in diagnostics {
        assert!(d.line >= 1 && d.line as usize <= lines, "{d:?}");
        assert!(!d.message.is_empty() && !d.remedy.is_empty());
    }
}

fn check_tasks(text: &str) -> TasksFile {
    let parsed = tasks::parse(text.as_bytes());
    lines_exist(text, &parsed.diagnostics);
    let file = parsed.model;
    let mut ids = BTreeSet::new();
    for task in &file.tasks {
        assert!(ids.insert(task.id.clone()), "{} occurs twice", task.id);
        assert!(task.phase < file.phases.len());
        inside(text, task.span);
        task.details.iter().for_each(|d| inside(text, d.span));
        if let Some(span) = task.checkbox {
            inside(text, span);
            assert!(text[..span.start].ends_with(['[', '(']));
        }
    }
    file.phases.iter().for_each(|p| inside(text, p.span));
    let edges = file.dependencies();
    assert_eq!(edges.len(), file.tasks.len());
    for (id, on) in &edges {
        assert!(!on.contains(id), "{id} waits for itself");
        assert!(on.iter().all(|other| edges.contains_key(other)));
    }
    for task in &file.tasks {
        for dependency in task.depends_on.iter().filter_map(|d| file.task(&d.on)) {
            assert!(dependency.id == task.id || edges[&task.id].contains(&dependency.id));
        }
    }
    if is_acyclic(&explicit(&file)) {
        assert!(is_acyclic(&edges), "the rules invented a cycle: {edges:?}");
    }
    file
}

fn explicit(file: &TasksFile) -> BTreeMap<TaskId, BTreeSet<TaskId>> {
    let on =
        |task: &tasks::Task| task.depends_on.iter().filter_map(|d| file.task(&d.on)).map(|t| t.id.clone()).collect();
    file.tasks.iter().map(|t| (t.id.clone(), on(t))).collect()
}

fn is_acyclic(edges: &BTreeMap<TaskId, BTreeSet<TaskId>>) -> bool {
    let mut done: BTreeSet<&TaskId> = BTreeSet::new();
    loop {
        let ready: Vec<_> =
            edges.iter().filter(|(id, on)| !done.contains(id) && on.iter().all(|o| done.contains(o))).collect();
        if ready.is_empty() {
            return done.len() == edges.len();
        }
        done.extend(ready.into_iter().map(|(id, _)| id));
    }
}

/// Returns whether Spec Kit's rules, without explicit dependencies, let `later` start only after `earlier`, which precedes it in the file.
fn must_wait(file: &TasksFile, earlier: usize, later: usize) -> bool {
    let (a, b) = (&file.tasks[earlier], &file.tasks[later]);
    if a.phase == b.phase {
        return file.tasks[earlier..=later].iter().any(|between| between.phase == a.phase && !between.parallel);
    }
    let story = |task: &tasks::Task| {
        let phase = &file.phases[task.phase];
        let dotted = phase.number.as_ref().is_some_and(|n| n.contains('.'));
        if dotted {
            None
        } else if let PhaseKind::Story(key) = &phase.kind {
            Some(key.clone())
        } else {
            None
        }
    };
    let barrier = |phase: usize| file.tasks.iter().any(|t| t.phase == phase && story(t).is_none());
    match (story(a), story(b)) {
        (Some(one), Some(other)) => one == other || (a.phase + 1..b.phase).any(barrier),
        _ => true,
    }
}

fn check_others(text: &str) {
    let parsed = spec::parse(text.as_bytes());
    lines_exist(text, &parsed.diagnostics);
    let spec = parsed.model;
    spec.stories.iter().for_each(|s| inside(text, s.span));
    spec.stories.iter().flat_map(|s| &s.scenarios).for_each(|s| inside(text, s.span));
    spec.requirements.iter().chain(&spec.success_criteria).for_each(|r| inside(text, r.span));
    spec.clarifications.iter().for_each(|c| inside(text, c.span));
    spec.open_questions.iter().for_each(|q| inside(text, q.span));
    let parsed = plan::parse(text.as_bytes());
    lines_exist(text, &parsed.diagnostics);
    parsed.model.context.iter().for_each(|e| inside(text, e.span));
    parsed.model.complexity.iter().for_each(|c| inside(text, c.span));
    let parsed = constitution::parse(text.as_bytes());
    lines_exist(text, &parsed.diagnostics);
    for principle in &parsed.model.principles {
        inside(text, principle.span);
        inside(text, principle.body);
        principle.musts.iter().for_each(|m| inside(text, m.span));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = tasks::parse(&bytes);
        let _ = spec::parse(&bytes);
        let _ = plan::parse(&bytes);
        let _ = constitution::parse(&bytes);
    }

    #[test]
    fn any_text_has_its_spans_inside(text in "\\PC{0,300}") {
        check_tasks(&text);
        check_others(&text);
    }

    #[test]
    fn any_combination_has_its_spans_inside(text in document()) {
        let file = check_tasks(&text);
        check_others(&text);
        prop_assert!(file.source.is_empty() || file.source == text);
    }

    #[test]
    fn stated_order_is_kept_and_no_cycle_invented(text in task_file()) {
        check_tasks(&text);
    }

    #[test]
    fn without_statements_the_rules_decide_alone(text in task_file()) {
        let plain = text.lines().map(|l| l.split(" (depends").next().unwrap_or_default()).filter(|l| !l.contains(" depends on "));
        let file = check_tasks(&plain.collect::<Vec<_>>().join("\n"));
        let edges = file.dependencies();
        let mut before: BTreeMap<&TaskId, BTreeSet<&TaskId>> = BTreeMap::new();
        for (at, task) in file.tasks.iter().enumerate() {
            let direct = &edges[&task.id];
            let all = direct.iter().chain(direct.iter().flat_map(|d| before[d].iter().copied())).collect();
            before.insert(&task.id, all);
            for earlier in 0..at {
                let waits = before[&task.id].contains(&file.tasks[earlier].id);
                prop_assert_eq!(waits, must_wait(&file, earlier, at), "{} and {}", &file.tasks[earlier].id, &task.id);
            }
        }
    }
}
