//! Overlap: two active specifications with related content report each other, within one tenant only.

use anyhow::{Result, ensure};
use enact_crds::Specification;
use enact_crds::document::Finding;
use enact_e2e::documents::{holds, inline};
use enact_e2e::people::Person;
use enact_e2e::{Answer, PATIENCE, Stage, on_stages, until};
use kube::api::DeleteParams;
use serde_json::json;

use super::texts::KEYS;

const ENTITIES: &str = "\n### Key Entities\n\n- **Key Card**: A card that opens a door, with its number.\n";

fn overlaps(specification: &Specification) -> Vec<Finding> {
    let found = specification.status.clone().unwrap_or_default().top_findings;
    found.into_iter().filter(|f| f.category == "Overlap").collect()
}

/// Waits until a specification reports overlaps with `other`, or none, and returns their descriptions.
async fn shows(stage: &Stage, name: &str, some: bool) -> Result<String> {
    let is =
        |s: &Specification| s.status.as_ref().is_some_and(|s| s.digest.is_some()) && overlaps(s).is_empty() != some;
    let what = if some { "findings about overlap" } else { "no finding about overlap" };
    let found = stage.watch(&stage.api::<Specification>(), name, what, PATIENCE, is).await?;
    Ok(overlaps(&found)
        .iter()
        .map(|f| format!("{} {} {}: {}; {}\n", f.code, f.location, f.line, f.message, f.remedy))
        .collect())
}

#[test]
fn an_overlap_is_a_finding_on_both_specifications() {
    on_stages([("overlap", ""), ("overlap-other", "")], |[stage, other]| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let eve = Person::of(&other, "eve", "developers").await?;
        let keys = KEYS.replace("\n## Success Criteria", &format!("{ENTITIES}\n## Success Criteria"));
        let cards = format!(
            "# Feature Specification: Cards\n\n## Requirements\n\n### Functional Requirements\n\n\
             - **FR-007**: The list MUST show every key with the person who has it.\n{ENTITIES}"
        );
        // The specification of the other tenant has the same text.
        eve.applies(&inline("Specification", "theirs", &keys, &json!({}))).await?;
        other.await_reason::<Specification>("theirs", "Approved").await?;
        dana.applies(&inline("Specification", "keys", &keys, &json!({}))).await?;
        stage.await_reason::<Specification>("keys", "Approved").await?;
        shows(&stage, "keys", false).await?;

        dana.applies(&inline("Specification", "cards", &cards, &json!({}))).await?;
        let of_cards = shows(&stage, "cards", true).await?;
        let of_keys = shows(&stage, "keys", true).await?;
        let both = ["SharedEntity", "Key Card", "SimilarRequirement", "agree with"];
        holds(&of_cards, &both)?;
        holds(
            &of_cards,
            &["specification keys also describes the entity", "specification keys has a similar requirement, FR-001"],
        )?;
        holds(&of_keys, &both)?;
        holds(
            &of_keys,
            &["specification cards also describes the entity", "specification cards has a similar requirement, FR-007"],
        )?;
        ensure!(!format!("{of_cards}{of_keys}").contains("theirs"), "another tenant's shows: {of_cards}{of_keys}");
        shows(&other, "theirs", false).await?;
        let found = dana.enact(&["show", "specification/keys", "--findings"])?.stdout;
        holds(&found, &["specification cards has a similar requirement, FR-007"])?;
        // Related specifications are reported in the status, and by the command line tool.
        let near = |s: &Specification| s.status.as_ref().is_some_and(|s| s.related.iter().any(|r| r.name == "keys"));
        let api = stage.api::<Specification>();
        let shown = stage.watch(&api, "cards", "keys among what is related", PATIENCE, near).await?;
        let shown = shown.status.unwrap_or_default().related;
        ensure!(shown.len() == 1 && shown[0].namespace == stage.name && shown[0].similarity >= 10, "{shown:#?}");
        for (name, near) in [("keys", "e2e-overlap/cards"), ("cards", "e2e-overlap/keys")] {
            let related = until("what is related", PATIENCE, || async {
                let related = dana.enact(&["related", name])?;
                let is_there = related.stdout.contains(near);
                Ok(if is_there { Answer::Yes(related.stdout) } else { Answer::NotYet(format!("{related:?}")) })
            });
            let related = related.await?;
            ensure!(related.lines().count() == 1 && !related.contains("theirs"), "{related}");
        }

        // A deleted specification overlaps with nothing.
        stage.api::<Specification>().delete("cards", &DeleteParams::default()).await?;
        shows(&stage, "keys", false).await?;
        Ok(())
    });
}
