//! History: every content is kept with its author and reason, and can be restored as a new revision.

use anyhow::ensure;
use enact_crds::Specification;
use enact_e2e::documents::{holds, inline, map, mapped};
use enact_e2e::on_stage;
use enact_e2e::people::Person;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DeleteParams;
use serde_json::json;

use super::texts::{KEYS, lent_for};

/// Returns the words of each line of a history, the newest line first.
fn lines(history: &str) -> Vec<Vec<&str>> {
    history.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn a_rollback_is_a_new_revision_with_old_content() {
    on_stage("rollback", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        dana.applies(&inline("Specification", "keys", &lent_for(30), &json!({}))).await?;
        let first = stage.await_reason::<Specification>("keys", "Approved").await?.status.unwrap_or_default().digest;
        lee.applies(&inline("Specification", "keys", &lent_for(60), &json!({}))).await?;
        let second = stage.await_reason::<Specification>("keys", "Approved").await?.status.unwrap_or_default().digest;
        ensure!(first != second, "{first:?}");

        let history = dana.enact(&["history", "specification/keys"])?.stdout;
        holds(history.lines().next().unwrap_or_default(), &["NUMBER", "DIGEST", "WHO", "WHY"])?;
        let known = lines(&history);
        ensure!(known.len() == 2 && known[0][0] == "2" && known[1][0] == "1", "{history}");
        ensure!(known[0].contains(&"lee") && known[1].contains(&"dana"), "{history}");
        ensure!(
            first.is_some_and(|d| d.contains(known[1][1])) && second.is_some_and(|d| d.contains(known[0][1])),
            "{history}"
        );

        let diff = dana.enact(&["diff", "specification/keys", "1", "2"])?.stdout;
        holds(&diff, &["Functional Requirements", "[-30-]", "{+60+}", "**FR-002**"])?;
        ensure!(!diff.contains("User Story 1") && !diff.contains("SC-001"), "what did not change is shown: {diff}");
        let shown = dana.enact(&["show", "specification/keys@1"])?.stdout;
        ensure!(shown == KEYS, "the first revision is not what was written: {shown}");
        let by_digest = dana.enact(&["show", &format!("specification/keys@{}", known[0][1])])?.stdout;
        ensure!(by_digest == lent_for(60), "{by_digest}");

        let back = dana.enact(&["rollback", "specification/keys", "1", "--yes"])?;
        holds(&back.stderr, &["[-60-]", "{+30+}"])?;
        let third = stage.await_reason::<Specification>("keys", "Approved").await?;
        let source = third.spec.source.and_then(|s| s.inline);
        ensure!(source.as_deref() == Some(KEYS), "{source:?}");
        let history = dana.enact(&["history", "specification/keys"])?.stdout;
        let now = lines(&history);
        ensure!(now.len() == 3 && now[0][0] == "3" && now[0][1] == known[1][1], "{history}");
        ensure!(now[1..] == known[..], "what was remembered is rewritten: {history}");
        holds(history.lines().nth(1).unwrap_or_default(), &["dana", "Rollback of 1"])?;
        holds(&dana.enact_error(&["rollback", "specification/keys", "9", "--yes"])?, &["9"])?;
        Ok(())
    });
}

#[test]
fn a_source_that_breaks_or_goes_loses_nothing() {
    on_stage("source-kept", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        dana.applies(&mapped("Specification", "keys", KEYS, &json!({}))).await?;
        let good = stage.await_reason::<Specification>("keys", "Approved").await?.status.unwrap_or_default();

        let nothing = map("keys", "");
        dana.applies(&nothing).await?;
        let broken = stage.await_message::<Specification>(
            "keys",
            "InvalidDocument",
            &["line 1", "the document is empty", "write the document"],
        );
        let broken = broken.await?.status.unwrap_or_default();
        ensure!(broken.approved_digest == good.digest, "{broken:#?}");
        ensure!(dana.enact(&["show", "specification/keys@approved"])?.stdout == KEYS, "what was approved is lost");
        dana.applies(&map("keys", KEYS)).await?;
        let fixed = stage.await_reason::<Specification>("keys", "Approved").await?.status.unwrap_or_default();
        ensure!(fixed.digest == good.digest, "{fixed:#?}");

        stage.api::<ConfigMap>().delete("keys-text", &DeleteParams::default()).await?;
        let reported = ["spec.source.configMapKeyRef", "no ConfigMap keys-text", "create it"];
        let gone =
            stage.await_message::<Specification>("keys", "SourceMissing", &reported).await?.status.unwrap_or_default();
        ensure!(gone.digest == good.digest && gone.approved_digest == good.digest, "{gone:#?}");
        ensure!(gone.requirements == 2 && gone.title == good.title, "what it said is forgotten: {gone:#?}");
        ensure!(dana.enact(&["show", "specification/keys@approved"])?.stdout == KEYS, "the last good content is lost");
        dana.applies(&map("keys", KEYS)).await?;
        stage.await_reason::<Specification>("keys", "Approved").await?;
        Ok(())
    });
}
