//! Rules: what a constitution requires of specifications and plans, and where violations are reported.

use anyhow::{Context as _, Result, ensure};
use enact_crds::document::{Finding, Severity};
use enact_crds::plan::Phase;
use enact_crds::{Constitution, Plan, Specification, Task};
use enact_e2e::documents::{holds, inline, map, mapped};
use enact_e2e::people::Person;
use enact_e2e::work::scripted_plan;
use enact_e2e::{PATIENCE, on_stage};
use kube::api::ListParams;
use serde_json::json;

use super::texts::{KEYS, asking, house, rule};

/// Returns the finding about a rule.
fn broken(specification: &Specification, rule: &str) -> Result<Finding> {
    let status = specification.status.clone().unwrap_or_default();
    let about = |f: &&Finding| f.code == "RuleBroken" && f.message.contains(&format!("rule {rule}"));
    let found = status.top_findings.iter().find(about);
    found.cloned().with_context(|| format!("nothing was found about {rule}: {:#?}", status.top_findings))
}

#[test]
fn a_must_blocks_and_a_should_is_a_finding() {
    on_stage("ruled", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let rules = json!({"rules": [rule("requirements-bind")?, rule("criteria-are-measured")?]});
        dana.applies(&inline("Constitution", "house", &house("1.0.0"), &rules)).await?;
        let constitution = stage.await_reason::<Constitution>("house", "Approved").await?.status.unwrap_or_default();
        ensure!(
            constitution.rules == 2 && constitution.principles == 2 && constitution.version.as_deref() == Some("1.0.0"),
            "{constitution:#?}"
        );

        let bound = json!({"constitutionRef": {"name": "house"}});
        let loose = KEYS.replace("A lent key MUST be overdue", "A lent key is overdue");
        let reported = ["rule requirements-bind", "of principle \"Requirements bind\"", "MUST or SHALL", "FR-002"];
        let refused = dana.refusal(&inline("Specification", "keys", &loose, &bound)).await?;
        holds(&refused, &[&["spec.source"][..], &reported].concat())?;
        ensure!(!refused.contains("FR-001"), "FR-001 keeps it: {refused}");
        ensure!(stage.api::<Specification>().get_opt("keys").await?.is_none(), "what was refused is there");

        // The webhook does not read ConfigMaps, so only the operator can evaluate this document.
        dana.applies(&mapped("Specification", "keys", &loose, &bound)).await?;
        let remedy = "change the document, or amend the constitution";
        let stopped = stage.await_message("keys", "ConstitutionViolated", &[&reported[..], &[remedy]].concat()).await?;
        let found = broken(&stopped, "requirements-bind")?;
        ensure!(found.severity == Severity::Critical && found.location == "FR-002", "{found:#?}");
        dana.applies(&map("keys", KEYS)).await?;
        stage.await_reason::<Specification>("keys", "Approved").await?;

        let unmeasured = KEYS.replace("Lending a key takes less than 20 seconds.", "Caretakers praise the list.");
        dana.applies(&inline("Specification", "praise", &unmeasured, &bound)).await?;
        let warned = stage.await_reason::<Specification>("praise", "Approved").await?;
        let found = broken(&warned, "criteria-are-measured")?;
        ensure!(found.severity == Severity::Medium && found.location == "SC-001", "{found:#?}");
        holds(&found.message, &["put a number into every success criterion"])?;
        Ok(())
    });
}

#[test]
fn a_plan_that_breaks_a_rule_does_not_start() {
    on_stage("ruled-plan", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let rules = json!({"rules": [rule("no-open-questions")?, rule("tasks-are-settled")?]});
        dana.applies(&inline("Constitution", "house", &house("1.0.0"), &rules)).await?;
        stage.await_reason::<Constitution>("house", "Approved").await?;
        let bound = json!({"constitutionRef": {"name": "house"}});
        dana.applies(&inline("Specification", "keys", &asking(), &bound)).await?;
        let open = stage.await_reason::<Specification>("keys", "Approved").await?;
        dana.applies(&scripted_plan(
            "keys",
            "  specificationRef: {name: keys}\n  tasks:\n  - {id: T001, title: lend, script: 'true # TODO', requirements: [FR-001]}\n  \
             - {id: T002, title: remind, script: 'true', requirements: [FR-002]}\n",
        ))
        .await?;
        let reported = ["the plan violates rule no-open-questions", "[NEEDS CLARIFICATION]", "amend the constitution"];
        let stopped =
            stage.await_message::<Plan>("keys", "ConstitutionViolated", &reported).await?.status.unwrap_or_default();
        let about = |rule: &str| stopped.top_findings.iter().find(|f| f.message.contains(&format!("rule {rule}")));
        let todo = about("tasks-are-settled").with_context(|| format!("no finding: {:#?}", stopped.top_findings))?;
        ensure!(todo.severity == Severity::Medium && todo.message.contains("task T001"), "{todo:#?}");
        ensure!(
            stage.api::<Task>().list(&ListParams::default()).await?.items.is_empty(),
            "a plan that is stopped has tasks"
        );

        let asked = open.status.unwrap_or_default().questions;
        let asked = asked.iter().find(|q| q.text.contains("how long")).context("no question")?;
        dana.enact(&["clarify", "keys", "--answer", &format!("{}=30 days", asked.id)])?;
        let done = stage.finished("keys", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        let coverage = done.coverage.clone().unwrap_or_default();
        ensure!((coverage.requirements, coverage.covered) == (2, 2), "{done:#?}");
        Ok(())
    });
}
