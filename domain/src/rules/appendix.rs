//! Appendix: the rules of a constitution, appended to its document, so that people approve and the record store keeps both.

use super::model::Rule;
use crate::appendix::{END, append, without};

const BEGIN: &str = "<!-- enact.dev/rules\n";

/// Appends rules to a document, if there are any. An existing appendix is replaced: the document came from the record store, with an older
/// revision.
pub fn with(document: &[u8], rules: &[Rule]) -> Vec<u8> {
    append(without(document, BEGIN), BEGIN, rules)
}

/// Returns the rules that are appended to a document.
pub fn rules(document: &[u8]) -> Vec<Rule> {
    let appendix = &document[start(document)..];
    let Some(lines) = str::from_utf8(appendix).ok().and_then(|a| a.strip_prefix(BEGIN)?.strip_suffix(END)) else {
        return Vec::new();
    };
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Returns the offset of the appendix; the document's length if there is none.
fn start(document: &[u8]) -> usize {
    let begins = |at: &usize| document[*at..].starts_with(BEGIN.as_bytes());
    let ends = document.ends_with(END.as_bytes());
    let lines = line_starts(document);
    if ends { lines.rev().find(begins).unwrap_or(document.len()) } else { document.len() }
}

/// Returns the offsets at which lines begin.
fn line_starts(document: &[u8]) -> impl DoubleEndedIterator<Item = usize> {
    let after = document.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Scope, Strength};
    use proptest::prelude::*;

    fn rule(name: &str, message: &str) -> Rule {
        Rule {
            name: name.into(),
            scope: Scope::Plan,
            expression: "plan.tasks.size() > 0 // --> \n".into(),
            message: message.into(),
            strength: Strength::Must,
            principle: None,
        }
    }

    #[test]
    fn parser_ignores_the_appendix() {
        let text = "# Shop Constitution\n\n## Core Principles\n\n### I. Test First\n\nTests MUST come first.\n\n**Version**: 1.0.0\n";
        let with = with(text.as_bytes(), &[rule("a", "ends --> here")]);
        let (alone, both) =
            (crate::speckit::constitution::parse(text.as_bytes()), crate::speckit::constitution::parse(&with));
        assert_eq!(alone.diagnostics, both.diagnostics);
        let principles = |p: &crate::speckit::constitution::Constitution| {
            p.principles.iter().map(|p| (p.name.clone(), p.musts.clone())).collect::<Vec<_>>()
        };
        assert_eq!(principles(&alone.model), principles(&both.model));
        assert_eq!(both.model.version.map(|v| v.text), Some("1.0.0".into()));
    }

    /// The approved document had rules, and somebody has removed them from the object, but not from the document.
    #[test]
    fn a_document_with_an_appendix_of_its_author_has_no_rules() {
        let approved = with(b"# Shop Constitution\n", &[rule("a", "m")]);
        let empty = format!("{BEGIN}{END}");
        for copies in 0..4 {
            let written = [approved.as_slice(), empty.repeat(copies).as_bytes()].concat();
            let examined = with(&with(&written, &[]), &[]);
            assert!(examined != approved && rules(&examined).is_empty(), "{copies}");
        }
    }

    proptest! {
        #[test]
        fn appended_rules_can_be_read_again(text in "[a-z\n#<!->]{0,60}", messages in proptest::collection::vec("[a-z>\n\"-]{0,12}", 0..4)) {
            let all: Vec<Rule> = messages.iter().map(|m| rule("a", m)).collect();
            let once = with(text.as_bytes(), &all);
            prop_assert_eq!(&rules(&once), &all);
            prop_assert_eq!(with(&once, &all), once.clone(), "an appendix is not a part of the document");
            prop_assert_eq!(with(&once, &[]).len() <= text.len() + 2, true);
        }
    }
}
