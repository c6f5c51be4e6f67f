//! Amendments: what changed in a constitution, which version the change requires, and what it affects.

use anyhow::{Result, ensure};
use enact_crds::constitution::Impact;
use enact_crds::{Constitution, Specification};
use enact_e2e::documents::{holds, inline};
use enact_e2e::people::Person;
use enact_e2e::work::scripted_plan;
use enact_e2e::{PATIENCE, Stage, on_stage};
use serde_json::json;

use super::texts::{KEYS, house};

/// Waits until the constitution's status reports what the amendment affects.
async fn touches(stage: &Stage, wanted: &Impact) -> Result<Constitution> {
    let is = |c: &Constitution| c.status.as_ref().is_some_and(|s| s.impact.as_ref() == Some(wanted));
    stage.watch(&stage.api::<Constitution>(), "house", &format!("{wanted:?}"), PATIENCE, is).await
}

#[test]
fn a_removed_principle_needs_a_major_version() {
    on_stage("amended", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        lee.applies(&inline("Constitution", "house", &house("1.0.0"), &json!({}))).await?;
        let first = stage.await_reason::<Constitution>("house", "Approved").await?.status.unwrap_or_default();
        ensure!(first.amendment.is_none(), "the first one amends nothing: {first:#?}");
        let bound = json!({"constitutionRef": {"name": "house"}});
        dana.applies(&inline("Specification", "keys", KEYS, &bound)).await?;
        dana.applies(&scripted_plan(
            "keys",
            "  suspend: true\n  specificationRef: {name: keys}\n  tasks:\n  - {id: T001, title: lend, script: 'true', requirements: [FR-001]}\n  \
             - {id: T002, title: remind, script: 'true', requirements: [FR-002]}\n",
        ))
        .await?;
        stage.plan_reason("keys", "Suspended").await?;
        let some = ["Specification e2e-amended/keys", "Plan e2e-amended/keys"].map(str::to_owned).to_vec();
        touches(&stage, &Impact { specifications: 1, plans: 1, tasks: 2, some }).await?;

        let shorter = |version: &str| {
            let (text, gone) =
                (house(version), "### II. Success is measured\n\nEvery success criterion MUST have a number.\n\n");
            inline("Constitution", "house", &text.replace(gone, ""), &json!({}))
        };
        lee.applies(&shorter("1.1.0")).await?;
        let reported = [
            "Success is measured",
            "is removed",
            "a MAJOR amendment",
            "version 1.0.0 must become 2.0.0, not 1.1.0",
            "write `**Version**: 2.0.0`",
        ];
        let stalled = stage
            .await_message::<Constitution>("house", "VersionMismatch", &reported)
            .await?
            .status
            .unwrap_or_default();
        ensure!(stalled.approved_digest == first.digest, "what was in force stays so: {stalled:#?}");

        lee.applies(&shorter("2.0.0")).await?;
        let amended = stage.await_reason::<Constitution>("house", "Approved").await?.status.unwrap_or_default();
        ensure!(amended.version.as_deref() == Some("2.0.0") && amended.principles == 1, "{amended:#?}");
        let amendment = amended.amendment.clone().unwrap_or_default();
        ensure!(amendment.level == "Major" && amendment.from.as_deref() == Some("1.0.0"), "{amendment:#?}");
        ensure!(Some(&amendment.from_digest) == first.digest.as_ref(), "{amendment:#?}");
        let removed = |c: &&enact_crds::constitution::AmendmentChange| c.kind == "Removed";
        let removed: Vec<&str> = amendment.changes.iter().filter(removed).map(|c| c.principle.as_str()).collect();
        ensure!(removed.len() == 1 && removed[0].contains("Success is measured"), "{amendment:#?}");
        let impact = lee.enact(&["impact", "house"])?.stdout;
        let said = [
            "amendment from version 1.0.0; it needs a Major version",
            "Success is measured",
            "it affects 1 Specifications, 1 unfinished Plans and 2 open Tasks",
            "Specification e2e-amended/keys",
            "Plan e2e-amended/keys",
        ];
        holds(&impact, &said)?;
        stage.await_reason::<Specification>("keys", "Approved").await?;

        // A lower version is not an amendment, whatever its content is.
        lee.applies(&inline("Constitution", "house", &house("1.9.0"), &json!({}))).await?;
        stage
            .await_message::<Constitution>(
                "house",
                "VersionMismatch",
                &["1.9.0 is lower than 2.0.0", "a version must not decrease", "2.1.0"],
            )
            .await?;
        let history = dana.enact(&["history", "constitution/house"])?.stdout;
        for version in ["1.0.0", "1.1.0", "2.0.0"] {
            ensure!(
                history.lines().any(|l| l.contains(version) && l.contains(" lee ")),
                "{version} is not in: {history}"
            );
        }
        Ok(())
    });
}
