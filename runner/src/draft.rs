//! Has an agent draft a specification.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use enact_domain::assignment::{Adapter, Reason};
use enact_domain::document_job::{DraftWork, MAX_DOCUMENT_BYTES};

use crate::agent::{Environment, MAX_TRANSCRIPT, Script};
use crate::desk::Desk;
use crate::errand::{self, Found};
use crate::failure::Failure;
use crate::git::Identity;
use crate::process::Supervisor;
use crate::say;
use crate::settings::Settings;

/// The file that the agent leaves its document in, in the directory for outputs.
const DOCUMENT: &str = "spec.md";

/// Lets the agent work, and takes what it left.
pub(crate) fn run(supervisor: &mut Supervisor, settings: &Settings, work: &DraftWork) -> Result<Found, Failure> {
    let desk = Desk::of(settings);
    desk.clear()?;
    fs::write(&desk.prompt, &work.prompt).map_err(|error| Failure::volume(&desk.root, &error))?;
    let file = desk.outputs.join(DOCUMENT);
    match &work.adapter {
        Adapter::Command { script } => {
            let mut environment = Environment::new(&desk, &Identity::agent(&work.agent));
            environment.set("ENACT_ATTEMPT", work.attempt.to_string());
            environment.set("ENACT_PROMPT_FILE", &desk.prompt);
            environment.set("ENACT_DOCUMENT_FILE", &file);
            let script = Script { text: script, tree: &desk.tree, environment: &environment };
            script.run(supervisor, MAX_TRANSCRIPT)?.check("the script", Reason::AgentFailed)?;
        }
        Adapter::Replay {} => replay(&settings.replay_dir, work, &file)?,
    }
    let document = read(&file)?;
    errand::check("what the agent left in ENACT_DOCUMENT_FILE", &document)?;
    say(&format!("the agent drafted {} bytes", document.len()));
    Ok(Found { commit: None, document: Some(document) })
}

/// Recorded work: `<specification>.<attempt>.md`, or else `<specification>.md` for every attempt.
fn replay(recorded: &Path, work: &DraftWork, file: &Path) -> Result<(), Failure> {
    let (name, attempt) = (&work.name, work.attempt);
    let of_attempt = recorded.join(format!("{name}.{attempt}.md"));
    let from = if of_attempt.is_file() { of_attempt } else { recorded.join(format!("{name}.md")) };
    fs::copy(&from, file).map(drop).map_err(|error| {
        let why = format!("there is no recorded work `{name}.{attempt}.md` or `{name}.md` for {name}: {error}");
        Failure::new(Reason::ReplayFailed, why)
    })
}

/// The document, if it is a plain file. Its agent's processes are gone, so it stays what it is.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let nothing = |why: &str| {
        let message =
            format!("the agent left no document: {why}; it must write the file that ENACT_DOCUMENT_FILE names");
        Failure::new(Reason::AgentFailed, message)
    };
    match file.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(nothing("there is no file")),
        Err(error) => return Err(nothing(&error.to_string())),
        Ok(metadata) if !metadata.is_file() => return Err(nothing("it is not a plain file")),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
    let read = File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| nothing(&error.to_string()))?;
    Ok(bytes)
}
