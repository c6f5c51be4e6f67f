//! Comments of a document that accept findings: `<!-- enact: accept CODE reason -->`.
//!
//! A comment beside text is about the list item, table row, heading or paragraph that contains this text. A comment on lines of its own is
//! about the next one. A comment in a code block or in inline code is text. `docs/reference/analysis.md` has the grammar.

use super::acceptance::Acceptance;
use crate::speckit::Span;
use crate::speckit::markdown::{self, LineKind, Markdown};
use crate::text::truncated;

/// Beginning of such a comment, after `<!--` and white space.
const PREFIX: &str = "enact:";

/// Maximum length of such a comment, in bytes. It bounds the search for its end.
const MAX_COMMENT_BYTES: usize = 2048;

/// Maximum number of lines of a paragraph before and after a comment that the comment is about. It bounds the search for the paragraph.
const MAX_PARAGRAPH_LINES: usize = 64;

/// The comments of a document that accept findings.
#[derive(Debug, Default)]
pub(super) struct Directives {
    pub(super) valid: Vec<Directive>,
    pub(super) invalid: Vec<InvalidDirective>,
}

/// A comment that accepts findings.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) acceptance: Acceptance,
    /// Line of the comment, from 1.
    pub(super) line: u32,
    /// First line that the comment is about, from 1.
    pub(super) about: u32,
}

/// A comment that begins like one that accepts findings, and does not.
#[derive(Debug)]
pub(super) struct InvalidDirective {
    /// Line of the comment, from 1.
    pub(super) line: u32,
    /// The text of the comment.
    pub(super) text: String,
    pub(super) problem: String,
}

/// Returns what the comments of a document accept.
pub fn acceptances(source: &str) -> Vec<Acceptance> {
    read(source).valid.into_iter().map(|directive| directive.acceptance).collect()
}

/// Reads the comments of a document that accept findings.
pub(super) fn read(source: &str) -> Directives {
    let mut found = Directives::default();
    // Nearly all documents have no such comment. They are not parsed a second time.
    if !source.contains(PREFIX) || !source.contains("<!--") {
        return found;
    }
    let Ok((markdown, _)) = markdown::read(source.as_bytes()) else { return found };
    let next = next_content(&markdown);
    let title = markdown.sections.iter().find(|section| section.level == 1).map_or(next[0], |section| section.heading);
    let mut at = 0;
    while let Some(start) = source[at..].find("<!--").map(|found| at + found) {
        at = start + "<!--".len();
        let body = truncated(&source[at..], MAX_COMMENT_BYTES);
        let end = body.find("-->").map(|length| at + length);
        if !body.trim_start().starts_with(PREFIX) {
            at = end.map_or(at, |end| end + "-->".len());
            continue;
        }
        let index = markdown.line_index(start);
        if matches!(markdown.lines[index].kind, LineKind::Verbatim | LineKind::Indented) || markdown.in_code_span(start)
        {
            continue;
        }
        let line = markdown.lines[index].number;
        let Some(end) = end else {
            let problem = format!("the comment does not end within {MAX_COMMENT_BYTES} bytes");
            found.invalid.push(InvalidDirective { line, text: truncated(body, 80).to_owned(), problem });
            continue;
        };
        let text = &source[at..end];
        let span = Span { start, end: end + "-->".len() };
        // The parser has blanked the comments. What it has not blanked is text, such as `\<!--`.
        if !markdown.clean(span).chars().all(char::is_whitespace) {
            continue;
        }
        at = span.end;
        match parse(text) {
            Ok((code, reason)) => {
                let target = target(&markdown, span, &next);
                let lines = block(&markdown, target);
                // At the title or above, the comment is also about the document as a whole.
                let acceptance = Acceptance::in_lines(code, reason, lines, target <= title);
                found.valid.push(Directive { acceptance, line, about: lines.0 });
            }
            Err(problem) => found.invalid.push(InvalidDirective { line, text: text.trim().to_owned(), problem }),
        }
    }
    found
}

/// Returns code and reason of the text of a comment.
///
/// # Errors
/// What is wrong with it.
fn parse(text: &str) -> Result<(&str, String), String> {
    let text = text.trim_start().strip_prefix(PREFIX).unwrap_or_default();
    let mut words = text.split_whitespace();
    match words.next() {
        Some("accept") => {}
        Some(other) => return Err(format!("`{PREFIX} {other}` is not known")),
        None => return Err(format!("`{PREFIX}` says nothing")),
    }
    let code = words.next().unwrap_or_default();
    if !code.starts_with(|c: char| c.is_ascii_uppercase()) || !code.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(format!("`{code}` is not the code of a finding, such as `VagueTime`"));
    }
    let reason = words.collect::<Vec<_>>().join(" ");
    if !reason.contains(char::is_alphanumeric) {
        return Err(format!("the acceptance of {code} has no reason"));
    }
    Ok((code, reason))
}

/// Returns for each line the first line from there on that has content, and the number of lines if there is none.
fn next_content(markdown: &Markdown) -> Vec<usize> {
    let mut next = vec![markdown.lines.len(); markdown.lines.len() + 1];
    for (index, line) in markdown.lines.iter().enumerate().rev() {
        next[index] = if line.kind == LineKind::Blank { next[index + 1] } else { index };
    }
    next
}

/// Returns the index of the line that a comment is about; the number of lines if nothing follows the comment.
fn target(markdown: &Markdown, comment: Span, next: &[usize]) -> usize {
    let (first, last) = (markdown.line_index(comment.start), markdown.line_index(comment.end - 1));
    let beside = [first, last].into_iter().find(|line| !markdown.text(*line).trim().is_empty());
    beside.unwrap_or_else(|| next[last + 1])
}

/// Returns the numbers of the first and last line of the list item or paragraph that contains the line with this index. A line of another
/// kind stands for itself.
fn block(markdown: &Markdown, line: usize) -> (u32, u32) {
    let is_text = |index: usize| markdown.lines.get(index).is_some_and(|line| line.kind == LineKind::Text);
    let (mut from, mut to) = (line, line);
    if is_text(line) {
        let text = markdown.text(line);
        let start = markdown.lines[line].span.start + (text.len() - text.trim_start().len());
        let before = markdown.items.partition_point(|item| item.span.start <= start);
        if let Some(item) = markdown.items[..before].last().filter(|item| item.own.contains(start)) {
            let end = item.own.start + markdown.clean(item.own).trim_end().len();
            from = markdown.line_index(item.own.start);
            to = markdown.line_index(end.saturating_sub(1).max(start));
        } else {
            let goes_on = |index: usize| is_text(index) && !begins(markdown.text(index));
            while from > line.saturating_sub(MAX_PARAGRAPH_LINES) && goes_on(from) && is_text(from - 1) {
                from -= 1;
            }
            while to < line + MAX_PARAGRAPH_LINES && goes_on(to + 1) {
                to += 1;
            }
        }
    }
    let number = |index: usize| markdown.lines.get(index).or(markdown.lines.last()).map_or(1, |line| line.number);
    (number(from), number(to))
}

/// Returns whether a line in a paragraph may begin something with a name of its own: a label, or an identifier.
fn begins(line: &str) -> bool {
    let line = line.trim_start();
    let word = line.split_whitespace().next().unwrap_or_default();
    line.starts_with(['*', '_', '-', '+', '>', '|']) || word.contains(|c: char| c.is_ascii_digit())
}
