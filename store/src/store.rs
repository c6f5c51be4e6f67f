use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use enact_domain::record::Record;
use enact_domain::time::Millis;
use sqlx::PgPool;

use crate::config::Config;
use crate::error::{Class, StoreError};
use crate::sanitise::sanitise;
use crate::session::Session;
use crate::{journal, migrate, numbering, projections};

const RECORDING: &str = "write to the record";

/// The record. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    operation_timeout: Duration,
    trips: Arc<AtomicU64>,
    /// Where pgvector is, once it was found.
    pub(crate) vector_schema: Arc<OnceLock<String>>,
}

impl Store {
    /// Prepares for work with the database at `config.url`; connections are opened when they are needed, so that a process starts
    /// while Postgres is down. [`Store::ready`] tells whether it is there.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn connect(config: &Config) -> Result<Self, StoreError> {
        Ok(Self {
            pool: config.pool_options().connect_lazy_with(config.connect_options()?),
            operation_timeout: config.operation_timeout,
            trips: Arc::default(),
            vector_schema: Arc::default(),
        })
    }

    /// Checks that Postgres answers, that its schema is at least the one that this program was built with (a newer one only adds to
    /// it), and that the login is held to row-level security.
    ///
    /// # Errors
    /// Which of these does not hold.
    pub async fn ready(&self) -> Result<(), StoreError> {
        const DOING: &str = "check the database";
        let found = self
            .within(DOING, async {
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

    /// Records everything, or for each tenant nothing. Whatever is in the record already is not written again. Controllers share a
    /// [`Recorder`](crate::Recorder) instead, which needs far fewer round trips.
    ///
    /// # Errors
    /// The first failure; records of other tenants may have been written, and it is fine to record them again.
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

    /// Statements sent so far, each of which waited for the server once. Opening and testing connections is not counted.
    pub fn round_trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    /// Remembers a tenant.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn upsert_tenant(&self, tenant: &str, uid: &str, at: Millis) -> Result<(), StoreError> {
        const DOING: &str = "record a tenant";
        self.within(DOING, async {
            let mut session = self.session(DOING).await?;
            session.begin(DOING, tenant).await?;
            sqlx::query!(
                "insert into enact.tenants as old (tenant_id, uid, created_at, updated_at)
                select $1, $2, at, at from to_timestamp($3::bigint / 1000.0) as at
                on conflict (tenant_id) do update set uid = excluded.uid, updated_at = excluded.updated_at
                where old.uid <> excluded.uid",
                tenant,
                uid,
                at.0,
            )
            .execute(session.statement())
            .await
            .map_err(StoreError::while_doing(DOING))?;
            session.commit(DOING).await
        })
        .await
    }

    /// Closes all connections once they are given back.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A connection of its own.
    pub(crate) async fn session(&self, doing: &'static str) -> Result<Session, StoreError> {
        let connection = self.pool.acquire().await.map_err(StoreError::while_doing(doing))?;
        Ok(Session::new(connection, Arc::clone(&self.trips)))
    }

    /// Reads what `query` asks for, in a transaction that sees the rows of `tenant` only.
    pub(crate) async fn read<T>(
        &self,
        doing: &'static str,
        tenant: &str,
        query: impl AsyncFnOnce(&mut Session) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        self.within(doing, async {
            let mut session = self.session(doing).await?;
            session.begin(doing, tenant).await?;
            let found = query(&mut session).await.map_err(StoreError::while_doing(doing))?;
            session.commit(doing).await?;
            Ok(found)
        })
        .await
    }

    /// Runs `operation`, but not for longer than an operation may take.
    pub(crate) async fn within<T>(
        &self,
        doing: &'static str,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.operation_timeout, operation).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::TimedOut { doing, after: self.operation_timeout }),
        }
    }

    /// Writes the records of one tenant in one transaction, on the connection in `kept` or on a new one, and keeps it if it is still
    /// good. A kept connection may have died meanwhile, so its failure is not the last word.
    pub(crate) async fn write(
        &self,
        kept: &mut Option<Session>,
        tenant: &str,
        records: &[&Record],
    ) -> Result<(), StoreError> {
        let was_kept = kept.is_some();
        match self.within(RECORDING, self.write_once(kept, tenant, records)).await {
            Err(StoreError::Unavailable { source, .. }) if was_kept => {
                tracing::info!(%source, "the connection to Postgres was lost; opening another");
                self.within(RECORDING, self.write_once(kept, tenant, records)).await
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
        let mut session = match kept.take() {
            Some(session) => session,
            None => self.session(RECORDING).await?,
        };
        session.begin(RECORDING, tenant).await?;
        let written = append(&mut session, tenant, records).await;
        match &written {
            Ok(()) => session.commit(RECORDING).await?,
            Err(error) if error.class() == Class::Permanent => session.roll_back(RECORDING).await?,
            Err(_) => return written,
        }
        *kept = Some(session);
        written
    }
}

/// Writes those of `records` that are not known yet to all tables.
async fn append(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let turns = numbering::number(session, tenant, records).await?;
    let new = journal::append(session, tenant, &turns).await?;
    projections::apply(session, tenant, &new).await
}
