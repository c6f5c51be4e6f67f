//! Where things are, and the assignment.

use std::path::PathBuf;

use clap::Args;
use enact_domain::assignment::{
    ASSIGNMENT_ENV, Assignment, GitNameError, GitWork, Reason, Work, check_ref, check_url, paths,
};
use enact_domain::document_job::{DocumentJob, DocumentWork, check_path};
use enact_domain::names::is_subdomain;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::repository::is_commit_id;

/// Where the pod's volumes are mounted. The defaults are what the operator mounts.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Scratch space: HOME, the clone, the prompt
    #[arg(long, env = "ENACT_WORK_DIR", default_value = paths::WORK)]
    pub(crate) work_dir: PathBuf,
    /// Projected token for the server; without it results are kept in the termination message only
    #[arg(long, env = "ENACT_TOKEN_FILE", default_value = paths::TOKEN)]
    pub(crate) token_file: PathBuf,
    /// Directory of the Git credential: `username` and `password`, or `ssh-privatekey` and `known_hosts`; `ca.crt` if the server
    /// needs one
    #[arg(long, env = "ENACT_GIT_CREDENTIALS_DIR", default_value = paths::GIT_CREDENTIALS)]
    pub(crate) git_credentials_dir: PathBuf,
    /// Directory of recorded work for the adapter `replay`
    #[arg(long, env = "ENACT_REPLAY_DIR", default_value = paths::REPLAY)]
    pub(crate) replay_dir: PathBuf,
    /// Directory that `merge` and `publish` share, out of reach of `gate`
    #[arg(long, env = "ENACT_HANDOVER_DIR", default_value = paths::HANDOVER)]
    pub(crate) handover_dir: PathBuf,
    /// File that receives the report
    #[arg(long, env = "ENACT_TERMINATION_LOG", default_value = "/dev/termination-log")]
    pub(crate) termination_log: PathBuf,
}

/// Reads the assignment from its environment variable and checks every name in it that Git will see.
pub(crate) fn assignment() -> Result<Assignment, Failure> {
    let assignment = told("an assignment")?;
    check(&assignment).map_err(invalid)?;
    Ok(assignment)
}

/// The same for an errand.
pub(crate) fn errand() -> Result<DocumentJob, Failure> {
    let errand: DocumentJob = told("an errand")?;
    check_errand(&errand).map_err(invalid)?;
    Ok(errand)
}

fn told<T: DeserializeOwned>(what: &str) -> Result<T, Failure> {
    let text = std::env::var(ASSIGNMENT_ENV).map_err(|error| invalid(format!("{ASSIGNMENT_ENV}: {error}")))?;
    serde_json::from_str(&text).map_err(|error| invalid(format!("{ASSIGNMENT_ENV} is not {what}: {error}")))
}

fn invalid(problem: String) -> Failure {
    Failure::new(Reason::InvalidAssignment, problem)
}

fn check_errand(errand: &DocumentJob) -> Result<(), String> {
    match &errand.work {
        DocumentWork::Fetch(work) => check_url(&work.url)
            .and_then(|()| check_ref(&work.revision))
            .and_then(|()| check_path(&work.path))
            .map_err(|error| error.to_string()),
        // It becomes a part of a file's name.
        DocumentWork::Draft(work) if !is_subdomain(&work.name) => {
            Err(format!("`{}` is no name of a Specification", work.name.escape_debug()))
        }
        DocumentWork::Draft(_) => Ok(()),
    }
}

fn check(assignment: &Assignment) -> Result<(), String> {
    let told = |error: GitNameError| error.to_string();
    if let Some(GitWork { url, revision, merge, branch }) = &assignment.git {
        check_url(url).map_err(told)?;
        for name in [revision, branch].into_iter().chain(merge.iter().map(|work| &work.branch)) {
            check_ref(name).map_err(told)?;
        }
        if let Some(work) = merge.iter().find(|work| !is_commit_id(&work.commit)) {
            return Err(format!("`{}` is not the whole id of a commit", work.commit.escape_debug()));
        }
    }
    match &assignment.work {
        Work::Task(task) if !is_file_name(&task.id) => {
            Err(format!("task id `{}` must be letters, digits, `.`, `-` or `_`", task.id.escape_debug()))
        }
        Work::Task(_) => Ok(()),
        Work::Integration(integration) => check_ref(&integration.target).map_err(told),
    }
}

/// Whether `name` is 1 to 63 of `[A-Za-z0-9_.-]` and not a relative directory: fit for a file and for a ConfigMap key.
pub(crate) fn is_file_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && !matches!(name, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names() {
        for name in ["T001", "T001.1", "a_b-c", ".x"] {
            assert!(is_file_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(64)] {
            assert!(!is_file_name(name), "{name:?}");
        }
    }
}
