//! `enact logs`: what an attempt printed, from its pod.

use std::process::ExitCode;

use anyhow::{Result, bail};
use enact_crds::{Plan, Task};
use enact_domain::names::{INTEGRATION, integration_pod_name, pod_name};
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::LogParams;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt as _};

use crate::args::Logs;
use crate::cluster::{Cluster, told};
use crate::control::{Named, task_of};
use crate::terminal;

/// Prints the logs of an attempt's containers, in the order in which they run.
pub async fn run(cluster: &Cluster, options: &Logs) -> Result<ExitCode> {
    let name = pod(cluster, options).await?;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let Some(pod) = find(&api, &name, options.follow).await? else {
        bail!(
            "pod {name} is not there: it was not started yet, or it is cleaned up; what it printed last is in the record, \
             and `--attempt N` shows another attempt"
        );
    };
    let names = containers(&pod);
    for container in &names {
        if names.len() > 1 {
            terminal::note(&format!("── {container}"));
        }
        if !print(&api, &name, container, options.follow).await? {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of the attempt's pod.
async fn pod(cluster: &Cluster, options: &Logs) -> Result<String> {
    let attempt = |last: u32, what: &str| match options.attempt {
        Some(attempt) => Ok(attempt),
        None if last > 0 || options.follow => Ok(last.max(1)),
        None => bail!("no attempt at {what} was started yet"),
    };
    let of_task = |task: &Task| {
        let last = task.status.as_ref().map_or(0, |status| status.attempts);
        Ok(pod_name(&task.name_any(), attempt(last, &task.spec.work.id)?))
    };
    match Named::parse(&options.task) {
        Named::Of(plan, id) if id == INTEGRATION => {
            let api: Api<Plan> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
            let status = api.get(&plan).await.map_err(told)?.status.and_then(|status| status.integration);
            let last = status.map_or(0, |integration| integration.attempts);
            Ok(integration_pod_name(&plan, attempt(last, "the integration")?))
        }
        Named::Of(plan, id) => of_task(&task_of(cluster, &plan, &id).await?),
        Named::Name(name) => {
            let api: Api<Task> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
            match api.get_opt(&name).await.map_err(told)? {
                Some(task) => of_task(&task),
                None => bail!(
                    "there is no Task {name} in namespace {}; name it PLAN/TASKID or by its name",
                    cluster.namespace
                ),
            }
        }
    }
}

async fn find(api: &Api<Pod>, name: &str, wait: bool) -> Result<Option<Pod>> {
    let pod = api.get_opt(name).await.map_err(told)?;
    if pod.is_some() || !wait {
        return Ok(pod);
    }
    terminal::note(&format!("waiting for pod {name}"));
    Ok(await_condition(api.clone(), name, |pod: Option<&Pod>| pod.is_some()).await?)
}

/// All containers of a pod, in the order in which they run.
fn containers(pod: &Pod) -> Vec<String> {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
    let main = spec.map(|spec| spec.containers.iter()).into_iter().flatten();
    init.chain(main).map(|container| container.name.clone()).collect()
}

/// Prints one container's log; whether there was one.
async fn print(api: &Api<Pod>, pod: &str, container: &str, follow: bool) -> Result<bool> {
    if follow {
        let begun = |found: Option<&Pod>| found.is_none_or(|found| has_begun(found, container) || is_over(found));
        await_condition(api.clone(), pod, begun).await?;
    }
    let Some(found) = api.get_opt(pod).await.map_err(told)? else { bail!("pod {pod} was deleted") };
    if !has_begun(&found, container) {
        terminal::note(&format!("container {container} was not started"));
        return Ok(false);
    }
    let params = LogParams { container: Some(container.to_owned()), follow, ..LogParams::default() };
    let mut stream = std::pin::pin!(api.log_stream(pod, &params).await.map_err(told)?);
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(true);
        }
        terminal::print_bytes(&chunk[..count])?;
    }
}

fn has_begun(pod: &Pod, container: &str) -> bool {
    let status = pod.status.as_ref();
    let all = |list: fn(&k8s_openapi::api::core::v1::PodStatus) -> &Option<Vec<ContainerStatus>>| {
        status.and_then(|status| list(status).as_ref()).into_iter().flatten()
    };
    let state = all(|status| &status.init_container_statuses)
        .chain(all(|status| &status.container_statuses))
        .find(|status| status.name == container)
        .and_then(|status| status.state.as_ref());
    state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
