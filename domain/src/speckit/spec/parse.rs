//! Parses a specification from the Markdown tree.

use std::collections::HashMap;

use super::model::{Entity, Requirement, Spec};
use super::{questions, requirements, stories};
use crate::speckit::diagnostic::{Diagnostic, Parsed};
use crate::speckit::markdown::{self, Item, Markdown, Section};

pub fn parse(bytes: &[u8]) -> Parsed<Spec> {
    let (markdown, mut diagnostics) = match markdown::read(bytes) {
        Ok(read) => read,
        Err(diagnostic) => return Parsed::new(Spec::default(), vec![diagnostic]),
    };
    let mut spec =
        Spec { title: markdown.title(&["spec", "规格", "规范", "especificação", "仕様"]), ..Spec::default() };
    header(&markdown, &mut spec);
    for section in &markdown.sections {
        read_section(&markdown, section, &mut spec);
    }
    stories::adopt(&markdown, &mut spec.stories);
    let found = requirements::find(&markdown);
    let found = unique(found, |r| &r.id, |r| r.line, "DuplicateRequirement", &mut diagnostics);
    (spec.success_criteria, spec.requirements) =
        found.into_iter().partition(|r: &Requirement| requirements::is_criterion(&r.id));
    spec.stories =
        unique(std::mem::take(&mut spec.stories), |s| s.key.as_str(), |s| s.line, "DuplicateStory", &mut diagnostics);
    spec.clarifications = questions::answered(&markdown);
    spec.open_questions = questions::open(&markdown);
    check(&markdown, &spec, &mut diagnostics);
    spec.source = markdown.source;
    Parsed::new(spec, diagnostics)
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

fn read_section(markdown: &Markdown, section: &Section, spec: &mut Spec) {
    let title = section.title.to_lowercase();
    let title = title.trim_start_matches(|c: char| !c.is_alphanumeric());
    let lines = section.heading + 1..section.own_end;
    let starts = |words: &[&str]| words.iter().any(|w| title.starts_with(w));
    if let Some(story) = stories::read(markdown, section) {
        spec.stories.push(story);
    } else if starts(&["edge case", "边界", "边缘", "casos de borda", "エッジケース"]) {
        spec.edge_cases.extend(markdown.top_items(lines));
    } else if starts(&["key entit", "关键实体", "entidades", "主要エンティティ"]) {
        spec.entities.extend(markdown.top_items(lines).into_iter().map(entity));
    } else if starts(&["assumption", "假设", "premissas", "前提"]) {
        spec.assumptions.extend(markdown.top_items(lines));
    }
}

/// Parses `**Name**: what it is`, with or without emphasis, which is not a part of the name.
pub(crate) fn entity(item: Item) -> Entity {
    let Item { text, line, span } = item;
    let bold = || markdown::bold(&text).map(|(name, rest)| (name, rest.trim_start_matches([' ', ',', '-', '–', '—'])));
    let plain = || text.split_once([':', '：', '—']);
    let (name, text) = markdown::label(&text).or_else(bold).or_else(plain).unwrap_or((&text, ""));
    Entity { name: name.replace(['*', '`'], "").trim().to_owned(), text: text.trim().to_owned(), line, span }
}

/// Returns the items whose key occurs for the first time; each other item is a diagnostic with both lines.
fn unique<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> &str,
    line: impl Fn(&T) -> u32,
    code: &'static str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<T> {
    let mut first: HashMap<String, u32> = HashMap::new();
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        let here = line(&item);
        match first.get(key(&item)) {
            None => {
                first.insert(key(&item).to_owned(), here);
                kept.push(item);
            }
            Some(there) => diagnostics.push(Diagnostic::error(
                here,
                code,
                format!("{} is defined on line {there} and again on line {here}; the second is ignored", key(&item)),
                "give one of them another identifier",
            )),
        }
    }
    kept
}

fn check(markdown: &Markdown, spec: &Spec, diagnostics: &mut Vec<Diagnostic>) {
    let missing =
        |what: &str, remedy: &str| Diagnostic::warning(1, "MissingSection", format!("no {what} were found"), remedy);
    if spec.title.is_none() {
        diagnostics.push(Diagnostic::warning(
            1,
            "MissingTitle",
            "the document has no title",
            "begin with `# Feature Specification: <name>`",
        ));
    }
    if spec.stories.is_empty() {
        diagnostics.push(missing(
            "user stories",
            "add `### User Story 1 - <title> (Priority: P1)` under `## User Scenarios & Testing`",
        ));
    }
    if spec.requirements.is_empty() {
        diagnostics.push(missing("requirements", "add `- **FR-001**: …` under `### Functional Requirements`"));
    }
    if spec.success_criteria.is_empty() {
        diagnostics.push(missing("success criteria", "add `- **SC-001**: …` under `## Success Criteria`"));
    }
    for question in &spec.open_questions {
        let text = format!("open question: {}", question.text);
        diagnostics.push(Diagnostic::info(
            question.line,
            "OpenQuestion",
            text,
            "answer it under `## Clarifications`, and replace the marker",
        ));
    }
    diagnostics.extend(markdown.placeholders());
}
