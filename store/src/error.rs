use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::MigrateError;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The surroundings failed; the same again later may succeed, and nothing was lost or doubled.
    Transient,
    /// The same again fails again.
    Permanent,
    /// Somebody else was at the same rows at the same time; look again and retry at once.
    Conflict,
}

/// Why the record could not be written or read. Cheap to clone: one failure may answer many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres cannot be reached, or is not able to answer.
    #[error(
        "cannot {doing}: Postgres is unavailable ({source}); check that the database runs and that postgres.url points to it"
    )]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        source: Arc<sqlx::Error>,
    },
    /// Postgres did not answer in time.
    #[error("cannot {doing}: Postgres did not answer within {after:?}; check its load and the network to it")]
    TimedOut {
        /// What was being done.
        doing: &'static str,
        /// The time that was given.
        after: Duration,
    },
    /// Postgres refused the login, or rights are missing.
    #[error(
        "cannot {doing}: Postgres denied it ({source}); check the user and password in postgres.url and its membership in enact_app"
    )]
    Denied {
        /// What was being done.
        doing: &'static str,
        /// What Postgres said.
        source: Arc<sqlx::Error>,
    },
    /// The login would make row-level security void.
    #[error(
        "role `{role}` {problem}, so tenants would not be kept apart; use a login that is only a member of enact_app"
    )]
    UnsafeRole {
        /// The login's role.
        role: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The database's schema is older than this program, or missing.
    #[error("the database's schema is not the one that this release needs ({found}); run this release's migrations")]
    Schema {
        /// What is there instead.
        found: String,
    },
    /// Another transaction was in the way.
    #[error("cannot {doing}: another transaction was at the same rows ({source}); it can be tried again at once")]
    Conflict {
        /// What was being done.
        doing: &'static str,
        /// What Postgres said.
        source: Arc<sqlx::Error>,
    },
    /// Postgres refused the content.
    #[error("cannot {doing}: Postgres refused the content ({source}); it is refused again unless it is changed")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// What Postgres said.
        source: Arc<sqlx::Error>,
    },
    /// An argument cannot be recorded.
    #[error("{what} {problem}")]
    Invalid {
        /// What it is.
        what: &'static str,
        /// What is wrong, and what it must be.
        problem: String,
    },
    /// A row does not hold what this program expects: another release wrote it.
    #[error("{what} cannot be read ({source}); it was written by another release: run the newer one")]
    Unreadable {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        source: Arc<serde_json::Error>,
    },
    /// The installed migrations are not those of this release.
    #[error(
        "cannot migrate the database: {source}; restore the schema `enact` from a backup, or start with an empty database"
    )]
    Migration {
        /// What is wrong with them.
        source: Arc<MigrateError>,
    },
    /// The recorder was shut down.
    #[error("the recorder has shut down; the record is to be repeated after the restart")]
    Closed,
}

impl StoreError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Unavailable { .. }
            | Self::TimedOut { .. }
            | Self::Denied { .. }
            | Self::Schema { .. }
            | Self::Closed => Class::Transient,
            Self::Conflict { .. } => Class::Conflict,
            Self::UnsafeRole { .. }
            | Self::Refused { .. }
            | Self::Invalid { .. }
            | Self::Unreadable { .. }
            | Self::Migration { .. } => Class::Permanent,
        }
    }

    /// A word for metrics and logs.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::TimedOut { .. } => "timeout",
            Self::Denied { .. } => "denied",
            Self::UnsafeRole { .. } => "unsafe-role",
            Self::Schema { .. } => "schema",
            Self::Conflict { .. } => "conflict",
            Self::Refused { .. } => "refused",
            Self::Invalid { .. } => "invalid",
            Self::Unreadable { .. } => "unreadable",
            Self::Migration { .. } => "migration",
            Self::Closed => "closed",
        }
    }

    /// What `source` means for `doing`.
    pub(crate) fn new(doing: &'static str, source: sqlx::Error) -> Self {
        let source = Arc::new(source);
        match &*source {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                // The first two characters of a SQLSTATE are its class; appendix A of Postgres' manual lists them.
                match (code.get(..2).unwrap_or_default(), &*code) {
                    (_, "42P01" | "3F000" | "42703" | "42704") => Self::Schema { found: error.message().to_owned() },
                    ("28" | "3D", _) | (_, "42501") => Self::Denied { doing, source },
                    ("40", _) | (_, "55P03") => Self::Conflict { doing, source },
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

    /// An error that names `doing`, for `map_err`.
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
