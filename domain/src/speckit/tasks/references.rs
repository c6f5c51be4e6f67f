//! References in prose: tasks, phases and stories.

use crate::speckit::ids::{self, Forms, Mention, StoryKey};

/// A reference to tasks, a phase or a story in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    Tasks(Mention),
    /// A phase by its number as written.
    Phase(String),
    /// `Setup` or `Foundational`, in lower case.
    Named(&'static str),
    Story(StoryKey),
    /// The task whose text is parsed.
    Itself,
}

#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) what: Reference,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Returns every reference in `text`, in order.
pub(super) fn located(text: &str, forms: &Forms) -> Vec<Located> {
    let tasks = ids::mentions(text, forms).into_iter().map(|m| Located {
        start: m.start,
        end: m.end,
        what: Reference::Tasks(m),
    });
    let mut found: Vec<Located> = tasks.collect();
    let mut at = 0;
    while let Some(word) = next_word(text, at) {
        let groups = group_at(text, word);
        at = groups.last().map_or(word.1, |last| last.end.max(word.1));
        found.extend(groups);
    }
    found.sort_by_key(|l| l.start);
    found
}

/// Returns the next word from this position that may begin the name of a phase or story.
fn next_word(text: &str, from: usize) -> Option<(usize, usize)> {
    let initial = |b: &u8| matches!(b, b'P' | b'p' | b'S' | b's' | b'F' | b'U' | b'u');
    let mut at = from;
    loop {
        let start = at + text.as_bytes()[at..].iter().position(initial)?;
        if start == from || !text[..start].ends_with(char::is_alphanumeric) {
            let len = text[start..].find(|c: char| !c.is_alphanumeric());
            return Some((start, len.map_or(text.len(), |len| start + len)));
        }
        at = start + 1;
    }
}

/// Returns the phases or stories that the word at this position begins: `Phase 3`, `Phases 3-5`, `US1`, `User Story 2`, `Setup`.
fn group_at(text: &str, (start, end): (usize, usize)) -> Vec<Located> {
    let word = &text[start..end];
    let is = |names: [&str; 2]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    let named = |name| vec![Located { what: Reference::Named(name), start, end }];
    if is(["phase", "phases"]) {
        numbers(text, start, end, |n| Reference::Phase(n.to_owned()))
    } else if is(["story", "stories"]) {
        numbers(text, start, end, |n| Reference::Story(StoryKey::from_number(n)))
    } else if word.starts_with('S') && word.eq_ignore_ascii_case("setup") {
        named("setup")
    } else if word.starts_with('F') && is(["foundational", "foundation"]) {
        named("foundational")
    } else if word.as_bytes().get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"us")) {
        story_keys(text, start)
    } else {
        Vec::new()
    }
}

/// Returns the story whose key is at this position, or a range of stories.
fn story_keys(text: &str, start: usize) -> Vec<Located> {
    let end = start + key_len(text, start);
    let Some(key) = StoryKey::parse(&text[start..end]) else {
        return Vec::new();
    };
    let first = key.as_str().trim_start_matches("US").to_owned();
    let mut found = vec![Located { what: Reference::Story(key), start, end }];
    range_end(text, &first, end, &|n| Reference::Story(StoryKey::from_number(n)), &mut found);
    found
}

/// Returns the length of `US1`, `US-1` or `US1.5` at this position.
fn key_len(text: &str, start: usize) -> usize {
    let prefix = if text.as_bytes().get(start + 2) == Some(&b'-') { 3 } else { 2 };
    prefix + ids::story_number_len(text.get(start + prefix..).unwrap_or_default())
}

/// Returns the numbers after `Phase` or `User Stories`, which is the word at `start..end`: `3`, `3-5`, `1 and 2`, `1, 2`.
fn numbers(text: &str, start: usize, end: usize, make: impl Fn(&str) -> Reference) -> Vec<Located> {
    let mut found: Vec<Located> = Vec::new();
    let mut at = end;
    loop {
        let rest = &text[at..];
        let skipped = if found.is_empty() {
            rest.len() - rest.trim_start().len()
        } else {
            [", and ", ", ", " and ", "/", "+", " & "].iter().find(|s| rest.starts_with(**s)).map_or(0, |s| s.len())
        };
        let number = &rest[skipped..];
        let len = ids::story_number_len(number);
        if len == 0 || skipped == 0 {
            return found;
        }
        at += skipped + len;
        found.push(Located {
            what: make(&number[..len]),
            start: if found.is_empty() { start } else { at - len },
            end: at,
        });
        at = range_end(text, &number[..len], at, &make, &mut found);
    }
}

/// Adds the rest of a range such as `3-5`, whose first number ends at `at`, and returns the end of the range.
fn range_end(text: &str, first: &str, at: usize, make: &impl Fn(&str) -> Reference, found: &mut Vec<Located>) -> usize {
    let after = &text[at..];
    let Some(dash) = ["-", "–"].iter().find(|d| after.starts_with(**d)).map(|d| d.len()) else {
        return at;
    };
    let dash = dash + if after[dash..].starts_with("US") { 2 } else { 0 };
    let len = ids::story_number_len(&after[dash..]);
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), after[dash..dash + len].parse::<u16>()) else {
        return at;
    };
    if last.saturating_sub(first) > 50 {
        return at;
    }
    let end = at + dash + len;
    if let Some(first) = found.last_mut() {
        first.end = end;
    }
    found.extend((first + 1..=last).map(|n| Located { what: make(&n.to_string()), start: end, end }));
    end
}
