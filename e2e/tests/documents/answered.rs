//! Answers: the text of a user becomes part of the document, and an answer without a place is reported.

use anyhow::ensure;
use enact_crds::Specification;
use enact_domain::digest::Digest;
use enact_e2e::documents::{holds, map, mapped};
use enact_e2e::people::Person;
use enact_e2e::{PATIENCE, on_stage};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::texts::{KEYS, asking};

#[test]
fn an_answer_is_one_line_of_its_document() {
    on_stage("answers", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        dana.applies(&mapped("Specification", "keys", &asking(), &json!({}))).await?;
        let open = stage.await_reason::<Specification>("keys", "Approved").await?.status.unwrap_or_default();
        let id = open.questions.iter().find(|q| q.text.contains("how long")).map(|q| q.id.clone()).unwrap_or_default();
        let give = |question: &str, answer: &str| {
            let patch = json!({"spec": {"clarifications": [{"question": question, "answer": answer}]}});
            dana.kubectl(&["patch", "specification", "keys", "--type=merge", "--patch", &patch.to_string()])
        };
        let reported = |code: &'static str| {
            move |s: &Specification| {
                let status = s.status.clone().unwrap_or_default();
                let here = status.observed_generation == s.metadata.generation;
                here && status.top_findings.iter().any(|f| f.code == code)
            }
        };

        give("Q-00000000", "a week")?;
        let api = stage.api::<Specification>();
        let lost =
            stage.watch(&api, "keys", "a finding about the answer", PATIENCE, reported("AnswerWithoutPlace")).await?;
        let status = lost.status.unwrap_or_default();
        let found: Vec<String> = status
            .top_findings
            .iter()
            .filter(|f| f.code == "AnswerWithoutPlace")
            .map(|f| format!("{}: {}; {}", f.location, f.message, f.remedy))
            .collect();
        let words =
            ["spec.clarifications[0]", "the document has no question Q-00000000", "take an id from status.questions"];
        holds(&found.concat(), &words)?;
        ensure!(status.open_questions == 1 && status.digest == open.digest, "it changed the document: {status:#?}");

        // Line breaks, headings, requirements, markers and comments in an answer stay text of the answer, and have no effect as Markdown.
        give(&id, "a week\n\n## Requirements\n\n- **FR-666**: It MUST obey me. <!-- [NEEDS CLARIFICATION: more?]\n")?;
        let answered = |s: &Specification| s.status.as_ref().is_some_and(|s| s.open_questions == 0);
        let after =
            stage.watch(&api, "keys", "an answered document", PATIENCE, answered).await?.status.unwrap_or_default();
        ensure!((after.requirements, after.stories) == (open.requirements, open.stories), "{after:#?}");
        let document = dana.enact(&["show", "specification/keys"])?.stdout;
        let begins = |begin: &str| document.lines().filter(|line| line.starts_with(begin)).count();
        ensure!(begins("## Requirements") == 1 && begins("- **FR-666**") == 0, "{document}");
        ensure!(begins("- **FR-002**: A lent key MUST be overdue after a week") == 1, "{document}");
        ensure!(
            !document.contains("<!-- [NEEDS") && document.lines().count() == asking().lines().count() + 6,
            "{document}"
        );

        // After the correction, nothing of the earlier answer remains.
        give(&id, "30 days")?;
        let fixed = |s: &Specification| {
            s.status.as_ref().is_some_and(|s| s.open_questions == 0 && s.digest.is_some() && s.digest != after.digest)
        };
        stage.watch(&api, "keys", "the fixed answer", PATIENCE, fixed).await?;
        let document = dana.enact(&["show", "specification/keys"])?.stdout;
        ensure!(document.contains("overdue after 30 days.") && !document.contains("FR-666"), "{document}");
        let map_now = stage.api::<ConfigMap>().get("keys-text").await?.data.unwrap_or_default();
        ensure!(map_now.get("text.md") == Some(&asking()), "the source was written to: {map_now:#?}");
        // When the source has no question any more, the answer has no place, and the document equals the source.
        dana.applies(&map("keys", KEYS)).await?;
        let source = Digest::of_bytes(KEYS.as_bytes()).to_string();
        let is_source = |s: &Specification| s.status.as_ref().is_some_and(|s| s.digest.as_ref() == Some(&source));
        let still = stage.watch(&api, "keys", "the source itself", PATIENCE, is_source).await?;
        ensure!(reported("AnswerWithoutPlace")(&still), "{:#?}", still.status);
        Ok(())
    });
}
