//! The processes of the control plane: etcd, API server, controller manager and scheduler.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::layout::{API_PORT, Layout, NODE};
use super::net::{LOOPBACK, Ranges};
use super::options::Options;
use crate::daemon::Spec;

pub(super) fn etcd(layout: &Layout, tools: &Path) -> Spec {
    let client = format!("https://{LOOPBACK}:2379");
    let peer = format!("https://{LOOPBACK}:2380");
    let certificate = |purpose: &str| {
        [
            format!("--{purpose}cert-file={}", layout.arg("certs/etcd.crt")),
            format!("--{purpose}key-file={}", layout.arg("certs/etcd.key")),
            format!("--{purpose}trusted-ca-file={}", layout.arg("certs/etcd-ca.crt")),
            format!("--{purpose}client-cert-auth=true"),
        ]
    };
    let mut args = vec![
        "--name=enact".to_owned(),
        format!("--data-dir={}", layout.arg("etcd")),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=enact={peer}"),
        // The data of tests does not need to survive a crash of the machine.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    args.extend(certificate(""));
    args.extend(certificate("peer-"));
    Spec { name: "etcd", program: tools.join("etcd"), args, files: vec![layout.path("certs/etcd.crt")] }
}

pub(super) fn api_server(layout: &Layout, tools: &Path, ranges: Ranges, options: &Options) -> Result<Spec> {
    let cert = |name: &str| layout.arg(&format!("certs/{name}"));
    let mut args = vec![
        format!("--advertise-address={}", ranges.node()),
        format!("--bind-address={}", ranges.node()),
        format!("--secure-port={API_PORT}"),
        "--allow-privileged=true".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        format!("--service-cluster-ip-range={}", ranges.services()),
        format!("--client-ca-file={}", cert("ca.crt")),
        format!("--tls-cert-file={}", cert("apiserver.crt")),
        format!("--tls-private-key-file={}", cert("apiserver.key")),
        format!("--etcd-servers=https://{LOOPBACK}:2379"),
        format!("--etcd-cafile={}", cert("etcd-ca.crt")),
        format!("--etcd-certfile={}", cert("apiserver-etcd.crt")),
        format!("--etcd-keyfile={}", cert("apiserver-etcd.key")),
        format!("--kubelet-certificate-authority={}", cert("ca.crt")),
        format!("--kubelet-client-certificate={}", cert("apiserver-kubelet.crt")),
        format!("--kubelet-client-key={}", cert("apiserver-kubelet.key")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-key-file={}", cert("service-account.pub")),
        format!("--service-account-signing-key-file={}", cert("service-account.key")),
        format!("--requestheader-client-ca-file={}", cert("front-proxy-ca.crt")),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!("--proxy-client-cert-file={}", cert("front-proxy.crt")),
        format!("--proxy-client-key-file={}", cert("front-proxy.key")),
    ];
    let mut files = vec![layout.path("certs/apiserver.crt")];
    if options.audit {
        let policy = layout.write("config/audit-policy.json", &audit_policy().to_string())?;
        args.push(format!("--audit-policy-file={}", policy.display()));
        args.push(format!("--audit-log-path={}", layout.arg("log/audit.log")));
        args.push("--audit-log-mode=batch".to_owned());
        files.push(policy);
    }
    Ok(Spec { name: "kube-apiserver", program: tools.join("kube-apiserver"), args, files })
}

/// Returns a policy that logs one line for each completed request: user, verb, object and response code, without bodies.
fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{ "level": "Metadata" }],
    })
}

pub(super) fn controller_manager(layout: &Layout, tools: &Path) -> Spec {
    let kubeconfig = layout.arg("kube-controller-manager.kubeconfig");
    let ca = layout.arg("certs/ca.crt");
    let args = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--bind-address={LOOPBACK}"),
        // A single instance needs no election, which would delay its start.
        "--leader-elect=false".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        format!("--root-ca-file={ca}"),
        format!("--service-account-private-key-file={}", layout.arg("certs/service-account.key")),
        format!("--cluster-signing-cert-file={ca}"),
        format!("--cluster-signing-key-file={}", layout.arg("certs/ca.key")),
        // The controller manager creates this folder. The default is in /usr.
        format!("--flex-volume-plugin-dir={}", layout.arg("kubelet/volume-plugins")),
    ];
    let program = tools.join("kube-controller-manager");
    Spec { name: "kube-controller-manager", program, args, files: vec![layout.path("certs/ca.crt")] }
}

pub(super) fn scheduler(layout: &Layout, tools: &Path) -> Spec {
    let kubeconfig = layout.arg("kube-scheduler.kubeconfig");
    let args = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--bind-address={LOOPBACK}"),
        "--leader-elect=false".to_owned(),
    ];
    Spec {
        name: "kube-scheduler",
        program: tools.join("kube-scheduler"),
        args,
        files: vec![layout.path("certs/ca.crt")],
    }
}

/// Returns the process that provisions volumes in directories of this machine.
pub(super) fn volumes(layout: &Layout, tools: &Path) -> Spec {
    let args = vec![
        format!("--kubeconfig={}", layout.arg("volumes.kubeconfig")),
        format!("--directory={}", layout.arg("volumes")),
        format!("--node={}", NODE),
    ];
    Spec { name: "volumes", program: tools.join("volumes"), args, files: vec![layout.path("certs/ca.crt")] }
}
