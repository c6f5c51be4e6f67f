//! What a person should be asked: open markers, and words that can be understood differently.

use serde::Serialize;

/// Most questions that are asked at once; open markers are asked about even beyond it.
pub const MAX_QUESTIONS: usize = 5;

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Question {
    /// Name that stays while the words that it is about stay: `Q-5d0c7a11`.
    pub id: String,
    /// The question.
    pub text: String,
    /// Two to five short answers, or none when the text does not suggest any.
    pub options: Vec<String>,
    /// Line in the document, counted from 1.
    pub line: u32,
    /// Where it arises, in words that a person finds: `FR-003`, `US1/AC2`.
    pub location: String,
    /// Why it is asked.
    pub origin: Origin,
}

/// Why a question is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Origin {
    /// The document holds a `[NEEDS CLARIFICATION: …]` marker.
    Marker,
    /// The finding with this id.
    Finding(String),
}
