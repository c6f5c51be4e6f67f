//! Parses a specification from the Markdown tree.

use std::collections::{HashMap, HashSet};

use super::identifiers::Kind;
use super::model::{Entity, Requirement, Spec, UserStory};
use super::requirements::Found;
use super::roles::{self, Role};
use super::{listed, questions, requirements, stories, unnumbered};
use crate::speckit::diagnostic::{
    DELTA_DOCUMENT, Diagnostic, MISSING_SECTION, MISSING_TITLE, OPEN_QUESTION, Parsed, SpecPart, WRONG_DOCUMENT,
};
use crate::speckit::ids::StoryKey;
use crate::speckit::markdown::{self, Item, Markdown, Section};
use crate::text::truncated;

/// Words in the title of a specification before the name of the feature.
const TITLES: [&str; 12] = [
    "spec",
    "spéc",
    "spezifikation",
    "especifica",
    "спецификация",
    "规格",
    "规范",
    "規格",
    "規範",
    "仕様",
    "명세",
    "사양",
];

/// Reads a specification.
pub fn parse(bytes: &[u8]) -> Parsed<Spec> {
    let (markdown, mut diagnostics) = match markdown::read(bytes) {
        Ok(read) => read,
        Err(diagnostic) => return Parsed::new(Spec::default(), vec![diagnostic]),
    };
    let mut spec = Spec { title: markdown.title(&TITLES), ..Spec::default() };
    header(&markdown, &mut spec);
    for section in &markdown.sections {
        read_section(&markdown, section, &mut spec);
    }
    let roles = roles::of_sections(&markdown);
    listed::add(&markdown, &roles, &mut spec.stories);
    stories::adopt(&markdown, &mut spec.stories);
    let (found, found_diagnostics) = statements(&markdown, &roles);
    diagnostics.extend(found_diagnostics);
    for (kind, statement) in found {
        match kind {
            Kind::Criterion => spec.success_criteria.push(statement),
            Kind::Requirement => spec.requirements.push(statement),
        }
    }
    spec.stories = unique(std::mem::take(&mut spec.stories), &mut diagnostics);
    spec.clarifications = questions::answered(&markdown);
    spec.open_questions = questions::open(&markdown);
    check(&markdown, &spec, &mut diagnostics);
    spec.source = markdown.source;
    Parsed::new(spec, diagnostics)
}

/// Returns the requirements and criteria, with and without identifiers, in order.
fn statements(markdown: &Markdown, roles: &[Role]) -> (Vec<Found>, Vec<Diagnostic>) {
    let (mut found, mut diagnostics) = requirements::find(markdown, roles);
    diagnostics.extend(requirements::unread(markdown, roles, &found, is_read));
    let (unnumbered, assigned) = unnumbered::find(markdown, roles, &found);
    diagnostics.extend(assigned);
    found.extend(unnumbered);
    found.sort_by_key(|(_, requirement)| requirement.span.start);
    (found, diagnostics)
}

fn header(markdown: &Markdown, spec: &mut Spec) {
    let end = markdown.sections.iter().find(|s| s.level > 1).map_or(markdown.lines.len(), |s| s.heading);
    let read = |labels: &[&str]| markdown.labelled(0..end, labels);
    spec.branch = read(&["feature branch", "branch", "功能分支"])
        .map(|i| Item { text: i.text.trim_matches('`').to_owned(), ..i });
    spec.created = read(&["created", "创建日期", "date"]);
    spec.status = read(&["status", "状态"]);
    spec.input = read(&["input", "输入"]);
}

const EDGES: [&str; 13] = [
    "edge case",
    "边界",
    "邊界",
    "边缘",
    "casos de borda",
    "casos límite",
    "cas limites",
    "grenzfälle",
    "randfälle",
    "casi limite",
    "граничные",
    "エッジケース",
    "엣지",
];

const ENTITIES: [&str; 14] = [
    "key entit",
    "entities",
    "关键实体",
    "關鍵實體",
    "主要实体",
    "entidades",
    "entités",
    "entitäten",
    "entità",
    "ключевые сущности",
    "сущности",
    "主要エンティティ",
    "핵심 엔",
    "주요 엔",
];

const ASSUMPTIONS: [&str; 13] = [
    "assumption",
    "假设",
    "假設",
    "premissas",
    "suposiciones",
    "supuestos",
    "hypothèses",
    "annahmen",
    "assunzioni",
    "ipotesi",
    "допущения",
    "前提",
    "가정",
];

/// Returns whether the title of a section begins with one of these words.
fn begins(title: &str, words: &[&str]) -> bool {
    let title = title.to_lowercase();
    let title = title.trim_start_matches(|c: char| !c.is_alphanumeric());
    words.iter().any(|word| title.starts_with(word))
}

/// Returns whether the items of a section with this title are read as something other than statements.
fn is_read(title: &str) -> bool {
    begins(title, &EDGES) || begins(title, &ENTITIES) || begins(title, &ASSUMPTIONS)
}

fn read_section(markdown: &Markdown, section: &Section, spec: &mut Spec) {
    let lines = section.heading + 1..section.own_end;
    if let Some(story) = stories::read(markdown, section) {
        spec.stories.push(story);
    } else if begins(&section.title, &EDGES) {
        spec.edge_cases.extend(markdown.top_items(lines));
    } else if begins(&section.title, &ENTITIES) {
        spec.entities.extend(markdown.top_items(lines).into_iter().map(entity));
    } else if begins(&section.title, &ASSUMPTIONS) {
        spec.assumptions.extend(markdown.top_items(lines));
    }
}

/// Parses `**Name**: what it is`, with or without emphasis, which is not a part of the name.
pub(crate) fn entity(item: Item) -> Entity {
    let Item { text, line, span } = item;
    let bold = || markdown::bold(&text).map(|(name, rest)| (name, rest.trim_start_matches([' ', ',', '-', '–', '—'])));
    // `User 1:N Boat` is a relation, not a name with a text.
    let ratio = |at: usize| {
        let (left, right) = (&text[..at], &text[at + 1..]);
        left.ends_with(['1', 'N', 'M', '*']) && right.starts_with(['1', '0', 'N', 'M', '*'])
    };
    let ends = |(at, mark): &(usize, &str)| *mark != ":" || !ratio(*at);
    let mut marks = text.match_indices([':', '：', '—']).filter(ends);
    let colon = marks.next().map(|(at, mark)| (&text[..at], &text[at + mark.len()..]));
    let plain = || colon;
    let (name, text) = markdown::label(&text).or_else(bold).or_else(plain).unwrap_or((&text, ""));
    Entity { name: name.replace(['*', '`'], "").trim().to_owned(), text: text.trim().to_owned(), line, span }
}

/// Returns the stories whose number occurs for the first time; each other story is a diagnostic with both lines.
fn unique(mut stories: Vec<UserStory>, diagnostics: &mut Vec<Diagnostic>) -> Vec<UserStory> {
    /// Words in the heading of a part about a story: `User Story 4 (P4) Scope Breakdown`.
    const ABOUT: [&str; 7] = ["breakdown", "scope", "status", "notes", "summary", "details", "progress"];
    let told: HashSet<StoryKey> =
        stories.iter().filter(|story| !story.scenarios.is_empty()).map(|story| story.key.clone()).collect();
    stories.retain(|story| {
        let title = story.title.to_lowercase();
        let about = || ABOUT.iter().any(|word| title.ends_with(word));
        !story.scenarios.is_empty() || !told.contains(&story.key) || !about()
    });
    let mut first: HashMap<StoryKey, u32> = HashMap::new();
    let mut kept = Vec::with_capacity(stories.len());
    for story in stories {
        let here = story.line;
        match first.get(&story.key) {
            None => {
                first.insert(story.key.clone(), here);
                kept.push(story);
            }
            Some(there) => diagnostics.push(Diagnostic::error(
                here,
                "DuplicateStory",
                format!("{} is defined on line {there} and again on line {here}; the second is ignored", story.key),
                "give one of them another identifier",
            )),
        }
    }
    kept
}

/// Returns an error if the document is of another kind: the change of a specification, or a task list.
fn foreign(markdown: &Markdown, spec: &Spec) -> Option<Diagnostic> {
    const DELTAS: [&str; 4] =
        ["ADDED Requirements", "MODIFIED Requirements", "REMOVED Requirements", "RENAMED Requirements"];
    // A whole specification can have a section with the change that it makes.
    let whole = !spec.stories.is_empty() || spec.requirements.iter().any(Requirement::is_numbered);
    if let Some(section) = markdown.sections.iter().find(|s| !whole && DELTAS.contains(&s.title.trim())) {
        return Some(Diagnostic::error(
            markdown.lines[section.heading].number,
            DELTA_DOCUMENT,
            format!("{:?} begins a change of OpenSpec, which is not a whole specification", section.title),
            "apply the change, and use the specification that it leads to",
        ));
    }
    let title = markdown.sections.iter().find(|s| s.level == 1)?;
    let lower = title.title.to_lowercase();
    let tasks = ["tasks:", "tasks：", "task list:", "tasks -", "tasks —"].iter().any(|word| lower.starts_with(word));
    (tasks || lower == "tasks").then(|| {
        Diagnostic::error(
            markdown.lines[title.heading].number,
            WRONG_DOCUMENT,
            "the title says that this is a task list, not a specification",
            "name the file `tasks.md`, or use it as the source of a Plan",
        )
    })
}

/// Returns the headings below the section of user scenarios, if there is one, with the line of the first.
fn unread_stories(markdown: &Markdown) -> Option<(u32, String)> {
    const SHOWN: usize = 4;
    let outer = markdown.sections.iter().find(|s| s.level > 1 && listed::is_about(&s.title))?;
    let inner: Vec<&Section> = markdown.sections.iter().filter(|s| outer.holds(s)).collect();
    let first = inner.first()?;
    let titles: Vec<String> = inner.iter().take(SHOWN).map(|s| format!("{:?}", truncated(&s.title, 60))).collect();
    let more = if inner.len() > SHOWN { ", …" } else { "" };
    Some((markdown.lines[first.heading].number, format!("{}{more}", titles.join(", "))))
}

fn check(markdown: &Markdown, spec: &Spec, diagnostics: &mut Vec<Diagnostic>) {
    let missing = |part: SpecPart, what: &str, remedy: &str| {
        Diagnostic::warning(1, MISSING_SECTION, format!("no {what} were found"), remedy).about(part)
    };
    if spec.title.is_none() {
        diagnostics.push(Diagnostic::warning(
            1,
            MISSING_TITLE,
            "the document has no title",
            "begin with `# Feature Specification: <name>`",
        ));
    }
    diagnostics.extend(foreign(markdown, spec));
    // A specification of OpenSpec has scenarios below each requirement instead.
    let open_spec = markdown.sections.iter().any(|section| unnumbered::named(&section.title).is_some());
    if spec.stories.is_empty() && !open_spec {
        let remedy = "add `### User Story 1 - <title> (Priority: P1)` under `## User Scenarios & Testing`";
        diagnostics.push(match unread_stories(markdown) {
            Some((line, titles)) => {
                let message = format!("no user stories were found; the headings {titles} were not read as stories");
                Diagnostic::warning(line, MISSING_SECTION, message, remedy).about(SpecPart::Stories)
            }
            None => missing(SpecPart::Stories, "user stories", remedy),
        });
    }
    if spec.requirements.is_empty() {
        diagnostics.push(missing(
            SpecPart::Requirements,
            "requirements",
            "add `- **FR-001**: …` under `### Functional Requirements`",
        ));
    }
    if spec.success_criteria.is_empty() && !open_spec {
        diagnostics.push(missing(
            SpecPart::SuccessCriteria,
            "success criteria",
            "add `- **SC-001**: …` under `## Success Criteria`",
        ));
    }
    for question in &spec.open_questions {
        let text = format!("open question: {}", question.text);
        diagnostics.push(Diagnostic::info(
            question.line,
            OPEN_QUESTION,
            text,
            "answer it under `## Clarifications`, and replace the marker",
        ));
    }
    diagnostics.extend(markdown.placeholders());
}
