//! Where a secret could become visible.

use anyhow::Result;
use enact_domain::names;

use crate::{Stage, program, run};

/// Returns all texts about a stage, except for its Secrets, with their places.
///
/// # Errors
/// If they cannot be read.
pub fn places(stage: &Stage) -> Result<Vec<(&'static str, String)>> {
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
