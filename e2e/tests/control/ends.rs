//! Ends of attempts, and their consequences.

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::Phase;
use enact_crds::{Plan, task};
use enact_e2e::git::Git;
use enact_e2e::work::{HANG_ONCE, scripted_plan};
use enact_e2e::{Answer, PATIENCE, Stage, condition, describe, on_stage, until};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams};

#[test]
fn failed_work_is_retried_with_backoff_up_to_a_limit() {
    on_stage("retries", |stage| async move {
        let tasks = r#"  execution: {onFailure: Continue, retry: {limit: 2, backoffSeconds: 2}}
  tasks:
    - {id: T001, title: never, script: 'echo always wrong; exit 3'}
    - {id: T002, title: at last, script: 'test "$ENACT_ATTEMPT" = 2'}
"#;
        stage.apply(&scripted_plan("tries", tasks)).await?;
        let plan = stage.finished("tries", Phase::Failed, PATIENCE).await?;
        let never = stage.task("tries", "T001").await?.status.context("T001 has no status")?;
        ensure!((never.phase, never.attempts, never.failures) == (task::Phase::Failed, 3, 3), "{never:?}");
        ensure!(never.infrastructure_failures == 0, "{never:?}");
        ensure!(describe(&never.conditions).contains("exited with 3: always wrong"), "{}", describe(&never.conditions));
        let at_last = stage.task("tries", "T002").await?.status.context("T002 has no status")?;
        ensure!((at_last.phase, at_last.attempts) == (task::Phase::Succeeded, 2), "{at_last:?}");
        let attempts = stage.attempts(&plan)?;
        let of_never: Vec<_> = attempts.iter().filter(|a| a.task == "T001").collect();
        ensure!(of_never.iter().all(|a| a.failure == "Task" && a.reason == "AgentFailed" && a.results == 1));
        let wait = |n: usize| Some(of_never.get(n)?.started - of_never.get(n - 1)?.finished?);
        let waits = wait(1).zip(wait(2)).context("not three attempts")?;
        ensure!(waits.0 >= 2.0 && waits.1 >= 4.0, "waited {waits:?} s instead of 2 and 4");
        Ok(())
    });
}

#[test]
fn each_attempt_has_a_time_limit_of_its_own() {
    on_stage("timeout", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let tasks = "  execution: {onFailure: Continue}
  tasks:
    - {id: T001, title: too long, timeoutSeconds: 10, retry: {limit: 1, backoffSeconds: 0}, script: 'echo half > half.txt; sleep 3600'}
    - {id: T002, title: has time, script: sleep 5}
";
        stage.apply(&scripted_plan("slow", &format!("{}{tasks}", git.workspace()))).await?;
        let plan = stage.finished("slow", Phase::Failed, PATIENCE).await?;
        let status = plan.status.clone().unwrap_or_default();
        ensure!((status.tasks.succeeded, status.tasks.failed) == (1, 1), "{:?}", status.tasks);
        let attempts = stage.attempts(&plan)?;
        let late: Vec<_> = attempts.iter().filter(|a| a.reason == "DeadlineExceeded").collect();
        ensure!(late.len() == 2 && late.iter().all(|a| a.task == "T001" && a.failure == "Task"), "{attempts:#?}");
        // The kubelet gives the runner some seconds in which it keeps the work.
        let branch = stage.task("slow", "T001").await?.status.and_then(|status| status.branch).context("no branch")?;
        ensure!(git.git(&["show", &format!("{branch}:half.txt")])?.trim() == "half", "{branch}");
        Ok(())
    });
}

#[test]
fn a_retry_by_a_user_continues_the_plan() {
    on_stage("again", |stage| async move {
        let tasks = r#"  tasks:
    - {id: T001, title: fails once, script: 'test "$ENACT_ATTEMPT" = 2'}
    - {id: T002, title: next, dependsOn: [T001], script: 'true'}
"#;
        stage.apply(&scripted_plan("again", tasks)).await?;
        let failed = stage.finished("again", Phase::Failed, PATIENCE).await?;
        ensure!(stage.attempts(&failed)?.len() == 1, "{:#?}", stage.attempts(&failed)?);
        stage.enact(&["retry", "again/T001"])?;
        let plan = succeeded(&stage, "again").await?;
        let task = stage.task("again", "T001").await?.status.context("no status")?;
        ensure!((task.phase, task.attempts, task.failures) == (task::Phase::Succeeded, 2, 0), "{task:?}");
        ensure!(stage.attempts(&plan)?.len() == 3, "{:#?}", stage.attempts(&plan)?);
        Ok(())
    });
}

#[test]
fn work_that_fails_a_gate_is_never_published() {
    on_stage("gates", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let workspace = git.workspace();
        let of_task = "  tasks:\n    - id: T001\n      title: a\n      script: echo a > a.txt\n      gates:\n        \
                       - {name: there, script: test -f a.txt}\n        \
                       - {name: lint, script: 'echo a.txt is no good >&2; exit 7'}\n";
        let of_plan = "  gates: [{name: whole, script: 'echo b.txt is missing; test -f b.txt'}]\n  \
                       tasks: [{id: T001, title: a, script: echo a > a.txt}]\n";
        stage.apply(&scripted_plan("task-gate", &format!("{workspace}{of_task}"))).await?;
        stage.apply(&scripted_plan("plan-gate", &format!("{workspace}{of_plan}"))).await?;

        let plan = stage.finished("task-gate", Phase::Failed, PATIENCE).await?;
        let status = stage.task("task-gate", "T001").await?.status.context("no status")?;
        let verdict = |type_| condition(&status.conditions, type_).map(|c| (c.status.as_str(), c.reason.as_str()));
        ensure!(verdict("Executed").map(|v| v.0) == Some("True"), "{}", describe(&status.conditions));
        ensure!(verdict("Verified") == Some(("False", "GateFailed")), "{}", describe(&status.conditions));
        ensure!(describe(&status.conditions).contains("a.txt is no good"), "{}", describe(&status.conditions));
        // The work is kept on the branch of its attempt, which says that it is unfinished.
        let branch = status.branch.context("no branch names the work that failed its gate")?;
        ensure!(status.commit.is_none() && verdict("Delivered") == Some(("False", "WorkKept")), "{branch}");
        ensure!(git.git(&["log", "-1", "--format=%s", &branch])?.starts_with("Unfinished: T001: a"));
        ensure!(git.git(&["show", &format!("{branch}:a.txt")])?.trim() == "a");
        let uid = plan.metadata.uid.unwrap_or_default();
        let gates = stage.record(&format!(
            "select jsonb_path_query_array(gates, '$[*].exitCode') from enact.results where plan_uid = '{uid}'"
        ))?;
        ensure!(gates == ["[0, 7]"], "the record has the gates {gates:?}");

        let plan = stage.finished("plan-gate", Phase::Failed, PATIENCE).await?;
        let integration = plan.status.and_then(|s| s.integration).context("no integration")?;
        ensure!(integration.reason.as_deref() == Some("GateFailed"), "{integration:?}");
        ensure!(integration.message.as_deref().is_some_and(|m| m.contains("b.txt is missing")), "{integration:?}");
        ensure!(git.git(&["branch", "--list", "plan/*"])?.is_empty(), "what failed its gate was published");
        Ok(())
    });
}

#[test]
fn a_lost_attempt_is_retried_if_harmless() {
    on_stage("lost", |stage| async move {
        let tasks = format!(
            "  execution: {{onFailure: Continue, retry: {{infrastructureLimit: 1, backoffSeconds: 1}}}}
  tasks:
    - {{id: T001, title: harmless, script: '{HANG_ONCE}'}}
    - {{id: T002, title: sends mail, externalEffect: true, script: '{HANG_ONCE}'}}
"
        );
        stage.apply(&scripted_plan("lost", &tasks)).await?;
        for id in ["T001", "T002"] {
            let pod = stage.running("lost", id, 1).await?;
            stage.api::<Pod>().delete(&pod, &DeleteParams::default().grace_period(0)).await?;
        }
        let plan = stage.finished("lost", Phase::Failed, PATIENCE).await?;
        let harmless = stage.task("lost", "T001").await?.status.context("no status")?;
        ensure!((harmless.phase, harmless.attempts) == (task::Phase::Succeeded, 2), "{harmless:?}");
        ensure!((harmless.failures, harmless.infrastructure_failures) == (0, 1), "{harmless:?}");
        let mail = stage.task("lost", "T002").await?.status.context("no status")?;
        ensure!((mail.phase, mail.attempts) == (task::Phase::Unknown, 1), "{mail:?}");
        ensure!(describe(&mail.conditions).contains("enact retry"), "{}", describe(&mail.conditions));
        let attempts = stage.attempts(&plan)?;
        let first: Vec<_> = attempts.iter().filter(|a| a.number == 1).collect();
        ensure!(attempts.len() == 3 && first.len() == 2, "{attempts:#?}");
        ensure!(first.iter().all(|a| a.failure == "Unknown" && a.reason == "Lost"), "{attempts:#?}");
        // A person has checked the work and requests a retry.
        stage.enact(&["retry", "lost/T002"])?;
        succeeded(&stage, "lost").await.map(drop)
    });
}

#[test]
fn an_eviction_is_an_infrastructure_failure() {
    on_stage("evicted", |stage| async move {
        let tasks = format!(
            "  execution: {{retry: {{limit: 0, backoffSeconds: 1}}}}\n  tasks: [{{id: T001, title: evicted, script: '{HANG_ONCE}'}}]\n"
        );
        stage.apply(&scripted_plan("evicted", &tasks)).await?;
        let pod = stage.running("evicted", "T001", 1).await?;
        stage.api::<Pod>().evict(&pod, &EvictParams::default()).await?;
        let plan = stage.finished("evicted", Phase::Succeeded, PATIENCE).await?;
        let task = stage.task("evicted", "T001").await?.status.context("no status")?;
        ensure!((task.failures, task.infrastructure_failures) == (0, 1), "{task:?}");
        let attempts = stage.attempts(&plan)?;
        let reported: Vec<_> = attempts.iter().map(|a| (a.failure.as_str(), a.reason.as_str())).collect();
        ensure!(reported == [("Infrastructure", "Evicted"), ("", "Succeeded")], "{attempts:#?}");
        Ok(())
    });
}

#[test]
fn pods_of_finished_plans_are_deleted_by_policy() {
    on_stage("cleanup", |stage| async move {
        for (plan, cleanup, script) in [
            ("failed-kept", "OnSuccess", "echo worked until it failed; exit 1"),
            ("failed", "Always", "echo worked until it failed; exit 1"),
            ("succeeded", "OnSuccess", "echo worked"),
        ] {
            let spec = format!(
                "  execution: {{cleanup: {cleanup}, podTtlSeconds: 1}}\n  tasks: [{{id: T001, title: work, script: '{script}'}}]\n"
            );
            stage.apply(&scripted_plan(plan, &spec)).await?;
        }
        stage.finished("failed-kept", Phase::Failed, PATIENCE).await?;
        for plan in ["failed", "succeeded"] {
            let left = || async {
                let pods = stage.pods(plan).await?.len();
                let over = stage.api::<Plan>().get(plan).await?.status.is_some_and(|s| s.finished_at.is_some());
                let reported = || Answer::NotYet(format!("{pods} pods, finished: {over}"));
                Ok(if over && pods == 0 { Answer::Yes(()) } else { reported() })
            };
            until(&format!("the end of the pods of Plan {plan}"), PATIENCE, left).await?;
        }
        ensure!(stage.pods("failed-kept").await?.len() == 1, "a failed plan's pod is gone");
        let uid = stage.api::<Plan>().get("failed").await?.metadata.uid.unwrap_or_default();
        let kept = stage.record(&format!("select transcript from enact.results where plan_uid = '{uid}'"))?.concat();
        ensure!(kept.contains("worked until it failed"), "the record has the transcript `{kept}`");
        Ok(())
    });
}

/// Waits until a plan that failed has succeeded after a retry.
async fn succeeded(stage: &Stage, plan: &str) -> Result<Plan> {
    let over = |p: &Plan| p.status.as_ref().is_some_and(|s| s.phase == Phase::Succeeded);
    stage.watch(&stage.api(), plan, "success", PATIENCE, over).await
}
