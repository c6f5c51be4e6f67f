//! Ticks and clears the check box of a task.

use super::change::{Change, EditError, apply};
use crate::speckit::ids::TaskId;
use crate::speckit::tasks::{self, TaskState};

/// Returns the document with the check box of task `id` ticked or cleared.
///
/// # Errors
///
/// If the document cannot be read, does not contain the task, or the task has no box.
pub fn tick(source: &str, id: &TaskId, done: bool) -> Result<String, EditError> {
    let parsed = tasks::parse(source.as_bytes());
    let Some(task) = parsed.model.task(id) else {
        let unreadable = parsed.diagnostics.into_iter().find(|_| parsed.model.source.is_empty());
        return Err(unreadable.map_or_else(|| EditError::UnknownTask(id.clone()), EditError::Unreadable));
    };
    let span = task.checkbox.ok_or_else(|| EditError::NoBox { id: task.id.clone(), line: task.line })?;
    let wanted = match (done, task.state) {
        (true, TaskState::Done) | (false, TaskState::Open) => return Ok(source.to_owned()),
        (true, _) => "x",
        (false, _) => " ",
    };
    apply(source, vec![Change { span, text: wanted.to_owned() }])
}
