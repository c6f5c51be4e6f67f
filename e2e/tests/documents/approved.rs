//! Decisions: who may approve which content, and what waits for approval.

use anyhow::{Result, ensure};
use enact_crds::plan::Phase;
use enact_crds::{Plan, Specification, Task};
use enact_domain::names::ANNOTATION_ACCEPTED;
use enact_domain::stamps::Stamps;
use enact_e2e::documents::{holds, inline, message};
use enact_e2e::people::Person;
use enact_e2e::work::scripted_plan;
use enact_e2e::{PATIENCE, Stage, on_stage};
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::texts::{KEYS, lent_for};

/// Returns a policy that requires the approval of a lead who is not the author, and of the security group while a serious finding is
/// open.
fn policy(more: &Value) -> Value {
    let mut policy = json!({
        "required": 1, "groups": ["leads"], "fourEyes": true,
        "withFindings": [{"atLeast": "High", "required": 1, "groups": ["security"]}],
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        policy[field] = value.clone();
    }
    json!({ "approval": policy })
}

fn plan() -> String {
    scripted_plan(
        "keys",
        "  specificationRef: {name: keys}\n  tasks: [{id: T001, title: lend, script: 'echo lent', requirements: [FR-001]}]\n",
    )
}

/// Checks that no task of the plan has started.
async fn nothing_begins(stage: &Stage) -> Result<()> {
    stage.await_reason::<Plan>("keys", "WaitingForSpecification").await?;
    let tasks = stage.api::<Task>().list(&ListParams::default()).await?.items;
    ensure!(tasks.is_empty(), "the plan did not wait: {tasks:#?}");
    ensure!(stage.pods("keys").await?.is_empty(), "the plan has pods");
    Ok(())
}

const APPROVE: [&str; 3] = ["approve", "specification/keys", "--yes"];

#[test]
fn findings_require_additional_approvers() {
    on_stage("by-role", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        let sam = Person::of(&stage, "sam", "security").await?;
        let robot = Person::machine(&stage, "robot").await?;
        let vague = KEYS.replace("- **FR-002**", "- **FR-003**: The list MUST be kept securely.\n- **FR-002**");
        dana.applies(&inline("Specification", "keys", &vague, &policy(&json!({})))).await?;
        dana.applies(&plan()).await?;
        let waits = ["0 of 1 approvals by members of leads", "enact approve specification/keys"];
        let first = stage.await_message::<Specification>("keys", "WaitingForApproval", &waits).await?;
        let status = first.status.clone().unwrap_or_default();
        ensure!(status.findings.high > 0 && status.findings.critical == 0, "{status:#?}");
        stage
            .await_message::<Plan>(
                "keys",
                "WaitingForSpecification",
                &["Specification keys is not ready", "0 of 1 approvals"],
            )
            .await?;
        nothing_begins(&stage).await?;

        holds(&dana.enact_error(&APPROVE)?, &["spec.by.groups", "dana is in none of the groups", "leads"])?;
        holds(
            &robot.enact_error(&APPROVE)?,
            &["spec.by.user", &robot.name, "is not a person", "spec.approval.machines"],
        )?;
        let said = lee.enact(&APPROVE)?;
        holds(
            &said.stderr,
            &["by dana", "High: ", "0 of 1 approvals by members of leads", "nothing was approved before"],
        )?;
        holds(&said.stdout, &["Specification keys approved by lee"])?;
        let asks = ["0 of 1 approvals by members of security", "while findings of severity High or worse are open"];
        stage.await_message::<Specification>("keys", "WaitingForApproval", &asks).await?;
        holds(&stage.decision("lee", "Accepted").await?, &["lee"])?;
        nothing_begins(&stage).await?;

        sam.enact(&[&APPROVE[..], &["--comment", "the list lies in a safe"]].concat())?;
        let approved = stage.await_message::<Specification>("keys", "Approved", &["approved by lee, sam"]).await?;
        ensure!(approved.status.and_then(|s| s.approved_digest) == status.digest, "what was approved is what they saw");
        let done = stage.finished("keys", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        ensure!(done.specification_digest == status.digest, "{done:#?}");

        // Accepting the finding is new content, which is signed and needs a lead, and nobody else.
        let mut spec = policy(&json!({}));
        spec["accepted"] = json!([{"code": "VagueSecurity", "at": "FR-003", "reason": "the list lies in a safe"}]);
        dana.applies(&inline("Specification", "keys", &vague, &spec)).await?;
        stage.await_message::<Specification>("keys", "WaitingForApproval", &["by members of leads"]).await?;
        holds(&lee.enact(&APPROVE)?.stderr, &["1 finding is accepted"])?;
        let accepted = stage.await_message::<Specification>("keys", "Approved", &["approved by lee"]).await?;
        let stamps = Stamps::of(accepted.annotations(), ANNOTATION_ACCEPTED);
        ensure!(accepted.spec.accepted[0].by(&stamps) == Some("dana"), "{:#?}", accepted.metadata);
        let counts = accepted.status.unwrap_or_default().findings;
        ensure!((counts.high, counts.accepted) == (0, 1), "{counts:#?}");
        Ok(())
    });
}

#[test]
fn one_lead_is_enough_without_major_findings() {
    on_stage("by-lead", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        let sam = Person::of(&stage, "sam", "security").await?;
        dana.applies(&inline("Specification", "keys", KEYS, &policy(&json!({})))).await?;
        stage.await_reason::<Specification>("keys", "WaitingForApproval").await?;
        holds(&sam.enact_error(&APPROVE)?, &["sam is in none of the groups"])?;
        lee.enact(&APPROVE)?;
        stage.await_message::<Specification>("keys", "Approved", &["approved by lee"]).await?;
        // The author of the content cannot approve it, even as a lead.
        lee.applies(&inline("Specification", "keys", &lent_for(60), &policy(&json!({})))).await?;
        stage.await_reason::<Specification>("keys", "WaitingForApproval").await?;
        holds(
            &lee.enact_error(&APPROVE)?,
            &["spec.by.user", "lee wrote the content", "four eyes", "ask somebody else"],
        )?;
        Ok(())
    });
}

#[test]
fn a_machine_decides_only_if_the_policy_names_it() {
    on_stage("by-machine", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        let sam = Person::of(&stage, "sam", "security").await?;
        let robot = Person::machine(&stage, "robot").await?;
        let asks = |more: &Value| inline("Specification", "keys", KEYS, &policy(more));
        dana.applies(&asks(&json!({"groups": []}))).await?;
        let waits = stage.await_reason::<Specification>("keys", "WaitingForApproval").await?;
        let approval = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Approval", "metadata": {"generateName": "from-git-"},
            "spec": {
                "subject": {"kind": "Specification", "name": "keys"}, "decision": "Approve",
                "digest": waits.status.and_then(|s| s.digest), "by": {"user": "lee", "groups": ["leads"]},
            },
        })
        .to_string();
        holds(&robot.refusal(&approval).await?, &["spec.by.user", "is not a person", "spec.approval.machines"])?;
        stage.await_reason::<Specification>("keys", "WaitingForApproval").await?;

        // A machine that counts loosens the policy, with its rule about findings. Only somebody who could approve by both may do that, and not
        // the author.
        let named = asks(&json!({"groups": [], "machines": [robot.name]}));
        holds(&dana.refusal(&named).await?, &["spec.approval", "four eyes"])?;
        holds(&lee.refusal(&named).await?, &["spec.approval", "only members of security"])?;
        sam.applies(&named).await?;
        stage.await_reason::<Specification>("keys", "WaitingForApproval").await?;
        robot.applies(&approval).await?;
        let approved = stage.await_reason::<Specification>("keys", "Approved").await?;
        holds(&message(&approved), &["approved by", &robot.name])?;
        Ok(())
    });
}

#[test]
fn a_change_voids_approvals() {
    on_stage("sent-back", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        let text = |days| inline("Specification", "keys", &lent_for(days), &policy(&json!({})));
        dana.applies(&text(30)).await?;
        stage.await_reason::<Specification>("keys", "WaitingForApproval").await?;
        lee.enact(&APPROVE)?;
        let approved = stage.await_reason::<Specification>("keys", "Approved").await?.status.unwrap_or_default();

        dana.applies(&text(60)).await?;
        let changed =
            stage.await_reason::<Specification>("keys", "WaitingForApproval").await?.status.unwrap_or_default();
        ensure!(changed.digest != approved.digest && changed.approved_digest == approved.digest, "{changed:#?}");
        holds(
            &stage.decision("lee", "ContentChanged").await?,
            &["the content has changed since; approve the new digest"],
        )?;
        // A plan that started now would use content that nobody has approved.
        dana.applies(&plan()).await?;
        nothing_begins(&stage).await?;

        let reject = ["reject", "specification/keys", "--yes"];
        holds(&lee.enact_error(&reject)?, &["a rejection needs --comment"])?;
        let said = lee.enact(&[&reject[..], &["--comment", "60 days are too long"]].concat())?;
        holds(&said.stderr, &["since it was approved last", "Functional Requirements", "[-30-]", "{+60+}"])?;
        let back = ["rejected by lee: 60 days are too long", "change the document"];
        stage.await_message::<Specification>("keys", "Rejected", &back).await?;
        nothing_begins(&stage).await?;
        // A rejection applies to one content, not to the document.
        dana.applies(&text(45)).await?;
        stage.await_reason::<Specification>("keys", "WaitingForApproval").await?;
        let said = lee.enact(&APPROVE)?;
        holds(&said.stderr, &["since it was approved last", "[-30-]", "{+45+}", "0 of 1 approvals"])?;
        let now = stage.await_reason::<Specification>("keys", "Approved").await?.status.unwrap_or_default();
        let done = stage.finished("keys", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        ensure!(done.specification_digest.is_some() && done.specification_digest == now.digest, "{done:#?}");
        let history = dana.enact(&["history", "specification/keys"])?.stdout;
        let lines: Vec<&str> = history.lines().skip(1).collect();
        ensure!(lines.len() == 3 && lines.iter().all(|line| line.contains(" dana ")), "{history}");
        for (line, words) in lines.iter().zip(["approved by lee", "rejected by lee", "approved by lee"]) {
            holds(line, &[words])?;
        }
        Ok(())
    });
}
