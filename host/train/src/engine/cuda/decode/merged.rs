//! The weights that a decoder samples with: the policy's own, or, under adapters, a copy to which they are added once.

use std::ops::Deref;
use std::sync::Arc;

use crate::engine::cuda::machine::{Machine, Matrix, Product, Target};
use crate::engine::cuda::numbers::Numbers;
use crate::engine::{Projection, Spec};
use crate::error::Result;

/// The policy's own numbers, or a copy with its adapters added.
pub(super) enum Weights<'a> {
    Own(&'a Numbers),
    Merged(Numbers),
}

impl Deref for Weights<'_> {
    type Target = Numbers;

    fn deref(&self) -> &Numbers {
        match self {
            Self::Own(numbers) => numbers,
            Self::Merged(numbers) => numbers,
        }
    }
}

impl<'a> Weights<'a> {
    /// What to sample with, and the spec of that, which has no adapters any more.
    pub(super) fn new(machine: &Arc<dyn Machine>, spec: &mut Spec, numbers: &'a Numbers) -> Result<Self> {
        Ok(if is_adapted(spec) { Self::Merged(numbers.merged(machine, spec)?) } else { Self::Own(numbers) })
    }
}

/// Whether anything lies beside the weights that they are sampled with.
fn is_adapted(spec: &Spec) -> bool {
    spec.projections().any(|projection| !projection.adapters.is_empty())
}

/// Bytes that a decoder takes for weights of its own.
pub(super) fn copy_bytes(spec: &Spec, numbers: &Numbers) -> usize {
    if is_adapted(spec) { numbers.copy_bytes() } else { 0 }
}

/// Every projection of a model, to be changed.
fn projections_mut(spec: &mut Spec) -> impl Iterator<Item = &mut Projection> {
    let layers = spec.layers.iter_mut();
    let of_layers = layers.flat_map(|layer| [&mut layer.qkv, &mut layer.output, &mut layer.gate_up, &mut layer.down]);
    of_layers.chain([&mut spec.head])
}

impl Numbers {
    /// A copy with the adapters added, which `spec` then no longer has. An adapter on a tied head stays: the embedding is
    /// the same matrix without it.
    fn merged(&self, machine: &Arc<dyn Machine>, spec: &mut Spec) -> Result<Self> {
        let (merged, embedding) = (self.copied(machine)?, spec.embedding.clone());
        for projection in projections_mut(spec).filter(|projection| projection.weight != embedding) {
            let whole = Matrix::new(merged.at(&projection.weight), projection.width);
            for low in projection.adapters.drain(..) {
                machine.multiply(&Product {
                    target: Target::Bf16(whole.below(low.columns.start)),
                    left: Matrix::new(self.beside(&low.b), low.rank),
                    left_turned: false,
                    right: Matrix::new(self.beside(&low.a), projection.width),
                    right_turned: false,
                    rows: low.columns.len(),
                    columns: projection.width,
                    inner: low.rank,
                    scale: low.scale,
                    adds: true,
                })?;
            }
        }
        Ok(merged)
    }
}
