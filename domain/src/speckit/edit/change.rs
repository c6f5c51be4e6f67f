//! Edits of spans of a document, and the reasons to refuse one.

use thiserror::Error;

use crate::speckit::diagnostic::Diagnostic;
use crate::speckit::ids::TaskId;
use crate::speckit::markdown::{MAX_DOCUMENT_BYTES, Span};
use crate::speckit::spec::questions::MAX_QUESTION_BYTES;

/// Reason why a document was not changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditError {
    /// The document cannot be read at all.
    #[error("{0}")]
    Unreadable(Diagnostic),
    /// No task has this identifier.
    #[error("the document has no task {0}; use the identifier of a task in the document")]
    UnknownTask(TaskId),
    /// The task is written without a box.
    #[error("line {line}: task {id} has no check box; write it as `- [ ] {id} …`")]
    NoBox {
        id: TaskId,
        /// Line of the task, from 1.
        line: u32,
    },
    /// The question does not contain a letter or digit.
    #[error("the question is empty; write it as the document does")]
    EmptyQuestion,
    /// The answer does not contain a visible character.
    #[error("the answer to {0:?} is empty; write an answer")]
    EmptyAnswer(String),
    /// A question or an answer is too long for one line of a document.
    #[error(
        "the {what} has {bytes} bytes; write at most {MAX_QUESTION_BYTES}, and move the rest to a section of its own"
    )]
    TooLong {
        /// `question` or `answer`.
        what: &'static str,
        bytes: usize,
    },
    /// The date is not a valid day.
    #[error("{0:?} is not a date; write it as YYYY-MM-DD")]
    InvalidDate(String),
    /// The changed document would exceed the maximum size.
    #[error("the document would have {0} bytes, and at most {MAX_DOCUMENT_BYTES} are allowed; split it")]
    DocumentTooLarge(usize),
    /// The edit would change more of the document than the answer, for example because an unclosed code fence contains the answer.
    #[error("line {line}: an answer at this place would change other parts of the document; {remedy}")]
    Misplaced {
        /// Line of the answer, from 1.
        line: u32,
        remedy: &'static str,
    },
}

/// A span and its replacement; an empty span is a position to insert at.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) span: Span,
    pub(super) text: String,
}

/// Returns the source with changes that do not overlap, given in any order.
pub(super) fn apply(source: &str, mut changes: Vec<Change>) -> Result<String, EditError> {
    changes.sort_by_key(|change| (change.span.start, change.span.end));
    let mut edited = String::with_capacity(source.len() + changes.iter().map(|c| c.text.len()).sum::<usize>());
    let mut at = 0;
    for Change { span, text } in &changes {
        edited.push_str(source.get(at..span.start).unwrap_or_default());
        edited.push_str(text);
        at = span.end;
    }
    edited.push_str(source.get(at..).unwrap_or_default());
    if edited.len() > MAX_DOCUMENT_BYTES {
        return Err(EditError::DocumentTooLarge(edited.len()));
    }
    Ok(edited)
}
