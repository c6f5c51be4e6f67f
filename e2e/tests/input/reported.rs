//! Errors that only the operator can find: a condition reports them until they are fixed.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use enact_crds::common::Condition;
use enact_crds::plan::Phase;
use enact_crds::{Agent, Constitution, Plan, Specification};
use enact_e2e::{PATIENCE, Stage, condition, describe, on_stage};
use kube::Api;
use kube::api::{ApiResource, DynamicObject};

use super::{calm, neighbour, object, panics};

/// Returns the conditions of an Enact object.
async fn conditions(stage: &Stage, kind: &str, name: &str, wanted: &str) -> Result<Vec<Condition>> {
    let resource = match kind {
        "Constitution" => ApiResource::erase::<Constitution>(&()),
        "Specification" => ApiResource::erase::<Specification>(&()),
        "Plan" => ApiResource::erase::<Plan>(&()),
        "Agent" => ApiResource::erase::<Agent>(&()),
        _ => bail!("{kind} is not a kind of Enact"),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), &stage.name, &resource);
    let of = |object: &DynamicObject| -> Vec<Condition> {
        serde_json::from_value(object.data["status"]["conditions"].clone()).unwrap_or_default()
    };
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = of(&api.get(name).await?);
        if condition(&found, "Ready").is_some_and(|c| c.reason == wanted) {
            return Ok(found);
        }
        ensure!(tokio::time::Instant::now() < end, "{kind} {name} is not {wanted}: {}", describe(&found));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// An invalid object: kind, name, spec, expected reason, and the words that the message must contain.
type Case = (&'static str, &'static str, String, &'static str, &'static [&'static str]);

const ONE_TASK: &str = "tasks: [{id: T001, title: a, script: 'true'}]";

fn from(key: &str) -> String {
    format!("source: {{configMapKeyRef: {{name: documents, key: {key}}}}}")
}

fn by(agent: &str, more: &str) -> String {
    format!("agentRef: {{name: {agent}}}\n  {more}")
}

/// Returns references to objects that do not exist or do not fit.
fn references() -> Vec<Case> {
    vec![
        ("Plan", "no-agent", by("nobody", ONE_TASK), "AgentNotFound", &["task T001", "no Agent nobody", "create it"]),
        (
            "Plan",
            "no-spec",
            by("scripts", &format!("specificationRef: {{name: nothing}}\n  {ONE_TASK}")),
            "SpecificationNotFound",
            &["no Specification nothing", "create it"],
        ),
        (
            "Specification",
            "no-constitution",
            format!("constitutionRef: {{name: nowhere}}\n  {}", from("good.md")),
            "WaitingForConstitution",
            &["spec.constitutionRef", "no Constitution e2e-reported/nowhere", "create it"],
        ),
        (
            "Plan",
            "no-script",
            by("mute", "tasks: [{id: T001, title: a}]"),
            "InvalidPlan",
            &["task T001", "Agent mute runs scripts", "set script in one of them"],
        ),
    ]
}

/// Returns documents that are missing or cannot be read.
fn documents() -> Vec<Case> {
    vec![
        (
            "Specification",
            "no-map",
            "source: {configMapKeyRef: {name: missing, key: a}}".into(),
            "SourceMissing",
            &["spec.source.configMapKeyRef", "no ConfigMap missing", "create it"],
        ),
        (
            "Constitution",
            "no-key",
            from("missing.md"),
            "SourceMissing",
            &["spec.source.configMapKeyRef", "ConfigMap documents has no key missing.md", "add it"],
        ),
        (
            "Specification",
            "empty",
            from("empty.md"),
            "InvalidDocument",
            &["line 1", "the document is empty", "write the document"],
        ),
        (
            "Constitution",
            "latin",
            from("latin.md"),
            "InvalidDocument",
            &["line 2", "byte 4 is not UTF-8", "save the document as UTF-8"],
        ),
        (
            "Specification",
            "nul",
            from("nul.md"),
            "InvalidDocument",
            &["line 2", "byte 4 is NUL", "provide a Markdown document in UTF-8"],
        ),
        ("Plan", "binary", by("scripts", &from("nul.md")), "InvalidPlan", &["tasks.md: line 2", "byte 4 is NUL"]),
        (
            "Plan",
            "no-file",
            by("scripts", &from("gone.md")),
            "SourceMissing",
            &["ConfigMap documents has no key gone.md"],
        ),
        (
            "Plan",
            "no-tasks",
            by("scripts", &from("good.md")),
            "InvalidPlan",
            &["line 1", "no task was found", "write tasks as"],
        ),
        (
            "Plan",
            "twice",
            by("scripts", &from("twice.md")),
            "InvalidPlan",
            &["tasks.md: line 6", "T001 is defined on line 5 and again on line 6", "another identifier"],
        ),
        (
            "Plan",
            "cycle",
            by("scripts", &from("cycle.md")),
            "InvalidPlan",
            &["tasks wait for each other: T001 waits for T002", "remove or correct one of these statements"],
        ),
    ]
}

#[test]
fn conditions_report_errors_until_they_are_fixed() {
    on_stage("reported", |stage| async move {
        // `/w==` is the byte 0xff, `IyBBCgA=` is `# A`, a line feed and NUL.
        stage
            .apply(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: documents}\ndata:\n  empty.md: ''\n  \
                 cycle.md: \"# Tasks: A\\n\\n## Phase 1: A\\n\\n- [ ] T001 [P] One\\n- [ ] T002 [P] Two\\n\\n## Dependencies\\n\\n\
                 - T001 depends on T002\\n- T002 depends on T001\\n\"\n  \
                 twice.md: \"# Tasks: A\\n\\n## Phase 1: A\\n\\n- [ ] T001 One\\n- [ ] T001 Two\\n\"\n\
                 binaryData:\n  latin.md: IyBBCv8=\n  nul.md: IyBBCgA=\n  good.md: IyBBCg==\n",
            )
            .await?;
        stage.apply(&object("Agent", "mute", "adapter: Command")).await?;
        let cases = [references(), documents()].concat();
        for (kind, name, spec, ..) in &cases {
            stage.apply(&object(kind, name, spec)).await.with_context(|| format!("{kind} {name}"))?;
        }
        neighbour(&stage).await?;
        let mut wrong = Vec::new();
        for (kind, name, _, reason, said) in &cases {
            match conditions(&stage, kind, name, reason).await {
                Ok(found) => {
                    let message = condition(&found, "Ready").map(|c| c.message.clone()).unwrap_or_default();
                    let missing: Vec<&&str> = said.iter().filter(|part| !message.contains(**part)).collect();
                    if !missing.is_empty() {
                        wrong.push(format!("{kind} {name}: {missing:?} is not in: {message}"));
                    }
                }
                Err(error) => wrong.push(format!("{error:#}")),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        stage.finished("neighbour", Phase::Succeeded, PATIENCE).await?;
        calm(&stage).await?;
        let panics = panics()?;
        ensure!(panics.is_empty(), "{panics:?}");

        // Each object continues by itself after its error is fixed.
        stage.apply(&object("Agent", "nobody", "adapter: Command")).await?;
        stage.apply(&object("Constitution", "nowhere", "source: {inline: '# Constitution'}")).await?;
        stage.apply(&object("Specification", "nothing", "source: {inline: '# Feature Specification: A'}")).await?;
        stage
            .apply(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: missing}\ndata: {a: '# Feature Specification: A'}\n",
            )
            .await?;
        for plan in ["no-agent", "no-spec"] {
            stage.finished(plan, Phase::Succeeded, PATIENCE).await?;
        }
        for name in ["no-constitution", "no-map"] {
            conditions(&stage, "Specification", name, "Approved").await?;
        }
        Ok(())
    });
}
