//! The grammar of one task line: `- [ ] T001 [P] [US1] description`, and its common variants.

use super::model::TaskState;
use crate::speckit::ids::{self, Mention, StoryKey};
use crate::speckit::markdown::Span;

/// The form by which a line is recognised as a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A list item with a check box.
    Boxed,
    /// A heading that starts with an identifier.
    Heading,
    /// A list item that starts with an identifier, without a box.
    Unboxed,
}

/// The parts of a task line.
#[derive(Debug)]
pub(super) struct TaskLine {
    pub(super) form: Form,
    /// Identifiers of the line: usually one, sometimes a range or a list.
    pub(super) ids: Vec<Mention>,
    /// The character between the brackets of the box, relative to the line.
    pub(super) checkbox: Option<Span>,
    pub(super) state: TaskState,
    pub(super) tags: Tags,
    /// The rest of the line: the description.
    pub(super) text: String,
}

/// Contents of the square brackets around the identifier.
#[derive(Debug, Default)]
pub(super) struct Tags {
    pub(super) parallel: bool,
    pub(super) stories: Vec<StoryKey>,
    pub(super) other: Vec<String>,
}

impl Tags {
    fn add(&mut self, content: &str) {
        let content = content.trim();
        if content.eq_ignore_ascii_case("p") {
            self.parallel = true;
            return;
        }
        if !content.starts_with("US") {
            self.other.push(content.to_owned());
            return;
        }
        for part in content.split(['+', ',', '/', '&']).map(str::trim).filter(|p| !p.is_empty()) {
            match StoryKey::parse(part) {
                Some(key) if self.stories.contains(&key) => {}
                Some(key) => self.stories.push(key),
                None => self.other.push(part.to_owned()),
            }
        }
    }
}

/// Words after which an unboxed identifier is the subject of a sentence, not the name of a task.
const PROSE: [&str; 22] = [
    "and", "or", "to", "can", "could", "must", "should", "may", "might", "will", "depends", "depend", "requires",
    "require", "needs", "need", "blocks", "before", "after", "is", "are", "through",
];

/// Parses a task line. Returns none for other lines.
pub(super) fn parse(line: &str, heading: bool) -> Option<TaskLine> {
    let mut scan = Scan { line, at: 0, marks: Vec::new() };
    scan.skip(|c| c.is_whitespace() || (heading && c == '#') || c == '\u{feff}');
    if !heading {
        scan.list_marker()?;
    }
    let checkbox = scan.checkbox();
    let form = match (heading, checkbox) {
        (true, _) => Form::Heading,
        (false, Some(_)) => Form::Boxed,
        (false, None) => Form::Unboxed,
    };
    let mut tags = Tags::default();
    scan.open_marks();
    while scan.tag(&mut tags) {
        scan.skip(char::is_whitespace);
        scan.open_marks();
    }
    let ids = scan.ids()?;
    // Without a box, several identifiers are prose about tasks and not a task.
    if form != Form::Boxed && (ids.len() > 1 || ids[0].last.is_some() || scan.starts_a_sentence()) {
        return None;
    }
    let struck = scan.marks.contains(&"~~");
    scan.separators(&mut tags);
    let text = without_trailing_tags(scan.description(), &mut tags);
    let mark = checkbox.and_then(|span| span.text(line).chars().next());
    let state = if struck { TaskState::Cancelled } else { TaskState::of(mark) };
    Some(TaskLine { form, ids, checkbox, state, tags, text })
}

struct Scan<'a> {
    line: &'a str,
    at: usize,
    /// Emphasis that was opened before the identifier and is not closed yet.
    marks: Vec<&'static str>,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.at = self.line.len() - self.rest().trim_start_matches(skipped).len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn list_marker(&mut self) -> Option<()> {
        let rest = self.rest();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let after = match digits {
            0 => rest.strip_prefix(['-', '*', '+'])?,
            1..=9 => rest[digits..].strip_prefix(['.', ')'])?,
            _ => return None,
        };
        if !after.starts_with([' ', '\t']) {
            return None;
        }
        self.at = self.line.len() - after.trim_start().len();
        Some(())
    }

    fn checkbox(&mut self) -> Option<Span> {
        let mut chars = self.rest().strip_prefix('[')?.chars();
        let mark = chars.next()?;
        let known = matches!(mark, 'x' | 'X') || !(mark.is_alphanumeric() || matches!(mark, '[' | ']'));
        // An emoji may be followed by a variation selector.
        let tail = chars.as_str().trim_start_matches('\u{fe0f}').strip_prefix(']')?;
        if !known || !tail.starts_with(char::is_whitespace) {
            return None;
        }
        let start = self.at + 1;
        self.at = self.line.len() - tail.trim_start().len();
        Some(Span { start, end: self.line.len() - tail.len() - 1 })
    }

    fn open_marks(&mut self) {
        while let Some(mark) = ["~~", "**", "__", "`", "*"].into_iter().find(|m| self.rest().starts_with(m)) {
            self.at += mark.len();
            self.marks.push(mark);
        }
    }

    /// Consumes `[content]`, unless it is a link, a marker with a sentence in it, or an identifier in brackets.
    fn tag(&mut self, tags: &mut Tags) -> bool {
        let Some((content, tail)) = self.rest().strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
            return false;
        };
        let is_tag = !content.trim().is_empty()
            && content.len() <= 60
            && !content.contains(['[', '`'])
            && !content.contains(": ")
            && !tail.starts_with(['(', '['])
            && ids::id_len(content).is_none();
        let is_tag = is_tag || (tail.starts_with('[') && content.len() <= 60 && ids::id_len(content).is_none());
        if is_tag {
            tags.add(content);
            self.at = self.line.len() - tail.len();
        }
        is_tag
    }

    fn ids(&mut self) -> Option<Vec<Mention>> {
        let bracketed = self.eat("[");
        let mut found = Vec::new();
        loop {
            let len = ids::id_len(self.rest())?;
            let mention = ids::mention_at(self.line, self.at, len);
            self.at = mention.end;
            found.push(mention);
            let next = self.rest().trim_start().trim_start_matches([',', '/', '+', '&']).trim_start();
            let joined =
                self.line.len() - next.len() > self.at && self.rest().trim_start().starts_with([',', '/', '+', '&']);
            if !joined || ids::id_len(next).is_none() {
                break;
            }
            self.at = self.line.len() - next.len();
        }
        (!bracketed || self.eat("]")).then_some(found)
    }

    fn starts_a_sentence(&self) -> bool {
        let rest = self.rest().trim_start_matches(['*', '`', '~', ' ']);
        let word = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        rest.starts_with([',', '/', '+', '&', '→', '←', '|', ')', ';', '\''])
            || rest.starts_with("->")
            || PROSE.contains(&word)
    }

    /// Skips the text between the identifier and the description: tags, closing emphasis, a colon or a dash.
    fn separators(&mut self, tags: &mut Tags) {
        if self.rest().starts_with(['.', ')', '\'']) {
            self.at += 1;
        }
        loop {
            let before = self.at;
            self.skip(|c| c.is_whitespace() || matches!(c, ':' | '：'));
            while self.tag(tags) {
                self.skip(char::is_whitespace);
            }
            if let Some(mark) = self.marks.last().copied()
                && self.eat(mark)
            {
                self.marks.pop();
            }
            for dash in ["—", "–", "--", "-", "·"] {
                if self.rest().strip_prefix(dash).is_some_and(|r| r.starts_with(char::is_whitespace)) {
                    self.at += dash.len();
                }
            }
            if self.at == before {
                return;
            }
        }
    }

    /// Returns the rest of the line, without the closing marks of emphasis that was opened before the identifier.
    fn description(&self) -> String {
        let mut text = self.rest().trim().to_owned();
        for mark in &self.marks {
            if let Some(at) = text.find(mark) {
                text.replace_range(at..at + mark.len(), "");
            }
        }
        text.trim().to_owned()
    }
}

fn without_trailing_tags(mut text: String, tags: &mut Tags) -> String {
    // Only known tags are removed; other brackets at the end belong to the description.
    while let Some((before, content)) = text.strip_suffix(']').and_then(|t| t.rsplit_once('['))
        && (content == "P" || StoryKey::parse(content).is_some())
        && (before.is_empty() || before.ends_with(char::is_whitespace))
    {
        tags.add(content);
        text.truncate(before.trim_end().len());
    }
    text
}
