//! The reference: a small client that only creates the same bare pods.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::PostParams;
use serde_json::json;

use crate::figures::Times;
use crate::namespace::{self, ENDED, Namespace};

/// The number of parallel requests, as in the operator.
const IN_FLIGHT: usize = 32;

/// Creates `count` pods, and returns the time until all have succeeded.
///
/// # Errors
/// If the API server refuses a request.
pub async fn pods(namespace: &Namespace, count: u32) -> Result<Duration> {
    let api = namespace.api::<Pod>();
    let mut seen = namespace.pods();
    let began = Instant::now();
    let made = stream::iter(0..count)
        .map(|i| pod(&format!("reference-{i}")))
        .map(Ok::<_, anyhow::Error>)
        .try_for_each_concurrent(IN_FLIGHT, |pod| {
            let api = api.clone();
            async move { api.create(&PostParams::default(), &pod?).await.map(drop).context("cannot make a pod") }
        });
    let all_done = async {
        let mut done = HashSet::new();
        while done.len() < count as usize {
            let pod = seen.try_next().await?.context(ENDED)?;
            if namespace::has_succeeded(&pod) {
                done.insert(pod.name_any());
            }
        }
        Ok(())
    };
    tokio::try_join!(made, all_done)?;
    let time = began.elapsed();
    namespace.sweep().await?;
    Ok(time)
}

/// Creates `steps` pods, each after the end of the previous one, and returns the times between the events of an end and of the next pod.
///
/// # Errors
/// If the API server refuses a request.
pub async fn chain(namespace: &Namespace, steps: usize) -> Result<Times> {
    let api = namespace.api::<Pod>();
    let mut seen = namespace.pods();
    let name = |step: usize| format!("reference-{step}");
    let make =
        async |step: usize| api.create(&PostParams::default(), &pod(&name(step))?).await.context("cannot make a pod");
    make(0).await?;
    let (mut ended, mut times): (Option<Instant>, _) = (None, Vec::new());
    let mut step = 0;
    while step < steps {
        let pod = seen.try_next().await?.context(ENDED)?;
        if pod.name_any() != name(step) {
            continue;
        }
        if let Some(end) = ended.take() {
            times.push(end.elapsed().as_secs_f64());
        }
        if namespace::has_succeeded(&pod) {
            step += 1;
            if step < steps {
                ended = Some(Instant::now());
                make(step).await?;
            }
        }
    }
    namespace.sweep().await?;
    Ok(Times::new(times))
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
