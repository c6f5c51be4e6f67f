//! `cargo xtask attack`: attacks an installation of Enact, as its tenants, its agents and its own accounts could, and reports for each attack
//! what stopped it.
//!
//! The suite works in tenants of its own. What would change anything else is a dry run. The threat model
//! (`docs/reference/threat-model.md`) names the attacks of each threat.

mod case;
mod cleaner;
mod decisions;
mod fixture;
mod forged;
mod objects;
mod operator;
mod pod;
mod proxy;
mod reading;
mod record;
mod site;
mod tenancy;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use self::case::{Case, Means, Verdict, short};
use self::cleaner::Janitor;
use self::site::Site;
use crate::install::NAMESPACE;
use crate::kube::Kube;
use crate::{cluster, random};

/// The verdicts by the names of the attacks.
type Verdicts = BTreeMap<&'static str, Verdict>;

/// Requests that are made at once.
const WORKERS: usize = 4;
/// Hexadecimal digits that make the names of a run unique.
const SUFFIX: usize = 6;

/// Attacks an installation of Enact, in tenants of its own, and reports what stopped each attack
#[derive(Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Attack {
    /// Kubeconfig of the cluster [default: KUBECONFIG, else the cluster of this machine]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Namespace of the installation
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,

    /// Leave out the attacks that take longer than seconds, as CI does
    #[arg(long)]
    fast: bool,

    /// Run only the attacks whose name or threat contains this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Do not fail if this attack is not stopped; may be repeated
    #[arg(long, value_name = "ATTACK")]
    accept: Vec<String>,

    /// Address outside of the cluster that agents must not reach
    #[arg(long, value_name = "HOST:PORT")]
    outside: Option<String>,

    /// RuntimeClass in which the attacks of an agent run, such as that of gVisor
    #[arg(long, value_name = "NAME")]
    runtime_class: Option<String>,

    /// List the attacks
    #[arg(long)]
    list: bool,

    /// Delete what earlier runs left, and attack nothing
    #[arg(long)]
    clean: bool,

    /// Delete what this run leaves when standard input ends
    #[arg(long, hide = true)]
    janitor: bool,
}

/// Attacks the installation, or carries out what other flags ask for.
pub(crate) fn run(attack: &Attack) -> Result<()> {
    if attack.list {
        all().for_each(|case| println!("{:7} {}: {}", case.threat, case.name, case.tries));
        return Ok(());
    }
    let kube = attack.kube()?;
    if attack.janitor {
        cleaner::serve(&kube)
    } else if attack.clean {
        cleaner::clear(&kube)
    } else {
        attack.suite(kube)
    }
}

/// Makes the attacks that take seconds on the installation in the cluster of this machine.
pub(crate) fn fast() -> Result<()> {
    let attack = Attack {
        kubeconfig: Some(cluster::default_kubeconfig()?),
        context: None,
        namespace: NAMESPACE.to_owned(),
        fast: true,
        only: None,
        accept: Vec::new(),
        outside: None,
        runtime_class: None,
        list: false,
        clean: false,
        janitor: false,
    };
    run(&attack)
}

/// Returns all attacks.
fn all() -> impl Iterator<Item = &'static Case> {
    let before = [decisions::CASES, tenancy::CASES, objects::CASES];
    let beside = [operator::CASES, reading::CASES, record::CASES];
    before.into_iter().chain(beside).chain([pod::CASES, forged::CASES]).flatten()
}

impl Attack {
    fn kube(&self) -> Result<Kube> {
        let named = self.kubeconfig.is_some() || self.context.is_some() || std::env::var_os("KUBECONFIG").is_some();
        match cluster::default_kubeconfig() {
            Ok(own) if !named => Kube::named(Some(&own), None),
            _ => Kube::named(self.kubeconfig.as_deref(), self.context.as_deref()),
        }
    }

    /// Returns the flags that name the same cluster.
    fn cluster_flags(&self, kube: &Kube) -> Vec<OsString> {
        let mut flags = Vec::new();
        if let Some(kubeconfig) = kube.kubeconfig() {
            flags.extend([OsString::from("--kubeconfig"), kubeconfig.into()]);
        }
        if let Some(context) = &self.context {
            flags.extend([OsString::from("--context"), context.into()]);
        }
        flags
    }

    fn chosen(&self) -> impl Iterator<Item = &'static Case> {
        let wanted = move |case: &&Case| self.only.as_ref().is_none_or(|only| case.matches(only));
        all().filter(move |case| case.fast || !self.fast).filter(wanted)
    }

    /// Prepares the tenants, makes the attacks, and cleans up.
    fn suite(&self, kube: Kube) -> Result<()> {
        let begun = Instant::now();
        cleaner::clear(&kube)?;
        let flags = self.cluster_flags(&kube);
        let suffix: String = random::hex()?.chars().take(SUFFIX).collect();
        let mut site = Site::find(kube, &self.namespace, &suffix)?;
        site.outside.clone_from(&self.outside);
        site.runtime_class.clone_from(&self.runtime_class);
        // It starts before there is anything to delete.
        let janitor = Janitor::start(&flags)?;
        let verdicts = self.attack(&mut site);
        let cleaned = janitor.finish();
        let summary = self.summary(&verdicts?);
        println!("the attacks took {:.0} s", begun.elapsed().as_secs_f32());
        summary?;
        cleaned
    }

    /// Makes the attacks, and prints a line for each.
    fn attack(&self, site: &mut Site) -> Result<Verdicts> {
        fixture::set(site)?;
        let site: &Site = site;
        let verdicts = Mutex::default();
        let chosen: Vec<&Case> = self.chosen().collect();
        let of_pod = |case: &&Case| matches!(case.means, Means::Pod);
        // The pod waits, so that attacks on its Task find a plan that runs. The others run beside its own attacks.
        let (first, last) = chosen.iter().copied().partition::<Vec<&Case>, _>(|case| comes_before_the_pod(case));
        make(site, &first, &verdicts);
        pod::release(site, self.fast)?;
        let (slow, fast) = last.into_iter().filter(|case| !of_pod(case)).partition::<Vec<&Case>, _>(|case| !case.fast);
        make(site, &fast, &verdicts);
        let mut collected = pod::collect(site)?;
        for case in chosen.iter().copied().filter(of_pod) {
            let missing = || Verdict::NotStopped("the pod has no verdict".to_owned());
            report(case, collected.remove(case.name).unwrap_or_else(missing), &verdicts);
        }
        make(site, &slow, &verdicts);
        Ok(verdicts.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn summary(&self, verdicts: &Verdicts) -> Result<()> {
        let count = |wanted: fn(&Verdict) -> bool| verdicts.values().filter(|verdict| wanted(verdict)).count();
        let stopped = count(|verdict| matches!(verdict, Verdict::Stopped(_)));
        let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
        println!("{stopped} of {} attacks were stopped, {skipped} were skipped", verdicts.len());
        let through = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::NotStopped(_)));
        let (accepted, open): (Vec<&str>, Vec<&str>) =
            through.map(|(name, _)| *name).partition(|name| self.accept.iter().any(|accepted| accepted == name));
        if !accepted.is_empty() {
            println!("accepted, but not stopped: {}", accepted.join(", "));
        }
        if !open.is_empty() {
            bail!("these attacks were not stopped: {}", open.join(", "));
        }
        Ok(())
    }
}

/// Returns whether an attack needs the plan of the pod while it runs, or takes so little time that the pod can wait.
fn comes_before_the_pod(case: &Case) -> bool {
    let tables = [decisions::CASES, tenancy::CASES, operator::CASES];
    case.fast && tables.iter().any(|table| table.iter().any(|known| known.name == case.name))
}

/// Makes attacks and prints their verdicts: requests several at once, and then the others one after the other.
fn make(site: &Site, cases: &[&Case], verdicts: &Mutex<Verdicts>) {
    let (code, requests) =
        cases.iter().copied().partition::<Vec<&Case>, _>(|case| matches!(case.means, Means::Code(_)));
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    report(case, verdict(site, case), verdicts);
                }
            });
        }
    });
    for case in code {
        report(case, verdict(site, case), verdicts);
    }
}

/// Makes an attack.
fn verdict(site: &Site, case: &Case) -> Verdict {
    let request = match &case.means {
        Means::Create(request) | Means::Kubectl(request) => Some(request),
        Means::Pod | Means::Code(_) => None,
    };
    if let Some(request) = request.filter(|request| !site.has(request.user)) {
        return Verdict::Skipped(format!("the installation has no {:?}", request.user));
    }
    let tried = match &case.means {
        Means::Create(request) => request.try_create(site),
        Means::Kubectl(request) => request.try_kubectl(site),
        Means::Code(run) => run(site),
        Means::Pod => Ok(Verdict::Skipped("only the pod tries it".to_owned())),
    };
    // Nobody knows then whether the attack would be stopped.
    tried.unwrap_or_else(|error| Verdict::NotStopped(short(&format!("the attack itself failed: {error:#}"))))
}

/// Prints an attack with its verdict, and keeps the verdict.
fn report(case: &Case, verdict: Verdict, verdicts: &Mutex<Verdicts>) {
    let (word, said) = match &verdict {
        Verdict::Stopped(said) => ("stopped", said),
        Verdict::NotStopped(said) => ("NOT STOPPED", said),
        Verdict::Skipped(said) => ("skipped", said),
    };
    println!("{word:11} {:7} {}: {} → {said}", case.threat, case.name, case.tries);
    verdicts.lock().unwrap_or_else(PoisonError::into_inner).insert(case.name, verdict);
}

#[cfg(test)]
mod tests;
