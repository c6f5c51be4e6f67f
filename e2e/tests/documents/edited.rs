//! Concurrent edits: changes that do not conflict are merged, and conflicts are shown by section and kept.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use enact_crds::Specification;
use enact_e2e::documents::{holds, inline};
use enact_e2e::people::Person;
use enact_e2e::{Stage, on_stage};
use serde_json::json;

use super::texts::{KEYS, lent_for};

async fn present(stage: &Stage) -> Result<(String, String)> {
    let keys = stage.await_reason::<Specification>("keys", "Approved").await?;
    let text = keys.spec.source.and_then(|s| s.inline).context("no document")?;
    Ok((text, keys.status.and_then(|s| s.digest).context("no digest")?))
}

#[test]
fn concurrent_edits_of_a_document_are_merged() {
    on_stage("edited", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        dana.applies(&inline("Specification", "keys", KEYS, &json!({}))).await?;
        let (_, base) = present(&stage).await?;
        lee.applies(&inline("Specification", "keys", &lent_for(60), &json!({}))).await?;
        let (_, theirs) = present(&stage).await?;
        ensure!(base != theirs, "{base}");

        // The edits are in different sections: the result contains both.
        let mine = dana.home().join("mine.md");
        fs::write(&mine, KEYS.replace("less than 20 seconds", "less than 15 seconds"))?;
        let edit = |base: &str, file: &str, more: &[&str]| {
            let args = ["edit", "specification/keys", "-f", file, "--base", base];
            [&args[..], more].concat().iter().map(|a| (*a).to_owned()).collect::<Vec<_>>()
        };
        let args = edit(&base, "mine.md", &["-m", "caretakers are in a hurry"]);
        let said = dana.enact(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
        holds(&said.stderr, &["somebody else changed it meanwhile"])?;
        let (merged, digest) = present(&stage).await?;
        ensure!(merged == lent_for(60).replace("less than 20 seconds", "less than 15 seconds"), "{merged}");
        let history = dana.enact(&["history", "specification/keys"])?.stdout;
        holds(history.lines().nth(1).unwrap_or_default(), &["3 ", "dana", "caretakers are in a hurry"])?;

        // Both edits change the same line: nothing is saved, and both versions are kept.
        let ours = lent_for(45);
        fs::write(&mine, &ours)?;
        let args = edit(&base, "mine.md", &[]);
        let reported = dana.enact_error(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
        holds(&reported, &["conflict in", "Functional Requirements", "60", "45", "keys.merged.md", "--base"])?;
        ensure!(!reported.contains("conflict in Success Criteria"), "{reported}");
        ensure!(present(&stage).await? == (merged.clone(), digest.clone()), "a conflict was saved");
        ensure!(fs::read_to_string(&mine)? == ours, "the file that was given is another");
        let both = fs::read_to_string(dana.home().join("keys.merged.md"))?;
        holds(&both, &["<<<<<<<", ">>>>>>>", "after 60 days", "after 45 days", "less than 15 seconds"])?;
        let args = edit(&digest, "keys.merged.md", &[]);
        let unsettled = dana.enact_error(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
        holds(&unsettled, &["line ", "a conflict is marked here", "take the markers out"])?;

        // After the conflict is resolved, the document is saved on the base that the user merged with.
        let settled = merged.replace("60 days", "50 days");
        fs::write(dana.home().join("keys.merged.md"), &settled)?;
        dana.enact(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
        ensure!(present(&stage).await?.0 == settled, "what was settled is not there");
        let history = dana.enact(&["history", "specification/keys"])?.stdout;
        ensure!(history.lines().count() == 5, "four revisions, and not: {history}");
        Ok(())
    });
}
