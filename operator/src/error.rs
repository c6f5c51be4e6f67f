//! Errors that stop a reconcile, and whether a retry can help.

use enact_service::api_server;
use enact_store::{ErrorClass, StoreError};

/// An error that stops a reconcile. A problem of an object itself is not an error but a condition on it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused a request or failed.
    #[error("{doing}: {}", api_server::message(.source))]
    Kube {
        /// The operation and its object.
        doing: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// The record store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object with this name exists, and has another owner or was not created by the operator.
    #[error("{kind} {name} exists, and the operator did not create it for this object; delete or rename it")]
    Taken { kind: &'static str, name: String },
    /// A value cannot be converted to or from JSON.
    #[error("cannot convert {what} to or from JSON: {source}")]
    Json {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// Work on another thread was cancelled or panicked: the process ends, or a document triggers a bug.
    #[error("the analysis of a document was aborted: {source}")]
    Blocking {
        #[source]
        source: tokio::task::JoinError,
    },
    /// A reconcile exceeded its time limit.
    #[error("the reconcile took longer than {seconds} s and was cancelled")]
    TimedOut { seconds: u64 },
}

impl Error {
    /// Returns a function that adds the operation to an error of the API server.
    pub fn kube(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Kube { doing, source: Box::new(source) }
    }

    /// Returns the error's category for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Kube { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if status.code == 409 => "conflict",
                kube::Error::Api(status) if status.code == 429 => "throttled",
                kube::Error::Api(status) if status.code >= 500 => "api-server",
                kube::Error::Api(_) => "refused",
                _ => "connection",
            },
            Self::Store(e) => e.category(),
            Self::Taken { .. } => "taken",
            Self::Json { .. } => "json",
            Self::Blocking { .. } => "blocking",
            Self::TimedOut { .. } => "timeout",
        }
    }

    /// Returns whether the record store is unavailable, which is temporary.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Store(error) if error.class() == ErrorClass::Transient)
    }

    /// Returns whether the record store refuses what it should write, whenever it is asked.
    pub fn is_refused_record(&self) -> bool {
        matches!(self, Self::Store(StoreError::Invalid { .. } | StoreError::Refused { .. }))
    }

    /// Returns whether the object changed during the reconcile; an immediate retry helps.
    pub fn is_conflict(&self) -> bool {
        self.category() == "conflict"
    }
}
