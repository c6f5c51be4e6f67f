//! Lets an agent write a document: the draft of a specification, or a proposal for a plan.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use enact_domain::assignment::{Adapter, Reason};
use enact_domain::document_job::{DraftWork, MAX_DOCUMENT_BYTES};
use enact_domain::warm_pool::Prefetch;

use crate::agent::{Environment, MAX_TRANSCRIPT, Script};
use crate::coding_agent;
use crate::document::{self, Document};
use crate::failure::Failure;
use crate::git::{Git, Identity, PLAN_FIELDS};
use crate::knowledge;
use crate::log::log;
use crate::process::Supervisor;
use crate::report::Evidence;
use crate::repository;
use crate::settings::Settings;
use crate::workspace::WorkspaceLayout;

/// Name of the document in the directory for outputs.
const DOCUMENT: &str = "document.md";

/// Fetches the repository that the agent may read. Only the container of this step has the credential.
pub(crate) fn fetch_repository(
    supervisor: &mut Supervisor,
    settings: &Settings,
    repository: &Prefetch,
) -> Result<Document, Failure> {
    repository::fetch_ahead(supervisor, settings, repository, &PLAN_FIELDS)?;
    Ok(Document { commit: None, content: None })
}

/// Runs the agent and returns the document that it wrote.
pub(crate) fn run(supervisor: &mut Supervisor, settings: &Settings, work: &DraftWork) -> Result<Document, Failure> {
    let layout = WorkspaceLayout::new(settings);
    // A restarted container must not deliver the document of the previous one.
    layout.clear()?;
    let mut prompt = work.prompt.clone();
    if let Some(url) = &work.repository {
        prompt.push_str(&check_out(supervisor, settings, &layout, url, &work.prompt)?);
    }
    layout.write_prompt(&prompt)?;
    let file = layout.outputs.join(DOCUMENT);
    match &work.adapter {
        Adapter::Command { script } => {
            let mut environment = Environment::new(&layout, &Identity::agent(&work.agent));
            environment.set("ENACT_ATTEMPT", work.attempt.to_string());
            environment.set("ENACT_PROMPT_FILE", &layout.prompt);
            environment.set("ENACT_DOCUMENT_FILE", &file);
            let script = Script { text: script, tree: &layout.tree, environment: &environment };
            script.run(supervisor, MAX_TRANSCRIPT)?.check("the script", Reason::AgentFailed)?;
        }
        Adapter::Agent(run) => {
            let mut environment = Environment::new(&layout, &Identity::agent(&work.agent));
            environment.set("ENACT_ATTEMPT", work.attempt.to_string());
            environment.set("ENACT_DOCUMENT_FILE", &file);
            let identity = format!("{}/{}", work.name, work.attempt);
            let agent = coding_agent::Work {
                settings,
                layout: &layout,
                environment: &environment,
                run,
                id: &work.name,
                prompt: &prompt,
                session: None,
                last_message: 0,
                identity,
            };
            // `read` below requires the document, so that nothing else has to show that the agent did something.
            agent.execute(supervisor, &mut Evidence::default())?.check(true, true)?;
        }
        Adapter::Replay {} => replay(&settings.replay_dir, work, &file)?,
    }
    let content = read(&file)?;
    document::check("the file that ENACT_DOCUMENT_FILE names", &content)?;
    log(&format!("the agent drafted {} bytes", content.len()));
    Ok(Document { commit: None, content: Some(content) })
}

/// Fills the working tree from the clone that the container before this one fetched. Returns what is known about the repository, as a part of
/// the prompt `about`.
fn check_out(
    supervisor: &mut Supervisor,
    settings: &Settings,
    layout: &WorkspaceLayout,
    url: &str,
    about: &str,
) -> Result<String, Failure> {
    if !layout.take_clone()? {
        return Err(Failure::new(Reason::ContainerConfigError, "the container before this one left no clone"));
    }
    let mut git = Git::new(supervisor, settings, url, &PLAN_FIELDS)?;
    repository::check_out_base(&mut git)?;
    knowledge::section(&mut git, repository::BASE, about)
}

/// Copies recorded work: `<name>.<attempt>.md` if it exists, otherwise `<name>.md`.
fn replay(recorded: &Path, work: &DraftWork, file: &Path) -> Result<(), Failure> {
    let (name, attempt) = (&work.name, work.attempt);
    let for_attempt = recorded.join(format!("{name}.{attempt}.md"));
    let from = if for_attempt.is_file() { for_attempt } else { recorded.join(format!("{name}.md")) };
    fs::copy(&from, file).map(drop).map_err(|error| {
        let message = format!("there is no recorded work `{name}.{attempt}.md` or `{name}.md`: {error}");
        Failure::new(Reason::ReplayFailed, message)
    })
}

/// Reads the document, which must be a regular file. It can no longer change: the processes of the agent have ended.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let missing = |problem: &str| {
        let message =
            format!("the agent left no document: {problem}; it must write the file that ENACT_DOCUMENT_FILE names");
        Failure::new(Reason::AgentFailed, message)
    };
    match file.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing("there is no file")),
        Err(error) => return Err(missing(&error.to_string())),
        Ok(metadata) if !metadata.is_file() => return Err(missing("it is not a plain file")),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    // One byte over the limit is enough to refuse the document, however large it is.
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
    let read = File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| missing(&error.to_string()))?;
    Ok(bytes)
}
