//! Parsers of arguments.

use enact_crds::approval::SubjectKind;
use enact_crds::convert;
use enact_domain::{assignment, names};

/// A Constitution, Specification or Plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectName {
    /// None if only the name is given.
    pub kind: Option<SubjectKind>,
    pub name: String,
}

/// A document or one revision of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentName {
    pub subject: SubjectName,
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

/// The kinds that arguments name, each with the words for it: as kubectl prints and accepts them.
const KINDS: [(Kind, &[&str]); 5] = [
    (Kind::Agent, &["agent", "agents", "ag", "agent.enact.dev"]),
    (Kind::Constitution, &["constitution", "constitutions", "const", "constitution.enact.dev"]),
    (Kind::Specification, &["specification", "specifications", "spec", "specification.enact.dev"]),
    (Kind::Plan, &["plan", "plans", "pl", "plan.enact.dev"]),
    (Kind::Task, &["task", "tasks", "task.enact.dev"]),
];

/// The kind of an object that an argument names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Agent,
    Constitution,
    Specification,
    Plan,
    Task,
}

/// Splits `KIND/NAME`; no kind if the text does not begin with one.
pub fn kind_and_name(text: &str) -> (Option<Kind>, &str) {
    let kind = |word: &str| {
        let word = word.to_ascii_lowercase();
        KINDS.iter().find(|(_, words)| words.contains(&word.as_str())).map(|(kind, _)| *kind)
    };
    match text.split_once('/') {
        Some((word, name)) if kind(word).is_some() => (kind(word), name),
        _ => (None, text),
    }
}

/// Returns the name of an object of this kind, given alone or as `KIND/NAME`.
fn name_of(expected: Kind, text: &str) -> Result<&str, String> {
    let (kind, name) = kind_and_name(text);
    let word = format!("{expected:?}");
    if kind.is_some_and(|kind| kind != expected) {
        return Err(format!("it must be the name of a {word}, alone or as {}/NAME", word.to_ascii_lowercase()));
    }
    if names::is_subdomain(name) { Ok(name) } else { Err(format!("it must be the name of a {word}")) }
}

pub(super) fn specification(text: &str) -> Result<String, String> {
    name_of(Kind::Specification, text).map(str::to_owned)
}

pub(super) fn plan(text: &str) -> Result<String, String> {
    name_of(Kind::Plan, text).map(str::to_owned)
}

/// A Plan or an Agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanOrAgent {
    Plan(String),
    Agent(String),
}

/// Parses the name of a Plan, alone or with its kind, or `agent/NAME`.
pub(super) fn plan_or_agent(text: &str) -> Result<PlanOrAgent, String> {
    match kind_and_name(text) {
        (Some(Kind::Agent), _) => Ok(PlanOrAgent::Agent(name_of(Kind::Agent, text)?.to_owned())),
        _ => Ok(PlanOrAgent::Plan(plan(text)?)),
    }
}

/// Parses `KIND/NAME`, or a name alone.
pub(super) fn subject(text: &str) -> Result<SubjectName, String> {
    let (kind, name) = kind_and_name(text);
    let kind = match kind {
        Some(Kind::Constitution) => Some(SubjectKind::Constitution),
        Some(Kind::Specification) => Some(SubjectKind::Specification),
        Some(Kind::Plan) => Some(SubjectKind::Plan),
        None if !text.contains('/') => None,
        Some(Kind::Task | Kind::Agent) | None => {
            return Err("it must be constitution/NAME, specification/NAME, plan/NAME, or a name alone".into());
        }
    };
    if !names::is_subdomain(name) {
        return Err("a name must have 1 to 253 of a-z, 0-9, - and ., and start and end with a letter or digit".into());
    }
    Ok(SubjectName { kind, name: name.to_owned() })
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
    let text = match kind_and_name(text) {
        (Some(Kind::Plan), name) => name,
        (None, _) => text,
        (Some(_), _) => return Err("it must be PLAN or PLAN/TASKID, alone or as plan/PLAN or plan/PLAN/TASKID".into()),
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_and_with_its_kind_mean_the_same() {
        for text in
            ["rules", "constitution/rules", "constitutions/rules", "const/rules", "constitution.enact.dev/rules"]
        {
            assert_eq!(subject(text).unwrap().name, "rules", "{text}");
        }
        for text in ["shop", "spec/shop", "Specification/shop"] {
            assert_eq!(specification(text).as_deref(), Ok("shop"), "{text}");
        }
        for text in ["shop", "plan/shop", "plans/shop", "pl/shop", "plan.enact.dev/shop"] {
            assert_eq!(plan(text).as_deref(), Ok("shop"), "{text}");
            assert_eq!(subject(text).unwrap().name, "shop", "{text}");
        }
        assert!(specification("plan/shop").unwrap_err().contains("the name of a Specification"));
        assert!(plan("shop/T001").is_err() && plan("Shop").is_err());
    }

    #[test]
    fn a_plan_needs_no_kind_and_an_agent_does() {
        for text in ["shop", "plan/shop", "plan.enact.dev/shop"] {
            assert_eq!(plan_or_agent(text), Ok(PlanOrAgent::Plan("shop".into())), "{text}");
        }
        for text in ["agent/claude", "agents/claude", "agent.enact.dev/claude"] {
            assert_eq!(plan_or_agent(text), Ok(PlanOrAgent::Agent("claude".into())), "{text}");
        }
        assert!(plan_or_agent("agent/").is_err() && plan_or_agent("task/shop").is_err());
    }

    #[test]
    fn a_subject_has_a_kind_or_only_a_name() {
        let kind = |text| subject(text).map(|subject| subject.kind);
        assert_eq!(kind("spec/shop"), Ok(Some(SubjectKind::Specification)));
        assert_eq!(kind("shop"), Ok(None));
        assert!(kind("task/shop-t001").is_err() && kind("pod/x").is_err() && kind("plan/").is_err());
    }

    #[test]
    fn a_task_can_be_named_below_its_plan() {
        let both = |plan: &str, task: Option<&str>| PlanOrTask { plan: plan.into(), task: task.map(str::to_owned) };
        assert_eq!(plan_or_task("shop/T001"), Ok(both("shop", Some("T001"))));
        assert_eq!(plan_or_task("plan/shop/T001"), Ok(both("shop", Some("T001"))));
        assert_eq!(plan_or_task("plan/shop"), Ok(both("shop", None)));
        assert!(plan_or_task("shop/").is_err());
        assert!(plan_or_task("task/shop-t001").is_err(), "it is not the task shop-t001 of a plan task");
    }
}
