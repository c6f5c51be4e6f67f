//! The environment of agents, and the redaction of secrets in their output.

use anyhow::{Context as _, ensure};
use enact_crds::plan::Phase;
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_e2e::git::Git;
use enact_e2e::places::places;
use enact_e2e::work::scripted_plan;
use enact_e2e::{PATIENCE, condition, describe, on_stage};

#[test]
fn an_agent_with_an_image_of_its_own_gets_the_runner() {
    on_stage("own-image", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        // The image contains Git, a shell and a file that identifies it, and no program of ours.
        let agent = "apiVersion: enact.dev/v1alpha1
kind: Agent
metadata: {name: other}
spec:
  adapter: Command
  image: ghcr.io/enact-dev/git-server:0.1.0
  resources: {cpu: 10m, memory: 128Mi, ephemeralStorage: 64Mi}
  script: |
    test ! -e /usr/local/bin/enact-runner
    cp /usr/local/share/git-server/healthz made-by.txt
---
";
        let plan = scripted_plan(
            "own",
            &format!("{}  tasks: [{{id: T001, title: made, agentRef: {{name: other}}}}]\n", git.workspace()),
        );
        stage.apply(&format!("{agent}{plan}")).await?;
        let plan = stage.finished("own", Phase::Succeeded, PATIENCE).await?;
        ensure!(git.git(&["show", "plan/own:made-by.txt"])?.trim() == "ok");
        stage.done_once(&plan, &["T001", "integration"])
    });
}

#[test]
fn replay_fails_without_retry_if_work_is_not_recorded() {
    const PATCH: &str = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: Recorded Agent <agent@example.com>
Date: Tue, 24 Nov 2026 12:00:00 +0000
Subject: [PATCH] Add a greeting

---
 greeting.txt | 1 +
 1 file changed, 1 insertion(+)
 create mode 100644 greeting.txt

diff --git a/greeting.txt b/greeting.txt
new file mode 100644
index 0000000..e965047
--- /dev/null
+++ b/greeting.txt
@@ -0,0 +1 @@
+Hello
-- 
2.47.0
";
    on_stage("replay", |stage| async move {
        let git = Git::start(&stage, &[("README.md", "work")]).await?;
        let patch: String = PATCH.lines().map(|line| format!("    {line}\n")).collect();
        let recorded = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: recorded}}\ndata:\n  \
             T001.transcript: I will greet.\n  T001.patch: |\n{patch}---\n\
             apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {{name: replayed}}\nspec:\n  adapter: Replay\n  \
             replay: {{configMapRef: {{name: recorded}}}}\n---\n\
             apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: replay}}\nspec:\n  agentRef: {{name: replayed}}\n  \
             execution: {{onFailure: Continue, retry: {{limit: 3, infrastructureLimit: 3}}}}\n{}  tasks:\n    \
             - {{id: T001, title: recorded}}\n    - {{id: T002, title: not recorded}}\n",
            git.workspace()
        );
        stage.apply(&recorded).await?;
        let plan = stage.finished("replay", Phase::Failed, PATIENCE).await?;
        let played = stage.task("replay", "T001").await?.status.context("T001 has no status")?;
        let commit = played.commit.context("T001 has no commit")?;
        ensure!(git.git(&["show", &format!("{commit}:greeting.txt")])? == "Hello\n");
        ensure!(git.git(&["log", "-1", "--format=%an|%B", &commit])?.contains("Enact-Task: T001"));
        let missing = stage.task("replay", "T002").await?.status.context("T002 has no status")?;
        let ready = condition(&missing.conditions, "Ready").context("no condition Ready")?;
        ensure!(ready.reason == "ReplayFailed" && ready.message.contains("T002.patch"), "{ready:?}");
        let attempts = stage.attempts(&plan)?;
        let of_missing: Vec<_> = attempts.iter().filter(|a| a.task == "T002").collect();
        ensure!(of_missing.len() == 1 && of_missing[0].failure == "Invalid", "{attempts:#?}");
        let uid = plan.metadata.uid.unwrap_or_default();
        let kept = stage.record(&format!("select transcript from enact.results where plan_uid = '{uid}'"))?.concat();
        ensure!(kept.contains("I will greet."), "the record has the transcript `{kept}`");
        Ok(())
    });
}

/// A secret value, which must not be visible anywhere. The test also uses a value that may be visible.
const CANARY: &str = "canary-5d1f0c7e2b9a4431";
const PLAIN: &str = "in plain sight $(HOME) $$HOME";

#[test]
fn a_secret_reaches_only_the_agent() {
    on_stage("secret", |stage| async move {
        let digest = Digest::of_bytes(CANARY.as_bytes());
        let digest = digest.as_str().trim_start_matches("sha256:");
        // The agent makes typical mistakes: it prints its environment, writes the secret to an output, and fails with the secret.
        let objects = format!(
            r#"apiVersion: v1
kind: Secret
metadata: {{name: key}}
stringData: {{token: {CANARY}}}
---
apiVersion: enact.dev/v1alpha1
kind: Agent
metadata: {{name: keyed}}
spec:
  adapter: Command
  resources: {{cpu: 10m, memory: 64Mi, ephemeralStorage: 64Mi}}
  env:
    - {{name: TOKEN, secretKeyRef: {{name: key, key: token}}}}
    - {{name: PLAIN, value: '{PLAIN}'}}
---
apiVersion: enact.dev/v1alpha1
kind: Plan
metadata: {{name: secret}}
spec:
  agentRef: {{name: keyed}}
  execution: {{onFailure: Continue}}
  tasks:
    - id: T001
      title: careless
      script: |
        printf %s "$TOKEN" | sha256sum | grep -q {digest}
        test "$PLAIN" = '{PLAIN}'
        env
        printf %s "$TOKEN" > "$ENACT_OUTPUT_DIR/leak"
      gates:
        - {{name: talks, script: 'echo checking with $TOKEN; test -n "$TOKEN"'}}
    - id: T002
      title: fails
      script: |
        echo "401 Unauthorized: token $TOKEN" >&2
        exit 1
"#
        );
        stage.apply(&objects).await?;
        let plan = stage.finished("secret", Phase::Failed, PATIENCE).await?;
        let careless = stage.task("secret", "T001").await?.status.context("no status")?;
        ensure!(careless.phase == enact_crds::task::Phase::Succeeded, "{}", describe(&careless.conditions));
        let fails = stage.task("secret", "T002").await?.status.context("no status")?;
        ensure!(describe(&fails.conditions).contains("401 Unauthorized: token ***"), "{}", describe(&fails.conditions));

        let places = places(&stage).await?;
        let encoded: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
        for (place, text) in &places {
            ensure!(!text.contains(CANARY) && !text.contains(&encoded), "the secret is in {place}");
        }
        // The same search finds the value that is not secret, which shows that the search works.
        for place in ["the pods' logs", "the record"] {
            let found = places.iter().any(|(p, text)| *p == place && text.contains(&format!("PLAIN={PLAIN}")));
            ensure!(found, "what the agent printed is not in {place}");
        }
        let pod = names::pod_name(&names::task_name("secret", "T002"), 1);
        let objects = places.iter().find(|(place, _)| *place == "objects").map(|(_, text)| text.as_str());
        ensure!(
            objects.is_some_and(|o| o.contains(&pod) && o.contains("AgentFailed")),
            "no termination message was read"
        );
        ensure!(stage.attempts(&plan)?.len() == 2);
        Ok(())
    });
}
