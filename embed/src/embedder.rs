use std::sync::Arc;

use crate::error::EmbedError;
#[cfg(feature = "minilm")]
use crate::minilm::MiniLm;
use crate::openai::OpenAi;
use crate::settings::{Kind, Settings};

/// Longest text that is looked at, in bytes; of a longer one, the beginning.
const MAX_TEXT_BYTES: usize = 8 << 10;

/// Says what texts mean. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Embedder(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    /// Nobody, and why.
    None(String),
    #[cfg(feature = "minilm")]
    MiniLm(Arc<MiniLm>),
    OpenAi(Arc<OpenAi>),
}

impl Embedder {
    /// The embedder of `settings`. What is missing is no error: then there is none, and [`Self::describe`] says why.
    pub fn new(settings: &Settings) -> Self {
        let made = match settings.kind {
            Kind::None => Err("--embedder is none".to_owned()),
            Kind::Minilm => minilm(settings),
            Kind::Openai => OpenAi::new(settings).map(|endpoint| Inner::OpenAi(Arc::new(endpoint))),
        };
        let embedder = Self(Arc::new(made.unwrap_or_else(Inner::None)));
        if embedder.model().is_some() || settings.kind == Kind::None {
            tracing::info!("{}", embedder.describe());
        } else {
            tracing::warn!("{}", embedder.describe());
        }
        embedder
    }

    /// Name of the model, which changes when its vectors are not comparable any more; none when there is no embedder.
    pub fn model(&self) -> Option<&str> {
        match &*self.0 {
            Inner::None(_) => None,
            #[cfg(feature = "minilm")]
            Inner::MiniLm(model) => Some(model.name()),
            Inner::OpenAi(endpoint) => Some(endpoint.model()),
        }
    }

    /// How search works with it, in a sentence for a person.
    pub fn describe(&self) -> String {
        match &*self.0 {
            Inner::None(why) => format!("search is by words alone: {why}"),
            #[cfg(feature = "minilm")]
            Inner::MiniLm(model) => format!("search is by words and by meaning: {}, in this process", model.name()),
            Inner::OpenAi(endpoint) => {
                format!("search is by words and by meaning: {} at {}", endpoint.model(), endpoint.url())
            }
        }
    }

    /// A vector for each of `texts`, all of the same dimensions; nothing when there is no embedder.
    ///
    /// # Errors
    /// When the model fails, or the endpoint does not give what was asked for.
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
                aside(move || model.embed(&texts)).await
            }
            Inner::OpenAi(endpoint) => {
                let endpoint = Arc::clone(endpoint);
                aside(move || endpoint.embed(&texts)).await
            }
        }
    }
}

/// Runs what computes, or waits without yielding, where it holds up nobody.
async fn aside<T: Send + 'static>(
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
