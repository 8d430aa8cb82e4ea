//! The buffers of a decoder's passes over rows.

use std::sync::Arc;

use half::bf16;

use crate::engine::Spec;
use crate::engine::cuda::machine::{Machine, Memory};
use crate::engine::cuda::ops::{self, Heads};
use crate::engine::cuda::project::Narrow;
use crate::error::Result;

/// What a pass over rows computes.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) table: Memory,
    pub(super) x: Memory,
    pub(super) normed: Memory,
    pub(super) qkv: Memory,
    pub(super) attended: Memory,
    pub(super) log_sums: Memory,
    pub(super) partial: Memory,
    pub(super) gate_up: Memory,
    pub(super) gated: Memory,
    pub(super) logits: Memory,
    pub(super) narrow: Narrow,
}

impl Buffers {
    /// Room for `rows` rows; those of a step get logits, and attend to slots.
    pub(super) fn reserve(
        &mut self,
        machine: &Arc<dyn Machine>,
        spec: &Spec,
        rows: usize,
        is_step: bool,
    ) -> Result<()> {
        self.table.sized::<f32>(machine, rows * spec.head_dim)?;
        for (memory, width) in [
            (&mut self.x, spec.hidden),
            (&mut self.normed, spec.hidden),
            (&mut self.qkv, spec.queries() + 2 * spec.keys()),
            (&mut self.attended, spec.queries()),
            (&mut self.gate_up, 2 * spec.inner),
            (&mut self.gated, spec.inner),
        ] {
            memory.sized::<bf16>(machine, rows * width)?;
        }
        self.log_sums.sized::<f32>(machine, rows * spec.heads)?;
        if is_step {
            self.logits.sized::<f32>(machine, rows * stride(spec))?;
            // A tied head keeps its adapter. Recorded graphs hold all these addresses.
            let rank = spec.head.adapters.iter().map(|low| low.rank).max().unwrap_or(0);
            self.narrow.rows.sized::<bf16>(machine, rows * rank)?;
            let partials = (0..=rows.ilog2()).map(|power| {
                let splits = ops::decode_splits(1 << power, heads(spec), machine.processors());
                ops::decode_partial_len(1 << power, heads(spec), splits)
            });
            self.partial.sized::<f32>(machine, partials.max().unwrap_or(0))?;
        }
        Ok(())
    }
}

pub(super) fn heads(spec: &Spec) -> Heads {
    Heads { queries: spec.heads, keys: spec.key_heads, width: spec.head_dim }
}

/// Numbers from one row of logits to the next.
pub(super) fn stride(spec: &Spec) -> usize {
    spec.head.out.next_multiple_of(8)
}
