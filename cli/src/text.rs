//! Untrusted text for a terminal. It must not move the cursor, hide other text, or exceed its columns.

use enact_crds::common::Budget;
use enact_domain::text::is_terminal_control;
pub use enact_domain::text::{one_line, safe};
use jiff::SignedDuration;
use unicode_width::UnicodeWidthStr as _;

/// Returns all problems in one text.
pub fn problems<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Returns the width of a text in columns.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Cuts the text to a number of columns and marks the cut with `…`. Spaces stay unchanged.
pub fn cut(text: &str, columns: usize) -> String {
    let text = text.replace(is_terminal_control, " ");
    if width(&text) <= columns {
        return text;
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        // Measure the whole text: the width of joined characters is not the sum of their widths.
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

/// Puts the text on one line and cuts it to a number of columns.
pub fn fit(text: &str, columns: usize) -> String {
    cut(&one_line(text), columns)
}

/// Pads the text with spaces to a number of columns.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Pads the cells of a table to the widest cell of each column, plus two spaces. The last column is not padded.
pub fn align(rows: &mut [Vec<String>]) {
    let columns = rows.iter().map(Vec::len).min().unwrap_or_default();
    for column in 0..columns.saturating_sub(1) {
        let widest = rows.iter().map(|row| width(&row[column])).max().unwrap_or_default();
        for row in rows.iter_mut() {
            row[column] = pad(&row[column], widest + 2);
        }
    }
}

/// Returns the rows of a table as lines, with aligned columns.
pub fn aligned(mut rows: Vec<Vec<String>>) -> Vec<String> {
    align(&mut rows);
    rows.iter().map(|row| row.concat().trim_end().to_owned()).collect()
}

/// Formats a budget or an amount of usage: `12.50 USD and 1000 tokens`.
pub fn amount(budget: &Budget) -> String {
    let usd = budget.usd.as_ref().map(|usd| format!("{} USD", one_line(usd)));
    let tokens = budget.tokens.map(|tokens| format!("{tokens} tokens"));
    usd.into_iter().chain(tokens).collect::<Vec<_>>().join(" and ")
}

/// Lists the first `most` names and the number of the others.
pub fn some(names: &[&str], most: usize) -> String {
    let shown = names[..names.len().min(most)].join(", ");
    if names.len() > most { format!("{shown} and {} more", names.len() - most) } else { shown }
}

/// Formats a duration: `12s`, `1m05s`, `2h05m`, `3d04h`.
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

/// A filter that makes a stream of bytes safe for a terminal. The result does not depend on the chunks.
#[derive(Debug, Default)]
pub struct LogFilter {
    /// The start of a character whose end is in the next chunk.
    rest: Vec<u8>,
    /// Whether the last character was a carriage return, which has already become a line end.
    returned: bool,
}

impl LogFilter {
    /// Returns the next chunk as text. A carriage return becomes a line end, so that each step of a progress bar is a line.
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
            // The rest of the character may be in the next chunk. Invalid bytes before the end of this chunk cannot become valid.
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
            c if is_terminal_control(c) => text.push('\u{fffd}'),
            c => text.push(c),
        }
    }
}

/// Returns whether the bytes are the start of a character.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn formats_durations() {
        let shown = [-5, 0, 59, 65, 7500, 273_600].map(|seconds| elapsed(SignedDuration::from_secs(seconds)));
        assert_eq!(shown, ["0s", "0s", "59s", "1m05s", "2h05m", "3d04h"]);
    }

    #[test]
    fn removes_terminal_control_characters() {
        assert_eq!(fit("a\u{1b}[2Jb\r\nc", 20), "a [2Jb c");
        assert_eq!(fit("🎯🎯🎯", 5), "🎯🎯…");
        assert_eq!(cut("a  b\u{202e}c", 9), "a  b c");
    }

    #[test]
    fn lists_the_first_names() {
        assert_eq!(some(&["a", "b"], 2), "a, b");
        assert_eq!(some(&["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!(some(&[], 2), "");
    }

    #[test]
    fn log_filter_removes_control_characters() {
        let mut filter = LogFilter::default();
        assert_eq!(
            filter.push(b"ok\x1b]0;title\x07\r\n 10%\r 20%\xff\xc3"),
            "ok\u{fffd}]0;title\u{fffd}\n 10%\n 20%\u{fffd}"
        );
        assert_eq!(filter.push(b"\xa9\n"), "é\n");
    }

    proptest! {
        #[test]
        fn cut_text_fits(text in ".{0,60}", columns in 0usize..40) {
            prop_assert!(width(&fit(&text, columns)) <= columns);
            prop_assert!(width(&cut(&text, columns)) <= columns);
        }

        #[test]
        fn log_filter_does_not_depend_on_chunks(text in "\\PC{0,20}[\r\n\u{1b}é🎯]{0,10}", at in 0usize..40) {
            let bytes = text.as_bytes();
            let (one, two) = bytes.split_at(at.min(bytes.len()));
            let mut filter = LogFilter::default();
            let whole = filter.push(one) + &filter.push(two);
            prop_assert_eq!(&whole, &LogFilter::default().push(bytes));
            prop_assert!(!whole.contains(|c| is_terminal_control(c) && c != '\n'));
        }
    }
}
