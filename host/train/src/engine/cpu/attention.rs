//! Causal attention of each sequence by itself, wherever its beginning stands, one key head for H/K query heads (Ainslie et al. 2023), in tiles of
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
use crate::batch::Segment;

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

/// Some queries of a segment, and the keys they see: those before the segment, and its own up to the last query.
struct Tile {
    queries: Range<usize>,
    before: Range<usize>,
    own: Range<usize>,
}

impl Tile {
    /// The tiles of a segment.
    fn of(segment: &Segment) -> impl Iterator<Item = Self> {
        let Range { start, end } = segment.rows;
        (start..end).step_by(TILE).map(move |at| {
            let queries = at..end.min(at + TILE);
            Self { before: segment.before.clone(), own: start..queries.end, queries }
        })
    }

    /// The number of keys.
    fn seen(&self) -> usize {
        self.before.len() + self.own.len()
    }

    /// How many of them the query in row `row` of the tile sees.
    fn visible(&self, row: usize) -> usize {
        self.before.len() + self.queries.start - self.own.start + row + 1
    }

    /// Where keys stand, with their columns in the scores.
    fn keys(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let (before, seen) = (self.before.len(), self.seen());
        let parts = [(self.before.clone(), 0..before), (self.own.clone(), before..seen)];
        parts.into_iter().filter(|(rows, _)| !rows.is_empty())
    }
}

/// o (T, H D), and the log-sums (T, H).
pub(super) fn attend(out: &mut [f32], log_sums: &mut [f32], inputs: Inputs, segments: &[Segment]) {
    let tiles: Vec<Tile> = segments.iter().flat_map(Tile::of).collect();
    let (mut outs, mut sums) = (vec![], vec![]);
    let mut rest = (ViewMut::of(out, inputs.shape.queries()), ViewMut::of(log_sums, inputs.shape.heads));
    for Tile { queries, .. } in &tiles {
        let ((out, more_out), (sum, more_sums)) = (rest.0.split_rows(queries.len()), rest.1.split_rows(queries.len()));
        outs.push(out);
        sums.push(sum);
        rest = (more_out, more_sums);
    }
    tiles.into_par_iter().zip(outs).zip(sums).for_each(|((tile, out), sums)| {
        scratch(tile.queries.len() * tile.seen(), |scores| {
            vectorised(
                #[inline(always)]
                || attend_tile(out, sums, inputs, &tile, scores),
            )
        });
    });
}

#[inline(always)]
fn attend_tile(mut out: ViewMut, mut sums: ViewMut, inputs: Inputs, tile: &Tile, scores: &mut [f32]) {
    let (Inputs { rotated, qkv, shape }, seen) = (inputs, tile.seen());
    for head in 0..shape.heads {
        let key_head = head / shape.group();
        let q = rotated.rows(tile.queries.clone()).columns(shape.query(head));
        for (keys, columns) in tile.keys() {
            let k = rotated.rows(keys).columns(shape.key(key_head));
            product(&mut ViewMut::of(scores, seen).columns(columns), Into::Fresh, q, k.t());
        }
        for (row, scores) in scores.chunks_exact_mut(seen).enumerate() {
            let (visible, future) = scores.split_at_mut(tile.visible(row));
            let largest = max(visible) * shape.scale();
            let sum = exp_all(visible, shape.scale(), largest);
            let inverse = 1.0 / sum;
            visible.iter_mut().for_each(|p| *p *= inverse);
            future.fill(0.0);
            sums.row(row)[head] = largest + sum.ln();
        }
        let mut into = Into::Fresh;
        for (keys, columns) in tile.keys() {
            let v = qkv.rows(keys).columns(shape.value(key_head));
            product(&mut out.columns(shape.query(head)), into, View::of(scores, seen).columns(columns), v);
            into = Into::Sum;
        }
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
///
/// Every segment is a job of its own for each key head. What it finds of keys before it lies apart until all are done.
pub(super) fn attend_back(dqkv: &mut [f32], inputs: Inputs, outputs: Outputs, segments: &[Segment]) {
    let shape = inputs.shape;
    let shared: usize = segments.iter().map(|segment| segment.before.len()).sum();
    scratch(shared * 2 * shape.keys(), |befores| {
        jobs(dqkv, befores, shape, segments).into_par_iter().for_each(|job| {
            let size = job.segment.rows.len().min(TILE) * (job.segment.before.len() + job.segment.rows.len());
            scratch(size, |p| {
                scratch(size, |dp| {
                    vectorised(
                        #[inline(always)]
                        || key_head(job, inputs, outputs, (p, dp)),
                    )
                })
            });
        });
        add_befores(dqkv, befores, shape, segments);
    });
}

/// One key head of one segment, and all its queries: where the gradients by them go.
struct Job<'a> {
    segment: &'a Segment,
    key_head: usize,
    dq: ViewMut<'a>,
    /// By the segment's own keys and values.
    own: [ViewMut<'a>; 2],
    /// By those before it.
    before: [ViewMut<'a>; 2],
}

/// All of them. Rows of `befores` are keys, then values.
fn jobs<'a>(dqkv: &'a mut [f32], befores: &'a mut [f32], shape: Shape, segments: &'a [Segment]) -> Vec<Job<'a>> {
    let mut jobs = vec![];
    let mut rest = (ViewMut::of(dqkv, shape.queries() + 2 * shape.keys()), ViewMut::of(befores, 2 * shape.keys()));
    for segment in segments {
        let ((rows, others), (before, more)) =
            (rest.0.split_rows(segment.rows.len()), rest.1.split_rows(segment.before.len()));
        rest = (others, more);
        let (queries, own) = rows.split_columns(shape.queries());
        let queries = queries.chunk_columns(shape.group() * shape.head_dim).into_iter();
        let heads = queries.zip(key_heads(own, shape)).zip(key_heads(before, shape)).enumerate();
        jobs.extend(heads.map(|(key_head, ((dq, own), before))| Job { segment, key_head, dq, own, before }));
    }
    jobs
}

/// The keys and the values of each key head.
fn key_heads(rows: ViewMut<'_>, shape: Shape) -> impl Iterator<Item = [ViewMut<'_>; 2]> {
    let (keys, values) = rows.split_columns(shape.keys());
    let heads = keys.chunk_columns(shape.head_dim).into_iter().zip(values.chunk_columns(shape.head_dim));
    heads.map(|(keys, values)| [keys, values])
}

/// Adds what segments found of what is before them, in their order.
fn add_befores(dqkv: &mut [f32], mut befores: &[f32], shape: Shape, segments: &[Segment]) {
    let (width, part) = (shape.queries() + 2 * shape.keys(), 2 * shape.keys());
    for sharing in segments.chunk_by(|one, next| one.before == next.before) {
        let before = &sharing[0].before;
        let (found, others) = befores.split_at(sharing.len() * before.len() * part);
        befores = others;
        let rows = dqkv[before.start * width..before.end * width].par_chunks_exact_mut(width).enumerate();
        rows.for_each(|(row, into)| {
            for found in found.chunks_exact(before.len() * part) {
                let found = &found[row * part..(row + 1) * part];
                into[shape.queries()..].iter_mut().zip(found).for_each(|(sum, value)| *sum += value);
            }
        });
    }
}

/// The gradient by one key head of one segment, and by all its queries.
#[inline(always)]
fn key_head(job: Job, inputs: Inputs, outputs: Outputs, (p, dp): (&mut [f32], &mut [f32])) {
    let Job { segment, key_head, mut dq, mut own, mut before } = job;
    let Inputs { rotated, qkv, shape } = inputs;
    let gradient = View::of(outputs.gradient, shape.queries());
    for part in own.iter_mut().chain(&mut before) {
        (0..part.height()).for_each(|row| part.row(row).fill(0.0));
    }
    for tile in Tile::of(segment) {
        let (rows, seen) = (tile.queries.len(), tile.seen());
        let (p, dp) = (&mut p[..rows * seen], &mut dp[..rows * seen]);
        for in_group in 0..shape.group() {
            let head = key_head * shape.group() + in_group;
            let q = rotated.rows(tile.queries.clone()).columns(shape.query(head));
            let d_o = gradient.rows(tile.queries.clone()).columns(shape.query(head));
            for (keys, columns) in tile.keys() {
                let k = rotated.rows(keys.clone()).columns(shape.key(key_head));
                let v = qkv.rows(keys).columns(shape.value(key_head));
                product(&mut ViewMut::of(p, seen).columns(columns.clone()), Into::Fresh, q, k.t());
                product(&mut ViewMut::of(dp, seen).columns(columns), Into::Fresh, d_o, v.t());
            }
            for row in 0..rows {
                let at = row * seen..(row + 1) * seen;
                let (p, dp) = (&mut p[at.clone()], &mut dp[at]);
                scores_back(p, dp, outputs, shape, tile.queries.start + row, head, tile.visible(row));
            }
            let (p, ds) = (View::of(p, seen), View::of(dp, seen));
            let within = tile.queries.start - segment.rows.start..tile.queries.end - segment.rows.start;
            let part = in_group * shape.head_dim..(in_group + 1) * shape.head_dim;
            let mut into = Into::Fresh;
            for (keys, columns) in tile.keys() {
                let [dk, dv] = if keys == tile.own { &mut own } else { &mut before };
                let (k, height) = (rotated.rows(keys.clone()).columns(shape.key(key_head)), keys.len());
                let (p, ds) = (p.columns(columns.clone()), ds.columns(columns));
                product(&mut dq.rows(within.clone()).columns(part.clone()), into, ds, k);
                product(&mut dk.rows(0..height), Into::Sum, ds.t(), q);
                product(&mut dv.rows(0..height), Into::Sum, p.t(), d_o);
                into = Into::Sum;
            }
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
