//! Appendices: what an object adds to its document, so that people approve both and the record keeps both.
//!
//! An appendix is an HTML comment, which readers of the document do not see, with one line of JSON for each entry.

use serde::Serialize;

/// Last line of an appendix.
pub const END: &str = "-->\n";

/// Appends entries to a document, if there are any. `begin` is the first line of the appendix.
pub fn append<T: Serialize>(mut document: Vec<u8>, begin: &str, entries: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut entries = entries.into_iter().peekable();
    if entries.peek().is_none() {
        return document;
    }
    // Markdown starts an HTML comment after an empty line.
    while !document.ends_with(b"\n\n") {
        document.push(b'\n');
    }
    document.extend_from_slice(begin.as_bytes());
    for entry in entries {
        // `--` would end the comment.
        let line = serde_json::to_string(&entry).unwrap_or_default().replace("--", "-\\u002d");
        document.extend_from_slice(line.as_bytes());
        document.push(b'\n');
    }
    document.extend_from_slice(END.as_bytes());
    document
}

/// Returns a document without its appendices that begin with the line `begin`, and without this line where no appendix ends.
///
/// Authors can write them into a document. If one stayed, the document would look as if the object had added it, and an approval of the
/// rules of an object would count when the object does not have them any more.
pub fn without(document: &[u8], begin: &str) -> Vec<u8> {
    let lines = || document.split_inclusive(|byte| *byte == b'\n').enumerate();
    let last_end = lines().filter(|(_, line)| *line == END.as_bytes()).last().map(|(number, _)| number);
    let (mut kept, mut is_inside) = (Vec::with_capacity(document.len()), false);
    for (number, line) in lines() {
        if is_inside {
            is_inside = line != END.as_bytes();
        } else if line == begin.as_bytes() {
            is_inside = last_end.is_some_and(|last| number < last);
        } else {
            kept.extend_from_slice(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_appendix_is_left() {
        let begin = "<!-- a\n";
        for (text, expected) in [
            ("text", "text"),
            ("text\n<!-- a\n{}\n-->\n", "text\n"),
            ("one\n<!-- a\n{}\n-->\ntwo\n<!-- a\n-->\n<!-- a\n-->\n", "one\ntwo\n"),
            ("one\n<!-- a\n<!-- a\n-->\ntwo\n-->\n", "one\ntwo\n-->\n"),
            ("one\n-->\n<!-- a\n{}\n", "one\n-->\n{}\n"),
            ("one <!-- a\n<!-- b\n-->\n", "one <!-- a\n<!-- b\n-->\n"),
        ] {
            assert_eq!(without(text.as_bytes(), begin), expected.as_bytes(), "{text:?}");
        }
    }
}
