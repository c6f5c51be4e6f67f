//! `enact clarify`: the questions that a specification leaves open, and a person's answers.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use enact_crds::Specification;
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::document::{Clarification, Question};
use enact_domain::speckit::edit::{self, Answer};
use jiff::Zoned;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::args::Clarify;
use crate::cluster::{Cluster, told};
use crate::document::{Document, Home};
use crate::edit::print_patch;
use crate::terminal::{self, note};
use crate::text::one_line;

/// Tries to add answers while others change the object.
const TRIES: u32 = 8;

/// Shows the open questions, asks, and gives the answers to the operator or into a patch.
pub async fn run(cluster: &Cluster, options: &Clarify) -> Result<ExitCode> {
    let specification: Specification = cluster.get(&options.specification).await?;
    let questions = specification.status.as_ref().map(|status| status.questions.clone()).unwrap_or_default();
    let given = match options.answers.as_slice() {
        [] if questions.is_empty() => Vec::new(),
        [] if io::stdin().is_terminal() => ask(&questions)?,
        [] => {
            list(&questions)?;
            Vec::new()
        }
        answers => known(&questions, &specification.spec.clarifications, answers)?,
    };
    if questions.is_empty() && given.is_empty() {
        note(&format!("Specification {} leaves no question open", options.specification));
    }
    if options.patch {
        return patch(cluster, options, &questions, &given).await;
    }
    if given.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    write(cluster, &options.specification, &given).await?;
    let count = if given.len() == 1 { "1 answer".to_owned() } else { format!("{} answers", given.len()) };
    terminal::say(&format!(
        "Specification {}: {count} given; the operator writes them into the document",
        options.specification
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    question: String,
    answer: String,
}

fn list(questions: &[Question]) -> Result<()> {
    for question in questions {
        for line in card(question) {
            terminal::say(&line)?;
        }
    }
    Ok(())
}

/// A question with what may be answered, one string a line.
fn card(question: &Question) -> Vec<String> {
    let Question { id, text, options, line, location } = question;
    let place = if location.is_empty() { format!("line {line}") } else { format!("{location}, line {line}") };
    let mut lines = vec![format!("{} ({}): {}", one_line(id), one_line(&place), one_line(text))];
    lines.extend(options.iter().enumerate().map(|(at, option)| format!("  {}. {}", at + 1, one_line(option))));
    lines
}

/// Asks a person one question after the other.
fn ask(questions: &[Question]) -> Result<Vec<Given>> {
    let mut given = Vec::new();
    for (at, question) in questions.iter().enumerate() {
        note(&format!("question {} of {}", at + 1, questions.len()));
        for line in card(question) {
            note(&line);
        }
        let how = if question.options.is_empty() { "your answer" } else { "a number, or your answer" };
        let mut errors = io::stderr();
        write!(errors, "{how}; nothing leaves it open: ")?;
        errors.flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            break;
        }
        given.extend(chosen(question, &line).map(|answer| Given { question: question.id.clone(), answer }));
    }
    Ok(given)
}

/// What a person's line says: the option of that number, or its own words.
fn chosen(question: &Question, line: &str) -> Option<String> {
    let line = one_line(line);
    let option = line.parse::<usize>().ok().and_then(|number| question.options.get(number.checked_sub(1)?));
    option.map(|option| one_line(option)).or(Some(line)).filter(|answer| !answer.is_empty())
}

/// The answers of the command line, when the specification asks their questions or had them answered before.
fn known(questions: &[Question], before: &[Clarification], answers: &[(String, String)]) -> Result<Vec<Given>> {
    let is_known =
        |id: &String| questions.iter().any(|q| &q.id == id) || before.iter().any(|given| &given.question == id);
    if let Some((unknown, _)) = answers.iter().find(|(id, _)| !is_known(id)) {
        let open: Vec<&str> = questions.iter().map(|question| question.id.as_str()).collect();
        let open = if open.is_empty() { "none is open".to_owned() } else { format!("open are {}", open.join(", ")) };
        bail!("there is no question {unknown}; {open}");
    }
    Ok(answers.iter().map(|(id, answer)| Given { question: id.clone(), answer: one_line(answer) }).collect())
}

/// Adds the answers to the object; one to a question that has an answer takes its place.
async fn write(cluster: &Cluster, name: &str, given: &[Given]) -> Result<()> {
    let api = cluster.api::<Specification>();
    for _ in 0..TRIES {
        let specification: Specification = cluster.get(name).await?;
        let all = added(specification.spec.clarifications, given);
        let change = json!({
            "metadata": { "resourceVersion": specification.metadata.resource_version }, "spec": { "clarifications": all },
        });
        match api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(told(error)).with_context(|| format!("the answers to {name} were not taken")),
        }
    }
    Err(anyhow!("Specification {name} does not stop changing; try again"))
}

fn added(mut all: Vec<Clarification>, given: &[Given]) -> Vec<Clarification> {
    for Given { question, answer } in given {
        let new = Clarification { question: question.clone(), answer: answer.clone(), ..Clarification::default() };
        match all.iter_mut().find(|known| &known.question == question) {
            Some(known) if &known.answer == answer => {}
            Some(known) => *known = new,
            None => all.push(new),
        }
    }
    all
}

/// Prints a patch that brings the answers into the file in Git: those that are given here, or else those that the object has.
async fn patch(cluster: &Cluster, options: &Clarify, questions: &[Question], given: &[Given]) -> Result<ExitCode> {
    let subject = Subject { kind: SubjectKind::Specification, name: options.specification.clone() };
    let document = Document::load(cluster, &subject).await?;
    let Home::Git(git) = document.home()? else {
        bail!("{} is not kept in Git: without --patch the operator writes the answers into it", document.title());
    };
    let before = document.in_git(cluster).await?;
    let mut after = document.present(cluster).await?.text;
    let date = Zoned::now().date().to_string();
    for Given { question, answer } in given {
        let open = questions.iter().find(|open| &open.id == question);
        let open = open.with_context(|| format!("question {question} is answered already"))?;
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
    fn a_question_is_shown_with_its_options() {
        assert_eq!(card(&question()), ["Q-1 (FR-003, line 7): How [2J long?", "  1. 30 days", "  2. a year"]);
    }

    #[test]
    fn a_number_chooses_and_words_are_words() {
        let chosen = |line: &str| chosen(&question(), line);
        assert_eq!(chosen("2\n").as_deref(), Some("a year"));
        assert_eq!(chosen(" as long\tas needed \n").as_deref(), Some("as long as needed"));
        assert_eq!(chosen("3").as_deref(), Some("3"), "there is no third");
        assert_eq!((chosen("0").as_deref(), chosen(" \n")), (Some("0"), None));
    }

    #[test]
    fn an_answer_takes_the_place_of_an_older_one() {
        let by_ann = Clarification {
            question: "Q-1".into(),
            answer: "30 days".into(),
            by: Some("ann".into()),
            ..Clarification::default()
        };
        let give =
            |answer: &str| added(vec![by_ann.clone()], &[Given { question: "Q-1".into(), answer: answer.into() }]);
        assert_eq!(give("30 days")[0].by.as_deref(), Some("ann"), "said again, it stays whose it is");
        assert_eq!((give("a year")[0].answer.as_str(), &give("a year")[0].by), ("a year", &None));
    }
}
