//! What a task needs of its agent: stated, or derived from the text of the task.
//!
//! The rule, in this order: the marker `[requires: rust, security-review]` in the text; otherwise each row of [`WORDS`] of which the text
//! contains a phrase, and each row of [`EXTENSIONS`] of which the text names a file.

use crate::speckit::tasks;
use crate::text::truncated;

/// Most needs of one task. Further ones are not considered.
pub const MAX_NEEDS: usize = 16;
/// Longest name of a capability, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// Capabilities, and the phrases that ask for them. A text is compared in lower case, with one space for each hyphen and white space.
pub const WORDS: [(&str, &[&str]); 5] = [
    ("security-review", &["security review", "security audit", "threat model", "penetration test"]),
    ("accessibility", &["accessibility", "screen reader", "wcag"]),
    ("performance", &["load test", "benchmark", "profiling"]),
    ("testing", &["unit test", "integration test", "end to end test", "e2e test", "test coverage"]),
    ("database", &["database migration", "schema migration", "database schema"]),
];

/// Capabilities, and the extensions of the files that ask for them. Documents come last, because many tasks name some only to be read.
pub const EXTENSIONS: [(&str, &[&str]); 18] = [
    ("rust", &["rs"]),
    ("python", &["py", "ipynb"]),
    ("go", &["go"]),
    ("java", &["java"]),
    ("kotlin", &["kt"]),
    ("typescript", &["ts", "tsx"]),
    ("javascript", &["js", "jsx", "mjs"]),
    ("frontend", &["tsx", "jsx", "css", "scss", "less", "html", "vue", "svelte"]),
    ("c", &["c", "h"]),
    ("cpp", &["cc", "cpp", "hpp"]),
    ("csharp", &["cs"]),
    ("ruby", &["rb"]),
    ("php", &["php"]),
    ("swift", &["swift"]),
    ("database", &["sql"]),
    ("shell", &["sh", "zsh"]),
    ("terraform", &["tf"]),
    ("docs", &["md", "mdx"]),
];

/// The capabilities that a task needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Needs {
    /// Names of capabilities, without repetition.
    pub names: Vec<String>,
    /// Whether a person stated them. Derived needs never exclude all agents of a pool.
    pub stated: bool,
}

impl Needs {
    /// Returns needs that a person stated.
    pub fn stated(names: &[String]) -> Self {
        let mut needs = Self { names: Vec::new(), stated: true };
        for name in names {
            needs.add(name);
        }
        needs
    }

    /// Returns the needs of a task without stated ones, from its text.
    pub fn of_text(text: &str) -> Self {
        if let Some(names) = marked(text) {
            return Self::stated(&names);
        }
        let mut needs = Self::default();
        let words = normalised(text);
        let asks = |phrase: &&str| words.contains(&format!(" {phrase}"));
        for (name, _) in WORDS.iter().filter(|(_, phrases)| phrases.iter().any(asks)) {
            needs.add(name);
        }
        let extensions: Vec<String> = tasks::paths_in(text)
            .iter()
            .filter_map(|path| Some(path.rsplit('/').next()?.rsplit_once('.')?.1.to_ascii_lowercase()))
            .collect();
        let named = |known: &&str| extensions.iter().any(|extension| extension == known);
        for (name, _) in EXTENSIONS.iter().filter(|(_, known)| known.iter().any(named)) {
            needs.add(name);
        }
        needs
    }

    fn add(&mut self, name: &str) {
        if self.names.len() < MAX_NEEDS && !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }
}

/// Returns the names in the first marker `[requires: a, b]` of a text; none without a marker that has a name. A name that no agent can have
/// stays, so that a person learns of it.
fn marked(text: &str) -> Option<Vec<String>> {
    const START: &str = "[requires:";
    let at = text.to_ascii_lowercase().find(START)?;
    let (list, _) = text[at + START.len()..].split_once(']')?;
    let names = list.split(',').map(|name| truncated(name.trim(), MAX_NAME_BYTES).to_ascii_lowercase());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).take(MAX_NEEDS).collect();
    (!names.is_empty()).then_some(names)
}

/// Returns a text in lower case that starts with a space and has one space between words.
fn normalised(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 1);
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        words.push(' ');
        words.extend(word.chars().flat_map(char::to_lowercase));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(text: &str) -> String {
        let needs = Needs::of_text(text);
        assert!(!needs.stated, "{text}");
        needs.names.join(",")
    }

    #[test]
    fn files_and_phrases_name_capabilities() {
        assert_eq!(derived("Implement the lock in `src/door/lock.rs`"), "rust");
        assert_eq!(derived("Form in web/Cart.tsx, styles in web/cart.css"), "typescript,frontend");
        assert_eq!(derived("Security-review of the login, see docs/login.md"), "security-review,docs");
        assert_eq!(derived("Write unit\n  tests for db/001.sql"), "testing,database");
        assert_eq!(derived("Ask a person"), "");
        assert_eq!(derived("insecurity review"), "", "phrases start at a word");
    }

    #[test]
    fn a_marker_states_needs() {
        let stated = |text| Some(Needs::of_text(text)).filter(|needs| needs.stated).map(|needs| needs.names.join(","));
        let marked = "T001 Check `a.py` [Requires: rust , security-review, rust]";
        assert_eq!(stated(marked).as_deref(), Some("rust,security-review"));
        assert_eq!(stated("[requires: No Such]").as_deref(), Some("no such"), "a person learns of it");
        assert_eq!(stated("[requires: ] a.py"), None);
        assert_eq!(stated("[requires: rust"), None);
    }

    #[test]
    fn needs_are_bounded() {
        let names: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
        assert_eq!(Needs::stated(&names).names.len(), MAX_NEEDS);
        let marker = format!("[requires: {}]", "ä".repeat(100));
        assert!(Needs::of_text(&marker).names[0].len() <= MAX_NAME_BYTES);
    }
}
