//! `checklists/*.md`: questions about the quality of a specification, each with a box.

use std::collections::HashMap;

use serde::Serialize;

use super::diagnostic::{Diagnostic, Parsed};
use super::markdown::{self, Item, Markdown, Span};
use super::spec::identifiers;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Checklist {
    /// The document, unchanged.
    pub source: String,
    pub title: Option<Item>,
    /// Text after the label `**Purpose**`.
    pub purpose: Option<Item>,
    /// Items in the order of the document.
    pub items: Vec<CheckItem>,
}

/// One item of a checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckItem {
    /// Identifier such as `CHK001`, if it has one.
    pub id: Option<String>,
    /// The question, without identifier and without the brackets at its end.
    pub text: String,
    /// Whether the box is ticked.
    pub done: bool,
    /// The text between the brackets of the box, usually one character.
    pub checkbox: Span,
    /// Contents of the brackets at the end: `Completeness`, `Gap`, `Ambiguity`.
    pub markers: Vec<String>,
    /// References, without the sign `§`: `FR-001` of `Spec §FR-001`.
    pub references: Vec<String>,
    /// First line, counted from 1.
    pub line: u32,
    pub span: Span,
}

impl Checklist {
    /// Returns whether every item is ticked.
    pub fn is_done(&self) -> bool {
        self.items.iter().all(|item| item.done)
    }
}

pub fn parse(bytes: &[u8]) -> Parsed<Checklist> {
    let (markdown, mut diagnostics) = match markdown::read(bytes) {
        Ok(read) => read,
        Err(diagnostic) => return Parsed::new(Checklist::default(), vec![diagnostic]),
    };
    let items: Vec<CheckItem> = (0..markdown.items.len()).filter_map(|at| item(&markdown, at)).collect();
    check(&items, &mut diagnostics);
    diagnostics.extend(markdown.placeholders());
    let title = markdown.title(&["checklist", "检查清单"]);
    let purpose = markdown.labelled(0..markdown.lines.len(), &["purpose", "目的", "propósito"]);
    Parsed::new(Checklist { source: markdown.source, title, purpose, items }, diagnostics)
}

fn item(markdown: &Markdown, at: usize) -> Option<CheckItem> {
    let Item { text, line, span } = markdown.item(&markdown.items[at]);
    let mut chars = text.strip_prefix('[')?.chars();
    let mark = chars.next()?;
    let rest = chars.as_str().strip_prefix(']').filter(|rest| rest.starts_with(' '))?.trim_start();
    // The source can have several spaces between the brackets, and comments before them.
    let source = markdown.clean(span);
    let start = source.find('[')? + 1;
    let end = start + source[start..].find(']')?;
    let (id, rest) = identified(rest);
    let (text, markers, references) = bracketed(rest);
    Some(CheckItem {
        id,
        text,
        done: matches!(mark, 'x' | 'X'),
        checkbox: Span { start: span.start + start, end: span.start + end },
        markers,
        references,
        line,
        span,
    })
}

/// Splits `CHK001 text`, in bold or not, and with or without a colon.
fn identified(text: &str) -> (Option<String>, &str) {
    let plain = text.trim_start_matches(['*', '`']);
    let digits = plain.strip_prefix("CHK").map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    if digits == 0 || digits > 9 {
        return (None, text);
    }
    let (id, rest) = plain.split_at("CHK".len() + digits);
    (Some(id.to_owned()), rest.trim_start_matches(['*', '`', ':', ' ', '-', '—']))
}

/// Splits the brackets at the end of a question from it: `[Completeness, Spec §FR-001] [Gap]`.
fn bracketed(text: &str) -> (String, Vec<String>, Vec<String>) {
    const MAX_BRACKETS: usize = 8;
    let mut rest = text.trim_end();
    let mut groups = Vec::new();
    while groups.len() < MAX_BRACKETS
        && let Some((before, inner)) = rest.strip_suffix(']').and_then(|t| t.rsplit_once('['))
        && before.ends_with([' ', ']'])
        && inner.starts_with(char::is_uppercase)
        && !inner.contains("NEEDS CLARIFICATION")
    {
        groups.push(inner);
        rest = before.trim_end();
    }
    let (mut markers, mut references) = (Vec::new(), Vec::new());
    for part in groups.iter().rev().flat_map(|group| group.split([',', ';'])).map(str::trim) {
        match part.split_once('§') {
            Some((_, reference)) => references.push(reference.trim().to_owned()),
            None if part.is_empty() => {}
            None if identifiers::id_len(part) == Some(part.len()) => references.push(part.to_owned()),
            None => markers.push(part.to_owned()),
        }
    }
    (rest.to_owned(), markers, references)
}

fn check(items: &[CheckItem], diagnostics: &mut Vec<Diagnostic>) {
    if items.is_empty() {
        let remedy = "write items as `- [ ] CHK001 …`";
        diagnostics.push(Diagnostic::warning(1, "NoItems", "no item with a check box was found", remedy));
    }
    let mut first: HashMap<&str, u32> = HashMap::new();
    for item in items {
        let Some(id) = item.id.as_deref() else { continue };
        if let Some(there) = first.get(id) {
            let message = format!("{id} is used on line {there} and again on line {}", item.line);
            let remedy = "give one of them another identifier";
            diagnostics.push(Diagnostic::warning(item.line, "DuplicateItem", message, remedy));
        } else {
            first.insert(id, item.line);
        }
    }
}
