//! Requirements and success criteria: `- **FR-001**: …`, as list items, headings, table rows or paragraphs.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::identifiers::{Kind, definition, is_lone, is_own, is_requirement, kind_of};
use super::model::Requirement;
use super::roles::{self, Purpose, Role};
use crate::speckit::diagnostic::Diagnostic;
use crate::speckit::markdown::{LineKind, Markdown, Row, Section, Span, joined, strip_marker};
use crate::text::truncated;

/// Maximum length of the section title that each requirement keeps. The limit matters when one long title has thousands of requirements.
const MAX_SECTION_BYTES: usize = 256;

/// A line with the form of a definition.
struct Candidate {
    kind: Kind,
    requirement: Requirement,
    level: Level,
    /// Index of its table, if it is a row.
    table: Option<usize>,
    /// Lines of its section, if it is a heading, as numbers from 1.
    below: Range<u32>,
}

/// How certainly a line defines a requirement. Of several lines about one requirement, the most certain one defines it, and less certain
/// ones mention it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// A line in a comparison or an appendix, a row about tests or tasks, or a text that is only a state.
    Repeated,
    /// A line outside of the sections that define statements of its kind.
    Elsewhere,
    Row,
    /// An item, a paragraph or a heading.
    Stated,
}

/// A statement and its kind.
pub(super) type Found = (Kind, Requirement);

/// Returns the definitions in the document, each identifier once, in order, and an error for each identifier that is defined twice.
pub(super) fn find(markdown: &Markdown, roles: &[Role]) -> (Vec<Found>, Vec<Diagnostic>) {
    let mut candidates = Vec::new();
    for (section, role) in markdown.sections.iter().zip(roles) {
        if role.purpose != Purpose::Refers {
            in_section(markdown, section, *role, &mut candidates);
        }
    }
    let mut groups: HashMap<String, Vec<usize>> = HashMap::with_capacity(candidates.len());
    for (at, candidate) in candidates.iter().enumerate() {
        groups.entry(candidate.requirement.id.clone()).or_default().push(at);
    }
    let mut defines = vec![false; candidates.len()];
    let mut diagnostics = Vec::new();
    for group in groups.into_values() {
        // The first of the most certain lines.
        let best = group.iter().copied().max_by_key(|at| (candidates[*at].level, Reverse(*at))).unwrap_or_default();
        defines[best] = true;
        let others = group.iter().copied().filter(|at| *at != best);
        diagnostics.extend(
            others
                .filter(|at| is_duplicate(markdown, &candidates[best], &candidates[*at]))
                .map(|at| duplicate(&candidates[best].requirement, &candidates[at].requirement)),
        );
    }
    let found = candidates.into_iter().zip(defines).filter(|(_, defines)| *defines);
    (found.map(|(candidate, _)| (candidate.kind, candidate.requirement)).collect(), diagnostics)
}

/// Returns whether two lines with one identifier both define it.
fn is_duplicate(markdown: &Markdown, best: &Candidate, other: &Candidate) -> bool {
    if other.level != best.level || other.level == Level::Repeated || best.below.contains(&other.requirement.line) {
        return false;
    }
    // Tables of another form have other columns about the same requirements.
    match (best.table, other.table) {
        (Some(one), Some(another)) => one == another || markdown.headers.get(one) == markdown.headers.get(another),
        _ => true,
    }
}

fn duplicate(first: &Requirement, second: &Requirement) -> Diagnostic {
    let (id, there, here) = (&first.id, first.line, second.line);
    Diagnostic::error(
        here,
        "DuplicateRequirement",
        format!("{id} is defined on line {there} and again on line {here}; the second is ignored"),
        "give one of them another identifier",
    )
}

fn in_section(markdown: &Markdown, section: &Section, role: Role, found: &mut Vec<Candidate>) {
    let lines = section.heading + 1..section.own_end;
    let defining = role.purpose == Purpose::Defines && !role.other;
    let heading_at = markdown.lines[section.heading].number;
    let mut push = |parts: (&str, &str), line: u32, span: Span, row: Option<&Row>| {
        let requirement = requirement(parts, &section.title, line, span);
        let own = line == heading_at;
        let below = if own { line..line_number(markdown, section.end) } else { 0..0 };
        let kind = kind_of(&requirement.id, role.own);
        let level = level(markdown, kind, &requirement, role, row);
        found.push(Candidate { kind, requirement, level, table: row.map(|row| row.table), below });
    };
    if let Some((id, text)) = definition(&section.title).filter(|(id, _)| is_requirement(id, defining)) {
        let body = markdown.prose(lines.clone()).map(|p| p.text).unwrap_or_default();
        let text = [text, body.as_str()].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" ");
        push((id, &text), heading_at, markdown.span_of(section.heading..section.own_end), None);
    }
    let defines = |text: &str| definition(text).is_some_and(|(id, _)| is_requirement(id, defining));
    let mut pieces: Vec<(u32, Span, String, Option<&Row>)> = Vec::new();
    for item in markdown.items_in(lines.clone()) {
        if defines(strip_marker(markdown.clean(item.own))) {
            let item = markdown.item(item);
            pieces.push((item.line, item.span, item.text, None));
        }
    }
    for index in lines.clone().filter(|i| markdown.lines[*i].kind == LineKind::Text) {
        let text = markdown.text(index);
        if text.starts_with("**") && defines(text) {
            let span = markdown.lines[index].span;
            pieces.push((markdown.lines[index].number, span, joined(text), None));
        }
    }
    let mut whole_cells: Vec<(String, String, &Row)> = Vec::new();
    for row in markdown.rows_in(lines).iter().filter(|_| defining) {
        if let Some(at) = id_column(&row.cells) {
            let id = row.cells[at].trim_matches(['*', '`']);
            let text = row.cells[at + 1..].join(" | ");
            match definition(id).filter(|(whole, rest)| rest.is_empty() && is_requirement(whole, defining)) {
                Some((whole, _)) => whole_cells.push((whole.to_owned(), text, row)),
                None => pieces.push((row.line, row.span, format!("{id}: {text}"), Some(row))),
            }
        }
    }
    pieces.sort_by_key(|(line, ..)| *line);
    pieces.dedup_by_key(|(line, ..)| *line);
    for (id, text, row) in &whole_cells {
        push((id, text), row.line, row.span, Some(row));
    }
    for (line, span, text, row) in &pieces {
        if let Some(parts) = definition(text).filter(|parts| is_requirement(parts.0, defining) && !is_lone(*parts)) {
            push(parts, *line, *span, *row);
        }
    }
}

/// Reports the statements with identifiers of the project's own that are neither requirements nor criteria: one information for each of
/// these sections. `known` are the identifiers that are read, and `is_read` says of which titles the items are read as something else.
pub(super) fn unread(
    markdown: &Markdown,
    roles: &[Role],
    known: &[Found],
    is_read: impl Fn(&str) -> bool,
) -> Vec<Diagnostic> {
    let known: HashSet<&str> = known.iter().map(|(_, requirement)| requirement.id.as_str()).collect();
    let mut diagnostics = Vec::new();
    for (section, role) in markdown.sections.iter().zip(roles) {
        let read = role.purpose == Purpose::Defines && !role.other;
        if read || role.repeats || (role.other && role.own.is_none()) || is_read(&section.title) {
            continue;
        }
        let mut found = Vec::new();
        in_section(markdown, section, Role { purpose: Purpose::Defines, other: false, ..*role }, &mut found);
        let unread = |candidate: &&Candidate| {
            let id = candidate.requirement.id.as_str();
            candidate.level != Level::Repeated && is_own(id) && !known.contains(id)
        };
        let unread: Vec<&Requirement> = found.iter().filter(unread).map(|candidate| &candidate.requirement).collect();
        if let [first, ..] = unread[..] {
            let message = format!(
                "{} statements below {:?} have an identifier such as {}, and are read neither as requirements nor as criteria",
                unread.len(),
                first.section,
                first.id
            );
            let remedy = "if they are, move them below a heading such as `## Requirements` or `## Success Criteria`";
            diagnostics.push(Diagnostic::info(first.line, "UnreadIdentifier", message, remedy));
        }
    }
    diagnostics
}

/// Returns the column of the identifier of a row: the first or the second.
fn id_column(cells: &[String]) -> Option<usize> {
    cells.iter().take(2).position(|cell| definition(cell).is_some())
}

/// Returns how certainly a line defines its identifier.
fn level(markdown: &Markdown, kind: Kind, requirement: &Requirement, role: Role, row: Option<&Row>) -> Level {
    let headers = row.and_then(|row| markdown.headers.get(row.table)).map(Vec::as_slice).unwrap_or_default();
    let uses = row.is_some_and(|row| roles::refers(headers, id_column(&row.cells).unwrap_or_default()));
    if role.repeats || uses || (row.is_none() && is_state(&requirement.text)) {
        Level::Repeated
    } else if role.purpose == Purpose::Defines && role.kind == Some(kind) && !role.other {
        if row.is_some() { Level::Row } else { Level::Stated }
    } else {
        Level::Elsewhere
    }
}

/// Returns whether a text is nothing but the state of a requirement: `✅ done`, `covered by T003`.
fn is_state(text: &str) -> bool {
    const STATES: [&str; 14] = [
        "covered",
        "done",
        "implemented",
        "passed",
        "pass",
        "met",
        "verified",
        "complete",
        "completed",
        "satisfied",
        "see",
        "tested",
        "addressed",
        "unchanged",
    ];
    let plain = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    let word = plain.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    text.starts_with(['✅', '✓', '✔', '❌', '☑', '⚠', '→'])
        || STATES.iter().any(|state| word.eq_ignore_ascii_case(state))
}

fn line_number(markdown: &Markdown, line: usize) -> u32 {
    markdown.lines.get(line).map_or(u32::MAX, |line| line.number)
}

pub(super) fn requirement((id, text): (&str, &str), section: &str, line: u32, span: Span) -> Requirement {
    let section = truncated(section, MAX_SECTION_BYTES).to_owned();
    Requirement { id: id.to_owned(), text: text.to_owned(), retired: is_retired(text), section, line, span }
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
