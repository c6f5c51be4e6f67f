//! The parts of the BERT encoder (Devlin et al., 2019) that sentence models need, built from candle's layers.
//!
//! candle-transformers contains BERT among a hundred other models, which all add to the build time.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear, Module as _, VarBuilder, embedding, layer_norm, linear, ops::softmax};
use serde::Deserialize;

/// The fields of a BERT model's `config.json` that define the network.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    model_type: String,
    hidden_act: String,
    vocab_size: usize,
    pub(crate) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    pub(crate) max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
}

impl Config {
    /// Checks that this implementation supports the network.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let fits = |what: &str, value: usize, most: usize| {
            let fits = (1..=most).contains(&value);
            fits.then_some(()).ok_or_else(|| format!("{what} is {value}, but must be from 1 to {most}"))
        };
        if self.model_type != "bert" || self.hidden_act != "gelu" {
            return Err(format!(
                "model_type is {:?} and hidden_act {:?}, but they must be \"bert\" and \"gelu\"",
                self.model_type, self.hidden_act
            ));
        }
        fits("vocab_size", self.vocab_size, 1 << 20)?;
        fits("hidden_size", self.hidden_size, 4096)?;
        fits("num_hidden_layers", self.num_hidden_layers, 48)?;
        fits("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        fits("intermediate_size", self.intermediate_size, 1 << 15)?;
        fits("max_position_embeddings", self.max_position_embeddings, 1 << 13)?;
        fits("type_vocab_size", self.type_vocab_size, 16)?;
        let even = self.hidden_size.is_multiple_of(self.num_attention_heads);
        even.then_some(()).ok_or_else(|| "hidden_size must be a multiple of num_attention_heads".to_owned())
    }
}

/// The network.
pub(crate) struct Bert {
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

/// Attention and two dense layers, each with a residual connection and normalisation.
struct Layer {
    heads: usize,
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: LayerNorm,
    wide: Linear,
    narrow: Linear,
    norm: LayerNorm,
}

impl Bert {
    /// Loads the weights of a `model.safetensors`.
    pub(crate) fn load(config: &Config, weights: Vec<u8>) -> Result<Self> {
        let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)?;
        let embeddings = weights.pp("embeddings");
        let table = |rows, name: &str| embedding(rows, config.hidden_size, embeddings.pp(name));
        Ok(Self {
            words: table(config.vocab_size, "word_embeddings")?,
            positions: table(config.max_position_embeddings, "position_embeddings")?,
            types: table(config.type_vocab_size, "token_type_embeddings")?,
            norm: layer_norm(config.hidden_size, config.layer_norm_eps, embeddings.pp("LayerNorm"))?,
            layers: (0..config.num_hidden_layers)
                .map(|number| Layer::load(config, &weights.pp("encoder.layer").pp(number)))
                .collect::<Result<_>>()?,
        })
    }

    /// Returns the mean of the token embeddings of each text, normalised to length 1. `ids` and `mask` have a row per text and a column
    /// per token; the mask is 0 for padding and 1 otherwise.
    pub(crate) fn embed(&self, ids: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (_, tokens) = ids.dims2()?;
        let positions = Tensor::arange(0, u32::try_from(tokens)?, &Device::Cpu)?;
        let mut states = self.words.forward(ids)?.broadcast_add(&self.positions.forward(&positions)?)?;
        // Each text is a single segment, so all tokens have type 0.
        states = states.broadcast_add(&self.types.forward(&Tensor::zeros(1, DType::U32, &Device::Cpu)?)?)?;
        states = self.norm.forward(&states)?;
        // Padding gets no attention: before the softmax, -1e9 is equivalent to minus infinity.
        let padding = mask.affine(1e9, -1e9)?.unsqueeze(1)?.unsqueeze(1)?;
        for layer in &self.layers {
            states = layer.forward(&states, &padding)?;
        }
        let mask = mask.unsqueeze(2)?;
        // The mask excludes padding from the mean; the number of tokens of a text is the sum of its mask.
        let mean = states.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)?;
        mean.broadcast_div(&mean.sqr()?.sum_keepdim(1)?.sqrt()?)
    }
}

impl Layer {
    fn load(config: &Config, weights: &VarBuilder<'_>) -> Result<Self> {
        let (size, wide, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let attention = weights.pp("attention");
        Ok(Self {
            heads: config.num_attention_heads,
            query: linear(size, size, attention.pp("self.query"))?,
            key: linear(size, size, attention.pp("self.key"))?,
            value: linear(size, size, attention.pp("self.value"))?,
            attended: linear(size, size, attention.pp("output.dense"))?,
            attended_norm: layer_norm(size, eps, attention.pp("output.LayerNorm"))?,
            wide: linear(size, wide, weights.pp("intermediate.dense"))?,
            narrow: linear(wide, size, weights.pp("output.dense"))?,
            norm: layer_norm(size, eps, weights.pp("output.LayerNorm"))?,
        })
    }

    fn forward(&self, states: &Tensor, padding: &Tensor) -> Result<Tensor> {
        let (batch, tokens, size) = states.dims3()?;
        let head = size / self.heads;
        let split = |layer: &Linear| {
            let all = layer.forward(states)?.reshape((batch, tokens, self.heads, head))?;
            all.transpose(1, 2)?.contiguous()
        };
        let (query, key, value) = (split(&self.query)?, split(&self.key)?, split(&self.value)?);
        let scale = f64::from(u32::try_from(head)?).sqrt();
        let scores = (query.matmul(&key.t()?)? / scale)?.broadcast_add(padding)?;
        let attended = softmax(&scores, D::Minus1)?.matmul(&value)?;
        let attended = attended.transpose(1, 2)?.contiguous()?.reshape((batch, tokens, size))?;
        let states = self.attended_norm.forward(&(self.attended.forward(&attended)? + states)?)?;
        let wide = self.wide.forward(&states)?.gelu_erf()?;
        self.norm.forward(&(self.narrow.forward(&wide)? + states)?)
    }
}
