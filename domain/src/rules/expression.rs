//! The source text of an expression: its nesting depth, which is checked before any recursive function reads it, and positions in it.

use super::model::MAX_DEPTH;

/// State of one pair of brackets, or of the whole expression.
#[derive(Default)]
struct Level {
    /// Conditionals since the last comma; each one contains everything after it.
    conditionals: usize,
    /// Other operators since the last comma or logical operator.
    operators: usize,
    /// Depth of the deepest brackets since then.
    inner: usize,
    /// Depth of the deepest piece between two logical operators.
    pieces: usize,
    /// Depth of the deepest piece between two commas.
    parts: usize,
}

impl Level {
    /// Ends a piece, at an operator that does not nest its operands.
    fn cut(&mut self) {
        self.pieces = self.pieces.max(self.operators + self.inner);
        (self.operators, self.inner) = (0, 0);
    }

    fn depth(&self) -> usize {
        self.parts.max(self.conditionals + self.pieces.max(self.operators + self.inner))
    }
}

/// Returns the byte at which an expression becomes deeper than [`MAX_DEPTH`] (counting every operator on a path from the outside to the
/// inside), or at which its brackets do not match. The scan is linear and not recursive.
pub(super) fn too_deep(source: &str) -> Option<usize> {
    let mut levels = vec![Level::default()];
    let chars: Vec<char> = source.chars().collect();
    let byte = |at: usize| chars[..at].iter().map(|c| c.len_utf8()).sum();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let start = at;
        let next = chars.get(at + 1).copied();
        at += 1;
        let Some(level) = levels.last_mut() else {
            return Some(byte(start));
        };
        match c {
            '"' | '\'' => at = after_text(&chars, start),
            '/' if next == Some('/') => at = (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len()),
            '(' | '[' | '{' => {
                // An index is an operator as well.
                level.operators += usize::from(c == '[');
                levels.push(Level::default());
            }
            ')' | ']' | '}' => {
                let depth = level.depth() + 1;
                levels.pop();
                if let Some(parent) = levels.last_mut() {
                    parent.inner = parent.inner.max(depth);
                }
            }
            ',' => {
                let parts = level.depth();
                *level = Level { parts, ..Level::default() };
            }
            '?' => {
                level.cut();
                level.conditionals += 1;
            }
            '&' | '|' if next == Some(c) => {
                level.cut();
                at += 1;
            }
            ':' => level.cut(),
            '+' | '-' | '*' | '/' | '%' | '!' | '<' | '>' | '=' | '.' => {
                level.operators += 1;
                at += usize::from(next == Some('='));
            }
            'i' if next == Some('n') && word_ends(&chars, start) => level.operators += 1,
            _ => {}
        }
        if levels.len() > MAX_DEPTH || levels.last().is_some_and(|level| level.depth() > MAX_DEPTH) {
            return Some(byte(start));
        }
    }
    None
}

/// Returns whether `in` at this position is a separate word.
fn word_ends(chars: &[char], at: usize) -> bool {
    let part = |i: Option<usize>| i.and_then(|i| chars.get(i)).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    !part(at.checked_sub(1)) && !part(Some(at + 2))
}

/// Returns the position after the string literal that begins at `start`.
fn after_text(chars: &[char], start: usize) -> usize {
    let quote = chars[start];
    let raw = start > 0 && matches!(chars[start - 1], 'r' | 'R');
    let long = chars.get(start + 1) == Some(&quote) && chars.get(start + 2) == Some(&quote);
    let width = if long { 3 } else { 1 };
    let mut at = start + width;
    while at < chars.len() {
        if chars[at] == '\\' && !raw {
            at += 2;
        } else if chars[at..].iter().take_while(|c| **c == quote).count() >= width {
            return at + width;
        } else {
            at += 1;
        }
    }
    chars.len()
}

/// Returns the line and the column, in characters, of a byte, both from 1.
pub(super) fn place(source: &str, offset: usize) -> (u32, u32) {
    let (mut line, mut column) = (1, 1);
    for (_, c) in source.char_indices().take_while(|(at, _)| *at < offset) {
        if c == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    (line, column)
}

/// Returns the offset of the name of a node. The parser gives the offset of the bracket after the name or of the dot before it.
pub(super) fn token(source: &str, offset: usize) -> usize {
    let Some((before, after)) = source.split_at_checked(offset) else {
        return offset;
    };
    if after.starts_with('(') {
        before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len()
    } else {
        offset + usize::from(after.starts_with('.'))
    }
}

/// Returns the name that is most similar to `wrong`, if one is similar enough.
pub(super) fn similar<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong: Vec<char> = wrong.chars().take(64).collect();
    let near = names.into_iter().map(|name| (distance(&wrong, name), name));
    let (changes, name) = near.min_by_key(|(changes, _)| *changes)?;
    (changes * 2 <= wrong.len()).then_some(name)
}

/// Returns the case-insensitive Levenshtein distance.
fn distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let changed = corner + usize::from(!a.eq_ignore_ascii_case(b));
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_only_nesting() {
        let wide = "a.b(c) && ".repeat(300) + "true";
        assert_eq!(too_deep(&wide), None);
        assert_eq!(too_deep(&format!("[{}1]", "1, ".repeat(500))), None);
        assert_eq!(too_deep(&format!("'{}'", "(".repeat(500))), None);
        assert_eq!(too_deep(&format!("x // {}\n && y", "(".repeat(500))), None);
        let open = "(".repeat(MAX_DEPTH + 5);
        for deep in [
            open.clone(),
            format!("'''a'b'''{open}"),
            format!("r'\\'{open}"),
            format!("1{}", "+1".repeat(MAX_DEPTH + 1)),
            format!("{}true", "!".repeat(MAX_DEPTH + 1)),
            format!("a{}", ".b".repeat(MAX_DEPTH + 1)),
            format!("a{}", " in a".repeat(MAX_DEPTH + 1)),
            format!("{}1", "a ? b : ".repeat(MAX_DEPTH + 1)),
            format!("{}1", "a && b ? c || d : ".repeat(MAX_DEPTH + 1)),
            format!("{}1{}", "[1+".repeat(MAX_DEPTH / 2), "]".repeat(MAX_DEPTH / 2)),
            format!("a{}", "[0]".repeat(MAX_DEPTH + 1)),
        ] {
            assert!(too_deep(&deep).is_some(), "{deep}");
        }
    }

    #[test]
    fn places_are_counted_in_characters() {
        assert_eq!(place("äb\ncd", 0), (1, 1));
        assert_eq!(place("äb\ncd", 3), (1, 3));
        assert_eq!(place("äb\ncd", 5), (2, 2));
        assert_eq!(place("", 7), (1, 1));
    }

    #[test]
    fn finds_the_similar_name() {
        let names = ["dependsOn", "title", "text"];
        assert_eq!(similar("depends_on", names), Some("dependsOn"));
        assert_eq!(similar("titel", names), Some("title"));
        assert_eq!(similar("retries", names), None);
    }
}
