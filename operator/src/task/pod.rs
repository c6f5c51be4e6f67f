//! Builds the pods of attempts and of document jobs. They are hardened, and their only token is one for enact-server.
#![allow(
    clippy::result_large_err,
    reason = "a report is made at most once an attempt, and goes into the record as it is"
)]

use std::collections::BTreeMap;

use enact_crds::agent::{Adapter as Kind, AgentSpec, EnvVar as AgentVar, McpServer, SecretKey};
use enact_crds::agent_run::agent_run;
use enact_crds::common::{LocalRef, Resources};
use enact_crds::plan::Workspace;
use enact_domain::agents::probe::ProbeJob;
use enact_domain::assignment::{
    self, AGENT_ENV_PREFIX, AGENT_SECRET_PREFIX, ASSIGNMENT_ENV, Assignment, MAX_ASSIGNMENT_BYTES, Reason, Report,
    paths,
};
use enact_domain::clone_cache;
use enact_domain::document_job::DocumentJob;
use enact_domain::names;
use enact_domain::text::unix_lines;
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, DownwardAPIProjection, DownwardAPIVolumeFile, EmptyDirVolumeSource,
    EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodSecurityContext, PodSpec, ProjectedVolumeSource,
    ResourceRequirements, SeccompProfile, SecretKeySelector, SecretVolumeSource, SecurityContext,
    ServiceAccountTokenProjection, Toleration, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use serde::Serialize;

use crate::config::Config;
use crate::context::Membership;

/// User and group of the processes in a pod; the agent image has no other.
const UID: i64 = 10_001;
/// Lifetime of the token for the server, in seconds; the kubelet renews it.
const TOKEN_SECONDS: i64 = 3600;
/// Seconds for which the token for the model gateway is valid after the time limit of the attempt.
const GATEWAY_TOKEN_MARGIN_SECONDS: i64 = 600;
/// Compute resources of a container that requests none.
pub const NO_RESOURCES: Resources = Resources { cpu: None, memory: None, ephemeral_storage: None };
/// Seconds between SIGTERM and SIGKILL. The runner gives its agent ten of them.
const GRACE_SECONDS: i64 = 30;
/// Name of the container that fetches the repository for a planner, and the argument of its runner.
const CLONE: &str = "clone";
/// Path of the runner in a pod whose Agent has its own image.
const INJECTED: &str = "/opt/enact";
/// Path of the runner in Enact's images.
const RUNNER: &str = "/usr/local/bin/enact-runner";

/// The fields that all pods have in common.
pub struct Frame<'a> {
    pub config: &'a Config,
    pub member: &'a Membership,
    pub name: String,
    pub namespace: String,
    /// Labels without the tenant's.
    pub labels: Vec<(&'static str, String)>,
    /// The value of [`names::ANNOTATION_AGENT`], for the pod of an agent that uses models or whose running attempts are counted.
    pub agent: Option<String>,
    /// The value of [`names::ANNOTATION_MODELS`], for the pod of an agent that an approval covers.
    pub models: Option<String>,
    /// Whether the pod gets a token for the model gateway.
    pub uses_gateway: bool,
    /// For a pod that uses the clone cache: the value of [`names::ANNOTATION_REPOSITORY`]. The pod gets a token for the cache.
    pub repository: Option<String>,
    /// Controller of the pod.
    pub owner: OwnerReference,
    /// JSON from [`assignment_json`] or [`document_job_json`].
    pub assignment: String,
    /// Time limit of the attempt, in seconds.
    pub timeout_seconds: u32,
    /// Compute resources; the first entry that has a value decides.
    pub resources: [&'a Resources; 3],
    /// Compute resources when no entry has a value.
    pub default_resources: DefaultResources,
}

/// Compute resources of a pod when nobody names any.
#[derive(Clone, Copy, Debug)]
pub struct DefaultResources {
    cpu: &'static str,
    memory: &'static str,
    storage: &'static str,
}

impl DefaultResources {
    /// For scripts, integrations and document jobs.
    pub const SCRIPT: Self = Self { cpu: "50m", memory: "256Mi", storage: "1Gi" };
    /// For coding agents. The largest of the known ones needs 600 MiB of memory, and builds and tests need some more.
    const CODING_AGENT: Self = Self { cpu: "250m", memory: "2Gi", storage: "4Gi" };

    /// Returns the defaults for an adapter.
    pub fn of(adapter: Kind) -> Self {
        if adapter.is_coding_agent() { Self::CODING_AGENT } else { Self::SCRIPT }
    }
}

/// Returns the assignment of an attempt as JSON.
///
/// # Errors
/// A report when it does not fit in a pod.
pub fn assignment_json(assignment: &Assignment) -> Result<String, Report> {
    let branches = assignment.git.as_ref().map_or(0, |git| git.merge.len());
    let (with, fewer) = match branches {
        0 => (String::new(), ""),
        _ => (
            format!(" with {branches} branches to merge"),
            ", or add a task that depends on the others: its branch contains theirs",
        ),
    };
    bounded_json(assignment, |size| {
        format!(
            "the prompt, script and gates{with} have {size} bytes, and at most {MAX_ASSIGNMENT_BYTES} fit in a pod; shorten them{fewer}"
        )
    })
}

/// Returns the assignment of a document job as JSON.
///
/// # Errors
/// A report when it does not fit in a pod.
pub fn document_job_json(job: &DocumentJob) -> Result<String, Report> {
    bounded_json(job, |size| {
        format!(
            "the request, principles and script have {size} bytes, and at most {MAX_ASSIGNMENT_BYTES} fit in a pod; shorten them"
        )
    })
}

/// Returns the work of a probe as JSON.
///
/// # Errors
/// A report when it does not fit in a pod.
pub fn probe_json(job: &ProbeJob) -> Result<String, Report> {
    bounded_json(job, |size| {
        format!("the Agent has {size} bytes, and at most {MAX_ASSIGNMENT_BYTES} fit in a pod; shorten its instructions")
    })
}

fn bounded_json(assignment: &impl Serialize, too_large: impl FnOnce(usize) -> String) -> Result<String, Report> {
    let invalid = |why: String| Report::new(Reason::InvalidAssignment, why);
    let json = serde_json::to_string(assignment).map_err(|e| invalid(e.to_string()))?;
    if json.len() > MAX_ASSIGNMENT_BYTES { Err(invalid(too_large(json.len()))) } else { Ok(json) }
}

/// Builds the pod of an agent; `step` is the argument of its runner.
pub fn for_agent(frame: &Frame, step: &str, agent: &AgentSpec, credentials: Option<&LocalRef>) -> Pod {
    let mut token = token(frame);
    if agent.adapter.is_coding_agent() {
        add_messages(&mut token);
    }
    let mut volumes = vec![scratch("work", frame), scratch("tmp", frame), token];
    let mut mounts = vec![mount("work", paths::WORK), mount("tmp", "/tmp"), read_only("token", &parent(paths::TOKEN))];
    add_git_credentials(credentials, "git", &mut volumes, &mut mounts);
    if let (Kind::Replay, Some(replay)) = (agent.adapter, &agent.replay) {
        volumes.push(config_map("replay", &replay.config_map_ref));
        mounts.push(read_only("replay", paths::REPLAY));
    }
    for (i, skill) in agent.skills.iter().enumerate() {
        let volume = format!("skill-{i}");
        volumes.push(config_map(&volume, &skill.config_map_ref));
        mounts.push(read_only(&volume, &format!("{}/{}", paths::SKILLS, skill.name)));
    }
    let mut init = Vec::new();
    let own_image = agent.image.as_deref().or_else(|| frame.config.image_of(agent.adapter.as_str()));
    let image = own_image.unwrap_or(&frame.config.agent_image);
    let runner = if own_image.is_some() {
        volumes.push(scratch("runner", frame));
        mounts.push(read_only("runner", INJECTED));
        let from = frame.config.runner_image.as_deref().unwrap_or(&frame.config.agent_image);
        let mut copy = container(frame, "runner", from, vec![mount("runner", INJECTED)]);
        copy.command = Some([RUNNER, "install", INJECTED].map(String::from).into());
        init.push(copy);
        format!("{INJECTED}/enact-runner")
    } else {
        RUNNER.to_owned()
    };
    let mut main = container(frame, "agent", image, mounts);
    // The node must not give the pod an image that it has pulled with the credentials of another tenant.
    let is_pulled = agent.image.is_some() && frame.member.agent_images.always_pull;
    main.image_pull_policy = is_pulled.then(|| "Always".to_owned());
    main.command = Some(vec![runner, step.into()]);
    let credentials = agent.mcp_servers.iter().flat_map(McpServer::credentials);
    let env = agent.env.iter().map(agent_var).chain(credentials.map(|(name, key)| secret_var(name, key)));
    main.env = Some([assignment_var(frame)].into_iter().chain(env).collect());
    pod(frame, init, main, volumes)
}

/// Builds the pod of an agent that writes a document. With a workspace, `clone` is the assignment of a container that fetches the repository
/// before: the agent gets the files, but not the credential.
pub fn for_draft(frame: &Frame, agent: &AgentSpec, clone: Option<(&Workspace, String)>) -> Pod {
    let mut pod = for_agent(frame, names::ROLE_DRAFT, agent, None);
    let (Some((workspace, assignment)), Some(spec)) = (clone, &mut pod.spec) else { return pod };
    let volumes = spec.volumes.get_or_insert_default();
    volumes.push(scratch("clone-tmp", frame));
    let mut mounts =
        vec![mount("work", paths::WORK), mount("clone-tmp", "/tmp"), read_only("token", &parent(paths::TOKEN))];
    add_git_credentials(workspace.credentials_secret_ref.as_ref(), "git", volumes, &mut mounts);
    let mut container = container(frame, CLONE, &frame.config.agent_image, mounts);
    container.command = Some(vec![RUNNER.into(), CLONE.into()]);
    container.env = Some(vec![variable(ASSIGNMENT_ENV, &assignment)]);
    spec.init_containers.get_or_insert_default().push(container);
    pod
}

/// Returns the name under which the clone cache keeps a repository, as a credential reads it; none without a cache.
pub fn cached_repository(config: &Config, url: &str, credentials: Option<&LocalRef>) -> Option<String> {
    config.cache_url.as_ref()?;
    Some(clone_cache::repository(url, credentials.map(|secret| secret.name.as_str())).to_string())
}

/// Builds the pod that reads a document from a repository.
pub fn for_fetch(frame: &Frame, credentials: Option<&LocalRef>) -> Pod {
    let mut volumes = vec![scratch("work", frame), scratch("tmp", frame), token(frame)];
    let mut mounts = vec![mount("work", paths::WORK), mount("tmp", "/tmp"), read_only("token", &parent(paths::TOKEN))];
    add_git_credentials(credentials, "git", &mut volumes, &mut mounts);
    let mut main = container(frame, names::ROLE_FETCH, &frame.config.agent_image, mounts);
    main.command = Some(vec![RUNNER.into(), names::ROLE_FETCH.into()]);
    main.env = Some(vec![assignment_var(frame)]);
    pod(frame, Vec::new(), main, volumes)
}

/// Builds the pod of a plan's integration. Merge, gates and publication each have their own container: the gates run code that agents
/// wrote, without any credential, and only the publication has the credential for the target branch.
pub fn for_integration(frame: &Frame, tasks: Option<&LocalRef>, integration: Option<&LocalRef>) -> Pod {
    let image = &frame.config.agent_image;
    let mut volumes = ["work", "tmp", "publish", "publish-tmp", "handover"].map(|name| scratch(name, frame)).to_vec();
    volumes.push(token(frame));
    let env = vec![assignment_var(frame)];
    let step = |name: &str, mounts: Vec<VolumeMount>| {
        let mut step = container(frame, name, image, mounts);
        step.command = Some(vec![RUNNER.into(), name.into()]);
        step.env = Some(env.clone());
        step
    };
    let token = || read_only("token", &parent(paths::TOKEN));
    let mut merge = vec![mount("work", paths::WORK), mount("tmp", "/tmp"), mount("handover", paths::HANDOVER), token()];
    // Neither token, credentials nor `handover`: the gates run code that agents wrote.
    let gate = vec![mount("work", paths::WORK), mount("tmp", "/tmp")];
    let mut publish = vec![
        mount("publish", paths::WORK),
        mount("publish-tmp", "/tmp"),
        // Contains only the ID of the merged commit. The working tree, which a gate may have changed, is not mounted here.
        read_only("handover", paths::HANDOVER),
        token(),
    ];
    add_git_credentials(tasks, "git", &mut volumes, &mut merge);
    add_git_credentials(integration, "git-integration", &mut volumes, &mut publish);
    pod(frame, vec![step("merge", merge), step("gate", gate)], step("publish", publish), volumes)
}

/// Adds the Secret with a credential for Git to a pod, as the volume `name`, and mounts it into one container.
fn add_git_credentials(
    secret: Option<&LocalRef>,
    name: &str,
    volumes: &mut Vec<Volume>,
    mounts: &mut Vec<VolumeMount>,
) {
    if let Some(secret) = secret {
        volumes.push(secret_volume(name, secret));
        mounts.push(read_only(name, paths::GIT_CREDENTIALS));
    }
}

fn assignment_var(frame: &Frame) -> EnvVar {
    variable(ASSIGNMENT_ENV, &frame.assignment)
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(escape(value)), value_from: None }
}

/// Returns the assignment in a pod that [`for_agent`] built.
pub fn assignment_of(pod: &Pod) -> Option<String> {
    let containers = pod.spec.as_ref()?.containers.iter();
    let mut variables = containers.flat_map(|container| container.env.iter().flatten());
    let value = variables.find(|variable| variable.name == ASSIGNMENT_ENV)?.value.as_deref()?;
    Some(value.replace("$$", "$"))
}

fn agent_var(var: &AgentVar) -> EnvVar {
    // The runner removes the prefix for the agent: an Agent cannot set variables of the runner itself.
    match &var.secret_key_ref {
        Some(key) => secret_var(format!("{AGENT_SECRET_PREFIX}{}", var.name), key),
        None => EnvVar {
            name: format!("{AGENT_ENV_PREFIX}{}", var.name),
            value: var.value.as_deref().map(escape),
            value_from: None,
        },
    }
}

fn secret_var(name: String, key: &SecretKey) -> EnvVar {
    let selector = SecretKeySelector { name: key.name.clone(), key: key.key.clone(), optional: None };
    let source = EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name, value: None, value_from: Some(source) }
}

/// Escapes a value for the kubelet, which expands `$(NAME)` and turns `$$` into `$`.
fn escape(value: &str) -> String {
    value.replace('$', "$$")
}

fn pod(frame: &Frame, init: Vec<Container>, main: Container, volumes: Vec<Volume>) -> Pod {
    let tenant = (names::LABEL_TENANT, frame.member.tenant.clone());
    let labels = frame.labels.iter().cloned().chain([tenant]).map(|(key, value)| (key.to_owned(), value));
    Pod {
        metadata: ObjectMeta {
            name: Some(frame.name.clone()),
            namespace: Some(frame.namespace.clone()),
            labels: Some(labels.collect()),
            annotations: annotations(frame),
            owner_references: Some(vec![frame.owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            init_containers: (!init.is_empty()).then_some(init),
            containers: vec![main],
            volumes: Some(volumes),
            // A new attempt is a new pod: a restart in place would hide the result of the first run.
            restart_policy: Some("Never".into()),
            active_deadline_seconds: Some(i64::from(frame.timeout_seconds)),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            // The automatic token could call the API server. The pod's projected token is valid for enact-server only.
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            runtime_class_name: frame.member.runtime_class.clone(),
            node_selector: node_selector(frame.config),
            tolerations: tolerations(frame.config),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(UID),
                run_as_group: Some(UID),
                fs_group: Some(UID),
                seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
                ..PodSecurityContext::default()
            }),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// Returns the annotations by which gateway and cache know what the pod may use.
fn annotations(frame: &Frame) -> Option<BTreeMap<String, String>> {
    let all = [
        (names::ANNOTATION_AGENT, &frame.agent),
        (names::ANNOTATION_MODELS, &frame.models),
        (names::ANNOTATION_REPOSITORY, &frame.repository),
    ];
    let named: BTreeMap<_, _> =
        all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect();
    (!named.is_empty()).then_some(named)
}

fn container(frame: &Frame, name: &str, image: &str, mounts: Vec<VolumeMount>) -> Container {
    Container {
        name: name.into(),
        image: Some(image.into()),
        volume_mounts: Some(mounts),
        resources: Some(resources(frame)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn resources(frame: &Frame) -> ResourceRequirements {
    let pick = |field: fn(&Resources) -> &Option<String>, default: &str| {
        Quantity(frame.resources.iter().find_map(|r| field(r).clone()).unwrap_or_else(|| default.to_owned()))
    };
    let DefaultResources { cpu, memory, storage } = frame.default_resources;
    let memory = pick(|r| &r.memory, memory);
    let storage = pick(|r| &r.ephemeral_storage, storage);
    ResourceRequirements {
        requests: Some(BTreeMap::from([
            ("cpu".into(), pick(|r| &r.cpu, cpu)),
            ("memory".into(), memory.clone()),
            ("ephemeral-storage".into(), Quantity("64Mi".into())),
        ])),
        limits: Some(BTreeMap::from([("memory".into(), memory), ("ephemeral-storage".into(), storage)])),
        claims: None,
    }
}

fn node_selector(config: &Config) -> Option<BTreeMap<String, String>> {
    let pairs: BTreeMap<String, String> = config
        .agent_node_selector
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    (!pairs.is_empty()).then_some(pairs)
}

fn tolerations(config: &Config) -> Option<Vec<Toleration>> {
    let tolerated =
        |key: &String| Toleration { key: Some(key.clone()), operator: Some("Exists".into()), ..Toleration::default() };
    let list: Vec<Toleration> = config.agent_tolerations.iter().map(tolerated).collect();
    (!list.is_empty()).then_some(list)
}

fn scratch(name: &str, frame: &Frame) -> Volume {
    let named = frame.resources.iter().find_map(|r| r.ephemeral_storage.clone());
    let limit = named.unwrap_or_else(|| frame.default_resources.storage.into());
    Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity(limit)), medium: None }),
        ..Volume::default()
    }
}

/// Returns the volume with the pod's tokens: one for enact-server, one for the model gateway if the agent uses models, and one for the clone
/// cache if the pod uses it.
fn token(frame: &Frame) -> Volume {
    let projected = |audience: &str, path: &str, seconds: i64| VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: Some(audience.into()),
            expiration_seconds: Some(seconds),
            path: path.into(),
        }),
        ..VolumeProjection::default()
    };
    let mut sources = vec![projected(names::RESULT_AUDIENCE, file_name(paths::TOKEN), TOKEN_SECONDS)];
    if frame.uses_gateway {
        // The agent reads it once, at its start, so that it must be valid until the attempt ends. It is valid only while the pod exists.
        let seconds = i64::from(frame.timeout_seconds) + GATEWAY_TOKEN_MARGIN_SECONDS;
        sources.push(projected(names::GATEWAY_AUDIENCE, file_name(paths::GATEWAY_TOKEN), seconds.max(600)));
    }
    if frame.repository.is_some() {
        sources.push(projected(names::CACHE_AUDIENCE, file_name(paths::CACHE_TOKEN), TOKEN_SECONDS));
    }
    Volume {
        name: "token".into(),
        projected: Some(ProjectedVolumeSource { default_mode: Some(0o440), sources: Some(sources) }),
        ..Volume::default()
    }
}

/// Adds the messages of people to a projected volume. The kubelet updates the file when the operator changes the annotation.
fn add_messages(volume: &mut Volume) {
    let field = ObjectFieldSelector {
        field_path: format!("metadata.annotations['{}']", names::ANNOTATION_MESSAGES),
        ..ObjectFieldSelector::default()
    };
    let file = DownwardAPIVolumeFile {
        path: file_name(paths::MESSAGES).into(),
        field_ref: Some(field),
        ..DownwardAPIVolumeFile::default()
    };
    let source = VolumeProjection {
        downward_api: Some(DownwardAPIProjection { items: Some(vec![file]) }),
        ..VolumeProjection::default()
    };
    if let Some(projected) = &mut volume.projected {
        projected.sources.get_or_insert_default().push(source);
    }
}

/// Returns the volume of a Secret. It is optional: without it, the runner reports the missing Secret at once, where the kubelet would wait
/// until the attempt's time limit. The same holds for [`config_map`].
fn secret_volume(name: &str, secret: &LocalRef) -> Volume {
    Volume {
        name: name.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.name.clone()),
            default_mode: Some(0o440),
            optional: Some(true),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn config_map(name: &str, config_map: &LocalRef) -> Volume {
    Volume {
        name: name.into(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map.name.clone(),
            optional: Some(true),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.into(), mount_path: path.into(), ..VolumeMount::default() }
}

fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(name, path) }
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn parent(path: &str) -> String {
    path.rsplit_once('/').map_or(path, |(dir, _)| dir).to_owned()
}

/// Returns whether the pods of an agent get a token for the model gateway.
pub fn uses_gateway(config: &Config, agent: &AgentSpec) -> bool {
    !agent.models.is_empty() && config.gateway_url.is_some()
}

/// Returns the adapter with which the runner runs an agent's task. A coding agent with models uses the gateway at `gateway_url`, and an
/// attempt may take `timeout_seconds`.
///
/// # Errors
/// A message for a condition of the plan.
pub fn adapter(
    agent_name: &str,
    agent: &AgentSpec,
    script: Option<&str>,
    gateway_url: Option<&str>,
    timeout_seconds: u32,
) -> Result<assignment::Adapter, String> {
    if let Some(run) = agent_run(agent, gateway_url, timeout_seconds)? {
        return Ok(assignment::Adapter::Agent(Box::new(run)));
    }
    if agent.adapter == Kind::Replay {
        return Ok(assignment::Adapter::Replay {});
    }
    let script = script.or(agent.script.as_deref()).ok_or_else(|| {
        format!(
            "Agent {agent_name} runs scripts, but neither the Agent nor the task has a script; set script in one of them"
        )
    })?;
    Ok(assignment::Adapter::Command { script: unix_lines(script) })
}

#[cfg(test)]
mod tests;
