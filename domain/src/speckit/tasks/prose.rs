//! Statements about order in prose: `T002 depends on T001`, `US2 after US1`, `T001 → T002`, `Blocks: T005`.

use crate::speckit::ids::{self, Mention, StoryKey, TaskId};

/// Somebody who waits or is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ref {
    Tasks(Mention),
    /// A phase by its number as written.
    Phase(String),
    /// `Setup` or `Foundational`, in lower case.
    Named(&'static str),
    Story(StoryKey),
    /// The task whose text is read.
    Itself,
}

/// `who` waits for `on`: each for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) who: Vec<Ref>,
    pub(super) on: Vec<Ref>,
}

/// Whose text is read: it decides who is meant when a sentence has no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context<'a> {
    /// A task and the lines below it.
    Task(&'a TaskId),
    /// A section about dependencies.
    Section,
}

/// Phrases after which somebody is named who comes first.
const WAITS: [&str; 22] = [
    "depends on",
    "depend on",
    "depending on",
    "depends upon",
    "dependent on",
    "dependency on",
    "dependencies on",
    "requires",
    "require",
    "needs",
    "need",
    "blocked by",
    "after",
    "waits for",
    "wait for",
    "waits on",
    "wait on",
    "once",
    "依赖于",
    "依赖",
    "依存",
    "depende de",
];

/// Phrases after which somebody is named who comes later.
const PRECEDES: [&str; 3] = ["before", "blocks", "block"];

/// Labels such as `**Dependencies**: T001`.
const LABELS: [(&str, bool); 8] = [
    ("dependencies", true),
    ("dependency", true),
    ("depends", true),
    ("depends on", true),
    ("deps", true),
    ("prerequisites", true),
    ("依赖", true),
    ("blocks", false),
];

/// Words that end the list of those who are named after a phrase.
const ENDS: [&str; 14] = [
    " but ",
    " independent",
    " not ",
    " without ",
    " unless ",
    " while ",
    " in parallel",
    " parallel with",
    " because ",
    " so ",
    " if ",
    " may ",
    " can ",
    " then ",
];

/// Every statement in `text`, a paragraph or a list item.
pub(super) fn statements(text: &str, context: Context<'_>) -> Vec<Statement> {
    if !text.contains('T') && context != Context::Section {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some(statement) = label(text) {
        found.push(statement);
        return found;
    }
    for sentence in sentences(text) {
        phrases(sentence, context, &mut found);
        chains(sentence, &mut found);
    }
    found.retain(|s| !s.who.is_empty() && !s.on.is_empty());
    found
}

fn label(text: &str) -> Option<Statement> {
    let plain = text.trim_start_matches(['-', '*', '_', ' ', '>', '(']);
    let (name, rest) = plain.split_once([':', '：'])?;
    let name = name.trim_matches(['*', '_', ' ']).to_lowercase();
    let (_, waits) = LABELS.iter().find(|(label, _)| *label == name)?;
    let named: Vec<Ref> = located(cut(rest, &[" - ", " — ", ". "]))
        .into_iter()
        .map(|l| l.what)
        .collect();
    let named = specific(named);
    Some(if *waits {
        Statement {
            who: vec![Ref::Itself],
            on: named,
        }
    } else {
        Statement {
            who: named,
            on: vec![Ref::Itself],
        }
    })
}

fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split([';', '；', '。', '|', '\n'])
        .flat_map(|part| part.split(". "))
}

struct Phrase {
    start: usize,
    end: usize,
    waits: bool,
}

fn phrases(sentence: &str, context: Context<'_>, found: &mut Vec<Statement>) {
    let lower = sentence.to_ascii_lowercase();
    let verbs = verbs(&lower);
    for (index, verb) in verbs.iter().enumerate() {
        let previous = index.checked_sub(1).map(|i| verbs[i].end);
        let next = verbs.get(index + 1).map(|v| v.start);
        if negated(&lower[previous.unwrap_or(0)..verb.start]) {
            continue;
        }
        let left = &sentence[previous.unwrap_or(0)..verb.start];
        let mut right = located(object(&sentence[verb.end..next.unwrap_or(sentence.len())]));
        if let (Some(next), Some(last)) = (next, right.last()) {
            // `T002 depends on T001, T003 depends on T002`: the last one belongs to the next phrase.
            let between = &sentence[verb.end + last.end..next];
            if right.len() > 1 && between.trim_matches([' ', '*', '`']).is_empty() {
                right.pop();
            }
        }
        let named = specific(right.into_iter().map(|l| l.what).collect());
        let subject = subject(left, previous.is_some(), context);
        let statement = if verb.waits {
            Statement {
                who: subject,
                on: named,
            }
        } else {
            Statement {
                who: named,
                on: subject,
            }
        };
        found.push(statement);
    }
}

fn verbs(lower: &str) -> Vec<Phrase> {
    let mut verbs: Vec<Phrase> = Vec::new();
    for (words, waits) in WAITS
        .iter()
        .map(|w| (w, true))
        .chain(PRECEDES.iter().map(|w| (w, false)))
    {
        for (start, _) in lower.match_indices(words) {
            let end = start + words.len();
            let attached = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            if words.is_ascii()
                && (attached(lower[..start].chars().next_back()) || attached(lower[end..].chars().next()))
            {
                continue;
            }
            verbs.push(Phrase { start, end, waits });
        }
    }
    verbs.sort_by_key(|v| (v.start, std::cmp::Reverse(v.end)));
    verbs.dedup_by(|later, earlier| later.start < earlier.end);
    verbs
}

fn negated(before: &str) -> bool {
    let tail: Vec<&str> = before.split_whitespace().rev().take(3).collect();
    tail.iter().any(|word| {
        matches!(
            word.trim_matches(|c: char| !c.is_alphanumeric()),
            "no" | "not" | "never" | "without" | "neither" | "nor"
        )
    }) || tail.iter().any(|word| word.ends_with("n't") || word.ends_with("n’t"))
}

/// What follows a phrase, up to where the sentence turns to something else.
fn object(text: &str) -> &str {
    let text = cut(text, &[" - ", " — ", " – ", "—", "→", "->", "←"]);
    let lower = text.to_ascii_lowercase();
    let end = ENDS
        .iter()
        .filter_map(|word| lower.find(word))
        .min()
        .unwrap_or(text.len());
    let text = &text[..end];
    // A bracket that was opened before the phrase ends the list.
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return &text[..at],
            ')' => depth -= 1,
            _ => {}
        }
    }
    text
}

fn cut<'a>(text: &'a str, ends: &[&str]) -> &'a str {
    // A dash between two identifiers is a range, which `located` reads; here only the separators of clauses count.
    let end = ends
        .iter()
        .filter_map(|end| {
            text.match_indices(end)
                .map(|(at, _)| at)
                .find(|at| !is_range(&text[at + end.len()..], &text[..*at]))
        })
        .min();
    &text[..end.unwrap_or(text.len())]
}

fn is_range(after: &str, before: &str) -> bool {
    ids::id_len(after).is_some() && before.ends_with(|c: char| c.is_ascii_digit())
}

/// Who waits, or who comes first, in the words before a phrase.
fn subject(left: &str, after_phrase: bool, context: Context<'_>) -> Vec<Ref> {
    let inner = left.rfind('(').filter(|at| !left[*at..].contains(')'));
    let (outer, text) = inner.map_or(("", left), |at| (&left[..at], &left[at + 1..]));
    let refs = located(text);
    if let Context::Task(_) = context {
        // In a task's own text only an identifier right before the phrase is its subject.
        let direct = refs
            .last()
            .filter(|last| text[last.end..].trim_matches([' ', '*', '`']).is_empty());
        return vec![direct.map_or(Ref::Itself, |last| last.what.clone())];
    }
    let refs = if refs.is_empty() { last_operand(outer) } else { refs };
    let refs = if after_phrase {
        refs.into_iter().next_back().into_iter().collect()
    } else {
        refs
    };
    specific(refs.into_iter().map(|l| l.what).collect())
}

/// The last run of references in `text` that are joined by nothing but commas and conjunctions.
fn last_operand(text: &str) -> Vec<Located> {
    let refs = located(text);
    let mut from = refs.len();
    while from > 0 && (from == refs.len() || is_joint(&text[refs[from - 1].end..refs[from].start])) {
        from -= 1;
    }
    refs.into_iter().skip(from).collect()
}

fn is_joint(between: &str) -> bool {
    let words =
        between.trim_matches(|c: char| c.is_whitespace() || matches!(c, ',' | '/' | '+' | '&' | '*' | '`' | '、'));
    matches!(words, "" | "and" | "or")
}

/// Tasks alone where tasks are named beside the phase or story that holds them.
fn specific(refs: Vec<Ref>) -> Vec<Ref> {
    if !refs.iter().any(|r| matches!(r, Ref::Tasks(_))) {
        return refs;
    }
    refs.into_iter().filter(|r| matches!(r, Ref::Tasks(_))).collect()
}

/// `T001 → T002, T003 → T004` and `T004 ← T003`; a remark in brackets may follow an operand.
fn chains(sentence: &str, found: &mut Vec<Statement>) {
    const FORWARD: [&str; 7] = ["→", "->", "-->", "⇒", "=>", "─►", "➔"];
    const BACKWARD: [&str; 3] = ["←", "<-", "<--"];
    let refs = located(sentence);
    let mut operands: Vec<(Vec<Ref>, Option<bool>)> = Vec::new();
    for (index, r) in refs.iter().enumerate() {
        let between = index
            .checked_sub(1)
            .map(|i| without_remark(&sentence[refs[i].end..r.start]));
        match between {
            Some(b) if is_joint(b) && !operands.is_empty() => {
                if let Some((operand, _)) = operands.last_mut() {
                    operand.push(r.what.clone());
                }
            }
            Some(b) if FORWARD.contains(&b) => operands.push((vec![r.what.clone()], Some(true))),
            Some(b) if BACKWARD.contains(&b) => operands.push((vec![r.what.clone()], Some(false))),
            _ => operands.push((vec![r.what.clone()], None)),
        }
    }
    for pair in operands.windows(2) {
        let (left, right) = (specific(pair[0].0.clone()), specific(pair[1].0.clone()));
        match pair[1].1 {
            Some(true) => found.push(Statement { who: right, on: left }),
            Some(false) => found.push(Statement { who: left, on: right }),
            None => {}
        }
    }
}

/// What stands between two references, without marks of emphasis and without one remark in brackets.
fn without_remark(between: &str) -> &str {
    let trimmed = between.trim_matches([' ', '*', '`', '\t']);
    match trimmed.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, rest)) => rest.trim_matches([' ', '*', '`', '\t']),
        None => trimmed,
    }
}

#[derive(Debug, Clone)]
struct Located {
    what: Ref,
    start: usize,
    end: usize,
}

/// Every reference in `text`, in order.
fn located(text: &str) -> Vec<Located> {
    let tasks = ids::mentions(text).into_iter().map(|m| Located {
        start: m.start,
        end: m.end,
        what: Ref::Tasks(m),
    });
    let mut found: Vec<Located> = tasks.collect();
    let mut at = 0;
    while let Some(word) = next_word(text, at) {
        let groups = group_at(text, word);
        at = groups.last().map_or(word.1, |last| last.end.max(word.1));
        found.extend(groups);
    }
    found.sort_by_key(|l| l.start);
    found
}

fn next_word(text: &str, from: usize) -> Option<(usize, usize)> {
    let start = from + text[from..].find(char::is_alphanumeric)?;
    let len = text[start..]
        .find(|c: char| !c.is_alphanumeric())
        .unwrap_or(text.len() - start);
    Some((start, start + len))
}

/// The phases or stories named by the word at this place: `Phase 3`, `Phases 3-5`, `US1`, `User Story 2`, `Setup`.
fn group_at(text: &str, (start, end): (usize, usize)) -> Vec<Located> {
    let word = &text[start..end];
    let one = |what, end| vec![Located { what, start, end }];
    match word.to_ascii_lowercase().as_str() {
        "phase" | "phases" => numbers(text, start, end, |n| Ref::Phase(n.to_owned())),
        "story" | "stories" => numbers(text, start, end, |n| Ref::Story(StoryKey::from_number(n))),
        "setup" if word.starts_with('S') => one(Ref::Named("setup"), end),
        "foundational" | "foundation" if word.starts_with('F') => one(Ref::Named("foundational"), end),
        lower if lower.starts_with("us") => {
            let end = start + key_len(text, start);
            StoryKey::parse(&text[start..end]).map_or_else(Vec::new, |key| one(Ref::Story(key), end))
        }
        _ => Vec::new(),
    }
}

/// Length of `US1`, `US-1` or `US1.5` at this place.
fn key_len(text: &str, start: usize) -> usize {
    let prefix = if text[start..].as_bytes().get(2) == Some(&b'-') { 3 } else { 2 };
    prefix + ids::story_number_len(text.get(start + prefix..).unwrap_or_default())
}

/// The numbers after `Phase` or `User Stories`, which is the word at `start..end`: `3`, `3-5`, `1 and 2`, `1, 2`.
fn numbers(text: &str, start: usize, end: usize, make: impl Fn(&str) -> Ref) -> Vec<Located> {
    let mut found: Vec<Located> = Vec::new();
    let mut at = end;
    loop {
        let rest = &text[at..];
        let skipped = if found.is_empty() {
            rest.len() - rest.trim_start().len()
        } else {
            [", and ", ", ", " and ", "/", "+", " & "].iter().find(|s| rest.starts_with(**s)).map_or(0, |s| s.len())
        };
        let number = &rest[skipped..];
        let len = ids::story_number_len(number);
        if len == 0 || skipped == 0 {
            return found;
        }
        at += skipped + len;
        found.push(Located { what: make(&number[..len]), start: if found.is_empty() { start } else { at - len }, end: at });
        at = range_end(text, &number[..len], at, &make, &mut found);
    }
}

/// Adds the rest of a range such as `3-5`, whose first number ends at `at`, and returns where it ends.
fn range_end(text: &str, first: &str, at: usize, make: &impl Fn(&str) -> Ref, found: &mut Vec<Located>) -> usize {
    let after = &text[at..];
    let Some(dash) = ["-", "–"].iter().find(|d| after.starts_with(**d)).map(|d| d.len()) else { return at };
    let len = ids::story_number_len(&after[dash..]);
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), after[dash..dash + len].parse::<u16>()) else { return at };
    if last.saturating_sub(first) > 50 {
        return at;
    }
    let end = at + dash + len;
    found.extend((first + 1..=last).map(|n| Located { what: make(&n.to_string()), start: end, end }));
    end
}
