//! The settings of the runner, and the assignment.

use std::path::PathBuf;

use clap::Args;
use enact_domain::agents::probe::ProbeJob;
use enact_domain::assignment::{
    ASSIGNMENT_ENV, Assignment, GitNameError, GitWork, Reason, Work, check_ref, check_url, paths,
};
use enact_domain::document_job::{DocumentJob, DocumentWork, check_path};
use enact_domain::names::is_subdomain;
use enact_domain::warm_pool::{Prefetch, Waiting};
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::refs::is_commit_id;

/// Mount paths of the pod's volumes. The operator uses the defaults.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Work directory: HOME, the clone, the prompt
    #[arg(long, env = "ENACT_WORK_DIR", default_value = paths::WORK)]
    pub(crate) work_dir: PathBuf,
    /// Service account token for the server
    #[arg(long, env = "ENACT_TOKEN_FILE", default_value = paths::TOKEN)]
    pub(crate) token_file: PathBuf,
    /// Service account token for the model gateway
    #[arg(long, env = "ENACT_GATEWAY_TOKEN_FILE", default_value = paths::GATEWAY_TOKEN)]
    pub(crate) gateway_token_file: PathBuf,
    /// Messages of people to a coding agent
    #[arg(long, env = "ENACT_MESSAGES_FILE", default_value = paths::MESSAGES)]
    pub(crate) messages_file: PathBuf,
    /// Service account token for the clone cache
    #[arg(long, env = "ENACT_CACHE_TOKEN_FILE", default_value = paths::CACHE_TOKEN)]
    pub(crate) cache_token_file: PathBuf,
    /// Directory of the Git credential: `username` and `password`, or `ssh-privatekey` and `known_hosts`; also `ca.crt` for a private CA
    #[arg(long, env = "ENACT_GIT_CREDENTIALS_DIR", default_value = paths::GIT_CREDENTIALS)]
    pub(crate) git_credentials_dir: PathBuf,
    /// Directory of recorded work for the adapter `Replay`
    #[arg(long, env = "ENACT_REPLAY_DIR", default_value = paths::REPLAY)]
    pub(crate) replay_dir: PathBuf,
    /// Directory of the agent's skills: one folder for each
    #[arg(long, env = "ENACT_SKILLS_DIR", default_value = paths::SKILLS)]
    pub(crate) skills_dir: PathBuf,
    /// Directory that `merge` and `publish` share; it is not mounted in `gate`
    #[arg(long, env = "ENACT_HANDOVER_DIR", default_value = paths::HANDOVER)]
    pub(crate) handover_dir: PathBuf,
    /// File that receives the report
    #[arg(long, env = "ENACT_TERMINATION_LOG", default_value = "/dev/termination-log")]
    pub(crate) termination_log: PathBuf,
}

/// Reads the assignment from its environment variable and checks every name in it that reaches Git or a file path.
pub(crate) fn assignment() -> Result<Assignment, Failure> {
    let assignment = read("an assignment")?;
    check_assignment(&assignment).map_err(invalid)?;
    Ok(assignment)
}

/// Reads and checks an assignment that the server returned, in the same way.
pub(crate) fn received(json: &[u8]) -> Result<Assignment, Failure> {
    let assignment = serde_json::from_slice(json)
        .map_err(|error| invalid(format!("the server returned an assignment that cannot be read: {error}")))?;
    check_assignment(&assignment).map_err(invalid)?;
    Ok(assignment)
}

/// Reads and checks what a waiting pod needs to know, in the same way.
pub(crate) fn waiting() -> Result<Waiting, Failure> {
    let waiting: Waiting = read("the description of a waiting pod")?;
    if let Some(Prefetch { url, revision, .. }) = &waiting.repository {
        check_url(url).and_then(|()| check_ref(revision)).map_err(|error| invalid(error.to_string()))?;
    }
    Ok(waiting)
}

/// Reads and checks a document job in the same way.
pub(crate) fn document_job() -> Result<DocumentJob, Failure> {
    let job: DocumentJob = read("a document job")?;
    check_document_job(&job).map_err(invalid)?;
    Ok(job)
}

/// Reads the work of a probe.
pub(crate) fn probe_job() -> Result<ProbeJob, Failure> {
    read("a probe")
}

fn read<T: DeserializeOwned>(what: &str) -> Result<T, Failure> {
    let text =
        std::env::var(ASSIGNMENT_ENV).map_err(|error| invalid(format!("{ASSIGNMENT_ENV} cannot be read: {error}")))?;
    serde_json::from_str(&text).map_err(|error| invalid(format!("{ASSIGNMENT_ENV} does not contain {what}: {error}")))
}

fn invalid(problem: String) -> Failure {
    Failure::new(Reason::InvalidAssignment, problem)
}

fn check_document_job(job: &DocumentJob) -> Result<(), String> {
    match &job.work {
        DocumentWork::Fetch(work) => check_url(&work.url)
            .and_then(|()| check_ref(&work.revision))
            .and_then(|()| check_path(&work.path))
            .map_err(|error| error.to_string()),
        DocumentWork::Clone(repository) => {
            check_url(&repository.url).and_then(|()| check_ref(&repository.revision)).map_err(|error| error.to_string())
        }
        // The name becomes part of a file name.
        DocumentWork::Draft(work) if !is_subdomain(&work.name) => {
            Err(format!("`{}` is not a valid name of a Specification or Plan", work.name.escape_debug()))
        }
        DocumentWork::Draft(_) => Ok(()),
    }
}

fn check_assignment(assignment: &Assignment) -> Result<(), String> {
    let message = |error: GitNameError| error.to_string();
    if let Some(GitWork { url, revision, merge, branch, .. }) = &assignment.git {
        // The webhook has checked these values too. This check protects the Git calls if the assignment is from elsewhere.
        check_url(url).map_err(message)?;
        for name in [revision, branch].into_iter().chain(merge.iter().map(|work| &work.branch)) {
            check_ref(name).map_err(message)?;
        }
        if let Some(work) = merge.iter().find(|work| !is_commit_id(&work.commit)) {
            return Err(format!("`{}` is not the full ID of a commit", work.commit.escape_debug()));
        }
    }
    match &assignment.work {
        Work::Task(task) if !is_file_name(&task.id) => {
            Err(format!("task ID `{}` must have 1 to 63 letters, digits, `.`, `-` or `_`", task.id.escape_debug()))
        }
        Work::Task(_) => Ok(()),
        Work::Integration(integration) => check_ref(&integration.target).map_err(message),
    }
}

/// Returns whether `name` can be the name of a file and a ConfigMap key: 1 to 63 of `[A-Za-z0-9_.-]`, and neither `.` nor `..`.
pub(crate) fn is_file_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && !matches!(name, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_file_names_only() {
        for name in ["T001", "T001.1", "a_b-c", ".x"] {
            assert!(is_file_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(64)] {
            assert!(!is_file_name(name), "{name:?}");
        }
    }
}
