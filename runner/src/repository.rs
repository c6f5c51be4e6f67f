//! Operations of an attempt on its repository: fetch, merge, commit, push.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use enact_domain::agents::checkpoint::UnfinishedWork;
use enact_domain::assignment::{GitWork, Reason, VerifiedCommit};

use crate::clone_cache::{Cached, CloneCache};
use crate::failure::{Failure, explain};
use crate::git::{Git, PLAN_FIELDS};
use crate::log::log;
use crate::refs::{branch_ref, is_commit_id, tag_ref};

/// Ref in the clone for the commit that the work starts from.
const BASE: &str = "refs/enact/base";
/// Ref in the clone for an earlier push of the same attempt.
const EARLIER: &str = "refs/enact/earlier";
/// Ref in the clone for the unfinished work of an earlier attempt.
const UNFINISHED: &str = "refs/enact/unfinished";
/// Most files in conflict that a report names.
const MAX_CONFLICTS: usize = 200;

/// A clone that is ready for work.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// The commit that the work starts from, after all merges.
    pub(crate) base: String,
    /// The commit of the attempt's branch, if an earlier run of the same attempt has pushed to it.
    earlier: Option<String>,
    /// The Git configuration of the clone before the agent ran.
    configuration: Vec<u8>,
}

/// Clones the repository at the revision (or at `target` if that branch exists) and merges the verified commits in order. It ignores newer
/// commits on their branches: they have not passed the gates.
///
/// It fetches only the commits that the work needs and the clone cache lacks, and configures no remote for the agent.
pub(crate) fn prepare(
    git: &mut Git,
    work: &GitWork,
    target: Option<&str>,
    cache: Option<&CloneCache>,
) -> Result<Checkout, Failure> {
    init(git)?;
    let download = cache.map(|cache| cache.download(git.tree()));
    // The answer also shows that the credential can read the repository: the clone cache is never a way around it.
    let refs = remote_refs(git, work, target)?;
    let start = target.map(branch_ref).filter(|name| refs.contains_key(name)).map_or_else(|| start(&refs, work), Ok)?;
    if let Some(missing) = work.merge.iter().find(|verified| !refs.contains_key(&branch_ref(&verified.branch))) {
        return Err(work_not_found(work, missing, "does not exist"));
    }
    let cached = match download.map(|download| download.finish(git.supervisor)).transpose()? {
        Some(Ok(cached)) => Some(cached),
        Some(Err(problem)) => {
            log(&format!("the clone cache cannot be used, cloning from the Git server: {problem}"));
            None
        }
        None => None,
    };
    match (obtain(git, work, &start), &cached) {
        // The cache may have something that Git cannot use. Without it, the same failure occurs again if it has another cause.
        (Err(failure), Some(Cached::Packs(_))) if failure.reason != Reason::Cancelled => {
            log(&format!("trying again without the clone cache: {}", failure.message));
            clear(git)?;
            obtain(git, work, &start)?;
        }
        (obtained, _) => obtained?,
    }
    if let (Some(cache), Some(cached)) = (cache, &cached) {
        let (tree, commit) = (git.tree().to_owned(), commit_id(git, BASE)?);
        cache.update(git.supervisor, &tree, cached, &commit)?;
    }
    for VerifiedCommit { branch, commit } in &work.merge {
        merge(git, branch, commit)?;
    }
    // Read before the agent runs. `commit` and `push_work` restore it, because agents and gates can change it.
    let file = git.tree().join(".git/config");
    let configuration = fs::read(&file).map_err(|error| Failure::volume(&file, &error))?;
    // An earlier container of the same attempt may have pushed and then failed, for example before its delivery.
    let earlier = refs.get(&branch_ref(&work.branch)).cloned();
    Ok(Checkout { base: commit_id(git, "HEAD")?, earlier, configuration })
}

fn init(git: &mut Git) -> Result<(), Failure> {
    git.local(Reason::ContainerConfigError, &["init", "--quiet", "."]).map(drop)
}

/// Fetches the revision of `work` into a new clone. A later [`prepare`] in it fetches only what is newer.
pub(crate) fn prefetch(git: &mut Git, work: &GitWork) -> Result<(), Failure> {
    init(git)?;
    let start = start(&remote_refs(git, work, None)?, work)?;
    fetch(git, &work.url, &[format!("+{start}:{BASE}")])
}

/// Starts the clone again, without anything in it.
fn clear(git: &mut Git) -> Result<(), Failure> {
    let tree = git.tree().to_owned();
    let cleared = fs::remove_dir_all(&tree).and_then(|()| fs::create_dir(&tree));
    cleared.map_err(|error| Failure::volume(&tree, &error))?;
    init(git)
}

/// Fetches `start` and the verified commits, and checks out `start` as the branch of the attempt.
fn obtain(git: &mut Git, work: &GitWork, start: &str) -> Result<(), Failure> {
    let mut refspecs = vec![format!("+{start}:{BASE}")];
    let heads =
        work.merge.iter().enumerate().map(|(n, verified)| format!("+{}:{}", branch_ref(&verified.branch), merged(n)));
    refspecs.extend(heads);
    fetch(git, &work.url, &refspecs)?;
    for (n, verified) in work.merge.iter().enumerate() {
        // A branch that was rewritten no longer contains the commit that passed the gates.
        if !git.call(&["merge-base", "--is-ancestor", &verified.commit, &merged(n)])?.ok() {
            return Err(work_not_found(work, verified, "does not hold it"));
        }
    }
    let base = format!("{BASE}^{{commit}}");
    let checkout = git.call(&["checkout", "--quiet", "--no-track", "-B", &work.branch, &base])?;
    if checkout.ok() {
        return Ok(());
    }
    let message = explain("the working tree cannot be written", &checkout.all());
    Err(Failure::new(Reason::ContainerConfigError, message))
}

/// Restores the configuration of the clone and removes the files that redirect Git to another one. Filters and URLs in a configuration that
/// an agent or a gate wrote would otherwise decide what the runner commits and where it pushes.
fn restore_configuration(git: &Git, checkout: &Checkout) -> Result<(), Failure> {
    let own = git.tree().join(".git");
    if !own.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Failure::new(
            Reason::AgentFailed,
            "the agent removed the clone (the directory .git of its working tree)",
        ));
    }
    let restore = || -> io::Result<()> {
        // All processes of the agent have ended, so `index.lock` is stale.
        for name in ["config", "config.worktree", "commondir", "info", "index.lock"] {
            remove(&own.join(name))?;
        }
        fs::write(own.join("config"), &checkout.configuration)
    };
    restore().map_err(|error| {
        Failure::new(Reason::AgentFailed, format!("the Git configuration of the clone cannot be restored: {error}"))
    })
}

/// Removes a file, link or directory, if it exists.
fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Fetches `branch` only and returns its commit.
pub(crate) fn fetch_branch(git: &mut Git, url: &str, branch: &str) -> Result<String, Failure> {
    init(git)?;
    fetch(git, url, &[format!("+{}:{BASE}", branch_ref(branch))])?;
    commit_id(git, BASE)
}

/// Commits all changes in the tree and returns the head: `base` if nothing changed. It does not rewrite commits that the agent made.
pub(crate) fn commit(
    git: &mut Git,
    checkout: &Checkout,
    message: &str,
    trailers: &[String],
) -> Result<String, Failure> {
    let fail = |message: String| Err(Failure::new(Reason::AgentFailed, message));
    restore_configuration(git, checkout)?;
    let base = checkout.base.as_str();
    // Before `add`, which marks conflicts in the index as resolved.
    let unmerged = unmerged(git)?;
    if !unmerged.is_empty() {
        return fail(format!("the agent left unresolved merge conflicts in {}", unmerged.join(", ")));
    }
    git.local(Reason::AgentFailed, &["add", "--all", "."])?;
    if let Some(path) = nested_repository(git)? {
        return fail(format!(
            "the agent created a Git repository of its own in `{path}`; a commit cannot contain its files: remove `{path}/.git`"
        ));
    }
    if !git.call(&["diff", "--cached", "--quiet"])?.ok() {
        let mut args = vec!["commit", "--quiet", "--cleanup=whitespace", "--message", message];
        args.extend(trailers.iter().flat_map(|trailer| ["--trailer", trailer.as_str()]));
        git.local(Reason::AgentFailed, &args)?;
    }
    let head = commit_id(git, "HEAD")?;
    if !git.call(&["merge-base", "--is-ancestor", base, &head])?.ok() {
        return fail(format!(
            "the agent left a history that does not contain the commit {base} that it started from; it must not rewrite history"
        ));
    }
    Ok(head)
}

/// Adds a commit without changes on top of `commit`, which says that the work is not finished.
pub(crate) fn mark_unfinished(
    git: &mut Git,
    checkout: &Checkout,
    commit: &str,
    paragraphs: &[&str],
) -> Result<String, Failure> {
    // A gate may have changed the configuration and the index. The tree of the commit is not affected.
    restore_configuration(git, checkout)?;
    let tree = format!("{commit}^{{tree}}");
    let mut args = vec!["commit-tree", &tree, "-p", commit];
    args.extend(paragraphs.iter().flat_map(|paragraph| ["-m", *paragraph]));
    git.local(Reason::AgentFailed, &args).map(|id| id.trim().to_owned())
}

/// Puts the changes of an earlier attempt into the working tree, uncommitted. The tree is unchanged if they do not apply.
pub(crate) fn restore_unfinished(git: &mut Git, work: &GitWork, unfinished: &UnfinishedWork) -> Result<(), Failure> {
    let UnfinishedWork { branch, commit, base } = unfinished;
    let missing = |what: String| Failure::new(Reason::WorkNotFound, what);
    fetch(git, &work.url, &[format!("+{}:{UNFINISHED}", branch_ref(branch))])?;
    for (older, newer) in [(commit.as_str(), UNFINISHED), (base, commit)] {
        if !git.call(&["merge-base", "--is-ancestor", older, newer])?.ok() {
            return Err(missing(format!("the branch `{branch}` no longer holds its commit {commit}")));
        }
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

/// Pushes `commit` to the branch of the attempt and returns the commit that the branch then points to.
///
/// A second run of the same attempt may find the push of the first one. It keeps that push if the trees are equal, and replaces it
/// otherwise.
pub(crate) fn push_work(git: &mut Git, work: &GitWork, checkout: &Checkout, commit: String) -> Result<String, Failure> {
    // The gates ran after `commit` and could change the configuration again.
    restore_configuration(git, checkout)?;
    let Some(earlier) = &checkout.earlier else {
        push(git, &work.url, &commit, &work.branch, None)?;
        return Ok(commit);
    };
    fetch(git, &work.url, &[format!("+{}:{EARLIER}", branch_ref(&work.branch))])?;
    let same_tree = git.call(&["diff", "--quiet", EARLIER, &commit])?.ok();
    if same_tree && git.call(&["merge-base", "--is-ancestor", &checkout.base, EARLIER])?.ok() {
        return Ok(earlier.clone());
    }
    push(git, &work.url, &commit, &work.branch, Some(earlier))?;
    Ok(commit)
}

/// Pushes `commit` to `branch`. The push is a fast-forward, unless the branch still points to `replaced`.
pub(crate) fn push(
    git: &mut Git,
    url: &str,
    commit: &str,
    branch: &str,
    replaced: Option<&str>,
) -> Result<(), Failure> {
    let refspec = format!("{commit}:{}", branch_ref(branch));
    // The lease replaces the old push of this attempt only. If somebody else moved the branch, Git rejects the push.
    let lease = replaced.map(|replaced| format!("--force-with-lease={}:{replaced}", branch_ref(branch)));
    let mut args = vec!["push", "--quiet", "--porcelain", "--no-verify", "--recurse-submodules=no"];
    args.extend(lease.as_deref());
    args.extend(["--", url, &refspec]);
    git.remote(url, &args).map(drop)
}

fn remote_refs(git: &mut Git, work: &GitWork, target: Option<&str>) -> Result<BTreeMap<String, String>, Failure> {
    let mut names = vec![branch_ref(&work.revision), tag_ref(&work.revision), branch_ref(&work.branch)];
    names.extend(work.merge.iter().map(|verified| verified.branch.as_str()).chain(target).map(branch_ref));
    let mut args = vec!["ls-remote", "--quiet", "--", &work.url];
    args.extend(names.iter().map(String::as_str));
    let listed = git.remote(&work.url, &args)?;
    // `ls-remote` also lists refs that only end with one of the names.
    let pairs = listed.lines().filter_map(|line| line.split_once('\t'));
    Ok(pairs.filter(|(_, name)| names.iter().any(|n| n == name)).map(|(id, name)| (name.into(), id.into())).collect())
}

/// Returns the ref or commit ID to fetch for the revision.
fn start(refs: &BTreeMap<String, String>, work: &GitWork) -> Result<String, Failure> {
    let revision = &work.revision;
    if is_commit_id(revision) {
        return Ok(revision.clone());
    }
    [branch_ref(revision), tag_ref(revision)].into_iter().find(|name| refs.contains_key(name)).ok_or_else(|| {
        let message = format!(
            "branch or tag `{revision}` (a commit needs its full ID) does not exist in {}; check {}",
            work.url, PLAN_FIELDS.revision
        );
        Failure::new(Reason::RevisionNotFound, message)
    })
}

fn work_not_found(work: &GitWork, VerifiedCommit { branch, commit }: &VerifiedCommit, problem: &str) -> Failure {
    let message = format!(
        "commit {commit} cannot be merged: its branch `{branch}` {problem} in {}. Somebody replaced or deleted the branch after the commit \
         passed its gates; push the commit to the branch again, and find out who can push there",
        work.url
    );
    Failure::new(Reason::WorkNotFound, message)
}

fn fetch(git: &mut Git, url: &str, refspecs: &[String]) -> Result<(), Failure> {
    // One pack for each fetch, whatever its size: the clone cache gets it as it is.
    let mut args = vec!["-c", "fetch.unpackLimit=1", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head"];
    args.extend(["--no-recurse-submodules", "--", url]);
    args.extend(refspecs.iter().map(String::as_str));
    git.remote(url, &args).map(drop)
}

fn merge(git: &mut Git, branch: &str, commit: &str) -> Result<(), Failure> {
    let message = format!("Merge branch '{branch}'");
    let output = git.call(&["merge", "--quiet", "--no-edit", "-m", &message, commit])?;
    if output.ok() {
        return Ok(());
    }
    let mut conflicts = unmerged(git)?;
    let (count, named) = (conflicts.len(), conflicts.iter().take(5).cloned().collect::<Vec<_>>().join(", "));
    conflicts.truncate(MAX_CONFLICTS);
    let head = match count {
        0 => format!("branch `{branch}` cannot be merged"),
        _ => format!("branch `{branch}` conflicts with the branches merged before it in {count} file(s): {named}"),
    };
    let message = if count == 0 { explain(&head, &output.all()) } else { head };
    Err(Failure { conflicts, ..Failure::new(Reason::MergeConflict, message) })
}

/// Returns the files with conflicts in the index.
fn unmerged(git: &mut Git) -> Result<Vec<String>, Failure> {
    let listed = git.local(Reason::AgentFailed, &["diff", "--name-only", "--diff-filter=U", "-z"])?;
    Ok(listed.split_terminator('\0').map(str::to_owned).collect())
}

/// Returns the path of a repository inside the tree, which `git add` stages as a link to a commit without its files.
fn nested_repository(git: &mut Git) -> Result<Option<String>, Failure> {
    let staged = git.local(Reason::AgentFailed, &["diff", "--cached", "--raw", "--diff-filter=A", "-z"])?;
    let mut fields = staged.split_terminator('\0');
    while let (Some(entry), Some(path)) = (fields.next(), fields.next()) {
        // `:<old mode> <new mode> …`
        if entry.split(' ').nth(1) == Some("160000") {
            return Ok(Some(path.to_owned()));
        }
    }
    Ok(None)
}

fn commit_id(git: &mut Git, name: &str) -> Result<String, Failure> {
    let id = git.local(Reason::AgentFailed, &["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])?;
    Ok(id.trim().to_owned())
}

/// Returns the ref in the clone for the branch number `n` of those to merge.
fn merged(n: usize) -> String {
    format!("refs/enact/merge/{n}")
}
