//! Text of agents and Git, shortened for messages.

/// Returns the last lines of `text`, at most `limit` bytes, without white space at the ends.
pub(crate) fn last_lines(text: &str, limit: usize) -> &str {
    let text = text.trim();
    if text.len() <= limit {
        return text;
    }
    let tail = &text[text.ceil_char_boundary(text.len() - limit)..];
    // The cut is usually in the middle of a line. That line is dropped, unless it is the only one.
    tail.split_once('\n').map_or(tail, |(_, rest)| rest).trim_start()
}

/// Returns the text with every run of white space and control characters replaced by one space.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_whole() {
        assert_eq!(last_lines("one\ntwo\nthree\n", 8), "three");
        assert_eq!(last_lines("one\ntwo", 100), "one\ntwo");
        assert_eq!(last_lines("ääää", 3), "ä");
    }
}
