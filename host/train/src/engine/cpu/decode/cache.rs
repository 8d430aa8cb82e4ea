//! Keys and values of the tokens that a sample has seen, and attention of a new token over them.
//!
//! Keys lie in blocks of [`BLOCK`] tokens, turned, so that the scores of a block are sums of whole vectors: in a layer,
//! (key head, block, D, BLOCK). Values lie as they are: (key head, token, D).

use pulp::{Arch, Simd, WithSimd};

use crate::engine::Spec;
use crate::engine::cpu::lanes::{exp_all, max};

/// Tokens of a block of keys.
const BLOCK: usize = 16;

/// Where one sample's keys and values lie; reused by the next.
#[derive(Default)]
pub(crate) struct Slot {
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Tokens it has room for, a multiple of [`BLOCK`].
    room: usize,
    /// Tokens that are in it.
    length: usize,
}

impl Slot {
    /// Empties it and makes room for so many tokens.
    pub(super) fn reset(&mut self, spec: &Spec, tokens: usize) {
        self.room = tokens.next_multiple_of(BLOCK);
        self.length = 0;
        let size = spec.layers.len() * spec.keys() * self.room;
        for buffer in [&mut self.keys, &mut self.values] {
            // Blocks that are not full are read whole: what lies behind the last token must be a number.
            buffer.clear();
            buffer.resize(size, 0.0);
        }
    }

    /// Tokens that are in it.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Takes over what another has seen.
    pub(super) fn copy(&mut self, from: &Slot, spec: &Spec) {
        let blocks = from.length.next_multiple_of(BLOCK) * spec.head_dim;
        let (mine, theirs) = (self.room * spec.head_dim, from.room * spec.head_dim);
        for head in 0..spec.layers.len() * spec.key_heads {
            self.keys[head * mine..][..blocks].copy_from_slice(&from.keys[head * theirs..][..blocks]);
            self.values[head * mine..][..blocks].copy_from_slice(&from.values[head * theirs..][..blocks]);
        }
        self.length = from.length;
    }

    /// Adds the keys and values (K D each) of the token at `position` in a layer.
    pub(super) fn put(&mut self, spec: &Spec, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let width = spec.head_dim;
        for (head, (key, value)) in keys.chunks_exact(width).zip(values.chunks_exact(width)).enumerate() {
            let start = (layer * spec.key_heads + head) * self.room * width;
            let block = &mut self.keys[start + position / BLOCK * BLOCK * width..][..BLOCK * width];
            block.iter_mut().skip(position % BLOCK).step_by(BLOCK).zip(key).for_each(|(to, from)| *to = *from);
            self.values[start + position * width..][..width].copy_from_slice(value);
        }
    }

    /// So many tokens more are in it.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.length += tokens;
    }

    /// What the heads (H D) of the query at `position` find in a layer.
    pub(super) fn attend(
        &self,
        spec: &Spec,
        layer: usize,
        position: usize,
        queries: &[f32],
        out: &mut [f32],
        scores: &mut Vec<f32>,
    ) {
        let (width, seen) = (spec.head_dim, position + 1);
        let group = spec.heads / spec.key_heads * width;
        let padded = seen.next_multiple_of(BLOCK);
        scores.resize(2 * padded, 0.0);
        let heads = queries.chunks_exact(group).zip(out.chunks_exact_mut(group)).enumerate();
        for (head, (queries, out)) in heads {
            let start = (layer * spec.key_heads + head) * self.room * width;
            let keys = &self.keys[start..start + padded * width];
            let values = &self.values[start..start + seen * width];
            // Two queries at a time: what they share is read once.
            for (queries, out) in queries.chunks(2 * width).zip(out.chunks_mut(2 * width)) {
                let scores = &mut scores[..queries.len() / width * padded];
                Arch::new().dispatch(Find { queries, keys, values, seen, width, scores, out });
            }
        }
    }
}

/// One or two queries that look at the same keys and values.
struct Find<'a> {
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    seen: usize,
    width: usize,
    scores: &'a mut [f32],
    out: &'a mut [f32],
}

impl WithSimd for Find<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.queries.len() / self.width {
            2 => self.find::<S, 2>(simd),
            _ => self.find::<S, 1>(simd),
        }
    }
}

impl Find<'_> {
    #[inline(always)]
    fn find<S: Simd, const Q: usize>(self, simd: S) {
        let Self { queries, keys, values, seen, width, scores, out } = self;
        let (padded, scale) = (scores.len() / Q, 1.0 / (width as f32).sqrt());
        for (number, keys) in keys.chunks_exact(BLOCK * width).enumerate() {
            products::<S, Q>(simd, queries, keys, width, number * BLOCK, padded, scores);
        }
        let mut factors = [0.0; Q];
        for (scores, factor) in scores.chunks_exact_mut(padded).zip(&mut factors) {
            let visible = &mut scores[..seen];
            let largest = max(visible) * scale;
            *factor = 1.0 / exp_all(visible, scale, largest);
        }
        let mut first = 0;
        while first + 4 * S::F32_LANES <= width {
            mix::<S, Q, 4>(simd, out, scores, values, (width, first), factors);
            first += 4 * S::F32_LANES;
        }
        while first + S::F32_LANES <= width {
            mix::<S, Q, 1>(simd, out, scores, values, (width, first), factors);
            first += S::F32_LANES;
        }
        for column in first..width {
            for (query, factor) in factors.iter().enumerate() {
                let weights = scores[query * padded..].iter().zip(values.chunks_exact(width));
                out[query * width + column] =
                    factor * weights.map(|(weight, value)| weight * value[column]).sum::<f32>();
            }
        }
    }
}

/// The products of the queries with a block of keys (D, BLOCK), where it belongs among the scores; D is even.
#[inline(always)]
fn products<S: Simd, const Q: usize>(
    simd: S,
    queries: &[f32],
    keys: &[f32],
    width: usize,
    at: usize,
    padded: usize,
    scores: &mut [f32],
) {
    let (keys, vectors) = (S::as_simd_f32s(keys).0, BLOCK / S::F32_LANES);
    for vector in 0..vectors {
        // Two chains of sums, so that one addition need not wait for the one before.
        let mut sums = [[simd.splat_f32s(0.0); 2]; Q];
        for (pair, keys) in keys.chunks_exact(2 * vectors).enumerate() {
            for (query, sums) in sums.iter_mut().enumerate() {
                let q = &queries[query * width + 2 * pair..query * width + 2 * pair + 2];
                sums[0] = simd.mul_add_f32s(simd.splat_f32s(q[0]), keys[vector], sums[0]);
                sums[1] = simd.mul_add_f32s(simd.splat_f32s(q[1]), keys[vectors + vector], sums[1]);
            }
        }
        for (query, sums) in sums.iter().enumerate() {
            let start = query * padded + at + vector * S::F32_LANES;
            S::as_mut_simd_f32s(&mut scores[start..start + S::F32_LANES]).0[0] = simd.add_f32s(sums[0], sums[1]);
        }
    }
}

/// `V` vectors of columns of out_q = factor_q sum_t weight_qt value_t, from column `first` of `width`.
#[inline(always)]
fn mix<S: Simd, const Q: usize, const V: usize>(
    simd: S,
    out: &mut [f32],
    weights: &[f32],
    values: &[f32],
    (width, first): (usize, usize),
    factors: [f32; Q],
) {
    let columns = first..first + V * S::F32_LANES;
    let padded = weights.len() / Q;
    let mut sums = [[simd.splat_f32s(0.0); V]; Q];
    for (at, value) in values.chunks_exact(width).enumerate() {
        let value = S::as_simd_f32s(&value[columns.clone()]).0;
        for (query, sums) in sums.iter_mut().enumerate() {
            let weight = simd.splat_f32s(weights[query * padded + at]);
            for (sum, &value) in sums.iter_mut().zip(value) {
                *sum = simd.mul_add_f32s(weight, value, *sum);
            }
        }
    }
    for ((query, sums), factor) in sums.iter().enumerate().zip(factors) {
        let out = &mut out[query * width..][columns.clone()];
        for (out, &sum) in S::as_mut_simd_f32s(out).0.iter_mut().zip(sums) {
            *out = simd.mul_f32s(sum, simd.splat_f32s(factor));
        }
    }
}
