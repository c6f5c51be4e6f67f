//! Search: users find the documents of their own tenant, and no document of another one.

use anyhow::ensure;
use enact_crds::Specification;
use enact_e2e::documents::{holds, inline};
use enact_e2e::people::Person;
use enact_e2e::{Answer, PATIENCE, on_stages, until};
use serde_json::json;

use super::texts::KEYS;

#[test]
fn a_search_finds_by_words_and_stays_in_the_tenant() {
    on_stages([("searched", ""), ("searching", "")], |[stage, other]| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let eve = Person::of(&other, "eve", "developers").await?;
        let lanterns = KEYS.replace(
            "- **FR-002**",
            "- **FR-009**: A lantern of the periwinkle wing MUST hang beside its key.\n- **FR-002**",
        );
        dana.applies(&inline("Specification", "keys", &lanterns, &json!({}))).await?;
        eve.applies(&inline("Specification", "keys", KEYS, &json!({}))).await?;
        stage.await_reason::<Specification>("keys", "Approved").await?;
        other.await_reason::<Specification>("keys", "Approved").await?;

        let search = ["search", "lanterns", "of", "the", "periwinkle", "wing"];
        let found = until("the requirement among the hits", PATIENCE, || async {
            let found = dana.enact(&search)?.stdout;
            Ok(if found.contains("FR-009") { Answer::Yes(found) } else { Answer::NotYet(format!("hits: {found}")) })
        })
        .await?;
        let first = found.lines().next().unwrap_or_default();
        holds(first, &["FR-009 (", "Requirement of specification/keys, line", "lantern of the periwinkle wing"])?;

        // When the other user finds their own document, the index is up to date.
        let own = until("their own requirement among the hits", PATIENCE, || async {
            let found = eve.enact(&["search", "lent", "key", "overdue"])?.stdout;
            Ok(if found.contains("specification/keys") {
                Answer::Yes(found)
            } else {
                Answer::NotYet(format!("hits: {found}"))
            })
        })
        .await?;
        ensure!(!own.contains("periwinkle") && !own.contains("FR-009"), "eve finds what is dana's: {own}");
        let theirs = eve.enact(&search)?;
        let said = format!("{theirs:?}");
        ensure!(!said.contains("periwinkle") && !said.contains("FR-009"), "eve finds what is dana's: {said}");
        for args in [
            &["history", "specification/keys"][..],
            &["show", "specification/keys@1"],
            &["diff", "specification/keys", "1", "present"],
            &["related", "keys"],
            &search,
        ] {
            let reported = eve.enact_error_in(&stage.name, args)?;
            holds(&reported, &["forbidden", "eve"])?;
            ensure!(
                !reported.contains("periwinkle") && !reported.contains("sha256:"),
                "`enact {}` tells: {reported}",
                args.join(" ")
            );
        }
        // The same name in the other user's namespace refers to their own document.
        let own = eve.enact(&["history", "specification/keys"])?.stdout;
        ensure!(own.contains(" eve ") && !own.contains("dana") && own.lines().count() == 2, "{own}");
        Ok(())
    });
}
