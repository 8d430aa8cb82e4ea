//! The engine on the processor, in f32, on all cores.
//!
//! Work is cut into pieces whose number depends on the batch, never on the machine, so that the same batch gives the same
//! bits on any number of threads. Between attention and attention a piece is some tokens, which go through norm,
//! projections and gate while they are in the cache.

mod attention;
pub(crate) mod decode;
mod gate;
mod head;
mod lanes;
mod linear;
mod matrix;
mod norm;
mod optimise;
mod rotate;
mod scratch;

use rayon::prelude::*;

use super::{Device, Flow, LayerSpec, Said, Saved, Span, Spec, Store};
use crate::batch::MicroBatch;
use crate::error::Result;
use attention::{Inputs, Outputs, Shape, attend, attend_back};
use gate::{gate, gate_back};
use lanes::vectorised;
pub(crate) use linear::add_low_rank;
use linear::{add, project, project_back, shares};
use matrix::{Into, View, ViewMut};
use norm::{rms_norm, rms_norm_back};
pub(crate) use optimise::{AdamStep, adam, norm as gradient_norm};
pub(crate) use rotate::Angles;
use rotate::{Heads, rotate, rotate_back};
use scratch::scratch;

/// The numbers of a policy: the model's, and those beside it.
#[derive(Clone, Copy)]
pub(crate) struct Numbers<'a> {
    pub(crate) model: &'a [f32],
    pub(crate) adapter: &'a [f32],
}

impl<'a> Numbers<'a> {
    /// The numbers of a span.
    pub(crate) fn at(self, span: &Span) -> &'a [f32] {
        match span.store {
            Store::Model => &self.model[span.range.clone()],
            Store::Adapter => &self.adapter[span.range.clone()],
        }
    }
}

/// One pass: a model with its weights, and a batch.
pub(crate) struct Cpu<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) weights: Numbers<'a>,
    pub(crate) batch: &'a MicroBatch,
    /// Of every position in the batch.
    pub(crate) angles: &'a Angles,
}

/// What the weights of norms get from each piece, in order; nothing where they are frozen.
type Parts = Vec<Option<Vec<f32>>>;

impl Cpu<'_> {
    fn tokens(&self) -> usize {
        self.batch.ids.len()
    }

    /// Tokens of a piece: at least 16 pieces where there are enough, at most 256 tokens, which a cache holds.
    fn piece(&self) -> usize {
        self.tokens().div_ceil(8).clamp(64, 512).next_multiple_of(16)
    }

    fn shape(&self) -> Shape {
        let Spec { heads, key_heads, head_dim, .. } = *self.spec;
        Shape { heads, key_heads, head_dim }
    }

    /// Adds what the pieces found of a norm's weight to the gradient.
    fn add_parts(&self, norm: &Span, parts: Parts, into: &mut [f32]) {
        let Some(range) = self.spec.trained(norm) else { return };
        for part in parts.into_iter().flatten() {
            into[range.clone()].iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
    }

    /// Zeros for a norm's weight, if it is trained.
    fn zeros(&self, norm: &Span) -> Option<Vec<f32>> {
        self.spec.trained(norm).map(|range| vec![0.0; range.len()])
    }
}

impl Device for Cpu<'_> {
    type Buffer = Vec<f32>;
    type Gradients = Vec<f32>;

    fn embed(&self, x: &mut Vec<f32>) -> Result<()> {
        let (hidden, table) = (self.spec.hidden, self.weights.at(&self.spec.embedding));
        let rows = sized(x, self.tokens() * hidden).par_chunks_exact_mut(hidden).zip(&self.batch.ids);
        rows.for_each(|(row, &id)| row.copy_from_slice(&table[id as usize * hidden..(id as usize + 1) * hidden]));
        Ok(())
    }

    fn enter(&self, layer: &LayerSpec, saved: &mut Saved<Vec<f32>>) -> Result<()> {
        let (tokens, piece, hidden) = (self.tokens(), self.piece(), self.spec.hidden);
        let (heads, norm) = (Heads::of(self.spec, layer, self.weights), self.weights.at(&layer.input_norm));
        let qkv = sized(&mut saved.qkv, tokens * layer.qkv.out).par_chunks_mut(piece * layer.qkv.out);
        let rotated = sized(&mut saved.rotated, tokens * heads.rotated()).par_chunks_mut(piece * heads.rotated());
        let pieces =
            qkv.zip(rotated).zip(saved.x.par_chunks(piece * hidden)).zip(self.batch.positions.par_chunks(piece));
        pieces.for_each(|(((qkv, rotated), x), positions)| {
            scratch(x.len(), |normed| {
                vectorised(
                    #[inline(always)]
                    || rms_norm(normed, x, norm, self.spec.eps),
                );
                let mut rows = ViewMut::of(qkv, layer.qkv.out);
                project(&mut rows, Into::Fresh, View::of(normed, hidden), &layer.qkv, self.weights);
            });
            vectorised(
                #[inline(always)]
                || rotate(rotated, qkv, positions, heads, self.angles),
            );
        });
        Ok(())
    }

    fn attend(&self, saved: &mut Saved<Vec<f32>>) -> Result<()> {
        let tokens = self.tokens();
        let inputs = Inputs::new(&saved.rotated, &saved.qkv, self.shape());
        let log_sums = sized(&mut saved.log_sums, tokens * self.spec.heads);
        attend(sized(&mut saved.attended, tokens * self.spec.queries()), log_sums, inputs, &self.batch.segments);
        Ok(())
    }

    fn leave(&self, layer: &LayerSpec, saved: &mut Saved<Vec<f32>>, next: &mut Vec<f32>) -> Result<()> {
        let (tokens, piece, hidden, inner) = (self.tokens(), self.piece(), self.spec.hidden, self.spec.inner);
        let (norm, queries) = (self.weights.at(&layer.post_norm), self.spec.queries());
        let middle = sized(&mut saved.middle, tokens * hidden).par_chunks_mut(piece * hidden);
        let gate_up = sized(&mut saved.gate_up, tokens * 2 * inner).par_chunks_mut(piece * 2 * inner);
        let next = sized(next, tokens * hidden).par_chunks_mut(piece * hidden);
        let inputs = saved.x.par_chunks(piece * hidden).zip(saved.attended.par_chunks(piece * queries));
        let pieces = middle.zip(gate_up).zip(next).zip(inputs);
        pieces.for_each(|(((middle, gate_up), next), (x, attended))| {
            middle.copy_from_slice(x);
            let mut rows = ViewMut::of(middle, hidden);
            project(&mut rows, Into::Sum, View::of(attended, queries), &layer.output, self.weights);
            scratch(x.len(), |normed| {
                vectorised(
                    #[inline(always)]
                    || rms_norm(normed, middle, norm, self.spec.eps),
                );
                let mut rows = ViewMut::of(gate_up, 2 * inner);
                project(&mut rows, Into::Fresh, View::of(normed, hidden), &layer.gate_up, self.weights);
            });
            next.copy_from_slice(middle);
            scratch(gate_up.len() / 2, |gated| {
                vectorised(
                    #[inline(always)]
                    || gate(gated, gate_up, inner),
                );
                let mut rows = ViewMut::of(next, hidden);
                project(&mut rows, Into::Sum, View::of(gated, inner), &layer.down, self.weights);
            });
        });
        Ok(())
    }

    fn say(&self, x: &Vec<f32>, entropies: bool) -> Result<Said> {
        Ok(self.said(x, entropies))
    }

    fn say_back(&self, x: &Vec<f32>, slopes: &Said, dx: &mut Vec<f32>, into: &mut Vec<f32>) -> Result<()> {
        self.said_back(x, slopes, dx, into);
        Ok(())
    }

    fn leave_back(
        &self,
        layer: &LayerSpec,
        saved: &Saved<Vec<f32>>,
        flow: &mut Flow<Vec<f32>>,
        into: &mut Vec<f32>,
    ) -> Result<()> {
        let (tokens, piece, hidden, inner) = (self.tokens(), self.piece(), self.spec.hidden, self.spec.inner);
        let (norm, queries, eps) = (self.weights.at(&layer.post_norm), self.spec.queries(), self.spec.eps);
        let Flow { outer, middle, attended, gate_up, gated, normed, .. } = flow;
        let results = sized(middle, tokens * hidden)
            .par_chunks_mut(piece * hidden)
            .zip(sized(attended, tokens * queries).par_chunks_mut(piece * queries))
            .zip(sized(gate_up, tokens * 2 * inner).par_chunks_mut(piece * 2 * inner));
        let results = results
            .zip(sized(gated, tokens * inner).par_chunks_mut(piece * inner))
            .zip(sized(normed, tokens * hidden).par_chunks_mut(piece * hidden));
        let inputs = outer
            .par_chunks(piece * hidden)
            .zip(saved.middle.par_chunks(piece * hidden))
            .zip(saved.gate_up.par_chunks(piece * 2 * inner));
        let pieces = results.zip(inputs).map(|(results, inputs)| {
            let ((((dmiddle, dattended), dgate_up), gated), normed) = results;
            let ((dnext, middle), gate_up) = inputs;
            let dnext_rows = View::of(dnext, hidden);
            project_back(&mut ViewMut::of(gated, inner), dnext_rows, &layer.down, self.weights);
            vectorised(
                #[inline(always)]
                || gate_back(dgate_up, gated, gate_up, inner),
            );
            vectorised(
                #[inline(always)]
                || rms_norm(normed, middle, norm, eps),
            );
            dmiddle.copy_from_slice(dnext);
            let mut dnorm = self.zeros(&layer.post_norm);
            scratch(dnext.len(), |dnormed| {
                let dgate_up = View::of(dgate_up, 2 * inner);
                project_back(&mut ViewMut::of(dnormed, hidden), dgate_up, &layer.gate_up, self.weights);
                vectorised(
                    #[inline(always)]
                    || rms_norm_back(dmiddle, middle, norm, dnormed, eps, dnorm.as_deref_mut()),
                );
            });
            let dattended = &mut ViewMut::of(dattended, queries);
            project_back(dattended, View::of(dmiddle, hidden), &layer.output, self.weights);
            dnorm
        });
        let norms: Parts = pieces.collect();
        self.add_parts(&layer.post_norm, norms, into);
        let share = |p, dy, x| shares(self.spec, p, self.weights, dy, x);
        let mut all = share(&layer.down, View::of(outer, hidden), View::of(gated, inner));
        all.extend(share(&layer.gate_up, View::of(gate_up, 2 * inner), View::of(normed, hidden)));
        all.extend(share(&layer.output, View::of(middle, hidden), View::of(&saved.attended, queries)));
        add(all, into);
        Ok(())
    }

    fn attend_back(&self, saved: &Saved<Vec<f32>>, flow: &mut Flow<Vec<f32>>) -> Result<()> {
        let inputs = Inputs::new(&saved.rotated, &saved.qkv, self.shape());
        let outputs = Outputs { attended: &saved.attended, log_sums: &saved.log_sums, gradient: &flow.attended };
        attend_back(sized(&mut flow.qkv, saved.qkv.len()), inputs, outputs, &self.batch.segments);
        Ok(())
    }

    fn enter_back(
        &self,
        layer: &LayerSpec,
        saved: &Saved<Vec<f32>>,
        flow: &mut Flow<Vec<f32>>,
        into: &mut Vec<f32>,
    ) -> Result<()> {
        let (piece, hidden, width) = (self.piece(), self.spec.hidden, layer.qkv.out);
        let (norm, heads, eps) =
            (self.weights.at(&layer.input_norm), Heads::of(self.spec, layer, self.weights), self.spec.eps);
        let Flow { outer, middle, qkv, normed, .. } = flow;
        let results = outer
            .par_chunks_mut(piece * hidden)
            .zip(qkv.par_chunks_mut(piece * width))
            .zip(normed.par_chunks_mut(piece * hidden));
        let inputs = middle
            .par_chunks(piece * hidden)
            .zip(saved.x.par_chunks(piece * hidden))
            .zip(saved.qkv.par_chunks(piece * width))
            .zip(self.batch.positions.par_chunks(piece));
        let pieces = results.zip(inputs).map(|(results, inputs)| {
            let ((dx, dqkv), normed) = results;
            let (((dmiddle, x), qkv), positions) = inputs;
            let mut dheads = layer
                .head_norms
                .as_ref()
                .and_then(|[query, key]| Some([self.zeros(query)?, self.zeros(key)?].concat()));
            vectorised(
                #[inline(always)]
                || rotate_back(dqkv, qkv, positions, heads, self.angles, dheads.as_deref_mut()),
            );
            vectorised(
                #[inline(always)]
                || rms_norm(normed, x, norm, eps),
            );
            dx.copy_from_slice(dmiddle);
            let mut dnorm = self.zeros(&layer.input_norm);
            scratch(x.len(), |dnormed| {
                project_back(&mut ViewMut::of(dnormed, hidden), View::of(dqkv, width), &layer.qkv, self.weights);
                vectorised(
                    #[inline(always)]
                    || rms_norm_back(dx, x, norm, dnormed, eps, dnorm.as_deref_mut()),
                );
            });
            (dnorm, dheads)
        });
        let (norms, dheads): (Parts, Parts) = pieces.collect::<Vec<_>>().into_iter().unzip();
        self.add_parts(&layer.input_norm, norms, into);
        if let Some([query, key]) = &layer.head_norms {
            let halves = dheads.into_iter().map(|both| both.map(|mut query| (query.split_off(heads.width), query)));
            let (keys, queries): (Parts, Parts) = halves.map(Option::unzip).unzip();
            self.add_parts(query, queries, into);
            self.add_parts(key, keys, into);
        }
        add(shares(self.spec, &layer.qkv, self.weights, View::of(qkv, width), View::of(normed, hidden)), into);
        Ok(())
    }

    fn embed_back(&self, dx: &Vec<f32>, into: &mut Vec<f32>) -> Result<()> {
        let Some(range) = self.spec.trained(&self.spec.embedding) else { return Ok(()) };
        let (hidden, table) = (self.spec.hidden, &mut into[range]);
        for (dx, &id) in dx.chunks_exact(hidden).zip(&self.batch.ids) {
            let row = &mut table[id as usize * hidden..(id as usize + 1) * hidden];
            row.iter_mut().zip(dx).for_each(|(sum, value)| *sum += value);
        }
        Ok(())
    }
}

/// The largest logit.
pub(crate) fn largest(logits: &[f32]) -> f32 {
    vectorised(
        #[inline(always)]
        || lanes::max(logits),
    )
}

/// Fills `out` with `exp(scale z_j - shift)` and returns their sum.
pub(crate) fn exponentials(out: &mut Vec<f32>, logits: &[f32], scale: f32, shift: f32) -> f32 {
    out.clear();
    out.extend_from_slice(logits);
    vectorised(
        #[inline(always)]
        || lanes::exp_all(out, scale, shift),
    )
}

/// The sum of some numbers.
pub(crate) fn total(numbers: &[f32]) -> f32 {
    vectorised(
        #[inline(always)]
        || lanes::sum(numbers),
    )
}

/// A buffer of exactly so many numbers, which may be anything.
fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}
