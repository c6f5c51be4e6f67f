//! `tasks.md`: phases, tasks and the order in which they may run.

mod index;
mod line;
mod model;
mod order;
mod parse;
mod paths;
mod phase;
mod resolve;
mod statements;

pub use model::{Dependency, Group, Phase, PhaseKind, Precedence, Task, TaskState, TasksFile};
pub use parse::{MAX_DEPENDENCIES, MAX_TASKS, parse};
pub(crate) use paths::find as paths_in;
