//! Execution of plans by real pods.

use std::time::Duration;

use anyhow::ensure;
use enact_crds::plan::Phase;
use enact_e2e::git::Git;
use enact_e2e::work::scripted_plan;
use enact_e2e::{PATIENCE, on_stage};

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
