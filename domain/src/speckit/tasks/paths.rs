//! Files and folders that a task names.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// File extensions, sorted, by which a word without quotes is recognised as a file name.
const EXTENSIONS: [&str; 58] = [
    "c", "cc", "cfg", "conf", "cpp", "cs", "css", "csv", "env", "go", "gradle", "graphql", "h", "hpp", "html", "ini",
    "ipynb", "java", "js", "json", "jsonl", "jsx", "jungle", "kt", "less", "lock", "lua", "mc", "md", "mdx", "mjs",
    "mod", "php", "pike", "png", "proto", "ps1", "py", "rb", "rs", "scss", "sh", "sql", "sum", "svelte", "svg",
    "swift", "tf", "toml", "ts", "tsx", "txt", "vue", "xml", "yaml", "yml", "zig", "zsh",
];

/// Files whose names have no extension.
const NAMES: [&str; 3] = ["Makefile", "Dockerfile", "Containerfile"];

/// A part of all of these names.
static FILE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("file"));

/// Maximum number of paths kept from one task.
const MAX_PATHS: usize = 128;

/// Returns every path in `text`, in order, without repetition: a word in backticks, or one that looks like a path.
pub(crate) fn find(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    add(text, &mut found);
    found
}

/// Adds the paths in `text` to `found`, in order, without repetition.
pub(super) fn add(text: &str, found: &mut Vec<String>) {
    let named = FILE.find(text.as_bytes()).is_some();
    let mut rest = Some(text);
    let pieces = std::iter::from_fn(|| {
        let piece = rest?;
        let end = memchr::memchr(b'`', piece.as_bytes());
        rest = end.map(|end| &piece[end + 1..]);
        Some(end.map_or(piece, |end| &piece[..end]))
    });
    for (index, piece) in pieces.enumerate() {
        let quoted = index % 2 == 1;
        for word in words(piece, named).filter(|word| may_hold(word)) {
            let word = trimmed(word);
            if found.len() < MAX_PATHS
                && is_path(word, quoted && word == piece.trim())
                && !found.iter().any(|f| f == word)
            {
                found.push(word.to_owned());
            }
        }
    }
}

/// Returns the words of a text that may be a path, split at white space and at characters that no path contains. Most words cannot be a
/// path. The first letters of names without a dot and a slash begin many other words, and are searched only where `named` says that such a name
/// can be.
fn words(text: &str, named: bool) -> impl Iterator<Item = &str> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = &text.as_bytes()[from..];
        let telling = |byte: &u8| matches!(byte, b'.' | b'/' | b'M' | b'D' | b'C');
        let at = from + if named { rest.iter().position(telling) } else { memchr::memchr2(b'.', b'/', rest) }?;
        let start = word_start(text, at).max(from);
        from = word_end(text, at);
        Some(&text[start..from])
    })
}

/// Returns where the word that contains this byte begins. Most words are ASCII, whose bytes need not be decoded.
fn word_start(text: &str, at: usize) -> usize {
    let Some(before) = text.as_bytes()[..at].iter().rposition(|byte| may_separate(*byte)) else { return 0 };
    if text.as_bytes()[before].is_ascii() {
        return before + 1;
    }
    at - text[..at].rsplit(separates).next().map_or(0, str::len)
}

/// Returns where the word that contains this byte ends.
fn word_end(text: &str, at: usize) -> usize {
    let Some(len) = text.as_bytes()[at..].iter().position(|byte| may_separate(*byte)) else { return text.len() };
    if text.as_bytes()[at + len].is_ascii() {
        return at + len;
    }
    text[at..].find(separates).map_or(text.len(), |len| at + len)
}

fn may_separate(byte: u8) -> bool {
    !byte.is_ascii() || separates(char::from(byte))
}

/// Returns whether a character separates words. There are no spaces around full-width ones.
fn separates(c: char) -> bool {
    matches!(c, ',' | ';' | '"' | '\'' | '<' | '>' | '|' | '→' | '“' | '”' | '『' | '』')
        || matches!(c, '（' | '）' | '，' | '；' | '：' | '、' | '。' | '「' | '」' | '【' | '】' | '《' | '》')
        || c.is_whitespace()
}

/// Returns whether a word may be a path: a word without dot and slash must contain one of [`NAMES`].
fn may_hold(word: &str) -> bool {
    word.bytes().any(|b| matches!(b, b'.' | b'/')) || NAMES.iter().any(|name| word.contains(name))
}

fn trimmed(word: &str) -> &str {
    let word = word.trim_matches(['*', ':', '!', '?', '=', '—', '–']).trim_end_matches('.');
    let word = word.strip_prefix('(').unwrap_or(word);
    let open = |c: char| word.matches(c).count();
    let word = if word.ends_with(')') && open(')') > open('(') { word.trim_end_matches([')', '.']) } else { word };
    // A link `[label](target)` names its target.
    match word.split_once("](") {
        Some((_, target)) => target.trim_end_matches(')'),
        None => word,
    }
}

/// Returns the bytes of a text, with ASCII letters in lower case.
fn lower(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().map(|b| b.to_ascii_lowercase())
}

fn is_path(word: &str, quoted: bool) -> bool {
    let mark =
        |c| matches!(c, '/' | '.' | '_' | '-' | '@' | '[' | ']' | '{' | '}' | '(' | ')' | '*' | '+' | '#' | '~' | '$');
    let allowed = |c: char| c.is_alphanumeric() || mark(c);
    let balanced = word.contains('{') == word.contains('}');
    let doubled = || word.as_bytes().windows(2).any(|pair| pair == b"//");
    if !balanced || word.len() < 3 || word.len() > 256 || doubled() || !word.chars().all(allowed) {
        return false;
    }
    let name = word.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let file = name.rsplit_once('.').is_some_and(|(stem, extension)| {
        let known = EXTENSIONS.binary_search_by(|known| known.bytes().cmp(lower(extension))).is_ok();
        known && (!stem.is_empty() || quoted) && !stem.contains('(')
    });
    // The version of a package or of an action of a workflow: `actions/checkout@v4`, `@types/node@20`.
    let is_version = |text: &str| text.strip_prefix('v').unwrap_or(text).starts_with(|c: char| c.is_ascii_digit());
    if !file && name.rsplit_once('@').is_some_and(|(_, version)| is_version(version)) {
        return false;
    }
    let hidden = name.starts_with('.') && name.len() > 3 && name[1..].starts_with(char::is_alphabetic);
    if !word.contains('/') {
        return file || (quoted && hidden) || NAMES.contains(&word);
    }
    // Routes such as `/api/events` start with a slash and have no extension; `and/or` has neither dot nor quotes.
    let folder = !word.starts_with('/') && (word.ends_with('/') || (quoted && !word.contains(['(', '*'])));
    (file || hidden || folder) && word.chars().any(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::{EXTENSIONS, find};

    #[test]
    fn extensions_are_in_order_and_found_in_any_case() {
        assert!(EXTENSIONS.is_sorted());
        assert_eq!(find("Write A.C, b.Cc and c.ZSH, but no d.zs"), ["A.C", "b.Cc", "c.ZSH"]);
    }

    #[test]
    fn paths_are_found_with_and_without_quotes() {
        assert_eq!(
            find("Write `src/door/mod.rs` and tests/door_test.rs (see docs/a.md)."),
            ["src/door/mod.rs", "tests/door_test.rs", "docs/a.md"]
        );
        assert_eq!(
            find("Route in src/app/api/[id]/route.ts, folder `charts/door` and `Cargo.toml`"),
            ["src/app/api/[id]/route.ts", "charts/door", "Cargo.toml"]
        );
        assert_eq!(find("Folders `apps/` and lib/"), ["apps/", "lib/"]);
        assert_eq!(find("In `a.rs`, again a.rs, and **b.py**:"), ["a.rs", "b.py"]);
    }

    #[test]
    fn full_width_signs_end_a_path() {
        assert_eq!(
            find("船体 src/hull.rs（依赖T001；文件：web/sail.ts、docs/oar.md）。见「src/rudder.py」，lib/"),
            ["src/hull.rs", "web/sail.ts", "docs/oar.md", "src/rudder.py", "lib/"]
        );
    }

    #[test]
    fn other_words_are_no_paths() {
        assert!(
            find("Serve POST /api/doors and/or read https://doors.example/a.html, e.g. v1.2.3 of `door.open()`")
                .is_empty()
        );
        assert_eq!(find("Use `actions/checkout@v4` and `@types/node@20` in `ci/@v2/a.yml`"), ["ci/@v2/a.yml"]);
    }
}
