//! History: the finished tasks of each tenant, from which plans are estimated. They are read once for many plans.

use std::collections::HashMap;
use std::sync::Arc;

use enact_domain::time::Millis;
use enact_store::{FinishedTask, StoreError};
use parking_lot::Mutex;

use crate::record_store::RecordStore;

/// Seconds for which finished tasks are used again, unless a plan of the tenant finishes.
const FRESH_SECONDS: u32 = 600;

/// Finished tasks, and the time at which they were read.
type ReadTasks = (Millis, Arc<Vec<FinishedTask>>);

/// The finished tasks of tenants.
#[derive(Debug, Default)]
pub struct History {
    known: Mutex<HashMap<String, ReadTasks>>,
}

impl History {
    /// Returns the finished tasks of a tenant.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn tasks(
        &self,
        store: &dyn RecordStore,
        tenant: &str,
        now: Millis,
    ) -> Result<Arc<Vec<FinishedTask>>, StoreError> {
        {
            let mut known = self.known.lock();
            // Also those of other tenants: few of them create plans at the same time.
            known.retain(|_, (read_at, _)| now < read_at.plus_seconds(FRESH_SECONDS));
            if let Some((_, tasks)) = known.get(tenant) {
                return Ok(tasks.clone());
            }
        }
        let tasks = Arc::new(store.finished_tasks(tenant).await?);
        self.known.lock().insert(tenant.to_owned(), (now, tasks.clone()));
        Ok(tasks)
    }

    /// Forgets the finished tasks of a tenant, because a plan has finished.
    pub fn forget(&self, tenant: &str) {
        self.known.lock().remove(tenant);
    }
}
