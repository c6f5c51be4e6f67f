//! Replanning: another plan replaces one that has started, and keeps its finished work.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::{Phase, ReplacedStatus};
use enact_crds::task::TaskStatus;
use enact_crds::{Plan, Specification};
use enact_e2e::documents::{holds, inline, manifest};
use enact_e2e::git::Git;
use enact_e2e::people::Person;
use enact_e2e::{PATIENCE, Stage, on_stage};
use kube::ResourceExt;
use serde_json::json;

use super::texts::KEYS;

const FIRST: &str = "\
# Tasks: Keys

## Phase 1: User Story 1 - Lend a key

- [ ] T001 [US1] Show every key with the person who has it in `list.txt` (FR-001)
- [ ] T002 [US1] Mark a broken key as overdue after 30 days in `overdue.txt` (FR-002)
";

/// The same plan with another T002 and one more task.
const SECOND: &str = "\
# Tasks: Keys

## Phase 1: User Story 1 - Lend a key

- [ ] T001 [US1] Show every key with the person who has it in `list.txt` (FR-001)
- [ ] T002 [US1] Mark a lent key as overdue after 30 days in `overdue.txt` (FR-002)
- [ ] T003 [US1] Test that lending a key takes less than 20 seconds in `test.txt` (SC-001)
";

/// Returns the manifest of an Agent that runs this script.
fn agent(name: &str, script: &str) -> String {
    let resources = json!({"cpu": "10m", "memory": "64Mi", "ephemeralStorage": "64Mi"});
    manifest("Agent", name, &json!({"adapter": "Command", "resources": resources, "script": script}))
}

async fn status_of(stage: &Stage, plan: &str, id: &str) -> Result<TaskStatus> {
    stage.task(plan, id).await?.status.with_context(|| format!("{plan}/{id} has no status"))
}

fn replaced(plan: Plan) -> Result<ReplacedStatus> {
    plan.status.and_then(|status| status.replaced).context("the status does not say what differs")
}

#[test]
fn a_failed_plan_is_replaced_and_its_finished_work_kept() {
    on_stage("replanned", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        let git = Git::start(&stage, &[("README.md", "keys")]).await?;
        let works = "case \"$(cat \"$ENACT_PROMPT_FILE\")\" in\n\
                     *T001*) echo keys > list.txt ;;\n*broken*) exit 1 ;;\n\
                     *T002*) cat list.txt > overdue.txt ;;\n*) cat overdue.txt > test.txt ;;\nesac\n";
        // It writes the other plan only if it reads the remark and what became of the first one.
        let plans = format!(
            "p=\"$ENACT_PROMPT_FILE\"\n\
             if grep -q 'T001: finished' \"$p\" && grep -q 'T002: failed' \"$p\" && grep -q 'No key is broken' \"$p\"; then\n\
             cat > \"$ENACT_DOCUMENT_FILE\" <<'END'\n{SECOND}END\nelse\ncat > \"$ENACT_DOCUMENT_FILE\" <<'END'\n{FIRST}END\nfi\n"
        );
        stage.apply(&(agent("worker", works) + &agent("planner", &plans))).await?;
        dana.applies(&inline("Specification", "keys", KEYS, &json!({}))).await?;
        stage.await_reason::<Specification>("keys", "Approved").await?;
        let secret = |name: &str| json!({"credentialsSecretRef": {"name": name}});
        let mut workspace = secret("git-agent");
        workspace["url"] = git.url().into();
        workspace["integration"] = secret("git-integrator");
        let spec = json!({
            "specificationRef": {"name": "keys"}, "agentRef": {"name": "worker"}, "workspace": workspace,
            "generate": {"agents": [{"name": "planner"}], "maxAttempts": 1},
            "approval": {"required": 1, "groups": ["leads"], "fourEyes": true},
        });
        dana.applies(&manifest("Plan", "keys", &spec)).await?;
        stage.await_reason::<Plan>("keys", "WaitingForApproval").await?;
        lee.enact(&["approve", "plan/keys", "--yes"])?;
        stage.finished("keys", Phase::Failed, PATIENCE).await?;

        let created = dana.enact(&["replan", "keys", "--because", "No key is broken."])?.stdout;
        holds(&created, &["Plan keys-2 is created in place of Plan keys", "planner"])?;
        let waiting = stage.await_reason::<Plan>("keys-2", "WaitingForApproval").await?;
        let change = replaced(waiting)?;
        ensure!(change.added.ids == ["T003"] && change.changed.ids == ["T002"], "{change:#?}");
        ensure!(change.kept == ["T001"] && change.removed.count + change.repeated.count == 0, "{change:#?}");
        let expected = ["replaces Plan keys because “No key is broken.”", "1 (T003) added", "1 (T001) kept"];
        holds(&lee.enact(&["explain", "plan/keys-2"])?.stdout, &expected)?;
        let counts = "replaces Plan keys: 1 added, 1 changed, 0 removed, 1 kept, 0 done again";
        holds(&lee.enact(&["status", "keys-2"])?.stdout, &[counts])?;
        lee.enact(&["approve", "plan/keys-2", "--yes"])?;

        let done = stage.finished("keys-2", Phase::Succeeded, PATIENCE).await?;
        ensure!(done.status.unwrap_or_default().tasks.succeeded == 3);
        let (old, new) = (status_of(&stage, "keys", "T001").await?, status_of(&stage, "keys-2", "T001").await?);
        ensure!(new.attempts == 0 && new.commit.is_some() && new.commit == old.commit, "{old:#?} {new:#?}");
        let pods: Vec<String> = stage.pods("keys-2").await?.iter().map(ResourceExt::name_any).collect();
        ensure!(!pods.iter().any(|pod| pod.contains("t001")), "finished work runs again: {pods:?}");
        // To the branch of the first plan, with the work of both.
        for file in ["list.txt", "overdue.txt", "test.txt"] {
            ensure!(git.git(&["show", &format!("plan/keys:{file}")])? == "keys\n", "{file}");
        }
        Ok(())
    });
}

#[test]
fn a_changed_specification_repeats_only_what_it_makes_stale() {
    on_stage("replanned-stale", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        stage.apply(&agent("worker", "echo done")).await?;
        dana.applies(&inline("Specification", "keys", KEYS, &json!({}))).await?;
        stage.await_reason::<Specification>("keys", "Approved").await?;
        // Not of a story, whose items would make both tasks stale.
        let tasks = FIRST.replace("[US1] ", "").replace("User Story 1 - Lend a key", "Setup");
        let (specification, worker) = (json!({"name": "keys"}), json!({"name": "worker"}));
        let spec = json!({"specificationRef": specification, "agentRef": worker, "source": {"inline": tasks}});
        dana.applies(&manifest("Plan", "keys", &spec)).await?;
        stage.finished("keys", Phase::Succeeded, PATIENCE).await?;
        dana.applies(&inline("Specification", "keys", &KEYS.replace("30 days", "20 days"), &json!({}))).await?;
        let stale =
            |plan: &Plan| plan.status.as_ref().and_then(|status| status.stale.as_ref()).is_some_and(|s| s.tasks == 1);
        stage.watch(&stage.api::<Plan>(), "keys", "a stale task", PATIENCE, stale).await?;

        holds(&dana.enact_error(&["replan", "keys", "--because", "20 days"])?, &["--agents", "--tasks"])?;
        fs::write(dana.home().join("tasks.md"), &tasks)?;
        let options = ["--because", "Keys are due after 20 days", "--tasks", "tasks.md", "--name", "keys-again"];
        dana.enact(&[&["replan", "keys"][..], &options[..]].concat())?;
        let done = stage.finished("keys-again", Phase::Succeeded, PATIENCE).await?;
        let differs = replaced(done)?;
        ensure!(differs.kept == ["T001"] && differs.repeated.ids == ["T002"], "{differs:#?}");
        let attempts = [status_of(&stage, "keys-again", "T001").await?, status_of(&stage, "keys-again", "T002").await?];
        ensure!(attempts.iter().map(|task| task.attempts).eq([0u32, 1]), "{attempts:#?}");
        Ok(())
    });
}
