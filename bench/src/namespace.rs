//! The namespace of the measured plans.

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

/// The name of the usual tenant and of its namespace.
pub const NAME: &str = "enact-bench";

/// The error message if a stream of pods ends.
pub const ENDED: &str = "the watch of pods ended";

/// A tenant with one namespace and one agent, on simulated nodes.
pub struct Namespace {
    pub client: Client,
    /// The name of the tenant and of its namespace.
    name: &'static str,
}

impl Namespace {
    /// Creates the tenant. An existing one is deleted first.
    ///
    /// # Errors
    /// If the tenant does not become ready.
    pub async fn set(client: &Client, name: &'static str) -> Result<Self> {
        let namespace = Self { client: client.clone(), name };
        namespace.clear().await?;
        let params = PatchParams::apply(NAME).force();
        let tenant = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
            "spec": { "namespaces": [name], "parallelism": 10_000 },
        });
        let tenants: Api<Tenant> = Api::all(client.clone());
        tenants.patch(name, &params, &Patch::Apply(tenant)).await.context("is Enact installed?")?;
        let ready = |t: &Tenant| {
            t.status.as_ref().is_some_and(|s| s.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
        };
        wait("the tenant", || async { Ok(tenants.get(name).await.is_ok_and(|t| ready(&t))) }).await?;
        let agent = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Agent", "metadata": { "name": "played" },
            "spec": { "adapter": "Command", "script": "true" },
        });
        namespace.api::<Agent>().patch("played", &params, &Patch::Apply(agent)).await?;
        Ok(namespace)
    }

    /// Returns the API of a kind in the namespace.
    pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), self.name)
    }

    /// Watches the pods. A watch that the API server ends, for example because it is too slow, is started again.
    pub fn pods(&self) -> BoxStream<'static, watcher::Result<Pod>> {
        watcher::watcher(self.api::<Pod>(), watcher::Config::default()).applied_objects().boxed()
    }

    /// Deletes all plans and pods, and waits until they do not exist any more.
    ///
    /// # Errors
    /// If they are not deleted in time.
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

    /// Deletes the tenant and its namespace.
    ///
    /// # Errors
    /// If they are not deleted in time.
    pub async fn clear(&self) -> Result<()> {
        self.sweep().await?;
        let tenants: Api<Tenant> = Api::all(self.client.clone());
        let namespaces: Api<KubeNamespace> = Api::all(self.client.clone());
        // The tenant is deleted first. Otherwise the operator would create the namespace again. Errors are ignored,
        // because the objects may not exist.
        let _ = tenants.delete(self.name, &DeleteParams::default()).await;
        wait("the end of the tenant", || async { Ok(tenants.get_opt(self.name).await?.is_none()) }).await?;
        let _ = namespaces.delete(self.name, &DeleteParams::default()).await;
        wait("the end of the namespace", || async { Ok(namespaces.get_opt(self.name).await?.is_none()) }).await
    }
}

pub fn has_succeeded(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Succeeded")
}

/// Waits, up to ten minutes.
///
/// # Errors
/// If that is too short, or `done` fails.
pub async fn wait<F, Fut>(what: &str, mut done: F) -> Result<()>
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
