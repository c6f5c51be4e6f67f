use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use strum::IntoStaticStr;

/// Class of a failure: it states what a caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The infrastructure failed: a later retry can succeed. Nothing is lost or duplicated.
    Transient,
    /// A retry fails again.
    Permanent,
    /// Another transaction changed the same rows: read again and retry at once.
    Conflict,
}

/// A failure to write or read the record. It is cheap to clone, since one failure can answer many callers.
#[derive(Clone, Debug, IntoStaticStr, thiserror::Error)]
#[strum(serialize_all = "kebab-case")]
pub enum StoreError {
    /// Postgres cannot be reached or cannot answer.
    #[error(
        "cannot {doing}: Postgres is unavailable ({source}); check that the database runs and that postgres.url points to it"
    )]
    Unavailable { doing: &'static str, source: Arc<sqlx::Error> },
    #[strum(serialize = "timeout")]
    #[error("cannot {doing}: Postgres did not answer within {after:?}; check its load and the network to it")]
    TimedOut { doing: &'static str, after: Duration },
    /// Postgres rejected the login, or the login lacks rights.
    #[error(
        "cannot {doing}: Postgres denied access ({source}); check the user and password in postgres.url, and that it is \
         a member of enact_app, and for the operator of enact_operator"
    )]
    Denied { doing: &'static str, source: Arc<sqlx::Error> },
    /// The login bypasses row-level security.
    #[error(
        "role `{role}` {problem}, so row-level security would not separate tenants; use a login that is only \
         a member of enact_app, and for the operator of enact_operator"
    )]
    UnsafeRole { role: String, problem: &'static str },
    /// The schema is missing or older than this program.
    #[error("the database schema does not fit this release ({found}); run the migrations of this release")]
    Schema { found: String },
    #[error("cannot {doing}: another transaction changed the same rows ({source}); retry")]
    Conflict { doing: &'static str, source: Arc<sqlx::Error> },
    #[error("cannot {doing}: Postgres rejected the content ({source}); change the content, since a retry fails again")]
    Refused { doing: &'static str, source: Arc<sqlx::Error> },
    /// An argument is invalid.
    #[error("{what} {problem}")]
    Invalid {
        what: &'static str,
        /// Continues the sentence that `what` begins, and says what is valid.
        problem: String,
    },
    /// A row has a form that this program does not know.
    #[error("cannot read {what} ({source}): another release wrote it; run the newer release")]
    Unreadable { what: &'static str, source: Arc<serde_json::Error> },
    /// The installed migrations are not those of this release.
    #[error(
        "cannot migrate the database: {source}; restore the schema `enact` from a backup, or start with an empty database"
    )]
    Migration { source: Arc<MigrateError> },
    #[error("the recorder is shut down; the operator writes the record again after its restart")]
    Closed,
}

impl StoreError {
    /// Returns what a caller can do about the failure.
    pub fn class(&self) -> ErrorClass {
        match self {
            // A person can correct the login or the schema while the process runs, so these errors are retried.
            Self::Unavailable { .. }
            | Self::TimedOut { .. }
            | Self::Denied { .. }
            | Self::Schema { .. }
            | Self::Closed => ErrorClass::Transient,
            Self::Conflict { .. } => ErrorClass::Conflict,
            Self::UnsafeRole { .. }
            | Self::Refused { .. }
            | Self::Invalid { .. }
            | Self::Unreadable { .. }
            | Self::Migration { .. } => ErrorClass::Permanent,
        }
    }

    /// Returns whether Postgres can answer nobody. A statement that it cancelled at the time limit (57014) can be slow for one tenant only,
    /// for example because of a lock on its rows.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable { source, .. } => {
                source.as_database_error().is_none_or(|error| error.code().as_deref() != Some("57014"))
            }
            error => error.class() == ErrorClass::Transient,
        }
    }

    /// Returns the value of metric labels and log fields.
    pub fn category(&self) -> &'static str {
        self.into()
    }

    /// Classifies an error of the driver. `doing` completes the sentence "cannot …".
    pub(crate) fn new(doing: &'static str, source: sqlx::Error) -> Self {
        let source = Arc::new(source);
        match &*source {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                // The first two characters of a SQLSTATE are its class: see appendix A of the Postgres manual.
                match (code.get(..2).unwrap_or_default(), &*code) {
                    // Missing tables, schemas, columns and types.
                    (_, "42P01" | "3F000" | "42703" | "42704") => Self::Schema { found: error.message().to_owned() },
                    ("28" | "3D", _) | (_, "42501") => Self::Denied { doing, source },
                    // Also a lock that was not available (55P03).
                    ("40", _) | (_, "55P03") => Self::Conflict { doing, source },
                    // Connection failures, invalid transaction states, lack of resources, shutdowns, and internal
                    // errors of Postgres.
                    ("08" | "25" | "53" | "57" | "58" | "XX", _) => Self::Unavailable { doing, source },
                    _ => Self::Refused { doing, source },
                }
            }
            sqlx::Error::Configuration(error) => Self::Invalid { what: "postgres.url", problem: error.to_string() },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable { doing, source },
            _ => Self::Refused { doing, source },
        }
    }

    /// Returns [`StoreError::new`] for `doing`, as an argument for `map_err`.
    pub(crate) fn while_doing(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::new(doing, source)
    }

    pub(crate) fn unreadable(what: &'static str) -> impl Fn(serde_json::Error) -> Self {
        move |source| Self::Unreadable { what, source: Arc::new(source) }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                Self::new("migrate the database", source)
            }
            other => Self::Migration { source: Arc::new(other) },
        }
    }
}
