use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};

use crate::error::StoreError;

/// Environment variable of the driver, which the chart sets to `verify-full` if a CA is known.
const SSL_MODE_ENV: &str = "PGSSLMODE";

/// Settings for connections to Postgres as a program.
#[derive(Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database`; its parameters `sslmode` and `sslrootcert` configure TLS, but do not
    /// weaken `PGSSLMODE=verify-full`. The user is a member of the role `enact_app`, and of `enact_operator` for the operator, and neither
    /// a superuser nor the owner of the schema.
    pub url: String,
    /// Maximum number of connections of this process.
    pub max_connections: u32,
    /// Maximum wait for a connection; after it, Postgres counts as unavailable.
    pub connect_timeout: Duration,
    /// Maximum time of one operation on a connection, over all its statements.
    pub operation_timeout: Duration,
    /// Prepared statements that each connection caches.
    pub statement_cache: usize,
}

impl Config {
    /// Returns the default settings for `url`.
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
        // The server's limit is shorter than the client's, so that the client receives the server's error.
        let server_timeout = self.operation_timeout.mul_f32(0.8).as_millis().to_string();
        Ok(connect_options(&self.url)?.statement_cache_capacity(self.statement_cache).options([
            ("statement_timeout", server_timeout.as_str()),
            ("idle_in_transaction_session_timeout", server_timeout.as_str()),
        ]))
    }
}

/// Omits the password.
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

/// Returns options for `url` with a fixed search path, so that a table that somebody else creates cannot replace a table of Enact.
pub(crate) fn connect_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    // The driver accepts any scheme, and reads what the URL lacks from the environment.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(StoreError::Invalid { what: "postgres.url", problem: "must start with postgres://".to_owned() });
    }
    let options = PgConnectOptions::from_str(url).map_err(StoreError::while_doing("read postgres.url"))?;
    let options = verified(options, std::env::var(SSL_MODE_ENV).ok().as_deref());
    Ok(options.application_name("enact").options([("search_path", "enact,pg_temp")]))
}

/// Returns options that verify the server's certificate if the environment demands it. The driver would prefer the `sslmode` of the URL, and
/// URLs of database providers often contain one that verifies nothing, such as `require`.
fn verified(options: PgConnectOptions, mode: Option<&str>) -> PgConnectOptions {
    match mode.map(str::parse::<PgSslMode>) {
        Some(Ok(mode @ PgSslMode::VerifyFull)) => options.ssl_mode(mode),
        _ => options,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_does_not_weaken_verification() {
        let mode = |url: &str, environment: Option<&str>| {
            verified(PgConnectOptions::from_str(url).unwrap(), environment).get_ssl_mode()
        };
        for query in ["", "?sslmode=disable", "?ssl-mode=prefer", "?sslmode=require", "?sslmode=verify-ca"] {
            let url = format!("postgres://h/db{query}");
            assert!(matches!(mode(&url, Some("verify-full")), PgSslMode::VerifyFull), "{url}");
        }
        assert!(matches!(mode("postgres://h/db?sslmode=require", None), PgSslMode::Require));
        assert!(matches!(mode("postgres://h/db?sslmode=verify-full", Some("prefer")), PgSslMode::VerifyFull));
    }
}
