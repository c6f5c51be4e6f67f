//! What texts mean, as vectors: by a model in the process, by an OpenAI-compatible endpoint, or not at all.
//!
//! An installation without a model works: search is then by words alone, and [`Embedder::describe`] says so and why.

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
pub use settings::{Kind, Settings};
