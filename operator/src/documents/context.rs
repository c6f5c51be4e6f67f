//! The state of the document controllers in addition to the common context.

use std::ops::Deref;
use std::sync::Arc;

use super::dependents::Dependents;
use super::document_cache::DocumentCache;
use crate::change_detection::ChangeDetector;
use crate::search::Search;
use crate::sourcing;

/// The context of the Constitution and Specification controllers.
pub struct Context {
    pub common: Arc<crate::context::Context>,
    pub cache: Arc<DocumentCache>,
    /// The states that others were requeued for, and the findings that were recorded.
    pub changes: ChangeDetector,
    pub dependents: Arc<Dependents>,
    pub sourcing: Arc<sourcing::Context>,
    pub search: Arc<Search>,
}

impl Deref for Context {
    type Target = crate::context::Context;

    fn deref(&self) -> &Self::Target {
        &self.common
    }
}
