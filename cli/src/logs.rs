//! `logs`: the logs of an attempt's pod, or, when the pod is gone, what it delivered to the record.

use std::io::{self, IsTerminal as _};

use anyhow::{Context as _, Result, bail};
use enact_crds::task::Phase;
use enact_crds::{Plan, Task};
use enact_domain::agents::events::{AgentEvent, RAW_PREFIX};
use enact_domain::names::{INTEGRATION, LABEL_ATTEMPT, LABEL_TASK, integration_pod_name, pod_name};
use futures::{AsyncReadExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{ListParams, LogParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::wait::await_condition;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, ResourceExt as _};

use crate::args::Logs;
use crate::cluster::{Cluster, api_error};
use crate::control::{Target, task_of};
use crate::record::Record;
use crate::status::phase_of;
use crate::terminal;
use crate::text::{LogFilter, one_line};

/// A task or an integration.
pub(crate) struct Work {
    /// `T003` or `the integration`, for messages.
    label: String,
    /// Name of the Task, or of the Plan for an integration.
    name: String,
    plan: String,
    is_integration: bool,
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
            plan: task.spec.plan_ref.name.clone(),
            is_integration: false,
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
            plan: plan.name_any(),
            is_integration: true,
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
        format!("attempt {attempt} of {label} has ended{last}, and its pod {pod} does not exist any more")
    }
}

/// Prints the logs of the containers of an attempt, in the order in which they run.
pub async fn run(cluster: &Cluster, options: &Logs) -> Result<()> {
    let work = find(cluster, &options.task).await?;
    let api: Api<Pod> = cluster.api();
    let (attempt, pod) = match options.attempt {
        Some(attempt) => (attempt, pod_of(&api, &work, attempt).await?),
        None => last(&api, &work).await?,
    };
    let pod = if pod.is_none() && options.follow && !work.is_over(attempt) {
        terminal::note(&format!("waiting for pod {}", work.pod(attempt)));
        wait_for_pod(&api, &work, attempt).await?
    } else {
        pod
    };
    let Some(pod) = pod else { return Box::pin(recorded(cluster, &work, attempt, options.raw)).await };
    let name = pod.name_any();
    let names = containers(&pod);
    for container in &names {
        if names.len() > 1 {
            terminal::note(&format!("── {container}"));
        }
        // Containers run one after the other: if one has not started, those after it have not started either.
        if !print(&api, &name, container, options).await? {
            break;
        }
    }
    Ok(())
}

/// Returns the pod of an attempt, if it exists.
pub(crate) async fn pod_of(api: &Api<Pod>, work: &Work, attempt: u32) -> Result<Option<Pod>> {
    let own = api.get_opt(&work.pod(attempt)).await.map_err(api_error)?;
    if own.is_some() || work.is_integration { Ok(own) } else { assigned_pod(api, &work.name, attempt).await }
}

/// Returns the pod that an attempt got from a warm pool, whose name is not that of the attempt.
pub(crate) async fn assigned_pod(api: &Api<Pod>, task: &str, attempt: u32) -> Result<Option<Pod>> {
    let pods = api.list(&ListParams::default().labels(&labels(task, attempt))).await.map_err(api_error)?;
    Ok(pods.items.into_iter().next())
}

/// Waits until an attempt has a pod.
async fn wait_for_pod(api: &Api<Pod>, work: &Work, attempt: u32) -> Result<Option<Pod>> {
    if work.is_integration {
        return Ok(await_condition(api.clone(), &work.pod(attempt), |pod: Option<&Pod>| pod.is_some()).await?);
    }
    let config = watcher::Config::default().labels(&labels(&work.name, attempt));
    let mut pods = std::pin::pin!(watcher(api.clone(), config).default_backoff().applied_objects());
    Ok(pods.next().await.transpose()?)
}

/// Returns the selector of the pods of an attempt at a task.
fn labels(task: &str, attempt: u32) -> String {
    format!("{LABEL_TASK}={task},{LABEL_ATTEMPT}={attempt}")
}

/// Prints what the pod of an attempt delivered to the record before it was deleted.
async fn recorded(cluster: &Cluster, work: &Work, attempt: u32, raw: bool) -> Result<()> {
    let gone = work.no_pod(attempt);
    if !work.is_over(attempt) {
        bail!(gone);
    }
    let task = (!work.is_integration).then_some(work.name.as_str());
    let found = async { Record::open(cluster).await?.log(&work.plan, task, attempt).await };
    let Some(log) = found.await.with_context(|| gone.clone())? else {
        bail!("{gone}; the record has no result of it: it ended before it could deliver one");
    };
    terminal::note(&format!("{gone}; this is its output from the record"));
    for line in log.transcript.lines() {
        // A coding agent's transcript has an event as JSON in each line.
        match serde_json::from_str::<AgentEvent>(line) {
            Ok(event) if !raw => terminal::print_untrusted(&event.readable())?,
            _ => terminal::print_untrusted(&format!("{line}\n"))?,
        }
    }
    for gate in &log.gates {
        let end = gate.exit_code.map_or_else(|| "killed by a signal".to_owned(), |code| format!("exit code {code}"));
        terminal::note(&format!("── gate {}: {end}", one_line(&gate.name)));
        terminal::print_untrusted(&format!("{}\n", gate.output.trim_end()))?;
    }
    if !log.report.message.is_empty() {
        terminal::note(&format!("── {}: {}", log.report.reason.as_str(), one_line(&log.report.message)));
    }
    Ok(())
}

/// Returns the number of the last attempt and its pod. A pod may exist before the status counts its attempt.
pub(crate) async fn last(api: &Api<Pod>, work: &Work) -> Result<(u32, Option<Pod>)> {
    let next = work.attempts + 1;
    if work.phase == Phase::Pending {
        let pod = pod_of(api, work, next).await?;
        if pod.is_some() || work.attempts == 0 {
            return Ok((next, pod));
        }
    }
    let attempt = work.attempts.max(1);
    Ok((attempt, pod_of(api, work, attempt).await?))
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
async fn print(api: &Api<Pod>, pod: &str, container: &str, options: &Logs) -> Result<bool> {
    let follow = options.follow;
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
    let mut lines = RawLines::new(options.raw);
    loop {
        let count = stream.read(&mut chunk).await?;
        let shown = if count == 0 { lines.finish() } else { lines.push(&chunk[..count]) };
        match &mut filter {
            Some(filter) => terminal::print(&filter.push(&shown))?,
            None => terminal::print_bytes(&shown)?,
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// Separates the lines that a coding agent itself printed, which the runner marks, from the readable ones.
#[derive(Debug)]
struct RawLines {
    /// Show the marked lines, and not the others.
    raw: bool,
    /// The start of a line that may be marked.
    start: Vec<u8>,
    line: Line,
}

/// What is known about the line that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Its start may be the mark.
    Undecided,
    Shown,
    Hidden,
}

impl RawLines {
    fn new(raw: bool) -> Self {
        Self { raw, start: Vec::new(), line: Line::Undecided }
    }

    /// Returns what is shown of the next bytes. Marks are removed.
    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mark = RAW_PREFIX.as_bytes();
        let mut shown = Vec::with_capacity(bytes.len());
        for byte in bytes {
            match self.line {
                Line::Undecided => {
                    self.start.push(*byte);
                    if self.start == mark {
                        self.line = if self.raw { Line::Shown } else { Line::Hidden };
                        self.start.clear();
                    } else if !mark.starts_with(&self.start) {
                        self.line = if self.raw { Line::Hidden } else { Line::Shown };
                        let start = std::mem::take(&mut self.start);
                        shown.extend(if self.raw { Vec::new() } else { start });
                    }
                }
                Line::Shown => shown.push(*byte),
                Line::Hidden => {}
            }
            if *byte == b'\n' {
                self.line = Line::Undecided;
            }
        }
        shown
    }

    /// Returns what is shown of a line without an end.
    fn finish(&mut self) -> Vec<u8> {
        let start = std::mem::take(&mut self.start);
        if self.raw { Vec::new() } else { start }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_lines_are_separated() {
        let log = b"enact-runner: cloning\nenact-raw: {\"a\":1}\nmessage  hi\nenact-raw\n\nenact-raw: {}\nenact-r";
        for (raw, expected) in
            [(false, "enact-runner: cloning\nmessage  hi\nenact-raw\n\nenact-r"), (true, "{\"a\":1}\n{}\n")]
        {
            for size in 1..=log.len() {
                let mut lines = RawLines::new(raw);
                let mut shown: Vec<u8> = log.chunks(size).flat_map(|chunk| lines.push(chunk)).collect();
                shown.extend(lines.finish());
                assert_eq!(String::from_utf8_lossy(&shown), expected, "{raw} {size}");
            }
        }
    }
}
