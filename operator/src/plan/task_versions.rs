//! The versions of the Tasks that a decision changes.

use std::collections::HashMap;
use std::sync::Arc;

use enact_domain::graph::NodeId;
use parking_lot::Mutex;

/// The versions of the Tasks that a decision changes. Several contestants can change one Task at the same time: their patches wait for each
/// other, and each names the version that the one before has made.
#[derive(Debug, Default)]
pub struct TaskVersions(Mutex<HashMap<NodeId, Arc<tokio::sync::Mutex<u64>>>>);

impl TaskVersions {
    /// Returns the version of the Task of a node: `observed`, until a patch changes it.
    pub fn of(&self, node: NodeId, observed: u64) -> Arc<tokio::sync::Mutex<u64>> {
        let mut versions = self.0.lock();
        versions.entry(node).or_insert_with(|| Arc::new(tokio::sync::Mutex::new(observed))).clone()
    }
}
