//! A decoded document with its lines, sections, list items and table rows.

use std::ops::Range;

use super::model::{Item, Line, LineKind, ListItem, MAX_DOCUMENT_BYTES, Row, Section, Span, line_number};
use super::reader::Reader;
use super::text::{
    Enclosed, blank, enclosed, heading_text, is_placeholder, is_rule, joined, label, named, strip_marker,
};
use crate::speckit::diagnostic::{Diagnostic, UNFILLED_TEMPLATE};

/// A document whose comments, code blocks and front matter are blanked, with the same offsets as its source.
#[derive(Debug, Default)]
pub(crate) struct Markdown {
    pub(crate) source: String,
    /// As long as `source`; everything except content is replaced by spaces.
    clean: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) items: Vec<ListItem>,
    pub(crate) rows: Vec<Row>,
    /// The cells of each table's header.
    pub(crate) headers: Vec<Vec<String>>,
    pub(crate) sections: Vec<Section>,
    code_spans: Vec<Span>,
}

/// Decodes a document and parses its Markdown, or returns the diagnostic why it cannot be read at all.
pub(crate) fn read(bytes: &[u8]) -> Result<(Markdown, Vec<Diagnostic>), Diagnostic> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(Diagnostic::error(
            1,
            "DocumentTooLarge",
            format!("the document has {} bytes, and at most {MAX_DOCUMENT_BYTES} are allowed", bytes.len()),
            "split it, or move long sections to files of their own",
        ));
    }
    let line_at = |offset: usize| line_number(bytes[..offset].split(|b| *b == b'\n').count());
    if bytes.contains(&0) {
        let nul = bytes.iter().position(|b| *b == 0).unwrap_or_default();
        return Err(Diagnostic::error(
            line_at(nul),
            "BinaryDocument",
            format!("byte {nul} is NUL, so this is not a text document"),
            "provide a Markdown document in UTF-8",
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
            "write the document, or remove the reference to it",
        ));
    }
    let (markdown, diagnostics) = Markdown::new(source);
    match broken(&markdown) {
        Some(diagnostic) => Err(diagnostic),
        None => Ok((markdown, diagnostics)),
    }
}

/// Returns the error of a document that was left in the middle of a merge, or that is a quotation of a document as a whole.
fn broken(markdown: &Markdown) -> Option<Diagnostic> {
    let outside = |index: &usize| markdown.lines[*index].kind != LineKind::Verbatim;
    let marked =
        |mark: &str| (0..markdown.lines.len()).filter(outside).find(|at| markdown.source_line(*at).starts_with(mark));
    if let (Some(ours), Some(theirs)) = (marked("<<<<<<< "), marked(">>>>>>> "))
        && ours < theirs
    {
        return Some(Diagnostic::error(
            markdown.lines[ours].number,
            "ConflictMarkers",
            format!(
                "lines {} to {} are an unresolved conflict of Git",
                markdown.lines[ours].number, markdown.lines[theirs].number
            ),
            "resolve the conflict, and remove its markers",
        ));
    }
    fenced(markdown)
}

/// Returns the error of a document whose headings are all inside of one code fence, with at most a few words outside of it.
fn fenced(markdown: &Markdown) -> Option<Diagnostic> {
    const MAX_OUTSIDE: usize = 3;
    // A block in the document can close the fence around it, so that the rest of the document is outside.
    let opens = markdown.lines.iter().position(|line| !line.span.text(&markdown.source).trim().is_empty());
    let named = opens.filter(|at| {
        let fence = markdown.source_line(*at).trim_matches(['`', '~', ' ', '\r']);
        markdown.lines[*at].kind == LineKind::Verbatim && matches!(fence, "markdown" | "md")
    });
    if !markdown.sections.is_empty() && (named.is_none() || markdown.sections.iter().any(|s| s.level == 1)) {
        return None;
    }
    let filled = |index: &usize| !markdown.source_line(*index).trim().is_empty();
    let verbatim = |index: &usize| markdown.lines[*index].kind == LineKind::Verbatim;
    let is_fence = |index: &usize| markdown.source_line(*index).trim_start().starts_with(['`', '~']);
    let outside = (0..markdown.lines.len()).filter(filled).filter(|at| !verbatim(at)).count();
    let fence = (0..markdown.lines.len()).filter(verbatim).find(is_fence)?;
    let heading = (fence + 1..markdown.lines.len()).filter(verbatim).any(|at| {
        let text = markdown.source_line(at).trim_start();
        text.trim_start_matches('#').starts_with(' ') && text.starts_with('#')
    });
    (heading && (outside <= MAX_OUTSIDE || named.is_some())).then(|| {
        Diagnostic::error(
            markdown.lines[fence].number,
            "FencedDocument",
            "the whole document is inside of the code fence that opens on this line, so nothing in it is read",
            "remove the fence",
        )
    })
}

impl Markdown {
    fn new(source: String) -> (Self, Vec<Diagnostic>) {
        let mut reader = Reader::new(&source);
        reader.read();
        let Reader { lines, items, rows, headers, blanked, mut code_spans, diagnostics, .. } = reader;
        code_spans.sort_by_key(|s| s.start);
        let clean = blank(&source, blanked);
        let mut markdown = Self { clean, lines, items, rows, headers, sections: Vec::new(), code_spans, source };
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
            sections.push(Section { level, title, heading: index, own_end: end, end, parent });
        }
        sections
    }

    /// Returns the title of the document, without a prefix such as `Implementation Plan:`, whose words before the colon are one of
    /// `kinds`, in lower case.
    pub(crate) fn title(&self, kinds: &[&str]) -> Option<Item> {
        let section = self.sections.iter().find(|s| s.level == 1)?;
        let line = self.lines[section.heading];
        let (before, after) = section.title.split_once([':', '：']).unwrap_or(("", &section.title));
        let before = before.to_lowercase();
        let text = if kinds.iter().any(|kind| before.contains(kind)) { after.trim() } else { &section.title };
        Some(Item { text: text.to_owned(), line: line.number, span: line.span })
    }

    /// Returns the content of a line: comments and code blocks are blank.
    pub(crate) fn text(&self, line: usize) -> &str {
        self.lines.get(line).map_or("", |l| l.span.text(&self.clean))
    }

    /// Returns a line as it is written.
    pub(crate) fn source_line(&self, line: usize) -> &str {
        self.lines.get(line).map_or("", |l| l.span.text(&self.source))
    }

    /// Returns the content under a span.
    pub(crate) fn clean(&self, span: Span) -> &str {
        span.text(&self.clean)
    }

    /// Returns the index of the line that contains this byte.
    pub(crate) fn line_index(&self, offset: usize) -> usize {
        self.lines.partition_point(|l| l.span.start <= offset).saturating_sub(1)
    }

    /// Returns the number, from 1, of the line that contains this byte.
    pub(crate) fn line_number(&self, offset: usize) -> u32 {
        self.lines.get(self.line_index(offset)).map_or(1, |l| l.number)
    }

    /// Returns the bytes of a range of lines, without the last line break and without blank lines at the end.
    pub(crate) fn span_of(&self, lines: Range<usize>) -> Span {
        let start = self.lines.get(lines.start).map_or(self.source.len(), |l| l.span.start);
        let last =
            lines.rev().find(|i| self.lines.get(*i).is_some_and(|l| !l.span.text(&self.source).trim().is_empty()));
        Span { start, end: last.map_or(start, |i| self.lines[i].span.end) }
    }

    /// Returns whether this byte lies in inline code.
    pub(crate) fn in_code_span(&self, offset: usize) -> bool {
        let after = self.code_spans.partition_point(|s| s.start <= offset);
        after > 0 && self.code_spans[after - 1].contains(offset)
    }

    /// Returns the list items that begin in these lines.
    pub(crate) fn items_in(&self, lines: Range<usize>) -> &[ListItem] {
        let offset = |line: usize| self.lines.get(line).map_or(self.source.len(), |l| l.span.start);
        let from = self.items.partition_point(|i| i.span.start < offset(lines.start));
        let to = self.items.partition_point(|i| i.span.start < offset(lines.end));
        self.items.get(from..to).unwrap_or_default()
    }

    /// Returns the table rows that lie in these lines.
    pub(crate) fn rows_in(&self, lines: Range<usize>) -> &[Row] {
        let number = |line: usize| line_number(line + 1);
        let from = self.rows.partition_point(|r| r.line < number(lines.start));
        let to = self.rows.partition_point(|r| r.line < number(lines.end));
        self.rows.get(from..to).unwrap_or_default()
    }

    /// Returns the text of a list item without its marker, its wrapped lines joined.
    pub(crate) fn item(&self, item: &ListItem) -> Item {
        let text = joined(strip_marker(self.clean(item.own)));
        let end = item.own.start + self.clean(item.own).trim_end().len();
        Item { text, line: self.line_number(item.span.start), span: Span { start: item.own.start, end } }
    }

    /// Returns the items of the outermost list in these lines, in order.
    pub(crate) fn top_items(&self, lines: Range<usize>) -> Vec<Item> {
        let items = self.items_in(lines);
        let depth = items.iter().map(|i| i.depth).min().unwrap_or_default();
        items.iter().filter(|i| i.depth == depth).map(|i| self.item(i)).filter(|i| !i.text.is_empty()).collect()
    }

    /// Returns a warning for each line that still contains a placeholder of the template: `[FEATURE NAME]`, `[###-feature-name]`,
    /// `TODO(FIELD)`.
    pub(crate) fn placeholders(&self) -> Vec<Diagnostic> {
        let mut found: Vec<Diagnostic> = Vec::new();
        let bracketed = enclosed(&self.clean, "[", b']')
            .filter(|e| !self.clean[e.end..].starts_with('(') && is_placeholder(e.inner))
            .filter(Enclosed::is_short);
        let todo = enclosed(&self.clean, "TODO(", b')').filter(Enclosed::is_short);
        let places = bracketed.chain(todo).map(|e| (e.start, e.end));
        let mut places: Vec<(usize, usize)> = places.filter(|(at, _)| !self.in_code_span(*at)).collect();
        places.sort_by_cached_key(|(at, _)| self.line_index(*at));
        for of_line in places.chunk_by(|a, b| self.line_index(a.0) == self.line_index(b.0)) {
            let line = self.lines[self.line_index(of_line[0].0)];
            if !matches!(line.kind, LineKind::Text | LineKind::Heading(_)) {
                continue;
            }
            let names: Vec<&str> = of_line.iter().map(|(start, end)| &self.clean[*start..*end]).collect();
            let message = format!("the placeholder {} of the template is not filled in", names.join(", "));
            let remedy = "replace it, or remove the line";
            found.push(Diagnostic::warning(line.number, UNFILLED_TEMPLATE, message, remedy));
        }
        found
    }

    /// Returns the paragraphs and items of these lines as prose, each of them as one block of text.
    pub(crate) fn prose(&self, lines: Range<usize>) -> Option<Item> {
        let first = lines.clone().find(|i| self.lines.get(*i).is_some_and(|l| l.kind == LineKind::Text))?;
        let span = self.span_of(first..lines.end);
        Some(Item { text: joined(self.clean(span)), line: self.lines[first].number, span })
    }

    /// Returns one past the last line of the paragraph that begins here: a list item, a label or a rule begins another one.
    pub(crate) fn paragraph_end(&self, start: usize) -> usize {
        let goes_on = |index: usize| {
            let text = self.text(index).trim_start();
            self.lines[index].kind == LineKind::Text
                && strip_marker(text).len() == text.len()
                && label(text).is_none()
                && !is_rule(text)
        };
        let end = self.lines.len();
        (start + 1..end).find(|i| !goes_on(*i)).unwrap_or(end)
    }

    /// Returns the paragraphs and list items of these lines, each once, wrapped lines joined.
    pub(crate) fn paragraphs(&self, mut lines: Range<usize>) -> impl Iterator<Item = Item> {
        std::iter::from_fn(move || {
            let first = lines.find(|at| self.lines.get(*at).is_none_or(|line| line.kind == LineKind::Text))?;
            let line = self.lines.get(first)?.number;
            let end = self.paragraph_end(first).min(lines.end);
            lines.start = end;
            let span = self.span_of(first..end);
            Some(Item { text: joined(strip_marker(self.clean(span))), line, span })
        })
    }

    /// Returns the text after the first `**Label**:` of these names, up to the end of its paragraph.
    pub(crate) fn labelled(&self, lines: Range<usize>, names: &[&str]) -> Option<Item> {
        let matches = |index: &usize| {
            let found = self.lines.get(*index).filter(|l| l.kind == LineKind::Text);
            found.is_some_and(|_| named(strip_marker(self.text(*index)), names).is_some())
        };
        let index = lines.clone().find(matches)?;
        let span = self.span_of(index..self.paragraph_end(index).min(lines.end));
        let text = named(strip_marker(self.clean(span)), names).map(joined).unwrap_or_default();
        Some(Item { text, line: self.lines[index].number, span })
    }
}
