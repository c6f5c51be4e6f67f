//! Plans with simulated pods.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use enact_crds::Plan;
use enact_crds::plan::Phase;
use enact_domain::names;
use futures::{StreamExt as _, TryStreamExt as _, future};
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::figures::Times;
use crate::namespace::{ENDED, Namespace, has_succeeded};

/// The number of tasks of each plan in the measurement of memory.
const PLAN_SIZE: u32 = 1000;

/// Runs a plan of independent tasks, and returns the time from its creation to its success.
///
/// # Errors
/// If it does not succeed.
pub async fn parallel(namespace: &Namespace, name: &str, tasks: u32) -> Result<Duration> {
    let began = Instant::now();
    let tasks = (1..=tasks).map(|i| json!({ "id": id(i), "title": "one of many" })).collect();
    succeed(namespace, name, tasks).await?;
    let time = began.elapsed();
    namespace.sweep().await?;
    Ok(time)
}

/// Runs plans of a thousand tasks each in parallel, and returns the time until all have succeeded.
///
/// # Errors
/// If one does not succeed.
pub async fn live(namespace: &Namespace, tasks: u32) -> Result<Duration> {
    let began = Instant::now();
    let plans = (0..tasks.div_ceil(PLAN_SIZE)).map(|plan| async move {
        let tasks = (1..=PLAN_SIZE).map(|i| json!({ "id": id(i), "title": "one of very many" })).collect();
        succeed(namespace, &format!("live-{plan}"), tasks).await
    });
    future::try_join_all(plans).await?;
    let time = began.elapsed();
    namespace.sweep().await?;
    Ok(time)
}

/// Runs a plan in which each task depends on the previous one, and returns the latency of each step: the time between the watch events of
/// a pod's end and of the next pod's creation.
///
/// # Errors
/// If it does not succeed.
pub async fn chain(namespace: &Namespace, name: &str, steps: u32) -> Result<Times> {
    let mut pods = namespace.pods();
    let tasks = (1..=steps)
        .map(|i| {
            let before: Vec<String> = (1..i).last().map(id).into_iter().collect();
            json!({ "id": id(i), "title": "one step", "dependsOn": before })
        })
        .collect();
    let seen = async {
        let (mut created, mut ended) = (HashMap::new(), HashMap::new());
        while ended.len() < steps as usize {
            let pod = pods.try_next().await?.context(ENDED)?;
            let now = Instant::now();
            let task = pod.labels().get(names::LABEL_TASK).cloned().unwrap_or_default();
            created.entry(task.clone()).or_insert(now);
            if has_succeeded(&pod) {
                ended.entry(task).or_insert(now);
            }
        }
        Ok((created, ended))
    };
    let ((created, ended), ()) = tokio::try_join!(seen, succeed(namespace, name, tasks))?;
    let task = |i| names::task_name(name, &id(i));
    let step = |i: u32| Some((*created.get(&task(i + 1))? - *ended.get(&task(i))?).as_secs_f64());
    let times = (1..steps).map(step).collect::<Option<Vec<f64>>>().context("a pod of the chain was not seen")?;
    namespace.sweep().await?;
    Ok(Times::new(times))
}

fn id(i: u32) -> String {
    format!("T{i:05}")
}

async fn succeed(namespace: &Namespace, name: &str, tasks: Vec<Value>) -> Result<()> {
    let plans: Api<Plan> = namespace.api();
    let plan: Plan = serde_json::from_value(json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "metadata": { "name": name },
        "spec": {
            "agentRef": { "name": "played" },
            "execution": { "parallelism": 10_000 },
            "tasks": tasks,
        },
    }))?;
    let made = plans.create(&PostParams::default(), &plan).await.with_context(|| format!("cannot make Plan {name}"))?;
    let fields = format!("metadata.name={name}");
    let mut version = made.resource_version().unwrap_or_default();
    loop {
        // The API server ends a watch from time to time. The next one continues after the last event.
        let mut events = plans.watch(&WatchParams::default().fields(&fields), &version).await?.boxed();
        while let Some(event) = events.try_next().await? {
            let WatchEvent::Modified(plan) = event else { continue };
            version = plan.resource_version().unwrap_or_default();
            let status = plan.status.unwrap_or_default();
            match status.phase {
                Phase::Succeeded => return Ok(()),
                Phase::Failed | Phase::Cancelled => {
                    bail!("Plan {name} ended as {:?}: {:?}", status.phase, status.conditions)
                }
                Phase::Pending | Phase::Running | Phase::Integrating => {}
            }
        }
    }
}
