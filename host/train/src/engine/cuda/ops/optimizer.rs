//! The gradient's norm and AdamW.

use half::bf16;

use super::{PARTIALS, THREADS, blocks};
use crate::engine::cpu::AdamStep;
use crate::engine::cuda::launch::{Launch, Ptr, arguments};

/// Partial sums that [`sum_of_squares`] leaves for a buffer.
pub(crate) fn square_partials(count: usize) -> usize {
    blocks(count).min(4 * PARTIALS)
}

/// Leaves [`square_partials`] partial sums of the squares of `x`.
pub(crate) fn sum_of_squares(partial: Ptr<f64>, x: Ptr<f32>, count: usize) -> Launch {
    Launch::new("sum_of_squares", square_partials(count), THREADS, arguments![partial, x, count as i64])
}

/// out (2) = [factor | norm] from all partial sums; `max_norm` 0 clips nothing.
pub(crate) fn clip(out: Ptr<f32>, partial: Ptr<f64>, count: usize, max_norm: f32) -> Launch {
    Launch::new("clip", 1, 1024, arguments![out, partial, count, max_norm])
}

/// The buffers of one parameter.
#[derive(Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) master: Ptr<f32>,
    pub(crate) weight: Ptr<bf16>,
    pub(crate) first: Ptr<f32>,
    pub(crate) second: Ptr<f32>,
    pub(crate) gradient: Ptr<f32>,
    pub(crate) count: usize,
}

/// One step, its gradient scaled by what [`clip`] left; `step.clip` is not looked at.
pub(crate) fn adamw(parameter: &Parameter, clipped: Ptr<f32>, step: &AdamStep) -> Launch {
    let Parameter { master, weight, first, second, gradient, count } = *parameter;
    let AdamStep { rate, kept, beta1, beta2, eps, corrections: [correction1, correction2], .. } = *step;
    let arguments = arguments![
        master,
        weight,
        first,
        second,
        gradient,
        clipped,
        count as i64,
        rate,
        kept,
        beta1,
        beta2,
        eps,
        correction1,
        correction2
    ];
    Launch::new("adamw", blocks(count), THREADS, arguments)
}
