//! Problem details (RFC 9457).

use serde::Serialize;
use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::{Reply, Response};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The body has an unexpected form.
    Malformed,
    /// The token or signature is missing or not accepted.
    TokenRefused,
    /// The pod works on another object than the request names.
    SubjectMismatch,
    /// The request is not from the runner of the attempt.
    NotTheRunner,
    /// RBAC does not allow the reader to get it.
    Forbidden,
    /// A part of the path or a query parameter is invalid.
    BadParameter,
    /// The path does not exist.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    SlowBody,
    /// The attempt has ended, or a newer one has begun.
    StaleAttempt,
    /// The pod of a document job has delivered another document.
    AlreadyDelivered,
    /// The body is larger than allowed.
    TooLarge,
    /// The headers name another media type than the expected one.
    UnsupportedMediaType,
    /// Too many requests at once.
    Busy,
    /// A bug or a permanent failure of the server.
    Internal,
    /// Postgres or the API server does not answer.
    Unavailable,
}

impl ProblemKind {
    pub const ALL: [Self; 16] = [
        Self::Malformed,
        Self::TokenRefused,
        Self::SubjectMismatch,
        Self::NotTheRunner,
        Self::Forbidden,
        Self::BadParameter,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::SlowBody,
        Self::StaleAttempt,
        Self::AlreadyDelivered,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Busy,
        Self::Internal,
        Self::Unavailable,
    ];

    /// Returns status, slug and title. The runner retries after 408, 429 and 5xx only.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The body cannot be read"),
            Self::TokenRefused => (StatusCode::UNAUTHORIZED, "token-refused", "The token or signature is not accepted"),
            Self::SubjectMismatch => (StatusCode::FORBIDDEN, "subject-mismatch", "The pod does not work on this"),
            Self::NotTheRunner => {
                (StatusCode::FORBIDDEN, "not-the-runner", "Only the runner of the attempt may do this")
            }
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The reader may not read this"),
            Self::BadParameter => (StatusCode::BAD_REQUEST, "bad-parameter", "A parameter is invalid"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "slow-body", "The body did not arrive in time"),
            Self::StaleAttempt => (StatusCode::CONFLICT, "stale-attempt", "The attempt has ended"),
            Self::AlreadyDelivered => {
                (StatusCode::CONFLICT, "already-delivered", "The pod has delivered another document")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy", "Too many requests at once"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal server error"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Temporarily unavailable"),
        }
    }

    pub fn status(self) -> StatusCode {
        self.parts().0
    }

    /// Returns the slug for metrics, logs and the problem's `type`.
    pub fn as_str(self) -> &'static str {
        self.parts().1
    }

    /// Returns the seconds for the header Retry-After.
    fn retry_after(self) -> Option<u16> {
        match self {
            Self::Busy => Some(1),
            Self::Unavailable => Some(2),
            _ => None,
        }
    }
}

/// A refusal. `detail` is not logged: it may quote the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: ProblemKind,
    /// The problem and its remedy, for a person.
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
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), at: None }
    }
}

impl Reply for Problem {
    fn into_response(self) -> Response {
        let (status, word, title) = self.kind.parts();
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
        // RFC 9110 requires this header in a response with status 401.
        if self.kind == ProblemKind::TokenRefused {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
