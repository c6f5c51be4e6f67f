//! Tasks by their identifiers.

use super::model::TasksFile;
use crate::speckit::ids::{Mention, TaskId};

/// Identifiers of a file in natural order, each with the index of its task.
pub(super) struct Index<'a>(Vec<(&'a TaskId, usize)>);

impl<'a> Index<'a> {
    /// Builds the index. An identifier that several lines list belongs to the task with that identifier of its own, or else to the first
    /// line.
    pub(super) fn new(file: &'a TasksFile) -> Self {
        let own = file.tasks.iter().enumerate().map(|(at, task)| (&task.id, at));
        let also = file.tasks.iter().enumerate().flat_map(|(at, task)| task.also.iter().map(move |id| (id, at)));
        let mut ids: Vec<(&TaskId, usize)> = own.chain(also).collect();
        ids.sort_by_key(|(id, _)| *id);
        ids.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Self(ids)
    }

    /// Returns the task with this identifier. `T001-based` names T001, unless it is a task of its own.
    pub(super) fn get(&self, id: &TaskId) -> Option<usize> {
        let exact = self.0.binary_search_by(|(known, _)| (*known).cmp(id)).ok().map(|at| self.0[at].1);
        exact.or_else(|| self.get(&id.base()?))
    }

    /// Returns whether some identifier has this prefix and this number of digits.
    pub(super) fn has_form(&self, prefix: &str, width: usize) -> bool {
        self.0.iter().any(|(id, _)| id.prefix() == prefix && id.width() == width)
    }

    /// Returns the tasks that a mention covers: for a range, all existing tasks between its ends.
    pub(super) fn covered(&self, mention: &Mention) -> impl Iterator<Item = usize> {
        let from = self.0.partition_point(|(id, _)| **id < mention.first);
        let single = mention.last.is_none().then(|| self.get(&mention.first));
        let range = self.0[from..].iter().take_while(|(id, _)| mention.covers(id)).map(|(_, at)| *at);
        single.flatten().into_iter().chain(range.filter(move |_| single.is_none()))
    }
}
