//! The Markdown tree, reduced to what the parsers ask: lines that are content, headings, list items and table rows.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde::Serialize;

use super::diagnostic::Diagnostic;

/// Largest document that is read, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// A swallowed rest of a document (unclosed fence or comment) is read again, but not for ever: this keeps the work linear.
const MAX_RECOVERIES: usize = 8;

/// A range of bytes in a document's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The text under this span, empty when `source` is another document.
    pub fn text<'a>(&self, source: &'a str) -> &'a str {
        source.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn contains(&self, offset: usize) -> bool {
        self.start <= offset && offset < self.end
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

/// A piece of prose with its place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Item {
    /// The text, with wrapped lines joined by one space.
    pub text: String,
    /// First line, counted from 1.
    pub line: u32,
    /// The whole of it in the source.
    pub span: Span,
}

/// What a line is, as far as a parser cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    /// Nothing but white space, once comments are taken away.
    Blank,
    /// A heading of this level.
    Heading(u8),
    /// Part of a code block or of front matter.
    Verbatim,
    /// Part of a table.
    Table,
    /// Anything else.
    Text,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u32,
    /// Without the line break.
    pub(super) span: Span,
    pub(super) kind: LineKind,
}

/// A list item: the whole, and its own text before any nested list.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListItem {
    pub(super) span: Span,
    pub(super) own: Span,
    pub(super) depth: usize,
}

/// A table row that is not a header, by its cells.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) line: u32,
    pub(super) span: Span,
    pub(super) cells: Vec<String>,
}

/// A heading and the lines under it, as indices into [`Markdown::lines`].
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) level: u8,
    pub(super) title: String,
    /// Line of the heading.
    pub(super) heading: usize,
    /// One past the last line before any other heading.
    pub(super) own_end: usize,
    /// One past the last line before a heading of the same or a higher level.
    pub(super) end: usize,
    /// The section that holds this one.
    pub(super) parent: Option<usize>,
}

/// A document whose comments, code blocks and front matter are blanked, with the same offsets as its source.
#[derive(Debug, Default)]
pub(super) struct Markdown {
    pub(super) source: String,
    /// As long as `source`; what is not content is spaces.
    clean: String,
    pub(super) lines: Vec<Line>,
    pub(super) items: Vec<ListItem>,
    pub(super) rows: Vec<Row>,
    pub(super) sections: Vec<Section>,
    code_spans: Vec<Span>,
}

/// Decodes a document and reads its tree, or says why it cannot be read at all.
pub(super) fn read(bytes: &[u8]) -> Result<(Markdown, Vec<Diagnostic>), Diagnostic> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(Diagnostic::error(
            1,
            "DocumentTooLarge",
            format!(
                "the document has {} bytes; at most {MAX_DOCUMENT_BYTES} are read",
                bytes.len()
            ),
            "split it, or move long material to files of its own",
        ));
    }
    let line_at = |offset: usize| line_number(1 + bytes[..offset].iter().filter(|b| **b == b'\n').count());
    if let Some(nul) = bytes.iter().position(|b| *b == 0) {
        return Err(Diagnostic::error(
            line_at(nul),
            "BinaryDocument",
            format!("byte {nul} is NUL, so this is not a text document"),
            "give a Markdown document in UTF-8",
        ));
    }
    let source = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(e) => {
            return Err(Diagnostic::error(
                line_at(e.valid_up_to()),
                "InvalidUtf8",
                format!("byte {} is not UTF-8", e.valid_up_to()),
                "save the document as UTF-8",
            ));
        }
    };
    if source.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(Diagnostic::error(
            1,
            "EmptyDocument",
            "the document is empty",
            "write it, or remove the reference to it",
        ));
    }
    Ok(Markdown::new(source))
}

fn line_number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Markdown {
    fn new(source: String) -> (Self, Vec<Diagnostic>) {
        let mut reader = Reader::new(&source);
        reader.read();
        let Reader {
            lines,
            mut items,
            rows,
            blanked,
            mut code_spans,
            diagnostics,
            ..
        } = reader;
        items.sort_by_key(|i| (i.span.start, i.depth));
        code_spans.sort_by_key(|s| s.start);
        let clean = blank(&source, blanked);
        let mut markdown = Self {
            clean,
            lines,
            items,
            rows,
            sections: Vec::new(),
            code_spans,
            source,
        };
        markdown.mark_blank_lines();
        markdown.sections = markdown.find_sections();
        (markdown, diagnostics)
    }

    fn mark_blank_lines(&mut self) {
        for line in &mut self.lines {
            if line.kind == LineKind::Text && line.span.text(&self.clean).trim().is_empty() {
                line.kind = LineKind::Blank;
            }
        }
    }

    fn find_sections(&self) -> Vec<Section> {
        let mut sections: Vec<Section> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            let LineKind::Heading(level) = line.kind else { continue };
            if let Some(last) = sections.last_mut() {
                last.own_end = index;
            }
            while let Some(&top) = open.last()
                && sections[top].level >= level
            {
                sections[top].end = index;
                open.pop();
            }
            let title = heading_text(self.text(index));
            let parent = open.last().copied();
            open.push(sections.len());
            let end = self.lines.len();
            sections.push(Section {
                level,
                title,
                heading: index,
                own_end: end,
                end,
                parent,
            });
        }
        sections
    }

    /// Content of a line: comments and code blocks are blank.
    pub(super) fn text(&self, line: usize) -> &str {
        self.lines.get(line).map_or("", |l| l.span.text(&self.clean))
    }

    /// Content under a span.
    pub(super) fn clean(&self, span: Span) -> &str {
        span.text(&self.clean)
    }

    /// Index of the line that holds this byte.
    pub(super) fn line_index(&self, offset: usize) -> usize {
        self.lines.partition_point(|l| l.span.start <= offset).saturating_sub(1)
    }

    /// Number, from 1, of the line that holds this byte.
    pub(super) fn line_number(&self, offset: usize) -> u32 {
        self.lines.get(self.line_index(offset)).map_or(1, |l| l.number)
    }

    /// Bytes of a range of lines, without the last line break and without blank lines at the end.
    pub(super) fn span_of(&self, lines: Range<usize>) -> Span {
        let start = self.lines.get(lines.start).map_or(self.source.len(), |l| l.span.start);
        let last = lines.rev().find(|i| {
            self.lines
                .get(*i)
                .is_some_and(|l| !l.span.text(&self.source).trim().is_empty())
        });
        Span {
            start,
            end: last.map_or(start, |i| self.lines[i].span.end),
        }
    }

    /// Whether this byte lies in inline code.
    pub(super) fn in_code_span(&self, offset: usize) -> bool {
        let after = self.code_spans.partition_point(|s| s.start <= offset);
        after > 0 && self.code_spans[after - 1].contains(offset)
    }

    /// List items that begin in these lines.
    pub(super) fn items_in(&self, lines: Range<usize>) -> &[ListItem] {
        let offset = |line: usize| self.lines.get(line).map_or(self.source.len(), |l| l.span.start);
        let from = self.items.partition_point(|i| i.span.start < offset(lines.start));
        let to = self.items.partition_point(|i| i.span.start < offset(lines.end));
        self.items.get(from..to).unwrap_or_default()
    }

    /// Table rows that lie in these lines.
    pub(super) fn rows_in(&self, lines: Range<usize>) -> &[Row] {
        let number = |line: usize| line_number(line + 1);
        let from = self.rows.partition_point(|r| r.line < number(lines.start));
        let to = self.rows.partition_point(|r| r.line < number(lines.end));
        self.rows.get(from..to).unwrap_or_default()
    }

    /// The text of a list item without its marker, its wrapped lines joined.
    pub(super) fn item(&self, item: &ListItem) -> Item {
        let text = joined(strip_marker(self.clean(item.own)));
        let end = item.own.start + self.clean(item.own).trim_end().len();
        Item {
            text,
            line: self.line_number(item.span.start),
            span: Span {
                start: item.own.start,
                end,
            },
        }
    }

    /// The items of the outermost list in these lines, in order.
    pub(super) fn top_items(&self, lines: Range<usize>) -> Vec<Item> {
        let items = self.items_in(lines);
        let depth = items.iter().map(|i| i.depth).min().unwrap_or_default();
        items
            .iter()
            .filter(|i| i.depth == depth)
            .map(|i| self.item(i))
            .filter(|i| !i.text.is_empty())
            .collect()
    }

    /// A warning for each line that still holds a placeholder of the template: `[FEATURE NAME]`, `[###-feature-name]`,
    /// `TODO(FIELD)`.
    pub(super) fn placeholders(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for line in self
            .lines
            .iter()
            .filter(|l| matches!(l.kind, LineKind::Text | LineKind::Heading(_)))
        {
            let text = self.clean(line.span);
            let bracketed = text.match_indices('[').filter_map(|(at, _)| {
                let (inner, after) = short_until(&text[at + 1..], ']')?;
                (!self.in_code_span(line.span.start + at) && !after.starts_with('(') && is_placeholder(inner))
                    .then(|| format!("[{inner}]"))
            });
            let todo = text.match_indices("TODO(").filter_map(|(at, _)| {
                let (inner, _) = short_until(&text[at + 5..], ')')?;
                (!self.in_code_span(line.span.start + at)).then(|| format!("TODO({inner})"))
            });
            let names: Vec<String> = bracketed.chain(todo).collect();
            if !names.is_empty() {
                let message = format!("the template's {} is not filled in", names.join(", "));
                found.push(Diagnostic::warning(
                    line.number,
                    "UnfilledTemplate",
                    message,
                    "replace it, or remove the line",
                ));
            }
        }
        found
    }

    /// The paragraphs and items of these lines as prose: one item a block of text.
    pub(super) fn prose(&self, lines: Range<usize>) -> Option<Item> {
        let first = lines
            .clone()
            .find(|i| self.lines.get(*i).is_some_and(|l| l.kind == LineKind::Text))?;
        let span = self.span_of(first..lines.end);
        Some(Item {
            text: joined(self.clean(span)),
            line: self.lines[first].number,
            span,
        })
    }
}

/// The text up to a closing bracket that is not far away, and what follows it.
fn short_until(text: &str, close: char) -> Option<(&str, &str)> {
    let end = text.char_indices().take(60).find(|(_, c)| *c == close)?.0;
    Some((&text[..end], &text[end + close.len_utf8()..]))
}

/// Whether the text between square brackets is a name that a template leaves to be filled in.
fn is_placeholder(inner: &str) -> bool {
    let words = inner.trim();
    let capitals = words.bytes().filter(u8::is_ascii_uppercase).count();
    let named = capitals >= 4
        && words.contains(['_', ' '])
        && words
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b' ' | b'-'));
    let known = [
        "###-feature-name",
        "FEATURE",
        "DATE",
        "Brief Title",
        "Entity 1",
        "Entity 2",
        "initial state",
        "action",
        "expected outcome",
    ];
    (named && words != "NEEDS CLARIFICATION") || known.contains(&words)
}

/// Wrapped lines as one, with single spaces.
pub(super) fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text after a list marker, or the text itself.
pub(super) fn strip_marker(text: &str) -> &str {
    let text = text.trim_start();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = if digits > 0 && digits <= 9 {
        text[digits..].strip_prefix(['.', ')'])
    } else {
        text.strip_prefix(['-', '*', '+'])
    };
    match rest {
        Some(rest) if rest.starts_with([' ', '\t']) || rest.is_empty() => rest.trim_start(),
        _ => text,
    }
}

/// Text of a heading line without its `#` marks.
pub(super) fn heading_text(line: &str) -> String {
    let text = line
        .trim_start_matches('\u{feff}')
        .trim()
        .trim_start_matches('#')
        .trim();
    let stripped = text.trim_end_matches('#');
    (if stripped.ends_with([' ', '\t']) {
        stripped.trim_end()
    } else {
        text
    })
    .to_owned()
}

/// `source` with the given ranges as spaces; line breaks stay.
fn blank(source: &str, mut ranges: Vec<Span>) -> String {
    ranges.sort_by_key(|r| r.start);
    let mut clean = String::with_capacity(source.len());
    let mut ranges = ranges.into_iter().peekable();
    for (offset, c) in source.char_indices() {
        while ranges.next_if(|r| r.end <= offset).is_some() {}
        let hidden = ranges.peek().is_some_and(|r| r.contains(offset)) && !matches!(c, '\n' | '\r');
        if hidden {
            clean.extend(std::iter::repeat_n(' ', c.len_utf8()))
        } else {
            clean.push(c)
        }
    }
    clean
}

/// Collects what [`Markdown`] needs from the events of the Markdown parser.
struct Reader<'a> {
    source: &'a str,
    lines: Vec<Line>,
    items: Vec<ListItem>,
    rows: Vec<Row>,
    blanked: Vec<Span>,
    code_spans: Vec<Span>,
    diagnostics: Vec<Diagnostic>,
    open_items: Vec<ListItem>,
    cells: Option<(Span, Vec<String>)>,
    cell: String,
}

impl<'a> Reader<'a> {
    fn new(source: &'a str) -> Self {
        let mut lines = Vec::new();
        let mut start = 0;
        for (index, raw) in source.split_inclusive('\n').enumerate() {
            let text = raw.trim_end_matches(['\n', '\r']);
            let span = Span {
                start,
                end: start + text.len(),
            };
            lines.push(Line {
                number: line_number(index + 1),
                span,
                kind: LineKind::Text,
            });
            start += raw.len();
        }
        Self {
            source,
            lines,
            items: Vec::new(),
            rows: Vec::new(),
            blanked: Vec::new(),
            code_spans: Vec::new(),
            diagnostics: Vec::new(),
            open_items: Vec::new(),
            cells: None,
            cell: String::new(),
        }
    }

    /// Reads the whole source; where an unclosed block swallows the rest, reads on after its first line.
    fn read(&mut self) {
        let mut base = if self.source.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        for _ in 0..MAX_RECOVERIES {
            match self.read_from(base, true) {
                Some(next) => base = next,
                None => return,
            }
        }
        self.read_from(base, false);
    }

    /// Reads from `base`, and returns where to go on when an unclosed block was met.
    fn read_from(&mut self, base: usize, recover: bool) -> Option<usize> {
        let text = &self.source[base..];
        let mut options = Options::ENABLE_TABLES;
        if base <= '\u{feff}'.len_utf8() {
            options |= Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
        }
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            let span = Span {
                start: base + range.start,
                end: base + range.end,
            };
            if recover && let Some(next) = self.unclosed(&event, span) {
                self.close_items(span.start);
                return Some(next);
            }
            self.event(event, span);
        }
        self.close_items(self.source.len());
        None
    }

    fn event(&mut self, event: Event<'_>, span: Span) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => self.heading(level as u8, span),
            Event::Start(Tag::CodeBlock(_) | Tag::MetadataBlock(_)) => {
                self.mark(span, LineKind::Verbatim);
                self.blanked.push(span);
            }
            Event::Html(_) | Event::InlineHtml(_) => self.comments(span),
            Event::Code(_) => {
                self.code_spans.push(span);
                self.cell.push_str(span.text(self.source));
            }
            Event::Start(Tag::List(_)) => {
                if let Some(item) = self.open_items.last_mut() {
                    item.own.end = item.own.end.min(span.start);
                }
            }
            Event::Start(Tag::Item) => {
                let depth = self.open_items.len();
                self.open_items.push(ListItem { span, own: span, depth });
            }
            Event::End(TagEnd::Item) => self.items.extend(self.open_items.pop()),
            Event::Start(Tag::Table(_)) => self.mark(span, LineKind::Table),
            Event::Start(Tag::TableRow) => self.cells = Some((span, Vec::new())),
            Event::Start(Tag::TableCell) => self.cell.clear(),
            Event::End(TagEnd::TableCell) => {
                let cell = self.cell.trim().to_owned();
                self.cells.iter_mut().for_each(|(_, cells)| cells.push(cell.clone()));
            }
            Event::End(TagEnd::TableRow) => {
                if let Some((span, cells)) = self.cells.take() {
                    let line = self.lines[self.line_index(span.start)].number;
                    self.rows.push(Row { line, span, cells });
                }
            }
            Event::Text(text) => self.cell.push_str(&text),
            _ => {}
        }
    }

    fn heading(&mut self, level: u8, span: Span) {
        let first = self.line_index(span.start);
        let text = span.text(self.source).trim();
        let underlined = !text.starts_with('#');
        if underlined {
            // A rule right below a paragraph is a heading only by the letter of CommonMark.
            let lines = text.lines().count();
            if lines != 2 || text.starts_with(['*', '_', '>', '|']) {
                return;
            }
            self.lines[first + 1].kind = LineKind::Verbatim;
        }
        self.lines[first].kind = LineKind::Heading(level);
    }

    fn comments(&mut self, span: Span) {
        let text = span.text(self.source);
        let mut at = 0;
        // Inside a block of HTML each line is an event, so a comment may begin in one and end in another.
        if let Some(open) = self.blanked.last_mut()
            && open.end >= span.start
            && self.source[open.start..open.end].starts_with("<!--")
            && !self.source[open.start..open.end].ends_with("-->")
        {
            at = text.find("-->").map_or(text.len(), |end| end + 3);
            open.end = span.start + at;
        }
        while let Some(start) = text[at..].find("<!--") {
            let end = text[at + start..]
                .find("-->")
                .map_or(text.len(), |end| at + start + end + 3);
            self.blanked.push(Span {
                start: span.start + at + start,
                end: span.start + end,
            });
            at = end;
        }
    }

    /// Where to read on when this event opens a block that nobody closed.
    fn unclosed(&mut self, event: &Event<'_>, span: Span) -> Option<usize> {
        let what = match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_))) if !fence_is_closed(span.text(self.source)) => {
                "code fence"
            }
            Event::Start(Tag::HtmlBlock) => {
                let text = span.text(self.source).trim_start();
                (text.starts_with("<!--") && !text.contains("-->")).then_some("comment")?
            }
            _ => return None,
        };
        let first = self.line_index(span.start);
        let line = self.lines[first];
        let rest = self.lines.get(first + 1)?.span.start;
        if self.source[rest..].trim().is_empty() {
            return None;
        }
        self.diagnostics.push(Diagnostic::warning(
            line.number,
            "UnclosedBlock",
            format!("the {what} that opens here is never closed; what follows is read as if it were not there"),
            format!("close the {what}"),
        ));
        self.lines[first].kind = LineKind::Verbatim;
        self.blanked.push(line.span);
        Some(rest)
    }

    fn close_items(&mut self, end: usize) {
        while let Some(mut item) = self.open_items.pop() {
            item.span.end = item.span.end.min(end);
            item.own.end = item.own.end.min(end);
            self.items.push(item);
        }
    }

    fn mark(&mut self, span: Span, kind: LineKind) {
        let first = self.line_index(span.start);
        for line in self.lines[first..].iter_mut().take_while(|l| l.span.start < span.end) {
            line.kind = kind;
        }
    }

    fn line_index(&self, offset: usize) -> usize {
        self.lines.partition_point(|l| l.span.start <= offset).saturating_sub(1)
    }
}

/// Whether the last line of a fenced block is its closing fence.
fn fence_is_closed(block: &str) -> bool {
    let block = block.trim();
    let Some(fence) = block.chars().next() else {
        return false;
    };
    let width = block.chars().take_while(|c| *c == fence).count();
    let last = block
        .lines()
        .skip(1)
        .last()
        .map_or("", |l| l.trim_start_matches(['>', ' ', '\t']).trim_end());
    last.chars().count() >= width && last.chars().all(|c| c == fence)
}
