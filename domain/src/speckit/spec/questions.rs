//! Answered questions, and markers of open questions.

use super::model::Clarification;
use crate::speckit::markdown::{Item, Markdown, Section, Span, joined, strip_marker};

const MARKER: &str = "NEEDS CLARIFICATION";

/// Maximum length of the question in a marker, in bytes.
pub(crate) const MAX_QUESTION_BYTES: usize = 4_096;

/// Returns every `[NEEDS CLARIFICATION: …]` in the content; mentions of the marker in inline code or without a question are not markers.
pub(crate) fn open(markdown: &Markdown) -> Vec<Item> {
    let whole = Span { start: 0, end: markdown.source.len() };
    let text = markdown.clean(whole);
    let mut found = Vec::new();
    for (at, _) in text.match_indices(MARKER) {
        let opened = text[..at].trim_end_matches(['*', ' ', '_']);
        let Some(start) = opened.strip_suffix('[').map(str::len) else {
            continue;
        };
        let rest = text[at + MARKER.len()..].trim_start_matches(['*', '_']);
        if let Some(question) = bare(markdown, start, rest) {
            let end = text.len() - rest.len() + 1;
            found.push(Item { text: question, line: markdown.line_number(start), span: Span { start, end } });
            continue;
        }
        let Some(question) =
            rest.strip_prefix([':', '：']).or_else(|| rest.strip_prefix(" -")).or_else(|| rest.strip_prefix(" —"))
        else {
            continue;
        };
        let Some(len) = closing(question) else { continue };
        let asked = question[..len].trim();
        // The template explains the marker with `[NEEDS CLARIFICATION: specific question]` and `[NEEDS CLARIFICATION: ...]`.
        if markdown.in_code_span(at)
            || !asked.contains(char::is_alphanumeric)
            || asked.eq_ignore_ascii_case("specific question")
        {
            continue;
        }
        let end = text.len() - question.len() + len + 1;
        let line = markdown.line_number(start);
        found.push(Item { text: joined(&question[..len]), line, span: Span { start, end } });
    }
    found
}

/// Returns the question of a marker without one, `[NEEDS CLARIFICATION]` at the end of a line: the text before it. Other mentions of the
/// marker are about the method.
fn bare(markdown: &Markdown, start: usize, rest: &str) -> Option<String> {
    let after = rest.strip_prefix(']')?;
    let ends = after.lines().next().is_none_or(|tail| tail.trim_matches(['.', '*', '_', ' ', '\r']).is_empty());
    let line = markdown.lines.get(markdown.line_index(start))?.span;
    let before = markdown.clean(Span { start: line.start, end: start });
    let question = joined(strip_marker(before)).trim_end_matches(['*', '_', ' ', '-', '–', '—', ':']).to_owned();
    (ends && !markdown.in_code_span(start) && question.chars().filter(|c| c.is_alphanumeric()).count() > 7)
        .then_some(question)
}

/// Maximum depth of brackets in a marker.
const MAX_DEPTH: u32 = 8;

/// Returns the length of the text up to the bracket that closes the marker, which may be some lines further down.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            // Nobody nests brackets this deep. Without a limit, a row of markers would be searched once for each.
            '[' if depth == MAX_DEPTH => return None,
            '[' => depth += 1,
            ']' if depth == 0 => return Some(at),
            ']' => depth -= 1,
            // A blank line ends the paragraph and therefore the marker.
            '\n' if text[at + 1..].trim_start_matches(['\r', ' ', '\t']).starts_with('\n') => return None,
            _ if at > MAX_QUESTION_BYTES => return None,
            _ => {}
        }
    }
    None
}

/// Returns the sections with answers, without those that are part of another one.
pub(crate) fn clarifications(markdown: &Markdown) -> impl Iterator<Item = &Section> {
    let mut end = 0;
    markdown.sections.iter().filter(move |section| {
        let title = section.title.to_lowercase();
        let title = title.trim_start_matches(|c: char| !c.is_alphanumeric());
        let holds = [
            "clarification",
            "澄清",
            "esclarecimentos",
            "aclaraciones",
            "clarificaciones",
            "klärungen",
            "chiarimenti",
            "уточнения",
            "明確化",
            "명확화",
        ]
        .iter()
        .any(|word| title.starts_with(word));
        let outermost = holds && section.heading >= end;
        if outermost {
            end = section.end;
        }
        outermost
    })
}

/// Returns a section and all sections below it.
pub(crate) fn parts<'a>(markdown: &'a Markdown, section: &Section) -> impl Iterator<Item = &'a Section> {
    let from = markdown.sections.partition_point(|s| s.heading < section.heading);
    let end = section.end;
    markdown.sections[from..].iter().take_while(move |s| s.heading < end)
}

/// Returns the answers below `## Clarifications` headings, each with the date of the nearest session heading.
pub(crate) fn answered(markdown: &Markdown) -> Vec<Clarification> {
    let mut found = Vec::new();
    for part in clarifications(markdown).flat_map(|section| parts(markdown, section)) {
        let date = date_in(&part.title);
        // CommonMark assigns an indented heading to the item above it, which authors do not intend.
        let part_end = markdown.lines.get(part.own_end).map_or(markdown.source.len(), |l| l.span.start);
        for item in markdown.items_in(part.heading + 1..part.own_end) {
            let own = strip_marker(markdown.clean(item.own)).trim_start_matches(['*', '_']);
            if !own.starts_with(['Q', '问']) {
                continue;
            }
            let whole = Span { start: item.span.start, end: item.span.end.min(part_end) };
            let text = joined(strip_marker(markdown.clean(whole)));
            let plain = text.trim_start_matches(['*', '_']);
            let Some(question) = plain.strip_prefix('Q').or_else(|| plain.strip_prefix("问")) else {
                continue;
            };
            let question = question.trim_start_matches(|c: char| c.is_ascii_digit());
            let question = question.trim_start_matches(['*', '_']);
            let Some(question) = question.strip_prefix([':', '：']) else {
                continue;
            };
            let (question, answer) = split_answer(question.trim_start_matches(['*', '_']));
            let span = Span { start: whole.start, end: whole.start + markdown.clean(whole).trim_end().len() };
            let line = markdown.line_number(item.span.start);
            found.push(Clarification { question, answer, session: date.clone(), line, span });
        }
    }
    found
}

/// Returns the question and answer of `Which way? → A: Inwards`.
pub(crate) fn split_answer(text: &str) -> (String, String) {
    const ARROWS: [&str; 7] = ["→ A:", "-> A:", "→ **A**:", "→ **A:**", "-> **A**:", "→", "->"];
    const MARKS: [&str; 6] = ["**A**:", "**A:**", " A:", " A：", "答：", "答:"];
    let clean = |t: &str| t.trim().trim_matches('*').trim().to_owned();
    for mark in ARROWS.iter().chain(&MARKS) {
        if let Some((question, answer)) = text.split_once(mark) {
            let answer = answer.trim_start();
            let answer = ["A:", "A：", "答：", "答:"].iter().find_map(|a| answer.strip_prefix(a)).unwrap_or(answer);
            return (clean(question.trim_end_matches(['-', '–', '—', ' '])), clean(answer));
        }
    }
    (clean(text), String::new())
}

/// Returns the first date of the form `YYYY-MM-DD` in a text.
pub(crate) fn date_in(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    (0..bytes.len()).find_map(|at| {
        let shape = (0..10).all(|i| if i == 4 || i == 7 { bytes.get(at + i) == Some(&b'-') } else { digit(at + i) });
        (shape && !digit(at + 10) && (at == 0 || !digit(at - 1))).then(|| text[at..at + 10].to_owned())
    })
}
