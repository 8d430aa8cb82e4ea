//! The shape of a decoder, read from and written as Hugging Face `config.json`, in the shape of transformers 4 or 5. Keys
//! that do not matter here are kept, so that what is written is what was read but for what training changed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

use super::files;
use super::rope::Rope;
use crate::error::{Error, Result};

/// Which decoder: they share every line of it but for these flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Qwen3: queries and keys are normalised per head.
    Qwen3,
    /// Qwen2 and Qwen2.5: queries, keys and values have biases.
    Qwen2,
    /// Llama 2 and 3, and what else took their shape.
    Llama,
}

impl Family {
    /// Whether each head's query and key go through a norm of their own.
    pub fn normalises_heads(self) -> bool {
        self == Self::Qwen3
    }

    /// Whether queries, keys and values have a bias.
    pub fn has_bias(self) -> bool {
        self == Self::Qwen2
    }

    fn named(name: &str) -> std::result::Result<Self, String> {
        serde_json::from_value(name.into())
            .map_err(|_| format!("model_type \"{name}\" is not supported; \"qwen3\", \"qwen2\" and \"llama\" are"))
    }
}

/// One token id or several, as configs write those that end a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenIds {
    /// One.
    One(u32),
    /// Several.
    Many(Vec<u32>),
}

impl TokenIds {
    /// All of them.
    pub fn ids(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

/// Shape of a decoder; field names and meanings are those of Hugging Face `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Architecture.
    pub model_type: Family,
    /// Class name that transformers looks up.
    #[serde(default)]
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
    /// Width of one head; where a file leaves it out, `hidden_size / num_attention_heads`.
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
    /// Bias on all attention projections; unsupported, unlike the biases that Qwen2 always has.
    #[serde(default)]
    pub attention_bias: bool,
    /// Tokens that end a generation.
    #[serde(default)]
    pub eos_token_id: Option<TokenIds>,
    /// Wave lengths of the rotary embedding.
    #[serde(flatten)]
    pub rope: Rope,
    /// Every other key.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Far beyond any model, and small enough that no product of two overflows.
const SIZE_MAX: usize = 1 << 24;
const LAYERS_MAX: usize = 1000;

impl ModelConfig {
    /// The preset that learns arithmetic in a minute on two cores: 4 heads of 16 over a width of 64, tied head.
    pub fn tiny(vocab_size: usize, eos_token_id: u32) -> Self {
        Self {
            model_type: Family::Qwen3,
            architectures: vec!["Qwen3ForCausalLM".into()],
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
            eos_token_id: Some(TokenIds::One(eos_token_id)),
            rope: Rope::plain(10_000.0),
            more: Map::new(),
        }
    }

    /// Reads `config.json` and refuses what the decoder would silently compute wrong.
    pub fn read(file: &Path) -> Result<Self> {
        Self::parse(&files::read_text(file)?).map_err(|message| Error::model(file, message))
    }

    /// Writes `config.json` for weights in f32.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let mut config = self.clone();
        for key in ["dtype", "torch_dtype"] {
            config.more.entry(key).and_modify(|dtype| *dtype = "float32".into());
        }
        let text = serde_json::to_string_pretty(&config).map_err(|e| Error::model(file, e.to_string()))?;
        std::fs::write(file, text + "\n").map_err(Error::io("write", file))
    }

    /// Angle per position of each rotated pair of a head.
    pub(crate) fn frequencies(&self) -> Vec<f32> {
        self.rope.frequencies(self.head_dim)
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut json: Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let Some(Value::String(name)) = json.get("model_type") else {
            return Err("there is no `model_type`; this is not the config.json of a Hugging Face model".into());
        };
        let family = Family::named(name)?;
        let is_absent = |key: &str| json.get(key).is_none_or(Value::is_null);
        let size = |key: &str| json.get(key).and_then(Value::as_u64);
        // What transformers computes where a file is silent; published Qwen2 and Llama models are.
        let mut implied = vec![];
        if is_absent("head_dim")
            && let (Some(hidden), Some(heads @ 1..)) = (size("hidden_size"), size("num_attention_heads"))
        {
            implied.push(("head_dim", hidden / heads));
        }
        if is_absent("num_key_value_heads")
            && family == Family::Llama
            && let Some(heads) = size("num_attention_heads")
        {
            implied.push(("num_key_value_heads", heads));
        }
        json.extend(implied.into_iter().map(|(key, value)| (key.to_owned(), value.into())));
        let mut config: Self = serde_json::from_value(Value::Object(json)).map_err(|e| e.to_string())?;
        config.check()?;
        config.rope.settle()?;
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let sizes = [
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.head_dim,
            self.max_position_embeddings,
        ];
        if let Some(what) = self.unsupported() {
            return Err(format!("{what} is not supported; models without it are"));
        }
        match () {
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

    /// What the model has and the decoder does not compute.
    fn unsupported(&self) -> Option<String> {
        let is_set = |key: &str| self.more.get(key).is_some_and(|value| !value.is_null() && value != false);
        let layers = self.more.get("layer_types").and_then(Value::as_array).into_iter().flatten();
        let odd_layer = layers.into_iter().find(|kind| *kind != "full_attention");
        match () {
            () if self.attention_bias && !self.model_type.has_bias() => Some("attention_bias".into()),
            () if is_set("mlp_bias") => Some("mlp_bias".into()),
            () if is_set("use_sliding_window") => Some("use_sliding_window".into()),
            () if is_set("quantization_config") => Some("a quantized model (`quantization_config`)".into()),
            () if self.hidden_act != "silu" => Some(format!("hidden_act \"{}\"", self.hidden_act)),
            () => odd_layer.map(|kind| format!("a layer of type {kind}")),
        }
    }
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
