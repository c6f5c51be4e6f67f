//! Deletes what the suite creates, however the suite ends.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::site::LABEL;
use crate::cmd::CommandExt;
use crate::kube::Kube;

/// Longest wait until a tenant can be deleted, and the time between two tries.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_secs(1);
/// This program. Its path can be gone: while `cargo xtask test` runs, Cargo builds the program again.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// The flag of the cleaner's process.
const FLAG: &str = "--janitor";

/// A process that cleans up when this one ends, also by Ctrl-C or a signal: its standard input ends then.
pub(super) struct Janitor(Child);

impl Janitor {
    /// Starts the process. `cluster` are the arguments of `cargo xtask attack` that name the cluster.
    pub(super) fn start(cluster: &[OsString]) -> Result<Self> {
        let mut janitor = Command::new(THIS_PROGRAM);
        janitor.args(["attack", FLAG]).args(cluster).stdin(Stdio::piped());
        // Ctrl-C in a terminal stops the foreground process group only.
        janitor.process_group(0);
        Ok(Self(janitor.spawn().context("cannot start the process that cleans up")?))
    }

    /// Lets the process clean up, and waits for it.
    pub(super) fn finish(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        let status = self.0.wait()?;
        if !status.success() {
            bail!("the suite could not clean up: run `cargo xtask attack --clean`");
        }
        Ok(())
    }
}

/// Waits for the end of the suite, and cleans up.
pub(super) fn serve(kube: &Kube) -> Result<()> {
    io::stdin().read_to_end(&mut Vec::new())?;
    clear(kube)
}

/// Deletes everything that this or an earlier run of the suite created.
pub(super) fn clear(kube: &Kube) -> Result<()> {
    let tenants = labelled(kube, "tenants.enact.dev")?;
    let namespaces = labelled(kube, "namespaces")?;
    // A tenant with unfinished plans cannot be deleted. The garbage collector deletes their tasks and pods.
    for namespace in &namespaces {
        let plans = ["delete", "plans.enact.dev", "--all", "--namespace", namespace, "--timeout=60s"];
        kube.kubectl(plans).read()?;
    }
    tenants.iter().try_for_each(|tenant| delete_tenant(kube, tenant))?;
    if !namespaces.is_empty() {
        let mut delete = kube.kubectl(["delete", "namespace", "--ignore-not-found", "--timeout=120s"]);
        delete.args(&namespaces).read()?;
    }
    let bindings = format!("--selector={LABEL}");
    kube.kubectl(["delete", "clusterrolebindings", "--ignore-not-found", &bindings]).read()?;
    if !tenants.is_empty() || !namespaces.is_empty() {
        println!("deleted the tenants and namespaces of the attacks");
    }
    Ok(())
}

/// Deletes a tenant. The webhook refuses that until it has seen the end of the plans.
fn delete_tenant(kube: &Kube, tenant: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match kube.kubectl(["delete", "tenant", tenant, "--ignore-not-found", "--timeout=120s"]).read() {
            Err(_) if Instant::now() < end => sleep(POLL),
            deleted => return deleted.map(drop),
        }
    }
}

/// Returns the names of the suite's objects of a kind.
fn labelled(kube: &Kube, kind: &str) -> Result<Vec<String>> {
    let selector = format!("--selector={LABEL}");
    let names = "--output=jsonpath={.items[*].metadata.name}";
    let found = kube.kubectl(["get", kind, &selector, names]).read()?;
    Ok(found.split_whitespace().map(str::to_owned).collect())
}
