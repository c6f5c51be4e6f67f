//! What OpenAI's two formats have in common.

use serde_json::{Value, json};

use crate::reply::Problem;

/// Encodes an error.
pub fn error(problem: &Problem) -> Value {
    let (kind, usual) = match problem.status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        400..=499 => ("invalid_request_error", None),
        _ => ("server_error", None),
    };
    let code = problem.code.as_deref().or(usual);
    // An exhausted quota has its name in both fields.
    let kind = if code == Some("insufficient_quota") { "insufficient_quota" } else { kind };
    json!({"error": {"message": problem.message, "type": kind, "param": null, "code": code}})
}
