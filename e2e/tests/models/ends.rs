//! Agents and models that do not do their work. Each attempt ends with the reason that says why, and other tasks are unaffected.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::Plan;
use enact_crds::plan::Phase;
use enact_e2e::git::Git;
use enact_e2e::models::{ModelServer, coding_agent};
use enact_e2e::{Stage, on_stage};

const SCENARIO: &str = include_str!("ends.yaml");

/// A plan of independent tasks, each attempted once, so that the failure of one shows its effect on the others.
fn plan(git: &Git, ids: &[&str], timeout_seconds: u32) -> String {
    let tasks: String = ids.iter().map(|id| format!("    - {{id: {id}, title: Write {id}.txt}}\n")).collect();
    format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: ends}}\nspec:\n  agentRef: {{name: coder}}\n  \
         execution: {{onFailure: Continue, parallelism: 3, timeoutSeconds: {timeout_seconds}, retry: {{limit: 0}}}}\n{}  tasks:\n{tasks}",
        git.workspace()
    )
}

/// Returns the reason of the attempt of each task.
fn reasons(stage: &Stage, plan: &Plan) -> Result<BTreeMap<String, String>> {
    Ok(stage.attempts(plan)?.into_iter().map(|attempt| (attempt.task, attempt.reason)).collect())
}

fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(task, reason)| ((*task).to_owned(), (*reason).to_owned())).collect()
}

#[test]
fn each_end_has_its_reason() {
    on_stage("ends", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[SCENARIO]).await?;
        stage.apply(&coding_agent("Codex").manifests(&server.url("ends", "all"))).await?;
        let ids = ["WORKS", "IDLE", "REFUSES", "OUTSIDE", "FLOODS", "RECOVERS"];
        stage.apply(&plan(&git, &ids, 300)).await?;
        let plan = stage.finished("ends", Phase::Failed, Duration::from_mins(10)).await?;
        let ends = expected(&[
            ("WORKS", "Succeeded"),
            ("IDLE", "NothingDone"),
            // Codex does not report that the model refused. Claude Code does: `agents/main.rs`.
            ("REFUSES", "NothingDone"),
            ("OUTSIDE", "Succeeded"),
            ("FLOODS", "Succeeded"),
            ("RECOVERS", "Succeeded"),
        ]);
        let found = reasons(&stage, &plan)?;
        ensure!(found == ends, "{found:#?}");
        for id in ["WORKS", "OUTSIDE", "FLOODS", "RECOVERS"] {
            ensure!(content(&stage, &git, id).await? == format!("{id}\n"), "{id} has other content");
        }
        outside(&stage, &git).await?;
        flood(&stage, &plan)
    });
}

/// Returns the file of a task at the commit in its status.
async fn content(stage: &Stage, git: &Git, id: &str) -> Result<String> {
    let status = stage.task("ends", id).await?.status.unwrap_or_default();
    let commit = status.commit.with_context(|| format!("{id} has no commit"))?;
    git.git(&["show", &format!("{commit}:{id}.txt")])
}

/// Checks that files outside the working tree are not part of the work.
async fn outside(stage: &Stage, git: &Git) -> Result<()> {
    let commit = stage.task("ends", "OUTSIDE").await?.status.unwrap_or_default().commit.unwrap_or_default();
    let files = git.git(&["ls-tree", "-r", "--name-only", &commit])?;
    ensure!(files.lines().collect::<Vec<_>>() == ["OUTSIDE.txt", "README.md"], "{files}");
    Ok(())
}

/// Checks that the record keeps a bounded part of an output of 20 MB.
fn flood(stage: &Stage, plan: &Plan) -> Result<()> {
    let uid = plan.metadata.uid.clone().unwrap_or_default();
    let query = format!("select max(octet_length(transcript)) from enact.results where plan_uid = '{uid}'");
    let largest: u64 = stage.record(&query)?.concat().parse()?;
    ensure!(largest > 0 && largest <= 512 << 10, "a transcript has {largest} bytes");
    Ok(())
}

#[test]
fn an_agent_that_never_stops_is_stopped_and_its_work_is_kept() {
    on_stage("endless", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[SCENARIO]).await?;
        stage.apply(&coding_agent("Codex").manifests(&server.url("ends", "endless"))).await?;
        stage.apply(&plan(&git, &["ENDLESS", "WORKS"], 60)).await?;
        let plan = stage.finished("ends", Phase::Failed, Duration::from_mins(6)).await?;
        let ends = expected(&[("ENDLESS", "DeadlineExceeded"), ("WORKS", "Succeeded")]);
        let found = reasons(&stage, &plan)?;
        ensure!(found == ends, "{found:#?}");
        // The file that the agent wrote before it was stopped is on the branch of the attempt.
        let branches = git.git(&["branch", "--list", "--format=%(refname:short)", "enact/*"])?;
        let kept = branches.lines().any(|branch| git.git(&["show", &format!("{branch}:ENDLESS.txt")]).is_ok());
        ensure!(kept, "no branch has the agent's file: {branches}");
        stage.bill(&plan).await.map(drop)
    });
}

#[test]
fn a_model_server_that_fails_ends_the_attempt() {
    on_stage("garbage", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[SCENARIO]).await?;
        stage.apply(&coding_agent("Codex").manifests(&server.url("ends", "garbage"))).await?;
        stage.apply(&plan(&git, &["GARBAGE", "TRUNCATES"], 300)).await?;
        let plan = stage.finished("ends", Phase::Failed, Duration::from_mins(10)).await?;
        let found = reasons(&stage, &plan)?;
        ensure!(
            found.len() == 2 && found.values().all(|reason| reason == "AgentCrashed" || reason == "AgentFailed"),
            "{found:#?}"
        );
        // Nobody knows what an answer without figures has used. It is recorded, and no request stays open.
        stage.bill(&plan).await.map(drop)
    });
}
