//! The knowledge in a repository: what the prompt of an agent gets of it, and the check of a change to it.

use enact_domain::assignment::Reason;
use enact_domain::knowledge::{Knowledge, MAX_FILE_BYTES, ObjectIds, PATH};

use crate::failure::Failure;
use crate::git::Git;
use crate::log::log;

/// Returns the part of a prompt with what is known at `commit`; empty if nothing is. `about` is the text of the prompt.
pub(crate) fn section(git: &mut Git, commit: &str, about: &str) -> Result<String, Failure> {
    let Some(blob) = object_id(git, commit)? else { return Ok(String::new()) };
    let Some(file) = read(git, &blob)? else {
        log(&format!("`{PATH}` is not used: it is not a file of at most {MAX_FILE_BYTES} bytes"));
        return Ok(String::new());
    };
    let known = Knowledge::parse(&file);
    let ids = object_ids(git, commit, &known)?;
    let expired = known.entries.iter().filter(|entry| entry.changed(&ids).is_some()).count();
    log(&format!(
        "`{PATH}`: {} entries, of which {expired} have expired, and {} problems",
        known.entries.len(),
        known.problems.len()
    ));
    Ok(known.section(&ids, about))
}

/// Checks the file in `commit` if it is another one than in `base`. Only a task whose title names the file may change it: whoever approves the
/// plan reads the title.
pub(crate) fn check(git: &mut Git, base: &str, commit: &str, title: &str) -> Result<(), Failure> {
    let (before, after) = (object_id(git, base)?, object_id(git, commit)?);
    if before == after {
        return Ok(());
    }
    let refused = |why: String| Err(Failure::new(Reason::AgentFailed, why));
    if !title.contains(PATH) {
        return refused(format!(
            "the agent changed `{PATH}`, which agents of later plans read. Only a task whose title names this file may change it; restore the file"
        ));
    }
    let Some(blob) = after else { return Ok(()) };
    let Some(file) = read(git, &blob)? else {
        return refused(format!("`{PATH}` is not a file of at most {MAX_FILE_BYTES} bytes; write a shorter one"));
    };
    let proposed = Knowledge::parse(&file);
    let ids = object_ids(git, commit, &proposed)?;
    proposed.refusal(&ids).map_or(Ok(()), refused)
}

/// Returns the id of the file in a commit; none if there is no such file or commit.
fn object_id(git: &mut Git, commit: &str) -> Result<Option<String>, Failure> {
    let path = format!("{commit}:{PATH}");
    let found = git.call(&["rev-parse", "--verify", "--quiet", "--end-of-options", &path])?;
    Ok(found.ok().then(|| found.text().trim().to_owned()))
}

/// Returns the content of a file; none if the object is not a file, or is too long.
fn read(git: &mut Git, blob: &str) -> Result<Option<Vec<u8>>, Failure> {
    let size = git.call(&["cat-file", "-s", blob])?;
    let size = size.ok().then(|| size.text().trim().parse::<usize>().ok()).flatten();
    if size.is_none_or(|size| size > MAX_FILE_BYTES) {
        return Ok(None);
    }
    let content = git.call(&["cat-file", "blob", blob])?;
    Ok(content.ok().then_some(content.stdout))
}

/// Returns the objects of a commit that are evidence.
fn object_ids(git: &mut Git, commit: &str, known: &Knowledge) -> Result<ObjectIds, Failure> {
    let paths = known.paths();
    if paths.is_empty() {
        return Ok(ObjectIds::new());
    }
    // `-t`: a directory is shown also if another path is below it.
    let args = [&["ls-tree", "-t", "-z", "--full-tree", commit][..], &paths[..]].concat();
    let found = git.local(Reason::ContainerConfigError, &args)?;
    let object = |line: &str| {
        let (object, path) = line.split_once('\t')?;
        Some((path.to_owned(), object.rsplit(' ').next()?.to_owned()))
    };
    Ok(found.split('\0').filter_map(object).collect())
}
