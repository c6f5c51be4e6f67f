/// A failure to embed a text. Its message contains neither texts nor keys.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The endpoint did not answer or was overloaded. A later request can succeed.
    #[error("the embedding endpoint {url} is unavailable: {problem}; retrying later")]
    Unavailable { url: String, problem: String },
    /// The endpoint rejected the request or gave an invalid answer.
    #[error("the embedding endpoint {url} {problem}; check --embed-url, --embed-model and the key")]
    Refused {
        url: String,
        /// Continues the sentence about the endpoint.
        problem: String,
    },
    /// The model in this process failed.
    #[error("the model in {path} failed: {problem}")]
    Model { path: String, problem: String },
}

impl EmbedError {
    /// Returns whether a later retry can succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
