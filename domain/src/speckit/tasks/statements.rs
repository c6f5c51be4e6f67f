//! Statements about order in prose: `T002 depends on T001`, `US2 after US1`, `T001 → T002`, `Blocks: T005`.

use crate::speckit::ids::{self, Mention, StoryKey};

/// A reference to tasks, a phase or a story in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    Tasks(Mention),
    /// A phase by its number as written.
    Phase(String),
    /// `Setup` or `Foundational`, in lower case.
    Named(&'static str),
    Story(StoryKey),
    /// The task whose text is parsed.
    Itself,
}

/// A statement that each of `who` waits for each of `on`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) who: Vec<Reference>,
    pub(super) on: Vec<Reference>,
}

/// Kind of the parsed text. It determines the subject of a sentence without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// A task and the lines below it.
    Task,
    /// A section about dependencies.
    Section,
}

/// Phrases before a reference, by their first letter, with whether the subject waits for the reference (`true`) or the reference for the
/// subject (`false`).
const PHRASES: [(char, &[(&str, bool)]); 8] = [
    ('a', &[("after", true)]),
    ('b', &[("blocked by", true), ("before", false), ("blocks", false), ("block", false)]),
    (
        'd',
        &[
            ("depends on", true),
            ("depends only on", true),
            ("depends upon", true),
            ("depend on", true),
            ("depend only on", true),
            ("dependent on", true),
            ("dependent only on", true),
            ("depending on", true),
            ("dependency on", true),
            ("dependencies on", true),
            ("depende de", true),
        ],
    ),
    ('n', &[("needs", true), ("need", true)]),
    ('o', &[("once", true)]),
    ('r', &[("requires", true), ("require", true)]),
    ('w', &[("waits for", true), ("wait for", true), ("waits on", true), ("wait on", true)]),
    ('依', &[("依赖于", true), ("依赖", true), ("依存", true)]),
];

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

/// Marks that end the list of references after a phrase, unless they are part of a range.
const DASHES: [&str; 7] = [" - ", " — ", " – ", "—", "→", "->", "←"];

/// Words that end the list; each begins with a space.
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

/// Phrases that state a dependency anywhere in the text of a task. Other phrases do so only in some positions.
const CERTAIN: [&str; 5] = ["depend", "wait", "blocked", "依", "depende"];

/// Words before a statement that make it a recommendation, not a dependency.
const ADVICE: [&str; 8] =
    ["recommend", "sequentially", "in practice", "ideally", "suggest", "priority order", "benefit", "developer"];

/// Words after a statement that make it a recommendation.
const SOFT: [&str; 3] = ["easiest", "easier", "working sequentially"];

/// Words before references that are parallel; each begins with a space.
const BESIDE: [&str; 6] =
    [" parallel with", " parallel to", " alongside", " independent of", " together with", " independently of"];

/// Returns every statement in `text`, a paragraph or a list item.
pub(super) fn parse(text: &str, context: Context) -> Vec<Statement> {
    let mut found = Vec::new();
    if (context == Context::Task && !text.contains('T')) || !may_name(text) {
        return found;
    }
    // A label such as `**Dependencies**:` applies to the whole text, so its phrases are not parsed as well.
    if let Some(statement) = label(text) {
        found.push(statement);
        return found;
    }
    for sentence in sentences(text).filter(|sentence| may_name(sentence)) {
        let refs = located(sentence);
        if !refs.is_empty() {
            phrases(sentence, context, &mut found);
            chains(sentence, refs, &mut found);
        }
    }
    found.retain(|s| !s.who.is_empty() && !s.on.is_empty());
    found
}

/// Returns whether a text can contain a reference. Most texts do not contain a digit or the name of a phase, and are skipped.
fn may_name(text: &str) -> bool {
    let phase = |b: u8| matches!(b, b'S' | b'F');
    text.bytes().any(|b| b.is_ascii_digit())
        || (text.bytes().any(phase) && (text.contains("Setup") || text.contains("Foundation")))
}

fn label(text: &str) -> Option<Statement> {
    let plain = text.trim_start_matches(['-', '*', '_', ' ', '>', '(']);
    let (name, rest) = plain.split_once([':', '：'])?;
    let name = name.trim_matches(['*', '_', ' ']);
    let name = if name.len() <= 32 { name.to_lowercase() } else { return None };
    let (_, waits) = LABELS.iter().find(|(label, _)| *label == name)?;
    let named: Vec<Reference> = located(cut(rest, &[" - ", " — ", ". "])).into_iter().map(|l| l.what).collect();
    let named = specific(named);
    Some(if *waits {
        Statement { who: vec![Reference::Itself], on: named }
    } else {
        Statement { who: named, on: vec![Reference::Itself] }
    })
}

/// Returns the pieces between marks that end a sentence; a full stop ends one only before a space.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.char_indices().find_map(|(at, c)| match c {
            ';' | '；' | '。' | '|' | '\n' => Some((at, c.len_utf8())),
            '.' if text[at..].starts_with(". ") => Some((at, 2)),
            _ => None,
        });
        rest = end.map(|(at, len)| &text[at + len..]);
        Some(end.map_or(text, |(at, _)| &text[..at]))
    })
}

fn is_advice(before: &str) -> bool {
    let lower = before.to_ascii_lowercase();
    ADVICE.iter().any(|word| lower.contains(word))
}

struct Phrase {
    start: usize,
    end: usize,
    waits: bool,
}

fn phrases(sentence: &str, context: Context, found: &mut Vec<Statement>) {
    let lower = sentence.to_ascii_lowercase();
    let verbs = verbs(&lower);
    let mut subject: Vec<Reference> = Vec::new();
    for (index, verb) in verbs.iter().enumerate() {
        let from = index.checked_sub(1).map(|i| verbs[i].end);
        let next = verbs.get(index + 1).map(|v| v.start);
        let left = &sentence[from.unwrap_or(0)..verb.start];
        // `does not depend on T001` is not a statement.
        if negated(&lower[from.unwrap_or(0)..verb.start]) {
            continue;
        }
        if context != Context::Section && !speaks_of_task(left, &lower[verb.start..verb.end]) {
            continue;
        }
        // The subject of the first phrase also applies to the following ones: `T003 depends on T001 and blocks T005`.
        subject = match (context, from) {
            (Context::Task, _) => vec![adjacent(left).unwrap_or(Reference::Itself)],
            (Context::Section, Some(_)) => adjacent(left).map_or(subject, |own| vec![own]),
            (Context::Section, None) => section_subject(left),
        };
        // Recommendations are not dependencies: `ideally after US1`, `… is easiest`.
        let behind = &lower[verb.end..next.unwrap_or(lower.len())];
        if is_advice(left) || SOFT.iter().any(|word| behind.contains(word)) {
            continue;
        }
        let named = specific(objects(sentence, verb, next));
        let (who, on) = if verb.waits { (subject.clone(), named) } else { (named, subject.clone()) };
        found.push(Statement { who, on });
    }
}

/// Returns whether a phrase in a task's own text is about its order: certain words are, others where they begin a sentence or a remark.
fn speaks_of_task(left: &str, phrase: &str) -> bool {
    let begins =
        left.rsplit('(').next().is_some_and(|t| t.trim_matches([' ', '*', '_', '-', '–', '—', ':']).is_empty());
    begins || CERTAIN.iter().any(|word| phrase.starts_with(word))
}

/// Returns the references after a phrase.
fn objects(sentence: &str, verb: &Phrase, next: Option<usize>) -> Vec<Reference> {
    let text = object(&sentence[verb.end..next.unwrap_or(sentence.len())]);
    if text.starts_with([',', '.', ')']) {
        return Vec::new();
    }
    let mut refs = located(text);
    if let (Some(next), Some(last)) = (next, refs.last()) {
        // `T002 depends on T001, T003 depends on T002`: the last one belongs to the next phrase.
        let between = &sentence[verb.end + last.end..next];
        if refs.len() > 1 && between.trim_matches([' ', '*', '`']).is_empty() {
            refs.pop();
        }
    }
    refs.into_iter().map(|l| l.what).collect()
}

/// Returns every phrase of [`PHRASES`] in a text in lower case.
fn verbs(lower: &str) -> Vec<Phrase> {
    let mut verbs: Vec<Phrase> = Vec::new();
    let attached = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let mut before = None;
    for (start, c) in lower.char_indices() {
        let last = before.replace(c);
        if c.is_ascii() && attached(last) {
            continue;
        }
        let Some((_, phrases)) = PHRASES.iter().find(|(letter, _)| *letter == c) else { continue };
        for (words, waits) in phrases.iter().filter(|(words, _)| lower[start..].starts_with(words)) {
            let end = start + words.len();
            if !words.is_ascii() || !attached(lower[end..].chars().next()) {
                verbs.push(Phrase { start, end, waits: *waits });
            }
        }
    }
    // Of overlapping phrases, the first one remains, and of those at the same position the longest.
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

/// Returns the text after a phrase, up to the end of the clause or the end of a bracket that was opened before the phrase.
fn object(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        let over = match c {
            ')' => depth == 0,
            ' ' | '-' | '—' | '→' | '←' => turns(text, at, &DASHES) || stands(text, at, &ENDS),
            _ => false,
        };
        if over {
            return &text[..at];
        }
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// Returns the text up to one of these marks.
fn cut<'a>(text: &'a str, marks: &[&str]) -> &'a str {
    let end = text.char_indices().map(|(at, _)| at).find(|at| turns(text, *at, marks));
    &text[..end.unwrap_or(text.len())]
}

/// Returns whether one of these marks is at this position and separates clauses: a dash between two identifiers is a range, which
/// `located` parses.
fn turns(text: &str, at: usize, marks: &[&str]) -> bool {
    let clause = |after: &str| !is_range(after, &text[..at]);
    marks.iter().any(|mark| text[at..].strip_prefix(mark).is_some_and(clause))
}

/// Returns whether one of these words is at this position, ignoring case.
fn stands(text: &str, at: usize, words: &[&str]) -> bool {
    let here = &text.as_bytes()[at..];
    words.iter().any(|word| here.get(..word.len()).is_some_and(|here| here.eq_ignore_ascii_case(word.as_bytes())))
}

fn is_range(after: &str, before: &str) -> bool {
    ids::id_len(after).is_some() && before.ends_with(|c: char| c.is_ascii_digit())
}

/// Returns the reference directly before a phrase.
fn adjacent(left: &str) -> Option<Reference> {
    let left = left.trim_end_matches([' ', '*', '`']);
    // A quick check: most words do not end a reference, so that the text before them need not be scanned.
    let last = left.ends_with(char::is_alphanumeric).then(|| located(left).pop()).flatten()?;
    (last.end == left.len()).then_some(last.what)
}

/// Returns the subject of the words before a phrase: the references in an open bracket or directly before the phrase; otherwise the first
/// tasks, or the references in the label.
fn section_subject(left: &str) -> Vec<Reference> {
    let refs = if let Some(bracket) = left.rfind('(').filter(|at| !left[*at..].contains(')')) {
        let inside = located(&left[bracket..]);
        if inside.is_empty() { last_operand(&left[..bracket]) } else { inside }
    } else {
        let (label, rest) = left.split_once(": ").unwrap_or(("", left));
        let end = rest.match_indices(' ').map(|(at, _)| at).find(|at| stands(rest, *at, &BESIDE)).unwrap_or(rest.len());
        let (label, named) = (first_operand(label), first_operand(&rest[..end]));
        let tasks = named.iter().any(|l| matches!(l.what, Reference::Tasks(_)));
        if label.is_empty() || tasks { named } else { label }
    };
    specific(refs.into_iter().map(|l| l.what).collect())
}

/// Returns the first run of references in `text`; it begins at the first task, if the text names tasks.
fn first_operand(text: &str) -> Vec<Located> {
    let refs = located(text);
    let from = refs.iter().position(|l| matches!(l.what, Reference::Tasks(_))).unwrap_or(0);
    let joined = |i: &usize| is_joint(without_remark(&text[refs[*i].end..refs[*i + 1].start]));
    let len = (from..refs.len().saturating_sub(1)).take_while(joined).count() + 1;
    refs.iter().skip(from).take(len).cloned().collect()
}

/// Returns the last run of references in `text` that are joined by nothing but commas and conjunctions.
fn last_operand(text: &str) -> Vec<Located> {
    let refs = located(text);
    let mut from = refs.len();
    while from > 0 && (from == refs.len() || is_joint(&text[refs[from - 1].end..refs[from].start])) {
        from -= 1;
    }
    refs.into_iter().skip(from).collect()
}

fn is_joint(between: &str) -> bool {
    let words = between
        .trim_matches(|c: char| c.is_whitespace() || matches!(c, ',' | '/' | '+' | '&' | '*' | '`' | '、' | '(' | ')'));
    matches!(words, "" | "and" | "or")
}

/// Returns only the tasks when a statement names tasks together with the phase or story that contains them.
fn specific(refs: Vec<Reference>) -> Vec<Reference> {
    if !refs.iter().any(|r| matches!(r, Reference::Tasks(_))) {
        return refs;
    }
    refs.into_iter().filter(|r| matches!(r, Reference::Tasks(_))).collect()
}

/// Adds the statements of `T001 → T002, T003 → T004` and `T004 ← T003`; a remark in brackets may follow an operand.
fn chains(sentence: &str, refs: Vec<Located>, found: &mut Vec<Statement>) {
    const FORWARD: [&str; 7] = ["→", "->", "-->", "⇒", "=>", "─►", "➔"];
    const BACKWARD: [&str; 3] = ["←", "<-", "<--"];
    let refs = outside_remarks(sentence, refs);
    // Each operand with the direction of the arrow before it.
    let mut operands: Vec<(Vec<Reference>, Option<bool>)> = Vec::new();
    let mut end = None;
    let first = refs.first().map_or(0, |first| first.start);
    for Located { what, start, end: next } in refs {
        let between = end.replace(next).map(|end| without_remark(&sentence[end..start]));
        let arrow = match between {
            Some(between) if FORWARD.contains(&between) => Some(true),
            Some(between) if BACKWARD.contains(&between) => Some(false),
            _ => None,
        };
        match operands.last_mut() {
            Some((operand, _)) if between.is_some_and(is_joint) => operand.push(what),
            _ => operands.push((vec![what], arrow)),
        }
    }
    if operands.iter().all(|(_, arrow)| arrow.is_none()) || is_advice(&sentence[..first]) {
        return;
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

/// Returns the references of a chain, without those in a bracket after a phase or story: `Phase 1 (T001) → Phase 2`.
fn outside_remarks(sentence: &str, refs: Vec<Located>) -> Vec<Located> {
    let mut kept: Vec<Located> = Vec::with_capacity(refs.len());
    for found in refs {
        let remark = kept.last().is_some_and(|last| {
            let between = &sentence[last.end..found.start];
            !matches!(last.what, Reference::Tasks(_)) && between.rfind('(') > between.rfind(')')
        });
        if !remark {
            kept.push(found);
        }
    }
    kept
}

/// Returns the text between two references, without marks of emphasis and without one remark in brackets.
fn without_remark(between: &str) -> &str {
    const MARKS: [char; 6] = [' ', '*', '`', '\t', '(', ')'];
    match between.trim_start_matches([' ', '*', '`']).strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, rest)) => rest.trim_matches(MARKS),
        None => between.trim_matches(MARKS),
    }
}

#[derive(Debug, Clone)]
struct Located {
    what: Reference,
    start: usize,
    end: usize,
}

/// Returns every reference in `text`, in order.
fn located(text: &str) -> Vec<Located> {
    let tasks =
        ids::mentions(text).into_iter().map(|m| Located { start: m.start, end: m.end, what: Reference::Tasks(m) });
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

/// Returns the next word from this position that may begin the name of a phase or story.
fn next_word(text: &str, from: usize) -> Option<(usize, usize)> {
    let initial = |b: &u8| matches!(b, b'P' | b'p' | b'S' | b's' | b'F' | b'U' | b'u');
    let mut at = from;
    loop {
        let start = at + text.as_bytes()[at..].iter().position(initial)?;
        if start == from || !text[..start].ends_with(char::is_alphanumeric) {
            let len = text[start..].find(|c: char| !c.is_alphanumeric());
            return Some((start, len.map_or(text.len(), |len| start + len)));
        }
        at = start + 1;
    }
}

/// Returns the phases or stories that the word at this position begins: `Phase 3`, `Phases 3-5`, `US1`, `User Story 2`, `Setup`.
fn group_at(text: &str, (start, end): (usize, usize)) -> Vec<Located> {
    let word = &text[start..end];
    let is = |names: [&str; 2]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    let named = |name| vec![Located { what: Reference::Named(name), start, end }];
    if is(["phase", "phases"]) {
        numbers(text, start, end, |n| Reference::Phase(n.to_owned()))
    } else if is(["story", "stories"]) {
        numbers(text, start, end, |n| Reference::Story(StoryKey::from_number(n)))
    } else if word.starts_with('S') && word.eq_ignore_ascii_case("setup") {
        named("setup")
    } else if word.starts_with('F') && is(["foundational", "foundation"]) {
        named("foundational")
    } else if stands(word, 0, &["us"]) {
        story_keys(text, start)
    } else {
        Vec::new()
    }
}

/// Returns the story whose key is at this position, or a range of stories.
fn story_keys(text: &str, start: usize) -> Vec<Located> {
    let end = start + key_len(text, start);
    let Some(key) = StoryKey::parse(&text[start..end]) else {
        return Vec::new();
    };
    let first = key.as_str().trim_start_matches("US").to_owned();
    let mut found = vec![Located { what: Reference::Story(key), start, end }];
    range_end(text, &first, end, &|n| Reference::Story(StoryKey::from_number(n)), &mut found);
    found
}

/// Returns the length of `US1`, `US-1` or `US1.5` at this position.
fn key_len(text: &str, start: usize) -> usize {
    let prefix = if text.as_bytes().get(start + 2) == Some(&b'-') { 3 } else { 2 };
    prefix + ids::story_number_len(text.get(start + prefix..).unwrap_or_default())
}

/// Returns the numbers after `Phase` or `User Stories`, which is the word at `start..end`: `3`, `3-5`, `1 and 2`, `1, 2`.
fn numbers(text: &str, start: usize, end: usize, make: impl Fn(&str) -> Reference) -> Vec<Located> {
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
        found.push(Located {
            what: make(&number[..len]),
            start: if found.is_empty() { start } else { at - len },
            end: at,
        });
        at = range_end(text, &number[..len], at, &make, &mut found);
    }
}

/// Adds the rest of a range such as `3-5`, whose first number ends at `at`, and returns the end of the range.
fn range_end(text: &str, first: &str, at: usize, make: &impl Fn(&str) -> Reference, found: &mut Vec<Located>) -> usize {
    let after = &text[at..];
    let Some(dash) = ["-", "–"].iter().find(|d| after.starts_with(**d)).map(|d| d.len()) else {
        return at;
    };
    let dash = dash + if after[dash..].starts_with("US") { 2 } else { 0 };
    let len = ids::story_number_len(&after[dash..]);
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), after[dash..dash + len].parse::<u16>()) else {
        return at;
    };
    if last.saturating_sub(first) > 50 {
        return at;
    }
    let end = at + dash + len;
    if let Some(first) = found.last_mut() {
        first.end = end;
    }
    found.extend((first + 1..=last).map(|n| Located { what: make(&n.to_string()), start: end, end }));
    end
}
