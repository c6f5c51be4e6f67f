/// Why a text has no embedding. No message holds a text or a key.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The endpoint did not answer, or was too busy; later it may.
    #[error("the embedding endpoint {url} does not answer: {problem}; it is tried again")]
    Unavailable {
        /// The endpoint.
        url: String,
        /// What happened.
        problem: String,
    },
    /// The endpoint answered, but not with embeddings.
    #[error("the embedding endpoint {url} {problem}; check --embed-url, --embed-model and the key")]
    Refused {
        /// The endpoint.
        url: String,
        /// What it said.
        problem: String,
    },
    /// The model in the process failed.
    #[error("the model in {path} failed: {problem}")]
    Model {
        /// Its folder.
        path: String,
        /// What happened.
        problem: String,
    },
}

impl EmbedError {
    /// Whether the same again may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
