//! Questions: open points of a document become questions, and an answer becomes part of the document.

use anyhow::{Context as _, Result, ensure};
use enact_crds::Specification;
use enact_crds::document::Question;
use enact_domain::names::ANNOTATION_ANSWERS;
use enact_domain::stamps::{Stamp, Stamps};
use enact_e2e::documents::{holds, inline, mapped};
use enact_e2e::people::Person;
use enact_e2e::{PATIENCE, Stage, on_stage};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use serde_json::json;

use super::texts::asking;

/// Returns the question of the marker.
fn question(specification: &Specification) -> Result<Question> {
    let status = specification.status.clone().unwrap_or_default();
    let found = status.questions.iter().find(|q| q.text == "how long may a key be lent?");
    found.cloned().with_context(|| format!("the marker's question is not in {status:#?}"))
}

/// Waits until no question is open, and returns the digest of the resulting document.
async fn settled(stage: &Stage, name: &str, before: &Specification) -> Result<String> {
    let old = before.status.as_ref().and_then(|s| s.digest.clone());
    let answered = |s: &Specification| {
        s.status.as_ref().is_some_and(|s| s.open_questions == 0 && s.digest.is_some() && s.digest != old)
    };
    let after = stage.watch(&stage.api::<Specification>(), name, "an answered document", PATIENCE, answered).await?;
    ensure!(question(&after).is_err(), "what is answered is asked again: {:#?}", after.status);
    after.status.and_then(|s| s.digest).context("no digest")
}

/// Returns author and date of an answer to Specification `keys`.
async fn stamp(stage: &Stage, question: &str, answer: &str) -> Result<Stamp> {
    let keys = stage.api::<Specification>().get("keys").await?;
    let stamps = Stamps::of(keys.annotations(), ANNOTATION_ANSWERS);
    stamps.get(&[question, answer]).cloned().with_context(|| format!("no stamp of the answer {answer}: {stamps:?}"))
}

#[test]
fn an_answer_is_stamped_and_written_into_the_document() {
    on_stage("asked", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        dana.applies(&inline("Specification", "keys", &asking(), &json!({}))).await?;
        let open = stage.await_message::<Specification>("keys", "Approved", &["question", "open"]).await?;
        let asked = question(&open)?;
        ensure!(open.status.as_ref().is_some_and(|s| s.open_questions == 1), "{:#?}", open.status);
        ensure!(asked.id.starts_with("Q-") && asked.location == "FR-002" && asked.line == 21, "{asked:?}");
        let listed = dana.enact(&["clarify", "keys"])?.stdout;
        holds(&listed, &[&asked.id, "(FR-002, line 21): how long may a key be lent?"])?;

        let forged = json!({
            "metadata": {"annotations": {"enact.dev/answers": "{}"}},
            "spec": {"clarifications": [{"question": asked.id, "answer": "14 days"}]},
        });
        dana.kubectl(&["patch", "specification", "keys", "--type=merge", "--patch", &forged.to_string()])?;
        let Stamp { by, date } = stamp(&stage, &asked.id, "14 days").await?;
        ensure!(by == "dana", "the author of an answer is whom the client names: {by}");
        ensure!(date.len() == 10 && date.as_str() > "2026", "the date of an answer is what the client says: {date}");
        // Another user applies the same answers again, as a GitOps tool does.
        let lee = Person::of(&stage, "lee", "leads").await?;
        lee.kubectl(&["patch", "specification", "keys", "--type=merge", "--patch", &forged.to_string()])?;
        ensure!(stamp(&stage, &asked.id, "14 days").await?.by == "dana", "who repeats an answer becomes its author");

        settled(&stage, "keys", &open).await?;
        let document = dana.enact(&["show", "specification/keys"])?.stdout;
        let session = format!("### Session {date}");
        let line = "- Q: how long may a key be lent? → A: 14 days";
        holds(
            &document,
            &["## Clarifications", &session, line, "- **FR-002**: A lent key MUST be overdue after 14 days."],
        )?;
        ensure!(!document.contains("NEEDS CLARIFICATION"), "the marker stays: {document}");
        ensure!(document.lines().filter(|l| l.contains("→ A:")).count() == 1, "one answer, once: {document}");
        let history = dana.enact(&["history", "specification/keys"])?.stdout;
        let newest = history.lines().nth(1).unwrap_or_default();
        ensure!(newest.starts_with('2') && newest.contains(" dana ") && newest.contains("Clarification"), "{history}");
        // The source is unchanged: the answer is a separate field.
        let source = stage.api::<Specification>().get("keys").await?.spec.source.and_then(|s| s.inline);
        ensure!(source == Some(asking()), "{source:?}");
        Ok(())
    });
}

#[test]
fn an_answer_does_not_change_the_config_map() {
    on_stage("asked-map", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        dana.applies(&mapped("Specification", "keys", &asking(), &json!({}))).await?;
        let open = stage.await_reason::<Specification>("keys", "Approved").await?;
        let asked = question(&open)?;
        let before = stage.api::<ConfigMap>().get("keys-text").await?;

        let reported = lee.enact_error(&["clarify", "keys", "--answer", "Q-00000000=a week"])?;
        holds(&reported, &["there is no question Q-00000000", "open are", &asked.id])?;
        let said = lee.enact(&["clarify", "keys", "--answer", &format!("{}=a week", asked.id)])?.stdout;
        holds(&said, &["Specification keys: 1 answer given"])?;
        settled(&stage, "keys", &open).await?;
        let document = dana.enact(&["show", "specification/keys"])?.stdout;
        holds(&document, &["- Q: how long may a key be lent? → A: a week", "MUST be overdue after a week."])?;
        let after = stage.api::<ConfigMap>().get("keys-text").await?;
        ensure!(before == after, "the ConfigMap is another: {after:#?}");
        let history = dana.enact(&["history", "specification/keys"])?.stdout;
        let newest = history.lines().nth(1).unwrap_or_default();
        ensure!(newest.contains(" lee ") && newest.contains("Clarification"), "{history}");

        // A user changes the answer: the newer one counts, and both are recorded.
        let first = stage.api::<Specification>().get("keys").await?;
        dana.enact(&["clarify", "keys", "--answer", &format!("{}=ten days", asked.id)])?;
        settled(&stage, "keys", &first).await?;
        let document = dana.enact(&["show", "specification/keys"])?.stdout;
        holds(&document, &["→ A: ten days", "MUST be overdue after ten days."])?;
        ensure!(!document.contains("a week"), "{document}");
        let given = stage.api::<Specification>().get("keys").await?.spec.clarifications;
        ensure!(given.len() == 1 && stamp(&stage, &asked.id, "ten days").await?.by == "dana", "{given:#?}");
        holds(&dana.enact(&["show", "specification/keys@2"])?.stdout, &["overdue after a week."])?;
        Ok(())
    });
}
