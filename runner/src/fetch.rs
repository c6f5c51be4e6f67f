//! Reads one file of a repository: as little of the rest as the server allows.

use enact_domain::assignment::Reason;
use enact_domain::document_job::{FetchWork, MAX_DOCUMENT_BYTES};

use crate::desk::Desk;
use crate::errand::{self, Found};
use crate::failure::Failure;
use crate::git::{Fields, Git};
use crate::process::Supervisor;
use crate::repository::{head, is_commit_id, tag};
use crate::say;
use crate::settings::Settings;

/// What the fields of a document's source are called.
const SOURCE: Fields = Fields {
    url: "spec.source.git.url",
    revision: "spec.source.git.revision",
    credentials: "spec.source.git.credentialsSecretRef",
};
/// The remote in the clone, which files that were left out at first are taken from.
const REMOTE: &str = "source";
/// Where what was fetched is kept in the clone.
const FETCHED: &str = "refs/enact/source";

/// Reads the file at the revision; nothing but the revision's commit when that is the one that is known.
pub(crate) fn run(supervisor: &mut Supervisor, settings: &Settings, work: &FetchWork) -> Result<Found, Failure> {
    Desk::of(settings).clear()?;
    let mut git = Git::new(supervisor, settings, &work.url, &SOURCE)?;
    let revision = Revision::of(&mut git, work)?;
    if work.known.is_some() && work.known == revision.commit {
        say(&format!("{} is still {}", work.revision, revision.commit.as_deref().unwrap_or_default()));
        return Ok(Found { commit: revision.commit, document: None });
    }
    let commit = revision.fetch(&mut git, work)?;
    let document = read(&mut git, work, &commit)?;
    say(&format!("read {} bytes of {} at {commit}", document.len(), work.path));
    Ok(Found { commit: Some(commit), document: Some(document) })
}

/// What the repository has under the revision's name.
struct Revision {
    /// What to ask for.
    name: String,
    /// The commit, as far as the repository tells before it is fetched.
    commit: Option<String>,
}

impl Revision {
    fn of(git: &mut Git, work: &FetchWork) -> Result<Self, Failure> {
        let revision = &work.revision;
        if is_commit_id(revision) {
            return Ok(Self { name: revision.clone(), commit: Some(revision.to_ascii_lowercase()) });
        }
        let (branch, label) = (head(revision), tag(revision));
        // A tag that is an object of its own is listed a second time with the commit that it stands for.
        let peeled = format!("{label}^{{}}");
        let listed = git.remote(&work.url, &["ls-remote", "--quiet", "--", &work.url, &branch, &label, &peeled])?;
        let find = |name: &str| listed.lines().filter_map(|l| l.split_once('\t')).find(|(_, n)| *n == name);
        let commit = |name: &str| find(name).map(|(id, _)| id.to_owned());
        if let Some(id) = commit(&branch) {
            return Ok(Self { name: branch, commit: Some(id) });
        }
        if let Some(id) = commit(&peeled).or_else(|| commit(&label)) {
            return Ok(Self { name: label, commit: Some(id) });
        }
        let what = format!("branch or tag `{revision}` (a commit must be named by its whole id)");
        Err(not_found(work, &what))
    }

    /// Fetches the revision and returns its commit: without history and without files where the server can do that.
    fn fetch(&self, git: &mut Git, work: &FetchWork) -> Result<String, Failure> {
        git.local(Reason::ContainerConfigError, &["init", "--quiet", "."])?;
        git.local(Reason::ContainerConfigError, &["remote", "add", REMOTE, &work.url])?;
        let one = format!("+{}:{FETCHED}", self.name);
        match fetch(git, work, &["--depth=1", "--filter=blob:none"], &[&one]) {
            Ok(()) => return resolve(git, work, FETCHED),
            // A server without shallow clones, or one that gives only what branches and tags name.
            Err(failure) if failure.reason == Reason::Cancelled => return Err(failure),
            Err(failure) if is_commit_id(&self.name) && failure.reason == Reason::RevisionNotFound => {}
            Err(failure) if failure.message.contains("shallow") => {
                fetch(git, work, &[], &[&one])?;
                return resolve(git, work, FETCHED);
            }
            Err(failure) => return Err(failure),
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
    let message = format!("{what} does not exist in {}; check {}", work.url, SOURCE.revision);
    Failure::new(Reason::RevisionNotFound, message)
}

/// The file's bytes. A link would lead out of the repository, and a submodule is another one: neither is followed.
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
        (Some("120000"), ..) => return refuse("is a symbolic link; name the file that it leads to"),
        (Some("160000"), ..) => return refuse("is a submodule; name that repository in spec.source.git.url"),
        _ => return refuse("is a directory; name a file in it"),
    };
    // This is where a file that was left out before is fetched.
    let size = git.remote(&work.url, &["cat-file", "-s", id])?;
    if !size.trim().parse::<usize>().is_ok_and(|size| size <= MAX_DOCUMENT_BYTES) {
        return refuse(&errand::too_large());
    }
    let document = git.remote_bytes(&work.url, &["cat-file", "blob", id])?;
    errand::check(&format!("`{path}` at {commit}"), &document)?;
    Ok(document)
}
