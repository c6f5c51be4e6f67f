//! The state of sourcing in addition to the common context.

use std::ops::Deref;
use std::sync::Arc;

use super::jobs::DocumentJobs;
use crate::documents::document_cache::DocumentCache;

pub struct Context {
    pub common: Arc<crate::context::Context>,
    pub jobs: DocumentJobs,
    pub document_cache: Arc<DocumentCache>,
}

impl Deref for Context {
    type Target = crate::context::Context;

    fn deref(&self) -> &Self::Target {
        &self.common
    }
}
