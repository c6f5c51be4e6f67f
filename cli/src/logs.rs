//! `logs`: the logs of an attempt's pod.

use std::io::{self, IsTerminal as _};

use anyhow::{Result, bail};
use enact_crds::task::Phase;
use enact_crds::{Plan, Task};
use enact_domain::names::{INTEGRATION, LABEL_TENANT, integration_pod_name, pod_name};
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::LogParams;
use kube::runtime::wait::await_condition;
use kube::{Api, Resource, ResourceExt as _};

use crate::args::Logs;
use crate::cluster::{Cluster, api_error};
use crate::control::{Target, task_of};
use crate::status::phase_of;
use crate::terminal;
use crate::text::{LogFilter, one_line};

/// A task or an integration.
pub(crate) struct Work {
    /// `T003` or `the integration`, for messages.
    label: String,
    /// Name of the Task, or of the Plan for an integration.
    name: String,
    is_integration: bool,
    uid: String,
    tenant: Option<String>,
    phase: Phase,
    attempts: u32,
    /// Reason and message of the last attempt.
    reason: Option<String>,
}

impl Work {
    fn of_task(task: &Task) -> Self {
        let status = task.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|condition| condition.type_ == enact_domain::condition::READY);
        Self {
            label: task.spec.work.id.clone(),
            name: task.name_any(),
            is_integration: false,
            uid: task.uid().unwrap_or_default(),
            tenant: tenant(task),
            phase: phase_of(task),
            attempts: status.attempts,
            reason: ready.map(|ready| format!("{}: {}", ready.reason, ready.message)),
        }
    }

    fn of_integration(plan: &Plan) -> Self {
        let status = plan.status.as_ref().and_then(|status| status.integration.clone()).unwrap_or_default();
        let message = status.message.unwrap_or_default();
        Self {
            label: "the integration".into(),
            name: plan.name_any(),
            is_integration: true,
            uid: plan.uid().unwrap_or_default(),
            tenant: tenant(plan),
            phase: status.phase,
            attempts: status.attempts,
            reason: status.reason.map(|reason| format!("{reason}: {message}")),
        }
    }

    pub(crate) fn pod(&self, attempt: u32) -> String {
        if self.is_integration { integration_pod_name(&self.name, attempt) } else { pod_name(&self.name, attempt) }
    }

    /// Returns whether an attempt has ended, according to the status.
    fn is_over(&self, attempt: u32) -> bool {
        attempt < self.attempts || (attempt == self.attempts && self.phase != Phase::Running)
    }

    /// Explains why an attempt has no pod.
    pub(crate) fn no_pod(&self, attempt: u32) -> String {
        let (pod, label) = (self.pod(attempt), &self.label);
        if attempt > self.attempts {
            return format!(
                "attempt {attempt} of {label} has not started: there is no pod {pod}; use --follow to wait for it"
            );
        }
        if !self.is_over(attempt) {
            return format!(
                "attempt {attempt} of {label} is running, but its pod {pod} does not exist any more; the operator will set its status"
            );
        }
        // The status only has the reason of the last attempt.
        let last = self.reason.as_ref().filter(|_| attempt == self.attempts);
        let last = last.map_or_else(String::new, |reason| format!(" ({:?}, {})", self.phase, one_line(reason)));
        let tenant = self.tenant.as_deref().unwrap_or("TENANT");
        format!(
            "attempt {attempt} of {label} has ended{last}, and the operator has deleted its pod {pod}. The transcript is in the record; query \
             Postgres:\n  begin;\n  select set_config('enact.tenant', '{tenant}', true);\n  select transcript from enact.results where \
             subject_uid = '{}' and number = {attempt};\n  commit;",
            self.uid
        )
    }
}

fn tenant<K: Resource>(object: &K) -> Option<String> {
    object.labels().get(LABEL_TENANT).cloned()
}

/// Prints the logs of the containers of an attempt, in the order in which they run.
pub async fn run(cluster: &Cluster, options: &Logs) -> Result<()> {
    let work = find(cluster, &options.task).await?;
    let api: Api<Pod> = cluster.api();
    let (attempt, pod) = match options.attempt {
        Some(attempt) => (attempt, api.get_opt(&work.pod(attempt)).await.map_err(api_error)?),
        None => last(&api, &work).await?,
    };
    let name = work.pod(attempt);
    let pod = if pod.is_none() && options.follow && !work.is_over(attempt) {
        terminal::note(&format!("waiting for pod {name}"));
        await_condition(api.clone(), &name, |pod: Option<&Pod>| pod.is_some()).await?
    } else {
        pod
    };
    let Some(pod) = pod else { bail!(work.no_pod(attempt)) };
    let names = containers(&pod);
    for container in &names {
        if names.len() > 1 {
            terminal::note(&format!("── {container}"));
        }
        // Containers run one after the other: if one has not started, those after it have not started either.
        if !print(&api, &name, container, options.follow).await? {
            break;
        }
    }
    Ok(())
}

/// Returns the number of the last attempt and its pod. A pod may exist before the status counts its attempt.
pub(crate) async fn last(api: &Api<Pod>, work: &Work) -> Result<(u32, Option<Pod>)> {
    let next = work.attempts + 1;
    if work.phase == Phase::Pending {
        let pod = api.get_opt(&work.pod(next)).await.map_err(api_error)?;
        if pod.is_some() || work.attempts == 0 {
            return Ok((next, pod));
        }
    }
    let attempt = work.attempts.max(1);
    Ok((attempt, api.get_opt(&work.pod(attempt)).await.map_err(api_error)?))
}

pub(crate) async fn find(cluster: &Cluster, target: &str) -> Result<Work> {
    match Target::parse(target) {
        Target::TaskOfPlan(plan, id) if id == INTEGRATION => Ok(Work::of_integration(&cluster.get(&plan).await?)),
        Target::TaskOfPlan(plan, id) => Ok(Work::of_task(&task_of(cluster, &plan, &id).await?)),
        Target::Name(name) => match cluster.api::<Task>().get_opt(&name).await.map_err(api_error)? {
            Some(task) => Ok(Work::of_task(&task)),
            None => {
                bail!("there is no Task {name} in namespace {}; name it PLAN/TASKID or by its name", cluster.namespace)
            }
        },
    }
}

/// Returns the names of all containers of a pod, in the order in which they run.
fn containers(pod: &Pod) -> Vec<String> {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
    let main = spec.map(|spec| spec.containers.iter()).into_iter().flatten();
    init.chain(main).map(|container| container.name.clone()).collect()
}

/// Prints the log of a container. Returns whether the container has started.
async fn print(api: &Api<Pod>, pod: &str, container: &str, follow: bool) -> Result<bool> {
    if follow {
        // The wait also ends when the pod is deleted or over: a container after a failed one never starts.
        let started = |found: Option<&Pod>| found.is_none_or(|found| has_started(found, container) || is_over(found));
        await_condition(api.clone(), pod, started).await?;
    }
    let Some(found) = api.get_opt(pod).await.map_err(api_error)? else { bail!("pod {pod} was deleted") };
    if !has_started(&found, container) {
        terminal::note(&format!("container {container} has not started"));
        return Ok(false);
    }
    let params = LogParams { container: Some(container.to_owned()), follow, ..LogParams::default() };
    let mut stream = std::pin::pin!(api.log_stream(pod, &params).await.map_err(api_error)?);
    let mut chunk = vec![0; 16 * 1024];
    // A file gets every byte. A terminal gets no control characters, because an agent chooses what it prints.
    let mut filter = io::stdout().is_terminal().then(LogFilter::default);
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(true);
        }
        match &mut filter {
            Some(filter) => terminal::print(&filter.push(&chunk[..count]))?,
            None => terminal::print_bytes(&chunk[..count])?,
        }
    }
}

fn has_started(pod: &Pod, container: &str) -> bool {
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
