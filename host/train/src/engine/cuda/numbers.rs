//! A policy's weights on the device: all in bf16, which computes, and what is trained in f32 too, which is updated.

use std::ops::Range;
use std::sync::Arc;

use half::bf16;
use half::slice::HalfFloatSliceExt;

use super::launch::Ptr;
use super::machine::{Machine, Memory, read};
use crate::engine::cpu;
use crate::engine::{Span, Spec, Store};
use crate::error::{Error, Result};

/// Both stores of a policy. Memory: 2 bytes per number, and 4 more of those that are trained.
pub(crate) struct Numbers {
    model: Memory,
    adapter: Memory,
    masters: Memory,
    /// Numbers in the model and beside it.
    counts: [usize; 2],
    /// Which of them are trained.
    store: Store,
}

impl Numbers {
    /// Copies a policy's numbers to the device; refuses a model whose rows cannot be loaded 16 bytes at a time.
    pub(crate) fn new(machine: &Arc<dyn Machine>, spec: &Spec, numbers: cpu::Numbers) -> Result<Self> {
        check(spec)?;
        let trained = if spec.trained == Store::Model { numbers.model } else { numbers.adapter };
        Ok(Self {
            model: Memory::of(machine, &rounded(numbers.model))?,
            adapter: Memory::of(machine, &rounded(numbers.adapter))?,
            masters: Memory::of(machine, trained)?,
            counts: [numbers.model.len(), numbers.adapter.len()],
            store: spec.trained,
        })
    }

    /// The numbers of a span, to compute with.
    pub(crate) fn at(&self, span: &Span) -> Ptr<bf16> {
        self.of(span.store).at(span.range.start)
    }

    /// A part of an adapter.
    pub(crate) fn beside(&self, range: &Range<usize>) -> Ptr<bf16> {
        self.adapter.ptr::<bf16>().at(range.start)
    }

    /// What is trained, in bf16 and in f32, and how much it is.
    pub(crate) fn trained(&self) -> (Ptr<bf16>, Ptr<f32>, usize) {
        (self.of(self.store), self.masters.ptr(), self.count())
    }

    /// Numbers that are trained.
    pub(crate) fn count(&self) -> usize {
        self.counts[usize::from(self.store == Store::Adapter)]
    }

    /// What is trained, as it is now.
    pub(crate) fn read_trained(&self, machine: &dyn Machine) -> Result<Vec<f32>> {
        read(machine, self.masters.ptr(), self.count())
    }

    /// Bytes of such a copy.
    pub(crate) fn copy_bytes(&self) -> usize {
        self.counts.iter().sum::<usize>() * size_of::<bf16>()
    }

    /// A copy to compute with, of which nothing is trained.
    pub(crate) fn copied(&self, machine: &Arc<dyn Machine>) -> Result<Self> {
        let copy = |from: &Memory, count: usize| {
            let mut to = Memory::default();
            let start = to.sized::<bf16>(machine, count)?;
            machine.copy(start.address, from.ptr::<bf16>().address, count * size_of::<bf16>())?;
            Ok::<Memory, Error>(to)
        };
        let [model, adapter] = self.counts;
        Ok(Self {
            model: copy(&self.model, model)?,
            adapter: copy(&self.adapter, adapter)?,
            masters: Memory::default(),
            counts: self.counts,
            store: self.store,
        })
    }

    fn of(&self, store: Store) -> Ptr<bf16> {
        match store {
            Store::Model => self.model.ptr(),
            Store::Adapter => self.adapter.ptr(),
        }
    }
}

fn rounded(values: &[f32]) -> Vec<bf16> {
    let mut rounded = vec![bf16::ZERO; values.len()];
    rounded.convert_from_f32_slice(values);
    rounded
}

/// Whether the kernels can compute a model of these sizes.
fn check(spec: &Spec) -> Result<()> {
    let refuse = |what: String| Err(Error::Gpu(format!("{what}; train this model on the CPU")));
    if ![64, 128].contains(&spec.head_dim) {
        return refuse(format!("attention has kernels for heads of 64 and 128 numbers, not of {}", spec.head_dim));
    }
    for (what, width) in [("hidden_size", spec.hidden), ("intermediate_size", spec.inner)] {
        if width % 8 != 0 {
            return refuse(format!("{what} is {width}, and rows are loaded 8 numbers at a time"));
        }
    }
    let norms = spec.layers.iter().flat_map(|layer| {
        let heads = layer.head_norms.iter().flatten();
        let biases = layer.qkv.bias.iter();
        [&layer.input_norm, &layer.post_norm].into_iter().chain(heads).chain(biases)
    });
    let aligned = norms.chain([&spec.norm, &spec.embedding]).all(|span| span.range.start % 8 == 0);
    if aligned { Ok(()) } else { refuse("the model's vectors do not lie 16 bytes apart".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cuda::emulator::Emulated;
    use crate::model::{ModelConfig, Policy};

    #[test]
    fn a_model_that_the_kernels_cannot_compute_is_refused() {
        let Some(machine) = Emulated::machine() else { return };
        let check = |config: ModelConfig, expected: &str| {
            let policy = Policy::random(config, 1).unwrap();
            let Err(error) = Numbers::new(&machine, policy.spec(), policy.numbers()) else { panic!("{expected}") };
            assert!(error.to_string().contains(expected), "{error}");
        };
        let tiny = ModelConfig { head_dim: 64, ..ModelConfig::tiny(64, 2) };
        check(ModelConfig { head_dim: 32, ..tiny.clone() }, "heads of 64 and 128 numbers, not of 32");
        check(ModelConfig { hidden_size: 36, ..tiny }, "hidden_size is 36");
    }
}
