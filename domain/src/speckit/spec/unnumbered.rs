//! Requirements and criteria that are written without an identifier: items and rows below headings about them.

use std::collections::HashMap;

use super::identifiers::{ASSIGNED, ASSIGNED_CRITERION, Kind, definition, leading};
use super::model::Requirement;
use super::requirements::{Found, requirement};
use super::roles::{self, Purpose, Role};
use crate::digest::Digest;
use crate::speckit::constitution::demands;
use crate::speckit::diagnostic::Diagnostic;
use crate::speckit::markdown::{Item, Markdown, Section};

/// Texts that say that there is nothing.
const NONE: [&str; 12] =
    ["none", "n/a", "na", "tbd", "nothing", "keine", "aucune", "ninguno", "nenhum", "нет", "无", "なし"];

/// Returns the statements without identifier, in order, each with an identifier that is made from its text, and an information for each
/// section with such statements. `numbered` are those with an identifier, in order.
pub(super) fn find(markdown: &Markdown, roles: &[Role], numbered: &[Found]) -> (Vec<Found>, Vec<Diagnostic>) {
    let (mut found, mut diagnostics): (Vec<Found>, _) = (Vec::new(), Vec::new());
    let starts: Vec<u32> = numbered.iter().map(|(_, requirement)| requirement.line).collect();
    let mut repeated: HashMap<String, usize> = HashMap::new();
    // For each section, whether one around it has statements with identifiers.
    let mut beside: Vec<bool> = Vec::with_capacity(roles.len());
    for (section, role) in markdown.sections.iter().zip(roles) {
        let lines = markdown.lines[section.heading].number
            ..markdown.lines.get(section.end).map_or(u32::MAX, |line| line.number);
        let own = starts.partition_point(|line| *line < lines.end) > starts.partition_point(|line| *line < lines.start);
        let above = section.parent.filter(|_| !role.named).is_some_and(|parent| beside[parent]);
        beside.push(above || own);
        let Some(kind) = role.kind.filter(|_| role.purpose == Purpose::Defines && !role.repeats) else { continue };
        let before = found.len();
        for item in statements(markdown, section, *role, above || own) {
            let id = assigned(kind, &item.text);
            let count = repeated.entry(id.clone()).or_insert(0);
            *count += 1;
            let id = if *count > 1 { format!("{id}-{}", letters(&count.to_string())) } else { id };
            found.push((kind, requirement((&id, &item.text), &section.title, item.line, item.span)));
        }
        if let [(_, first), ..] = &found[before..] {
            diagnostics.push(report(kind, first, found.len() - before));
        }
    }
    (found, diagnostics)
}

/// Returns the statements of a section without an identifier. Beside statements with identifiers, only a demand is surely a statement.
fn statements(markdown: &Markdown, section: &Section, role: Role, beside: bool) -> Vec<Item> {
    if definition(&section.title).is_some() || role.other {
        return Vec::new();
    }
    if let Some(name) = named(&section.title) {
        let lines = section.heading + 1..section.own_end;
        let text = markdown.prose(lines).map_or_else(|| name.to_owned(), |prose| format!("{name}: {}", prose.text));
        let span = markdown.span_of(section.heading..section.own_end);
        return vec![Item { text, line: markdown.lines[section.heading].number, span }];
    }
    let items = items(markdown, section);
    if items.is_empty() && !beside {
        return rows(markdown, section);
    }
    let states =
        |item: &Item| leading(&item.text).is_none() && (!beside || demands(&item.text)) && says_something(&item.text);
    items.into_iter().filter(states).map(|item| Item { text: without_box(&item.text).to_owned(), ..item }).collect()
}

/// Returns the name in the heading of a requirement of OpenSpec: `Requirement: Doors close`. What must hold is below it, and its scenarios are
/// sections of their own.
pub(super) fn named(title: &str) -> Option<&str> {
    let name = title.strip_prefix("Requirement:").or_else(|| title.strip_prefix("Requirement："))?.trim();
    (!name.is_empty()).then_some(name)
}

/// Returns the items of the outermost list of a section, and instead of an item that only announces others (`Speed:`) those below it.
fn items(markdown: &Markdown, section: &Section) -> Vec<Item> {
    let items = markdown.items_in(section.heading + 1..section.own_end);
    let depth = items.iter().map(|item| item.depth).min().unwrap_or_default();
    let mut found = Vec::new();
    // The end of the last item that announces others.
    let mut announced = 0;
    for item in items {
        let below = item.depth == depth + 1 && item.span.start < announced;
        if item.depth != depth && !below {
            continue;
        }
        let read = markdown.item(item);
        let plain = read.text.trim_end_matches(['*', '_', ' ']);
        if item.depth == depth
            && item.own.end < item.span.end
            && plain.ends_with([':', '：'])
            && definition(plain).is_none()
        {
            announced = item.span.end;
        } else {
            found.push(read);
        }
    }
    found
}

/// Returns the rows of the tables of a section whose rows have no identifiers.
fn rows(markdown: &Markdown, section: &Section) -> Vec<Item> {
    let mut found = Vec::new();
    for table in markdown.rows_in(section.heading + 1..section.own_end).chunk_by(|one, other| one.table == other.table)
    {
        let headers = markdown.headers.get(table[0].table).map(Vec::as_slice).unwrap_or_default();
        let numbered = table.iter().any(|row| row.cells.iter().take(2).any(|cell| leading(cell).is_some()));
        if numbered || !roles::has_texts(headers, None) {
            continue;
        }
        let filled = |cells: &[String]| {
            let cells = cells.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty());
            cells.collect::<Vec<_>>().join(" | ")
        };
        let items = table.iter().map(|row| Item { text: filled(&row.cells), line: row.line, span: row.span });
        found.extend(items.filter(|item| says_something(&item.text)));
    }
    found
}

/// Returns whether a text is more than `None`, a number or a placeholder.
fn says_something(text: &str) -> bool {
    const FEWEST: usize = 3;
    let plain = text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let placeholder = text.starts_with('[') && text.ends_with(']');
    let letters = plain.chars().filter(|c| c.is_alphabetic());
    !placeholder
        && !NONE.contains(&plain.as_str())
        && letters.map(|c| 1 + usize::from(u32::from(c) >= 0x2E80)).sum::<usize>() >= FEWEST
}

/// Returns the text after a box.
pub(super) fn without_box(text: &str) -> &str {
    ["[ ] ", "[x] ", "[X] "].iter().find_map(|mark| text.strip_prefix(mark)).unwrap_or(text).trim_start()
}

/// Returns the identifier of a statement: the same for the same text, at whatever line it is. It has no digits, since a number would look
/// like that of a numbered statement.
fn assigned(kind: Kind, text: &str) -> String {
    let digest = Digest::of_bytes(text.as_bytes());
    let begin = match kind {
        Kind::Requirement => ASSIGNED,
        Kind::Criterion => ASSIGNED_CRITERION,
    };
    [begin, &letters(digest.short().get(..8).unwrap_or_default())].concat()
}

/// Writes hexadecimal digits as the letters from `a` to `p`.
fn letters(digits: &str) -> String {
    let letter = |c: char| c.to_digit(16).and_then(|value| char::from_u32(u32::from('a') + value));
    digits.chars().filter_map(letter).collect()
}

fn report(kind: Kind, first: &Requirement, count: usize) -> Diagnostic {
    let (what, form) = match kind {
        Kind::Requirement => ("requirements", "- **FR-001**: …"),
        Kind::Criterion => ("criteria", "- **SC-001**: …"),
    };
    Diagnostic::info(
        first.line,
        "UnnumberedRequirement",
        format!(
            "{count} {what} below {:?} have no identifier; they are read with identifiers that are made from their texts, such as {}",
            first.section, first.id
        ),
        format!("write `{form}`, so that other documents can refer to them"),
    )
}
