//! Providers that refuse: a wrong or missing key, an exhausted quota, a model that the agent may not use, and a second provider.

use std::time::Duration;

use anyhow::{Result, ensure};
use enact_crds::plan::Phase;
use enact_e2e::git::Git;
use enact_e2e::models::{CodingAgent, ModelServer, coding_agent, keys, provider};
use enact_e2e::{Answer, PATIENCE, Stage, condition, on_stage, until};

const SCENARIO: &str = include_str!("ends.yaml");
const QUOTA: &str = "name: quota\nmodels: [scripted]\notherwise:\n  fault: {error: {status: 429, retryAfter: 7200, resetAfter: 7200}}\n";

fn plan(git: &Git) -> String {
    format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: asks}}\nspec:\n  agentRef: {{name: coder}}\n  \
         execution: {{timeoutSeconds: 300, retry: {{limit: 0}}}}\n{}  tasks: [{{id: WORKS, title: Write WORKS.txt}}]\n",
        git.workspace()
    )
}

/// Waits until the only Task has this reason, and returns its message.
async fn task_reason(stage: &Stage, reason: &str) -> Result<String> {
    until(&format!("the reason {reason}"), PATIENCE, || async {
        let Ok(task) = stage.task("asks", "WORKS").await else { return Ok(Answer::NotYet("no task".to_owned())) };
        let conditions = task.status.map(|status| status.conditions).unwrap_or_default();
        Ok(match condition(&conditions, "Ready").cloned() {
            Some(ready) if ready.reason == reason => Answer::Yes(ready.message),
            other => Answer::NotYet(format!("{other:?}")),
        })
    })
    .await
}

#[test]
fn a_wrong_key_is_named() {
    on_stage("key-wrong", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[SCENARIO]).await?;
        stage.apply(&coding_agent("Codex").manifests(&server.url("ends", "wrong"))).await?;
        stage.apply(&keys("not-the-key")).await?;
        stage.apply(&plan(&git)).await?;
        let message = task_reason(&stage, "CredentialRejected").await?;
        ensure!(!message.contains("not-the-key"), "the message has the key: {message}");
        ensure!(server.served("ends", "wrong")?.requests == 0);
        Ok(())
    });
}

#[test]
fn a_missing_key_is_named() {
    on_stage("key-missing", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[SCENARIO]).await?;
        let agent = coding_agent("Codex").manifests(&server.url("ends", "missing"));
        stage.apply(&agent.replace("{scripted: scripted}", "{another: scripted}")).await?;
        stage.apply(&plan(&git)).await?;
        task_reason(&stage, "CredentialRejected").await?;
        ensure!(server.served("ends", "missing")?.requests == 0);
        Ok(())
    });
}

#[test]
fn a_task_waits_or_moves_while_the_quota_is_used_up() {
    on_stage("quota", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[QUOTA]).await?;
        stage.apply(&coding_agent("Codex").manifests(&server.url("quota", "all"))).await?;
        let pool = "agents: [{name: coder, preference: 100}, {name: spare}]";
        let moves = plan(&git).replace("agentRef: {name: coder}", pool).replace("name: asks", "name: moves");
        ensure!(moves.contains(pool) && moves.contains("name: moves"), "the plan has no pool: {moves}");
        let spare = "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {name: spare}\n\
                     spec: {adapter: Command, script: 'echo WORKS > WORKS.txt'}\n";
        stage.apply(&format!("{spare}---\n{moves}---\n{}", plan(&git))).await?;
        task_reason(&stage, "ProviderQuota").await?;
        let task = stage.task("asks", "WORKS").await?.status.unwrap_or_default();
        ensure!(task.phase == enact_crds::task::Phase::Pending, "the task does not wait: {task:#?}");
        // Another agent of the pool continues, long before the reset.
        stage.finished("moves", Phase::Succeeded, Duration::from_mins(4)).await?;
        ensure!(git.git(&["show", "plan/moves:WORKS.txt"])? == "WORKS\n");
        let explained = stage.enact(&["explain", "moves/WORKS"])?;
        ensure!(explained.contains("has used up its quota, which is reset at 20"), "{explained}");
        Ok(())
    });
}

#[test]
fn a_second_provider_takes_over() {
    on_stage("failover", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[QUOTA, SCENARIO]).await?;
        let agent = coding_agent("Codex");
        let CodingAgent { api, model, .. } = agent;
        let second = provider("second", api, &server.url("ends", "second"));
        let models = format!("models: [{{provider: scripted, model: {model}}}]");
        let both =
            format!("models: [{{provider: scripted, model: {model}}}, {{provider: second, model: other-model}}]");
        let manifests = agent.manifests(&server.url("quota", "first")).replace(&models, &both);
        ensure!(manifests.contains("second"), "the Agent has one model: {manifests}");
        stage.apply(&format!("{second}---\n{manifests}")).await?;
        stage.apply(&plan(&git)).await?;
        let done = stage.finished("asks", Phase::Succeeded, Duration::from_mins(4)).await?;
        ensure!(git.git(&["show", "plan/asks:WORKS.txt"])? == "WORKS\n");
        stage.bill_equals(&done, &server, "ends", "second").await?;
        let uid = done.metadata.uid.clone().unwrap_or_default();
        let query = format!(
            "select distinct model from enact.model_requests where plan_uid = '{uid}' and http_status = 200 order by 1"
        );
        let models = stage.record(&query)?;
        ensure!(models == ["other-model"], "the record names the models {models:?}");
        Ok(())
    });
}
