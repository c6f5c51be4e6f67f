//! Writes the answer to an open question into a document, in the form of Spec Kit's `/clarify`.

use super::change::{Change, EditError, apply};
use super::text::{inline, key, one_line, question};
use crate::speckit::constitution::is_date;
use crate::speckit::markdown::{self, LineKind, Markdown, Section, Span, strip_marker};
use crate::speckit::spec::questions::{self, MAX_QUESTION_BYTES, date_in, split_answer};
use crate::speckit::spec::{self, Clarification, Requirement, Spec};

/// Maximum length of a question and of an answer, in bytes.
pub const MAX_ANSWER_BYTES: usize = MAX_QUESTION_BYTES;

/// An answer to a question of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The question as the document's marker or a finding asks it. Case, white space and punctuation at its ends do not matter.
    pub question: String,
    /// Answer of the person. It becomes one line.
    pub answer: String,
    /// The day of the answer, `YYYY-MM-DD`.
    pub date: String,
}

/// Writes an answer into a document: it replaces every `[NEEDS CLARIFICATION: …]` marker with its question, and adds the line
/// `- Q: … → A: …` under `### Session <date>` in `## Clarifications`. Missing sections and sessions are created.
///
/// For a question without a marker, only the line is added. A repeated answer changes nothing. If a question has two answers, the one
/// with the later session date is used, and on the same day the given one; the line of the other is removed. A sentence that already
/// contains an older answer is not changed, because only a person can find it.
///
/// # Errors
///
/// If question, answer or date is invalid, if the document cannot be read, or if the edited document would differ from the original in
/// more than this answer.
pub fn answer(source: &str, answer: &Answer) -> Result<String, EditError> {
    let given = Given::new(answer)?;
    let (markdown, _) = markdown::read(source.as_bytes()).map_err(EditError::Unreadable)?;
    let before = questions::answered(&markdown);
    let same = before.iter().filter(|c| key(&c.question) == given.key && !c.answer.is_empty());
    let earlier = same.max_by_key(|c| c.session.as_deref());
    let (changes, counting) = match earlier {
        Some(old) if old.session.as_deref() > Some(&given.date) => (Vec::new(), one_line(&old.answer)),
        Some(old) if split_answer(&given.line()).1 == old.answer => (Vec::new(), given.answer.clone()),
        Some(old) => (replace(&markdown, old, &given), given.answer.clone()),
        None => match before.iter().find(|c| key(&c.question) == given.key) {
            Some(unanswered) => (replace(&markdown, unanswered, &given), given.answer.clone()),
            None => (vec![add(&markdown, &given)], given.answer.clone()),
        },
    };
    let line = changes.first().map_or(1, |change| markdown.line_number(change.span.start));
    // The markers get the answer that is used, which can be the recorded one if its session is later.
    let markers = markers(&markdown, &given.key, &counting, &changes);
    let edited = apply(source, changes.into_iter().chain(markers).collect())?;
    // The text around the answer can change the meaning of Markdown, so the edited document is parsed and compared.
    if edited != source {
        check(source, &edited, (&given.key, &counting), line)?;
    }
    Ok(edited)
}

/// A validated and normalised answer.
struct Given {
    key: String,
    question: String,
    answer: String,
    date: String,
}

impl Given {
    fn new(given: &Answer) -> Result<Self, EditError> {
        let (question, answer, key) = (question(&given.question), one_line(&given.answer), key(&given.question));
        for (what, text) in [("question", &question), ("answer", &answer)] {
            if text.len() > MAX_ANSWER_BYTES {
                return Err(EditError::TooLong { what, bytes: text.len() });
            }
        }
        if key.is_empty() {
            return Err(EditError::EmptyQuestion);
        }
        if split_answer(&format!("Q → A: {answer}")).1.is_empty() {
            return Err(EditError::EmptyAnswer(question));
        }
        if !is_date(&given.date) {
            return Err(EditError::InvalidDate(one_line(&given.date).chars().take(40).collect()));
        }
        Ok(Self { key, question, answer, date: given.date.clone() })
    }

    /// Returns the line without the list marker.
    fn line(&self) -> String {
        format!("Q: {} → A: {}", self.question, self.answer)
    }
}

/// Replaces every marker of the question by the answer, except in spans that are replaced anyway.
fn markers(markdown: &Markdown, asked: &str, answer: &str, changes: &[Change]) -> Vec<Change> {
    let taken = |span: Span| changes.iter().any(|c| c.span.start < span.end && span.start < c.span.end);
    let open = questions::open(markdown).into_iter().filter(|q| key(&q.text) == asked && !taken(q.span));
    open.map(|question| {
        let line = markdown.lines[markdown.line_index(question.span.start)];
        let prefix = markdown.clean(Span { start: line.span.start, end: question.span.start });
        let mut text = inline(answer, begins(prefix), line.kind == LineKind::Table);
        // Directly beside a word or an identifier, the answer would become a part of it.
        let word = |c: char| c.is_alphanumeric() && u32::from(c) < 0x2E80;
        if prefix.ends_with(word) {
            text.insert(0, ' ');
        }
        if markdown.source[question.span.end..].starts_with(word) {
            text.push(' ');
        }
        Change { span: question.span, text }
    })
    .collect()
}

/// Returns whether the prefix of a line contains only markers.
fn begins(prefix: &str) -> bool {
    let mut rest = prefix;
    loop {
        let next = strip_marker(rest).trim_start_matches('>');
        if next.len() == rest.len() {
            break;
        }
        rest = next;
    }
    let rest = ["[x]", "[X]"].iter().find_map(|ticked| rest.strip_prefix(ticked)).unwrap_or(rest);
    !rest.contains(char::is_alphanumeric)
}

/// Replaces an older answer: in its line on the same day, otherwise by a line under its own day.
fn replace(markdown: &Markdown, old: &Clarification, given: &Given) -> Vec<Change> {
    let index = markdown.line_index(old.span.start);
    let alone = markdown.lines[index].span.start == old.span.start
        || markdown.clean(Span { start: markdown.lines[index].span.start, end: old.span.start }).trim().is_empty();
    // Only a line that contains nothing else can be removed.
    if old.session.as_deref() == Some(&given.date) || !alone || index == 0 {
        let text = old.span.text(&markdown.source);
        let mark = &text[..text.len() - strip_marker(text).len()];
        return vec![Change { span: old.span, text: format!("{mark}{}", given.line()) }];
    }
    let item = markdown.items.iter().find(|i| i.span.start == old.span.start);
    let span = item.map_or(old.span, |i| i.span);
    let span = Span { start: markdown.lines[index - 1].span.end, end: line_end(markdown, span) };
    vec![Change { span, text: String::new() }, add(markdown, given)]
}

/// Returns the end of the line on which the text under a span ends.
fn line_end(markdown: &Markdown, span: Span) -> usize {
    let end = span.start + span.text(&markdown.source).trim_end().len();
    markdown.lines[markdown.line_index(end.saturating_sub(1).max(span.start))].span.end
}

/// Returns a new line for the answer, with the section and the session if they are missing.
fn add(markdown: &Markdown, given: &Given) -> Change {
    let eol = if markdown.source.split('\n').next().is_some_and(|line| line.ends_with('\r')) { "\r\n" } else { "\n" };
    let at = |offset: usize, text: String| Change { span: Span { start: offset, end: offset }, text };
    let behind = |offset: usize, text: String| {
        let next = markdown.text(markdown.line_index(offset) + 1).trim_start();
        // Text directly below an item would become part of it.
        let apart = if next.is_empty() || next.starts_with('#') { "" } else { eol };
        at(offset, format!("{text}{apart}"))
    };
    let line = format!("- {}", given.line());
    let Some(section) = questions::clarifications(markdown).next() else {
        let (level, offset, before, after) = new_section(markdown, eol);
        let (outer, inner) = ("#".repeat(level), "#".repeat(level + 1));
        let text =
            format!("{before}{outer} Clarifications{eol}{eol}{inner} Session {}{eol}{eol}{line}{after}", given.date);
        return at(offset, text);
    };
    let mut sessions = questions::parts(markdown, section).skip(1);
    if let Some(session) = sessions.find(|s| date_in(&s.title).as_deref() == Some(&given.date)) {
        let items = markdown.items_in(session.heading + 1..session.own_end);
        return match items.iter().rfind(|i| i.depth == 0) {
            Some(last) => behind(line_end(markdown, last.span), format!("{eol}{line}")),
            None => behind(content_end(markdown, session.heading, session.own_end), format!("{eol}{eol}{line}")),
        };
    }
    let level = questions::parts(markdown, section).nth(1).map_or(section.level + 1, |part| part.level);
    let heading = format!("{} Session {}", "#".repeat(level.into()), given.date);
    behind(content_end(markdown, section.heading, section.end), format!("{eol}{eol}{heading}{eol}{eol}{line}"))
}

/// Returns the end of the last line that is not blank, from a heading on.
fn content_end(markdown: &Markdown, heading: usize, end: usize) -> usize {
    markdown.span_of(heading..end).end
}

/// Returns the position of a new section, as level, offset, and the text before and after it: after an overview and before the stories.
fn new_section(markdown: &Markdown, eol: &str) -> (usize, usize, String, String) {
    const STORIES: [&str; 6] = ["user scenario", "user stor", "用户场景", "用户故事", "cenários de usu", "ユーザー"];
    const OVERVIEWS: [&str; 7] =
        ["overview", "summary", "context", "background", "introduction", "概述", "visão geral"];
    let below_title = || markdown.sections.iter().filter(|s| s.level > 1 && s.level < 6);
    let named = |words: &[&str], section: &Section| {
        let title = section.title.to_lowercase();
        words.iter().any(|word| title.starts_with(word))
    };
    let first = below_title().next();
    let next = below_title().find(|s| named(&STORIES, s)).or_else(|| {
        let overview = first.filter(|s| named(&OVERVIEWS, s));
        overview.map_or(first, |overview| below_title().find(|s| s.heading >= overview.end))
    });
    if let Some(next) = next {
        let start = markdown.lines[next.heading].span.start;
        let mark = if next.heading == 0 && markdown.source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let tight = next.heading > 0 && !markdown.text(next.heading - 1).trim().is_empty();
        let before = if tight { eol.to_owned() } else { String::new() };
        return (next.level.into(), start + mark, before, eol.repeat(2));
    }
    let source = &markdown.source;
    let missing = if source.ends_with("\n\n") || source.ends_with("\n\r\n") {
        0
    } else {
        2 - usize::from(source.ends_with('\n'))
    };
    (2, source.len(), eol.repeat(missing), eol.to_owned())
}

/// Checks that the edited document differs from the original only in the answer.
fn check(source: &str, edited: &str, (asked, answer): (&str, &str), line: u32) -> Result<(), EditError> {
    let (before, after) = (spec::parse(source.as_bytes()).model, spec::parse(edited.as_bytes()).model);
    let open = |spec: &Spec| {
        let keys = spec.open_questions.iter().map(|q| key(&q.text)).filter(|other| other != asked);
        keys.collect::<Vec<_>>()
    };
    let shape = |spec: &Spec| {
        let lists = [spec.edge_cases.len(), spec.entities.len(), spec.assumptions.len()];
        let id = |r: &Requirement| r.is_numbered().then(|| r.id.clone());
        let requirements: Vec<_> = spec.requirements.iter().map(id).collect();
        let criteria: Vec<_> = spec.success_criteria.iter().map(id).collect();
        let stories: Vec<_> = spec.stories.iter().map(|s| s.key.clone()).collect();
        (stories, requirements, criteria, lists, open(spec))
    };
    let added = after.clarifications.len().saturating_sub(before.clarifications.len());
    let answer = split_answer(&format!("Q → A: {answer}")).1;
    let said = after.clarifications.iter().any(|c| key(&c.question) == asked && one_line(&c.answer) == answer);
    let open = after.open_questions.iter().any(|q| key(&q.text) == asked);
    if !said || open || added > 1 || shape(&before) != shape(&after) {
        let remedy = "close the open code fence or comment above it, or write the answer by hand";
        return Err(EditError::Misplaced { line, remedy });
    }
    Ok(())
}
