//! Leaves the unfinished work and the session of an attempt for the next one, and continues with those of an earlier one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use enact_domain::agents::checkpoint::{Checkpoint, MAX_CHECKPOINT_BYTES, SavedSession, UnfinishedWork, is_resumable};
use enact_domain::agents::definition::AdapterDefinition;
use enact_domain::agents::message;
use enact_domain::agents::prompt::{self, Situation};
use enact_domain::assignment::{Assignment, GitWork, Reason, TaskWork};
use enact_domain::digest::Digest;

use crate::archive;
use crate::coding_agent::{Ended, Resumed};
use crate::delivery::{self, RunnerKey};
use crate::failure::Failure;
use crate::git::Git;
use crate::log::log;
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::unfinished;
use crate::workspace::WorkspaceLayout;

/// What an attempt begins with.
pub(crate) struct Beginning {
    /// The whole prompt.
    pub(crate) prompt: String,
    /// The session to resume.
    pub(crate) session: Option<Resumed>,
    /// Number of the last message of a person that is in the prompt or known to the session.
    pub(crate) last_message: u64,
}

impl Beginning {
    /// Returns a beginning without a session. `unfinished` says that the work of an earlier attempt is in the working tree, and `knowledge` is
    /// the part of the prompt with what is known about the repository.
    pub(crate) fn fresh(task: &TaskWork, unfinished: bool, knowledge: &str) -> Self {
        let situation = Situation { previous: task.previous.as_ref(), knowledge, messages: &task.messages, unfinished };
        let prompt = prompt::first(&task.prompt, situation);
        Self { prompt, session: None, last_message: message::last_id(&task.messages) }
    }
}

/// The checkpoints of a task, as one of its attempts reads and leaves them.
pub(crate) struct Checkpoints<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) assignment: &'a Assignment,
    /// The key that the runner has registered at the server, if there is a server.
    pub(crate) key: Option<&'a RunnerKey>,
    pub(crate) task: &'a TaskWork,
    pub(crate) layout: &'a WorkspaceLayout,
}

impl Checkpoints<'_> {
    /// Takes over what an earlier attempt left: puts its changes into the working tree, uncommitted, and the files of its session into
    /// HOME. Whatever cannot be taken over, the attempt begins without it.
    pub(crate) fn begin(
        &self,
        git: &mut Git,
        work: &GitWork,
        definition: &AdapterDefinition,
        knowledge: &str,
    ) -> Result<Beginning, Failure> {
        let fresh = |unfinished| Beginning::fresh(self.task, unfinished, knowledge);
        // A session without the files that it wrote would be misled.
        let Some(checkpoint) = self.take_work(git, work)? else { return Ok(fresh(false)) };
        let (attempt, unfinished) = (checkpoint.attempt, checkpoint.work.is_some());
        let known_messages = checkpoint.last_message;
        match self.resume(checkpoint, definition) {
            Ok((session, known)) => {
                log(&format!("resuming session {} of attempt {attempt}", session.id));
                let changed = (known != prompt_digest(self.task)).then_some(self.task.prompt.as_str());
                let TaskWork { id, previous, messages, .. } = self.task;
                let new = messages.partition_point(|message| message.id <= known_messages);
                let situation =
                    Situation { previous: previous.as_ref(), knowledge, messages: &messages[new..], unfinished };
                let prompt = prompt::resumed(id, situation, changed);
                let last_message = message::last_id(messages).max(known_messages);
                Ok(Beginning { prompt, session: Some(session), last_message })
            }
            Err(problem) => {
                log(&format!("the session of attempt {attempt} is not resumed: {problem}"));
                Ok(fresh(unfinished))
            }
        }
    }

    /// Puts the changes that an earlier attempt left into the working tree, uncommitted, and returns its checkpoint; none if there is none,
    /// if the task begins from scratch, or if the changes do not apply.
    pub(crate) fn take_work(&self, git: &mut Git, work: &GitWork) -> Result<Option<Checkpoint>, Failure> {
        if !self.task.continues() {
            return Ok(None);
        }
        let Some(checkpoint) = self.fetch(git) else { return Ok(None) };
        let Some(unfinished) = &checkpoint.work else { return Ok(Some(checkpoint)) };
        let bundle = match checkpoint.bundle.as_deref().map(|bundle| STANDARD.decode(bundle)).transpose() {
            Ok(bundle) => bundle,
            Err(error) => {
                log(&format!("attempt {} is not continued: its bundle is not base64: {error}", checkpoint.attempt));
                return Ok(None);
            }
        };
        match unfinished::restore(git, work, unfinished, bundle.as_deref()) {
            Ok(()) => {
                log(&format!("the unfinished work of attempt {} is in the working tree", checkpoint.attempt));
                Ok(Some(checkpoint))
            }
            Err(failure) if failure.reason == Reason::Cancelled => Err(failure),
            Err(failure) => {
                log(&format!("attempt {} is not continued: {}", checkpoint.attempt, failure.message));
                Ok(None)
            }
        }
    }

    /// Reads the checkpoint of an earlier attempt from the server. Nobody left one for the first attempt.
    fn fetch(&self, git: &mut Git) -> Option<Checkpoint> {
        let server = self.assignment.server_url.as_deref().filter(|_| self.assignment.attempt > 1)?;
        let url = delivery::attempt_url(self.assignment, server, "checkpoint");
        let found = delivery::fetch(git.supervisor, self.settings, &url, self.key?, MAX_CHECKPOINT_BYTES as u64);
        let parsed = found.and_then(|found| {
            let parse =
                |bytes: Vec<u8>| serde_json::from_slice::<Checkpoint>(&bytes).map_err(|error| error.to_string());
            let Some(checkpoint) = found.map(parse).transpose()? else { return Ok(None) };
            checkpoint.check()?;
            Ok(Some(checkpoint))
        });
        parsed.unwrap_or_else(|problem| {
            log(&format!("the checkpoint of the previous attempt cannot be read: {problem}"));
            None
        })
    }

    /// Puts the files of a session into HOME. Returns the session, and the digest of the prompt that it knows.
    fn resume(&self, checkpoint: Checkpoint, definition: &AdapterDefinition) -> Result<(Resumed, Digest), String> {
        let (Some(session), Some(archive)) = (checkpoint.session, checkpoint.archive) else {
            return Err("there is none".into());
        };
        if session.agent != self.task.agent || Some(&session.adapter) != definition_digest(definition).as_ref() {
            return Err("it belongs to another agent or adapter".into());
        }
        let archive = STANDARD.decode(archive).map_err(|error| error.to_string())?;
        archive::unpack(&archive, &self.layout.home, &definition.session_files)?;
        Ok((Resumed { id: session.id, usage: session.usage }, session.prompt))
    }

    /// Returns what the attempt leaves for the next one after a failure with this reason; none if it leaves nothing. `ended` is the end of a
    /// coding agent, and `bundle` contains the work that could not be pushed.
    pub(crate) fn leave(
        &self,
        ended: Option<&Ended>,
        reason: Reason,
        work: Option<UnfinishedWork>,
        bundle: Option<Vec<u8>>,
        secrets: &Secrets,
    ) -> Option<Checkpoint> {
        let (session, archive) = ended.and_then(|ended| self.pack(ended, reason, secrets)).unzip();
        if work.is_none() && session.is_none() {
            return None;
        }
        let [archive, bundle] = [archive, bundle].map(|bytes| bytes.map(|bytes| STANDARD.encode(bytes)));
        let last_message = ended.map(Ended::last_message).unwrap_or_default();
        Some(Checkpoint { attempt: self.assignment.attempt, work, session, last_message, archive, bundle })
    }

    fn pack(&self, ended: &Ended, reason: Reason, secrets: &Secrets) -> Option<(SavedSession, Vec<u8>)> {
        let definition = ended.definition();
        // Without an event that names the session, the program did not begin or resume it.
        let id = ended.session().filter(|_| is_resumable(reason) && definition.capabilities.resume)?;
        let session = SavedSession {
            id: id.to_owned(),
            agent: self.task.agent.clone(),
            adapter: definition_digest(definition)?,
            prompt: prompt_digest(self.task),
            usage: ended.session_usage(),
        };
        match archive::pack(&self.layout.home, &definition.session_files, secrets) {
            Ok(archive) => Some((session, archive?)),
            Err(problem) => {
                log(&format!("the session of the agent is not kept: {problem}"));
                None
            }
        }
    }
}

fn definition_digest(definition: &AdapterDefinition) -> Option<Digest> {
    Digest::of_json(definition).ok()
}

fn prompt_digest(task: &TaskWork) -> Digest {
    Digest::of_bytes(task.prompt.as_bytes())
}
