//! Agents with models that draft specifications: through the gateway, and within the budget of their Agent.

use anyhow::{Context as _, Result, ensure};
use enact_crds::{Agent, Specification};
use enact_e2e::models::{ModelServer, coding_agent, keys, provider};
use enact_e2e::{Answer, PATIENCE, Stage, condition, on_stage, until};

use crate::attacks::{agent, probe};

const SCENARIO: &str = include_str!("drafts.yaml");

/// Returns the manifest of a Specification that the Agent drafts, in one attempt.
fn specification(agent: &str, request: &str) -> String {
    format!(
        "---\napiVersion: enact.dev/v1alpha1\nkind: Specification\nmetadata: {{name: cart}}\nspec:\n  request: {request}\n  \
         drafting: {{agentRef: {{name: {agent}}}, maxAttempts: 1}}\n"
    )
}

/// Waits until the Specification has this reason, and returns it.
async fn reason(stage: &Stage, reason: &str) -> Result<Specification> {
    let has = |found: &Specification| {
        let conditions = found.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        condition(conditions, "Ready").is_some_and(|ready| ready.reason == reason)
    };
    stage.watch(&stage.api::<Specification>(), "cart", &format!("the reason {reason}"), PATIENCE, has).await
}

/// Waits until a query of the record returns this row.
async fn recorded(stage: &Stage, query: &str, expected: &str) -> Result<()> {
    until(&format!("{expected} of {query}"), PATIENCE, || async {
        let rows = stage.record(query)?;
        Ok(if rows == [expected] { Answer::Yes(()) } else { Answer::NotYet(format!("{rows:?}")) })
    })
    .await
}

#[test]
fn a_coding_agent_drafts_through_the_gateway() {
    on_stage("draft-models", |stage| async move {
        let server = ModelServer::start(&stage, &[SCENARIO]).await?;
        stage.apply(&coding_agent("Codex").manifests(&server.url("drafts", "cart"))).await?;
        stage.apply(&specification("coder", "A cart that holds 100 articles.")).await?;
        let done = reason(&stage, "Approved").await?;
        let requirements = done.status.map(|status| status.requirements);
        ensure!(requirements == Some(1), "{requirements:?}");
        let bill = server.served("drafts", "cart")?;
        ensure!(bill.requests > 0, "the model server served nothing");
        let query = format!(
            "select count(*), sum(input_tokens), sum(output_tokens) from enact.model_requests \
             where plan_uid = '' and agent = '{}/coder' and http_status = 200 and outcome is not null",
            stage.name
        );
        let expected = format!("{}|{}|{}", bill.requests, bill.tokens.input, bill.tokens.output);
        recorded(&stage, &query, &expected).await?;
        // No attempt at a task shows that the image works.
        let is_probed = |agent: &Agent| agent.status.as_ref().is_some_and(|status| status.probe.is_some());
        let probed = stage.watch(&stage.api::<Agent>(), "coder", "the end of its probe", PATIENCE, is_probed).await?;
        let probe = probed.status.and_then(|status| status.probe).context("no probe")?;
        ensure!(probe.reason == "Succeeded" && !probe.message.is_empty(), "{probe:?}");
        ensure!(server.served("drafts", "cart")?.requests == bill.requests, "a probe of the image asks no model");
        Ok(())
    });
}

#[test]
fn the_agents_budget_ends_a_draft() {
    on_stage("draft-budget", |stage| async move {
        let server = ModelServer::start(&stage, &[SCENARIO]).await?;
        let url = server.url("drafts", "budget");
        // Each answer has 1000 tokens. The script ends with what the gateway says when it refuses a request.
        let script = probe(
            "    ",
            "for _ in range(100):\n    status, text = chat(prompt=\"Another\")\n    if status != 200:\n        raise SystemExit(text)\n",
        );
        let drafter = agent("drafter", "scripted").replace("---\n", "");
        let drafter = format!("{drafter}  monthlyBudget: {{tokens: 5000}}\n  script: |\n{script}");
        stage
            .apply(&format!("{}---\n{}---\n{drafter}", keys("scripted"), provider("scripted", "OpenAi", &url)))
            .await?;
        // The limits of this month and the next one are in the record before the first request.
        let limits = "select count(*) from enact.budgets where limit_tokens = 5000 and scope like 'agent/%'";
        recorded(&stage, limits, "2").await?;
        stage.apply(&specification("drafter", "A cart.")).await?;
        let failed = reason(&stage, "DraftFailed").await?;
        let draft = failed.status.and_then(|status| status.draft).context("no draft")?;
        ensure!(draft.attempts == 1, "{draft:?}");
        let bill = server.served("drafts", "budget")?.tokens;
        // This model reports more than the gateway reserves for so short a prompt, so one answer can go beyond the budget.
        ensure!((1..=6000).contains(&(bill.input + bill.output)), "{bill:?}");
        let refused = "select count(*) from enact.refusals where reason = 'BudgetExceeded'";
        recorded(&stage, refused, "1").await
    });
}
