//! Tensors of a model under Hugging Face names and in a fixed order: what the optimizer walks, what a checkpoint stores.
//! Ordered so that sums over parameters (the gradient norm) are the same in every run.

use candle_core::{DType, Device, Tensor, Var};
use rand_distr::{Distribution, Normal};
use std::collections::BTreeMap;
use std::path::Path;

use super::config::ModelConfig;
use super::files;
use super::head::Head;
use crate::error::{Error, Result};
use crate::seed::{self, Purpose};

/// Tensors by Hugging Face name. Cheap to borrow, expensive to copy.
#[derive(Debug)]
pub struct Weights(BTreeMap<String, Var>);

impl Weights {
    /// Random weights: normal with the config's `initializer_range`, norms at one, biases at zero. Each tensor draws from
    /// its own stream, so adding a parameter never changes the others.
    pub fn random(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self> {
        let normal = Normal::new(0.0, config.initializer_range as f32)
            .map_err(|e| Error::config("initializer_range", e.to_string()))?;
        let draw = |(index, (name, shape)): (usize, (String, Vec<usize>))| {
            let count = shape.iter().product();
            let values: Vec<f32> = match shape.len() {
                1 if name.ends_with(".bias") => vec![0.0; count],
                1 => vec![1.0; count],
                _ => normal.sample_iter(seed::generator(seed, Purpose::Weights, &[index as u64])).take(count).collect(),
            };
            Ok((name, Var::from_tensor(&Tensor::from_vec(values, shape, device)?)?))
        };
        parameter_shapes(config).into_iter().enumerate().map(draw).collect::<Result<_>>().map(Self)
    }

    /// Reads the tensors of a model folder in f32 and checks that they are exactly those, with the shapes, of `config`.
    pub fn read(folder: &Path, config: &ModelConfig, device: &Device) -> Result<Self> {
        let mut found = files::read_model(folder, device)?;
        if config.tie_word_embeddings || config.head() != Head::Tokens {
            found.remove("lm_head.weight"); // some exporters write the tied copy, and some that of a reward model's base
        }
        found.retain(|name, _| !name.ends_with(".rotary_emb.inv_freq")); // older ones write what is computed
        let mut weights = BTreeMap::new();
        for (name, shape) in parameter_shapes(config) {
            let tensor =
                found.remove(&name).ok_or_else(|| Error::model(folder, format!("tensor {name} is missing")))?;
            if tensor.dims() != shape {
                let message = format!("tensor {name} has shape {:?}, config.json says {shape:?}", tensor.dims());
                return Err(Error::model(folder, message));
            }
            weights.insert(name, tensor);
        }
        match found.keys().next() {
            Some(name) => Err(Error::model(folder, format!("tensor {name} does not belong to this architecture"))),
            None => Self::of(weights),
        }
    }

    /// Writes the tensors into a model folder.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        files::write_model(folder, &self.tensors())
    }

    /// Variables that start with the values of `tensors`.
    pub(super) fn of(tensors: BTreeMap<String, Tensor>) -> Result<Self> {
        let variable = |(name, tensor)| Ok((name, Var::from_tensor(&tensor)?));
        tensors.into_iter().map(variable).collect::<Result<_>>().map(Self)
    }

    /// The trunk of a model of this shape under a head that says 0 of everything, or whatever it said before.
    pub(super) fn under(&self, config: &ModelConfig, device: &Device) -> Result<Self> {
        let one = |(name, shape): (String, Vec<usize>)| {
            let tensor = match self.get(&name) {
                Some(tensor) if tensor.dims() == shape => tensor,
                _ => Tensor::zeros(shape, DType::F32, device)?,
            };
            Ok((name, tensor))
        };
        Self::of(parameter_shapes(config).into_iter().map(one).collect::<Result<_>>()?)
    }

    /// All tensors; they share the variables' memory.
    pub(super) fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.0.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
    }

    /// The tensor called `name`, with its gradient tracked. Panics on a name the architecture does not have: a bug.
    pub fn tracked(&self, name: &str) -> Tensor {
        self.get(name).unwrap_or_else(|| panic!("no parameter {name}"))
    }

    /// The same, where there is one.
    pub(super) fn get(&self, name: &str) -> Option<Tensor> {
        self.0.get(name).map(|var| var.as_tensor().clone())
    }

    /// The variables in their fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.0.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// Number of scalars.
    pub fn count(&self) -> usize {
        self.0.values().map(|var| var.elem_count()).sum()
    }
}

/// Name and shape of every parameter that `config` asks for. Their order is part of what a seed means: see
/// [`Weights::random`].
pub(super) fn parameter_shapes(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (queries, keys) = (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![config.vocab_size, hidden])];
    let (has_norms, has_bias) = (config.model_type.normalises_heads(), config.model_type.has_bias());
    for layer in 0..config.num_hidden_layers {
        let per_layer = [
            ("input_layernorm.weight", vec![hidden], true),
            ("self_attn.q_proj.weight", vec![queries, hidden], true),
            ("self_attn.k_proj.weight", vec![keys, hidden], true),
            ("self_attn.v_proj.weight", vec![keys, hidden], true),
            ("self_attn.q_norm.weight", vec![config.head_dim], has_norms),
            ("self_attn.k_norm.weight", vec![config.head_dim], has_norms),
            ("self_attn.o_proj.weight", vec![hidden, queries], true),
            ("post_attention_layernorm.weight", vec![hidden], true),
            ("mlp.gate_proj.weight", vec![inner, hidden], true),
            ("mlp.up_proj.weight", vec![inner, hidden], true),
            ("mlp.down_proj.weight", vec![hidden, inner], true),
            ("self_attn.q_proj.bias", vec![queries], has_bias),
            ("self_attn.k_proj.bias", vec![keys], has_bias),
            ("self_attn.v_proj.bias", vec![keys], has_bias),
        ];
        let there = per_layer.into_iter().filter(|(_, _, is_there)| *is_there);
        shapes.extend(there.map(|(name, shape, _)| (format!("model.layers.{layer}.{name}"), shape)));
    }
    shapes.push(("model.norm.weight".to_owned(), vec![hidden]));
    match config.head() {
        Head::Tokens if config.tie_word_embeddings => {}
        Head::Tokens => shapes.push(("lm_head.weight".to_owned(), vec![config.vocab_size, hidden])),
        head => shapes.extend(head.shapes(hidden).into_iter().map(|(name, shape)| (name.to_owned(), shape))),
    }
    shapes
}
