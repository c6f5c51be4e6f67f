//! Refusals of requests: the reason, and the status that the API server gets.

use std::fmt::Write as _;

use enact_crds::validation::FieldError;
use enact_domain::text::truncate;
use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails, reason};

use crate::lookup::LookupError;
use crate::request::Request;

/// Most causes of one response; the message says how many more there are.
pub const MAX_CAUSES: usize = 10;
/// Longest message of one cause, in bytes: it quotes texts of clients.
const MAX_CAUSE_BYTES: usize = 1024;
/// Longest warning, in bytes; the API server cuts longer ones.
const MAX_WARNING_BYTES: usize = 256;

/// An invalid field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Path of the field: `spec.tasks[2].dependsOn`.
    pub field: String,
    /// The problem and its remedy.
    pub message: String,
}

impl Cause {
    /// Makes a cause; the message is truncated to what a response can hold.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: cut(message.into(), MAX_CAUSE_BYTES) }
    }
}

impl From<FieldError> for Cause {
    fn from(error: FieldError) -> Self {
        Self::new(error.field, error.message)
    }
}

/// The refusal of a request.
#[derive(Debug, thiserror::Error)]
pub enum Denial {
    /// This user may not do this here (403).
    #[error("{}", list(.0))]
    Forbidden(Vec<Cause>),
    /// The object is invalid (422).
    #[error("{}", list(.0))]
    Invalid(Vec<Cause>),
    /// A lookup that the decision needs failed (503). The request is refused, because an unknown answer must not admit an object.
    #[error("cannot decide now: {0}; try again")]
    Lookup(#[from] LookupError),
}

/// The result of a validator: warnings for an admitted object, or the reason for its refusal.
pub type Outcome = Result<Vec<String>, Denial>;

impl Denial {
    /// Refuses for one reason that concerns the user.
    pub fn forbidden(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Forbidden(vec![Cause::new(field, message)])
    }

    /// Refuses for one reason that concerns the object.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Cause::new(field, message)])
    }

    /// Refuses when there is a cause.
    ///
    /// # Errors
    /// [`Denial::Invalid`] with all causes.
    pub fn unless_empty(causes: Vec<Cause>) -> Result<(), Self> {
        if causes.is_empty() { Ok(()) } else { Err(Self::Invalid(causes)) }
    }

    /// Returns the value of the metrics' label `outcome`.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "forbidden",
            Self::Invalid(_) => "invalid",
            Self::Lookup(_) => "error",
        }
    }

    /// Returns the Kubernetes status, which clients show and can parse.
    pub fn status(&self, request: &Request) -> Status {
        let (code, name, causes) = match self {
            Self::Forbidden(causes) => (403, reason::FORBIDDEN, causes.as_slice()),
            Self::Invalid(causes) => (422, reason::INVALID, causes.as_slice()),
            Self::Lookup(_) => (503, reason::SERVICE_UNAVAILABLE, [].as_slice()),
        };
        let details = StatusDetails {
            name: request.name().to_owned(),
            group: request.group().to_owned(),
            kind: request.kind_name().to_owned(),
            uid: String::new(),
            causes: causes.iter().take(MAX_CAUSES).map(|c| cause(c, code)).collect(),
            // In seconds. A failed lookup may succeed soon without a change of the request.
            retry_after_seconds: u32::from(code == 503),
        };
        Status::failure(&format!("{}: {self}", request.subject()), name).with_code(code).with_details(details)
    }
}

fn cause(cause: &Cause, code: u16) -> StatusCause {
    let reason = if code == 403 { "FieldValueForbidden" } else { "FieldValueInvalid" };
    StatusCause { reason: reason.into(), message: cause.message.clone(), field: cause.field.clone() }
}

fn list(causes: &[Cause]) -> String {
    let mut text = String::new();
    for (i, cause) in causes.iter().take(MAX_CAUSES).enumerate() {
        let separator = if i == 0 { "" } else { "\n- " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{}: {}", cause.field, cause.message);
    }
    if let Some(more) = causes.len().checked_sub(MAX_CAUSES).filter(|n| *n > 0) {
        let _ = write!(text, "\n- and {more} more");
    }
    text
}

/// Truncates a warning to the length that the API server passes on.
pub fn warning(text: impl Into<String>) -> String {
    cut(text.into(), MAX_WARNING_BYTES)
}

/// Truncates a text to at most `max` bytes.
pub fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        truncate(&mut text, max - '…'.len_utf8());
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_and_texts_are_cut() {
        let causes: Vec<Cause> = (0..25).map(|i| Cause::new(format!("spec.tasks[{i}]"), "ä".repeat(2000))).collect();
        let text = Denial::Invalid(causes.clone()).to_string();
        assert!(text.ends_with("and 15 more"), "{text}");
        assert!(causes[0].message.len() <= MAX_CAUSE_BYTES && causes[0].message.ends_with('…'));
        assert!(warning("ö".repeat(300)).len() <= MAX_WARNING_BYTES);
    }
}
