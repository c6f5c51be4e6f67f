//! `check`: the analysis of documents without a cluster.

mod analyse;
mod find;
mod github;
mod lines;
mod report;
mod sarif;

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Error, Result};

use self::analyse::Constitutions;
use self::find::Unit;
use self::report::Report;
use crate::args::{Check, CheckOutput};
use crate::terminal;
use crate::text::one_line;

/// Exit code with findings at or above `--fail-on`.
const FOUND: u8 = 1;
/// Exit code if a document cannot be read. clap uses it for arguments that are not valid.
const UNUSABLE: u8 = 2;

/// Checks the documents and prints the findings. The exit code says what was found.
pub fn run(options: &Check) -> Result<ExitCode> {
    let found = match find::find(&options.paths, options.kind) {
        Ok(found) => found,
        Err(error) => {
            report_error(&error);
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    for note in &found.notes {
        terminal::note(&format!("note: {}", one_line(note)));
    }
    let constitutions = read_constitutions(&found.units);
    let analysed = on_all_processors(&found.units, |unit| analyse::unit(unit, &constitutions));
    let (mut documents, mut problems) = (Vec::new(), 0);
    for problem in constitutions.values().filter_map(|read| read.as_ref().err()) {
        problems += 1;
        report_error(problem);
    }
    for unit in analysed {
        documents.extend(unit.documents);
        for problem in &unit.problems {
            problems += 1;
            report_error(problem);
        }
    }
    let fails = documents.iter().flat_map(|document| &document.findings).any(|f| options.fail_on.includes(f.severity));
    let report = Report::new(documents);
    match options.output {
        CheckOutput::Text => terminal::print(&lines::render(&report, options.hints))?,
        CheckOutput::Json => terminal::print(&report.json()?)?,
        CheckOutput::Sarif => terminal::print(&sarif::render(&report)?)?,
        CheckOutput::Github => {
            terminal::print(&github::render(&report))?;
            terminal::note(&report.summary());
        }
    }
    Ok(match (problems, fails) {
        (0, false) => ExitCode::SUCCESS,
        (0, true) => ExitCode::from(FOUND),
        _ => ExitCode::from(UNUSABLE),
    })
}

/// Writes an error on one line: the name of a file must not look like a command of a workflow.
fn report_error(error: &Error) {
    terminal::report_error(&Error::msg(one_line(&format!("{error:#}"))));
}

/// Reads each constitution once, for all features that must follow it.
fn read_constitutions(units: &[Unit]) -> Constitutions {
    let paths: BTreeSet<&Path> = units.iter().filter_map(|unit| unit.constitution.as_deref()).collect();
    let paths: Vec<&Path> = paths.into_iter().collect();
    let read = on_all_processors(&paths, |path| analyse::read_constitution(path));
    paths.into_iter().map(Path::to_owned).zip(read).collect()
}

/// Calls a function for each item on all processors. The results have the order of the items.
fn on_all_processors<T: Sync, R: Send>(items: &[T], call: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, call(item)));
        }
    };
    let mut all: Vec<(usize, R)> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
        ended.flat_map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}
