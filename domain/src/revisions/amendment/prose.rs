//! The content of a piece of Markdown without its formatting, and the demands in it.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::speckit::constitution::{demands, sentence_end};
use crate::text::truncated;

/// A paragraph, list item, table row or code block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Block {
    /// Text of the block without emphasis and comments, with single spaces.
    text: String,
    /// Nesting depth in lists.
    depth: usize,
    verbatim: bool,
}

/// A sentence that demands something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) text: String,
    /// Words of the sentence, which identify the demand.
    pub(super) words: String,
}

/// The content of a principle or section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Prose {
    blocks: Vec<Block>,
    pub(super) demands: Vec<Demand>,
}

impl Prose {
    pub(super) fn read(text: &str) -> Self {
        let blocks = blocks(text);
        let demands = find_demands(&blocks);
        Self { blocks, demands }
    }

    /// Returns the whole text.
    pub(super) fn text(&self) -> String {
        let texts: Vec<&str> = self.blocks.iter().map(|block| block.text.as_str()).collect();
        texts.join("\n")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Returns whether two texts consist of the same words, regardless of line breaks and emphasis.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.blocks == other.blocks
    }

    /// Returns whether the new text contains at least half of the words.
    pub(super) fn is_mostly_kept_in(&self, new: &Self) -> bool {
        let bag = |prose: &Self| {
            let mut words: Vec<String> = prose.blocks.iter().flat_map(|block| each_word(&block.text)).collect();
            words.sort_unstable();
            words
        };
        let (old, new) = (bag(self), bag(new));
        let (mut i, mut j, mut kept) = (0, 0, 0);
        while let (Some(a), Some(b)) = (old.get(i), new.get(j)) {
            kept += usize::from(a == b);
            i += usize::from(a <= b);
            j += usize::from(b <= a);
        }
        2 * kept >= old.len()
    }
}

/// Returns the words of a text in lower case, without the punctuation around them.
pub(super) fn words(text: &str) -> String {
    each_word(text).collect::<Vec<_>>().join(" ")
}

fn each_word(text: &str) -> impl Iterator<Item = String> {
    const AROUND: &str = ".,;:!?\"'“”‘’«»()[]…*_。，；：！？、（）";
    let is_dash = |word: &str| word.chars().all(|c| matches!(c, '-' | '–' | '—'));
    let words = text.split_whitespace().map(|word| word.trim_matches(|c| AROUND.contains(c)));
    words.filter(move |word| !word.is_empty() && !is_dash(word)).map(str::to_lowercase)
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut block = Block::default();
    let mut finish = |block: &mut Block| {
        let done = std::mem::replace(block, Block { text: String::new(), verbatim: false, ..*block });
        let text = if done.verbatim { done.text } else { done.text.split_whitespace().collect::<Vec<_>>().join(" ") };
        if !text.is_empty() {
            found.push(Block { text, ..done });
        }
    };
    let mut comment = false;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::List(_)) => {
                finish(&mut block);
                block.depth += 1;
            }
            Event::End(TagEnd::List(_)) => {
                finish(&mut block);
                block.depth = block.depth.saturating_sub(1);
            }
            Event::Start(Tag::CodeBlock(_)) => {
                finish(&mut block);
                block.verbatim = true;
            }
            Event::Start(
                Tag::Paragraph | Tag::Item | Tag::Heading { .. } | Tag::BlockQuote(_) | Tag::TableHead | Tag::TableRow,
            )
            | Event::End(
                TagEnd::Paragraph
                | TagEnd::Item
                | TagEnd::Heading(_)
                | TagEnd::BlockQuote(_)
                | TagEnd::TableHead
                | TagEnd::TableRow
                | TagEnd::CodeBlock,
            ) => finish(&mut block),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                block.text.extend(["<", &dest_url, "> "]);
            }
            Event::End(TagEnd::TableCell) => block.text.push_str(" | "),
            Event::SoftBreak | Event::HardBreak => block.text.push(' '),
            // A comment may extend over several lines, each of which is an event.
            Event::Html(html) | Event::InlineHtml(html) if comment || html.starts_with("<!--") => {
                comment = !html.trim_end().ends_with("-->");
            }
            Event::Text(text) | Event::Code(text) | Event::Html(text) | Event::InlineHtml(text) => {
                block.text.push_str(&text);
            }
            _ => {}
        }
    }
    finish(&mut block);
    found
}

/// Returns the sentences that contain a demand. A sentence that ends in a colon demands each item of the list below it.
fn find_demands(blocks: &[Block]) -> Vec<Demand> {
    let mut found = Vec::new();
    let mut demand = |text: &str| found.push(Demand { words: words(text), text: text.to_owned() });
    let mut heading: Option<(usize, String)> = None;
    for block in blocks {
        heading = heading.filter(|(depth, _)| block.depth > *depth);
        if block.verbatim {
            continue;
        }
        if let Some((_, above)) = &heading {
            demand(&format!("{above} {}", block.text));
            continue;
        }
        let mut rest = block.text.as_str();
        while !rest.is_empty() {
            let (sentence, after) = rest.split_at(sentence_end(rest));
            rest = after;
            let sentence = sentence.trim();
            if !demands(sentence) {
                continue;
            }
            demand(sentence);
            if rest.is_empty() && sentence.ends_with([':', '：']) {
                heading = Some((block.depth, shortened(sentence)));
            }
        }
    }
    found
}

/// Returns the beginning of a text for a message; the same length bounds what a list repeats of the sentence above it.
pub(super) fn shortened(text: &str) -> String {
    const MAX_BYTES: usize = 160;
    if text.len() <= MAX_BYTES {
        return text.to_owned();
    }
    format!("{}…", truncated(text, MAX_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        Prose::read(text).demands.into_iter().map(|demand| demand.text).collect()
    }

    #[test]
    fn demands_are_sentences_and_the_items_below_them() {
        let text = "Walls **MUST** have\ndoors. They may be red.\n\nHinges MUST:\n\n- be oiled\n  - twice\n- not squeak\n\n<!-- X MUST -->\n\n```\nY MUST\n```\n\n- Locks SHALL hold\n";
        assert_eq!(
            found(text),
            [
                "Walls MUST have doors.",
                "Hinges MUST:",
                "Hinges MUST: be oiled",
                "Hinges MUST: twice",
                "Hinges MUST: not squeak",
                "Locks SHALL hold"
            ]
        );
    }

    #[test]
    fn form_is_no_content() {
        let one = Prose::read("Walls **MUST** have\n`doors`.\n");
        let other = Prose::read("<!-- new -->\nWalls MUST have doors.");
        assert!(one.says_the_same(&other));
        assert_eq!(words("— It’s (80%) *done*; -1 …"), "it’s 80% done -1");
    }
}
