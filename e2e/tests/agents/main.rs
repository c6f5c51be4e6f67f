//! The real coding agents in pods: each builds a Spec Kit feature of fourteen tasks through the model gateway, with a scripted model.
//! `cargo xtask test agents` builds their images and runs these tests.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::Phase;
use enact_domain::digest::Digest;
use enact_e2e::git::Git;
use enact_e2e::models::{CODING_AGENTS, CodingAgent, KEY, ModelServer, coding_agent, keys, provider};
use enact_e2e::sentence::Team;
use enact_e2e::{PATIENCE, on_stage};
use serde_json::json;

fn builds_the_feature(stage: &'static str, adapter: &'static str) {
    on_stage(stage, move |stage| async move {
        let bill = stage.builds_the_feature(coding_agent(adapter)).await?;
        println!("{adapter}: the record equals what the model server served: {bill:?}");
        Ok(())
    });
}

#[test]
fn claude_code() {
    builds_the_feature("claude-code", "ClaudeCode");
}

#[test]
fn codex() {
    builds_the_feature("codex", "Codex");
}

#[test]
fn copilot() {
    builds_the_feature("copilot", "Copilot");
}

#[test]
fn gemini_cli() {
    builds_the_feature("gemini-cli", "GeminiCli");
}

#[test]
fn opencode() {
    builds_the_feature("opencode", "OpenCode");
}

#[test]
fn qwen_code() {
    builds_the_feature("qwen-code", "QwenCode");
}

/// Three programs work together, each with another API.
#[test]
fn a_sentence_becomes_a_published_branch() {
    on_stage("sentence-agents", |stage| async move {
        let [analyst, thorough, quick] = ["QwenCode", "ClaudeCode", "Codex"].map(coding_agent);
        stage.builds_from_a_sentence(Team { analyst, thorough, quick }).await
    });
}

#[test]
fn claude_code_reports_a_refusal() {
    on_stage("claude-refusal", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[include_str!("../models/ends.yaml")]).await?;
        stage.apply(&coding_agent("ClaudeCode").manifests(&server.url("ends", "refusal"))).await?;
        let plan = format!(
            "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: refused}}\nspec:\n  agentRef: {{name: coder}}\n  \
             execution: {{retry: {{limit: 0}}}}\n{}  tasks: [{{id: REFUSES, title: Write a file}}]\n",
            git.workspace()
        );
        stage.apply(&plan).await?;
        let plan = stage.finished("refused", Phase::Failed, PATIENCE).await?;
        let attempts = stage.attempts(&plan)?;
        ensure!(attempts.len() == 1 && attempts[0].reason == "Refused", "{attempts:#?}");
        Ok(())
    });
}

/// A skill, and the credential of an MCP server.
const SKILL: &str = "---\nname: review\ndescription: How the team reviews.\n---\nRead the diff.\n";
const TOKEN: &str = "canary-9b1f6c";

/// Returns an Agent with a skill and an MCP server, which only writes the digest of its credential.
fn agent_with_settings(agent: CodingAgent) -> String {
    let CodingAgent { adapter, api, .. } = agent;
    let more = format!(
        "  skills: [{{name: review, configMapRef: {{name: review}}}}]\n  mcpServers:\n    - name: tracker\n      \
         command: [/bin/sh, -c, 'printf %s \"$TRACKER_TOKEN\" | sha256sum > /work/tree/mcp-{adapter}.txt']\n      \
         env: [{{name: TRACKER_TOKEN, secretKeyRef: {{name: tracker, key: token}}}}]\n"
    );
    agent.agent(&adapter.to_lowercase(), &api.to_lowercase(), &more)
}

/// Skills and MCP servers reach every program where it looks for them, and credentials reach only the MCP server.
#[test]
fn settings_reach_every_program() {
    on_stage("settings", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[include_str!("settings.yaml")]).await?;
        let config_map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "review"}, "data": {"SKILL.md": SKILL},
        });
        let secret =
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: tracker}}\nstringData: {{token: {TOKEN}}}\n");
        stage.apply(&format!("{config_map}\n---\n{secret}---\n{}", keys(KEY))).await?;
        for api in ["Anthropic", "OpenAi", "Gemini"] {
            stage.apply(&provider(&api.to_lowercase(), api, &server.url("settings", "all"))).await?;
        }
        stage.apply(&CODING_AGENTS.map(agent_with_settings).concat()).await?;
        let tasks = CODING_AGENTS.map(|CodingAgent { adapter, .. }| {
            format!("    - {{id: {adapter}, title: Look, agentRef: {{name: {}}}}}\n", adapter.to_lowercase())
        });
        let plan = format!(
            "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: settings}}\nspec:\n  agentRef: {{name: codex}}\n  \
             execution: {{onFailure: Continue, parallelism: 2, retry: {{limit: 0}}}}\n{}  tasks:\n{}",
            git.workspace(),
            tasks.concat()
        );
        stage.apply(&plan).await?;
        stage.finished("settings", Phase::Succeeded, Duration::from_mins(10)).await?;
        let digest = Digest::of_bytes(TOKEN.as_bytes()).to_string();
        let hex = digest.trim_start_matches("sha256:");
        for CodingAgent { adapter, .. } in CODING_AGENTS {
            let status = stage.task("settings", adapter).await?.status.unwrap_or_default();
            let commit = status.commit.with_context(|| format!("{adapter} has no commit"))?;
            let content =
                |name: &str| -> Result<String> { git.git(&["show", &format!("{commit}:{name}-{adapter}.txt")]) };
            let (skill, mcp) = (content("skill")?, content("mcp")?);
            ensure!(skill.trim_end() == format!("{SKILL}token none"), "{adapter}: {skill}");
            ensure!(mcp.starts_with(hex), "{adapter}: {mcp}");
        }
        Ok(())
    });
}

/// Programs that try again for minutes after 429 do not keep their pods: the gateway ends their attempts.
#[test]
fn programs_that_try_again_without_end_are_stopped() {
    const LIMITED: &str = "name: limited\nmodels: [scripted]\notherwise:\n  fault: {error: {status: 429}}\n";
    on_stage("limited", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let server = ModelServer::start(&stage, &[LIMITED]).await?;
        stage
            .apply(&format!("{}---\n{}", keys(KEY), provider("openai", "OpenAi", &server.url("limited", "all"))))
            .await?;
        let adapters = ["QwenCode", "OpenCode"];
        let agents = adapters.map(|adapter| coding_agent(adapter).agent(&adapter.to_lowercase(), "openai", ""));
        let tasks = adapters.map(|adapter| {
            format!("    - {{id: {adapter}, title: Write, agentRef: {{name: {}}}}}\n", adapter.to_lowercase())
        });
        let plan = format!(
            "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: limited}}\nspec:\n  agentRef: {{name: qwencode}}\n  \
             execution: {{onFailure: Continue, retry: {{limit: 0, infrastructureLimit: 0}}}}\n{}  tasks:\n{}",
            git.workspace(),
            tasks.concat()
        );
        stage.apply(&(agents.concat() + &plan)).await?;
        let plan = stage.finished("limited", Phase::Failed, Duration::from_mins(8)).await?;
        let attempts = stage.attempts(&plan)?;
        let limited = attempts.iter().all(|attempt| attempt.reason == "RateLimited");
        ensure!(attempts.len() == 2 && limited, "{attempts:#?}");
        Ok(())
    });
}
