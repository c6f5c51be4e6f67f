//! The state of the Tenant controller in addition to the common context.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::cluster::ClusterView;
use crate::plan::history::History;
use crate::plan::limiter::ConcurrencyLimiter;

/// Delay of a requeue while a Tenant is active: its counts change, and no event reports the deletion of a Plan.
pub const ACTIVE_RESYNC: Duration = Duration::from_secs(10);

pub struct Context {
    pub common: Arc<crate::context::Context>,
    pub cluster: ClusterView,
    /// Counts the running attempts.
    pub limiter: Arc<ConcurrencyLimiter>,
    /// The finished tasks of tenants, which plans are estimated from.
    pub history: Arc<History>,
    /// UIDs of the Tenants that are known to own the record of their name.
    pub record_owners: Mutex<HashSet<String>>,
}

impl Deref for Context {
    type Target = crate::context::Context;

    fn deref(&self) -> &Self::Target {
        &self.common
    }
}
