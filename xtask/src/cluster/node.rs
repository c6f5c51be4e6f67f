//! The processes of the node: containerd, kubelet, kube-proxy and the controller of NetworkPolicies, and the pod network's configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::layout::{Layout, NODE};
use super::net::{BRIDGE, DECIDING_QUEUE, HOLDING_QUEUE, LOOPBACK, Ranges};
use super::options::Options;
use crate::cmd::cmd;
use crate::daemon::Spec;

/// The folder of CNI plugins in Debian.
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// The name of the pod network.
const NETWORK: &str = "enact";

/// Writes the configuration of containerd and of the pod network.
pub(super) fn containerd(layout: &Layout, ranges: Ranges, options: &Options, sandbox_image: &str) -> Result<Spec> {
    let network = json!({
        "cniVersion": "1.0.0",
        "name": NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": true,
                "ipMasq": options.internet,
                // A pod may reach itself through its Service.
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": layout.arg("cni/addresses"),
                    "ranges": [[{ "subnet": ranges.pods(), "gateway": ranges.node() }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    let network = layout.write("cni/net.d/10-enact.conflist", &network.to_string())?;
    let config = containerd_config(layout, sandbox_image);
    let config = layout.write("config/containerd.toml", &config)?;
    let args = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    Ok(Spec { name: "containerd", program: PathBuf::from("/usr/bin/containerd"), args, files: vec![config, network] })
}

fn containerd_config(layout: &Layout, sandbox_image: &str) -> String {
    // A JSON string is a TOML string.
    let path = |below: &str| json!(layout.path(below)).to_string();
    format!(
        r#"version = 2
root = {root}
state = {state}
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
address = {socket}

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{sandbox_image}"
stream_server_address = "{LOOPBACK}"
# Where the machine lacks CAP_SYS_RESOURCE, runc may not lower a process' score.
restrict_oom_score_adj = true
# Below our folder, where they are found and unmounted whatever happens.
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
Root = {runc}

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = {cni}
"#,
        root = path("containerd/root"),
        state = path("containerd/state"),
        socket = json!(layout.containerd_socket()),
        runc = path("containerd/runc"),
        cni = path("cni/net.d"),
    )
}

/// Returns containerd's client for the namespace that Kubernetes uses.
pub(super) fn ctr(layout: &Layout) -> Command {
    let mut command = cmd("ctr", ["-n", "k8s.io", "-a"]);
    command.arg(layout.containerd_socket());
    command
}

pub(super) fn kubelet(layout: &Layout, tools: &Path, ranges: Ranges) -> Result<Spec> {
    make_cgroup(&layout.cgroup())?;
    // An empty file: pods do not inherit the machine's name resolution.
    let resolv_conf = layout.write("config/resolv.conf", "")?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ranges.node(),
        "healthzBindAddress": LOOPBACK,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": layout.path("certs/ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": layout.path("certs/kubelet-server.crt"),
        "tlsPrivateKeyFile": layout.path("certs/kubelet-server.key"),
        "clusterDNS": [ranges.dns()],
        "clusterDomain": "cluster.local",
        "resolvConf": resolv_conf,
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd_socket().display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", layout.cgroup()),
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "podLogsDir": layout.path("log/pods"),
        "volumePluginDir": layout.path("kubelet/volume-plugins"),
        "maxPods": 250,
        "serializeImagePulls": false,
        // Images are loaded from archives and cannot be pulled again, so that the kubelet must not delete them when the disk is full.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {},
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "15s",
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    });
    let config = layout.write("config/kubelet.json", &config.to_string())?;
    let args = vec![
        format!("--config={}", config.display()),
        format!("--kubeconfig={}", layout.arg("kubelet.kubeconfig")),
        format!("--root-dir={}", layout.arg("kubelet")),
        format!("--cert-dir={}", layout.arg("certs")),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={}", ranges.node()),
    ];
    Ok(Spec { name: "kubelet", program: tools.join("kubelet"), args, files: vec![config, layout.path("certs/ca.crt")] })
}

pub(super) fn kube_proxy(layout: &Layout, tools: &Path, ranges: Ranges) -> Result<Spec> {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": ranges.node(),
        "healthzBindAddress": format!("{LOOPBACK}:10256"),
        "metricsBindAddress": format!("{LOOPBACK}:10249"),
        "clientConnection": { "kubeconfig": layout.path("kube-proxy.kubeconfig") },
        "clusterCIDR": ranges.pods(),
        "hostnameOverride": NODE,
        // NodePorts use only the node's address, so that no port is open on the machine's network.
        "nodePortAddresses": ["primary"],
        // Zero values leave the machine's settings for connection tracking unchanged.
        "conntrack": { "maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
        "oomScoreAdj": 0,
        "iptables": { "syncPeriod": "30s", "minSyncPeriod": "100ms" },
    });
    let config = layout.write("config/kube-proxy.json", &config.to_string())?;
    let args = vec![format!("--config={}", config.display())];
    let files = vec![config, layout.path("certs/ca.crt")];
    Ok(Spec { name: "kube-proxy", program: tools.join("kube-proxy"), args, files })
}

/// Returns the process that enforces NetworkPolicies.
pub(super) fn network_policies(layout: &Layout, tools: &Path) -> Spec {
    let args = vec![
        format!("--kubeconfig={}", layout.arg("network-policies.kubeconfig")),
        format!("--node={NODE}"),
        format!("--holding-queue={HOLDING_QUEUE}"),
        format!("--deciding-queue={DECIDING_QUEUE}"),
    ];
    let program = tools.join("network-policies");
    Spec { name: "network-policies", program, args, files: vec![layout.path("certs/ca.crt")] }
}

/// Returns the folders of control group `name`: one in version 2, one for each hierarchy in version 1.
pub(super) fn cgroup_folders(name: &str) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let folder = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (target, kind) = (words.next()?, words.next()?);
        matches!(kind, "cgroup" | "cgroup2").then(|| Path::new(target).join(name))
    };
    Ok(mounts.lines().filter_map(folder).collect())
}

/// Creates the root control group, which the kubelet requires.
fn make_cgroup(name: &str) -> Result<()> {
    for folder in cgroup_folders(name)? {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    Ok(())
}
