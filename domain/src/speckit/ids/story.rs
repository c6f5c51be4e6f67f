//! Names that documents give to user stories.

use std::fmt;

use serde::{Serialize, Serializer};

use super::digits;

/// Key of a user story: `US1`, `US1.5`, `US5a`, `US-shared`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoryKey(String);

impl StoryKey {
    /// Returns the key of the story with this number as the heading writes it (`1`, `1.5`, `5a`).
    pub(in crate::speckit) fn from_number(number: &str) -> Self {
        Self(["US", number].concat())
    }

    /// Parses a key that is the whole text: `US`, then a number or a hyphen and a word. `US-1` is `US1`.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("US").or_else(|| text.strip_prefix("us"))?;
        let rest = match rest.strip_prefix('-') {
            Some(number) if number.starts_with(|c: char| c.is_ascii_digit()) => number,
            _ => rest,
        };
        let (head, tail) = (rest.chars().next()?, &rest[rest.chars().next()?.len_utf8()..]);
        let valid = match head {
            '0'..='9' => story_number_len(rest) == rest.len(),
            '-' => !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            _ => false,
        };
        valid.then(|| Self::from_number(rest))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for StoryKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Returns the length of the number of a story or phase at the start of `text`: digits, more after dots or before a zero after a hyphen, at
/// most one letter. `US-013-02` is the second story of feature 013.
pub(in crate::speckit) fn story_number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut len = digits(bytes);
    if len == 0 || len > 9 {
        return 0;
    }
    while bytes.get(len) == Some(&b'.') && digits(&bytes[len + 1..]) > 0 {
        len += 1 + digits(&bytes[len + 1..]);
    }
    if bytes[len..].starts_with(b"-0") && digits(&bytes[len + 1..]) > 1 {
        len += 1 + digits(&bytes[len + 1..]);
    }
    if bytes.get(len).is_some_and(u8::is_ascii_alphabetic) && !bytes.get(len + 1).is_some_and(u8::is_ascii_alphanumeric)
    {
        len += 1;
    }
    len
}
