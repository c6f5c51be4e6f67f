//! `tasks.md`: phases, tasks and the order in which they may run.

mod candidates;
mod cycles;
mod index;
mod line;
mod marks;
mod mentions;
mod model;
mod order;
mod parse;
mod paths;
mod phase;
mod references;
mod relations;
mod remarks;
mod resolve;
mod scopes;
mod sentences;
mod statements;
mod table;
mod template;
mod unread;

pub use model::{Dependency, Group, Phase, PhaseKind, Precedence, Task, TaskState, TasksFile, Unread};
pub use parse::{MAX_DEPENDENCIES, MAX_TASKS, parse};
pub(crate) use paths::find as paths_in;
pub use unread::UNREAD_TASK;
