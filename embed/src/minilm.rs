//! A sentence model in this process: all-MiniLM-L6-v2, or another BERT with the same three files.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokenizers::{Tokenizer, TruncationParams};

use crate::batches::batches;
use crate::bert::{Bert, Config};
use crate::error::EmbedError;

/// Maximum number of tokens of a text: the model was trained with it (`max_seq_length` of all-MiniLM-L6-v2).
const MAX_TOKENS: usize = 256;
/// Number of texts in one forward pass.
const BATCH: usize = 16;
/// Maximum size of the weights, in bytes. Those of all-MiniLM-L6-v2 have 91 MB.
const MAX_WEIGHTS: u64 = 2 << 30;
/// Maximum size of each other file, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// A loaded model.
pub(crate) struct MiniLm {
    folder: PathBuf,
    name: String,
    tokenizer: Tokenizer,
    /// Locked for each batch: a batch uses all cores, and several at once multiply the memory.
    network: Mutex<Bert>,
}

impl fmt::Debug for MiniLm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiniLm").field("name", &self.name).field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl MiniLm {
    /// Loads the model in `folder`. The error names the file and the problem.
    pub(crate) fn load(folder: &Path) -> Result<Self, String> {
        let wrong = |file: &str, problem: &dyn fmt::Display| format!("{}: {problem}", folder.join(file).display());
        if !folder.is_dir() {
            return Err(format!("the folder {} does not exist; mount the model there", folder.display()));
        }
        let config = read(folder, "config.json", MAX_FILE)?;
        let config: Config = serde_json::from_slice(&config).map_err(|error| wrong("config.json", &error))?;
        config.check().map_err(|problem| wrong("config.json", &problem))?;
        let tokenizer = read(folder, "tokenizer.json", MAX_FILE)?;
        let mut tokenizer = Tokenizer::from_bytes(tokenizer).map_err(|error| wrong("tokenizer.json", &error))?;
        let max_length = MAX_TOKENS.min(config.max_position_embeddings);
        // The file can configure padding to a fixed length; `embed` pads each batch to its longest text instead.
        tokenizer
            .with_padding(None)
            .with_truncation(Some(TruncationParams { max_length, ..TruncationParams::default() }))
            .map_err(|error| wrong("tokenizer.json", &error))?;
        let weights = read(folder, "model.safetensors", MAX_WEIGHTS)?;
        // Other weights under the same name give vectors that are not comparable, so the name includes a digest of the weights.
        let digest: String = Sha256::digest(&weights).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let network = Bert::load(&config, weights).map_err(|error| wrong("model.safetensors", &error))?;
        let model = folder.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: format!("{model}@{digest}"),
            folder: folder.to_owned(),
            tokenizer,
            network: Mutex::new(network),
        })
    }

    /// Returns the name of the folder and the digest of the weights.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns a vector for each text.
    pub(crate) fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let failed = |problem: String| EmbedError::Model { path: self.folder.display().to_string(), problem };
        let mut tokens = Vec::with_capacity(texts.len());
        for text in texts {
            let encoding =
                self.tokenizer.encode_fast(text.as_str(), true).map_err(|error| failed(error.to_string()))?;
            tokens.push(encoding.get_ids().to_vec());
        }
        // Batches texts of similar length, so that they need little padding.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|at| tokens[*at].len());
        let mut vectors = vec![Vec::new(); texts.len()];
        for batch in batches(order.iter().map(|at| tokens[*at].len()), BATCH, BATCH * MAX_TOKENS) {
            let batch = &order[batch];
            let rows: Vec<&[u32]> = batch.iter().map(|at| tokens[*at].as_slice()).collect();
            let embedded = embed(&self.network.lock(), &rows).map_err(|error| failed(error.to_string()))?;
            for (at, vector) in batch.iter().zip(embedded) {
                vectors[*at] = vector;
            }
        }
        Ok(vectors)
    }
}

/// Returns a vector for each row of tokens.
fn embed(network: &Bert, rows: &[&[u32]]) -> candle_core::Result<Vec<Vec<f32>>> {
    let width = rows.iter().map(|row| row.len()).max().unwrap_or_default().max(1);
    let mut ids = Vec::with_capacity(rows.len() * width);
    let mut mask = Vec::with_capacity(rows.len() * width);
    for row in rows {
        ids.extend(row.iter().copied().chain(std::iter::repeat(0)).take(width));
        mask.extend((0..width).map(|at| if at < row.len() { 1.0_f32 } else { 0.0 }));
    }
    let ids = Tensor::from_vec(ids, (rows.len(), width), &Device::Cpu)?;
    let mask = Tensor::from_vec(mask, (rows.len(), width), &Device::Cpu)?;
    network.embed(&ids, &mask)?.to_vec2()
}

fn read(folder: &Path, file: &str, max: u64) -> Result<Vec<u8>, String> {
    let path = folder.join(file);
    let wrong = |problem: &dyn fmt::Display| format!("{}: {problem}", path.display());
    let size = fs::metadata(&path).map_err(|error| wrong(&error))?.len();
    if size > max {
        return Err(wrong(&format!("has {size} bytes, more than the maximum of {max}")));
    }
    fs::read(&path).map_err(|error| wrong(&error))
}
