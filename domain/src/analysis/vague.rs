//! Families of vague words, and the contexts that make them precise.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::kinds::{
    ESCAPE_CLAUSE, FindingKind, OPEN_LIST, VAGUE_PERFORMANCE, VAGUE_QUALITY, VAGUE_SECURITY, VAGUE_TIME,
};
use super::text::{Word, adjacent, is_name, is_one_of, words};

/// A family of words with one remedy.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) rule: FindingKind,
    /// Phrases, separated by `|`, their words by one space.
    phrases: &'static str,
    /// Information that a statement with these words lacks.
    pub(super) lacks: &'static str,
    /// Proposed correction.
    pub(super) remedy: &'static str,
    /// Question to a person about the statement.
    pub(super) question: &'static str,
    /// Answers that a person can choose from.
    pub(super) options: &'static [&'static str],
}

/// All families. If two phrases begin with the same word, the longer one is used.
pub(super) const FAMILIES: [Family; 6] = [
    Family {
        rule: ESCAPE_CLAUSE,
        phrases: "as appropriate|if appropriate|where appropriate|when appropriate|if possible|where possible|when possible|wherever possible|whenever possible|\
            as far as possible|as much as possible|if feasible|where feasible|when feasible|if practical|where practical|\
            where practicable|when practical|to the extent possible|unless impractical",
        lacks: "does not say when it applies",
        remedy: "name the condition, or remove the words so that it always applies",
        question: "under which condition?",
        options: &["Always", "Never", "Only under a condition (name it)"],
    },
    Family {
        rule: OPEN_LIST,
        phrases: "etc|and so on|and so forth|and the like|among others|including but not limited to|or similar",
        lacks: "is an open list, so nobody can tell when it is complete",
        remedy: "list every item, or name the rule that decides what belongs to the list",
        question: "what else belongs to the list?",
        options: &["Only what is listed", "What is listed and more (name it)"],
    },
    Family {
        rule: VAGUE_PERFORMANCE,
        phrases: "fast|faster|quickly|rapidly|performant|high performance|high-performance|low latency|low-latency|\
            remain responsive|remains responsive|stay responsive|stays responsive|feel responsive|feels responsive|\
            highly responsive|scalable|scalably|highly available|high availability|efficiently|snappy|\
            without noticeable delay|without noticeable lag|without significant delay|minimal latency|minimal delay|\
            minimal overhead",
        lacks: "has no measure",
        remedy: "write a number with its unit and the load under which it holds, such as \"within 200 ms at 100 requests/s\"",
        question: "how fast, or how much, and under which load?",
        options: &["Within 200 ms", "Within 1 second", "Within 5 seconds", "Another limit (name it)"],
    },
    Family {
        rule: VAGUE_SECURITY,
        phrases: "secure|securely|strong encryption|strong password|strong passwords|strong authentication|tamper-proof",
        lacks: "names no mechanism that can be checked",
        remedy: "name the threat and the mechanism: who may do what, what is encrypted where and how, how long data is kept",
        question: "against which threat, and by which mechanism?",
        options: &[
            "Only signed-in users",
            "Only named roles",
            "Encrypted in transit and at rest",
            "Another mechanism (name it)",
        ],
    },
    Family {
        rule: VAGUE_TIME,
        phrases: "periodically|regularly|frequently|occasionally|from time to time|timely|in a timely manner|\
            as soon as possible|promptly|at regular intervals",
        lacks: "names no time",
        remedy: "write the interval or the limit, such as \"every 15 minutes\" or \"within one hour\"",
        question: "how often, or how soon?",
        options: &["Every minute", "Every hour", "Every day", "Another interval (name it)"],
    },
    Family {
        rule: VAGUE_QUALITY,
        phrases: "intuitive|intuitively|user-friendly|user friendly|robust|robustly|easy|easily|graceful|gracefully|\
            appropriate|appropriately|reasonable|reasonably|suitable|adequate|adequately|sufficient|sufficiently|properly|\
            elegant|state-of-the-art|high quality|high-quality|meaningful|helpful|acceptable|visually appealing|comfortably|\
            reliably|industry best practices",
        lacks: "has no measure",
        remedy: "write what can be observed or counted instead",
        question: "how can somebody observe or measure it?",
        options: &[],
    },
];

/// A phrase of a family, found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    /// Index in [`FAMILIES`].
    pub(super) family: usize,
    /// Index of its first word.
    pub(super) first: usize,
    /// One past the index of its last word.
    pub(super) end: usize,
    /// Whether the phrase is what the text demands, so that nobody can verify the demand. Otherwise the text can be precise enough.
    pub(super) demanded: bool,
}

/// Phrases with their families.
type Phrases = Vec<(usize, Vec<&'static str>)>;

/// Phrases by their first word, the longest first.
static PHRASES: LazyLock<HashMap<&'static str, Phrases>> = LazyLock::new(|| {
    let mut by_first: HashMap<&'static str, Phrases> = HashMap::new();
    for (family, entry) in FAMILIES.iter().enumerate() {
        for phrase in entry.phrases.split('|') {
            let parts: Vec<&str> = phrase.split(' ').collect();
            by_first.entry(parts[0]).or_default().push((family, parts));
        }
    }
    for phrases in by_first.values_mut() {
        phrases.sort_by_key(|(_, parts)| std::cmp::Reverse(parts.len()));
    }
    by_first
});

/// What makes the vague words of a text precise, in the text itself or in the item around it.
#[allow(clippy::struct_excessive_bools, reason = "four independent facts about one text")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    /// Whether it contains a number with a unit.
    measured: bool,
    /// Whether it names a mechanism of security.
    means: bool,
    /// Whether it names an interval or what determines one.
    scheduled: bool,
    /// Whether a list below the text explains it.
    listed: bool,
}

impl Around {
    /// Reads an item with the list below it.
    pub(super) fn item(whole: &str) -> Self {
        Self { listed: whole.lines().skip(1).any(is_listed), ..Self::section(whole) }
    }

    /// Returns the same for a text that a list follows.
    pub(super) fn with_list(self, listed: bool) -> Self {
        Self { listed: self.listed || listed, ..self }
    }

    /// Reads a section: its measures count, but its lists can be about something else.
    pub(super) fn section(whole: &str) -> Self {
        Self::of(&words(whole))
    }

    fn of(words: &[Word<'_>]) -> Self {
        const SCHEDULES: &str = "interval intervals schedule schedules scheduled configured configurable cron frequency cadence daily weekly \
            monthly hourly nightly";
        let any = |list: &str| words.iter().any(|w| is_one_of(list, &w.lower));
        Self { measured: is_measured(words), means: any(MEANS), scheduled: any(SCHEDULES), listed: false }
    }

    /// Adds what the text itself says.
    fn with(self, text: &str, words: &[Word<'_>]) -> Self {
        let own = Self::of(words);
        Self {
            measured: self.measured || own.measured,
            means: self.means || own.means,
            scheduled: self.scheduled || own.scheduled,
            listed: self.listed || text.trim_end_matches(['*', '_', ' ']).ends_with(':'),
        }
    }
}

/// Returns whether a line is a list item or a row of a table.
pub(super) fn is_listed(line: &str) -> bool {
    let line = line.trim_start();
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let item = line.starts_with(['-', '*', '+', '|', '•']) && !line.starts_with("**") && !line.starts_with("---");
    item || (numbered.len() < line.len() && numbered.starts_with(['.', ')', '、']))
}

/// Returns whether a text has vague phrases that nothing in it makes precise.
pub fn is_vague(text: &str) -> bool {
    !find(text, &words(text), || Around::item(text)).is_empty()
}

/// Returns the vague phrases of a text, except those that the text or the item around it makes precise.
pub(super) fn find(text: &str, words: &[Word<'_>], around: impl Fn() -> Around) -> Vec<Hit> {
    let mut found = Vec::new();
    // Properties of the whole item are computed once, and only if there is a hit.
    let mut whole = None;
    let mut at = 0;
    while at < words.len() {
        let Some(hit) = phrase_at(text, words, at) else {
            at += 1;
            continue;
        };
        at = hit.end;
        let whole = *whole.get_or_insert_with(|| around().with(text, words));
        if !is_precise(text, words, hit, whole) {
            found.push(Hit { demanded: is_demanded(text, words, hit), ..hit });
        }
    }
    found
}

fn phrase_at(text: &str, words: &[Word<'_>], at: usize) -> Option<Hit> {
    let candidates = PHRASES.get(words[at].lower.as_str())?;
    let matches = |parts: &[&str]| {
        let Some(these) = words.get(at..at + parts.len()) else { return false };
        let same = |(word, part): (&Word<'_>, &&str)| word.lower == *part && !word.quoted && !is_name(text, word);
        these.iter().zip(parts).all(same) && these.windows(2).all(|pair| adjacent(text, &pair[0], &pair[1]))
    };
    let (family, parts) = candidates.iter().find(|(_, parts)| matches(parts))?;
    Some(Hit { family: *family, first: at, end: at + parts.len(), demanded: false })
}

/// Returns whether a phrase is what the text demands: `MUST be secure`, `MUST handle errors gracefully`, `within a reasonable time`.
fn is_demanded(text: &str, words: &[Word<'_>], hit: Hit) -> bool {
    const LIMITS: &str =
        "time timeout timeouts limit limits size length period delay amount number rate default defaults duration";
    const MANNER: &str =
        "gracefully quickly fast rapidly efficiently securely properly appropriately reliably robustly promptly";
    /// Number of words in which a subordinate clause begins.
    const NEAR: usize = 4;
    let rule = &FAMILIES[hit.family].rule;
    let first = words[hit.first].lower.as_str();
    let next = words.get(hit.end).map(|w| w.lower.as_str());
    let bounds = is_one_of("reasonable acceptable", first) && next.is_some_and(|n| is_one_of(LIMITS, n));
    let before = &text[..words[hit.first].start];
    let aside = before.matches('(').count() > before.matches(')').count();
    // In `a comment that says why it is acceptable`, nobody demands the quality.
    let asks = |w: &Word<'_>| is_one_of("why whether how", &w.lower);
    if aside || words[..hit.first].iter().rev().take(NEAR).any(asks) {
        return false;
    }
    match rule {
        rule if *rule == VAGUE_TIME => {
            is_one_of("periodically promptly timely in at", first) || is_manner(text, words, hit)
        }
        // `in the one or the other, as appropriate` is a choice between both.
        rule if *rule == ESCAPE_CLAUSE => first != "as" || words[..hit.first].iter().all(|w| w.lower != "or"),
        rule if *rule == OPEN_LIST => is_one_of("etc and", first),
        _ if first == "strong" || bounds => true,
        _ if is_one_of(MANNER, first) || hit.end - hit.first > 1 => {
            is_manner(text, words, hit) || is_predicate(text, words, hit)
        }
        _ => is_predicate(text, words, hit),
    }
}

/// Returns whether a phrase ends a demand and says how to meet it: `MUST handle errors gracefully`, also with a condition behind it.
fn is_manner(text: &str, words: &[Word<'_>], hit: Hit) -> bool {
    let conditional =
        words.get(hit.end).is_some_and(|w| is_one_of("when if while during after upon even under", &w.lower));
    let start =
        words[..hit.first].iter().rposition(|w| is_one_of("must shall should will", &w.lower)).unwrap_or_default();
    // What follows `to` or `so that` is the purpose of the demand.
    let purpose = words[start..hit.first].windows(2).any(|pair| {
        is_one_of("so that which because for", &pair[1].lower) || (pair[1].lower == "to" && pair[0].lower != "able")
    });
    (conditional || ends_sentence(text, words, hit.end)) && !purpose
}

/// Returns whether a phrase is a predicate: `MUST be secure`, `are fast and robust`, `in a secure way`.
fn is_predicate(text: &str, words: &[Word<'_>], hit: Hit) -> bool {
    const NEAR: usize = 4;
    let before = &words[hit.first.saturating_sub(NEAR)..hit.first];
    let verb = |w: &Word<'_>| is_one_of("be is are remain remains stay stays feel feels", &w.lower);
    let after = words.get(hit.end).map_or("", |w| w.lower.as_str());
    let manner = before.last().is_some_and(|w| is_one_of("a an", &w.lower)) && is_one_of("way manner fashion", after);
    let Some(at) = before.iter().rposition(verb) else { return manner };
    // Only other adjectives are between the verb and the phrase.
    let between = before[at..].windows(2).all(|pair| {
        let gap = text.get(pair[0].end..pair[1].start).unwrap_or_default();
        verb(&pair[0])
            || gap.contains(',')
            || is_one_of("and or", &pair[0].lower)
            || is_one_of("and or", &pair[1].lower)
    });
    let gap = words.get(hit.end).and_then(|w| text.get(words[hit.end - 1].end..w.start)).unwrap_or_default();
    let closes = ends_sentence(text, words, hit.end) || gap.contains(',') || is_one_of("and or", after);
    let to_use = words[hit.first].lower == "easy" && after == "to";
    manner || (between && (closes || to_use))
}

/// Returns whether a sentence ends before the word with this index.
fn ends_sentence(text: &str, words: &[Word<'_>], end: usize) -> bool {
    let gap = |w: &Word<'_>| text.get(words[end - 1].end..w.start).unwrap_or_default();
    words.get(end).is_none_or(|w| gap(w).contains(['.', ';', '!', '\n']))
}

/// Words that name a mechanism; with one of them, `secure` and similar words are precise.
const MEANS: &str = "tls https ssl ssh aes aes-256 hash hashed hashing bcrypt argon2 oauth oauth2 jwt keychain keyring \
    vault mfa 2fa rbac httponly csrf encrypted encryption encrypt signature signed permission permissions via using libsecret hmac pkce \
    samesite certificate";

/// Units that make a number a measure of speed, load or time.
const UNITS: &str = "ms millisecond milliseconds s sec secs second seconds min mins minute minutes hour hours day days week weeks \
    month months fps hz percent mb gb kb mib gib kib rps qps requests users items rows records files connections messages px frame \
    frames times concurrent lines";

/// What people do quickly is not the product's speed.
const THOUGHTS: &str =
    "understand grasp learn read scan see identify determine decide find locate recognise recognize assess";

/// Words that form a term with the vague word before them, which is then precise.
const NAMES: [(&str, &str); 6] = [
    ("fast", "path mode forward refresh lane fail track"),
    ("faster", "than"),
    ("graceful", "shutdown termination stop restart degradation period"),
    ("secure", "cookie cookies flag context contexts attribute enclave boot"),
    ("sufficient", "permissions permission privileges privilege rights funds balance disk space access credits"),
    ("easy", "mode level difficulty"),
];

fn is_precise(text: &str, words: &[Word<'_>], hit: Hit, whole: Around) -> bool {
    let rule = &FAMILIES[hit.family].rule;
    let (first, last, next) = (&words[hit.first], &words[hit.end - 1], words.get(hit.end));
    let before = hit.first.checked_sub(1).map(|at| &words[at]);
    let named = |names: &str| next.is_some_and(|n| is_one_of(names, &n.lower) && adjacent(text, last, n));
    let term = NAMES.iter().any(|(word, names)| *word == first.lower && named(names));
    // In `fail fast` the word is not a measure, and a negated word needs none.
    let denied = before.is_some_and(|b| is_one_of("not no never isn't aren't fail fails", &b.lower));
    // `indexed for fast lookup` and `uses a worker to securely check it` give a reason.
    let used = || words[..hit.first].iter().any(|w| is_one_of("use uses using via", &w.lower));
    let reason = before.is_some_and(|b| b.lower == "for" || (b.lower == "to" && used()));
    // `Scalable Processing` is the title of a requirement.
    let capital = |w: &Word<'_>| w.raw.starts_with(char::is_uppercase);
    let title = hit.first == 0 && capital(first) && next.is_some_and(|n| capital(n) && adjacent(text, last, n));
    term || denied
        || (reason && *rule != OPEN_LIST && *rule != ESCAPE_CLAUSE)
        || title
        || is_fitting(words, hit)
        || match rule {
            // `MUST remain responsive and MUST NOT be ignored` explains itself.
            rule if *rule == VAGUE_PERFORMANCE => {
                let modal = |w: &Word<'_>| matches!(w.lower.as_str(), "must" | "shall");
                whole.measured
                    || words[hit.end..].iter().take(3).any(modal)
                    || is_explained(text, words, hit)
                    || next.is_some_and(|n| is_one_of(THOUGHTS, &n.lower))
            }
            rule if *rule == VAGUE_TIME => whole.measured || whole.scheduled || is_explained(text, words, hit),
            // `stored securely and cannot be read` explains itself.
            rule if *rule == VAGUE_SECURITY => {
                let modal = |w: &Word<'_>| matches!(w.lower.as_str(), "must" | "shall" | "cannot" | "never");
                let random = before.is_some_and(|b| b.lower == "cryptographically");
                let says = random || words[hit.end..].iter().take(3).any(modal);
                says || whole.means || whole.listed || is_explained(text, words, hit)
            }
            rule if *rule == VAGUE_QUALITY => whole.measured || whole.listed || is_explained(text, words, hit),
            rule if *rule == ESCAPE_CLAUSE => is_explained(text, words, hit),
            // Brackets hold examples of what is named before them, and a sequence goes on by itself.
            rule if *rule == OPEN_LIST => {
                let opened = |c| text[..first.start].matches(c).count();
                let counted = before.is_some_and(|b| b.raw.contains(|c: char| c.is_ascii_digit()));
                counted || opened(['(', '[']) > opened([')', ']'])
            }
            _ => false,
        }
}

/// Returns whether a word such as `appropriate` is only a connection: what is appropriate follows from the thing itself (`appropriate labels`)
/// or from the purpose that is stated (`sufficient information to decide without a search`).
fn is_fitting(words: &[Word<'_>], hit: Hit) -> bool {
    const FITS: &str = "appropriate suitable adequate sufficient";
    // What the system says and does needs a decision of the author.
    const DECIDED: &str = "error errors message messages feedback action actions handling response responses empty state states warning \
        warnings notification notifications time timeout timeouts limit limits value values default defaults level levels measures \
        user-facing guidance detail details logging retry fallback";
    /// Number of words in which the purpose follows.
    const NEAR: usize = 8;
    if !is_one_of(FITS, &words[hit.first].lower) {
        return false;
    }
    let after = &words[hit.end..];
    let decided = after.iter().take(2).any(|w| is_one_of(DECIDED, &w.lower));
    let purpose = after.iter().take(NEAR).any(|w| is_one_of("to without so", &w.lower));
    !decided || purpose
}

/// Returns whether a word is a unit of speed, load or time.
pub(super) fn is_unit(word: &str) -> bool {
    word == "%" || is_one_of(UNITS, word)
}

/// Returns whether a text has a number with a unit: `200ms`, `95%`, `two seconds`, `5 messages per second`.
fn is_measured(words: &[Word<'_>]) -> bool {
    // `10ms-2s` is a range.
    let unit = |w: &Word<'_>| {
        let digit = |c: char| c.is_ascii_digit() || c == '.';
        w.lower.split('-').any(|part| is_one_of(UNITS, part.trim_start_matches(digit)))
    };
    words.iter().enumerate().any(|(at, word)| {
        let spelled = is_one_of("one two three five ten every each same single a", &word.lower);
        let follows = || words.get(at + 1).is_some_and(unit);
        (word.is_number() && (word.raw.ends_with('%') || unit(word))) || ((word.is_number() || spelled) && follows())
    })
}

/// Returns whether the text explains the phrase: after a colon or dash, in brackets, or by a description of how it is done.
fn is_explained(text: &str, words: &[Word<'_>], hit: Hit) -> bool {
    const MANNER: &str = "gracefully graceful seamlessly properly appropriately intuitively reliably easily responsive";
    let last = &words[hit.end - 1];
    let manner = is_one_of(MANNER, &last.lower);
    // The manner may follow at the end of the sentence; the explanation of an adjective is close to it.
    let window = if manner { 40 } else { 5 };
    words[hit.end - 1..].windows(2).take(window).any(|pair| {
        let (before, word) = (&pair[0], &pair[1]);
        let gap = text.get(before.end..word.start).unwrap_or_default();
        let says = gap.contains(['(', ':', '—', '–', ';']) || gap.contains(" - ");
        let how = is_one_of("by that indicating explaining describing naming identifying based per", &word.lower);
        let done = manner
            && (is_one_of("with without so instead using via", &word.lower)
                || (gap.contains(',') && word.lower.ends_with("ing")));
        says || how || done
    })
}
