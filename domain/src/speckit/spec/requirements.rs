//! Requirements and success criteria: `- **FR-001**: …`, as list items, headings, table rows or paragraphs.

use super::model::Requirement;
use crate::speckit::markdown::{self, LineKind, Markdown, Section, Span, joined, strip_marker};
use crate::text::truncated;

/// Maximum length of the section title that each requirement keeps. The limit matters when one long title has thousands of requirements.
const MAX_SECTION_BYTES: usize = 256;

/// Returns the length of an identifier such as `FR-001`, `FR-012a`, `FR-3.1` or `FR-DIAG-001` at the start of `text`.
pub(crate) fn id_len(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))).unwrap_or(text.len());
    let id = text[..end].trim_end_matches(['.', '-']);
    let (prefix, number) = id.rsplit_once('-')?;
    let words =
        prefix.split('-').all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let suffix = number[digits..].bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.');
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
    let own = !matches!(&text[..letters], "T" | "US" | "AC" | "CHK");
    (own && ends && (1..=3).contains(&letters) && (3..7).contains(&digits)).then_some(len)
}

/// Returns whether the identifier of a definition is that of a success criterion.
pub(super) fn is_criterion(id: &str) -> bool {
    id.strip_prefix("SC").is_some_and(|rest| rest.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
}

fn is_requirement(id: &str, under_requirements: bool) -> bool {
    let prefix = id.split('-').next().unwrap_or_default();
    matches!(prefix, "FR" | "NFR" | "SR" | "PR" | "UX" | "SC" | "DR" | "IR" | "TR" | "QR" | "REQ")
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
        const DEFINES: [&str; 8] =
            ["requirement", "criteria", "measurable outcome", "requisit", "critério", "需求", "成功标准", "要件"];
        let above = above.unwrap_or(Self::Unknown);
        let title = section.title.to_lowercase();
        if section.level == 1 {
            Self::Unknown
        } else if above == Self::Refers || REFERS.iter().any(|word| title.contains(word)) {
            Self::Refers
        } else if above == Self::Defines || DEFINES.iter().any(|word| title.contains(word)) {
            Self::Defines
        } else {
            Self::Unknown
        }
    }
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
    found.push(Requirement { id: id.to_owned(), text: text.to_owned(), section, line, span });
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
