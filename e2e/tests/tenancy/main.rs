//! The objects that a Tenant manages in its namespaces, and the separation of tenants.

mod record;

use std::collections::BTreeMap;
use std::fmt::Debug;

use anyhow::{Context as _, Result, bail, ensure};
use enact_crds::plan::Phase;
use enact_crds::{Plan, Tenant};
use enact_domain::names::{ANNOTATION_AUTHOR, LABEL_TENANT, RESULT_AUDIENCE};
use enact_e2e::work::{HOLD, most_at_once, scripted_plan};
use enact_e2e::{Answer, PATIENCE, Stage, condition, describe, on_stage, on_stages, program, run, until};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, Pod, ResourceQuota, Volume};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A quota for which the operator creates every kind of object that a Tenant can have.
const QUOTA: &str = "  quota: {pods: 20, cpu: '4', memory: 8Gi, tasks: 100, plans: 10}\n";

/// The name of the objects that a Tenant manages, except for the RoleBinding.
const KEPT: &str = "enact-tenant";
const OWNER: &str = "enact-tenant-owner";

/// Returns an object as JSON, without its metadata and status.
fn content<K: Resource + serde::Serialize>(object: &K) -> Result<Value> {
    let mut json = serde_json::to_value(object)?;
    for field in ["metadata", "status"] {
        json.as_object_mut().context("no object")?.remove(field);
    }
    Ok(json)
}

/// Edits an object, and then deletes it. Each time, the operator must restore it.
async fn kept<K>(stage: &Stage, name: &str, edit: Value) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + serde::Serialize,
{
    let api: Api<K> = stage.api();
    let (kind, first) = (K::kind(&()), api.get(name).await?);
    let (wanted, uid) = (content(&first)?, first.uid());
    ensure!(first.labels().get(LABEL_TENANT) == Some(&stage.name), "{kind} without the tenant's label");
    let edited = api.patch(name, &PatchParams::default(), &Patch::Merge(edit)).await?;
    ensure!(content(&edited)? != wanted, "the edit of {kind} changes nothing");
    let same = |object: &K| content(object).is_ok_and(|c| c == wanted);
    let back = stage.watch(&api, name, &format!("its {kind} corrected"), PATIENCE, same).await?;
    ensure!(back.uid() == uid, "{kind} was created again instead of corrected");
    api.delete(name, &DeleteParams::default()).await?;
    let recreated = |object: &K| object.uid() != uid && same(object);
    stage.watch(&api, name, &format!("its {kind} created again"), PATIENCE, recreated).await?;
    Ok(())
}

#[test]
fn a_tenants_own_objects_are_not_changed() {
    on_stages([("kept", QUOTA)], |[stage]| async move {
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        let labels = namespaces.get(&stage.name).await?.labels().clone();
        ensure!(labels.get(LABEL_TENANT) == Some(&stage.name), "{labels:?}");
        for mode in ["enforce", "audit", "warn"] {
            let level = labels.get(&format!("pod-security.kubernetes.io/{mode}"));
            ensure!(level.is_some_and(|l| l == "restricted"), "Pod Security is not restricted: {labels:?}");
        }

        let quota = content(&stage.api::<ResourceQuota>().get(KEPT).await?)?;
        let hard = json!({
            "pods": "20", "requests.cpu": "4", "limits.memory": "8Gi",
            "count/tasks.enact.dev": "100", "count/plans.enact.dev": "10",
        });
        ensure!(quota["spec"]["hard"] == hard, "{quota}");
        let limits = content(&stage.api::<LimitRange>().get(KEPT).await?)?;
        ensure!(limits["spec"]["limits"][0]["defaultRequest"]["cpu"].is_string(), "{limits}");
        ensure!(limits["spec"]["limits"][0]["default"]["memory"].is_string(), "{limits}");

        let policy = content(&stage.api::<NetworkPolicy>().get(KEPT).await?)?;
        let spec = &policy["spec"];
        ensure!(spec["podSelector"] == json!({}), "a policy for some pods only: {policy}");
        ensure!(spec["policyTypes"] == json!(["Ingress", "Egress"]) && spec.get("ingress").is_none(), "{policy}");
        let egress = spec["egress"].as_array().context("no egress")?;
        let place =
            |rule: &Value| rule["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"].clone();
        let places: Vec<Value> = egress.iter().map(place).collect();
        // The server, the model gateway and the clone cache are in one namespace.
        let expected = ["kube-system", "enact-system", "enact-system", "enact-system", "e2e-kept-git"];
        ensure!(places == expected, "egress to {places:?}: {policy}");
        ensure!(
            egress[1..4].iter().all(|rule| rule["to"][0]["podSelector"]["matchLabels"].is_object()),
            "egress to the whole installation: {policy}"
        );
        ensure!(egress[4]["ports"] == json!([{"protocol": "TCP", "port": 8080}]), "{policy}");

        let binding = stage.api::<RoleBinding>().get(OWNER).await?;
        let subjects = binding.subjects.clone().unwrap_or_default();
        ensure!(binding.role_ref.name == OWNER && binding.role_ref.kind == "ClusterRole", "{binding:?}");
        ensure!(
            subjects.len() == 1 && subjects[0].name == "e2e-kept-people" && subjects[0].kind == "Group",
            "{binding:?}"
        );

        let everywhere = json!({"spec": {"egress": [{}], "ingress": [{}]}});
        kept::<NetworkPolicy>(&stage, KEPT, everywhere).await?;
        kept::<ResourceQuota>(&stage, KEPT, json!({"spec": {"hard": {"pods": "10k", "count/plans.enact.dev": null}}}))
            .await?;
        kept::<LimitRange>(&stage, KEPT, json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1m"}}]}}))
            .await?;
        let mallory = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"});
        kept::<RoleBinding>(&stage, OWNER, json!({"subjects": [mallory]})).await?;

        let weaker = json!({"metadata": {"labels": {
            "pod-security.kubernetes.io/enforce": "privileged", "pod-security.kubernetes.io/warn": null,
        }}});
        namespaces.patch(&stage.name, &PatchParams::default(), &Patch::Merge(weaker)).await?;
        let same = |n: &Namespace| *n.labels() == labels;
        stage.watch(&namespaces, &stage.name, "its Pod Security level again", PATIENCE, same).await?;

        // The operator deletes objects that the Tenant no longer asks for.
        stage
            .apply(&stage.tenant("  owners: {users: [ann]}\n").replace("  owners: {groups: [e2e-kept-people]}\n", ""))
            .await?;
        let api: Api<ResourceQuota> = stage.api();
        until("the end of its quota", PATIENCE, || async {
            Ok(match api.get_opt(KEPT).await? {
                None => Answer::Yes(()),
                Some(quota) => Answer::NotYet(format!("{quota:?}")),
            })
        })
        .await?;
        let ann = |b: &RoleBinding| b.subjects.as_ref().is_some_and(|s| s.len() == 1 && s[0].name == "ann");
        stage.watch(&stage.api::<RoleBinding>(), OWNER, "its new owner", PATIENCE, ann).await?;
        Ok(())
    });
}

/// Checks that the objects of a Tenant exist as soon as its status says so.
#[test]
fn a_plan_is_taken_as_soon_as_its_tenant_is_ready() {
    on_stages([("at-once", QUOTA)], |[stage]| async move {
        let quota = stage.api::<ResourceQuota>().get(KEPT).await?;
        let counted = quota.status.as_ref().and_then(|s| s.hard.clone());
        let plan = scripted_plan("first", "  tasks: [{id: T001, title: one, script: 'true'}]\n");
        stage.apply(&plan).await.with_context(|| format!("the quota's status was {counted:?}"))?;
        ensure!(counted == quota.spec.and_then(|s| s.hard), "the cluster counted {counted:?} only");
        stage.finished("first", Phase::Succeeded, PATIENCE).await?;
        Ok(())
    });
}

#[test]
fn quota_refuses_plans_and_delays_tasks() {
    on_stages([("quota", "  quota: {plans: 1, tasks: 2}\n")], |[stage]| async move {
        let wide = "  tasks:\n    - {id: T001, title: one, script: 'true'}\n    - {id: T002, title: two, script: 'true'}\n    \
                    - {id: T003, title: three, script: 'true'}\n";
        stage.apply(&scripted_plan("wide", wide)).await?;
        let refused = stage.refusal(&scripted_plan("second", wide)).await?;
        ensure!(refused.contains("exceeded quota") && refused.contains("count/plans.enact.dev"), "{refused}");
        let plan = stage.plan_reason("wide", "QuotaTooSmall").await?;
        let said = describe(&plan.status.unwrap_or_default().conditions);
        ensure!(said.contains("count/tasks.enact.dev"), "{said}");
        stage.apply(&stage.tenant("  quota: {plans: 1, tasks: 3}\n")).await?;
        stage.finished("wide", Phase::Succeeded, PATIENCE).await?;
        Ok(())
    });
}

#[test]
fn a_sandbox_that_nodes_lack_is_named_within_seconds() {
    const CLASS: &str = "e2e-no-such-handler";
    let isolation = "  isolation: {runtimeClassName: e2e-no-such-handler}\n";
    on_stages([("sandbox", isolation)], |[stage]| async move {
        let class = format!(
            "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {{name: {CLASS}}}\nhandler: no-such-handler\n"
        );
        stage.apply(&class).await?;
        stage.apply(&scripted_plan("boxed", "  tasks: [{id: T001, title: one, script: 'true'}]\n")).await?;
        let plan = stage.plan_reason("boxed", "SandboxFailed").await?.status.unwrap_or_default();
        let said = describe(&plan.conditions);
        for part in ["task T001 cannot start", "no-such-handler", "runtimeClassName of the Tenant", "1 waiting"] {
            ensure!(said.contains(part), "`{part}` is not in: {said}");
        }
        let task = stage.task("boxed", "T001").await?.status.unwrap_or_default();
        ensure!(task.conditions.iter().any(|c| c.reason == "SandboxFailed"), "{task:?}");
        let shown = stage.enact(&["status", "boxed"])?;
        ensure!(shown.contains("SandboxFailed for"), "{shown}");
        let classes: Api<RuntimeClass> = Api::all(stage.client.clone());
        classes.delete(CLASS, &DeleteParams::default()).await?;
        Ok(())
    });
}

/// Returns the sources of a pod's volumes that contain a token.
fn tokens(volumes: &[Volume]) -> Vec<(Option<String>, Option<i64>)> {
    let sources = volumes.iter().filter_map(|v| v.projected.as_ref()?.sources.as_ref()).flatten();
    sources
        .filter_map(|s| s.service_account_token.as_ref())
        .map(|t| (t.audience.clone(), t.expiration_seconds))
        .collect()
}

#[test]
fn agent_pods_are_restricted_and_have_one_token() {
    on_stage("restricted", |stage| async move {
        let hold = format!("  tasks: [{{id: T001, title: hold, script: '{HOLD}'}}]\n");
        stage.apply(&scripted_plan("look", &hold)).await?;
        let name = stage.running("look", "T001", 1).await?;
        let pod = stage.api::<Pod>().get(&name).await?;
        let spec = pod.spec.clone().context("a pod without spec")?;

        // The namespace enforces `restricted`, so the pod's admission shows that the pod meets this level.
        let labels = Api::<Namespace>::all(stage.client.clone()).get(&stage.name).await?.labels().clone();
        ensure!(labels.get("pod-security.kubernetes.io/enforce").is_some_and(|l| l == "restricted"), "{labels:?}");
        ensure!(spec.automount_service_account_token == Some(false), "{spec:?}");
        let volumes = spec.volumes.clone().unwrap_or_default();
        let token = tokens(&volumes);
        ensure!(token.len() == 1 && token[0].0.as_deref() == Some(RESULT_AUDIENCE), "tokens of the pod: {token:?}");
        ensure!(token[0].1.is_some_and(|seconds| seconds <= 3600), "a token that lives for long: {token:?}");
        ensure!(volumes.iter().all(|v| v.host_path.is_none()), "{volumes:?}");
        for container in &spec.containers {
            let limits = container.resources.as_ref().and_then(|r| r.limits.as_ref()).context("no limits")?;
            ensure!(limits.contains_key("memory") && limits.contains_key("ephemeral-storage"), "{limits:?}");
            let security = container.security_context.as_ref().context("no security context")?;
            ensure!(security.read_only_root_filesystem == Some(true), "{security:?}");
        }

        let inside = |command: &str| {
            let mut exec = program("kubectl")?;
            exec.args(["exec", "--namespace", &stage.name, &name, "--container", "agent", "--", "sh", "-c", command]);
            run(&mut exec)
        };
        ensure!(
            inside("ls -A /var/run/secrets 2>/dev/null || true")?.trim().is_empty(),
            "secrets of a service account"
        );
        ensure!(inside("id -u")?.trim() == "10001");
        ensure!(inside("touch /here 2>&1 || echo no")?.contains("no"), "the root file system can be written");
        ensure!(inside("grep CapEff /proc/self/status")?.contains("0000000000000000"), "capabilities");
        ensure!(inside("grep NoNewPrivs /proc/self/status")?.trim().ends_with('1'), "privileges can be gained");

        // The API server accepts the administrator's certificate, but not this token.
        let token = inside("cat /var/run/enact/token/token")?.trim().to_owned();
        let review = |client: Client| async move {
            Api::<SelfSubjectReview>::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await
        };
        review(stage.client.clone()).await?;
        let mut config = Config::infer().await?;
        config.auth_info = kube::config::AuthInfo { token: Some(token.into()), ..Default::default() };
        match review(Client::try_from(config)?).await {
            Err(kube::Error::Api(status)) if status.code == 401 => {}
            other => bail!("the API server answers the pod's token with {other:?}"),
        }
        stage.release(&name)?;
        stage.finished("look", Phase::Succeeded, PATIENCE).await?;
        Ok(())
    });
}

/// Checks that the Pod Security level applies to other pods too.
#[test]
fn unrestricted_pods_are_refused() {
    on_stage("privileged", |stage| async move {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: root}\nspec:\n  containers: \
                   [{name: a, image: a, securityContext: {privileged: true}}]\n";
        let refused = stage.refusal(pod).await?;
        ensure!(refused.contains("PodSecurity \"restricted") && refused.contains("privileged"), "{refused}");

        // The operator's account gets no further than to tenants' namespaces, whatever RBAC allows.
        let operator = "system:serviceaccount:enact-system:enact-operator";
        let outside = pod.replace("name: root", "name: root, namespace: default");
        let binding = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
                       metadata: {name: enact-tenant-owner, namespace: kube-system}\n\
                       roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: enact-tenant-owner}\n";
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system, labels: {enact.dev/tenant: e2e-privileged}}\n";
        for (yaml, said) in [
            (outside.as_str(), "the operator creates pods in namespaces of tenants only"),
            (binding, "in namespaces of tenants only"),
            (namespace, "the operator changes only namespaces of tenants"),
        ] {
            let Err(error) = stage.apply_as(operator, &["system:masters"], yaml).await else {
                bail!("the operator's account may apply:\n{yaml}");
            };
            let refused = format!("{error:#}");
            ensure!(refused.contains(said), "`{said}` is not in: {refused}");
        }
        Ok(())
    });
}

/// Network policies add up, so that another one could allow what that of the Tenant denies.
#[test]
fn an_editor_cannot_open_a_tenants_network() {
    on_stage("opened", |stage| async move {
        let said = "spec.isolation.egress of the Tenant";
        let editor = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: editor}\n\
                      roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}\n\
                      subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: eve}]\n";
        stage.apply(editor).await?;
        let open = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: open}\n\
                    spec: {podSelector: {}, egress: [{}], policyTypes: [Egress]}\n";
        // Until the API server knows the binding, RBAC refuses.
        until("the refusal by the admission policy", PATIENCE, || async {
            let Err(error) = stage.apply_as("eve", &[], open).await else { bail!("an editor opens the network") };
            let refused = format!("{error:#}");
            Ok(if refused.contains(said) { Answer::Yes(()) } else { Answer::NotYet(refused) })
        })
        .await?;
        let policies: Api<NetworkPolicy> =
            Api::namespaced(stage.client_of("eve", &["system:authenticated"]).await?, &stage.name);
        let wider = Patch::Merge(json!({"spec": {"egress": [{}]}}));
        let attempts = [
            policies.patch(KEPT, &PatchParams::default(), &wider).await.map(drop),
            policies.delete(KEPT, &DeleteParams::default()).await.map(drop),
        ];
        for attempt in attempts {
            match attempt {
                Err(kube::Error::Api(status)) if status.message.contains(said) => {}
                other => bail!("the tenant's own policy: {other:?}"),
            }
        }
        // Who may change Tenants may open the network too, and an editor may close it again.
        stage.apply(open).await?;
        policies.delete("open", &DeleteParams::default()).await?;
        Ok(())
    });
}

#[test]
fn a_tenant_decides_about_images() {
    let rules = "  agentImages: {allowed: [registry.example.org], requireDigest: true}\n";
    on_stages([("images", rules)], |[stage]| async move {
        let agent = |image: &str| {
            format!(
                "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {{name: own}}\n\
                 spec: {{adapter: Command, script: 'true', image: '{image}'}}\n"
            )
        };
        for (image, part) in
            [("debian:13", "name an image below registry.example.org"), ("registry.example.org/a:1", "has no digest")]
        {
            let refused = stage.refusal(&agent(image)).await?;
            ensure!(refused.contains("spec.image") && refused.contains(part), "`{part}` is not in: {refused}");
        }
        stage.apply(&agent(&format!("registry.example.org/a@sha256:{}", "a".repeat(64)))).await?;
        // An Agent without an image uses that of the installation.
        stage.apply(&scripted_plan("allowed", "  tasks: [{id: T001, title: one, script: 'true'}]\n")).await?;
        stage.finished("allowed", Phase::Succeeded, PATIENCE).await?;
        Ok(())
    });
}

#[test]
fn a_namespace_belongs_to_one_tenant() {
    on_stages([("taken-a", ""), ("taken-b", "")], |[a, b]| async move {
        let tenants: Api<Tenant> = Api::all(b.client.clone());
        let greedy = |of: &Stage| of.tenant("").replace("namespaces: [", "namespaces: [e2e-taken-a, ");
        let refused = b.refusal(&greedy(&b)).await?;
        for part in ["spec.namespaces[0]", "belongs to Tenant e2e-taken-a already", "remove it there first"] {
            ensure!(refused.contains(part), "`{part}` is not in: {refused}");
        }
        // A namespace that others created needs the consent of somebody who may change it.
        let free = format!("{}-git", b.name);
        b.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {free}}}\n")).await?;
        let takeover = b.tenant("").replace("namespaces: [", &format!("namespaces: [{free}, "));
        let refused = b.refusal(&takeover).await?;
        ensure!(
            refused.contains(&format!("kubectl annotate namespace {free} enact.dev/allow-tenant={}", b.name)),
            "{refused}"
        );
        // The operator's user is admitted, so that the object exists as if the webhook had not seen it.
        let operator = "system:serviceaccount:enact-system:enact-operator";
        let stalled = |t: &Tenant, reason: &str| {
            let conditions = t.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
            condition(conditions, "Stalled").is_some_and(|c| c.reason == reason && c.status == "True")
        };
        b.apply_as(operator, &["system:masters"], &takeover).await?;
        b.watch(&tenants, &b.name, "NamespaceNotAllowed", PATIENCE, |t: &Tenant| stalled(t, "NamespaceNotAllowed"))
            .await?;
        let left = Api::<Namespace>::all(b.client.clone()).get(&free).await?;
        ensure!(!left.labels().contains_key(LABEL_TENANT), "{:?}", left.labels());
        b.apply_as(operator, &["system:masters"], &greedy(&b)).await?;
        let tenant =
            b.watch(&tenants, &b.name, "NamespaceTaken", PATIENCE, |t: &Tenant| stalled(t, "NamespaceTaken")).await?;
        let said = describe(&tenant.status.unwrap_or_default().conditions);
        ensure!(said.contains("namespace e2e-taken-a belongs to Tenant e2e-taken-a"), "{said}");
        let namespace = Api::<Namespace>::all(a.client.clone()).get("e2e-taken-a").await?;
        ensure!(namespace.labels().get(LABEL_TENANT) == Some(&a.name), "{:?}", namespace.labels());
        // Plans in the tenant's own namespace still run.
        b.apply(&scripted_plan("own", "  tasks: [{id: T001, title: one, script: 'true'}]\n")).await?;
        b.finished("own", Phase::Succeeded, PATIENCE).await?;
        b.apply(&b.tenant("")).await?;
        let ready = |t: &Tenant| {
            let conditions = t.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
            condition(conditions, "Ready").is_some_and(|c| c.status == "True")
        };
        b.watch(&tenants, &b.name, "Ready again", PATIENCE, ready).await?;
        Ok(())
    });
}

#[test]
fn tenant_parallelism_limits_the_attempts_of_all_plans() {
    on_stages([("parallel", "  parallelism: 2\n")], |[stage]| async move {
        let tasks: String =
            (1..=4).map(|n| format!("    - {{id: T00{n}, title: wait, script: 'sleep 3'}}\n")).collect();
        for name in ["left", "right"] {
            stage.apply(&scripted_plan(name, &format!("  tasks:\n{tasks}"))).await?;
        }
        let mut attempts = Vec::new();
        for name in ["left", "right"] {
            let done = stage.finished(name, Phase::Succeeded, PATIENCE).await?;
            attempts.extend(stage.attempts(&done)?);
        }
        let most = most_at_once(&attempts, 1.0);
        ensure!(most == 2 && attempts.len() == 8, "{most} attempts at once of a tenant that may have 2: {attempts:#?}");
        Ok(())
    });
}

#[test]
fn a_deleted_tenant_leaves_its_namespace_clean() {
    on_stages([("leaving", QUOTA)], |[stage]| async move {
        let tenants: Api<Tenant> = Api::all(stage.client.clone());
        stage.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\ndata: {a: b}\n").await?;
        stage
            .apply(&scripted_plan("busy", &format!("  tasks: [{{id: T001, title: hold, script: '{HOLD}'}}]\n")))
            .await?;
        stage.running("busy", "T001", 1).await?;
        match tenants.delete(&stage.name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let said = &status.message;
                ensure!(said.contains("e2e-leaving/busy") || said.contains("busy"), "the plan is not named: {said}");
                ensure!(said.contains("cancel or delete them first"), "no remedy: {said}");
            }
            other => bail!("a tenant with unfinished work: {other:?}"),
        }
        stage.enact(&["cancel", "busy", "--yes"])?;
        stage.finished("busy", Phase::Cancelled, PATIENCE).await?;
        tenants.delete(&stage.name, &DeleteParams::default()).await?;
        until("the tenant's end", PATIENCE, || async {
            Ok(match tenants.get_opt(&stage.name).await? {
                None => Answer::Yes(()),
                Some(t) => Answer::NotYet(describe(&t.status.unwrap_or_default().conditions)),
            })
        })
        .await?;
        let namespace = Api::<Namespace>::all(stage.client.clone()).get(&stage.name).await?;
        let ours = |key: &&String| key.starts_with("enact.dev/") || key.starts_with("pod-security.kubernetes.io/");
        let left: Vec<&String> = namespace.labels().keys().filter(ours).collect();
        ensure!(namespace.metadata.deletion_timestamp.is_none() && left.is_empty(), "labels that stay: {left:?}");
        let managed = ListParams::default().labels("app.kubernetes.io/managed-by=enact-operator");
        ensure!(stage.api::<NetworkPolicy>().list(&managed).await?.items.is_empty(), "a NetworkPolicy stays");
        ensure!(stage.api::<ResourceQuota>().list(&managed).await?.items.is_empty(), "a ResourceQuota stays");
        ensure!(stage.api::<LimitRange>().list(&managed).await?.items.is_empty(), "a LimitRange stays");
        ensure!(stage.api::<RoleBinding>().list(&managed).await?.items.is_empty(), "a RoleBinding stays");
        ensure!(stage.api::<ConfigMap>().get_opt("theirs").await?.is_some(), "what was not ours is gone");
        Ok(())
    });
}

#[test]
fn only_owners_work_in_a_tenants_namespace() {
    on_stages([("owned", ""), ("not-owned", "")], |[stage, other]| async move {
        let people = "e2e-owned-people";
        let work = scripted_plan("theirs", "  tasks: [{id: T001, title: one, script: 'true'}]\n");
        stage.apply_as("ann", &[people], &work).await?;
        let plan = stage.finished("theirs", Phase::Succeeded, PATIENCE).await?;
        ensure!(plan.annotations().get(ANNOTATION_AUTHOR).is_some_and(|a| a == "ann"), "{:?}", plan.annotations());

        let forbidden = async |user: &str, group: &str, in_: &Stage, yaml: &str| -> Result<()> {
            let Err(error) = in_.apply_as(user, &[group], yaml).await else {
                bail!("{user} of {group} may apply in {}:\n{yaml}", in_.name);
            };
            let said = format!("{error:#}");
            ensure!(said.contains("forbidden"), "{user} of {group} in {}: {said}", in_.name);
            Ok(())
        };
        // The first user belongs to another tenant; the second is an owner, in a namespace that is not theirs.
        forbidden("bob", "e2e-not-owned-people", &stage, &work).await?;
        forbidden("ann", people, &other, &work).await?;
        forbidden("cem", "nobody-in-particular", &stage, &work).await?;
        // An owner cannot change the bounds.
        for (kind, version, spec) in [
            ("NetworkPolicy", "networking.k8s.io/v1", "spec: {podSelector: {}, egress: [{}]}"),
            ("ResourceQuota", "v1", "spec: {hard: {pods: '9'}}"),
            ("Pod", "v1", "spec: {containers: [{name: a, image: a}]}"),
        ] {
            let yaml = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: mine}}\n{spec}\n");
            forbidden("ann", people, &stage, &yaml).await?;
        }
        let binding = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: mine}\n\
                       roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n";
        forbidden("ann", people, &stage, binding).await?;
        forbidden("ann", people, &stage, &stage.tenant("  parallelism: 9999\n")).await?;
        let listed = Api::<Plan>::namespaced(stage.client_of("bob", &["e2e-not-owned-people"]).await?, &stage.name);
        ensure!(listed.list(&ListParams::default()).await.is_err(), "a person of another tenant reads plans");
        let secrets: BTreeMap<&str, &str> = BTreeMap::from([("ann", people), ("bob", "e2e-not-owned-people")]);
        for (user, group) in secrets {
            let pods = Api::<Pod>::namespaced(stage.client_of(user, &[group]).await?, "enact-system");
            ensure!(pods.list(&ListParams::default()).await.is_err(), "{user} reads pods of the installation");
        }
        Ok(())
    });
}
