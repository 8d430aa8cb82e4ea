//! The numbers of a model: one buffer, cut into tensors with Hugging Face names. What the engine computes with, what the
//! optimizer walks, what a checkpoint stores.
//!
//! The tensors lie in the order of the architecture, not of their names, so that matrices with one input - query, key and
//! value; gate and up - are neighbours and one product computes them all.

use rand_distr::{Distribution, Normal};
use safetensors::{Dtype, View};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::config::ModelConfig;
use super::files::{self, Array};
use super::head::Head;
use crate::error::{Error, Result};
use crate::seed::{self, Purpose};

/// The embedding, which a tied head shares.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";

/// Tensors in one buffer of f32. Cheap to borrow, expensive to copy.
#[derive(Clone, Debug)]
pub struct Weights {
    places: Vec<Place>,
    by_name: BTreeMap<String, usize>,
    values: Vec<f32>,
}

#[derive(Clone, Debug)]
struct Place {
    name: String,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// One tensor of some weights, by rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter<'a> {
    /// Its Hugging Face name.
    pub name: &'a str,
    /// Its dimensions.
    pub shape: &'a [usize],
    /// Its numbers.
    pub values: &'a [f32],
}

impl Weights {
    /// Random weights: normal with the config's `initializer_range`, norms at one, biases at zero. Each tensor draws from
    /// its own stream, so adding a parameter never changes the others.
    pub fn random(config: &ModelConfig, seed: u64) -> Result<Self> {
        let normal = Normal::new(0.0, config.initializer_range as f32)
            .map_err(|e| Error::config("initializer_range", e.to_string()))?;
        let draw = |(index, (name, shape)): (usize, (String, Vec<usize>))| {
            let count = shape.iter().product();
            let values: Vec<f32> = match shape.len() {
                1 if name.ends_with(".bias") => vec![0.0; count],
                1 => vec![1.0; count],
                _ => normal.sample_iter(seed::generator(seed, Purpose::Weights, &[index as u64])).take(count).collect(),
            };
            (name, Array { shape, values })
        };
        Ok(Self::of(parameter_shapes(config).into_iter().enumerate().map(draw)))
    }

    /// Reads the tensors of a model folder in f32 and checks that they are exactly those, with the shapes, of `config`.
    pub fn read(folder: &Path, config: &ModelConfig) -> Result<Self> {
        let mut found = files::read_model(folder)?;
        if config.tie_word_embeddings || config.head() != Head::Tokens {
            found.remove("lm_head.weight"); // some exporters write the tied copy, and some that of a reward model's base
        }
        found.retain(|name, _| !name.ends_with(".rotary_emb.inv_freq")); // older ones write what is computed
        let mut arrays = vec![];
        for (name, shape) in parameter_shapes(config) {
            let array = found.remove(&name).ok_or_else(|| Error::model(folder, format!("tensor {name} is missing")))?;
            if array.shape != shape {
                let message = format!("tensor {name} has shape {:?}, config.json says {shape:?}", array.shape);
                return Err(Error::model(folder, message));
            }
            arrays.push((name, array));
        }
        match found.keys().next() {
            Some(name) => Err(Error::model(folder, format!("tensor {name} does not belong to this architecture"))),
            None => Ok(Self::of(arrays)),
        }
    }

    /// Writes the tensors into a model folder.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        files::write_model(folder, &self.by_name())
    }

    /// Weights of these tensors, in their order.
    pub(super) fn of(arrays: impl IntoIterator<Item = (String, Array)>) -> Self {
        let (mut places, mut values) = (vec![], vec![]);
        for (name, array) in arrays {
            let start = values.len();
            values.extend(array.values);
            places.push(Place { name, shape: array.shape, range: start..values.len() });
        }
        let by_name = places.iter().enumerate().map(|(index, place)| (place.name.clone(), index)).collect();
        Self { places, by_name, values }
    }

    /// The same tensors with other numbers.
    pub(super) fn with_values(&self, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), self.values.len(), "as many numbers as there were");
        Self { places: self.places.clone(), by_name: self.by_name.clone(), values }
    }

    /// The trunk of a model of this shape under a head that says 0 of everything, or whatever it said before.
    pub(super) fn under(&self, config: &ModelConfig) -> Self {
        let one = |(name, shape): (String, Vec<usize>)| {
            let array = match self.get(&name) {
                Some(known) if known.shape == shape => Array { shape, values: known.values.to_vec() },
                _ => Array { values: vec![0.0; shape.iter().product()], shape },
            };
            (name, array)
        };
        Self::of(parameter_shapes(config).into_iter().map(one))
    }

    /// The tensor called `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<Parameter<'_>> {
        self.by_name.get(name).map(|&index| self.parameter(&self.places[index]))
    }

    /// Where the tensor called `name` lies in the buffer.
    pub(crate) fn range(&self, name: &str) -> Option<Range<usize>> {
        self.by_name.get(name).map(|&index| self.places[index].range.clone())
    }

    /// All tensors in their fixed order.
    pub fn iter(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.places.iter().map(|place| self.parameter(place))
    }

    /// All numbers, tensor after tensor.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The same to change.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Number of scalars.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// All tensors by name, as files hold them.
    pub(super) fn by_name(&self) -> BTreeMap<String, Parameter<'_>> {
        self.iter().map(|parameter| (parameter.name.to_owned(), parameter)).collect()
    }

    fn parameter<'a>(&'a self, place: &'a Place) -> Parameter<'a> {
        Parameter { name: &place.name, shape: &place.shape, values: &self.values[place.range.clone()] }
    }
}

impl View for Parameter<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match cfg!(target_endian = "little") {
            true => bytemuck::cast_slice(self.values).into(),
            false => self.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into(),
        }
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// Name and shape of every parameter that `config` asks for. Their order is part of what a seed means: see
/// [`Weights::random`].
pub(super) fn parameter_shapes(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (queries, keys) = (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
    let mut shapes = vec![(EMBEDDING.to_owned(), vec![config.vocab_size, hidden])];
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
