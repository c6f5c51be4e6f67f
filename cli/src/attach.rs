//! `attach`: a shell in the pod of a running attempt.

use std::io::{IsTerminal as _, stdin, stdout};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Result, anyhow, bail};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};

use crate::args::{Attach, Target};
use crate::cluster::Cluster;
use crate::logs;
use crate::terminal::note;

/// Container of the agent in the pod of a task.
const AGENT: &str = "agent";

/// Replaces this process by `kubectl exec`, which asks the API server for `create` on `pods/exec`.
///
/// # Errors
/// When the attempt does not run, or kubectl cannot be started.
pub async fn run(cluster: &Cluster, target: &Target, options: &Attach) -> Result<()> {
    let work = logs::find(cluster, &options.task).await?;
    let api: Api<Pod> = cluster.api();
    let (attempt, pod) = match options.attempt {
        Some(attempt) => (attempt, logs::pod_of(&api, &work, attempt).await?),
        None => logs::last(&api, &work).await?,
    };
    let Some(pod) = pod else { bail!(work.no_pod(attempt)) };
    let name = pod.name_any();
    if !is_running(&pod) {
        bail!("the agent of pod {name} is not running; `kubectl enact logs {}` shows what it did", options.task);
    }
    if !may_attach(cluster).await {
        // kubectl names the permission that is missing, and not the role that has it.
        let namespace = &cluster.namespace;
        note(&format!(
            "you have no right to attach to agents in namespace {namespace}; ask an administrator to bind the ClusterRole enact-attach there"
        ));
    }
    let is_terminal = stdin().is_terminal() && stdout().is_terminal();
    let arguments = arguments(&cluster.namespace, target, &name, is_terminal, &options.command);
    let error = Command::new("kubectl").args(arguments).exec();
    Err(anyhow!("cannot run kubectl, which opens the shell: {error}; install kubectl and put it on the PATH"))
}

/// Returns whether the admission policy lets the user connect to pods of the namespace, as far as it is known. A group of the chart's
/// `admissionPolicies.pods.groups` may connect without this right, so that its lack is no error.
async fn may_attach(cluster: &Cluster) -> bool {
    let attributes = ResourceAttributes {
        group: Some("enact.dev".into()),
        resource: Some("tasks".into()),
        verb: Some("attach".into()),
        namespace: Some(cluster.namespace.clone()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = api.create(&PostParams::default(), &review).await;
    answer.map_or(true, |review| review.status.is_none_or(|status| status.allowed))
}

fn is_running(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let agent = statuses.into_iter().flatten().find(|status| status.name == AGENT);
    agent.and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some())
}

/// Returns the arguments of kubectl, with the cluster and user that this command was given. Without a terminal, the command in the pod has none
/// either, so that its output stays as it is.
fn arguments(namespace: &str, target: &Target, pod: &str, is_terminal: bool, command: &[String]) -> Vec<String> {
    let mut arguments = vec![format!("--namespace={namespace}")];
    arguments.extend(target.context.iter().map(|context| format!("--context={context}")));
    arguments.extend(target.kubeconfig.iter().map(|file| format!("--kubeconfig={}", file.display())));
    arguments.extend(target.as_user.iter().map(|user| format!("--as={user}")));
    arguments.extend(target.as_group.iter().map(|group| format!("--as-group={group}")));
    arguments.extend(["exec", "--stdin"].map(String::from));
    arguments.extend(is_terminal.then(|| "--tty".to_owned()));
    arguments.extend([pod, "--container", AGENT, "--"].map(String::from));
    if command.is_empty() {
        arguments.extend(["/bin/sh", "-c", "cd /work/tree 2>/dev/null; exec /bin/sh"].map(String::from));
    } else {
        arguments.extend_from_slice(command);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_uses_the_same_cluster_and_user() {
        let target = Target {
            context: Some("staging".into()),
            as_user: Some("ann".into()),
            as_group: vec!["leads".into()],
            ..Target::default()
        };
        let command = ["git".into(), "status".into()];
        let arguments = |is_terminal| arguments("shop", &target, "shop-t004-1", is_terminal, &command).join(" ");
        assert_eq!(
            arguments(true),
            "--namespace=shop --context=staging --as=ann --as-group=leads exec --stdin --tty shop-t004-1 --container agent -- git status"
        );
        assert_eq!(arguments(false), arguments(true).replace(" --tty", ""));
    }

    #[test]
    fn only_a_running_agent_has_a_shell() {
        let pod = |state: serde_json::Value| -> Pod {
            let status = serde_json::json!({"name": "agent", "image": "a", "imageID": "a", "ready": true, "restartCount": 0, "state": state});
            serde_json::from_value(serde_json::json!({"status": {"containerStatuses": [status]}})).unwrap()
        };
        assert!(is_running(&pod(serde_json::json!({"running": {}}))));
        assert!(!is_running(&pod(serde_json::json!({"terminated": {"exitCode": 0}}))));
        assert!(!is_running(&Pod::default()));
    }
}
