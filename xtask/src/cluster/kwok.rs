//! Simulated nodes for benchmarks of the control plane: their pods start and end only in the API.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::kubectl::Kubectl;
use super::layout::Layout;
use super::net::LOOPBACK;
use crate::daemon::{Daemons, PATIENCE, Spec};
use crate::tools;

/// The annotation of simulated nodes, as kwok documents it.
const ANNOTATION: &str = "kwok.x-k8s.io/node";

/// Parses `kwok:N`.
pub(super) fn parse(text: &str) -> Result<u32, String> {
    let number = text.strip_prefix("kwok:").and_then(|number| number.parse().ok());
    number.filter(|number| *number <= 5000).ok_or_else(|| "expected kwok:N, N up to 5000".to_owned())
}

/// Creates or deletes simulated nodes until there are `count`.
pub(super) fn ensure(layout: &Layout, daemons: &Daemons, kubectl: &Kubectl, count: u32) -> Result<()> {
    let present = kubectl.read(&["get", "nodes", "-l", "type=kwok", "-o", "name"])?;
    let wanted: Vec<String> = (0..count).map(|number| format!("node/kwok-{number}")).collect();
    let surplus: Vec<&str> = present.lines().filter(|name| !wanted.iter().any(|wanted| wanted == name)).collect();
    if !surplus.is_empty() {
        kubectl.read(&[["delete", "--wait=false"].as_slice(), &surplus].concat())?;
    }
    if count == 0 {
        return daemons.stop("kwok");
    }
    let kwok = spec(layout, &tools::kwok()?)?;
    daemons.ensure(&kwok)?;
    let nodes: Vec<Value> = wanted.iter().map(|name| node(name.trim_start_matches("node/"))).collect();
    kubectl.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": nodes }).to_string())?;
    daemons.await_ready("kwok", PATIENCE, || {
        // One request for all nodes: `kubectl wait` requests one after the other.
        let ready = "-o=jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
        let statuses = kubectl.read(&["get", "nodes", "-l", "type=kwok", ready])?;
        let up = statuses.split_whitespace().filter(|status| *status == "True").count();
        if up < wanted.len() {
            bail!("{up} of {count} simulated nodes are ready");
        }
        Ok(())
    })
}

fn spec(layout: &Layout, tools: &Path) -> Result<Spec> {
    let stages = layout.write("config/kwok-stages.yaml", include_str!("kwok-stages.yaml"))?;
    let args = vec![
        format!("--kubeconfig={}", layout.admin_kubeconfig().display()),
        format!("--config={}", stages.display()),
        format!("--manage-nodes-with-annotation-selector={ANNOTATION}=fake"),
        format!("--server-address={LOOPBACK}:10247"),
        "--node-lease-duration-seconds=40".to_owned(),
    ];
    Ok(Spec { name: "kwok", program: tools.join("kwok"), args, files: vec![stages, layout.path("certs/ca.crt")] })
}

fn node(name: &str) -> Value {
    let capacity = json!({ "cpu": "64", "memory": "512Gi", "pods": "1000", "ephemeral-storage": "1Ti" });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": { ANNOTATION: "fake" },
            "labels": {
                "type": "kwok",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        // Only pods that tolerate the taint are scheduled there.
        "spec": { "taints": [{ "key": ANNOTATION, "value": "fake", "effect": "NoSchedule" }] },
        "status": { "capacity": capacity, "allocatable": capacity },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_up_to_a_limit() {
        assert_eq!(parse("kwok:5"), Ok(5));
        assert_eq!(parse("kwok:0"), Ok(0));
        for wrong in ["5", "kwok:", "kwok:-1", "kwok:5001", "kind:5"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
