//! Budgets of real agents: a budget stops an agent during its work, the work is kept, and a larger budget continues it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::{EstimateBasis, Phase};
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

#[test]
fn the_approved_estimate_limits_the_plan() {
    on_stage("estimate", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[SCENARIO]).await?;
        stage.apply(&coding_agent("Codex").manifests(&server.url("budgets", "estimate"))).await?;
        let costly = plan(&git, "", "{id: COSTLY, title: Write two files}") + "  approval: {required: 1}\n";
        // A plan without a history states that it has none, and no number.
        stage.apply(&costly.replacen("{name: costly}", "{name: early}", 1)).await?;
        let early = stage.plan_reason("early", "WaitingForApproval").await?.status.and_then(|status| status.estimate);
        let unknown = early.context("the plan has no estimate")?;
        ensure!(unknown.basis == EstimateBasis::Unknown && unknown.usd.is_none(), "{unknown:?}");
        let refused = stage.enact(&["approve", "plan/early", "--yes", "--estimate"]);
        ensure!(refused.is_err(), "an unknown estimate became a budget: {refused:?}");

        let known: Vec<String> = (1..=5).map(|n| format!("{{id: KNOWN{n}, title: Write a file}}")).collect();
        let history = plan(&git, "parallelism: 3", &known.join(", "));
        stage.apply(&history.replacen("{name: costly}", "{name: history}", 1)).await?;
        stage.finished("history", Phase::Succeeded, Duration::from_mins(6)).await?;

        stage.apply(&costly).await?;
        let waiting = stage.plan_reason("costly", "WaitingForApproval").await?.status.unwrap_or_default();
        let estimate = waiting.estimate.context("the plan has no estimate")?;
        ensure!((estimate.samples, estimate.basis) == (5, EstimateBasis::Agent), "{estimate:?}");
        let cap = estimate.usd.context("the estimate has no cost")?.high;
        ensure!(estimate.duration_seconds.is_some_and(|seconds| seconds.expected > 0), "the duration is unknown");
        stage.enact(&["approve", "plan/costly", "--yes", "--estimate"])?;

        // COSTLY needs more answers than each of the earlier tasks.
        parked(&stage, "COSTLY", "BudgetExceeded").await?;
        let stopped = stage.plan_reason("costly", "BudgetExceeded").await?;
        let usage = stopped.status.clone().unwrap_or_default().usage.context("the plan shows no usage")?;
        ensure!(usage.budget.and_then(|budget| budget.usd).as_deref() == Some(cap.as_str()), "the cap is not {cap}");
        ensure!(
            usage.budget_set_by.len() == 1 && usage.budget_set_by[0].starts_with("Approval costly-"),
            "{:?}",
            usage.budget_set_by
        );
        let tokens = stage.bill(&stopped).await?.tokens;
        let limit = enact_crds::convert::micro_usd(&cap).context("the cap is no amount")?;
        let cost = tokens.input + 4 * tokens.output;
        ensure!(cost <= limit + 100_000, "the plan used {cost} micro-dollars of {limit}");
        let tree = stage.enact(&["status", "costly", "--usage"])?;
        ensure!(tree.contains("Estimate") && tree.contains("set by Approval costly-"), "{tree}");
        let report = stage.enact(&["usage", "--plan", "costly"])?;
        ensure!(report.contains("Plan costly: estimated"), "{report}");
        Ok(())
    });
}
