//! The state of the Tenant controller in addition to the common context.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::cluster::ClusterView;
use crate::plan::limiter::ConcurrencyLimiter;

/// Delay of a requeue while a Tenant is active: its counts change, and no event reports the deletion of a Plan.
pub const ACTIVE_RESYNC: Duration = Duration::from_secs(10);

pub struct Context {
    pub common: Arc<crate::context::Context>,
    pub cluster: ClusterView,
    /// Counts the running attempts.
    pub limiter: Arc<ConcurrencyLimiter>,
}

impl Deref for Context {
    type Target = crate::context::Context;

    fn deref(&self) -> &Self::Target {
        &self.common
    }
}
