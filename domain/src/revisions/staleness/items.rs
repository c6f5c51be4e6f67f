//! The items of a specification with the part of their text that is compared.

use std::collections::BTreeMap;

use crate::revisions::sections::split;
use crate::speckit::Span;
use crate::speckit::spec::{Spec, UserStory};

/// An item, ready to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    /// Text of the item without emphasis and with single spaces.
    pub(super) text: String,
    pub(super) line: u32,
}

/// Reader of the full text of items. The model keeps only the first paragraph of some; lists, tables and code below an item belong to it.
pub(super) struct Reader<'a> {
    spec: &'a Spec,
    /// Items with identifiers, by the offset of their beginning.
    items: BTreeMap<usize, Span>,
    /// Offsets of items and sections, in order.
    starts: Vec<usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(spec: &'a Spec) -> Self {
        let scenarios = spec.stories.iter().flat_map(|story| &story.scenarios).map(|s| s.span);
        let requirements = spec.requirements.iter().chain(&spec.success_criteria).map(|r| r.span);
        let others = spec.entities.iter().map(|e| e.span).chain(spec.clarifications.iter().map(|c| c.span));
        let items: BTreeMap<usize, Span> =
            scenarios.chain(requirements).chain(others).map(|span| (span.start, span)).collect();
        let sections = split(&spec.source).into_iter().map(|section| section.start);
        let mut starts: Vec<usize> = items.keys().copied().chain(sections).collect();
        starts.sort_unstable();
        Self { spec, items, starts }
    }

    pub(super) fn requirements(&self) -> Vec<Entry> {
        self.spec.requirements.iter().map(|r| self.entry(&r.id, &r.text, r.line, r.span)).collect()
    }

    pub(super) fn criteria(&self) -> Vec<Entry> {
        self.spec.success_criteria.iter().map(|r| self.entry(&r.id, &r.text, r.line, r.span)).collect()
    }

    pub(super) fn entities(&self) -> Vec<Entry> {
        self.spec.entities.iter().map(|e| self.entry(&e.name, &e.text, e.line, e.span)).collect()
    }

    pub(super) fn scenarios(&self, story: &UserStory) -> Vec<Entry> {
        story.scenarios.iter().map(|s| self.entry(&s.key, &s.text, s.line, s.span)).collect()
    }

    pub(super) fn clarifications(&self) -> Vec<Entry> {
        let read = |c: &crate::speckit::spec::Clarification| Entry {
            id: c.question.clone(),
            text: plain(&c.answer),
            line: c.line,
        };
        self.spec.clarifications.iter().map(read).collect()
    }

    /// Stories by title, independent test and prose, without their priority and without the items in them.
    pub(super) fn stories(&self) -> Vec<Entry> {
        self.spec.stories.iter().map(|story| self.story(story)).collect()
    }

    fn story(&self, story: &UserStory) -> Entry {
        let source = &self.spec.source;
        let end = story.span.end;
        let mut at = story.span.start + story.span.text(source).find('\n').unwrap_or(end - story.span.start);
        let mut text = String::new();
        for (start, span) in self.items.range(at..end) {
            text.push_str(source.get(at..*start).unwrap_or_default());
            at = at.max(self.end(*span)).min(end);
        }
        text.push_str(source.get(at..end).unwrap_or_default());
        let text = format!("{} {}", story.title, without_priority(&text));
        Entry { id: story.key.to_string(), text: plain(&text), line: story.line }
    }

    fn entry(&self, id: &str, text: &str, line: u32, span: Span) -> Entry {
        let rest = self.spec.source.get(span.end..self.end(span)).unwrap_or_default();
        Entry { id: id.to_owned(), text: plain(&format!("{text} {rest}")), line }
    }

    /// Returns the end of an item with the text below it: lines that are indented deeper, and wrapped lines of its paragraph.
    fn end(&self, span: Span) -> usize {
        let source = self.spec.source.as_str();
        let next = self.starts.get(self.starts.partition_point(|start| *start < span.end)).copied();
        let limit = next.unwrap_or(source.len());
        let indent = |line: &str| line.len() - line.trim_start().len();
        let first = source[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let own = indent(&source[first..]);
        let (mut at, mut end, mut blank) = (span.end, span.end, false);
        let mut is_open = !source[..span.end].ends_with('\n');
        for line in source[span.end..limit.max(span.end)].split_inclusive('\n') {
            at += line.len();
            let text = line.trim_start();
            let begins = text.starts_with(['-', '*', '+', '#', '|', '>', '`', '~'])
                || text.starts_with(|c: char| c.is_ascii_digit());
            if text.is_empty() {
                blank |= !is_open;
            } else if is_open || indent(line) > own || !(blank || begins) {
                end = at;
            } else {
                break;
            }
            is_open = false;
        }
        end
    }
}

/// Returns the text of a story without the paragraphs about its priority.
fn without_priority(text: &str) -> String {
    let mut skipped = false;
    let mut kept = String::new();
    for line in text.lines() {
        let plain = line.trim_start_matches([' ', '\t', '-', '*']).to_lowercase();
        if plain.starts_with("why this priority") || plain.starts_with("priority") {
            skipped = true;
        } else if line.trim().is_empty() || line.trim_start().starts_with("**") {
            skipped = false;
        }
        if !skipped {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Returns a text without emphasis and list markers, with single spaces.
fn plain(text: &str) -> String {
    let words = text.split_whitespace().map(|word| word.replace("**", "").replace("__", ""));
    let words = words.map(|word| word.trim_matches(['*', '_']).to_owned());
    words.filter(|word| !matches!(word.as_str(), "" | "-" | "+")).collect::<Vec<_>>().join(" ")
}
