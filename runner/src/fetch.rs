//! Reads one file from a Git repository and transfers as little else as the Git server allows.

use enact_domain::assignment::Reason;
use enact_domain::document_job::{FetchWork, MAX_DOCUMENT_BYTES};

use crate::document::{self, Document};
use crate::failure::Failure;
use crate::git::{Git, RepositoryFields};
use crate::log::log;
use crate::process::Supervisor;
use crate::refs::{branch_ref, is_commit_id, tag_ref};
use crate::settings::Settings;
use crate::workspace::WorkspaceLayout;

/// Fields of a document's source.
const SOURCE_FIELDS: RepositoryFields = RepositoryFields {
    url: "spec.source.git.url",
    revision: "spec.source.git.revision",
    credentials: "spec.source.git.credentialsSecretRef",
};
/// Name of the remote in the clone. Git fetches the blobs of a partial clone from a named remote only.
const REMOTE: &str = "source";
/// Ref in the clone that holds the fetched revision.
const FETCHED: &str = "refs/enact/source";

/// Reads the file at the revision. When the revision is still the known commit, it returns the commit without content.
pub(crate) fn run(supervisor: &mut Supervisor, settings: &Settings, work: &FetchWork) -> Result<Document, Failure> {
    WorkspaceLayout::new(settings).clear()?;
    let mut git = Git::new(supervisor, settings, &work.url, &SOURCE_FIELDS)?;
    let revision = Revision::find(&mut git, work)?;
    if work.known.as_ref() == Some(&revision.commit) {
        log(&format!("{} is still {}", work.revision, revision.commit));
        return Ok(Document { commit: Some(revision.commit), content: None });
    }
    // The ref may have moved since it was listed, so the report names the commit that was fetched.
    let commit = revision.fetch(&mut git, work)?;
    let content = read(&mut git, work, &commit)?;
    log(&format!("read {} bytes of {} at {commit}", content.len(), work.path));
    Ok(Document { commit: Some(commit), content: Some(content) })
}

/// A revision as the repository lists it.
struct Revision {
    /// A full ref, or the ID of a commit.
    name: String,
    /// The commit that the repository lists for the ref.
    commit: String,
}

impl Revision {
    fn find(git: &mut Git, work: &FetchWork) -> Result<Self, Failure> {
        let revision = &work.revision;
        if is_commit_id(revision) {
            return Ok(Self { name: revision.clone(), commit: revision.to_ascii_lowercase() });
        }
        let (branch, tag) = (branch_ref(revision), tag_ref(revision));
        // `ls-remote` lists an annotated tag twice: the tag object, and with this suffix the commit that it points to.
        let peeled = format!("{tag}^{{}}");
        let listed = git.remote(&work.url, &["ls-remote", "--quiet", "--", &work.url, &branch, &tag, &peeled])?;
        let find = |name: &str| listed.lines().filter_map(|l| l.split_once('\t')).find(|(_, n)| *n == name);
        let commit = |name: &str| find(name).map(|(id, _)| id.to_owned());
        // A branch has precedence over a tag with the same name.
        if let Some(commit) = commit(&branch) {
            return Ok(Self { name: branch, commit });
        }
        if let Some(commit) = commit(&peeled).or_else(|| commit(&tag)) {
            return Ok(Self { name: tag, commit });
        }
        let what = format!("branch or tag `{revision}` (a commit needs its full ID)");
        Err(not_found(work, &what))
    }

    /// Fetches the revision, without history and without file contents if the server supports that, and returns its commit.
    fn fetch(&self, git: &mut Git, work: &FetchWork) -> Result<String, Failure> {
        git.local(Reason::ContainerConfigError, &["init", "--quiet", "."])?;
        git.local(Reason::ContainerConfigError, &["remote", "add", REMOTE, &work.url])?;
        let one = format!("+{}:{FETCHED}", self.name);
        let options: [&[&str]; 2] = [&["--depth=1", "--filter=blob:none"], &[]];
        for options in options {
            match fetch(git, work, options, &[&one]) {
                Ok(()) => return resolve(git, work, FETCHED),
                // The server only serves commits that a branch or tag points to: fetch all of those below.
                Err(failure) if is_commit_id(&self.name) && failure.reason == Reason::RevisionNotFound => break,
                // The server does not support shallow clones.
                Err(failure) if !options.is_empty() && failure.message.contains("shallow") => {}
                Err(failure) => return Err(failure),
            }
        }
        let all = ["+refs/heads/*:refs/enact/heads/*", "+refs/tags/*:refs/enact/tags/*"];
        fetch(git, work, &["--filter=blob:none"], &all)?;
        resolve(git, work, &self.name)
    }
}

fn fetch(git: &mut Git, work: &FetchWork, options: &[&str], refspecs: &[&str]) -> Result<(), Failure> {
    let mut args = vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
    args.extend(options);
    args.extend(["--", REMOTE]);
    args.extend(refspecs);
    git.remote(&work.url, &args).map(drop)
}

fn resolve(git: &mut Git, work: &FetchWork, name: &str) -> Result<String, Failure> {
    let output = git.call(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")])?;
    if output.ok() { Ok(output.text().trim().to_owned()) } else { Err(not_found(work, &format!("commit `{name}`"))) }
}

fn not_found(work: &FetchWork, what: &str) -> Failure {
    let message = format!("{what} does not exist in {}; check {}", work.url, SOURCE_FIELDS.revision);
    Failure::new(Reason::RevisionNotFound, message)
}

/// Returns the content of the file. It follows neither symbolic links, which can lead out of the repository, nor submodules, which are
/// other repositories.
fn read(git: &mut Git, work: &FetchWork, commit: &str) -> Result<Vec<u8>, Failure> {
    let path = &work.path;
    let listed = git.local(Reason::PathNotFound, &["ls-tree", "--full-tree", "-z", commit, "--", path])?;
    // `<mode> <type> <id>\t<path>`
    let entry = listed.split_terminator('\0').filter_map(|e| e.split_once('\t')).find(|(_, name)| name == path);
    let Some((entry, _)) = entry else {
        let message = format!("there is no file `{path}` at {} ({commit}); check spec.source.git.path", work.revision);
        return Err(Failure::new(Reason::PathNotFound, message));
    };
    let refuse = |problem: &str| Err(Failure::new(Reason::DocumentRefused, format!("`{path}` at {commit} {problem}")));
    let mut fields = entry.split(' ');
    let id = match (fields.next(), fields.next(), fields.next()) {
        (Some("100644" | "100755"), Some("blob"), Some(id)) => id,
        (Some("120000"), ..) => return refuse("is a symbolic link; set spec.source.git.path to its target"),
        (Some("160000"), ..) => {
            return refuse("is a submodule; set spec.source.git.url to the repository of the submodule");
        }
        _ => return refuse("is a directory; set spec.source.git.path to a file in it"),
    };
    // A partial clone has no file contents yet: `cat-file` transfers this one from the remote.
    // The size comes first, so that a large file is not read into memory.
    let size = git.remote(&work.url, &["cat-file", "-s", id])?;
    if !size.trim().parse::<usize>().is_ok_and(|size| size <= MAX_DOCUMENT_BYTES) {
        return refuse(&document::too_large());
    }
    let content = git.remote_bytes(&work.url, &["cat-file", "blob", id])?;
    document::check(&format!("`{path}` at {commit}"), &content)?;
    Ok(content)
}
