//! Names that documents give to tasks and stories, and the scanner that finds them in prose.

use std::cmp::Ordering;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::digest::Digest;

mod story;

pub use story::StoryKey;
pub(super) use story::story_number_len;

/// Identifier of a task as its document writes it: `T001`, `T001a`, `T035.1`, `T071-B`, `TASK-7`, `1.2`; or the one that was assigned to a
/// task without any, `box-3fa92c1b`. A prime becomes a word, because names of objects cannot contain one: `T028'` is `T028-prime`.
///
/// The order is the natural one: numbers count as numbers, so that `T999` comes before `T1000`, and `1.9` before `1.10`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskId(String);

/// Beginning of the identifiers that are assigned to tasks without any.
const ASSIGNED: &str = "box-";

/// Signs behind an identifier that make it another one: `T028'`.
const PRIMES: [char; 3] = ['\'', '’', '′'];

/// The word for such a sign.
const PRIME: &str = "-prime";

impl TaskId {
    /// Parses an identifier that is the whole text; none for other texts.
    pub fn parse(text: &str) -> Option<Self> {
        let assigned = || {
            let rest = text.strip_prefix(ASSIGNED)?;
            (!rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')).then_some(text.len())
        };
        let forms = [id_len, parted_len, outline_len, prefixed_len, cell_len];
        let len = forms.iter().find_map(|form| form(text)).or_else(assigned)?;
        (len == text.len()).then(|| Self::written(text))
    }

    /// Returns the identifier that is written like this.
    fn written(text: &str) -> Self {
        let plain = text.trim_end_matches(PRIMES);
        let mut id = plain.to_owned();
        text[plain.len()..].chars().for_each(|_| id.push_str(PRIME));
        Self(id)
    }

    /// Returns the identifier without any words behind hyphens: `T058` for `T058-edge-case`.
    pub(super) fn root(&self) -> Self {
        self.base().map_or_else(|| self.clone(), |base| base.root())
    }

    /// Returns the identifier without the last word behind a hyphen: `T058` for `T058-edge`.
    pub(super) fn base(&self) -> Option<Self> {
        let (base, word) = self.0.rsplit_once('-')?;
        let number = base.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric)
            && base.contains(|c: char| c.is_ascii_digit());
        (number && word.starts_with(|c: char| c.is_ascii_alphabetic())).then(|| Self(base.to_owned()))
    }

    /// Returns whether the identifier ends with a word in lower case, as in `T058-edge`, which can also be a part of the text.
    pub(super) fn ends_with_word(&self) -> bool {
        let word = self.0.rsplit_once('-').map_or("", |(_, word)| word);
        word.len() > 1
            && !self.0.ends_with(PRIME)
            && word.starts_with(|c: char| c.is_ascii_lowercase())
            && self.base().is_some()
    }

    /// Returns the identifier of a task without any: the same for the same text, at whatever line it is. `repeated` counts the earlier
    /// tasks of the file with the same text.
    pub(super) fn assigned(text: &str, repeated: usize) -> Self {
        let digest = Digest::of_bytes(text.as_bytes());
        let short = digest.short().get(..8).unwrap_or_default();
        let suffix = if repeated == 0 { String::new() } else { format!("-{}", repeated + 1) };
        Self(format!("{ASSIGNED}{short}{suffix}"))
    }

    /// Returns the identifier without the letter behind its number: `T048` for `T048b`.
    pub(super) fn without_letter(&self) -> Option<Self> {
        let base = self.0.strip_suffix(|c: char| c.is_ascii_lowercase())?;
        base.ends_with(|c: char| c.is_ascii_digit()).then(|| Self(base.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first number in the identifier: 35 for `T035.1`.
    pub fn number(&self) -> u32 {
        let digits = self.0.trim_start_matches(|c: char| !c.is_ascii_digit());
        let len = digits.bytes().take_while(u8::is_ascii_digit).count();
        digits[..len].parse().unwrap_or(u32::MAX)
    }

    /// Returns the text before the first number: `T`, `TASK-`, or nothing.
    pub(super) fn prefix(&self) -> &str {
        let len = self.0.bytes().take_while(|b| !b.is_ascii_digit()).count();
        &self.0[..len]
    }

    /// Returns the number of digits of the first number.
    pub(super) fn width(&self) -> usize {
        digits(&self.0.as_bytes()[self.prefix().len()..])
    }

    /// Returns whether this is an outline number such as `1.2`.
    pub(super) fn is_outline(&self) -> bool {
        self.prefix().is_empty()
    }

    /// Returns the identifier with this first number and nothing behind it, written like this one.
    pub(super) fn with_number(&self, number: u32) -> Self {
        let width = self.width();
        Self(format!("{}{number:0width$}", self.prefix()))
    }

    /// Returns whether this outline number belongs below another one: `1.2` below `1`.
    pub(super) fn is_below(&self, parent: &Self) -> bool {
        self.is_outline() && self.0.strip_prefix(&parent.0).is_some_and(|rest| rest.starts_with('.'))
    }
}

impl Ord for TaskId {
    fn cmp(&self, other: &Self) -> Ordering {
        natural(&self.0, &other.0).then_with(|| self.0.cmp(&other.0))
    }
}

/// Compares two texts in which runs of digits count as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    let same = a.iter().zip(b).take_while(|(one, other)| one == other).count();
    // What is the same is skipped, up to the beginning of a number.
    let from = same - a[..same].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    (a, b) = (&a[from..], &b[from..]);
    loop {
        let (left, right) = (digits(a), digits(b));
        if left == 0 || right == 0 {
            match (a.first(), b.first()) {
                (None, None) => return Ordering::Equal,
                (one, other) if one != other => return one.cmp(&other),
                _ => (a, b) = (&a[1..], &b[1..]),
            }
            continue;
        }
        let number = |digits: &'_ [u8]| digits.iter().take_while(|byte| **byte == b'0').count();
        let (one, other) = (&a[number(&a[..left])..left], &b[number(&b[..right])..right]);
        let order = one.len().cmp(&other.len()).then_with(|| one.cmp(other));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (&a[left..], &b[right..]);
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

/// Longest identifier, in bytes: what the name of a Task object allows.
const MAX_ID_BYTES: usize = 63;

/// Prefixes of identifiers of other things, which are never those of tasks.
const NOT_TASKS: [&str; 24] = [
    "FR", "NFR", "SR", "PR", "UX", "SC", "DR", "IR", "TR", "QR", "REQ", "US", "AC", "CHK", "ADR", "RFC", "ISO", "UTF",
    "SHA", "HTTP", "WCAG", "CVE", "EC", "SPEC",
];

/// Returns the length of the task identifier of Spec Kit at the start of `text`, if there is one, with what people add to it: `T001`,
/// `T01`, `T001a`, `T031A`, `T00B`, `T035.1`, `T012-1`, `T071-B`, `T058-EDGE`, `T028'`, `T-006`, `TASK-001`; no further letter or digit
/// follows.
pub(super) fn id_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let prefix = task_prefix(bytes)?;
    let len = numbered_len(bytes, prefix)?;
    // `T00X` is a placeholder for a number.
    let number = text[prefix..len].trim_end_matches('X');
    if number.len() < 3 && prefix + number.len() < len {
        return None;
    }
    // `T012-1` is a part of T012; `T016-18` is a range.
    let part = digits(bytes.get(len + 1..).unwrap_or_default());
    let width = digits(&bytes[prefix..]);
    let number = |from: usize, len: usize| text[from..from + len].parse::<u32>().unwrap_or(u32::MAX);
    let is_part = bytes.get(len) == Some(&b'-')
        && (1..=3).contains(&part)
        && (part < width.min(2) || (part > 1 || width == 1) && number(len + 1, part) <= number(prefix, width))
        && ends(bytes, len + 1 + part);
    let len = if is_part { len + 1 + part } else { len };
    let len = suffixed_len(text, len, &text[..prefix]);
    (len <= MAX_ID_BYTES).then_some(len)
}

/// Returns the length of the prefix of an identifier of Spec Kit, if a digit follows it.
fn task_prefix(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'T', b'0'..=b'9', ..] => Some(1),
        [b'T', b'-', b'0'..=b'9', ..] => Some(2),
        [b'T', b'A' | b'a', b'S' | b's', b'K' | b'k', b'-' | b'_', b'0'..=b'9', ..] => Some(5),
        [b'T', b'A', b'S', b'K', b'0'..=b'9', ..] => Some(4),
        _ => None,
    }
}

/// Returns the end of an identifier with the words and primes that follow its number, which ends at `len`: `-B`, `-EDGE`, `-edge`,
/// `-EDGE-2`, `'`. `prefix` is the beginning of the identifier, up to its number.
fn suffixed_len(text: &str, mut len: usize, prefix: &str) -> usize {
    const MAX_PRIMES: usize = 3;
    let number = len;
    while text.as_bytes().get(len) == Some(&b'-') && len <= MAX_ID_BYTES {
        let Some(word) = suffix_len(&text[len + 1..], len > number, prefix) else { break };
        len += 1 + word;
    }
    let rest = &text[len..];
    let primes = rest.chars().take(MAX_PRIMES).take_while(|c| PRIMES.contains(c)).map(char::len_utf8).sum::<usize>();
    // In `T028's` it is an apostrophe.
    let ends = !rest[primes..].starts_with(|c: char| c.is_alphanumeric() || PRIMES.contains(&c));
    let fits = len + MAX_PRIMES * PRIME.len() <= MAX_ID_BYTES;
    if ends && fits { len + primes } else { len }
}

/// Returns the length of the word behind a hyphen of an identifier: letters of one case, then digits; behind another word also digits alone.
/// The beginning of another identifier is not a word: `T016-T018` and `BE-012-BE-014` are ranges.
fn suffix_len(text: &str, further: bool, prefix: &str) -> Option<usize> {
    const LONGEST: usize = 16;
    let bytes = text.as_bytes();
    let upper = bytes.first()?.is_ascii_uppercase();
    let letter = |b: &&u8| if upper { b.is_ascii_uppercase() } else { b.is_ascii_lowercase() };
    let letters = bytes.iter().take(LONGEST).take_while(letter).count();
    let len = letters + digits(&bytes[letters..bytes.len().min(LONGEST)]);
    let word = (letters > 0 || (further && (1..=3).contains(&len))) && ends(bytes, len);
    // Han, kana and Hangul have no spaces between words.
    let whole = text[len..].chars().next().is_none_or(|c| !c.is_alphabetic() || u32::from(c) >= 0x2E80);
    let same =
        text.strip_prefix(prefix).filter(|rest| prefix.len() > 1 || rest.starts_with(|c: char| c.is_ascii_digit()));
    let another = task_prefix(bytes).is_some() || same.is_some();
    (word && whole && !another).then_some(len)
}

/// Returns the end of a number at `prefix` with letters and dotted numbers behind it, if no further letter or digit follows.
fn numbered_len(bytes: &[u8], prefix: usize) -> Option<usize> {
    let count = digits(&bytes[prefix..]);
    if !(1..=9).contains(&count) {
        return None;
    }
    let mut len = prefix + count;
    if bytes.get(len).is_some_and(u8::is_ascii_alphabetic) {
        len += bytes[len..].iter().take(4).take_while(|b| b.is_ascii_alphanumeric()).count();
    }
    while bytes.get(len) == Some(&b'.') {
        let part = digits(&bytes[len + 1..]);
        let letter = usize::from(bytes.get(len + 1 + part).is_some_and(u8::is_ascii_alphabetic));
        // `T035.1`, `T035.1a` and `T035.a`; a letter that begins a word is not a part.
        if part + letter == 0 || (part == 0 && !ends(bytes, len + 2)) {
            break;
        }
        len += 1 + part + letter;
    }
    ends(bytes, len).then_some(len)
}

/// Returns whether an identifier can end here.
fn ends(bytes: &[u8], at: usize) -> bool {
    // A single underscore closes emphasis: `_Depends: T104_`.
    let goes_on = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    !goes_on(at) && !(bytes.get(at) == Some(&b'_') && (goes_on(at + 1) || bytes.get(at + 1) == Some(&b'_')))
}

/// Returns the length of an outline number at the start of `text`: `1`, `1.2`, `2.10.3`.
pub(super) fn outline_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut len = digits(bytes);
    if !(1..=3).contains(&len) {
        return None;
    }
    while bytes.get(len) == Some(&b'.') && (1..=3).contains(&digits(&bytes[len + 1..])) {
        len += 1 + digits(&bytes[len + 1..]);
    }
    (ends(bytes, len) && len <= MAX_ID_BYTES).then_some(len)
}

/// Returns the length of a number with hyphens between its parts at the start of `text`: `1-2`, `2-10-3`.
pub(super) fn parted_len(text: &str) -> Option<usize> {
    let part = |at: usize| Some(digits(&text.as_bytes()[at..])).filter(|len| (1..=3).contains(len));
    let mut len = part(0)?;
    while text[len..].starts_with('-')
        && let Some(next) = part(len + 1)
    {
        len += 1 + next;
    }
    (text[..len].contains('-') && ends(text.as_bytes(), len) && len <= MAX_ID_BYTES).then_some(len)
}

/// Returns whether a number such as `2-1` cannot be a range: `1-2` can be tasks 1 and 2.
pub(super) fn is_no_range(number: &str) -> bool {
    let mut parts = number.split('-').filter_map(|part| part.parse::<u32>().ok());
    let (first, second) = (parts.next(), parts.next());
    second.is_some() && (parts.next().is_some() || second <= first)
}

/// Returns the length of the identifier of something that is no task at the start of `text`: `AC-1`, `FR-012`.
pub(super) fn other_len(text: &str) -> Option<usize> {
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let prefix = letters + usize::from(text[letters..].starts_with('-'));
    NOT_TASKS.contains(&&text[..letters]).then(|| numbered_len(text.as_bytes(), prefix)).flatten()
}

/// Returns the length of an identifier with a prefix of the project's own at the start of `text`: `BE-012`, `SETUP-3a`, `M004`.
pub(super) fn prefixed_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let letters = bytes.iter().take_while(|b| b.is_ascii_uppercase()).count();
    let hyphen = bytes.get(letters) == Some(&b'-');
    let own = if hyphen {
        (2..=12).contains(&letters)
    } else {
        // Shorter numbers are those of other things: `V8`, `H1`, `UTF8`.
        let fewest = if letters == 1 { 3 } else { 2 };
        (1..=3).contains(&letters) && &text[..letters] != "T" && digits(&bytes[letters..]) >= fewest
    };
    if !own || NOT_TASKS.contains(&&text[..letters]) {
        return None;
    }
    let prefix = letters + usize::from(hyphen);
    let number = numbered_len(bytes, prefix)?;
    // `TK-015-001` is the first task of feature 015; `BE-012-014` is a range.
    let part = digits(bytes.get(number + 1..).unwrap_or_default());
    let feature = hyphen && bytes.get(number) == Some(&b'-') && part == 3 && bytes[number + 1..].starts_with(b"00");
    let number = if feature && ends(bytes, number + 1 + part) { number + 1 + part } else { number };
    let len = suffixed_len(text, number, &text[..prefix]);
    (len <= MAX_ID_BYTES).then_some(len)
}

/// Returns the length of an identifier with the number of its feature at the start of `text`: `TK-015-001`.
pub(super) fn feature_len(text: &str) -> Option<usize> {
    let len = prefixed_len(text)?;
    (text[..len].matches('-').count() == 2).then_some(len)
}

/// Returns the length of an identifier of one letter and a hyphen at the start of `text`, which only a cell of a table can be: `A-01`.
pub(super) fn cell_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let letter = bytes.first().is_some_and(u8::is_ascii_uppercase) && bytes.get(1) == Some(&b'-');
    let len = 2 + digits(bytes.get(2..).unwrap_or_default());
    (letter && bytes[0] != b'T' && len > 2 && ends(bytes, len)).then_some(len)
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
            Some(last) => {
                // `T004-T008` includes T008c, but `T008a-T008b` does not.
                let open = last.0.ends_with(|c: char| c.is_ascii_digit());
                let within = self.first <= *id && (id <= last || (open && id.number() == last.number()));
                within && id.prefix() == self.first.prefix()
            }
        }
    }
}

/// The forms of the identifiers of one file, other than `T001`. Prose contains many numbers, so only these forms are found in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Forms {
    /// Whether there are outline numbers such as `1.2`.
    pub(super) outline: bool,
    /// Whether there are hyphens instead of the dots in them: `1-2`.
    pub(super) parted: bool,
    /// Whether the tasks are called issues.
    pub(super) issues: bool,
    /// Prefixes other than `T`, with their hyphen, if they have one.
    pub(super) prefixes: Vec<String>,
}

/// Words before the number of a task in prose.
pub(super) const TASK_WORDS: [&str; 18] = [
    "tasks",
    "task",
    "tâches",
    "tâche",
    "tareas",
    "tarea",
    "tarefas",
    "tarefa",
    "aufgaben",
    "aufgabe",
    "задачи",
    "задача",
    "задач",
    "タスク",
    "任务",
    "任務",
    "작업",
    "태스크",
];

/// Words for a task in a file whose tasks are called issues. Elsewhere, issues are those of a tracker.
pub(super) const ISSUE_WORDS: [&str; 2] = ["issues", "issue"];

/// Returns every mention of tasks in `text`, in order. `T016-T018`, `T016–18`, `T011..T015` and `T011 to T015` are ranges.
pub(super) fn mentions(text: &str, forms: &Forms) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut end = 0;
    for start in memchr::memchr_iter(b'T', text.as_bytes()) {
        if start >= end
            && let Some(len) = id_len(&text[start..])
            && !attached(text, start)
        {
            let mention = mention_at(text, start, len);
            end = mention.end;
            found.push(mention);
        }
    }
    for prefix in &forms.prefixes {
        let mut at = 0;
        while let Some(offset) = text[at..].find(prefix.as_str()) {
            let start = at + offset;
            at = start + prefix.len();
            if !attached(text, start)
                && let Some(len) = prefixed_len(&text[start..]).or_else(|| cell_len(&text[start..]))
            {
                let mention = mention_at(text, start, len);
                at = mention.end;
                found.push(mention);
            }
        }
    }
    if forms.outline {
        outline_mentions(text, forms, &mut found);
    }
    if found.len() > 1 && (forms.outline || !forms.prefixes.is_empty()) {
        found.sort_by_key(|m| m.start);
    }
    found
}

/// Returns whether the character before this position belongs to the same word.
fn attached(text: &str, start: usize) -> bool {
    // Han, kana and Hangul have no spaces between words.
    text[..start].chars().next_back().is_some_and(|c| c == '_' || c.is_alphanumeric() && u32::from(c) < 0x2E80)
}

/// Adds the outline numbers in a text that name tasks: at its beginning, after a word for a task, and after another one.
fn outline_mentions(text: &str, forms: &Forms, found: &mut Vec<Mention>) {
    let number = |text: &str| forms.parted.then(|| parted_len(text)).flatten().or_else(|| outline_len(text));
    let words = || TASK_WORDS.iter().chain(ISSUE_WORDS.iter().filter(|_| forms.issues));
    let mut end: Option<usize> = None;
    let mut at = 0;
    while let Some(offset) = text[at..].find(|c: char| c.is_ascii_digit()) {
        let start = at + offset;
        let Some(len) = number(&text[start..]).filter(|_| !attached(text, start) && !text[..start].ends_with('.'))
        else {
            at = start + digits(&text.as_bytes()[start..]);
            continue;
        };
        let before = text[..start].trim_end_matches([' ', '*', '`', '#']);
        let joined = end.is_some_and(|end| is_list(&text[end..start]));
        let named = words().any(|word| {
            let from = before.len().saturating_sub(word.len());
            before.get(from..).is_some_and(|tail| tail.to_lowercase() == *word)
        });
        let closed = text[start + len..].trim_start().chars().next().is_none_or(|c| ",;:.)/+&→、，）-–".contains(c));
        let begins = before.trim_matches([' ', ':', '：', '(', '-']).is_empty();
        let dotted = text[start..start + len].contains('.');
        if joined || named || (begins && (dotted || closed)) {
            let mention = mention_at(text, start, len);
            (at, end) = (mention.end, Some(mention.end));
            found.push(mention);
        } else {
            at = start + len;
        }
    }
}

/// Returns whether only a comma, a conjunction or an arrow stands between two numbers.
fn is_list(between: &str) -> bool {
    let words = between.trim_matches(|c: char| c.is_whitespace() || "*`".contains(c));
    matches!(
        words,
        "," | "/"
            | "+"
            | "&"
            | "、"
            | "，"
            | "→"
            | "->"
            | "←"
            | "and"
            | "or"
            | ", and"
            | "et"
            | "und"
            | "y"
            | "e"
            | "и"
            | "和"
    )
}

/// Returns the mention whose first identifier lies at `start` and has length `len`.
pub(super) fn mention_at(text: &str, start: usize, len: usize) -> Mention {
    let id = TaskId::written;
    let quoted = text[..start].ends_with(['\'', '‘']);
    // In `'T028'` it is a quotation mark.
    let len = if quoted { text[start..start + len].trim_end_matches(PRIMES).len() } else { len };
    let first = id(&text[start..start + len]);
    let mut mention = Mention { first, last: None, start, end: start + len };
    let rest = &text[mention.end..];
    for separator in [
        "-",
        "–",
        "—",
        "..=",
        "...",
        "..",
        "~",
        "〜",
        "～",
        "至",
        "到",
        " - ",
        " – ",
        " to ",
        " through ",
        " bis ",
        " à ",
        " a ",
        " até ",
    ] {
        let Some(after) = rest.strip_prefix(separator) else {
            continue;
        };
        let last_start = mention.end + separator.len();
        let same = |last: &TaskId| last.prefix() == mention.first.prefix();
        let len_after = id_len(after)
            .or_else(|| prefixed_len(after))
            .or_else(|| cell_len(after))
            .or_else(|| outline_len(after).filter(|_| mention.first.is_outline()));
        if let Some(last_len) = len_after {
            let last = id(&after[..last_len]);
            if last > mention.first && same(&last) {
                mention.end = last_start + last_len;
                mention.last = Some(last);
                break;
            }
        }
        // `T016-18`: the prefix is not repeated, but the number of digits is.
        let bare = digits(after.as_bytes());
        let width = mention.first.width();
        let tight = matches!(separator, "-" | "–" | "..") && !mention.first.is_outline();
        if tight
            && ((2..=9).contains(&bare) || bare == width)
            && !after[bare..].starts_with(|c: char| c.is_alphanumeric() || c == '-')
        {
            let width = width.max(bare);
            let last = id(&format!("{}{:0>width$}", mention.first.prefix(), &after[..bare]));
            if last > mention.first {
                mention.end = last_start + bare;
                mention.last = Some(last);
                break;
            }
        }
    }
    mention
}
