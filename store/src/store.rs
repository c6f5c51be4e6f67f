use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use enact_domain::record::Record;
use sqlx::PgPool;

use crate::config::Config;
use crate::error::{ErrorClass, StoreError};
use crate::sanitise::sanitise;
use crate::session::Session;
use crate::{audit, migrate, numbering, projections};

const RECORDING: &str = "write to the record";

/// The record in Postgres. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    operation_timeout: Duration,
    round_trips: Arc<AtomicU64>,
    /// The schema that contains pgvector, once it is known.
    pub(crate) vector_schema: Arc<OnceLock<String>>,
}

impl Store {
    /// Creates a store for the database at `config.url`. It opens connections when it needs them, so a process can start while Postgres
    /// is down. [`Store::ready`] checks the database.
    ///
    /// # Errors
    /// If the URL is invalid.
    pub fn connect(config: &Config) -> Result<Self, StoreError> {
        Ok(Self {
            pool: config.pool_options().connect_lazy_with(config.connect_options()?),
            operation_timeout: config.operation_timeout,
            round_trips: Arc::default(),
            vector_schema: Arc::default(),
        })
    }

    /// Checks that Postgres answers, that its schema is at least the one of this program (a newer schema only adds to it), and that
    /// row-level security applies to the login.
    pub async fn ready(&self) -> Result<(), StoreError> {
        const DOING: &str = "check the database";
        let found = self
            .with_timeout(DOING, async {
                let mut session = self.session(DOING).await?;
                sqlx::query!(
                    r#"select
                        (select coalesce(max(version) filter (where success), 0) from enact.migrations) as "version!",
                        current_user::text as "role!",
                        rolsuper or rolbypassrls as "bypasses!",
                        pg_has_role(current_user, (select relowner from pg_class where oid = 'enact.audit'::regclass), 'member') as "owns!"
                    from pg_roles where rolname = current_user"#
                )
                .fetch_one(session.statement())
                .await
                .map_err(StoreError::while_doing(DOING))
            })
            .await?;
        let unsafe_role = |problem| Err(StoreError::UnsafeRole { role: found.role.clone(), problem });
        let needed = migrate::newest();
        match &found {
            row if row.bypasses => unsafe_role("bypasses row-level security"),
            row if row.owns => unsafe_role("owns the tables"),
            row if row.version < needed => {
                Err(StoreError::Schema { found: format!("it is at version {}, not {needed}", row.version) })
            }
            _ => Ok(()),
        }
    }

    /// Writes `records`, for each tenant all or none. Recorded ones are not written again. Controllers share a
    /// [`Recorder`](crate::Recorder) instead, which needs far fewer round trips.
    ///
    /// # Errors
    /// The first failure. Records of other tenants may have been written; all records can be written again.
    pub async fn record(&self, mut records: Vec<Record>) -> Result<(), StoreError> {
        let mut tenants: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in &mut records {
            sanitise(record)?;
        }
        for record in &records {
            tenants.entry(&record.tenant).or_default().push(record);
        }
        let mut session = None;
        for (tenant, records) in tenants {
            self.write(&mut session, tenant, &records).await?;
        }
        Ok(())
    }

    /// Returns the number of statements so far, each of which waited once for Postgres. Opening and testing connections does not count.
    pub fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }

    /// Closes all connections when their users return them.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) async fn session(&self, doing: &'static str) -> Result<Session, StoreError> {
        let connection = self.pool.acquire().await.map_err(StoreError::while_doing(doing))?;
        Ok(Session::new(connection, Arc::clone(&self.round_trips)))
    }

    /// Runs `statements` in a transaction that sees only the rows of `tenant`.
    pub(crate) async fn transaction<T>(
        &self,
        doing: &'static str,
        tenant: &str,
        statements: impl AsyncFnOnce(&mut Session) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        self.with_timeout(doing, async {
            let mut session = self.session(doing).await?;
            session.begin(doing, tenant).await?;
            let value = statements(&mut session).await.map_err(StoreError::while_doing(doing))?;
            session.commit(doing).await?;
            Ok(value)
        })
        .await
    }

    /// Runs `operation` for at most the operation timeout.
    pub(crate) async fn with_timeout<T>(
        &self,
        doing: &'static str,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.operation_timeout, operation).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::TimedOut { doing, after: self.operation_timeout }),
        }
    }

    /// Writes the records of one tenant in one transaction, on the connection in `kept` or on a new one, and leaves a usable connection
    /// in `kept`. A kept connection can have died since its last use, so a failure on it is tried once more on a new connection.
    pub(crate) async fn write(
        &self,
        kept: &mut Option<Session>,
        tenant: &str,
        records: &[&Record],
    ) -> Result<(), StoreError> {
        let was_kept = kept.is_some();
        match self.with_timeout(RECORDING, self.write_once(kept, tenant, records)).await {
            Err(error @ StoreError::Unavailable { .. }) if was_kept && error.is_outage() => {
                // Safe even if the lost transaction was committed: recorded events are not written again.
                tracing::info!(%error, "lost the connection to Postgres; opening a new one");
                self.with_timeout(RECORDING, self.write_once(kept, tenant, records)).await
            }
            result => result,
        }
    }

    async fn write_once(
        &self,
        kept: &mut Option<Session>,
        tenant: &str,
        records: &[&Record],
    ) -> Result<(), StoreError> {
        // Take the session: if this future is cancelled or fails, the session is dropped instead of being reused
        // inside a transaction.
        let mut session = match kept.take() {
            Some(session) => session,
            None => self.session(RECORDING).await?,
        };
        session.begin(RECORDING, tenant).await?;
        let written = append(&mut session, tenant, records).await;
        match &written {
            Ok(()) => session.commit(RECORDING).await?,
            // Postgres rejected the records, but the connection works, so the next write can reuse it.
            Err(error) if error.class() == ErrorClass::Permanent => session.roll_back(RECORDING).await?,
            // Dropping the session closes its connection.
            Err(_) => return written,
        }
        *kept = Some(session);
        written
    }
}

/// Writes those of `records` that are new to all tables.
async fn append(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    // The order matters: numbering removes recorded revisions, the audit log removes the other recorded events, and
    // the projections rely on both.
    let numbered = numbering::number(session, tenant, records).await?;
    let new = audit::append(session, tenant, &numbered).await?;
    projections::write(session, tenant, &new).await
}
