//! The attacks of an agent, from a pod of the tenant `%own`: a script that tries everything and prints what stopped it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use super::case::{Case, Verdict, by_pod, short};
use super::site::{Site, User};
use crate::cmd::CommandExt;

/// The script.
const SCRIPT: &str = include_str!("probe.py");
/// The pod, and its Task.
pub(super) const POD: &str = "probe-t001-1";
const TASK: &str = "probe-t001";
/// Longest wait for the start and for the end of the pod, in seconds.
const PATIENCE: u32 = 180;
/// A script that stores the addresses for the pod's script, which waits for them.
const GO: &str = "cat > /tmp/go.tmp && mv /tmp/go.tmp /tmp/go.json";

/// The attacks.
pub(super) const CASES: &[Case] = &[
    by_pod("NOD-E1", "be-root", "become root in the pod"),
    by_pod("NOD-T1", "change-the-image", "write a file of the image"),
    by_pod("NOD-E1", "use-capabilities", "have a capability"),
    by_pod("NOD-E1", "gain-privileges", "gain privileges by a setuid program"),
    by_pod("NOD-E2", "call-the-kernel", "make system calls without a filter"),
    by_pod("NOD-E2", "make-a-namespace", "make a user namespace"),
    by_pod("NOD-E2", "mount-a-file-system", "mount a file system"),
    by_pod("NOD-S1", "send-raw-packets", "send packets with a forged sender"),
    by_pod("NOD-T2", "change-the-kernel", "write a sysctl of the node"),
    by_pod("NOD-I1", "open-a-device", "open a disk or the memory of the node"),
    by_pod("NOD-I2", "see-other-processes", "see processes of the node"),
    by_pod("POD-I1", "read-the-runners-environment", "read the runner's environment"),
    by_pod("POD-I1", "read-the-runners-memory", "trace the runner, and read its memory"),
    by_pod("POD-I2", "find-keys-in-the-environment", "find variables of the runner"),
    by_pod("POD-D1", "kill-the-runner", "kill and stop the runner"),
    by_pod("POD-T2", "forge-the-report", "write the report of the attempt"),
    by_pod("POD-I3", "print-a-credential", "print the pod's token into its log"),
    by_pod("NOD-E3", "use-the-api-servers-token", "find a token for the API server"),
    by_pod("NOD-I3", "reach-the-api-server", "connect to the API server"),
    by_pod("NOD-I3", "reach-the-kubelet", "connect to the kubelet of the node"),
    by_pod("SQL-S1", "reach-postgres", "connect to Postgres"),
    by_pod("ADM-S4", "reach-the-webhook", "connect to the webhook"),
    by_pod("SRV-I2", "reach-the-metrics", "read the server's metrics"),
    by_pod("SRV-I1", "reach-the-reading-port", "connect to the port for readers"),
    by_pod("NOD-I4", "reach-outside", "connect to the address of --outside"),
    by_pod("SRV-S1", "deliver-before-the-runner", "deliver the result of the own attempt before the runner does"),
    by_pod("SRV-S1", "register-as-the-runner", "register the key of another runner"),
    by_pod("SRV-S2", "deliver-for-another-task", "deliver the result of another task"),
    by_pod("SRV-S2", "deliver-for-another-attempt", "deliver the result of the next attempt"),
    by_pod("SRV-S2", "deliver-two-subjects", "name one task in the path and another in the body"),
    by_pod("SRV-S3", "deliver-without-a-token", "deliver without a token"),
    by_pod("SRV-S3", "deliver-with-a-forged-token", "deliver with a forged token"),
    by_pod("SRV-S3", "deliver-with-the-gateways-token", "deliver with the token for the gateway"),
    by_pod("SRV-D2", "deliver-a-huge-result", "announce a result of 1 GiB"),
    by_pod("SRV-E1", "deliver-a-document", "deliver a document from the pod of a task"),
    by_pod("SRV-E1", "ask-for-an-assignment", "get an assignment of a warm pool"),
    by_pod("SRV-I3", "read-a-strange-checkpoint", "read the checkpoint of another task"),
    by_pod("SRV-T1", "keep-a-checkpoint", "replace the checkpoint of the own task"),
    by_pod("SRV-I1", "read-the-record-by-the-delivery-port", "read another tenant's record with the pod's token"),
    by_pod("SRV-D1", "take-all-connections", "open 300 connections to the server"),
    by_pod("SRV-D3", "send-a-slow-head", "send the head of a request slowly").slow(),
    by_pod("GWY-S1", "use-no-token", "use a model without a token"),
    by_pod("GWY-S1", "use-a-forged-token", "use a model with a forged token"),
    by_pod("GWY-S1", "use-the-servers-token", "use a model with the token for the server"),
    by_pod("GWY-E1", "use-another-model", "use a model that the Agent does not list"),
    by_pod("GWY-E1", "use-a-path-as-model", "name paths and URLs as models"),
    by_pod("GWY-E2", "use-the-gateway-as-proxy", "make the gateway fetch a URL inside of the cluster"),
    by_pod("GWY-E2", "use-a-private-provider", "name an address inside of the cluster as provider"),
    by_pod("GWY-E4", "search-by-the-provider", "search the Internet by a tool that the provider runs"),
    by_pod("GWY-D1", "send-a-huge-request", "announce a request of 3 GiB"),
];

/// A line of the script's output.
#[derive(Deserialize)]
struct Line {
    name: String,
    verdict: String,
    said: String,
}

/// Returns the manifests of the plan whose task runs the script, and of its agent.
pub(super) fn plan(site: &Site) -> String {
    let resources = json!({ "cpu": "50m", "memory": "192Mi", "ephemeralStorage": "64Mi" });
    let mut agent = json!({ "adapter": "Command", "resources": resources });
    // Without a gateway, an Agent with models would not be ready.
    if site.has(User::Gateway) {
        agent["models"] = json!([{ "provider": "inside", "model": "gpt-5" }]);
    }
    let script = format!(
        "until test -e /tmp/go.json; do sleep 0.1; done\nexec python3 - <<'END_OF_ATTACKS'\n{SCRIPT}\nEND_OF_ATTACKS\n"
    );
    let objects = json!([
        {
            "apiVersion": "enact.dev/v1alpha1", "kind": "Agent",
            "metadata": { "name": "attacker", "namespace": "%own" }, "spec": agent,
        },
        {
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan",
            "metadata": { "name": "probe", "namespace": "%own" },
            "spec": {
                "agentRef": { "name": "attacker" },
                "execution": { "cleanup": "Never", "timeoutSeconds": 900, "retry": { "limit": 0 } },
                "tasks": [{ "id": "T001", "title": "Attack", "script": script }],
            },
        },
    ]);
    json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string()
}

/// Lets the script begin, when its pod runs.
pub(super) fn release(site: &Site, fast: bool) -> Result<()> {
    site.wait(&format!("pod/{POD}"), "condition=Ready", PATIENCE).context("the pod of the attacks does not start")?;
    let service = |component: &str, port: u16| {
        let name = site.service(component)?.map(|name| site.fill(&format!("{name}.%system.svc")));
        Ok::<_, anyhow::Error>(match (name, port) {
            (Some(name), 0) => name,
            (Some(name), port) => format!("{name}:{port}"),
            (None, _) => String::new(),
        })
    };
    let of_pod = |path: &str| site.read(&["get", "pod", POD, "--namespace=%own", &format!("--output=jsonpath={path}")]);
    let uid = site.read(&["get", "task", TASK, "--namespace=%own", "--output=jsonpath={.metadata.uid}"])?;
    let go = json!({
        "uid": uid, "other": site.fill("%other"), "slow": !fast,
        "server": service("server", 0)?, "gateway": service("gateway", 0)?,
        "api": "kubernetes.default.svc:443", "kubelet": format!("{}:10250", of_pod("{.status.hostIP}")?),
        "postgres": service("postgres", 5432)?, "webhook": service("webhook", 443)?,
        "metrics": service("server", 8081)?, "reading": service("server", 8082)?,
        "outside": site.outside.clone().unwrap_or_default(),
    });
    let own = site.fill("%own");
    let exec = ["exec", "--stdin", "--namespace", &own, POD, "--container=agent", "--", "sh", "-c", GO];
    site.kube.kubectl(exec).read_with(&go.to_string()).map(drop)
}

/// Waits for the end of the pod, and returns the verdict of each of its attacks.
pub(super) fn collect(site: &Site) -> Result<BTreeMap<&'static str, Verdict>> {
    // If the plan fails, the log says how far the script came.
    let ended = site.wait("plan/probe", "jsonpath={.status.phase}=Succeeded", PATIENCE);
    let log = site.read(&["logs", "--namespace=%own", POD, "--container=agent", "--tail=-1"])?;
    let mut verdicts = parse(&log);
    let task = site.read(&["get", "task", TASK, "--namespace=%own", "--output=jsonpath={.status}"])?;
    let report = if ended.is_err() {
        Verdict::NotStopped(format!("the plan did not succeed: {}", short(&log)))
    } else if task.contains("by-the-agent") {
        Verdict::NotStopped("the Task has the planted output".to_owned())
    } else {
        Verdict::Stopped("the runner writes the report after the end of the agent".to_owned())
    };
    verdicts.insert("forge-the-report".to_owned(), report);
    let missing = || Verdict::NotStopped(format!("the pod says nothing about it: {}", short(&log)));
    Ok(CASES.iter().map(|case| (case.name, verdicts.remove(case.name).unwrap_or_else(missing))).collect())
}

/// Reads the script's lines in the log of its pod.
fn parse(log: &str) -> BTreeMap<String, Verdict> {
    let mut verdicts = BTreeMap::new();
    for line in log.lines() {
        if let Some(token) = line.strip_prefix("CREDENTIAL ") {
            let verdict = if token.starts_with("eyJ") {
                Verdict::NotStopped("the log has the token".to_owned())
            } else {
                Verdict::Stopped(format!("the runner redacts it: {}", short(token)))
            };
            verdicts.insert("print-a-credential".to_owned(), verdict);
        }
        let Some(Ok(line)) = line.strip_prefix("ATTACK ").map(serde_json::from_str::<Line>) else { continue };
        let said = short(&line.said);
        let verdict = match line.verdict.as_str() {
            "stopped" => Verdict::Stopped(said),
            "skipped" => Verdict::Skipped(said),
            _ => Verdict::NotStopped(said),
        };
        verdicts.insert(line.name, verdict);
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_of_the_table_is_in_the_script() {
        let scripted: Vec<&str> = SCRIPT.lines().filter_map(|line| line.split('"').nth(1)).collect();
        for case in CASES.iter().filter(|case| case.name != "print-a-credential") {
            assert!(scripted.contains(&case.name), "the script has no attack {}", case.name);
        }
        for line in SCRIPT.lines().filter(|line| line.starts_with("@attack(")) {
            let name = line.split('"').nth(1).unwrap_or_default();
            assert!(CASES.iter().any(|case| case.name == name), "the table has no attack {name}");
        }
        // The script of a task has at most 65,536 characters.
        assert!(SCRIPT.len() < 60_000);
    }

    #[test]
    fn the_log_has_the_verdicts() {
        let log = "noise\nCREDENTIAL [redacted]\nATTACK {\"name\": \"a\", \"verdict\": \"stopped\", \"said\": \"no\"}\n\
                   ATTACK {\"name\": \"b\", \"verdict\": \"not stopped\", \"said\": \"yes\"}\nATTACK broken\n";
        let verdicts = parse(log);
        assert_eq!(verdicts.len(), 3);
        assert_eq!(verdicts["a"], Verdict::Stopped("no".to_owned()));
        assert_eq!(verdicts["b"], Verdict::NotStopped("yes".to_owned()));
        assert!(matches!(parse("CREDENTIAL eyJhbGciOi")["print-a-credential"], Verdict::NotStopped(_)));
    }
}
