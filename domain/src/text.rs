//! Texts for people and scripts: truncation to a maximum length in bytes, removal of what controls a terminal, and line ends.

use std::borrow::Cow;

/// Returns the beginning of `text`: at most `max_bytes` bytes, up to a character boundary.
pub fn truncated(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// Truncates `text` to at most `max_bytes` bytes, at a character boundary.
pub fn truncate(text: &mut String, max_bytes: usize) {
    text.truncate(text.floor_char_boundary(max_bytes));
}

/// Returns a script with the line ends of Unix: a shell takes the other character of a Windows line end for a part of the last word. The
/// last line may have only that character, because tools remove the last line end of a text.
pub fn unix_lines(script: &str) -> String {
    script.strip_suffix('\r').unwrap_or(script).replace("\r\n", "\n")
}

/// Returns whether a script has line ends of Windows.
pub fn has_windows_lines(script: &str) -> bool {
    script.contains("\r\n") || script.ends_with('\r')
}

/// Returns whether the character controls a terminal: control characters and those that change the text direction.
pub fn is_terminal_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Makes a text from an agent, Git, the network or a user safe to show. A carriage return becomes a line end, other terminal control
/// characters become `�`. Line ends and tabs stay.
pub fn safe(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c| is_terminal_control(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n").replace(is_unsafe, "\u{fffd}"))
}

/// Replaces every run of white space and terminal control characters by one space.
pub fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || is_terminal_control(c)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Makes a message safe to show, and truncates it to at most `max_bytes` bytes.
pub fn message(text: impl Into<String>, max_bytes: usize) -> String {
    let text: String = text.into();
    let mut message = safe(&text).into_owned();
    truncate(&mut message, max_bytes);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_those_of_unix() {
        assert!(has_windows_lines("a\r\n") && !has_windows_lines("a\r b\n"));
        assert_eq!(unix_lines("echo hi > a\r\necho \r > b\n\r\n"), "echo hi > a\necho \r > b\n\n");
        assert!(has_windows_lines("echo hi > a\r"));
        assert_eq!(unix_lines("echo hi > a\r"), "echo hi > a");
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!((truncated("über", 1), truncated("über", 2), truncated("über", 9)), ("", "ü", "über"));
        let mut text = "über".to_owned();
        truncate(&mut text, 3);
        assert_eq!(text, "üb");
    }

    #[test]
    fn removes_terminal_control_characters() {
        assert_eq!(safe("a\n\tb\u{9b}2J\u{7}"), "a\n\tb\u{fffd}2J\u{fffd}");
        assert_eq!(safe("10%\r20%\r\n\u{1b}[31mred"), "10%\n20%\n\u{fffd}[31mred");
        assert!(matches!(safe("plain\ttext\n"), Cow::Borrowed(_)));
        assert_eq!(one_line(" a\u{1b}[2J\r\n b\u{202e}c "), "a [2J b c");
    }

    #[test]
    fn messages_are_safe_and_short() {
        assert_eq!(message("a\rb", 9), "a\nb");
        assert_eq!(message("\u{1b}ü", 4), "\u{fffd}", "the replacement counts too");
        assert_eq!(message("plain", 3), "pla");
    }
}
