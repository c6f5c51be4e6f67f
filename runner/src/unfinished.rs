//! Work that has not passed: kept on the branch of its attempt, or in a bundle, and put into the working tree of the next attempt.

use std::fs;
use std::path::PathBuf;

use enact_domain::agents::checkpoint::{MAX_BUNDLE_BYTES, UnfinishedWork};
use enact_domain::assignment::{GitWork, Reason};

use crate::failure::{Failure, explain};
use crate::git::Git;
use crate::log::log;
use crate::refs::branch_ref;
use crate::repository::{
    BASE, Checkout, MERGED, fetch, is_ancestor, nested_repositories, remove, restore_configuration,
};

/// Ref in the clone for unfinished work.
const UNFINISHED: &str = "refs/enact/unfinished";
/// File in the Git directory that holds a bundle.
const BUNDLE_FILE: &str = "enact-unfinished.bundle";
/// Most levels of repositories in repositories whose files are kept.
const MAX_NESTING: usize = 4;

/// Commits everything in the tree that Git can read, for work that is kept and never merged: also files with conflicts, and the files of
/// repositories inside the tree. Returns the commit; `base` of the checkout if nothing changed.
///
/// If the agent rewrote history, its commits and the base are both parents, so that neither is lost.
pub(crate) fn keep(git: &mut Git, checkout: &Checkout, message: &str, trailers: &[String]) -> Result<String, Failure> {
    restore_configuration(git, checkout)?;
    match dissolve_nested_repositories(git, &checkout.base) {
        Err(failure) if failure.reason == Reason::Cancelled => return Err(failure),
        Err(failure) => log(&format!("repositories inside the tree are left out: {}", failure.message)),
        Ok(()) => {}
    }
    // A file that cannot be read is left out. The exit code only says that there is one.
    git.call(&["add", "--all", "--ignore-errors", "."])?;
    let tree = git.local(Reason::AgentFailed, &["write-tree"])?.trim().to_owned();
    let base = checkout.base.clone();
    let head = git.call(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])?;
    let head = head.ok().then(|| head.text().trim().to_owned());
    let parents = match head {
        Some(head) if is_ancestor(git, &base, &head)? => vec![head],
        Some(head) => vec![base, head],
        None => vec![base],
    };
    if let [parent] = parents.as_slice()
        && git.local(Reason::AgentFailed, &["rev-parse", &format!("{parent}^{{tree}}")])?.trim() == tree
    {
        return Ok(parent.clone());
    }
    let trailers = trailers.join("\n");
    let mut args = vec!["commit-tree", tree.as_str()];
    args.extend(parents.iter().flat_map(|parent| ["-p", parent.as_str()]));
    args.extend(["-m", message, "-m", &trailers]);
    git.local(Reason::AgentFailed, &args).map(|id| id.trim().to_owned())
}

/// Turns the repositories inside the tree into ordinary folders, so that a commit can contain their files.
fn dissolve_nested_repositories(git: &mut Git, base: &str) -> Result<(), Failure> {
    // A repository inside one of these is found only when that one is a folder.
    for _ in 0..MAX_NESTING {
        let nested = nested_repositories(git, base)?;
        if nested.is_empty() {
            break;
        }
        for path in &nested {
            let unlink =
                ["--literal-pathspecs", "rm", "--cached", "--quiet", "--force", "--ignore-unmatch", "--", path];
            git.local(Reason::AgentFailed, &unlink)?;
            let own = git.tree().join(path).join(".git");
            remove(&own).map_err(|error| {
                Failure::new(Reason::AgentFailed, format!("`{path}/.git` cannot be removed: {error}"))
            })?;
        }
    }
    Ok(())
}

/// Adds a commit without changes on top of `commit`, which says that the work is not finished.
pub(crate) fn mark(git: &mut Git, checkout: &Checkout, commit: &str, paragraphs: &[&str]) -> Result<String, Failure> {
    // A gate may have changed the configuration and the index. The tree of the commit is not affected.
    restore_configuration(git, checkout)?;
    let tree = format!("{commit}^{{tree}}");
    let mut args = vec!["commit-tree", &tree, "-p", commit];
    args.extend(paragraphs.iter().flat_map(|paragraph| ["-m", *paragraph]));
    git.local(Reason::AgentFailed, &args).map(|id| id.trim().to_owned())
}

/// Returns `commit` as a bundle, without the commits that the Git server has.
///
/// # Errors
/// If Git fails, or the bundle has more than [`MAX_BUNDLE_BYTES`].
pub(crate) fn bundle(git: &mut Git, commit: &str) -> Result<Vec<u8>, Failure> {
    git.local(Reason::AgentFailed, &["update-ref", UNFINISHED, commit])?;
    let file = bundle_file(git);
    let (path, merged) = (file.to_string_lossy().into_owned(), format!("--glob={MERGED}*"));
    git.local(Reason::AgentFailed, &["bundle", "create", "--quiet", &path, UNFINISHED, "--not", BASE, &merged])?;
    let unreadable = |error| Failure::volume(&file, &error);
    let size = fs::metadata(&file).map_err(unreadable)?.len();
    if size > MAX_BUNDLE_BYTES as u64 {
        let message = format!("the work has {size} bytes, and enact-server keeps at most {MAX_BUNDLE_BYTES}");
        return Err(Failure::new(Reason::OutputTooLarge, message));
    }
    fs::read(&file).map_err(unreadable)
}

/// Puts the changes of an earlier attempt into the working tree, uncommitted. Without a `bundle`, they are on the branch of that attempt.
/// The tree is unchanged if they do not apply.
pub(crate) fn restore(
    git: &mut Git,
    work: &GitWork,
    unfinished: &UnfinishedWork,
    bundle: Option<&[u8]>,
) -> Result<(), Failure> {
    let UnfinishedWork { branch, commit, base } = unfinished;
    let missing = |what: String| Failure::new(Reason::WorkNotFound, what);
    if let Some(bundle) = bundle {
        unbundle(git, bundle)?;
    } else {
        fetch(git, &work.url, &[format!("+{}:{UNFINISHED}", branch_ref(branch))])?;
        if !is_ancestor(git, commit, UNFINISHED)? {
            return Err(missing(format!("the branch `{branch}` no longer holds its commit {commit}")));
        }
    }
    if !is_ancestor(git, base, commit)? {
        return Err(missing(format!("its commit {commit} does not contain {base}, which it started from")));
    }
    // All commits of the earlier attempt as one, which is applied to the present base: that may have newer work of other tasks.
    let (tree, message) = (format!("{commit}^{{tree}}"), "Unfinished work");
    let squashed = git.local(Reason::WorkNotFound, &["commit-tree", &tree, "-p", base, "-m", message])?;
    let applied = git.call(&["cherry-pick", "--no-commit", squashed.trim()])?;
    if !applied.ok() {
        git.local(Reason::ContainerConfigError, &["reset", "--quiet", "--hard"])?;
        return Err(missing(explain("its unfinished work does not apply to the present base", &applied.all())));
    }
    git.local(Reason::ContainerConfigError, &["reset", "--quiet"]).map(drop)
}

/// Adds the commits of a bundle to the clone.
fn unbundle(git: &mut Git, bundle: &[u8]) -> Result<(), Failure> {
    let file = bundle_file(git);
    fs::write(&file, bundle).map_err(|error| Failure::volume(&file, &error))?;
    git.local(Reason::WorkNotFound, &["bundle", "unbundle", &file.to_string_lossy()]).map(drop)
}

fn bundle_file(git: &Git) -> PathBuf {
    git.tree().join(".git").join(BUNDLE_FILE)
}
