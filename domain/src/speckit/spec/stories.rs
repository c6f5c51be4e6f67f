//! User stories and their acceptance scenarios.

use std::ops::Range;

use super::model::{Scenario, UserStory};
use crate::speckit::ids::{self, StoryKey};
use crate::speckit::markdown::{Item, Markdown, Section, joined, strip_marker};

/// Words at the beginning of the heading of a story, before its number.
const WORDS: [&str; 9] = [
    "user story ",
    "用户故事",
    "ユーザーストーリー",
    "história de usuário ",
    "historia de usuario ",
    "us-",
    "us ",
    "us",
    "story ",
];

/// Returns the parts of a story heading: key, title, priority.
pub(super) fn heading(title: &str) -> Option<(StoryKey, String, Option<String>)> {
    let plain = title.trim_start_matches(|c: char| !c.is_alphanumeric());
    let lower = plain.to_lowercase();
    if lower.starts_with("primary user story") {
        return Some((StoryKey::from_number("1"), "Primary User Story".to_owned(), None));
    }
    let word = WORDS.iter().find(|w| lower.starts_with(**w))?;
    let rest = plain.get(word.len()..)?.trim_start();
    let len = ids::story_number_len(rest);
    if len == 0 {
        return None;
    }
    let key = StoryKey::from_number(&rest[..len]);
    let rest = rest[len..].trim_start_matches(|c: char| c.is_whitespace() || ":：-–—.、)".contains(c));
    let (title, priority) = split_priority(rest);
    Some((key, title, priority))
}

/// Splits `Title (Priority: P1) 🎯` into title and priority; the brackets may be full-width.
fn split_priority(text: &str) -> (String, Option<String>) {
    for (open, _) in text.match_indices(['(', '（', '[', '【']).rev().take(4) {
        let inner = text[open..].trim_start_matches(['(', '（', '[', '【']);
        let inner = inner.split([')', '）', ']', '】']).next().unwrap_or_default();
        let value = inner.rsplit([':', '：']).next().unwrap_or_default().trim();
        let value = value.split([',', ' ', '，']).next().unwrap_or_default();
        if value
            .strip_prefix(['P', 'p'])
            .is_some_and(|n| !n.is_empty() && n.len() < 4 && n.bytes().all(|b| b.is_ascii_digit()))
        {
            return (text[..open].trim().to_owned(), Some(value.to_uppercase()));
        }
    }
    (text.trim().to_owned(), None)
}

/// Reads the story under a heading.
pub(super) fn read(markdown: &Markdown, section: &Section) -> Option<UserStory> {
    let (key, title, mut priority) = heading(&section.title)?;
    let lines = section.heading + 1..section.end;
    if priority.is_none() {
        priority = markdown.labelled(lines.clone(), &["priority", "优先级"]).map(|i| i.text).filter(|t| t.len() < 16);
    }
    let independent_test = markdown.labelled(lines.clone(), &["independent test", "独立测试", "teste independente"]);
    let scenarios = scenarios(markdown, lines, &key);
    let span = markdown.span_of(section.heading..section.end);
    Some(UserStory {
        key,
        title,
        priority,
        independent_test,
        scenarios,
        line: markdown.lines[section.heading].number,
        span,
    })
}

/// Adds the scenarios of a separate section to the story before it, as in the template of 2025: `### Primary User Story`, then
/// `### Acceptance Scenarios`.
pub(super) fn adopt(markdown: &Markdown, stories: &mut [UserStory]) {
    for section in markdown.sections.iter().filter(|s| accepts(&s.title)) {
        let start = markdown.lines[section.heading].span.start;
        let Some(before) = stories.partition_point(|story| story.span.start < start).checked_sub(1) else { continue };
        let story = &mut stories[before];
        if !story.span.contains(start) && story.scenarios.is_empty() {
            story.scenarios = items(markdown, section.heading + 1..section.end, true, &story.key);
        }
    }
}

fn accepts(text: &str) -> bool {
    let lower = text.trim().trim_matches(['#', '*', '_', ' ']).to_lowercase();
    ["acceptance", "验收", "受け入れ", "cenários de aceita", "criterios de acepta"].iter().any(|w| lower.starts_with(w))
}

/// Returns the scenarios: list items with Given, When and Then, or with bold words of any language after an acceptance label.
fn scenarios(markdown: &Markdown, lines: Range<usize>, key: &StoryKey) -> Vec<Scenario> {
    let from = lines.clone().find(|i| accepts(markdown.text(*i)));
    items(markdown, from.unwrap_or(lines.start)..lines.end, from.is_some(), key)
}

fn items(markdown: &Markdown, lines: Range<usize>, announced: bool, key: &StoryKey) -> Vec<Scenario> {
    let items = markdown.items_in(lines);
    let depth = items.iter().map(|i| i.depth).min().unwrap_or_default();
    let mut found = Vec::new();
    for item in items.iter().filter(|i| i.depth == depth) {
        let Item { mut text, line, mut span } = markdown.item(item);
        let likely = announced && text.starts_with("**");
        let nested = item.own.end < item.span.end;
        if (nested || !likely) && !is_scenario(&text) {
            let whole = if nested { joined(strip_marker(markdown.clean(item.span))) } else { String::new() };
            if is_scenario(&whole) {
                // Given, When and Then as nested items.
                text = whole;
                span.end = item.span.start + markdown.clean(item.span).trim_end().len();
            } else if !(likely || announced && given(&text.to_lowercase())) {
                continue;
            }
        }
        let number = found.len() + 1;
        found.push(Scenario { key: format!("{key}/AC{number}"), text, line, span });
    }
    found
}

const GIVEN: [&str; 7] = ["given", "假设", "给定", "假如", "前提", "dado", "étant donné"];

fn given(lower: &str) -> bool {
    GIVEN.iter().any(|word| lower.starts_with(word))
}

fn is_scenario(text: &str) -> bool {
    let lower = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    has(&GIVEN) && has(&["then", "那么", "则", "ならば", "então", "entonces", "alors"])
}
