//! Revisions of documents: users with permission read them through the API server, and restore them.

use anyhow::{Context as _, Result, bail, ensure};
use enact_crds::{Plan, Specification};
use enact_e2e::work::{HOLD, scripted_plan};
use enact_e2e::{Answer, PATIENCE, Stage, on_stage, until};
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};

/// Returns the manifest of a Specification that needs the approval of a person who is not its author.
fn specification(fruit: &str) -> String {
    format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Specification\nmetadata: {{name: shop}}\nspec:\n  \
         approval: {{required: 1, fourEyes: true}}\n  source:\n    inline: |\n      \
         # Feature Specification: Shop\n\n      ## Requirements\n\n      - **FR-001**: It MUST sell {fruit}.\n"
    )
}

/// Runs the command line tool as a user with these groups.
fn enact(stage: &Stage, user: &str, groups: &[&str], args: &[&str]) -> Result<String> {
    let mut all = args.to_vec();
    all.extend(["--as", user]);
    all.extend(groups.iter().flat_map(|group| ["--as-group", *group]));
    stage.enact(&all)
}

#[test]
fn history_obeys_rbac_and_records_rollbacks() {
    on_stage("history", |stage| async move {
        let people = format!("{}-people", stage.name);
        let people = [people.as_str()];
        stage.apply_as("ann", &people, &specification("apples")).await?;
        stage.await_reason::<Specification>("shop", "WaitingForApproval").await?;
        enact(&stage, "bea", &people, &["approve", "specification/shop", "--yes"])?;
        stage.await_reason::<Specification>("shop", "Approved").await?;
        stage.apply_as("ann", &people, &specification("pears")).await?;
        stage.await_reason::<Specification>("shop", "WaitingForApproval").await?;

        let history = enact(&stage, "cem", &people, &["history", "specification/shop"])?;
        let lines: Vec<&str> = history.lines().skip(1).collect();
        ensure!(lines.len() == 2 && lines[0].starts_with("2 ") && lines[1].starts_with("1 "), "{history}");
        ensure!(lines.iter().all(|line| line.contains(" ann ")) && lines[1].contains("approved by bea"), "{history}");
        let before = enact(&stage, "cem", &people, &["show", "specification/shop@approved"])?;
        ensure!(before.contains("It MUST sell apples."), "{before}");
        let diff = enact(&stage, "cem", &people, &["diff", "specification/shop"])?;
        ensure!(diff.contains("{+pears+}") && diff.contains("[-apples-]"), "{diff}");
        let found = enact(&stage, "cem", &people, &["search", "sell", "pears"]);
        ensure!(found.is_ok(), "{found:?}");

        // The cluster knows this user, who has no role in the tenant.
        match enact(&stage, "mallory", &[], &["history", "specification/shop"]) {
            Ok(history) => bail!("mallory reads {history}"),
            Err(refused) => ensure!(refused.to_string().contains("serviceaccounts/token"), "{refused:#}"),
        }

        enact(&stage, "ann", &people, &["rollback", "specification/shop", "1", "--yes"])?;
        // The earlier decision on the same content is valid again.
        stage.await_reason::<Specification>("shop", "Approved").await?;
        let history = enact(&stage, "cem", &people, &["history", "specification/shop"])?;
        let newest = history.lines().nth(1).unwrap_or_default();
        ensure!(newest.starts_with("3 ") && newest.contains("Rollback of 1"), "{history}");
        Ok(())
    });
}

/// Waits until the audit log has this number of entries of these events about a plan, and returns event, actor, and control or reason.
async fn entries(stage: &Stage, plan_uid: &str, events: &str, number: usize) -> Result<Vec<String>> {
    let query = format!(
        "select event, actor, coalesce(details->>'control', details->>'reason', '') from enact.audit \
         where plan_uid = '{plan_uid}' and event in ({events}) order by event"
    );
    until("entries in the audit log", PATIENCE, || async {
        let found = stage.record(&query)?;
        Ok(if found.len() >= number { Answer::Yes(found) } else { Answer::NotYet(format!("{found:?}")) })
    })
    .await
}

#[test]
fn who_deletes_a_plan_is_recorded_and_its_attempts_end() {
    on_stage("deleted", |stage| async move {
        let people = format!("{}-people", stage.name);
        let people = [people.as_str()];
        let tasks = format!("  tasks: [{{id: T001, title: wait, script: '{HOLD}'}}]\n");
        stage.apply_as("ann", &people, &scripted_plan("shop", &tasks)).await?;
        stage.running("shop", "T001", 1).await?;
        let plan = stage.api::<Plan>().get("shop").await?;
        let uid = plan.uid().context("a Plan without UID")?;
        enact(&stage, "cem", &people, &["suspend", "shop"])?;
        let controlled = entries(&stage, &uid, "'ControlChanged'", 1).await?;
        ensure!(controlled == ["ControlChanged|cem|suspend"], "{controlled:?}");

        let client = stage.client_of("bea", &people).await?;
        Api::<Plan>::namespaced(client, &stage.name).delete("shop", &DeleteParams::default()).await?;
        let ended = entries(&stage, &uid, "'Deleted', 'AttemptFinished'", 2).await?;
        ensure!(ended[0].starts_with("AttemptFinished|") && ended[1] == "Deleted|bea|", "{ended:?}");
        let attempts = stage.attempts(&plan)?;
        let is_closed = attempts.iter().all(|attempt| attempt.finished.is_some() && !attempt.failure.is_empty());
        ensure!(attempts.len() == 1 && is_closed, "{attempts:?}");
        Ok(())
    });
}
