//! Requirements and success criteria: `- **FR-001**: …`, as list items, headings, table rows or paragraphs.

use super::model::Requirement;
use crate::speckit::markdown::{self, LineKind, Markdown, Section, Span, joined, strip_marker};
use crate::text::truncated;

/// Maximum length of the section title that each requirement keeps. The limit matters when one long title has thousands of requirements.
const MAX_SECTION_BYTES: usize = 256;

/// Returns the length of an identifier such as `FR-001`, `FR-012a`, `FR-3.1` or `FR-DIAG-001` at the start of `text`.
pub(crate) fn id_len(text: &str) -> Option<usize> {
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
    let (prefix, number) = id.rsplit_once('-')?;
    let words =
        prefix.split('-').all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let suffix = number[digits..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    let letters = prefix.bytes().take_while(u8::is_ascii_uppercase).count();
    (words && digits > 0 && digits < 7 && suffix && number.len() - digits < 5 && (2..=8).contains(&letters))
        .then_some(id.len())
}

/// Returns the length of an identifier without a hyphen, such as `R001` or `FR001a`, at the start of `text`; tasks and stories have other
/// forms.
fn plain_id_len(text: &str) -> Option<usize> {
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let digits = text.bytes().skip(letters).take_while(u8::is_ascii_digit).count();
    let len = letters + digits;
    let len = len + usize::from(text.as_bytes().get(len).is_some_and(u8::is_ascii_lowercase));
    let ends = !text[len..].starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let prefix = &text[..letters];
    let own = !matches!(prefix, "T" | "US" | "AC" | "CHK");
    // A known prefix also has small numbers: `FR4`.
    let fewest = if PREFIXES.contains(&prefix) { 1 } else { 3 };
    (own && ends && (1..=3).contains(&letters) && (fewest..7).contains(&digits)).then_some(len)
}

/// Returns whether the identifier of a definition is that of a success criterion.
pub(super) fn is_criterion(id: &str) -> bool {
    id.strip_prefix("SC").is_some_and(|rest| rest.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
}

fn is_requirement(id: &str, under_requirements: bool) -> bool {
    let prefix = id.split('-').next().unwrap_or_default().trim_end_matches(|c: char| c.is_ascii_digit());
    PREFIXES.contains(&prefix)
        || (under_requirements && !matches!(prefix, "US" | "AC" | "ADR" | "RFC" | "ISO" | "UTF" | "SHA" | "HTTP"))
}

/// Returns every definition in the document, in order: requirements and criteria, including repeated ones.
pub(super) fn find(markdown: &Markdown) -> Vec<Requirement> {
    let mut found = Vec::new();
    let mut roles: Vec<Role> = Vec::with_capacity(markdown.sections.len());
    for section in &markdown.sections {
        let role = Role::of(section, section.parent.map(|parent| roles[parent]));
        roles.push(role);
        if role != Role::Refers {
            in_section(markdown, section, role == Role::Defines, &mut found);
        }
    }
    found
}

/// Role of the identifiers in a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Defines,
    /// The identifiers refer to definitions elsewhere.
    Refers,
    Unknown,
}

impl Role {
    fn of(section: &Section, above: Option<Self>) -> Self {
        const REFERS: [&str; 5] = ["coverage", "traceab", "clarification", "追溯", "覆盖"];
        const DEFINES: [&str; 22] = [
            "requirement",
            "criteria",
            "measurable outcome",
            "requisit",
            "critério",
            "criterios",
            "critères",
            "exigence",
            "anforderung",
            "kriterien",
            "requerim",
            "criteri",
            "требовани",
            "критери",
            "需求",
            "成功标准",
            "成功標準",
            "要求",
            "要件",
            "成功基準",
            "요구",
            "성공 기준",
        ];
        let above = above.unwrap_or(Self::Unknown);
        let title = section.title.to_lowercase();
        if section.level == 1 {
            Self::Unknown
        } else if above == Self::Refers || refers(&section.title, &title, &REFERS) {
            Self::Refers
        } else if above == Self::Defines || DEFINES.iter().any(|word| title.contains(word)) {
            Self::Defines
        } else {
            Self::Unknown
        }
    }
}

/// Returns whether a section only refers to definitions: `Requirements coverage`, but neither `Test coverage requirements` nor `NFR-2: Test
/// coverage`.
fn refers(title: &str, lower: &str, words: &[&str]) -> bool {
    let defines = lower.ends_with("requirements") || definition(title).is_some();
    words.iter().any(|word| lower.contains(word)) && !defines
}

fn in_section(markdown: &Markdown, section: &Section, defining: bool, found: &mut Vec<Requirement>) {
    let lines = section.heading + 1..section.own_end;
    if let Some((id, text)) = definition(&section.title).filter(|(id, _)| is_requirement(id, defining)) {
        let body = markdown.prose(lines.clone()).map(|p| p.text).unwrap_or_default();
        let text = [text, body.as_str()].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" ");
        let span = markdown.span_of(section.heading..section.own_end);
        push(found, (id, &text), &section.title, markdown.lines[section.heading].number, span);
    }
    let defines = |text: &str| definition(text).is_some_and(|(id, _)| is_requirement(id, defining));
    let mut pieces: Vec<(u32, Span, String)> = Vec::new();
    for item in markdown.items_in(lines.clone()) {
        if defines(strip_marker(markdown.clean(item.own))) {
            let item = markdown.item(item);
            pieces.push((item.line, item.span, item.text));
        }
    }
    for index in lines.clone().filter(|i| markdown.lines[*i].kind == LineKind::Text) {
        let text = markdown.text(index);
        if text.starts_with("**") && defines(text) {
            let span = markdown.lines[index].span;
            pieces.push((markdown.lines[index].number, span, joined(text)));
        }
    }
    for row in markdown.rows_in(lines).iter().filter(|_| defining) {
        if let Some((id, rest)) = row.cells.split_first() {
            pieces.push((row.line, row.span, format!("{}: {}", id.trim_matches(['*', '`']), rest.join(" | "))));
        }
    }
    pieces.sort_by_key(|(line, ..)| *line);
    pieces.dedup_by_key(|(line, ..)| *line);
    for (line, span, text) in &pieces {
        if let Some(parts) = definition(text).filter(|(id, _)| is_requirement(id, defining)) {
            push(found, parts, &section.title, *line, *span);
        }
    }
}

fn push(found: &mut Vec<Requirement>, (id, text): (&str, &str), section: &str, line: u32, span: Span) {
    let section = truncated(section, MAX_SECTION_BYTES).to_owned();
    found.push(Requirement {
        id: id.to_owned(),
        text: text.to_owned(),
        retired: is_retired(text),
        section,
        line,
        span,
    });
}

/// Returns whether a definition begins with a mark of a requirement that no longer holds: `[RETIRED]`, `SUPERSEDED by FR-010`.
fn is_retired(text: &str) -> bool {
    let word = text
        .trim_start_matches(|c: char| !c.is_alphanumeric())
        .split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or_default();
    matches!(word, "RETIRED" | "SUPERSEDED" | "REMOVED" | "OBSOLETE" | "DEPRECATED" | "WITHDRAWN")
}

/// Returns the items with a demand, below headings about requirements, that have no identifier: by section, its title, the line of the
/// first one, and their number.
pub(super) fn unnumbered(markdown: &Markdown) -> Vec<(String, u32, usize)> {
    let mut roles: Vec<Role> = Vec::with_capacity(markdown.sections.len());
    let mut found = Vec::new();
    for section in &markdown.sections {
        let role = Role::of(section, section.parent.map(|parent| roles[parent]));
        roles.push(role);
        let lower = section.title.to_lowercase();
        let named = lower.contains("requirement")
            || lower.contains("需求")
            || lower.contains("requisit")
            || lower.contains("anforderung");
        if role != Role::Defines || !named {
            continue;
        }
        let items = markdown.top_items(section.heading + 1..section.own_end);
        let plain: Vec<_> = items.iter().filter(|item| definition(&item.text).is_none()).collect();
        let whole = plain.len() == items.len();
        let plain: Vec<_> =
            plain.into_iter().filter(|item| whole || crate::speckit::constitution::demands(&item.text)).collect();
        if let Some(first) = plain.first() {
            found.push((truncated(&section.title, MAX_SECTION_BYTES).to_owned(), first.line, plain.len()));
        }
    }
    found
}

/// Splits `**FR-001** (P1): text` into identifier and text. A mention such as `FR-001 and FR-002 are …` is not a definition.
pub(crate) fn definition(text: &str) -> Option<(&str, &str)> {
    let plain = text.trim_start_matches(['*', '_', '`', '[', ' ', '~']);
    let box_free = ["x] ", "X] ", " ] "]
        .iter()
        .find_map(|b| plain.strip_prefix(b))
        .unwrap_or(plain)
        .trim_start_matches(['*', '_', '`', ' ']);
    let len = id_len(box_free).or_else(|| plain_id_len(box_free))?;
    let (id, rest) = box_free.split_at(len);
    // `**FR-001**` and `**FR-001 Title**:` are names, `**FR-001 was removed.**` is a sentence.
    let bold = rest.trim_start_matches(['`', ']', '~']).starts_with(['*', '_']) || markdown::label(text).is_some();
    let rest = rest.trim_start_matches(['*', '_', '`', ']', '~']);
    let after = rest.trim_start();
    let separated = after.starts_with([':', '：', '—', '–', '-', '(', '（', '[']) || after.is_empty();
    if !separated && !bold {
        return None;
    }
    let text = after.trim_start_matches([':', '：', '—', '–', '-', ' ', '*']);
    Some((id, text))
}
