//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::settings::Settings;

/// Run one attempt of an Enact plan inside its pod
#[derive(Parser)]
#[command(version, after_help = "The runner reads its assignment from the environment variable ENACT_ASSIGNMENT.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) step: Step,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Subcommand, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Run a task: clone, run the agent, commit, run the gates, push, deliver the result
    Task,
    /// Pod of a warm pool: fetch the repository, wait for an attempt, and run its task
    Wait,
    /// Integration, step 1: merge the branches of the tasks and push the candidate
    Merge,
    /// Integration, step 2: run the plan's gates on the merged tree, without any credential
    Gate,
    /// Integration, step 3: move the target branch to the candidate that passed the gates
    Publish,
    /// Document job: read a document from a Git repository and deliver it
    Fetch,
    /// Document job: fetch the repository that the agent of the next container may read
    Clone,
    /// Document job: let an agent draft a document and deliver it
    Draft,
    /// Probe an agent: check its image and, if asked, that its model answers
    Probe,
    /// Copy the runner to a volume, for images that do not contain it (for an init container)
    Install {
        /// Target file, or a directory that receives the file `enact-runner`
        target: PathBuf,
    },
    /// Git credential helper that answers from the mounted Secret
    #[command(hide = true)]
    Credential {
        /// `get`, `store` or `erase`
        operation: String,
    },
}
