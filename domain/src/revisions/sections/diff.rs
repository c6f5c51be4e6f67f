//! The differences of two documents, section by section.

use std::ops::Range;

use super::lines::{Edit, edits, words};
use super::model::{DiffLine, Hunk, Mark, Piece, SectionChange, SectionKind};
use super::pair::{ascending, pair};
use super::split::{Section, path, split};

/// Number of unchanged lines that are shown on each side of a difference.
const CONTEXT: usize = 2;

/// Maximum length of a line that is compared word by word, in bytes.
const MAX_WORDS_BYTES: usize = 16 * 1024;

/// Returns the differences of `new` from `old`, in the order of the new document. A removed section follows the section that was before it.
///
/// Sections are paired by their headings, and sections with changed headings by their text, so that a new title is a change and not a
/// removal. Line ends, a byte order mark, and blank lines at the end of a section are not differences. A section that moved with its
/// subsections is one move.
pub fn diff(old: &str, new: &str) -> Vec<SectionChange> {
    let [olds, news] = [old, new].map(|text| split(text.strip_prefix('\u{feff}').unwrap_or(text)));
    let pairs = pair(&olds, &news);
    let mut places: Vec<Option<usize>> = vec![None; olds.len()];
    for (n, o) in pairs.iter().enumerate() {
        if let Some(o) = o {
            places[*o] = Some(n);
        }
    }
    let moved = moved(&olds, &news, &pairs);
    // Changes by the new section that they follow: changes of the new document come before sections that were removed after them.
    let mut found: Vec<(Option<usize>, bool, SectionChange)> = Vec::new();
    for (n, o) in pairs.iter().enumerate() {
        let change = match o {
            Some(o) => changed((&olds, *o), (&news, n), moved[n]),
            None => Some(whole(&news, n, SectionKind::Added)),
        };
        found.extend(change.map(|change| (Some(n), false, change)));
    }
    let mut after = None;
    for (o, place) in places.iter().enumerate() {
        match place {
            Some(n) => after = Some(*n),
            None => found.push((after, true, whole(&olds, o, SectionKind::Removed))),
        }
    }
    found.sort_by_key(|(after, removed, _)| (*after, *removed));
    found.into_iter().map(|(_, _, change)| change).collect()
}

/// Returns for each section of the new document whether it moved by itself, and not only with its parent section.
fn moved(olds: &[Section<'_>], news: &[Section<'_>], pairs: &[Option<usize>]) -> Vec<bool> {
    let paired: Vec<(usize, usize)> = pairs.iter().enumerate().filter_map(|(n, o)| Some((n, (*o)?))).collect();
    let stays = ascending(&paired.iter().map(|(_, o)| *o).collect::<Vec<_>>());
    let mut moved = vec![false; news.len()];
    let mut carried = vec![false; news.len()];
    for ((n, o), stays) in paired.into_iter().zip(stays) {
        let same_parent = news[n].parent.map(|parent| pairs[parent]) == olds[o].parent.map(Some);
        let with_parent = same_parent && news[n].parent.is_some_and(|parent| carried[parent]);
        carried[n] = !stays || !same_parent || with_parent;
        moved[n] = carried[n] && !with_parent;
    }
    moved
}

/// Returns the difference of a section that both documents have, if there is one.
fn changed(
    (olds, o): (&[Section<'_>], usize),
    (news, n): (&[Section<'_>], usize),
    moved: bool,
) -> Option<SectionChange> {
    let (old, new) = (&olds[o], &news[n]);
    let hunks = hunks((&content(old.text), old.line), (&content(new.text), new.line));
    let kind = match (hunks.is_empty(), moved) {
        (false, _) => SectionKind::Changed,
        (true, true) => SectionKind::Moved,
        (true, false) => return None,
    };
    let from = Some(path(olds, o)).filter(|_| moved || old.title != new.title);
    let path = path(news, n);
    let from = from.filter(|from| *from != path);
    Some(SectionChange { kind, path, from, line: new.line, hunks })
}

/// Returns the change of a section that only one document has.
fn whole(sections: &[Section<'_>], index: usize, kind: SectionKind) -> SectionChange {
    let section = &sections[index];
    let text = content(section.text);
    let (old, new): (&[&str], &[&str]) = if kind == SectionKind::Added { (&[], &text) } else { (&text, &[]) };
    let hunks = hunks((old, section.line), (new, section.line));
    SectionChange { kind, path: path(sections, index), from: None, line: section.line, hunks }
}

/// Returns the lines of a section without their line ends and without blank lines at the end.
fn content(text: &str) -> Vec<&str> {
    text.trim_end().lines().collect()
}

fn hunks((old, old_line): (&[&str], u32), (new, new_line): (&[&str], u32)) -> Vec<Hunk> {
    let mut found: Vec<Hunk> = Vec::new();
    let mut edits = edits(old, new).into_iter().peekable();
    while let Some(first) = edits.next() {
        let begin = first.old.start.saturating_sub(CONTEXT);
        let shift = first.old.start - begin;
        let mut lines: Vec<DiffLine> = old[begin..first.old.start].iter().map(|line| kept(line)).collect();
        let number = |line: u32, index: usize| line.saturating_add(u32::try_from(index).unwrap_or(u32::MAX));
        let (old_line, new_line) = (number(old_line, begin), number(new_line, first.new.start - shift));
        let mut end = first.old.end;
        replaced(old, new, &first, &mut lines);
        // Edits whose contexts would overlap belong to the same hunk.
        while let Some(next) = edits.next_if(|next| next.old.start - end <= 2 * CONTEXT) {
            lines.extend(old[end..next.old.start].iter().map(|line| kept(line)));
            replaced(old, new, &next, &mut lines);
            end = next.old.end;
        }
        lines.extend(old[end..old.len().min(end + CONTEXT)].iter().map(|line| kept(line)));
        found.push(Hunk { old_line, new_line, lines });
    }
    found
}

fn kept(line: &str) -> DiffLine {
    plain(line, Mark::Kept)
}

fn plain(line: &str, mark: Mark) -> DiffLine {
    DiffLine { mark, pieces: vec![Piece { text: line.to_owned(), changed: false }] }
}

/// Adds the removed lines, then the added ones. The nth lines of both are counterparts if they have enough words in common.
fn replaced(old: &[&str], new: &[&str], edit: &Edit, lines: &mut Vec<DiffLine>) {
    let (old, new) = (&old[edit.old.clone()], &new[edit.new.clone()]);
    let mut added = Vec::with_capacity(new.len());
    for index in 0..old.len().max(new.len()) {
        match (old.get(index), new.get(index)) {
            (Some(a), Some(b)) => {
                let (a, b) = counterparts(a, b);
                lines.push(a);
                added.push(b);
            }
            (Some(a), None) => lines.push(plain(a, Mark::Removed)),
            (None, Some(b)) => added.push(plain(b, Mark::Added)),
            (None, None) => {}
        }
    }
    lines.extend(added);
}

/// Returns both lines with the words that differ, or without marks if less than half of the longer line is unchanged.
fn counterparts(old: &str, new: &str) -> (DiffLine, DiffLine) {
    let longer = old.len().max(new.len());
    let apart = || (plain(old, Mark::Removed), plain(new, Mark::Added));
    if longer > MAX_WORDS_BYTES {
        return apart();
    }
    let (a, b) = (words(old), words(new));
    let edits = edits(&a, &b);
    let changed: usize = edits.iter().map(|edit| bytes(&a[edit.old.clone()])).sum();
    if 2 * (old.len() - changed) < longer {
        return apart();
    }
    let pieces = |words: &[&str], ranges: Vec<Range<usize>>| {
        let mut found: Vec<Piece> = Vec::new();
        let mut at = 0;
        for range in ranges {
            let kept = words[at..range.start].concat();
            let changed = words[range.clone()].concat();
            at = range.end;
            match found.last_mut() {
                // Two words with a space between them are one change.
                Some(last) if last.changed && kept.trim().is_empty() => last.text.extend([kept, changed]),
                _ => found.extend([(kept, false), (changed, true)].map(|(text, changed)| Piece { text, changed })),
            }
        }
        found.push(Piece { text: words[at..].concat(), changed: false });
        found.retain(|piece| !piece.text.is_empty());
        found
    };
    let old = pieces(&a, edits.iter().map(|edit| edit.old.clone()).collect());
    let new = pieces(&b, edits.iter().map(|edit| edit.new.clone()).collect());
    (DiffLine { mark: Mark::Removed, pieces: old }, DiffLine { mark: Mark::Added, pieces: new })
}

fn bytes(words: &[&str]) -> usize {
    words.iter().map(|word| word.len()).sum()
}
