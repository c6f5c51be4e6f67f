//! The grammar of one task line: `- [ ] T001 [P] [US1] description`, and its variants.
//!
//! All dialects (Spec Kit, Kiro, OpenSpec, cc-sdd) have this one grammar: a form, a box, signs, tags, an identifier, a description. They
//! differ in the identifiers ([`FORMS`]) and in the marks of a file.

use super::marks::{self, Legend};
use super::model::TaskState;
use super::relations::prefix_len;
use super::remarks::{is_only_state, refers_back, stated};
use crate::speckit::ids::{self, ISSUE_WORDS, Mention, StoryKey, TASK_WORDS};
use crate::speckit::markdown::Span;

/// The form by which a line is recognised as a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A line with a check box, usually a list item.
    Boxed,
    /// A heading that starts with an identifier.
    Heading,
    /// A row of a table.
    Row,
    /// A list item or a paragraph that starts with an identifier, without a box.
    Unboxed,
}

/// Returns the length of the identifier at the beginning of a text.
type Measure = fn(&str) -> Option<usize>;

/// Forms of identifiers, in the order in which they are tried: the function that measures one, whether a box or a row must announce it,
/// and whether the whole file decides if it is one at all (`UTF-8` has the form of `BE-012`).
const FORMS: [(Measure, bool, bool); 3] =
    [(ids::id_len, false, false), (ids::outline_len, true, false), (ids::prefixed_len, true, true)];

/// The parts of a task line.
#[derive(Debug)]
pub(super) struct TaskLine {
    pub(super) form: Form,
    /// Identifiers of the line: usually one, sometimes a range or a list, none for a box without identifier.
    pub(super) ids: Vec<Mention>,
    /// Whether the identifier has a prefix of the project's own, so that another line must have it too.
    pub(super) own_prefix: bool,
    /// Whether the line can be a sentence about tasks that are defined elsewhere: `T003 and T004 are merged`, `T001 DONE`.
    pub(super) mention: bool,
    /// The text between the brackets of the box.
    pub(super) checkbox: Option<Span>,
    /// The mark between the brackets, if nobody knows what it means.
    pub(super) unknown_mark: Option<String>,
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
    pub(super) fn add(&mut self, content: &str) {
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
pub(super) fn parse(line: &str, heading: bool, legend: &Legend) -> Option<TaskLine> {
    let mut scan = Scan { line, at: 0, marks: Vec::new(), sign: None };
    scan.skip(|c| c.is_whitespace() || c == '\u{feff}');
    let item = scan.list_marker();
    if !(heading || scan.may_begin()) {
        return None;
    }
    // Markdown also ends a line at a lone carriage return, so that a heading can stand behind a list item.
    let heading = heading && !item;
    if heading {
        scan.skip(|c| c.is_whitespace() || matches!(c, '#' | '\u{feff}'));
        scan.open_box();
    }
    let (checkbox, glyph) = if heading { (None, None) } else { (scan.checkbox(item), scan.glyph()) };
    let form = match (heading, checkbox.is_some() || glyph.is_some()) {
        (true, _) => Form::Heading,
        (false, true) => Form::Boxed,
        (false, false) => Form::Unboxed,
    };
    let mut tags = Tags::default();
    scan.before_id(&mut tags);
    let start = scan.at;
    let (ids, own_prefix) = scan.ids(form, legend).unwrap_or_else(|| {
        scan.at = start;
        (Vec::new(), false)
    });
    if ids.is_empty() && form != Form::Boxed {
        return None;
    }
    let several = ids.len() > 1 || ids.iter().any(|id| id.last.is_some());
    let sentence = !ids.is_empty() && scan.starts_a_sentence();
    // Without a box, several identifiers are prose about tasks and not a task.
    if form != Form::Boxed && (several || sentence || (!heading && !item && !scan.is_label())) {
        return None;
    }
    if form == Form::Unboxed && ids[0].first.width() < 2 {
        return None;
    }
    let struck = scan.marks.contains(&"~~");
    if !ids.is_empty() {
        scan.separators(&mut tags);
        // A box that is not empty was a tag.
        if heading && scan.eat("[ ]") {
            scan.separators(&mut tags);
        }
    }
    let (text, done) = without_trailing_marks(scan.description(), &mut tags, heading, legend);
    let checkbox = if heading { heading_box(line, scan.at, &mut tags) } else { checkbox };
    let content = checkbox.map(|span| span.text(line));
    let known = content.map_or(Some(TaskState::Open), |mark| legend.state(mark));
    let state = known.unwrap_or(TaskState::Open);
    let state = [glyph, scan.sign, done].into_iter().flatten().find(|_| state == TaskState::Open).unwrap_or(state);
    let state = if state == TaskState::Done { state } else { stated(&text, &tags.other).unwrap_or(state) };
    Some(TaskLine {
        form,
        mention: several || sentence || (!ids.is_empty() && (is_only_state(&text) || refers_back(&text))),
        ids,
        own_prefix,
        checkbox,
        unknown_mark: content.filter(|_| known.is_none()).map(str::to_owned),
        state: if struck { TaskState::Cancelled } else { state },
        tags,
        text,
    })
}

/// Returns whether a heading begins with a word for a task and a number with hyphens that is no range: `### Task 2-1: Sew`.
pub(super) fn is_parted(heading: &str) -> bool {
    let mut scan = Scan::of_heading(heading);
    let number = |rest: &str| ids::parted_len(rest).is_some_and(|len| ids::is_no_range(&rest[..len]));
    scan.task_word(false) && number(scan.rest())
}

/// Returns the number of a heading such as `## Issue 3 — Sew`.
pub(super) fn issue(heading: &str) -> Option<&str> {
    let mut scan = Scan::of_heading(heading);
    let is_issue = scan.rest().starts_with(['I', 'i']) && scan.task_word(true);
    let rest = &heading[scan.at..];
    is_issue.then(|| ids::outline_len(rest)).flatten().map(|len| &rest[..len])
}

/// Returns the box in a heading, before its title, which begins at `title`, or behind it: `### T004: [x] Write`, `### T005: Sew [x] [P]`.
fn heading_box(line: &str, title: usize, tags: &mut Tags) -> Option<Span> {
    tags.other.retain(|tag| tag.chars().count() > 1);
    let last = |c: char| is_sign(c) || c.is_whitespace() || c == '\u{fe0f}';
    let without_signs = |text: &str| {
        let text = text.trim_end();
        let signed = text.trim_end_matches('\u{fe0f}').chars().next_back().and_then(marks::sign).is_some();
        if signed { text.trim_end_matches(last).len() } else { text.len() }
    };
    let mut end = without_signs(line);
    // Tags and marks at the end are not a part of the title, in the same way as in `without_trailing_marks`.
    while let Some((before, content)) = line[..end].strip_suffix(']').and_then(|text| text.rsplit_once('[')) {
        let tag = content.chars().count() == 1 || StoryKey::parse(content).is_some();
        if !tag || !before.ends_with(char::is_whitespace) {
            break;
        }
        end = without_signs(before);
    }
    line.match_indices('[').filter(|(at, _)| *at <= title || *at >= end).find_map(|(at, _)| {
        let mark = marks::mark_at(line, at)?;
        let after = &line[at + mark.len() + 2..];
        let known = matches!(mark, " " | "x" | "X" | "✓" | "✔" | "✅" | "~" | "-" | "/" | ">" | "!");
        let start = at + 1;
        (known && (after.is_empty() || after.starts_with(' '))).then_some(Span { start, end: start + mark.len() })
    })
}

struct Scan<'a> {
    line: &'a str,
    at: usize,
    /// Emphasis that was opened before the identifier and is not closed yet.
    marks: Vec<&'static str>,
    /// State by the sign before the identifier.
    sign: Option<TaskState>,
}

impl<'a> Scan<'a> {
    /// Returns a scan of a heading, behind its signs and emphasis.
    fn of_heading(heading: &'a str) -> Self {
        let mut scan = Self { line: heading, at: 0, marks: Vec::new(), sign: None };
        scan.skip(|c| c.is_whitespace() || matches!(c, '#' | '\u{feff}'));
        scan.open_box();
        scan.before_id(&mut Tags::default());
        scan
    }

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

    /// Returns whether the rest of a line that is not a heading can begin a task. Most lines begin with a letter that begins neither a box nor
    /// an identifier nor a word for a task.
    fn may_begin(&self) -> bool {
        let first = self.rest().as_bytes().first();
        first.is_some_and(|byte| !byte.is_ascii() || b"[(~*_`TtAaIi".contains(byte))
    }

    /// Skips the marker of a list item, also one that is not followed by a space, if a box follows. Returns whether there is one.
    fn list_marker(&mut self) -> bool {
        let rest = self.rest();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let after = match digits {
            0 => rest.strip_prefix(['-', '*', '+', '•', '–', '◦', '‣']),
            1..=9 => rest[digits..].strip_prefix(['.', ')']),
            _ => None,
        };
        let Some(after) = after.filter(|after| after.starts_with([' ', '\t', '[', '☐', '☑', '☒'])) else {
            return false;
        };
        self.at = self.line.len() - after.trim_start().len();
        true
    }

    /// Skips an empty box at the start of a heading, and the bullet of one that was written like a list item: `### - [ ] T001 Sew`. A box with
    /// a mark is a tag.
    fn open_box(&mut self) {
        let after = self.rest().strip_prefix(['-', '*', '+']).map(str::trim_start);
        if let Some(after) = after.filter(|after| after.starts_with('[')) {
            self.at = self.line.len() - after.len();
        }
        if self.eat("[ ]") {
            self.skip(char::is_whitespace);
        }
    }

    /// Skips `[ ]`, `[x]`, `[]`, `[ x ]` or `(x)`, and returns the text between the brackets. Without a space behind it, or without a list
    /// item, an identifier must follow.
    fn checkbox(&mut self, item: bool) -> Option<Span> {
        let (open, close) = if self.rest().starts_with('(') { ('(', ')') } else { ('[', ']') };
        let (mark, tail) = self.rest().strip_prefix(open)?.split_once(close)?;
        let plain = mark.trim().trim_matches('\u{fe0f}');
        let mut chars = plain.chars();
        let first = chars.next();
        let single = chars.next().is_none();
        let strange = first.is_some_and(|c| matches!(c, '[' | ']' | '`' | '^'));
        // `[P]` is a tag, `[1]` a link.
        let letter = first.is_some_and(|c| c.is_ascii_digit() || matches!(c, 'P' | 'p'));
        let word = matches!(plain, "TODO" | "todo" | "DONE" | "done" | "WIP" | "wip");
        if strange || !(single && !letter || word) || mark.len() > 12 {
            return None;
        }
        let follows = || {
            let rest = tail.trim_start().trim_start_matches(['*', '`', '~', '_']);
            let rest = rest.trim_start_matches("[P] ");
            ids::id_len(rest).is_some()
        };
        let usual = first.is_none_or(|c| matches!(c, 'x' | 'X') || !c.is_alphanumeric());
        // Kiro writes `[ ]*` for an optional task.
        let tail = tail.strip_prefix('*').filter(|rest| rest.starts_with(' ')).unwrap_or(tail);
        let spaced = tail.starts_with(char::is_whitespace) && item && open == '[' && (usual || word);
        if !spaced && !follows() {
            return None;
        }
        let start = self.at + 1;
        self.at = self.line.len() - tail.trim_start().len();
        Some(Span { start, end: start + mark.len() })
    }

    /// Skips a box that is one character, and returns the state that it shows.
    fn glyph(&mut self) -> Option<TaskState> {
        let state = match self.rest().chars().next()? {
            '☐' | '□' | '⬜' | '◻' => TaskState::Open,
            '☑' | '☒' => TaskState::Done,
            _ => return None,
        };
        self.skip(|c| matches!(c, '☐' | '□' | '⬜' | '◻' | '☑' | '☒' | '\u{fe0f}') || c.is_whitespace());
        Some(state)
    }

    /// Skips tags, emphasis and signs before the identifier: `[P]`, `(P)`, `**`, `🔴`.
    fn before_id(&mut self, tags: &mut Tags) {
        loop {
            let before = self.at;
            self.open_marks();
            if self.tag(tags) {
                self.skip(char::is_whitespace);
            }
            if self.eat("(P) ") {
                tags.parallel = true;
            }
            if let Some(c) = self.rest().chars().next().filter(|c| is_sign(*c)) {
                self.sign = self.sign.or(marks::sign(c));
                self.skip(|next| next == c || next == '\u{fe0f}' || next.is_whitespace());
            }
            if self.at == before {
                return;
            }
        }
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

    /// Consumes the identifiers of the line; returns whether their prefix is the project's own.
    fn ids(&mut self, form: Form, legend: &Legend) -> Option<(Vec<Mention>, bool)> {
        let bracketed = self.eat("[");
        let mut found = Vec::new();
        let issues = legend.issues && form == Form::Heading;
        let named = ids::id_len(self.rest()).is_none() && self.task_word(issues);
        let announced = named || matches!(form, Form::Boxed | Form::Row);
        let mut own = false;
        loop {
            let rest = self.rest();
            let mut forms = FORMS.iter().filter(|(_, announced_only, _)| announced || !announced_only);
            let feature = || ids::feature_len(rest).filter(|_| form == Form::Heading).map(|len| (len, true));
            let (len, own_prefix) = forms.find_map(|(len, _, own)| Some((len(rest)?, *own))).or_else(feature)?;
            let outline = rest.starts_with(|c: char| c.is_ascii_digit());
            if outline && !named && !is_outline_id(&rest[..len], &rest[len..]) {
                return None;
            }
            own |= own_prefix;
            let parted = (named && legend.parted).then(|| ids::parted_len(rest)).flatten();
            let mention = ids::mention_at(self.line, self.at, parted.unwrap_or(len));
            self.at = mention.end;
            found.push(mention);
            let next = self.rest().trim_start().trim_start_matches([',', '/', '+', '&']).trim_start();
            let joined =
                self.line.len() - next.len() > self.at && self.rest().trim_start().starts_with([',', '/', '+', '&']);
            if outline || !joined || ids::id_len(next).is_none() {
                break;
            }
            self.at = self.line.len() - next.len();
        }
        (!bracketed || self.eat("]")).then_some((found, own))
    }

    /// Skips a word such as `Task` before a number, or `Issue` if tasks are called issues.
    fn task_word(&mut self, issues: bool) -> bool {
        let rest = self.rest();
        let first = rest.as_bytes().first();
        // Most lines begin with another letter.
        if !first.is_some_and(|byte| matches!(byte, b'T' | b't' | b'A' | b'a' | b'I' | b'i') || !byte.is_ascii()) {
            return false;
        }
        let mut words = TASK_WORDS.iter().chain(ISSUE_WORDS.iter().filter(|_| issues));
        let Some(word) = words.find(|word| prefix_len(rest, word).is_some()) else {
            return false;
        };
        let len = prefix_len(rest, word).unwrap_or(word.len());
        let after = rest[len..].trim_start_matches([' ', '#']);
        if !after.starts_with(|c: char| c.is_ascii_digit() || c == 'T') {
            return false;
        }
        self.at = self.line.len() - after.len();
        true
    }

    /// Returns whether the identifier before this position begins a label of its own: `T001: …`, `**T001** …`, `T001 [P] …`.
    fn is_label(&self) -> bool {
        let rest = self.rest();
        rest.starts_with([':', '：']) || rest.starts_with("**") || rest.starts_with(" [") || rest.starts_with(" — ")
    }

    fn starts_a_sentence(&self) -> bool {
        let rest = self.rest().trim_start_matches(['*', '`', '~', ' ']);
        let word = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        // A path can follow an identifier, but not directly: `**T002** `/specs/a.md``.
        rest.starts_with([',', '+', '&', '→', '←', '|', ')', ';', '\''])
            || self.rest().starts_with('/')
            || rest.starts_with("->")
            || PROSE.contains(&word)
    }

    /// Skips the text between the identifier and the description: tags, closing emphasis, a colon or a dash.
    fn separators(&mut self, tags: &mut Tags) {
        if self.rest().starts_with(['.', ')']) {
            self.at += 1;
        }
        loop {
            let before = self.at;
            self.skip(|c| c.is_whitespace() || matches!(c, ':' | '：'));
            while self.tag(tags) {
                self.skip(char::is_whitespace);
            }
            tags.parallel |= self.eat("(P) ");
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
        let text = self.rest().trim();
        if self.marks.is_empty() {
            return text.to_owned();
        }
        let mut text = text.to_owned();
        for mark in &self.marks {
            if let Some(at) = text.find(mark) {
                text.replace_range(at..at + mark.len(), "");
            }
        }
        text.trim().to_owned()
    }
}

/// Returns whether a number at the start of a description is an identifier: `1.2 …`, `1. …`, `3) …`; not `3 doors`.
fn is_outline_id(number: &str, after: &str) -> bool {
    let closed =
        after.strip_prefix(['.', ')', ':']).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '*']));
    closed || (number.contains('.') && (after.is_empty() || after.starts_with([' ', '*', '`'])))
}

/// Returns whether a character before an identifier is a sign, such as a coloured dot.
fn is_sign(c: char) -> bool {
    !c.is_ascii() && !c.is_alphanumeric() && !matches!(c, '（' | '【' | '「' | '«' | '“' | '„' | '‘')
}

/// Removes known tags at the end of a description, and from a heading also a mark such as `[X]` or `✅` at either end, which states that
/// the task is done.
fn without_trailing_marks(
    mut text: String,
    tags: &mut Tags,
    heading: bool,
    legend: &Legend,
) -> (String, Option<TaskState>) {
    let mut state = None;
    if heading {
        let plain = text.trim_start_matches(['(', '[']);
        let mark = text.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        if let Some((mark, rest)) = mark.filter(|(mark, _)| mark.chars().count() == 1) {
            state = legend.state(mark);
            text = rest.to_owned();
        } else if let Some(sign) = plain.chars().next().and_then(marks::sign) {
            state = Some(sign);
            text = text.trim_start_matches(|c: char| is_sign(c) || c.is_whitespace() || c == '\u{fe0f}').to_owned();
        }
    }
    loop {
        let length = text.len();
        // Only known tags are removed; other brackets at the end belong to the description.
        if let Some((before, content)) = text.strip_suffix(']').and_then(|t| t.rsplit_once('['))
            && (before.is_empty() || before.ends_with(char::is_whitespace))
        {
            let known = content.eq_ignore_ascii_case("p") || StoryKey::parse(content).is_some();
            let mark = heading && content.chars().count() == 1 && !known;
            if known {
                tags.add(content);
            } else if mark {
                state = state.or(legend.state(content));
            }
            if known || mark {
                text.truncate(before.trim_end().len());
            }
        }
        if heading && let Some(sign) = text.trim_end_matches('\u{fe0f}').chars().next_back().and_then(marks::sign) {
            state = state.or(Some(sign));
            let len = text.trim_end_matches(|c: char| is_sign(c) || c.is_whitespace() || c == '\u{fe0f}').len();
            text.truncate(len);
        }
        if heading
            && let Some((before, inner)) = text.strip_suffix(')').and_then(|t| t.rsplit_once('('))
            && marks::worded(inner) == Some(TaskState::Done)
            && is_only_state(inner)
        {
            state = state.or(Some(TaskState::Done));
            text.truncate(before.trim_end().len());
        }
        if text.len() == length {
            return (text, state);
        }
    }
}
