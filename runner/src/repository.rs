//! What an attempt does with its repository: take what it needs, merge, commit, push.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use enact_domain::assignment::{GitWork, Reason, VerifiedCommit};

use crate::failure::{Failure, explain};
use crate::git::Git;

/// Where the start of the work is kept in the clone.
const BASE: &str = "refs/enact/base";
/// Where an earlier push of the same attempt is kept in the clone.
const EARLIER: &str = "refs/enact/earlier";
/// How many files in conflict are named.
const MAX_CONFLICTS: usize = 200;

/// A clone that is ready for work.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// The commit that the work starts from, with all branches merged.
    pub(crate) base: String,
    /// What the attempt's branch held before, when an earlier run of the same attempt got as far as the push.
    earlier: Option<String>,
    /// The clone's own configuration, before an agent came near it.
    configuration: Vec<u8>,
}

/// Clones the repository at the revision (or at `target`, where that branch exists), and merges the verified work in its order. Of its
/// branches only the commits count that are told: somebody else may have pushed to them since.
///
/// Only the commits that the work needs are fetched, and no remote is configured: the agent has no business with it.
pub(crate) fn prepare(git: &mut Git, work: &GitWork, target: Option<&str>) -> Result<Checkout, Failure> {
    git.local(Reason::ContainerConfigError, &["init", "--quiet", "."])?;
    let refs = remote_refs(git, work, target)?;
    let start = target.map(head).filter(|name| refs.contains_key(name)).map_or_else(|| start(&refs, work), Ok)?;
    if let Some(missing) = work.merge.iter().find(|verified| !refs.contains_key(&head(&verified.branch))) {
        return Err(lost(work, missing, "does not exist"));
    }
    let mut refspecs = vec![format!("+{start}:{BASE}")];
    let heads = work.merge.iter().enumerate().map(|(n, verified)| format!("+{}:{}", head(&verified.branch), merged(n)));
    refspecs.extend(heads);
    fetch(git, &work.url, &refspecs)?;
    for (n, verified) in work.merge.iter().enumerate() {
        if !git.call(&["merge-base", "--is-ancestor", &verified.commit, &merged(n)])?.ok() {
            return Err(lost(work, verified, "does not hold it"));
        }
    }
    let base = format!("{BASE}^{{commit}}");
    let checkout = git.call(&["checkout", "--quiet", "--no-track", "-B", &work.branch, &base])?;
    if !checkout.ok() {
        return Err(Failure::new(
            Reason::ContainerConfigError,
            explain("the working tree cannot be written", &checkout.told()),
        ));
    }
    for VerifiedCommit { branch, commit } in &work.merge {
        merge(git, branch, commit)?;
    }
    let file = git.tree().join(".git/config");
    let configuration = fs::read(&file).map_err(|error| Failure::volume(&file, &error))?;
    let earlier = refs.get(&head(&work.branch)).cloned();
    Ok(Checkout { base: commit_id(git, "HEAD")?, earlier, configuration })
}

/// Puts the clone's configuration back, and takes away what would lead Git to another: filters and URLs that an agent, or what a gate
/// ran, left there would decide what is committed, and where it is pushed.
fn disarm(git: &Git, checkout: &Checkout) -> Result<(), Failure> {
    let own = git.tree().join(".git");
    if !own.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Failure::new(Reason::AgentFailed, "the agent removed the clone that it was given to work in"));
    }
    let disarmed = || -> io::Result<()> {
        // Every process of the agent is gone, so a lock is a leftover.
        for name in ["config", "config.worktree", "commondir", "info", "index.lock"] {
            remove(&own.join(name))?;
        }
        fs::write(own.join("config"), &checkout.configuration)
    };
    disarmed().map_err(|error| {
        Failure::new(Reason::AgentFailed, format!("the agent left a clone that cannot be put in order: {error}"))
    })
}

/// Removes a file, a link or a directory, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Fetches `branch` alone and returns its commit.
pub(crate) fn fetch_branch(git: &mut Git, url: &str, branch: &str) -> Result<String, Failure> {
    git.local(Reason::ContainerConfigError, &["init", "--quiet", "."])?;
    fetch(git, url, &[format!("+{}:{BASE}", head(branch))])?;
    commit_id(git, BASE)
}

/// Commits whatever changed in the tree, and returns the commit that holds the whole work: `base` when nothing changed.
///
/// Commits that the agent made stay as they are.
pub(crate) fn commit(
    git: &mut Git,
    checkout: &Checkout,
    message: &str,
    trailers: &[String],
) -> Result<String, Failure> {
    let fault = |message: String| Err(Failure::new(Reason::AgentFailed, message));
    disarm(git, checkout)?;
    let base = checkout.base.as_str();
    let unmerged = unmerged(git)?;
    if !unmerged.is_empty() {
        return fault(format!("the agent left conflicts of a merge unresolved in {}", unmerged.join(", ")));
    }
    git.local(Reason::AgentFailed, &["add", "--all", "."])?;
    if let Some(path) = nested_repository(git)? {
        return fault(format!("the agent left a Git repository of its own in `{path}`; its files would be lost"));
    }
    if !git.call(&["diff", "--cached", "--quiet"])?.ok() {
        let mut args = vec!["commit", "--quiet", "--cleanup=whitespace", "--message", message];
        args.extend(trailers.iter().flat_map(|trailer| ["--trailer", trailer.as_str()]));
        git.local(Reason::AgentFailed, &args)?;
    }
    let head = commit_id(git, "HEAD")?;
    if !git.call(&["merge-base", "--is-ancestor", base, &head])?.ok() {
        return fault(format!("the agent left a history that does not contain the commit {base} that it was given"));
    }
    Ok(head)
}

/// Pushes `commit` to the attempt's own branch, and returns the commit that the branch holds then.
///
/// A second run of the same attempt finds the first one's push: equal work is left as it is, other work takes its place.
pub(crate) fn push_work(git: &mut Git, work: &GitWork, checkout: &Checkout, commit: String) -> Result<String, Failure> {
    disarm(git, checkout)?;
    let Some(earlier) = &checkout.earlier else {
        push(git, &work.url, &commit, &work.branch, None)?;
        return Ok(commit);
    };
    fetch(git, &work.url, &[format!("+{}:{EARLIER}", head(&work.branch))])?;
    let same_tree = git.call(&["diff", "--quiet", EARLIER, &commit])?.ok();
    if same_tree && git.call(&["merge-base", "--is-ancestor", &checkout.base, EARLIER])?.ok() {
        return Ok(earlier.clone());
    }
    push(git, &work.url, &commit, &work.branch, Some(earlier))?;
    Ok(commit)
}

/// Pushes `commit` to `branch`: only forward, or in the place of `replaced` and nothing else.
pub(crate) fn push(
    git: &mut Git,
    url: &str,
    commit: &str,
    branch: &str,
    replaced: Option<&str>,
) -> Result<(), Failure> {
    let refspec = format!("{commit}:{}", head(branch));
    let lease = replaced.map(|replaced| format!("--force-with-lease={}:{replaced}", head(branch)));
    let mut args = vec!["push", "--quiet", "--porcelain", "--no-verify", "--recurse-submodules=no"];
    args.extend(lease.as_deref());
    args.extend(["--", url, &refspec]);
    git.remote(url, &args).map(drop)
}

fn remote_refs(git: &mut Git, work: &GitWork, target: Option<&str>) -> Result<BTreeMap<String, String>, Failure> {
    let mut names = vec![head(&work.revision), tag(&work.revision), head(&work.branch)];
    names.extend(work.merge.iter().map(|verified| verified.branch.as_str()).chain(target).map(head));
    let mut args = vec!["ls-remote", "--quiet", "--", &work.url];
    args.extend(names.iter().map(String::as_str));
    let listed = git.remote(&work.url, &args)?;
    // A pattern matches the end of a name, too: only whole names count.
    let pairs = listed.lines().filter_map(|line| line.split_once('\t'));
    Ok(pairs.filter(|(_, name)| names.iter().any(|n| n == name)).map(|(id, name)| (name.into(), id.into())).collect())
}

/// What to fetch for the revision.
fn start(refs: &BTreeMap<String, String>, work: &GitWork) -> Result<String, Failure> {
    let revision = &work.revision;
    if is_commit_id(revision) {
        return Ok(revision.clone());
    }
    [head(revision), tag(revision)]
        .into_iter()
        .find(|name| refs.contains_key(name))
        .ok_or_else(|| not_found(work, &format!("branch or tag `{revision}` (a commit must be named by its whole id)")))
}

fn not_found(work: &GitWork, what: &str) -> Failure {
    Failure::new(
        Reason::RevisionNotFound,
        format!("{what} does not exist in {}; check {}", work.url, crate::git::WORKSPACE.revision),
    )
}

fn lost(work: &GitWork, VerifiedCommit { branch, commit }: &VerifiedCommit, how: &str) -> Failure {
    let message = format!(
        "commit {commit} is to be merged, and its branch `{branch}` {how} in {}: somebody replaced or deleted what had passed its gates; \
         push that commit to the branch again, and find out who may push there",
        work.url
    );
    Failure::new(Reason::WorkNotFound, message)
}

fn fetch(git: &mut Git, url: &str, refspecs: &[String]) -> Result<(), Failure> {
    let mut args = vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--", url];
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
        0 => format!("branch `{branch}` does not merge"),
        _ => format!("branch `{branch}` conflicts with what was merged before it in {count} file(s): {named}"),
    };
    let message = if count == 0 { explain(&head, &output.told()) } else { head };
    Err(Failure { reason: Reason::MergeConflict, message, conflicts })
}

/// Files with conflicts in the index.
fn unmerged(git: &mut Git) -> Result<Vec<String>, Failure> {
    let listed = git.local(Reason::AgentFailed, &["diff", "--name-only", "--diff-filter=U", "-z"])?;
    Ok(listed.split_terminator('\0').map(str::to_owned).collect())
}

/// A repository inside the tree that was staged as a bare link.
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

/// Whether `name` is the whole id of a commit.
pub(crate) fn is_commit_id(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(crate) fn head(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

pub(crate) fn tag(name: &str) -> String {
    format!("refs/tags/{name}")
}

fn merged(n: usize) -> String {
    format!("refs/enact/merge/{n}")
}
