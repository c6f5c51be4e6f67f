//! An endpoint with OpenAI's `POST /embeddings` (<https://platform.openai.com/docs/api-reference/embeddings/create>).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::http::{StatusCode, header};
use url::Url;

use crate::batches::batches;
use crate::error::EmbedError;
use crate::settings::Settings;

/// Maximum number of texts in one request.
const BATCH: usize = 64;
/// Maximum size of the texts in one request, in bytes.
const BATCH_BYTES: usize = 128 << 10;
/// Waits before the retries of a request, unless the endpoint asks for another wait.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// Maximum wait before a retry.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Maximum time of one request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of an answer, in bytes: 64 vectors of 4,096 numbers with 20 digits, and a reserve.
const MAX_ANSWER: u64 = 8 << 20;
/// Maximum number of dimensions: the limit of pgvector.
const MAX_DIMENSIONS: usize = 16_000;

/// An endpoint with its model.
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

/// A failure of one request.
enum RequestError {
    /// A retry can succeed, after the wait that the endpoint asked for.
    Transient(String, Option<Duration>),
    Permanent(String),
}

impl OpenAi {
    /// Returns the endpoint of `settings`. The error names the setting that is missing or invalid.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let url = settings.embed_url.as_deref().ok_or("--embedder openai needs --embed-url")?;
        let mut parsed = Url::parse(url).map_err(|error| format!("--embed-url is not a URL: {error}"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err("--embed-url must begin with http:// or https://".to_owned());
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err("--embed-url must not contain a user or password; use --embed-key-file".to_owned());
        }
        let path = format!("{}/embeddings", parsed.path().trim_end_matches('/'));
        parsed.set_path(&path);
        let model = settings.embed_model.clone().filter(|model| (1..=128).contains(&model.len()));
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            // A redirect would send the key to another host.
            .max_redirects(0)
            .build();
        Ok(Self {
            url: parsed.into(),
            model: model.ok_or("--embedder openai needs --embed-model with 1 to 128 bytes")?,
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

    /// Returns a vector for each text.
    pub(crate) fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in batches(texts.iter().map(String::len), BATCH, BATCH_BYTES) {
            vectors.extend(self.request_with_retries(&texts[batch])?);
        }
        let dimensions = vectors.first().map_or(0, Vec::len);
        if vectors.iter().any(|vector| vector.len() != dimensions) {
            return Err(self.refused("returned vectors with different numbers of dimensions".to_owned()));
        }
        Ok(vectors)
    }

    fn request_with_retries(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut result = self.request(texts);
        for wait in BACKOFF {
            let Err(RequestError::Transient(_, retry_after)) = &result else { break };
            std::thread::sleep(retry_after.unwrap_or(wait).min(MAX_WAIT));
            result = self.request(texts);
        }
        result.map_err(|error| match error {
            RequestError::Transient(problem, _) => EmbedError::Unavailable { url: self.url.clone(), problem },
            RequestError::Permanent(problem) => self.refused(problem),
        })
    }

    fn request(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, RequestError> {
        let mut request = self.agent.post(&self.url);
        if let Some(file) = &self.key_file {
            let key = fs::read_to_string(file).map_err(|error| {
                RequestError::Permanent(format!("cannot be used without its key: {}: {error}", file.display()))
            })?;
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", key.trim()));
        }
        let body = Request { model: &self.model, input: texts, encoding_format: "float" };
        let mut response =
            request.send_json(&body).map_err(|error| RequestError::Transient(error.to_string(), None))?;
        let status = response.status();
        if !status.is_success() {
            // The body can quote a text or the key, so the message omits it.
            let problem = format!("answered {status}");
            let retry_after = response.headers().get(header::RETRY_AFTER);
            let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
            let transient = status.is_server_error()
                || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
            return Err(if transient {
                RequestError::Transient(problem, retry_after)
            } else {
                RequestError::Permanent(problem)
            });
        }
        let answer = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let answer = answer.map_err(|error| RequestError::Transient(error.to_string(), None))?;
        let answer: Answer = serde_json::from_slice(&answer).map_err(|error| {
            RequestError::Permanent(format!("did not return a list of embeddings ({:?})", error.classify()))
        })?;
        in_order(answer.data, texts.len()).map_err(RequestError::Permanent)
    }

    fn refused(&self, problem: String) -> EmbedError {
        EmbedError::Refused { url: self.url.clone(), problem }
    }
}

/// Returns the vectors in the order of the texts. Each text must have one.
fn in_order(entries: Vec<Entry>, count: usize) -> Result<Vec<Vec<f32>>, String> {
    let mut vectors = vec![Vec::new(); count];
    for entry in entries {
        // A vector that is already filled means that the endpoint returned an index twice.
        let vector = vectors.get_mut(entry.index).filter(|vector| vector.is_empty());
        let vector = vector.ok_or_else(|| format!("returned an unexpected embedding for text {}", entry.index))?;
        let length: f32 = entry.embedding.iter().map(|value| value.abs()).sum();
        if !(1..=MAX_DIMENSIONS).contains(&entry.embedding.len()) || !length.is_finite() || length == 0.0 {
            return Err(format!("returned an unusable embedding for text {}", entry.index));
        }
        *vector = entry.embedding;
    }
    match vectors.iter().position(Vec::is_empty) {
        Some(missing) => Err(format!("returned no embedding for text {missing} of {count}")),
        None => Ok(vectors),
    }
}
