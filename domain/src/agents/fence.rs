//! Untrusted text in a prompt.

use std::fmt::Write as _;

use crate::text::truncated;

/// Writes a text of at most `max_bytes` bytes between two fences, which the text does not contain. The line before the fence says what the
/// text is.
pub(crate) fn write(prompt: &mut String, what: &str, text: &str, max_bytes: usize) {
    let text = clean(truncated(text.trim(), max_bytes), text.trim().len() > max_bytes);
    let fence = fence(&text);
    let _ = write!(prompt, "{fence}text {what}\n{text}\n{fence}\n");
}

/// Returns a row of backticks that is longer than each one in the text.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    "`".repeat(longest.max(2) + 1)
}

/// Removes control characters and characters that nobody sees: a text could hide instructions from the person who reviewed it.
fn clean(text: &str, cut: bool) -> String {
    let visible = |c: &char| {
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        !hidden && (!c.is_control() || matches!(c, '\n' | '\t'))
    };
    let mut kept: String = text.chars().filter(visible).collect();
    if cut {
        kept.push_str("\n(the rest is left out because it is too long)");
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hidden_characters_are_removed() {
        let mut prompt = String::new();
        write(&mut prompt, "x", "a\u{200b}b\r\n\u{e0041}c\u{7}", 100);
        assert_eq!(prompt, "```text x\nab\nc\n```\n");
    }

    proptest! {
        #[test]
        fn text_cannot_close_its_fence(text in "[`a\n ~]{0,60}", max in 0usize..80) {
            let mut prompt = String::new();
            write(&mut prompt, "data", &text, max);
            let fence: String = prompt.chars().take_while(|c| *c == '`').collect();
            let lines: Vec<&str> = prompt.lines().collect();
            let closing = lines.iter().skip(1).filter(|line| line.trim_start().starts_with(&fence)).count();
            prop_assert_eq!(closing, 1);
            prop_assert_eq!(*lines.last().unwrap(), fence.as_str());
        }
    }
}
