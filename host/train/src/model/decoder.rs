//! The decoder of the Llama line in plain candle operations, differentiated by autograd. Families differ by flags: Qwen3
//! normalises queries and keys per head, Qwen2 has biases on them.
//!
//! Only operations with a backward pass appear here: candle's fused softmax, rms-norm and rope return tensors without a
//! graph, and a model built on them trains nothing, silently. A faster engine may come beside this one; this one stays
//! as its oracle. Shapes: B rows, L new tokens, T tokens seen so far, H query heads, K key heads, D head width.

use candle_core::{D, Device, Result, Tensor};

use super::config::ModelConfig;
use super::head::Head;
use super::linear::{Linear, LowRank};
use crate::batch::{MicroBatch, Packing};

/// The layers over one set of weights. Cheap: it holds references to the tensors, not copies.
pub(crate) struct Decoder {
    config: ModelConfig,
    embedding: Tensor, // (V, hidden)
    layers: Vec<Layer>,
    norm: Tensor,
    head: Linear,
    frequencies: Vec<f32>, // D/2
}

struct Layer {
    input_norm: Tensor,
    query: Linear,
    key: Linear,
    value: Linear,
    /// Of a query's and of a key's head, where the family has them.
    head_norms: Option<(Tensor, Tensor)>,
    output: Linear,
    post_norm: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// Keys and values of the tokens seen so far, one pair per layer, each (B, K, T, D).
#[derive(Clone)]
pub(crate) struct KvCache(Vec<Option<(Tensor, Tensor)>>);

/// What a forward pass needs to know about the positions of its tokens.
pub(crate) struct Positions {
    cos: Tensor,  // (B, 1, L, D/2)
    sin: Tensor,  // (B, 1, L, D/2)
    mask: Tensor, // broadcasts to (B, K, H/K, L, T): 0 where a query may look, -inf where not
}

impl Decoder {
    /// Builds the layers; `weight` gives the tensor of a Hugging Face name, `adapter` what a layer has beside its own.
    pub(crate) fn new(
        config: &ModelConfig,
        weight: impl Fn(&str) -> Tensor,
        adapter: impl Fn(&str) -> Option<LowRank>,
    ) -> Self {
        let family = config.model_type;
        let linear = |name: &str, has_bias: bool| Linear {
            weight: weight(&format!("{name}.weight")),
            bias: has_bias.then(|| weight(&format!("{name}.bias"))),
            adapter: adapter(name),
        };
        let layer = |index: usize| {
            let at = |name: &str| format!("model.layers.{index}.{name}");
            let norm = |name: &str| weight(&at(&format!("{name}.weight")));
            let head_norms = || (norm("self_attn.q_norm"), norm("self_attn.k_norm"));
            Layer {
                input_norm: norm("input_layernorm"),
                query: linear(&at("self_attn.q_proj"), family.has_bias()),
                key: linear(&at("self_attn.k_proj"), family.has_bias()),
                value: linear(&at("self_attn.v_proj"), family.has_bias()),
                head_norms: family.normalises_heads().then(head_norms),
                output: linear(&at("self_attn.o_proj"), false),
                post_norm: norm("post_attention_layernorm"),
                gate: linear(&at("mlp.gate_proj"), false),
                up: linear(&at("mlp.up_proj"), false),
                down: linear(&at("mlp.down_proj"), false),
            }
        };
        let embedding = weight("model.embed_tokens.weight");
        let tied = || Linear { weight: embedding.clone(), bias: None, adapter: adapter("lm_head") };
        let head = match config.head() {
            Head::Tokens if config.tie_word_embeddings => tied(),
            Head::Tokens => linear("lm_head", false),
            Head::Score => linear("score", false),
            Head::Steps => linear("score", true),
        };
        Self {
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            norm: weight("model.norm.weight"),
            frequencies: config.frequencies(),
            config: config.clone(),
            embedding,
            head,
        }
    }

    /// Final hidden states (B, L, hidden) of `ids` (B, L), all tokens new and positions counted from 0. Rows are padded
    /// on the right: with causal attention no real token sees the padding.
    pub(crate) fn hidden(&self, ids: &Tensor) -> Result<Tensor> {
        let (rows, length) = ids.dims2()?;
        let positions: Vec<u32> = (0..rows).flat_map(|_| 0..length as u32).collect();
        let causal = (0..length).flat_map(|query| (0..length).map(move |key| key <= query));
        let positions = self.positions(&positions, (rows, length), mask((1, length, length), causal, ids.device())?)?;
        self.forward(ids, &positions, None)
    }

    /// The same where rows hold several sequences, each with positions of its own, none of which sees another.
    fn packed(&self, ids: &Tensor, packing: &Packing) -> Result<Tensor> {
        let (rows, length) = ids.dims2()?;
        let visible = packing.sequences.chunks(length.max(1)).flat_map(|row| {
            (0..length).flat_map(move |query| (0..length).map(move |key| key <= query && row[key] == row[query]))
        });
        let mask = mask((rows, length, length), visible, ids.device())?;
        self.forward(ids, &self.positions(&packing.positions, (rows, length), mask)?, None)
    }

    /// Final hidden states (B, L, hidden) of `ids`, which continue the sequences in `cache`.
    pub(crate) fn extend(&self, ids: &Tensor, positions: &Positions, cache: &mut KvCache) -> Result<Tensor> {
        self.forward(ids, positions, Some(cache))
    }

    /// Logits (.., V) of hidden states (.., hidden).
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.forward(hidden)
    }

    /// Log-probabilities (N) of a batch's trained tokens and, if asked, the entropies (N) of the distributions they were
    /// predicted from. Of a reward model, what it says of each (N): its score, or the log-odds that the step is right. Only
    /// the places asked for go through the head.
    pub(crate) fn predict(&self, batch: &MicroBatch, entropies: bool) -> crate::Result<(Tensor, Option<Tensor>)> {
        let head = self.config.head();
        let places = if head == Head::Tokens { &batch.places } else { &batch.ends };
        let hidden = match &batch.packing {
            Some(packing) => self.packed(&batch.ids, packing)?,
            None => self.hidden(&batch.ids)?,
        };
        let hidden = hidden.flatten_to(1)?.index_select(places, 0)?; // (N, hidden)
        let said = self.logits(&hidden)?; // (N, V), (N, 1) or (N, 2)
        match head {
            Head::Tokens => Ok(log_probs(&said, &batch.targets, entropies)?),
            Head::Score => Ok((said.squeeze(1)?, None)),
            Head::Steps => Ok(((said.narrow(1, 1, 1)? - said.narrow(1, 0, 1)?)?.squeeze(1)?, None)),
        }
    }

    /// Rotary tables for the positions `at` (B x L, row by row) and a mask from [`mask`].
    pub(crate) fn positions(&self, at: &[u32], (rows, length): (usize, usize), mask: Tensor) -> Result<Positions> {
        let half = self.frequencies.len();
        let angles: Vec<f32> = at.iter().flat_map(|&p| self.frequencies.iter().map(move |f| p as f32 * f)).collect();
        let angles = Tensor::from_vec(angles, (rows, 1, length, half), mask.device())?;
        Ok(Positions { cos: angles.cos()?, sin: angles.sin()?, mask })
    }

    fn forward(&self, ids: &Tensor, positions: &Positions, mut cache: Option<&mut KvCache>) -> Result<Tensor> {
        let (rows, length) = ids.dims2()?;
        let mut x = self.embedding.index_select(&ids.flatten_all()?, 0)?.reshape((rows, length, ()))?;
        for (index, layer) in self.layers.iter().enumerate() {
            let past = cache.as_deref_mut().map(|cache| &mut cache.0[index]);
            let normed = rms_norm(&x, &layer.input_norm, self.config.rms_norm_eps)?;
            x = (x + self.attention(layer, &normed, positions, past)?)?;
            let normed = rms_norm(&x, &layer.post_norm, self.config.rms_norm_eps)?;
            let gated = (layer.gate.forward(&normed)?.silu()? * layer.up.forward(&normed)?)?;
            x = (x + layer.down.forward(&gated)?)?;
        }
        rms_norm(&x, &self.norm, self.config.rms_norm_eps)
    }

    fn attention(
        &self,
        layer: &Layer,
        x: &Tensor,
        positions: &Positions,
        past: Option<&mut Option<(Tensor, Tensor)>>,
    ) -> Result<Tensor> {
        let (rows, length, _) = x.dims3()?;
        let (heads, keys) = (self.config.num_attention_heads, self.config.num_key_value_heads);
        let (eps, width) = (self.config.rms_norm_eps, self.config.head_dim);
        let split = |x: Tensor, heads: usize| x.reshape((rows, length, heads, width))?.transpose(1, 2)?.contiguous();

        let mut query = split(layer.query.forward(x)?, heads)?; // (B, H, L, D)
        let mut key = split(layer.key.forward(x)?, keys)?; // (B, K, L, D)
        let mut value = split(layer.value.forward(x)?, keys)?; // (B, K, L, D)
        if let Some((query_norm, key_norm)) = &layer.head_norms {
            query = rms_norm(&query, query_norm, eps)?;
            key = rms_norm(&key, key_norm, eps)?;
        }
        let query = rotate(&query, positions)?;
        let mut key = rotate(&key, positions)?;
        if let Some(past) = past {
            if let Some((past_key, past_value)) = past.take() {
                key = Tensor::cat(&[past_key, key], 2)?;
                value = Tensor::cat(&[past_value, value], 2)?;
            }
            *past = Some((key.clone(), value.clone()));
        }

        // One key head serves H/K query heads: fold them into rows instead of repeating keys and values.
        let (group, total) = (heads / keys, key.dim(2)?);
        let query = query.reshape((rows, keys, group * length, width))?;
        let scores = (query.matmul(&key.t()?)? * (1.0 / (width as f64).sqrt()))?;
        let scores = scores.reshape((rows, keys, group, length, total))?.broadcast_add(&positions.mask)?;
        let attended = softmax(&scores)?.reshape((rows, keys, group * length, total))?.matmul(&value)?;
        let attended = attended.reshape((rows, heads, length, width))?.transpose(1, 2)?;
        layer.output.forward(&attended.reshape((rows, length, heads * width))?)
    }
}

impl KvCache {
    /// An empty cache for a model of `layers` layers.
    pub(crate) fn new(layers: usize) -> Self {
        Self(vec![None; layers])
    }

    /// The rows numbered by `rows` (u32), in that order; a row may be named several times.
    pub(crate) fn select(&self, rows: &Tensor) -> Result<Self> {
        let pick = |pair: &Option<(Tensor, Tensor)>| match pair {
            Some((key, value)) => Ok(Some((key.index_select(rows, 0)?, value.index_select(rows, 0)?))),
            None => Ok(None),
        };
        self.0.iter().map(pick).collect::<Result<_>>().map(Self)
    }
}

/// An additive attention mask (B, 1, 1, L, T) from B x L x T answers to "may this query see this key?".
pub(crate) fn mask(
    (rows, queries, keys): (usize, usize, usize),
    visible: impl Iterator<Item = bool>,
    device: &Device,
) -> Result<Tensor> {
    let values: Vec<f32> = visible.map(|seen| if seen { 0.0 } else { f32::NEG_INFINITY }).collect();
    Tensor::from_vec(values, (rows, 1, 1, queries, keys), device)
}

/// x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019), over the last dimension.
fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let root = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    x.broadcast_div(&root)?.broadcast_mul(weight)
}

/// Rotates the two halves of each head by the position's angles (Su et al. 2021, in the half-split layout of Llama).
fn rotate(x: &Tensor, positions: &Positions) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (first, second) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let turned_first = (first.broadcast_mul(&positions.cos)? - second.broadcast_mul(&positions.sin)?)?;
    let turned_second = (second.broadcast_mul(&positions.cos)? + first.broadcast_mul(&positions.sin)?)?;
    Tensor::cat(&[turned_first, turned_second], D::Minus1)
}

/// Softmax over the last dimension. The maximum is detached: its gradient is zero in exact arithmetic, and costs a pass.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let exp = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

/// Log-probabilities (N) of `targets` (N, u32) under `logits` (N, V) and, if asked, the entropies (N) of the rows.
fn log_probs(logits: &Tensor, targets: &Tensor, entropies: bool) -> Result<(Tensor, Option<Tensor>)> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let normaliser = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let log_probs = (shifted.gather(&targets.unsqueeze(1)?, 1)? - &normaliser)?.squeeze(1)?;
    let entropy = || {
        let all = shifted.broadcast_sub(&normaliser)?; // (N, V)
        (all.exp()? * all)?.sum(D::Minus1)?.neg()
    };
    Ok((log_probs, entropies.then(entropy).transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Fixture {
        head: Head,
    }

    #[derive(Deserialize)]
    struct Head {
        logits: Vec<Vec<f32>>,
        targets: Vec<u32>,
        weights: Vec<f32>,
        entropy_weights: Vec<f32>,
        log_probs: Vec<f32>,
        entropies: Vec<f32>,
        slopes: Vec<Vec<f32>>,
    }

    #[track_caller]
    fn close(got: &Tensor, want: &[f32]) {
        let got: Vec<f32> = got.flatten_all().unwrap().to_vec1().unwrap();
        assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-5), "{got:?}, not {want:?}");
    }

    /// Log-probabilities, entropies and the gradient of a mixture of both (fixtures/make_losses.py).
    #[test]
    fn the_head_equals_pytorch() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/losses.json");
        let Fixture { head } = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let logits = Var::from_tensor(&Tensor::new(head.logits, &Device::Cpu).unwrap()).unwrap();
        let targets = Tensor::new(head.targets, &Device::Cpu).unwrap();
        let (log_probs, entropies) = log_probs(&logits, &targets, true).unwrap();
        let entropies = entropies.unwrap();
        close(&log_probs, &head.log_probs);
        close(&entropies, &head.entropies);
        let weighted =
            (log_probs * tensor(&head.weights)).unwrap() + (entropies * tensor(&head.entropy_weights)).unwrap();
        let gradients = weighted.unwrap().sum_all().unwrap().backward().unwrap();
        close(gradients.get(&logits).unwrap(), &head.slopes.concat());
    }
}
