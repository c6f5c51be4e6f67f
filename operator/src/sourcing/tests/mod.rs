//! Sourcing against a fake API server: the status after each poll, and the pods that exist.

mod draft;
mod git;

use enact_crds::Specification;
use enact_crds::common::LocalRef;
use enact_crds::specification::DraftStatus;
use enact_domain::assignment::{ASSIGNMENT_ENV, Adapter};
use enact_domain::attempt::exit_code;
use enact_domain::condition::Progress;
use enact_domain::digest::Digest;
use enact_domain::document_job::{DocumentJob, DocumentWork, DraftWork, FetchWork};
use enact_domain::names;
use enact_domain::push::Push;
use serde_json::{Value, json};

use super::sourced::jittered;
use super::*;
use crate::config::Config;
use crate::testing::{Bench, config};

const GOOD: &str = "# Feature Specification: Cart\n\n## User Scenarios & Testing\n\n### User Story 1 - Fill it (Priority: P1)\n\nText.\n\n\
                    ## Requirements\n\n- **FR-001**: The cart MUST hold 100 articles.\n";
const BAD: &str = "# Feature Specification: Cart\n\nNothing.\n";

impl Sourced {
    fn commit(&self) -> Option<&str> {
        self.status.as_ref()?.commit.as_deref()
    }
}

/// Returns progress and reason of an object without a document.
fn state(sourced: &Sourced) -> (Progress, &str) {
    let missing = sourced.bytes.as_ref().unwrap_err();
    (missing.progress, &missing.reason)
}

/// A Specification and its status, as its controller keeps them.
struct Scene {
    bench: Bench,
    object: Specification,
    observed: Option<i64>,
    status: Option<SourceStatus>,
    draft: Option<DraftStatus>,
    /// Number of changes of the status.
    written: usize,
}

impl Scene {
    async fn new(spec: Value) -> Self {
        let mut bench = Bench::new().await;
        bench.agent_with("scribe", json!({"adapter": "Command", "script": "true"}));
        let metadata = json!({"name": "cart", "namespace": "ns", "uid": "cart-uid", "generation": 1});
        let object =
            json!({"apiVersion": "enact.dev/v1alpha1", "kind": "Specification", "metadata": metadata, "spec": spec});
        let object = serde_json::from_value(object).unwrap();
        Self { bench, object, observed: None, status: None, draft: None, written: 0 }
    }

    async fn git() -> Self {
        Self::new(json!({"source": {"git": git()}})).await
    }

    async fn drafting() -> Self {
        Self::new(json!({"request": "Sell flowers.", "drafting": {"agentRef": {"name": "scribe"}, "maxAttempts": 2}}))
            .await
    }

    /// Reads the source once, and keeps the status.
    async fn poll(&mut self) -> Sourced {
        let spec = self.object.spec.clone();
        let drafter = spec.request.as_deref().zip(spec.drafting.as_ref()).map(|(request, drafting)| Drafter {
            request,
            drafting,
            constitution: spec.constitution_ref.as_ref(),
            known: self.draft.as_ref(),
        });
        let subject = Subject::of(&self.object, self.observed);
        let sourced =
            content(&self.bench.contexts.sourcing, &subject, spec.source.as_ref(), self.status.as_ref(), drafter).await;
        let sourced = sourced.unwrap();
        self.written += usize::from(self.status != sourced.status || self.draft != sourced.draft);
        (self.status, self.draft) = (sourced.status.clone(), sourced.draft.clone());
        self.observed = self.object.metadata.generation;
        sourced
    }

    /// Changes the spec.
    fn change(&mut self, change: impl FnOnce(&mut Specification)) {
        change(&mut self.object);
        self.object.metadata.generation = self.object.metadata.generation.map(|g| g + 1);
    }

    /// Returns the only pod.
    fn pod(&self) -> Value {
        let [pod] = <[Value; 1]>::try_from(self.bench.api.all("pods")).expect("one pod");
        pod
    }

    fn pods(&self) -> usize {
        self.bench.api.all("pods").len()
    }

    fn job(&self) -> DocumentJob {
        let pod = self.pod();
        let env = pod["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        let assignment = env.iter().find(|var| var["name"] == ASSIGNMENT_ENV).unwrap()["value"].as_str().unwrap();
        serde_json::from_str(&assignment.replace("$$", "$")).unwrap()
    }

    fn fetching(&self) -> FetchWork {
        let DocumentWork::Fetch(work) = self.job().work else { panic!("a fetch was expected") };
        work
    }

    fn drafts(&self) -> DraftWork {
        let DocumentWork::Draft(work) = self.job().work else { panic!("a draft was expected") };
        work
    }

    fn name(&self) -> String {
        self.pod()["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// Ends the pod successfully with this document and commit.
    async fn brings(&mut self, document: Option<&str>, commit: Option<&str>) {
        let mut report = json!({"reason": "Succeeded"});
        if let Some(document) = document {
            self.bench.record_store.documents.lock().unwrap().push(document.as_bytes().to_vec());
            report["document"] = Digest::of_bytes(document.as_bytes()).as_str().into();
        }
        if let Some(commit) = commit {
            report["commit"] = commit.into();
        }
        self.ends("Succeeded", 0, &report).await;
    }

    async fn fails(&mut self, reason: &str, message: &str) {
        let report = json!({"reason": reason, "message": message});
        let code = exit_code(serde_json::from_value(report["reason"].clone()).unwrap());
        self.ends("Failed", code, &report).await;
    }

    async fn ends(&mut self, phase: &str, code: i32, report: &Value) {
        let ended = json!({"exitCode": code, "reason": "Ended", "message": report.to_string()});
        let status = json!({"phase": phase, "containerStatuses": [{"name": "main", "state": {"terminated": ended}}]});
        self.bench.set_job_status(&self.name(), status).await;
    }

    /// Replaces the pod by a copy, which differs only in its UID.
    async fn copies(&mut self) {
        let (name, mut pod) = (self.name(), self.pod());
        self.bench.api.remove(&format!("pods/{name}"));
        self.bench.delete_job(pod.clone()).await;
        pod["metadata"]["uid"] = "copy".into();
        self.bench.api.put(&format!("pods/{name}"), pod);
    }

    /// Reads the source once, which deletes the pod, and delivers that deletion.
    async fn tidy(&mut self) -> Sourced {
        let pod = self.pod();
        let sourced = self.poll().await;
        assert_eq!(self.pods(), 0, "a pod that was read goes");
        self.bench.delete_job(pod).await;
        sourced
    }
}

fn git() -> Value {
    json!({"url": "https://git.example.org/shop.git", "path": "specs/cart.md", "credentialsSecretRef": {"name": "git"}})
}

#[tokio::test]
async fn config_map_source_reports_what_is_missing() {
    let mut scene = Scene::new(json!({"source": {"configMapKeyRef": {"name": "docs", "key": "spec.md"}}})).await;
    let message = async |scene: &mut Scene| {
        let sourced = scene.poll().await;
        assert_eq!(state(&sourced), (Progress::Stalled, "SourceMissing"));
        sourced.bytes.unwrap_err().message
    };
    assert_eq!(
        message(&mut scene).await,
        "spec.source.configMapKeyRef: there is no ConfigMap docs in this namespace; create it"
    );
    scene.bench.api.put("configmaps/docs", json!({"metadata": {"name": "docs", "namespace": "ns"}, "data": {"a": ""}}));
    assert_eq!(
        message(&mut scene).await,
        "spec.source.configMapKeyRef: ConfigMap docs has no key spec.md; add it, or name an existing key"
    );
    scene.object.spec.source = None;
    assert!(message(&mut scene).await.starts_with("there is no document; set spec.source"));
}
