//! Answers: writes people's answers into a specification, as Spec Kit's `clarify` does.

use std::collections::HashSet;

use enact_domain::analysis::{self, Category, Question, Report};
use enact_domain::digest::Digest;
use enact_domain::names::ANNOTATION_ANSWERS;
use enact_domain::speckit::edit::{self, Answer};
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::{self, Parsed};
use enact_domain::stamps::Stamps;
use kube::ResourceExt as _;

use super::findings::own;
use crate::Specification;
use crate::document::{Clarification, Finding, Severity};

/// An answer in `spec.clarifications`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenAnswer {
    /// Id of the question, or the question itself.
    pub question: String,
    pub answer: String,
    /// The day of the answer, `YYYY-MM-DD`.
    pub date: String,
}

/// Returns the answers of a Specification with their dates.
pub fn of(specification: &Specification) -> Vec<GivenAnswer> {
    let created = specification.creation_timestamp().map(|t| t.0.strftime("%Y-%m-%d").to_string()).unwrap_or_default();
    let stamps = Stamps::of(specification.annotations(), ANNOTATION_ANSWERS);
    given(&specification.spec.clarifications, &stamps, &created)
}

/// Returns the answers of an object with their dates. An answer without one was stored while the webhook was down: it gets the date when
/// the object was `created`.
fn given(clarifications: &[Clarification], stamps: &Stamps, created: &str) -> Vec<GivenAnswer> {
    let one = |c: &Clarification| GivenAnswer {
        question: c.question.clone(),
        answer: c.answer.clone(),
        date: stamps.get(&[c.question.as_str(), c.answer.as_str()]).map_or(created, |stamp| &stamp.date).to_owned(),
    };
    clarifications.iter().map(one).collect()
}

/// A document with answers written into it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnsweredText {
    pub bytes: Vec<u8>,
    /// Digests of the document before each answer, the source first.
    pub steps: Vec<Digest>,
    /// Answers that match no question.
    pub findings: Vec<Finding>,
}

/// Writes answers into a document, in their order. A document that is not UTF-8 stays as it is.
pub fn write(source: Vec<u8>, given: &[GivenAnswer]) -> AnsweredText {
    let mut answered = AnsweredText { steps: vec![Digest::of_bytes(&source)], ..AnsweredText::default() };
    let mut text = match String::from_utf8(source) {
        Ok(text) => text,
        Err(no_text) => return AnsweredText { bytes: no_text.into_bytes(), ..answered },
    };
    for (n, answer) in given.iter().enumerate() {
        match take(&text, answer) {
            Ok((changed, remark)) => {
                if changed != text {
                    text = changed;
                    answered.steps.push(Digest::of_bytes(text.as_bytes()));
                }
                answered.findings.extend(remark.map(|remark| finding(n, answer, Severity::Low, remark)));
            }
            Err(problem) => answered.findings.push(finding(n, answer, Severity::Medium, problem)),
        }
    }
    // The last step is the whole itself.
    if answered.steps.len() > 1 {
        answered.steps.pop();
    } else if answered.steps.first() == Some(&Digest::of_bytes(text.as_bytes())) {
        answered.steps.clear();
    }
    answered.bytes = text.into_bytes();
    answered
}

/// A problem and its remedy.
type Remark = (String, &'static str);

fn take(text: &str, given: &GivenAnswer) -> Result<(String, Option<Remark>), Remark> {
    // Parsed again for each answer, because the previous one may have changed the lines and the questions.
    let parsed = speckit::spec::parse(text.as_bytes());
    let known = known(&parsed);
    let (question, remark) = if is_id(&given.question) {
        let asked = open_questions(&parsed, &analysis::specification(&parsed));
        match asked.into_iter().find(|q| q.id == given.question) {
            Some(question) => (question.text, None),
            // The marker is gone when the answer is in the source itself.
            None if parsed.model.clarifications.iter().any(|c| key(&c.answer) == key(&given.answer)) => {
                return Ok((text.to_owned(), None));
            }
            None => {
                let problem = format!("the document has no question {}", given.question);
                return Err((problem, "take an id from status.questions, or write the text of the question"));
            }
        }
    } else if known.contains(&key(&given.question)) {
        (given.question.clone(), None)
    } else {
        let asked = open_questions(&parsed, &analysis::specification(&parsed));
        let found = asked.iter().any(|q| key(&q.text) == key(&given.question));
        let problem = || {
            format!(
                "the document has no question \"{}\"; the answer is written to its Clarifications section only",
                given.question
            )
        };
        let remedy = "change the document, or take a question from status.questions";
        (given.question.clone(), (!found).then(|| (problem(), remedy)))
    };
    let answer = Answer { question, answer: given.answer.clone(), date: given.date.clone() };
    match edit::answer(text, &answer) {
        Ok(changed) => Ok((changed, remark)),
        Err(error) => Err((error.to_string(), "change the answer, or write it into the document")),
    }
}

fn finding(n: usize, given: &GivenAnswer, severity: Severity, (problem, remedy): Remark) -> Finding {
    Finding {
        line: 1,
        location: format!("spec.clarifications[{n}]"),
        message: problem,
        remedy: remedy.to_owned(),
        ..own(Category::Inconsistency, "AnswerWithoutPlace", severity, &given.question)
    }
}

/// Returns the questions of a document. A question that was answered is not asked again, even if the vague words that caused it are still
/// there.
pub fn open_questions(parsed: &Parsed<Spec>, report: &Report) -> Vec<Question> {
    let answered = answered(parsed);
    let mut questions = analysis::questions(parsed, report);
    questions.retain(|q| q.origin == analysis::QuestionOrigin::Marker || !answered.contains(&key(&q.text)));
    questions
}

/// Returns the texts of the open markers and of the answered questions.
fn known(parsed: &Parsed<Spec>) -> HashSet<String> {
    let markers = parsed.model.open_questions.iter().map(|q| key(&q.text));
    markers.chain(answered(parsed)).collect()
}

fn answered(parsed: &Parsed<Spec>) -> HashSet<String> {
    parsed.model.clarifications.iter().filter(|c| !c.answer.is_empty()).map(|c| key(&c.question)).collect()
}

/// Returns whether the text has the form of a question's id.
fn is_id(question: &str) -> bool {
    let digits = question.strip_prefix("Q-").map(|rest| rest.split('-').next().unwrap_or_default());
    digits.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Normalizes a text for comparison: case, white space, and punctuation at its ends do not count.
fn key(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ").trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use enact_domain::stamps::Stamp;

    use super::*;

    const SPEC: &str = "# Feature Specification: Keys\n\n## Requirements\n\n### Functional Requirements\n\n\
        - **FR-001**: Keys MUST expire after [NEEDS CLARIFICATION: how long is a key valid?].\n\
        - **FR-002**: Lists MUST load fast.\n";

    fn said(question: &str, answer: &str) -> GivenAnswer {
        GivenAnswer { question: question.into(), answer: answer.into(), date: "2026-02-03".into() }
    }

    fn questions(text: &[u8]) -> Vec<Question> {
        let parsed = speckit::spec::parse(text);
        open_questions(&parsed, &analysis::specification(&parsed))
    }

    #[test]
    fn answer_replaces_its_marker_by_id_or_text() {
        let asked = questions(SPEC.as_bytes());
        assert_eq!(asked[0].text, "how long is a key valid?");
        let by_id = write(SPEC.into(), &[said(&asked[0].id, "30 days")]);
        let by_words = write(SPEC.into(), &[said("How long is a key  valid", "30 days")]);
        let text = String::from_utf8(by_id.bytes.clone()).unwrap();
        assert!(text.contains("Keys MUST expire after 30 days."), "{text}");
        assert!(text.contains("### Session 2026-02-03\n\n- Q: how long is a key valid? → A: 30 days"), "{text}");
        assert!(String::from_utf8(by_words.bytes).unwrap().contains("after 30 days."));
        assert_eq!((by_id.findings.len(), by_words.findings.len()), (0, 0));
        assert_eq!(by_id.steps, [Digest::of_bytes(SPEC.as_bytes())], "what it was before");
        let open: Vec<String> = questions(&by_id.bytes).into_iter().map(|q| q.id).collect();
        assert!(!open.contains(&asked[0].id), "{open:?}");
    }

    #[test]
    fn answered_vague_words_are_not_asked_again() {
        let vague = questions(SPEC.as_bytes()).into_iter().find(|q| q.location == "FR-002").unwrap();
        let written = write(SPEC.into(), &[said(&vague.id, "within 200 ms")]);
        assert_eq!(written.findings, []);
        assert!(questions(&written.bytes).iter().all(|q| q.location != "FR-002"));
    }

    #[test]
    fn answers_have_the_dates_of_the_annotation() {
        let mut stamps = Stamps::default();
        stamps.insert(&["Q-1", "yes"], Stamp { by: "bob".into(), date: "2026-02-03".into() });
        let answer = |question: &str| Clarification { question: question.into(), answer: "yes".into() };
        let given = given(&[answer("Q-1"), answer("Q-2")], &stamps, "2026-01-01");
        assert_eq!(given.iter().map(|g| g.date.as_str()).collect::<Vec<_>>(), ["2026-02-03", "2026-01-01"]);
    }

    #[test]
    fn answer_in_the_source_changes_nothing() {
        let id = questions(SPEC.as_bytes())[0].id.clone();
        let merged = write(SPEC.into(), &[said(&id, "30 days")]).bytes;
        let again = write(merged.clone(), &[said(&id, "30 days")]);
        assert_eq!((again.bytes, again.findings, again.steps), (merged, vec![], vec![]));
    }

    #[test]
    fn answer_without_a_question_is_a_finding() {
        let written = write(SPEC.into(), &[said("Q-00000000", "yes"), said("who pays?", "we"), said("who?", " ")]);
        let text = String::from_utf8(written.bytes.clone()).unwrap();
        assert!(text.contains("- Q: who pays? → A: we"), "{text}");
        let reported: Vec<(&str, Severity)> =
            written.findings.iter().map(|f| (f.location.as_str(), f.severity)).collect();
        let wanted = [
            ("spec.clarifications[0]", Severity::Medium),
            ("spec.clarifications[1]", Severity::Low),
            ("spec.clarifications[2]", Severity::Medium),
        ];
        assert_eq!(reported, wanted);
        assert!(written.findings.iter().all(|f| !f.message.is_empty() && !f.remedy.is_empty()));
    }

    #[test]
    fn bytes_that_are_not_utf8_stay_unchanged() {
        let written = write(b"\xff\xfe".to_vec(), &[said("who?", "we")]);
        assert_eq!((written.bytes.as_slice(), written.findings.len()), (&b"\xff\xfe"[..], 0));
    }
}
