//! The real coding agents in pods: each builds a Spec Kit feature of fourteen tasks through the model gateway, with a scripted model.
//! `cargo xtask test agents` builds their images and runs these tests.

use anyhow::ensure;
use enact_crds::plan::Phase;
use enact_e2e::git::Git;
use enact_e2e::models::{ModelServer, coding_agent};
use enact_e2e::{PATIENCE, on_stage};

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
