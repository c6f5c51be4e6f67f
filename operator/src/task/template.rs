//! The template of an agent's pod: everything that a pod of a warm pool cannot change any more when an attempt gets it.

use enact_domain::assignment::ASSIGNMENT_ENV;
use enact_domain::digest::Digest;
use enact_domain::names::{GATEWAY_AUDIENCE, LABEL_TENANT};
use k8s_openapi::api::core::v1::{Pod, PodSpec, ServiceAccountTokenProjection};
use kube::ResourceExt as _;

use crate::error::Error;

/// Returns the digest of a pod's template. `repository` is the URL of the repository that its agent works on.
///
/// Left out is what the runner gets with its assignment, what can be patched, and the lifetime of the token for the model gateway, which is
/// long enough in a waiting pod for every attempt that may get it.
///
/// # Errors
/// When the pod cannot be written as JSON.
pub fn digest(pod: &Pod, repository: Option<&str>) -> Result<Digest, Error> {
    let mut spec = pod.spec.clone().unwrap_or_default();
    spec.active_deadline_seconds = None;
    for container in &mut spec.containers {
        if let Some(command) = &mut container.command {
            // The last argument is the step of the runner.
            command.pop();
        }
        if let Some(env) = &mut container.env {
            env.retain(|variable| variable.name != ASSIGNMENT_ENV);
        }
    }
    for token in tokens(&mut spec).filter(|token| token.audience.as_deref() == Some(GATEWAY_AUDIENCE)) {
        token.expiration_seconds = None;
    }
    let tenant = pod.labels().get(LABEL_TENANT);
    Digest::of_json(&(spec, tenant, repository)).map_err(|source| Error::Json { what: "a pod's template", source })
}

fn tokens(spec: &mut PodSpec) -> impl Iterator<Item = &mut ServiceAccountTokenProjection> {
    let volumes = spec.volumes.iter_mut().flatten();
    let sources = volumes.filter_map(|volume| volume.projected.as_mut()?.sources.as_mut()).flatten();
    sources.filter_map(|source| source.service_account_token.as_mut())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(change: &serde_json::Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "a", "labels": {"enact.dev/tenant": "acme", "enact.dev/role": "task"}},
            "spec": {
                "activeDeadlineSeconds": 60,
                "containers": [{
                    "name": "agent", "image": "agent:1", "command": ["/usr/local/bin/enact-runner", "task"],
                    "env": [{"name": "ENACT_ASSIGNMENT", "value": "{}"}, {"name": "ENACT_ENV_MODE", "value": "fast"}],
                }],
                "volumes": [{"name": "token", "projected": {"sources": [
                    {"serviceAccountToken": {"audience": "enact-server", "expirationSeconds": 3600, "path": "token"}},
                    {"serviceAccountToken": {"audience": "enact-gateway", "expirationSeconds": 660, "path": "gateway-token"}},
                ]}}],
            },
        });
        for (pointer, value) in change.as_object().unwrap() {
            *pod.pointer_mut(pointer).unwrap() = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn of(change: &serde_json::Value) -> Digest {
        digest(&pod(change), Some("https://git.example.org/a.git")).unwrap()
    }

    #[test]
    fn leaves_out_what_differs_between_attempts() {
        let same = json!({
            "/metadata/name": "b", "/metadata/labels/enact.dev~1role": "waiting", "/spec/activeDeadlineSeconds": null,
            "/spec/containers/0/command/1": "wait", "/spec/containers/0/env/0/value": "{\"attempt\": 2}",
            "/spec/volumes/0/projected/sources/1/serviceAccountToken/expirationSeconds": 9000,
        });
        assert_eq!(of(&same), of(&json!({})));
    }

    #[test]
    fn changes_with_everything_that_a_running_pod_keeps() {
        for (pointer, value) in [
            ("/metadata/labels/enact.dev~1tenant", "other"),
            ("/spec/containers/0/image", "agent:2"),
            ("/spec/containers/0/command/0", "/opt/enact/enact-runner"),
            ("/spec/containers/0/env/1/value", "slow"),
            ("/spec/volumes/0/projected/sources/1/serviceAccountToken/audience", "enact-cache"),
        ] {
            assert_ne!(of(&json!({ pointer: value })), of(&json!({})), "{pointer}");
        }
        assert_ne!(digest(&pod(&json!({})), None).unwrap(), of(&json!({})));
    }
}
