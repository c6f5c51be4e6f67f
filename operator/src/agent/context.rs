//! The state of the Agent controller in addition to the common context.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use enact_domain::time::Millis;
use parking_lot::Mutex;

use super::probes::Probes;
use crate::metadata_cache::ObjectKey;
use crate::plan::limiter::ConcurrencyLimiter;
use crate::warm_pool::WarmPods;

pub struct Context {
    pub common: Arc<crate::context::Context>,
    /// Counts the running attempts.
    pub limiter: Arc<ConcurrencyLimiter>,
    pub warm_pods: Arc<WarmPods>,
    /// When the statistics of each Agent were last read.
    pub refreshed: Mutex<HashMap<ObjectKey, Millis>>,
    pub probes: Probes,
}

impl Deref for Context {
    type Target = crate::context::Context;

    fn deref(&self) -> &Self::Target {
        &self.common
    }
}
