//! The published example, applied as a user does: questions, answers, approval and execution.

use anyhow::{Context as _, ensure};
use enact_crds::plan::Phase;
use enact_crds::{Constitution, Plan, Specification};
use enact_e2e::documents::holds;
use enact_e2e::people::Person;
use enact_e2e::{PATIENCE, on_stage};

const FILES: [&str; 3] = [
    include_str!("../../../examples/documents/10-constitution.yaml"),
    include_str!("../../../examples/documents/20-specification.yaml"),
    include_str!("../../../examples/documents/30-plan.yaml"),
];

#[test]
fn the_example_goes_from_a_question_to_finished_work() {
    on_stage("example-documents", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        for file in FILES {
            dana.applies(file).await?;
        }
        stage.await_reason::<Constitution>("lending", "WaitingForApproval").await?;
        stage.await_message::<Specification>("lending", "WaitingForConstitution", &["lending is not approved"]).await?;
        stage.await_reason::<Plan>("lending", "WaitingForSpecification").await?;
        lee.enact(&["approve", "constitution/lending", "--yes"])?;
        let constitution = stage.await_reason::<Constitution>("lending", "Approved").await?.status.unwrap_or_default();
        ensure!((constitution.rules, constitution.principles) == (3, 3), "{constitution:#?}");

        let open =
            stage.await_reason::<Specification>("lending", "WaitingForApproval").await?.status.unwrap_or_default();
        ensure!(open.open_questions == 1 && open.findings.high > 0, "{open:#?}");
        let asked = open.questions.iter().find(|q| q.text == "how long may a key be lent?").context("no question")?;
        dana.enact(&["clarify", "lending", "--answer", &format!("{}=30 days", asked.id)])?;
        let answered = |s: &Specification| {
            s.status.as_ref().is_some_and(|s| s.open_questions == 0 && s.digest.is_some() && s.digest != open.digest)
        };
        let api = stage.api::<Specification>();
        let after = stage.watch(&api, "lending", "an answered document", PATIENCE, answered).await?;
        let after = after.status.unwrap_or_default();
        ensure!(after.findings.critical == 0 && after.findings.high == 0, "{:#?}", after.top_findings);
        holds(
            &dana.enact(&["show", "specification/lending"])?.stdout,
            &["→ A: 30 days", "MUST be overdue after 30 days."],
        )?;

        stage.await_reason::<Specification>("lending", "WaitingForApproval").await?;
        stage.await_reason::<Plan>("lending", "WaitingForSpecification").await?;
        lee.enact(&["approve", "specification/lending", "--yes"])?;
        stage.await_message::<Specification>("lending", "Approved", &["approved by lee"]).await?;
        let done = stage.finished("lending", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        ensure!(done.specification_digest == after.digest, "{done:#?}");
        let coverage = done.coverage.clone().unwrap_or_default();
        ensure!((coverage.requirements, coverage.covered) == (2, 2), "{done:#?}");
        Ok(())
    });
}
