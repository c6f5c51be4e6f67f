//! Embeddings of texts: by a model in this process, by an OpenAI-compatible endpoint, or none.
//!
//! An installation without a model works: search then uses words only, and [`Embedder::describe`] says why.

mod batches;
#[cfg(feature = "minilm")]
mod bert;
mod embedder;
mod error;
#[cfg(feature = "minilm")]
mod minilm;
mod openai;
mod settings;

pub use embedder::Embedder;
pub use error::EmbedError;
pub use settings::{EmbedderKind, Settings};
