//! The parts of a task file.

use serde::Serialize;

use crate::speckit::ids::{StoryKey, TaskId};
use crate::speckit::markdown::{Item, Span};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TasksFile {
    /// The document, unchanged.
    pub source: String,
    /// Title after `# Tasks:`.
    pub title: Option<Item>,
    /// Phases in the order of the document.
    pub phases: Vec<Phase>,
    /// Tasks in the order of the document; no identifier occurs twice.
    pub tasks: Vec<Task>,
    /// Statements about the order of phases and stories as a whole.
    pub precedences: Vec<Precedence>,
    /// Lines that look like work and could not be read.
    pub unread: Vec<Unread>,
}

/// A line that looks like work, and is neither a task nor a mention of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Line in the document, counted from 1.
    pub line: u32,
    /// Beginning of the line, as it is written.
    pub seen: String,
    /// Form in which the line would be read.
    pub expected: &'static str,
}

/// A part of the work with a goal of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// Number as written: `3`, `3.1`, `4a`. None for a heading without a number whose section contains tasks.
    pub number: Option<String>,
    /// Title without the number and without the priority.
    pub title: String,
    pub kind: PhaseKind,
    /// Text after `**Purpose**` or `**Goal**`.
    pub purpose: Option<Item>,
    /// Text after `**Independent Test**`.
    pub independent_test: Option<Item>,
    /// Text after `**Checkpoint**`.
    pub checkpoint: Option<Item>,
    /// Line of the heading, counted from 1.
    pub line: u32,
    /// Heading and all below it.
    pub span: Span,
}

/// Purpose of a phase, which determines the phases that it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum PhaseKind {
    /// Work before everything else.
    Setup,
    /// Work that all stories need.
    Foundational,
    /// Work of one user story.
    Story(StoryKey),
    /// Work after all stories.
    Polish,
    /// Any other phase: it runs after the phases before it, and the phases after it wait for it.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Identifier as written.
    pub id: TaskId,
    /// Further identifiers of the same line (`T029–T034`).
    pub also: Vec<TaskId>,
    /// Description after the tags, with wrapped lines joined.
    pub title: String,
    /// Whether the task is marked `[P]`: it changes other files than its neighbours and does not depend on an unfinished one.
    pub parallel: bool,
    /// Stories from tags such as `[US1]` or `[US3+US4]`.
    pub stories: Vec<StoryKey>,
    /// All other tags.
    pub tags: Vec<String>,
    /// State of the task's box.
    pub state: TaskState,
    /// The text between the brackets of the box, usually one character.
    pub checkbox: Option<Span>,
    /// The mark in the box, if its meaning is unknown. Such a task counts as open.
    pub unknown_mark: Option<String>,
    /// Line of the identifier, counted from 1.
    pub line: u32,
    /// The task with everything below it.
    pub span: Span,
    /// Its phase, as an index into [`TasksFile::phases`].
    pub phase: usize,
    /// Files and folders named in it, in order, without repetition.
    pub paths: Vec<String>,
    /// Lines below the task that belong to it.
    pub details: Vec<Item>,
    /// A section elsewhere that describes the task in detail, if the task itself is a line of a list or a table.
    pub section: Option<Span>,
    /// Tasks that the document states to come before this one.
    pub depends_on: Vec<Dependency>,
}

/// State of a task, by its box, its signs or a remark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum TaskState {
    /// `[ ]`: to be done.
    Open,
    /// `[~]` or `[/]`: begun, and still to be done.
    InProgress,
    /// `[!]`: to be done, and waiting for something outside.
    Blocked,
    /// `[x]` or `[X]`.
    Done,
    /// `[>]`, or marked as deferred: not part of this work.
    Deferred,
    /// Struck out, `[-]`, or marked as superseded or retired.
    Cancelled,
}

impl TaskState {
    /// Returns whether the task is still to be done.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::InProgress | Self::Blocked)
    }

    /// Returns the state in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InProgress => "in progress",
            Self::Blocked => "blocked",
            Self::Done => "done",
            Self::Deferred => "deferred",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A statement that a task waits for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// The task to wait for.
    pub on: TaskId,
    /// Line of the statement, counted from 1.
    pub line: u32,
}

/// A statement that one phase or story waits for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Precedence {
    /// The group that waits.
    pub subject: Group,
    /// The group that must finish first.
    pub on: Group,
    /// Line of the statement, counted from 1.
    pub line: u32,
}

/// Several tasks named together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Group {
    /// The phase with this index in [`TasksFile::phases`].
    Phase(usize),
    /// All phases of this story.
    Story(StoryKey),
}

impl TasksFile {
    /// Returns the task with this identifier, or else the first one whose line lists it as a further identifier.
    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        let own = self.tasks.iter().find(|task| task.id == *id);
        own.or_else(|| self.tasks.iter().find(|task| task.also.contains(id)))
    }
}
