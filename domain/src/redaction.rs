//! Replaces credentials in texts that are recorded.
//!
//! Redaction prevents accidents. It finds credentials by their known forms, and does not find one that somebody hides on purpose.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// What replaces a credential.
pub const REDACTED: &str = "[redacted]";
/// Shortest known value that is replaced, in bytes. A shorter one occurs in ordinary text.
const MIN_KNOWN_BYTES: usize = 6;

/// Keys of well-known services, by their prefixes, and JSON Web Tokens.
const KEYS: [&str; 12] = [
    "sk-[A-Za-z0-9_-]{16,}",
    "[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    "AIza[A-Za-z0-9_-]{30,}",
    r"ya29\.[A-Za-z0-9._-]{16,}",
    "gh[oprsu]_[A-Za-z0-9]{20,}",
    "github_pat_[A-Za-z0-9_]{20,}",
    "glpat-[A-Za-z0-9_-]{16,}",
    "xox[abeoprs]-[A-Za-z0-9-]{10,}",
    "(?:AKIA|ASIA)[A-Z0-9]{16}",
    "hf_[A-Za-z0-9]{20,}",
    "npm_[A-Za-z0-9]{30,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
];
/// What is before a key: no letter or digit, except in an escape such as `\n`.
const BEFORE_KEY: &str = r"(^|[^A-Za-z0-9]|\\[nrt])";
/// A value after a name such as `API_KEY=` or `"password":`.
const ASSIGNED: &str = r#"(?i)((?:api_?-?key|access_?-?key|token|secret|passw(?:or)?d|authorization)[\\"']*\s*[:=]\s*[\\"']*(?:bearer\s+|basic\s+)?)[^\s\\"',;]{8,}"#;
/// The password in a URL.
const IN_URL: &str = r#"(://[^\s/:@\\"']+:)[^\s/@\\"']{3,}@"#;
/// A private key in PEM, up to the end of the text if its end is missing.
const PRIVATE_KEY: &str = r"(?s)-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|$)";
/// The rest of a private key whose beginning is missing.
const PRIVATE_KEY_END: &str = r"(?s)^.*-----END [A-Z ]{0,32}PRIVATE KEY-----";

static PATTERNS: LazyLock<[(Regex, String); 5]> = LazyLock::new(|| {
    let keys = format!("{BEFORE_KEY}(?:{})", KEYS.join("|"));
    [
        (PRIVATE_KEY, REDACTED.to_owned()),
        (PRIVATE_KEY_END, REDACTED.to_owned()),
        (keys.as_str(), format!("${{1}}{REDACTED}")),
        (IN_URL, format!("${{1}}{REDACTED}@")),
        (ASSIGNED, format!("${{1}}{REDACTED}")),
    ]
    // A test compiles them.
    .map(|(pattern, by)| (Regex::new(pattern).expect("a pattern of this file is valid"), by))
});

/// Returns the text without credentials: without the `known` values, and without what has the form of one.
pub fn redact(text: &str, known: &[&str]) -> String {
    let mut text = text.to_owned();
    for value in known.iter().filter(|value| value.len() >= MIN_KNOWN_BYTES) {
        text = text.replace(value, REDACTED);
    }
    for (pattern, by) in PATTERNS.iter() {
        if let Cow::Owned(changed) = pattern.replace_all(&text, by.as_str()) {
            text = changed;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn credentials_are_replaced() {
        let long = "a1B2".repeat(12);
        for (text, expected) in [
            (format!("use sk-ant-api03-{long}, please"), "use [redacted], please".to_owned()),
            (format!(r#"{{"content":"line\nsk-{long}"}}"#), r#"{"content":"line\n[redacted]"}"#.to_owned()),
            (format!("AIza{long} ghp_{long} AKIA0123456789ABCDEF"), "[redacted] [redacted] [redacted]".to_owned()),
            (format!("eyJhbGciOiJSUzI1NiJ9.{long}.{long}"), "[redacted]".to_owned()),
            ("Authorization: Bearer opaque-value".to_owned(), "Authorization: Bearer [redacted]".to_owned()),
            (r#"{\"password\": \"hunter2hunter2\"}"#.to_owned(), r#"{\"password\": \"[redacted]\"}"#.to_owned()),
            ("DB_PASSWORD=correcthorse x".to_owned(), "DB_PASSWORD=[redacted] x".to_owned()),
            ("postgres://app:s3cret@db/app".to_owned(), "postgres://app:[redacted]@db/app".to_owned()),
            (
                "a\n-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----\nb".to_owned(),
                "a\n[redacted]\nb".to_owned(),
            ),
            ("a\n-----BEGIN PRIVATE KEY-----\nMHc".to_owned(), "a\n[redacted]".to_owned()),
            ("MHc\n-----END PRIVATE KEY-----\nb".to_owned(), "[redacted]\nb".to_owned()),
            ("the known-value, twice: known-value".to_owned(), "the [redacted], twice: [redacted]".to_owned()),
        ] {
            assert_eq!(redact(&text, &["known-value", "the"]), expected, "{text}");
        }
    }

    #[test]
    fn other_text_stays() {
        for text in [
            "",
            r#"{"model":"gpt-5","max_tokens":16384,"messages":[{"role":"user","content":"fix the risk-assessment-of-the-new-cart"}]}"#,
            "see https://example.org:8443/path and git@example.org:a/b.git",
            "fn token(&self) -> &str; let key = keys.get(1); a token of 3",
        ] {
            assert_eq!(redact(text, &[""]), text);
        }
    }

    proptest! {
        #[test]
        fn a_known_value_never_stays(before in "(?s).{0,100}", after in "(?s).{0,100}") {
            let text = redact(&format!("{before}known-value{after}"), &["known-value"]);
            prop_assert!(!text.contains("known-value"), "{}", text);
        }
    }
}
