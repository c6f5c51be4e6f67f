//! Behaviour of the installation while parts of it are missing. These tests disturb it, so they run one at a time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::Phase;
use enact_crds::{Agent, Plan, Task, task};
use enact_e2e::installation::{self, Scaled, kill, kubectl, pods_of, printed};
use enact_e2e::work::{HANG_ONCE, HOLD, each_result_once, ends, scripted_plan};
use enact_e2e::{Answer, PATIENCE, Stage, condition, on_stage, until};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

/// The timeout for a plan of a few seconds while the installation is disturbed.
const LONG: Duration = Duration::from_mins(6);
/// A script whose first attempt waits until [`Stage::release`].
const HOLD_ONCE: &str = "test $ENACT_ATTEMPT != 1 || until test -e /tmp/go; do sleep 0.1; done";
/// The message of a runner when the server does not accept its result.
const NOT_TAKEN: &str = "delivery failed: ";

/// The tasks of the plan that [`ladder`] returns.
const LADDER: [&str; 10] = ["T001", "T002", "T003", "T004", "T005", "T006", "T007", "T008", "T009", "T010"];

/// Returns a plan of five steps with two tasks each. Each task depends on both tasks of the previous step.
fn ladder(name: &str) -> String {
    let mut tasks = String::from("  execution: {cleanup: Never}\n  tasks:\n");
    for (n, id) in LADDER.iter().enumerate() {
        let before = if n < 2 { String::new() } else { LADDER[n / 2 * 2 - 2..n / 2 * 2].join(", ") };
        tasks += &format!("    - {{id: {id}, title: step, dependsOn: [{before}], script: sleep 1}}\n");
    }
    scripted_plan(name, &tasks)
}

/// Checks that each task of a [`ladder`] had exactly one attempt and one pod, in spite of the disturbance.
async fn climbed(stage: &Stage, plan: &str) -> Result<()> {
    let plan = stage.finished(plan, Phase::Succeeded, LONG).await?;
    stage.done_once(&plan, &LADDER)?;
    let pods = stage.pods(&plan.name_any()).await?;
    ensure!(pods.len() == LADDER.len(), "{} pods for {} tasks", pods.len(), LADDER.len());
    Ok(())
}

#[test]
fn a_repeatedly_killed_operator_does_everything_once() {
    on_stage("operator-killed", |stage| async move {
        installation::await_healthy()?;
        stage.apply(&ladder("ladder")).await?;
        for tasks in [1, 4, 7] {
            stage.tasks_done("ladder", tasks, LONG).await?;
            for pod in pods_of("deployment/enact-operator")? {
                kill(&pod)?;
            }
        }
        climbed(&stage, "ladder").await?;
        installation::await_healthy()
    });
}

#[test]
fn a_plan_deleted_while_no_operator_runs_is_closed() {
    on_stage("deleted-meanwhile", |stage| async move {
        installation::await_healthy()?;
        let tasks = format!("  tasks: [{{id: T001, title: wait, script: '{HOLD}'}}]\n");
        stage.apply(&scripted_plan("gone", &tasks)).await?;
        stage.running("gone", "T001", 1).await?;
        let plan = stage.api::<Plan>().get("gone").await?;
        let operator = Scaled::to("deployment/enact-operator", 0)?;
        stage.api::<Plan>().delete("gone", &DeleteParams::default()).await?;
        operator.back()?;
        until("the end of the attempt in the record", PATIENCE, || async {
            let attempts = stage.attempts(&plan)?;
            let is_closed = attempts.len() == 1 && attempts.iter().all(|attempt| attempt.finished.is_some());
            Ok(if is_closed { Answer::Yes(()) } else { Answer::NotYet(format!("{attempts:?}")) })
        })
        .await?;
        let uid = plan.uid().context("a Plan without UID")?;
        let query = format!("select actor from enact.audit where event = 'Deleted' and subject_uid = '{uid}'");
        let by = stage.record(&query)?;
        ensure!(by.len() == 1 && by[0] != "unknown", "the webhook saw who deleted it: {by:?}");
        Ok(())
    });
}

#[test]
fn a_standby_replaces_a_killed_leader() {
    on_stage("leader-killed", |stage| async move {
        installation::await_healthy()?;
        let two = Scaled::to("deployment/enact-operator", 2)?;
        stage.apply(&ladder("ladder")).await?;
        stage.tasks_done("ladder", 2, LONG).await?;
        let leases: Api<Lease> = Api::namespaced(stage.client.clone(), installation::NAMESPACE);
        let holder = |lease: &Lease| lease.spec.as_ref().and_then(|s| s.holder_identity.clone()).unwrap_or_default();
        let old = holder(&leases.get("enact-operator").await?);
        // The holder identity of the Lease begins with the name of the pod.
        let leader = format!("pod/{}", old.split('_').next().unwrap_or_default());
        let both = pods_of("deployment/enact-operator")?;
        ensure!(both.len() == 2 && both.contains(&leader), "{old} leads, and there are {both:?}");
        // The duration is printed but not limited: on a loaded machine, it includes the time to end a container and to notice the end.
        let killed = Instant::now();
        kill(&leader)?;
        let another = |lease: &Lease| ![String::new(), old.clone()].contains(&holder(lease));
        let lease = stage.watch(&leases, "enact-operator", "another leader", PATIENCE, another).await?;
        println!("{} leads after {:.1} s", holder(&lease), killed.elapsed().as_secs_f32());
        climbed(&stage, "ladder").await?;
        two.back()
    });
}

#[test]
fn plans_wait_while_postgres_is_down() {
    on_stage("record-down", |stage| async move {
        installation::await_healthy()?;
        let tasks = format!(
            "  execution: {{retry: {{backoffSeconds: 1}}}}
  tasks:
    - {{id: T001, title: runs meanwhile, script: '{HOLD_ONCE}'}}
    - {{id: T002, title: next, dependsOn: [T001], script: 'true'}}
    - {{id: T003, title: is lost meanwhile, script: '{HANG_ONCE}'}}
"
        );
        stage.apply(&scripted_plan("first", &tasks)).await?;
        let runs = stage.running("first", "T001", 1).await?;
        let lost = stage.running("first", "T003", 1).await?;
        let postgres = Scaled::to("statefulset/enact-postgres", 0)?;

        // Admission does not need Postgres.
        let one = "  tasks: [{id: T001, title: one, script: 'true'}]\n";
        stage.apply(&scripted_plan("later", one)).await?;
        let cycle = "  tasks: [{id: T001, title: a, dependsOn: [T002]}, {id: T002, title: b, dependsOn: [T001]}]\n";
        let refusal = stage.refusal(&scripted_plan("cycle", cycle)).await?;
        ensure!(refusal.contains("T001") && refusal.contains("T002"), "{refusal}");

        // The operator starts no attempt that it cannot record.
        stage.api::<Pod>().delete(&lost, &DeleteParams::default().grace_period(0)).await?;
        for plan in ["first", "later"] {
            stage.plan_reason(plan, "RecordUnavailable").await?;
        }
        ensure!(tasks_of(&stage, "later").await?.is_empty() && stage.pods("later").await?.is_empty());
        let alive = stage.pods("first").await?;
        let phase = |p: &Pod| p.status.as_ref().and_then(|s| s.phase.clone());
        ensure!(alive.len() == 1 && phase(&alive[0]).as_deref() == Some("Running"), "{alive:#?}");

        // A running attempt finishes, and its runner retries the delivery of the result for a while.
        stage.release(&runs)?;
        printed(&stage, &runs, NOT_TAKEN, PATIENCE).await?;
        postgres.back()?;
        let first = stage.finished("first", Phase::Succeeded, LONG).await?;
        let later = stage.finished("later", Phase::Succeeded, LONG).await?;
        stage.done_once(&later, &["T001"])?;
        let attempts = stage.attempts(&first)?;
        ensure!(delivered(&ends(&attempts, "T001")), "{attempts:#?}");
        ensure!(ends(&attempts, "T002") == ["Succeeded"], "{attempts:#?}");
        ensure!(ends(&attempts, "T003") == ["Lost", "Succeeded"], "{attempts:#?}");
        each_result_once(&attempts)?;
        installation::await_healthy()
    });
}

#[test]
fn undelivered_results_cause_another_attempt() {
    on_stage("server-down", |stage| async move {
        installation::await_healthy()?;
        let tasks = format!(
            "  execution: {{retry: {{limit: 0, backoffSeconds: 1}}}}
  tasks:
    - {{id: T001, title: ends shortly before, script: '{HOLD_ONCE}'}}
    - {{id: T002, title: ends long before, script: '{HOLD}'}}
"
        );
        stage.apply(&scripted_plan("deliver", &tasks)).await?;
        let short = stage.running("deliver", "T001", 1).await?;
        let long = stage.running("deliver", "T002", 1).await?;
        let server = Scaled::to("deployment/enact-server", 0)?;
        stage.release(&long)?;
        let failed = |t: &Task| t.status.as_ref().is_some_and(|s| s.infrastructure_failures == 1);
        let name = stage.task("deliver", "T002").await?.name_any();
        let task = stage.watch(&stage.api::<Task>(), &name, "a failed delivery", PATIENCE, failed).await?;
        let status = task.status.context("no status")?;
        let ready = condition(&status.conditions, "Ready").context("no condition Ready")?;
        ensure!(ready.reason == "DeliveryFailed" && status.failures == 0, "{status:?}");
        stage.release(&short)?;
        printed(&stage, &short, NOT_TAKEN, PATIENCE).await?;
        server.back()?;
        let again = stage.running("deliver", "T002", 2).await?;
        stage.release(&again)?;
        let plan = stage.finished("deliver", Phase::Succeeded, LONG).await?;
        let attempts = stage.attempts(&plan)?;
        ensure!(delivered(&ends(&attempts, "T001")), "{attempts:#?}");
        ensure!(ends(&attempts, "T002") == ["DeliveryFailed", "Succeeded"], "{attempts:#?}");
        let first = attempts.iter().find(|a| a.task == "T002").context("no attempt at T002")?;
        ensure!(first.failure == "Infrastructure" && first.results == 0, "{first:?}");
        each_result_once(&attempts)?;
        ensure!(task::Phase::Succeeded == stage.task("deliver", "T002").await?.status.unwrap_or_default().phase);
        installation::await_healthy()
    });
}

#[test]
fn objects_can_be_deleted_without_the_webhook() {
    on_stage("webhook-down", |stage| async move {
        installation::await_healthy()?;
        let tasks = format!("  tasks: [{{id: T001, title: held, script: '{HOLD}'}}]\n");
        for plan in ["one", "two"] {
            stage.apply(&scripted_plan(plan, &tasks)).await?;
            stage.running(plan, "T001", 1).await?;
        }
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        let before = namespaces.get(&stage.name).await?.uid();
        let webhook = Scaled::to("deployment/enact-webhook", 0)?;
        let refusal = stage.refusal(&scripted_plan("three", &tasks)).await?;
        ensure!(refusal.contains("failed calling webhook"), "{refusal}");

        stage.api::<Plan>().delete("one", &DeleteParams::background()).await?;
        stage.api::<Agent>().delete("scripts", &DeleteParams::default()).await?;
        until("the end of Plan one and its children", PATIENCE, || async {
            let plan = stage.api::<Plan>().get_opt("one").await?.is_some();
            let (tasks, pods) = (tasks_of(&stage, "one").await?.len(), stage.pods("one").await?.len());
            let reported = || Answer::NotYet(format!("plan there: {plan}; {tasks} tasks, {pods} pods"));
            Ok(if plan || tasks + pods > 0 { reported() } else { Answer::Yes(()) })
        })
        .await?;
        ensure!(stage.api::<Agent>().get_opt("scripts").await?.is_none(), "the Agent is still there");

        namespaces.delete(&stage.name, &DeleteParams::default()).await?;
        // The Tenant lists the namespace, so the operator creates it again, empty, even while no webhook runs.
        until("another namespace", PATIENCE, || async {
            let now = namespaces.get_opt(&stage.name).await?;
            let another = now.as_ref().is_some_and(|n| n.uid() != before && n.metadata.deletion_timestamp.is_none());
            Ok(if another { Answer::Yes(()) } else { Answer::NotYet(format!("{now:?}")) })
        })
        .await?;
        ensure!(stage.api::<Plan>().list(&ListParams::default()).await?.items.is_empty());
        webhook.back()?;
        // The pods are ready shortly before the Service routes to them.
        let four = scripted_plan("four", "  tasks: [{id: T001, title: one, script: 'true'}]\n");
        until("an admission", PATIENCE, || async {
            let taken = stage.apply(&four).await;
            Ok(taken.map_or_else(|error| Answer::NotYet(format!("{error:#}")), Answer::Yes))
        })
        .await?;
        stage.finished("four", Phase::Succeeded, PATIENCE).await.map(drop)
    });
}

#[test]
fn webhook_replaces_a_deleted_certificate() {
    const SECRET: &str = "enact-webhook-tls";
    on_stage("certificate", |stage| async move {
        installation::await_healthy()?;
        let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), installation::NAMESPACE);
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(stage.client.clone());
        let bundle = |c: &ValidatingWebhookConfiguration| {
            c.webhooks.iter().flatten().map(|w| w.client_config.ca_bundle.clone()).collect::<Vec<_>>()
        };
        let pods = webhooks()?;
        let old = secrets.get(SECRET).await?.uid();
        let trusted = bundle(&configurations.get(installation::RELEASE).await?);
        secrets.delete(SECRET, &DeleteParams::default()).await?;
        let other = |s: &Secret| s.uid() != old;
        stage.watch(&secrets, SECRET, "a new Secret", PATIENCE, other).await?;
        let renewed = |c: &ValidatingWebhookConfiguration| bundle(c).iter().zip(&trusted).all(|(a, b)| a != b);
        stage.watch(&configurations, installation::RELEASE, "a new caBundle", PATIENCE, renewed).await?;
        // Both webhook pods must have loaded the certificate. Ten consecutive requests very likely reach both.
        until("ten admissions in a row", PATIENCE, || async {
            for n in 0..10 {
                let agent =
                    format!("kind: Agent\nmetadata: {{name: agent-{n}}}\nspec: {{adapter: Command, script: 'true'}}\n");
                if let Err(error) = stage.apply(&format!("apiVersion: enact.dev/v1alpha1\n{agent}")).await {
                    return Ok(Answer::NotYet(format!("{n}, and then {error:#}")));
                }
            }
            Ok(Answer::Yes(()))
        })
        .await?;
        let now = webhooks()?;
        ensure!(now == pods, "the webhook was restarted: {pods} before, {now} now");
        Ok(())
    });
}

/// Nodes that are cordoned. Drop uncordons them.
struct Cordoned(Vec<String>);

impl Cordoned {
    /// Cordons all nodes.
    fn all() -> Result<Self> {
        let nodes = kubectl(&["get", "nodes", "--output=name"])?.lines().map(str::to_owned).collect();
        let cordoned = Self(nodes);
        cordoned.0.iter().try_for_each(|node| kubectl(&["cordon", node]).map(drop))?;
        Ok(cordoned)
    }
}

impl Drop for Cordoned {
    fn drop(&mut self) {
        for node in &self.0 {
            if let Err(error) = kubectl(&["uncordon", node]) {
                eprintln!("{node} takes no pods: {error:#}");
            }
        }
    }
}

/// Creates a Node object without a machine and a kubelet.
async fn node(nodes: &Api<Node>, name: &str) -> Result<()> {
    nodes.delete(name, &DeleteParams::default()).await.map(drop).or_else(|error| match error {
        kube::Error::Api(e) if e.code == 404 => Ok(()),
        error => Err(error),
    })?;
    let room = json!({ "cpu": "8", "memory": "16Gi", "pods": "100", "ephemeral-storage": "100Gi" });
    let now = Timestamp::now().to_string();
    let ready = json!({ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastHeartbeatTime": now, "lastTransitionTime": now });
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": { "kubernetes.io/os": "linux" } },
        "status": { "capacity": room, "allocatable": room, "conditions": [ready] },
    });
    nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
    Ok(())
}

#[test]
fn attempts_on_a_lost_node_are_retried_if_harmless() {
    const DOOMED: &str = "e2e-doomed";
    on_stage("node-lost", |stage| async move {
        installation::await_healthy()?;
        let nodes: Api<Node> = Api::all(stage.client.clone());
        let cordoned = Cordoned::all()?;
        node(&nodes, DOOMED).await?;
        let tasks = "  execution: {retry: {backoffSeconds: 1}, onFailure: Continue}
  tasks:
    - {id: T001, title: can be done again, script: 'true'}
    - {id: T002, title: reaches beyond, externalEffect: true, script: 'true'}
";
        stage.apply(&scripted_plan("lost", tasks)).await?;
        // No kubelet runs these pods, so the test writes their status.
        let running = json!({ "status": { "phase": "Running", "startTime": Timestamp::now().to_string() } });
        for pod in ["lost-t001-1", "lost-t002-1"] {
            let placed = |p: &Pod| p.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(DOOMED);
            stage.watch(&stage.api::<Pod>(), pod, "its place on the node", PATIENCE, placed).await?;
            stage.api::<Pod>().patch_status(pod, &PatchParams::default(), &Patch::Merge(&running)).await?;
        }
        nodes.delete(DOOMED, &DeleteParams::default()).await?;
        drop(cordoned);

        // The control plane checks for pods without a node every 30 seconds.
        let plan = stage.finished("lost", Phase::Failed, LONG).await?;
        let attempts = stage.attempts(&plan)?;
        ensure!(ends(&attempts, "T001") == ["Lost", "Succeeded"], "{attempts:#?}");
        ensure!(ends(&attempts, "T002") == ["Lost"], "{attempts:#?}");
        ensure!(attempts.iter().filter(|a| a.reason == "Lost").all(|a| a.failure == "Unknown"), "{attempts:#?}");
        let status = stage.task("lost", "T002").await?.status.context("no status")?;
        ensure!(status.phase == task::Phase::Unknown, "{status:?}");
        let reported = condition(&status.conditions, "Ready").context("no condition Ready")?;
        ensure!(reported.message.contains("find out how much of the work was done"), "{reported:?}");
        installation::await_healthy()
    });
}

/// Returns the webhook's pods, with the number of restarts of their containers.
fn webhooks() -> Result<String> {
    let path = "--output=jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount};{end}";
    kubectl(&["get", "pods", "--selector=app.kubernetes.io/component=webhook", path])
}

async fn tasks_of(stage: &Stage, plan: &str) -> Result<Vec<Task>> {
    let of_plan = ListParams::default().fields(&format!("spec.planRef.name={plan}"));
    Ok(stage.api::<Task>().list(&of_plan).await?.items)
}

/// Returns whether a task succeeded whose first attempt had to wait with its result. On a loaded machine the wait can be longer than the
/// runner retries the delivery. Then a second attempt succeeds.
fn delivered(ends: &[&str]) -> bool {
    ends == ["Succeeded"] || ends == ["DeliveryFailed", "Succeeded"]
}
