//! The engine as a sampler runs it: rows of one new token, or of several, each behind what its slot has seen.
//!
//! A [`Decoder`] holds the weights, laid out for that and with adapters added; it may be shared between threads. A
//! [`Lane`] is one thread's slots and buffers. Lanes have nothing to say to each other, and within one each row's numbers
//! are its own ([`packed`]): what is sampled does not depend on how rows are spread.

mod cache;
mod packed;

use rayon::prelude::*;

use super::lanes::vectorised;
use super::matrix::Into;
use super::norm::rms_norm;
use super::rotate::{Angles, Heads, rotate};
use super::{Numbers, sized};
use crate::engine::cpu::gate::gate;
use crate::engine::{LayerSpec, Spec};
use cache::Slot;
use packed::Packed;

/// A model to sample from: its weights as they were when it was made.
pub(crate) struct Decoder<'a> {
    spec: &'a Spec,
    weights: Numbers<'a>,
    layers: Vec<Layer<'a>>,
    head: Packed,
    angles: Angles,
}

struct Layer<'a> {
    spec: &'a LayerSpec,
    qkv: Packed,
    output: Packed,
    gate_up: Packed,
    down: Packed,
}

/// One thread's samples in the making.
#[derive(Default)]
pub(crate) struct Lane {
    slots: Vec<Slot>,
    buffers: Buffers,
}

/// What a step computes; kept for the next one.
#[derive(Default)]
struct Buffers {
    x: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    rotated: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    gated: Vec<f32>,
    logits: Vec<f32>,
    turned: Vec<f32>,
    scores: Vec<f32>,
}

/// Tokens that go on where a slot stands.
pub(crate) struct Row<'a> {
    pub(crate) slot: usize,
    pub(crate) tokens: &'a [u32],
}

/// One token of a row.
struct Token {
    id: u32,
    slot: usize,
    position: usize,
}

impl<'a> Decoder<'a> {
    /// Lays the weights out; sequences may get `tokens` long.
    pub(crate) fn new(spec: &'a Spec, weights: Numbers<'a>, tokens: usize) -> Self {
        let layer = |spec: &'a LayerSpec| Layer {
            spec,
            qkv: Packed::of(&spec.qkv, weights),
            output: Packed::of(&spec.output, weights),
            gate_up: Packed::of(&spec.gate_up, weights),
            down: Packed::of(&spec.down, weights),
        };
        let (layers, head) =
            rayon::join(|| spec.layers.par_iter().map(layer).collect(), || Packed::of(&spec.head, weights));
        let mut angles = Angles::default();
        angles.reach(&spec.frequencies, tokens);
        Self { spec, weights, layers, head, angles }
    }

    /// Feeds each row its tokens. Gives the logits after the last token of each, one after another; they are the
    /// caller's to change, until the next step.
    pub(crate) fn step<'l>(&self, lane: &'l mut Lane, rows: &[Row]) -> std::slice::ChunksExactMut<'l, f32> {
        let tokens = lane.tokens(rows);
        let (spec, Lane { slots, buffers }) = (self.spec, lane);
        let (count, hidden) = (tokens.len(), spec.hidden);
        self.embed(&tokens, sized(&mut buffers.x, count * hidden));
        for (index, layer) in self.layers.iter().enumerate() {
            self.attention(index, layer, &tokens, slots, buffers);
            self.mlp(layer, count, buffers);
        }
        for row in rows {
            slots[row.slot].advance(row.tokens.len());
        }
        let ends = rows.iter().scan(0, |end, row| {
            *end += row.tokens.len();
            Some(*end - 1)
        });
        self.logits(ends, buffers);
        buffers.logits.chunks_exact_mut(spec.head.out)
    }

    fn embed(&self, tokens: &[Token], x: &mut [f32]) {
        let (hidden, table) = (self.spec.hidden, self.weights.at(&self.spec.embedding));
        for (x, token) in x.chunks_exact_mut(hidden).zip(tokens) {
            x.copy_from_slice(&table[token.id as usize * hidden..][..hidden]);
        }
    }

    fn attention(&self, index: usize, layer: &Layer, tokens: &[Token], slots: &mut [Slot], b: &mut Buffers) {
        let (spec, count) = (self.spec, tokens.len());
        let heads = Heads::of(spec, layer.spec, self.weights);
        let (queries, keys) = (spec.queries(), spec.keys());
        let normed = sized(&mut b.normed, count * spec.hidden);
        vectorised(
            #[inline(always)]
            || rms_norm(normed, &b.x, self.weights.at(&layer.spec.input_norm), spec.eps),
        );
        let qkv = sized(&mut b.qkv, count * (queries + 2 * keys));
        layer.qkv.apply(qkv, normed, Into::Fresh, &mut b.turned);
        let positions: Vec<u32> = tokens.iter().map(|token| token.position as u32).collect();
        let rotated = sized(&mut b.rotated, count * (queries + keys));
        vectorised(
            #[inline(always)]
            || rotate(rotated, qkv, &positions, heads, &self.angles),
        );
        let rows = rotated.chunks_exact(queries + keys).zip(qkv.chunks_exact(queries + 2 * keys));
        for (token, (rotated, qkv)) in tokens.iter().zip(rows) {
            slots[token.slot].put(spec, index, token.position, &rotated[queries..], &qkv[queries + keys..]);
        }
        let attended = sized(&mut b.attended, count * queries);
        let rows = rotated.chunks_exact(queries + keys).zip(attended.chunks_exact_mut(queries));
        for (token, (rotated, out)) in tokens.iter().zip(rows) {
            slots[token.slot].attend(spec, index, token.position, &rotated[..queries], out, &mut b.scores);
        }
        layer.output.apply(&mut b.x, attended, Into::Sum, &mut b.turned);
    }

    fn mlp(&self, layer: &Layer, count: usize, b: &mut Buffers) {
        let spec = self.spec;
        let normed = sized(&mut b.normed, count * spec.hidden);
        vectorised(
            #[inline(always)]
            || rms_norm(normed, &b.x, self.weights.at(&layer.spec.post_norm), spec.eps),
        );
        let gate_up = sized(&mut b.gate_up, count * 2 * spec.inner);
        layer.gate_up.apply(gate_up, normed, Into::Fresh, &mut b.turned);
        let gated = sized(&mut b.gated, count * spec.inner);
        vectorised(
            #[inline(always)]
            || gate(gated, gate_up, spec.inner),
        );
        layer.down.apply(&mut b.x, gated, Into::Sum, &mut b.turned);
    }

    fn logits(&self, ends: impl Iterator<Item = usize>, b: &mut Buffers) {
        let hidden = self.spec.hidden;
        let last: Vec<f32> = ends.flat_map(|end| &b.x[end * hidden..(end + 1) * hidden]).copied().collect();
        let normed = sized(&mut b.normed, last.len());
        vectorised(
            #[inline(always)]
            || rms_norm(normed, &last, self.weights.at(&self.spec.norm), self.spec.eps),
        );
        let logits = sized(&mut b.logits, last.len() / hidden * self.spec.head.out);
        self.head.apply(logits, normed, Into::Fresh, &mut b.turned);
    }
}

impl Lane {
    /// Empties a slot, which there may not have been before, and makes room in it.
    pub(crate) fn reset(&mut self, decoder: &Decoder, slot: usize, tokens: usize) {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, Slot::default);
        }
        self.slots[slot].reset(decoder.spec, tokens);
    }

    /// Lets a slot go on from where another stands.
    pub(crate) fn copy(&mut self, decoder: &Decoder, from: usize, to: usize) {
        if let Ok([from, to]) = self.slots.get_disjoint_mut([from, to]) {
            to.copy(from, decoder.spec);
        }
    }

    fn tokens(&self, rows: &[Row]) -> Vec<Token> {
        let row = |row: &Row| {
            let (slot, first) = (row.slot, self.slots[row.slot].length());
            let tokens = row.tokens.iter().enumerate();
            tokens.map(|(at, &id)| Token { id, slot, position: first + at }).collect::<Vec<_>>()
        };
        rows.iter().flat_map(row).collect()
    }
}
