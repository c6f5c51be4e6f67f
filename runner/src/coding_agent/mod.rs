//! Runs a coding agent: writes its files, starts it, shows what it does, and stops it when the gateway refuses its requests.

mod files;
mod gateway;
mod inbox;
mod output;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use enact_domain::agents::checkpoint::is_session_id;
use enact_domain::agents::classify::{self, Exit, Outcome};
use enact_domain::agents::definition::{self, AdapterDefinition};
use enact_domain::agents::events::AgentEvent;
use enact_domain::agents::message::Message;
use enact_domain::agents::prompt;
use enact_domain::agents::render::{self, Values};
use enact_domain::agents::run::AgentRun;
use enact_domain::agents::stream::{EventReader, Summary};
use enact_domain::assignment::{Reason, Usage};
use enact_domain::digest::Digest;
use enact_domain::usage::Limit;

use crate::agent::{Environment, out_of_memory_kills};
use crate::failure::Failure;
use crate::log::log;
use crate::process::{End, Supervisor};
use crate::report::Evidence;
use crate::settings::Settings;
use crate::workspace::WorkspaceLayout;

use self::gateway::{Gateway, Refusal};
use self::inbox::Inbox;
use self::output::Output;

/// Part of the time limit of the attempt that is left for commit, gates and push.
const RESERVE: u32 = 10;
/// Least and most of that part.
const MIN_RESERVE: Duration = Duration::from_secs(5);
const MAX_RESERVE: Duration = Duration::from_mins(2);

/// What an agent works on.
pub(crate) struct Work<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) layout: &'a WorkspaceLayout,
    pub(crate) environment: &'a Environment,
    pub(crate) run: &'a AgentRun,
    /// Id of the task, or name of the document.
    pub(crate) id: &'a str,
    pub(crate) prompt: &'a str,
    /// The session to resume; none for a new one.
    pub(crate) session: Option<&'a Resumed>,
    /// Number of the last message of a person that is in the prompt or known to the session.
    pub(crate) last_message: u64,
    /// Text that no other attempt has, from which the ID of the session is made.
    pub(crate) identity: String,
}

/// A session to resume, whose files are in HOME.
pub(crate) struct Resumed {
    pub(crate) id: String,
    /// What the program reports about the session so far.
    pub(crate) usage: Usage,
}

/// An agent that has ended.
pub(crate) struct Ended {
    definition: AdapterDefinition,
    end: End,
    out_of_memory: bool,
    summary: Summary,
    stderr: String,
    refusal: Option<Refusal>,
    flooded: bool,
    last_message: u64,
    /// Why its session could not be resumed with a message of a person.
    not_resumed: Option<(Reason, String)>,
}

impl Work<'_> {
    /// Runs the agent to its end. If a person sends a message meanwhile, the agent is interrupted and its session resumed with the message.
    /// The result says nothing about success; [`Ended::check`] does. An error says that the agent was not started: there is no work to keep.
    pub(crate) fn execute(&self, supervisor: &mut Supervisor, evidence: &mut Evidence) -> Result<Ended, Failure> {
        let definition =
            self.run.definition().map_err(|problem| Failure::new(Reason::InvalidAssignment, problem))?.into_owned();
        let mut inbox = Inbox::new(self.settings.messages_file.clone(), self.last_message);
        let mut ended = self.turn(supervisor, evidence, &definition, (self.prompt, self.session), &inbox)?;
        while let Some(session) = ended.resumable() {
            let known = inbox.last();
            let messages = inbox.take();
            if messages.is_empty() {
                break;
            }
            show(&messages, evidence);
            let prompt = prompt::interrupted(self.id, &messages);
            let resumed = self
                .layout
                .write_prompt(&prompt)
                .and_then(|()| self.turn(supervisor, evidence, &definition, (&prompt, Some(&session)), &inbox));
            match resumed {
                Ok(next) => ended = next,
                Err(failure) => {
                    // The work of the turns before is kept, and the next attempt gets the messages.
                    (ended.last_message, ended.not_resumed) = (known, Some((failure.reason, failure.message)));
                    return Ok(ended);
                }
            }
        }
        ended.last_message = inbox.last();
        Ok(ended)
    }

    /// Runs the program once, with a prompt for a new session or for one that is resumed.
    fn turn(
        &self,
        supervisor: &mut Supervisor,
        evidence: &mut Evidence,
        definition: &AdapterDefinition,
        (prompt, session): (&str, Option<&Resumed>),
        inbox: &Inbox,
    ) -> Result<Ended, Failure> {
        let invalid = |problem: String| Failure::new(Reason::InvalidAssignment, problem);
        let gateway = self.run.gateway_url.as_deref().map(|url| Gateway::new(url, &self.settings.gateway_token_file));
        let token = gateway.as_ref().map(Gateway::token).transpose()?;
        let earlier = session.map(|session| session.usage).unwrap_or_default();
        let run = self.run.for_turn(definition, earlier.cost_micro_usd, evidence.usage.cost_micro_usd);
        let start = self.render(&run, definition, token.as_deref(), prompt, session).map_err(invalid)?;
        let mut written = files::write(&start.files, self.layout)?;
        if let Some(folder) = &definition.skills {
            written.add_skills(&self.run.skills, &self.settings.skills_dir, folder, self.layout)?;
        }
        let command = self.command(&start)?;
        let input: Stdio = match &start.standard_input {
            Some(text) => files::standard_input(text, self.layout)?.into(),
            None => Stdio::null(),
        };
        log(&format!(
            "starting {}, model {}",
            definition.title,
            self.run.model.as_deref().unwrap_or("of its own choice")
        ));

        let stopper = supervisor.stopper();
        let reader = EventReader::new(definition.events.clone(), earlier);
        let program = &start.argv[0];
        let failed = |error| Failure::program(program, &error);
        // With a gateway, its numbers count, and it refuses requests.
        let limit = if gateway.is_some() { Limit::default() } else { self.left(&evidence.usage) };
        let secrets = Arc::clone(supervisor.secrets());
        let (command, output) = Output::follow(command, reader, secrets, stopper.clone(), limit).map_err(failed)?;
        let interrupter = definition.capabilities.resume.then(|| inbox.watch(stopper.clone(), output.session()));
        let watch = gateway.map(|gateway| gateway.watch(stopper));
        // The counter is that of the container and only grows, so only an increase during this run counts.
        let killed_before = out_of_memory_kills();
        evidence.agent_began = true;
        let end = supervisor.run_with_input(command, input, Some(self.limit(supervisor)));
        if let Some(interrupter) = interrupter {
            interrupter.finish();
        }
        let stops = supervisor.cancelled();
        let answer = watch.map(|watch| watch.finish(stops)).unwrap_or_default();
        let report = definition.events.report_file.as_ref().map(|path| self.layout.home.join(path));
        let seen = output.finish(report.as_deref());
        evidence.add_transcript(&seen.transcript);
        // The gateway counts the whole attempt, and the program only this turn.
        evidence.usage = answer.usage.unwrap_or_else(|| evidence.usage.plus(seen.summary.usage.unwrap_or_default()));
        written.remove();
        let mut summary = seen.summary;
        if summary.session_usage.is_empty() {
            // A program that is interrupted reports nothing; the next report contains what came before.
            summary.session_usage = earlier;
        }
        // An agent that completes its session while it is stopped needs no more budget.
        let exceeded = seen.exceeded && summary.end != Some(definition::End::Completed);
        let refusal = answer.refusal.or_else(|| exceeded.then(|| over_budget(&definition.title, &evidence.usage)));
        Ok(Ended {
            definition: definition.clone(),
            end: end.map_err(failed)?,
            out_of_memory: out_of_memory_kills() > killed_before,
            summary,
            stderr: seen.stderr,
            refusal,
            flooded: seen.flooded,
            last_message: inbox.last(),
            not_resumed: None,
        })
    }

    fn render(
        &self,
        run: &AgentRun,
        definition: &AdapterDefinition,
        token: Option<&str>,
        prompt: &str,
        session: Option<&Resumed>,
    ) -> Result<render::Start, String> {
        let [home, tree, temporary, prompt_file] =
            [&self.layout.home, &self.layout.tree, &self.layout.temporary, &self.layout.prompt]
                .map(|path| path.to_string_lossy());
        let values = Values {
            run,
            token,
            task_id: self.id,
            prompt,
            prompt_file: &prompt_file,
            home: &home,
            tree: &tree,
            temporary: &temporary,
            session: session.map(|session| session.id.as_str()),
            new_session: &session_id(&self.identity),
        };
        render::render(definition, &values, &credential)
    }

    fn command(&self, start: &render::Start) -> Result<Command, Failure> {
        let Some((program, arguments)) = start.argv.split_first() else {
            return Err(Failure::new(Reason::InvalidAssignment, "the adapter has no command"));
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.layout.tree).env_clear();
        // The variables of the Agent come last, so that its author can change a setting of the adapter.
        command.envs(start.env.iter().map(|(name, value)| (name, value))).envs(self.environment.variables());
        Ok(command)
    }

    /// Returns what is left of the budget of the attempt for a turn, when the agent has reported `spent` before.
    fn left(&self, spent: &Usage) -> Limit {
        let left = |limit: Option<u64>, spent: u64| limit.map(|limit| limit.saturating_sub(spent));
        Limit {
            tokens: left(self.run.max_tokens, spent.tokens()),
            cost_micro_usd: left(self.run.max_cost_micro_usd, spent.cost_micro_usd),
        }
    }

    /// Returns the time limit of the agent: what is left of the attempt's, without the time for what comes after the agent.
    fn limit(&self, supervisor: &Supervisor) -> Duration {
        let whole = Duration::from_secs(self.run.timeout_seconds.into());
        let reserve = (whole / RESERVE).clamp(MIN_RESERVE, MAX_RESERVE);
        whole.saturating_sub(reserve).saturating_sub(supervisor.elapsed()).max(Duration::from_secs(1))
    }
}

impl Ended {
    pub(crate) fn definition(&self) -> &AdapterDefinition {
        &self.definition
    }

    /// Returns the session if a message of a person can continue it: it was interrupted, or ended well.
    fn resumable(&self) -> Option<Resumed> {
        let well = self.end == End::Exited(0) && self.summary.end != Some(definition::End::Failed);
        let interrupted = self.end == End::Stopped && !self.flooded;
        let able = self.definition.capabilities.resume && self.refusal.is_none() && !self.out_of_memory;
        let id = self.session().filter(|_| able && (well || interrupted))?;
        Some(Resumed { id: id.to_owned(), usage: self.summary.session_usage })
    }

    /// Returns the number of the last message of a person that the agent got.
    pub(crate) fn last_message(&self) -> u64 {
        self.last_message
    }

    /// Returns the ID of the session that the agent reported. The agent chose it, and the program gets it as an argument.
    pub(crate) fn session(&self) -> Option<&str> {
        self.summary.session.as_deref().filter(|id| is_session_id(id))
    }

    /// Returns what the agent reports about the whole session.
    pub(crate) fn session_usage(&self) -> Usage {
        self.summary.session_usage
    }

    /// Returns whether the agent succeeded. `changed`: it changed a file; `outputs`: it wrote an output.
    pub(crate) fn check(&self, changed: bool, outputs: bool) -> Result<(), Failure> {
        let fail = |reason, message: String| Err(Failure::new(reason, message));
        let title = &self.definition.title;
        if let Some((reason, message)) = &self.not_resumed {
            return fail(*reason, message.clone());
        }
        // A refusal comes before the exit code: the model did not answer a request, so that the work is not complete.
        if let (Some(refusal), false) = (&self.refusal, self.end == End::Cancelled) {
            return fail(refusal.reason, refusal.message.clone());
        }
        let exit = match self.end {
            End::Cancelled => return Err(Failure::cancelled()),
            _ if self.out_of_memory => {
                let message = format!(
                    "{title} was killed because it used more memory than the container's limit; raise resources.memory"
                );
                return fail(Reason::OutOfMemory, message);
            }
            End::Stopped | End::Exited(_) | End::Signalled(_) if self.flooded => {
                let limit = output::MAX_OUTPUT >> 20;
                return fail(Reason::AgentFailed, format!("{title} printed more than {limit} MiB and was stopped"));
            }
            End::Stopped => return fail(Reason::AgentFailed, format!("{title} was stopped")),
            End::TimedOut => {
                let message = format!(
                    "{title} did not finish within the time limit, less the time to commit its work; raise timeoutSeconds or divide the task"
                );
                return fail(Reason::DeadlineExceeded, message);
            }
            End::Exited(code) => Exit::Code(code),
            End::Signalled(signal) => Exit::Signal(signal),
        };
        let outcome = Outcome { exit, summary: &self.summary, stderr: &self.stderr, changed, outputs };
        classify::classify(&self.definition, &outcome).or_else(|(reason, message)| fail(reason, message))
    }
}

/// Returns why an agent without the gateway was stopped after it had reported this usage.
fn over_budget(title: &str, used: &Usage) -> Refusal {
    let message = format!(
        "{title} has reported {} tokens and {}.{:06} USD, as much as the budget of the attempt allows; raise spec.execution.attemptBudget of the \
         plan",
        used.tokens(),
        used.cost_micro_usd / 1_000_000,
        used.cost_micro_usd % 1_000_000
    );
    Refusal { reason: Reason::BudgetExceeded, message }
}

/// Shows messages in the pod's log and in the transcript.
fn show(messages: &[Message], evidence: &mut Evidence) {
    for Message { by, text, .. } in messages {
        let event = AgentEvent::Person { by: by.clone().unwrap_or_default(), text: text.clone() };
        print!("{}", event.readable());
        // An event can always be written as JSON.
        evidence.add_transcript(&format!("{}\n", serde_json::to_string(&event).unwrap_or_default()));
    }
}

/// Returns whether `path` is a directory that is not empty.
pub(crate) fn is_directory_with_files(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
}

/// Returns the value of a variable of the pod. Files of Secrets often end with a line end, which no header or variable may have.
fn credential(name: &str) -> Option<String> {
    Some(std::env::var(name).ok()?.trim_end_matches(['\r', '\n']).to_owned())
}

/// Returns a UUID for the session of an attempt. It has the form of version 4: Qwen Code ends at once with any that is not of version 1 to 5.
fn session_id(identity: &str) -> String {
    let digest = Digest::of_bytes(identity.as_bytes()).to_string();
    let hex = digest.rsplit(':').next().unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_uuids() {
        let id = session_id("uid/1");
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_ne!(id, session_id("uid/2"));
        // Qwen Code refuses other versions.
        assert_eq!((&id[14..15], &id[19..20]), ("4", "8"));
    }
}
