//! Real documents of public projects, if they exist: beside the repository, or in the directory that `ENACT_CORPUS` names.
//!
//! The test compares each parsed document with the results of a search for the standard forms, so that no item is lost.

#[path = "support/corpus.rs"]
mod corpus;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;

use enact_domain::graph::Graph;
use enact_domain::speckit::tasks::TasksFile;
use enact_domain::speckit::{
    Diagnostic, Parsed, TaskId, checklist, constitution, data_model, edit, plan, research, spec, tasks,
};

/// Calls `check` with the path and bytes of each document of this name, and prints the number of documents.
fn each(name: &str, mut check: impl FnMut(&Path, &[u8])) {
    let Some(root) = corpus::root() else { return };
    let found = corpus::files(&root, |path| path.ends_with(name));
    println!("{} documents", found.len());
    for path in found {
        check(&path, &std::fs::read(&path).expect("the corpus can be read"));
    }
}

/// Checks that the whole document is kept, and that the diagnostics refer to lines of it.
fn sound<T: Debug>(place: &Path, bytes: &[u8], parsed: &Parsed<T>, source: &str) {
    let place = place.display();
    assert!(parsed.has_errors() || source.as_bytes() == bytes, "{place}: the source is not the document");
    let lines = source.split('\n').count();
    for finding in &parsed.diagnostics {
        assert!((1..=lines).contains(&(finding.line as usize)), "{place}: {finding:?}");
        assert!(!finding.message.is_empty() && !finding.remedy.is_empty(), "{place}: {finding:?}");
    }
}

/// Returns the lines outside of fences and comments, with their numbers from 1. The search is naive and returns `None` if a fence or a
/// comment seems to have no end.
fn prose(text: &str) -> Option<Vec<(u32, &str)>> {
    let (mut fence, mut comment) = (false, false);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let start = line.trim_start();
        if start.starts_with("```") || start.starts_with("~~~") {
            fence = !fence;
            continue;
        }
        comment |= line.contains("<!--");
        if !fence && !comment {
            found.push((number, line));
        }
        comment &= !line.contains("-->");
    }
    (!fence && !comment).then_some(found)
}

/// Returns the task id of a line in the standard form, `- [ ] T001 …`, in bold or not.
fn standard_task(line: &str) -> Option<TaskId> {
    let rest = ["- [ ] ", "- [x] ", "- [X] "].iter().find_map(|form| line.strip_prefix(form))?;
    let word = rest.trim_start_matches('*').split(|c: char| c.is_whitespace() || c == '*').next()?;
    TaskId::parse(word)
}

fn ids(file: &TasksFile) -> BTreeSet<&TaskId> {
    file.tasks.iter().flat_map(|task| [&task.id].into_iter().chain(&task.also)).collect()
}

fn reported(diagnostics: &[Diagnostic], line: u32) -> bool {
    diagnostics.iter().any(|finding| finding.line == line)
}

#[test]
fn every_standard_task_line_is_a_task() {
    let mut seen = 0;
    each("tasks.md", |place, bytes| {
        let parsed = tasks::parse(bytes);
        sound(place, bytes, &parsed, &parsed.model.source);
        let known = ids(&parsed.model);
        for (number, line) in prose(&parsed.model.source).unwrap_or_default() {
            if line.strip_prefix("## Phase ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
                let kept = parsed.model.phases.iter().any(|phase| phase.line == number);
                assert!(kept, "{}:{number}: {line:?}", place.display());
            }
            let Some(id) = standard_task(line) else { continue };
            seen += 1;
            let kept = known.contains(&id) || reported(&parsed.diagnostics, number);
            assert!(kept, "{}:{number}: {line:?} is neither a task nor a finding", place.display());
        }
    });
    println!("{seen} lines in the standard form");
    assert!(seen > 0 || corpus::root().is_none());
}

#[test]
fn every_order_is_one_that_can_be_run() {
    let mut edges = 0;
    each("tasks.md", |place, bytes| {
        let file = tasks::parse(bytes).model;
        let order = file.dependencies();
        let list = order.iter().map(|(id, on)| (id.as_str(), on.iter().map(TaskId::as_str)));
        let graph = Graph::build(list).unwrap_or_else(|errors| panic!("{}: {errors:?}", place.display()));
        assert_eq!(graph.len(), file.tasks.len());
        edges += order.values().map(BTreeSet::len).sum::<usize>();
        // A task without [P] runs after the tasks before it in its phase.
        for pair in file.tasks.windows(2).filter(|pair| pair[0].phase == pair[1].phase && !pair[1].parallel) {
            let (before, after) = (&pair[0].id, &pair[1].id);
            let stated = file.tasks.iter().any(|task| !task.depends_on.is_empty());
            assert!(stated || order[after].contains(before), "{}: {after} does not wait for {before}", place.display());
        }
    });
    println!("{edges} dependencies");
}

#[test]
fn a_box_can_be_ticked_without_any_other_change() {
    each("tasks.md", |place, bytes| {
        let Ok(text) = str::from_utf8(bytes) else { return };
        let file = tasks::parse(bytes).model;
        for task in file.tasks.iter().take(5) {
            let Some(mark) = task.checkbox else { continue };
            let done = edit::tick(text, &task.id, true).expect("a task with a box can be ticked");
            let rest = (&done[..mark.start], &done[mark.start + 1..]);
            assert_eq!(rest, (&text[..mark.start], &text[mark.end..]), "{}: {}", place.display(), task.id);
            let again = tasks::parse(done.as_bytes()).model;
            assert_eq!(again.tasks.len(), file.tasks.len(), "{}: {}", place.display(), task.id);
            // A struck task stays cancelled, whatever its checkbox is.
            let state = again.task(&task.id).map(|task| task.state);
            let struck = task.state == tasks::TaskState::Cancelled && state == Some(task.state);
            assert!(state == Some(tasks::TaskState::Done) || struck, "{}: {}", place.display(), task.id);
        }
    });
}

#[test]
fn an_answer_can_be_added_without_any_other_change() {
    each("spec.md", |place, bytes| {
        let Ok(text) = str::from_utf8(bytes) else { return };
        let before = spec::parse(bytes).model;
        let given = |answer: &str| edit::Answer {
            question: "Who would ask this?".into(),
            answer: answer.into(),
            date: "2031-07-09".into(),
        };
        let new = edit::answer(text, &given("Nobody")).unwrap_or_else(|e| panic!("{}: {e}", place.display()));
        let start = text.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
        assert!(text.as_bytes()[start..] == new.as_bytes()[start + new.len() - text.len()..], "{}", place.display());
        let after = spec::parse(new.as_bytes()).model;
        assert_eq!(after.clarifications.len(), before.clarifications.len() + 1, "{}", place.display());
        assert_eq!(after.clarifications.last().map(|c| c.answer.as_str()), Some("Nobody"), "{}", place.display());
        assert_eq!(edit::answer(&new, &given("Nobody")).as_deref(), Ok(new.as_str()));
        let other = edit::answer(&new, &given("Everybody")).expect("an answer can be replaced");
        assert_eq!(other, new.replace("A: Nobody", "A: Everybody"), "{}", place.display());
    });
}

#[test]
fn every_standard_requirement_and_story_is_read() {
    let (mut requirements, mut stories, mut scenarios, mut answers) = (0, 0, 0, 0);
    each("spec.md", |place, bytes| {
        let parsed = spec::parse(bytes);
        sound(place, bytes, &parsed, &parsed.model.source);
        let model = &parsed.model;
        let lines: BTreeSet<u32> = model.requirements.iter().chain(&model.success_criteria).map(|r| r.line).collect();
        for (number, line) in prose(&model.source).unwrap_or_default() {
            let id = line.strip_prefix("- **").and_then(|rest| rest.split_once("**:")).map_or("", |(id, _)| id);
            let digits = id.strip_prefix("FR-").or_else(|| id.strip_prefix("SC-")).unwrap_or_default();
            if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
                requirements += 1;
                let kept = lines.contains(&number) || reported(&parsed.diagnostics, number);
                assert!(kept, "{}:{number}: {line:?}", place.display());
            }
            if line.strip_prefix("### User Story ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
                stories += 1;
                let kept = model.stories.iter().any(|s| s.line == number) || reported(&parsed.diagnostics, number);
                assert!(kept, "{}:{number}: {line:?}", place.display());
            }
            if line.split_once(". ").is_some_and(|(n, rest)| n.parse::<u8>().is_ok() && rest.starts_with("**Given**")) {
                scenarios += 1;
                let kept = model.stories.iter().flat_map(|s| &s.scenarios).any(|s| s.line == number);
                assert!(kept, "{}:{number}: {line:?}", place.display());
            }
            if line.starts_with("- Q: ") {
                answers += 1;
                let kept = model.clarifications.iter().any(|c| c.line == number);
                assert!(kept, "{}:{number}: {line:?}", place.display());
            }
        }
    });
    println!("{requirements} requirements and criteria, {stories} stories, {scenarios} scenarios, {answers} answers");
    assert!((requirements > 0 && stories > 0 && scenarios > 0 && answers > 0) || corpus::root().is_none());
}

#[test]
fn every_standard_decision_and_item_is_read() {
    let (mut decisions, mut items) = (0, 0);
    each("research.md", |place, bytes| {
        let model = research::parse(bytes).model;
        for (number, line) in prose(&model.source).unwrap_or_default() {
            if line.trim_start_matches(['-', ' ']).starts_with("**Decision**: ") {
                decisions += 1;
                let kept = model.decisions.iter().flat_map(|d| &d.decision).any(|item| item.line == number);
                assert!(kept, "{}:{number}: {line:?}", place.display());
            }
        }
    });
    each("requirements.md", |place, bytes| {
        let model = checklist::parse(bytes).model;
        for (number, line) in prose(&model.source).unwrap_or_default() {
            if ["- [ ] ", "- [x] ", "- [X] "].iter().any(|form| line.starts_with(form)) {
                items += 1;
                assert!(model.items.iter().any(|i| i.line == number), "{}:{number}: {line:?}", place.display());
            }
        }
    });
    println!("{decisions} decisions, {items} items in the standard form");
    assert!((decisions > 0 && items > 0) || corpus::root().is_none());
}

#[test]
fn every_standard_plan_is_read() {
    let mut contexts = 0;
    each("plan.md", |place, bytes| {
        let parsed = plan::parse(bytes);
        sound(place, bytes, &parsed, &parsed.model.source);
        let lines = prose(&parsed.model.source).unwrap_or_default();
        for (_, line) in &lines {
            let field = line.strip_prefix("**Language/Version**: ");
            contexts += usize::from(field.is_some());
            let kept = field.is_none() || parsed.model.context.iter().any(|e| e.key == "Language/Version");
            assert!(kept, "{}: {line:?}", place.display());
        }
        let check = lines.iter().any(|(_, line)| *line == "## Constitution Check");
        assert!(!check || parsed.model.constitution_check.is_some(), "{}: Constitution Check", place.display());
    });
    println!("{contexts} technical contexts in the standard form");
}

#[test]
fn every_standard_principle_is_read() {
    let mut principles = 0;
    each("constitution.md", |place, bytes| {
        let parsed = constitution::parse(bytes);
        sound(place, bytes, &parsed, &parsed.model.source);
        for (number, line) in prose(&parsed.model.source).unwrap_or_default() {
            let Some((numeral, _)) = line.strip_prefix("### ").and_then(|rest| rest.split_once(". ")) else { continue };
            if numeral.is_empty() || !numeral.bytes().all(|b| b"IVX".contains(&b)) {
                continue;
            }
            principles += 1;
            let kept =
                parsed.model.principles.iter().any(|p| p.line == number) || reported(&parsed.diagnostics, number);
            assert!(kept, "{}:{number}: {line:?}", place.display());
        }
    });
    println!("{principles} principles in the standard form");
}

/// Returns the diagnostics of a document of this kind, and whether its bytes are kept; None for kinds that are not read.
fn diagnose(kind: &str, bytes: &[u8]) -> Option<(Vec<Diagnostic>, bool)> {
    macro_rules! read {
        ($kind:ident) => {{
            let parsed = $kind::parse(bytes);
            (parsed.diagnostics, parsed.model.source.as_bytes() == bytes)
        }};
    }
    Some(match kind {
        "constitution" => read!(constitution),
        "spec" => read!(spec),
        "plan" => read!(plan),
        "tasks" => read!(tasks),
        "research" => read!(research),
        "checklist" => read!(checklist),
        "data-model" => read!(data_model),
        _ => return None,
    })
}

/// Checks the figures that the documentation contains about the corpus.
#[test]
fn the_figures_in_the_documentation_are_those_of_the_corpus() {
    let Some(root) = corpus::root() else { return };
    let index = root.join("../INDEX.tsv");
    let Ok(index) = std::fs::read_to_string(&index) else {
        println!("skipped: no index at {}", index.display());
        return;
    };
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut codes: BTreeMap<(String, &str), (usize, usize)> = BTreeMap::new();
    let (mut all, mut unread) = (0, 0);
    for row in index.lines().skip(1) {
        let fields: Vec<&str> = row.split('\t').collect();
        let path = root.join(fields[1].replace('/', "__")).join(fields[3]);
        let bytes = std::fs::read(&path).expect("what the index names is there");
        all += 1;
        let Some((diagnostics, kept)) = diagnose(fields[5], &bytes) else {
            unread += 1;
            continue;
        };
        assert!(kept, "{}: the bytes are not kept", path.display());
        let (documents, clean) = kinds.entry(fields[5]).or_default();
        *documents += 1;
        *clean += usize::from(diagnostics.is_empty());
        let mut seen = BTreeSet::new();
        for finding in &diagnostics {
            let (count, documents) = codes.entry((format!("`{}`", finding.code), fields[5])).or_default();
            *count += 1;
            *documents += usize::from(seen.insert(finding.code));
        }
    }
    let share = |part: usize, whole: usize| {
        let thousandths = (1000 * part + whole / 2) / whole;
        format!("{}.{} %", thousandths / 10, thousandths % 10)
    };
    let mut table = String::from("| kind | documents | without a diagnostic | share |\n| --- | --: | --: | --: |\n");
    for (kind, (documents, clean)) in &kinds {
        table.extend([format!("| {kind} | {documents} | {clean} | {} |\n", share(*clean, *documents))]);
    }
    let (documents, clean) = kinds.values().fold((0, 0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1));
    table.extend([format!("| all that are read | {documents} | {clean} | {} |\n", share(clean, documents))]);
    table.extend([format!("| kept, and not read | {unread} | | |\n| all | {all} | | |\n")]);
    table.push_str("\n| diagnostic | kind | times | documents |\n| --- | --- | --: | --: |\n");
    for ((code, kind), (count, documents)) in &codes {
        table.extend([format!("| {code} | {kind} | {count} | {documents} |\n")]);
    }
    let page = include_str!("../../docs/reference/spec-kit-documents.md");
    assert!(page.contains(&table), "the page must say:\n\n{table}");
}
