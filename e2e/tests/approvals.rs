//! Approvals: who decides on which content, and what waits for the decision.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use enact_crds::plan::Phase;
use enact_crds::{Approval, Plan, Specification};
use enact_e2e::{PATIENCE, Stage, condition, describe, on_stage};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};

/// Returns the manifest of a Specification that requires the approval of a lead who is not its author. `more` is the end of its document.
fn specification(stage: &Stage, more: &str) -> String {
    format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Specification\nmetadata: {{name: shop}}\nspec:\n  \
         approval: {{required: 1, groups: [{}-leads], fourEyes: true}}\n  source:\n    inline: |\n      \
         # Feature Specification: Shop\n\n      ## Requirements\n\n      - **FR-001**: Sell {more}.\n",
        stage.name
    )
}

/// Returns the manifests of a Plan with one task, and of its agent.
fn plan(more: &str) -> String {
    enact_e2e::work::scripted_plan(
        "shop",
        &format!("{more}  tasks: [{{id: T001, title: sell, script: 'echo sold'}}]\n"),
    )
}

/// A user of the stage, with additional groups.
#[derive(Clone, Copy)]
struct Someone<'a> {
    name: &'a str,
    groups: &'a [&'a str],
}

impl Someone<'_> {
    fn groups(&self, stage: &Stage) -> Vec<String> {
        ["people"].iter().chain(self.groups).map(|g| format!("{}-{g}", stage.name)).collect()
    }

    /// Runs the command line tool as this person.
    fn enact(&self, stage: &Stage, args: &[&str]) -> Result<String> {
        let groups = self.groups(stage);
        let mut all = args.to_vec();
        all.extend(["--as", self.name]);
        all.extend(groups.iter().flat_map(|g| ["--as-group", g.as_str()]));
        stage.enact(&all)
    }

    /// Runs the command line tool, and checks that it fails with all of these words.
    fn enact_error(&self, stage: &Stage, args: &[&str], words: &[&str]) -> Result<()> {
        let Err(error) = self.enact(stage, args) else { bail!("{} may `enact {}`", self.name, args.join(" ")) };
        let said = error.to_string();
        for word in words {
            ensure!(said.contains(word), "{}: `{word}` is not in: {said}", self.name);
        }
        Ok(())
    }

    /// Returns a client of this person.
    async fn client(&self, stage: &Stage) -> Result<kube::Client> {
        let groups = self.groups(stage);
        stage.client_of(self.name, &groups.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// Checks that this person cannot delete an Approval, and that the refusal has all of these words.
    async fn cannot_delete(&self, stage: &Stage, name: &str, words: &[&str]) -> Result<()> {
        let api = Api::<Approval>::namespaced(self.client(stage).await?, &stage.name);
        match api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) => {
                for word in words {
                    ensure!(status.message.contains(word), "`{word}` is not in: {}", status.message);
                }
                Ok(())
            }
            other => bail!("{} deletes the Approval {name}: {other:?}", self.name),
        }
    }

    async fn applies(&self, stage: &Stage, yaml: &str) -> Result<()> {
        let groups = self.groups(stage);
        stage.apply_as(self.name, &groups.iter().map(String::as_str).collect::<Vec<_>>(), yaml).await
    }
}

const ANN: Someone = Someone { name: "ann", groups: &["leads"] };
const BEA: Someone = Someone { name: "bea", groups: &["leads"] };
const CEM: Someone = Someone { name: "cem", groups: &[] };

/// Waits until the only Approval's `Ready` has this reason, and returns the Approval with the message.
async fn counted(stage: &Stage, reason: &str) -> Result<(Approval, String)> {
    let api: Api<Approval> = stage.api();
    let name = match api.list(&ListParams::default()).await?.items.as_slice() {
        [one] => one.name_any(),
        all => bail!("{} approvals, not one", all.len()),
    };
    let has = |a: &Approval| {
        a.status.as_ref().is_some_and(|s| condition(&s.conditions, "Ready").is_some_and(|c| c.reason == reason))
    };
    let approval = stage.watch(&api, &name, &format!("reason {reason}"), PATIENCE, has).await?;
    let said = describe(&approval.status.clone().unwrap_or_default().conditions);
    Ok((approval, said))
}

/// Returns the decisions on the stage's Approvals in the record: person, decision, message and content.
async fn recorded(stage: &Stage) -> Result<Vec<String>> {
    // The record also contains the decisions of an earlier run.
    let all = stage.api::<Approval>().list(&ListParams::default()).await?.items;
    let uids: Vec<String> = all.iter().filter_map(ResourceExt::uid).map(|uid| format!("'{uid}'")).collect();
    let which = format!("where approval_uid in ({})", uids.join(", "));
    stage.record(&format!(
        "select actor, subject_kind, subject_name, approved, comment, digest from enact.approvals {which} order by decided_at, actor"
    ))
}

/// Waits for the next second: creation times have no parts of one, and of decisions of one second none is the later one.
async fn next_second() -> Result<()> {
    let second = || anyhow::Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let begun = second()?;
    while second()? == begun {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn message(conditions: &[enact_crds::common::Condition]) -> String {
    condition(conditions, "Ready").map(|c| c.message.clone()).unwrap_or_default()
}

#[test]
fn a_plan_waits_for_its_specifications_approval() {
    on_stage("spec-approval", |stage| async move {
        ANN.applies(&stage, &specification(&stage, "apples")).await?;
        ANN.applies(&stage, &plan("  specificationRef: {name: shop}\n")).await?;
        let waits = stage.await_reason::<Specification>("shop", "WaitingForApproval").await?.status.unwrap_or_default();
        let said = message(&waits.conditions);
        for part in
            ["0 of 1 approvals", "e2e-spec-approval-leads", "enact approve specification/shop -n e2e-spec-approval"]
        {
            ensure!(said.contains(part), "`{part}` is not in: {said}");
        }
        ensure!(waits.approved_digest.is_none(), "{waits:?}");
        let reported = |p: &Plan| {
            let said = p.status.as_ref().map(|s| message(&s.conditions)).unwrap_or_default();
            said.contains("Specification shop is not ready: 0 of 1 approvals")
        };
        stage.watch(&stage.api::<Plan>(), "shop", "what the plan waits for", PATIENCE, reported).await?;
        stage.plan_reason("shop", "WaitingForSpecification").await?;

        let approve = ["approve", "specification/shop", "--yes", "--comment", "as discussed"];
        ANN.enact_error(
            &stage,
            &approve,
            &["spec.by.user", "ann wrote the content", "four eyes", "ask somebody else"],
        )?;
        CEM.enact_error(
            &stage,
            &approve,
            &["spec.by.groups", "cem is in none of the groups", "e2e-spec-approval-leads"],
        )?;
        let outsider = stage.enact(&[&approve[..], &["--as", "dan", "--as-group", "e2e-other-leads"]].concat());
        let said = outsider.expect_err("somebody of another tenant decides").to_string();
        ensure!(said.contains("forbidden"), "{said}");
        stage.await_reason::<Specification>("shop", "WaitingForApproval").await?;
        ensure!(stage.pods("shop").await?.is_empty(), "the plan did not wait");

        let said = BEA.enact(&stage, &approve)?;
        ensure!(said.contains("Specification shop approved by bea"), "{said}");
        let approved = stage.await_reason::<Specification>("shop", "Approved").await?.status.unwrap_or_default();
        ensure!(approved.approved_digest.is_some() && approved.approved_digest == waits.digest, "{approved:?}");
        ensure!(message(&approved.conditions).contains("approved by bea"), "{approved:?}");
        let done = stage.finished("shop", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        ensure!(done.specification_digest == waits.digest, "{done:?}");
        counted(&stage, "Accepted").await?;

        let digest = waits.digest.unwrap_or_default();
        let decided = recorded(&stage).await?;
        ensure!(decided == [format!("bea|Specification|shop|t|as discussed|{digest}")], "{decided:?}");
        let uid = stage.api::<Specification>().get("shop").await?.uid().context("no UID")?;
        let authors =
            stage.record(&format!("select distinct actor from enact.revisions where subject_uid = '{uid}'"))?;
        ensure!(authors == ["ann"], "{authors:?}");
        Ok(())
    });
}

#[test]
fn a_change_of_the_content_voids_its_approval() {
    on_stage("voided", |stage| async move {
        ANN.applies(&stage, &specification(&stage, "apples")).await?;
        let old = stage
            .await_reason::<Specification>("shop", "WaitingForApproval")
            .await?
            .status
            .and_then(|s| s.digest)
            .context("no digest")?;
        BEA.enact(&stage, &["approve", "specification/shop", "--yes", "--digest", &old])?;
        stage.await_reason::<Specification>("shop", "Approved").await?;

        ANN.applies(&stage, &specification(&stage, "pears")).await?;
        let changed =
            stage.await_reason::<Specification>("shop", "WaitingForApproval").await?.status.unwrap_or_default();
        ensure!(changed.digest.as_ref().is_some_and(|d| *d != old), "{changed:?}");
        let (approval, said) = counted(&stage, "ContentChanged").await?;
        ensure!(said.contains("the content has changed since; approve the new digest"), "{said}");
        // A plan for the new content waits. Neither a command nor an object makes the old decision valid for it.
        ANN.applies(&stage, &plan("  specificationRef: {name: shop}\n")).await?;
        stage.plan_reason("shop", "WaitingForSpecification").await?;
        let stale = ["approve", "specification/shop", "--yes", "--digest", &old];
        BEA.enact_error(&stage, &stale, &["the content of Specification shop is now", "review the new content"])?;
        let again = Approval::new("again", approval.spec);
        match Api::<Approval>::namespaced(BEA.client(&stage).await?, &stage.name)
            .create(&PostParams::default(), &again)
            .await
        {
            Err(kube::Error::Api(status)) => {
                for part in ["spec.digest", &old, "Specification shop is now", "look at the present content"] {
                    ensure!(status.message.contains(part), "`{part}` is not in: {}", status.message);
                }
            }
            other => bail!("an approval of what is no more: {other:?}"),
        }
        // Content that was approved before is approved again when it returns unchanged.
        ANN.applies(&stage, &specification(&stage, "apples")).await?;
        stage.await_reason::<Specification>("shop", "Approved").await?;
        counted(&stage, "Accepted").await?;
        let done = stage.finished("shop", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        ensure!(done.specification_digest == Some(old), "{done:?}");
        Ok(())
    });
}

#[test]
fn a_rejected_plan_shows_the_comment() {
    on_stage("rejected", |stage| async move {
        let policy = "  approval: {required: 1, groups: [e2e-rejected-leads], fourEyes: true}\n";
        ANN.applies(&stage, &plan(policy)).await?;
        let waits = stage.plan_reason("shop", "WaitingForApproval").await?;
        ensure!(message(&waits.status.unwrap_or_default().conditions).contains("kubectl enact approve plan/shop"));
        let reject = ["reject", "plan/shop", "--yes"];
        BEA.enact_error(&stage, &reject, &["a rejection needs --comment"])?;
        let words = [&reject[..], &["--comment", "sell pears too"]].concat();
        CEM.enact_error(&stage, &words, &["cem is in none of the groups"])?;
        ANN.enact_error(&stage, &words, &["four eyes"])?;
        let said = BEA.enact(&stage, &words)?;
        ensure!(said.contains("Plan shop rejected by bea"), "{said}");
        let back = stage.plan_reason("shop", "Rejected").await?.status.unwrap_or_default();
        let said = describe(&back.conditions);
        ensure!(said.contains("bea rejected this content: sell pears too"), "{said}");
        ensure!(said.contains("change the plan") && condition(&back.conditions, "Stalled").is_some(), "{said}");
        let shown = CEM.enact(&stage, &["status", "shop"])?;
        ensure!(shown.contains("Rejected") && shown.contains("sell pears too"), "{shown}");
        // Not even by the person who rejected, who may delete Approvals.
        let rejection = counted(&stage, "Accepted").await?.0.name_any();
        BEA.cannot_delete(&stage, &rejection, &["the rejection of Plan shop stays", "verb purge"]).await?;
        stage.plan_reason("shop", "Rejected").await?;
        // One rejection outweighs an approval.
        let dot = Someone { name: "dot", groups: &["leads"] };
        dot.enact(&stage, &["approve", "plan/shop", "--yes"])?;
        stage.plan_reason("shop", "Rejected").await?;
        ensure!(stage.pods("shop").await?.is_empty(), "a rejected plan runs");

        ANN.applies(&stage, &plan(policy).replace("echo sold", "echo sold pears")).await?;
        stage.plan_reason("shop", "WaitingForApproval").await?;
        BEA.enact(&stage, &["approve", "plan/shop", "--yes"])?;
        let done = stage.finished("shop", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        ensure!(done.approved_digest == done.digest && done.digest != back.digest, "{done:?}");
        let shown = CEM.enact(&stage, &["status", "shop"])?;
        ensure!(shown.contains("Succeeded"), "{shown}");
        let decided = recorded(&stage).await?;
        let rejection = "bea|Plan|shop|f|sell pears too|";
        ensure!(decided.len() == 3 && decided.iter().any(|d| d.starts_with(rejection)), "{decided:?}");
        Ok(())
    });
}

#[test]
fn a_withdrawn_approval_does_not_count() {
    on_stage("taken-back", |stage| async move {
        ANN.applies(&stage, &plan("  suspend: true\n  approval: {required: 2}\n")).await?;
        stage.plan_reason("shop", "WaitingForApproval").await?;
        BEA.enact(&stage, &["approve", "plan/shop", "--yes"])?;
        let one = |p: &Plan| p.status.as_ref().is_some_and(|s| message(&s.conditions).contains("1 of 2 approvals"));
        stage.watch(&stage.api::<Plan>(), "shop", "one approval", PATIENCE, one).await?;
        CEM.enact(&stage, &["approve", "plan/shop", "--yes"])?;
        stage.plan_reason("shop", "Suspended").await?;
        let all = stage.api::<Approval>().list(&ListParams::default()).await?;
        let of_cem = all.items.iter().find(|a| a.spec.by.as_ref().is_some_and(|by| by.user == "cem"));
        let name = of_cem.context("cem did not sign")?.name_any();
        BEA.cannot_delete(&stage, &name, &["only cem can withdraw this approval of Plan shop"]).await?;
        Api::<Approval>::namespaced(CEM.client(&stage).await?, &stage.name)
            .delete(&name, &DeleteParams::default())
            .await?;
        stage.watch(&stage.api::<Plan>(), "shop", "one approval left", PATIENCE, one).await?;
        CEM.enact(&stage, &["approve", "plan/shop", "--yes"])?;
        stage.plan_reason("shop", "Suspended").await?;
        // Who decides again replaces the own decision.
        let rejected = CEM.enact(&stage, &["reject", "plan/shop", "--yes", "--comment", "wait"])?;
        ensure!(rejected.contains("rejected by cem"), "{rejected}");
        stage.plan_reason("shop", "Rejected").await?;
        next_second().await?;
        CEM.enact(&stage, &["approve", "plan/shop", "--yes"])?;
        stage.plan_reason("shop", "Suspended").await?;
        ANN.enact(&stage, &["resume", "shop"])?;
        stage.finished("shop", Phase::Succeeded, PATIENCE).await?;
        Ok(())
    });
}
