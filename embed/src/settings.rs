use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Who says what a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Nobody: search is by words alone.
    None,
    /// all-MiniLM-L6-v2 or a model like it, in the process, without network.
    Minilm,
    /// An endpoint that takes OpenAI's `POST /embeddings`.
    Openai,
}

/// Settings of the embedder; flattened into a program's own.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Who says what a text means, for search by meaning.
    #[arg(long = "embedder", env = "ENACT_EMBEDDER", value_enum, default_value_t = Kind::Minilm)]
    pub kind: Kind,
    /// Folder with `model.safetensors`, `tokenizer.json` and `config.json`, for the embedder `minilm`. Without it, search is by words alone.
    #[arg(long, env = "ENACT_EMBED_MODEL_DIR", default_value = "/models/all-MiniLM-L6-v2")]
    pub embed_model_dir: PathBuf,
    /// Base URL for the embedder `openai`, as in `https://api.openai.com/v1`.
    #[arg(long, env = "ENACT_EMBED_URL")]
    pub embed_url: Option<String>,
    /// Name of the model at the endpoint, for the embedder `openai`.
    #[arg(long, env = "ENACT_EMBED_MODEL")]
    pub embed_model: Option<String>,
    /// File with the endpoint's key, read at each request, so that it can be replaced.
    #[arg(long, env = "ENACT_EMBED_KEY_FILE")]
    pub embed_key_file: Option<PathBuf>,
}
