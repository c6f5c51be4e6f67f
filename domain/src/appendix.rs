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
