//! The order of starts, and requests that stop a plan.

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::Phase;
use enact_crds::{Plan, Task, task};
use enact_e2e::work::{HOLD, most_at_once, scripted_plan};
use enact_e2e::{Answer, PATIENCE, Stage, condition, on_stage, until};
use kube::ResourceExt as _;
use kube::api::ListParams;

#[test]
fn ready_tasks_start_by_priority_then_chain_length() {
    on_stage("priority", |stage| async move {
        let tasks = "  execution: {parallelism: 1}
  tasks:
    - {id: T001, title: last, priority: -5, script: 'true'}
    - {id: T002, title: as written, script: 'true'}
    - {id: T003, title: has a chain behind it, script: 'true'}
    - {id: T004, title: first, priority: 10, script: 'true'}
    - {id: T005, title: end of the chain, dependsOn: [T003], script: 'true'}
";
        stage.apply(&scripted_plan("order", tasks)).await?;
        let plan = stage.finished("order", Phase::Succeeded, PATIENCE).await?;
        let attempts = stage.attempts(&plan)?;
        let order: Vec<&str> = attempts.iter().map(|a| a.task.as_str()).collect();
        ensure!(order == ["T004", "T003", "T002", "T005", "T001"], "{attempts:#?}");
        let overlap = attempts.windows(2).any(|two| two[0].finished.is_none_or(|end| end > two[1].started));
        ensure!(!overlap, "with a parallelism of 1, two ran at once: {attempts:#?}");
        Ok(())
    });
}

#[test]
fn no_more_attempts_at_once_than_the_plan_allows() {
    on_stage("parallelism", |stage| async move {
        let tasks: String =
            (1..=6).map(|n| format!("    - {{id: T00{n}, title: one of six, script: sleep 2}}\n")).collect();
        stage.apply(&scripted_plan("two", &format!("  execution: {{parallelism: 2}}\n  tasks:\n{tasks}"))).await?;
        let done = stage.finished("two", Phase::Succeeded, PATIENCE).await?;
        let attempts = stage.attempts(&done)?;
        let most = most_at_once(&attempts, 0.0);
        ensure!(most == 2 && attempts.len() == 6, "{most} attempts at once: {attempts:#?}");
        Ok(())
    });
}

#[test]
fn a_failure_stops_the_plan_or_its_dependents() {
    on_stage("on-failure", |stage| async move {
        for policy in ["Halt", "Continue"] {
            let tasks = format!(
                "  execution: {{parallelism: 1, onFailure: {policy}}}
  tasks:
    - {{id: T001, title: fails, priority: 1, script: 'echo no; exit 1'}}
    - {{id: T002, title: stands alone, script: 'true'}}
    - {{id: T003, title: depends, dependsOn: [T001], script: 'true'}}
"
            );
            stage.apply(&scripted_plan(&policy.to_lowercase(), &tasks)).await?;
        }
        for (plan, alone) in [("halt", task::Phase::Pending), ("continue", task::Phase::Succeeded)] {
            let failed = stage.finished(plan, Phase::Failed, PATIENCE).await?;
            ensure!(phases(&stage, plan).await? == [task::Phase::Failed, alone, task::Phase::Pending], "Plan {plan}");
            let attempts = stage.attempts(&failed)?;
            ensure!(attempts.len() == 1 + usize::from(alone == task::Phase::Succeeded), "{attempts:#?}");
            let ready = condition(&failed.status.context("no status")?.conditions, "Ready").cloned();
            let ready = ready.context("no condition Ready")?;
            ensure!(
                ready.reason == "TaskFailed" && ready.message.starts_with("task T001 failed: AgentFailed: "),
                "{ready:?}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_suspended_plan_starts_nothing_until_resumed() {
    on_stage("suspend", |stage| async move {
        stage.apply(&scripted_plan("pause", &held_and_next())).await?;
        let pod = stage.running("pause", "T001", 1).await?;
        stage.enact(&["suspend", "pause"])?;
        let seen = |p: &Plan| p.status.as_ref().and_then(|s| s.observed_generation) == p.metadata.generation;
        stage.watch(&stage.api(), "pause", "the operator's knowledge", PATIENCE, seen).await?;
        stage.release(&pod)?;
        let held = stage.plan_reason("pause", "Suspended").await?;
        ensure!(phases(&stage, "pause").await? == [task::Phase::Succeeded, task::Phase::Pending]);
        ensure!(stage.attempts(&held)?.len() == 1, "{:#?}", stage.attempts(&held)?);
        // Also a task that no attempt has begun is found by its phase.
        let pending = stage.api::<Task>().list(&ListParams::default().fields("status.phase=Pending")).await?;
        ensure!(pending.items.len() == 1 && pending.items[0].spec.work.id == "T002", "{pending:?}");
        stage.enact(&["resume", "pause"])?;
        let plan = stage.finished("pause", Phase::Succeeded, PATIENCE).await?;
        stage.done_once(&plan, &["T001", "T002"])
    });
}

#[test]
fn a_cancelled_plan_ends_its_pods_for_good() {
    on_stage("cancel", |stage| async move {
        stage.apply(&scripted_plan("stop", &held_and_next())).await?;
        stage.running("stop", "T001", 1).await?;
        stage.enact(&["cancel", "stop", "--yes"])?;
        let plan = stage.finished("stop", Phase::Cancelled, PATIENCE).await?;
        ensure!(phases(&stage, "stop").await? == [task::Phase::Cancelled, task::Phase::Cancelled]);
        no_pods(&stage, "stop").await?;
        let refusal = stage.change_plan("stop", serde_json::json!({"cancel": false})).await;
        let refusal = refusal.err().map(|e| e.to_string()).unwrap_or_default();
        ensure!(refusal.contains("cannot be resumed"), "{refusal}");
        let refusal = stage.enact(&["retry", "stop/T001"]).err().map(|e| e.to_string()).unwrap_or_default();
        ensure!(refusal.contains("cancelled"), "{refusal}");
        // An annotation that a user writes by hand has no effect either. The success of another plan shows that the operator
        // has had time to react.
        let task = stage.task("stop", "T001").await?.name_any();
        let mut annotate = enact_e2e::program("kubectl")?;
        annotate.args(["annotate", "tasks.enact.dev", &task, "enact.dev/rerun=1", "--namespace", &stage.name]);
        enact_e2e::run(&mut annotate)?;
        stage.apply(&scripted_plan("other", "  tasks: [{id: T001, title: other, script: 'true'}]\n")).await?;
        stage.finished("other", Phase::Succeeded, PATIENCE).await?;
        stage.finished("stop", Phase::Cancelled, PATIENCE).await?;
        let attempts = stage.attempts(&plan)?;
        ensure!(attempts.len() == 1 && attempts[0].reason == "Cancelled", "{attempts:#?}");
        no_pods(&stage, "stop").await
    });
}

#[test]
fn a_plan_past_its_deadline_is_stopped() {
    on_stage("deadline", |stage| async move {
        let tasks = "  execution: {deadlineSeconds: 6, retry: {limit: 3, infrastructureLimit: 3}}
  tasks:
    - {id: T001, title: too long, script: sleep 3600}
    - {id: T002, title: next, dependsOn: [T001], script: 'true'}
";
        stage.apply(&scripted_plan("late", tasks)).await?;
        let plan = stage.finished("late", Phase::Failed, PATIENCE).await?;
        let status = plan.status.clone().context("no status")?;
        let ready = condition(&status.conditions, "Ready").context("no condition Ready")?;
        ensure!(ready.reason == "DeadlineExceeded", "{ready:?}");
        ensure!(phases(&stage, "late").await? == [task::Phase::Cancelled, task::Phase::Cancelled]);
        let (began, ended) = status.started_at.zip(status.finished_at).context("no times")?;
        ensure!(ended.0.as_second() - began.0.as_second() >= 5, "stopped at {ended:?}, begun at {began:?}");
        let attempts = stage.attempts(&plan)?;
        ensure!(attempts.len() == 1 && attempts[0].reason == "DeadlineExceeded", "{attempts:#?}");
        no_pods(&stage, "late").await
    });
}

#[test]
fn plans_read_tasks_md_from_object_or_config_map() {
    const TASKS: &str = "# Tasks: a shop

## Phase 1: Setup

- [x] T001 Create the folder
- [ ] T002 Create the shelf in shelf.txt

## Phase 2: Stories

- [ ] T003 [P] [US1] Put apples on the shelf in apples.txt
- [ ] T004 [P] [US1] Put pears on the shelf in pears.txt
";
    on_stage("source", |stage| async move {
        let agent = "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {name: notes}\nspec:\n  adapter: Command\n  \
                     resources: {cpu: 10m, memory: 64Mi, ephemeralStorage: 64Mi}\n  \
                     script: cp \"$ENACT_PROMPT_FILE\" \"$ENACT_OUTPUT_DIR/prompt\"\n---\n";
        let indented = |by: &str| TASKS.lines().map(|line| format!("{by}{line}\n")).collect::<String>();
        let map = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: shop}}\ndata:\n  tasks.md: |\n{}---\n",
            indented("    ")
        );
        let plan = |name: &str, source: &str| {
            format!(
                "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: {name}}}\nspec:\n  agentRef: {{name: notes}}\n  source:\n{source}---\n"
            )
        };
        let inline = plan("inline", &format!("    inline: |\n{}", indented("      ")));
        let mapped = plan("mapped", "    configMapKeyRef: {name: shop, key: tasks.md}\n");
        stage.apply(&format!("{agent}{map}{inline}{mapped}")).await?;
        for name in ["inline", "mapped"] {
            let plan = stage.finished(name, Phase::Succeeded, PATIENCE).await?;
            stage.done_once(&plan, &["T002", "T003", "T004"])?;
            let attempts = stage.attempts(&plan)?;
            let setup =
                attempts.iter().find(|a| a.task == "T002").and_then(|a| a.finished).context("T002 has no end")?;
            let early = attempts.iter().any(|a| a.task != "T002" && a.started < setup);
            ensure!(!early, "phase 2 began before the end of phase 1: {attempts:#?}");
            let pears = stage.task(name, "T004").await?;
            ensure!(pears.spec.work.story.as_deref() == Some("US1"), "{:?}", pears.spec.work);
            let prompt = pears.status.unwrap_or_default().outputs.remove("prompt").unwrap_or_default();
            ensure!(prompt.contains("Put pears on the shelf in pears.txt"), "the agent got the prompt `{prompt}`");
        }
        Ok(())
    });
}

/// Returns lines of a plan: T001 waits for the test, and T002 depends on T001.
fn held_and_next() -> String {
    format!(
        "  tasks:\n    - {{id: T001, title: held, script: '{HOLD}'}}\n    \
         - {{id: T002, title: next, dependsOn: [T001], script: 'true'}}\n"
    )
}

/// Returns the phases of a plan's tasks, in the order of their ids.
async fn phases(stage: &Stage, plan: &str) -> Result<Vec<task::Phase>> {
    let of_plan = ListParams::default().fields(&format!("spec.planRef.name={plan}"));
    let mut tasks = stage.api::<enact_crds::Task>().list(&of_plan).await?.items;
    tasks.sort_by(|a, b| a.spec.work.id.cmp(&b.spec.work.id));
    Ok(tasks.iter().map(|t| t.status.as_ref().map(|s| s.phase).unwrap_or_default()).collect())
}

/// Waits until a plan has no pods.
async fn no_pods(stage: &Stage, plan: &str) -> Result<()> {
    until("the end of the plan's pods", PATIENCE, || async {
        let left = stage.pods(plan).await?;
        Ok(if left.is_empty() { Answer::Yes(()) } else { Answer::NotYet(format!("{} pods", left.len())) })
    })
    .await
}
