//! Truncation of texts to a maximum length in bytes.

/// Returns the beginning of `text`: at most `max_bytes` bytes, up to a character boundary.
pub fn truncated(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// Truncates `text` to at most `max_bytes` bytes, at a character boundary.
pub fn truncate(text: &mut String, max_bytes: usize) {
    text.truncate(text.floor_char_boundary(max_bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters() {
        assert_eq!((truncated("über", 1), truncated("über", 2), truncated("über", 9)), ("", "ü", "über"));
        let mut text = "über".to_owned();
        truncate(&mut text, 3);
        assert_eq!(text, "üb");
    }
}
