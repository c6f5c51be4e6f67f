//! Errors of the controllers: what stopped a reconcile, and whether trying again can help.

use enact_store::{ErrorClass, StoreError};

/// What stopped a reconcile. What is wrong with an object itself is no error but a condition on it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or failed.
    #[error("{doing}: {source}")]
    Kube {
        /// What was being done, and to which object.
        doing: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The record could not be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object of this name exists and is not ours.
    #[error("{kind} {name} exists and belongs to something else; delete or rename it")]
    Taken {
        /// Kind of the object.
        kind: &'static str,
        /// Name of the object.
        name: String,
    },
    /// A value cannot be written as JSON.
    #[error("cannot write {what} as JSON: {source}")]
    Json {
        /// What it is.
        what: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Work beside the reconcile did not come to its end: the process ends, or a document of somebody has found a bug of ours.
    #[error("reading a document was broken off: {source}")]
    Aside {
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
    /// A reconcile took longer than allowed.
    #[error("the reconcile took longer than {seconds} s and was given up")]
    TimedOut {
        /// The time allowed, in seconds.
        seconds: u64,
    },
}

impl Error {
    /// Wraps an error of the API server with what was being done.
    pub fn kube(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Kube { doing, source: Box::new(source) }
    }

    /// A word for metrics.
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
            Self::Aside { .. } => "aside",
            Self::TimedOut { .. } => "timeout",
        }
    }

    /// Whether the record cannot be reached, and will be again.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Store(error) if error.class() == ErrorClass::Transient)
    }

    /// Whether somebody else changed the object meanwhile: looking again at once helps.
    pub fn is_conflict(&self) -> bool {
        self.category() == "conflict"
    }
}
