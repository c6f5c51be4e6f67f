use std::sync::Arc;

use crate::error::EmbedError;
#[cfg(feature = "minilm")]
use crate::minilm::MiniLm;
use crate::openai::OpenAi;
use crate::settings::{EmbedderKind, Settings};

/// Maximum length of a text, in bytes; a longer one is truncated.
const MAX_TEXT_BYTES: usize = 8 << 10;

/// A source of embeddings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Embedder(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    /// No embeddings, with the reason.
    None(String),
    #[cfg(feature = "minilm")]
    MiniLm(Arc<MiniLm>),
    OpenAi(Arc<OpenAi>),
}

impl Embedder {
    /// Creates the embedder of `settings`. Without a usable model it returns no embeddings, and [`Self::describe`] states the reason.
    pub fn new(settings: &Settings) -> Self {
        let created = match settings.kind {
            EmbedderKind::None => Err("--embedder is none".to_owned()),
            EmbedderKind::Minilm => minilm(settings),
            EmbedderKind::Openai => OpenAi::new(settings).map(|endpoint| Inner::OpenAi(Arc::new(endpoint))),
        };
        let embedder = Self(Arc::new(created.unwrap_or_else(Inner::None)));
        if embedder.model().is_some() || settings.kind == EmbedderKind::None {
            tracing::info!("{}", embedder.describe());
        } else {
            tracing::warn!("{}", embedder.describe());
        }
        embedder
    }

    /// Returns the name of the model, or none without embeddings. Vectors of different names are not comparable.
    pub fn model(&self) -> Option<&str> {
        match &*self.0 {
            Inner::None(_) => None,
            #[cfg(feature = "minilm")]
            Inner::MiniLm(model) => Some(model.name()),
            Inner::OpenAi(endpoint) => Some(endpoint.model()),
        }
    }

    /// Describes how search works with this embedder, for logs.
    pub fn describe(&self) -> String {
        match &*self.0 {
            Inner::None(why) => format!("search uses words only: {why}"),
            #[cfg(feature = "minilm")]
            Inner::MiniLm(model) => format!("search uses words and embeddings of {} in this process", model.name()),
            Inner::OpenAi(endpoint) => {
                format!("search uses words and embeddings of {} at {}", endpoint.model(), endpoint.url())
            }
        }
    }

    /// Returns a vector for each of `texts`, all with the same number of dimensions; without a model, returns nothing.
    ///
    /// # Errors
    /// If the model fails or the endpoint does not return valid embeddings.
    pub async fn embed(&self, mut texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedError> {
        for text in &mut texts {
            text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        }
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        match &*self.0 {
            Inner::None(_) => Ok(Vec::new()),
            #[cfg(feature = "minilm")]
            Inner::MiniLm(model) => {
                let model = Arc::clone(model);
                run_blocking(move || model.embed(&texts)).await
            }
            Inner::OpenAi(endpoint) => {
                let endpoint = Arc::clone(endpoint);
                run_blocking(move || endpoint.embed(&texts)).await
            }
        }
    }
}

/// Runs `work`, which computes or blocks, outside of the asynchronous threads.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EmbedError> + Send + 'static,
) -> Result<T, EmbedError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(EmbedError::Model { path: "this process".to_owned(), problem: error.to_string() }))
}

#[cfg(feature = "minilm")]
fn minilm(settings: &Settings) -> Result<Inner, String> {
    let model = MiniLm::load(&settings.embed_model_dir)?;
    Ok(Inner::MiniLm(Arc::new(model)))
}

#[cfg(not(feature = "minilm"))]
fn minilm(_: &Settings) -> Result<Inner, String> {
    Err("this program was built without the feature `minilm`".to_owned())
}
