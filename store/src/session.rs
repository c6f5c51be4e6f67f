use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, raw_sql};

use crate::error::StoreError;

/// A connection that works for one tenant at a time.
///
/// A session that is dropped inside a transaction closes its connection instead of returning it to the pool: after the loss of a host its
/// state is unknown, and asking for it can take as long as the TCP timeout.
pub(crate) struct Session {
    connection: PoolConnection<Postgres>,
    round_trips: Arc<AtomicU64>,
    in_transaction: bool,
}

impl Session {
    pub(crate) fn new(connection: PoolConnection<Postgres>, round_trips: Arc<AtomicU64>) -> Self {
        Self { connection, round_trips, in_transaction: false }
    }

    /// Returns the connection for one statement, and counts its round trip.
    pub(crate) fn statement(&mut self) -> &mut PgConnection {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        &mut self.connection
    }

    /// Begins a transaction that sees only the rows of `tenant`.
    pub(crate) async fn begin(&mut self, doing: &'static str, tenant: &str) -> Result<(), StoreError> {
        check_tenant(tenant)?;
        // Both statements in one message, which cannot have parameters. `check_tenant` has excluded characters that need quoting.
        let begin = format!("begin; select set_config('enact.tenant', '{tenant}', true)");
        // Set before the statement: if its answer is lost or the caller is cancelled, the transaction may be open, so
        // `drop` must close the connection.
        self.in_transaction = true;
        raw_sql(AssertSqlSafe(begin)).execute(self.statement()).await.map_err(StoreError::while_doing(doing))?;
        Ok(())
    }

    pub(crate) async fn commit(&mut self, doing: &'static str) -> Result<(), StoreError> {
        self.end(doing, "commit").await
    }

    pub(crate) async fn roll_back(&mut self, doing: &'static str) -> Result<(), StoreError> {
        self.end(doing, "rollback").await
    }

    async fn end(&mut self, doing: &'static str, statement: &'static str) -> Result<(), StoreError> {
        raw_sql(statement).execute(self.statement()).await.map_err(StoreError::while_doing(doing))?;
        // Reset only after the answer. If it was lost, `drop` closes the connection, and Postgres rolls back what it
        // has not committed.
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

/// Checks that `tenant` is a valid name of a Kubernetes object.
pub(crate) fn check_tenant(tenant: &str) -> Result<(), StoreError> {
    let valid = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
    if !tenant.is_empty() && tenant.len() <= 253 && tenant.bytes().all(valid) {
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
    fn tenant_names_contain_no_sql() {
        for name in ["", "a'", "a\\", "a\0b", "A", "a b", "a;", "ä", &"a".repeat(254)] {
            assert!(check_tenant(name).is_err(), "{name:?}");
        }
        for name in ["default", "team-7", "a.b"] {
            assert!(check_tenant(name).is_ok(), "{name:?}");
        }
    }
}
