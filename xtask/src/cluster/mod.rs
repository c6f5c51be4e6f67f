//! `cargo xtask cluster`: a Kubernetes cluster on this machine, without Docker.
//!
//! The control plane, kubelet and kube-proxy are host processes from `tools/cluster`. containerd and the CNI plugins are Debian packages.
//! Pods are connected to their own bridge. `up` starts what is missing or has changed. If the cluster is not healthy then, `up` removes
//! everything and starts again.

mod certs;
mod clean;
mod control_plane;
mod kubectl;
mod kwok;
mod layout;
mod net;
mod node;
mod options;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use self::kubectl::Kubectl;
use self::layout::{Layout, Machine, NODE};
use self::net::Ranges;
pub(crate) use self::options::Options;
use crate::cmd::CommandExt;
use crate::daemon::{self, Daemons, PATIENCE};
use crate::digest::Inputs;
use crate::images::{
    archive::{self, Archive},
    store,
};
use crate::{apt, dirs, tools};

/// Debian packages that the cluster needs.
const PACKAGES: [&str; 11] = [
    "buildah",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "kmod",
    "openssl",
    "procps",
    "runc",
    "util-linux",
];

/// The components, in the order of `status`.
const COMPONENTS: [&str; 9] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "network-policies",
    "volumes",
];

/// The cluster of this machine.
#[derive(Args)]
pub(crate) struct Cluster {
    /// Directory of the cluster's state [default: $XDG_STATE_HOME/enact/cluster]
    #[arg(long, env = "ENACT_CLUSTER_DIR", global = true)]
    dir: Option<PathBuf>,

    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start the cluster, or the components that are missing or have changed; safe to repeat
    Up(Options),
    /// Remove the cluster: processes, pods, mounts, links, firewall rules, data
    Down,
    /// Show which components run
    Status,
    /// Print the path of the administrator's kubeconfig
    Kubeconfig,
    /// Load images from OCI archives into the node
    Load {
        /// OCI archives
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Create a kubeconfig for a user, and print its path
    User {
        /// Name of the user
        name: String,
        /// Group of the user; may be repeated
        #[arg(long = "group")]
        groups: Vec<String>,
    },
}

pub(crate) fn run(cluster: Cluster) -> Result<()> {
    let running = Running::new(cluster.dir)?;
    match cluster.action {
        Action::Up(options) => running.up(&options),
        Action::Down => running.down(),
        Action::Status => running.status(),
        Action::Kubeconfig => running.kubeconfig().map(|path| println!("{}", path.display())),
        Action::Load { archives } => running.load(&archives),
        Action::User { name, groups } => {
            let path = certs::user_kubeconfig(&running.layout, running.ranges()?, &name, &groups)?;
            println!("{}", path.display());
            Ok(())
        }
    }
}

/// Starts the cluster in the default directory.
pub(crate) fn up(options: &Options) -> Result<()> {
    Running::new(None)?.up(options)
}

/// Returns the path of the audit log of the cluster in the default directory. It is written with [`Options::audit`].
pub(crate) fn audit_log() -> Result<PathBuf> {
    Ok(Running::new(None)?.layout.logs().join("audit.log"))
}

/// Removes the cluster in the default directory.
pub(crate) fn down() -> Result<()> {
    Running::new(None)?.down()
}

/// Loads archives into the cluster in the default directory.
pub(crate) fn load(archives: &[PathBuf]) -> Result<()> {
    Running::new(None)?.load(archives)
}

/// Deletes images with other content than these archives from the cluster in the default directory. Its kubelet deletes no images, and
/// each contains all programs.
pub(crate) fn forget_outdated(archives: &[Archive]) -> Result<()> {
    let running = Running::new(None)?;
    let kept = node::ctr(&running.layout).args(["images", "list", "--quiet"]).read()?;
    let outdated = archive::outdated(kept.lines(), archives);
    if outdated.is_empty() {
        return Ok(());
    }
    node::ctr(&running.layout).args(["images", "remove"]).args(outdated).read().map(drop)
}

/// Returns the administrator's kubeconfig of the cluster in the default directory.
pub(crate) fn default_kubeconfig() -> Result<PathBuf> {
    Running::new(None)?.kubeconfig()
}

struct Running {
    layout: Layout,
    daemons: Daemons,
}

impl Running {
    fn new(dir: Option<PathBuf>) -> Result<Self> {
        let dir = match dir.or_else(|| std::env::var_os("ENACT_CLUSTER_DIR").map(PathBuf::from)) {
            Some(dir) => dir,
            None => dirs::state()?.join("cluster"),
        };
        let layout = Layout::new(dir)?;
        let daemons = Daemons::new(layout.dir(), layout.logs());
        Ok(Self { layout, daemons })
    }

    fn up(&self, options: &Options) -> Result<()> {
        let started = Instant::now();
        if !apt::is_root() {
            bail!("a node needs network namespaces, mounts and control groups: run this as root");
        }
        apt::ensure(&PACKAGES)?;
        let tools = tools::cluster()?;
        let base = store::cluster_base(&tools)?;
        let _lock = self.lock()?;
        self.refuse_second_cluster()?;

        let earlier = Machine::load(&self.layout);
        // After a reboot, the bridge and mounts of the earlier cluster do not exist any more, so a new cluster is simpler than a repair.
        let keep = !options.fresh && earlier.as_ref().is_some_and(Machine::is_current);
        if !keep {
            self.clean()?;
        }
        let result = self.attempt(&tools, &base, options);
        if let (Err(error), true) = (&result, keep) {
            eprintln!("the existing cluster cannot be repaired; a new one is started: {error:#}");
            self.clean()?;
            self.attempt(&tools, &base, options)?;
        } else {
            result?;
        }
        eprintln!("the cluster is up after {:.1} s", started.elapsed().as_secs_f32());
        eprintln!("  export KUBECONFIG={}", self.layout.admin_kubeconfig().display());
        Ok(())
    }

    fn attempt(&self, tools: &Path, base: &Archive, options: &Options) -> Result<()> {
        self.layout.create()?;
        let machine = match Machine::load(&self.layout) {
            Some(machine) => machine,
            None => Machine { boot: layout::boot_id()?, ranges: Ranges::choose()?, sysctls: net::sysctls() },
        };
        // The kernel settings are saved before `net::up` changes them. Otherwise `down` could not restore them after a crash.
        machine.save(&self.layout)?;
        let ranges = machine.ranges;
        net::up(ranges, options.internet)?;
        certs::ensure(&self.layout, ranges)?;

        let (layout, daemons, kubectl) = (&self.layout, &self.daemons, Kubectl::new(&self.layout, tools));
        daemons.ensure(&control_plane::etcd(layout, tools))?;
        daemons.ensure(&control_plane::api_server(layout, tools, ranges, options)?)?;
        daemons.ensure(&node::containerd(layout, ranges, options, &base.name)?)?;
        daemons.await_ready("etcd", PATIENCE, etcd_listens)?;
        daemons.await_ready("kube-apiserver", PATIENCE, || kubectl.read(&["get", "--raw=/readyz"]).map(drop))?;
        daemons.ensure(&control_plane::controller_manager(layout, tools))?;
        daemons.ensure(&control_plane::scheduler(layout, tools))?;
        daemons.ensure(&control_plane::volumes(layout, tools))?;
        daemons.ensure(&node::kube_proxy(layout, tools, ranges)?)?;
        daemons.ensure(&node::network_policies(layout, tools))?;
        // While no process serves the queues, the firewall drops all new connections of pods.
        daemons.await_ready("network-policies", PATIENCE, net::queues_are_served)?;
        daemons.await_ready("containerd", PATIENCE, || node::ctr(layout).arg("version").read().map(drop))?;
        // The sandbox image must be loaded before the kubelet starts pods, because no registry has it.
        self.load(std::slice::from_ref(&base.path))?;
        daemons.ensure(&node::kubelet(layout, tools, ranges)?)?;
        apply_addons(&kubectl, ranges, base, options)?;
        self.await_node(&kubectl, ranges)?;
        kwok::ensure(layout, daemons, &kubectl, options.nodes.unwrap_or(0))
    }

    /// Waits until the node runs pods that resolve names. Its condition Ready is not enough: it may be from before a restart.
    fn await_node(&self, kubectl: &Kubectl, ranges: Ranges) -> Result<()> {
        let node = format!("node/{NODE}");
        let alive = format!("/api/v1/nodes/{NODE}/proxy/healthz");
        self.daemons.await_ready("kubelet", PATIENCE, || kubectl.read(&["get", "--raw", &alive]).map(drop))?;
        self.daemons.await_ready("kubelet", PATIENCE, || {
            kubectl.read(&["wait", "--for=condition=Ready", "--timeout=1s", &node]).map(drop)
        })?;
        self.daemons.await_ready("kubelet", PATIENCE, || {
            let args = ["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=1s"];
            kubectl.read(&args).map(drop)
        })?;
        self.daemons.await_ready("kubelet", PATIENCE, || net::resolves(ranges.dns()))?;
        self.daemons.await_ready("kube-controller-manager", PATIENCE, || {
            kubectl.read(&["-n", "default", "get", "serviceaccount", "default"]).map(drop)
        })
    }

    fn down(&self) -> Result<()> {
        let _lock = self.lock()?;
        self.clean()
    }

    fn clean(&self) -> Result<()> {
        clean::clean(&self.layout, &self.daemons)
    }

    fn status(&self) -> Result<()> {
        let mut missing = 0;
        for name in COMPONENTS {
            let state = if let Some(process) = self.daemons.find(name)? {
                format!("runs, process {}", process.pid)
            } else {
                missing += 1;
                "does not run".to_owned()
            };
            println!("{name:<24} {state}");
        }
        if missing > 0 {
            bail!("{missing} of {} components do not run: `cargo xtask cluster up` starts them", COMPONENTS.len());
        }
        let tools = tools::cluster()?;
        println!("\n{}", Kubectl::new(&self.layout, &tools).read(&["get", "nodes", "-o", "wide"])?);
        println!("\nkubeconfig {}", self.kubeconfig()?.display());
        println!("logs       {}", self.layout.logs().display());
        Ok(())
    }

    fn kubeconfig(&self) -> Result<PathBuf> {
        self.ranges()?;
        Ok(self.layout.admin_kubeconfig())
    }

    fn ranges(&self) -> Result<Ranges> {
        let machine = Machine::load(&self.layout).filter(Machine::is_current);
        Ok(machine.context("there is no cluster: start one with `cargo xtask cluster up`")?.ranges)
    }

    fn load(&self, archives: &[PathBuf]) -> Result<()> {
        self.ranges()?;
        let present = node::ctr(&self.layout).args(["images", "list"]).read()?;
        for archive in archives.iter().filter(|archive| !is_loaded(&present, archive)) {
            let mut import = node::ctr(&self.layout);
            import.args(["images", "import"]).arg(archive);
            import.read().with_context(|| format!("cannot load {}", archive.display()))?;
        }
        Ok(())
    }

    /// Acquires a lock that excludes another `up` or `down`. The lock file is next to the directory, because `down` deletes the directory.
    fn lock(&self) -> Result<File> {
        let path = self.layout.dir().with_extension("lock");
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        file.lock()?;
        Ok(file)
    }

    /// Refuses to start a second cluster, because the bridge and kernel settings exist only once on a machine.
    fn refuse_second_cluster(&self) -> Result<()> {
        let processes = daemon::all_processes()?;
        match processes.iter().find(|process| process.owner != self.layout.dir()) {
            None => Ok(()),
            Some(other) => bail!(
                "another cluster runs on this machine (process {}, {}): stop it with `cargo xtask cluster down --dir {}`",
                other.pid,
                other.name,
                other.owner.display()
            ),
        }
    }
}

fn apply_addons(kubectl: &Kubectl, ranges: Ranges, base: &Archive, options: &Options) -> Result<()> {
    // CoreDNS resolves names outside of the cluster only if pods may connect to them.
    let outward = if options.internet {
        "forward . /etc/resolv.conf"
    } else {
        "template ANY ANY {\n            rcode NXDOMAIN\n        }"
    };
    let manifests = include_str!("addons.yaml").replace("@OUTWARD@", outward);
    let manifests = manifests
        // The digest of the manifests, in a pod annotation, makes a changed configuration restart the pods.
        .replace("@DIGEST@", &Inputs::default().text(&manifests).short())
        .replace("@DNS@", &ranges.dns().to_string())
        .replace("@IMAGE@", &base.name);
    kubectl.apply(&manifests)
}

fn etcd_listens() -> Result<()> {
    let address = (net::LOOPBACK, 2379);
    std::net::TcpStream::connect(address).with_context(|| format!("no process listens on {address:?}"))?;
    Ok(())
}

/// Returns whether containerd's list of images, which has a name and a digest on each line, contains all images of `archive`. An archive
/// in another format counts as not loaded.
fn is_loaded(present: &str, archive: &Path) -> bool {
    let Ok(contents) = archive::contents(archive) else { return false };
    contents.iter().all(|(name, digest)| {
        present.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(name.as_str()) && words.any(|word| word == digest)
        })
    })
}
