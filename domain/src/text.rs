//! Truncation of texts to a maximum length in bytes, and their line ends.

/// Returns the beginning of `text`: at most `max_bytes` bytes, up to a character boundary.
pub fn truncated(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// Truncates `text` to at most `max_bytes` bytes, at a character boundary.
pub fn truncate(text: &mut String, max_bytes: usize) {
    text.truncate(text.floor_char_boundary(max_bytes));
}

/// Returns a script with the line ends of Unix: a shell takes the other character of a Windows line end for a part of the last word.
pub fn unix_lines(script: &str) -> String {
    script.replace("\r\n", "\n")
}

/// Returns whether a script has line ends of Windows.
pub fn has_windows_lines(script: &str) -> bool {
    script.contains("\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_those_of_unix() {
        assert!(has_windows_lines("a\r\n") && !has_windows_lines("a\r b\n"));
        assert_eq!(unix_lines("echo hi > a\r\necho \r > b\n\r\n"), "echo hi > a\necho \r > b\n\n");
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!((truncated("über", 1), truncated("über", 2), truncated("über", 9)), ("", "ü", "über"));
        let mut text = "über".to_owned();
        truncate(&mut text, 3);
        assert_eq!(text, "üb");
    }
}
