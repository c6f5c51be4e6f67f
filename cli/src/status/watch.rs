//! Follows a plan: redrawn in place for a person, and as lines for a log.

use std::fmt::Debug;
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use enact_crds::{Approval, Plan, Specification, Task};
use futures::TryStreamExt as _;
use jiff::{Timestamp, Zoned};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::snapshot::{Outcome, Snapshot};
use super::tree::Look;
use super::{changes, look, tree};
use crate::cluster::Cluster;
use crate::terminal::{self, WARNING};

/// How often a person sees the clock move.
const TICK: Duration = Duration::from_secs(1);
/// Changes that come within this time are shown together.
const SETTLE: Duration = Duration::from_millis(100);
/// A failure counts when it has lasted so long: the operator may be about to see what was mended, or applied a moment ago.
const GRACE: Duration = Duration::from_secs(3);

/// Shows the plan until it is finished, where that is wanted, or for ever.
pub async fn run(cluster: &Cluster, name: &str, until_finished: bool) -> Result<ExitCode> {
    // A wrong name or a missing right is told at once, and not tried for ever.
    let first = super::fetch(cluster, name).await?;
    let view =
        View::start(cluster, name, first.plan.spec.specification_ref.as_ref().map(|reference| reference.name.as_str()));
    view.ready().await?;
    let mut screen = Screen::new();
    let mut shown: Option<Snapshot> = None;
    let mut failing: Option<Instant> = None;
    loop {
        let Some(snapshot) = view.snapshot() else { bail!("Plan {name} was deleted") };
        screen.show(shown.as_ref(), &snapshot, view.watches.trouble())?;
        let now = Instant::now();
        match snapshot.outcome().filter(|_| until_finished) {
            Some(Outcome::Succeeded) => return Ok(ExitCode::SUCCESS),
            Some(Outcome::Failed(why)) if now.duration_since(*failing.get_or_insert(now)) >= GRACE => {
                bail!("Plan {name}: {why}")
            }
            Some(Outcome::Failed(_)) => {}
            None => failing = None,
        }
        shown = Some(snapshot);
        // The settling time bounds the redraws of a busy plan; a change in the meantime is kept by the notification.
        let next = now + TICK;
        tokio::time::sleep(SETTLE).await;
        let changed = timeout_at(next, view.watches.changed.notified());
        if screen.live || failing.is_some() {
            // Nothing changed when the time is up: the clock moves all the same.
            let _ = changed.await;
        } else {
            view.watches.changed.notified().await;
        }
    }
}

/// Copies of the objects, kept current by watches that end with this value.
struct View {
    plan: Store<Plan>,
    tasks: Store<Task>,
    approvals: Store<Approval>,
    specification: Store<Specification>,
    watches: Watches,
}

impl View {
    fn start(cluster: &Cluster, plan: &str, specification: Option<&str>) -> Self {
        let mut watches = Watches::default();
        let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let of_plan = watcher::Config::default().fields(&format!("spec.planRef.name={plan}"));
        // Without a specification nothing is to be found under a name that none can have.
        let specification = named(specification.unwrap_or("-"));
        Self {
            plan: watches.keep(cluster, named(plan)),
            tasks: watches.keep(cluster, of_plan),
            approvals: watches.keep(cluster, watcher::Config::default()),
            specification: watches.keep(cluster, specification),
            watches,
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
        Some(Snapshot {
            plan: self.plan.state().first()?.as_ref().clone(),
            specification: self.specification.state().first().map(|specification| specification.as_ref().clone()),
            tasks: self.tasks.state(),
            approvals: self.approvals.state(),
        })
    }
}

/// The watches behind a view.
#[derive(Default)]
struct Watches {
    changed: Arc<Notify>,
    /// What cut a watch that has not been taken up again.
    trouble: Arc<Mutex<Option<String>>>,
    /// Dropped with this value, which ends them.
    running: JoinSet<()>,
}

impl Watches {
    /// Keeps a copy of the objects that `config` selects.
    fn keep<K>(&mut self, cluster: &Cluster, config: watcher::Config) -> Store<K>
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
        let (changed, trouble) = (Arc::clone(&self.changed), Arc::clone(&self.trouble));
        let stream = watcher(api, config).default_backoff().reflect(writer);
        self.running.spawn(async move {
            let mut stream = pin!(stream);
            loop {
                let now = match stream.try_next().await {
                    Ok(Some(_)) => None,
                    Ok(None) => return,
                    Err(error) => {
                        Some(format!("the watch of {} was cut, and is taken up again: {error}", K::plural(&())))
                    }
                };
                *trouble.lock().unwrap_or_else(PoisonError::into_inner) = now;
                changed.notify_one();
            }
        });
        reader
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a person or a log is shown.
struct Screen {
    live: bool,
    /// Lines that are drawn, and the width that they were drawn for.
    drawn: (usize, usize),
    /// The trouble that was told last.
    told: Option<String>,
}

impl Screen {
    fn new() -> Self {
        Self { live: io::stdout().is_terminal(), drawn: (0, 0), told: None }
    }

    fn show(&mut self, before: Option<&Snapshot>, now: &Snapshot, trouble: Option<String>) -> Result<()> {
        if self.live {
            let text = self.frame(now, trouble.as_deref(), Timestamp::now(), look());
            return terminal::print(&text);
        }
        if let Some(trouble) = trouble.as_ref().filter(|_| trouble != self.told) {
            terminal::note(trouble);
        }
        self.told = trouble;
        let clock = Zoned::now().strftime("%H:%M:%S").to_string();
        let mut text = String::new();
        for line in changes::changes(before, now) {
            text.extend([clock.as_str(), "  ", line.as_str(), "\n"]);
        }
        terminal::print(&text)
    }

    /// What draws the tree over the one that stands there.
    fn frame(&mut self, snapshot: &Snapshot, trouble: Option<&str>, now: Timestamp, look: Look) -> String {
        let mut lines = tree::render(snapshot, now, look);
        if let Some(trouble) = trouble {
            let line = look.line().add(WARNING, trouble).end();
            match lines.get_mut(1) {
                // The bar is what can be spared: a line more might not fit.
                Some(bar) => *bar = line,
                None => lines.push(line),
            }
        }
        let mut text = match self.drawn {
            (0, _) => String::new(),
            // Up to the first line of what was drawn before.
            (drawn, width) if width == look.width => format!("\x1b[{drawn}F"),
            // The terminal has wrapped the old lines anew, and nobody knows how many they are now.
            _ => "\x1b[2J\x1b[H".to_owned(),
        };
        self.drawn = (lines.len(), look.width);
        for line in &lines {
            text.extend([line.as_str(), "\x1b[K\n"]);
        }
        // Nothing is left below.
        text.push_str("\x1b[J");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tree::Length;
    use crate::terminal::Paint;

    #[test]
    fn a_frame_is_drawn_over_the_one_before() {
        let look = |width| Look { paint: Paint::new(false), width, length: Length::Cut(10) };
        let mut screen = Screen { live: true, drawn: (0, 0), told: None };
        let snapshot = Snapshot::default();
        let mut frame =
            |trouble: Option<&str>, width| screen.frame(&snapshot, trouble, Timestamp::UNIX_EPOCH, look(width));
        let first = frame(None, 60);
        let lines = first.matches('\n').count();
        assert!(first.starts_with("Plan /") && first.ends_with("\x1b[K\n\x1b[J"), "{first:?}");
        assert_eq!(frame(None, 60), format!("\x1b[{lines}F{first}"), "the same lines, from the first on");
        let cut = frame(Some("the watch\x1b[2J was cut"), 60);
        assert!(cut.contains("the watch [2J was cut\x1b[K\n"), "{cut:?}");
        assert_eq!(cut.matches('\n').count(), lines, "as many lines with a trouble");
        assert!(frame(None, 50).starts_with("\x1b[2J\x1b[H"), "a narrower terminal is cleared");
    }
}
