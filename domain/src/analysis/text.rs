//! Words and terms of a text.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// A word with its position in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) raw: &'a str,
    pub(super) lower: String,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether the word is inside inline code or quotation marks, and therefore part of a name or a label.
    pub(super) quoted: bool,
}

impl Word<'_> {
    pub(super) fn is_number(&self) -> bool {
        self.raw.starts_with(|c: char| c.is_ascii_digit())
    }

    /// Returns whether it begins with a capital, as names do.
    fn is_capitalised(&self) -> bool {
        self.raw.starts_with(char::is_uppercase)
    }
}

/// First character of the scripts without spaces between words: Han, kana, hangul, full-width forms.
const WIDE: char = '\u{2e80}';

/// Returns the words of a text. `user-friendly`, `1.5` and `95%` are one word each; a change between wide and other letters ends one.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut quotations = quotations(text).into_iter().peekable();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if !first.is_alphanumeric() {
            at += first.len_utf8();
            continue;
        }
        let end = at + word_len(&text[at..]);
        while quotations.next_if(|(_, close)| *close <= at).is_some() {}
        let quoted = quotations.peek().is_some_and(|(open, _)| *open <= at);
        let raw = &text[at..end];
        found.push(Word { raw, lower: raw.to_lowercase(), start: at, end, quoted });
        at = end;
    }
    found
}

fn word_len(text: &str) -> usize {
    let mut previous: Option<char> = None;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        let joins = match c {
            '-' | '_' | '\'' | '’' | '‑' => {
                previous.is_some_and(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric)
            }
            '.' | ',' => previous.is_some_and(|p| p.is_ascii_digit()) && next.is_some_and(|n| n.is_ascii_digit()),
            '%' => previous.is_some_and(|p| p.is_ascii_digit()),
            _ => c.is_alphanumeric(),
        };
        let changes =
            c.is_alphanumeric() && previous.is_some_and(|p| p.is_alphanumeric() && (p >= WIDE) != (c >= WIDE));
        if !joins || changes {
            return at;
        }
        previous = Some(c);
    }
    text.len()
}

/// Returns the byte ranges inside `` `code` ``, `"…"`, `“…”` and `「…」`, in order.
fn quotations(text: &str) -> Vec<(usize, usize)> {
    /// Maximum distance between the quotation marks of a pair.
    const MAX_QUOTED_BYTES: usize = 200;
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((offset, open)) = text[at..].char_indices().find(|(_, c)| matches!(c, '`' | '"' | '“' | '「')) {
        let start = at + offset + open.len_utf8();
        let close = match open {
            '“' => '”',
            '「' => '」',
            other => other,
        };
        let window = &text[start..text.floor_char_boundary((start + MAX_QUOTED_BYTES).min(text.len()))];
        match window.find(close) {
            Some(len) => {
                found.push((start, start + len));
                at = start + len + close.len_utf8();
            }
            None => at = start,
        }
    }
    found
}

/// Returns whether nothing but white space lies between two neighbours.
pub(super) fn adjacent(text: &str, left: &Word<'_>, right: &Word<'_>) -> bool {
    text.get(left.end..right.start)
        .is_some_and(|gap| !gap.is_empty() && gap.chars().all(|c| matches!(c, ' ' | '*' | '_')))
}

/// Returns whether a word begins a sentence, so that its capital is not significant.
pub(super) fn begins_sentence(text: &str, word: &Word<'_>) -> bool {
    let before = text[..word.start].trim_end_matches([' ', '*', '_', '(', '"', '“']);
    before.is_empty() || before.ends_with(['.', '!', '?', ':', ';', '—', '|', '-'])
}

/// Returns whether a word is written as a name: capitalised within a sentence.
pub(super) fn is_name(text: &str, word: &Word<'_>) -> bool {
    word.is_capitalised() && !begins_sentence(text, word)
}

/// Function words of English that other languages with Latin script do not have.
const ENGLISH: &str = "the of and to be must should for with when that which from by it this not are can will if each all any has have is \
    into their its shall without";

/// Function words of Spanish, Portuguese, French, German and Italian that are not English words.
const OTHER: &str = "el la los las de del que para por una con se os não uma em da dos das é le les des et est pour dans une der und ist \
    nicht mit für eine il della che deve debe doit muss são ao ou como quando cuando um sem sin";

/// The number of words in a text that indicate English, and of words that indicate another language.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Language {
    english: usize,
    other: usize,
    words: usize,
}

impl Language {
    pub(super) fn new(words: &[Word<'_>]) -> Self {
        let mut language = Self::default();
        language.add(words);
        language
    }

    pub(super) fn add(&mut self, words: &[Word<'_>]) {
        for word in words.iter().filter(|w| !w.quoted && !w.is_number()) {
            self.words += 1;
            if ENGLISH_WORDS.contains(word.lower.as_str()) {
                self.english += 1;
            } else if OTHER_WORDS.contains(word.lower.as_str())
                || word.lower.chars().any(|c| c.is_alphabetic() && c >= '\u{370}')
            {
                self.other += 1;
            }
        }
    }

    /// Returns whether at least every twelfth word indicates English, and more words than indicate another language.
    pub(super) const fn is_english(self) -> bool {
        self.english > self.other && self.english * 12 >= self.words
    }

    /// Returns whether the text leaves its language open: it is short, or no word indicates another language than English.
    pub(super) const fn is_open(self) -> bool {
        self.words < 5 || self.other == 0
    }
}

/// Words without a meaning of their own, and words that nearly every requirement has.
const STOP: &str = "a able about across all allow also an and any are as at be been being both but by can cannot could did do does done \
    during each either enable ensure etc every feature following for from given had has have how if in include \
    including into is it its let like may might must need needed never no not of on one or other our out own per permit \
    provide provided requirement s shall should so some such support supports system than that the their them then \
    there these they this those through to up upon use used uses using via was we well were what when where whether \
    which while who whose will with within would yet you";

static STOPS: LazyLock<HashSet<&str>> = LazyLock::new(|| STOP.split_whitespace().collect());
static ENGLISH_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| ENGLISH.split_whitespace().collect());
static OTHER_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| OTHER.split_whitespace().collect());

pub(super) fn is_stop(lower: &str) -> bool {
    STOPS.contains(lower)
}

/// Returns whether a word is in a list of words that are separated by spaces.
pub(super) fn is_one_of(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|w| w == word)
}

/// Returns whether a statement is struck out or withdrawn: it only keeps its identifier reserved.
pub(super) fn is_struck(text: &str) -> bool {
    const GONE: &str = "removed withdrawn deprecated superseded retired obsolete deleted reserved merged moved deferred dropped cancelled \
        canceled removido removida eliminado eliminada supprimé supprimée entfernt gestrichen rimosso rimossa удалено 已删除 已移除 已刪除 \
        削除 삭제됨";
    let first = text.split(|c: char| !c.is_alphanumeric()).find(|w| !w.is_empty()).unwrap_or_default().to_lowercase();
    text.contains("~~") || is_one_of(GONE, &first)
}

/// Returns the significant words of a text as stems: without function words and numbers, with compound names split.
pub(super) fn terms(words: &[Word<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for word in words.iter().filter(|w| !w.is_number()) {
        if word.raw.starts_with(|c| c >= WIDE) {
            let characters: Vec<char> = word.raw.chars().collect();
            found.extend(characters.windows(2).map(|pair| pair.iter().collect::<String>()));
            continue;
        }
        for piece in pieces(word.raw) {
            let lower = piece.to_lowercase();
            if lower.len() > 1 && !is_stop(&lower) && !lower.starts_with(|c: char| c.is_ascii_digit()) {
                found.push(canonical(stem(&lower)));
            }
        }
    }
    found
}

/// Returns the first significant words of a text as stems, at most `most` of them.
pub(crate) fn significant_terms(text: &str, most: usize) -> HashSet<String> {
    terms(&words(text)).into_iter().take(most).collect()
}

/// Returns a name without case, plural, hyphens and spaces, but with all its words: `SystemPermission` is not `Permission`.
pub(super) fn name_key(name: &str) -> String {
    let words = words(name);
    words.iter().flat_map(|word| pieces(word.raw)).map(|piece| stem(&piece.to_lowercase())).collect()
}

/// Returns the parts of `user-profile`, `user_profile`, `UserProfile` and `PHProfile`.
fn pieces(raw: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for part in raw.split(['-', '_', '\'', '’', '‑', '.']) {
        let (mut start, mut lower) = (0, false);
        for (at, c) in part.char_indices() {
            // An abbreviation ends before a capital with small letters; `IDs` and `OAuth` are one word.
            let word = || part[at..].chars().skip(1).take(2).filter(|c| c.is_lowercase()).count() == 2;
            if c.is_uppercase() && (lower || (at > start + 1 && word())) {
                found.push(&part[start..at]);
                start = at;
            }
            lower = c.is_lowercase();
        }
        if start < part.len() {
            found.push(&part[start..]);
        }
    }
    found
}

/// Returns a rough English stem: plural, `-ed`, `-ing`, `-ation`, `-able` and the like, a doubled last letter and a silent `e` are cut off.
fn stem(lower: &str) -> String {
    if !lower.is_ascii() || lower.len() < 4 {
        return lower.to_owned();
    }
    let cut = |suffix: &str| lower.strip_suffix(suffix).filter(|s| s.len() >= 3);
    let mut stem = if let Some(head) = cut("ies") {
        format!("{head}y")
    } else if let Some(head) =
        ["sses", "xes", "ches", "shes"].iter().find_map(|s| cut(s).map(|_| &lower[..lower.len() - 2]))
    {
        head.to_owned()
    } else if let Some(head) = cut("ing").or_else(|| cut("ed")) {
        head.to_owned()
    } else if lower.ends_with(['s']) && !lower.ends_with("ss") && !lower.ends_with("us") && !lower.ends_with("is") {
        lower[..lower.len() - 1].to_owned()
    } else {
        lower.to_owned()
    };
    if let Some(head) = ["ation", "ically", "able", "ally", "ate", "ic"]
        .iter()
        .find_map(|s| stem.strip_suffix(s))
        .filter(|h| h.len() >= 4)
    {
        stem = head.to_owned();
    }
    let bytes = stem.as_bytes();
    if bytes.len() > 3 && (bytes.last() == Some(&b'e') || bytes[bytes.len() - 1] == bytes[bytes.len() - 2]) {
        stem.pop();
    }
    stem
}

/// Returns one stem for verbs that requirements use as synonyms.
fn canonical(stem: String) -> String {
    const SAME: [(&str, &str); 7] = [
        ("delete", "remov eras"),
        ("display", "show present"),
        ("fetch", "retriev load"),
        ("save", "stor persist"),
        ("update", "modify edit chang"),
        ("validate", "verify check"),
        ("select", "choos pick"),
    ];
    match SAME.iter().find(|(_, others)| is_one_of(others, &stem)) {
        Some((one, _)) => self::stem(one),
        None => stem,
    }
}

/// Numbers of terms, in the order of their first occurrence.
#[derive(Debug, Default)]
pub(super) struct Vocabulary(HashMap<String, u32>);

impl Vocabulary {
    /// Returns the terms of a text as a sorted set of numbers.
    pub(super) fn set(&mut self, words: &[Word<'_>]) -> Vec<u32> {
        let mut set: Vec<u32> = terms(words)
            .into_iter()
            .map(|term| {
                let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
                *self.0.entry(term).or_insert(next)
            })
            .collect();
        set.sort_unstable();
        set.dedup();
        set
    }
}

/// Returns the number of common elements of two sorted sets.
pub(super) fn shared(a: &[u32], b: &[u32]) -> usize {
    let (mut i, mut j, mut count) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        count += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    count
}
