//! The parts of a specification.

use serde::Serialize;

use super::identifiers;
use crate::speckit::ids::StoryKey;
use crate::speckit::markdown::{Item, Span};

/// A feature specification.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Spec {
    /// The document, unchanged.
    pub source: String,
    /// Title after `# Feature Specification:`.
    pub title: Option<Item>,
    /// `**Feature Branch**`, without quotes.
    pub branch: Option<Item>,
    /// `**Created**`, as written.
    pub created: Option<Item>,
    /// `**Status**`, as written.
    pub status: Option<Item>,
    /// `**Input**`: the request that the specification was made from.
    pub input: Option<Item>,
    /// User stories in the order of the document.
    pub stories: Vec<UserStory>,
    pub edge_cases: Vec<Item>,
    /// Requirements of every kind (`FR-001`, `NFR-2`, `FR-DIAG-001`).
    pub requirements: Vec<Requirement>,
    /// Success criteria (`SC-001`).
    pub success_criteria: Vec<Requirement>,
    pub entities: Vec<Entity>,
    pub assumptions: Vec<Item>,
    /// Questions that were answered.
    pub clarifications: Vec<Clarification>,
    /// `[NEEDS CLARIFICATION: …]` markers that are still in the text.
    pub open_questions: Vec<Item>,
}

/// One user story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserStory {
    /// Key: `US1`, `US2a`, `US1.5`.
    pub key: StoryKey,
    /// Whether the document gives it the number in its key, which otherwise is only its place among the stories.
    #[serde(skip)]
    pub numbered: bool,
    /// Title without number and priority.
    pub title: String,
    /// Priority as written, such as `P1`.
    pub priority: Option<String>,
    /// Text after `**Independent Test**`.
    pub independent_test: Option<Item>,
    /// Acceptance scenarios, numbered within the story.
    pub scenarios: Vec<Scenario>,
    /// Line of the heading, counted from 1.
    pub line: u32,
    /// Heading and all below it.
    pub span: Span,
}

/// One acceptance scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scenario {
    /// Key within the document: `US1/AC2`.
    pub key: String,
    /// The scenario, wrapped lines joined.
    pub text: String,
    /// First line, counted from 1.
    pub line: u32,
    pub span: Span,
}

/// A requirement or success criterion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// Identifier as written: `FR-001`, `SC-002b`. One that is written without an identifier has one that is made from its text:
    /// `requirement-dpkjcmbl`, `criterion-abdpoepf`.
    pub id: String,
    /// The statement, wrapped lines joined, without its identifier.
    pub text: String,
    /// Whether it is marked as retired or superseded, and therefore no longer asks for anything.
    pub retired: bool,
    /// Title of its section, at most 256 bytes.
    pub section: String,
    /// First line, counted from 1.
    pub line: u32,
    pub span: Span,
}

impl Requirement {
    /// Returns whether the document gives it an identifier.
    pub fn is_numbered(&self) -> bool {
        !self.id.starts_with(identifiers::ASSIGNED) && !self.id.starts_with(identifiers::ASSIGNED_CRITERION)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entity {
    pub name: String,
    pub text: String,
    /// First line, counted from 1.
    pub line: u32,
    pub span: Span,
}

/// A question that a person has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clarification {
    pub question: String,
    /// The answer, empty when none is written.
    pub answer: String,
    /// Date of the session (`YYYY-MM-DD`).
    pub session: Option<String>,
    /// First line, counted from 1.
    pub line: u32,
    pub span: Span,
}
