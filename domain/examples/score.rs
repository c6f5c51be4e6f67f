//! Prints the scores of proposals, so that a person can judge whether they are right.
//!
//! `cargo run --release -p enact-domain --example score -- SPEC TASKS…` prints for each `tasks.md` the components of its score for this
//! `spec.md` with their explanations, and the total. No rule counts as violated. A proposal that a planner would have to write again
//! is scored too, after the problem. Open the boxes of a plan that somebody has worked on: a score is about open tasks.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use enact_domain::analysis::{self, TaskText};
use enact_domain::graph::Graph;
use enact_domain::planning::{self, Input, MAX_SCORE, Score};
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::tasks::{Task, TasksFile};
use enact_domain::speckit::{StoryKey, TaskId, spec, tasks};

/// Returns the text of a task as the operator compares it with a specification: with its section elsewhere and the title of its phase.
fn text(file: &TasksFile, task: &Task) -> String {
    let section = task.section.map(|span| span.text(&file.source)).unwrap_or_default();
    let phase = file.phases.get(task.phase).map(|phase| phase.title.as_str()).unwrap_or_default();
    format!("{}\n{section}\n{phase}", task.span.text(&file.source))
}

/// Returns the score of a proposal, and the problem for which a planner would have to write it again.
fn score(specification: &Spec, bytes: &[u8]) -> (Score, Option<String>) {
    let parsed = tasks::parse(bytes);
    let file = &parsed.model;
    let texts: Vec<String> = file.tasks.iter().map(|task| text(file, task)).collect();
    let tasks: Vec<TaskText<'_>> = file
        .tasks
        .iter()
        .zip(&texts)
        .map(|(task, text)| TaskText {
            id: task.id.as_str(),
            title: &task.title,
            text,
            story: task.stories.first().map(StoryKey::as_str),
        })
        .collect();
    let coverage = analysis::coverage(specification, &tasks);
    let edges = file.dependencies();
    let graph = Graph::build(file.tasks.iter().map(|t| (t.id.as_str(), edges[&t.id].iter().map(TaskId::as_str))));
    let graph = graph.unwrap_or_default();
    let score = planning::score(&Input { specification, file, graph: &graph, coverage: &coverage, violated_rules: 0 });
    (score, planning::check(&parsed, &coverage).err())
}

fn print(specification: &Spec, path: &Path) -> io::Result<()> {
    let (score, problem) = score(specification, &fs::read(path)?);
    println!("{}", path.display());
    if let Some(problem) = problem {
        println!("  not usable: {problem}");
    }
    for component in &score.components {
        println!(
            "  {:>4} of {:>4}  {:<12}  {}",
            component.points, component.max, component.name, component.explanation
        );
    }
    println!("  {:>4} of {MAX_SCORE:>4}", score.total());
    Ok(())
}

fn main() -> io::Result<ExitCode> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [document, proposals @ ..] = paths.as_slice() else {
        eprintln!("usage: score SPEC TASKS…");
        return Ok(ExitCode::from(2));
    };
    let specification = spec::parse(&fs::read(document)?).model;
    for path in proposals {
        print(&specification, path)?;
    }
    Ok(ExitCode::SUCCESS)
}
