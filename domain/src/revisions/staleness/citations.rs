//! Finds the items of a specification that a text names.

use std::collections::{BTreeMap, BTreeSet};

use crate::speckit::spec::Spec;

/// Maximum number of identifiers in a range such as `FR-001 to FR-009`. Of a longer range, only the ends are used.
const MAX_RANGE: usize = 100;

/// Maximum number of words of the name of an entity that are searched.
const MAX_NAME_WORDS: usize = 4;

/// The names of a specification's items, to be found in texts.
pub(super) struct Names<'a> {
    /// Identifiers of requirements, criteria and scenarios; names of entities, as written and as one word. Each maps to the identifier of
    /// its item.
    names: BTreeMap<String, &'a str>,
    /// Identifiers by prefix and number.
    numbers: BTreeMap<(&'a str, u32), Vec<&'a str>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(spec: &'a Spec) -> Self {
        let requirements = spec.requirements.iter().chain(&spec.success_criteria).map(|r| r.id.as_str());
        let scenarios = spec.stories.iter().flat_map(|story| &story.scenarios).map(|s| s.key.as_str());
        let mut names: BTreeMap<String, &str> = BTreeMap::new();
        for entity in &spec.entities {
            let joined = entity.name.split_whitespace().collect::<String>();
            names.extend([(entity.name.clone(), entity.name.as_str()), (joined, entity.name.as_str())]);
        }
        names.extend(requirements.clone().chain(scenarios).map(|id| (id.to_owned(), id)));
        let mut numbers: BTreeMap<(&str, u32), Vec<&str>> = BTreeMap::new();
        for id in requirements {
            if let Some((prefix, number)) = numbered(id) {
                numbers.entry((prefix, number)).or_default().push(id);
            }
        }
        Self { names, numbers }
    }

    /// Returns whether the specification has an item of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Returns the items that a text names: identifiers, ranges of them (`FR-001 to FR-003`, `FR-001–003`, `FR-001..FR-003`), siblings
    /// (`FR-001/002`), and entities as whole words with the same case.
    pub(super) fn cited(&self, text: &str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut at = 0;
        while let Some(start) = text[at..].find(char::is_alphanumeric).map(|offset| at + offset) {
            at = match id_len(&text[start..]) {
                Some(len) => self.sequence(text, start, start + len, &mut found),
                None => self.words(text, start, &mut found),
            };
        }
        found
    }

    /// Adds the identifier at `start` with its range or siblings, and returns where that text ends.
    fn sequence(&self, text: &str, start: usize, mut end: usize, found: &mut BTreeSet<&'a str>) -> usize {
        found.extend(self.names.get(&text[start..end]));
        let Some((prefix, mut first)) = numbered(&text[start..end]) else { return end };
        while let Some((is_range, rest)) = joint(&text[end..]) {
            let is_tight = !text[end..text.len() - rest.len()].contains(' ');
            let len = match id_len(rest) {
                Some(len) if numbered(&rest[..len]).is_some_and(|(other, _)| other == prefix) => len,
                None if is_tight => rest.bytes().take_while(u8::is_ascii_digit).count(),
                _ => break,
            };
            let number = rest[..len].rsplit('-').next().unwrap_or_default();
            let digits = number.bytes().take_while(u8::is_ascii_digit).count();
            let Ok(last) = number[..digits].parse::<u32>() else { break };
            if rest[len..].starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                break;
            }
            // `range` panics if its start is after its end, as in the reversed range `FR-003 to FR-001`.
            let from = if is_range { first.min(last) } else { last };
            let ids: Vec<&str> = self
                .numbers
                .range((prefix, from)..=(prefix, last))
                .flat_map(|(_, ids)| ids)
                .copied()
                .take(MAX_RANGE + 1)
                .collect();
            // A text with an oversized range must not name most of the specification.
            if ids.len() <= MAX_RANGE {
                found.extend(ids);
            } else {
                found.extend(self.numbers.get(&(prefix, last)).into_iter().flatten());
            }
            first = last;
            end = text.len() - rest.len() + len;
        }
        end
    }

    /// Adds the name that begins with the word at `start`, and returns where the word ends.
    fn words(&self, text: &str, start: usize, found: &mut BTreeSet<&'a str>) -> usize {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '/');
        let word_end = |from: usize| text[from..].find(|c| !is_word(c)).map_or(text.len(), |len| from + len);
        let first = word_end(start);
        let mut end = first;
        for _ in 0..MAX_NAME_WORDS {
            found.extend(self.names.get(&text[start..end]));
            // A name is on one line, with at most two characters between its words.
            let gap = text[end..].find(char::is_alphanumeric).filter(|gap| *gap <= 2);
            let Some(gap) = gap.filter(|gap| !text[end..end + gap].contains('\n')) else { break };
            end = word_end(end + gap);
        }
        first
    }
}

/// Returns the length of the identifier at the start of a text: words of capitals and digits, joined by hyphens, up to the first number.
fn id_len(text: &str) -> Option<usize> {
    let mut len = 0;
    for (index, word) in text.split('-').enumerate() {
        let end = word.find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit()).unwrap_or(word.len());
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        if index > 0 && digits > 0 && digits < 7 && digits == end {
            let len = len + digits + suffix_len(&text[len + digits..]);
            return Some(len).filter(|len| !text[*len..].starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        }
        if end != word.len() || digits == end || end > 16 || index > 4 {
            return None;
        }
        len += word.len() + 1;
    }
    None
}

/// Returns the length of the suffix after the number of an identifier: `a`, `.1`.
fn suffix_len(text: &str) -> usize {
    let attached = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'a'..=b'z') if !attached(bytes.get(1)) => 1,
        Some(b'.') => match bytes[1..].iter().take_while(|b| b.is_ascii_digit()).count() {
            0 => 0,
            digits => 1 + digits,
        },
        _ => 0,
    }
}

/// Returns the prefix and number of an identifier: `FR-DIAG` and 12 for `FR-DIAG-012a`.
fn numbered(id: &str) -> Option<(&str, u32)> {
    let (prefix, number) = id.rsplit_once('-')?;
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    Some((prefix, number[..digits].parse().ok()?))
}

/// Returns the connection of an identifier to the next one: whether it is a range, and the text after the connection.
fn joint(text: &str) -> Option<(bool, &str)> {
    let trimmed = text.trim_start_matches([' ', '*', '`']);
    let words = ["to ", "through "].into_iter().filter(|_| trimmed.len() < text.len());
    let range = words.chain(["...", "..", "–", "—", "-", "~"]).find_map(|mark| trimmed.strip_prefix(mark));
    let (is_range, rest) = match range {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('/')?),
    };
    Some((is_range, rest.trim_start_matches([' ', '*', '`'])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speckit::spec;

    const SPEC: &str = "# Spec: A\n\n### User Story 1 - A\n\n1. **Given** a, **When** b, **Then** c\n\n## Requirements\n\n- **FR-001**: a\n- **FR-002**: b\n- **FR-002a**: b\n- **FR-003**: c\n- **FR-UI-003**: d\n\n### Key Entities\n\n- **Ticket**: e\n- **Ticket Type**: f\n\n## Success Criteria\n\n- **SC-001**: g\n";

    #[test]
    fn names_are_found_in_prose() {
        let spec = spec::parse(SPEC.as_bytes()).model;
        let names = Names::new(&spec);
        let cases: [(&str, &[&str]); 16] = [
            ("Add a gate (FR-001, SC-001)", &["FR-001", "SC-001"]),
            ("Add FR-001.", &["FR-001"]),
            ("for FR-001 to FR-003", &["FR-001", "FR-002", "FR-002a", "FR-003"]),
            ("FR-001–003", &["FR-001", "FR-002", "FR-002a", "FR-003"]),
            ("FR-001-FR-002", &["FR-001", "FR-002", "FR-002a"]),
            ("FR-002..FR-003 and more", &["FR-002", "FR-002a", "FR-003"]),
            ("**FR-001**/**FR-003**", &["FR-001", "FR-003"]),
            ("FR-001/003", &["FR-001", "FR-003"]),
            ("FR-001 - 3 gates", &["FR-001"]),
            ("FR-UI-003", &["FR-UI-003"]),
            ("FR-0011, XFR-001, FR-001x2, fr-001", &[]),
            ("see US1/AC1", &["US1/AC1"]),
            ("Create Ticket model", &["Ticket"]),
            ("Create `TicketType`, tickets", &["Ticket Type"]),
            ("a Ticket Type", &["Ticket", "Ticket Type"]),
            ("Use UTF-8, sha-256 and T001-T003", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(names.cited(text).into_iter().collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
