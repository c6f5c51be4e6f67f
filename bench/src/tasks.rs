//! Parsing and compiling of a tasks.md with as many tasks as a plan may have.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use enact_crds::compile::{self, MAX_TASKS};
use enact_crds::plan::UnreadTasks;

use crate::figures::{Figure, Figures};

/// Runs whose mean is the result of a repeat.
const RUNS: u32 = 10;

/// Measures both in this process, on one core.
///
/// # Errors
/// If the tasks are not read or do not compile.
pub fn measure(repeats: u32, figures: &mut Figures) -> Result<()> {
    let file = file();
    let (mut compiled, mut lines) = (Vec::new(), Vec::new());
    compile_all(&file)?;
    for _ in 0..repeats {
        let began = Instant::now();
        for _ in 0..RUNS {
            black_box(compile_all(black_box(&file))?);
        }
        compiled.push(milliseconds(began));
        let began = Instant::now();
        for _ in 0..RUNS {
            black_box(black_box(&file).lines().map(str::len).max());
        }
        lines.push(milliseconds(began));
    }
    let work = format!("parse and compile a tasks.md of {MAX_TASKS} tasks ({} KiB)", file.len() >> 10);
    figures.push(Figure::new(work, "ms", compiled).against("split into lines", lines).goal("≤ 50 ms"));
    Ok(())
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0 / f64::from(RUNS)
}

/// Compiles the tasks of the file as a plan, and returns their number.
fn compile_all(file: &str) -> Result<usize> {
    let (tasks, diagnostics) = compile::from_markdown(file.as_bytes(), UnreadTasks::Refuse);
    ensure!(!tasks.is_empty(), "the tasks.md is not read: {diagnostics:?}");
    let compiled =
        compile::compile("bench", tasks).map_err(|errors| anyhow!("the tasks do not compile: {errors:?}"))?;
    ensure!(compiled.tasks.len() == MAX_TASKS, "{} of {MAX_TASKS} tasks were read", compiled.tasks.len());
    Ok(compiled.tasks.len())
}

/// Returns a tasks.md as Spec Kit writes it: phases of fifty tasks, some in parallel, some with dependencies of their own.
fn file() -> String {
    let mut text = String::from("# Tasks: Orders\n\n");
    for n in 0..MAX_TASKS {
        if n.is_multiple_of(50) {
            let story = n / 50 + 1;
            let _ =
                write!(text, "## Phase {story}: User Story {story} - Order (Priority: P1)\n\n**Goal**: an order\n\n");
        }
        let parallel = if n.is_multiple_of(3) { " [P]" } else { "" };
        let after = if n % 50 == 49 { format!(" (depends on T{:04})", n - 7) } else { String::new() };
        let _ = write!(
            text,
            "- [ ] T{n:04}{parallel} [US1] Add the field {n} in `src/orders/order_{n}.rs` with its tests{after}\n  - reject a missing \
             value with a message that names the field\n"
        );
    }
    text
}
