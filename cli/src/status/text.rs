//! Text that fits in columns. What comes from the cluster was written by others: it must not move the cursor.

use jiff::SignedDuration;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text on one line: every run of white space and control characters as one space.
pub fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// As much of the text as fits in so many columns, with `…` for what does not.
pub fn fit(text: &str, columns: usize) -> String {
    let text = one_line(text);
    if width(&text) <= columns {
        return text;
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or_default();
        if used > columns {
            break;
        }
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// The text with spaces up to so many columns.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
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
    }

    proptest! {
        #[test]
        fn a_text_fits(text in ".{0,60}", columns in 0usize..40) {
            prop_assert!(width(&fit(&text, columns)) <= columns);
        }
    }
}
