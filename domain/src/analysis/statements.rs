//! A specification as a list of statements, each with the name by which people find it.

use super::finding::Position;
use super::text::{Language, Word, is_one_of, words};
use crate::speckit::Span;
use crate::speckit::spec::Spec;

/// Maximum length of a statement with its details, in bytes; the rest of longer ones is not read.
const MAX_DETAILS_BYTES: usize = 16 << 10;

/// Kind of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatementKind {
    Requirement,
    Criterion,
    Scenario,
    EdgeCase,
    Entity,
    Assumption,
    Clarification,
}

/// One statement.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    pub(super) kind: StatementKind,
    pub(super) location: String,
    pub(super) text: &'a str,
    pub(super) line: u32,
    pub(super) span: Span,
    pub(super) words: Vec<Word<'a>>,
    pub(super) english: bool,
}

impl Statement<'_> {
    pub(super) fn is(&self, kind: StatementKind) -> bool {
        self.kind == kind
    }

    /// Returns the position of a finding about an excerpt of the statement.
    pub(super) fn place<'b>(&'b self, excerpt: &'b str) -> Position<'b> {
        Position { line: self.line, location: &self.location, excerpt }
    }

    /// Returns the statement with everything below it in its list, as the document writes it.
    pub(super) fn with_details<'s>(&self, source: &'s str) -> &'s str {
        let text = source.get(self.span.start..).unwrap_or_default();
        let indent = |line: &str| line.len() - line.trim_start().len();
        let line_start = source[..self.span.start.min(source.len())].rfind('\n').map_or(0, |at| at + 1);
        let own = indent(source.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default());
        let mut len = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let ends =
                number > 0 && len >= self.span.end - self.span.start && !line.trim().is_empty() && indent(line) <= own;
            if ends || len > MAX_DETAILS_BYTES {
                break;
            }
            len += line.len();
        }
        &text[..len]
    }

    /// Returns whether the statement is a requirement or criterion.
    pub(super) fn binds(&self) -> bool {
        matches!(self.kind, StatementKind::Requirement | StatementKind::Criterion)
    }
}

/// All statements of a document, and whether it is in English as a whole.
pub(super) struct Statements<'a> {
    pub(super) all: Vec<Statement<'a>>,
    pub(super) english: bool,
    /// Headings with their offsets, as the location of text outside of statements.
    headings: Vec<(usize, &'a str)>,
    /// First bytes of statements, in order, with their indices in `all`.
    starts: Vec<(usize, usize)>,
}

impl<'a> Statements<'a> {
    pub(super) fn new(spec: &'a Spec) -> Self {
        let mut all = Vec::new();
        for r in &spec.requirements {
            all.push(statement(StatementKind::Requirement, r.id.clone(), &r.text, r.line, r.span));
        }
        for r in &spec.success_criteria {
            all.push(statement(StatementKind::Criterion, r.id.clone(), &r.text, r.line, r.span));
        }
        for s in spec.stories.iter().flat_map(|s| &s.scenarios) {
            all.push(statement(StatementKind::Scenario, s.key.clone(), &s.text, s.line, s.span));
        }
        for (kind, name, items) in [
            (StatementKind::EdgeCase, "Edge Cases", &spec.edge_cases),
            (StatementKind::Assumption, "Assumptions", &spec.assumptions),
        ] {
            all.extend(items.iter().map(|i| statement(kind, name.to_owned(), &i.text, i.line, i.span)));
        }
        for e in spec.entities.iter().filter(|e| is_entity(&e.name)) {
            all.push(statement(
                StatementKind::Entity,
                format!("Key Entities: {}", super::finding::shortened(entity_name(&e.name))),
                &e.text,
                e.line,
                e.span,
            ));
        }
        for c in &spec.clarifications {
            all.push(statement(StatementKind::Clarification, "Clarifications".to_owned(), &c.answer, c.line, c.span));
        }
        let mut document = Language::default();
        for statement in &all {
            document.add(&statement.words);
        }
        for statement in &mut all {
            let own = Language::new(&statement.words);
            statement.english = own.is_english() || (own.is_open() && document.is_english());
        }
        let mut starts: Vec<(usize, usize)> = all.iter().enumerate().map(|(index, s)| (s.span.start, index)).collect();
        starts.sort_unstable();
        Self { all, english: document.is_english(), headings: headings(&spec.source), starts }
    }

    pub(super) fn of_kind(&self, kind: StatementKind) -> impl Iterator<Item = &Statement<'a>> {
        self.all.iter().filter(move |s| s.is(kind))
    }

    /// Returns the statement that contains this byte.
    pub(super) fn at(&self, offset: usize) -> Option<&Statement<'a>> {
        /// Maximum number of preceding statements that are searched: one of them can contain nested statements.
        const MAX_NESTED: usize = 16;
        let before = self.starts.partition_point(|(start, _)| *start <= offset);
        let mut near = self.starts[..before].iter().rev().take(MAX_NESTED).map(|(_, index)| &self.all[*index]);
        near.find(|s| offset < s.span.end)
    }

    /// Returns the location of the statement that contains this byte, or else of the heading above it.
    pub(super) fn location(&self, offset: usize) -> String {
        if let Some(statement) = self.at(offset) {
            return statement.location.clone();
        }
        let after = self.headings.partition_point(|(start, _)| *start <= offset);
        self.headings[..after].last().map_or("Document".to_owned(), |(_, title)| super::finding::shortened(title))
    }
}

fn statement(kind: StatementKind, location: String, text: &str, line: u32, span: Span) -> Statement<'_> {
    Statement { kind, location, text, line, span, words: words(text), english: false }
}

/// Returns whether the name of an item below Key Entities is an entity's, and not a label such as `Attributes` below one.
pub(super) fn is_entity(name: &str) -> bool {
    const LABELS: &str = "attributes relationships relations lifecycle fields properties constraints validation invariants description \
        purpose behavior behaviour represents contains includes required optional calculated computed statuses states rules methods";
    let name = entity_name(name).to_lowercase();
    let label = name.strip_prefix("key ").unwrap_or(&name);
    !name.is_empty() && !label.split_whitespace().all(|word| is_one_of(LABELS, word))
}

/// Returns an entity's name without a remark in brackets.
pub(super) fn entity_name(name: &str) -> &str {
    name.split(['(', '（', '*', '[']).next().unwrap_or_default().trim_matches(['`', '_', ' '])
}

/// Returns the headings of a document with their offsets; code blocks are skipped.
pub(super) fn headings(source: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut at, mut fenced) = (0, false);
    for line in source.split_inclusive('\n') {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced && line.starts_with('#') {
            // A comment beside the heading is not a part of its name.
            let title = line.split("<!--").next().unwrap_or_default();
            found.push((at, title.trim_matches(['#', ' ', '\r', '\n', '*'])));
        }
        at += line.len();
    }
    found
}
