//! Words that say something without saying how much, and what would make them precise.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::rules::{
    ESCAPE_CLAUSE, EXAMPLE_LIST, OPEN_LIST, Rule, VAGUE_PERFORMANCE, VAGUE_QUALITY, VAGUE_SECURITY, VAGUE_TIME,
};
use super::text::{Word, adjacent, is_name};

/// A family of words with one remedy.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) rule: &'static Rule,
    /// Phrases, words apart by one space.
    phrases: &'static [&'static str],
    /// What a statement that uses them lacks.
    pub(super) lacks: &'static str,
    /// What to write.
    pub(super) remedy: &'static str,
    /// Answers that a person can choose from.
    pub(super) options: &'static [&'static str],
}

/// All families. Where two phrases begin with the same word, the longer one is taken.
pub(super) const FAMILIES: [Family; 7] = [
    Family {
        rule: &ESCAPE_CLAUSE,
        phrases: &[
            "as appropriate",
            "if appropriate",
            "where appropriate",
            "when appropriate",
            "as needed",
            "as necessary",
            "where necessary",
            "when necessary",
            "if necessary",
            "if possible",
            "where possible",
            "when possible",
            "wherever possible",
            "whenever possible",
            "as far as possible",
            "as much as possible",
            "if feasible",
            "where feasible",
            "when feasible",
            "if practical",
            "where practical",
            "where practicable",
            "when practical",
            "to the extent possible",
            "unless impractical",
        ],
        lacks: "leaves open when it holds",
        remedy: "name the condition, or leave the words out so that it always holds",
        options: &["Always", "Never", "Only under a condition (name it)"],
    },
    Family {
        rule: &OPEN_LIST,
        phrases: &[
            "etc",
            "and so on",
            "and so forth",
            "and the like",
            "among others",
            "including but not limited to",
            "or similar",
        ],
        lacks: "has no end, so nobody can tell when it is done",
        remedy: "list all that is meant, or name the rule by which something belongs to it",
        options: &["Only what is listed", "What is listed and more (name it)"],
    },
    Family {
        rule: &EXAMPLE_LIST,
        phrases: &["such as"],
        lacks: "gives examples where a rule is needed",
        remedy: "list all that is meant, or name the rule and keep the examples beside it",
        options: &["Only the examples", "The examples and more (name the rule)"],
    },
    Family {
        rule: &VAGUE_PERFORMANCE,
        phrases: &[
            "fast",
            "faster",
            "quickly",
            "rapidly",
            "performant",
            "high performance",
            "high-performance",
            "low latency",
            "low-latency",
            "responsive",
            "scalable",
            "scalably",
            "highly available",
            "high availability",
            "efficiently",
            "snappy",
            "smoothly",
            "without noticeable delay",
            "without noticeable lag",
            "without significant delay",
            "minimal latency",
            "minimal delay",
            "minimal overhead",
        ],
        lacks: "has no measure",
        remedy: "write a number with its unit and the load under which it holds, such as \"within 200 ms at 100 requests/s\"",
        options: &["Within 200 ms", "Within 1 second", "Within 5 seconds", "Another limit (name it)"],
    },
    Family {
        rule: &VAGUE_SECURITY,
        phrases: &[
            "secure",
            "securely",
            "strong encryption",
            "strong password",
            "strong passwords",
            "strong authentication",
            "tamper-proof",
        ],
        lacks: "names no means by which it could be checked",
        remedy: "name the threat and the means: who may do what, what is encrypted where and how, how long it is kept",
        options: &[
            "Only signed-in users",
            "Only named roles",
            "Encrypted in transit and at rest",
            "Another means (name it)",
        ],
    },
    Family {
        rule: &VAGUE_TIME,
        phrases: &[
            "periodically",
            "regularly",
            "frequently",
            "occasionally",
            "from time to time",
            "timely",
            "in a timely manner",
            "as soon as possible",
            "promptly",
            "at regular intervals",
        ],
        lacks: "names no time",
        remedy: "write the interval or the limit, such as \"every 15 minutes\" or \"within one hour\"",
        options: &["Every minute", "Every hour", "Every day", "Another interval (name it)"],
    },
    Family {
        rule: &VAGUE_QUALITY,
        phrases: &[
            "intuitive",
            "intuitively",
            "user-friendly",
            "user friendly",
            "robust",
            "robustly",
            "easy",
            "easily",
            "seamless",
            "seamlessly",
            "graceful",
            "gracefully",
            "appropriate",
            "appropriately",
            "reasonable",
            "reasonably",
            "suitable",
            "adequate",
            "adequately",
            "sufficient",
            "sufficiently",
            "properly",
            "elegant",
            "convenient",
            "conveniently",
            "state-of-the-art",
            "high quality",
            "high-quality",
            "meaningful",
            "helpful",
            "optimal",
            "optimally",
            "acceptable",
            "visually appealing",
            "comfortably",
            "reliably",
            "best practices",
            "industry best practices",
        ],
        lacks: "has no measure",
        remedy: "write what can be observed or counted instead",
        options: &[],
    },
];

/// A phrase of a family, found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    /// Index in [`FAMILIES`].
    pub(super) family: usize,
    /// Indices of its words.
    pub(super) first: usize,
    pub(super) end: usize,
}

/// Phrases by their first word, the longest first.
static PHRASES: LazyLock<HashMap<&'static str, Vec<(usize, Vec<&'static str>)>>> = LazyLock::new(|| {
    let mut by_first: HashMap<&'static str, Vec<(usize, Vec<&'static str>)>> = HashMap::new();
    for (family, entry) in FAMILIES.iter().enumerate() {
        for phrase in entry.phrases {
            let parts: Vec<&str> = phrase.split(' ').collect();
            by_first.entry(parts[0]).or_default().push((family, parts));
        }
    }
    for phrases in by_first.values_mut() {
        phrases.sort_by_key(|(_, parts)| std::cmp::Reverse(parts.len()));
    }
    by_first
});

/// The vague phrases of a text that nothing in it makes precise.
pub(super) fn find(text: &str, words: &[Word<'_>]) -> Vec<Hit> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match phrase_at(text, words, at) {
            Some(hit) => {
                at = hit.end;
                if !is_precise(text, words, hit) {
                    found.push(hit);
                }
            }
            None => at += 1,
        }
    }
    found
}

fn phrase_at(text: &str, words: &[Word<'_>], at: usize) -> Option<Hit> {
    let candidates = PHRASES.get(words[at].lower.as_str())?;
    let matches = |parts: &[&str]| {
        let Some(these) = words.get(at..at + parts.len()) else { return false };
        let same =
            these.iter().zip(parts).all(|(word, part)| word.lower == *part && !word.quoted && !is_name(text, word));
        same && these.windows(2).all(|pair| adjacent(text, &pair[0], &pair[1]))
    };
    let (family, parts) = candidates.iter().find(|(_, parts)| matches(parts))?;
    Some(Hit { family: *family, first: at, end: at + parts.len() })
}

/// Words after which `secure` and the like are not a wish but a means.
const MEANS: [&str; 40] = [
    "tls",
    "https",
    "ssl",
    "ssh",
    "aes",
    "aes-256",
    "hash",
    "hashed",
    "hashing",
    "bcrypt",
    "argon2",
    "oauth",
    "oauth2",
    "jwt",
    "token",
    "tokens",
    "keychain",
    "keyring",
    "vault",
    "mfa",
    "2fa",
    "rbac",
    "httponly",
    "csrf",
    "encrypted",
    "encryption",
    "encrypt",
    "signature",
    "signed",
    "permission",
    "permissions",
    "via",
    "using",
    "libsecret",
    "hmac",
    "pkce",
    "samesite",
    "certificate",
    "secret",
    "random",
];

/// Units that make a number a measure of speed or load.
const UNITS: [&str; 44] = [
    "ms",
    "millisecond",
    "milliseconds",
    "s",
    "sec",
    "secs",
    "second",
    "seconds",
    "min",
    "mins",
    "minute",
    "minutes",
    "hour",
    "hours",
    "day",
    "days",
    "week",
    "weeks",
    "month",
    "months",
    "fps",
    "hz",
    "percent",
    "mb",
    "gb",
    "kb",
    "mib",
    "gib",
    "kib",
    "rps",
    "qps",
    "requests",
    "users",
    "items",
    "rows",
    "records",
    "files",
    "connections",
    "px",
    "frame",
    "frames",
    "times",
    "concurrent",
    "lines",
];

/// Words that are no quality beside the word after them.
const NAMES: [(&str, &[&str]); 9] = [
    ("fast", &["path", "mode", "forward", "refresh", "lane", "fail", "track"]),
    ("responsive", &["design", "layout", "layouts", "web", "grid", "breakpoint", "breakpoints", "images", "ui"]),
    ("secure", &["cookie", "cookies", "flag", "context", "contexts", "attribute", "enclave", "boot", "context"]),
    (
        "sufficient",
        &[
            "permissions",
            "permission",
            "privileges",
            "privilege",
            "rights",
            "funds",
            "balance",
            "disk",
            "space",
            "access",
            "credits",
        ],
    ),
    ("insufficient", &[]),
    ("optimal", &["solution"]),
    ("high-performance", &["computing"]),
    ("faster", &["than"]),
    ("easy", &["mode", "level", "difficulty"]),
];

fn is_precise(text: &str, words: &[Word<'_>], hit: Hit) -> bool {
    let rule = FAMILIES[hit.family].rule;
    let (first, next) = (&words[hit.first], words.get(hit.end));
    let named = |names: &[&str]| {
        next.is_some_and(|n| names.contains(&n.lower.as_str()) && adjacent(text, &words[hit.end - 1], n))
    };
    if NAMES.iter().any(|(word, names)| *word == first.lower && named(names)) || is_negated(words, hit) {
        return true;
    }
    match rule.code {
        code if code == VAGUE_PERFORMANCE.code || code == VAGUE_TIME.code => measured(words),
        code if code == VAGUE_SECURITY.code => words.iter().any(|w| MEANS.contains(&w.lower.as_str())),
        code if code == VAGUE_QUALITY.code => explained(text, words, hit) || measured(words),
        code if code == EXAMPLE_LIST.code => false,
        _ => false,
    }
}

/// `not easily`, `no reasonable`: what is denied needs no measure of this kind.
fn is_negated(words: &[Word<'_>], hit: Hit) -> bool {
    hit.first > 0 && matches!(words[hit.first - 1].lower.as_str(), "not" | "no" | "never" | "isn't" | "aren't")
}

/// Whether the text has a number with a unit.
pub(super) fn measured(words: &[Word<'_>]) -> bool {
    words.iter().enumerate().any(|(at, word)| {
        let unit = |w: &Word<'_>| {
            UNITS.contains(&w.lower.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-'))
        };
        let spelled = matches!(
            word.lower.as_str(),
            "one" | "two" | "three" | "five" | "ten" | "every" | "each" | "same" | "single" | "a"
        );
        (word.is_number() && (word.raw.ends_with('%') || unit(word)))
            || ((word.is_number() || spelled) && words.get(at + 1).is_some_and(unit))
    })
}

/// Whether what follows says what is meant: a colon, a bracket, a dash, or how it is done.
fn explained(text: &str, words: &[Word<'_>], hit: Hit) -> bool {
    const HOW: [&str; 18] = [
        "by",
        "without",
        "with",
        "so",
        "instead",
        "i.e",
        "using",
        "via",
        "when",
        "if",
        "rather",
        "and",
        "per",
        "based",
        "to",
        "that",
        "in",
        "according",
    ];
    let last = &words[hit.end - 1];
    let adverb = last.lower.ends_with("ly");
    let Some(next) = words.get(hit.end) else { return false };
    let gap = text.get(last.end..next.start).unwrap_or_default();
    let marked = gap.contains(['(', ':', '—', '–', ';']) || gap.contains(" - ");
    let how = adverb && gap.contains(',') || adverb && HOW.contains(&next.lower.as_str());
    let named = !adverb
        && words[hit.end..].iter().zip(words[hit.end - 1..].iter()).take(5).any(|(word, before)| {
            let gap = text.get(before.end..word.start).unwrap_or_default();
            gap.contains(['(', ':', '—', '–', '"', '“', '`'])
                || matches!(
                    word.lower.as_str(),
                    "by" | "that"
                        | "indicating"
                        | "explaining"
                        | "describing"
                        | "based"
                        | "naming"
                        | "identifying"
                        | "per"
                )
        });
    marked || how || named
}
