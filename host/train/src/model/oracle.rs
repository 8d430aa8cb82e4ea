//! The same decoder in plain candle operations, differentiated by autograd: what the engine is compared with in tests.
//!
//! Only operations with a backward pass appear here: candle's fused softmax, rms-norm and rope return tensors without a
//! graph, and a model built on them trains nothing, silently. Shapes: L tokens of one sequence, H query heads, K key
//! heads, D head width.

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Result, Tensor, Var};
use std::collections::BTreeMap;

use super::{EMBEDDING, Head, ModelConfig, Parameter, Policy};
use crate::batch::Datum;

/// A policy's model over tensors of its own. Everything is tracked, frozen or not.
pub(crate) struct Oracle {
    config: ModelConfig,
    model: BTreeMap<String, Var>,
    adapter: BTreeMap<String, Var>,
    scale: f64,
}

/// x W^T (+ b) (+ s x A^T B^T).
struct Linear<'a> {
    oracle: &'a Oracle,
    name: String,
    weight: String,
}

impl Oracle {
    /// A copy of a policy.
    pub(crate) fn of(policy: &Policy) -> Self {
        let tensor = |Parameter { name, shape, values }: Parameter| {
            let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
            (name.to_owned(), Var::from_tensor(&tensor).unwrap())
        };
        let adapter = policy.adapter.as_ref();
        let scale = policy.spec.projections().flat_map(|p| &p.adapters).next().map_or(0.0, |low| low.scale);
        Self {
            config: policy.config.clone(),
            model: policy.weights.iter().map(tensor).collect(),
            adapter: adapter.map(|adapter| adapter.weights().iter().map(tensor).collect()).unwrap_or_default(),
            scale: f64::from(scale),
        }
    }

    /// What the head says (L, out) of a sequence.
    pub(crate) fn logits(&self, ids: &[u32]) -> Tensor {
        self.head(&self.hidden(ids).unwrap()).unwrap()
    }

    /// What the policy should say at each trained token of `datum` (N).
    pub(crate) fn said(&self, datum: &Datum) -> Tensor {
        let logits = self.logits(&datum.tokens);
        let trained: Vec<u32> = (1..datum.tokens.len() as u32).filter(|&at| datum.trained[at as usize]).collect();
        let places: Vec<u32> = trained.iter().map(|at| at - u32::from(self.config.head() == Head::Tokens)).collect();
        let targets: Vec<u32> = trained.iter().map(|&at| datum.tokens[at as usize]).collect();
        let index = |values: Vec<u32>| Tensor::new(values, &Device::Cpu).unwrap();
        let said = logits.index_select(&index(places), 0).unwrap();
        let column = |at: usize| said.narrow(1, at, 1).unwrap().squeeze(1).unwrap();
        match self.config.head() {
            Head::Tokens => log_probs(&said, &index(targets)).unwrap(),
            Head::Score => column(0),
            Head::Steps => (column(1) - column(0)).unwrap(),
        }
    }

    /// The gradient by a parameter of the policy.
    pub(crate) fn gradient(&self, found: &GradStore, name: &str) -> Vec<f32> {
        let var = self.adapter.get(name).or_else(|| self.model.get(name)).unwrap();
        let gradient = found.get(var).unwrap_or_else(|| panic!("parameter {name} has no gradient"));
        gradient.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn weight(&self, name: &str) -> &Tensor {
        let beside = self.adapter.get(&format!("base_model.model.{name}"));
        beside.unwrap_or_else(|| &self.model[name]).as_tensor()
    }

    fn linear(&self, name: &str) -> Linear<'_> {
        Linear { oracle: self, name: name.to_owned(), weight: format!("{name}.weight") }
    }

    fn head(&self, hidden: &Tensor) -> Result<Tensor> {
        match self.config.head() {
            Head::Tokens if self.config.tie_word_embeddings => {
                Linear { weight: EMBEDDING.into(), ..self.linear("lm_head") }.forward(hidden)
            }
            Head::Tokens => self.linear("lm_head").forward(hidden),
            Head::Score | Head::Steps => self.linear("score").forward(hidden),
        }
    }

    fn hidden(&self, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::new(ids, &Device::Cpu)?;
        let mut x = self.weight(EMBEDDING).index_select(&ids, 0)?; // (L, hidden)
        for layer in 0..self.config.num_hidden_layers {
            let at = |name: &str| format!("model.layers.{layer}.{name}");
            let norm = |x: &Tensor, name: &str| rms_norm(x, self.weight(&at(name)), self.config.rms_norm_eps);
            x = (&x + self.attention(&norm(&x, "input_layernorm.weight")?, &at("self_attn"))?)?;
            let normed = norm(&x, "post_attention_layernorm.weight")?;
            let gate = self.linear(&at("mlp.gate_proj")).forward(&normed)?.silu()?;
            let gated = (gate * self.linear(&at("mlp.up_proj")).forward(&normed)?)?;
            x = (x + self.linear(&at("mlp.down_proj")).forward(&gated)?)?;
        }
        rms_norm(&x, self.weight("model.norm.weight"), self.config.rms_norm_eps)
    }

    fn attention(&self, x: &Tensor, at: &str) -> Result<Tensor> {
        let (length, width) = (x.dim(0)?, self.config.head_dim);
        let (heads, keys) = (self.config.num_attention_heads, self.config.num_key_value_heads);
        let split = |name: &str, heads: usize| {
            self.linear(&format!("{at}.{name}"))
                .forward(x)?
                .reshape((length, heads, width))?
                .transpose(0, 1)?
                .contiguous()
        };
        let mut query = split("q_proj", heads)?; // (H, L, D)
        let mut key = split("k_proj", keys)?; // (K, L, D)
        let value = split("v_proj", keys)?; // (K, L, D)
        if self.config.model_type.normalises_heads() {
            let norm = |x: &Tensor, name: &str| {
                rms_norm(x, self.weight(&format!("{at}.{name}.weight")), self.config.rms_norm_eps)
            };
            (query, key) = (norm(&query, "q_norm")?, norm(&key, "k_norm")?);
        }
        let (cos, sin) = self.angles(length)?;
        let (query, key) = (rotate(&query, &cos, &sin)?, rotate(&key, &cos, &sin)?);
        // One key head serves H/K query heads: fold them into rows instead of repeating keys and values.
        let group = heads / keys;
        let query = query.reshape((keys, group * length, width))?;
        let scores = (query.matmul(&key.t()?)? * (1.0 / (width as f64).sqrt()))?;
        let scores = scores.reshape((keys, group, length, length))?.broadcast_add(&causal(length)?)?;
        let attended = softmax(&scores)?.reshape((keys, group * length, length))?.matmul(&value)?;
        let attended = attended.reshape((heads, length, width))?.transpose(0, 1)?;
        self.linear(&format!("{at}.o_proj")).forward(&attended.reshape((length, heads * width))?)
    }

    fn angles(&self, length: usize) -> Result<(Tensor, Tensor)> {
        let frequencies = self.config.frequencies();
        let angles: Vec<f32> = (0..length).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f)).collect();
        let angles = Tensor::from_vec(angles, (1, length, frequencies.len()), &Device::Cpu)?;
        Ok((angles.cos()?, angles.sin()?))
    }
}

impl Linear<'_> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = x.matmul(&self.oracle.weight(&self.weight).t()?)?;
        let bias = format!("{}.bias", self.name);
        if self.oracle.model.contains_key(&bias) {
            y = y.broadcast_add(self.oracle.weight(&bias))?;
        }
        let part =
            |letter: char| self.oracle.adapter.get(&format!("base_model.model.{}.lora_{letter}.weight", self.name));
        match (part('A'), part('B')) {
            (Some(a), Some(b)) => y + (x.matmul(&a.t()?)?.matmul(&b.t()?)? * self.oracle.scale)?,
            _ => Ok(y),
        }
    }
}

/// 0 where a query may look, -inf where not (1, 1, L, L).
fn causal(length: usize) -> Result<Tensor> {
    let seen = |query: usize, key: usize| if key <= query { 0.0 } else { f32::NEG_INFINITY };
    let values: Vec<f32> = (0..length).flat_map(|query| (0..length).map(move |key| seen(query, key))).collect();
    Tensor::from_vec(values, (1, 1, length, length), &Device::Cpu)
}

fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let root = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    x.broadcast_div(&root)?.broadcast_mul(weight)
}

fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (first, second) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let turned_first = (first.broadcast_mul(cos)? - second.broadcast_mul(sin)?)?;
    let turned_second = (second.broadcast_mul(cos)? + first.broadcast_mul(sin)?)?;
    Tensor::cat(&[turned_first, turned_second], D::Minus1)
}

fn softmax(x: &Tensor) -> Result<Tensor> {
    let exp = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

fn log_probs(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let normaliser = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    (shifted.gather(&targets.unsqueeze(1)?.to_dtype(DType::U32)?, 1)? - &normaliser)?.squeeze(1)
}
