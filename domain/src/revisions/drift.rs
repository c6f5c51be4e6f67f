//! Drift: finished tasks whose files others have changed since, so that the specification may no longer describe the code.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::speckit::tasks::paths_in;

/// Maximum number of files that are named for one task.
pub const MAX_FILES: usize = 200;
/// Directories that hold tests.
const TEST_DIRECTORIES: [&str; 6] = ["test", "tests", "__tests__", "spec", "e2e", "testing"];
/// Ends of the names of tests, before the extension.
const TEST_ENDS: [&str; 6] = ["_test", ".test", "_spec", ".spec", "Test", "Tests"];

/// A finished task and its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskFiles<'a> {
    pub id: &'a str,
    /// Files that the commits of the task changed.
    pub recorded: &'a BTreeSet<String>,
    /// Title and text, whose paths count if no commit of the task is known.
    pub text: &'a str,
}

/// What others did with a file since the plan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Whether the file does not exist any more.
    pub removed: bool,
    /// IDs of their commits that changed it, the newest first.
    pub commits: Vec<String>,
}

/// Where the files of a task come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Basis {
    /// The commits of the task.
    Commits,
    /// The paths in its text.
    Text,
}

/// A changed file of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedFile {
    pub path: String,
    pub removed: bool,
    /// Whether it is a test, by its name and directory.
    pub test: bool,
    pub commits: Vec<String>,
}

/// A finished task whose files were changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDrift {
    pub id: String,
    pub basis: Basis,
    /// Its changed files, sorted by path; at most [`MAX_FILES`].
    pub files: Vec<ChangedFile>,
    /// Number of further changed files.
    pub more: usize,
}

/// Returns the tasks whose files were changed, in the given order. `changes` has the files that others changed, by path.
pub fn drift(tasks: &[TaskFiles<'_>], changes: &BTreeMap<String, FileChange>) -> Vec<TaskDrift> {
    tasks.iter().filter_map(|task| of_task(task, changes)).collect()
}

fn of_task(task: &TaskFiles<'_>, changes: &BTreeMap<String, FileChange>) -> Option<TaskDrift> {
    let basis = if task.recorded.is_empty() { Basis::Text } else { Basis::Commits };
    let paths: BTreeSet<&str> = match basis {
        Basis::Commits => task.recorded.iter().map(String::as_str).filter(|path| changes.contains_key(*path)).collect(),
        Basis::Text => paths_in(task.text).iter().flat_map(|claimed| claimed_files(claimed, changes)).collect(),
    };
    if paths.is_empty() {
        return None;
    }
    let file = |path: &&str| {
        let FileChange { removed, commits } = changes.get(*path)?.clone();
        Some(ChangedFile { path: (*path).to_owned(), removed, test: is_test(path), commits })
    };
    let files = paths.iter().filter_map(file).take(MAX_FILES).collect();
    Some(TaskDrift { id: task.id.to_owned(), basis, files, more: paths.len().saturating_sub(MAX_FILES) })
}

/// Returns the changed files that a path in a text names: the file, or all files of the directory.
fn claimed_files<'c>(claimed: &str, changes: &'c BTreeMap<String, FileChange>) -> Vec<&'c str> {
    let path = claimed.strip_prefix("./").unwrap_or(claimed).trim_end_matches('/');
    let directory = format!("{path}/");
    let inside = changes.range(directory.clone()..).map(|(path, _)| path.as_str());
    let inside = inside.take_while(|found| found.starts_with(&directory));
    changes.get_key_value(path).map(|(path, _)| path.as_str()).into_iter().chain(inside).collect()
}

/// Returns whether a file is a test, by its name or a directory above it.
fn is_test(path: &str) -> bool {
    let (directories, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    directories.split('/').any(|directory| TEST_DIRECTORIES.contains(&directory))
        || stem.starts_with("test_")
        || TEST_ENDS.iter().any(|end| stem.len() > end.len() && stem.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(paths: &[&str]) -> BTreeMap<String, FileChange> {
        let change = |path: &&str| {
            let removed = path.contains("gone");
            ((*path).to_owned(), FileChange { removed, commits: vec!["c1".into()] })
        };
        paths.iter().map(change).collect()
    }

    fn paths(drift: &[TaskDrift]) -> Vec<(&str, Vec<&str>)> {
        drift
            .iter()
            .map(|task| (task.id.as_str(), task.files.iter().map(|file| file.path.as_str()).collect()))
            .collect()
    }

    #[test]
    fn only_changed_files_of_tasks_count() {
        let (first, second) = (BTreeSet::from(["src/a.rs".to_owned(), "tests/gone.rs".into()]), BTreeSet::new());
        let task = |id, recorded| TaskFiles { id, recorded, text: "Write `src/b.rs`" };
        let tasks = [task("T001", &first), task("T002", &second)];
        let found = drift(&tasks, &changes(&["src/a.rs", "src/c.rs", "tests/gone.rs"]));
        assert_eq!(paths(&found), [("T001", vec!["src/a.rs", "tests/gone.rs"])]);
        let flags: Vec<_> = found[0].files.iter().map(|file| (file.removed, file.test)).collect();
        assert_eq!((found[0].basis, flags), (Basis::Commits, vec![(false, false), (true, true)]));
        let found = drift(&tasks, &changes(&["src/b.rs"]));
        assert_eq!(paths(&found), [("T002", vec!["src/b.rs"])], "the text counts without commits only");
        assert_eq!(found[0].basis, Basis::Text);
        assert!(drift(&tasks, &BTreeMap::new()).is_empty());
    }

    #[test]
    fn a_claimed_directory_holds_its_files() {
        let none = BTreeSet::new();
        let task = TaskFiles { id: "T001", recorded: &none, text: "Create `src/cart/` and ./lib/x.rs" };
        let found = drift(&[task], &changes(&["lib/x.rs", "src/cart.rs", "src/cart/a.rs", "src/cart2/b.rs"]));
        assert_eq!(paths(&found), [("T001", vec!["lib/x.rs", "src/cart/a.rs"])]);
    }

    #[test]
    fn the_number_of_files_is_limited() {
        let all: BTreeSet<String> = (0..MAX_FILES + 3).map(|number| format!("f{number:04}")).collect();
        let task = TaskFiles { id: "T001", recorded: &all, text: "" };
        let changed = all.iter().map(String::as_str).collect::<Vec<_>>();
        let found = drift(&[task], &changes(&changed));
        assert_eq!((found[0].files.len(), found[0].more), (MAX_FILES, 3));
    }

    #[test]
    fn tests_are_known_by_name_or_directory() {
        for path in ["tests/a.rs", "web/__tests__/a.js", "a_test.go", "a.spec.ts", "test_a.py", "src/CartTest.java"] {
            assert!(is_test(path), "{path}");
        }
        for path in ["src/contest.rs", "specs/001-cart/tasks.md", "latest/a.rs", "Test", "src/a.rs"] {
            assert!(!is_test(path), "{path}");
        }
    }
}
