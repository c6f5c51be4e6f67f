//! A pool of agents: each task gets one with its capabilities, waits while that one is busy, and the choice is explained.

use anyhow::{Context as _, ensure};
use enact_crds::plan::Phase;
use enact_e2e::work::HOLD;
use enact_e2e::{PATIENCE, describe, on_stage};

#[test]
fn the_agent_with_the_capability_gets_the_task() {
    on_stage("pool", |stage| async move {
        let agent = |name: &str, spec: &str| {
            format!(
                "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {{name: {name}}}\nspec:\n  adapter: Command\n  \
                 resources: {{cpu: 10m, memory: 64Mi, ephemeralStorage: 64Mi}}\n  {spec}\n---\n"
            )
        };
        let plan = format!(
            "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: pool}}\nspec:\n  \
             agents: [{{name: backend}}, {{name: writer}}]\n  tasks:\n    \
             - {{id: T001, title: held, requires: [rust], priority: 1, script: '{HOLD}'}}\n    \
             - {{id: T002, title: waits, requires: [rust], script: 'true'}}\n    \
             - {{id: T003, title: Write docs/a.md, script: 'true'}}\n"
        );
        let backend = agent("backend", "capabilities: [{name: rust}]\n  concurrency: 1");
        let writer = agent("writer", "capabilities: [{name: docs}]");
        stage.apply(&format!("{backend}{writer}{plan}")).await?;

        let held = stage.running("pool", "T001", 1).await?;
        let waiting = stage.plan_reason("pool", "WaitingForAgent").await?;
        let why = describe(&waiting.status.context("no status")?.conditions);
        ensure!(why.contains("backend is busy (1 of 1 attempts), writer lacks rust"), "{why}");
        let explained = stage.enact(&["explain", "pool/T002"])?;
        ensure!(explained.contains("needs: rust (stated)") && explained.contains("backend is busy"), "{explained}");

        stage.release(&held)?;
        let plan = stage.finished("pool", Phase::Succeeded, PATIENCE).await?;
        stage.done_once(&plan, &["T001", "T002", "T003"])?;
        for (id, wanted) in [("T001", "backend"), ("T002", "backend"), ("T003", "writer")] {
            let status = stage.task("pool", id).await?.status.with_context(|| format!("{id} has no status"))?;
            ensure!(status.agent.as_deref() == Some(wanted), "{id} was done by {:?}", status.agent);
        }
        let explained = stage.enact(&["explain", "task/pool-t002"])?;
        for part in ["attempt 1: Agent backend was selected", "PROFICIENCY", "lacks rust"] {
            ensure!(explained.contains(part), "{part}: {explained}");
        }
        let derived = stage.enact(&["explain", "pool/T003"])?;
        ensure!(derived.contains("needs: docs (derived from its text)"), "{derived}");
        Ok(())
    });
}
