//! Escapes text from users for a Markdown document.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::speckit::markdown::{self, strip_marker};
use crate::speckit::spec::identifiers;

/// Returns the text on one line, without control and bidirectional characters, and with comments and markers of open questions escaped.
pub(super) fn one_line(text: &str) -> String {
    const INVISIBLE: [char; 15] = [
        '\u{200b}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2060}',
        '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}', '\u{061c}', '\u{feff}',
    ];
    let visible = text.chars().filter(|c| !INVISIBLE.contains(c));
    let spaced: String = visible.map(|c| if c.is_control() { ' ' } else { c }).collect();
    markdown::joined(&spaced)
        .replace("<!--", "&lt;!--")
        .replace("-->", "--&gt;")
        .replace("NEEDS CLARIFICATION", "needs clarification")
}

/// Returns the question for the line of an answer, without the separator between question and answer.
pub(super) fn question(text: &str) -> String {
    one_line(text).replace("→ A:", "-> A:")
}

/// Returns the normalised form of a question, which is equal for different spellings.
pub(super) fn key(text: &str) -> String {
    question(text).trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

/// Returns one line as part of a sentence: `begins` means that there is no text before it, `in_table` that it is in a cell of a table.
pub(super) fn inline(line: &str, begins: bool, in_table: bool) -> String {
    let mut text = line.to_owned();
    let within = format!("a {line}");
    let stray = Parser::new(&within).any(|event| matches!(event, Event::Text(text) if text.contains('`')));
    if stray {
        // A stray backtick would pair with a later one, and turn the text between them into code.
        text = text.replace('`', "\\`");
    }
    if in_table {
        text = text.replace('|', "\\|");
    }
    if begins
        && !is_prose(&text)
        && let Some(at) = text.find(|c: char| c.is_ascii_punctuation())
    {
        text.insert(at, '\\');
    }
    text
}

/// Returns whether the text is an ordinary paragraph if a paragraph, an item or a cell begins with it, and not a heading, list, fence,
/// label or definition.
fn is_prose(text: &str) -> bool {
    let mut events = Parser::new_ext(text, Options::ENABLE_TABLES);
    let paragraph = matches!(events.next(), Some(Event::Start(Tag::Paragraph)))
        && matches!(events.last(), Some(Event::End(TagEnd::Paragraph)));
    let underline = text.bytes().all(|b| matches!(b, b'=' | b'-' | b'|' | b':' | b' '));
    let boxed = text.starts_with('[') && text.chars().nth(2) == Some(']') || strip_marker(text).len() < text.len();
    paragraph && !underline && !boxed && markdown::label(text).is_none() && identifiers::definition(text).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_visible_line() {
        assert_eq!(one_line(" a\r\n# b\t\u{7}c\u{2028}d\u{202e}e "), "a # b c de");
        assert_eq!(one_line("a <!-- b --> c"), "a &lt;!-- b --&gt; c");
        assert_eq!(one_line("[NEEDS\n CLARIFICATION: x]"), "[needs clarification: x]");
    }

    #[test]
    fn markup_at_the_start_of_a_text_is_escaped() {
        for (text, escaped) in [
            ("# a", "\\# a"),
            ("- a", "\\- a"),
            ("1. a", "1\\. a"),
            ("```", "\\`\\`\\`"),
            ("~~~", "\\~~~"),
            ("> a", "\\> a"),
            ("===", "\\==="),
            ("|-|", "\\|-|"),
            ("[x] a", "\\[x] a"),
            ("<div>", "\\<div>"),
            ("**Checkpoint**: a", "\\**Checkpoint**: a"),
            ("FR-009: a", "FR\\-009: a"),
        ] {
            assert_eq!(inline(text, true, false), escaped);
        }
        for text in ["Yes. `Vec<u8>`", "[see](a.md) there", "**very** much", "3 of 4", "#4", "-5 °C"] {
            assert_eq!(inline(text, true, false), text);
        }
        assert_eq!(inline("# a", false, false), "# a");
        assert_eq!(inline("a|b", false, true), "a\\|b");
        assert_eq!(inline("a`b", false, false), "a\\`b");
    }
}
