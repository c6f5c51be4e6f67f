//! Execution of plans by real pods.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::Phase;
use enact_e2e::documents::holds;
use enact_e2e::git::Git;
use enact_e2e::people::Person;
use enact_e2e::work::{HOLD, scripted_plan};
use enact_e2e::{PATIENCE, Stage, on_stage};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

#[test]
fn outputs_reach_the_tasks_that_depend_on_them() {
    on_stage("outputs", |stage| async move {
        stage
            .apply(&scripted_plan(
                "greet",
                r#"  tasks:
    - {id: T001, title: greeting, script: 'printf Hello > "$ENACT_OUTPUT_DIR/greeting"'}
    - {id: T002, title: name, script: 'printf world > "$ENACT_OUTPUT_DIR/name"'}
    - id: T003
      title: greet
      dependsOn: [T001, T002]
      script: |
        grep -q '"greeting": *"Hello"' "$ENACT_INPUTS_FILE"
        grep -q '"name": *"world"' "$ENACT_INPUTS_FILE"
"#,
            ))
            .await?;
        let done = stage.finished("greet", Phase::Succeeded, PATIENCE).await?;
        stage.done_once(&done, &["T001", "T002", "T003"])?;
        ensure!(done.status.unwrap_or_default().tasks.succeeded == 3);
        Ok(())
    });
}

#[test]
fn branches_are_integrated_and_only_then_published() {
    on_stage("integrate", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let workspace = git.workspace();
        let tasks = r"  gates: [{name: both, script: 'test -f a.txt && test -f b.txt && test -f c.txt'}]
  tasks:
    - {id: T001, title: a, script: 'echo a > a.txt'}
    - {id: T002, title: b, script: 'echo b > b.txt'}
    - {id: T003, title: c, dependsOn: [T001, T002], script: 'cat a.txt b.txt > c.txt'}
";
        stage.apply(&scripted_plan("merge", &format!("{workspace}{tasks}"))).await?;
        let done = stage.finished("merge", Phase::Succeeded, Duration::from_mins(4)).await?;
        let commit = done.status.unwrap_or_default().integration.and_then(|i| i.commit).unwrap_or_default();
        ensure!(git.git(&["rev-parse", "plan/merge"])?.trim() == commit, "the status names another commit");
        ensure!(git.git(&["show", "plan/merge:c.txt"])? == "a\nb\n");
        ensure!(git.git(&["log", "--format=%B", "plan/merge"])?.contains("T003"), "no commit names its task");
        Ok(())
    });
}

#[test]
fn a_merge_conflict_names_its_files() {
    on_stage("conflict", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let workspace = git.workspace();
        let tasks = r"  tasks:
    - {id: T001, title: one, script: 'echo one > README.md'}
    - {id: T002, title: two, script: 'echo two > README.md'}
";
        stage.apply(&scripted_plan("clash", &format!("{workspace}{tasks}"))).await?;
        let failed = stage.finished("clash", Phase::Failed, Duration::from_mins(4)).await?;
        let integration = failed.status.unwrap_or_default().integration.unwrap_or_default();
        ensure!(integration.reason.as_deref() == Some("MergeConflict"), "{integration:?}");
        ensure!(integration.conflicts == ["README.md"], "{integration:?}");
        for id in ["T001", "T002"] {
            let task = stage.task("clash", id).await?.status.unwrap_or_default();
            let branch = task.branch.unwrap_or_default();
            ensure!(git.git(&["rev-parse", &branch])?.trim() == task.commit.unwrap_or_default(), "{id}'s work is lost");
        }
        ensure!(git.git(&["rev-parse", "--verify", "plan/clash"]).is_err(), "a conflict was published");
        Ok(())
    });
}

#[test]
fn the_best_of_two_attempts_is_integrated() {
    on_stage("contest", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let workspace = git.workspace();
        let tasks = r#"  tasks:
    - id: T001
      title: answer
      script: 'if [ "$ENACT_ATTEMPT" = 1 ]; then echo a long answer; else echo short; fi > answer.txt'
      gates: [{name: answered, script: 'test -s answer.txt'}]
      attempts: {bestOf: 2, measurements: [{name: size, script: 'wc -c < answer.txt'}]}
    - {id: T002, title: count, dependsOn: [T001], script: 'wc -l < answer.txt > lines.txt'}
"#;
        stage.apply(&scripted_plan("best", &format!("{workspace}{tasks}"))).await?;
        stage.finished("best", Phase::Succeeded, Duration::from_mins(4)).await?;
        let status = stage.task("best", "T001").await?.status.unwrap_or_default();
        let contest = status.contest.unwrap_or_default();
        ensure!(contest.winner == Some(2), "{contest:?}");
        ensure!(contest.contestants["1"].measurements["size"] == "14", "{contest:?}");
        ensure!(git.git(&["show", "plan/best:answer.txt"])? == "short\n", "the loser's work is integrated");
        for contestant in contest.contestants.values() {
            let (branch, commit) = (contestant.branch.clone().unwrap_or_default(), contestant.commit.clone());
            ensure!(git.git(&["rev-parse", &branch])?.trim() == commit.unwrap_or_default(), "{branch} is not kept");
        }
        let compared = stage.enact(&["diff", "best/T001", "--attempts", "1,2"])?;
        for part in ["passed, lost to attempt 2", "passed, won", "answered passed", "git diff "] {
            ensure!(compared.contains(part), "{part}: {compared}");
        }
        let explained = stage.enact(&["explain", "best/T001"])?;
        ensure!(explained.contains("attempt 2 of Agent scripts won: it has the best size"), "{explained}");
        Ok(())
    });
}

/// Longest time from a delivery to the decision that starts the dependents, in seconds. The kubelet reports the end of a pod later. The best
/// of several steps counts: other tests may run on this machine.
const LONGEST_STEP: f64 = 1.0;

#[test]
fn a_step_of_a_chain_does_not_wait_for_the_end_of_the_pod() {
    on_stage("chain", |stage| async move {
        let task = |n: u32| {
            let before = if n == 1 { String::new() } else { format!(", dependsOn: [T00{}]", n - 1) };
            format!("    - {{id: T00{n}, title: step{before}, script: 'true'}}\n")
        };
        let tasks: String = (1..=6).map(task).collect();
        stage.apply(&scripted_plan("chain", &format!("  tasks:\n{tasks}"))).await?;
        let plan = stage.finished("chain", Phase::Succeeded, PATIENCE).await?;
        stage.done_once(&plan, &["T001", "T002", "T003", "T004", "T005", "T006"])?;
        let uid = plan.uid().context("a Plan without UID")?;
        let waits = stage.record(&format!(
            "select extract(epoch from lead(a.started_at) over (order by a.started_at) - r.received_at) \
             from enact.attempts a join enact.results r using (tenant_id, subject_uid, number) where a.plan_uid = '{uid}'"
        ))?;
        let waits: Vec<f64> = waits.iter().filter_map(|seconds| seconds.parse().ok()).collect();
        println!("from a delivery to the start of the next step: {waits:.3?} s");
        let best = waits.iter().copied().fold(f64::INFINITY, f64::min);
        ensure!(waits.len() == 5 && best < LONGEST_STEP, "each step waits for longer than {LONGEST_STEP} s: {waits:?}");
        Ok(())
    });
}

/// Returns a pod like `genuine` with this name, for the second attempt, whose containers report success with a forged output.
fn forged(genuine: &Pod, name: &str) -> Result<Pod> {
    let report = json!({ "reason": "Succeeded", "outputs": { "by": "forged" } });
    let mut spec = serde_json::to_value(&genuine.spec)?;
    let fields = spec.as_object_mut().context("a pod without spec")?;
    fields.remove("nodeName");
    fields["containers"][0]["command"] = json!(["sh", "-c", format!("echo '{report}' > /dev/termination-log")]);
    let mut labels: Value = serde_json::to_value(genuine.labels())?;
    labels["enact.dev/attempt"] = "2".into();
    let metadata = json!({
        "name": name, "labels": labels, "annotations": genuine.annotations(), "ownerReferences": genuine.owner_references(),
    });
    Ok(serde_json::from_value(json!({ "metadata": metadata, "spec": spec }))?)
}

/// Creates the pods as a user, and waits until they have ended.
async fn create_and_wait(stage: &Stage, user: &Client, pods: &[Pod]) -> Result<()> {
    let own: Api<Pod> = Api::namespaced(user.clone(), &stage.name);
    for pod in pods {
        own.create(&PostParams::default(), pod).await?;
        let has_ended = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        };
        stage.watch(&stage.api::<Pod>(), &pod.name_any(), "the end", PATIENCE, has_ended).await?;
    }
    Ok(())
}

#[test]
fn a_pod_that_a_user_creates_is_no_attempt() {
    on_stage("forged-pod", |stage| async move {
        let tasks = format!(
            "  execution: {{cleanup: Never}}\n  tasks:\n    \
             - {{id: T001, title: held, script: '{HOLD}; printf genuine > \"$ENACT_OUTPUT_DIR/by\"'}}\n    \
             - {{id: T002, title: next, dependsOn: [T001], script: 'grep -q genuine \"$ENACT_INPUTS_FILE\"'}}\n"
        );
        stage.apply(&scripted_plan("victim", &tasks)).await?;
        let held = stage.running("victim", "T001", 1).await?;
        let genuine = stage.api::<Pod>().get(&held).await?;

        // `edit` is the role of Kubernetes itself.
        let editor = Person::of(&stage, "eve", "editors").await?;
        let exempt = Person::of(&stage, "mallory", "e2e-exempt").await?;
        stage
            .apply(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: editors}\n\
                 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}\n\
                 subjects:\n  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: eve}\n  \
                 - {apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory}\n",
            )
            .await?;
        let next = format!("{}-2", held.strip_suffix("-1").context("another name")?);
        let pods = [forged(&genuine, &next)?, forged(&genuine, "copy")?];
        let refused =
            create_and_wait(&stage, &editor.client, &pods).await.err().context("an editor creates the pod")?;
        holds(&format!("{refused:#}"), &["only the operator creates pods with the label enact.dev/tenant"])?;
        // What is behind the policy.
        create_and_wait(&stage, &exempt.client, &pods).await?;

        stage.release(&held)?;
        let plan = stage.finished("victim", Phase::Succeeded, PATIENCE).await?;
        stage.done_once(&plan, &["T001", "T002"])?;
        let outputs = stage.task("victim", "T001").await?.status.unwrap_or_default().outputs;
        ensure!(outputs.get("by").map(String::as_str) == Some("genuine"), "{outputs:?}");
        Ok(())
    });
}

#[test]
fn an_agent_reads_nothing_of_its_runner() {
    on_stage("runner-memory", |stage| async move {
        // The runner is the first process of the container, and the key for the delivery is in its memory.
        let script = "ls /proc/1 > /dev/null; for file in environ mem maps; do \
                      if (: < /proc/1/$file) 2> /dev/null; then echo \"/proc/1/$file can be read\"; exit 1; fi; done";
        let tasks = format!(
            "  execution: {{retry: {{limit: 0}}}}\n  tasks:\n    - id: T001\n      title: look\n      script: |\n        {script}\n"
        );
        stage.apply(&scripted_plan("curious", &tasks)).await?;
        stage.finished("curious", Phase::Succeeded, PATIENCE).await.map(drop)
    });
}
