//! Monthly budgets of tenants and agents: writes their limits, which the model gateway enforces.

use enact_domain::time::Millis;
use enact_domain::usage::{Limit, Scope, month};

use crate::change_detection::ChangeDetector;
use crate::error::Error;
use crate::record_store::RecordStore;

/// The limits that were last written.
#[derive(Debug, Default)]
pub struct MonthlyBudgets {
    written: ChangeDetector,
}

impl MonthlyBudgets {
    /// Writes the limit of this month and of the next one, so that a limit exists when a month begins, if the limit or the month has changed
    /// since the last call. `scope` returns the scope of a month. A first call writes also that there is no limit: an earlier process may
    /// have written one.
    ///
    /// # Errors
    /// When the record store fails.
    pub async fn write(
        &self,
        store: &dyn RecordStore,
        tenant: &str,
        limit: Limit,
        now: Millis,
        scope: impl Fn(String) -> Scope,
    ) -> Result<(), Error> {
        let this = month(now);
        let next = month_after(&this);
        let budgets = [(scope(this), limit), (scope(next), limit)];
        let key = format!("{tenant}/{}", budgets[0].0.key());
        if !self.written.changed(&key, format!("{limit:?}")) {
            return Ok(());
        }
        let result = store.set_budgets(tenant, &budgets).await;
        if result.is_err() {
            self.written.forget(&key);
        }
        Ok(result?)
    }

    /// Forgets what was written, because limits were erased. They are written again.
    pub fn forget(&self) {
        self.written.forget_all();
    }
}

/// Returns the month after `month`: `2027-01` after `2026-12`.
fn month_after(month: &str) -> String {
    let (year, number) = month.split_once('-').unwrap_or((month, "1"));
    let (year, number) = (year.parse::<u32>().unwrap_or_default(), number.parse::<u32>().unwrap_or(1));
    if number < 12 { format!("{year:04}-{:02}", number + 1) } else { format!("{:04}-01", year + 1) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::testing::InMemoryRecordStore;

    #[tokio::test]
    async fn writes_each_change_once() {
        let (budgets, store) = (MonthlyBudgets::default(), InMemoryRecordStore::default());
        let scope = |month| Scope::Tenant { month };
        let write = async |tokens: u64, now| {
            let limit = Limit { tokens: Some(tokens), cost_micro_usd: None };
            budgets.write(&store, "acme", limit, Millis(now), scope).await.is_ok()
        };
        let written = || std::mem::take(&mut *store.limits.lock().unwrap());
        // 2026-12-31 and 2027-01-01.
        let (december, january) = (1_798_675_200_000, 1_798_761_600_000);
        store.down.store(true, Ordering::Relaxed);
        assert!(!write(5, december).await);
        store.down.store(false, Ordering::Relaxed);
        assert!(write(5, december).await && write(5, december).await);
        let months: Vec<String> = written().into_iter().map(|(scope, _)| scope.key()).collect();
        assert_eq!(months, ["tenant/2026-12", "tenant/2027-01"]);
        assert!(write(6, december).await);
        assert_eq!(written().len(), 2);
        assert!(write(6, january).await);
        let months: Vec<String> = written().into_iter().map(|(scope, _)| scope.key()).collect();
        assert_eq!(months, ["tenant/2027-01", "tenant/2027-02"]);
    }
}
