//! Merges two edits of one document.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::lines::{Merged, merge as merge_lines};
use super::model::{Conflict, Merge};
use super::pair::pair;
use super::split::{Section, path, split};

/// Merges two edits of `base`, ours and theirs, section by section.
///
/// - A section that one side changed has that side's text; the same change of both sides is taken once.
/// - Where both changed a section, its lines are merged: edits of different lines are both taken. Other edits are a conflict, with Git's
///   markers around the lines.
/// - A section that one side removed is removed, unless the other side changed it: that is a conflict.
/// - Added sections follow the section after which they were added, ours before theirs, under their own heading. When one side reordered
///   the sections, its order is used; when both did, ours.
/// - Line ends and a byte order mark are merged separately from the text: a change of one side is taken. A document with mixed line ends is
///   merged unchanged.
///
/// No text is lost: text that is not in the result is in a conflict.
pub fn merge(base: &str, ours: &str, theirs: &str) -> Merge {
    let clean = |text: &str| Merge { text: text.to_owned(), conflicts: Vec::new() };
    if ours == theirs || theirs == base {
        return clean(ours);
    }
    if ours == base {
        return clean(theirs);
    }
    // Marks and line ends are merged apart from the text: a converted line end must not make every line a conflict.
    let marks = [base, ours, theirs].map(|text| text.starts_with('\u{feff}'));
    let [base, ours, theirs] = [base, ours, theirs].map(|text| text.strip_prefix('\u{feff}').unwrap_or(text));
    let ends = [base, ours, theirs].map(LineEnds::of);
    let uniform = !ends.contains(&LineEnds::Mixed);
    let unix = |text| if uniform { unix(text) } else { Cow::Borrowed(text) };
    let mut merge = sections(&unix(base), &unix(ours), &unix(theirs));
    // A text without line ends gets those of the base.
    let [base_ends, our_ends, their_ends] = ends.map(|end| if end == LineEnds::None { ends[0] } else { end });
    if uniform && *pick(&base_ends, &our_ends, &their_ends) == LineEnds::Windows {
        let windows = |text: &mut String| *text = text.replace('\n', "\r\n");
        windows(&mut merge.text);
        for conflict in &mut merge.conflicts {
            [&mut conflict.base, &mut conflict.ours, &mut conflict.theirs].into_iter().flatten().for_each(windows);
        }
    }
    if *pick(&marks[0], &marks[1], &marks[2]) {
        merge.text.insert(0, '\u{feff}');
    }
    merge
}

/// Returns the changed value: theirs when ours is unchanged, otherwise ours.
fn pick<'a, T: PartialEq>(base: &'a T, ours: &'a T, theirs: &'a T) -> &'a T {
    if ours == base { theirs } else { ours }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnds {
    None,
    Unix,
    Windows,
    Mixed,
}

impl LineEnds {
    fn of(text: &str) -> Self {
        match (text.matches('\n').count(), text.matches("\r\n").count()) {
            (0, _) => Self::None,
            (_, 0) => Self::Unix,
            (all, windows) if all == windows => Self::Windows,
            _ => Self::Mixed,
        }
    }
}

fn unix(text: &str) -> Cow<'_, str> {
    if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) }
}

/// A section of the merged document, identified by the first document that contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Base(usize),
    Ours(usize),
    Theirs(usize),
}

/// One version of the document: its sections, and the node of each section.
struct Side<'a> {
    sections: Vec<Section<'a>>,
    nodes: Vec<Node>,
    places: BTreeMap<Node, usize>,
}

impl<'a> Side<'a> {
    fn new(sections: Vec<Section<'a>>, nodes: Vec<Node>) -> Self {
        let places = nodes.iter().enumerate().map(|(index, node)| (*node, index)).collect();
        Self { sections, nodes, places }
    }

    fn has(&self, node: Node) -> bool {
        self.places.contains_key(&node)
    }

    fn get(&self, node: Node) -> Option<&Section<'a>> {
        self.places.get(&node).map(|index| &self.sections[*index])
    }

    /// Returns whether this side reordered the sections of the base.
    fn reorders(&self) -> bool {
        let base = self.nodes.iter().filter(|node| matches!(node, Node::Base(_)));
        !base.is_sorted()
    }
}

fn sections(base: &str, ours: &str, theirs: &str) -> Merge {
    let (base, ours, theirs) = (split(base), split(ours), split(theirs));
    let node = |(index, from): (usize, Option<usize>)| from.map_or(Node::Ours(index), Node::Base);
    let our_nodes: Vec<Node> = pair(&base, &ours).into_iter().enumerate().map(node).collect();
    let their_nodes = their_nodes((&base, &theirs), (&ours, &our_nodes));
    let base_nodes = (0..base.len()).map(Node::Base).collect();
    let sides = Sides {
        base: Side::new(base, base_nodes),
        ours: Side::new(ours, our_nodes),
        theirs: Side::new(theirs, their_nodes),
    };
    let order = sides.order();
    let mut merge = Merge { text: String::new(), conflicts: Vec::new() };
    for (index, node) in order.iter().enumerate() {
        sides.write(*node, index + 1 == order.len(), &mut merge);
    }
    merge
}

/// Returns the nodes of their sections. A section that both sides added with the same heading under the same parent is one node.
fn their_nodes(
    (base, theirs): (&[Section<'_>], &[Section<'_>]),
    (ours, our_nodes): (&[Section<'_>], &[Node]),
) -> Vec<Node> {
    let key = |sections: &[Section<'_>], nodes: &[Node], index: usize| {
        let section: &Section<'_> = &sections[index];
        (section.parent.map(|parent| nodes[parent]), section.level, section.title.clone())
    };
    let mut added: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    // In reverse, so that `pop` below returns the first of several sections with the same key.
    for (index, node) in our_nodes.iter().enumerate().rev() {
        if matches!(node, Node::Ours(_)) {
            added.entry(key(ours, our_nodes, index)).or_default().push(index);
        }
    }
    let mut nodes = Vec::with_capacity(theirs.len());
    for (index, from) in pair(base, theirs).into_iter().enumerate() {
        let same = || added.get_mut(&key(theirs, &nodes, index)).and_then(Vec::pop).map(Node::Ours);
        let node = from.map(Node::Base).or_else(same).unwrap_or(Node::Theirs(index));
        nodes.push(node);
    }
    nodes
}

struct Sides<'a> {
    base: Side<'a>,
    ours: Side<'a>,
    theirs: Side<'a>,
}

impl Sides<'_> {
    /// Returns the nodes of the merged document in order.
    fn order(&self) -> Vec<Node> {
        // The side that reordered sections determines the order; the sections of the other side are inserted after their predecessors.
        let theirs_lead = self.theirs.reorders() && !self.ours.reorders();
        let (lead, other) = if theirs_lead { (&self.theirs, &self.ours) } else { (&self.ours, &self.theirs) };
        // Sections that only the other side has, by the node that they follow.
        let mut behind: BTreeMap<Option<Node>, Vec<Node>> = BTreeMap::new();
        let mut anchor = None;
        for &node in &other.nodes {
            if lead.has(node) {
                anchor = Some(node);
            } else if self.stays(node) {
                behind.entry(anchor).or_default().push(node);
            }
        }
        let mut order = Vec::with_capacity(lead.nodes.len());
        let mut waiting: std::vec::IntoIter<Node> = behind.remove(&None).unwrap_or_default().into_iter();
        let mut next = waiting.next();
        for &node in &lead.nodes {
            // Sections that only the leading side has go first while they are deeper; at the same depth, ours go first.
            while let Some(other_node) = next
                && (other.has(node) || self.level(node) < self.level(other_node) + usize::from(theirs_lead))
            {
                order.push(other_node);
                next = waiting.next();
            }
            if self.stays(node) {
                order.push(node);
            }
            if let Some(more) = behind.remove(&Some(node)) {
                waiting = more.into_iter();
                next = waiting.next();
            }
        }
        order.extend(next);
        order.extend(waiting);
        order
    }

    fn level(&self, node: Node) -> usize {
        let section = self.ours.get(node).or_else(|| self.theirs.get(node));
        section.map_or(0, |section| usize::from(section.level))
    }

    /// Returns whether the merged document contains the section. A section that one side removed stays only when the other side changed it.
    fn stays(&self, node: Node) -> bool {
        match (self.base.get(node), self.ours.get(node), self.theirs.get(node)) {
            (Some(base), Some(side), None) | (Some(base), None, Some(side)) => parts(base.text).0 != parts(side.text).0,
            _ => true,
        }
    }

    fn write(&self, node: Node, last: bool, merge: &mut Merge) {
        let (base, ours, theirs) = (self.base.get(node), self.ours.get(node), self.theirs.get(node));
        let [base_parts, our_parts, their_parts] = [base, ours, theirs].map(|side| side.map(|side| parts(side.text)));
        let start = merge.text.len();
        let mut conflict = false;
        let gap = match (our_parts, their_parts) {
            (Some((a, our_gap)), Some((b, their_gap))) => {
                let (content, base_gap) = base_parts.unwrap_or_default();
                // The order of these tests matters: the line merge is only for sections that both sides changed differently.
                if a == b || b == content {
                    merge.text.push_str(a);
                } else if a == content {
                    merge.text.push_str(b);
                } else {
                    let merged = merge_lines(&lines(content), &lines(a), &lines(b));
                    merge.text.push_str(&merged.lines.join("\n"));
                    conflict = merged.conflict;
                }
                pick_gap(base_gap, our_gap, their_gap)
            }
            (Some((content, gap)), None) | (None, Some((content, gap))) => {
                // A section with a base that one side lacks was removed there; `stays` kept it because the other side changed it.
                // Only this side has added it, so it is taken unchanged.
                if base.is_none() {
                    merge.text.push_str(content);
                } else {
                    let content = lines(content);
                    let (a, b): (&[&str], &[&str]) = if ours.is_some() { (&content, &[]) } else { (&[], &content) };
                    let mut merged = Merged::default();
                    merged.clash(a, b);
                    merge.text.push_str(&merged.lines.join("\n"));
                    conflict = true;
                }
                gap
            }
            (None, None) => return,
        };
        merge.text.push_str(gap);
        // A section that ended its document has no blank line after it, which it needs when another section follows.
        let breaks = gap.matches('\n').count();
        let mut having = [&self.ours, &self.theirs].into_iter().filter(|side| side.has(node));
        let was_last = having.all(|side| side.nodes.last() == Some(&node));
        if !last && merge.text.len() > start && (breaks == 0 || (was_last && breaks == 1)) {
            merge.text.push_str(&"\n".repeat(2 - breaks));
        }
        if conflict {
            let path = [(ours, &self.ours), (theirs, &self.theirs)]
                .into_iter()
                .find(|(section, _)| section.is_some())
                .and_then(|(_, side)| Some(path(&side.sections, *side.places.get(&node)?)))
                .unwrap_or_default();
            let text = |section: Option<&Section<'_>>| section.map(|section| section.text.to_owned());
            merge.conflicts.push(Conflict { path, base: text(base), ours: text(ours), theirs: text(theirs) });
        }
    }
}

/// Returns a section's text up to the end of its last line, and the trailing line breaks and blank lines.
fn parts(text: &str) -> (&str, &str) {
    let end = text.trim_end().len();
    let end = text[end..].find(['\n', '\r']).map_or(text.len(), |at| end + at);
    text.split_at(end)
}

/// Returns the blank lines of the side that changed them; when both did, the longer ones.
fn pick_gap<'a>(base: &'a str, ours: &'a str, theirs: &'a str) -> &'a str {
    if ours == base || (theirs != base && theirs.len() > ours.len()) { theirs } else { ours }
}

fn lines(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('\n').collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Documents of a few headings, lines and blank lines, so that two of them often share some.
    fn document() -> impl Strategy<Value = String> {
        let line = prop::sample::select(&["# a", "## b", "## c", "### d", "one", "two", "three", "- four", ""][..]);
        let end = prop::sample::select(&["", "\n", "\n\n"][..]);
        (prop::collection::vec(line, 0..14), end).prop_map(|(lines, end)| lines.join("\n") + end)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// The general algorithm, without the shortcuts of [`merge`], takes all changes when only one side has changes.
        #[test]
        fn one_side_alone_has_its_way(base in document(), changed in document()) {
            for (ours, theirs) in [(&changed, &base), (&base, &changed), (&changed, &changed)] {
                let merge = sections(&base, ours, theirs);
                prop_assert_eq!(&merge.text, &changed);
                prop_assert_eq!(merge.conflicts, []);
            }
        }
    }
}
