//! Answers: what people say about a specification becomes part of it, as Spec Kit's `clarify` writes it.

use std::collections::HashSet;

use enact_crds::document::{Clarification, Finding, Severity};
use enact_domain::analysis::{self, Category, Question, Report};
use enact_domain::digest::Digest;
use enact_domain::speckit::edit::{self, Answer};
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::{self, Parsed};

use super::findings::own;

/// An answer as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Id of the question, or the question itself.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// The day of the answer, `YYYY-MM-DD`.
    pub date: String,
}

/// The answers of an object. One without a date came past the webhook: it counts as given when the object was `created`.
pub fn given(clarifications: &[Clarification], created: &str) -> Vec<Given> {
    let one = |c: &Clarification| Given {
        question: c.question.clone(),
        answer: c.answer.clone(),
        date: c.date.clone().unwrap_or_else(|| created.to_owned()),
    };
    clarifications.iter().map(one).collect()
}

/// A document with answers written into it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective {
    /// The whole.
    pub bytes: Vec<u8>,
    /// Digests of the document before each answer, the source's first.
    pub steps: Vec<Digest>,
    /// Answers that have no place in it.
    pub findings: Vec<Finding>,
}

/// Writes answers into a document, in their order. What is no text takes none.
pub fn write(source: Vec<u8>, given: &[Given]) -> Effective {
    let mut effective = Effective { steps: vec![Digest::of_bytes(&source)], ..Effective::default() };
    let mut text = match String::from_utf8(source) {
        Ok(text) => text,
        Err(no_text) => return Effective { bytes: no_text.into_bytes(), ..effective },
    };
    for (n, answer) in given.iter().enumerate() {
        match take(&text, answer) {
            Ok((changed, remark)) => {
                if changed != text {
                    text = changed;
                    effective.steps.push(Digest::of_bytes(text.as_bytes()));
                }
                effective.findings.extend(remark.map(|remark| finding(n, answer, Severity::Low, remark)));
            }
            Err(problem) => effective.findings.push(finding(n, answer, Severity::Medium, problem)),
        }
    }
    // The last step is the whole itself.
    if effective.steps.len() > 1 {
        effective.steps.pop();
    } else if effective.steps.first() == Some(&Digest::of_bytes(text.as_bytes())) {
        effective.steps.clear();
    }
    effective.bytes = text.into_bytes();
    effective
}

/// What is wrong, and what to do about it.
type Remark = (String, &'static str);

fn take(text: &str, given: &Given) -> Result<(String, Option<Remark>), Remark> {
    let parsed = speckit::spec::parse(text.as_bytes());
    let known = known(&parsed);
    let (question, remark) = if is_id(&given.question) {
        let asked = open(&parsed, &analysis::specification(&parsed));
        match asked.into_iter().find(|q| q.id == given.question) {
            Some(question) => (question.text, None),
            // The marker is gone when the answer is in the source itself.
            None if parsed.model.clarifications.iter().any(|c| key(&c.answer) == key(&given.answer)) => {
                return Ok((text.to_owned(), None));
            }
            None => {
                let problem = format!("the document asks no question {}", given.question);
                return Err((problem, "take an id from status.questions, or write the question itself word for word"));
            }
        }
    } else if known.contains(&key(&given.question)) {
        (given.question.clone(), None)
    } else {
        let asked = open(&parsed, &analysis::specification(&parsed));
        let found = asked.iter().any(|q| key(&q.text) == key(&given.question));
        let problem = || {
            format!(
                "no question of the document is \"{}\"; the answer stands under Clarifications alone",
                given.question
            )
        };
        let remedy = "change what it is about in the document, or name a question of status.questions";
        (given.question.clone(), (!found).then(|| (problem(), remedy)))
    };
    let answer = Answer { question, answer: given.answer.clone(), date: given.date.clone() };
    match edit::answer(text, &answer) {
        Ok(changed) => Ok((changed, remark)),
        Err(error) => Err((error.to_string(), "change the answer, or write it into the document yourself")),
    }
}

fn finding(n: usize, given: &Given, severity: Severity, (problem, remedy): Remark) -> Finding {
    Finding {
        line: 1,
        location: format!("spec.clarifications[{n}]"),
        message: problem,
        remedy: remedy.to_owned(),
        ..own(Category::Inconsistency, "AnswerWithoutPlace", severity, &given.question)
    }
}

/// What somebody should be asked: what was answered already is not asked again, though the words that gave rise to it may still stand.
pub fn open(parsed: &Parsed<Spec>, report: &Report) -> Vec<Question> {
    let answered = answered(parsed);
    let mut questions = analysis::questions(parsed, report);
    questions.retain(|q| q.origin == analysis::QuestionOrigin::Marker || !answered.contains(&key(&q.text)));
    questions
}

/// The questions whose words the document knows: its open markers, and what was answered.
fn known(parsed: &Parsed<Spec>) -> HashSet<String> {
    let markers = parsed.model.open_questions.iter().map(|q| key(&q.text));
    markers.chain(answered(parsed)).collect()
}

fn answered(parsed: &Parsed<Spec>) -> HashSet<String> {
    parsed.model.clarifications.iter().filter(|c| !c.answer.is_empty()).map(|c| key(&c.question)).collect()
}

/// Whether it is written as the id of a question.
fn is_id(question: &str) -> bool {
    let digits = question.strip_prefix("Q-").map(|rest| rest.split('-').next().unwrap_or_default());
    digits.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A text without what does not matter when two are compared: case, white space and punctuation at its ends.
fn key(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ").trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "# Feature Specification: Keys\n\n## Requirements\n\n### Functional Requirements\n\n\
        - **FR-001**: Keys MUST expire after [NEEDS CLARIFICATION: how long is a key valid?].\n\
        - **FR-002**: Lists MUST load fast.\n";

    fn said(question: &str, answer: &str) -> Given {
        Given { question: question.into(), answer: answer.into(), date: "2026-02-03".into() }
    }

    fn questions(text: &[u8]) -> Vec<Question> {
        let parsed = speckit::spec::parse(text);
        open(&parsed, &analysis::specification(&parsed))
    }

    #[test]
    fn an_answer_takes_the_place_of_its_marker_by_id_or_by_words() {
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
    fn words_that_may_mean_anything_are_asked_about_once() {
        let vague = questions(SPEC.as_bytes()).into_iter().find(|q| q.location == "FR-002").unwrap();
        let effective = write(SPEC.into(), &[said(&vague.id, "within 200 ms")]);
        assert_eq!(effective.findings, []);
        assert!(questions(&effective.bytes).iter().all(|q| q.location != "FR-002"));
    }

    #[test]
    fn an_answer_that_is_in_the_source_already_says_nothing_new() {
        let id = questions(SPEC.as_bytes())[0].id.clone();
        let merged = write(SPEC.into(), &[said(&id, "30 days")]).bytes;
        let again = write(merged.clone(), &[said(&id, "30 days")]);
        assert_eq!((again.bytes, again.findings, again.steps), (merged, vec![], vec![]));
    }

    #[test]
    fn an_answer_without_a_question_is_a_finding_and_not_lost() {
        let effective = write(SPEC.into(), &[said("Q-00000000", "yes"), said("who pays?", "we"), said("who?", " ")]);
        let text = String::from_utf8(effective.bytes.clone()).unwrap();
        assert!(text.contains("- Q: who pays? → A: we"), "{text}");
        let told: Vec<(&str, Severity)> =
            effective.findings.iter().map(|f| (f.location.as_str(), f.severity)).collect();
        let wanted = [
            ("spec.clarifications[0]", Severity::Medium),
            ("spec.clarifications[1]", Severity::Low),
            ("spec.clarifications[2]", Severity::Medium),
        ];
        assert_eq!(told, wanted);
        assert!(effective.findings.iter().all(|f| !f.message.is_empty() && !f.remedy.is_empty()));
    }

    #[test]
    fn what_is_no_text_stays_as_it_is() {
        let effective = write(b"\xff\xfe".to_vec(), &[said("who?", "we")]);
        assert_eq!((effective.bytes.as_slice(), effective.findings.len()), (&b"\xff\xfe"[..], 0));
    }
}
