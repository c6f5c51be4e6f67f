//! Which tasks serve which requirement, story and criterion.

use serde::Serialize;

use super::Finding;

/// A task, as far as coverage needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskText<'a> {
    /// Identifier, as findings name it.
    pub id: &'a str,
    /// Its title.
    pub title: &'a str,
    /// All else that is written about it.
    pub text: &'a str,
    /// The story that it is tagged with, such as `US1`.
    pub story: Option<&'a str>,
}

/// How a task is known to serve something, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Evidence {
    /// It names the identifier.
    Id,
    /// It belongs to a story that names it, or to the story itself.
    Story,
    /// It speaks of the same things.
    Terms,
}

/// A task that serves something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The task's identifier.
    pub task: String,
    /// How that is known.
    pub by: Evidence,
}

/// A requirement, story or criterion, and the tasks that serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Covered {
    /// Its identifier.
    pub id: String,
    /// Its line in the specification, counted from 1.
    pub line: u32,
    /// The tasks, in their order; at most 64.
    pub tasks: Vec<Link>,
}

/// How a plan's tasks cover a specification.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Coverage {
    /// Requirements, in the order of the document.
    pub requirements: Vec<Covered>,
    /// Stories, likewise.
    pub stories: Vec<Covered>,
    /// Success criteria, likewise.
    pub criteria: Vec<Covered>,
    /// What is not covered, and tasks that serve nothing.
    pub findings: Vec<Finding>,
}
