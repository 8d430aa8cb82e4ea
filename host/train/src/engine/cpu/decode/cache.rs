//! Keys and values of the tokens that a sample has seen, and attention of a new token over them.
//!
//! Keys lie in blocks of [`BLOCK`] tokens, turned, so that the scores of a block are sums of whole vectors: in a layer,
//! (key head, block, D, BLOCK). Values lie as they are: (key head, token, D).

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
    #[inline(always)]
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
        scores.resize(seen.next_multiple_of(BLOCK), 0.0);
        let heads = queries.chunks_exact(group).zip(out.chunks_exact_mut(group)).enumerate();
        for (head, (queries, out)) in heads {
            let start = (layer * spec.key_heads + head) * self.room * width;
            let keys = &self.keys[start..start + scores.len() * width];
            let values = &self.values[start..start + seen * width];
            for (query, out) in queries.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                for (scores, keys) in scores.chunks_exact_mut(BLOCK).zip(keys.chunks_exact(BLOCK * width)) {
                    scores.copy_from_slice(&block(query, keys));
                }
                let scale = 1.0 / (width as f32).sqrt();
                let visible = &mut scores[..seen];
                let largest = max(visible) * scale;
                let inverse = 1.0 / exp_all(visible, scale, largest);
                mix(out, visible, values, inverse);
            }
        }
    }
}

/// The products of a query with a block of keys (D, BLOCK); D is even.
#[inline(always)]
fn block(query: &[f32], keys: &[f32]) -> [f32; BLOCK] {
    // Two chains of sums, so that one addition need not wait for the one before.
    let mut sums = [[0f32; BLOCK]; 2];
    for (query, keys) in query.chunks_exact(2).zip(keys.chunks_exact(2 * BLOCK)) {
        for lane in 0..BLOCK {
            sums[0][lane] += query[0] * keys[lane];
            sums[1][lane] += query[1] * keys[BLOCK + lane];
        }
    }
    std::array::from_fn(|lane| sums[0][lane] + sums[1][lane])
}

/// out (D) = factor * sum_t weights_t values_t.
#[inline(always)]
fn mix(out: &mut [f32], weights: &[f32], values: &[f32], factor: f32) {
    let width = out.len();
    let mut done = 0;
    while done + 64 <= width {
        mix_columns::<64>(&mut out[done..done + 64], weights, values, width, done, factor);
        done += 64;
    }
    while done + 16 <= width {
        mix_columns::<16>(&mut out[done..done + 16], weights, values, width, done, factor);
        done += 16;
    }
    while done < width {
        mix_columns::<1>(&mut out[done..done + 1], weights, values, width, done, factor);
        done += 1;
    }
}

/// `W` columns of it, whose sums stay in registers.
#[inline(always)]
fn mix_columns<const W: usize>(
    out: &mut [f32],
    weights: &[f32],
    values: &[f32],
    width: usize,
    first: usize,
    factor: f32,
) {
    let mut sums = [0f32; W];
    for (&weight, value) in weights.iter().zip(values.chunks_exact(width)) {
        let value = &value[first..first + W];
        for column in 0..W {
            sums[column] += weight * value[column];
        }
    }
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum * factor);
}
