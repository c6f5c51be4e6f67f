//! Source: reads a document from its source.

use enact_domain::condition::Readiness;

use super::common_status::HasCommonStatus as _;
use super::content::{Origin, SourceState, SourceText};
use super::context::Context;
use super::document::Document;
use crate::error::Error;
use crate::sourcing::{self, Subject};

/// Reads a document from its source.
///
/// # Errors
/// When the API server or the record store fails.
pub async fn read<D: Document>(
    object: &D,
    ctx: &Context,
) -> Result<(Result<SourceText, Readiness>, SourceState), Error> {
    let status = object.status().map(D::Status::common).unwrap_or_default();
    let subject = Subject::of(object, status.observed_generation);
    let sourced =
        sourcing::content(&ctx.sourcing, &subject, object.source(), status.source.as_ref(), object.drafter()).await?;
    let origin = match (&sourced.status, &sourced.draft) {
        (Some(source), _) => Origin::Git(source.commit.clone().unwrap_or_default()),
        (None, Some(_)) => Origin::Draft,
        (None, None) => Origin::Source,
    };
    let text = sourced.bytes.map(|bytes| SourceText { bytes, origin });
    Ok((text, SourceState { source: sourced.status, draft: sourced.draft, requeue_at: sourced.requeue_at }))
}
