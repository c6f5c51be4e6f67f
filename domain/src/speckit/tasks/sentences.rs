//! Sentences of a text, and the phrases in them that state an order.

use super::relations::{self, Position};

/// Returns the pieces between marks that end a sentence; a full stop ends one only before a space.
pub(super) fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = sentence_end(text);
        rest = end.map(|(at, len)| &text[at + len..]);
        Some(end.map_or(text, |(at, _)| &text[..at]))
    })
}

/// Returns the place and length of the first mark that ends a sentence. The text is searched by its bytes, since most are letters.
fn sentence_end(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mark = |byte: &u8| matches!(byte, b';' | b'|' | b'\n' | b'.' | 0xE3 | 0xEF);
    let mut from = 0;
    loop {
        let at = from + bytes[from..].iter().position(mark)?;
        match bytes[at] {
            b'.' if bytes.get(at + 1) == Some(&b' ') && !is_step(&text[..at]) => return Some((at, 2)),
            b'.' => {}
            0xE3 | 0xEF => {
                let full_width = ["；", "。"].into_iter().find(|mark| bytes[at..].starts_with(mark.as_bytes()));
                if let Some(mark) = full_width {
                    return Some((at, mark.len()));
                }
            }
            _ => return Some((at, 1)),
        }
        from = at + 1;
    }
}

/// Returns whether a text ends with the number of a step behind an arrow: `→ 2`.
fn is_step(before: &str) -> bool {
    let name = before.trim_end_matches(|c: char| c.is_ascii_digit());
    name.len() < before.len() && name.trim_end().ends_with(['→', '>'])
}

/// A phrase that can stand before a reference.
pub(super) struct Phrase {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) waits: bool,
    pub(super) position: Position,
}

/// Returns every phrase that can stand before a reference.
pub(super) fn verbs(sentence: &str) -> Vec<Phrase> {
    let mut verbs: Vec<Phrase> = Vec::new();
    let mut at = 0;
    while let Some(start) = next_word(sentence, at) {
        let len = sentence[start..].chars().next().map_or(1, char::len_utf8);
        at = start + len;
        if let Some((relation, len)) = relations::phrase(&sentence[start..]) {
            at = start + len;
            verbs.push(Phrase { start, end: at, waits: relation.waits, position: relation.position });
        }
    }
    verbs
}

/// Returns where the next word from this position on begins; in Han, kana and Hangul, which have no spaces, each character begins one.
fn next_word(sentence: &str, from: usize) -> Option<usize> {
    let bytes = sentence.as_bytes();
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())?;
        let joined = at > 0 && {
            let before = bytes[at - 1];
            let latin = |c: char| c.is_alphanumeric() && u32::from(c) < 0x2E80;
            before.is_ascii_alphanumeric()
                || matches!(before, b'-' | b'_')
                || !before.is_ascii() && sentence[..at].ends_with(latin)
        };
        if bytes[at].is_ascii() {
            if !joined {
                return Some(at);
            }
            // The rest of this word begins no other one.
            at += bytes[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        } else {
            let c = sentence[at..].chars().next()?;
            if c.is_alphabetic() && (u32::from(c) >= 0x2E80 || !joined) {
                return Some(at);
            }
            at += c.len_utf8();
        }
    }
}
