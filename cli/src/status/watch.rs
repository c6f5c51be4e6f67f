//! Watches a plan: redraws the tree on a terminal, prints one line per change otherwise.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, bail};
use enact_crds::{Approval, Plan, Specification, Task};
use futures::TryStreamExt as _;
use jiff::{Timestamp, Zoned};
use kube::Resource;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::display::Display;
use super::snapshot::{Outcome, Snapshot};
use super::{changes, tree};
use crate::cluster::Cluster;
use crate::terminal::{self, WARNING};

/// Interval of redraws without a change: the tree shows running times.
const TICK: Duration = Duration::from_secs(1);
/// Changes within this time are shown together.
const SETTLE: Duration = Duration::from_millis(100);
/// A failure must last this long to end the watch, because the operator may not have seen the latest change of the plan yet.
const GRACE: Duration = Duration::from_secs(3);

/// Shows the plan forever, or until it is finished.
pub async fn run(cluster: &Cluster, name: &str, until_finished: bool) -> Result<()> {
    // A request before the watches reports a wrong name or a missing right at once. A watch would retry forever.
    let first = Snapshot::fetch(cluster, name).await?;
    let view =
        View::start(cluster, name, first.plan.spec.specification_ref.as_ref().map(|reference| reference.name.as_str()));
    // Subscribed before the first snapshot, so that no change after it is missed.
    let mut changes = view.watches.problems.0.subscribe();
    view.ready().await?;
    let mut screen = Screen::new();
    let mut shown: Option<Snapshot> = None;
    let mut failing: Option<Instant> = None;
    loop {
        let Some(snapshot) = view.snapshot() else { bail!("Plan {name} was deleted") };
        let problem = view.watches.problems.all();
        screen.show(shown.as_ref(), &snapshot, problem)?;
        let now = Instant::now();
        match snapshot.outcome().filter(|_| until_finished) {
            Some(Outcome::Succeeded) => return Ok(()),
            Some(Outcome::Failed(why)) if now.duration_since(*failing.get_or_insert(now)) >= GRACE => {
                bail!("Plan {name}: {why}")
            }
            Some(Outcome::Failed(_)) => {}
            None => failing = None,
        }
        shown = Some(snapshot);
        // This wait limits the redraws of a busy plan. The channel remembers a change in the meantime.
        let next = now + TICK;
        tokio::time::sleep(SETTLE).await;
        if screen.live || failing.is_some() {
            // A timeout is not an error: the running times on the screen need an update.
            let _ = timeout_at(next, changes.changed()).await;
        } else {
            changes.changed().await?;
        }
    }
}

/// Copies of the objects, which watches update until this value is dropped.
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
        // `-` is not a valid name, so the watch finds nothing if there is no specification.
        let specification = named(specification.unwrap_or("-"));
        Self {
            plan: watches.start(cluster, named(plan)),
            tasks: watches.start(cluster, of_plan),
            approvals: watches.start(cluster, watcher::Config::default()),
            specification: watches.start(cluster, specification),
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
            // Each reading would be a request to the server.
            usage: BTreeMap::new(),
        })
    }
}

/// The watches of a view.
#[derive(Default)]
struct Watches {
    problems: Problems,
    /// The tasks end when this value is dropped.
    running: JoinSet<()>,
}

impl Watches {
    /// Starts a watch of the objects that `config` selects and returns their copies.
    fn start<K>(&mut self, cluster: &Cluster, config: watcher::Config) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let (reader, writer) = reflector::store();
        let problems = self.problems.clone();
        let stream = watcher(cluster.api::<K>(), config).default_backoff().reflect(writer);
        self.running.spawn(async move {
            let mut stream = pin!(stream);
            loop {
                let now = match stream.try_next().await {
                    Ok(Some(_)) => None,
                    Ok(None) => return,
                    Err(error) => Some(error.to_string()),
                };
                problems.report(&K::plural(&()), now);
            }
        });
        reader
    }
}

/// The problems of interrupted watches, by what they watch. Every event of a watch updates its own entry, so that this also signals changes of
/// the objects.
#[derive(Clone, Debug, Default)]
struct Problems(watch::Sender<BTreeMap<String, String>>);

impl Problems {
    /// Replaces the problem of a watch.
    fn report(&self, watched: &str, problem: Option<String>) {
        self.0.send_modify(|problems| match problem {
            Some(problem) => drop(problems.insert(watched.to_owned(), problem)),
            None => drop(problems.remove(watched)),
        });
    }

    /// Returns a message about all problems, if there are any.
    fn all(&self) -> Option<String> {
        let problems = self.0.borrow();
        let (watched, causes): (Vec<&str>, Vec<&str>) =
            problems.iter().map(|(watched, problem)| (watched.as_str(), problem.as_str())).unzip();
        let first = causes.first()?;
        // A server that is down interrupts all of them for the same reason.
        let causes = if causes.iter().all(|cause| cause == first) { (*first).to_owned() } else { causes.join("; ") };
        Some(format!("the watch of {} was interrupted and starts again: {causes}", watched.join(", ")))
    }
}

/// The output of a watch.
struct Screen {
    /// Whether standard output is a terminal.
    live: bool,
    /// Number and width of the lines that the terminal shows.
    drawn: (usize, usize),
    /// The last problem that was printed, so that it is printed once.
    problem: Option<String>,
}

impl Screen {
    fn new() -> Self {
        Self { live: io::stdout().is_terminal(), drawn: (0, 0), problem: None }
    }

    fn show(&mut self, before: Option<&Snapshot>, now: &Snapshot, problem: Option<String>) -> Result<()> {
        if self.live {
            let text = self.frame(now, problem.as_deref(), Timestamp::now(), Display::of_terminal());
            return terminal::print(&text);
        }
        if let Some(problem) = problem.as_ref().filter(|_| problem != self.problem) {
            terminal::note(problem);
        }
        self.problem = problem;
        let clock = Zoned::now().strftime("%H:%M:%S").to_string();
        let mut text = String::new();
        for line in changes::changes(before, now) {
            text.extend([clock.as_str(), "  ", line.as_str(), "\n"]);
        }
        terminal::print(&text)
    }

    /// Returns the text that draws the tree over the previous one.
    fn frame(&mut self, snapshot: &Snapshot, problem: Option<&str>, now: Timestamp, display: Display) -> String {
        let mut lines = tree::render(snapshot, now, display);
        if let Some(problem) = problem {
            let line = display.line().add(WARNING, problem).end();
            match lines.get_mut(1) {
                // The problem replaces the progress bar, because an additional line may not fit.
                Some(bar) => *bar = line,
                None => lines.push(line),
            }
        }
        let mut text = match self.drawn {
            (0, _) => String::new(),
            // Move the cursor up to the first line of the previous tree.
            (drawn, width) if width == display.width => format!("\x1b[{drawn}F"),
            // The terminal has wrapped the old lines again, and their number is unknown: clear the screen.
            _ => "\x1b[2J\x1b[H".to_owned(),
        };
        self.drawn = (lines.len(), display.width);
        for line in &lines {
            text.extend([line.as_str(), "\x1b[K\n"]);
        }
        // Clear the rest of the screen.
        text.push_str("\x1b[J");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::display::Length;
    use crate::terminal::Paint;

    #[test]
    fn a_problem_stays_until_its_own_watch_continues() {
        let problems = Problems::default();
        problems.report("tasks", Some("refused".into()));
        problems.report("plans", None);
        let shown = || problems.all().unwrap_or_default();
        assert_eq!(shown(), "the watch of tasks was interrupted and starts again: refused");
        problems.report("plans", Some("refused".into()));
        assert_eq!(shown(), "the watch of plans, tasks was interrupted and starts again: refused");
        problems.report("plans", Some("timeout".into()));
        assert_eq!(shown(), "the watch of plans, tasks was interrupted and starts again: timeout; refused");
        problems.report("tasks", None);
        problems.report("plans", None);
        assert_eq!(problems.all(), None);
    }

    #[test]
    fn frame_replaces_the_previous_one() {
        let display = |width| Display { paint: Paint::new(false), width, length: Length::Cut(10) };
        let mut screen = Screen { live: true, drawn: (0, 0), problem: None };
        let snapshot = Snapshot::default();
        let mut frame =
            |problem: Option<&str>, width| screen.frame(&snapshot, problem, Timestamp::UNIX_EPOCH, display(width));
        let first = frame(None, 60);
        let lines = first.matches('\n').count();
        assert!(first.starts_with("Plan /") && first.ends_with("\x1b[K\n\x1b[J"), "{first:?}");
        assert_eq!(frame(None, 60), format!("\x1b[{lines}F{first}"), "the same lines, from the first on");
        let cut = frame(Some("the watch\x1b[2J was cut"), 60);
        assert!(cut.contains("the watch [2J was cut\x1b[K\n"), "{cut:?}");
        assert_eq!(cut.matches('\n').count(), lines, "a problem adds no line");
        assert!(frame(None, 50).starts_with("\x1b[2J\x1b[H"), "a narrower terminal is cleared");
    }
}
