//! Statements about order in prose: `T002 depends on T001`, `US2 after US1`, `T001 → T002`, `Blocks: T005`, `T001の後`.
//!
//! The words are in [`relations`](super::relations).

use super::references::{Located, Reference, located};
use super::relations::{self, ADVICE, BESIDE, JOINTS, NEGATIONS, PRONOUNS, Position, SOFT, TAKEN_BACK, prefix_len};
use super::sentences::{Phrase, sentences, verbs};
use crate::speckit::ids::{self, Forms, TASK_WORDS};

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

/// Marks that end the list of references after a phrase, unless they are part of a range.
const DASHES: [&str; 7] = [" - ", " — ", " – ", "—", "→", "->", "←"];

/// Returns every statement in `text`, a paragraph or a list item.
pub(super) fn parse(text: &str, context: Context, forms: &Forms) -> Vec<Statement> {
    let mut found = Vec::new();
    if !may_name(text) || (context == Context::Task && *forms == Forms::default() && !names_work(text)) {
        return found;
    }
    for sentence in sentences(text).filter(|sentence| may_name(sentence)) {
        let refs = located(sentence, forms);
        // Outline numbers are found only behind a phrase.
        if refs.is_empty() && !forms.outline {
            continue;
        }
        // After a label such as `**Dependencies**:`, the rest of the sentence lists what it names.
        if let Some((statement, rest)) = label(sentence, context, forms) {
            found.push(statement);
            phrases(rest, context, forms, &mut found);
            continue;
        }
        phrases(sentence, context, forms, &mut found);
        behind(sentence, context, &refs, &mut found);
        chains(sentence, refs, &mut found);
    }
    found.retain(|s| !s.who.is_empty() && !s.on.is_empty());
    found
}

/// Returns the statements in a line of a drawing: `T001 → T002`, `T004 ← depends on T003`. Drawings often show phases in the order of the
/// document, so only tasks count.
pub(super) fn drawing(line: &str, forms: &Forms) -> Vec<Statement> {
    let tasks = |refs: &[Reference]| refs.iter().all(|what| matches!(what, Reference::Tasks(_)));
    let mut found = parse(line, Context::Section, forms);
    found.retain(|s| tasks(&s.who) && tasks(&s.on));
    found
}

/// Returns what the tasks below a label wait for: `Wave 2 (depends on T003):`, `Wait for T001–T004, then:`.
pub(super) fn announced(label: &str, forms: &Forms) -> Vec<Statement> {
    let plain = label.trim_matches(|c: char| c.is_whitespace() || "*_→⟶➜".contains(c));
    if !plain.ends_with([':', '：']) {
        return Vec::new();
    }
    let mut found = parse(plain.trim_end_matches([':', '：']), Context::Task, forms);
    found.retain(|s| s.who == [Reference::Itself]);
    found
}

/// Returns whether a text can contain a reference. Most texts do not contain a digit or the name of a phase, and are skipped.
fn may_name(text: &str) -> bool {
    let phase = |b: u8| matches!(b, b'S' | b'F');
    text.bytes().any(|b| b.is_ascii_digit())
        || (text.bytes().any(phase) && (text.contains("Setup") || text.contains("Foundation")))
}

/// Returns whether a text of a task can name a task, a phase or a story. Most texts do not, although they contain a digit.
fn names_work(text: &str) -> bool {
    let bytes = text.as_bytes();
    let next = |at: usize| bytes.get(at).map_or(0, u8::to_ascii_lowercase);
    bytes.iter().enumerate().any(|(at, byte)| match byte {
        // `T001`, `T-1`, `TASK-1`, `Story 1`.
        b'T' | b't' => {
            let second = next(at + 1);
            *byte == b'T' && (second.is_ascii_digit() || matches!(second, b'-' | b'a'))
                || second == b'o' && next(at + 2) == b'r'
        }
        b'U' | b'u' => next(at + 1) == b's' && (next(at + 2).is_ascii_digit() || next(at + 2) == b'-'),
        b'P' | b'p' => next(at + 1) == b'h' && next(at + 2) == b'a',
        b'S' => next(at + 1) == b'e' && next(at + 2) == b't',
        b'F' => next(at + 1) == b'o' && next(at + 2) == b'u',
        _ => false,
    })
}

/// Reads a label at the start of a sentence, or in a task also behind a dash or in brackets: `— deps: T107`, `_Depends: T104_`. Returns
/// the statement and the text before the label.
fn label<'a>(sentence: &'a str, context: Context, forms: &Forms) -> Option<(Statement, &'a str)> {
    const LONGEST: usize = 48;
    const MAX_LABELS: usize = 16;
    // The first byte of a colon of full width is that of other signs too.
    let colons = memchr::memchr2_iter(b':', 0xEF, sentence.as_bytes());
    let mark_at = |at: usize| Some((at, [":", "："].into_iter().find(|mark| sentence[at..].starts_with(mark))?));
    for (at, mark) in colons.filter_map(mark_at).take(MAX_LABELS) {
        let before = &sentence[..at];
        let start = clause_start(before);
        if start > 0 && context == Context::Section {
            return None;
        }
        let name = before[start..].trim_matches(|c: char| c.is_whitespace() || "*_->`([".contains(c));
        let Some(waits) = Some(name).filter(|name| name.len() <= LONGEST).and_then(relations::label) else { continue };
        // `Task: …` names the prerequisite only as the label of a line below the task.
        if start > 0 && name.to_lowercase().starts_with("task") {
            continue;
        }
        let rest = &sentence[at + mark.len()..];
        let named = if relations::is_none(rest) { Vec::new() } else { specific(listed(rest, forms)) };
        let statement = if waits {
            Statement { who: vec![Reference::Itself], on: named }
        } else {
            Statement { who: named, on: vec![Reference::Itself] }
        };
        return Some((statement, &sentence[..start]));
    }
    None
}

/// Returns where the last clause of a text begins: behind a dash, a bracket or a comma.
fn clause_start(text: &str) -> usize {
    const MARKS: [&str; 8] = [" — ", " – ", " - ", "(", "（", "[", ", ", "，"];
    let bytes = text.as_bytes();
    // The last bytes of the marks. A space is that of most words too, and is preceded by a hyphen or a comma, or by a sign that is not ASCII.
    let ends = |end: &usize| match bytes[*end - 1] {
        b'(' | b'[' | 0x88 | 0x8C => true,
        b' ' => *end > 1 && (matches!(bytes[*end - 2], b'-' | b',') || !bytes[*end - 2].is_ascii()),
        _ => false,
    };
    let marked = |end: &usize| MARKS.iter().any(|mark| bytes[..*end].ends_with(mark.as_bytes()));
    (1..=bytes.len()).rev().filter(ends).find(marked).unwrap_or(0)
}

/// Returns the references that a list names: those at the start of its parts, without remarks such as `(the layout)` and `- the layout`.
fn listed(text: &str, forms: &Forms) -> Vec<Reference> {
    let refs = located(text, forms);
    let depths = depths(text, &refs);
    let outside = depths.contains(&0);
    let mut found = Vec::new();
    let mut end = 0;
    for (at, Located { what, start, end: next }) in refs.iter().enumerate() {
        if outside && depths[at] > 0 {
            continue;
        }
        let between = &text[end..*start];
        let lead = between.rsplit([',', '、', '，', '+', '&', '/', '\n']).next().unwrap_or(between);
        let head = found.is_empty()
            || lead.len() < between.len()
            || JOINTS.iter().any(|joint| lead.trim_end().ends_with(&format!(" {joint}")));
        let words = lead.trim_matches(|c: char| c.is_whitespace() || "*`_()[]（）".contains(c)).to_lowercase();
        let last = words.rsplit(' ').next().unwrap_or_default();
        let first =
            found.is_empty() && !BESIDE.iter().any(|word| words.contains(word.trim_start())) && !taken_out(&words);
        let joined =
            first || JOINTS.contains(&words.as_str()) || TASK_WORDS.contains(&last) || JOINTS[1..].contains(&last);
        if head && joined && !is_taken_back(&text[*next..]) {
            found.push(what.clone());
            end = *next;
        }
    }
    found
}

/// Returns whether words before a reference exclude it.
fn taken_out(words: &str) -> bool {
    words
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| NEGATIONS.contains(&word) || matches!(word, "except" | "was" | "formerly"))
}

fn is_taken_back(after: &str) -> bool {
    let after = after.trim_start_matches([' ', '*', '`']);
    TAKEN_BACK.iter().any(|words| prefix_len(after, words).is_some())
}

/// Returns for each reference the number of brackets around it.
fn depths(text: &str, refs: &[Located]) -> Vec<usize> {
    let mut depths = Vec::with_capacity(refs.len());
    let (mut depth, mut at) = (0_usize, 0);
    for found in refs {
        for c in text[at..found.start.max(at)].chars() {
            match c {
                '(' | '（' => depth += 1,
                ')' | '）' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        at = found.start.max(at);
        depths.push(depth);
    }
    depths
}

fn is_advice(before: &str) -> bool {
    let lower = before.to_ascii_lowercase();
    ADVICE.iter().any(|word| lower.contains(word))
}

fn phrases(sentence: &str, context: Context, forms: &Forms, found: &mut Vec<Statement>) {
    let verbs = verbs(sentence);
    let mut subject: Vec<Reference> = Vec::new();
    for (index, verb) in verbs.iter().enumerate() {
        let from = index.checked_sub(1).map(|i| verbs[i].end);
        let next = verbs.get(index + 1).map(|v| v.start);
        let left = &sentence[from.unwrap_or(0)..verb.start];
        // `does not depend on T001` is not a statement.
        if negated(left) {
            continue;
        }
        let right = &sentence[verb.end..];
        // `Use the classes of the page (moved to T002)` states nothing, `using T002` does.
        let uses =
            ["use", "uses", "using"].iter().any(|word| sentence[verb.start..verb.end].eq_ignore_ascii_case(word));
        if context != Context::Section
            && (!speaks_of_task(left, verb, right, forms) || uses && !begins_with_task(right, forms))
        {
            continue;
        }
        // The subject of the first phrase also applies to the following ones: `T003 depends on T001 and blocks T005`.
        let (pronoun, named) = objects(sentence, verb, next, forms);
        let earlier = if pronoun { first_operand(left, forms) } else { Vec::new() };
        subject = match (context, from) {
            (Context::Task, _) => {
                let other = adjacent(left, forms).or_else(|| remarked(left, &sentence[verb.start..verb.end], forms));
                vec![other.unwrap_or(Reference::Itself)]
            }
            (Context::Section, Some(_)) => {
                adjacent(left, forms).or_else(|| clause_subject(left, forms)).map_or(subject, |own| vec![own])
            }
            (Context::Section, None) => section_subject(left, forms),
        };
        // The clause in `models (T001) before services that depend on them (T002)` is about the services.
        if pronoun && [" that", " which"].iter().any(|word| left.trim_end().ends_with(word)) {
            continue;
        }
        // Recommendations are not dependencies: `ideally after US1`, `… is easiest`.
        let behind = sentence[verb.end..next.unwrap_or(sentence.len())].to_ascii_lowercase();
        if is_advice(left) || SOFT.iter().any(|word| behind.contains(word)) {
            continue;
        }
        let earlier = earlier.into_iter().map(|l| l.what).filter(|what| !subject.contains(what));
        let named = specific(named.into_iter().chain(earlier).collect());
        let (who, on) = if verb.waits { (subject.clone(), named) } else { (named, subject.clone()) };
        found.push(Statement { who, on });
    }
}

/// Returns whether a phrase in a task's own text is about its order.
fn speaks_of_task(left: &str, verb: &Phrase, right: &str, forms: &Forms) -> bool {
    let begins =
        left.rsplit(['(', '（']).next().is_some_and(|t| t.trim_matches([' ', '*', '_', '-', '–', '—', ':']).is_empty());
    begins
        || verb.position == Position::Anywhere
        || verb.position == Position::Adjacent && begins_with_task(right, forms)
}

/// Returns whether the text behind a phrase begins with a task.
fn begins_with_task(right: &str, forms: &Forms) -> bool {
    let right = right.trim_start_matches([' ', '*', '`', ':', '_', '(']);
    let right = ["task ", "tasks ", "the completion of ", "completion of ", "completing ", "finishing "]
        .iter()
        .find_map(|words| prefix_len(right, words).map(|len| &right[len..]))
        .unwrap_or(right);
    ids::mentions(right.get(..right.floor_char_boundary(40)).unwrap_or(right), forms)
        .first()
        .is_some_and(|m| m.start == 0)
}

/// Returns the references after a phrase, and whether a pronoun stands for earlier ones.
fn objects(sentence: &str, verb: &Phrase, next: Option<usize>, forms: &Forms) -> (bool, Vec<Reference>) {
    let text = object(&sentence[verb.end..next.unwrap_or(sentence.len())]);
    let text = condition(sentence, verb, text);
    if text.starts_with([',', '.', ')']) {
        return (false, Vec::new());
    }
    let trimmed = text.trim_start();
    let pronoun = PRONOUNS.iter().any(|word| prefix_len(trimmed, word).is_some());
    let mut refs = located(text, forms);
    if let (Some(next), Some(last)) = (next, refs.last()) {
        // `T002 depends on T001, T003 depends on T002`: the last one belongs to the next phrase.
        let between = &sentence[verb.end + last.end..next];
        let clause = text[..last.start].trim_end_matches([' ', '*', '`']).ends_with([',', '，', '、']);
        if (refs.len() > 1 && (between.trim_matches([' ', '*', '`']).is_empty() || clause)) || (pronoun && clause) {
            refs.pop();
        }
    }
    // References in brackets behind a task are remarks: `T001 (parallel with T003)`.
    let depths = depths(text, &refs);
    let first = refs.iter().zip(&depths).position(|(l, depth)| *depth == 0 && matches!(l.what, Reference::Tasks(_)));
    let kept = refs.into_iter().zip(depths).enumerate().filter(|(at, (l, depth))| {
        let remark = *depth > 0 && first.is_some_and(|first| first < *at);
        !remark && !is_taken_back(&text[l.end..])
    });
    (pronoun, kept.map(|(_, (l, _))| l.what).collect())
}

/// Returns the condition at the start of a sentence that goes on behind a colon: `After the hull is dry: paint it (T004)`.
fn condition<'a>(sentence: &str, verb: &Phrase, text: &'a str) -> &'a str {
    let begins = sentence[..verb.start].trim_matches([' ', '*', '_', '-']).is_empty();
    let after = sentence[verb.start..verb.end].eq_ignore_ascii_case("after");
    let listed = |words: &str| ["following", "these", "tasks"].iter().any(|word| words.contains(word));
    match text.split_once(':') {
        Some((words, _)) if begins && after && !words.trim_matches([' ', '*', '_']).is_empty() && !listed(words) => {
            words
        }
        _ => text,
    }
}

fn negated(before: &str) -> bool {
    let before = before.trim_end();
    if before.ends_with(['不', '无', '無', '非']) {
        return true;
    }
    let tail = before.split_whitespace().rev().take(3);
    tail.map(str::to_lowercase).any(|word| {
        NEGATIONS.contains(&word.trim_matches(|c: char| !c.is_alphanumeric()))
            || word.ends_with("n't")
            || word.ends_with("n’t")
    })
}

/// Adds the statements of phrases behind a reference: `T001の後`, `T001 之后`, `T001 이후`.
fn behind(sentence: &str, context: Context, refs: &[Located], found: &mut Vec<Statement>) {
    if sentence.is_ascii() {
        return;
    }
    for (at, reference) in refs.iter().enumerate() {
        let after = sentence[reference.end..].trim_start_matches([' ', '*', '`', ')', '）']);
        let Some(waits) = relations::behind(after) else { continue };
        let mut from = at;
        while from > 0 && is_joint(&sentence[refs[from - 1].end..refs[from].start]) {
            from -= 1;
        }
        let objects: Vec<Reference> = refs[from..=at].iter().map(|l| l.what.clone()).collect();
        let subject = match (context, from) {
            (Context::Task, _) => vec![Reference::Itself],
            (Context::Section, 0) => refs[at + 1..].iter().take(1).map(|l| l.what.clone()).collect(),
            (Context::Section, from) => vec![refs[from - 1].what.clone()],
        };
        let (who, on) = if waits { (subject, objects) } else { (objects, subject) };
        found.push(Statement { who, on });
    }
}

/// Returns the text after a phrase, up to the end of the clause or the end of a bracket that was opened before the phrase.
fn object(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        let over = match c {
            ')' | '）' => depth == 0,
            ' ' | '-' | '—' | '→' | '←' => turns(text, at, &DASHES) || c == ' ' && relations::ends(&text[at..]),
            _ => false,
        };
        if over {
            return &text[..at];
        }
        match c {
            '(' | '（' => depth += 1,
            ')' | '）' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// Returns whether one of these marks is at this position and separates clauses: a dash between two identifiers is a range, which
/// `located` parses.
fn turns(text: &str, at: usize, marks: &[&str]) -> bool {
    let clause = |after: &str| !is_range(after, &text[..at]);
    marks.iter().any(|mark| text[at..].strip_prefix(mark).is_some_and(clause))
}

/// Returns whether one of these words is at this position, ignoring case.
fn stands(text: &str, at: usize, words: &[&str]) -> bool {
    words.iter().any(|word| prefix_len(&text[at..], word).is_some())
}

fn is_range(after: &str, before: &str) -> bool {
    let last = before.rsplit(|c: char| c.is_whitespace() || "(（[,、，/+*`".contains(c)).next().unwrap_or_default();
    let ends = before.ends_with(|c: char| c.is_ascii_digit()) || ids::id_len(last) == Some(last.len());
    ids::id_len(after).is_some() && ends
}

/// Returns the reference directly before a phrase.
fn adjacent(left: &str, forms: &Forms) -> Option<Reference> {
    let left = left.trim_end_matches([' ', '*', '`']);
    // A quick check: most words do not end a reference, so that the text before them need not be scanned.
    let last = left.ends_with(char::is_alphanumeric).then(|| located(left, forms).pop()).flatten()?;
    (last.end == left.len()).then_some(last.what)
}

/// Returns the task in a bracket before a verb, which names the subject: T037 in `its screen wiring (T037) needs`.
fn remarked(left: &str, verb: &str, forms: &Forms) -> Option<Reference> {
    const VERBS: [&str; 5] = ["needs", "requires", "depends", "waits", "uses"];
    VERBS.iter().find(|word| prefix_len(verb, word).is_some())?;
    let (_, inner) = left.trim_end().strip_suffix(')')?.rsplit_once('(')?;
    let mut refs = located(inner, forms);
    let whole = refs.first().is_some_and(|first| first.start == 0 && first.end == inner.len());
    (whole && refs.len() == 1).then(|| refs.pop()).flatten().map(|found| found.what)
}

/// Returns the task that begins the last clause before a phrase: T004 in `…, T004 sequential`.
fn clause_subject(left: &str, forms: &Forms) -> Option<Reference> {
    let clause = left.rsplit([',', '，']).next().filter(|clause| clause.len() < left.len())?;
    let first = located(clause, forms).into_iter().next()?;
    clause[..first.start].trim_matches([' ', '*', '`']).is_empty().then_some(first.what)
}

/// Returns the subject of the words before a phrase: the references in an open bracket or directly before the phrase; the last clause that
/// begins with references of its own; otherwise the first tasks, or the references in the label.
fn section_subject(left: &str, forms: &Forms) -> Vec<Reference> {
    let refs = if let Some(bracket) = left.rfind('(').filter(|at| !left[*at..].contains(')')) {
        let inside = located(&left[bracket..], forms);
        if inside.is_empty() { last_operand(&left[..bracket], forms) } else { inside }
    } else if let Some(clause) = last_clause(left, forms) {
        clause
    } else {
        let (label, rest) = left.split_once(": ").unwrap_or(("", left));
        let end = rest.match_indices(' ').map(|(at, _)| at).find(|at| stands(rest, *at, &BESIDE)).unwrap_or(rest.len());
        let (label, named) = (first_operand(label, forms), first_operand(&rest[..end], forms));
        let tasks = named.iter().any(|l| matches!(l.what, Reference::Tasks(_)));
        if label.is_empty() || tasks { named } else { label }
    };
    specific(refs.into_iter().map(|l| l.what).collect())
}

/// Returns the references that begin the last clause, if other references are in the clauses before: T003 in `T001 and T002 parallel,
/// T003 sequential`.
fn last_clause(left: &str, forms: &Forms) -> Option<Vec<Located>> {
    let last = last_operand(left, forms);
    let first = last.first()?;
    let clause = left[..first.start].trim_end_matches([' ', '*', '`']).strip_suffix([',', '，', ';'])?;
    let tasks = |refs: &[Located]| refs.iter().any(|l| matches!(l.what, Reference::Tasks(_)));
    (tasks(&last) && tasks(&located(clause, forms))).then_some(last)
}

/// Returns the first run of references in `text`; it begins at the first task, if the text names tasks.
fn first_operand(text: &str, forms: &Forms) -> Vec<Located> {
    let refs = located(text, forms);
    let from = refs.iter().position(|l| matches!(l.what, Reference::Tasks(_))).unwrap_or(0);
    let joined = |i: &usize| is_joint(without_remark(&text[refs[*i].end..refs[*i + 1].start]));
    let len = (from..refs.len().saturating_sub(1)).take_while(joined).count() + 1;
    refs.iter().skip(from).take(len).cloned().collect()
}

/// Returns the last run of references in `text` that are joined by nothing but commas and conjunctions.
fn last_operand(text: &str, forms: &Forms) -> Vec<Located> {
    let refs = located(text, forms);
    let mut from = refs.len();
    while from > 0 && (from == refs.len() || is_joint(&text[refs[from - 1].end..refs[from].start])) {
        from -= 1;
    }
    refs.into_iter().skip(from).collect()
}

fn is_joint(between: &str) -> bool {
    let words = between.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, ',' | '/' | '+' | '&' | '*' | '`' | '、' | '，' | '(' | ')' | '∥' | '‖')
    });
    JOINTS.contains(&words)
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
    let refs = outside_remarks(sentence, refs);
    // Each operand with the direction of the arrow before it.
    let mut operands: Vec<(Vec<Reference>, Option<bool>)> = Vec::new();
    let mut end = None;
    let first = refs.first().map_or(0, |first| first.start);
    for Located { what, start, end: next } in refs {
        let raw = end.replace(next).map(|end| &sentence[end..start]);
        let between = raw.map(without_remark);
        let arrow = raw.zip(between).and_then(|(raw, between)| arrow(raw, between));
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

/// Returns the direction of the arrow between two operands. A short name may stand before the arrow, and a number or a name with a bracket
/// behind it: `T001 layout → T002`, `W1 (T001) → W2 (T002)`.
fn arrow(raw: &str, between: &str) -> Option<bool> {
    const FORWARD: [&str; 10] = ["→", "-->", "->", "⇒", "=>", "─►", "➔", "──>", "─>", "⟶"];
    const BACKWARD: [&str; 4] = ["←", "<--", "<-", "⇐"];
    const LONGEST: usize = 60;
    if FORWARD.contains(&between) {
        return Some(true);
    }
    if BACKWARD.contains(&between) {
        return Some(false);
    }
    let named = between.len() <= LONGEST && !between.contains([',', ';', '、', '；']) && !between.contains(". ");
    let once = |arrows: &[&str]| {
        let arrow = arrows.iter().find(|arrow| between.contains(**arrow))?;
        let (name, rest) = between.split_once(*arrow)?;
        let rest = rest.trim_matches(|c: char| c == ' ' || c == '[' || c == '*' || c == '`');
        let opens = raw.trim_end().ends_with(['(', '[', '（']) || rest.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        ((rest.is_empty() || opens && !rest.contains(['→', '←', '>', '<'])) && !name.contains(['→', '←'])).then_some(())
    };
    if !named {
        None
    } else if once(&FORWARD).is_some() {
        Some(true)
    } else {
        once(&BACKWARD).map(|()| false)
    }
}

/// Returns the text between two references, without marks of emphasis and without one remark in brackets.
fn without_remark(between: &str) -> &str {
    const MARKS: [char; 6] = [' ', '*', '`', '\t', '(', ')'];
    let plain = between.trim_start_matches([' ', '*', '`']);
    let remark = [('(', ')'), ('（', '）'), ('[', ']')]
        .into_iter()
        .find_map(|(open, close)| plain.strip_prefix(open).and_then(|rest| rest.split_once(close)));
    match remark {
        Some((_, rest)) => rest.trim_matches(MARKS),
        None => between.trim_matches(MARKS),
    }
}
