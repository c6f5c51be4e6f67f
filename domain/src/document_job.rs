//! Document jobs: a pod that fetches a document from Git, or that lets an agent write it.
//!
//! A [`DocumentJob`] is the JSON in [`ASSIGNMENT_ENV`](crate::assignment::ASSIGNMENT_ENV). The pod sends the document to the server,
//! which stores it by its digest, and leaves a [`Report`](crate::assignment::Report) with that digest as its termination message.

use serde::{Deserialize, Serialize};

use crate::assignment::{Adapter, GitNameError};
use crate::warm_pool::Prefetch;

/// Maximum size of a document that a pod delivers, in bytes: the limit of the parsers.
pub const MAX_DOCUMENT_BYTES: usize = crate::speckit::MAX_DOCUMENT_BYTES;
/// Maximum length of a path of a document in a repository, in bytes.
const MAX_PATH: usize = 1024;

/// One document job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentJob {
    /// UID of the Constitution, Specification or Plan that the document belongs to.
    pub subject_uid: String,
    /// Base URL of the server that stores the document.
    pub server_url: String,
    pub work: DocumentWork,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DocumentWork {
    /// Job that reads one file of a repository.
    Fetch(FetchWork),
    /// Job of the container before the agent's: fetch the repository that the agent may read.
    Clone(Prefetch),
    /// Job in which an agent writes a specification, or the tasks.md of a plan.
    Draft(DraftWork),
}

/// One file of a repository. The names have passed [`check_url`](crate::assignment::check_url),
/// [`check_ref`](crate::assignment::check_ref) and [`check_path`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FetchWork {
    /// `https://`, `http://` or `ssh://` URL.
    pub url: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// Path of the file, from the root of the repository.
    pub path: String,
    /// Commit from which the file was last read. If the revision is still this commit, the pod reads nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
}

/// A specification, or the tasks.md of a plan, to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DraftWork {
    pub name: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Prompt for the agent; the runner writes it to the file named by `ENACT_PROMPT_FILE`.
    pub prompt: String,
    pub adapter: Adapter,
    pub agent: String,
    /// URL of the repository in the working tree. The container before the agent's has fetched it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

/// Checks that `path` is relative to the root of a repository, stays inside it, and cannot be taken for an option.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_path(path: &str) -> Result<(), GitNameError> {
    let fail = |problem| Err(GitNameError::new("path", path.escape_debug().to_string(), problem));
    if path.is_empty() || path.len() > MAX_PATH {
        return fail("must have 1 to 1024 bytes");
    }
    if path.starts_with('-') {
        return fail("must not start with `-`: it would be taken for an option");
    }
    if path.chars().any(char::is_control) {
        return fail("must not contain control characters");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return fail("must be a path from the root of the repository, without empty components, `.` and `..`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_its_repository() {
        for path in ["", "/etc/passwd", "a//b", "a/", "./a", "a/../b", "..", "-rf", "a\nb", "a\0", &"a".repeat(1025)] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        for path in ["spec.md", "specs/001-cart/spec.md", ".specify/memory/constitution.md", "a b/ä.md", "a..b"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }
}
