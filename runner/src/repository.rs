//! Operations of an attempt on its repository: fetch, merge, commit, push.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use enact_domain::assignment::{GitWork, Reason, VerifiedCommit};
use enact_domain::warm_pool::Prefetch;

use crate::clone_cache::{Cached, CloneCache, Transfer};
use crate::failure::{Failure, explain};
use crate::git::{Git, PLAN_FIELDS, RepositoryFields};
use crate::log::log;
use crate::process::Supervisor;
use crate::refs::{branch_ref, is_commit_id, tag_ref};
use crate::settings::Settings;
use crate::workspace::WorkspaceLayout;

/// Ref in the clone for the commit that the work starts from.
pub(crate) const BASE: &str = "refs/enact/base";
/// Prefix of the refs in the clone for the branches to merge.
pub(crate) const MERGED: &str = "refs/enact/merge/";
/// Ref in the clone for an earlier push of the same attempt.
const EARLIER: &str = "refs/enact/earlier";
/// Beginning of the message of the commit that marks work as unfinished. No message of finished work begins with it.
pub(crate) const UNFINISHED_MARK: &str = "Unfinished: ";
/// The first commit of an empty repository, after the ID of its tree. It is the same in every clone, so that the work of different tasks can
/// be merged.
const FIRST_COMMIT: &str = "author Enact <enact@enact.dev> 1767225600 +0000\ncommitter Enact <enact@enact.dev> 1767225600 +0000\n\n\
                            Begin the repository\n";
/// Branches below this are those of attempts.
const ATTEMPTS: &str = "refs/heads/enact/";
/// Most branches that a message names.
const MAX_BRANCHES: usize = 5;
/// Most files in conflict that a report names.
const MAX_CONFLICTS: usize = 200;

/// A clone that is ready for work.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// The commit that the work starts from, after all merges.
    pub(crate) base: String,
    /// The commit of the attempt's branch, if this run or an earlier one of the same attempt has pushed to it.
    pub(crate) pushed: Option<String>,
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
    let start = match target.map(branch_ref).filter(|name| refs.contains_key(name)) {
        Some(target) => Some(target),
        None => start(git, &refs, work)?,
    };
    let start = start.as_deref();
    if let Some(missing) = work.merge.iter().find(|verified| !refs.contains_key(&branch_ref(&verified.branch))) {
        return Err(work_not_found(work, missing, "does not exist"));
    }
    let cached = downloaded(git, download)?;
    with_cached(git, cached.as_ref(), |git| obtain(git, work, start))?;
    if start.is_some() {
        update(git, cache, cached.as_ref())?;
    }
    for VerifiedCommit { branch, commit } in &work.merge {
        merge(git, branch, commit)?;
    }
    // Read before the agent runs. `commit` and `push_work` restore it, because agents and gates can change it.
    let file = git.tree().join(".git/config");
    let configuration = fs::read(&file).map_err(|error| Failure::volume(&file, &error))?;
    // An earlier container of the same attempt may have pushed and then failed, for example before its delivery.
    let pushed = refs.get(&branch_ref(&work.branch)).cloned();
    Ok(Checkout { base: commit_id(git, "HEAD")?, pushed, configuration })
}

fn init(git: &mut Git) -> Result<(), Failure> {
    git.local(Reason::ContainerConfigError, &["init", "--quiet", "."]).map(drop)
}

/// Fetches a repository and keeps the clone, for an attempt or a container that comes later.
pub(crate) fn fetch_ahead(
    supervisor: &mut Supervisor,
    settings: &Settings,
    repository: &Prefetch,
    fields: &'static RepositoryFields,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let layout = WorkspaceLayout::new(settings);
    layout.clear()?;
    let Prefetch { url, revision, cache_url } = repository;
    let mut git = Git::new(supervisor, settings, url, fields)?;
    let work = GitWork {
        url: url.clone(),
        revision: revision.clone(),
        merge: Vec::new(),
        branch: revision.clone(),
        cache_url: cache_url.clone(),
    };
    prefetch(&mut git, &work, CloneCache::of(settings, &work).as_ref())?;
    layout.keep_clone()?;
    log(&format!("fetched {url} at {revision} in {} ms", begun.elapsed().as_millis()));
    Ok(())
}

/// Fetches the revision of `work` into a new clone, with the clone cache as [`prepare`] does. A later `prepare` in it fetches only what is
/// newer.
fn prefetch(git: &mut Git, work: &GitWork, cache: Option<&CloneCache>) -> Result<(), Failure> {
    init(git)?;
    let download = cache.map(|cache| cache.download(git.tree()));
    let start = remote_refs(git, work, None).and_then(|refs| start(git, &refs, work));
    // Also after a failure: the attempt that comes must not find a thread that still writes into the clone.
    let cached = downloaded(git, download)?;
    // An empty repository has nothing to fetch.
    let Some(start) = start? else { return Ok(()) };
    with_cached(git, cached.as_ref(), |git| fetch(git, &work.url, &[format!("+{start}:{BASE}")]))?;
    update(git, cache, cached.as_ref())
}

/// Checks out the revision that [`fetch_ahead`] fetched. The working tree of an empty repository stays empty.
pub(crate) fn check_out_base(git: &mut Git) -> Result<(), Failure> {
    let exists = git.call(&["rev-parse", "--verify", "--quiet", "--end-of-options", BASE])?.ok();
    if exists {
        git.local(Reason::ContainerConfigError, &["checkout", "--quiet", "--detach", BASE])?;
    }
    Ok(())
}

/// Waits for the end of a download from the clone cache; none if there is no usable cache.
fn downloaded(git: &mut Git, download: Option<Transfer<Cached>>) -> Result<Option<Cached>, Failure> {
    let Some(download) = download else { return Ok(None) };
    match download.finish(git.supervisor)? {
        Ok(cached) => Ok(Some(cached)),
        Err(problem) => {
            log(&format!("the clone cache cannot be used, cloning from the Git server: {problem}"));
            Ok(None)
        }
    }
}

/// Takes a step in the clone that may have packs of the clone cache, and repeats it in an empty clone if it fails with them: the cache may
/// have something that Git cannot use. If the failure has another cause, it occurs again.
fn with_cached(
    git: &mut Git,
    cached: Option<&Cached>,
    step: impl Fn(&mut Git) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match step(git) {
        Err(failure) if matches!(cached, Some(Cached::Packs(_))) && failure.reason != Reason::Cancelled => {
            log(&format!("trying again without the clone cache: {}", failure.message));
            clear(git)?;
            step(git)
        }
        done => done,
    }
}

/// Sends what was fetched from the Git server to the clone cache, if there is one.
fn update(git: &mut Git, cache: Option<&CloneCache>, cached: Option<&Cached>) -> Result<(), Failure> {
    let (Some(cache), Some(cached)) = (cache, cached) else { return Ok(()) };
    let (tree, commit) = (git.tree().to_owned(), commit_id(git, BASE)?);
    cache.update(git.supervisor, &tree, cached, &commit)
}

/// Starts the clone again, without anything in it.
fn clear(git: &mut Git) -> Result<(), Failure> {
    let tree = git.tree().to_owned();
    let cleared = fs::remove_dir_all(&tree).and_then(|()| fs::create_dir(&tree));
    cleared.map_err(|error| Failure::volume(&tree, &error))?;
    init(git)
}

/// Fetches `start` and the verified commits, and checks out `start` as the branch of the attempt. Without a start, the repository is empty,
/// and gets its first commit.
fn obtain(git: &mut Git, work: &GitWork, start: Option<&str>) -> Result<(), Failure> {
    let mut refspecs: Vec<String> = start.iter().map(|start| format!("+{start}:{BASE}")).collect();
    let heads =
        work.merge.iter().enumerate().map(|(n, verified)| format!("+{}:{}", branch_ref(&verified.branch), merged(n)));
    refspecs.extend(heads);
    if start.is_none() {
        begin_repository(git, work)?;
    }
    if !refspecs.is_empty() {
        fetch(git, &work.url, &refspecs)?;
    }
    for (n, verified) in work.merge.iter().enumerate() {
        // A branch that was rewritten no longer contains the commit that passed the gates.
        if !is_ancestor(git, &verified.commit, &merged(n))? {
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

/// Makes the first commit of an empty repository, and creates the branch that the plan starts from if the credential allows that.
fn begin_repository(git: &mut Git, work: &GitWork) -> Result<(), Failure> {
    let tree = git.local(Reason::ContainerConfigError, &["hash-object", "-t", "tree", "-w", "/dev/null"])?;
    let file = git.tree().join(".git/enact-first-commit");
    fs::write(&file, format!("tree {}\n{FIRST_COMMIT}", tree.trim()))
        .map_err(|error| Failure::volume(&file, &error))?;
    let path = file.to_string_lossy();
    let commit = git.local(Reason::ContainerConfigError, &["hash-object", "-t", "commit", "-w", &path])?;
    let commit = commit.trim().to_owned();
    git.local(Reason::ContainerConfigError, &["update-ref", BASE, &commit])?;
    // Otherwise, a Git host takes the first branch of a task for the default branch.
    match push(git, &work.url, &commit, &work.revision, None) {
        Ok(()) => log(&format!("the repository was empty: created `{}` with an empty commit", work.revision)),
        Err(failure) if failure.reason == Reason::Cancelled => return Err(failure),
        Err(failure) => {
            log(&format!("the repository is empty, and `{}` was not created: {}", work.revision, failure.message));
        }
    }
    Ok(())
}

/// Restores the configuration of the clone and removes the files that redirect Git to another one. Filters and URLs in a configuration that
/// an agent or a gate wrote would otherwise decide what the runner commits and where it pushes.
pub(crate) fn restore_configuration(git: &Git, checkout: &Checkout) -> Result<(), Failure> {
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
pub(crate) fn remove(path: &Path) -> io::Result<()> {
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
    // Before `add`, which fails for a repository without a commit.
    if let Some(path) = nested_repositories(git, base)?.first() {
        return fail(format!(
            "the agent left a Git repository of its own in `{path}`, and a commit cannot contain the files of another repository. Remove \
             `{path}/.git` at the end of the work if the files belong to it; otherwise work outside of the tree, as in $TMPDIR, or add \
             `{path}/` to .gitignore"
        ));
    }
    git.local(Reason::AgentFailed, &["add", "--all", "."])?;
    if !git.call(&["diff", "--cached", "--quiet"])?.ok() {
        let mut args = vec!["commit", "--quiet", "--cleanup=whitespace", "--message", message];
        args.extend(trailers.iter().flat_map(|trailer| ["--trailer", trailer.as_str()]));
        git.local(Reason::AgentFailed, &args)?;
    }
    let head = commit_id(git, "HEAD")?;
    if !is_ancestor(git, base, &head)? {
        return fail(format!(
            "the agent left a history that does not contain the commit {base} that it started from; it must not rewrite history"
        ));
    }
    Ok(head)
}

/// Replaces the working tree by a checkout of `commit`. It has no file that Git ignores, and none that the agent's index hid from `commit`.
pub(crate) fn check_out_again(
    git: &mut Git,
    layout: &WorkspaceLayout,
    checkout: &Checkout,
    commit: &str,
) -> Result<(), Failure> {
    restore_configuration(git, checkout)?;
    layout.renew_tree()?;
    // Entries of this index can say that a file is unchanged whatever it contains.
    let index = layout.tree.join(".git/index");
    remove(&index).map_err(|error| Failure::volume(&index, &error))?;
    git.local(Reason::AgentFailed, &["reset", "--quiet", "--hard", commit]).map(drop)
}

/// Pushes `commit` to the branch of the attempt and returns the commit that the branch then points to.
///
/// A second run of the same attempt may find the push of the first one. It keeps that push if it is finished work with the same tree, and
/// replaces it otherwise.
pub(crate) fn push_work(
    git: &mut Git,
    work: &GitWork,
    checkout: &mut Checkout,
    commit: String,
) -> Result<String, Failure> {
    // The gates ran after `commit` and could change the configuration again.
    restore_configuration(git, checkout)?;
    if let Some(earlier) = &checkout.pushed {
        fetch(git, &work.url, &[format!("+{}:{EARLIER}", branch_ref(&work.branch))])?;
        // Somebody else may have moved the branch since it was listed. Then the lease below refuses the push.
        let is_own = commit_id(git, EARLIER)? == *earlier;
        let subject = git.local(Reason::AgentFailed, &["log", "-1", "--format=%s", EARLIER])?;
        let same_tree = git.call(&["diff", "--quiet", EARLIER, &commit])?.ok();
        let contains_base = is_ancestor(git, &checkout.base, EARLIER)?;
        if is_own && same_tree && contains_base && !subject.starts_with(UNFINISHED_MARK) {
            return Ok(earlier.clone());
        }
    }
    push_replacing(git, work, checkout, commit)
}

/// Pushes `commit` to the branch of the attempt, in place of what this attempt has pushed before, and returns it.
pub(crate) fn push_replacing(
    git: &mut Git,
    work: &GitWork,
    checkout: &mut Checkout,
    commit: String,
) -> Result<String, Failure> {
    restore_configuration(git, checkout)?;
    push(git, &work.url, &commit, &work.branch, checkout.pushed.as_deref())?;
    checkout.pushed = Some(commit.clone());
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

/// Returns the ref or commit ID to fetch for the revision; none if the repository has no commits but those of attempts.
fn start(git: &mut Git, refs: &BTreeMap<String, String>, work: &GitWork) -> Result<Option<String>, Failure> {
    let revision = &work.revision;
    if is_commit_id(revision) {
        return Ok(Some(revision.clone()));
    }
    let found = [branch_ref(revision), tag_ref(revision)].into_iter().find(|name| refs.contains_key(name));
    if found.is_some() {
        return Ok(found);
    }
    let listed = git.remote(&work.url, &["ls-remote", "--quiet", "--heads", "--tags", "--", &work.url])?;
    let names = listed.lines().filter_map(|line| line.split_once('\t')).map(|(_, name)| name);
    let existing: Vec<&str> = names.filter(|name| !name.starts_with(ATTEMPTS)).collect();
    if existing.is_empty() {
        return Ok(None);
    }
    let some: Vec<&str> =
        existing.iter().filter_map(|name| name.strip_prefix("refs/heads/")).take(MAX_BRANCHES).collect();
    let message = format!(
        "branch or tag `{revision}` (a commit needs its full ID) does not exist in {}; check {}, or create the branch. Branches there: {}",
        work.url,
        PLAN_FIELDS.revision,
        if some.is_empty() { "none".to_owned() } else { some.join(", ") }
    );
    Err(Failure::new(Reason::RevisionNotFound, message))
}

fn work_not_found(work: &GitWork, VerifiedCommit { branch, commit }: &VerifiedCommit, problem: &str) -> Failure {
    let message = format!(
        "commit {commit} cannot be merged: its branch `{branch}` {problem} in {}. Somebody replaced or deleted the branch after the commit \
         passed its gates; push the commit to the branch again, and find out who can push there",
        work.url
    );
    Failure::new(Reason::WorkNotFound, message)
}

pub(crate) fn fetch(git: &mut Git, url: &str, refspecs: &[String]) -> Result<(), Failure> {
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

/// Returns the paths of repositories inside the tree. A commit contains a link to their commit at most, without their files.
pub(crate) fn nested_repositories(git: &mut Git, base: &str) -> Result<Vec<String>, Failure> {
    // Git lists an untracked repository as a folder, and all other untracked files by their names.
    let untracked = git.local(Reason::AgentFailed, &["ls-files", "--others", "--exclude-standard", "-z"])?;
    let mut nested: Vec<String> =
        untracked.split_terminator('\0').filter_map(|path| path.strip_suffix('/')).map(str::to_owned).collect();
    // The agent may have staged or committed such a link itself, also in place of a file.
    let raw = ["diff", "--cached", "--raw", "--diff-filter=AT", "--no-renames", "-z", base];
    let added = git.local(Reason::AgentFailed, &raw)?;
    let mut fields = added.split_terminator('\0');
    while let (Some(entry), Some(path)) = (fields.next(), fields.next()) {
        // `:<old mode> <new mode> …`
        if entry.split(' ').nth(1) == Some("160000") {
            nested.push(path.to_owned());
        }
    }
    Ok(nested)
}

/// Returns whether the history of `newer` contains `older`.
pub(crate) fn is_ancestor(git: &mut Git, older: &str, newer: &str) -> Result<bool, Failure> {
    Ok(git.call(&["merge-base", "--is-ancestor", older, newer])?.ok())
}

fn commit_id(git: &mut Git, name: &str) -> Result<String, Failure> {
    let id = git.local(Reason::AgentFailed, &["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])?;
    Ok(id.trim().to_owned())
}

/// Returns the ref in the clone for the branch number `n` of those to merge.
fn merged(n: usize) -> String {
    format!("{MERGED}{n}")
}
