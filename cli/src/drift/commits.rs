//! The commits of a clone, with the files that they changed, and which of them are work of Enact's plans.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use enact_domain::assignment::check_ref;
use enact_domain::revisions::drift::FileChange;

use crate::git;

/// Most bytes of one list of changes.
const MAX_LIST_BYTES: u64 = 64 << 20;
/// Most commits that are named for one file.
const MAX_COMMITS: usize = 5;
/// Fields of a commit: its ID, and the trailers that every commit of an attempt has.
const FORMAT: &str = "--format=%H%x09%(trailers:key=Enact-Plan,valueonly,separator=%x2C)%x09\
                      %(trailers:key=Enact-Task,valueonly,separator=%x2C)";
/// Options of every list of changes. Each file has an entry that begins with `:` before its path, so that no path can be taken for anything
/// else. No option of the repository's configuration adds to it.
const LIST: [&str; 7] =
    ["--raw", "-z", "--no-renames", "--no-relative", "--no-abbrev", "--no-ext-diff", "--no-textconv"];

/// A commit.
#[derive(Debug, Default, PartialEq, Eq)]
struct Commit {
    id: String,
    /// Plans whose work it is, as `namespace/name`; none for the work of a person.
    plans: Vec<String>,
    /// IDs of the tasks.
    tasks: Vec<String>,
    files: Vec<Entry>,
}

/// A changed file.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    path: String,
    removed: bool,
}

/// Returns the ID of a commit; none if the repository does not have it.
pub fn resolve(repository: &Path, revision: &str) -> Result<Option<String>> {
    check_ref(revision)?;
    let commit = format!("{revision}^{{commit}}");
    Ok(git::output(repository, &["rev-parse", "--verify", "--quiet", &commit]).ok().map(|id| id.trim().to_owned()))
}

/// Returns the ID of the commit that is checked out.
pub fn head(repository: &Path) -> Result<String> {
    let id = git::output(repository, &["rev-parse", "--verify", "HEAD^{commit}"]);
    let id = id.with_context(|| format!("{} is not a Git repository with a commit", repository.display()))?;
    Ok(id.trim().to_owned())
}

/// Returns the files that the commits of each task of a plan changed, by the task's ID, in the history of a commit. `plan` is
/// `namespace/name`.
pub fn files_of_tasks(repository: &Path, commit: &str, plan: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    // It also finds plans whose names begin with this one.
    let trailer = format!("--grep=Enact-Plan: {plan}");
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for commit in log(repository, &["--fixed-strings", &trailer, commit])? {
        if !commit.plans.iter().any(|found| found == plan) {
            continue;
        }
        for task in commit.tasks {
            files.entry(task).or_default().extend(commit.files.iter().map(|file| file.path.clone()));
        }
    }
    Ok(files)
}

/// Returns the files that differ between two commits and that commits in between changed which are not work of a plan.
pub fn changes(repository: &Path, base: &str, head: &str) -> Result<BTreeMap<String, FileChange>> {
    let mut authors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for commit in log(repository, &[&format!("{base}..{head}")])? {
        if !commit.plans.is_empty() {
            continue;
        }
        for file in commit.files {
            let commits = authors.entry(file.path).or_default();
            if commits.len() < MAX_COMMITS {
                commits.push(commit.id.clone());
            }
        }
    }
    if authors.is_empty() {
        return Ok(BTreeMap::new());
    }
    let args = [&["diff-tree", "-r"][..], &LIST, &[base, head, "--"]].concat();
    let listed = git::limited_output(repository, &args, MAX_LIST_BYTES)?;
    let differing = parse(&listed).into_iter().flat_map(|commit| commit.files);
    let change = |file: Entry| {
        let commits = authors.remove(&file.path)?;
        Some((file.path, FileChange { removed: file.removed, commits }))
    };
    Ok(differing.filter_map(change).collect())
}

/// Lists commits, the newest first, without merges: what these bring together, other commits have changed.
fn log(repository: &Path, args: &[&str]) -> Result<Vec<Commit>> {
    let args =
        [&["log", "--no-merges", "--no-show-signature", "--no-color", FORMAT][..], &LIST, args, &["--"]].concat();
    Ok(parse(&git::limited_output(repository, &args, MAX_LIST_BYTES)?))
}

/// Parses a list of changes. Entries before the first commit are those of a commit without an ID.
fn parse(listed: &str) -> Vec<Commit> {
    let mut commits: Vec<Commit> = Vec::new();
    let mut tokens = listed.split('\0');
    while let Some(token) = tokens.next() {
        let token = token.trim_start_matches('\n');
        if token.is_empty() {
            continue;
        }
        if token.starts_with(':') {
            let Some(path) = tokens.next() else { break };
            let removed = token.ends_with(" D");
            let entry = Entry { path: path.to_owned(), removed };
            match commits.last_mut() {
                Some(commit) => commit.files.push(entry),
                None => commits.push(Commit { files: vec![entry], ..Commit::default() }),
            }
            continue;
        }
        let mut fields = token.splitn(3, '\t');
        let id = fields.next().unwrap_or_default().to_owned();
        let mut values = || {
            let values = fields.next().unwrap_or_default().split(',').map(str::trim);
            values.filter(|value| !value.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let (plans, tasks) = (values(), values());
        commits.push(Commit { id, plans, tasks, files: Vec::new() });
    }
    commits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, removed: bool) -> Entry {
        Entry { path: path.into(), removed }
    }

    #[test]
    fn a_path_is_never_a_commit() {
        let listed = "c2\tdemo/shop,demo/shop\tT001\0\n:100644 100644 a b M\0a\n\u{1}b\0:100644 000000 a 0 D\0:100644\0c1\t\t\0\n\
                      :100644 100644 a b M\0c1\tx\ty\0";
        let commits = parse(listed);
        assert_eq!(commits.len(), 2);
        assert_eq!((commits[0].id.as_str(), commits[0].plans.len(), commits[0].tasks.len()), ("c2", 2, 1));
        assert_eq!(commits[0].files, [entry("a\n\u{1}b", false), entry(":100644", true)]);
        assert!(commits[1].plans.is_empty(), "{commits:?}");
        assert_eq!(commits[1].files, [entry("c1\tx\ty", false)]);
        assert_eq!(parse(":1 2 a b D\0x\0")[0].files, [entry("x", true)]);
        assert!(parse("").is_empty() && parse(":1 2 a b M").is_empty());
    }
}
