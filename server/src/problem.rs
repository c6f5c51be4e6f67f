//! Refusals, as RFC 9457 has them.

use serde::Serialize;
use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::{Reply, Response};

/// What kind of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body is not what is expected.
    Malformed,
    /// There is no token or signature, or it is not accepted.
    TokenRefused,
    /// The pod does not work on what it speaks of.
    SubjectMismatch,
    /// RBAC does not let the reader get it.
    Forbidden,
    /// A parameter of the path or the query cannot be taken.
    BadParameter,
    /// There is nothing at this path.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    SlowBody,
    /// The attempt does not count any more.
    StaleAttempt,
    /// The body is larger than allowed.
    TooLarge,
    /// The body is not of the wanted type, by its headers.
    UnsupportedMediaType,
    /// Too many requests at once.
    Busy,
    /// A mistake of the server's own.
    Internal,
    /// Postgres or the API server is away.
    Unavailable,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Malformed,
        Self::TokenRefused,
        Self::SubjectMismatch,
        Self::Forbidden,
        Self::BadParameter,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::SlowBody,
        Self::StaleAttempt,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Busy,
        Self::Internal,
        Self::Unavailable,
    ];

    /// Status, word and title. The runner tries again after 408, 429 and 5xx, and after nothing else.
    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The body cannot be read"),
            Self::TokenRefused => (StatusCode::UNAUTHORIZED, "token-refused", "The token or signature is not accepted"),
            Self::SubjectMismatch => (StatusCode::FORBIDDEN, "subject-mismatch", "The pod does not work on this"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The reader may not get this"),
            Self::BadParameter => (StatusCode::BAD_REQUEST, "bad-parameter", "A parameter cannot be taken"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The path takes another method")
            }
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "slow-body", "The body did not arrive in time"),
            Self::StaleAttempt => (StatusCode::CONFLICT, "stale-attempt", "The attempt does not count any more"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is of another type")
            }
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy", "Too many requests at once"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server made a mistake"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "It cannot be done now"),
        }
    }

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        self.facts().0
    }

    /// A word for metrics and logs, and the end of the problem's `type`.
    pub fn as_str(self) -> &'static str {
        self.facts().1
    }

    /// Seconds after which trying again makes sense.
    fn retry_after(self) -> Option<u16> {
        match self {
            Self::Busy => Some(1),
            Self::Unavailable => Some(2),
            _ => None,
        }
    }
}

/// A refusal, with what to tell the sender. `detail` is not logged: it may quote what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind it is.
    pub kind: Kind,
    /// For a person.
    pub detail: String,
    /// Line and column of the body where the problem is, from 1.
    pub at: Option<(usize, usize)>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl Problem {
    /// A problem.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), at: None }
    }
}

impl Reply for Problem {
    fn into_response(self) -> Response {
        let (status, word, title) = self.kind.facts();
        let document = Document {
            r#type: format!("tag:enact.dev,2026:problem/{word}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            line: self.at.map(|(line, _)| line),
            column: self.at.map(|(_, column)| column),
        };
        let mut response = warp::reply::with_status(warp::reply::json(&document), status).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.kind.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Kind::TokenRefused {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
