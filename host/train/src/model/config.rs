//! The shape of a decoder, read from and written as Hugging Face `config.json`. transformers 5 moved `rope_theta` under
//! `rope_parameters`; both places are read, and both are written so that either version loads what we trained.

use serde::{Deserialize, Serialize};
use std::path::Path;

use crate::error::{Error, Result};

/// Shape of a Qwen3 decoder; field names and meanings are those of Hugging Face `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Architecture; only `qwen3` for now.
    pub model_type: String,
    /// Class name that transformers looks up.
    #[serde(default = "architectures")]
    pub architectures: Vec<String>,
    /// Number of tokens, rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the gated MLP.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; each serves `num_attention_heads / num_key_value_heads` query heads.
    pub num_key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Longest sequence the model is meant for.
    #[serde(default = "max_position_embeddings")]
    pub max_position_embeddings: usize,
    /// Added to the mean square before its root is taken.
    #[serde(default = "rms_norm_eps")]
    pub rms_norm_eps: f64,
    /// Whether the head shares the embedding's weights.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Standard deviation of initial weights.
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
    /// Activation of the gated MLP.
    #[serde(default = "hidden_act")]
    pub hidden_act: String,
    /// Bias on the attention projections; Qwen3 has none.
    #[serde(default)]
    pub attention_bias: bool,
    /// Token that ends a generation.
    #[serde(default)]
    pub eos_token_id: Option<u32>,
    /// Wave length base of the rotary embedding (transformers 4 place).
    #[serde(default)]
    pub rope_theta: Option<f64>,
    /// The same, where transformers 5 keeps it.
    #[serde(default)]
    pub rope_parameters: Option<RopeParameters>,
    /// Rope scaling of older files; must be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<serde_json::Value>,
}

/// Far beyond any model, and small enough that no product of two overflows.
const SIZE_MAX: usize = 1 << 24;
const LAYERS_MAX: usize = 1000;

/// Rotary embedding as transformers 5 writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RopeParameters {
    /// Wave length base.
    pub rope_theta: f64,
    /// Scaling scheme; only `default` (none) for now.
    #[serde(default = "rope_type")]
    pub rope_type: String,
}

impl ModelConfig {
    /// The preset that learns arithmetic in a minute on two cores: 4 heads of 16 over a width of 64, tied head.
    pub fn tiny(vocab_size: usize, eos_token_id: u32) -> Self {
        let rope_theta = 10_000.0;
        Self {
            model_type: "qwen3".into(),
            architectures: architectures(),
            vocab_size,
            hidden_size: 64,
            intermediate_size: 192,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 16,
            max_position_embeddings: 1024,
            rms_norm_eps: rms_norm_eps(),
            tie_word_embeddings: true,
            initializer_range: 0.05,
            hidden_act: hidden_act(),
            attention_bias: false,
            eos_token_id: Some(eos_token_id),
            rope_theta: Some(rope_theta),
            rope_parameters: Some(RopeParameters { rope_theta, rope_type: rope_type() }),
            rope_scaling: None,
        }
    }

    /// Reads `config.json` and refuses what the decoder would silently compute wrong.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(Error::io("read", file))?;
        let config: Self = serde_json::from_str(&text).map_err(|e| Error::model(file, e.to_string()))?;
        config.check().map_err(|message| Error::model(file, message))?;
        Ok(config)
    }

    /// Base of the rotary wave lengths.
    pub fn theta(&self) -> f64 {
        self.rope_theta.or(self.rope_parameters.as_ref().map(|r| r.rope_theta)).unwrap_or(1e6)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let scaled =
            self.rope_parameters.as_ref().is_some_and(|r| r.rope_type != "default") || self.rope_scaling.is_some();
        let sizes = [
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.head_dim,
            self.max_position_embeddings,
        ];
        let refuse = |what: &str| Err(format!("{what} is not supported yet; Qwen3 models without it are"));
        match () {
            () if self.model_type != "qwen3" => refuse(&format!("model_type \"{}\"", self.model_type)),
            () if scaled => refuse("rope scaling"),
            () if self.attention_bias => refuse("attention_bias"),
            () if self.hidden_act != "silu" => refuse(&format!("hidden_act \"{}\"", self.hidden_act)),
            () if self.num_key_value_heads == 0
                || !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) =>
            {
                Err("num_attention_heads must be a multiple of num_key_value_heads".into())
            }
            () if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) => Err("head_dim must be even".into()),
            () if sizes.contains(&0) => Err("every size must be at least 1".into()),
            () if sizes.iter().any(|&size| size > SIZE_MAX) || self.num_hidden_layers > LAYERS_MAX => {
                Err(format!("no size may exceed {SIZE_MAX}, no model may have over {LAYERS_MAX} layers"))
            }
            () => Ok(()),
        }
    }
}

fn architectures() -> Vec<String> {
    vec!["Qwen3ForCausalLM".into()]
}
fn max_position_embeddings() -> usize {
    32_768
}
fn rms_norm_eps() -> f64 {
    1e-6
}
fn initializer_range() -> f64 {
    0.02
}
fn hidden_act() -> String {
    "silu".into()
}
fn rope_type() -> String {
    "default".into()
}
