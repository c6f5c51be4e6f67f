//! User stories and their acceptance scenarios.

use std::ops::Range;

use super::model::{Scenario, UserStory};
use crate::speckit::ids::{self, StoryKey};
use crate::speckit::markdown::{Item, Markdown, Section, joined, strip_marker};
use crate::speckit::words;

/// Short forms at the beginning of the heading of a story, before its number.
const SHORT: [&str; 3] = ["us-", "us ", "us"];

/// Words beside a word for a story, if the document has one story without a number.
const PRIMARY: [&str; 15] = [
    "primary",
    "main",
    "principal",
    "principale",
    "haupt",
    "primär",
    "primaria",
    "primária",
    "основн",
    "главн",
    "主要",
    "主な",
    "メイン",
    "기본",
    "주요",
];

/// Returns the parts of a story heading: key, title, priority.
pub(super) fn heading(title: &str) -> Option<(StoryKey, String, Option<String>)> {
    let plain = title.trim_start_matches(|c: char| !c.is_alphanumeric());
    // `[P1] US1: …` has the priority first.
    let priority = |text: &str| matches!(text.as_bytes(), [b'P' | b'p', digit] if digit.is_ascii_digit());
    let first = plain.split_once(']').filter(|(inner, _)| priority(inner));
    let moved = first.map(|(inner, rest)| format!("{} ({inner})", rest.trim()));
    let plain = moved.as_deref().unwrap_or(plain);
    let lower = plain.to_lowercase();
    if is_primary(&lower) {
        let name = if lower.starts_with("primary user story") { "Primary User Story" } else { plain };
        return Some((StoryKey::from_number("1"), name.to_owned(), None));
    }
    let (key, rest) = numbered(plain)?;
    let (title, priority) = split_priority(rest.trim_start_matches(is_joint));
    Some((key, title, priority))
}

/// Returns the key of a story and the text behind it, if a text begins with one: `User Story 1 - …`, `US-1: …`.
pub(super) fn numbered(plain: &str) -> Option<(StoryKey, &str)> {
    let lower = plain.to_lowercase();
    let after = words::after_story(&lower).or_else(|| SHORT.iter().find_map(|short| lower.strip_prefix(short)))?;
    let rest = plain.get(plain.len().checked_sub(after.len())?..)?.trim_start_matches([' ', '#', '　']);
    let len = ids::story_number_len(rest);
    if len > 0 {
        return Some((StoryKey::from_number(&rest[..len]), &rest[len..]));
    }
    // `US-F01` has the letter of its area before the number.
    let letter = lower.starts_with("us-") && rest.starts_with(|c: char| c.is_ascii_uppercase());
    let len = ids::story_number_len(rest.get(1..).filter(|_| letter)?);
    (len > 1).then(|| (StoryKey::from_number(&format!("-{}", &rest[..=len])), &rest[len + 1..]))
}

/// Returns whether a character can be between the number of a story and its title.
pub(super) fn is_joint(c: char) -> bool {
    c.is_whitespace() || ":：-–—.、)]".contains(c)
}

/// Returns whether a heading in lower case names the only story: `Primary User Story`, `主要使用者故事`.
pub(super) fn is_primary(lower: &str) -> bool {
    let short = lower.chars().count() <= 40 && !lower.contains(|c: char| c.is_ascii_digit());
    let story = || words::STORY.iter().filter(|word| word.len() > 5).any(|word| lower.contains(word));
    short && story() && PRIMARY.iter().any(|word| words::contains(lower, word))
}

/// Splits `Title (Priority: P1) 🎯` into title and priority; the brackets may be full-width.
pub(super) fn split_priority(text: &str) -> (String, Option<String>) {
    for (open, _) in text.match_indices(['(', '（', '[', '【']).rev().take(4) {
        let inner = text[open..].trim_start_matches(['(', '（', '[', '【']);
        let inner = inner.split([')', '）', ']', '】']).next().unwrap_or_default();
        let value = inner.rsplit([':', '：']).next().unwrap_or_default().trim();
        let value = value.split([',', ' ', '，']).next().unwrap_or_default();
        if value
            .strip_prefix(['P', 'p'])
            .is_some_and(|n| !n.is_empty() && n.len() < 4 && n.bytes().all(|b| b.is_ascii_digit()))
        {
            let title = text[..open].trim();
            // `US1 (P1): Title`
            let behind = text[open..].split_once([')', '）', ']', '】']).map_or("", |(_, behind)| behind);
            let title = if title.is_empty() { behind.trim_matches(is_joint) } else { title };
            return (title.to_owned(), Some(value.to_uppercase()));
        }
    }
    (text.trim().to_owned(), None)
}

/// Reads the story under a heading.
pub(super) fn read(markdown: &Markdown, section: &Section) -> Option<UserStory> {
    Some(story(markdown, heading(&section.title)?, section.heading..section.end))
}

/// Returns the story with this key, title and priority in these lines, the first of which names it.
pub(super) fn story(
    markdown: &Markdown,
    (key, title, mut priority): (StoryKey, String, Option<String>),
    whole: Range<usize>,
) -> UserStory {
    let lines = whole.start + 1..whole.end;
    if priority.is_none() {
        priority = markdown
            .labelled(
                lines.clone(),
                &[
                    "priority",
                    "优先级",
                    "優先順序",
                    "優先度",
                    "우선순위",
                    "priorité",
                    "priorität",
                    "prioridad",
                    "prioridade",
                    "priorità",
                    "приоритет",
                ],
            )
            .map(|i| i.text)
            .filter(|t| t.len() < 16);
    }
    let independent_test = markdown.labelled(lines.clone(), &words::INDEPENDENT_TEST);
    let scenarios = scenarios(markdown, lines, &key);
    let line = markdown.lines[whole.start].number;
    let span = markdown.span_of(whole);
    UserStory { key, numbered: true, title, priority, independent_test, scenarios, line, span }
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

/// Beginnings of the headings and labels of scenarios.
const ACCEPTANCE: [&str; 20] = [
    "سيناريوهات القبول",
    "acceptance",
    "scenarios",
    "验收",
    "驗收",
    "受け入れ",
    "受入",
    "cenários de aceita",
    "critérios de aceita",
    "criterios de acepta",
    "escenarios de acepta",
    "scénarios d'accept",
    "critères d'accept",
    "akzeptanz",
    "abnahme",
    "scenari di accett",
    "criteri di accett",
    "сценарии приём",
    "критерии приём",
    "인수",
];

pub(super) fn accepts(text: &str) -> bool {
    let lower = text.trim().trim_matches(['#', '*', '_', ' ']).to_lowercase();
    ACCEPTANCE.iter().any(|word| lower.starts_with(word))
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
            } else if !(likely || announced && given(&text.to_lowercase().replace(['*', '_'], ""))) {
                continue;
            }
        }
        let number = found.len() + 1;
        found.push(Scenario { key: format!("{key}/AC{number}"), text, line, span });
    }
    found
}

const GIVEN: [&str; 20] = [
    "نظرا",
    "given",
    "假设",
    "假設",
    "给定",
    "給定",
    "假如",
    "前提",
    "dado",
    "dada",
    "étant donné",
    "soit ",
    "angenommen",
    "gegeben",
    "dato ",
    "data ",
    "дано",
    "допустим",
    "주어진",
    "주어졌",
];

const THEN: [&str; 17] = [
    "إذن",
    "then",
    "那么",
    "那麼",
    "则",
    "則",
    "ならば",
    "その時",
    "então",
    "entonces",
    "alors",
    "dann",
    "allora",
    "тогда",
    "то ",
    "그러면",
    "그때",
];

fn given(lower: &str) -> bool {
    GIVEN.iter().any(|word| lower.starts_with(word))
}

fn is_scenario(text: &str) -> bool {
    let lower = text.to_lowercase().replace(['*', '_'], "");
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    has(&GIVEN) && has(&THEN)
}
