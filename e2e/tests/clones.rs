//! Clones from the clone cache, and without it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::Phase;
use enact_domain::names::{LABEL_ATTEMPT, LABEL_TASK, task_name};
use enact_e2e::git::Git;
use enact_e2e::installation::{self, Scaled, kubectl, printed};
use enact_e2e::work::{HOLD, scripted_plan};
use enact_e2e::{Answer, PATIENCE, REQUEST_TIMEOUT, Stage, on_stage, program, run, until};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

/// Size and number of the files of a large repository. Their content cannot be compressed.
const LARGE: (u32, u32) = (1 << 20, 100);
/// Resources for the work on it.
const ROOM: &str = "{memory: 256Mi, ephemeralStorage: 1Gi}";
/// What an attempt prints that got packs of the cache.
const FROM_CACHE: &str = "the clone cache has";

/// Waits until the cache has stored what a pod sent.
async fn stored(stage: &Stage, pod: &str) -> Result<()> {
    let uid = stage.api::<Pod>().get(pod).await?.uid().context("a pod without UID")?;
    until("the pack in the cache", PATIENCE, || async {
        let log = kubectl(&["logs", "deployment/enact-cache", "--tail=200"])?;
        let found = log.lines().any(|line| line.contains(&uid) && line.contains("stored a pack"));
        Ok(if found { Answer::Yes(()) } else { Answer::NotYet(log) })
    })
    .await
}

/// Returns the log of a task's first attempt.
async fn log(stage: &Stage, plan: &str, id: &str) -> Result<String> {
    let task = task_name(plan, id);
    let pods = stage.pods(plan).await?;
    let is_it = |pod: &&Pod| pod.labels().get(LABEL_TASK) == Some(&task) && pod.labels()[LABEL_ATTEMPT] == "1";
    let pod = pods.iter().find(is_it).with_context(|| format!("no pod of {id}"))?.name_any();
    // An attempt ends with its result, which can be earlier than the API server knows that the container has started.
    let started = |pod: &Pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Pending");
    stage.watch(&stage.api::<Pod>(), &pod, "its container started", PATIENCE, started).await?;
    run(program("kubectl")?.args([REQUEST_TIMEOUT, "logs", "--namespace", &stage.name, &pod]))
}

/// Returns the milliseconds from the start of the runner until the working tree was ready.
fn ready_after(log: &str) -> Result<u64> {
    let text = log.split("the working tree is ready ").nth(1).and_then(|rest| rest.split(' ').next());
    text.context("the attempt does not say when it was ready")?.parse().context("no number")
}

/// Runs a plan whose first task fills the cache, and whose other tasks use it one after the other.
async fn fill_and_use(stage: &Stage, git: &Git, plan: &str, tasks: &[&str]) -> Result<()> {
    let mut text = format!("{}  execution: {{cleanup: Never}}\n  tasks:\n", git.workspace());
    text += &format!("    - {{id: T001, title: fill, script: '{HOLD}', resources: {ROOM}}}\n");
    let mut before = "T001";
    for id in tasks {
        text += &format!(
            "    - {{id: {id}, title: use, dependsOn: [{before}], script: 'test -f README.md', resources: {ROOM}}}\n"
        );
        before = id;
    }
    stage.apply(&scripted_plan(plan, &text)).await?;
    let pod = stage.running(plan, "T001", 1).await?;
    printed(stage, &pod, "bytes to the clone cache", PATIENCE).await?;
    stored(stage, &pod).await?;
    stage.release(&pod)?;
    stage.finished(plan, Phase::Succeeded, Duration::from_mins(6)).await?;
    Ok(())
}

#[test]
fn attempts_clone_with_and_without_the_cache() {
    on_stage("clones", |stage| async move {
        installation::await_healthy()?;
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let plan = |name: &str, script: &str| {
            let task = format!("  tasks: [{{id: T001, title: read, script: '{script}'}}]\n");
            scripted_plan(name, &format!("{}  execution: {{cleanup: Never}}\n{task}", git.workspace()))
        };
        // First without the cache. It has nothing of an earlier run when it is back.
        let cache = Scaled::to("deployment/enact-cache", 0)?;
        stage.apply(&plan("without", "test -f README.md")).await?;
        stage.finished("without", Phase::Succeeded, PATIENCE).await?;
        let without = log(&stage, "without", "T001").await?;
        ensure!(without.contains("the clone cache cannot be used"), "{without}");
        cache.back()?;

        fill_and_use(&stage, &git, "first", &["T002"]).await?;
        ensure!(!log(&stage, "first", "T001").await?.contains(FROM_CACHE), "the cache had it before");
        let second = log(&stage, "first", "T002").await?;
        ensure!(second.contains(FROM_CACHE), "{second}");

        // Every attempt works on the newest commit of its revision.
        git.commit("new.txt", "new\n")?;
        stage.apply(&plan("newest", "grep -q new new.txt")).await?;
        stage.finished("newest", Phase::Succeeded, PATIENCE).await?;
        let newest = log(&stage, "newest", "T001").await?;
        ensure!(newest.contains(FROM_CACHE), "{newest}");

        let (bytes, files) = LARGE;
        git.fill(files, bytes)?;
        let tasks = ["T002", "T003", "T004"];
        fill_and_use(&stage, &git, "large", &tasks).await?;
        let direct = ready_after(&log(&stage, "large", "T001").await?)?;
        let mut cached = Vec::new();
        for id in tasks {
            let log = log(&stage, "large", id).await?;
            ensure!(log.contains(FROM_CACHE), "{log}");
            cached.push(ready_after(&log)?);
        }
        println!(
            "a repository of {files} MB is ready after {direct} ms without the cache, after {cached:?} ms with it"
        );
        Ok(())
    });
}
