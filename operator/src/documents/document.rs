//! The trait that Constitution and Specification have in common.

use std::fmt::Debug;
use std::future::Future;

use enact_crds::approval::SubjectKind;
use enact_crds::common::{ApprovalPolicy, LocalRef};
use enact_crds::document::Source;
use enact_crds::specification::DraftStatus;
use enact_domain::analysis::Report;
use enact_domain::record::Kind;
use enact_domain::speckit::Parsed;
use enact_store::Item;
use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::common_status::HasCommonStatus;
use super::content::{Content, Location, SourceText};
use super::context::Context;
use super::findings::cut;
use crate::error::Error;
use crate::references::{References, Referrers, Target};
use crate::sourcing::Drafter;

/// A kind whose content is a document that people approve.
pub trait Document:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    type Status: HasCommonStatus + Clone + Serialize + Send + Sync;
    /// The part of a content that is specific to the kind.
    type Facts: Send + Sync;
    /// The kind in records.
    const KIND: Kind;
    /// The kind as the subject of an Approval.
    const SUBJECT: SubjectKind;

    fn source(&self) -> Option<&Source>;
    /// Returns the inputs for an agent's draft, if the object asks for one.
    fn drafter(&self) -> Option<Drafter<'_>> {
        None
    }
    /// Returns the status with the state of the draft.
    fn with_draft(status: Self::Status, _draft: Option<DraftStatus>) -> Self::Status {
        status
    }
    /// Returns the approvals that the document needs.
    fn policy(&self) -> &ApprovalPolicy;
    /// Returns the constitution that the object names.
    fn constitution(&self) -> Option<&LocalRef>;
    /// Returns whether the object is suspended: its controller then does nothing.
    fn suspended(&self) -> bool;
    fn status(&self) -> Option<&Self::Status>;
    /// Returns the status with the fields that are specific to the kind.
    fn with_facts(&self, ctx: &Context, facts: Option<Self::Facts>, status: Self::Status) -> Self::Status;
    /// Returns the other documents whose changes affect this one.
    fn targets(&self, ctx: &Context, location: &Location) -> Vec<Target>;
    /// Parses a document, and checks it against its constitutions and other documents.
    fn examine(
        &self,
        ctx: &Context,
        location: &Location,
        text: SourceText,
    ) -> impl Future<Output = Result<Content<Self::Facts>, Error>> + Send;
    /// Returns the references of this kind.
    fn referrers(references: &References) -> &Referrers<Self>;
    /// Returns the items under which a content is indexed for search.
    fn search_items(facts: &Self::Facts) -> Vec<Item>;
    /// Requeues the dependents of the object, if its present status differs from the last one that they were requeued for.
    fn requeue_dependents(&self, ctx: &Context);
}

/// Returns the first error of a document, and the number of the others.
pub fn first_error<T>(parsed: &Parsed<T>, report: &Report) -> Option<String> {
    let first = parsed.errors().next()?;
    let more = match report.counts.critical {
        0 | 1 => String::new(),
        n => format!(" (and {} more, see status.topFindings)", n - 1),
    };
    Some(format!("{}{more}", cut(&first.to_string())))
}
