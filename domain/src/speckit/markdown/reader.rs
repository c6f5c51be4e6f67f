//! Converts the events of the Markdown parser to lines, list items and table rows.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::model::{Line, LineKind, ListItem, Row, Span, line_number};
use super::text::strip_marker;
use crate::speckit::diagnostic::Diagnostic;

/// Maximum number of unclosed fences or comments after which the reader continues on the next line. The limit keeps the time linear.
const MAX_RECOVERIES: usize = 8;

/// The byte order mark at the beginning of some files.
const MARK: char = '\u{feff}';

/// Returns the offset of the content of a document: after a byte order mark and YAML front matter, which is the text between a first line
/// `---` and the next such line. The parser's option for front matter is not usable, because it also matches later rules.
pub(crate) fn front_matter(document: &str) -> usize {
    let start = if document.starts_with(MARK) { MARK.len_utf8() } else { 0 };
    let mut at = start;
    for (index, line) in document[start..].split_inclusive('\n').enumerate() {
        at += line.len();
        match (index, line.trim_end()) {
            (0, "---") => {}
            (1, "") | (0, _) => break,
            (_, "---") => return at,
            _ => {}
        }
    }
    start
}

/// Collector of the lines, items and rows of a [`Markdown`](super::Markdown) from the events of the Markdown parser.
pub(super) struct Reader<'a> {
    source: &'a str,
    pub(super) lines: Vec<Line>,
    /// List items in the order of their beginnings; an outer one comes before those in it.
    pub(super) items: Vec<ListItem>,
    pub(super) rows: Vec<Row>,
    /// The cells of each table's header, by table.
    pub(super) headers: Vec<Vec<String>>,
    pub(super) blanked: Vec<Span>,
    pub(super) code_spans: Vec<Span>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Indices of the items that have not ended yet; the innermost comes last.
    open_items: Vec<usize>,
    cells: Option<(Span, Vec<String>)>,
    cell: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        let bytes = source.as_bytes();
        let mut lines = Vec::with_capacity(memchr::memchr_iter(b'\n', bytes).count() + 1);
        let mut start = 0;
        let last = Some(source.len()).filter(|_| !source.ends_with('\n'));
        for end in memchr::memchr_iter(b'\n', bytes).map(|at| at + 1).chain(last) {
            let text = source[start..end].trim_end_matches(['\n', '\r']);
            let span = Span { start, end: start + text.len() };
            lines.push(Line { number: line_number(lines.len() + 1), span, kind: LineKind::Text });
            start = end;
        }
        Self {
            source,
            lines,
            items: Vec::new(),
            rows: Vec::new(),
            headers: Vec::new(),
            blanked: Vec::new(),
            code_spans: Vec::new(),
            diagnostics: Vec::new(),
            open_items: Vec::new(),
            cells: None,
            cell: String::new(),
        }
    }

    /// Reads the whole source. If an unclosed block contains the rest, reading continues after the first line of the block.
    pub(super) fn read(&mut self) {
        let mut base = front_matter(self.source);
        if base > MARK.len_utf8() {
            let span = Span { start: 0, end: base };
            self.mark(span, LineKind::Verbatim);
            self.blanked.push(span);
        }
        // Only a bounded number of restarts, since each reads the rest of the document again.
        for _ in 0..MAX_RECOVERIES {
            match self.read_from(base, true) {
                Some(next) => base = next,
                None => return,
            }
        }
        self.read_from(base, false);
    }

    /// Reads from `base`, and returns the offset at which to continue after an unclosed block.
    fn read_from(&mut self, base: usize, recover: bool) -> Option<usize> {
        let text = &self.source[base..];
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let span = Span { start: base + range.start, end: base + range.end };
            if recover && let Some(next) = self.unclosed(&event, span) {
                // Items that are still open at the block end there, since the parser starts again without them.
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
            Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) if self.is_indented_list(span) => {}
            Event::Start(Tag::CodeBlock(kind)) => {
                let fenced = matches!(kind, CodeBlockKind::Fenced(_));
                self.mark(span, if fenced { LineKind::Verbatim } else { LineKind::Indented });
                self.blanked.push(span);
            }
            Event::Html(_) | Event::InlineHtml(_) => self.comments(span),
            Event::Code(_) => {
                self.code_spans.push(span);
                if self.cells.is_some() {
                    self.cell.push_str(span.text(self.source));
                }
            }
            Event::Start(Tag::List(_)) => {
                if let Some(&open) = self.open_items.last() {
                    let own = &mut self.items[open].own;
                    own.end = own.end.min(span.start);
                }
            }
            Event::Start(Tag::Item) => {
                let depth = self.open_items.len();
                self.open_items.push(self.items.len());
                self.items.push(ListItem { span, own: span, depth });
            }
            Event::End(TagEnd::Item) => _ = self.open_items.pop(),
            Event::Start(Tag::Table(_)) => self.mark(span, LineKind::Table),
            Event::End(TagEnd::TableHead) => {
                self.headers.push(self.cells.take().map(|(_, cells)| cells).unwrap_or_default());
            }
            Event::Start(Tag::TableHead | Tag::TableRow) => self.cells = Some((span, Vec::new())),
            Event::Start(Tag::TableCell) => self.cell.clear(),
            Event::End(TagEnd::TableCell) => {
                let cell = self.cell.trim().to_owned();
                self.cells.iter_mut().for_each(|(_, cells)| cells.push(cell.clone()));
            }
            Event::End(TagEnd::TableRow) => {
                let row = self.cells.take().filter(|(span, _)| !is_glued(span.text(self.source)));
                if let Some((span, cells)) = row {
                    let line = self.lines[self.line_index(span.start)].number;
                    let table = self.headers.len().saturating_sub(1);
                    self.rows.push(Row { line, span, cells, table });
                }
            }
            Event::Text(text) if self.cells.is_some() => self.cell.push_str(&text),
            _ => {}
        }
    }

    /// Returns whether an indented block is a list of boxes directly below a heading: CommonMark reads it as code, which is not meant.
    fn is_indented_list(&self, span: Span) -> bool {
        let first = self.line_index(span.start);
        let text = strip_marker(self.lines[first].span.text(self.source));
        let boxed = ["[ ] ", "[x] ", "[X] "].iter().any(|mark| text.starts_with(mark));
        let above = self.lines[..first].iter().rfind(|line| !line.span.text(self.source).trim().is_empty());
        boxed && above.is_some_and(|line| matches!(line.kind, LineKind::Heading(_)))
    }

    fn heading(&mut self, level: u8, span: Span) {
        let first = self.line_index(span.start);
        let text = span.text(self.source).trim();
        let underlined = !text.starts_with('#');
        if underlined {
            // CommonMark also reads a rule directly below a paragraph as a heading, which authors do not intend.
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
        // Each line of an HTML block is an event, so a comment may begin in one event and end in another.
        if let Some(open) = self.blanked.last_mut()
            && open.end >= span.start
            && self.source[open.start..open.end].starts_with("<!--")
            && !self.source[open.start..open.end].ends_with("-->")
        {
            at = text.find("-->").map_or(text.len(), |end| end + 3);
            open.end = span.start + at;
        }
        while let Some(start) = text[at..].find("<!--") {
            let end = text[at + start..].find("-->").map_or(text.len(), |end| at + start + end + 3);
            self.blanked.push(Span { start: span.start + at + start, end: span.start + end });
            at = end;
        }
    }

    /// Returns the offset at which to continue if this event opens an unclosed block.
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
            format!("the {what} that opens on this line is never closed; the lines below it are read as normal text"),
            format!("close the {what}"),
        ));
        self.lines[first].kind = LineKind::Verbatim;
        self.blanked.push(line.span);
        Some(rest)
    }

    fn close_items(&mut self, end: usize) {
        for open in self.open_items.drain(..) {
            let item = &mut self.items[open];
            item.span.end = item.span.end.min(end);
            item.own.end = item.own.end.min(end);
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

/// Returns whether the last line of a fenced block is its closing fence.
fn fence_is_closed(block: &str) -> bool {
    let block = block.trim();
    let Some(fence) = block.chars().next() else {
        return false;
    };
    let width = block.chars().take_while(|c| *c == fence).count();
    let last = block.lines().skip(1).last().map_or("", |l| l.trim_start_matches(['>', ' ', '\t']).trim_end());
    last.chars().count() >= width && last.chars().all(|c| c == fence)
}

/// Returns whether a row is a line directly below a table that does not belong to it: CommonMark makes every line up to the next empty one a
/// row, also those of a tree of folders.
fn is_glued(row: &str) -> bool {
    let text = row.trim_start();
    let branch = text.strip_prefix('|').map_or(text, str::trim_start);
    !text.contains('|')
        || branch.starts_with(['├', '└', '│', '┌'])
        || text.starts_with("|--") && !row.trim_end().ends_with('|')
}
