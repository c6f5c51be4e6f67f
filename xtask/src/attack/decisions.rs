//! Attacks on approvals, policies, Tasks and statuses.

use anyhow::{Context, Result};
use serde_json::Value;

use super::case::{Case, Verdict, code, create, kubectl, short};
use super::site::User::{Author, Editor, Lead, OperatorRoot, Owner, Root};
use super::site::{Site, User};

/// An Approval of the plan `held`, with more metadata and more of its spec.
macro_rules! approval {
    ($name:literal, $spec:literal) => {
        concat!(
            "apiVersion: enact.dev/v1alpha1\nkind: Approval\nmetadata: {name: ",
            $name,
            ", namespace: %own}\nspec: {subject: {kind: Plan, name: held}, decision: Approve, ",
            $spec,
            "}\n"
        )
    };
}

/// The attacks.
pub(super) const CASES: &[Case] = &[
    code("ADM-S1", "sign-as-another", "approve in the name of a boss", signature),
    code("ADM-S2", "write-as-another", "name a boss as the author of a plan", authorship),
    create(
        "ADM-S3",
        "approve-as-a-machine",
        "approve with the operator's account",
        OperatorRoot,
        approval!("robot", "digest: '%digest'"),
        &["not a person", "spec.by.user"],
    ),
    create(
        "ADM-E1",
        "approve-own-work",
        "approve the own plan, which requires four eyes",
        Author,
        approval!("own", "digest: '%digest'"),
        &["four eyes", "wrote the content"],
    ),
    create(
        "ADM-E1",
        "approve-outside-of-the-group",
        "approve without being in the policy's group",
        Root,
        approval!("outside", "digest: '%digest'"),
        &["is in none of the groups"],
    ),
    create(
        "ADM-E1",
        "approve-without-the-right",
        "approve as an editor",
        Editor,
        approval!("editor", "digest: '%digest'"),
        &["cannot create resource \"approvals\""],
    ),
    create(
        "ADM-T1",
        "approve-other-content",
        "approve a digest that is not the present one",
        Lead,
        approval!("other", "digest: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'"),
        &["look at the present content", "spec.digest"],
    ),
    create(
        "ADM-T1",
        "approve-an-earlier-object",
        "approve an earlier plan of the same name",
        Lead,
        approval!("earlier", "digest: '%digest', subjectUid: 00000000-0000-4000-8000-000000000000"),
        &["was deleted and created again", "spec.subjectUid"],
    ),
    kubectl(
        "ADM-T2",
        "change-a-decision",
        "turn an approval into a rejection",
        Root,
        "patch approval signed --namespace=%own --type=merge --patch={\"spec\":{\"decision\":\"Reject\"}} --dry-run=server",
        &["an Approval is immutable"],
    ),
    kubectl(
        "ADM-T2",
        "change-a-signature",
        "replace who approved",
        Root,
        "patch approval signed --namespace=%own --type=merge --patch={\"spec\":{\"by\":{\"user\":\"boss\"}}} --dry-run=server",
        &["an Approval is immutable"],
    ),
    create(
        "ADM-T3",
        "make-a-task",
        "create a Task by hand",
        Root,
        "apiVersion: enact.dev/v1alpha1\nkind: Task\nmetadata: {name: forged, namespace: %own}\n\
         spec: {planRef: {name: probe}, id: T009, title: Mine, script: id}\n",
        &["only the operator creates Tasks"],
    ),
    kubectl(
        "ADM-T3",
        "change-a-task",
        "replace the script of a Task",
        Root,
        "patch task probe-t001 --namespace=%own --type=merge --patch={\"spec\":{\"script\":\"id\"}} --dry-run=server",
        &["immutable"],
    ),
    kubectl(
        "ADM-T3",
        "move-a-task",
        "move a Task to another plan by its labels",
        Root,
        "patch task probe-t001 --namespace=%own --type=merge --patch={\"metadata\":{\"labels\":{\"enact.dev/plan\":\"held\"}}} --dry-run=server",
        &["metadata.labels"],
    ),
    kubectl(
        "ADM-T3",
        "free-a-task",
        "take a Task from its plan by its owner reference",
        Root,
        "patch task probe-t001 --namespace=%own --type=merge --patch={\"metadata\":{\"ownerReferences\":null}} --dry-run=server",
        &["metadata.ownerReferences"],
    ),
    kubectl(
        "ADM-R4",
        "delete-in-the-garbage-collectors-name",
        "let the garbage collector delete a Plan, by an owner that does not exist",
        Editor,
        "patch plan held --namespace=%own --type=merge --patch={\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"none\",\"uid\":\"00000000-0000-4000-8000-000000000000\"}]}} --dry-run=server",
        &["metadata.ownerReferences"],
    ),
    kubectl(
        "ADM-D4",
        "keep-a-task",
        "keep a Task by a finalizer",
        Editor,
        "patch task probe-t001 --namespace=%own --type=merge --patch={\"metadata\":{\"finalizers\":[\"example.com/hold\"]}} --dry-run=server",
        &["metadata.finalizers"],
    ),
    kubectl(
        "ADM-T4",
        "write-a-plans-status",
        "write into a status that a plan is approved",
        Root,
        "patch plan held --namespace=%own --subresource=status --type=merge --patch={\"status\":{\"phase\":\"Succeeded\"}} --dry-run=server",
        &["only the operator writes what it observed"],
    ),
    kubectl(
        "ADM-T4",
        "write-a-tasks-status",
        "write into a status that a task has succeeded",
        Root,
        "patch task probe-t001 --namespace=%own --subresource=status --type=merge --patch={\"status\":{\"phase\":\"Succeeded\"}} --dry-run=server",
        &["only the operator writes what it observed"],
    ),
    kubectl(
        "ADM-T4",
        "write-a-tenants-status",
        "write the status of a Tenant",
        Root,
        "patch tenant %own --subresource=status --type=merge --patch={\"status\":{\"namespaces\":9}} --dry-run=server",
        &["only the operator writes what it observed"],
    ),
    kubectl(
        "ADM-T5",
        "change-a-running-plan",
        "replace the tasks of a plan that has started",
        Editor,
        "patch plan probe --namespace=%own --type=merge --patch={\"spec\":{\"tasks\":[{\"id\":\"T001\",\"title\":\"x\",\"script\":\"id\"}]}} --dry-run=server",
        &["cannot change once it has started"],
    ),
    kubectl(
        "ADM-E2",
        "require-no-approval",
        "set the required approvals to zero as an editor",
        Editor,
        "patch plan held --namespace=%own --type=merge --patch={\"spec\":{\"approval\":{\"required\":0}}} --dry-run=server",
        &["requires less than the present policy", "spec.approval"],
    ),
    kubectl(
        "ADM-E2",
        "drop-four-eyes",
        "drop four eyes from the policy as an editor",
        Editor,
        "patch plan held --namespace=%own --type=merge --patch={\"spec\":{\"approval\":{\"fourEyes\":false}}} --dry-run=server",
        &["requires less than the present policy", "spec.approval"],
    ),
    kubectl(
        "ADM-E2",
        "drop-the-group",
        "let everybody approve",
        Editor,
        "patch plan held --namespace=%own --type=merge --patch={\"spec\":{\"approval\":{\"groups\":null}}} --dry-run=server",
        &["requires less than the present policy", "spec.approval"],
    ),
    kubectl(
        "ADM-E2",
        "leave-the-constitution",
        "take a Specification out of its constitution as an editor",
        Editor,
        "patch specification governed --namespace=%own --type=merge --patch={\"spec\":{\"constitutionRef\":null}} --dry-run=server",
        &["out of its constitution", "spec.constitutionRef"],
    ),
    code("ADM-R1", "hide-a-policy-change", "name another user as who changed the policy", policy_change),
    kubectl(
        "ADM-R1",
        "request-a-rerun-twice",
        "request a rerun with the number of another one",
        Editor,
        "annotate task probe-t001 --namespace=%own --overwrite enact.dev/rerun=soon --dry-run=server",
        &["whole number", "metadata.annotations[enact.dev/rerun]"],
    ),
    kubectl(
        "ADM-T6",
        "decide-on-no-revision",
        "decide on a revision that nobody has seen",
        Owner,
        "annotate plan probe --namespace=%own --overwrite enact.dev/keep=latest --dry-run=server",
        &["metadata.annotations[enact.dev/keep]"],
    ),
    kubectl(
        "ADM-R2",
        "withdraw-anothers-approval",
        "delete the approval of somebody else",
        Author,
        "delete approval signed --namespace=%own --dry-run=server",
        &["denied request|denied the request"],
    ),
    code("ADM-R2", "remove-a-rejection", "delete the rejection of a plan", removed_rejection).slow(),
    code("ADM-T7", "reuse-a-decision", "delete a plan after its approval, and create it again", reused_decision).slow(),
    code("ADM-R2", "tighten-after-a-rejection", "name a group to which who rejected does not belong", kept_rejection)
        .slow(),
    code("ADM-S2", "approve-after-a-change-of-another", "approve own work that another user changed last", co_author)
        .slow(),
    code("ADM-T8", "swap-an-agent", "replace the script of an Agent after the approval", swapped_agent).slow(),
    code("ADM-T8", "approve-a-swapped-agent", "replace the script of an Agent, and approve it alone", traded_agent)
        .slow(),
    code("POD-T4", "swap-a-recording", "replace recorded work after the approval", swapped_recording).slow(),
];

/// Creates an object as a dry run, and returns it as the API server would store it.
fn admitted(site: &Site, user: User, manifest: &str) -> Result<Value> {
    let args = ["create", "--dry-run=server", "--output=json", "--filename=-"];
    let answer = site.ask(user, &args, &site.fill(manifest))?;
    anyhow::ensure!(answer.accepted, "{}", answer.text);
    serde_json::from_str(&answer.text).context("kubectl prints no JSON")
}

/// Judges a field that the webhook must have written.
fn written(site: &Site, value: &Value, expected: &str) -> Verdict {
    let expected = site.fill(expected);
    if value.as_str() == Some(expected.as_str()) {
        Verdict::Stopped(format!("the webhook writes {expected}"))
    } else {
        Verdict::NotStopped(format!("the field is {}", short(&value.to_string())))
    }
}

fn signature(site: &Site) -> Result<Verdict> {
    let forged = approval!("forged", "digest: '%digest', by: {user: boss, groups: [%own-leads]}");
    let object = admitted(site, Lead, forged)?;
    Ok(written(site, &object["spec"]["by"]["user"], "%own-lee"))
}

fn authorship(site: &Site) -> Result<Verdict> {
    let forged = "apiVersion: enact.dev/v1alpha1\nkind: Plan\n\
                  metadata: {name: forged, namespace: %own, annotations: {enact.dev/author: boss}}\n\
                  spec: {agentRef: {name: scripts}, tasks: [{id: T001, title: a, script: 'true'}]}\n";
    let object = admitted(site, Editor, forged)?;
    Ok(written(site, &object["metadata"]["annotations"]["enact.dev/author"], "%own-ed"))
}

fn policy_change(site: &Site) -> Result<Verdict> {
    let args = "annotate plan held --namespace=%own --overwrite enact.dev/changes=boss --dry-run=server --output=json";
    let args = site.fill(args);
    let answer = site.ask(Editor, &args.split(' ').collect::<Vec<_>>(), "")?;
    if !answer.accepted {
        return Ok(Verdict::Stopped(short(&answer.text)));
    }
    let object: Value = serde_json::from_str(&answer.text)?;
    let stamp = &object["metadata"]["annotations"]["enact.dev/changes"];
    Ok(if stamp.as_str().is_some_and(|stamp| stamp.contains("boss")) {
        Verdict::NotStopped(format!("the annotation is {stamp}"))
    } else {
        Verdict::Stopped("the webhook writes the annotation itself".to_owned())
    })
}

/// Returns the manifests of a plan that waits for one approval and is suspended, so that it never runs.
fn suspended(name: &str) -> String {
    format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: {name}, namespace: %own}}\n\
         spec: {{agentRef: {{name: {name}}}, suspend: true, approval: {{required: 1}}, \
         tasks: [{{id: T001, title: Wait}}]}}\n"
    )
}

fn agent(name: &str, script: &str) -> String {
    format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {{name: {name}, namespace: %own}}\n\
         spec: {{adapter: Command, script: {script}}}\n"
    )
}

/// Waits until the condition `Ready` of a plan has a reason.
fn reason(site: &Site, plan: &str, reason: &str) -> Result<()> {
    let path = format!("jsonpath={{.status.conditions[?(@.type==\"Ready\")].reason}}={reason}");
    site.wait(&format!("plan/{plan}"), &path, 60)
}

/// Decides on a plan as a lead, when the operator has read it.
fn decide(site: &Site, plan: &str, decision: &str) -> Result<()> {
    reason(site, plan, "WaitingForApproval")?;
    let digest = site.read(&["get", "plan", plan, "--namespace=%own", "--output=jsonpath={.status.digest}"])?;
    let approval = format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Approval\nmetadata: {{name: {plan}, namespace: %own}}\n\
         spec: {{subject: {{kind: Plan, name: {plan}}}, digest: '{digest}', decision: {decision}, comment: reviewed}}\n"
    );
    site.apply_as(Lead, &approval)
}

fn removed_rejection(site: &Site) -> Result<Verdict> {
    site.apply(&agent("rejected", "echo reviewed"))?;
    site.apply(&suspended("rejected"))?;
    decide(site, "rejected", "Reject")?;
    reason(site, "rejected", "Rejected")?;
    let args = site.fill("delete approval rejected --namespace=%own");
    let answer = site.ask(Lead, &args.split(' ').collect::<Vec<_>>(), "")?;
    if !answer.accepted {
        return Ok(Verdict::Stopped(short(&answer.text)));
    }
    Ok(match reason(site, "rejected", "WaitingForApproval") {
        Ok(()) => Verdict::NotStopped("the plan can be approved now".to_owned()),
        Err(_) => Verdict::Stopped("the plan stays rejected".to_owned()),
    })
}

fn reused_decision(site: &Site) -> Result<Verdict> {
    site.apply(&agent("again", "echo reviewed"))?;
    site.apply(&suspended("again"))?;
    decide(site, "again", "Approve")?;
    reason(site, "again", "Suspended")?;
    site.read(&["delete", "plan", "again", "--namespace=%own", "--timeout=60s"])?;
    site.apply(&suspended("again"))?;
    Ok(waits(site, "again"))
}

fn swapped_agent(site: &Site) -> Result<Verdict> {
    site.apply(&agent("swapped", "echo reviewed"))?;
    site.apply(&suspended("swapped"))?;
    decide(site, "swapped", "Approve")?;
    reason(site, "swapped", "Suspended")?;
    site.apply_as(Editor, &agent("swapped", "id"))?;
    Ok(waits(site, "swapped"))
}

fn kept_rejection(site: &Site) -> Result<Verdict> {
    site.apply(&agent("tightened", "echo reviewed"))?;
    site.apply(&suspended("tightened"))?;
    decide(site, "tightened", "Reject")?;
    reason(site, "tightened", "Rejected")?;
    let patch = r#"{"spec":{"approval":{"groups":["%own-editors"]}}}"#;
    let args = site.fill(&format!("patch plan tightened --namespace=%own --type=merge --patch={patch}"));
    let answer = site.ask(Editor, &args.split(' ').collect::<Vec<_>>(), "")?;
    if !answer.accepted {
        return Ok(Verdict::Stopped(short(&answer.text)));
    }
    site.wait("plan/tightened", "jsonpath={.status.observedGeneration}=2", 60)?;
    Ok(match reason(site, "tightened", "Rejected") {
        Ok(()) => Verdict::Stopped("the plan stays rejected".to_owned()),
        Err(error) => Verdict::NotStopped(short(&format!("{error:#}"))),
    })
}

/// Returns the manifest of a suspended plan that requires four eyes.
fn reviewed(name: &str, title: &str) -> String {
    suspended(name)
        .replace("{required: 1}", "{required: 1, fourEyes: true}")
        .replace("title: Wait", &format!("title: {title}"))
}

/// Approves a plan as [`Author`], who wrote a part of it.
fn approved_by_author(site: &Site, plan: &str) -> Result<Verdict> {
    let digest = site.read(&["get", "plan", plan, "--namespace=%own", "--output=jsonpath={.status.digest}"])?;
    let approval = format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Approval\nmetadata: {{name: own-{plan}, namespace: %own}}\n\
         spec: {{subject: {{kind: Plan, name: {plan}}}, digest: '{digest}', decision: Approve}}\n"
    );
    let answer = site.ask(Author, &["create", "--dry-run=server", "--filename=-"], &site.fill(&approval))?;
    Ok(if !answer.accepted && answer.text.contains("four eyes") {
        Verdict::Stopped(short(&answer.text))
    } else {
        Verdict::NotStopped(short(&answer.text))
    })
}

fn co_author(site: &Site) -> Result<Verdict> {
    site.apply(&agent("shared", "echo reviewed"))?;
    site.apply_as(Author, &reviewed("shared", "Mine"))?;
    site.apply_as(Editor, &reviewed("shared", "Ours"))?;
    site.wait("plan/shared", "jsonpath={.status.observedGeneration}=2", 60)?;
    reason(site, "shared", "WaitingForApproval")?;
    approved_by_author(site, "shared")
}

fn traded_agent(site: &Site) -> Result<Verdict> {
    site.apply(&agent("traded", "echo reviewed"))?;
    site.apply_as(Editor, &reviewed("traded", "Wait"))?;
    decide(site, "traded", "Approve")?;
    reason(site, "traded", "Suspended")?;
    site.apply_as(Author, &agent("traded", "id"))?;
    reason(site, "traded", "WaitingForApproval")?;
    approved_by_author(site, "traded")
}

fn swapped_recording(site: &Site) -> Result<Verdict> {
    let recorded = |text: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: recorded, namespace: %own}}\ndata: {{T001.sh: {text}}}\n"
        )
    };
    let agent = "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {name: recorded, namespace: %own}\n\
                 spec: {adapter: Replay, replay: {configMapRef: {name: recorded}}}\n";
    site.apply(&format!("{}---\n{agent}", recorded("echo reviewed")))?;
    site.apply(&suspended("recorded"))?;
    decide(site, "recorded", "Approve")?;
    reason(site, "recorded", "Suspended")?;
    site.apply_as(Owner, &recorded("id"))?;
    Ok(waits(site, "recorded"))
}

fn waits(site: &Site, plan: &str) -> Verdict {
    match reason(site, plan, "WaitingForApproval") {
        Ok(()) => Verdict::Stopped("the plan waits for another approval".to_owned()),
        Err(error) => Verdict::NotStopped(short(&format!("{error:#}"))),
    }
}
