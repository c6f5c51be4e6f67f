//! Source: the bytes of a document as they are found, before answers are written into them.

use enact_crds::document::SourceStatus;
use enact_crds::specification::DraftStatus;
use enact_domain::time::Millis;

use super::Document;
use super::status::Shared;
use crate::context::Context;
use crate::error::Error;
use crate::sourcing::{self, Subject};

pub use crate::sourcing::Missing;

/// A document as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where they come from.
    pub origin: Origin,
}

/// Where a document comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The object itself, or a ConfigMap.
    Source,
    /// A Git repository, at this commit.
    Git(String),
    /// An agent drafted it.
    Draft,
}

/// What was found out about where a document comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sourcing {
    /// What the status is to say of a repository.
    pub source: Option<SourceStatus>,
    /// What it is to say of a drafting.
    pub draft: Option<DraftStatus>,
    /// When to look again.
    pub wake: Option<Millis>,
}

/// Reads a document, wherever it comes from.
///
/// # Errors
/// When the API server or the record fails.
pub async fn read<D: Document>(object: &D, ctx: &Context) -> Result<(Result<Found, Missing>, Sourcing), Error> {
    let standing = object.status().map(Shared::standing).unwrap_or_default();
    let subject = Subject::of(object, standing.observed_generation);
    let sourced = sourcing::content(ctx, &subject, object.source(), standing.source.as_ref(), object.drafter()).await?;
    let origin = match (&sourced.status, &sourced.draft) {
        (Some(source), _) => Origin::Git(source.commit.clone().unwrap_or_default()),
        (None, Some(_)) => Origin::Draft,
        (None, None) => Origin::Source,
    };
    let found = sourced.bytes.map(|bytes| Found { bytes, origin });
    Ok((found, Sourcing { source: sourced.status, draft: sourced.draft, wake: sourced.wake }))
}
