//! Staleness: a newer revision marks the affected tasks, which run again if a person requests it.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::{Phase, Stale};
use enact_crds::{Plan, Specification};
use enact_domain::names::{ANNOTATION_KEEP, ANNOTATION_REDO};
use enact_e2e::documents::{holds, inline};
use enact_e2e::people::Person;
use enact_e2e::work::scripted_plan;
use enact_e2e::{PATIENCE, Stage, on_stage};
use serde_json::{Value, json};

use super::texts::KEYS;

/// Approves the current content of the specification, and returns its digest.
async fn approve(stage: &Stage, lead: &Person) -> Result<String> {
    stage.await_reason::<Specification>("keys", "WaitingForApproval").await?;
    lead.enact(&["approve", "specification/keys", "--yes"])?;
    let approved = stage.await_reason::<Specification>("keys", "Approved").await?;
    approved.status.and_then(|s| s.approved_digest).context("no digest")
}

/// Waits until the plan's status reports stale tasks for this revision.
async fn outdated(stage: &Stage, digest: &str) -> Result<Stale> {
    let tells = |p: &Plan| {
        let reported = p.status.as_ref().and_then(|s| s.stale.as_ref());
        reported.is_some_and(|reported| reported.specification_digest == digest)
    };
    let plan = stage.watch(&stage.api::<Plan>(), "keys", "what is stale", PATIENCE, tells).await?;
    plan.status.and_then(|s| s.stale).context("nothing is stale")
}

/// Waits until the plan is finished for this revision and has no stale tasks.
async fn follows(stage: &Stage, digest: &str) -> Result<()> {
    let done = |p: &Plan| {
        p.status.as_ref().is_some_and(|s| {
            s.phase == Phase::Succeeded && s.stale.is_none() && s.specification_digest.as_deref() == Some(digest)
        })
    };
    stage.watch(&stage.api::<Plan>(), "keys", "a plan that follows", PATIENCE, done).await.map(drop)
}

/// Returns what `impact` shows about a changed text: the digest that it would have, and the finished tasks that would run again.
fn impact(person: &Person, text: &str) -> Result<(String, Vec<String>)> {
    fs::write(person.home().join("new.md"), text)?;
    let shown = person.enact(&["impact", "specification/keys", "--with", "new.md", "-o", "json"])?.stdout;
    let report: Value = serde_json::from_str(&shown)?;
    let tasks = report["plans"][0]["tasks"].as_array().into_iter().flatten();
    let repeated = tasks.filter(|task| task["repeated"] == true).filter_map(|task| task["id"].as_str());
    let lost = report["approvals"]["lost"].as_array().is_some_and(|lost| lost.len() == 1 && lost[0]["user"] == "lee");
    ensure!(lost, "the approval of the present content would not count: {report:#}");
    Ok((report["newDigest"].as_str().unwrap_or_default().to_owned(), repeated.map(str::to_owned).collect()))
}

/// Checks the number of attempts of each task, and that the last one succeeded.
async fn attempts(stage: &Stage, wanted: [u32; 3]) -> Result<()> {
    for (id, wanted) in ["T001", "T002", "T003"].into_iter().zip(wanted) {
        let status = stage.task("keys", id).await?.status.unwrap_or_default();
        let succeeded = status.phase == enact_crds::task::Phase::Succeeded;
        ensure!(succeeded && status.attempts == wanted, "{id} is not done by {wanted} attempts: {status:#?}");
    }
    Ok(())
}

#[test]
fn only_stale_tasks_run_again() {
    on_stage("stale", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        let policy = json!({"approval": {"required": 1, "groups": ["leads"], "fourEyes": true}});
        let text = |text: &str| inline("Specification", "keys", text, &policy);
        dana.applies(&text(KEYS)).await?;
        dana.applies(&scripted_plan(
            "keys",
            "  specificationRef: {name: keys}\n  tasks:\n  \
             - {id: T001, title: Show the list, script: 'echo list', requirements: [FR-001]}\n  \
             - {id: T002, title: Find what is overdue, script: 'echo overdue', requirements: [FR-002]}\n  \
             - {id: T003, title: Sweep, script: 'echo swept'}\n",
        ))
        .await?;
        let first = approve(&stage, &lee).await?;
        let done = stage.finished("keys", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        ensure!(done.specification_digest.as_deref() == Some(first.as_str()) && done.stale.is_none(), "{done:#?}");
        attempts(&stage, [1, 1, 1]).await?;

        let seven = KEYS.replace("30 days", "7 days");
        let foreseen = impact(&dana, &seven)?;
        dana.applies(&text(&seven)).await?;
        // A revision makes nothing stale before it is approved.
        stage.await_reason::<Specification>("keys", "WaitingForApproval").await?;
        let waits = stage.api::<Plan>().get("keys").await?.status.unwrap_or_default();
        ensure!(waits.stale.is_none() && waits.phase == Phase::Succeeded, "{waits:#?}");
        let newer = approve(&stage, &lee).await?;
        let stale = outdated(&stage, &newer).await?;
        ensure!(stale.tasks == 1 && stale.redo == ["T002"] && stale.uncovered.is_empty(), "{stale:#?}");
        ensure!(stale.changes == ["FR-002 Changed"], "{stale:#?}");
        ensure!(foreseen == (newer.clone(), stale.redo.clone()), "{foreseen:?} was shown before: {stale:#?}");
        attempts(&stage, [1, 1, 1]).await?;

        let decide = |annotation: &str, digest: &str| {
            dana.kubectl(&["annotate", "plan", "keys", "--overwrite", &format!("{annotation}={digest}")])
        };
        // A decision on another revision is refused with this reason.
        let refused = decide(ANNOTATION_REDO, &first).err().context("it is a decision about another revision")?;
        holds(&format!("{refused:#}"), &[&first, &newer, "status.stale", "enact redo plan/keys"])?;
        decide(ANNOTATION_REDO, &newer)?;
        follows(&stage, &newer).await?;
        attempts(&stage, [1, 2, 1]).await?;

        let named = seven.replace("with the person who has it.\n", "with the name of the person who has it.\n");
        dana.applies(&text(&named)).await?;
        let newest = approve(&stage, &lee).await?;
        let stale = outdated(&stage, &newest).await?;
        ensure!(stale.tasks == 1 && stale.redo == ["T001"] && stale.changes == ["FR-001 Changed"], "{stale:#?}");
        decide(ANNOTATION_KEEP, &newest)?;
        follows(&stage, &newest).await?;
        attempts(&stage, [1, 2, 1]).await?;

        // A requirement without a task needs another plan, and no task runs again.
        let more =
            named.replace("- **FR-002**", "- **FR-003**: The list MUST name the shelf of a free key.\n- **FR-002**");
        dana.applies(&text(&more)).await?;
        let last = approve(&stage, &lee).await?;
        let stale = outdated(&stage, &last).await?;
        ensure!(stale.tasks == 0 && stale.redo.is_empty() && stale.uncovered == ["FR-003"], "{stale:#?}");
        Ok(())
    });
}
