use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The source of embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EmbedderKind {
    /// No embeddings: search uses words only.
    None,
    /// all-MiniLM-L6-v2 or a similar model in this process, without network access.
    Minilm,
    /// An endpoint with the `POST /embeddings` of OpenAI.
    Openai,
}

/// Settings of the embedder, to be flattened into the arguments of a program.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Source of the embeddings for search by meaning.
    #[arg(long = "embedder", env = "ENACT_EMBEDDER", value_enum, default_value_t = EmbedderKind::Minilm)]
    pub kind: EmbedderKind,
    /// Folder with `model.safetensors`, `tokenizer.json` and `config.json` for the embedder `minilm`. If it does not exist, search uses
    /// words only.
    #[arg(long, env = "ENACT_EMBED_MODEL_DIR", default_value = "/models/all-MiniLM-L6-v2")]
    pub embed_model_dir: PathBuf,
    /// Base URL for the embedder `openai`, such as `https://api.openai.com/v1`.
    #[arg(long, env = "ENACT_EMBED_URL")]
    pub embed_url: Option<String>,
    /// Name of the model at the endpoint, for the embedder `openai`.
    #[arg(long, env = "ENACT_EMBED_MODEL")]
    pub embed_model: Option<String>,
    /// File with the API key of the endpoint. It is read at each request, so that it can be replaced.
    #[arg(long, env = "ENACT_EMBED_KEY_FILE")]
    pub embed_key_file: Option<PathBuf>,
}
