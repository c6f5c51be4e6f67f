//! The reference: a small client that makes the same number of bare pods, and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{PostParams, WatchEvent, WatchParams};
use serde_json::json;

use crate::namespace::Namespace;

/// Requests under way at once: what the operator has, too.
const IN_FLIGHT: usize = 32;

/// Makes `count` pods; the time until all have succeeded.
///
/// # Errors
/// When the API server refuses.
pub async fn pods(namespace: &Namespace, count: u32) -> Result<Duration> {
    let api = namespace.api::<Pod>();
    let version = api.list(&kube::api::ListParams::default().limit(1)).await?.metadata.resource_version;
    let mut events = api.watch(&WatchParams::default(), &version.unwrap_or_default()).await?.boxed();
    let began = Instant::now();
    let made = stream::iter(0..count)
        .map(|i| pod(&format!("reference-{i}")))
        .map(Ok::<_, anyhow::Error>)
        .try_for_each_concurrent(IN_FLIGHT, |pod| {
            let api = api.clone();
            async move { api.create(&PostParams::default(), &pod?).await.map(drop).context("cannot make a pod") }
        });
    let seen = async {
        let mut done = std::collections::HashSet::new();
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Modified(pod) | WatchEvent::Added(pod) = event
                && pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Succeeded")
            {
                done.insert(pod.name_any());
            }
            if done.len() == count as usize {
                return Ok(());
            }
        }
        anyhow::bail!("the watch of the reference's pods ended")
    };
    tokio::try_join!(made, seen)?;
    let time = began.elapsed();
    namespace.sweep().await?;
    Ok(time)
}

fn pod(name: &str) -> Result<Pod> {
    Ok(serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "nodeSelector": { "type": "kwok" },
            "tolerations": [{ "key": "kwok.x-k8s.io/node", "operator": "Exists" }],
            "securityContext": { "runAsNonRoot": true, "runAsUser": 10001, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "agent", "image": "played",
                "resources": { "requests": { "cpu": "50m", "memory": "256Mi" }, "limits": { "memory": "256Mi" } },
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    }))?)
}
