//! Documents that were once read wrongly, if they exist beside the repository: everything that is read from each, and every finding.
//!
//! A title is compared by its number of words.

#[path = "support/corpus.rs"]
mod corpus;

use std::fmt::Display;
use std::fs;

use enact_domain::analysis::{self, Evidence, Finding, Report, TaskText};
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::tasks::TasksFile;
use enact_domain::speckit::{Diagnostic, Item, constitution, research, spec, tasks};

/// Returns a document beside the corpus, if they exist.
fn case(name: &str) -> Option<Vec<u8>> {
    let cases = corpus::root()?.join("../../cases");
    if !cases.is_dir() {
        println!("skipped: {} is not there", cases.display());
        return None;
    }
    let found = corpus::files(&cases, |path| path.ends_with(name));
    Some(fs::read(&found[0]).expect("the document can be read"))
}

/// Compares what is read from a document with the expectation, if the document exists.
fn compare(name: &str, read: impl Fn(&[u8]) -> Vec<String>, expected: &[&str]) {
    let Some(bytes) = case(name) else { return };
    let found = read(&bytes);
    assert_eq!(found, expected, "{name}: {found:#?}");
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Returns `word a, b`, or nothing if there are no items.
fn list<T: Display>(word: &str, items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { String::new() } else { format!(" {word} {}", items.join(", ")) }
}

/// Returns the size of a title. The part before it, such as `Tasks:`, does not belong to it.
fn title(item: Option<&Item>) -> String {
    item.map_or_else(|| "no title".to_owned(), |item| format!("title of {} characters", item.text.chars().count()))
}

fn notes(diagnostics: &[Diagnostic]) -> impl Iterator<Item = String> {
    diagnostics.iter().map(|d| format!("{} {} on line {}", d.severity, d.code, d.line))
}

fn findings(found: &[Finding]) -> impl Iterator<Item = String> {
    found.iter().map(|f| format!("finding {} at {} on line {}", f.code, f.location, f.line))
}

fn report(report: &Report) -> Vec<String> {
    let hints = report.hints.iter().map(|f| format!("hint {} at {} on line {}", f.code, f.location, f.line));
    findings(&report.findings).chain(hints).collect()
}

fn summary_of_tasks(file: &TasksFile) -> Vec<String> {
    let edges = file.dependencies();
    let title = title(file.title.as_ref());
    let describe = |task: &tasks::Task| {
        let parallel = if task.parallel { " parallel" } else { "" };
        let (id, state, size) = (&task.id, task.state.as_str(), words(&task.title));
        let stories = list("of", &task.stories);
        let after = list("after", edges.get(&task.id).into_iter().flatten());
        let said = list("stated", task.depends_on.iter().map(|d| &d.on));
        let paths = list("in", &task.paths);
        format!("{id} {state}{parallel}{stories}, {size} words{after}{said}{paths}")
    };
    let phases = file.phases.iter().map(|phase| {
        let number = phase.number.as_deref().unwrap_or("-");
        format!("phase {number} {:?}, {} words, line {}", phase.kind, words(&phase.title), phase.line)
    });
    let precedences = file.precedences.iter().map(|p| format!("{:?} after {:?}", p.subject, p.on));
    let unread = file.unread.iter().map(|unread| format!("unread line {}", unread.line));
    [title].into_iter().chain(phases).chain(file.tasks.iter().map(describe)).chain(precedences).chain(unread).collect()
}

fn tasks_of(bytes: &[u8]) -> Vec<String> {
    let parsed = tasks::parse(bytes);
    let mut found = summary_of_tasks(&parsed.model);
    found.extend(notes(&parsed.diagnostics));
    found.extend(report(&analysis::tasks(&parsed)));
    found
}

fn spec_of(bytes: &[u8]) -> Vec<String> {
    let parsed = spec::parse(bytes);
    let Spec { stories, requirements, success_criteria, entities, clarifications, open_questions, .. } = &parsed.model;
    let story = |s: &spec::UserStory| {
        let (key, size, line) = (&s.key, words(&s.title), s.line);
        let priority = s.priority.as_deref().unwrap_or("-");
        let test = if s.independent_test.is_some() { ", tested" } else { "" };
        let scenarios = list("with", s.scenarios.iter().map(|s| format!("{} on line {}", s.key, s.line)));
        format!("{key} {priority}{test}, {size} words, line {line}{scenarios}")
    };
    let statement = |r: &spec::Requirement| {
        let retired = if r.retired { " retired" } else { "" };
        format!("{}{retired}, {} words, line {}", r.id, words(&r.text), r.line)
    };
    let mut found = vec![title(parsed.model.title.as_ref())];
    found.extend(stories.iter().map(story));
    found.extend(requirements.iter().chain(success_criteria).map(statement));
    found.extend(entities.iter().map(|e| format!("entity {} on line {}", e.name, e.line)));
    found.extend(clarifications.iter().map(|c| {
        let session = c.session.as_deref().unwrap_or("-");
        format!("question of {} words, answer of {} in {session}", words(&c.question), words(&c.answer))
    }));
    found.extend(open_questions.iter().map(|q| format!("open question on line {}", q.line)));
    found.extend(notes(&parsed.diagnostics));
    found.extend(report(&analysis::specification(&parsed)));
    found
}

fn constitution_of(bytes: &[u8]) -> Vec<String> {
    let parsed = constitution::parse(bytes);
    let constitution = &parsed.model;
    let text = |item: &Option<Item>| item.as_ref().map_or_else(|| "-".to_owned(), |item| item.text.clone());
    let (version, from, last) = (&constitution.version, &constitution.ratified, &constitution.last_amended);
    let mut found = vec![title(constitution.title.as_ref())];
    found.push(format!("version {} of {}, changed {}", text(version), text(from), text(last)));
    found.extend(constitution.principles.iter().map(|p| {
        let number = p.number.as_deref().unwrap_or("-");
        format!(
            "{number} {} words, line {}{}",
            words(&p.name),
            p.line,
            list("demands on", p.musts.iter().map(|m| m.line))
        )
    }));
    found.extend(notes(&parsed.diagnostics));
    found.extend(report(&analysis::constitution(&parsed)));
    found
}

fn research_of(bytes: &[u8]) -> Vec<String> {
    let parsed = research::parse(bytes);
    let size = |item: &Option<Item>| item.as_ref().map_or(0, |item| words(&item.text));
    let decision = |d: &research::Decision| {
        let (decided, why) = (size(&d.decision), size(&d.rationale));
        let alternatives = list("instead of", d.alternatives.iter().map(|a| format!("{} words", words(&a.text))));
        format!("line {}: {} words, decided in {decided}, because of {why}{alternatives}", d.line, words(&d.title))
    };
    let mut found = vec![title(parsed.model.title.as_ref())];
    found.extend(parsed.model.decisions.iter().map(decision));
    found.extend(notes(&parsed.diagnostics));
    found
}

#[test]
fn tasks_with_suffixes_marks_and_details() {
    compare(
        "fid-01-tasks-capital-suffix.md",
        tasks_of,
        &[
            "title of 10 characters",
            "phase 1 Setup, 1 words, line 3",
            "T001 open, 3 words",
            "T002 open, 6 words after T001 in src/soil.rs",
            "T002A open, 6 words after T002 in src/soil.rs",
            "T00B open, 6 words after T002A in src/pump.rs",
        ],
    );
    compare(
        "fid-02-tasks-mark-before-id.md",
        tasks_of,
        &[
            "title of 10 characters",
            "phase 1 Other, 1 words, line 3",
            "T001 done, 4 words in src/soil.rs",
            "T002 open, 4 words after T001 stated T001",
        ],
    );
    compare(
        "fid-03-tasks-heading-done.md",
        tasks_of,
        &[
            "title of 10 characters",
            "phase 1 Other, 1 words, line 3",
            "T001 done, 4 words",
            "T002 done parallel, 4 words after T001",
            "T003 done parallel, 4 words after T001",
            "T004 done, 4 words after T002, T003",
            "T005 done, 3 words after T004",
        ],
    );
    compare(
        "fid-05-tasks-index-and-detail.md",
        tasks_of,
        &[
            "title of 10 characters",
            "phase 1 Other, 1 words, line 3",
            "T001 done, 2 words in src/soil.rs",
            "T002 open, 2 words after T001 in src/light.rs",
        ],
    );
}

#[test]
fn order_of_tasks_in_sentences_and_arrows() {
    compare(
        "fid-08-tasks-sequential-after.md",
        tasks_of,
        &[
            "title of 10 characters",
            "phase 1 Setup, 1 words, line 3",
            "T001 open parallel, 7 words in web/beds.ts",
            "T002 open parallel, 7 words in web/pumps.ts",
            "T003 open, 5 words after T001, T002 stated T001, T002 in src/control.rs",
            "T004 open, 5 words after T003 stated T003 in src/routes.rs",
        ],
    );
    compare(
        "fid-11-tasks-dependency-after-han.md",
        tasks_of,
        &[
            "title of 2 characters",
            "phase 1 Other, 1 words, line 3",
            "T001 open parallel, 2 words in src/soil.rs",
            "T002 open parallel, 2 words in src/light.rs",
            "T003 open parallel, 3 words after T001 stated T001 in src/control.rs",
            "T004 open parallel, 3 words after T002, T003 stated T002, T003 in web/page.ts",
        ],
    );
}

#[test]
fn unfilled_template_of_tasks() {
    compare(
        "fid-15-tasks-unfilled-template.md",
        tasks_of,
        &[
            "title of 14 characters",
            "phase 1 Setup, 3 words, line 5",
            "phase 2 Story(StoryKey(\"US1\")), 7 words, line 10",
            "T001 open, 6 words",
            "T002 open, 6 words after T001",
            "T003 open parallel of US1, 5 words after T002 in src/models/[entity1].py",
            "warning UnfilledTemplate on line 1",
            "error TemplateNotFilled on line 1",
            "warning UnfilledTemplate on line 3",
            "warning UnfilledTemplate on line 8",
            "warning UnfilledTemplate on line 10",
            "warning UnfilledTemplate on line 12",
            "finding TemplateNotFilled at Document on line 1",
        ],
    );
}

#[test]
fn identifiers_and_stories_of_specifications() {
    compare(
        "fid-20-spec-identifiers.md",
        spec_of,
        &[
            "title of 10 characters",
            "US1 P1, 1 words, line 5 with US1/AC1 on line 9",
            "FR-001, 4 words, line 15",
            "FR-001A, 8 words, line 16",
            "FR-002-target, 9 words, line 17",
            "FR-003, 6 words, line 21",
            "NFR-1, 7 words, line 25",
            "NFR-2, 11 words, line 29",
            "FR4, 7 words, line 33",
            "SC-001, 8 words, line 39",
        ],
    );
    // Two of the stories have no scenario, which is true.
    compare(
        "fid-21-spec-stories-in-other-words.md",
        spec_of,
        &[
            "title of 2 characters",
            "US1 P1, 1 words, line 5 with US1/AC1 on line 7",
            "US2 P2, 1 words, line 9 with US2/AC1 on line 11",
            "US3 P3, 1 words, line 13",
            "US4 P4, 1 words, line 15",
            "FR-001, 1 words, line 19",
            "SC-001, 3 words, line 23",
            "finding NoScenario at US3 on line 13",
            "finding NoScenario at US4 on line 15",
        ],
    );
    compare(
        "fid-23-spec-primary-story-coverage.md",
        spec_of,
        &[
            "title of 10 characters",
            "US1 -, 3 words, line 5 with US1/AC1 on line 11",
            "FR-001, 13 words, line 15",
            "SC-001, 8 words, line 19",
        ],
    );
}

#[test]
fn specification_without_findings() {
    compare(
        "fid-27-spec-findings-that-are-wrong.md",
        spec_of,
        &[
            "title of 10 characters",
            "US1 P1, tested, 1 words, line 11 with US1/AC1 on line 17, US1/AC2 on line 18",
            "US2 P2, tested, 1 words, line 20 with US2/AC1 on line 26",
            "FR-001, 6 words, line 30",
            "FR-002, 18 words, line 33",
            "FR-003, 15 words, line 34",
            "SC-001, 8 words, line 42",
            "entity PHConfig on line 38",
            "question of 5 words, answer of 3 in 2026-03-02",
        ],
    );
}

#[test]
fn range_of_requirements_in_a_task() {
    const NAME: &str = "fid-28-tasks-coverage-ranges.md";
    const SPEC: &str = "# Feature Specification: Shed\n\n## User Scenarios & Testing\n\n### User Story 1 - Look (Priority: P1)\n\n1. **Given** a \
                        shed, **When** a gardener looks, **Then** its door shows\n\n## Requirements\n\n- **NFR-001**: Each page MUST show within \
                        one second\n- **NFR-002**: The service MUST start within ten seconds\n- **NFR-003**: The download SHOULD be smaller than 2 \
                        GB\n\n## Success Criteria\n\n- **SC-001**: 9 of 10 gardeners find the door\n";
    compare(
        NAME,
        tasks_of,
        &[
            "title of 10 characters",
            "phase 1 Polish, 1 words, line 3",
            "T001 open, 6 words",
            "T002 open, 4 words after T001",
        ],
    );
    let Some(bytes) = case(NAME) else { return };
    let file = tasks::parse(&bytes).model;
    let ids: Vec<String> = file.tasks.iter().map(|task| task.id.to_string()).collect();
    let text = |(id, task): (&'_ String, &'_ tasks::Task)| {
        (id.clone(), task.title.clone(), task.span.text(&file.source).to_owned())
    };
    let texts: Vec<(String, String, String)> = ids.iter().zip(&file.tasks).map(text).collect();
    let tasks: Vec<TaskText<'_>> =
        texts.iter().map(|(id, title, text)| TaskText { id, title, text, story: None }).collect();
    let coverage = analysis::coverage(&spec::parse(SPEC.as_bytes()).model, &tasks);
    let by_id = |item: &analysis::CoveredItem| {
        let named = item.tasks.iter().filter(|link| link.by == Evidence::Id).map(|link| link.task.as_str());
        format!("{}{}", item.id, list("by", named))
    };
    let covered: Vec<String> = coverage.requirements.iter().map(by_id).collect();
    assert_eq!(covered, ["NFR-001 by T001", "NFR-002 by T001", "NFR-003 by T001"]);
    let about_tasks: Vec<String> =
        findings(&coverage.findings).filter(|f| f.contains(" NFR-") || f.contains(" at T")).collect();
    assert_eq!(about_tasks, Vec::<String>::new());
}

#[test]
fn principles_and_decisions() {
    compare(
        "fid-31-constitution-principles.md",
        constitution_of,
        &[
            "title of 10 characters",
            "version 1.0.0 of 2026-01-05, changed 2026-01-05",
            "- 2 words, line 5 demands on 7",
            "- 4 words, line 9 demands on 11",
            "X 1 words, line 13 demands on 15, 17",
        ],
    );
    compare(
        "fid-34-research-labels.md",
        research_of,
        &[
            "title of 10 characters",
            "line 5: 1 words, decided in 1, because of 3 instead of 3 words",
            "line 13: 4 words, decided in 3, because of 4 instead of 4 words",
            "line 19: 1 words, decided in 3, because of 2 instead of 1 words",
            "line 29: 1 words, decided in 1, because of 1 instead of 1 words",
        ],
    );
}

#[test]
fn other_task_lists() {
    compare(
        "P01.tasks.md",
        tasks_of,
        &[
            "title of 17 characters",
            "phase 1 Other, 1 words, line 3",
            "phase 2 Other, 1 words, line 12",
            "T001 open, 7 words in db/001.sql",
            "T002 open parallel, 4 words after T001 in tests/contract.py",
            "T003 open parallel, 4 words after T001 in tests/failure.py",
            "T004 open, 5 words after T001, T002, T003 stated T001 in src/register.py",
        ],
    );
    compare(
        "P02.tasks.md",
        tasks_of,
        &[
            "title of 12 characters",
            "phase 1 Other, 1 words, line 5",
            "phase 2 Other, 1 words, line 13",
            "T001 done, 4 words in site/",
            "T002 in progress, 12 words after T001 in cli/make.py",
            "T003 in progress, 3 words after T002 in site/templates/",
            "T004 deferred, 6 words after T003",
            "T005 blocked, 8 words after T004 in ops/deploy.sh",
            "T006 open, 10 words after T002, T005 stated T002 in site/start.py",
        ],
    );
    compare(
        "P05b.tasks.md",
        tasks_of,
        &[
            "title of 19 characters",
            "phase 1 Setup, 1 words, line 3",
            "phase 2 Other, 1 words, line 18",
            "phase 3 Other, 1 words, line 30",
            "T001 open, 3 words in app/symbols.py, symbols.yaml",
            "T002 done, 1 words after T001 in app/config.py",
            "T003 open parallel, 1 words after T002 in app/checks.py",
            "T004 open parallel, 1 words after T002 in app/repairs.py",
            "T005 open, 1 words after T003, T004 in app/engine.py",
            "T006 open, 1 words after T005 in web/pages/",
            "T007 open, 1 words after T006 in deploy.sh",
        ],
    );
    compare(
        "P14b.tasks.md",
        tasks_of,
        &[
            "title of 20 characters",
            "phase A Other, 1 words, line 3",
            "phase B Other, 1 words, line 13",
            "T001 done, 3 words in db/tables.sql",
            "T002 open, 3 words after T001 in db/seed.sql",
            "T003 open parallel, 3 words after T002 in web/list.html",
            "T004 open parallel, 3 words after T002 in web/form.html",
        ],
    );
}
