//! The warm pool of an Agent: its pods are created, replaced and deleted here, and used by plans.

use enact_crds::common::LocalRef;
use enact_crds::warm_pool::{WarmPool, WarmPoolStatus};
use enact_crds::{Agent, AgentStatus};
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::time::Millis;
use enact_domain::warm_pool::{self, MAX_AGE_SECONDS, MAX_TIMEOUT_SECONDS, PoolPod, Prefetch, Stage, Waiting};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::events::EventType;

use super::context::Context;
use crate::config::Config;
use crate::context::Membership;
use crate::error::Error;
use crate::metadata_cache::ObjectKey;
use crate::pods::{self, AttemptPod};
use crate::task::pod::{self, NO_RESOURCES};
use crate::task::{build, template};
use crate::warm_pool::KnownPod;

/// The argument of the runner in a waiting pod.
const WAIT: &str = "wait";
/// Reason of the Event when a pool has a problem.
const FAILED: &str = "WarmPoolFailed";
/// Seconds after which the creation of a pod is tried again, for example because the quota was full.
const RETRY_SECONDS: u32 = 30;

/// What a reconcile of a pool results in.
pub struct Kept {
    /// Number of assigned pods that the status counts in addition.
    pub counted: u64,
    /// Time of the next reconcile of the pool.
    pub again_at: Option<Millis>,
}

/// A waiting pod to create, and the digest of its template.
struct Blueprint {
    pod: Pod,
    template: Digest,
}

/// Creates and deletes waiting pods until the pool has its size, and writes the pool into `status`. An Agent that is not usable has none.
///
/// # Errors
/// When the API server does not delete a pod, or a pod cannot be written as JSON.
pub async fn keep(
    ctx: &Context,
    object: &Agent,
    is_usable: bool,
    status: &mut AgentStatus,
) -> Result<Option<Kept>, Error> {
    let key: ObjectKey = (object.namespace().unwrap_or_default(), object.name_any());
    let known = ctx.warm_pods.of(&key.0, &object.uid().unwrap_or_default());
    let pool = object.spec.warm_pool.as_ref();
    if pool.is_none() && known.is_empty() {
        return Ok(None);
    }
    let size = pool.map_or(0, |pool| usize::from(pool.size));
    let member = ctx.tenant_of(&key.0);
    let wanted = pool.filter(|pool| is_usable && pool.size > 0).zip(member.as_ref());
    let mut problem = None;
    let blueprint = match (wanted, &ctx.config.server_url) {
        (Some((pool, member)), Some(server_url)) => Some(blueprint(&ctx.config, object, pool, member, server_url)?),
        (Some(_), None) => {
            problem = Some("the installation has no server, from which waiting pods get their work".to_owned());
            None
        }
        (None, _) => None,
    };
    let now = ctx.now();
    let pods_now: Vec<PoolPod> = known.iter().map(|pod| pod.waiting.pod.clone()).collect();
    let upkeep = warm_pool::upkeep(&pods_now, size, blueprint.as_ref().map(|blueprint| &blueprint.template), now);
    let retry_at = now.plus_seconds(RETRY_SECONDS);
    let mut again_at = upkeep.again_at;
    for KnownPod { name, version, waiting } in upkeep.delete.iter().map(|&i| &known[i]) {
        // A pod that an attempt just got has another version, and stays.
        pods::delete_unchanged(ctx, &key.0, name, &waiting.uid, *version).await?;
        again_at = again_at.into_iter().chain([retry_at]).min();
    }
    if let Some(blueprint) = &blueprint {
        for _ in 0..upkeep.create {
            if let Some(refusal) = create(ctx, &key, &blueprint.pod).await? {
                problem = Some(refusal);
                again_at = again_at.into_iter().chain([retry_at]).min();
                break;
            }
        }
    }
    let counted = ctx.warm_pods.uncounted(&key);
    status.warm_pool = pool.map(|_| shown(ctx, object, problem, counted));
    report(ctx, object, status).await;
    Ok(Some(Kept { counted, again_at }))
}

/// Returns the state of the pool after the upkeep.
fn shown(ctx: &Context, object: &Agent, problem: Option<String>, counted: u64) -> WarmPoolStatus {
    let old = object.status.as_ref().and_then(|status| status.warm_pool.as_ref());
    let now = ctx.warm_pods.of(&object.namespace().unwrap_or_default(), &object.uid().unwrap_or_default());
    let count = |stage: Stage| {
        let number = now.iter().filter(|pod| pod.waiting.pod.stage == stage).count();
        u32::try_from(number).unwrap_or(u32::MAX)
    };
    WarmPoolStatus {
        ready: count(Stage::Ready),
        starting: count(Stage::Starting),
        used: old.map_or(0, |old| old.used).saturating_add(counted),
        problem: problem.or_else(|| now.iter().find_map(|pod| pod.waiting.problem.clone())),
    }
}

/// Publishes an Event about a problem that the status does not show yet.
async fn report(ctx: &Context, object: &Agent, status: &AgentStatus) {
    let problem = |status: &AgentStatus| status.warm_pool.as_ref().and_then(|pool| pool.problem.clone());
    let old = object.status.as_ref().and_then(problem);
    if let Some(new) = problem(status).filter(|new| old.as_ref() != Some(new)) {
        ctx.event(object, EventType::Warning, FAILED, format!("a pod of the warm pool cannot wait: {new}")).await;
    }
}

/// Creates a waiting pod. Returns the message if a quota, a policy or an admission webhook refuses it.
async fn create(ctx: &Context, (namespace, agent): &ObjectKey, pod: &Pod) -> Result<Option<String>, Error> {
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    let mut pod = pod.clone();
    let name = names::waiting_pod_name(agent, rand::random());
    pod.metadata.name = Some(name.clone());
    ctx.metrics.wrote("create", "Pod");
    match api.create(&PostParams::default(), &pod).await {
        Ok(created) => {
            // The next reconcile must see the pod even if the watch delivers it late: otherwise it would create another.
            ctx.warm_pods.add(&AttemptPod::of(&created)?);
            Ok(None)
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            // Without the name, which is new each time: the same problem is reported once.
            let message = status.message.replace(&name, agent);
            Ok(Some(format!("the API server refused a waiting pod: {message}")))
        }
        Err(error) => Err(Error::kube(format!("create Pod {name}"))(error)),
    }
}

/// Builds a waiting pod: the pod of an attempt that needs nothing that only its plan can name, except for the repository.
fn blueprint(
    config: &Config,
    object: &Agent,
    pool: &WarmPool,
    member: &Membership,
    server_url: &str,
) -> Result<Blueprint, Error> {
    let (agent, repository) = (&object.spec, pool.repository.as_ref());
    let credentials: Option<&LocalRef> = repository.and_then(|repository| repository.credentials_secret_ref.as_ref());
    let waiting = Waiting {
        server_url: server_url.to_owned(),
        repository: repository.map(|repository| Prefetch {
            url: repository.url.clone(),
            revision: repository.revision.clone(),
            cache_url: config.cache_url.clone(),
        }),
    };
    let json = |source| Error::Json { what: "a waiting pod", source };
    let frame = pod::Frame {
        config,
        member,
        name: String::new(),
        namespace: object.namespace().unwrap_or_default(),
        labels: vec![(names::LABEL_ROLE, names::ROLE_WAITING.to_owned())],
        agent: None,
        models: None,
        uses_gateway: pod::uses_gateway(config, agent),
        repository: repository.and_then(|repository| pod::cached_repository(config, &repository.url, credentials)),
        owner: build::controlled_by(object),
        assignment: serde_json::to_string(&waiting).map_err(json)?,
        // The lifetime of the token for the model gateway follows from it.
        timeout_seconds: MAX_AGE_SECONDS + MAX_TIMEOUT_SECONDS,
        resources: [&NO_RESOURCES, &agent.resources, &NO_RESOURCES],
        default_resources: pod::DefaultResources::of(agent.adapter),
    };
    let mut pod = pod::for_agent(&frame, WAIT, agent, credentials);
    let template = template::digest(&pod, repository.map(|repository| repository.url.as_str()))?;
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(names::ANNOTATION_TEMPLATE.to_owned(), template.to_string());
    if let Some(spec) = &mut pod.spec {
        // It begins with the attempt: a limit can be set in a running pod, and only be lowered from then on.
        spec.active_deadline_seconds = None;
    }
    Ok(Blueprint { pod, template })
}
