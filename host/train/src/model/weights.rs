//! The trainable tensors of a model, under Hugging Face names and in a fixed order: what the optimizer walks, what a
//! checkpoint stores. Ordered so that sums over parameters (the gradient norm) are the same in every run.

use candle_core::{DType, Device, Tensor, Var};
use rand_distr::{Distribution, Normal};
use std::collections::BTreeMap;
use std::path::Path;

use super::config::ModelConfig;
use crate::error::{Error, Result};
use crate::seed::{self, Purpose};

/// Trainable tensors by Hugging Face name. Cheap to borrow, expensive to copy; one per policy.
#[derive(Debug)]
pub struct Weights(BTreeMap<String, Var>);

impl Weights {
    /// Random weights: normal with the config's `initializer_range`, norms at one. Each tensor draws from its own
    /// stream, so adding a parameter never changes the others.
    pub fn random(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self> {
        let normal = Normal::new(0.0, config.initializer_range as f32)
            .map_err(|e| Error::config("initializer_range", e.to_string()))?;
        let draw = |(index, (name, shape)): (usize, (String, Vec<usize>))| {
            let count = shape.iter().product();
            let values: Vec<f32> = if shape.len() == 1 {
                vec![1.0; count]
            } else {
                normal.sample_iter(seed::generator(seed, Purpose::Weights, &[index as u64])).take(count).collect()
            };
            Ok((name, Var::from_tensor(&Tensor::from_vec(values, shape, device)?)?))
        };
        parameter_shapes(config).into_iter().enumerate().map(draw).collect::<Result<_>>().map(Self)
    }

    /// Reads one safetensors file in f32 and checks that it holds exactly the tensors, with the shapes, of `config`.
    pub fn read(file: &Path, config: &ModelConfig, device: &Device) -> Result<Self> {
        if !file.is_file() {
            return Err(Error::model(file, "no such file; sharded and non-safetensors weights are not supported yet"));
        }
        let mut found = candle_core::safetensors::load(file, device).map_err(|e| Error::model(file, e.to_string()))?;
        if config.tie_word_embeddings {
            found.remove("lm_head.weight"); // some exporters write the tied copy
        }
        let mut weights = BTreeMap::new();
        for (name, shape) in parameter_shapes(config) {
            let tensor = found.remove(&name).ok_or_else(|| Error::model(file, format!("tensor {name} is missing")))?;
            if tensor.dims() != shape {
                let message = format!("tensor {name} has shape {:?}, config.json says {shape:?}", tensor.dims());
                return Err(Error::model(file, message));
            }
            weights.insert(name, Var::from_tensor(&tensor.to_dtype(DType::F32)?)?);
        }
        match found.keys().min() {
            Some(name) => Err(Error::model(file, format!("tensor {name} does not belong to this architecture"))),
            None => Ok(Self(weights)),
        }
    }

    /// Writes one safetensors file. Not atomic: callers write into a folder that is not yet in its place.
    pub fn write(&self, file: &Path) -> Result<()> {
        let tensors = self.0.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        candle_core::safetensors::save::<String, _>(&tensors, file).map_err(|e| Error::model(file, e.to_string()))
    }

    /// The tensor called `name`, with its gradient tracked. Panics on a name the architecture does not have: a bug.
    pub fn tracked(&self, name: &str) -> Tensor {
        self.0.get(name).unwrap_or_else(|| panic!("no parameter {name}")).as_tensor().clone()
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

/// Name and shape of every parameter that `config` asks for.
fn parameter_shapes(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (queries, keys) = (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![config.vocab_size, hidden])];
    for layer in 0..config.num_hidden_layers {
        let per_layer = [
            ("input_layernorm", vec![hidden]),
            ("self_attn.q_proj", vec![queries, hidden]),
            ("self_attn.k_proj", vec![keys, hidden]),
            ("self_attn.v_proj", vec![keys, hidden]),
            ("self_attn.q_norm", vec![config.head_dim]),
            ("self_attn.k_norm", vec![config.head_dim]),
            ("self_attn.o_proj", vec![hidden, queries]),
            ("post_attention_layernorm", vec![hidden]),
            ("mlp.gate_proj", vec![inner, hidden]),
            ("mlp.up_proj", vec![inner, hidden]),
            ("mlp.down_proj", vec![hidden, inner]),
        ];
        shapes.extend(per_layer.map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape)));
    }
    shapes.push(("model.norm.weight".to_owned(), vec![hidden]));
    if !config.tie_word_embeddings {
        shapes.push(("lm_head.weight".to_owned(), vec![config.vocab_size, hidden]));
    }
    shapes
}
