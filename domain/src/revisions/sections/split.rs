//! A document as its sections.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::speckit::markdown::front_matter;
use crate::text::truncated;

/// Maximum length of a title in a path. The limit matters when one long title has thousands of sections.
const MAX_TITLE_BYTES: usize = 80;

/// A heading with the text below it up to the next heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    /// Level 1 to 6, or 0 for the text before the first heading.
    pub(crate) level: u8,
    /// Text of the heading without marks and emphasis.
    pub(crate) title: String,
    /// Heading and body, with all line breaks.
    pub(crate) text: &'a str,
    /// Offset of `text` in the document.
    pub(crate) start: usize,
    /// Line of the heading, counted from 1.
    pub(crate) line: u32,
    /// Index of the section above.
    pub(crate) parent: Option<usize>,
}

/// Returns the sections of a document in order. The first one is the text before any heading and may be empty. Together they are the
/// whole document.
pub(crate) fn split(document: &str) -> Vec<Section<'_>> {
    let mut headings = headings(document);
    // The text before the first heading is a section of level 0.
    headings.insert(0, (0, 0, String::new()));
    let ends: Vec<usize> = headings.iter().skip(1).map(|h| h.0).chain([document.len()]).collect();
    let mut sections: Vec<Section<'_>> = Vec::with_capacity(headings.len());
    let mut open: Vec<usize> = Vec::new();
    let mut line = 1;
    for ((start, level, title), end) in headings.into_iter().zip(ends) {
        // A heading closes all open sections of the same or a deeper level. The section that remains open is its parent.
        while let Some(&top) = open.last()
            && sections[top].level >= level
        {
            open.pop();
        }
        let parent = open.last().copied();
        if level > 0 {
            open.push(sections.len());
        }
        let text = &document[start..end];
        sections.push(Section { level, title, text, start, line, parent });
        line += u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX);
    }
    sections
}

/// Returns the offset of the line, level and title of each heading that is not in a list, quotation, code block or front matter.
fn headings(document: &str) -> Vec<(usize, u8, String)> {
    let base = front_matter(document);
    let text = &document[base..];
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut heading: Option<(usize, u8, String)> = None;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::BlockQuote(_) | Tag::Item) => depth += 1,
            Event::End(TagEnd::BlockQuote(_) | TagEnd::Item) => depth = depth.saturating_sub(1),
            Event::Start(Tag::Heading { level, .. }) if depth == 0 && is_heading(&text[range.clone()]) => {
                let start = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
                // A byte order mark belongs to the first line.
                let start = if start == 0 && base <= '\u{feff}'.len_utf8() { 0 } else { base + start };
                heading = Some((start, level as u8, String::new()));
            }
            Event::End(TagEnd::Heading(_)) => found.extend(heading.take()),
            Event::Text(text) | Event::Code(text) | Event::InlineHtml(text) => {
                if let Some((_, _, title)) = &mut heading {
                    title.push_str(&text);
                }
            }
            _ => {}
        }
    }
    found
}

/// Returns whether a block is a heading. CommonMark also reads a rule directly below a paragraph as one, which authors do not intend;
/// [`crate::speckit`] decides in the same way.
fn is_heading(block: &str) -> bool {
    let block = block.trim();
    block.starts_with('#') || (block.lines().count() == 2 && !block.starts_with(['*', '_', '>', '|']))
}

/// Returns the titles from the outermost heading to this one, each truncated to [`MAX_TITLE_BYTES`].
pub(crate) fn path(sections: &[Section<'_>], index: usize) -> Vec<String> {
    let mut titles = Vec::new();
    let mut next = Some(index);
    while let Some(section) = next.and_then(|at| sections.get(at)).filter(|section| section.level > 0) {
        titles.push(truncated(&section.title, MAX_TITLE_BYTES).to_owned());
        next = section.parent;
    }
    titles.reverse();
    titles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_no_front_matter() {
        let titles = |text: &str| split(text).iter().map(|s| s.title.clone()).collect::<Vec<_>>();
        assert_eq!(titles("# A\n\n---\ntext\n\n## B\n\n---\n\n## C\n"), ["", "A", "B", "C"]);
        assert_eq!(titles("---\nopen\n\n# A\n"), ["", "A"]);
        assert_eq!(titles("---\n# no\n---\n# A\n"), ["", "A"]);
        assert_eq!(titles("\u{feff}# A\n"), ["", "A"]);
    }

    #[test]
    fn only_headings_of_the_document_begin_sections() {
        let text = "\u{feff}---\n# not: this\n---\nintro\n\n# A *b*\n\n```sh\n# no\n```\n\n> # no\n\n- # no\n\n  ## no\n\n<!--\n# no\n-->\n\nUnder\n-----\n\n**Bold**\n---\n\n### Deep ###\n";
        let sections = split(text);
        let found: Vec<_> = sections.iter().map(|s| (s.level, s.title.as_str(), s.line, s.parent)).collect();
        assert_eq!(found, [(0, "", 1, None), (1, "A b", 6, None), (2, "Under", 22, Some(1)), (3, "Deep", 28, Some(2))]);
        assert_eq!(sections.iter().map(|s| s.text).collect::<String>(), text);
        assert_eq!(path(&sections, 3), ["A b", "Under", "Deep"]);
    }
}
