//! Where the measured plans live.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use enact_crds::{Agent, Plan, Tenant};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{Namespace as KubeNamespace, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy};
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde_json::json;

/// Name of the tenant and of its namespace.
const NAME: &str = "enact-bench";

/// What is wrong when a stream of pods is at its end.
pub const ENDED: &str = "the watch of pods ended";

/// A tenant with one namespace and one agent, on nodes that kwok plays.
pub struct Namespace {
    /// The administrator's client.
    pub client: Client,
}

impl Namespace {
    /// Makes it anew.
    ///
    /// # Errors
    /// When Enact does not set the tenant up.
    pub async fn set(client: &Client) -> Result<Self> {
        let namespace = Self { client: client.clone() };
        namespace.clear().await?;
        let params = PatchParams::apply(NAME).force();
        let tenant = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": NAME },
            "spec": { "namespaces": [NAME], "parallelism": 10_000 },
        });
        let tenants: Api<Tenant> = Api::all(client.clone());
        tenants.patch(NAME, &params, &Patch::Apply(tenant)).await.context("is Enact installed?")?;
        let ready = |t: &Tenant| {
            t.status.as_ref().is_some_and(|s| s.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
        };
        wait("the tenant", || async { Ok(tenants.get(NAME).await.is_ok_and(|t| ready(&t))) }).await?;
        let agent = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Agent", "metadata": { "name": "played" },
            "spec": { "adapter": "Command", "script": "true" },
        });
        namespace.api::<Agent>().patch("played", &params, &Patch::Apply(agent)).await?;
        Ok(namespace)
    }

    /// Objects of a kind in it.
    pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), NAME)
    }

    /// Its pods, each time that one is seen to be new or changed. A watch that the API server ends, as it does with one that falls behind, is
    /// taken up again.
    pub fn pods(&self) -> BoxStream<'static, watcher::Result<Pod>> {
        watcher::watcher(self.api::<Pod>(), watcher::Config::default()).applied_objects().boxed()
    }

    /// Deletes every plan and pod, and waits until they are gone.
    ///
    /// # Errors
    /// When they do not go.
    pub async fn sweep(&self) -> Result<()> {
        let gone = DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..Default::default() };
        self.api::<Plan>().delete_collection(&gone, &ListParams::default()).await?;
        self.api::<Pod>().delete_collection(&gone, &ListParams::default()).await?;
        let few = ListParams::default().limit(1);
        wait("the end of all tasks and pods", || async {
            let pods = self.api::<Pod>().list_metadata(&few).await?;
            let tasks = self.api::<enact_crds::Task>().list_metadata(&few).await?;
            Ok(pods.items.is_empty() && tasks.items.is_empty())
        })
        .await
    }

    /// Takes everything away.
    ///
    /// # Errors
    /// When something does not go.
    pub async fn clear(&self) -> Result<()> {
        self.sweep().await?;
        let tenants: Api<Tenant> = Api::all(self.client.clone());
        let namespaces: Api<KubeNamespace> = Api::all(self.client.clone());
        let _ = tenants.delete(NAME, &DeleteParams::default()).await;
        wait("the end of the tenant", || async { Ok(tenants.get_opt(NAME).await?.is_none()) }).await?;
        let _ = namespaces.delete(NAME, &DeleteParams::default()).await;
        wait("the end of the namespace", || async { Ok(namespaces.get_opt(NAME).await?.is_none()) }).await
    }
}

/// Whether a pod has ended well.
pub fn has_succeeded(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Succeeded")
}

/// Waits, up to ten minutes.
async fn wait<F, Fut>(what: &str, mut done: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<bool>>,
{
    for _ in 0..3000 {
        if done().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("waited ten minutes for {what}")
}
