//! A pod that somebody else than the operator creates, with everything that the pod of an attempt has.

use anyhow::Result;
use serde_json::json;

use super::case::{Case, Verdict, code, short};
use super::site::Site;
use super::site::User::KubeEditor;

/// The attacks.
pub(super) const CASES: &[Case] =
    &[code("POD-S1", "run-a-forged-attempt", "run a pod as the next attempt, with the role `edit`", attempt).slow()];

/// Delivers a result with the pod's token, and prints the status of the answer.
const DELIVER: &str = "\
import http.client, json, sys
token = open('/var/run/attack/token').read().strip()
body = json.dumps({'subjectUid': sys.argv[2], 'attempt': 2, 'report': {'reason': 'Succeeded'}, 'durationMs': 1})
connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=20)
headers = {'Authorization': 'Bearer ' + token, 'Content-Type': 'application/json'}
connection.request('POST', f'/v1/attempts/{sys.argv[2]}/2/result', body, headers)
answer = connection.getresponse()
print(answer.status, answer.read(500).decode(errors='replace'))
";

fn attempt(site: &Site) -> Result<Verdict> {
    let Some(server) = site.service("server")? else {
        return Ok(Verdict::Skipped("the installation has no Service of the server".to_owned()));
    };
    let of_pod = |path: &str| {
        site.read(&["get", "pod", "probe-t001-1", "--namespace=%own", &format!("--output=jsonpath={path}")])
    };
    let image = of_pod("{.spec.containers[?(@.name==\"agent\")].image}")?;
    let labels = of_pod("{.metadata.labels}")?;
    let mut labels: serde_json::Value = serde_json::from_str(&labels)?;
    labels["enact.dev/attempt"] = json!("2");
    let owner: serde_json::Value = serde_json::from_str(&of_pod("{.metadata.ownerReferences[0]}")?)?;
    let uid = owner["uid"].clone();
    let host = site.fill(&format!("{server}.%system.svc"));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "probe-t001-2", "namespace": "%own", "labels": labels, "ownerReferences": [owner],
        },
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 10001, "fsGroup": 10001, "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "agent", "image": image, "command": ["python3", "-c", DELIVER, host, uid],
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                "volumeMounts": [{ "name": "token", "mountPath": "/var/run/attack", "readOnly": true }],
            }],
            "volumes": [{ "name": "token", "projected": { "sources": [
                { "serviceAccountToken": { "path": "token", "audience": "enact-server", "expirationSeconds": 600 } },
            ] } }],
        },
    });
    let created = site.ask(KubeEditor, &["create", "--filename=-"], &site.fill(&pod.to_string()))?;
    if !created.accepted {
        return Ok(Verdict::Stopped(short(&created.text)));
    }
    site.wait("pod/probe-t001-2", "jsonpath={.status.phase}=Succeeded", 60)?;
    let said = site.read(&["logs", "--namespace=%own", "probe-t001-2", "--container=agent"])?;
    let status: u16 = said.split(' ').next().and_then(|status| status.parse().ok()).unwrap_or_default();
    // An attempt whose pod the record does not know is refused for the time being.
    Ok(if (400..600).contains(&status) { Verdict::Stopped(short(&said)) } else { Verdict::NotStopped(short(&said)) })
}
