//! Tasks that fail, for different reasons.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::Plan;
use enact_crds::plan::Phase;
use enact_e2e::git::Git;
use enact_e2e::work::scripted_plan;
use enact_e2e::{PATIENCE, Stage, condition, on_stage};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;

use super::{calm, neighbour, object};

/// A plan whose only task fails.
struct Bad {
    name: &'static str,
    manifest: String,
    /// The reason of the task's last attempt.
    reason: &'static str,
    /// The number of attempts.
    attempts: u32,
    said: &'static [&'static str],
}

fn bad(name: &'static str, spec: &str, reason: &'static str, attempts: u32, said: &'static [&'static str]) -> Bad {
    Bad { name, manifest: scripted_plan(name, spec), reason, attempts, said }
}

fn script(script: &str) -> String {
    format!("  tasks:\n    - id: T001\n      title: bad\n      script: |\n        {script}\n")
}

fn with_agent(agent: &str, spec: &str) -> String {
    object("Agent", agent, &format!("{spec}\n  resources: {{cpu: 10m, memory: 64Mi, ephemeralStorage: 64Mi}}"))
}

async fn ends_badly(stage: &Stage, bad: &Bad) -> Result<()> {
    let plan = stage.finished(bad.name, Phase::Failed, Duration::from_mins(6)).await?.status.unwrap_or_default();
    let task = stage.task(bad.name, "T001").await?.status.unwrap_or_default();
    let of_task = condition(&task.conditions, "Ready").cloned().context("a task without Ready")?;
    ensure!(of_task.reason == bad.reason, "{}: {}: {}", bad.name, of_task.reason, of_task.message);
    ensure!(task.attempts == bad.attempts, "{}: {} attempts, not {}", bad.name, task.attempts, bad.attempts);
    for part in bad.said {
        ensure!(of_task.message.contains(part), "{}: `{part}` is not in: {}", bad.name, of_task.message);
    }
    let of_plan = condition(&plan.conditions, "Ready").cloned().context("a plan without Ready")?;
    let reported = format!("task T001 failed: {}: ", bad.reason);
    ensure!(of_plan.reason == "TaskFailed" && of_plan.message.starts_with(&reported), "{of_plan:?}");
    ensure!(of_plan.message.contains("kubectl enact retry"), "no remedy: {}", of_plan.message);
    Ok(())
}

/// Returns scripts that fail, and an assignment that is too large.
fn scripts() -> Vec<Bad> {
    let large = "x".repeat(65_000);
    vec![
        bad("killed", &script("kill -9 $$"), "Killed", 1, &["killed by signal 9"]),
        bad(
            "hungry",
            &script("exec python3 -c 'x = bytearray(400 << 20); x[::4096] = bytes(len(x[::4096]))'"),
            "OutOfMemory",
            1,
            &["more memory than", "raise resources.memory"],
        ),
        bad("exits", &script("echo this is why; exit 3"), "AgentFailed", 1, &["exited with 3", "this is why"]),
        bad(
            "large",
            &script("head -c 5000 /dev/zero | tr '\\0' x > \"$ENACT_OUTPUT_DIR/big\""),
            "OutputTooLarge",
            1,
            &["`big`", "2048", "commit large results as files"],
        ),
        bad(
            "oddly-named",
            &script("echo a > \"$ENACT_OUTPUT_DIR/two words\""),
            "OutputTooLarge",
            1,
            &["output name `two words` must be"],
        ),
        bad(
            "too-much-to-say",
            &format!(
                "  tasks: [{{id: T001, title: a, prompt: '{large}', script: '# {large}', gates: [{{name: a, script: '{}'}}]}}]\n",
                &large[..16_000]
            ),
            "InvalidAssignment",
            1,
            &["prompt, script and gates have", "shorten them"],
        ),
    ]
}

/// Returns tasks with unavailable repositories, images, Secrets or recorded work.
fn inputs(git: &Git) -> Vec<Bad> {
    let once = "  execution: {retry: {infrastructureLimit: 0}}\n";
    let twice = "  execution: {retry: {infrastructureLimit: 1, backoffSeconds: 1}}\n";
    let at = |url: &str, secret: &str| {
        format!(
            "  workspace: {{url: '{url}', credentialsSecretRef: {{name: {secret}}}, integration: \
             {{credentialsSecretRef: {{name: git-integrator}}}}}}\n"
        )
    };
    let works = script("echo a > a.txt");
    let by = |agent: &str| works.replace("title: bad", &format!("title: bad\n      agentRef: {{name: {agent}}}"));
    let nowhere = git.url().replace("git-server", "no-git-server");
    vec![
        bad(
            "unreachable",
            &format!("{twice}{}{works}", at(&nowhere, "git-agent")),
            "RepositoryUnreachable",
            2,
            &["no-git-server", "cannot be resolved"],
        ),
        bad(
            "denied",
            &format!("{}{works}", at(&git.url(), "wrong")),
            "RepositoryDenied",
            1,
            &["refused the credential", "check spec.workspace.credentialsSecretRef"],
        ),
        bad(
            "no-repository",
            &format!("{}{works}", at(&git.url().replace("work.git", "none.git"), "git-agent")),
            "RepositoryDenied",
            1,
            &["none.git", "is not a Git repository", "check spec.workspace.url"],
        ),
        bad(
            "no-revision",
            &format!("  workspace: {{url: '{}', revision: v9}}\n{works}", git.url()),
            "RevisionNotFound",
            1,
            &["branch or tag `v9`", "check spec.workspace.revision"],
        ),
        bad(
            "no-image",
            &format!("{once}{}", by("imageless")),
            "ImagePullFailed",
            1,
            &["localhost:1/nothing:none", "check the Agent's image"],
        ),
        bad("no-secret", &format!("{once}{}", by("keyless")), "ContainerConfigError", 1, &["no-such-secret"]),
        bad(
            "no-credential",
            &format!("{once}{}{works}", at(&git.url(), "no-such-secret")),
            "ContainerConfigError",
            1,
            &[
                "the Secret with the Git credential does not exist",
                "create it, or correct spec.workspace.credentialsSecretRef",
            ],
        ),
        bad(
            "no-record",
            &format!("{}{}", at(&git.url(), "git-agent"), by("replays")),
            "ReplayFailed",
            1,
            &["no recorded work `T001.patch` for task T001"],
        ),
    ]
}

#[test]
fn failed_work_does_not_delay_other_plans() {
    on_stage("fails", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        stage
            .apply("apiVersion: v1\nkind: Secret\nmetadata: {name: wrong}\nstringData: {username: agent, password: not-this}\n")
            .await?;
        stage.apply(&with_agent("replays", "adapter: Replay\n  replay: {configMapRef: {name: no-such-map}}")).await?;
        stage.apply(&with_agent("imageless", "adapter: Command\n  image: localhost:1/nothing:none")).await?;
        stage
            .apply(&with_agent(
                "keyless",
                "adapter: Command\n  env: [{name: KEY, secretKeyRef: {name: no-such-secret, key: key}}]",
            ))
            .await?;
        let all: Vec<Bad> = scripts().into_iter().chain(inputs(&git)).collect();
        for bad in &all {
            stage.apply(&bad.manifest).await.with_context(|| bad.name)?;
        }
        neighbour(&stage).await?;
        let began = std::time::Instant::now();
        stage.finished("neighbour", Phase::Succeeded, PATIENCE).await?;
        println!("the neighbour took {:.1} s beside {} bad plans", began.elapsed().as_secs_f32(), all.len());
        let mut wrong = Vec::new();
        for bad in &all {
            if let Err(error) = ends_badly(&stage, bad).await {
                wrong.push(format!("{error:#}"));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        let plan = stage.api::<Plan>().get("unreachable").await?;
        let attempts = stage.attempts(&plan)?;
        ensure!(attempts.iter().all(|a| a.failure == "Infrastructure" && a.task == "T001"), "{attempts:?}");
        calm(&stage).await?;
        let events = stage.api::<Event>().list(&ListParams::default()).await?.items;
        let reported = events
            .iter()
            .any(|e| e.involved_object.name.as_deref() == Some("killed") && e.type_.as_deref() == Some("Warning"));
        ensure!(reported, "no Event reports the plan's end");
        Ok(())
    });
}
