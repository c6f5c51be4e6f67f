//! What the text of a task line says about the task: its state, or that it is elsewhere in the document.

use super::marks;
use super::model::TaskState;
use super::relations::prefix_len;

/// First byte of brackets and signs of full width.
const FULL_WIDTH: u8 = 0xEF;

/// Returns whether a text is nothing but the state of a task that is defined elsewhere.
pub(super) fn is_only_state(text: &str) -> bool {
    const FEW: usize = 24;
    text.len() <= FEW && marks::worded(text).is_some() && text.split_whitespace().count() <= 2
}

/// Returns whether a remark in brackets says that the task is elsewhere in the document: `(see above)`.
pub(super) fn refers_back(text: &str) -> bool {
    #[rustfmt::skip]
    const WORDS: [&str; 18] = [
        "see above", "see below", "as above", "same as above", "listed above", "defined above", "described above", "voir ci-dessus",
        "voir plus haut", "siehe oben", "véase arriba", "ver arriba", "ver acima", "vedi sopra", "см. выше", "見上", "见上", "上記",
    ];
    const LONGEST: usize = 24;
    let brackets = memchr::memchr2_iter(b'(', FULL_WIDTH, text.as_bytes());
    brackets.filter_map(|at| text[at..].strip_prefix(['(', '（'])).any(|inner| {
        let end = inner.char_indices().nth(LONGEST).map_or(inner.len(), |(at, _)| at);
        let inner = inner[..end].trim_start();
        WORDS.iter().any(|word| prefix_len(inner, word).is_some())
    })
}

/// Returns the state that a tag or a remark of the line states: `[DEFERRED]`, `SUPERSEDED by T031: …`, `… — DEFERRED (no device)`.
pub(super) fn stated(text: &str, tags: &[String]) -> Option<TaskState> {
    const PLAIN: [&str; 8] =
        ["deferred", "cancelled", "canceled", "superseded", "retired", "postponed", "obsolete", "won't do"];
    let capitals = |text: &str| {
        let word = text.trim_start_matches(|c: char| !c.is_alphanumeric());
        let word = word.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        word.len() > 2 && !word.chars().any(char::is_lowercase)
    };
    if let Some(state) = tags.iter().find_map(|tag| marks::remark(tag)) {
        return Some(state);
    }
    if capitals(text)
        && let Some(state) = marks::remark(text)
    {
        return Some(state);
    }
    let dashed = ["— ", "– ", " - "].iter().filter_map(|dash| behind_last(text, dash));
    if let Some(state) = dashed.filter(|rest| capitals(rest)).find_map(marks::remark) {
        return Some(state);
    }
    let open = text.trim_end().strip_suffix([')', '）']).and_then(|t| t.rfind(['(', '（']).map(|at| &t[at..]))?;
    let inner = open.trim_start_matches(['(', '（']);
    marks::remark(inner).filter(|_| {
        let lower = inner.to_lowercase();
        PLAIN.iter().any(|word| lower.starts_with(word))
            || inner.chars().any(|c| u32::from(c) >= 0x2E80)
            || capitals(inner)
    })
}

/// Returns the text behind the last of these dashes, which is found by its byte that is not a space.
fn behind_last<'a>(text: &'a str, dash: &str) -> Option<&'a str> {
    let telling = dash.bytes().position(|byte| byte != b' ')?;
    let places = memchr::memrchr_iter(dash.as_bytes()[telling], text.as_bytes());
    places.filter_map(|at| text.get(at.checked_sub(telling)?..)).find_map(|rest| rest.strip_prefix(dash))
}
