//! The finished work that a plan keeps of the plan that it replaces. The operator decides with it, and the CLI shows the same content.

use std::collections::{BTreeMap, BTreeSet};

use enact_domain::assignment::VerifiedCommit;
use enact_domain::revisions::replan::{Difference, TaskVersion, difference};
use serde::{Deserialize, Serialize};

use crate::common::Outputs;
use crate::task::{Phase, TaskStatus, TaskTemplate};

/// The work that a plan keeps, by the ids of the tasks.
pub type KeptWork = BTreeMap<String, Kept>;

/// The result of a finished task of the plan that is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Its commit; none without a workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<VerifiedCommit>,
    /// Its values for the tasks that depend on it.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
}

impl Kept {
    /// Returns the result of a task with this status; none if it has not succeeded.
    pub fn of(status: &TaskStatus) -> Option<Self> {
        (status.phase == Phase::Succeeded).then(|| Self { work: status.work(), outputs: status.outputs.clone() })
    }
}

/// Compares the tasks of a plan with other tasks, as [`difference`] does. The phases of tasks only group them.
pub fn compare(
    old: &[TaskTemplate],
    new: &[TaskTemplate],
    finished: &BTreeSet<&str>,
    ticked: &BTreeSet<&str>,
) -> Difference {
    difference(&versions(old), &versions(new), finished, ticked)
}

/// Returns the finished work that a plan with the tasks `new` keeps, and how these differ from the tasks `old`. A ticked task is not one of
/// the plan, so that nothing of it is kept. `stale` are the finished tasks whose work a newer revision of the specification makes stale:
/// they are repeated, as are the tasks that depend on them.
pub fn kept(
    old: &[TaskTemplate],
    new: &[TaskTemplate],
    finished: &KeptWork,
    stale: &BTreeSet<String>,
    ticked: &BTreeSet<&str>,
) -> (KeptWork, Difference) {
    let fresh = finished.keys().filter(|id| !stale.contains(*id)).map(String::as_str).collect();
    let mut difference = compare(old, new, &fresh, ticked);
    let tasks: BTreeSet<&str> = new.iter().map(|task| task.id.as_str()).collect();
    let is_repeated =
        |id: &String| finished.contains_key(id) && tasks.contains(id.as_str()) && !difference.kept.contains(id);
    difference.repeated = old.iter().map(|task| &task.id).filter(|id| is_repeated(id)).cloned().collect();
    let kept = difference.kept.iter().filter(|id| tasks.contains(id.as_str()));
    (kept.filter_map(|id| Some((id.clone(), finished.get(id)?.clone()))).collect(), difference)
}

/// Writes tasks as a tasks.md. A task of a tasks.md has its own line again, so that a copy of it is the same task.
pub fn markdown(tasks: &[TaskTemplate]) -> String {
    let mut text = String::from("# Tasks\n");
    let (mut number, mut phase) = (0, None);
    for task in tasks {
        if let Some(title) = task.phase.as_deref().filter(|title| Some(*title) != phase) {
            (number, phase) = (number + 1, Some(title));
            text.push_str(&format!("\n## Phase {number}: {title}\n\n"));
        }
        match task.prompt.as_deref().filter(|prompt| prompt.contains(&task.id)) {
            Some(prompt) => text.push_str(prompt),
            None => text.push_str(&format!("- [ ] {} {}", task.id, task.title)),
        }
        text.push('\n');
    }
    text
}

fn versions(tasks: &[TaskTemplate]) -> Vec<TaskVersion<'_>> {
    let version = |task: &TaskTemplate| -> String {
        let alone = TaskTemplate { depends_on: Vec::new(), phase: None, ..task.clone() };
        serde_json::to_string(&alone).unwrap_or_default()
    };
    tasks
        .iter()
        .map(|task| TaskVersion {
            id: &task.id,
            content: version(task),
            depends_on: task.depends_on.iter().map(String::as_str).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::from_markdown;
    use crate::plan::UnreadTasks;

    const OLD: &str = "# Tasks: Cart\n\n## Phase 1: Setup\n\n- [ ] T001 Crate in `Cargo.toml`\n\n\
        ## Phase 2: User Story 1 - Fill\n\n- [ ] T002 [P] [US1] Cart in `cart.rs`\n- [ ] T003 [P] [US1] Page in `page.rs`\n";

    fn tasks(document: &str) -> Vec<TaskTemplate> {
        from_markdown(document.as_bytes(), UnreadTasks::Refuse).0
    }

    fn finished(ids: &[&str]) -> KeptWork {
        let work = |id: &str| VerifiedCommit { branch: format!("enact/cart-0/{id}-1"), commit: "c0ffee".into() };
        ids.iter().map(|id| ((*id).to_owned(), Kept { work: Some(work(id)), ..Kept::default() })).collect()
    }

    #[test]
    fn unchanged_tasks_keep_their_work() {
        let new = OLD.replace("Page in", "Fast page in") + "- [ ] T004 [US1] Test in `test.rs`\n";
        let finished = finished(&["T001", "T003"]);
        let (kept, difference) = kept(&tasks(OLD), &tasks(&new), &finished, &BTreeSet::new(), &BTreeSet::new());
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["T001"]);
        assert_eq!(kept["T001"], finished["T001"]);
        assert_eq!((difference.added, difference.changed), (vec!["T004".to_owned()], vec!["T003".to_owned()]));
        assert_eq!(difference.repeated, ["T003"]);
    }

    #[test]
    fn stale_work_and_what_depends_on_it_is_repeated() {
        let finished = finished(&["T001", "T002", "T003"]);
        let of = |stale: &str| {
            let stale = BTreeSet::from([stale.to_owned()]);
            let (kept, difference) = kept(&tasks(OLD), &tasks(OLD), &finished, &stale, &BTreeSet::new());
            (kept.into_keys().collect::<Vec<_>>().join(" "), difference.repeated.join(" "))
        };
        assert_eq!(of("T002"), ("T001 T003".into(), "T002".into()));
        assert_eq!(of("T001"), (String::new(), "T001 T002 T003".into()));
    }

    #[test]
    fn a_copy_of_the_document_has_the_same_tasks() {
        let (old, copy) = (tasks(OLD), tasks(&markdown(&tasks(OLD))));
        assert_eq!(copy, old);
    }

    #[test]
    fn tasks_that_no_document_has_are_listed_by_their_titles() {
        let task = TaskTemplate { id: "build".into(), title: "Build it".into(), ..TaskTemplate::default() };
        assert_eq!(markdown(&[task]), "# Tasks\n- [ ] build Build it\n");
    }
}
