use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, raw_sql};

use crate::error::StoreError;

/// A connection that works for one tenant at a time.
///
/// Dropped inside a transaction, it is closed and not given back to the pool: after a lost host nobody knows what it still holds, and
/// asking could take as long as TCP waits for an answer.
pub(crate) struct Session {
    connection: PoolConnection<Postgres>,
    trips: Arc<AtomicU64>,
    in_transaction: bool,
}

impl Session {
    pub(crate) fn new(connection: PoolConnection<Postgres>, trips: Arc<AtomicU64>) -> Self {
        Self { connection, trips, in_transaction: false }
    }

    /// The connection, for one statement.
    pub(crate) fn statement(&mut self) -> &mut PgConnection {
        self.trips.fetch_add(1, Ordering::Relaxed);
        &mut self.connection
    }

    /// Begins a transaction that sees the rows of `tenant` only.
    pub(crate) async fn begin(&mut self, doing: &'static str, tenant: &str) -> Result<(), StoreError> {
        check_tenant(tenant)?;
        // One message for both, which takes no parameters; the name was checked to need no quoting.
        let begin = format!("begin; select set_config('enact.tenant', '{tenant}', true)");
        self.in_transaction = true;
        raw_sql(AssertSqlSafe(begin)).execute(self.statement()).await.map_err(StoreError::while_doing(doing))?;
        Ok(())
    }

    /// Makes what was done durable.
    pub(crate) async fn commit(&mut self, doing: &'static str) -> Result<(), StoreError> {
        self.end(doing, "commit").await
    }

    /// Undoes what was done.
    pub(crate) async fn roll_back(&mut self, doing: &'static str) -> Result<(), StoreError> {
        self.end(doing, "rollback").await
    }

    async fn end(&mut self, doing: &'static str, how: &'static str) -> Result<(), StoreError> {
        raw_sql(how).execute(self.statement()).await.map_err(StoreError::while_doing(doing))?;
        self.in_transaction = false;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.in_transaction {
            self.connection.close_on_drop();
        }
    }
}

/// Checks that `tenant` is a name that Kubernetes gives to an object.
pub(crate) fn check_tenant(tenant: &str) -> Result<(), StoreError> {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
    if !tenant.is_empty() && tenant.len() <= 253 && tenant.bytes().all(fits) {
        return Ok(());
    }
    Err(StoreError::Invalid {
        what: "tenant",
        problem: format!(
            "`{}` must be the name of a Tenant: 1 to 253 lower-case letters, digits, `-` and `.`",
            tenant.chars().take(64).collect::<String>().escape_debug()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::check_tenant;

    #[test]
    fn a_tenants_name_cannot_carry_sql() {
        for name in ["", "a'", "a\\", "a\0b", "A", "a b", "a;", "ä", &"a".repeat(254)] {
            assert!(check_tenant(name).is_err(), "{name:?}");
        }
        for name in ["default", "team-7", "a.b"] {
            assert!(check_tenant(name).is_ok(), "{name:?}");
        }
    }
}
