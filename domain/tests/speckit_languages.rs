//! Specifications, constitutions, research and data models in other words, layouts and languages.

use enact_domain::speckit::{constitution, data_model, plan, research, spec, tasks};

fn spec_codes(text: &str) -> Vec<(u32, &'static str)> {
    spec::parse(text.as_bytes()).diagnostics.iter().map(|d| (d.line, d.code)).collect()
}

#[test]
fn stories_in_ten_languages() {
    for (heading, key) in [
        ("User Story 1 - Steer (Priority: P1)", "US1"),
        ("Histoire utilisateur 2 - Steer (Priorité : P1)", "US2"),
        ("Anwendergeschichte 3 - Steer (Priorität: P1)", "US3"),
        ("Historia de usuario 4 - Steer (Prioridad: P1)", "US4"),
        ("Storia utente 5 - Steer (Priorità: P1)", "US5"),
        ("História do usuário 6 - Steer (Prioridade: P1)", "US6"),
        ("Пользовательская история 7 - Steer (Приоритет: P1)", "US7"),
        ("ユーザーストーリー 8 - Steer（優先度: P1）", "US8"),
        ("사용자 스토리 9 - Steer (우선순위: P1)", "US9"),
        ("用户故事 10 - Steer（优先级：P1）", "US10"),
        ("使用者故事 11 - Steer（優先順序：P1）", "US11"),
    ] {
        let stories = spec::parse(format!("# Spec: Boat\n\n## Scenarios\n\n### {heading}\n").as_bytes()).model.stories;
        let found: Vec<_> = stories.iter().map(|s| (s.key.as_str(), s.title.as_str(), s.priority.as_deref())).collect();
        assert_eq!(found, [(key, "Steer", Some("P1"))], "{heading}");
    }
    for heading in ["主要使用者故事", "Main user story", "Histoire utilisateur principale", "Primary User Story"]
    {
        let stories = spec::parse(format!("# Spec: Boat\n\n### {heading}\n").as_bytes()).model.stories;
        assert_eq!(stories.iter().map(|s| s.key.as_str()).collect::<Vec<_>>(), ["US1"], "{heading}");
    }
}

#[test]
fn scenarios_in_other_languages() {
    for scenario in [
        "**Étant donné** a, **quand** b, **alors** c",
        "**Angenommen** a, **wenn** b, **dann** c",
        "**Dado** a, **cuando** b, **entonces** c",
        "**Dato** a, **quando** b, **allora** c",
        "**Дано** a, **Когда** b, **Тогда** c",
        "**前提** a、**もし** b、**ならば** c",
        "**주어진** a, **만약** b, **그러면** c",
        "**假設** a，**當** b，**則** c",
    ] {
        let text = format!("# Spec: Boat\n\n### User Story 1 - Steer\n\n1. {scenario}\n");
        assert_eq!(spec::parse(text.as_bytes()).model.stories[0].scenarios.len(), 1, "{scenario}");
    }
}

#[test]
fn headings_that_are_no_stories_are_named() {
    let text = "# Spec: Boat\n\n## User Scenarios & Testing\n\n### Steering\n\n### Mooring\n\n## Requirements\n\n- **FR-001**: a\n\n## Success \
                Criteria\n\n- **SC-001**: b\n";
    let found = spec::parse(text.as_bytes()).diagnostics;
    assert_eq!(found.iter().map(|d| (d.line, d.code)).collect::<Vec<_>>(), [(5, "MissingSection")]);
    assert!(found[0].message.contains("\"Steering\", \"Mooring\""), "{}", found[0]);
}

#[test]
fn identifiers_of_requirements_have_letters_and_words() {
    let text = "# Spec: Boat\n\n## Requirements\n\n- **FR-001A**: a\n- **FR-002-crew**: b\n\n### Test Coverage Requirements\n\n- **FR-003**: \
                c\n\n### NFR-2: Coverage\n\nd\n\n### FR4: Anchor\n\ne\n\n## Requirements Coverage\n\n- FR-003: tested\n";
    let found = spec::parse(text.as_bytes());
    let ids: Vec<&str> = found.model.requirements.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["FR-001A", "FR-002-crew", "FR-003", "NFR-2", "FR4"]);
}

#[test]
fn retired_requirements_are_marked() {
    let text = "# Spec: Boat\n\n## Requirements\n\n- **FR-001** [RETIRED]: a\n- **FR-002**: SUPERSEDED by FR-003. b\n- **FR-003**: retired \
                sailors MUST rest\n";
    let found = spec::parse(text.as_bytes()).model.requirements;
    assert_eq!(found.iter().map(|r| r.retired).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn requirements_without_identifier_are_reported() {
    let text = "# Spec: Boat\n\n### Primary User Story\n\nSail.\n\n## Functional Requirements\n\n- Float.\n- Steer.\n\n## Success Criteria\n\n- \
                **SC-001**: b\n";
    assert_eq!(spec_codes(text), [(9, "UnnumberedRequirement")]);
}

#[test]
fn a_marker_without_question_asks_about_its_line() {
    let open = |line: &str| {
        let text = format!("# Spec: Boat\n\n## Requirements\n\n{line}\n");
        spec::parse(text.as_bytes()).model.open_questions.into_iter().map(|q| q.text).collect::<Vec<_>>()
    };
    assert_eq!(
        open("- **FR-001**: The anchor holds in any wind [NEEDS CLARIFICATION]"),
        ["**FR-001**: The anchor holds in any wind"]
    );
    assert_eq!(open("- [x] No [NEEDS CLARIFICATION] markers remain"), Vec::<String>::new());
    assert_eq!(open("Use `[NEEDS CLARIFICATION]`"), Vec::<String>::new());
    assert_eq!(open("[NEEDS CLARIFICATION]"), Vec::<String>::new());
}

#[test]
fn documents_of_another_kind_are_errors() {
    let error = |text: &str| spec::parse(text.as_bytes()).errors().map(|d| (d.line, d.code)).collect::<Vec<_>>();
    assert_eq!(error("## ADDED Requirements\n\n### Requirement: Float\n"), [(1, "DeltaDocument")]);
    assert_eq!(error("# Tasks: Boat\n\n- [ ] T001 a\n"), [(1, "WrongDocument")]);
    assert_eq!(error("# Spec: Boat\n\n## ADDED Requirements\n\n- **FR-001**: a\n"), []);
    let conflict = "# Spec: Boat\n\n<<<<<<< HEAD\n- **FR-001**: a\n=======\n- **FR-001**: b\n>>>>>>> main\n";
    assert_eq!(error(conflict), [(3, "ConflictMarkers")]);
    assert_eq!(error(&format!("# Spec: Boat\n\n```text\n{conflict}```\n")), []);
    let fenced = "Here it is:\n\n```markdown\n# Spec: Boat\n\n- **FR-001**: a\n```\n";
    assert_eq!(error(fenced), [(3, "FencedDocument")]);
    let codes = |text: &str| tasks::parse(text.as_bytes()).errors().map(|d| d.code).collect::<Vec<_>>();
    assert_eq!(codes("```\n# Tasks: Boat\n\n- [ ] T001 a\n```\n"), ["FencedDocument"]);
    assert!(plan::parse(conflict.as_bytes()).has_errors());
}

#[test]
fn a_template_of_tasks_is_not_a_plan() {
    let template = "# Tasks: [FEATURE NAME]\n\n## Phase 1: Setup\n\n- [ ] T001 Initialize [language] project\n\n## Phase 2: User Story 1 - \
                    [Title] (Priority: P1)\n\n- [ ] T002 [US1] Create [Entity1]\n";
    let codes = |text: &str| tasks::parse(text.as_bytes()).diagnostics.iter().map(|d| d.code).collect::<Vec<_>>();
    let count = |text: &str, code: &str| codes(text).iter().filter(|c| **c == code).count();
    assert_eq!((count(template, "UnfilledTemplate"), count(template, "TemplateNotFilled")), (4, 1));
    let begun = template.replace("[FEATURE NAME]", "Boat").replace("[Title]", "Steer").replace("[Entity1]", "Rudder");
    assert_eq!(codes(&begun), ["UnfilledTemplate"]);
    let route = begun.replace("Initialize [language] project", "Route in src/[id]/page.ts");
    assert_eq!(codes(&route), Vec::<&str>::new());
}

#[test]
fn constitutions_in_other_words() {
    let names = |text: &str| {
        constitution::parse(text.as_bytes()).model.principles.into_iter().map(|p| p.name).collect::<Vec<_>>()
    };
    let text = "# Boat Constitution\n\n## Sailing Principles\n\n### Safety\n\nCrews MUST wear vests.\n\n### Mooring & Docking Principles\n\nTwo \
                MUST hold a line.\n";
    assert_eq!(names(text), ["Safety", "Mooring & Docking Principles"]);
    for (heading, demand) in [
        ("Grundsätze", "Boote MÜSSEN schwimmen."),
        ("Principes", "Un bateau DOIT flotter."),
        ("Принципы", "Лодка ДОЛЖНА плавать."),
        ("원칙", "배는 반드시 뜬다."),
        ("基本原則", "船は必須。"),
    ] {
        let text = format!("# Boat\n\n## {heading}\n\n### 1. Float\n\n{demand}\n");
        let model = constitution::parse(text.as_bytes()).model;
        assert_eq!(model.principles.iter().map(|p| p.musts.len()).collect::<Vec<_>>(), [1], "{heading}");
    }
    for footer in [
        "Version: 1.2.0\nRatified: 2026-01-05",
        "Version: 1.2.0 | Ratified: 2026-01-05",
        "**Версия**: 1.2.0 | **Принята**: 2026-01-05",
        "**버전**: 1.2.0 | **비준**: 2026-01-05",
    ] {
        let model = constitution::parse(format!("# Boat\n\n### I. Float\n\nText.\n\n{footer}\n").as_bytes()).model;
        let found = (model.version.map(|v| v.text), model.ratified.map(|v| v.text));
        assert_eq!(found, (Some("1.2.0".to_owned()), Some("2026-01-05".to_owned())), "{footer}");
    }
}

#[test]
fn decisions_in_other_words() {
    for text in [
        "## 1. Sail\n\n**Decisión**: cotton.\n\n**Racional**: light.\n\n**Alternativas consideradas**: hemp.\n",
        "## R2 -- Sail\n\n**Decision.** Cotton.\n\n**Rationale.** Light.\n\n**Alternatives rejected.** Hemp.\n",
        "## Sail\n\n**Decision: write it in cotton. Do not use hemp.**\n\n**Rationale**: light.\n\n**Alternatives**: hemp.\n",
        "## 决策：Sail\n\n**选择理由**：轻。\n\n**考虑的备选方案**：\n\n- 麻\n",
        "## Entscheidung: Sail\n\n**Begründung**: leicht.\n\n**Alternativen**: Hanf.\n",
        "## Sail\n\n**Решение**: хлопок.\n\n**Обоснование**: лёгкий.\n\n**Альтернативы**: пенька.\n",
        "## Decision: Sail\n\n**Rationale**: light.\n\n**Alternatives considered**:\n\n- hemp\n\n**Decision**: Cotton of two layers.\n",
    ] {
        let found = research::parse(text.as_bytes());
        assert_eq!(found.diagnostics, [], "{text}");
        assert_eq!(found.model.decisions.len(), 1, "{text}");
    }
}

#[test]
fn entities_in_other_words() {
    for heading in ["Entités", "Entitäten", "Entidades", "Сущности", "エンティティ", "엔터티", "實體"]
    {
        let text = format!("# Data Model: Boat\n\n## {heading}\n\n### Rudder\n\nSteers.\n");
        let found: Vec<String> =
            data_model::parse(text.as_bytes()).model.entities.into_iter().map(|e| e.name).collect();
        assert_eq!(found, ["Rudder"], "{heading}");
    }
}

#[test]
fn boxes_of_acceptance_are_not_tasks_in_chinese() {
    for heading in ["驗收準則", "完成檢查清單", "验收标准", "完成標準"] {
        let text =
            format!("# Tasks: 渡輪\n\n## Phase 1: Hull\n\n- [ ] T001 船體\n\n## {heading}\n\n- [ ] 所有測試通過\n");
        let parsed = tasks::parse(text.as_bytes());
        let codes: Vec<&str> = parsed.diagnostics.iter().map(|d| d.code).collect();
        assert_eq!((parsed.model.tasks.len(), codes), (1, vec!["ChecklistItems"]), "{heading}");
    }
}
