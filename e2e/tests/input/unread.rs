//! Lines of a tasks.md that look like tasks and cannot be read: import, webhook and operator refuse them, or leave them out, alike.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use enact_crds::Plan;
use enact_crds::plan::Phase;
use enact_e2e::documents::{holds, inline, mapped};
use enact_e2e::people::Person;
use enact_e2e::{PATIENCE, Stage, on_stage};
use serde_json::{Value, json};

use super::object;

/// One task, and on line 7 a box in a quotation.
const TASKS: &str = "# Tasks: Lending\n\n## Phase 1: Setup\n\n- [ ] T001 Create folders\n\n> - [ ] T002 Add a linter\n";

fn spec(unread: &str) -> Value {
    json!({"agentRef": {"name": "scripts"}, "unreadTasks": unread})
}

/// Writes the document as a file of a feature, and returns its path.
fn feature(home: &Path) -> Result<String> {
    let folder = home.join("specs/001-lending");
    fs::create_dir_all(&folder)?;
    let file = folder.join("tasks.md");
    fs::write(&file, TASKS)?;
    Ok(file.to_str().context("a path that is not UTF-8")?.to_owned())
}

/// Checks that a plan did the task that could be read, and no other.
async fn did_the_rest(stage: &Stage, name: &str) -> Result<()> {
    let plan = stage.finished(name, Phase::Succeeded, PATIENCE).await?;
    stage.done_once(&plan, &["T001"])?;
    let status = plan.status.unwrap_or_default();
    let named = status.top_findings.iter().any(|f| f.code == "UnreadTask" && f.line == 7);
    ensure!(named && (status.tasks.total, status.tasks.succeeded) == (1, 1), "Plan {name}: {status:#?}");
    Ok(())
}

#[test]
fn unread_tasks_are_refused_or_left_out_everywhere() {
    on_stage("unread", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let agent = "adapter: Command\n  script: 'true'\n  resources: {cpu: 10m, memory: 64Mi, ephemeralStorage: 64Mi}";
        dana.applies(&object("Agent", "scripts", agent)).await?;
        let tasks = feature(dana.home())?;

        // Refuse is the default.
        let import = ["import", tasks.as_str(), "--agent", "scripts", "--no-constitution"];
        holds(&dana.enact_error(&import)?, &["tasks.md:7: error", "T002", "no manifest was printed"])?;
        let refusal = dana.refusal(&inline("Plan", "admitted", TASKS, &spec("Refuse"))).await?;
        holds(&refusal, &["spec.source.inline", "line 7", "T002", "unreadTasks: Warn"])?;
        let unset = json!({"agentRef": {"name": "scripts"}});
        holds(&dana.refusal(&inline("Plan", "admitted", TASKS, &unset)).await?, &["line 7", "T002"])?;
        // The webhook does not read a ConfigMap; the operator does.
        dana.applies(&mapped("Plan", "mapped", TASKS, &unset)).await?;
        let plan =
            stage.await_message::<Plan>("mapped", "InvalidPlan", &["tasks.md", "line 7", "unreadTasks: Warn"]).await?;
        let status = plan.status.unwrap_or_default();
        ensure!(status.tasks.total == 0 && status.top_findings.iter().any(|f| f.line == 7), "{status:#?}");
        ensure!(stage.pods("mapped").await?.is_empty(), "a document with unread work was started");

        // With Warn, the line is named and left out.
        let imported = dana.enact(&[&import[..], &["--allow-unread", "--name", "imported"]].concat())?;
        holds(&imported.stderr, &["tasks.md:7: warning", "T002"])?;
        holds(&imported.stdout, &["unreadTasks: Warn"])?;
        let manifest = dana.home().join("imported.yaml");
        fs::write(&manifest, &imported.stdout)?;
        let manifest = manifest.to_str().context("a path that is not UTF-8")?;
        let dry = ["apply", "--dry-run=server", "--warnings-as-errors", "--filename", manifest];
        let Err(warned) = dana.kubectl(&dry) else { anyhow::bail!("the webhook did not warn about the unread line") };
        holds(&format!("{warned:#}"), &["Warning: ", "line 7", "T002"])?;
        dana.kubectl(&["apply", "--filename", manifest])?;
        did_the_rest(&stage, "imported").await?;
        dana.applies(&mapped("Plan", "mapped", TASKS, &spec("Warn"))).await?;
        did_the_rest(&stage, "mapped").await
    });
}
