//! Statements about order in `tasks.md`: positions, languages, negations, and other mentions.

use enact_domain::speckit::tasks;

/// Returns the stated dependencies of a file as `T003: T001 T002`.
fn stated(text: &str) -> String {
    let file = tasks::parse(text.as_bytes()).model;
    let waiting = file.tasks.iter().filter(|task| !task.depends_on.is_empty());
    let shown = waiting.map(|task| {
        let mut on: Vec<&str> = task.depends_on.iter().map(|d| d.on.as_str()).collect();
        on.sort_unstable();
        format!("{}: {}", task.id, on.join(" "))
    });
    shown.collect::<Vec<_>>().join("; ")
}

/// Returns what the fourth of four parallel tasks waits for, with this text behind it.
fn of(tail: &str) -> String {
    let text = format!(
        "## Phase 1: Hull\n\n- [ ] T001 [P] keel\n- [ ] T002 [P] planks\n- [ ] T003 [P] mast\n- [ ] T004 [P] sail{tail}\n"
    );
    let found = stated(&text);
    found.strip_prefix("T004: ").map(str::to_owned).unwrap_or(found)
}

/// Returns the dependencies that a section states.
fn section(text: &str) -> String {
    of(&format!("\n\n## Dependencies\n\n{text}"))
}

#[test]
fn labels_brackets_and_sub_items() {
    for (tail, wanted) in [
        ("\n  - **Task:** T001 (the keel first)", "T001"),
        ("\n  - **Prerequisite:** T002", "T002"),
        ("\n  - **Blocked-by:** T003", "T003"),
        ("\n  - _Depends: T001_", "T001"),
        ("\n  - *Deps*: T001, T002", "T001 T002"),
        ("\n  - Depends on: T001 - the keel, T002 - the planks", "T001 T002"),
        ("\n  - **Dependencies**: T001 (keel), T002 (planks) and T003", "T001 T002 T003"),
        ("\n  - **Dependencies**: T001–T003", "T001 T002 T003"),
        ("\n  - **Dependencies**: T001/T002", "T001 T002"),
        (" (uses T001)", "T001"),
        (" (builds on T002)", "T002"),
        (" — deps: T003", "T003"),
        (" (req T001)", "T001"),
        (" (following T002)", "T002"),
        (" (prereq: T001, T003)", "T001 T003"),
        (", which extends T001", "T001"),
        (" after T002 in sail.rs", "T002"),
        (" [depends on T001]", "T001"),
        (" [after: T001]", "T001"),
        ("\n  - T001 must be finished before this one; it waits for T002", "T002"),
    ] {
        assert_eq!(of(tail), wanted, "{tail}");
    }
}

#[test]
fn other_languages() {
    for (tail, wanted) in [
        (" (dépend de T001 et T002)", "T001 T002"),
        ("\n  - **Dépendances** : T001, T002", "T001 T002"),
        (" (après T003)", "T003"),
        (" (hängt von T001 ab)", "T001"),
        ("\n  - **Abhängigkeiten**: T001 und T002", "T001 T002"),
        (" (nach T003)", "T003"),
        (" (setzt T002 voraus)", "T002"),
        (" (depende de T001 y T002)", "T001 T002"),
        ("\n  - **Dependencias**: T001", "T001"),
        (" (después de T003)", "T003"),
        (" (dipende da T001 e T002)", "T001 T002"),
        ("\n  - **Dipendenze**: T001", "T001"),
        (" (dopo T003)", "T003"),
        ("\n  - **Dependências**: T001 e T002", "T001 T002"),
        (" (após T003)", "T003"),
        (" (depois de T002)", "T002"),
        (" (зависит от T001 и T002)", "T001 T002"),
        ("\n  - **Зависимости**: T001", "T001"),
        (" (после T003)", "T003"),
        ("（T001に依存）", "T001"),
        ("（T001、T002の完了後）", "T001 T002"),
        ("\n  - **依存関係**：T003", "T003"),
        (" (T001에 의존)", "T001"),
        (" (T002 완료 후)", "T002"),
        ("\n  - **의존성**: T003", "T003"),
        ("（依赖T001、T002）", "T001 T002"),
        ("（在T003完成后）", "T003"),
        ("\n  - **前置任务**：T001", "T001"),
    ] {
        assert_eq!(of(tail), wanted, "{tail}");
    }
}

#[test]
fn negations_and_remarks_state_nothing() {
    for tail in [
        "\n  - **Dependencies**: None",
        "\n  - **Dependencies**: None (can run in parallel with T003)",
        "\n  - **Dependencies**: - (T003 is another story)",
        "\n  - **Dépendances** : aucune (en parallèle avec T003)",
        "\n  - **Abhängigkeiten**: keine (parallel zu T003)",
        "\n  - **依赖**：无（与 T003 并行）",
        " (no dependency on T001)",
        " (does not depend on T001)",
        " (hängt nicht von T001 ab)",
        "（不依赖 T001）",
        "（T001に依存しない）",
        " (parallel with T001)",
        " (blocks T001 from passing)",
        " (see T001)",
    ] {
        assert_eq!(of(tail), "", "{tail}");
    }
    for (tail, wanted) in [
        ("\n  - **Dependencies**: T001 (the keel; T003 is not needed)", "T001"),
        ("\n  - **Dependencies**: T001, parallel with T003", "T001"),
        ("\n  - **Dependencies**: T001, T002, but not T003", "T001 T002"),
        (" (depends on T001, was T003)", "T001"),
        (" (depends on T001 except T003)", "T001"),
        (" (depends on T001 (parallel with T003))", "T001"),
    ] {
        assert_eq!(of(tail), wanted, "{tail}");
    }
}

#[test]
fn sections_about_order() {
    for (text, wanted) in [
        (
            "- Hull: T001 and T002 parallel (two yards), T003 sequential after them, T004 sequential after T003",
            "T003: T001 T002; T004: T003",
        ),
        ("- T001（龙骨）→ T002（船板）→ T003（桅杆）", "T002: T001; T003: T002"),
        ("- T001 keel → T002 planks", "T002: T001"),
        ("- T002: depends on T001", "T002: T001"),
        ("- T002 и T003 зависят от T001", "T002: T001; T003: T001"),
        ("- T003はT001の後", "T003: T001"),
        ("- T002 abhängig von T001", "T002: T001"),
        ("```text\nT001 --> T002\n```", "T002: T001"),
        ("```text\nT003 <-- T001\n```", "T003: T001"),
        ("```text\nT003 (mast) ← depends on T001 + T002\n```", "T003: T001 T002"),
        ("```text\nPhase 1 → Phase 2\n```", ""),
        ("- W1 (T001) → W2 (T002∥T003)", "T002: T001; T003: T001"),
        ("1. T001 (keel) → 2. T002 (planks)", "T002: T001"),
    ] {
        assert_eq!(section(text), wanted, "{text}");
    }
    let french = "## Phase 1: Hull\n\n- [ ] T001 [P] a\n- [ ] T002 [P] b\n\n## Dépendances et ordre d'exécution\n\n- T002 dépend de T001\n";
    assert_eq!(stated(french), "T002: T001");
}

#[test]
fn a_label_states_what_the_tasks_below_it_wait_for() {
    let text = "## Phase 1: Hull\n\n**Wave 1**\n\n- [ ] T001 [P] a\n- [ ] T002 [P] b\n\n**⟶ Wait for T001, then:**\n\n**Wave 2:**\n\n- [ ] T003 [P] c\n- [ ] \
                T004 [P] d\n\n**Wave 3 (depends on T004):**\n\n- [ ] T005 [P] e\n\nRest:\n\n- [ ] T006 [P] f\n";
    assert_eq!(stated(text), "T003: T001; T004: T001; T005: T004");
}

#[test]
fn phases_are_named_in_the_text_of_a_task() {
    let text = "## Phase 1: Hull\n\n- [ ] T001 [P] a\n\n## Phase 2: User Story 1 - Rig\n\n- [ ] T002 [P] b\n\n## Phase 3: User Story 2 - \
                Sail\n\n- [ ] T003 [P] c (depends on Phase 2)\n";
    assert_eq!(stated(text), "T003: T002");
}

#[test]
fn a_range_of_letters_ends_with_its_last_letter() {
    let tasks = ["T004", "T005", "T005a", "T005b", "T005c"].map(|id| format!("- [ ] {id} Paint deck {id}\n")).concat();
    let document = format!(
        "# Tasks: Ferry\n\n## Phase 2: Foundational\n\n{tasks}\n## Dependencies\n\n\
        - Tasks T004-T005 can run in parallel once the deck is dry, with T005a-T005b following the primer\n\
        - T005c should run after T005/T005a/T005b\n"
    );
    let parsed = tasks::parse(document.as_bytes());
    assert!(!parsed.has_errors(), "{:#?}", parsed.diagnostics);
    let last = &parsed.model.tasks[4];
    let on: Vec<String> = last.depends_on.iter().map(|d| d.on.to_string()).collect();
    assert!(["T005", "T005a", "T005b"].iter().all(|id| on.iter().any(|other| other == id)), "{on:?}");
}

#[test]
fn clauses_about_something_else_state_nothing() {
    assert_eq!(section("- Keel changes (T002) before sail changes that depend on them (T004)"), "");
    assert_eq!(of("\n  After the hull is dry: paint the deck (T002)"), "");
    assert_eq!(of("\n  After T002: paint the deck"), "T002");
    assert_eq!(of("\n  - Use the colours of the line (moved to T002)"), "");
    assert_eq!(of("\n  - Use T002 as it is"), "T002");
}
