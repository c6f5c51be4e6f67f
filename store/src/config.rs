use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::error::StoreError;

/// How to reach Postgres as the application.
#[derive(Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database`; TLS by its `sslmode` and `sslrootcert` parameters. The user is a member of
    /// the role `enact_app`, and neither a superuser nor the owner of the schema.
    pub url: String,
    /// Largest number of connections that this process holds.
    pub max_connections: u32,
    /// How long to wait for a connection before Postgres counts as unavailable.
    pub connect_timeout: Duration,
    /// How long one operation may take on a connection, all its statements together.
    pub operation_timeout: Duration,
    /// Prepared statements kept for each connection.
    pub statement_cache: usize,
}

impl Config {
    /// The usual settings for `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_connections: 8,
            connect_timeout: Duration::from_secs(2),
            operation_timeout: Duration::from_secs(10),
            statement_cache: 64,
        }
    }

    pub(crate) fn pool_options(&self) -> PgPoolOptions {
        PgPoolOptions::new().max_connections(self.max_connections).acquire_timeout(self.connect_timeout)
    }

    pub(crate) fn connect_options(&self) -> Result<PgConnectOptions, StoreError> {
        // The server gives up first, so that the client learns why.
        let patience = self.operation_timeout.mul_f32(0.8).as_millis().to_string();
        Ok(connect_options(&self.url)?.statement_cache_capacity(self.statement_cache).options([
            ("statement_timeout", patience.as_str()),
            ("idle_in_transaction_session_timeout", patience.as_str()),
        ]))
    }
}

/// Hides the password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("max_connections", &self.max_connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("operation_timeout", &self.operation_timeout)
            .field("statement_cache", &self.statement_cache)
            .finish_non_exhaustive()
    }
}

/// Options for `url` with the search path pinned: nothing that somebody else creates can be taken for a table of ours.
pub(crate) fn connect_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    // The driver would take any scheme, and whatever is missing from the environment.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(StoreError::Invalid { what: "postgres.url", problem: "must start with postgres://".to_owned() });
    }
    let options = PgConnectOptions::from_str(url).map_err(StoreError::while_doing("read postgres.url"))?;
    Ok(options.application_name("enact").options([("search_path", "enact,pg_temp")]))
}
