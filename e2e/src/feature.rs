//! The Spec Kit feature of the examples that coding agents build: fourteen tasks, real files and real tests.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::Plan;
use enact_crds::plan::Phase;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::Stage;
use crate::git::Git;
use crate::models::{Bill, CodingAgent, ModelServer};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/speckit/specs/002-text-report");
const SCENARIO: &str = include_str!("../../examples/model-server/scenarios/text-report.yaml");
/// The name that the import gives to the feature.
const PLAN: &str = "f002-text-report";
const TASKS: u32 = 14;
/// The gate that the merged work must pass before it is published.
const TESTS: &str = "python3 -m unittest discover --start-directory tests --top-level-directory .";

impl Stage {
    /// Imports the feature as a user does, lets a coding agent build it with a model of its own run, and checks the published branch and the
    /// bill.
    ///
    /// # Errors
    /// If the plan does not succeed, or branch or bill are not as expected.
    pub async fn builds_the_feature(&self, agent: CodingAgent) -> Result<Bill> {
        let git = Git::start(self, &[("README.md", "A project")]).await?;
        let server = ModelServer::start(self, &[SCENARIO]).await?;
        self.apply(&agent.manifests(&server.url("text-report", "feature"))).await?;
        let url = git.url();
        let import = ["import", FOLDER, "--agent", "coder", "--git-url", &url, "--credentials-secret", "git-agent"];
        let manifests = self.enact(&[&import[..], &["--integration-secret", "git-integrator"]].concat())?;
        self.apply(&gated(&manifests)?).await?;
        let plan = self.finished(PLAN, Phase::Succeeded, Duration::from_mins(15)).await?;
        let status = plan.status.clone().unwrap_or_default();
        ensure!(status.tasks.succeeded == TASKS, "{:?}", status.tasks);
        published(&git)?;
        self.every_task_has_one_attempt(&plan)?;
        self.bill_equals(&plan, &server, "text-report", "feature").await
    }

    fn every_task_has_one_attempt(&self, plan: &Plan) -> Result<()> {
        let attempts = self.attempts(plan)?;
        // One for each task, and the integration.
        let once =
            attempts.iter().all(|a| a.number == 1 && a.reason == "Succeeded") && attempts.len() == TASKS as usize + 1;
        ensure!(once, "not each task had one attempt: {attempts:#?}");
        Ok(())
    }
}

/// Adds a gate to the imported plan. A failure is not repeated, so that each task is one session of the agent.
fn gated(manifests: &str) -> Result<String> {
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(manifests) {
        let mut object = Value::deserialize(document).context("the imported manifests are not YAML")?;
        if object["kind"] == "Plan" {
            object["spec"]["gates"] = json!([{ "name": "tests", "script": TESTS }]);
            object["spec"]["execution"]["parallelism"] = json!(4);
            object["spec"]["execution"]["retry"] = json!({ "limit": 0 });
        }
        objects.push(object.to_string());
    }
    Ok(objects.join("\n---\n"))
}

/// Checks the published branch: the program, its tests, and a result that the agent measured with a command.
fn published(git: &Git) -> Result<()> {
    let branch = format!("plan/{PLAN}");
    let files = git.git(&["ls-tree", "-r", "--name-only", &branch])?;
    for file in ["textreport/__main__.py", "textreport/reading.py", "tests/test_main.py", "README.md", ".gitignore"] {
        ensure!(files.lines().any(|found| found == file), "{file} is not published: {files}");
    }
    let unexpected = files.lines().find(|file| file.contains("__pycache__") || file.starts_with(".enact"));
    ensure!(unexpected.is_none(), "{unexpected:?} is published");
    ensure!(git.git(&["show", &format!("{branch}:MEASURED.md")])?.starts_with("SC-001: 1 MB in "));
    // Settings that adapters write for their agents are no part of the work.
    let contexts = ["CLAUDE.md", "AGENTS.md", "GEMINI.md", "QWEN.md"];
    ensure!(!files.lines().any(|file| contexts.contains(&file)), "a context file is published: {files}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plan_gets_a_gate() {
        let text = "kind: Specification\nspec: {}\n---\nkind: Plan\nspec: {agentRef: {name: coder}}\n";
        let gated = gated(text).unwrap();
        assert_eq!(gated.matches("\"gates\"").count(), 1);
        assert!(gated.contains("\"retry\":{\"limit\":0}"), "{gated}");
    }
}
