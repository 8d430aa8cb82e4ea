//! AdamW (Loshchilov and Hutter 2019) over flat weights, and the gradient's norm, on all cores.

use rayon::prelude::*;

use super::lanes::vectorised;

/// Numbers of a piece.
const PIECE: usize = 1 << 14;

/// One step's constants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamStep {
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) eps: f32,
    pub(crate) rate: f32,
    /// What is left of a weight before it moves: 1 - rate * weight_decay, or 1.
    pub(crate) kept: f32,
    /// 1 - beta1^n and 1 - beta2^n at step n.
    pub(crate) corrections: [f32; 2],
    /// Factor on the gradient.
    pub(crate) clip: f32,
}

/// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w = kept w - rate (m / c1) / (sqrt(v / c2) + eps).
pub(crate) fn adam(weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32], step: AdamStep) {
    let moments = first.par_chunks_mut(PIECE).zip(second.par_chunks_mut(PIECE));
    let pieces = weights.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE)).zip(moments);
    pieces.for_each(|((weights, gradient), (first, second))| {
        vectorised(
            #[inline(always)]
            || piece(weights, gradient, first, second, step),
        )
    });
}

#[inline(always)]
fn piece(weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32], step: AdamStep) {
    let AdamStep { beta1, beta2, eps, rate, kept, corrections: [c1, c2], clip } = step;
    let moments = first.iter_mut().zip(second);
    for ((weight, gradient), (first, second)) in weights.iter_mut().zip(gradient).zip(moments) {
        let gradient = gradient * clip;
        *first = beta1 * *first + (1.0 - beta1) * gradient;
        *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
        *weight = *weight * kept - rate * (*first / c1) / ((*second / c2).sqrt() + eps);
    }
}

/// The Euclidean norm, summed in f64.
pub(crate) fn norm(values: &[f32]) -> f64 {
    let square = |piece: &[f32]| piece.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
    let squares: Vec<f64> = values.par_chunks(PIECE).map(square).collect();
    squares.into_iter().sum::<f64>().sqrt()
}
