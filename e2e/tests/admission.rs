//! Requests that the webhook refuses with every verb, and requests that it never blocks.

use anyhow::{Context as _, Result, bail, ensure};
use enact_crds::plan::Phase;
use enact_crds::{Approval, Plan, Task, Tenant};
use enact_domain::names::LABEL_TENANT;
use enact_e2e::work::{HOLD, scripted_plan};
use enact_e2e::{Answer, PATIENCE, condition, on_stage, on_stages, program, run, until};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

/// The operator's user, whose writes of invalid objects the webhook admits. A test uses it to store what an absent webhook let in.
const OPERATOR: &str = "system:serviceaccount:enact-system:enact-operator";

/// Checks that the API server refuses a request, with a message that contains all of these texts.
fn refused<T: std::fmt::Debug>(what: &str, answer: Result<T, kube::Error>, said: &[&str]) -> Result<()> {
    match answer {
        Err(kube::Error::Api(status)) => {
            for part in said {
                ensure!(status.message.contains(part), "{what}: `{part}` is not in: {}", status.message);
            }
            Ok(())
        }
        other => bail!("{what} was not refused: {other:?}"),
    }
}

/// Sets a namespace's tenant label with every verb. Each request must be refused with these texts.
async fn hijacks(client: &Client, namespace: &str, label: Option<&str>, said: &[&str]) -> Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    let before = api.get(namespace).await?;
    let merge = json!({ "metadata": { "labels": { LABEL_TENANT: label } } });
    let path = format!("/metadata/labels/{}", LABEL_TENANT.replace('/', "~1"));
    let operation = label.map_or_else(
        || json!([{ "op": "remove", "path": path }]),
        |label| json!([{ "op": "add", "path": path, "value": label }]),
    );
    let operation = operation.to_string();
    let mut whole = before.clone();
    let labels = whole.labels_mut();
    match label {
        Some(label) => drop(labels.insert(LABEL_TENANT.into(), label.into())),
        None => drop(labels.remove(LABEL_TENANT)),
    }
    let create = PostParams::default();
    let params = PatchParams::default();
    let forced = PatchParams::apply("hijacker").force();
    let apply = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "labels": { LABEL_TENANT: label } },
    });
    for subresource in ["", "status", "finalize"] {
        let at = |verb: &str| format!("{verb} of namespaces/{namespace} {subresource} with {label:?}");
        let replaced = match subresource {
            "" => api.replace(namespace, &create, &whole).await,
            _ => api.replace_subresource(subresource, namespace, &create, &whole).await,
        };
        refused(&at("update"), replaced, said)?;
        if subresource == "finalize" {
            // A patch of `finalize` is an update under another verb, and kubectl has no command for it.
            let patched = api.patch_subresource(subresource, namespace, &params, &Patch::Merge(&merge)).await;
            ensure!(patched.is_err(), "{} was taken", at("merge patch"));
            continue;
        }
        for (verb, params, patch) in [
            ("merge patch", &params, Patch::Merge(&merge)),
            ("strategic merge patch", &params, Patch::Strategic(&merge)),
            ("apply", &forced, Patch::Apply(&apply)),
        ] {
            if verb == "apply" && label.is_none() {
                // The field manager has never owned the label, so an apply without the label does not remove it.
                continue;
            }
            let patched = match subresource {
                "" => api.patch(namespace, params, &patch).await,
                _ => api.patch_subresource(subresource, namespace, params, &patch).await,
            };
            refused(&at(verb), patched, said)?;
        }
        let mut json_patch = program("kubectl")?;
        json_patch.args(["patch", "namespace", namespace, "--type", "json", "--patch", &operation]);
        if !subresource.is_empty() {
            json_patch.args(["--subresource", subresource]);
        }
        let Err(error) = run(&mut json_patch) else { bail!("{} was not refused", at("JSON patch")) };
        let error = error.to_string();
        ensure!(said.iter().all(|part| error.contains(part)), "{}: {error}", at("JSON patch"));
    }
    let after = api.get(namespace).await?;
    ensure!(after.labels() == before.labels(), "{:?} became {:?}", before.labels(), after.labels());
    Ok(())
}

#[test]
fn the_tenant_label_is_protected_for_every_verb() {
    on_stages([("hijack", ""), ("victim", "")], |[stage, victim]| async move {
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        let free = format!("{}-git", stage.name);
        let born = |label: &str| -> Result<Namespace> {
            Ok(serde_json::from_value(json!({"metadata": {"name": free, "labels": {LABEL_TENANT: label}}}))?)
        };
        let field = "metadata.labels[enact.dev/tenant]";
        let create = namespaces.create(&PostParams::default(), &born("e2e-victim")?).await;
        refused("create", create, &[field, "does not belong to tenant e2e-victim", "leave the label out"])?;
        let create = namespaces.create(&PostParams::default(), &born("nobody")?).await;
        refused("create", create, &[field, "does not belong to tenant nobody"])?;
        stage.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {free}}}\n")).await?;

        let client = &stage.client;
        hijacks(client, &free, Some("e2e-victim"), &[field, "does not belong to tenant e2e-victim"]).await?;
        hijacks(client, &victim.name, Some("e2e-hijack"), &[field, "belongs to tenant e2e-victim"]).await?;
        hijacks(client, &victim.name, None, &[field, "belongs to tenant e2e-victim", "spec.namespaces first"]).await?;
        hijacks(client, "kube-system", Some("e2e-hijack"), &[field, "does not belong to tenant e2e-hijack"]).await?;
        // The refusal is the same for another user of `system:masters`.
        let staff = stage.client_of("staff", &["system:masters"]).await?;
        hijacks(&staff, &free, Some("e2e-hijack"), &[field]).await?;

        // The webhook does not restrict other changes of a namespace.
        let note = json!({"metadata": {"labels": {"team": "a"}, "annotations": {"b": "c"}}});
        for name in [free.as_str(), &victim.name] {
            namespaces.patch(name, &PatchParams::default(), &Patch::Merge(&note)).await?;
        }
        Ok(())
    });
}

#[test]
fn objects_outside_of_tenants_are_refused() {
    on_stage("outside", |stage| async move {
        let free = format!("{}-git", stage.name);
        stage.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {free}}}\n")).await?;
        for (kind, spec) in [
            ("Constitution", "source: {inline: '# Constitution'}"),
            ("Specification", "source: {inline: '# Feature'}"),
            ("Agent", "adapter: Command"),
            ("Plan", "agentRef: {name: a}\n  tasks: [{id: T001, title: a}]"),
            ("Approval", "{digest: 'sha256:%', decision: Approve, subject: {kind: Plan, name: a}}"),
        ] {
            let spec = spec.replace('%', &"0".repeat(64));
            let yaml = format!(
                "apiVersion: enact.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a, namespace: {free}}}\nspec:\n  {spec}\n"
            );
            let said = stage.refusal(&yaml).await?;
            for part in
                ["metadata.namespace", &format!("namespace {free} belongs to no tenant"), "spec.namespaces of a Tenant"]
            {
                ensure!(said.contains(part), "{kind}: `{part}` is not in: {said}");
            }
        }
        let forged = scripted_plan("forged", "  tasks: [{id: T001, title: a, script: 'true'}]\n")
            .replace("metadata: {name: forged}", "metadata: {name: forged, labels: {enact.dev/tenant: other}}");
        let said = stage.refusal(&forged).await?;
        ensure!(said.contains("the label names tenant other, but namespace e2e-outside belongs"), "{said}");
        let author = forged.replace("labels: {enact.dev/tenant: other}", "annotations: {enact.dev/author: boss}");
        stage.apply(&author).await?;
        let plan = stage.api::<Plan>().get("forged").await?;
        let author = plan.annotations().get("enact.dev/author").cloned().unwrap_or_default();
        ensure!(author != "boss" && !author.is_empty(), "the author is whom the client names: {author}");
        ensure!(plan.labels().get(LABEL_TENANT) == Some(&stage.name), "{:?}", plan.labels());
        Ok(())
    });
}

#[test]
fn a_reference_stays_in_its_namespace() {
    on_stages([("refers", ""), ("referred", "")], |[stage, other]| async move {
        other.apply(&scripted_plan("theirs", "  tasks: [{id: T001, title: a, script: 'true'}]\n")).await?;
        let object = |kind: &str, spec: &str| {
            format!("apiVersion: enact.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: refers}}\nspec:\n  {spec}\n")
        };
        let plan = |spec: &str| object("Plan", &format!("tasks: [{{id: T001, title: a}}]\n  {spec}"));
        let there = "e2e-referred/scripts";
        for (field, yaml) in [
            ("spec.agentRef.name", plan(&format!("agentRef: {{name: {there}}}"))),
            (
                "spec.specificationRef.name",
                plan(&format!("agentRef: {{name: a}}\n  specificationRef: {{name: {there}}}")),
            ),
            (
                "spec.tasks[0].agentRef.name",
                object(
                    "Plan",
                    &format!("agentRef: {{name: a}}\n  tasks: [{{id: T001, title: a, agentRef: {{name: {there}}}}}]"),
                ),
            ),
            (
                "spec.workspace.credentialsSecretRef.name",
                plan(&format!(
                    "agentRef: {{name: a}}\n  workspace: {{url: 'http://a/b', credentialsSecretRef: {{name: {there}}}, \
                     integration: {{credentialsSecretRef: {{name: b}}}}}}"
                )),
            ),
            (
                "spec.source.configMapKeyRef.name",
                object("Specification", &format!("source: {{configMapKeyRef: {{name: {there}, key: a}}}}")),
            ),
            (
                "spec.constitutionRef.name",
                object("Specification", &format!("source: {{inline: '# A'}}\n  constitutionRef: {{name: {there}}}")),
            ),
            (
                "spec.env[0].secretKeyRef.name",
                object(
                    "Agent",
                    &format!("adapter: Command\n  env: [{{name: A, secretKeyRef: {{name: {there}, key: a}}}}]"),
                ),
            ),
            (
                "spec.replay.configMapRef.name",
                object("Agent", &format!("adapter: Replay\n  replay: {{configMapRef: {{name: {there}}}}}")),
            ),
        ] {
            let said = stage.refusal(&yaml).await?;
            ensure!(said.contains(field), "`{field}` is not in: {said}");
            ensure!(
                said.contains("names another namespace") && said.contains("in the same namespace"),
                "{field}: {said}"
            );
        }
        // The reference has no field for a namespace.
        let said = stage.refusal(&plan("agentRef: {name: scripts, namespace: e2e-referred}")).await?;
        ensure!(said.contains("namespace"), "{said}");
        // A name that exists only in another namespace is not found.
        stage.apply(&plan("agentRef: {name: scripts}")).await?;
        let waits = stage.plan_reason("refers", "AgentNotFound").await?;
        ensure!(waits.status.unwrap_or_default().phase == Phase::Pending);
        Ok(())
    });
}

#[test]
fn tasks_are_the_operators() {
    on_stage("tasks", |stage| async move {
        let forged = "apiVersion: enact.dev/v1alpha1\nkind: Task\nmetadata: {name: forged}\nspec: \
                      {planRef: {name: work}, id: T009, title: mine, script: 'true'}\n";
        for user in ["ann", "system:serviceaccount:e2e-tasks:enact-operator"] {
            let Err(error) = stage.apply_as(user, &["system:masters"], forged).await else {
                bail!("{user} made a Task")
            };
            let said = format!("{error:#}");
            ensure!(said.contains("only the operator creates Tasks"), "{said}");
            ensure!(said.contains("write the task into spec.tasks of Plan work"), "{said}");
        }
        stage
            .apply(&scripted_plan("work", &format!("  tasks: [{{id: T001, title: hold, script: '{HOLD}'}}]\n")))
            .await?;
        let pod = stage.running("work", "T001", 1).await?;
        let tasks: Api<Task> = stage.api();
        let name = stage.task("work", "T001").await?.name_any();
        let before = tasks.get(&name).await?;
        let params = PatchParams::default();
        let patch = async |patch: Value| tasks.patch(&name, &params, &Patch::Merge(patch)).await;
        let cannot = ["is immutable", "change its Plan", "enact.dev/rerun"];
        refused("its script", patch(json!({"spec": {"script": "id"}})).await, &cannot)?;
        refused("its gates", patch(json!({"spec": {"gates": [{"name": "a", "script": "b"}]}})).await, &cannot)?;
        refused(
            "its plan",
            patch(json!({"metadata": {"labels": {"enact.dev/plan": "other"}}})).await,
            &["metadata.labels"],
        )?;
        refused("its owner", patch(json!({"metadata": {"ownerReferences": []}})).await, &["metadata.ownerReferences"])?;
        refused(
            "its number of reruns",
            patch(json!({"metadata": {"annotations": {"enact.dev/rerun": "soon"}}})).await,
            &["metadata.annotations[enact.dev/rerun]", "whole number", "write \"1\""],
        )?;
        let done = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
        let only = ["only the operator writes what it observed", "change the spec instead"];
        refused("its status", tasks.patch_status(&name, &params, &done).await, &only)?;
        refused("the plan's status", stage.api::<Plan>().patch_status("work", &params, &done).await, &only)?;
        let tenants: Api<Tenant> = Api::all(stage.client.clone());
        refused("the tenant's status", tenants.patch_status(&stage.name, &params, &done).await, &only)?;
        ensure!(tasks.get(&name).await?.spec == before.spec);
        // Users may change their own labels.
        patch(json!({"metadata": {"labels": {"mine": "yes"}}})).await?;
        stage.release(&pod)?;
        stage.finished("work", Phase::Succeeded, PATIENCE).await?;
        Ok(())
    });
}

#[test]
fn a_plan_under_way_does_not_become_another() {
    on_stage("changed", |stage| async move {
        let hold = |script: &str| {
            scripted_plan("work", &format!("  tasks: [{{id: T001, title: hold, script: '{script}'}}]\n"))
        };
        stage.apply(&hold(HOLD)).await?;
        let pod = stage.running("work", "T001", 1).await?;
        let said = stage.refusal(&hold("true")).await?;
        ensure!(said.contains("cannot change once it has started") && said.contains("Create another Plan"), "{said}");
        // The execution settings may change while the plan runs.
        stage.change_plan("work", json!({"execution": {"parallelism": 3}})).await?;
        stage.release(&pod)?;
        stage.finished("work", Phase::Succeeded, PATIENCE).await?;
        Ok(())
    });
}

#[test]
fn approvals_are_stamped_and_immutable() {
    on_stage("signed", |stage| async move {
        let people = format!("{}-people", stage.name);
        stage
            .apply(&scripted_plan(
                "work",
                "  approval: {required: 2}\n  tasks: [{id: T001, title: a, script: 'true'}]\n",
            ))
            .await?;
        let plan = stage.plan_reason("work", "WaitingForApproval").await?;
        let digest = plan.status.and_then(|s| s.digest).context("a plan without digest")?;
        let forged = format!(
            "apiVersion: enact.dev/v1alpha1\nkind: Approval\nmetadata: {{name: forged}}\nspec:\n  subject: {{kind: Plan, name: work}}\n  \
             digest: {digest}\n  decision: Approve\n  by: {{user: boss, groups: [bosses]}}\n"
        );
        let approvals: Api<Approval> = Api::namespaced(stage.client_of("ann", &[&people]).await?, &stage.name);
        let approval: Approval = serde_yaml::from_str(&forged)?;
        let signed = approvals.create(&PostParams::default(), &approval).await?;
        let by = signed.spec.by.clone().context("an unsigned Approval")?;
        ensure!(by.user == "ann" && by.groups.contains(&people), "{by:?}");
        ensure!(!by.groups.iter().any(|g| g == "bosses"), "{by:?}");

        let admin: Api<Approval> = stage.api();
        for (what, spec) in [
            ("comment", json!({"comment": "on second thought"})),
            ("decision", json!({"decision": "Reject"})),
            ("signature", json!({"by": {"user": "boss", "groups": []}})),
            ("no signature", json!({"by": null})),
            ("digest", json!({"digest": format!("sha256:{}", "0".repeat(64))})),
        ] {
            let patch = Patch::Merge(json!({ "spec": spec }));
            let changed = admin.patch("forged", &PatchParams::default(), &patch).await;
            refused(what, changed, &["an Approval is immutable; create another one"])?;
        }
        ensure!(admin.get("forged").await?.spec == signed.spec);
        // Two approvals by the same person count as one.
        let mut again = approval.clone();
        again.metadata.name = Some("again".into());
        approvals.create(&PostParams::default(), &again).await?;
        let has_conditions = |a: &Approval| a.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
        let counted = stage.watch(&admin, "again", "a status", PATIENCE, has_conditions).await?;
        let conditions = counted.status.unwrap_or_default().conditions;
        ensure!(condition(&conditions, "Ready").is_some_and(|c| c.status == "True"), "{conditions:?}");
        let one = |p: &Plan| {
            let conditions = p.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
            condition(conditions, "Ready").is_some_and(|c| c.message.contains("1 of 2 approvals"))
        };
        stage.watch(&stage.api::<Plan>(), "work", "one approval of two", PATIENCE, one).await?;
        // An approval by the operator is signed with its own name, and is not the decision of a person.
        again.metadata.name = Some("robot".into());
        let robot: Api<Approval> = Api::namespaced(stage.client_of(OPERATOR, &["system:masters"]).await?, &stage.name);
        refused(
            "a machine",
            robot.create(&PostParams::default(), &again).await,
            &["spec.by.user", OPERATOR, "not a person"],
        )
    });
}

/// Waits until no object with one of these names exists.
async fn gone<K>(api: &Api<K>, names: &[&str]) -> Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    until(&format!("the end of {names:?}"), PATIENCE, || async {
        let left = api.list(&ListParams::default()).await?;
        let left: Vec<String> =
            left.items.iter().map(kube::ResourceExt::name_any).filter(|n| names.contains(&n.as_str())).collect();
        Ok(if left.is_empty() { Answer::Yes(()) } else { Answer::NotYet(left.join(", ")) })
    })
    .await
}

#[test]
fn nothing_holds_up_a_deletion() {
    on_stage("deletes", |stage| async move {
        let plans: Api<Plan> = stage.api();
        // These objects stand for ones that were stored while the webhook was down, since it would refuse them.
        let invalid = |name: &str, tasks: &str| scripted_plan(name, &format!("  tasks:\n{tasks}"));
        let cycle = "    - {id: T001, title: a, dependsOn: [T002]}\n    - {id: T002, title: b, dependsOn: [T001]}\n";
        let by_operator = async |yaml: &str| stage.apply_as(OPERATOR, &["system:masters"], yaml).await;
        ensure!(stage.refusal(&invalid("cycle", cycle)).await?.contains("T001"));
        by_operator(&invalid("cycle", cycle)).await?;
        by_operator(&invalid("held", cycle)).await?;
        stage.plan_reason("cycle", "InvalidPlan").await?;
        plans.delete("cycle", &DeleteParams::default()).await?;
        gone(&plans, &["cycle"]).await?;
        // Finalizers can be added to and removed from invalid objects.
        let held = |finalizers: &[&str]| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
        plans.patch("held", &PatchParams::default(), &held(&["example.com/hold"])).await?;
        let foreground =
            DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
        plans.delete("held", &foreground).await?;
        plans.patch("held", &PatchParams::default(), &held(&[])).await?;
        gone(&plans, &["held"]).await?;

        // A running plan is deleted with its tasks and pods, in the foreground.
        stage.apply(&scripted_plan("busy", "  tasks: [{id: T001, title: a, script: 'sleep 3600'}]\n")).await?;
        stage.running("busy", "T001", 1).await?;
        let uid = plans.get("busy").await?.uid();
        let exact = DeleteParams { preconditions: Some(Preconditions { uid, resource_version: None }), ..foreground };
        plans.delete("busy", &exact).await?;
        gone(&plans, &["busy"]).await?;
        gone(&stage.api::<Task>(), &["busy-t001"]).await?;

        // The namespace can be deleted with everything in it, and the operator creates it again for the tenant.
        by_operator(&invalid("cycle", cycle)).await?;
        stage.apply(&scripted_plan("busy", "  tasks: [{id: T001, title: a, script: 'sleep 3600'}]\n")).await?;
        stage.apply("apiVersion: enact.dev/v1alpha1\nkind: Specification\nmetadata: {name: s}\nspec: {source: {inline: '# A'}}\n").await?;
        stage.running("busy", "T001", 1).await?;
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        let old = namespaces.get(&stage.name).await?.uid();
        namespaces.delete(&stage.name, &DeleteParams::default()).await?;
        let recreated = |n: &Namespace| n.uid() != old && n.labels().get(LABEL_TENANT) == Some(&stage.name);
        stage.watch(&namespaces, &stage.name, "its namespace created again", PATIENCE, recreated).await?;
        ensure!(plans.list(&ListParams::default()).await?.items.is_empty());
        Ok(())
    });
}

/// Removes a namespace from its tenant: objects in it can still be deleted, and other writes are refused.
#[test]
fn objects_of_a_deleted_tenant_can_be_deleted() {
    on_stage("left", |stage| async move {
        stage.apply(&scripted_plan("done", "  tasks: [{id: T001, title: a, script: 'true'}]\n")).await?;
        stage.finished("done", Phase::Succeeded, PATIENCE).await?;
        let elsewhere = format!("{}-git", stage.name);
        stage.apply(&stage.tenant("").replace("namespaces: [e2e-left]", &format!("namespaces: [{elsewhere}]"))).await?;
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        let free = |n: &Namespace| !n.labels().contains_key(LABEL_TENANT);
        stage.watch(&namespaces, &stage.name, "its release", PATIENCE, free).await?;
        let said = stage.refusal(&scripted_plan("more", "  tasks: [{id: T001, title: a, script: 'true'}]\n")).await?;
        ensure!(said.contains("belongs to no tenant"), "{said}");
        let plans: Api<Plan> = stage.api();
        let foreground =
            DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
        plans.delete("done", &foreground).await?;
        gone(&plans, &["done"]).await?;
        gone(&stage.api::<Task>(), &["done-t001"]).await?;
        let mut delete = program("kubectl")?;
        delete.args(["delete", "agents", "--all", "--namespace", &stage.name]);
        run(&mut delete)?;
        Ok(())
    });
}
