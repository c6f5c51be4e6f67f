//! Budgets of real agents: a budget stops an agent during its work, the work is kept, and a larger budget continues it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::Phase;
use enact_e2e::git::Git;
use enact_e2e::models::{ModelServer, coding_agent};
use enact_e2e::{Answer, PATIENCE, Stage, condition, on_stage, until};
use serde_json::json;

const SCENARIO: &str = include_str!("budgets.yaml");

fn plan(git: &Git, execution: &str, tasks: &str) -> String {
    format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: costly}}\nspec:\n  agentRef: {{name: coder}}\n  \
         execution: {{timeoutSeconds: 300, retry: {{limit: 0}}, {execution}}}\n{}  tasks: [{tasks}]\n",
        git.workspace()
    )
}

/// Waits until the Task has this reason, and returns its message.
async fn parked(stage: &Stage, id: &str, reason: &str) -> Result<String> {
    until(&format!("the reason {reason} of {id}"), PATIENCE, || async {
        let Ok(task) = stage.task("costly", id).await else { return Ok(Answer::NotYet("no task".to_owned())) };
        let conditions = task.status.map(|status| status.conditions).unwrap_or_default();
        let ready = condition(&conditions, "Ready").cloned();
        Ok(match ready {
            Some(ready) if ready.reason == reason => Answer::Yes(ready.message),
            other => Answer::NotYet(format!("{other:?}")),
        })
    })
    .await
}

#[test]
fn a_budget_stops_an_agent_and_a_larger_one_continues() {
    on_stage("budget", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[SCENARIO]).await?;
        stage.apply(&coding_agent("Codex").manifests(&server.url("budgets", "plan"))).await?;
        // Each answer of the model costs 0.10 dollars.
        stage.apply(&plan(&git, "budget: {usd: \"0.35\"}", "{id: COSTLY, title: Write two files}")).await?;
        let message = parked(&stage, "COSTLY", "BudgetExceeded").await?;
        ensure!(message.contains("0.35"), "the message does not name the budget: {message}");
        // What the agent did before it was stopped is on the branch of its attempt.
        let branches = git.git(&["branch", "--list", "--format=%(refname:short)", "enact/*"])?;
        let kept = branches.lines().any(|branch| git.git(&["show", &format!("{branch}:first.txt")]).is_ok());
        ensure!(kept, "no branch has the first file: {branches}");
        let stopped = stage.api::<enact_crds::Plan>().get("costly").await?;
        let spent = stage.bill(&stopped).await?;
        let cost = spent.tokens.input + 4 * spent.tokens.output;
        ensure!(cost <= 350_000 + 100_000, "the plan used {cost} micro-dollars of 350000");

        stage.change_plan("costly", json!({"execution": {"budget": {"usd": "5"}}})).await?;
        let done = stage.finished("costly", Phase::Succeeded, Duration::from_mins(4)).await?;
        ensure!(git.git(&["show", "plan/costly:second.txt"])? == "second\n");
        stage.bill_equals(&done, &server, "budgets", "plan").await.map(drop)
    });
}

#[test]
fn concurrent_agents_do_not_exceed_a_budget_together() {
    on_stage("budget-shared", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[SCENARIO]).await?;
        stage.apply(&coding_agent("Codex").manifests(&server.url("budgets", "shared"))).await?;
        let tasks: Vec<String> = (1..=4).map(|n| format!("{{id: MANY{n}, title: Work}}")).collect();
        stage
            .apply(&plan(&git, "parallelism: 4, onFailure: Continue, budget: {tokens: 200000}", &tasks.join(", ")))
            .await?;
        stage.plan_reason("costly", "BudgetExceeded").await.context("the plan does not wait for its budget")?;
        let plan = stage.api::<enact_crds::Plan>().get("costly").await?;
        let tokens = stage.bill(&plan).await?.tokens;
        let total = tokens.input + tokens.cached_input + tokens.output;
        ensure!(total <= 200_000, "{total} tokens were used of 200000");
        Ok(())
    });
}
