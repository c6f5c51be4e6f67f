//! Helper functions for pieces of Markdown text.

use super::model::Span;

/// Returns the bold words at the beginning of a text, and the text after them.
pub(crate) fn bold(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let mark = ["**", "__"].into_iter().find(|m| text.starts_with(m))?;
    text[mark.len()..].split_once(mark)
}

/// Returns the label and the text of `**Label**: text`, `**Label:** text` or `__Label__: text`.
pub(crate) fn label(text: &str) -> Option<(&str, &str)> {
    let (label, rest) = bold(text)?;
    let (label, rest) = match label.trim_end().strip_suffix([':', '：']) {
        Some(label) => (label, rest),
        None => (label, rest.trim_start().strip_prefix([':', '：'])?),
    };
    Some((label.trim(), rest.trim_start()))
}

/// Returns the text after a label in `names`, also in the forms `**Label.** text` and `**Label** — text`. Only known names are accepted,
/// since any sentence may begin in bold.
pub(super) fn named<'a>(text: &'a str, names: &[&str]) -> Option<&'a str> {
    let known = |name: &str| {
        let lower = name.to_lowercase();
        // A translation can stand in brackets or behind a slash: `독립 테스트 (Independent Test)`.
        let mut parts = lower.split(['(', '（', '/']).map(|part| part.trim_end_matches([')', '）', ' ']).trim());
        names.contains(&lower.as_str()) || parts.any(|part| names.contains(&part))
    };
    if let Some((name, rest)) = label(text) {
        return known(name).then_some(rest);
    }
    let (name, rest) = bold(text)?;
    let dashed = rest.trim_start().strip_prefix(['—', '–', '-']);
    let rest = if name.ends_with('.') { Some(rest) } else { dashed };
    rest.filter(|_| known(name.trim_end_matches('.'))).map(str::trim_start)
}

/// Returns the labels of a line such as `**Version**: 1.0.0 | **Ratified**: 2026-01-31`, in lower case, with their values.
pub(crate) fn fields(line: &str) -> impl Iterator<Item = (String, &str)> {
    line.split('|').filter_map(|part| {
        let part = strip_marker(part.trim_start_matches(['>', ' ']));
        let (name, value) = label(part).or_else(|| part.split_once([':', '：']))?;
        Some((name.trim_matches(['*', '_', ' ']).to_lowercase(), value.trim()))
    })
}

/// Returns whether a line is a horizontal rule.
pub(crate) fn is_rule(text: &str) -> bool {
    let text = text.trim();
    let only = |mark: char| text.chars().all(|c| c == mark || c.is_whitespace());
    text.len() >= 3 && ['-', '*', '_'].into_iter().any(only)
}

/// A text between an opening and a closing bracket on one line.
pub(super) struct Enclosed<'a> {
    /// Offset of the opening bracket.
    pub(super) start: usize,
    pub(super) inner: &'a str,
    /// One past the closing bracket.
    pub(super) end: usize,
}

impl Enclosed<'_> {
    /// Returns whether the text has fewer than 200 characters.
    pub(super) fn is_short(&self) -> bool {
        const MAX: usize = 200;
        let bytes = self.inner.len();
        // A character has at most four bytes, so that few texts need to be counted.
        bytes < MAX || (bytes < 4 * MAX && self.inner.chars().count() < MAX)
    }
}

/// Returns the text between each `open` and the next `close` on its line.
pub(super) fn enclosed<'a>(text: &'a str, open: &'a str, close: u8) -> impl Iterator<Item = Enclosed<'a>> {
    let bytes = text.as_bytes();
    // The first `close` or line break at or after all brackets so far. It also is that of the next bracket before it, so that no byte is
    // searched twice, however many brackets are open.
    let mut next = 0;
    memchr::memmem::find_iter(bytes, open).filter_map(move |start| {
        let from = start + open.len();
        if next < from {
            let found = memchr::memchr2(close, b'\n', &bytes[from..]);
            next = found.map_or(bytes.len(), |found| from + found);
        }
        (bytes.get(next) == Some(&close)).then(|| Enclosed { start, inner: &text[from..next], end: next + 1 })
    })
}

/// Returns whether the text between square brackets is a placeholder of a template.
pub(super) fn is_placeholder(inner: &str) -> bool {
    /// Last words of states such as `[IN PROGRESS]` and `[HIGH PRIORITY]`.
    const STATES: [&str; 14] = [
        "PROGRESS",
        "PRIORITY",
        "CLARIFICATION",
        "DONE",
        "COMPLETE",
        "COMPLETED",
        "STARTED",
        "BLOCKED",
        "REVIEW",
        "DEFERRED",
        "NEGOTIABLE",
        "BREAKING",
        "SCOPE",
        "REQUIRED",
    ];
    let words = inner.trim_start();
    if words.starts_with("e.g., ") || words.starts_with("e.g. ") {
        return true;
    }
    // No other placeholder has a bracket in it. The check stops at the first bracket, and the next text begins there: this keeps the time for
    // many open brackets linear.
    if words.contains('[') {
        return false;
    }
    let words = words.trim_end();
    // `[1 SELECT]` counts something.
    let named = !words.starts_with(|c: char| c.is_ascii_digit())
        && words.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b' ' | b'-'))
        && words.contains(['_', ' '])
        && words.bytes().filter(u8::is_ascii_uppercase).count() >= 4;
    let known = [
        "###-feature-name",
        "FEATURE",
        "DATE",
        "Brief Title",
        "Entity 1",
        "Entity 2",
        "initial state",
        "action",
        "expected outcome",
    ];
    let state = words.rsplit([' ', '_', '-']).next().is_some_and(|last| STATES.contains(&last));
    (named && !state) || known.contains(&words)
}

/// Joins wrapped lines with single spaces.
pub(crate) fn joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut push = |piece: &str| {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(piece);
    };
    for line in text.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
        if is_single_spaced(line) { push(line) } else { line.split_whitespace().for_each(&mut push) }
    }
    joined
}

/// Returns whether all white space of a line is single spaces.
fn is_single_spaced(line: &str) -> bool {
    // The loop has no early exit, so that the compiler can process many bytes in one step.
    let control = line.bytes().fold(false, |found, byte| found | matches!(byte, b'\t'..=b'\r'));
    let plain = !control && memchr::memmem::find(line.as_bytes(), b"  ").is_none();
    plain && (line.is_ascii() || !line.contains(|c: char| !c.is_ascii() && c.is_whitespace()))
}

/// Returns the text after a list marker, or the text itself.
pub(crate) fn strip_marker(text: &str) -> &str {
    let text = text.trim_start();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = if digits > 0 && digits <= 9 {
        text[digits..].strip_prefix(['.', ')'])
    } else {
        text.strip_prefix(['-', '*', '+'])
    };
    match rest {
        Some(rest) if rest.starts_with([' ', '\t']) || rest.is_empty() => rest.trim_start(),
        _ => text,
    }
}

/// Returns the text of a heading line without its `#` marks.
pub(crate) fn heading_text(line: &str) -> String {
    let text = line.trim_start_matches('\u{feff}').trim().trim_start_matches('#').trim();
    let stripped = text.trim_end_matches('#');
    (if stripped.ends_with([' ', '\t']) { stripped.trim_end() } else { text }).to_owned()
}

/// Replaces the given ranges of `source` by spaces, except line breaks.
pub(super) fn blank(source: &str, mut ranges: Vec<Span>) -> String {
    ranges.sort_by_key(|r| r.start);
    let mut clean = String::with_capacity(source.len());
    for Span { start, end } in ranges {
        let start = start.max(clean.len());
        clean.push_str(&source[clean.len()..start]);
        let blanked = source[start..end.max(start)].bytes();
        clean.extend(blanked.map(|byte| if matches!(byte, b'\n' | b'\r') { char::from(byte) } else { ' ' }));
    }
    clean.push_str(&source[clean.len()..]);
    clean
}
