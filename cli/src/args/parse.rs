//! Parsers of arguments.

use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::convert;
use enact_domain::{assignment, names};

/// A document or one revision of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentName {
    pub subject: Subject,
    /// None for the current content.
    pub revision: Option<String>,
}

/// A Plan, or one of its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanOrTask {
    pub plan: String,
    /// Id of the task.
    pub task: Option<String>,
}

pub(super) fn object_name(text: &str) -> Result<String, String> {
    if names::is_label(text) {
        Ok(text.to_owned())
    } else {
        Err("a name must have 1 to 63 of a-z, 0-9 and -, and start and end with a letter or digit".into())
    }
}

pub(super) fn secret_name(text: &str) -> Result<String, String> {
    if names::is_subdomain(text) {
        Ok(text.to_owned())
    } else {
        Err("the name of a Secret must have 1 to 253 of a-z, 0-9, - and ., and start and end with a letter or digit"
            .into())
    }
}

pub(super) fn usd(text: &str) -> Result<String, String> {
    match convert::micro_usd(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("it must be a decimal number with at most six decimal places, such as 12.50".into()),
    }
}

pub(super) fn digest(text: &str) -> Result<String, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    if is_hex && (12..=64).contains(&hex.len()) {
        Ok(format!("sha256:{hex}"))
    } else {
        Err("a digest must have 12 to 64 lower-case hex digits; the prefix sha256: is optional".into())
    }
}

pub(super) fn subject(text: &str) -> Result<Subject, String> {
    let expected = "it must be constitution/NAME, specification/NAME or plan/NAME";
    let (kind, name) = text.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or(expected)?;
    let kind = match kind.to_ascii_lowercase().as_str() {
        "constitution" | "constitutions" | "const" => SubjectKind::Constitution,
        "specification" | "specifications" | "spec" => SubjectKind::Specification,
        "plan" | "plans" | "pl" => SubjectKind::Plan,
        _ => return Err(expected.into()),
    };
    if !names::is_subdomain(name) {
        return Err("a name must have 1 to 253 of a-z, 0-9, - and ., and start and end with a letter or digit".into());
    }
    Ok(Subject { kind, name: name.to_owned() })
}

/// What `diff` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The revisions of a document.
    Document(Subject),
    /// The work of a task: `PLAN/TASK`, or `task/NAME`.
    Work(String),
}

pub(super) fn compared(text: &str) -> Result<Compared, String> {
    const KINDS: [&str; 8] =
        ["constitution", "constitutions", "const", "specification", "specifications", "spec", "plan", "plans"];
    match text.split_once('/') {
        Some((plan, id)) if !KINDS.contains(&plan) && plan != "pl" && names::is_subdomain(plan) && !id.is_empty() => {
            Ok(Compared::Work(text.to_owned()))
        }
        _ => subject(text).map(Compared::Document).map_err(|problem| format!("{problem}, or PLAN/TASK")),
    }
}

pub(super) fn document(text: &str) -> Result<DocumentName, String> {
    let (name, rev) = text.split_once('@').map_or((text, None), |(name, rev)| (name, Some(rev)));
    Ok(DocumentName { subject: subject(name)?, revision: rev.map(revision).transpose()? })
}

pub(super) fn revision(text: &str) -> Result<String, String> {
    if matches!(text, "present" | "approved") { Ok(text.to_owned()) } else { recorded_revision(text) }
}

pub(super) fn recorded_revision(text: &str) -> Result<String, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_digest = (4..=64).contains(&hex.len()) && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    let is_number = (1..=9).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
    if is_digest || is_number {
        Ok(text.to_owned())
    } else {
        Err("a revision must be a number, or the first 4 to 64 lower-case hex digits of its digest".into())
    }
}

/// Accepts the name of a Specification alone or as kubectl prints it.
pub(super) fn specification(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        Some(("spec" | "specification" | "specifications" | "specification.enact.dev", name)) => name,
        _ => text,
    };
    if names::is_subdomain(name) { Ok(name.to_owned()) } else { Err("it must be the name of a Specification".into()) }
}

pub(super) fn answer(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((id, answer)) if !id.trim().is_empty() && !answer.trim().is_empty() => {
            Ok((id.trim().to_owned(), answer.to_owned()))
        }
        _ => Err("it must be ID=TEXT; `kubectl enact clarify` prints the IDs of the open questions".into()),
    }
}

pub(super) fn plan_name(text: &str) -> Result<String, String> {
    if object_name(text).is_ok() && text.len() <= 52 && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        Ok(text.to_owned())
    } else {
        Err("the name of a Plan is a prefix of the names of its Tasks: it must have 1 to 52 of a-z, 0-9 and -, and start with a letter".into())
    }
}

pub(super) fn plan_or_task(text: &str) -> Result<PlanOrTask, String> {
    let (plan, task) = text.split_once('/').map_or((text, None), |(plan, task)| (plan, Some(task.to_owned())));
    if task.as_ref().is_some_and(String::is_empty) {
        return Err("it must be PLAN or PLAN/TASKID".into());
    }
    Ok(PlanOrTask { plan: plan_name(plan)?, task })
}

pub(super) fn git_url(text: &str) -> Result<String, String> {
    assignment::check_url(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn git_revision(text: &str) -> Result<String, String> {
    assignment::check_ref(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn target_branch(text: &str) -> Result<String, String> {
    if names::is_work_branch(text) {
        return Err("agents push to branches below enact/; choose another branch".into());
    }
    git_revision(text)
}
