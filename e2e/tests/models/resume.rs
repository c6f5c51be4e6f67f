//! A real agent that is stopped continues in another pod, with its session and the files that it had changed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::Phase;
use enact_e2e::git::Git;
use enact_e2e::models::{ModelServer, coding_agent};
use enact_e2e::{Answer, PATIENCE, Stage, on_stage, until};
use serde_json::Value;

const SCENARIO: &str = include_str!("resume.yaml");

fn plan(git: &Git, id: &str, more: &str) -> String {
    format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: stopped}}\nspec:\n  agentRef: {{name: coder}}\n  \
         execution: {{timeoutSeconds: 300, retry: {{limit: 1, backoffSeconds: 1}}}}\n{}  tasks: [{{id: {id}, title: Write two files{more}}}]\n",
        git.workspace()
    )
}

/// Returns the IDs of the sessions that the attempts at the only task reported, in the order of the attempts.
fn sessions(stage: &Stage, plan: &enact_crds::Plan) -> Result<Vec<String>> {
    let uid = plan.metadata.uid.clone().unwrap_or_default();
    let query = format!(
        "select line from enact.results, string_to_table(transcript, E'\\n') as line
         where plan_uid = '{uid}' and line like '{{\"kind\":\"session\"%' order by number"
    );
    let id = |line: String| {
        let event: Value = serde_json::from_str(&line)?;
        event["id"].as_str().map(str::to_owned).context("a session has an ID")
    };
    stage.record(&query)?.into_iter().map(id).collect()
}

/// Runs the task to its end, and checks that two attempts had one session and that each step of the model was served once.
async fn continues(stage: Stage, id: &str, more: &str, run: &str, requests: u64) -> Result<()> {
    let git = Git::start(&stage, &[("README.md", "work")]).await?;
    let server = ModelServer::start(&stage, &[SCENARIO]).await?;
    stage.apply(&coding_agent("Codex").manifests(&server.url("resume", run))).await?;
    stage.apply(&plan(&git, id, more)).await?;
    let done = stage.finished("stopped", Phase::Succeeded, Duration::from_mins(6)).await?;
    let attempts = stage.attempts(&done)?;
    ensure!(attempts.iter().filter(|attempt| attempt.task == id).count() == 2, "{attempts:#?}");
    let sessions = sessions(&stage, &done)?;
    ensure!(sessions.len() == 2 && sessions[0] == sessions[1], "the sessions are {sessions:?}");
    for (file, content) in [("half.txt", "half\n"), ("whole.txt", "whole\n")] {
        ensure!(git.git(&["show", &format!("plan/stopped:{file}")])? == content, "{file} has other content");
    }
    // The session was continued: without it, the model would have been asked for the first file twice.
    let bill = stage.bill_equals(&done, &server, "resume", run).await?;
    ensure!(bill.requests == requests, "{} answers were counted, not {requests}", bill.requests);
    let uid = done.metadata.uid.clone().unwrap_or_default();
    let left = format!(
        "select count(*) from enact.checkpoints c join enact.attempts a using (tenant_id, subject_uid) where a.plan_uid = '{uid}'"
    );
    ensure!(stage.record(&left)? == ["0"], "a task that succeeded has a checkpoint");
    Ok(())
}

#[test]
fn agent_parked_for_quota_continues_its_session() {
    on_stage("resume-quota", |stage| continues(stage, "PARKED", "", "quota", 3));
}

#[test]
fn failed_gate_is_corrected_in_the_same_session() {
    let gate = ", gates: [{name: whole, script: test -e whole.txt}]";
    on_stage("resume-gate", move |stage| continues(stage, "GATED", gate, "gate", 4));
}

#[test]
fn message_of_a_person_interrupts_and_continues() {
    on_stage("message", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[SCENARIO]).await?;
        stage.apply(&coding_agent("Codex").manifests(&server.url("resume", "message"))).await?;
        stage.apply(&plan(&git, "LISTENS", "")).await?;
        until("the command that waits", PATIENCE, || async {
            let shown = stage.enact(&["logs", "stopped/LISTENS"]).unwrap_or_default();
            Ok(if shown.contains("sleep 250") { Answer::Yes(()) } else { Answer::NotYet(shown) })
        })
        .await?;
        let sent = stage.enact(&["message", "stopped/LISTENS", "Write whole.txt, too."])?;
        ensure!(sent.contains("message 1 is sent"), "{sent}");
        let done = stage.finished("stopped", Phase::Succeeded, Duration::from_mins(4)).await?;
        let attempts = stage.attempts(&done)?;
        let at_the_task = attempts.iter().filter(|attempt| attempt.task == "LISTENS").count();
        ensure!(at_the_task == 1, "the message started another attempt: {attempts:#?}");
        for (file, content) in [("half.txt", "half\n"), ("whole.txt", "whole\n")] {
            ensure!(git.git(&["show", &format!("plan/stopped:{file}")])? == content, "{file} has other content");
        }
        let uid = done.metadata.uid.clone().unwrap_or_default();
        let query = format!(
            "select actor || ': ' || (details ->> 'text') from enact.audit where plan_uid = '{uid}' and event = 'Message'"
        );
        let recorded = stage.record(&query)?;
        let by_a_person =
            |line: &String| line.ends_with(": Write whole.txt, too.") && !line.starts_with("system:enact:");
        ensure!(recorded.len() == 1 && recorded.iter().all(by_a_person), "the record has {recorded:?}");
        Ok(())
    });
}
