//! A task: clone, run the agent, commit, run the gates, push.

use std::fs;
use std::path::Path;

use enact_domain::agents::checkpoint::UnfinishedWork;
use enact_domain::agents::run::AgentRun;
use enact_domain::assignment::{Adapter, Assignment, GitWork, Reason, Report, TaskWork};
use enact_domain::text::truncated;

use crate::agent::{Environment, MAX_TRANSCRIPT, Script, measure, run_gates};
use crate::capture::Tail;
use crate::checkpoint::{Beginning, Checkpoints};
use crate::clone_cache::CloneCache;
use crate::coding_agent::Ended;
use crate::delivery::RunnerKey;
use crate::failure::{Failure, explain};
use crate::git::{Git, Identity, PLAN_FIELDS};
use crate::log::log;
use crate::process::Supervisor;
use crate::report::Evidence;
use crate::repository::{BASE, Checkout, UNFINISHED_MARK};
use crate::settings::Settings;
use crate::text::one_line;
use crate::workspace::WorkspaceLayout;
use crate::{coding_agent, knowledge, outputs, repository, unfinished};

/// Most characters in the first line of a commit message.
const MAX_SUBJECT: usize = 200;

/// Runs the task. It commits and pushes before the gates run, so that the commit contains no file that a gate writes, and a gate that ends
/// the pod loses no work.
pub(crate) fn run(
    supervisor: &mut Supervisor,
    settings: &Settings,
    assignment: &Assignment,
    task: &TaskWork,
    key: Option<&RunnerKey>,
    evidence: &mut Evidence,
) -> Result<Report, Failure> {
    let layout = WorkspaceLayout::new(settings);
    layout.clear()?;
    layout.write_inputs(task, &trailers(assignment, task))?;
    let environment = environment(&layout, assignment, task);
    if let Some(work) = &assignment.git {
        let mut git = Git::new(supervisor, settings, &work.url, &PLAN_FIELDS)?;
        let attempt = Attempt { settings, assignment, task, key, work, layout: &layout, environment: &environment };
        return attempt.in_repository(&mut git, evidence);
    }
    match &task.adapter {
        Adapter::Command { script } => run_script(supervisor, script, &layout, &environment, evidence)?,
        Adapter::Agent(run) => {
            // Without a repository, nothing keeps the files of an attempt, so that its session is not resumed either.
            let beginning = Beginning::fresh(task, false, "");
            layout.write_prompt(&beginning.prompt)?;
            let work = agent_work(settings, assignment, task, run, &layout, &environment, &beginning);
            let ended = work.execute(supervisor, evidence)?;
            // Without a repository, files are no result.
            ended.check(false, coding_agent::is_directory_with_files(&layout.outputs))?;
        }
        Adapter::Replay {} => {
            return Err(Failure::new(
                Reason::InvalidAssignment,
                "the adapter Replay needs a repository; set spec.workspace of the Plan",
            ));
        }
    }
    let outputs = outputs::read(&layout.outputs)?;
    // After the outputs are read, so that a gate cannot change them.
    let environment = gate_environment(&layout, &environment, task)?;
    run_gates(supervisor, &task.gates, &layout, &environment, &mut evidence.gates)?;
    let measurements = measure(supervisor, &task.measurements, &layout, &environment)?;
    Ok(Report { outputs, measurements, ..Report::new(Reason::Succeeded, "") })
}

/// An attempt that works in a clone.
struct Attempt<'a> {
    settings: &'a Settings,
    assignment: &'a Assignment,
    task: &'a TaskWork,
    key: Option<&'a RunnerKey>,
    work: &'a GitWork,
    layout: &'a WorkspaceLayout,
    environment: &'a Environment,
}

/// Part of the message of an attempt whose work cannot be pushed.
const GOES_TO_SERVER: &str =
    "the Git server did not take the work: enact-server gets it, for a next attempt with `retry.from: Work`";
/// The same without an enact-server.
const LOST_WITHOUT_SERVER: &str = "the work is lost: the Git server did not take it, and there is no enact-server";
/// Most bytes of the reason why work is lost.
const MAX_PROBLEM_BYTES: usize = 300;

/// Where unfinished work is.
enum Kept {
    /// On the branch of the attempt, at this commit.
    Pushed(String),
    /// In this bundle, with this commit: the Git server did not take it.
    Bundled(String, Vec<u8>),
}

impl Attempt<'_> {
    fn in_repository(&self, git: &mut Git, evidence: &mut Evidence) -> Result<Report, Failure> {
        let (task, work) = (self.task, self.work);
        log(&format!("cloning {} at {} and merging {} branch(es)", work.url, work.revision, work.merge.len()));
        // A clone that was fetched in advance needs no packs of the cache.
        let cache = if self.layout.take_clone()? { None } else { CloneCache::of(self.settings, work) };
        let mut checkout = repository::prepare(git, work, None, cache.as_ref())?;
        log(&format!("the working tree is ready {} ms after the start", git.supervisor.elapsed().as_millis()));
        // The merges above are commits of Enact. The commits from here on are those of the agent.
        git.act_as(Identity::agent(&task.agent));
        let (executed, ended) = match &task.adapter {
            Adapter::Command { script } => {
                self.checkpoints().take_work(git, work)?;
                self.layout.write_prompt(&(task.prompt.clone() + &self.knowledge(git)?))?;
                (run_script(git.supervisor, script, self.layout, self.environment, evidence), None)
            }
            Adapter::Replay {} => (self.replay(git, evidence), None),
            Adapter::Agent(run) => (Ok(()), Some(self.run_agent(git, run, evidence)?)),
        };
        // The work is kept before anything evaluates it. A pod that is stopped has some seconds for that.
        git.supervisor.allow_saving();
        let committed = self.commit(git, &checkout);
        // A tree that cannot be committed is a failure of its own, unless the agent failed before.
        let changed = !committed.as_ref().is_ok_and(|commit| *commit == checkout.base);
        let failure = executed.and_then(|()| self.check(ended.as_ref(), changed)).err();
        let commit = match (failure, committed) {
            (None, Ok(commit)) => commit,
            (Some(failure), Ok(commit)) => {
                return Err(self.leave(git, &mut checkout, Some(commit), ended.as_ref(), failure, evidence));
            }
            (failure, Err(problem)) => {
                let commit = self.commit_anything(git, &checkout);
                let failure = failure.unwrap_or(problem);
                return Err(self.leave(git, &mut checkout, commit, ended.as_ref(), failure, evidence));
            }
        };
        let unchanged = commit == checkout.base;
        if unchanged {
            log("the agent changed no file");
        }
        match self.push_and_check(git, &mut checkout, &commit, evidence) {
            Ok(checked) => Ok(Report { unchanged, ..checked }),
            Err(failure) => Err(self.leave(git, &mut checkout, Some(commit), ended.as_ref(), failure, evidence)),
        }
    }

    /// Returns whether the agent succeeded. `changed`: it changed a file.
    fn check(&self, ended: Option<&Ended>, changed: bool) -> Result<(), Failure> {
        let outputs = coding_agent::is_directory_with_files(&self.layout.outputs);
        if let Some(ended) = ended {
            ended.check(changed, outputs)?;
        }
        if self.task.fail_unchanged && !changed && !outputs {
            let message = "the attempt changed no file and wrote no output, and onNoChange is Fail";
            return Err(Failure::new(Reason::NothingDone, message));
        }
        Ok(())
    }

    /// Pushes the commit, reads the outputs, and runs the gates and measurements. Returns the report with the commit that was pushed.
    fn push_and_check(
        &self,
        git: &mut Git,
        checkout: &mut Checkout,
        commit: &str,
        evidence: &mut Evidence,
    ) -> Result<Report, Failure> {
        // An attempt that fails without a change leaves no branch.
        let changed = commit != checkout.base;
        let mut pushed = commit.to_owned();
        if changed {
            knowledge::check(git, &checkout.base, commit, &self.task.title)?;
            pushed = repository::push_work(git, self.work, checkout, pushed)?;
        }
        let outputs = outputs::read(&self.layout.outputs)?;
        if !(self.task.gates.is_empty() && self.task.measurements.is_empty()) {
            repository::check_out_again(git, self.layout, checkout, commit)?;
        }
        let environment = gate_environment(self.layout, self.environment, self.task)?;
        // After commit and outputs, so that a gate can change neither.
        run_gates(git.supervisor, &self.task.gates, self.layout, &environment, &mut evidence.gates)?;
        let measurements = measure(git.supervisor, &self.task.measurements, self.layout, &environment)?;
        if !changed {
            pushed = repository::push_work(git, self.work, checkout, pushed)?;
        }
        log(&format!("pushed {pushed} to {}", self.work.branch));
        Ok(Report { commit: Some(pushed), outputs, measurements, ..Report::new(Reason::Succeeded, "") })
    }

    fn commit(&self, git: &mut Git, checkout: &Checkout) -> Result<String, Failure> {
        let trailers = trailers(self.assignment, self.task);
        repository::commit(git, checkout, &message(self.assignment, self.task), &trailers)
    }

    /// Commits a tree that cannot be merged, so that it is kept.
    fn commit_anything(&self, git: &mut Git, checkout: &Checkout) -> Option<String> {
        git.supervisor.allow_saving();
        let trailers = trailers(self.assignment, self.task);
        let kept = unfinished::keep(git, checkout, &message(self.assignment, self.task), &trailers);
        kept.inspect_err(|problem| log(&format!("the work cannot be kept: {}", problem.message))).ok()
    }

    /// Runs a coding agent. It continues with the work and the session of an earlier attempt.
    fn run_agent(&self, git: &mut Git, run: &AgentRun, evidence: &mut Evidence) -> Result<Ended, Failure> {
        let definition = run.definition().map_err(|problem| Failure::new(Reason::InvalidAssignment, problem))?;
        let known = self.knowledge(git)?;
        let beginning = self.checkpoints().begin(git, self.work, &definition, &known)?;
        self.layout.write_prompt(&beginning.prompt)?;
        let work =
            agent_work(self.settings, self.assignment, self.task, run, self.layout, self.environment, &beginning);
        work.execute(git.supervisor, evidence)
    }

    /// Returns what is known about the repository at the revision that the plan starts from: no task of the plan can have changed it there.
    fn knowledge(&self, git: &mut Git) -> Result<String, Failure> {
        knowledge::section(git, BASE, &self.task.prompt)
    }

    fn checkpoints(&self) -> Checkpoints<'_> {
        let Self { settings, assignment, task, key, layout, .. } = *self;
        Checkpoints { settings, assignment, key, task, layout }
    }

    /// Keeps the unfinished work in `commit` and leaves a checkpoint for the next attempt. The failure then names the commit that was
    /// pushed.
    fn leave(
        &self,
        git: &mut Git,
        checkout: &mut Checkout,
        commit: Option<String>,
        ended: Option<&Ended>,
        mut failure: Failure,
        evidence: &mut Evidence,
    ) -> Failure {
        git.supervisor.allow_saving();
        failure.reason = evidence.reason_of(failure.reason);
        // A session without its files would be misled.
        let Some(commit) = commit else { return failure };
        let (mut work, mut bundle) = (None, None);
        if commit != checkout.base {
            let commit = match self.keep_unfinished(git, checkout, commit, failure.reason) {
                Err(problem) => {
                    failure.append(&format!("the work is lost: {}", truncated(&problem.message, MAX_PROBLEM_BYTES)));
                    return failure;
                }
                Ok(Kept::Pushed(commit)) => {
                    failure.commit = Some(commit.clone());
                    commit
                }
                Ok(Kept::Bundled(commit, bytes)) => {
                    let has_server = self.assignment.server_url.is_some();
                    failure.append(if has_server { GOES_TO_SERVER } else { LOST_WITHOUT_SERVER });
                    bundle = Some(bytes);
                    commit
                }
            };
            let (branch, base) = (self.work.branch.clone(), checkout.base.clone());
            work = Some(UnfinishedWork { branch, commit, base });
        }
        evidence.checkpoint = self.checkpoints().leave(ended, failure.reason, work, bundle, git.supervisor.secrets());
        failure
    }

    /// Pushes unfinished work to the branch of the attempt, or makes a bundle of it. Fails if neither is possible.
    fn keep_unfinished(
        &self,
        git: &mut Git,
        checkout: &mut Checkout,
        commit: String,
        reason: Reason,
    ) -> Result<Kept, Failure> {
        let problem = match self.push_unfinished(git, checkout, &commit, reason) {
            Ok(marked) => {
                log(&format!("pushed the unfinished work {marked} to {}", self.work.branch));
                return Ok(Kept::Pushed(marked));
            }
            Err(problem) => problem,
        };
        log(&format!("the unfinished work could not be pushed: {}", problem.message));
        // Before the gates, the same commit was pushed without its mark.
        if checkout.pushed.as_ref() == Some(&commit) {
            return Ok(Kept::Pushed(commit));
        }
        git.supervisor.allow_saving();
        let bundle = unfinished::bundle(git, &commit);
        let bundle = bundle.inspect_err(|problem| log(&format!("the work is lost: {}", problem.message)))?;
        Ok(Kept::Bundled(commit, bundle))
    }

    fn push_unfinished(
        &self,
        git: &mut Git,
        checkout: &mut Checkout,
        commit: &str,
        reason: Reason,
    ) -> Result<String, Failure> {
        let title = format!("{UNFINISHED_MARK}{}", subject(self.task));
        let why = format!(
            "The attempt ended with the reason {}. This work has not passed; do not merge it.",
            reason.as_str()
        );
        let trailers = trailers(self.assignment, self.task).join("\n");
        let marked = unfinished::mark(git, checkout, commit, &[&title, &why, &trailers])?;
        repository::push_replacing(git, self.work, checkout, marked)
    }

    /// Applies recorded work.
    fn replay(&self, git: &mut Git, evidence: &mut Evidence) -> Result<(), Failure> {
        let id = &self.task.id;
        let patch = self.settings.replay_dir.join(format!("{id}.patch"));
        let recorded = fs::read(&patch).map_err(|error| {
            Failure::new(Reason::ReplayFailed, format!("there is no recorded work `{id}.patch` for task {id}: {error}"))
        })?;
        let transcript = read_transcript(&self.settings.replay_dir.join(format!("{id}.transcript")));
        evidence.transcript = git.supervisor.secrets().redact(&transcript);
        if !evidence.transcript.is_empty() {
            println!("{}", evidence.transcript.trim_end());
        }
        // An empty patch is the record of a task that changed no file.
        if recorded.trim_ascii().is_empty() {
            return Ok(());
        }
        // The hooks add the trailers of this attempt to the recorded commits.
        git.use_hooks(Some(self.layout.hooks.clone()));
        let applied = git.call(&["am", "--quiet", "--3way", "--whitespace=nowarn", "--", &patch.to_string_lossy()]);
        git.use_hooks(None);
        let applied = applied?;
        if applied.ok() {
            return Ok(());
        }
        Err(Failure::new(Reason::ReplayFailed, explain(&format!("`{id}.patch` does not apply"), &applied.all())))
    }
}

fn run_script(
    supervisor: &mut Supervisor,
    script: &str,
    layout: &WorkspaceLayout,
    environment: &Environment,
    evidence: &mut Evidence,
) -> Result<(), Failure> {
    evidence.agent_began = true;
    let run = Script { text: script, tree: &layout.tree, environment }.run(supervisor, MAX_TRANSCRIPT)?;
    let checked = run.check("the script", Reason::AgentFailed);
    // The result of a failed attempt has a transcript, too.
    evidence.transcript = run.output;
    checked
}

fn agent_work<'a>(
    settings: &'a Settings,
    assignment: &'a Assignment,
    task: &'a TaskWork,
    run: &'a AgentRun,
    layout: &'a WorkspaceLayout,
    environment: &'a Environment,
    beginning: &'a Beginning,
) -> coding_agent::Work<'a> {
    let identity = format!("{}/{}", assignment.subject_uid, assignment.attempt);
    let Beginning { prompt, session, last_message } = beginning;
    let (id, session, last_message) = (&task.id, session.as_ref(), *last_message);
    coding_agent::Work { settings, layout, environment, run, id, prompt, session, last_message, identity }
}

fn environment(layout: &WorkspaceLayout, assignment: &Assignment, task: &TaskWork) -> Environment {
    let mut environment = Environment::new(layout, &Identity::agent(&task.agent));
    environment.set("ENACT_TASK_ID", &task.id);
    environment.set("ENACT_ATTEMPT", assignment.attempt.to_string());
    environment.set("ENACT_PROMPT_FILE", &layout.prompt);
    environment.set("ENACT_INPUTS_FILE", &layout.inputs);
    environment.set("ENACT_OUTPUT_DIR", &layout.outputs);
    // The hooks add the trailers when the agent commits, because the runner never rewrites commits.
    environment.set("GIT_CONFIG_COUNT", "1");
    environment.set("GIT_CONFIG_KEY_0", "core.hooksPath");
    environment.set("GIT_CONFIG_VALUE_0", &layout.hooks);
    environment
}

/// Returns the environment of gates and measurements: with the inputs in a file that the agent could not change.
fn gate_environment(
    layout: &WorkspaceLayout,
    environment: &Environment,
    task: &TaskWork,
) -> Result<Environment, Failure> {
    let mut environment = environment.clone();
    environment.set("ENACT_INPUTS_FILE", layout.write_gate_inputs(task)?);
    Ok(environment)
}

/// Returns the end of a recorded transcript; nothing if the file does not exist.
fn read_transcript(path: &Path) -> String {
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

fn subject(task: &TaskWork) -> String {
    one_line(&format!("{}: {}", task.id, task.title)).chars().take(MAX_SUBJECT).collect()
}

fn message(assignment: &Assignment, task: &TaskWork) -> String {
    let subject = subject(task);
    let body = format!("Work of the agent {} for the plan {}/{}.", task.agent, assignment.namespace, assignment.plan);
    format!("{subject}\n\n{}", one_line(&body))
}
