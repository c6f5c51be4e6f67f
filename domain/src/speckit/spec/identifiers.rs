//! Identifiers of requirements and criteria, and the form of their definitions.

use crate::speckit::markdown;

/// Kind of the statements that an identifier names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Requirement,
    Criterion,
}

/// Returns the length of an identifier such as `FR-001`, `FR-012a`, `FR-3.1` or `FR-DIAG-001` at the start of `text`.
pub(crate) fn id_len(text: &str) -> Option<usize> {
    // Most texts do not begin with two capitals, as all prefixes do.
    let capitals = text.as_bytes().get(..2).is_some_and(|start| start.iter().all(u8::is_ascii_uppercase));
    if !capitals {
        return None;
    }
    numbered_len(text).or_else(|| named_len(text))
}

/// Returns the length of an identifier with a word behind its number, such as `FR-002-target`.
fn named_len(text: &str) -> Option<usize> {
    const LONGEST: usize = 40;
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(text.len());
    let id = text[..end].trim_end_matches('-');
    let mut parts = id.split('-');
    let prefix = parts.next().filter(|prefix| PREFIXES.contains(prefix))?;
    let number = parts.next()?;
    let digits = !number.is_empty() && number.len() < 7 && number.bytes().all(|b| b.is_ascii_digit());
    let word = parts.next()?;
    let words = word.starts_with(|c: char| c.is_ascii_lowercase()) && parts.all(|part| !part.is_empty());
    (digits && words && id.len() <= LONGEST && id.len() > prefix.len()).then_some(id.len())
}

/// Prefixes of requirements and criteria in any section.
const PREFIXES: [&str; 11] = ["FR", "NFR", "SR", "PR", "UX", "SC", "DR", "IR", "TR", "QR", "REQ"];

fn numbered_len(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))).unwrap_or(text.len());
    let id = text[..end].trim_end_matches(['.', '-']);
    let id = range_start(id);
    let (prefix, number) = id.rsplit_once('-')?;
    let words =
        prefix.split('-').all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let suffix = number[digits..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    let letters = prefix.bytes().take_while(u8::is_ascii_uppercase).count();
    (words && digits > 0 && digits < 7 && suffix && number.len() - digits < 5 && (2..=8).contains(&letters))
        .then_some(id.len())
}

/// Returns the first identifier of a range such as `FR-001-FR-003`, or the text itself.
fn range_start(id: &str) -> &str {
    let Some((prefix, rest)) = id.split_once('-').filter(|(prefix, _)| !prefix.is_empty()) else { return id };
    let mut again = rest.match_indices(prefix);
    let whole = |at: usize| rest[..at].ends_with('-') && rest[at + prefix.len()..].starts_with('-');
    again.find(|(at, _)| whole(*at)).map_or(id, |(at, _)| &id[..prefix.len() + at])
}

/// Returns the length of an identifier without a hyphen, such as `R001` or `FR001a`, or of one letter, such as `C-001`, at the start of
/// `text`; tasks and stories have other forms.
fn plain_id_len(text: &str) -> Option<usize> {
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let hyphen = usize::from(letters == 1 && text[letters..].starts_with('-'));
    let digits = text.bytes().skip(letters + hyphen).take_while(u8::is_ascii_digit).count();
    let len = letters + hyphen + digits;
    let len = len + usize::from(text.as_bytes().get(len).is_some_and(u8::is_ascii_lowercase));
    let ends = !text[len..].starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let prefix = &text[..letters];
    let own = !matches!(prefix, "T" | "US" | "AC" | "CHK");
    // A known prefix also has small numbers, `FR4`, and so has an identifier that is a whole cell: `| A-01 |`.
    let whole = hyphen == 1 && len == text.len();
    let fewest = if PREFIXES.contains(&prefix) || whole { 1 } else { 3 };
    (own && ends && (1..=3).contains(&letters) && (fewest..7).contains(&digits)).then_some(len)
}

/// Beginnings of the identifiers of requirements and criteria that are written without one.
pub(super) const ASSIGNED: &str = "requirement-";
pub(super) const ASSIGNED_CRITERION: &str = "criterion-";

/// Returns the kind of the statement with this identifier; `own` is that of statements whose prefix is the project's own.
pub(super) fn kind_of(id: &str, own: Option<Kind>) -> Kind {
    match prefix(id) {
        "SC" => Kind::Criterion,
        prefix if PREFIXES.contains(&prefix) => Kind::Requirement,
        _ => own.unwrap_or(Kind::Requirement),
    }
}

/// Returns whether an identifier is that of a requirement or criterion; below a heading about them, also one with a prefix of the project's
/// own.
pub(super) fn is_requirement(id: &str, under_requirements: bool) -> bool {
    PREFIXES.contains(&prefix(id)) || (under_requirements && is_own(id))
}

/// Returns whether the prefix of an identifier is the project's own: neither one of Spec Kit nor that of something else.
pub(super) fn is_own(id: &str) -> bool {
    let prefix = prefix(id);
    !PREFIXES.contains(&prefix) && !matches!(prefix, "US" | "AC" | "ADR" | "RFC" | "ISO" | "UTF" | "SHA" | "HTTP")
}

/// Returns the letters before the number of an identifier: `FR` for `FR-001`, `FR001a` and `FR-DIAG-001`.
fn prefix(id: &str) -> &str {
    let first = id.split('-').next().unwrap_or_default();
    &first[..first.find(|c: char| c.is_ascii_digit()).unwrap_or(first.len())]
}

/// Splits `**FR-001** (P1): text` into identifier and text. A mention such as `FR-001 and FR-002 are …` or
/// `**FR-001–FR-003**: …` is not a definition.
pub(crate) fn definition(text: &str) -> Option<(&str, &str)> {
    let (id, rest) = leading(text)?;
    // `**FR-001**` and `**FR-001 Title**:` are names, `**FR-001 was removed.**` is a sentence.
    let bold = rest.trim_start_matches(['`', ']', '~']).starts_with(['*', '_']) || markdown::label(text).is_some();
    let rest = rest.trim_start_matches(['*', '_', '`', ']', '~']);
    let after = rest.trim_start();
    let separated = after.starts_with([':', '：', '—', '–', '-', '(', '（', '[']) || after.is_empty();
    if !separated && !bold || is_list(id, rest) {
        return None;
    }
    let text = after.trim_start_matches([':', '：', '—', '–', '-', ' ', '*']);
    (!is_about(after)).then_some((id, text))
}

/// Returns whether an item is nothing but a word with a number, such as `PDF417`, which names something else than a statement.
pub(super) fn is_lone((id, text): (&str, &str)) -> bool {
    text.is_empty() && !id.contains('-') && !PREFIXES.contains(&prefix(id))
}

/// Returns whether the words behind an identifier say that the line is about its statement: `**FR-022 implementation notes**:`.
fn is_about(after: &str) -> bool {
    const WORDS: [&str; 18] = [
        "note",
        "notes",
        "implementation note",
        "implementation notes",
        "rationale",
        "clarification",
        "details",
        "example",
        "examples",
        "实现说明",
        "说明",
        "實作說明",
        "說明",
        "补充说明",
        "備考",
        "補足",
        "비고",
        "примечание",
    ];
    let Some((name, _)) = after.split_once(['*', ':', '：']) else { return false };
    let name = name.trim().to_lowercase();
    let last = name.rsplit(' ').next().unwrap_or_default();
    let translated = |word: &str| !word.is_ascii() && last.ends_with(word);
    WORDS.contains(&name.as_str()) || WORDS.iter().any(|word| translated(word))
}

/// Returns the identifier at the start of a text, without emphasis and a box before it, and the rest of the text.
pub(super) fn leading(text: &str) -> Option<(&str, &str)> {
    let plain = text.trim_start_matches(['*', '_', '`', '[', ' ', '~']);
    let box_free = ["x] ", "X] ", " ] "]
        .iter()
        .find_map(|b| plain.strip_prefix(b))
        .unwrap_or(plain)
        .trim_start_matches(['*', '_', '`', ' ']);
    let len = id_len(box_free).or_else(|| plain_id_len(box_free))?;
    Some(box_free.split_at(len))
}

/// Returns whether an identifier is the first of a range or list, whose last one ends where the text behind an identifier begins:
/// `FR-001–FR-003`, `FR-001, FR-002:`.
fn is_list(first: &str, rest: &str) -> bool {
    let mut rest = rest;
    for word in ["to ", "through ", "and ", "bis ", "und ", "et ", "y "] {
        rest = rest.trim_start().strip_prefix(word).unwrap_or(rest);
    }
    let joints =
        ['-', '–', '—', '~', '/', ',', '+', '&', '.', '…', '、', '，', '～', '〜', '至', '到', ' ', '*', '`', '[', ']'];
    let next = rest.trim_start_matches(joints);
    let prefix = first.trim_end_matches(|c: char| !c.is_ascii_uppercase());
    let prefix = prefix.split('-').next().unwrap_or_default();
    let Some(len) = id_len(next).or_else(|| plain_id_len(next)).filter(|_| next.starts_with(prefix)) else {
        return false;
    };
    let after = next[len..].trim_start_matches(['*', '`', ']', ' ']);
    next.len() < rest.len()
        && (after.is_empty() || after.starts_with([':', '：', ',', '/', '–', '—', '&', '+', '、', '，']))
}
