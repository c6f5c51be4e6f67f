//! Questions for a person: open markers and ambiguous words.

use std::collections::HashMap;

use serde::Serialize;

use super::ambiguity::BARE_MARKER;
use super::finding::{Category, Finding, Severity, hash};
use super::kinds::{OPEN_MARKER, PLACEHOLDER, VAGUE_QUALITY, VAGUE_SECURITY};
use super::report::Report;
use super::statements::Statements;
use super::text::{is_one_of, words};
use super::vague::FAMILIES;
use crate::speckit::Parsed;
use crate::speckit::spec::Spec;

/// Maximum number of questions at once. All open markers are asked about, even if there are more.
pub const MAX_QUESTIONS: usize = 5;

/// Maximum length of an answer that is offered, in bytes.
const MAX_OPTION_BYTES: usize = 80;

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Question {
    /// Stable identifier, `Q-5d0c7a11`: it is derived from the words. The second of equal ones is `…-2`.
    pub id: String,
    pub text: String,
    /// Two to five short answers, or none when the text does not suggest any.
    pub options: Vec<String>,
    /// Line in the document, counted from 1.
    pub line: u32,
    /// Location for a person: `FR-003`, `US1/AC2`.
    pub location: String,
    pub origin: QuestionOrigin,
}

/// Origin of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum QuestionOrigin {
    /// A `[NEEDS CLARIFICATION: …]` marker in the document.
    Marker,
    /// The finding with this id.
    Finding(String),
}

/// Topic of a question, the most important first, in Spec Kit's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Scope,
    Security,
    Experience,
    Technical,
}

/// Returns all open markers, then ambiguous words up to [`MAX_QUESTIONS`] in all, each by topic, severity and line.
pub fn questions(parsed: &Parsed<Spec>, report: &Report) -> Vec<Question> {
    let spec = &parsed.model;
    let statements = Statements::new(spec);
    let mut found: Vec<(Topic, Question)> = spec
        .open_questions
        .iter()
        .map(|marker| {
            let location = statements.location(marker.span.start);
            let id = format!("Q-{}", hash(&["Marker", &location, &marker.text]));
            let (text, options) = (marker.text.clone(), options(&marker.text));
            (
                topic(&marker.text),
                Question { id, text, options, line: marker.line, location, origin: QuestionOrigin::Marker },
            )
        })
        .collect();
    found.sort_by_key(|(topic, question)| (*topic, question.line));
    let mut asked: Vec<(Topic, Severity, Question)> = report
        .findings
        .iter()
        .chain(&report.hints)
        .filter_map(|f| from_finding(f).map(|(topic, question)| (topic, f.severity, question)))
        .collect();
    asked.sort_by_key(|(topic, severity, question)| (*topic, *severity, question.line));
    let room = MAX_QUESTIONS.saturating_sub(found.len());
    found.extend(asked.into_iter().take(room).map(|(topic, _, question)| (topic, question)));

    let mut seen: HashMap<String, u32> = HashMap::new();
    found
        .into_iter()
        .map(|(_, mut question)| {
            let count = seen.entry(question.id.clone()).or_default();
            *count += 1;
            if *count > 1 {
                question.id = format!("{}-{count}", question.id);
            }
            question
        })
        .collect()
}

/// Returns the question that a finding raises: only for vague words, open lists and placeholders.
fn from_finding(finding: &Finding) -> Option<(Topic, Question)> {
    if finding.category != Category::Ambiguity || finding.severity > Severity::Medium {
        return None;
    }
    let family = FAMILIES.iter().find(|f| f.rule.code == finding.code);
    let (asked, options) = match family {
        Some(family) => (family.question, family.options),
        None if finding.code == PLACEHOLDER.code || is_bare(finding) => ("what is the decision?", &[][..]),
        None => return None,
    };
    let topic = match finding.code {
        code if code == VAGUE_SECURITY.code => Topic::Security,
        code if code == VAGUE_QUALITY.code => Topic::Experience,
        code if family.is_some_and(|f| f.options.len() > 3) || code == PLACEHOLDER.code => Topic::Technical,
        _ => Topic::Scope,
    };
    let quoted = finding.excerpt.split(", ").map(|phrase| format!("\"{phrase}\"")).collect::<Vec<_>>().join(", ");
    let question = Question {
        id: format!("Q-{}", hash(&["Finding", &finding.id])),
        text: format!("{} says {quoted}: {asked}", finding.location),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
        line: finding.line,
        location: finding.location.clone(),
        origin: QuestionOrigin::Finding(finding.id.clone()),
    };
    Some((topic, question))
}

/// Returns whether a finding is about a marker without a question; the others are asked with their own words.
fn is_bare(finding: &Finding) -> bool {
    finding.code == OPEN_MARKER.code && finding.excerpt == BARE_MARKER
}

fn topic(text: &str) -> Topic {
    const SECURITY: &str = "auth authentication authorization authorisation password passwords login encryption encrypted security \
        secure privacy private gdpr pii personal retention retained permission permissions role roles access token tokens secret \
        secrets credential credentials audit consent anonymous sso oauth mfa compliance";
    const EXPERIENCE: &str = "ui ux screen page layout color colour message wording label display shown show notification notify icon \
        accessibility keyboard theme visual feedback tooltip dialog button";
    const TECHNICAL: &str = "database api format protocol library timeout retry retries cache latency performance version storage schema \
        endpoint framework algorithm encoding queue index limit rate throughput concurrency memory";
    let words = words(text);
    let about = |list: &str| words.iter().any(|w| is_one_of(list, &w.lower));
    match () {
        () if about(SECURITY) => Topic::Security,
        () if about(EXPERIENCE) => Topic::Experience,
        () if about(TECHNICAL) => Topic::Technical,
        () => Topic::Scope,
    }
}

/// Returns the answers that a question offers: a list after a colon or dash, `A or B?`, or yes and no.
fn options(text: &str) -> Vec<String> {
    // Only the last sentence is the question.
    let asked = text.trim().trim_end_matches(['?', '.', ' ']);
    let asked = asked.rsplit(['?', '.']).next().filter(|last| last.len() > 8).unwrap_or(asked).trim();
    let candidates = [labelled(asked), listed(asked), alternative(asked), yes_or_no(asked)];
    candidates.into_iter().flatten().find(|options| fits(options)).unwrap_or_default()
}

fn fits(options: &[String]) -> bool {
    let short = options.iter().all(|o| !o.is_empty() && o.len() <= MAX_OPTION_BYTES);
    let different = options.iter().enumerate().all(|(at, o)| !options[..at].iter().any(|p| p.eq_ignore_ascii_case(o)));
    (2..=5).contains(&options.len()) && short && different
}

fn tidy(option: &str) -> String {
    const MARKS: [char; 5] = [',', ';', '?', '.', ' '];
    let option = option.trim().trim_end_matches(MARKS);
    let option =
        [" or", " and"].iter().fold(option, |o, word| o.strip_suffix(word).unwrap_or(o)).trim_end_matches(MARKS);
    let openings = ["or ", "and ", "either ", "e.g. ", "e.g., "];
    openings.iter().fold(option, |o, word| o.strip_prefix(word).unwrap_or(o)).trim().to_owned()
}

/// Returns the labelled options: `(a) keep them (b) delete them`, `A) … B) …`, `1) … 2) …`.
fn labelled(text: &str) -> Option<Vec<String>> {
    for labels in [["a)", "b)", "c)", "d)", "e)"], ["A)", "B)", "C)", "D)", "E)"], ["1)", "2)", "3)", "4)", "5)"]] {
        let mut rest = text;
        let mut parts = Vec::new();
        for label in labels {
            // A label is at the beginning of a word.
            let Some(at) =
                rest.match_indices(label).map(|(at, _)| at).find(|at| !rest[..*at].ends_with(char::is_alphanumeric))
            else {
                break;
            };
            parts.push(tidy(rest[..at].trim_end_matches('(')));
            rest = &rest[at + label.len()..];
        }
        if parts.len() >= 2 {
            parts.push(tidy(rest));
            return Some(parts.split_off(1));
        }
    }
    None
}

/// Returns the options of a list: `… - email, SSO, or OAuth` and `…: email or SSO`.
fn listed(text: &str) -> Option<Vec<String>> {
    let list = [": ", " - ", " – ", " — ", "—"]
        .iter()
        .filter_map(|mark| text.rsplit_once(mark))
        .map(|(_, list)| list)
        .min_by_key(|l| l.len())?;
    let parts: Vec<String> =
        list.split(',').flat_map(|part| part.split(" or ")).map(tidy).filter(|p| !p.is_empty()).collect();
    // Long parts are clauses of a sentence, not alternatives.
    parts.iter().all(|p| p.split(' ').count() <= 7).then_some(parts)
}

/// Returns the two options of `Should X be kept or deleted`: the words between the verb and `or`, and the words after `or`.
fn alternative(text: &str) -> Option<Vec<String>> {
    const VERBS: [&str; 11] =
        [" be ", " use ", " as ", " by ", " via ", " with ", " support ", " in ", " to ", " is ", " are "];
    let (left, right) = text.split_once(" or ")?;
    if right.contains(" or ") {
        return None;
    }
    // `kept for 30 days or for one year`: the alternative starts with the common word, or else after the verb.
    let opening = format!(" {} ", right.split(' ').next().unwrap_or_default());
    let behind_verb = || VERBS.iter().find_map(|verb| left.split_once(verb)).map(|(_, rest)| rest);
    let left = left.rfind(&opening).map(|at| &left[at..]).or_else(behind_verb)?;
    let parts: Vec<String> = left.split(',').chain([right]).map(tidy).filter(|p| !p.is_empty()).collect();
    parts.iter().all(|p| p.split(' ').count() <= 7).then_some(parts)
}

fn yes_or_no(text: &str) -> Option<Vec<String>> {
    let first = text.split(' ').next().unwrap_or_default().to_lowercase();
    let asks = is_one_of("should is are does do can must will may shall has have", &first);
    (asks && !text.contains(" or ")).then(|| vec!["Yes".to_owned(), "No".to_owned()])
}

#[cfg(test)]
mod tests {
    use super::options;

    #[test]
    fn answers_come_from_the_question() {
        assert_eq!(
            options("auth method not specified - email/password, SSO, OAuth?"),
            ["email/password", "SSO", "OAuth"]
        );
        assert_eq!(options("Which one: local time or UTC?"), ["local time", "UTC"]);
        assert_eq!(options("Are events kept for 30 days or for one year?"), ["for 30 days", "for one year"]);
        assert_eq!(options("Should deleted doors be kept or removed at once?"), ["kept", "removed at once"]);
        assert_eq!(
            options("What happens? (a) keep them (b) delete them, or (c) ask"),
            ["keep them", "delete them", "ask"]
        );
        assert_eq!(options("Should guests see prices?"), ["Yes", "No"]);
    }

    #[test]
    fn an_open_question_has_no_answers_to_choose_from() {
        assert!(options("How long is a key valid?").is_empty());
        assert!(options("").is_empty());
        assert!(options("保存多久？").is_empty());
    }
}
