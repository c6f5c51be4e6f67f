//! `diff PLAN/TASK`: what the last attempt at a task changed, from its branch in Git.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use enact_crds::Plan;
use enact_crds::task::Phase;
use enact_domain::assignment::{check_ref, check_url};
use kube::ResourceExt as _;

use crate::cluster::Cluster;
use crate::control::task_of;
use crate::git;
use crate::status::phase_of;
use crate::terminal::{self, note};
use crate::text::{LogFilter, one_line, safe};

/// Fields of a commit: its ID, and the trailers that every commit of an attempt has.
const FORMAT: &str = "--format=%H%x09%(trailers:key=Enact-Plan,valueonly,separator=%x2C)%x09\
                      %(trailers:key=Enact-Task,valueonly,separator=%x2C)%x09\
                      %(trailers:key=Enact-Attempt,valueonly,separator=%x2C)";

/// Prints the changes of the last attempt at a task that changed something, finished or not.
pub async fn diff(cluster: &Cluster, plan: &str, id: &str) -> Result<()> {
    let task = task_of(cluster, plan, id).await?;
    let (plan_name, id) = (&task.spec.plan_ref.name, &task.spec.work.id);
    let plan: Plan = cluster.get(plan_name).await?;
    let Some(workspace) = &plan.spec.workspace else {
        bail!("Plan {plan_name} has no workspace, so that nothing keeps the files of its tasks");
    };
    let status = task.status.clone().unwrap_or_default();
    let Some(branch) = status.branch else {
        bail!(
            "no attempt at {id} of Plan {plan_name} has left work in its repository; `kubectl enact status {plan_name}` shows its state"
        );
    };
    // Both come from objects that others can write, and Git gets them as arguments.
    check_url(&workspace.url).and_then(|()| check_ref(&branch))?;
    let directory = tempfile::tempdir().context("cannot create a directory for the clone")?;
    fetch(directory.path(), &workspace.url, &branch)?;
    let plan_trailer = format!("{}/{plan_name}", plan.namespace().unwrap_or_default());
    let log = git::output(directory.path(), &["log", "--first-parent", FORMAT, "HEAD"])?;
    let (head, base) = range(&log, &plan_trailer, id)
        .ok_or_else(|| anyhow!("branch {branch} of {} holds no work of {id}", one_line(&workspace.url)))?;
    let passed = if phase_of(&task) == Phase::Succeeded { "has passed" } else { "has not passed" };
    note(&format!("{id} of Plan {plan_name}: branch {branch}, commit {head}; this work {passed}"));
    let changes =
        git::output(directory.path(), &["diff", "--no-color", "--no-ext-diff", "--no-textconv", &base, &head])?;
    terminal::print(&safe(&changes))
}

/// Returns the last commit of an attempt, and the commit that it started from: the first one that another attempt, or nobody's, made. `log`
/// lists the first parents of the branch in [`FORMAT`].
fn range(log: &str, plan: &str, task: &str) -> Option<(String, String)> {
    let mut commits = log.lines().map(|line| {
        let mut fields = line.split('\t');
        let id = fields.next().unwrap_or_default().to_owned();
        let trailers: [String; 3] = std::array::from_fn(|_| fields.next().unwrap_or_default().to_owned());
        (id, trailers)
    });
    let (head, own) = commits.next()?;
    // An attempt that changed nothing has pushed the commit that it started from.
    if own[0] != plan || own[1] != task {
        return Some((head.clone(), head));
    }
    let base = commits.find(|(_, trailers)| *trailers != own)?;
    Some((head, base.0))
}

/// Clones one branch, without the contents of files as far as the server supports that. Git asks for a credential as it always does.
fn fetch(directory: &Path, url: &str, branch: &str) -> Result<()> {
    let args = ["clone", "--quiet", "--bare", "--filter=blob:none", "--single-branch", "--no-tags", "--branch", branch];
    // Git and SSH ask on the terminal itself.
    let clone = git::command(directory).args(args).args(["--", url, "."]).stderr(Stdio::piped()).spawn();
    let mut clone = clone.map_err(git::not_installed)?;
    let (end, ended) = mpsc::channel::<()>();
    if let Some(messages) = clone.stderr.take() {
        thread::spawn(move || {
            relay(messages);
            drop(end);
        });
    }
    let status = clone.wait().context("cannot wait for Git")?;
    // It returns when the thread has ended.
    let _ = ended.recv_timeout(git::LAST_MESSAGES);
    if !status.success() {
        bail!(
            "branch {branch} of {} cannot be read. Check that you can read the repository. An attempt that was stopped leaves no branch if it \
             had changed nothing",
            one_line(url)
        );
    }
    Ok(())
}

/// Shows the messages of Git as they arrive, without terminal control characters: the server chooses some of them.
fn relay(mut messages: impl Read) {
    let (mut filter, mut chunk) = (LogFilter::default(), [0; 4096]);
    loop {
        match messages.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => terminal::note_text(&filter.push(&chunk[..count])),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_begins_after_the_commits_of_others() {
        let found = |log: &str| range(log, "shop/cart", "T002");
        let pair = |head: &str, base: &str| Some((head.to_owned(), base.to_owned()));
        let own = "c3\tshop/cart\tT002\t2\nc2\tshop/cart\tT002\t2\n";
        assert_eq!(found(&format!("{own}c1\tshop/cart\tT001\t1\n")), pair("c3", "c1"));
        assert_eq!(found(&format!("{own}c1\t\t\t\n")), pair("c3", "c1"), "a merge, or a commit of a person");
        assert_eq!(found(&format!("{own}c1\tshop/cart\tT002\t1\n")), pair("c3", "c1"), "an earlier attempt");
        assert_eq!(found("c1\tshop/cart\tT001\t1\n"), pair("c1", "c1"), "nothing was changed");
        assert_eq!(found(""), None);
    }

    #[test]
    fn git_prints_the_trailers_as_they_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| {
            let mut command = git::command(directory.path());
            for name in ["GIT_AUTHOR", "GIT_COMMITTER"] {
                command.env(format!("{name}_NAME"), "t").env(format!("{name}_EMAIL"), "t@example.org");
            }
            assert!(command.args(args).status().unwrap().success(), "{args:?}");
        };
        run(&["init", "--quiet", "."]);
        run(&["commit", "--quiet", "--allow-empty", "-m", "Begin"]);
        let trailers = "Enact-Task: T002\nEnact-Plan: shop/cart\nEnact-Agent: coder\nEnact-Attempt: 1";
        run(&["commit", "--quiet", "--allow-empty", "-m", "T002: Sum", "-m", trailers]);
        let ids = git::output(directory.path(), &["log", "--format=%H"]).unwrap();
        let [head, base] = ids.lines().collect::<Vec<_>>()[..] else { panic!("{ids}") };
        let log = git::output(directory.path(), &["log", "--first-parent", FORMAT, "HEAD"]).unwrap();
        assert_eq!(range(&log, "shop/cart", "T002"), Some((head.to_owned(), base.to_owned())), "{log}");
    }
}
