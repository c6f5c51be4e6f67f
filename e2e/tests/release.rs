//! The life cycle of a release: its test, an upgrade and a rollback under load, and an uninstallation that loses no data. These tests
//! change the installation; they run last, one at a time, and restore it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::Plan;
use enact_crds::plan::Phase;
use enact_e2e::documents::inline;
use enact_e2e::installation::{self, RELEASE, helm, kubectl};
use enact_e2e::people::Person;
use enact_e2e::work::{HOLD, scripted_plan};
use enact_e2e::{Answer, PATIENCE, REQUEST_TIMEOUT, Stage, on_stage, on_stages, program, run, until};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

/// The timeout for a plan of a few seconds while the release changes.
const LONG: Duration = Duration::from_mins(6);
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/enact");
/// Helm's flags to wait for a change of the release.
const WAIT: [&str; 4] = ["--wait", "--wait-for-jobs", "--timeout", "5m"];
/// The annotation that an upgrade adds to all pods, so that all are replaced, and the migration runs again.
const MARK: &str = "enact.dev/e2e";

/// The reason why the release could not be restored after a test. The tests that follow report it instead of their own failures.
static NOT_PUT_BACK: OnceLock<String> = OnceLock::new();

/// Begins a test. Panics if the release is not healthy, because no test could pass then.
fn expect_whole() {
    if let Some(why) = NOT_PUT_BACK.get() {
        panic!("nothing can be tested: {why}");
    }
    installation::await_healthy().expect("the installation is whole");
}

/// The release as it was before a test. Drop restores it, with its values.
struct Release {
    values: PathBuf,
    revision: u64,
}

impl Release {
    /// Saves the values and the revision of the release.
    fn keep(test: &str) -> Result<Self> {
        let values = std::env::temp_dir().join(format!("enact-e2e-{test}-{}.yaml", std::process::id()));
        std::fs::write(&values, run(&mut helm(&["get", "values", RELEASE, "--output", "yaml"])?)?)?;
        let status: Value = serde_json::from_str(&run(&mut helm(&["status", RELEASE, "--output", "json"])?)?)?;
        let revision = status["version"].as_u64().context("the release has no revision")?;
        Ok(Self { values, revision })
    }

    /// Installs or upgrades the release from the chart, with the saved values and more flags.
    fn upgrade(&self, more: &[&str]) -> Result<()> {
        run(&mut self.upgrading(more)?).map(drop)
    }

    fn upgrading(&self, more: &[&str]) -> Result<Command> {
        let mut upgrade = helm(&["upgrade", "--install", RELEASE, CHART, "--values"])?;
        upgrade.arg(&self.values).args(WAIT).args(more);
        Ok(upgrade)
    }

    /// Ends a test that has restored the release itself.
    fn end(self) -> Result<()> {
        installation::await_healthy()?;
        std::fs::remove_file(&self.values)?;
        // Drop would restore the release again.
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if let Err(error) = self.upgrade(&[]).and_then(|()| installation::await_healthy()) {
            let values = self.values.display();
            let why =
                format!("an earlier test could not put the release back, whose values are in {values}: {error:#}");
            eprintln!("{why}");
            NOT_PUT_BACK.get_or_init(|| why);
        }
    }
}

#[test]
fn the_test_of_the_release_succeeds() {
    expect_whole();
    let reported = run(helm(&["test", RELEASE, "--logs"]).expect("helm").args(["--timeout", "5m"])).expect("helm test");
    for component in ["operator", "server", "webhook"] {
        let line = format!("http://enact-{component}.{}.svc:8081/readyz 200", installation::NAMESPACE);
        assert!(reported.contains(&line), "`{line}` is not in: {reported}");
    }
}

#[test]
fn upgrades_and_rollbacks_do_not_stop_plans() {
    expect_whole();
    on_stage("upgrade", |stage| async move {
        let release = Release::keep("upgrade")?;
        stage.apply(&many()).await?;
        stage.apply(&held("held")).await?;
        let pod = stage.running("held", "T001", 1).await?;
        let before = settled(&stage).await?;
        ensure!(before.len() >= 120, "{} objects", before.len());

        let marks = ["operator", "server", "webhook", "migration"]
            .map(|component| format!("{component}.podAnnotations.{}=upgraded", MARK.replace('.', "\\.")));
        let flags: Vec<&str> = marks.iter().flat_map(|mark| ["--set-string", mark]).collect();
        stage.apply(&chain("through-upgrade")).await?;
        let admissions = Admissions::begin(&stage);
        beside(release.upgrading(&flags)?).await?;
        admissions.end().await.context("during the upgrade")?;
        await_marked(5).await?;
        ensure!(state(&stage)? == before, "the upgrade changed objects");
        stage.release(&pod)?;
        let plan = stage.finished("held", Phase::Succeeded, LONG).await?;
        stage.done_once(&plan, &["T001", "T002"])?;
        let plan = stage.finished("through-upgrade", Phase::Succeeded, LONG).await?;
        stage.done_once(&plan, &CHAIN)?;

        let before = settled(&stage).await?;
        stage.apply(&chain("through-rollback")).await?;
        let admissions = Admissions::begin(&stage);
        let mut rollback = helm(&["rollback", RELEASE, &release.revision.to_string()])?;
        rollback.args(WAIT);
        beside(rollback).await?;
        admissions.end().await.context("during the rollback")?;
        await_marked(0).await?;
        let jobs = kubectl(&["get", "jobs", "--output=jsonpath={.items[*].status.succeeded}"])?;
        ensure!(jobs == "1", "the migration of the rollback: succeeded {jobs:?}");
        ensure!(state(&stage)? == before, "the rollback changed objects");
        let plan = stage.finished("through-rollback", Phase::Succeeded, LONG).await?;
        stage.done_once(&plan, &CHAIN)?;
        release.end()
    });
}

#[test]
fn objects_survive_an_uninstallation() {
    expect_whole();
    on_stages([("uninstall", ""), ("stranded", "")], |[stage, stranded]| async move {
        let release = Release::keep("uninstall")?;
        stage.apply(&chain("before")).await?;
        stage.apply(&held("held")).await?;
        stranded.apply(&held("held")).await?;
        let done = stage.finished("before", Phase::Succeeded, PATIENCE).await?;
        let pod = stage.running("held", "T001", 1).await?;
        stranded.running("held", "T001", 1).await?;
        let objects = settled(&stage).await?;
        let kept = kept()?;

        run(helm(&["uninstall", RELEASE])?.args(["--wait", "--timeout", "5m"]))?;
        let left =
            ours("validatingwebhookconfigurations,mutatingwebhookconfigurations,clusterroles,clusterrolebindings")?;
        ensure!(left.is_empty(), "the uninstallation left {left}");
        let left = ours("deployments,statefulsets,services,networkpolicies,roles,rolebindings")?;
        ensure!(left.is_empty(), "the uninstallation left {left}");
        ensure!(self::kept()? == kept, "of {kept}, there is {}", self::kept()?);
        ensure!(state(&stage)? == objects, "the uninstallation changed objects");
        let running = stage.api::<Pod>().get(&pod).await?.status.and_then(|s| s.phase);
        ensure!(running.as_deref() == Some("Running"), "{running:?}");

        // No webhook is left that the API server would call, and no operator that would remove a finalizer.
        stage.apply(&scripted_plan("meanwhile", "  tasks: [{id: T001, title: one, script: 'true'}]\n")).await?;
        stage.api::<Plan>().delete("meanwhile", &DeleteParams::foreground()).await?;
        let namespaces: Api<Namespace> = Api::all(stranded.client.clone());
        namespaces.delete(&stranded.name, &DeleteParams::default()).await?;
        until("the end of the namespace", PATIENCE, || async {
            let there = namespaces.get_opt(&stranded.name).await?;
            Ok(there.map_or(Answer::Yes(()), |n| Answer::NotYet(format!("{:?}", n.status))))
        })
        .await?;

        release.upgrade(&[])?;
        stage.release(&pod)?;
        let plan = stage.finished("held", Phase::Succeeded, LONG).await?;
        stage.done_once(&plan, &["T001", "T002"])?;
        stage.done_once(&done, &CHAIN)?;
        ensure!(self::kept()? == kept, "of {kept}, there is {}", self::kept()?);
        // The tenant of the deleted namespace gets the namespace back, and can run plans in it.
        let empty = || async {
            let namespace = namespaces.get_opt(&stranded.name).await?;
            Ok(namespace.map_or_else(|| Answer::NotYet("it is not there".into()), |_| Answer::Yes(())))
        };
        until("the tenant's namespace", PATIENCE, empty).await?;
        until("an admission in the new namespace", PATIENCE, || async {
            let plan = scripted_plan("reinstalled", "  tasks: [{id: T001, title: one, script: 'true'}]\n");
            Ok(stranded.apply(&plan).await.map_or_else(|e| Answer::NotYet(format!("{e:#}")), Answer::Yes))
        })
        .await?;
        stranded.finished("reinstalled", Phase::Succeeded, PATIENCE).await?;
        release.end()
    });
}

#[test]
fn with_the_model_a_search_finds_what_is_meant() {
    expect_whole();
    on_stage("meant", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        dana.applies(&inline("Specification", "shop", RETURNS, &json!({}))).await?;
        // The index is up to date when a search for a word of the document finds it.
        let finds = |what: &'static [&'static str], wanted: &'static str| {
            let dana = &dana;
            until("the requirement before all others", LONG, move || async move {
                let found = dana.enact(what)?.stdout;
                let first = found.lines().next().unwrap_or_default().to_owned();
                Ok(if first.contains(wanted) { Answer::Yes(()) } else { Answer::NotYet(format!("hits: {found}")) })
            })
        };
        finds(&["search", "refund"], "FR-003").await?;
        let meant = &["search", "merchandise", "money", "back"];
        let by_words = dana.enact(meant)?.stdout;
        ensure!(!by_words.contains("FR-"), "no word of it stands in the document: {by_words}");

        let release = Release::keep("meant")?;
        let model = std::env::var("ENACT_E2E_MODEL").context("ENACT_E2E_MODEL names no image")?;
        let (name, tag) = model.rsplit_once(':').context("the image of the model has no tag")?;
        let (registry, repository) = name.split_once('/').context("the image of the model has no registry")?;
        let image = [("registry", registry), ("repository", repository), ("tag", tag)]
            .map(|(key, value)| format!("search.minilm.image.{key}={value}"));
        let flags = image.iter().flat_map(|value| ["--set-string", value]);
        let flags: Vec<&str> = ["--set", "search.embedder=minilm"].into_iter().chain(flags).collect();
        release.upgrade(&flags)?;
        // Documents from before the upgrade get embeddings too.
        finds(meant, "FR-003").await?;
        release.upgrade(&[])?;
        finds(&["search", "refund"], "FR-003").await?;
        release.end()
    });
}

/// A specification with one requirement about refunds.
const RETURNS: &str = "# Feature Specification: Shop\n\n## User Scenarios & Testing\n\n### User Story 1 - Buy (Priority: P1)\n\nPeople \
    buy lamps.\n\n## Requirements\n\n### Functional Requirements\n\n- **FR-001**: The page MUST show every lamp with a picture.\n- \
    **FR-002**: The warehouse MUST count its shelves each night.\n- **FR-003**: Customers MUST get a full refund for products that they \
    return within 30 days.\n- **FR-004**: Staff MUST sign in with a key card.\n";

/// Returns many objects that do not change by themselves.
fn many() -> String {
    let document = "# A page about the weather\\n\\n## User Scenarios\\n\\nAs a reader I see the weather.\\n";
    let objects = (0..60).map(|n| {
        format!(
            "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {{name: agent-{n}}}\nspec: {{adapter: Command, script: 'true'}}\n---\n\
             apiVersion: enact.dev/v1alpha1\nkind: Specification\nmetadata: {{name: specification-{n}}}\nspec: {{source: {{inline: \"{document}{n}\"}}}}\n---\n"
        )
    });
    objects.collect()
}

/// Returns a plan whose first task waits for the test.
fn held(name: &str) -> String {
    let tasks = format!(
        "  tasks:\n    - {{id: T001, title: held, script: '{HOLD}'}}\n    \
         - {{id: T002, title: next, dependsOn: [T001], script: 'true'}}\n"
    );
    scripted_plan(name, &tasks)
}

const CHAIN: [&str; 4] = ["T001", "T002", "T003", "T004"];

/// Returns a plan that takes some seconds.
fn chain(name: &str) -> String {
    let mut tasks = String::from("  tasks:\n");
    for (n, id) in CHAIN.iter().enumerate() {
        let before = n.checked_sub(1).map(|n| CHAIN[n]).unwrap_or_default();
        tasks.push_str(&format!("    - {{id: {id}, title: step, dependsOn: [{before}], script: sleep 2}}\n"));
    }
    scripted_plan(name, &tasks)
}

/// Returns UID, generation and spec of every Enact object in the stage's namespace, and the status of all but Plans and Tasks.
fn state(stage: &Stage) -> Result<BTreeMap<String, Value>> {
    let kinds = "agents.enact.dev,specifications.enact.dev,plans.enact.dev,tasks.enact.dev";
    let get = [REQUEST_TIMEOUT, "get", kinds, "--output", "json", "--namespace", &stage.name];
    let listed = run(program("kubectl")?.args(get))?;
    let listed: Value = serde_json::from_str(&listed)?;
    let objects = listed["items"].as_array().context("no list")?.iter();
    // The plans `through-…` run during the change and are checked when they have ended. Their tasks have the same prefix.
    let still = objects.filter(|o| !o["metadata"]["name"].as_str().unwrap_or_default().starts_with("through-"));
    let kept = still.map(|o| {
        let (kind, name) = (&o["kind"], &o["metadata"]["name"]);
        let mut status = if kind == "Plan" || kind == "Task" { Value::Null } else { o["status"].clone() };
        // It is that of the last reconcile, and specifications that were applied later count in the next one, with or without an upgrade.
        if let Some(status) = status.as_object_mut() {
            status.remove("related");
        }
        let what = serde_json::json!([o["metadata"]["uid"], o["metadata"]["generation"], o["spec"], status]);
        (format!("{kind}/{name}"), what)
    });
    Ok(kept.collect())
}

/// Returns the [`state`] when every Agent and Specification has a status.
async fn settled(stage: &Stage) -> Result<BTreeMap<String, Value>> {
    until("a status of every object", PATIENCE, || async {
        let objects = state(stage)?;
        let news = |(name, what): &(&String, &Value)| {
            let works = name.contains("Plan") || name.contains("Task");
            !works && what[3]["observedGeneration"] != what[1]
        };
        let waits = objects.iter().filter(news).count();
        Ok(if waits == 0 { Answer::Yes(objects) } else { Answer::NotYet(format!("{waits} have none")) })
    })
    .await
}

/// Runs a command without blocking the test's other tasks.
async fn beside(mut command: Command) -> Result<String> {
    tokio::task::spawn_blocking(move || run(&mut command)).await?
}

/// A task that changes an object in a loop, and checks that every change is admitted. Drop stops it, so that a failed test can clear its
/// stage.
struct Admissions {
    stop: Arc<AtomicBool>,
    work: tokio::task::JoinHandle<Result<Changes>>,
}

/// The numbers of changes by result.
#[derive(Default)]
struct Changes {
    admitted: u32,
    timed_out: u32,
}

impl Admissions {
    fn begin(stage: &Stage) -> Self {
        let (stage, stop) = (stage.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let work = tokio::spawn(async move {
            let mut changes = Changes::default();
            while !stopped.load(Ordering::Relaxed) {
                let script = format!("echo {}", changes.admitted + changes.timed_out);
                let agent = format!("{{name: through-changes}}\nspec: {{adapter: Command, script: '{script}'}}\n");
                match stage.apply(&format!("apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {agent}")).await {
                    Ok(()) => changes.admitted += 1,
                    Err(error) if timed_out(&error) => {
                        println!("a change was not answered in time: {error:#}");
                        changes.timed_out += 1;
                    }
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(changes)
        });
        Self { stop, work }
    }

    async fn end(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let Changes { admitted, timed_out } = (&mut self.work).await??;
        println!("{admitted} changes were admitted meanwhile, {timed_out} not answered in time");
        ensure!(admitted > timed_out, "{admitted} changes were admitted, and {timed_out} not answered in time");
        Ok(())
    }
}

impl Drop for Admissions {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// Returns whether the API server gave up waiting for the webhook, as happens on a loaded machine. A refused or failed connection is a
/// different error: a pod ended too early, or got requests after its end.
fn timed_out(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    let late = ["context deadline exceeded", "Client.Timeout exceeded", "request did not complete within"];
    late.iter().any(|words| text.contains(words))
        && !["connection refused", "dial tcp"].iter().any(|w| text.contains(w))
}

/// Waits until this number of pods of the release has the [`MARK`]. Pods that were replaced may take time to end.
async fn await_marked(pods: usize) -> Result<()> {
    let path = format!("--output=jsonpath={{.items[*].metadata.annotations.{}}}", MARK.replace('.', "\\."));
    let long_running = "--selector=app.kubernetes.io/component in (operator,server,webhook)";
    until(&format!("{pods} pods with the annotation of the upgrade"), PATIENCE, || async {
        let marked = kubectl(&["get", "pods", long_running, &path])?.split_whitespace().count();
        Ok(if marked == pods { Answer::Yes(()) } else { Answer::NotYet(format!("there are {marked}")) })
    })
    .await
}

/// Returns the objects of the release of these kinds, in all namespaces.
fn ours(kinds: &str) -> Result<String> {
    let release = format!("--selector=app.kubernetes.io/instance={RELEASE}");
    kubectl(&["get", kinds, "--all-namespaces", &release, "--output=name"])
}

/// Returns the objects that remain after an uninstallation (definitions, password and volume), each with its UID.
fn kept() -> Result<String> {
    let path = "--output=jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}\n{end}";
    let definitions =
        kubectl(&["get", "customresourcedefinitions", "--selector=app.kubernetes.io/part-of=enact", path])?;
    let volume = kubectl(&["get", "persistentvolumeclaims", path])?;
    let secret = kubectl(&["get", "secret", "enact-postgres", "--output=jsonpath={.metadata.uid} {.data}"])?;
    ensure!(definitions.lines().count() == 8 && volume.lines().count() == 1, "{definitions}{volume}");
    Ok(format!("{definitions}{volume}{}", enact_domain::digest::Digest::of_bytes(secret.as_bytes()).as_str()))
}

#[test]
fn a_timeout_differs_from_a_refused_connection() {
    let failed = |why: &str| {
        let url = "https://enact-webhook.enact-system.svc:443/mutate?timeout=10s";
        anyhow::anyhow!(
            "Internal error occurred: failed calling webhook \"stamp.enact.dev\": failed to call webhook: Post \"{url}\": {why}"
        )
    };
    assert!(timed_out(&failed("context deadline exceeded")));
    assert!(timed_out(&failed("net/http: request canceled (Client.Timeout exceeded while awaiting headers)")));
    assert!(!timed_out(&failed("dial tcp 10.0.0.1:443: connect: connection refused")));
    assert!(!timed_out(&failed("dial tcp 10.0.0.1:443: i/o timeout")));
    assert!(!timed_out(&failed("EOF")));
}
