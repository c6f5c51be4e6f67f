//! `clarify`: lists and answers the open questions of a Specification.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, bail};
use enact_crds::Specification;
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::document::{Clarification, Question};
use enact_domain::speckit::edit::{self, Answer};
use jiff::Zoned;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::args::Clarify;
use crate::cluster::{Cluster, api_error};
use crate::document::{Document, Storage};
use crate::edit::print_patch;
use crate::terminal::{self, note};
use crate::text::one_line;

/// Most attempts to add answers while others change the object.
const TRIES: u32 = 8;

/// Lists the questions or asks them, and writes the answers to the object or into a patch.
pub async fn run(cluster: &Cluster, options: &Clarify) -> Result<()> {
    let specification: Specification = cluster.get(&options.specification).await?;
    let questions = specification.status.as_ref().map(|status| status.questions.clone()).unwrap_or_default();
    let given = match options.answers.as_slice() {
        [] if questions.is_empty() => Vec::new(),
        [] if io::stdin().is_terminal() => ask(&questions)?,
        [] => {
            list(&questions)?;
            Vec::new()
        }
        answers => check(&questions, &specification.spec.clarifications, answers)?,
    };
    if questions.is_empty() && given.is_empty() {
        note(&format!("Specification {} has no open questions", options.specification));
    }
    if options.patch {
        return patch(cluster, options, &questions, &given).await;
    }
    if given.is_empty() {
        return Ok(());
    }
    write(cluster, &options.specification, &given).await?;
    let count = if given.len() == 1 { "1 answer".to_owned() } else { format!("{} answers", given.len()) };
    terminal::print_line(&format!(
        "Specification {}: {count} given; the operator will add them to the document",
        options.specification
    ))
}

/// An answer from this command, to the question with an ID.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    question: String,
    answer: String,
}

fn list(questions: &[Question]) -> Result<()> {
    for question in questions {
        for line in card(question) {
            terminal::print_line(&line)?;
        }
    }
    Ok(())
}

/// Returns the lines that show a question and its options.
fn card(question: &Question) -> Vec<String> {
    let Question { id, text, options, line, location } = question;
    let place = if location.is_empty() { format!("line {line}") } else { format!("{location}, line {line}") };
    let mut lines = vec![format!("{} ({}): {}", one_line(id), one_line(&place), one_line(text))];
    lines.extend(options.iter().enumerate().map(|(at, option)| format!("  {}. {}", at + 1, one_line(option))));
    lines
}

/// Asks the questions one by one on the terminal.
fn ask(questions: &[Question]) -> Result<Vec<Given>> {
    let mut given = Vec::new();
    for (at, question) in questions.iter().enumerate() {
        note(&format!("question {} of {}", at + 1, questions.len()));
        for line in card(question) {
            note(&line);
        }
        let prompt = if question.options.is_empty() { "your answer" } else { "number or answer" };
        let mut errors = io::stderr();
        write!(errors, "{prompt} (empty to skip): ")?;
        errors.flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            break;
        }
        given.extend(chosen(question, &line).map(|answer| Given { question: question.id.clone(), answer }));
    }
    Ok(given)
}

/// Returns the answer that a line of input means: an option by its number, or the text itself; none for an empty line.
fn chosen(question: &Question, line: &str) -> Option<String> {
    let line = one_line(line);
    let option = line.parse::<usize>().ok().and_then(|number| question.options.get(number.checked_sub(1)?));
    option.map(|option| one_line(option)).or(Some(line)).filter(|answer| !answer.is_empty())
}

/// Checks the answers of the command line. Their questions must be open or already have an answer in the object.
fn check(questions: &[Question], before: &[Clarification], answers: &[(String, String)]) -> Result<Vec<Given>> {
    let is_known =
        |id: &String| questions.iter().any(|q| &q.id == id) || before.iter().any(|given| &given.question == id);
    if let Some((unknown, _)) = answers.iter().find(|(id, _)| !is_known(id)) {
        let open: Vec<&str> = questions.iter().map(|question| question.id.as_str()).collect();
        match open.as_slice() {
            [] => bail!("there is no question {unknown}, and no question is open"),
            open => bail!("there is no question {unknown}; the questions that are open are {}", open.join(", ")),
        }
    }
    Ok(answers.iter().map(|(id, answer)| Given { question: id.clone(), answer: one_line(answer) }).collect())
}

/// Adds the answers to the object. A new answer replaces an earlier one to the same question.
async fn write(cluster: &Cluster, name: &str, given: &[Given]) -> Result<()> {
    let api = cluster.api::<Specification>();
    for _ in 0..TRIES {
        let specification: Specification = cluster.get(name).await?;
        let all = added(specification.spec.clarifications, given);
        let change = json!({
            // A merge patch replaces the whole list, so the resourceVersion must detect answers that others add meanwhile.
            "metadata": { "resourceVersion": specification.metadata.resource_version }, "spec": { "clarifications": all },
        });
        match api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => {
                return Err(api_error(error))
                    .with_context(|| format!("the answers to Specification {name} were not saved"));
            }
        }
    }
    bail!("Specification {name} was changed {TRIES} times in the meantime; try again")
}

fn added(mut all: Vec<Clarification>, given: &[Given]) -> Vec<Clarification> {
    for Given { question, answer } in given {
        // The webhook records who gave the answer. An unchanged answer keeps its author.
        let new = Clarification { question: question.clone(), answer: answer.clone() };
        match all.iter_mut().find(|known| &known.question == question) {
            Some(known) if &known.answer == answer => {}
            Some(known) => *known = new,
            None => all.push(new),
        }
    }
    all
}

/// Prints a patch for the file in Git with the answers of this command, or with those of the object if this command has none.
async fn patch(cluster: &Cluster, options: &Clarify, questions: &[Question], given: &[Given]) -> Result<()> {
    let subject = Subject { kind: SubjectKind::Specification, name: options.specification.clone() };
    let document = Document::load(cluster, &subject).await?;
    let Storage::Git(git) = document.storage()? else {
        bail!(
            "{} is not stored in Git; omit --patch, and the operator will add the answers to the document",
            document.title()
        );
    };
    let before = document.in_git(cluster).await?;
    let mut after = document.current(cluster).await?.text;
    let date = Zoned::now().date().to_string();
    for Given { question, answer } in given {
        let open = questions.iter().find(|open| &open.id == question);
        let open =
            open.with_context(|| format!("question {question} already has an answer; --patch needs an open question"))?;
        let answer = Answer { question: open.text.clone(), answer: answer.clone(), date: date.clone() };
        after = edit::answer(&after, &answer)?;
    }
    print_patch(git, &before, &after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            id: "Q-1".into(),
            text: "How\u{1b}[2J long?".into(),
            options: vec!["30 days".into(), "a year".into()],
            line: 7,
            location: "FR-003".into(),
        }
    }

    #[test]
    fn card_shows_question_and_options() {
        assert_eq!(card(&question()), ["Q-1 (FR-003, line 7): How [2J long?", "  1. 30 days", "  2. a year"]);
    }

    #[test]
    fn answer_is_an_option_number_or_text() {
        let chosen = |line: &str| chosen(&question(), line);
        assert_eq!(chosen("2\n").as_deref(), Some("a year"));
        assert_eq!(chosen(" as long\tas needed \n").as_deref(), Some("as long as needed"));
        assert_eq!(chosen("3").as_deref(), Some("3"), "there is no third option");
        assert_eq!((chosen("0").as_deref(), chosen(" \n")), (Some("0"), None));
    }

    #[test]
    fn new_answer_replaces_the_old_one() {
        let stored = Clarification { question: "Q-1".into(), answer: "30 days".into() };
        let give = |question: &str, answer: &str| {
            added(vec![stored.clone()], &[Given { question: question.into(), answer: answer.into() }])
        };
        assert_eq!(give("Q-1", "30 days"), std::slice::from_ref(&stored));
        assert_eq!(give("Q-1", "a year"), [Clarification { answer: "a year".into(), ..stored.clone() }]);
        assert_eq!(give("Q-2", "no").len(), 2);
    }
}
