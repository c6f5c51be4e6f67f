//! An endpoint that takes OpenAI's `POST /embeddings` (<https://platform.openai.com/docs/api-reference/embeddings/create>).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::http::{StatusCode, header};
use url::Url;

use crate::batches::batches;
use crate::error::EmbedError;
use crate::settings::Settings;

/// Texts in one request.
const BATCH: usize = 64;
/// Bytes of texts in one request.
const BATCH_BYTES: usize = 128 << 10;
/// Tries of one request.
const TRIES: u32 = 3;
/// Wait before the second try, doubled before the third.
const BACKOFF: Duration = Duration::from_secs(1);
/// Longest wait that an endpoint may ask for.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// How long one request may take.
const ONE_TRY: Duration = Duration::from_secs(30);
/// Largest answer, in bytes: 64 vectors of 4,096 numbers of 20 digits, and room.
const MAX_ANSWER: u64 = 8 << 20;
/// Most dimensions, which is pgvector's bound.
const MAX_DIMENSIONS: usize = 16_000;

/// The endpoint.
#[derive(Debug)]
pub(crate) struct OpenAi {
    url: String,
    model: String,
    key_file: Option<PathBuf>,
    agent: ureq::Agent,
}

#[derive(Serialize)]
struct Request<'t> {
    model: &'t str,
    input: &'t [String],
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    index: usize,
    embedding: Vec<f32>,
}

/// Why one try failed.
enum Miss {
    /// Another may succeed, after this wait if the endpoint said how long.
    Passing(String, Option<Duration>),
    Refused(String),
}

impl OpenAi {
    /// The endpoint of `settings`; the error says what is missing.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let url = settings.embed_url.as_deref().ok_or("--embedder is openai, and --embed-url is not given")?;
        let mut parsed = Url::parse(url).map_err(|error| format!("--embed-url is no URL: {error}"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err("--embed-url must begin with http:// or https://".to_owned());
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err("--embed-url must hold no user and password; use --embed-key-file".to_owned());
        }
        let path = format!("{}/embeddings", parsed.path().trim_end_matches('/'));
        parsed.set_path(&path);
        let model = settings.embed_model.clone().filter(|model| (1..=128).contains(&model.len()));
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(ONE_TRY))
            .http_status_as_error(false)
            // The key goes to the endpoint and nowhere else.
            .max_redirects(0)
            .build();
        Ok(Self {
            url: parsed.into(),
            model: model.ok_or("--embedder is openai, and --embed-model is not given or longer than 128 bytes")?,
            key_file: settings.embed_key_file.clone(),
            agent: config.new_agent(),
        })
    }

    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A vector for each text.
    pub(crate) fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in batches(texts.iter().map(String::len), BATCH, BATCH_BYTES) {
            vectors.extend(self.insist(&texts[batch])?);
        }
        let dimensions = vectors.first().map_or(0, Vec::len);
        if vectors.iter().any(|vector| vector.len() != dimensions) {
            return Err(self.refused("gave vectors of different dimensions".to_owned()));
        }
        Ok(vectors)
    }

    fn insist(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut backoff = BACKOFF;
        let mut left = TRIES;
        loop {
            left -= 1;
            match self.once(texts) {
                Ok(vectors) => return Ok(vectors),
                Err(Miss::Refused(problem)) => return Err(self.refused(problem)),
                Err(Miss::Passing(problem, _)) if left == 0 => {
                    return Err(EmbedError::Unavailable { url: self.url.clone(), problem });
                }
                Err(Miss::Passing(_, asked)) => std::thread::sleep(asked.unwrap_or(backoff).min(MAX_WAIT)),
            }
            backoff *= 2;
        }
    }

    fn once(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, Miss> {
        let mut request = self.agent.post(&self.url);
        if let Some(file) = &self.key_file {
            let key = fs::read_to_string(file)
                .map_err(|error| Miss::Refused(format!("has no key: {}: {error}", file.display())))?;
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", key.trim()));
        }
        let body = Request { model: &self.model, input: texts, encoding_format: "float" };
        let mut response = request.send_json(&body).map_err(|error| Miss::Passing(error.to_string(), None))?;
        let status = response.status();
        if !status.is_success() {
            // Its words may quote a text or the key.
            let problem = format!("answered {status}");
            let asked = response.headers().get(header::RETRY_AFTER);
            let asked = asked.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
            let passes = status.is_server_error()
                || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
            return Err(if passes { Miss::Passing(problem, asked) } else { Miss::Refused(problem) });
        }
        let answer = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let answer = answer.map_err(|error| Miss::Passing(error.to_string(), None))?;
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|error| Miss::Refused(format!("gave no list of embeddings ({:?})", error.classify())))?;
        in_order(answer.data, texts.len()).map_err(Miss::Refused)
    }

    fn refused(&self, problem: String) -> EmbedError {
        EmbedError::Refused { url: self.url.clone(), problem }
    }
}

/// The vectors in the order of the texts; each text must have one.
fn in_order(entries: Vec<Entry>, count: usize) -> Result<Vec<Vec<f32>>, String> {
    let mut vectors = vec![Vec::new(); count];
    for entry in entries {
        let place = vectors.get_mut(entry.index).filter(|place| place.is_empty());
        let place = place.ok_or_else(|| format!("gave an embedding for text {} that nobody asked for", entry.index))?;
        let length: f32 = entry.embedding.iter().map(|value| value.abs()).sum();
        if !(1..=MAX_DIMENSIONS).contains(&entry.embedding.len()) || !length.is_finite() || length == 0.0 {
            return Err(format!("gave no usable embedding for text {}", entry.index));
        }
        *place = entry.embedding;
    }
    match vectors.iter().position(Vec::is_empty) {
        Some(missing) => Err(format!("gave no embedding for text {missing} of {count}")),
        None => Ok(vectors),
    }
}
