//! Where a secret could become visible.

use anyhow::Result;
use enact_domain::names;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::ListParams;

use crate::{Answer, PATIENCE, Stage, program, run, until};

/// Returns all texts about a stage, except for its Secrets, with their places.
///
/// # Errors
/// If they cannot be read.
pub async fn places(stage: &Stage) -> Result<Vec<(&'static str, String)>> {
    containers_started(stage).await?;
    let kubectl = |args: &[&str]| run(program("kubectl")?.args(args));
    let kinds = "pods,events,configmaps,serviceaccounts,agents.enact.dev,modelproviders.enact.dev,plans.enact.dev,tasks.enact.dev,approvals.enact.dev";
    let name = stage.name.as_str();
    let dump =
        "PGPASSWORD=$POSTGRES_PASSWORD exec pg_dump --host=127.0.0.1 --username=enact --data-only --schema=enact enact";
    let of_pods = ["logs", "--namespace", name, "--selector", names::LABEL_PLAN, "--all-containers", "--tail=-1"];
    let release = "app.kubernetes.io/part-of=enact";
    let of_release =
        ["logs", "--namespace", "enact-system", "--selector", release, "--all-containers", "--tail=-1", "--since=30m"];
    Ok(vec![
        ("objects", kubectl(&["get", kinds, "--namespace", name, "--output", "json"])?),
        ("the pods' logs", kubectl(&of_pods)?),
        ("the logs of Enact", kubectl(&of_release)?),
        (
            "the record",
            kubectl(&["exec", "--namespace", "enact-system", "statefulset/enact-postgres", "--", "sh", "-c", dump])?,
        ),
    ])
}

/// Waits until the API server knows that all containers of the stage's attempts have started: until then, it gives no log. An attempt ends
/// with its result, which can be earlier.
async fn containers_started(stage: &Stage) -> Result<()> {
    let pods = stage.api::<Pod>();
    let waits = |status: &ContainerStatus| status.state.as_ref().is_none_or(|state| state.waiting.is_some());
    until("the start of all containers", PATIENCE, || async {
        let all = pods.list(&ListParams::default().labels(names::LABEL_PLAN)).await?.items;
        let started = |pod: &&Pod| {
            let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
            statuses.is_some_and(|all| !all.iter().any(waits))
        };
        let waiting: Vec<String> = all.iter().filter(|pod| !started(pod)).map(kube::ResourceExt::name_any).collect();
        Ok(if waiting.is_empty() { Answer::Yes(()) } else { Answer::NotYet(waiting.join(", ")) })
    })
    .await
}
