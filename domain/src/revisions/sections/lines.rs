//! Differences between two sequences of lines or words, and the merge of three sequences of lines.

use std::collections::BTreeMap;
use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

use super::pair::ascending;

/// Maximum product of the numbers of old and new lines that are compared thoroughly: a thousand of each.
const MAX_COMPARISONS: usize = 1_000_000;

/// A range of `old` that a range of `new` replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) old: Range<usize>,
    pub(super) new: Range<usize>,
}

impl Edit {
    fn is_small(&self) -> bool {
        self.old.len().saturating_mul(self.new.len()) <= MAX_COMPARISONS
    }

    fn grows(&self) -> bool {
        self.new.len() > self.old.len()
    }
}

/// Returns the edits that turn `old` into `new`, in order. Between two edits at least one line is kept.
///
/// The library's algorithms are quadratic at worst. For large texts, the lines that are unique in both texts divide the work; a range
/// between two of these lines that is still large becomes one edit.
pub(super) fn edits(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let mut found = Vec::new();
    let whole = trimmed(old, new, Edit { old: 0..old.len(), new: 0..new.len() });
    if whole.is_small() {
        compare(old, new, whole, &mut found);
        return found;
    }
    let (mut old_from, mut new_from) = (whole.old.start, whole.new.start);
    for (o, n) in anchors(old, new, &whole) {
        let piece = trimmed(old, new, Edit { old: old_from..o, new: new_from..n });
        compare(old, new, piece, &mut found);
        (old_from, new_from) = (o + 1, n + 1);
    }
    let rest = trimmed(old, new, Edit { old: old_from..whole.old.end, new: new_from..whole.new.end });
    compare(old, new, rest, &mut found);
    found
}

/// Returns the edit without the common beginning and the common end of both ranges.
fn trimmed(old: &[&str], new: &[&str], Edit { old: a, new: b }: Edit) -> Edit {
    let (left, right) = (&old[a.clone()], &new[b.clone()]);
    let head = left.iter().zip(right).take_while(|(x, y)| x == y).count();
    let (left, right) = (&left[head..], &right[head..]);
    let tail = left.iter().rev().zip(right.iter().rev()).take_while(|(x, y)| x == y).count();
    Edit { old: a.start + head..a.end - tail, new: b.start + head..b.end - tail }
}

/// Returns the lines that occur once in the old range and once in the new one, as far as their order is the same.
fn anchors<'a>(old: &[&'a str], new: &[&'a str], Edit { old: a, new: b }: &Edit) -> Vec<(usize, usize)> {
    let once = |lines: &[&'a str], range: &Range<usize>| {
        let mut places: BTreeMap<&'a str, Option<usize>> = BTreeMap::new();
        for index in range.clone() {
            places.entry(lines[index]).and_modify(|place| *place = None).or_insert(Some(index));
        }
        places
    };
    let (left, right) = (once(old, a), once(new, b));
    let both = right.iter().filter_map(|(line, n)| Some((left.get(line).copied()??, (*n)?)));
    let mut both: Vec<(usize, usize)> = both.collect();
    both.sort_by_key(|(_, n)| *n);
    let stays = ascending(&both.iter().map(|(o, _)| *o).collect::<Vec<_>>());
    both.into_iter().zip(stays).filter(|(_, stays)| *stays).map(|(pair, _)| pair).collect()
}

/// Adds the edits within a range, whose first and last lines differ.
fn compare(old: &[&str], new: &[&str], range: Edit, found: &mut Vec<Edit>) {
    if range.old.is_empty() && range.new.is_empty() {
        return;
    }
    if range.old.is_empty() || range.new.is_empty() || !range.is_small() {
        found.push(range);
        return;
    }
    let mut input = InternedInput::default();
    input.update_before(old[range.old.clone()].iter().copied());
    input.update_after(new[range.new.clone()].iter().copied());
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let at = |start: usize, hunk: Range<u32>| start + hunk.start as usize..start + hunk.end as usize;
    found.extend(diff.hunks().map(|h| Edit { old: at(range.old.start, h.before), new: at(range.new.start, h.after) }));
}

/// Result of merging two edits of the same lines.
#[derive(Debug, Default)]
pub(super) struct Merged<'a> {
    pub(super) lines: Vec<&'a str>,
    /// Whether some lines are between conflict markers.
    pub(super) conflict: bool,
}

impl<'a> Merged<'a> {
    /// Adds both versions of some lines between markers; common lines at the beginning and end stay outside of them.
    pub(super) fn clash(&mut self, ours: &[&'a str], theirs: &[&'a str]) {
        let head = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
        let (common, ours) = ours.split_at(head);
        let theirs = &theirs[head..];
        let tail = ours.iter().rev().zip(theirs.iter().rev()).take_while(|(a, b)| a == b).count();
        let (ours, end) = ours.split_at(ours.len() - tail);
        self.lines.extend(common);
        self.lines.push("<<<<<<< ours");
        self.lines.extend(ours);
        self.lines.push("=======");
        self.lines.extend(&theirs[..theirs.len() - tail]);
        self.lines.push(">>>>>>> theirs");
        self.lines.extend(end);
        self.conflict = true;
    }
}

/// Merges two edits of the same lines.
///
/// Edits of different lines are both applied, and also edits of neighbouring lines if neither adds lines. If both sides add lines at the
/// same position or change the same lines differently, the lines of both are in a conflict, which a person must resolve.
pub(super) fn merge<'a>(base: &[&'a str], ours: &[&'a str], theirs: &[&'a str]) -> Merged<'a> {
    let (our_edits, their_edits) = (edits(base, ours), edits(base, theirs));
    let (mut i, mut j, mut at) = (0, 0, 0);
    let mut merged = Merged::default();
    while i < our_edits.len() || j < their_edits.len() {
        let (first_ours, first_theirs) = (i, j);
        // Collects edits of both sides that overlap or touch: they must be decided together.
        let mut group: Option<(Range<usize>, bool)> = None;
        loop {
            let (a, b) = (our_edits.get(i), their_edits.get(j));
            // Takes the edit that comes first in the base.
            let is_ours = match (a, b) {
                (Some(a), Some(b)) => (a.old.start, a.old.end) <= (b.old.start, b.old.end),
                (a, _) => a.is_some(),
            };
            let Some(edit) = (if is_ours { a } else { b }) else { break };
            let joins = group.as_ref().is_none_or(|(range, grows)| {
                edit.old.start < range.end || (edit.old.start == range.end && (*grows || edit.grows()))
            });
            if !joins {
                break;
            }
            let (range, grows) = group.get_or_insert((edit.old.clone(), false));
            range.end = range.end.max(edit.old.end);
            *grows |= edit.grows();
            i += usize::from(is_ours);
            j += usize::from(!is_ours);
        }
        let Some((range, _)) = group else { break };
        merged.lines.extend(&base[at..range.start]);
        at = range.end;
        let our_lines = side(&range, &our_edits[first_ours..i]).map(|lines| &ours[lines]);
        let their_lines = side(&range, &their_edits[first_theirs..j]).map(|lines| &theirs[lines]);
        match (our_lines, their_lines) {
            // The same change of both sides is taken once.
            (Some(a), Some(b)) if a != b => merged.clash(a, b),
            (Some(lines), _) | (_, Some(lines)) => merged.lines.extend(lines),
            (None, None) => {}
        }
    }
    merged.lines.extend(&base[at..]);
    merged
}

/// Returns the lines of a side that replace this range of the base, if it has edits there.
fn side(range: &Range<usize>, edits: &[Edit]) -> Option<Range<usize>> {
    let (first, last) = (edits.first()?, edits.last()?);
    // The range can begin before this side's first edit and end after its last one; there, this side has the lines of the base.
    let start = first.new.start - (first.old.start - range.start);
    Some(start..last.new.end + (range.end - last.old.end))
}

/// Returns a line as words, runs of white space, and single other characters.
pub(super) fn words(line: &str) -> Vec<&str> {
    let class = |c: char| if c.is_alphanumeric() { 0 } else { 1 + usize::from(c.is_whitespace()) };
    let mut found = Vec::new();
    let mut start = 0;
    let mut last = None;
    for (at, c) in line.char_indices() {
        if last.is_some_and(|last| last != class(c) || last == 1) {
            found.push(&line[start..at]);
            start = at;
        }
        last = Some(class(c));
    }
    if start < line.len() {
        found.push(&line[start..]);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(base: &str, ours: &str, theirs: &str) -> (String, bool) {
        let lines = |text: &'static str| text.split(' ').filter(|l| !l.is_empty()).collect::<Vec<_>>();
        let leak = |text: &str| lines(Box::leak(text.to_owned().into_boxed_str()));
        let merged = merge(&leak(base), &leak(ours), &leak(theirs));
        (merged.lines.join(" "), merged.conflict)
    }

    #[test]
    fn edits_apart_are_both_taken() {
        assert_eq!(merged("a b c d", "A b c d", "a b c D"), ("A b c D".to_owned(), false));
        assert_eq!(merged("a b c d", "a B c d", "a b C d"), ("a B C d".to_owned(), false));
        assert_eq!(merged("a b c", "x a b c", "a b c y"), ("x a b c y".to_owned(), false));
        assert_eq!(merged("a b c d", "a c d", "a b c"), ("a c".to_owned(), false));
    }

    #[test]
    fn the_same_edit_is_taken_once() {
        assert_eq!(merged("a b c", "a X c", "a X c"), ("a X c".to_owned(), false));
        assert_eq!(merged("a b", "a N b", "a N b"), ("a N b".to_owned(), false));
    }

    #[test]
    fn edits_of_one_place_clash() {
        let (text, conflict) = merged("a b c", "a X c", "a Y c");
        assert!(conflict);
        assert_eq!(text, "a <<<<<<< ours X ======= Y >>>>>>> theirs c");
        let (text, conflict) = merged("a", "a N one", "a N two");
        assert!(conflict);
        assert_eq!(text, "a N <<<<<<< ours one ======= two >>>>>>> theirs");
        assert!(merged("a b c", "a c", "a B c").1);
        assert!(merged("a b c", "a X N c", "a b M c").1);
    }

    #[test]
    fn words_keep_every_byte() {
        assert_eq!(words("FR-1:  it **MUST**"), ["FR", "-", "1", ":", "  ", "it", " ", "*", "*", "MUST", "*", "*"]);
        assert!(words("").is_empty());
    }
}
