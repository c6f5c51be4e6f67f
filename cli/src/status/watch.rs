//! Follows a plan: redrawn in place for a person, and as lines for a log.

use std::fmt::Debug;
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use enact_crds::{Approval, Plan, Specification, Task};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::snapshot::{Outcome, Snapshot};
use super::{changes, look, tree};
use crate::cluster::Cluster;
use crate::terminal;

/// How often a person sees the clock move.
const TICK: Duration = Duration::from_secs(1);
/// Changes that come within this time are shown together.
const SETTLE: Duration = Duration::from_millis(100);

/// Shows the plan until it is finished, where that is wanted, or for ever.
pub async fn run(cluster: &Cluster, name: &str, until_finished: bool) -> Result<ExitCode> {
    // A wrong name or a missing right is told at once, and not tried for ever.
    let first = super::fetch(cluster, name).await?;
    let view = View::start(cluster, name, first.plan.spec.specification_ref.map(|reference| reference.name));
    view.ready().await?;
    let mut screen = Screen::new();
    let mut shown: Option<Snapshot> = None;
    loop {
        let Some(snapshot) = view.snapshot() else { bail!("Plan {name} was deleted") };
        let outcome = snapshot.outcome();
        screen.show(shown.as_ref(), &snapshot)?;
        shown = Some(snapshot);
        if let Some(outcome) = outcome.filter(|_| until_finished) {
            return finish(name, outcome);
        }
        // The settling time bounds the redraws of a busy plan; a change in the meantime is kept by the notification.
        let next = Instant::now() + TICK;
        tokio::time::sleep(SETTLE).await;
        // Nothing changed when the time is up: only the clock is shown anew.
        let _ = timeout_at(next, view.changed.notified()).await;
    }
}

fn finish(name: &str, outcome: Outcome) -> Result<ExitCode> {
    match outcome {
        Outcome::Succeeded => Ok(ExitCode::SUCCESS),
        Outcome::Failed(why) => bail!("Plan {name}: {why}"),
    }
}

/// Copies of the objects, kept current by watches that end with this value.
struct View {
    plan: Store<Plan>,
    tasks: Store<Task>,
    approvals: Store<Approval>,
    specification: Store<Specification>,
    changed: Arc<Notify>,
    /// Dropped with the view, which ends the watches.
    _watches: JoinSet<()>,
}

impl View {
    fn start(cluster: &Cluster, plan: &str, specification: Option<String>) -> Self {
        let changed = Arc::new(Notify::new());
        let mut watches = JoinSet::new();
        let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let of_plan = watcher::Config::default().fields(&format!("spec.planRef.name={plan}"));
        // Without a specification nothing is to be found under a name that none can have.
        let specification = named(specification.as_deref().unwrap_or("-"));
        Self {
            plan: keep(cluster, named(plan), &changed, &mut watches),
            tasks: keep(cluster, of_plan, &changed, &mut watches),
            approvals: keep(cluster, watcher::Config::default(), &changed, &mut watches),
            specification: keep(cluster, specification, &changed, &mut watches),
            changed,
            _watches: watches,
        }
    }

    async fn ready(&self) -> Result<()> {
        let plan = self.plan.wait_until_ready();
        let tasks = self.tasks.wait_until_ready();
        let approvals = self.approvals.wait_until_ready();
        let specification = self.specification.wait_until_ready();
        futures::try_join!(plan, tasks, approvals, specification)?;
        Ok(())
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let all = |tasks: &Store<Task>| tasks.state().iter().map(|task| task.as_ref().clone()).collect();
        Some(Snapshot {
            plan: self.plan.state().first()?.as_ref().clone(),
            specification: self.specification.state().first().map(|specification| specification.as_ref().clone()),
            tasks: all(&self.tasks),
            approvals: self.approvals.state().iter().map(|approval| approval.as_ref().clone()).collect(),
        })
    }
}

/// Keeps a copy of the objects that `config` selects.
fn keep<K>(cluster: &Cluster, config: watcher::Config, changed: &Arc<Notify>, watches: &mut JoinSet<()>) -> Store<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let api: Api<K> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let (reader, writer) = reflector::store();
    let changed = Arc::clone(changed);
    let stream = watcher(api, config).default_backoff().reflect(writer);
    watches.spawn(async move {
        let mut stream = pin!(stream);
        loop {
            match stream.try_next().await {
                Ok(Some(_)) => changed.notify_one(),
                Ok(None) => return,
                Err(error) => {
                    terminal::note(&format!("the watch of {} was cut, and is taken up again: {error}", K::plural(&())))
                }
            }
        }
    });
    reader
}

/// What a person or a log is shown.
struct Screen {
    live: bool,
    lines: usize,
}

impl Screen {
    fn new() -> Self {
        Self { live: io::stdout().is_terminal(), lines: 0 }
    }

    fn show(&mut self, before: Option<&Snapshot>, now: &Snapshot) -> Result<()> {
        if !self.live {
            let lines: String =
                changes::changes(before, now).iter().map(|line| format!("{}  {line}\n", clock())).collect();
            return terminal::print(&lines);
        }
        let lines = tree::render(now, Timestamp::now(), look());
        // Up to the first line of what was drawn before, and clear from there to the end.
        let up = if self.lines > 0 { format!("\x1b[{}F", self.lines) } else { String::new() };
        let text: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
        self.lines = lines.len();
        terminal::print(&format!("{up}{text}\x1b[J"))
    }
}

fn clock() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}
