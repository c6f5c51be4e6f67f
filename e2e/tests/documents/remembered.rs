//! History: every content stays, with who made it and why, and comes back as a new revision.

use anyhow::ensure;
use enact_crds::Specification;
use enact_e2e::documents::{holds, inline, map, mapped};
use enact_e2e::on_stage;
use enact_e2e::people::Person;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DeleteParams;
use serde_json::json;

use super::texts::{KEYS, lent_for};

/// The words of each line of a history, the newest first.
fn lines(history: &str) -> Vec<Vec<&str>> {
    history.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn a_rollback_is_a_new_revision_with_old_content() {
    on_stage("rollback", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        dana.applies(&inline("Specification", "keys", &lent_for(30), &json!({}))).await?;
        let first = stage.stands::<Specification>("keys", "Approved").await?.status.unwrap_or_default().digest;
        lee.applies(&inline("Specification", "keys", &lent_for(60), &json!({}))).await?;
        let second = stage.stands::<Specification>("keys", "Approved").await?.status.unwrap_or_default().digest;
        ensure!(first != second, "{first:?}");

        let history = dana.enact(&["history", "specification/keys"])?.printed;
        holds(history.lines().next().unwrap_or_default(), &["NUMBER", "DIGEST", "WHO", "WHY"])?;
        let known = lines(&history);
        ensure!(known.len() == 2 && known[0][0] == "2" && known[1][0] == "1", "{history}");
        ensure!(known[0].contains(&"lee") && known[1].contains(&"dana"), "{history}");
        ensure!(
            first.is_some_and(|d| d.contains(known[1][1])) && second.is_some_and(|d| d.contains(known[0][1])),
            "{history}"
        );

        let diff = dana.enact(&["diff", "specification/keys", "1", "2"])?.printed;
        holds(&diff, &["Functional Requirements", "[-30-]", "{+60+}", "**FR-002**"])?;
        ensure!(!diff.contains("User Story 1") && !diff.contains("SC-001"), "what did not change is shown: {diff}");
        let shown = dana.enact(&["show", "specification/keys@1"])?.printed;
        ensure!(shown == KEYS, "the first revision is not what was written: {shown}");
        let by_digest = dana.enact(&["show", &format!("specification/keys@{}", known[0][1])])?.printed;
        ensure!(by_digest == lent_for(60), "{by_digest}");

        let back = dana.enact(&["rollback", "specification/keys", "1", "--yes"])?;
        holds(&back.told, &["[-60-]", "{+30+}"])?;
        let third = stage.stands::<Specification>("keys", "Approved").await?;
        let source = third.spec.source.and_then(|s| s.inline);
        ensure!(source.as_deref() == Some(KEYS), "{source:?}");
        let history = dana.enact(&["history", "specification/keys"])?.printed;
        let now = lines(&history);
        ensure!(now.len() == 3 && now[0][0] == "3" && now[0][1] == known[1][1], "{history}");
        ensure!(now[1..] == known[..], "what was remembered is rewritten: {history}");
        holds(history.lines().nth(1).unwrap_or_default(), &["dana", "Rollback of 1"])?;
        holds(&dana.hears(&["rollback", "specification/keys", "9", "--yes"])?, &["9"])?;
        Ok(())
    });
}

#[test]
fn a_source_that_breaks_or_goes_loses_nothing() {
    on_stage("source-kept", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        dana.applies(&mapped("Specification", "keys", KEYS, &json!({}))).await?;
        let good = stage.stands::<Specification>("keys", "Approved").await?.status.unwrap_or_default();

        let nothing = map("keys", "");
        dana.applies(&nothing).await?;
        let broken =
            stage.says::<Specification>("keys", "InvalidDocument", &["line 1", "the document is empty", "write it"]);
        let broken = broken.await?.status.unwrap_or_default();
        ensure!(broken.approved_digest == good.digest, "{broken:#?}");
        ensure!(dana.enact(&["show", "specification/keys@approved"])?.printed == KEYS, "what was approved is lost");
        dana.applies(&map("keys", KEYS)).await?;
        let mended = stage.stands::<Specification>("keys", "Approved").await?.status.unwrap_or_default();
        ensure!(mended.digest == good.digest, "{mended:#?}");

        stage.api::<ConfigMap>().delete("keys-text", &DeleteParams::default()).await?;
        let told = ["spec.source.configMapKeyRef", "no ConfigMap keys-text", "create it"];
        let gone = stage.says::<Specification>("keys", "SourceMissing", &told).await?.status.unwrap_or_default();
        ensure!(gone.digest == good.digest && gone.approved_digest == good.digest, "{gone:#?}");
        ensure!(gone.requirements == 2 && gone.title == good.title, "what it said is forgotten: {gone:#?}");
        ensure!(dana.enact(&["show", "specification/keys@approved"])?.printed == KEYS, "the last good content is lost");
        dana.applies(&map("keys", KEYS)).await?;
        stage.stands::<Specification>("keys", "Approved").await?;
        Ok(())
    });
}
