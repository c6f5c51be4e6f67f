//! Text that others wrote, made fit for a terminal: it must not move the cursor, hide what stands beside it, or run over its columns.

use std::borrow::Cow;

use jiff::SignedDuration;
use unicode_width::UnicodeWidthStr as _;

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Whether a terminal would obey this character instead of showing it: control characters, and those that change the direction of writing.
fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with `�` for every character that a terminal would obey, but for ends of lines and tabs.
pub fn safe(text: &str) -> Cow<'_, str> {
    let obeyed = |c| is_command(c) && !matches!(c, '\n' | '\t');
    if text.contains(obeyed) { Cow::Owned(text.replace(obeyed, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The text on one line: every run of white space and of what a terminal would obey as one space.
pub fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || is_command(c)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// As much of the text as fits in so many columns, with `…` for what does not. Spaces stay as they are.
pub fn cut(text: &str, columns: usize) -> String {
    let text = text.replace(is_command, " ");
    if width(&text) <= columns {
        return text;
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        // The whole is measured: characters that join, or ask for a wide form, are not the sum of their parts.
        if width(&kept) + 1 > columns {
            kept.pop();
            break;
        }
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// The text on one line, as far as it fits in so many columns.
pub fn fit(text: &str, columns: usize) -> String {
    cut(&one_line(text), columns)
}

/// The text with spaces up to so many columns.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The first few of many names, and how many more there are.
pub fn some(names: &[&str], most: usize) -> String {
    let shown = names[..names.len().min(most)].join(", ");
    if names.len() > most { format!("{shown} and {} more", names.len() - most) } else { shown }
}

/// A duration as people read it: `12s`, `1m05s`, `2h05m`, `3d04h`.
pub fn elapsed(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// Makes a stream of bytes fit for a terminal, however it is cut into chunks.
#[derive(Debug, Default)]
pub struct Sieve {
    /// The beginning of a character whose end is in the next chunk.
    rest: Vec<u8>,
    /// Whether the last character was a carriage return, shown as an end of line already.
    returned: bool,
}

impl Sieve {
    /// The next chunk as text. A progress bar, which goes back to the beginning of its line, becomes one line a step.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.rest);
        let mut text = String::with_capacity(held.len());
        let mut at = 0;
        for chunk in held.utf8_chunks() {
            chunk.valid().chars().for_each(|c| self.push_char(c, &mut text));
            at += chunk.valid().len();
            let wrong = chunk.invalid();
            if wrong.is_empty() {
                continue;
            }
            if at + wrong.len() == held.len() && is_beginning(wrong) {
                self.rest = wrong.to_vec();
            } else {
                text.push('\u{fffd}');
            }
            at += wrong.len();
        }
        text
    }

    fn push_char(&mut self, c: char, text: &mut String) {
        let after_return = std::mem::replace(&mut self.returned, c == '\r');
        match c {
            '\n' if after_return => {}
            '\r' => text.push('\n'),
            '\n' | '\t' => text.push(c),
            c if is_command(c) => text.push('\u{fffd}'),
            c => text.push(c),
        }
    }
}

/// Whether more bytes may make a character of these.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_short() {
        let shown = [-5, 0, 59, 65, 7500, 273_600].map(|seconds| elapsed(SignedDuration::from_secs(seconds)));
        assert_eq!(shown, ["0s", "0s", "59s", "1m05s", "2h05m", "3d04h"]);
    }

    #[test]
    fn what_others_wrote_does_not_move_the_cursor() {
        assert_eq!(fit("a\u{1b}[2Jb\r\nc", 20), "a [2Jb c");
        assert_eq!(fit("🎯🎯🎯", 5), "🎯🎯…");
        assert_eq!(cut("a  b\u{202e}c", 9), "a  b c");
        assert_eq!(safe("a\n\tb\u{9b}2J\u{7}"), "a\n\tb\u{fffd}2J\u{fffd}");
        assert_eq!(safe("plain"), "plain");
    }

    #[test]
    fn many_names_are_few() {
        assert_eq!(some(&["a", "b"], 2), "a, b");
        assert_eq!(some(&["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!(some(&[], 2), "");
    }

    #[test]
    fn a_log_is_shown_and_not_obeyed() {
        let mut sieve = Sieve::default();
        assert_eq!(
            sieve.push(b"ok\x1b]0;title\x07\r\n 10%\r 20%\xff\xc3"),
            "ok\u{fffd}]0;title\u{fffd}\n 10%\n 20%\u{fffd}"
        );
        assert_eq!(sieve.push(b"\xa9\n"), "é\n");
    }

    proptest! {
        #[test]
        fn a_text_fits(text in ".{0,60}", columns in 0usize..40) {
            prop_assert!(width(&fit(&text, columns)) <= columns);
            prop_assert!(width(&cut(&text, columns)) <= columns);
        }

        #[test]
        fn chunks_do_not_matter(text in "\\PC{0,20}[\r\n\u{1b}é🎯]{0,10}", at in 0usize..40) {
            let bytes = text.as_bytes();
            let (one, two) = bytes.split_at(at.min(bytes.len()));
            let mut sieve = Sieve::default();
            let whole = sieve.push(one) + &sieve.push(two);
            prop_assert_eq!(&whole, &Sieve::default().push(bytes));
            prop_assert!(!whole.contains(|c| is_command(c) && c != '\n'));
        }
    }
}
