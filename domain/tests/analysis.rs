//! Analysis of documents: the findings, and the documents without findings.

#[path = "support/stopwatch.rs"]
mod stopwatch;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use enact_domain::analysis::{
    self, Category, Evidence, FINDING_KINDS, Finding, MAX_FINDINGS, MAX_QUESTIONS, QuestionOrigin, Report, Severity,
    SeverityCounts, SharedItem, SharedItemKind, Sketch, TaskText,
};
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::{Parsed, constitution, spec};
use stopwatch::Stopwatch;

const GOOD: &str = include_str!("analysis/good.md");
const BAD: &str = include_str!("analysis/bad.md");
const PRINCIPLES: &str = include_str!("analysis/constitution.md");

fn parsed(text: &str) -> Parsed<Spec> {
    spec::parse(text.as_bytes())
}

fn analysed(text: &str) -> Report {
    analysis::specification(&parsed(text))
}

/// Returns a specification without findings, except for those about these requirements.
fn with_requirements(requirements: &str) -> String {
    let (before, rest) = GOOD.split_once("- **FR-001**").expect("the document has requirements");
    let (_, after) = rest.split_once("\n### Key Entities").expect("the document has entities");
    format!("{before}{requirements}\n\n### Key Entities{after}")
}

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.code).collect()
}

fn lines(findings: &[Finding]) -> String {
    let line = |f: &Finding| {
        format!(
            "{} {} {} {}:{}\n  {}\n  {}\n",
            f.id, f.severity, f.code, f.line, f.location, f.summary, f.recommendation
        )
    };
    findings.iter().map(line).collect()
}

fn rendered(report: &Report) -> String {
    let parts: String = report
        .quality
        .parts
        .iter()
        .map(|p| {
            let score = p.score.map_or("-".to_owned(), |score| score.to_string());
            format!("{} {score} × {} %: {}\n", p.name, p.weight, p.explanation)
        })
        .collect();
    let (findings, hints) = (lines(&report.findings), lines(&report.hints));
    let hints = if hints.is_empty() { hints } else { format!("hints:\n{hints}") };
    format!("{:?}\nscore {}\n{parts}\n{findings}{hints}", report.counts, report.quality.score)
}

#[test]
fn a_good_specification_has_no_findings() {
    let report = analysed(GOOD);
    assert_eq!(report.counts, SeverityCounts::default(), "{}", rendered(&report));
    insta::assert_snapshot!(rendered(&report));
}

#[test]
fn a_bad_specification_has_findings_with_remedies() {
    insta::assert_snapshot!(rendered(&analysed(BAD)));
}

#[test]
fn a_vague_constitution_has_findings() {
    insta::assert_snapshot!(rendered(&analysis::constitution(&constitution::parse(PRINCIPLES.as_bytes()))));
}

#[test]
fn findings_are_sorted_and_have_unique_ids() {
    let findings = analysed(BAD).findings;
    assert!(findings.windows(2).all(|pair| (pair[0].severity, pair[0].line) <= (pair[1].severity, pair[1].line)));
    let ids: BTreeSet<&str> = findings.iter().map(|f| f.id.as_str()).collect();
    assert_eq!(ids.len(), findings.len());
    for finding in &findings {
        let known = FINDING_KINDS
            .iter()
            .any(|r| (r.code, r.category, r.severity) == (finding.code, finding.category, finding.severity));
        assert!(known || finding.category == Category::Format, "{finding:?}");
        assert!(
            !finding.summary.is_empty() && !finding.recommendation.is_empty() && !finding.location.is_empty(),
            "{finding:?}"
        );
    }
}

#[test]
fn a_finding_keeps_its_id_after_unrelated_changes() {
    let ids = |text: &str| analysed(text).findings.into_iter().map(|f| f.id).collect::<BTreeSet<_>>();
    let before = ids(BAD);
    let moved = BAD.replace("**Input**: Keys.", "**Input**: Keys.\n\nDoors have locks.\n\nLocks have keys.");
    assert_eq!(before, ids(&moved));
    let reworded = BAD.replace("MUST open fast when", "MUST open within 1 second when");
    let after = ids(&reworded);
    assert!(after.is_subset(&before) && before.len() - after.len() == 1, "{:?}", before.difference(&after));
}

#[test]
fn explained_vague_words_are_not_reported() {
    let precise = with_requirements(
        "- **FR-001**: A door MUST open quickly, within 200 ms, when a guest presents a guest key.\n\
         - **FR-002**: A door MUST refuse a guest key gracefully by showing the reason of the refusal.\n\
         - **FR-003**: A host MUST be able to revoke a guest key over a secure connection (TLS 1.3).\n\
         - **FR-004**: A door MUST show the label \"Easy access\" and run `fast-open` for each opening in the access log.\n\
         - **FR-005**: A door MUST fail fast when its access log is full, and perform a graceful shutdown.",
    );
    assert_eq!(codes(&analysed(&precise).findings), [""; 0]);
    let vague = with_requirements(
        "- **FR-001**: A door MUST open quickly when a guest presents a guest key.\n\
         - **FR-002**: A door MUST refuse a guest key gracefully.\n\
         - **FR-003**: A host MUST be able to revoke a guest key securely.\n\
         - **FR-004**: A door MUST write openings, refusals, etc. in the access log regularly.",
    );
    assert_eq!(
        codes(&analysed(&vague).findings),
        ["VaguePerformance", "VagueSecurity", "VagueQuality", "VagueTime", "OpenList"]
    );
}

#[test]
fn an_incomplete_scenario_is_reported() {
    let with = |scenario: &str| {
        let (before, rest) = GOOD.split_once("1. **Given** a guest key that is valid").expect("the scenario is there");
        let (_, after) = rest.split_once('\n').expect("the scenario ends");
        codes(&analysed(&format!("{before}1. {scenario}\n{after}")).findings).join(" ")
    };
    assert_eq!(with("**Given** a guest key, **When** the host revokes it, **Then** the door refuses it."), "");
    assert_eq!(with("Given a guest key, when the host revokes it, the door refuses it."), "");
    // Without Given or When, a scenario still states what must be seen.
    assert_eq!(with("**Given** a guest key, **Then** the door knows it."), "");
    assert_eq!(with("**When** the host revokes a guest key, **Then** the door refuses it."), "");
    assert_eq!(with("**Given** a guest key **When** the host revokes it."), "IncompleteScenario");
}

#[test]
fn parallel_requirements_are_no_duplicates() {
    let parallel = with_requirements(
        "- **FR-001**: A host MUST be able to export the access log of a door as a CSV file.\n\
         - **FR-002**: A host MUST be able to export the access log of a door as a PDF file.\n\
         - **FR-003**: A door MUST refuse a guest key when its period has ended.\n\
         - **FR-004**: A door MUST refuse a guest key when its host has revoked it.\n\
         - **FR-005**: Level 1 doors MUST write refusals to the access log of the house.\n\
         - **FR-006**: Level 2 doors MUST write refusals to the access log of the house.",
    );
    let found = analysed(&parallel).findings;
    assert!(
        found.iter().all(|f| f.category != Category::Duplication && f.category != Category::Inconsistency),
        "{}",
        lines(&found)
    );
}

#[test]
fn other_languages_are_not_flooded() {
    let spanish = "# Especificación: Llaves\n\n### User Story 1 - Abrir (Priority: P1)\n\nUn huésped abre la puerta.\n\n## Requirements\n\n\
        - **FR-001**: El sistema DEBE abrir la puerta rápidamente cuando el huésped presenta una llave.\n\
        - **FR-002**: El sistema abre la puerta de la casa para el huésped con una llave segura.\n\n## Success Criteria\n\n\
        - **SC-001**: Los anfitriones usan las puertas de la casa con gusto.\n";
    let chinese = "# 功能规格：门钥匙\n\n### 用户故事 1 - 开门（优先级：P1）\n\n客人用钥匙开门。\n\n## 需求\n\n\
        - **FR-001**：系统必须快速打开门。\n- **FR-002**：门在客人通过后关闭。\n\n## 成功标准\n\n- **SC-001**：主人满意。\n";
    for text in [spanish, chinese] {
        let parsed = parsed(text);
        assert_eq!(parsed.model.requirements.len(), 2, "{text}");
        let found = analysis::specification(&parsed).findings;
        assert!(found.iter().all(|f| f.category == Category::Format), "{}", lines(&found));
    }
    // Findings that do not depend on words are reported in every language.
    let twice = chinese.replace("门在客人通过后关闭", "系统必须快速打开门");
    let twice = analysed(&twice.replace("客人用钥匙开门。", "[NEEDS CLARIFICATION: 多久？]")).findings;
    assert_eq!(codes(&twice), ["OpenMarker"]);
}

#[test]
fn a_report_is_bounded_and_counts_all() {
    let many: String =
        (1..=2_000).map(|n| format!("- **FR-{n:04}**: Door number {n} of the house MUST open quickly.\n")).collect();
    let report = analysed(&with_requirements(&many));
    assert_eq!(report.findings.len(), MAX_FINDINGS);
    assert_eq!(report.counts.high, 2_000);
    assert!(report.counts.total() >= 2_000);
}

#[test]
fn an_unreadable_document_is_critical() {
    for bytes in [&b""[..], &b"\0"[..], &[0xff, 0xfe][..]] {
        let report = analysis::specification(&spec::parse(bytes));
        assert_eq!((report.counts.critical, report.quality.score), (1, 0), "{}", rendered(&report));
        assert_eq!(report.findings[0].severity, Severity::Critical);
        let report = analysis::constitution(&constitution::parse(bytes));
        assert_eq!((report.counts.critical, report.quality.score), (1, 0), "{}", rendered(&report));
    }
}

#[test]
fn a_requirement_that_a_principle_forbids_is_critical() {
    let principles = constitution::parse(PRINCIPLES.as_bytes()).model;
    let conflicts = |requirements: &str| {
        analysis::constitution_conflicts(&parsed(&with_requirements(requirements)).model, &principles)
    };
    for requirement in [
        "- **FR-001**: The gateway MUST use MongoDB for the access log.",
        "- **FR-001**: The gateway MUST store the access log in MongoDB.",
        "- **FR-001**: The gateway MUST log guest names.",
        "- **FR-001**: Doors MUST log guest names and times of the house.",
    ] {
        let found = conflicts(requirement);
        assert_eq!(codes(&found), ["ForbiddenByConstitution"], "{requirement}");
        assert_eq!((found[0].severity, found[0].category), (Severity::Critical, Category::Constitution));
        assert!(found[0].summary.contains("\"Records\" forbids (line 7)"), "{}", found[0].summary);
    }
    for requirement in [
        "- **FR-001**: The gateway MUST NOT use MongoDB.",
        "- **FR-001**: The gateway MUST use PostgreSQL instead of MongoDB.",
        "- **FR-001**: The gateway MUST import the access logs that were written with MongoDB unless the host refuses.",
        "- **FR-001**: The gateway MUST log each refusal of a guest.",
        "- **FR-001**: The gateway MUST migrate the access log from MongoDB to PostgreSQL.",
    ] {
        assert_eq!(lines(&conflicts(requirement)), "", "{requirement}");
    }
}

#[test]
fn a_conditional_prohibition_is_not_reported() {
    let principles = "# Constitution\n\n## Core Principles\n\n### I. Care\n\nServices MUST NOT store tokens in cookies. Services MUST NOT use \
        Redis unless a cache is needed. Services MUST use PostgreSQL. View components MUST NOT access the database.\n";
    let principles = constitution::parse(principles.as_bytes()).model;
    let found = |r: &str| analysis::constitution_conflicts(&parsed(&with_requirements(r)).model, &principles);
    assert_eq!(
        lines(&found("- **FR-001**: The gateway MUST store tokens.\n- **FR-002**: The gateway MUST use Redis.")),
        ""
    );
    assert_eq!(codes(&found("- **FR-001**: The gateway MUST NOT use PostgreSQL.")), ["RefusesConstitution"]);
    assert_eq!(lines(&found("- **FR-001**: The store MUST access the database.")), "");
    assert_eq!(
        codes(&found("- **FR-001**: Components of a view MUST access the database.")),
        ["ForbiddenByConstitution"]
    );
}

const TASKS: [TaskText<'static>; 5] = [
    TaskText { id: "T001", title: "Create the repository", text: "", story: None },
    TaskText { id: "T002", title: "Lend guest keys", text: "Implements FR-001.", story: Some("US1") },
    TaskText { id: "T003", title: "Refuse a guest key outside of its period", text: "", story: None },
    TaskText { id: "T004", title: "Revocation", text: "See FR-0003 and FR-077.", story: Some("US2") },
    TaskText { id: "T005", title: "Report", text: "", story: Some("US9") },
];

#[test]
fn coverage_names_tasks_and_evidence() {
    let coverage = analysis::coverage(&parsed(GOOD).model, &TASKS);
    let shown = |covered: &[analysis::CoveredItem]| -> Vec<String> {
        let links = |c: &analysis::CoveredItem| {
            c.tasks.iter().map(|l| format!("{} {:?}", l.task, l.by)).collect::<Vec<_>>().join(", ")
        };
        covered.iter().map(|c| format!("{}: {}", c.id, links(c))).collect()
    };
    let (requirements, stories) = (shown(&coverage.requirements), shown(&coverage.stories));
    assert!(requirements[0].starts_with("FR-001: T002 Id"), "{requirements:?}");
    assert!(requirements[2].starts_with("FR-003: T004 Id"), "{requirements:?}");
    assert_eq!(stories, ["US1: T002 Story", "US2: T004 Story"]);
    assert_eq!(coverage.unassigned, ["T001"]);
    let unknown: Vec<&str> =
        coverage.findings.iter().filter(|f| f.code == "UnknownIdInTask").map(|f| f.excerpt.as_str()).collect();
    assert_eq!(unknown, ["FR-077", "US9"]);
    // A task without a requirement is listed and not a finding: setup and polish need none.
    assert_eq!(codes(&coverage.findings), ["UnknownIdInTask"; 2]);
}

#[test]
fn a_requirement_without_task_is_reported() {
    let spec =
        parsed(&GOOD.replace(
            "- **FR-004**",
            "- **FR-021**: An exporter MUST print quarterly turnover statements.\n- **FR-004**",
        ));
    let uncovered = |tasks: &[TaskText<'_>]| {
        let found = analysis::coverage(&spec.model, tasks).findings;
        found.into_iter().filter(|f| f.location == "FR-021").map(|f| f.code).collect::<Vec<_>>()
    };
    let named = TaskText { id: "T001", title: "Keys", text: "FR-001–FR-004", story: None };
    assert_eq!(uncovered(&[named]), ["RequirementWithoutTask"]);
    // If the tasks name few requirements, a missing identifier has no meaning.
    assert_eq!(uncovered(&TASKS), [""; 0]);
    assert_eq!(uncovered(&TASKS[2..3]), [""; 0]);
    let done = TaskText { id: "T006", title: "Print turnover statements of a quarter", text: "", story: None };
    assert_eq!(uncovered(&[named, done]), [""; 0]);
    let link = analysis::coverage(&spec.model, &[done]).requirements.into_iter().find(|c| c.id == "FR-021");
    assert_eq!(link.expect("the requirement is there").tasks[0].by, Evidence::Terms);
}

#[test]
fn questions_are_markers_then_vague_words() {
    let parsed = parsed(BAD);
    let report = analysis::specification(&parsed);
    let questions = analysis::questions(&parsed, &report);
    let shown: String = questions
        .iter()
        .map(|q| format!("{} {}:{} {:?}\n  {}\n  {:?}\n", q.id, q.line, q.location, q.origin, q.text, q.options))
        .collect();
    insta::assert_snapshot!(shown);
    assert_eq!(questions.len(), MAX_QUESTIONS);
    for question in &questions {
        if let QuestionOrigin::Finding(id) = &question.origin {
            assert!(report.findings.iter().chain(&report.hints).any(|f| f.id == *id), "{question:?}");
        }
    }
}

#[test]
fn every_open_marker_is_asked_about_also_beyond_the_limit() {
    let marker = |n: usize| {
        format!("- **FR-{n:03}**: Door {n} MUST open [NEEDS CLARIFICATION: When does door {n} open?] quickly.\n")
    };
    let parsed = parsed(&with_requirements(&(1..=9).map(marker).collect::<String>()));
    let questions = analysis::questions(&parsed, &analysis::specification(&parsed));
    assert_eq!(questions.len(), 9);
    assert!(questions.iter().all(|q| q.origin == QuestionOrigin::Marker));
    assert_eq!(questions[3].location, "FR-004");
}

#[test]
fn overlap_names_what_two_specifications_touch() {
    let other = "# Feature Specification: Keys of couriers\n\n## Requirements\n\nCode is in `src/door/lock.rs`.\n\n\
        - **FR-101**: Doors MUST refuse guest keys outside of their period.\n\
        - **FR-102**: A courier MUST see a map of the town.\n\n### Key Entities\n\n- **Guest Keys**: Right of a guest to open a door.\n- **User**: A person.\n";
    let ours =
        GOOD.replace("## Assumptions", "## Assumptions\n\n- Locks are in `src/door/lock.rs`.\n- **Users** exist.");
    let (ours, theirs) = (Sketch::new(&parsed(&ours).model), Sketch::new(&parsed(other).model));
    let shared = analysis::overlap(&ours, &theirs);
    let shown: Vec<(SharedItemKind, &str, &str)> =
        shared.iter().map(|s| (s.kind, s.ours.as_str(), s.theirs.as_str())).collect();
    assert_eq!(
        shown,
        [
            (SharedItemKind::Entity, "Guest key", "Guest Keys"),
            (SharedItemKind::Path, "src/door/lock.rs", "src/door/lock.rs"),
            (SharedItemKind::Requirement, "FR-002", "FR-101"),
        ]
    );
    let back: Vec<(String, String)> =
        analysis::overlap(&theirs, &ours).into_iter().map(|s| (s.theirs, s.ours)).collect();
    assert_eq!(back, shared.iter().map(|s: &SharedItem| (s.ours.clone(), s.theirs.clone())).collect::<Vec<_>>());
    let findings = analysis::overlap_findings("courier-keys", &shared);
    assert_eq!(
        codes(&findings),
        ["SimilarRequirement", "SharedEntity", "SharedPath"].map(|c| c),
        "{}",
        lines(&findings)
    );
    assert!(analysis::overlap(&ours, &Sketch::default()).is_empty());
    let planned = Sketch::new(&parsed(GOOD).model).with_paths(["src/door/lock.rs", "src/door/lock.rs", "docs/"]);
    assert_eq!(analysis::overlap(&planned, &theirs)[1].ours, "src/door/lock.rs");
    // A sketch can be stored and read again.
    let kept = serde_json::to_string(&ours).expect("a sketch is JSON");
    assert_eq!(serde_json::from_str::<Sketch>(&kept).expect("a sketch is read back"), ours);
}

#[test]
fn the_reference_lists_every_code_with_its_category_and_severity() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/analysis.md");
    let page = std::fs::read_to_string(page).expect("docs/reference/analysis.md is there");
    let row = |line: &str| -> Option<[String; 3]> {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let code = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
        let remedy = cells.get(4).filter(|r| !r.is_empty())?;
        assert!(!cells[3].is_empty() && !remedy.is_empty(), "{line}");
        Some([code.to_owned(), cells[1].to_owned(), cells[2].to_owned()])
    };
    let listed: BTreeSet<[String; 3]> = page.lines().filter_map(row).collect();
    let known: BTreeSet<[String; 3]> =
        FINDING_KINDS.iter().map(|r| [r.code.to_owned(), r.category.to_string(), r.severity.to_string()]).collect();
    assert_eq!(listed, known);
    assert_eq!(known.len(), FINDING_KINDS.len(), "a code stands twice");
}

#[test]
fn hostile_documents_cost_no_more_than_their_size() {
    const SMALL: usize = 2 << 10;
    const LARGE: usize = 32 << 10;
    /// The allowed growth of the time. Linear growth is 16 and quadratic growth is 256. The margin is for a busy machine.
    const ALLOWED: u32 = 80;
    /// A time below which a measurement is not significant.
    const FLOOR: Duration = Duration::from_millis(2);
    let all = |piece: &str, size: usize| {
        let filled = piece.repeat(size / piece.len());
        let parsed = parsed(&with_requirements(&format!("- **FR-001**: The door MUST be {filled}\n")));
        let principles = format!("# C\n\n## Core Principles\n\n### I. A\n\nDoors MUST {filled}\n");
        let principles = constitution::parse(principles.as_bytes());
        let began = Stopwatch::start();
        let report = analysis::specification(&parsed);
        let asked = analysis::questions(&parsed, &report);
        let found = analysis::constitution(&principles).findings.len();
        let conflicts = analysis::constitution_conflicts(&parsed.model, &principles.model);
        let sketch = Sketch::new(&parsed.model);
        let shared = analysis::overlap(&sketch, &sketch);
        let task = TaskText { id: "T001", title: &filled, text: &filled, story: Some(&filled) };
        let coverage = analysis::coverage(&parsed.model, &[task, task]);
        let cost = began.elapsed();
        assert!(found <= MAX_FINDINGS && asked.len() <= size && conflicts.len() <= size && shared.len() <= size);
        assert!(!coverage.requirements.is_empty(), "{piece}");
        cost
    };
    for piece in [
        "secure ",
        "FR-999 ",
        "US7, ",
        "must use MongoDB ",
        "must not use ",
        "etc, such as ",
        "user-profile userprofile ",
        "[NEEDS CLARIFICATION: x or y] ",
        "? or ",
        "given when then ",
        "the end-user ",
        "```\"",
        "a) b) c) ",
        "5 seconds ",
        "gracefully ",
        "aB_",
        "`",
        "“",
        "关键",
        "TBD ",
        "- **FR-002**: x\n",
        "\n### User Story 1 - A (Priority: P1)\n",
    ] {
        let small = all(piece, SMALL).max(FLOOR);
        let large = all(piece, LARGE);
        assert!(large <= small * ALLOWED, "{piece:?}: {large:?} for what costs {small:?} at a sixteenth of the size");
    }
}
