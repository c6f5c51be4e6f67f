//! One task: clone, let the agent work, commit, check, push.

use std::fs;
use std::path::Path;

use enact_domain::assignment::{Adapter, Assignment, GitWork, Reason, Report, TaskWork};

use crate::agent::{Environment, MAX_TRANSCRIPT, Script, run_gates};
use crate::capture::Tail;
use crate::desk::Desk;
use crate::failure::{Failure, explain};
use crate::git::{Git, Identity, WORKSPACE};
use crate::process::Supervisor;
use crate::settings::Settings;
use crate::{Evidence, outputs, repository, say};

/// Longest first line of a commit's message, in characters.
const MAX_SUBJECT: usize = 200;

/// Does the task. The work is committed before the gates run, so that what they leave in the tree is no part of it, and pushed after
/// they have passed.
pub(crate) fn run(
    supervisor: &mut Supervisor,
    settings: &Settings,
    assignment: &Assignment,
    task: &TaskWork,
    evidence: &mut Evidence,
) -> Result<Report, Failure> {
    let desk = Desk::of(settings);
    desk.clear()?;
    desk.lay_out(task, &trailers(assignment, task))?;
    let environment = environment(&desk, assignment, task);
    let (commit, outputs) = if let Some(work) = &assignment.git {
        let mut git = Git::new(supervisor, settings, &work.url, &WORKSPACE)?;
        let attempt = Attempt { settings, assignment, task, work, desk: &desk, environment: &environment };
        attempt.in_repository(&mut git, evidence)?
    } else {
        let Adapter::Command { script } = &task.adapter else {
            return Err(Failure::new(Reason::InvalidAssignment, "the adapter `replay` needs a plan with a workspace"));
        };
        run_script(supervisor, script, &desk, &environment, evidence)?;
        let outputs = outputs::read(&desk.outputs)?;
        run_gates(supervisor, &task.gates, &desk.tree, &environment, &mut evidence.gates)?;
        (None, outputs)
    };
    let mut report = Report::new(Reason::Succeeded, "");
    report.commit = commit;
    report.outputs = outputs;
    Ok(report)
}

/// A task that works in a clone.
struct Attempt<'a> {
    settings: &'a Settings,
    assignment: &'a Assignment,
    task: &'a TaskWork,
    work: &'a GitWork,
    desk: &'a Desk,
    environment: &'a Environment,
}

type Done = (Option<String>, std::collections::BTreeMap<String, String>);

impl Attempt<'_> {
    fn in_repository(&self, git: &mut Git, evidence: &mut Evidence) -> Result<Done, Failure> {
        let (task, work) = (self.task, self.work);
        say(&format!("cloning {} at {} and merging {} branch(es)", work.url, work.revision, work.merge.len()));
        let checkout = repository::prepare(git, work, None)?;
        git.act_as(Identity::agent(&task.agent));
        match &task.adapter {
            Adapter::Command { script } => run_script(git.supervisor, script, self.desk, self.environment, evidence)?,
            Adapter::Replay {} => self.replay(git, evidence)?,
        }
        let trailers = trailers(self.assignment, task);
        let commit = repository::commit(git, &checkout, &message(self.assignment, task), &trailers)?;
        let outputs = outputs::read(&self.desk.outputs)?;
        run_gates(git.supervisor, &task.gates, &self.desk.tree, self.environment, &mut evidence.gates)?;
        if commit == checkout.base {
            say("nothing was changed");
        }
        let commit = repository::push_work(git, work, &checkout, commit)?;
        say(&format!("pushed {commit} to {}", work.branch));
        Ok((Some(commit), outputs))
    }

    /// Applies recorded work.
    fn replay(&self, git: &mut Git, evidence: &mut Evidence) -> Result<(), Failure> {
        let id = &self.task.id;
        let patch = self.settings.replay_dir.join(format!("{id}.patch"));
        let recorded = fs::read(&patch).map_err(|error| {
            Failure::new(Reason::ReplayFailed, format!("there is no recorded work `{id}.patch` for task {id}: {error}"))
        })?;
        let recorded_words = transcript(&self.settings.replay_dir.join(format!("{id}.transcript")));
        evidence.transcript = git.supervisor.secrets().hide(&recorded_words);
        if !evidence.transcript.is_empty() {
            println!("{}", evidence.transcript.trim_end());
        }
        // An empty record is of a task that changed nothing.
        if recorded.trim_ascii().is_empty() {
            return Ok(());
        }
        git.use_hooks(Some(self.desk.hooks.clone()));
        let applied = git.call(&["am", "--quiet", "--3way", "--whitespace=nowarn", "--", &patch.to_string_lossy()]);
        git.use_hooks(None);
        let applied = applied?;
        if applied.ok() {
            return Ok(());
        }
        Err(Failure::new(Reason::ReplayFailed, explain(&format!("`{id}.patch` does not apply"), &applied.told())))
    }
}

fn run_script(
    supervisor: &mut Supervisor,
    script: &str,
    desk: &Desk,
    environment: &Environment,
    evidence: &mut Evidence,
) -> Result<(), Failure> {
    let ran = Script { text: script, tree: &desk.tree, environment }.run(supervisor, MAX_TRANSCRIPT)?;
    let checked = ran.check("the script", Reason::AgentFailed);
    evidence.transcript = ran.printed;
    checked
}

fn environment(desk: &Desk, assignment: &Assignment, task: &TaskWork) -> Environment {
    let mut environment = Environment::new(desk, &Identity::agent(&task.agent));
    environment.set("ENACT_TASK_ID", &task.id);
    environment.set("ENACT_ATTEMPT", assignment.attempt.to_string());
    environment.set("ENACT_PROMPT_FILE", &desk.prompt);
    environment.set("ENACT_INPUTS_FILE", &desk.inputs);
    environment.set("ENACT_OUTPUT_DIR", &desk.outputs);
    // The agent's own commits get the trailers as they are made: nothing is rewritten later.
    environment.set("GIT_CONFIG_COUNT", "1");
    environment.set("GIT_CONFIG_KEY_0", "core.hooksPath");
    environment.set("GIT_CONFIG_VALUE_0", &desk.hooks);
    environment
}

/// The end of a recorded transcript; nothing when there is none.
fn transcript(path: &Path) -> String {
    let mut tail = Tail::new(MAX_TRANSCRIPT);
    tail.push(&fs::read(path).unwrap_or_default());
    tail.into_text()
}

fn trailers(assignment: &Assignment, task: &TaskWork) -> Vec<String> {
    let mut trailers =
        vec![format!("Enact-Task: {}", task.id), format!("Enact-Plan: {}/{}", assignment.namespace, assignment.plan)];
    trailers.extend(assignment.spec_digest.as_ref().map(|digest| format!("Enact-Spec: {digest}")));
    trailers.push(format!("Enact-Agent: {}", task.agent));
    trailers.push(format!("Enact-Attempt: {}", assignment.attempt));
    trailers.iter().map(|trailer| one_line(trailer)).collect()
}

fn message(assignment: &Assignment, task: &TaskWork) -> String {
    let subject: String = one_line(&format!("{}: {}", task.id, task.title)).chars().take(MAX_SUBJECT).collect();
    let body = format!("Work of the agent {} for the plan {}/{}.", task.agent, assignment.namespace, assignment.plan);
    format!("{subject}\n\n{}", one_line(&body))
}

/// The text with every run of white space and control characters as one space.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
