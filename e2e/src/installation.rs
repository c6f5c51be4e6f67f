//! The installation that all tests share: changes by some tests, and checks that it is healthy afterwards.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::{REQUEST_TIMEOUT, Stage, program, run};

pub const NAMESPACE: &str = "enact-system";
pub const RELEASE: &str = "enact";
pub const WORKLOADS: [&str; 6] = [
    "statefulset/enact-postgres",
    "deployment/enact-cache",
    "deployment/enact-gateway",
    "deployment/enact-operator",
    "deployment/enact-server",
    "deployment/enact-webhook",
];
/// The timeout for the start of a component.
const STARTING: &str = "--timeout=240s";

/// Runs `kubectl` in the installation's namespace and returns its output.
///
/// # Errors
/// If it fails, with its standard error.
pub fn kubectl(args: &[&str]) -> Result<String> {
    let mut kubectl = program("kubectl")?;
    // These commands wait, and have their own timeout.
    if !matches!(args.first(), Some(&("rollout" | "wait"))) {
        kubectl.arg(REQUEST_TIMEOUT);
    }
    run(kubectl.args(["--namespace", NAMESPACE]).args(args))
}

/// Returns a `helm` command for the installation's namespace.
///
/// # Errors
/// If there is no `helm`.
pub fn helm(args: &[&str]) -> Result<Command> {
    let mut helm = program("helm")?;
    helm.args(["--namespace", NAMESPACE]).args(args);
    Ok(helm)
}

/// Waits until every component is ready.
///
/// # Errors
/// If one is not ready in time.
pub fn await_healthy() -> Result<()> {
    WORKLOADS.iter().try_for_each(|workload| {
        replicas(workload)?;
        rolled_out(workload)
    })
}

/// Returns the configured number of pods of a workload.
fn replicas(workload: &str) -> Result<String> {
    let replicas = kubectl(&["get", workload, "--output=jsonpath={.spec.replicas}"])?;
    // A rollout of zero pods succeeds at once.
    ensure!(
        !replicas.is_empty() && replicas != "0",
        "{workload} is scaled to zero by an earlier test; `cargo xtask test cluster` installs the release again"
    );
    Ok(replicas)
}

fn rolled_out(workload: &str) -> Result<()> {
    kubectl(&["rollout", "status", workload, STARTING]).map(drop)
}

/// A component that is scaled to another number of pods. Drop restores the number of the release.
pub struct Scaled {
    workload: &'static str,
    before: String,
}

impl Scaled {
    /// Gives a workload, one of [`WORKLOADS`], another number of pods, and waits until they run or are deleted.
    ///
    /// # Errors
    /// If that fails.
    pub fn to(workload: &'static str, replicas: u32) -> Result<Self> {
        let scaled = Self { workload, before: self::replicas(workload)? };
        scale(workload, &replicas.to_string())?;
        if replicas > 0 {
            rolled_out(workload)?;
        } else {
            kubectl(&["wait", "pod", "--for=delete", "--selector", &selector(workload)?, STARTING])?;
        }
        Ok(scaled)
    }

    /// Restores the number of pods, and waits until they run.
    ///
    /// # Errors
    /// If the workload does not become ready.
    pub fn back(self) -> Result<()> {
        let result = self.restore();
        // Drop would restore the number a second time.
        std::mem::forget(self);
        result
    }

    fn restore(&self) -> Result<()> {
        scale(self.workload, &self.before)?;
        rolled_out(self.workload)
    }
}

impl Drop for Scaled {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            eprintln!("{} cannot be restored: {error:#}", self.workload);
        }
    }
}

fn scale(workload: &str, replicas: &str) -> Result<()> {
    kubectl(&["scale", workload, "--replicas", replicas]).map(drop)
}

/// Selects the pods of a workload.
fn selector(workload: &str) -> Result<String> {
    let (_, component) =
        workload.split_once("/enact-").with_context(|| format!("{workload} is not part of the release"))?;
    Ok(format!("app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"))
}

/// Returns the names of a workload's pods.
///
/// # Errors
/// If they cannot be listed.
pub fn pods_of(workload: &str) -> Result<Vec<String>> {
    let names = kubectl(&["get", "pods", "--selector", &selector(workload)?, "--output=name"])?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// Kills a pod of the installation.
///
/// # Errors
/// If it cannot be deleted.
pub fn kill(pod: &str) -> Result<()> {
    // The pod may already be deleted if many are killed.
    kubectl(&["delete", pod, "--force", "--grace-period=0", "--ignore-not-found"]).map(drop)
}

/// Waits until the log of a stage's pod contains a text.
///
/// # Errors
/// If it does not in time.
pub async fn printed(stage: &Stage, pod: &str, text: &str, patience: Duration) -> Result<()> {
    crate::until(&format!("`{text}` in the log of {pod}"), patience, || async {
        let log = run(program("kubectl")?.args([REQUEST_TIMEOUT, "logs", "--namespace", &stage.name, pod]))?;
        Ok(if log.contains(text) { crate::Answer::Yes(()) } else { crate::Answer::NotYet(log) })
    })
    .await
}
