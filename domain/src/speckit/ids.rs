//! Names that documents give to tasks and stories, and the scanner that finds them in prose.

use std::cmp::Ordering;
use std::fmt;

use serde::{Serialize, Serializer};

/// Identifier of a task as its document writes it: `T001`, `T001a`, `T035.1`.
///
/// The order is the natural one: by number, then by suffix, so that `T999` comes before `T1000`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskId(String);

impl TaskId {
    /// Parses an identifier that is the whole text; none for other texts.
    pub fn parse(text: &str) -> Option<Self> {
        let len = id_len(text)?;
        (len == text.len()).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the number after the `T`: 35 for `T035.1`.
    pub fn number(&self) -> u32 {
        self.split().0
    }

    fn split(&self) -> (u32, &str) {
        let digits = self.0[1..].bytes().take_while(u8::is_ascii_digit).count();
        (self.0[1..=digits].parse().unwrap_or(u32::MAX), &self.0[1 + digits..])
    }
}

impl Ord for TaskId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.split().cmp(&other.split()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for TaskId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Key of a user story: `US1`, `US1.5`, `US5a`, `US-shared`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoryKey(String);

impl StoryKey {
    /// Returns the key of the story with this number as the heading writes it (`1`, `1.5`, `5a`).
    pub(super) fn from_number(number: &str) -> Self {
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

/// Returns the length of the number of a story or phase at the start of `text`: digits, more after dots, at most one letter.
pub(super) fn story_number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut len = digits(bytes);
    if len == 0 || len > 9 {
        return 0;
    }
    while bytes.get(len) == Some(&b'.') && digits(&bytes[len + 1..]) > 0 {
        len += 1 + digits(&bytes[len + 1..]);
    }
    if bytes.get(len).is_some_and(u8::is_ascii_alphabetic) && !bytes.get(len + 1).is_some_and(u8::is_ascii_alphanumeric)
    {
        len += 1;
    }
    len
}

/// Returns the length of the task identifier at the start of `text`, if there is one: `T`, at least three digits, at most one letter and
/// dotted numbers after it, and then no further letter or digit.
pub(super) fn id_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'T') {
        return None;
    }
    let count = digits(&bytes[1..]);
    if !(3..=9).contains(&count) {
        return None;
    }
    let mut len = 1 + count;
    if bytes.get(len).is_some_and(u8::is_ascii_lowercase) {
        len += 1;
    }
    while bytes.get(len) == Some(&b'.') && digits(&bytes[len + 1..]) > 0 {
        len += 1 + digits(&bytes[len + 1..]);
    }
    match bytes.get(len) {
        Some(b) if b.is_ascii_alphanumeric() || *b == b'_' => None,
        _ => Some(len),
    }
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// One mention of tasks in prose: a single task or a closed range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) first: TaskId,
    /// Last task when the text names a range.
    pub(super) last: Option<TaskId>,
    /// Byte range in the scanned text.
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Mention {
    /// Returns whether the mention covers this task.
    pub(super) fn covers(&self, id: &TaskId) -> bool {
        match &self.last {
            None => self.first == *id,
            Some(last) => self.first <= *id && (id <= last || id.number() == last.number()),
        }
    }
}

/// Returns every mention of tasks in `text`, in order. `T016-T018`, `T016–18`, `T011..T015` and `T011 to T015` are ranges.
pub(super) fn mentions(text: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(offset) = text[at..].find('T') {
        let start = at + offset;
        let attached = text[..start].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        match (attached, id_len(&text[start..])) {
            (false, Some(len)) => {
                let mention = mention_at(text, start, len);
                at = mention.end;
                found.push(mention);
            }
            _ => at = start + 1,
        }
    }
    found
}

/// Returns the mention whose first identifier lies at `start` and has length `len`.
pub(super) fn mention_at(text: &str, start: usize, len: usize) -> Mention {
    let id = |range: &str| TaskId(range.to_owned());
    let first = id(&text[start..start + len]);
    let mut mention = Mention { first, last: None, start, end: start + len };
    let rest = &text[mention.end..];
    for separator in ["-", "–", "—", "..=", "...", "..", "~", " - ", " – ", " to ", " through "] {
        let Some(after) = rest.strip_prefix(separator) else {
            continue;
        };
        let last_start = mention.end + separator.len();
        if let Some(last_len) = id_len(after) {
            let last = id(&after[..last_len]);
            if last > mention.first {
                mention.end = last_start + last_len;
                mention.last = Some(last);
                break;
            }
        }
        // `T016-18`: the `T` is not repeated, but the number of digits is.
        let bare = digits(after.as_bytes());
        let tight = matches!(separator, "-" | "–" | "..");
        if tight && (2..=9).contains(&bare) && !after[bare..].starts_with(|c: char| c.is_alphanumeric() || c == '-') {
            let width = len.saturating_sub(1).max(bare);
            let last = id(&format!("T{:0>width$}", &after[..bare]));
            if last > mention.first {
                mention.end = last_start + bare;
                mention.last = Some(last);
                break;
            }
        }
    }
    mention
}
