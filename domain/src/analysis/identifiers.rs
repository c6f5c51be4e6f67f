//! Identifiers of requirements, criteria and stories in a text: single ones, ranges and lists.

use crate::speckit::StoryKey;

/// Maximum number of identifiers in a range; only the ends of a longer one are read.
const MAX_RANGE: u32 = 128;

/// Maximum number of parts of a list such as `FR-001/002/003`.
const MAX_LIST: usize = 64;

/// Prefixes whose number may follow without a hyphen: `FR4`.
const ATTACHED: [&str; 4] = ["FR", "NFR", "SC", "US"];

/// Words before the number of a story, in the languages of the corpus, and whether they name several stories.
const STORY_WORDS: [(&str, bool); 18] = [
    ("User Story", false),
    ("user story", false),
    ("User story", false),
    ("User Stories", true),
    ("user stories", true),
    ("User stories", true),
    ("Histoire utilisateur", false),
    ("Historia de usuario", false),
    ("Historia de Usuario", false),
    ("História de usuário", false),
    ("História do Usuário", false),
    ("Storia utente", false),
    ("Пользовательская история", false),
    ("사용자 스토리", false),
    ("ユーザーストーリー", false),
    ("用户故事", false),
    ("使用者故事", false),
    ("使用者情境", false),
];

/// Signs and words between the ends of a range. Those with a space need a complete identifier after them.
const RANGES: [&str; 16] =
    ["...", "..", "…", "–", "—", "-", "~", "〜", "～", "至", "到", " - ", " – ", " to ", " through ", " bis "];

/// Signs and words between the parts of a list.
const LISTS: [&str; 14] = ["/", ",", "、", "，", "+", "&", "·", " and ", " und ", " et ", " y ", " e ", " и ", "和"];

/// An identifier in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identifier {
    /// The identifier as it is written; the inner ones of a range have as many digits as its first.
    pub(super) id: String,
    /// First byte of the identifier, or of the range or list that contains it.
    pub(super) at: usize,
    /// Whether the text assigns it to another feature: `012/FR-022`, `FR-022 of spec 012`.
    pub(super) foreign: bool,
}

/// Returns the identifiers of a text, in order: `FR-001`, `NFR-2a`, `FR4`, `SC-003`, `US1`, `User Story 1` as `US1`, and all of
/// `FR-001–FR-005`, `FR-004..005` and `FR-001/002`. `own` is the number of this feature, whose identifiers are not foreign.
pub(super) fn identifiers(text: &str, own: Option<&str>) -> Vec<Identifier> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(offset) = text[at..].find(|c: char| c.is_ascii_uppercase()) {
        let start = at + offset;
        let attached = text[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let Some(head) = Head::read(&text[start..]).filter(|_| !attached) else {
            // The rest of a word without an identifier is skipped: its parts are not identifiers.
            let word = text[start..].bytes().take_while(u8::is_ascii_alphanumeric).count();
            at = start + word.max(1);
            continue;
        };
        let (ids, len) = chain(&text[start..], &head);
        let foreign = is_foreign(&text[..start], &text[start + len..], own);
        found.extend(ids.into_iter().map(|id| Identifier { id, at: start, foreign }));
        at = start + len;
    }
    found.extend(spelled_stories(text));
    // Issue trackers number stories like `US015`, and ShellCheck its warnings like `SC2016`; specifications do not.
    let shellcheck =
        |id: &str| id.strip_prefix("SC").is_some_and(|n| n.len() == 4 && n.bytes().all(|b| b.is_ascii_digit()));
    found.retain(|i| !i.id.starts_with("US0") && !shellcheck(&i.id));
    for identifier in &mut found {
        if let Some(key) = StoryKey::parse(&identifier.id) {
            key.as_str().clone_into(&mut identifier.id);
        }
    }
    found.sort_by_key(|i| i.at);
    found
}

/// Returns the identifier with which a line begins, after the signs of lists, headings, tables and emphasis.
pub(super) fn leading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches(|c: char| !c.is_alphanumeric());
    let text = text.strip_prefix("x]").or_else(|| text.strip_prefix("X]")).unwrap_or(text);
    let text = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    Head::read(text).map(|head| &text[..head.len])
}

/// The first identifier of a range or list.
#[derive(Debug)]
struct Head<'t> {
    /// Everything before the number, with its hyphen: `FR-`, `FR-DIAG-`, `US`.
    prefix: &'t str,
    digits: &'t str,
    /// Length of the identifier with its suffix.
    len: usize,
}

impl<'t> Head<'t> {
    /// Reads an identifier at the start of a text: at least two capitals, further groups after hyphens, a number of at most six digits, and
    /// a suffix of dotted numbers or one letter.
    fn read(text: &'t str) -> Option<Self> {
        let bytes = text.as_bytes();
        let letters = count(bytes, u8::is_ascii_uppercase);
        if !(2..=8).contains(&letters) {
            return None;
        }
        let mut start = letters;
        if bytes.get(start).is_some_and(u8::is_ascii_digit) {
            ATTACHED.contains(&&text[..start]).then_some(())?;
        } else {
            loop {
                (bytes.get(start) == Some(&b'-')).then_some(())?;
                start += 1;
                if bytes.get(start).is_some_and(u8::is_ascii_digit) {
                    break;
                }
                let group = count(&bytes[start..], |b| b.is_ascii_uppercase() || b.is_ascii_digit());
                (1..=12).contains(&group).then_some(())?;
                start += group;
            }
        }
        let digits = count(&bytes[start..], u8::is_ascii_digit);
        (1..=6).contains(&digits).then_some(())?;
        let mut len = start + digits;
        while bytes.get(len) == Some(&b'.') && bytes.get(len + 1).is_some_and(u8::is_ascii_digit) {
            len += 1 + count(&bytes[len + 1..], u8::is_ascii_digit);
        }
        if bytes.get(len).is_some_and(u8::is_ascii_alphabetic) {
            len += 1;
        }
        let ends = bytes.get(len).is_none_or(|b| !(b.is_ascii_alphanumeric() || *b == b'_'));
        ends.then(|| Self { prefix: &text[..start], digits: &text[start..start + digits], len })
    }

    fn number(&self) -> u32 {
        self.digits.parse().unwrap_or_default()
    }
}

fn count(bytes: &[u8], of: impl Fn(&u8) -> bool) -> usize {
    bytes.iter().take_while(|b| of(b)).count()
}

/// Returns all identifiers of the range or list at the start of a text, and its length.
fn chain(text: &str, head: &Head<'_>) -> (Vec<String>, usize) {
    let width = head.digits.len();
    let name = |number: u32| format!("{}{number:0width$}", head.prefix);
    let (mut ids, mut len, mut last) = (vec![text[..head.len].to_owned()], head.len, head.number());
    for _ in 0..MAX_LIST {
        let rest = &text[len..];
        if let Some((to, end)) = range_end(rest, head, last) {
            if to - last <= MAX_RANGE {
                ids.extend((last + 1..to).map(name));
            }
            ids.push(name(to));
            (len, last) = (len + end, to);
        } else if let Some((next, end)) = next_part(rest, width, last) {
            ids.push(name(next));
            (len, last) = (len + end, next);
        } else {
            break;
        }
    }
    (ids, len)
}

/// Returns the last number of a range whose first identifier ends where the text begins, and the length up to its end.
fn range_end(rest: &str, head: &Head<'_>, first: u32) -> Option<(u32, usize)> {
    let quoted = rest.trim_start_matches(['`', '*', ']']);
    let separator = RANGES.iter().find(|s| quoted.starts_with(**s))?;
    let opened = &quoted[separator.len()..];
    let after = opened.trim_start_matches(['`', '*', '[']);
    let before = rest.len() - after.len();
    if let Some(last) = Head::read(after).filter(|last| last.prefix == head.prefix && last.number() > first) {
        return Some((last.number(), before + last.len));
    }
    let (width, digits) = (head.digits.len(), bare_number(after)?);
    // After a hyphen, a shorter number can be anything: a version, a count; `US1-4` is the fourth scenario of a story.
    let wide = digits.len() == width && (width > 1 || *separator != "-");
    let tight = !separator.contains(' ') && (wide || (digits.len() < width && *separator != "-"));
    let number = format!("{}{digits}", &head.digits[..width.saturating_sub(digits.len())]).parse::<u32>().ok()?;
    (tight && number > first).then_some((number, before + digits.len()))
}

/// Returns the next number of a list such as `FR-001/002` or `FR-010, 011`, and the length up to its end.
fn next_part(rest: &str, width: usize, last: u32) -> Option<(u32, usize)> {
    let separator = LISTS.iter().find(|s| rest.starts_with(**s))?;
    let after = rest[separator.len()..].trim_start_matches(' ');
    let digits = bare_number(after)?;
    let attached = matches!(*separator, "/" | "+") && digits.len() <= width && width > 1;
    let padded = digits.len() == width && width >= 2 && digits.starts_with('0');
    // In `FR-001, 012/FR-022` the number is another feature's.
    let prefix = after[digits.len()..].starts_with('/') && *separator != "/";
    let number: u32 = digits.parse().ok()?;
    ((attached || padded) && !prefix && number > last).then(|| (number, rest.len() - after.len() + digits.len()))
}

/// Returns the digits at the start of a text if they are a whole word and not a quantity.
fn bare_number(text: &str) -> Option<&str> {
    let digits = count(text.as_bytes(), u8::is_ascii_digit);
    let rest = &text[digits..];
    let fraction = rest.strip_prefix(['.', ',']).is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
    let whole = !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '%' | '_' | '-')) && !fraction;
    ((1..=6).contains(&digits) && whole).then(|| &text[..digits])
}

/// Returns the stories that a text names in words.
fn spelled_stories(text: &str) -> Vec<Identifier> {
    let mut found = Vec::new();
    for (words, several) in STORY_WORDS {
        for (at, _) in text.match_indices(words) {
            let mut rest = text[at + words.len()..].trim_start_matches([' ', '#']);
            let gap = text.len() - rest.len() - at - words.len();
            if gap > 2 {
                continue;
            }
            for part in 0..MAX_LIST {
                let digits = count(rest.as_bytes(), u8::is_ascii_digit);
                let mut len = digits;
                if rest.as_bytes().get(len).is_some_and(u8::is_ascii_lowercase) {
                    len += 1;
                }
                let ends = !rest[len..].starts_with(|c: char| c.is_ascii_alphanumeric());
                if !(1..=2).contains(&digits) || !ends {
                    break;
                }
                found.push(Identifier { id: format!("US{}", &rest[..len]), at, foreign: false });
                let next = &rest[len..];
                let separators: &[&str] = if several || part > 0 { &LISTS } else { &["/", " and ", "&"] };
                let Some(separator) = separators.iter().find(|s| next.starts_with(**s)) else { break };
                rest = next[separator.len()..].trim_start_matches(' ').trim_start_matches("and ");
            }
        }
    }
    found
}

/// Returns whether the text around an identifier assigns it to another feature.
fn is_foreign(before: &str, after: &str, own: Option<&str>) -> bool {
    /// Number of bytes on each side that are read.
    const NEAR: usize = 96;
    let before = &before[before.ceil_char_boundary(before.len().saturating_sub(NEAR))..];
    let after = &after[..after.floor_char_boundary(NEAR.min(after.len()))];
    let other = |token: &str, bare: bool| {
        token.split('/').any(|part| {
            let digits = count(part.as_bytes(), u8::is_ascii_digit);
            let slug = part[digits..].starts_with('-') || (bare && part.len() == digits);
            digits >= 3 && slug && own.is_none_or(|own| own != &part[..digits])
        })
    };
    let named = |word: &str| matches!(word.to_lowercase().as_str(), "spec" | "specs" | "feature" | "specification");
    // `012/FR-022`, `012-prices FR-022`, `specs/012-prices/spec.md#FR-022`, `spec 012 FR-022`.
    let opened = before.trim_end_matches(['`', '*', '[']);
    let stripped = opened.trim_end_matches([' ', '/', ':', '#', '§', '`', '*', '’', '\'', 's']);
    let token_start = stripped.rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')));
    let token = &stripped[token_start.map_or(0, |at| at + stripped[at..].chars().next().map_or(1, char::len_utf8))..];
    if stripped.len() < before.len() {
        let joined = opened.ends_with(['/', ':', '#', '§']);
        let word = stripped[..stripped.len() - token.len()].split_whitespace().next_back().unwrap_or_default();
        if other(token, joined || named(word.trim_matches(['(', '[', '*']))) {
            return true;
        }
    }
    // `FR-022 of spec 012`, `FR-022 (spec 012)`, `FR-022 in 012-prices`.
    let mut words = after.split([' ', '(', ')', ',', '`', '*', ']']).filter(|w| !w.is_empty()).take(4);
    let mut word = words.next().unwrap_or_default();
    if !after.starts_with([' ', '`', '*', ']']) || word.is_empty() {
        return false;
    }
    if matches!(word, "of" | "in" | "from" | "the") {
        word = words.next().unwrap_or_default();
    }
    if named(word) { other(words.next().unwrap_or_default(), true) } else { other(word, false) }
}

/// Returns what is before the number of an identifier, and the number with its suffix.
fn split(id: &str) -> (&str, &str) {
    let hyphen =
        id.rmatch_indices('-').map(|(at, _)| at + 1).find(|at| id[*at..].starts_with(|c: char| c.is_ascii_digit()));
    let start = hyphen.or_else(|| id.find(|c: char| c.is_ascii_digit())).unwrap_or(id.len());
    id.split_at(start)
}

/// Returns the letters of an identifier: `FR` for `FR-007b` and `FR7`.
pub(super) fn prefix(id: &str) -> String {
    split(id).0.trim_end_matches('-').to_uppercase()
}

/// Returns an identifier without hyphen, leading zeros and suffix: `FR7` for `FR-007b`.
pub(super) fn family(id: &str) -> String {
    let digits = split(id).1;
    let digits = digits[..count(digits.as_bytes(), u8::is_ascii_digit)].trim_start_matches('0');
    format!("{}{}", prefix(id), if digits.is_empty() { "0" } else { digits })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> String {
        let one = |i: Identifier| format!("{}{}", i.id, if i.foreign { "!" } else { "" });
        identifiers(text, Some("007")).into_iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn single_identifiers_are_found() {
        assert_eq!(
            found("FR-001, (NFR-2a) `SC-003` FR-DIAG-004 FR4 US1 [US-2] and FR-001A."),
            "FR-001 NFR-2a SC-003 FR-DIAG-004 FR4 US1 US2 FR-001A"
        );
        assert_eq!(found("xFR-001 FR- FR-x T001 US015 R-7 FR-0000001 SC2016"), "");
        assert_eq!(found("FR-001は FR-002、次"), "FR-001 FR-002");
    }

    #[test]
    fn ranges_name_all_between_their_ends() {
        for range in [
            "FR-001–FR-003",
            "FR-001-003",
            "FR-001..003",
            "FR-001 to FR-003",
            "FR-001–03",
            "FR-001—FR-003",
            "`FR-001`–`FR-003`",
        ] {
            assert_eq!(found(range), "FR-001 FR-002 FR-003", "{range}");
        }
        assert_eq!(found("US1–US3, US4-2"), "US1 US2 US3 US4");
        assert_eq!(found("FR-001 - 30 seconds"), "FR-001");
        assert_eq!(found("FR-003–FR-001"), "FR-003 FR-001");
        assert_eq!(found("FR-1–FR-900000").split(' ').count(), 2);
    }

    #[test]
    fn lists_repeat_the_prefix() {
        assert_eq!(found("FR-001/002/003"), "FR-001 FR-002 FR-003");
        assert_eq!(found("FR-001, 002 and 004"), "FR-001 FR-002 FR-004");
        assert_eq!(found("NFR-001/SC-001"), "NFR-001 SC-001");
        assert_eq!(found("FR-010, 20 items"), "FR-010");
        assert_eq!(found("FR-001–FR-003/005"), "FR-001 FR-002 FR-003 FR-005");
    }

    #[test]
    fn stories_are_found_in_words() {
        assert_eq!(found("User Story 1 and 2, user story 3: x"), "US1 US2 US3");
        assert_eq!(found("User Stories 1, 2, and 4"), "US1 US2 US4");
        assert_eq!(found("用户故事 5 と ユーザーストーリー6"), "US5 US6");
        assert_eq!(found("a user story 2024"), "");
    }

    #[test]
    fn identifiers_of_other_features_are_foreign() {
        for text in [
            "012/FR-022",
            "specs/012-prices/spec.md#FR-022",
            "spec 012 FR-022",
            "012-prices: FR-022",
            "FR-022 of spec 012",
            "FR-022 (012-prices)",
        ] {
            assert_eq!(found(text), "FR-022!", "{text}");
        }
        for text in ["007/FR-022", "after 200 FR-022", "FR-022 in 100 ms", "x/FR-022"] {
            assert_eq!(found(text), "FR-022", "{text}");
        }
        assert_eq!(found("FR-001, 012/FR-022"), "FR-001 FR-022!");
    }

    #[test]
    fn families_ignore_zeros_hyphens_and_suffixes() {
        for id in ["FR-007", "FR-7b", "FR7", "FR-007A", "FR-07-target", "fr-7.1"] {
            assert_eq!(family(id), "FR7", "{id}");
        }
        assert_eq!(
            (family("US1.5"), family("FR-DIAG-001"), prefix("US2")),
            ("US1".into(), "FR-DIAG1".into(), "US".into())
        );
    }
}
