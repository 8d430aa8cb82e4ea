//! Causal attention of each sequence by itself, one key head for H/K query heads (Ainslie et al. 2023), in tiles of
//! [`TILE`] queries whose scores are never kept (Dao et al. 2022, FlashAttention): o = p v with p = softmax(s q k^T),
//! s = 1 / sqrt(D).
//!
//! Only the logarithm of each softmax's denominator is. Backwards, with d = rowsum(do * o):
//! dv = p^T do, ds = p * (do v^T - d) s, dq = ds k, dk = ds^T q.

use std::ops::Range;

use rayon::prelude::*;

use super::lanes::{dot, exp, exp_all, max, vectorised};
use super::matrix::{Into, View, ViewMut, product};
use super::scratch::scratch;

/// Queries at a time.
const TILE: usize = 64;

/// Heads of a row of queries, keys and values.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) heads: usize,
    pub(super) key_heads: usize,
    pub(super) head_dim: usize,
}

impl Shape {
    fn queries(self) -> usize {
        self.heads * self.head_dim
    }

    fn keys(self) -> usize {
        self.key_heads * self.head_dim
    }

    /// Query heads that share a key head.
    fn group(self) -> usize {
        self.heads / self.key_heads
    }

    /// Columns of the query head `head`.
    fn query(self, head: usize) -> Range<usize> {
        head * self.head_dim..(head + 1) * self.head_dim
    }

    /// Columns of the key head `head` in a row of queries and keys, and in one that goes on with values.
    fn key(self, head: usize) -> Range<usize> {
        self.query(self.heads + head)
    }

    fn value(self, head: usize) -> Range<usize> {
        self.query(self.heads + self.key_heads + head)
    }

    fn scale(self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

/// What attention reads.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    /// Queries and keys, rotated (T, (H + K) D).
    rotated: View<'a>,
    /// The same with values, of which only those are read (T, (H + 2K) D).
    qkv: View<'a>,
    shape: Shape,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(rotated: &'a [f32], qkv: &'a [f32], shape: Shape) -> Self {
        let width = shape.queries() + shape.keys();
        Self { rotated: View::of(rotated, width), qkv: View::of(qkv, width + shape.keys()), shape }
    }
}

/// o (T, H D), and the log-sums (T, H).
pub(super) fn attend(out: &mut [f32], log_sums: &mut [f32], inputs: Inputs, sequences: &[Range<usize>]) {
    let tiles: Vec<(usize, Range<usize>)> = sequences.iter().flat_map(tiles).collect();
    let (mut outs, mut sums) = (vec![], vec![]);
    let mut rest = (ViewMut::of(out, inputs.shape.queries()), ViewMut::of(log_sums, inputs.shape.heads));
    for (_, queries) in &tiles {
        let ((out, more_out), (sum, more_sums)) = (rest.0.split_rows(queries.len()), rest.1.split_rows(queries.len()));
        outs.push(out);
        sums.push(sum);
        rest = (more_out, more_sums);
    }
    tiles.into_par_iter().zip(outs).zip(sums).for_each(|(((first, queries), out), sums)| {
        let size = queries.len() * (queries.end - first);
        scratch(size, |scores| {
            vectorised(
                #[inline(always)]
                || tile(out, sums, inputs, first, queries, scores),
            )
        });
    });
}

/// The tiles of a sequence: where it begins, and some of its tokens.
fn tiles(sequence: &Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
    let Range { start, end } = *sequence;
    (start..end).step_by(TILE).map(move |at| (start, at..end.min(at + TILE)))
}

#[inline(always)]
fn tile(mut out: ViewMut, mut sums: ViewMut, inputs: Inputs, first: usize, queries: Range<usize>, scores: &mut [f32]) {
    let Inputs { rotated, qkv, shape } = inputs;
    let (seen, before) = (first..queries.end, queries.start - first);
    for head in 0..shape.heads {
        let key_head = head / shape.group();
        let q = rotated.rows(queries.clone()).columns(shape.query(head));
        let k = rotated.rows(seen.clone()).columns(shape.key(key_head));
        let v = qkv.rows(seen.clone()).columns(shape.value(key_head));
        product(&mut ViewMut::of(scores, seen.len()), Into::Fresh, q, k.t());
        for (row, scores) in scores.chunks_exact_mut(seen.len()).enumerate() {
            let (visible, future) = scores.split_at_mut(before + row + 1);
            let largest = max(visible) * shape.scale();
            let sum = exp_all(visible, shape.scale(), largest);
            let inverse = 1.0 / sum;
            visible.iter_mut().for_each(|p| *p *= inverse);
            future.fill(0.0);
            sums.row(row)[head] = largest + sum.ln();
        }
        product(&mut out.columns(shape.query(head)), Into::Fresh, View::of(scores, seen.len()), v);
    }
}

/// Of one pass: what came out of it, and the gradient by that.
#[derive(Clone, Copy)]
pub(super) struct Outputs<'a> {
    pub(super) attended: &'a [f32],
    pub(super) log_sums: &'a [f32],
    pub(super) gradient: &'a [f32],
}

/// The gradient by rotated queries, rotated keys and values (T, (H + 2K) D).
pub(super) fn attend_back(dqkv: &mut [f32], inputs: Inputs, outputs: Outputs, sequences: &[Range<usize>]) {
    let shape = inputs.shape;
    let mut jobs = vec![];
    let mut rest = ViewMut::of(dqkv, shape.queries() + 2 * shape.keys());
    for sequence in sequences {
        let (rows, others) = rest.split_rows(sequence.len());
        rest = others;
        let (queries, rows) = rows.split_columns(shape.queries());
        let (keys, values) = rows.split_columns(shape.keys());
        let queries = queries.chunk_columns(shape.group() * shape.head_dim).into_iter();
        let keys = keys.chunk_columns(shape.head_dim).into_iter().zip(values.chunk_columns(shape.head_dim));
        let heads = queries.zip(keys).enumerate();
        jobs.extend(heads.map(|(head, (dq, (dk, dv)))| (sequence.clone(), head, dq, dk, dv)));
    }
    jobs.into_par_iter().for_each(|(sequence, head, dq, dk, dv)| {
        let size = sequence.len().min(TILE) * sequence.len();
        scratch(size, |p| {
            scratch(size, |dp| {
                vectorised(
                    #[inline(always)]
                    || key_head(dq, dk, dv, inputs, outputs, sequence, head, (p, dp)),
                )
            })
        });
    });
}

/// The gradient by one key head of one sequence, and by all its queries.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "three results, two groups of inputs, a place and scratch")]
fn key_head(
    mut dq: ViewMut,
    mut dk: ViewMut,
    mut dv: ViewMut,
    inputs: Inputs,
    outputs: Outputs,
    sequence: Range<usize>,
    key_head: usize,
    (p, dp): (&mut [f32], &mut [f32]),
) {
    let Inputs { rotated, qkv, shape } = inputs;
    let gradient = View::of(outputs.gradient, shape.queries());
    for row in 0..sequence.len() {
        dk.row(row).fill(0.0);
        dv.row(row).fill(0.0);
    }
    for (first, queries) in tiles(&sequence) {
        let (rows, seen) = (queries.len(), first..queries.end);
        let (p, dp) = (&mut p[..rows * seen.len()], &mut dp[..rows * seen.len()]);
        let k = rotated.rows(seen.clone()).columns(shape.key(key_head));
        let v = qkv.rows(seen.clone()).columns(shape.value(key_head));
        for in_group in 0..shape.group() {
            let head = key_head * shape.group() + in_group;
            let q = rotated.rows(queries.clone()).columns(shape.query(head));
            let d_o = gradient.rows(queries.clone()).columns(shape.query(head));
            product(&mut ViewMut::of(p, seen.len()), Into::Fresh, q, k.t());
            product(&mut ViewMut::of(dp, seen.len()), Into::Fresh, d_o, v.t());
            for row in 0..rows {
                let at = row * seen.len()..(row + 1) * seen.len();
                let (p, dp) = (&mut p[at.clone()], &mut dp[at]);
                scores_back(p, dp, outputs, shape, queries.start + row, head, queries.start - first + row + 1);
            }
            let (p, ds) = (View::of(p, seen.len()), View::of(dp, seen.len()));
            let within = queries.start - first..queries.end - first;
            let part = in_group * shape.head_dim..(in_group + 1) * shape.head_dim;
            product(&mut dq.rows(within).columns(part), Into::Fresh, ds, k);
            product(&mut dk.rows(0..seen.len()), Into::Sum, ds.t(), q);
            product(&mut dv.rows(0..seen.len()), Into::Sum, p.t(), d_o);
        }
    }
}

/// Scores of one query become probabilities, and what came back from the values becomes the scores' gradient.
#[inline(always)]
fn scores_back(
    p: &mut [f32],
    dp: &mut [f32],
    outputs: Outputs,
    shape: Shape,
    query: usize,
    head: usize,
    visible: usize,
) {
    let at = query * shape.queries() + head * shape.head_dim..query * shape.queries() + (head + 1) * shape.head_dim;
    let d = dot(&outputs.gradient[at.clone()], &outputs.attended[at]);
    let (scale, log_sum) = (shape.scale(), outputs.log_sums[query * shape.heads + head]);
    for (p, dp) in p[..visible].iter_mut().zip(&mut dp[..visible]) {
        *p = exp(*p * scale - log_sum);
        *dp = *p * (*dp - d) * scale;
    }
    p[visible..].fill(0.0);
    dp[visible..].fill(0.0);
}
