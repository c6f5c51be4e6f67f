//! YAML that keeps every byte of a document and shows it as a literal block where possible.
//!
//! `serde_yaml` writes a literal block only for texts without characters outside the Basic Multilingual Plane (such as the emoji of Spec
//! Kit's templates) and without spaces at line ends; it quotes all other texts in one long line. So this module uses `serde-saphyr`.

use anyhow::{Context as _, Result};
use serde::{Serialize, Serializer};
use serde_saphyr::{LitStr, ser_options};

/// A document as a literal block. It is in double quotes if a block cannot represent it: with carriage returns, control characters or
/// Unicode line ends, or with a tab at the start of its first line.
pub struct Text<'a>(pub &'a str);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Some parsers take this tab for indentation.
        if self.0.trim_start_matches('\n').starts_with('\t') {
            serializer.serialize_str(self.0)
        } else {
            LitStr(self.0).serialize(serializer)
        }
    }
}

/// Returns the value as one YAML document.
pub fn to_string(value: &impl Serialize) -> Result<String> {
    // Only `Text` becomes a block. By default, a long URL would become a folded block.
    let options = ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).context("the manifest cannot be written as YAML")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize)]
    struct Outer<'a> {
        inline: Text<'a>,
        after: &'static str,
    }

    /// Parses the YAML with libyaml's rules, which the parser of kubectl follows.
    fn read_back(text: &str) -> (String, String) {
        let yaml = to_string(&Outer { inline: Text(text), after: "x" }).unwrap();
        let value: serde_json::Value = serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}:\n{yaml}"));
        assert_eq!(value["after"], "x", "{yaml}");
        (yaml, value["inline"].as_str().unwrap().to_owned())
    }

    #[test]
    fn readable_documents_are_blocks() {
        for text in
            ["# Tasks 🎯\n\n\ta tab\n  spaces  \n", "  first\nsecond", "one\n\n\n", "\n\nlate\n", "---\n- a: b\n# c\n"]
        {
            let (yaml, read) = read_back(text);
            assert_eq!(read, text);
            assert!(yaml.starts_with("inline: |"), "{yaml}");
        }
    }

    #[test]
    fn other_documents_are_quoted() {
        for text in ["a\r\nb\r\n", "\u{feff}# BOM\n", "a\u{2028}b\n", "bell\u{7}\n", "\tfirst\n"] {
            let (yaml, read) = read_back(text);
            assert_eq!(read, text);
            assert!(yaml.starts_with("inline: \""), "{yaml}");
        }
    }

    proptest! {
        #[test]
        fn keeps_every_byte(text in "[ \t\n\ra#:|>'\"é🎯\u{feff}\u{85}\u{2029}-]{0,40}") {
            prop_assert_eq!(read_back(&text).1, text);
        }
    }
}
