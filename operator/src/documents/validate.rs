//! Validate: parses a document, and checks it against its constitutions and other documents.

use enact_crds::validation::source_author;
use enact_domain::condition::Readiness;

use super::content::{Content, SourceText};
use super::context::Context;
use super::document::Document;
use super::observe::Observed;
use crate::error::Error;

/// Parses and checks an observed document.
///
/// # Errors
/// When the record store fails.
pub async fn validate<D: Document>(
    object: &D,
    ctx: &Context,
    observed: Observed<SourceText>,
) -> Result<Observed<Content<D::Facts>>, Error> {
    let Observed { location, content, source, policy, author, authors, decisions } = observed;
    let content = match content {
        Ok(text) => {
            let mut content = object.examine(ctx, &location, text).await?;
            if let Some(error) = source_author(&policy, object.source()) {
                content.blocked.get_or_insert_with(|| Readiness::stalled("AuthorUnknown", error.to_string()));
            }
            Ok(content)
        }
        Err(missing) => Err(missing),
    };
    Ok(Observed { location, content, source, policy, author, authors, decisions })
}
