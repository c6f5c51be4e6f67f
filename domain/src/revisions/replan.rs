//! Replanning: how other tasks differ from those of a plan, and which finished work is kept.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// A task, as far as the difference between two plans depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskVersion<'a> {
    pub id: &'a str,
    /// Everything that decides what the task does, without its dependencies.
    pub content: String,
    pub depends_on: Vec<&'a str>,
}

/// How other tasks differ from those of a plan. Each list has the ids of tasks in the order of the plan that has them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub added: Vec<String>,
    /// Tasks with another content or other dependencies.
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    /// Finished tasks whose work is kept.
    pub kept: Vec<String>,
    /// Finished tasks that are done again, because they or tasks that they depend on differ.
    pub repeated: Vec<String>,
}

/// Compares the tasks of a plan with other tasks.
///
/// The work of a finished task is kept if its content is the same, and if the work of each task is kept that it depends on in one of the
/// two plans: its result contains their results. `ticked` are the tasks that the other plan leaves out because they are done; the work of
/// those that are finished is kept.
pub fn difference(
    old: &[TaskVersion<'_>],
    new: &[TaskVersion<'_>],
    finished: &BTreeSet<&str>,
    ticked: &BTreeSet<&str>,
) -> Difference {
    let before: BTreeMap<&str, &TaskVersion<'_>> = old.iter().map(|task| (task.id, task)).collect();
    let after: BTreeMap<&str, &TaskVersion<'_>> = new.iter().map(|task| (task.id, task)).collect();
    // A ticked task is a dependency of no open task.
    let dependencies = |task: &TaskVersion<'_>| -> BTreeSet<String> {
        task.depends_on.iter().filter(|id| !ticked.contains(*id)).map(|id| (*id).to_owned()).collect()
    };
    let is_ticked = |id: &str| ticked.contains(id) && !after.contains_key(id);
    let is_changed = |task: &TaskVersion<'_>| {
        let other = after.get(task.id);
        other.is_some_and(|other| other.content != task.content || dependencies(other) != dependencies(task))
    };
    let mut kept: BTreeSet<&str> = old
        .iter()
        .filter(|task| finished.contains(task.id))
        .filter(|task| is_ticked(task.id) || after.get(task.id).is_some_and(|other| other.content == task.content))
        .map(|task| task.id)
        .collect();
    loop {
        let rests = |id: &&str| {
            let both = [before.get(id), after.get(id)];
            let needs = both.into_iter().flatten().flat_map(|task| &task.depends_on);
            is_ticked(id) || needs.into_iter().all(|need| kept.contains(need) || is_ticked(need))
        };
        let fewer: BTreeSet<&str> = kept.iter().copied().filter(rests).collect();
        if fewer.len() == kept.len() {
            break;
        }
        kept = fewer;
    }
    let ids = |tasks: &[TaskVersion<'_>], is: &dyn Fn(&TaskVersion<'_>) -> bool| -> Vec<String> {
        tasks.iter().filter(|task| is(task)).map(|task| task.id.to_owned()).collect()
    };
    Difference {
        added: ids(new, &|task| !before.contains_key(task.id)),
        changed: ids(old, &is_changed),
        removed: ids(old, &|task| !after.contains_key(task.id) && !kept.contains(task.id)),
        kept: ids(old, &|task| kept.contains(task.id)),
        repeated: ids(old, &|task| {
            finished.contains(task.id) && after.contains_key(task.id) && !kept.contains(task.id)
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDS: [&str; 6] = ["T001", "T002", "T003", "T004", "T005", "T006"];

    /// Some of six tasks with one of two contents, each with dependencies among those before it.
    fn tasks() -> impl Strategy<Value = Vec<TaskVersion<'static>>> {
        let one = (any::<bool>(), any::<bool>(), 0u8..64);
        proptest::collection::vec(one, IDS.len()).prop_map(|drawn| {
            let exists = |index: usize| drawn[index].0;
            let depends_on = |index: usize, mask: u8| {
                (0..index).filter(|other| exists(*other) && (mask >> *other) & 1 == 1).map(|other| IDS[other]).collect()
            };
            let some = drawn.iter().enumerate().filter(|(index, _)| exists(*index));
            some.map(|(index, (_, is_long, mask))| TaskVersion {
                id: IDS[index],
                content: if *is_long { "long" } else { "short" }.to_owned(),
                depends_on: depends_on(index, *mask),
            })
            .collect()
        })
    }

    proptest! {
        #[test]
        fn kept_work_rests_on_kept_work_only(old in tasks(), new in tasks(), done in 0u8..64) {
            let finished = old.iter().enumerate().filter(|(index, _)| (done >> *index) & 1 == 1);
            let finished: BTreeSet<&str> = finished.map(|(_, task)| task.id).collect();
            let found = difference(&old, &new, &finished, &BTreeSet::new());
            for id in &found.kept {
                let [before, after] = [&old, &new].map(|plan| plan.iter().find(|task| task.id == id).unwrap());
                prop_assert!(finished.contains(id.as_str()) && before.content == after.content);
                for need in before.depends_on.iter().chain(&after.depends_on) {
                    prop_assert!(found.kept.iter().any(|kept| kept == need), "{} rests on {}", id, need);
                }
                prop_assert!(!found.repeated.contains(id));
            }
            for task in &new {
                let is_known = old.iter().any(|other| other.id == task.id);
                prop_assert_eq!(found.added.iter().any(|id| id == task.id), !is_known);
                let is_done = finished.contains(task.id);
                let is_listed = found.kept.iter().chain(&found.repeated).filter(|id| *id == task.id).count();
                prop_assert_eq!(is_listed, usize::from(is_done), "finished work is kept or repeated");
            }
            for task in &old {
                let is_gone = !new.iter().any(|other| other.id == task.id);
                prop_assert_eq!(found.removed.iter().any(|id| id == task.id), is_gone);
            }
        }

        #[test]
        fn the_same_plan_keeps_all_work_whose_dependencies_are_finished(old in tasks()) {
            let finished: BTreeSet<&str> = old.iter().map(|task| task.id).collect();
            let found = difference(&old, &old, &finished, &BTreeSet::new());
            prop_assert_eq!(found.kept.len(), old.len());
            prop_assert!(found.added.is_empty() && found.changed.is_empty() && found.repeated.is_empty());
        }
    }

    fn task<'a>(id: &'a str, content: &str, depends_on: &[&'a str]) -> TaskVersion<'a> {
        TaskVersion { id, content: content.to_owned(), depends_on: depends_on.to_vec() }
    }

    fn plan<'a>() -> Vec<TaskVersion<'a>> {
        vec![task("T001", "a", &[]), task("T002", "b", &["T001"]), task("T003", "c", &["T002"]), task("T004", "d", &[])]
    }

    fn found(new: &[TaskVersion<'_>], finished: &[&str], ticked: &[&str]) -> [String; 5] {
        let (finished, ticked) = (finished.iter().copied().collect(), ticked.iter().copied().collect());
        let Difference { added, changed, removed, kept, repeated } = difference(&plan(), new, &finished, &ticked);
        [added, changed, removed, kept, repeated].map(|ids| ids.join(" "))
    }

    #[test]
    fn same_tasks_keep_all_finished_work() {
        assert_eq!(found(&plan(), &["T001", "T002"], &[]), ["", "", "", "T001 T002", ""]);
    }

    #[test]
    fn work_after_a_changed_task_is_done_again() {
        let mut new = plan();
        new[1].content = "other".into();
        new.push(task("T005", "e", &["T004"]));
        let all = ["T001", "T002", "T003", "T004"];
        assert_eq!(found(&new, &all, &[]), ["T005", "T002", "", "T001 T004", "T002 T003"]);
        assert_eq!(found(&new, &["T001"], &[]), ["T005", "T002", "", "T001", ""], "the others have nothing to repeat");
    }

    #[test]
    fn work_that_contains_removed_work_is_done_again() {
        let new = vec![task("T001", "a", &[]), task("T003", "c", &[])];
        assert_eq!(found(&new, &["T001", "T002", "T003"], &[]), ["", "T003", "T002 T004", "T001", "T003"]);
    }

    #[test]
    fn another_dependency_repeats_only_what_needs_it() {
        let new = vec![
            task("T001", "a", &[]),
            task("T002", "b", &["T001"]),
            task("T003", "c", &["T002", "T006"]),
            task("T004", "d", &[]),
            task("T006", "f", &[]),
        ];
        let finished = ["T001", "T002", "T003", "T004"];
        assert_eq!(found(&new, &finished, &[]), ["T006", "T003", "", "T001 T002 T004", "T003"]);
    }

    #[test]
    fn ticked_tasks_are_kept_if_they_are_finished() {
        let new = vec![task("T003", "c", &[]), task("T004", "d", &[])];
        assert_eq!(found(&new, &["T001", "T002"], &["T001", "T002"]), ["", "", "", "T001 T002", ""]);
        assert_eq!(found(&new, &["T001"], &["T001", "T002"]), ["", "", "T002", "T001", ""], "nobody has finished T002");
    }

    #[test]
    fn dependencies_in_a_circle_end() {
        let circle = vec![task("T001", "a", &["T002"]), task("T002", "b", &["T001"])];
        let all: BTreeSet<&str> = ["T001", "T002"].into();
        assert_eq!(difference(&circle, &circle, &all, &BTreeSet::new()).kept, ["T001", "T002"]);
        assert_eq!(
            difference(&plan(), &circle, &all, &BTreeSet::new()).kept,
            ["T001", "T002"],
            "both are the same work"
        );
    }
}
